#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: key_release
short_description: Release a key into this confidential VM
version_added: 0.1.0
author:
  - confidential.azure_skr contributors (@confidential-azure)
description:
  - Attests this VM, asks the vault for the key, verifies the signed answer, unwraps the key in the VM's TPM and puts it where its
        consumer expects it, be that a file, a keyring, a systemd credential, a LUKS key slot or a command.
  - The key never passes the controller, a command line, a log or (by default) a disk.
  - Every failure carries a stable O(ignore:reason), its cause and the next step.
extends_documentation_fragment:
  - confidential.azure_skr.guest
  - confidential.azure_skr.guest.identity
  - confidential.azure_skr.release
  - confidential.azure_skr.delivery
  - confidential.azure_skr.attributes
  - confidential.azure_skr.attributes.guest
attributes:
  check_mode:
    support: full
    details:
      - The key is released to predict the change, but not delivered.
  diff_mode:
    support: full
    details:
      - Shows the place, owner, group, mode and public fingerprint, never the key.
  idempotent:
    support: full
    details:
      - The key is released again, and delivered only where the place holds another one or differs from the options.
options: {}
seealso:
  - name: Secure Key Release with Azure Key Vault
    description: The feature as Microsoft documents it.
    link: https://learn.microsoft.com/azure/confidential-computing/concept-skr-attestation
  - module: confidential.azure_skr.release_access
  - module: confidential.azure_skr.attestation_info
  - module: confidential.azure_skr.key_removal
  - module: confidential.azure_skr.secret_unwrap
"""

EXAMPLES = r"""
- name: The application's key, readable by the application alone
  confidential.azure_skr.key_release:
    vault_uri: https://kv-web-prod.vault.azure.net
    key_name: tls-key
    attestation_url: https://sharedweu.weu.attest.azure.net
    dest: /run/web/tls.pem
    owner: www-data

- name: Right after a new grant, with the policy for a readable refusal
  confidential.azure_skr.key_release:
    vault_uri: https://kv-web-prod.vault.azure.net
    key_name: tls-key
    attestation_url: https://sharedweu.weu.attest.azure.net
    release_policy:
      version: 1.0.0
      anyOf:
        - authority: https://sharedweu.weu.attest.azure.net
          allOf:
            - claim: x-ms-isolation-tee.x-ms-compliance-status
              equals: azure-compliant-cvm
    wait_for_grant: 600
    dest: /run/web/tls.pem

- name: A symmetric key of a managed HSM as a second passphrase of a data volume, which is opened
  confidential.azure_skr.key_release:
    hsm_uri: https://hsm-prod.managedhsm.azure.net
    key_name: data-volume
    attestation_url: https://sharedweu.weu.attest.azure.net
    deliver_to: luks
    luks_device: /dev/disk/azure/scsi1/lun0
    luks_slot: 1
    luks_replace: true
    luks_existing_key_file: /run/setup/passphrase
    luks_name: data

- name: A key for all processes of user app, gone after an hour unless it is released again
  confidential.azure_skr.key_release:
    vault_uri: https://kv-web-prod.vault.azure.net
    key_name: signing
    attestation_url: https://sharedweu.weu.attest.azure.net
    deliver_to: keyring
    keyring_description: app:signing
    owner: app
    ttl: 3600

- name: A credential for a service, encrypted for this machine
  confidential.azure_skr.key_release:
    vault_uri: https://kv-web-prod.vault.azure.net
    key_name: tls-key
    attestation_url: https://sharedweu.weu.attest.azure.net
    deliver_to: systemd_credential
    credential_name: tls.key
    credential_encryption: auto

- name: A key for an agent that reads it from its standard input
  confidential.azure_skr.key_release:
    vault_uri: https://kv-web-prod.vault.azure.net
    key_name: ssh-ca
    attestation_url: https://sharedweu.weu.attest.azure.net
    deliver_to: command
    command: [/usr/local/sbin/load-ca-key, --from-stdin]

- name: As an application of the vault's tenant, proved by a certificate that lies on the VM
  confidential.azure_skr.key_release:
    vault_uri: https://kv-web-prod.vault.azure.net
    key_name: tls-key
    attestation_url: https://sharedweu.weu.attest.azure.net
    identity_source: service_principal
    tenant: contoso.onmicrosoft.com
    client_id: 0f3b1a52-6c1c-4d8b-9b6e-0a1b2c3d4e5f
    client_certificate_file: /etc/web/application.pem
    dest: /run/web/tls.pem
"""

RETURN = r"""
dest:
  description: Path of the key file.
  type: str
  returned: when it is delivered to a file or as a systemd credential
delivered:
  description: Public facts of the place, such as C(deliver_to), C(dest), C(keyring_description) or C(luks_slot).
  type: dict
  returned: success
kid:
  description: Key identifier with version.
  type: str
  returned: success
key_version:
  description: Version that was released.
  type: str
  returned: success
key_type:
  description: Kind of key, such as V(RSA-HSM).
  type: str
  returned: success
attributes:
  description: The key's attributes as the vault states them.
  type: dict
  returned: success
public_key_pem:
  description: The public half.
  type: str
  returned: success, RSA and EC keys
public_key_sha256:
  description: SHA-256 of the DER of the public half (SubjectPublicKeyInfo), in hex.
  type: str
  returned: success, RSA and EC keys
waited_s:
  description: Seconds waited until the grant took effect.
  type: float
  returned: success
authority:
  description: The attestation authority that vouched for this VM.
  type: str
  returned: success
preflight:
  description:
    - The verdict over the release policy; C(source) says whether the policy was given, live or unreadable, C(policy_sha256) is the digest
      of its meaning, C(satisfied), C(reason), C(failing) and C(near_misses) are the verdict, and C(trace) has every condition of every branch.
    - Where no policy could be read, C(remarks) tells what in this VM's claims often makes policies fail.
  type: dict
  returned: when O(preflight) is not V(off)
evidence:
  description: Public facts about this VM from its evidence.
  type: dict
  returned: success
counts:
  description: What the release cost; HTTP requests, TPM commands, openings of the device, keys made.
  type: dict
  returned: success
reason:
  description: Stable code of the failure.
  type: str
  returned: failure
cause:
  description: What the reason means.
  type: str
  returned: failure
next_step:
  description: What to do.
  type: str
  returned: failure
facts:
  description: Values behind the failure, such as the failing claims with the value wanted and the value found.
  type: dict
  returned: failure
"""

import atexit
import gc
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.confidential.azure_skr.plugins.module_utils import once, skin
from ansible_collections.confidential.azure_skr.plugins.module_utils.guest import arguments


def main() -> None:
    spec = {
        **arguments.guest_argument_spec(),
        **arguments.identity_argument_spec(),
        **arguments.release_argument_spec(),
        **arguments.delivery_argument_spec(),
    }
    module = AnsibleModule(
        argument_spec=spec,
        mutually_exclusive=[*arguments.IDENTITY_EXCLUSIVE, *arguments.RELEASE_EXCLUSIVE],
        required_one_of=[["vault_uri", "hsm_uri"]],
        supports_check_mode=True,
    )
    options = module.params

    def run() -> t.Dict[str, t.Any]:
        once.install(options["cache_dir"])
        arguments.require_libraries()
        from ansible_collections.confidential.azure_skr.plugins.module_utils.guest import deliver, http, release

        http.Http.lean = True  # over a fleet, importing requests would cost as much as the releases
        wanted = arguments.wanted(options, target=deliver.target(options))
        return release.release(arguments.guest(options), wanted, module.check_mode)

    skin.run(module, run)


if __name__ == "__main__":
    # A process of half a second: looking for garbage, now and at its end, would take a tenth of it.
    gc.disable()
    atexit.register(gc.freeze)
    main()
