#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: attestation_provider
short_description: Manage a private attestation provider and its policies
version_added: 0.2.0
author:
  - confidential.azure_skr contributors (@confidential-azure)
description:
  - Makes a private provider of Microsoft Azure Attestation, sets the policies by which it gives attestation tokens, and reads them back.
    A key's release policy names it as authority with RV(attest_url).
  - An attestation policy is not a release policy. It belongs to the provider, has its own language, and decides whether a VM gets a
    token at all.
  - What the provider answers about its policies is believed only after the answer's signature, its issuer, its time and the hash
    of the policy have been verified, and the text has been read back.
extends_documentation_fragment:
  - confidential.azure_skr.azure
  - confidential.azure_skr.attributes
  - confidential.azure_skr.attributes.azure
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
requirements:
  - cryptography >= 3.4
options:
  name:
    description:
      - Name of the provider; 3 to 24 letters and digits.
    type: str
    required: true
  resource_group:
    description:
      - Resource group of the provider. It must exist.
    type: str
    required: true
  location:
    description:
      - Azure region. Required when the provider is made, and fixed then.
    type: str
  state:
    description:
      - V(absent) removes the provider with its policies. Keys whose release policy names it cannot be released any more.
    type: str
    choices: [present, absent]
    default: present
  policy_signing_certificates:
    description:
      - PEM files of certificates that are marked as CA. The provider then takes only policies signed under them (trust model
        Isolated); without them it takes what an authorized identity sends (trust model AAD).
      - Fixed when the provider is made. V([]) says that there shall be none; left out, an existing provider's are not looked at.
    type: list
    elements: path
  policies:
    description:
      - Policy texts by attestation type, which are V(AzureGuest), V(SevSnpVm), V(TdxVm), V(SgxEnclave), V(OpenEnclave) and V(Tpm).
        Types that are not named stay as they are.
      - V(AzureGuest) is the type with which M(confidential.azure_skr.key_release) attests.
      - Line ends, and white space before and behind the text, make no difference.
    type: dict
    default: {}
  policy_files:
    description:
      - The same as paths of files on the machine that runs the module.
    type: dict
    default: {}
  reset_policies:
    description:
      - Attestation types that shall have the service's default policy.
      - Where the default is worded otherwise than known to this module, each run resets it again, and reports a change only when
        the text was another before. Check mode then announces a reset.
    type: list
    elements: str
    default: []
  policy_signer_key:
    description:
      - PEM file of the RSA key that signs policies, on the machine that runs the module. Its content is never shown.
      - Required to set or reset policies of a provider with O(policy_signing_certificates).
    type: path
  policy_signer_certificate:
    description:
      - PEM file of the certificate of O(policy_signer_key), followed by the certificates up to one of O(policy_signing_certificates).
    type: path
  policy_signer_passphrase:
    description:
      - Passphrase of O(policy_signer_key), where it has one.
    type: str
  tags:
    description:
      - Tags of the provider. They replace the tags it has; V({}) removes all.
    type: dict
  wait_timeout:
    description:
      - Seconds to wait for a new provider to be ready, or for a removed one to be gone.
    type: int
    default: 120
notes:
  - Policies need the role Attestation Contributor on the provider, or one above it such as Contributor. A new role assignment takes
    some minutes until the provider honours it.
  - The resource provider Microsoft.Attestation must be registered in the subscription.
seealso:
  - name: Azure Attestation documentation
    description: The service, and the language of attestation policies.
    link: https://learn.microsoft.com/azure/attestation/
  - module: confidential.azure_skr.attestation_provider_info
  - module: confidential.azure_skr.exportable_key
  - module: confidential.azure_skr.key_release
"""

EXAMPLES = r"""
- name: A provider of our own, which gives tokens only to VMs that booted securely
  confidential.azure_skr.attestation_provider:
    name: maawebprod
    resource_group: rg-web
    location: westeurope
    policies:
      AzureGuest: |
        version=1.0;
        authorizationrules
        {
            [type=="secureboot", value==false] => deny();
            [type=="x-ms-azurevm-debuggersdisabled", value==false] => deny();
            => permit();
        };
        issuancerules
        {
        };
  register: provider

- name: A key that is released to tokens of this provider alone
  confidential.azure_skr.exportable_key:
    vault_uri: https://kv-web-prod.vault.azure.net
    key_name: tls-key
    release_policy: "{{ {'authority': provider.attest_url} | confidential.azure_skr.release_policy }}"

- name: A provider that takes signed policies only
  confidential.azure_skr.attestation_provider:
    name: maawebsigned
    resource_group: rg-web
    location: westeurope
    policy_signing_certificates: [/etc/maa/policy-ca.pem]
    policy_signer_key: /etc/maa/policy-signer.key
    policy_signer_certificate: /etc/maa/policy-signer.pem
    policy_files:
      AzureGuest: files/azure-guest.policy

- name: The service's default policy again
  confidential.azure_skr.attestation_provider:
    name: maawebprod
    resource_group: rg-web
    reset_policies: [AzureGuest]
"""

RETURN = r"""
attest_url:
  description: Address of the provider, as Azure told it; for C(attestation_url) of the guest modules and as authority of release policies.
  type: str
  returned: success; none where the provider does not exist
issuer:
  description: The C(iss) claim of the provider's tokens.
  type: str
  returned: success; none where the provider does not exist
provider:
  description: The provider as it is, or in check mode as it would be.
  type: dict
  returned: success
policies:
  description:
    - By attestation type, of the types named in the options, how the policy is or in check mode would be.
    - C(sha256) is the hash of the text, C(policy_hash) the C(x-ms-policy-hash) claim of tokens given under it, C(default) whether it is a
      known default policy.
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
  description: Values behind the failure.
  type: dict
  returned: failure
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.confidential.azure_skr.plugins.module_utils import skin
from ansible_collections.confidential.azure_skr.plugins.module_utils.azure import (
    attestation_policy,
    attestation_private,
    attestation_token,
)
from ansible_collections.confidential.azure_skr.plugins.module_utils.azure.arguments import azure_argument_spec
from ansible_collections.confidential.azure_skr.plugins.module_utils.azure.clients import connection


def main() -> None:
    spec = {
        **azure_argument_spec(),
        "name": {"type": "str", "required": True},
        "resource_group": {"type": "str", "required": True},
        "location": {"type": "str"},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "policy_signing_certificates": {"type": "list", "elements": "path"},
        "policies": {"type": "dict", "default": {}},
        "policy_files": {"type": "dict", "default": {}},
        "reset_policies": {"type": "list", "elements": "str", "default": []},
        "policy_signer_key": {"type": "path", "no_log": False},
        "policy_signer_certificate": {"type": "path"},
        "policy_signer_passphrase": {"type": "str", "no_log": True},
        "tags": {"type": "dict"},
        "wait_timeout": {"type": "int", "default": 120},
    }
    module = AnsibleModule(
        argument_spec=spec,
        required_together=[("policy_signer_key", "policy_signer_certificate")],
        required_by={"policy_signer_passphrase": "policy_signer_key"},
        supports_check_mode=True,
    )
    options = module.params

    def policies() -> attestation_policy.Wanted:
        signer = None
        if options["policy_signer_key"]:
            signer = attestation_token.load_signer(
                options["policy_signer_key"], options["policy_signer_certificate"], options["policy_signer_passphrase"]
            )
        texts, files, reset = options["policies"], options["policy_files"], options["reset_policies"]
        return attestation_policy.wanted(texts, files, reset, signer)

    def run() -> t.Dict[str, t.Any]:
        names = ("name", "resource_group", "location", "tags", "wait_timeout")
        given = options["policy_signing_certificates"]
        present = options["state"] == "present"
        wanted = attestation_private.Wanted(
            present=present,
            signing_certificates=None if given is None else tuple(given),
            policies=policies() if present else attestation_policy.Wanted(),
            **{name: options[name] for name in names},
        )
        with connection(options) as azure:
            return attestation_private.ensure(azure, wanted, module.check_mode)

    skin.run(module, run)


if __name__ == "__main__":
    main()
