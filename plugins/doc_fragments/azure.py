# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation fragment of the modules that talk to Azure from the controller."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  auth_source:
    description:
      - Where the credential comes from. V(auto) tries the options, the environment, the credentials file and the Azure CLI, in this order.
      - By default the environment variable E(ANSIBLE_AZURE_AUTH_SOURCE), else V(auto).
    type: str
    choices: [auto, env, credential_file, cli, msi]
  profile:
    description:
      - Section of C(~/.azure/credentials). By default E(AZURE_PROFILE), else V(default).
      - With O(auth_source=auto), giving this option means that the credential comes from that section and from nowhere else.
    type: str
  subscription_id:
    description:
      - Subscription of the resources. By default E(AZURE_SUBSCRIPTION_ID).
    type: str
  tenant:
    description:
      - Tenant of the service principal. By default E(AZURE_TENANT) or E(AZURE_TENANT_ID).
    type: str
  client_id:
    description:
      - Client id of the service principal or managed identity. By default E(AZURE_CLIENT_ID).
    type: str
  secret:
    description:
      - Secret of the service principal. By default E(AZURE_SECRET) or E(AZURE_CLIENT_SECRET).
    type: str
  x509_certificate_path:
    description:
      - PEM file with the key and the certificate of the service principal. By default E(AZURE_X509_CERTIFICATE_PATH)
        or E(AZURE_CLIENT_CERTIFICATE_PATH).
    type: path
  cloud_environment:
    description:
      - Name of the cloud; V(AzureCloud), V(AzureUSGovernment) or V(AzureChinaCloud). By default E(AZURE_CLOUD_ENVIRONMENT), else V(AzureCloud).
    type: str
  https_proxy:
    description:
      - Proxy for all calls. By default the environment decides.
    type: str
  ca_path:
    description:
      - PEM file of the certificate authorities to trust. By default the environment variable E(REQUESTS_CA_BUNDLE), else the
        bundle of the Python package C(certifi).
    type: path
requirements:
  - python >= 3.11
  - azure-identity >= 1.19
  - azure-keyvault-administration >= 4.5 (local roles of managed HSMs)
  - azure-keyvault-keys >= 4.10
  - azure-mgmt-compute >= 33
  - azure-mgmt-keyvault >= 10.3
"""
