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
      - Where the identity comes from. V(auto) tries the option O(profile), the options, the environment, the credentials file and the
        Azure CLI, in this order. An identity is never put together from two of them.
      - By default the environment variable E(ANSIBLE_AZURE_AUTH_SOURCE), else V(auto).
      - V(msi) is the managed identity of the machine that runs the module; V(auto) never takes it.
    type: str
    choices: [auto, cli, env, credential_file, msi]
  profile:
    description:
      - Section of C(~/.azure/credentials). By default E(AZURE_PROFILE), else V(default).
      - With O(auth_source=auto), giving this option means that the identity comes from that section and from nowhere else.
    type: str
  subscription_id:
    description:
      - Subscription of the resources. By default that of the source of the identity, else E(AZURE_SUBSCRIPTION_ID).
      - With O(auth_source=cli) at last the default subscription of the Azure CLI, and with O(auth_source=msi) the only
        subscription that the managed identity sees.
    type: str
  tenant:
    description:
      - Tenant of the identity. By default E(AZURE_TENANT) or E(AZURE_TENANT_ID).
      - Not needed with AD FS. For O(ad_user) V(organizations) where nothing else is given.
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
      - File with the certificate of the service principal and its RSA key, as PEM or PKCS#12.
        By default E(AZURE_X509_CERTIFICATE_PATH) or E(AZURE_CLIENT_CERTIFICATE_PATH).
    type: path
  x509_certificate_password:
    description:
      - Password of the key in O(x509_certificate_path), where it has one. By default E(AZURE_CLIENT_CERTIFICATE_PASSWORD).
    type: str
  thumbprint:
    description:
      - Thumbprint of the certificate. Accepted for the sake of playbooks written for C(azure.azcollection), and not needed; it is
        computed. In the environment E(AZURE_THUMBPRINT).
    type: str
  federated_token_file:
    description:
      - File with a token of another issuer that the service principal trusts (workload identity federation), such as that of a
        Kubernetes service account. By default E(AZURE_FEDERATED_TOKEN_FILE), which Azure Kubernetes Service sets.
    type: path
  ad_user:
    description:
      - Name of a user, for signing in with O(password). By default E(AZURE_AD_USER) or E(AZURE_USERNAME).
      - Deprecated by Microsoft; it fails wherever multi-factor authentication is required.
    type: str
  password:
    description:
      - Password of O(ad_user). By default E(AZURE_PASSWORD).
    type: str
  msi_object_id:
    description:
      - With O(auth_source=msi), the object id of the managed identity, in place of O(client_id).
    type: str
  msi_resource_id:
    description:
      - With O(auth_source=msi), the resource id of the managed identity, in place of O(client_id).
    type: str
  cloud_environment:
    description:
      - The cloud; V(AzureCloud), V(AzureUSGovernment) or V(AzureChinaCloud), or another of their usual names such as
        V(AzurePublicCloud), or the https URL of another cloud's resource manager, whose metadata are then read.
      - V(AzureGermanCloud) is refused, because that cloud was closed in 2021.
      - By default that of the source of the identity, else E(AZURE_CLOUD_ENVIRONMENT), else the cloud of E(AZURE_AUTHORITY_HOST),
        else V(AzureCloud).
    type: str
  adfs_authority_url:
    description:
      - Where to sign in, in place of the cloud's own authority, such as V(https://adfs.local.azurestack.external/adfs).
        By default E(AZURE_ADFS_AUTHORITY_URL), and where no cloud is named E(AZURE_AUTHORITY_HOST).
    type: str
  disable_instance_discovery:
    description:
      - Whether Microsoft's list of authorities is left unasked. By default E(AZURE_DISABLE_INSTANCE_DISCOVERY), else V(true), because
        the authorities are either of this collection's own table or named by the user.
    type: bool
  cert_validation_mode:
    description:
      - Accepted for the sake of playbooks written for C(azure.azcollection); V(ignore) is refused, because this collection never
        switches the verification of certificates off. Use O(ca_path).
      - By default E(AZURE_CERT_VALIDATION_MODE) or E(AZURE_CERT_VALIDATION), which must not be C(ignore) either, else V(validate).
    type: str
    choices: [validate, ignore]
  api_profile:
    description:
      - Accepted for the sake of playbooks written for C(azure.azcollection); nothing but V(latest) is supported.
    type: str
  log_mode:
    description:
      - Accepted for the sake of playbooks written for C(azure.azcollection), and not used.
    type: str
  log_path:
    description:
      - Accepted for the sake of playbooks written for C(azure.azcollection), and not used.
    type: str
  https_proxy:
    description:
      - Proxy for all calls but those to the metadata service. By default E(HTTPS_PROXY), with the exceptions in E(NO_PROXY), which do
        not apply to this option.
    type: str
  ca_path:
    description:
      - PEM file of the certificate authorities to trust. By default the environment variable E(REQUESTS_CA_BUNDLE), else the
        bundle of the Python package C(certifi).
    type: path
notes:
  - All ways to sign in, and what AWX sets, are told in C(docs/credentials.md) of this collection.
  - E(AZURE_HTTP_USER_AGENT) is appended to the user agent of every request.
requirements:
  - python >= 3.11
  - azure-identity >= 1.19
  - azure-keyvault-administration >= 4.5 (local roles of managed HSMs)
  - azure-keyvault-keys >= 4.10
  - azure-mgmt-compute >= 33
  - azure-mgmt-keyvault >= 10.3
"""
