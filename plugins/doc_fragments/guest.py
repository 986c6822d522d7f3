# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation fragment of the modules that run on the confidential VM."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  attestation_url:
    description:
      - The attestation provider that this VM asks, such as V(https://sharedweu.weu.attest.azure.net).
      - Its host is the authority that a release policy must name. It is never guessed.
    type: str
    required: true
  tpm_device:
    description:
      - The TPM. A device file, or V(unix:PATH) or V(tcp:HOST:PORT) for a raw TPM stream.
    type: str
    default: /dev/tpmrm0
  tpm_timeout:
    description:
      - How long to wait while another process holds the TPM, in seconds.
    type: float
    default: 15.0
  imds_endpoint:
    description:
      - The instance metadata service. It is never asked through a proxy.
    type: str
    default: http://169.254.169.254
  https_proxy:
    description:
      - Proxy for the attestation provider and the vault. By default the environment decides.
    type: str
  ca_path:
    description:
      - PEM file of the certificate authorities to trust for the attestation provider, the vault and the vault's
        signatures. By default the environment variables C(REQUESTS_CA_BUNDLE), C(CURL_CA_BUNDLE) and
        C(SSL_CERT_FILE), then the system's bundle.
    type: path
  report_roots_path:
    description:
      - PEM file of root certificates to accept for hardware reports, besides AMD's own. Only a lab needs it.
    type: path
  event_log_path:
    description:
      - The measured-boot event log. Without it the attestation provider cannot tell that the VM booted securely.
    type: path
    default: /sys/kernel/security/tpm0/binary_bios_measurements
  cache_dir:
    description:
      - Directory for the attestation provider's public signing keys and the host's public certificate chain, which saves requests later.
      - Module M(confidential.azure_skr.key_release) keeps its compiled files here too, which saves a part of its time later. They are used
        where they match their source, and where the directory and the file belong to the user who runs the module and nobody else can
        write them.
    type: path
    default: /run/azure-skr
  require_tee:
    description:
      - What must isolate the VM. V(any) accepts a Trusted Launch VM too, whose memory the host can read; V(confidential) wants SNP or TDX.
      - The kind is found by what the vTPM holds. Where the report of a confidential VM cannot be had, that is a failure and nothing weaker is used.
    type: str
    choices: [any, confidential, snp, tdx]
    default: any
    version_added: 0.2.0
  pcrs:
    description:
      - The PCRs (SHA-256 bank) that are quoted, and that the key in the TPM is bound to.
      - Azure's attestation service may refuse other sets than the default on Linux.
    type: list
    elements: int
    default: [0, 1, 2, 3, 4, 5, 6, 7]
    version_added: 0.2.0
  renew_ak_certificate:
    description:
      - With V(when_due) the host's certificate service is asked for a new AK certificate when the present one has 90 days left or less.
      - It is stored in the TPM where the TPM allows it. On a confidential VM only the platform may, so it serves this attestation only.
      - That it cannot be renewed is a warning. The platform usually renews it by itself.
    type: str
    choices: [never, when_due]
    default: never
    version_added: 0.2.0
requirements:
  - python >= 3.9
  - cryptography >= 3.4
  - requests >= 2.25
"""

    IDENTITY = r"""
options:
  identity_source:
    description:
      - Who asks for the access token. V(managed) is a managed identity of this VM.
      - V(service_principal) is an application with a secret or a certificate, V(workload_identity) one that trusts another issuer's token.
        Either may be at home in another tenant than the vault.
    type: str
    choices: [managed, service_principal, workload_identity]
    default: managed
    version_added: 0.2.0
  tenant:
    description:
      - The tenant of the vault, by id or domain name, where O(identity_source) is not V(managed).
      - By default E(AZURE_TENANT_ID) or E(AZURE_TENANT).
    type: str
    version_added: 0.2.0
  client_id:
    description:
      - Id of the application, where O(identity_source) is not V(managed). By default E(AZURE_CLIENT_ID).
      - A managed identity is named with O(identity_client_id).
    type: str
    version_added: 0.2.0
  client_secret_file:
    description:
      - File on this VM with the application's secret, and nothing else. Rights for others are refused.
      - Without it and O(client_certificate_file) the secret is that in the environment variable E(AZURE_CLIENT_SECRET) or E(AZURE_SECRET).
    type: path
    version_added: 0.2.0
  client_certificate_file:
    description:
      - PEM file on this VM with the application's certificate and its RSA private key, not encrypted. Rights for others are refused.
      - By default E(AZURE_CLIENT_CERTIFICATE_PATH).
    type: path
    version_added: 0.2.0
  federated_token_file:
    description:
      - File on this VM with a token of the issuer that the application trusts. It is read anew each time.
      - By default E(AZURE_FEDERATED_TOKEN_FILE).
    type: path
    version_added: 0.2.0
  authority_host:
    description:
      - The sign-in host, such as V(https://login.microsoftonline.us). By default E(AZURE_AUTHORITY_HOST), then that of the vault's cloud.
    type: str
    version_added: 0.2.0
  identity_client_id:
    description:
      - Client id of the managed identity to use, where the VM has several.
    type: str
  identity_object_id:
    description:
      - Object id of the managed identity to use.
    type: str
  identity_resource_id:
    description:
      - Resource id of the user-assigned identity to use.
    type: str
  known_client_ids:
    description:
      - Client ids of the VM's identities, for the message when one must be chosen. The metadata service does not list them.
    type: list
    elements: str
    default: []
"""
