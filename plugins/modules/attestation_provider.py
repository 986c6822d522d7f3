#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: attestation_provider
short_description: Manage a private attestation provider
version_added: 0.2.0
author:
  - confidential.azure_skr contributors (@confidential-azure)
description:
  - Makes a private provider of Microsoft Azure Attestation, sets its attestation policies and reads them back, or deletes it.
  - Most fleets need none; the shared provider of the region attests VMs as well, see M(confidential.azure_skr.attestation_provider_info).
  - An attestation policy says what the provider attests at all. The release policy of a key says to whom the key is released.
  - The service's signed answer to a policy is verified before it is believed.
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
  policies:
    description:
      - Attestation policies by attestation type, V(SevSnpVm) for SNP reports, V(AzureGuest) for guest attestation, V(Tpm),
        V(SgxEnclave) or V(OpenEnclave). The value is the policy's text; an empty text goes back to the provider's default.
      - Types that are not named stay as they are. What the service does not let be set is refused as
        C(attestation_policy_refused).
      - The identity needs the role Attestation Contributor on the provider.
    type: dict
    default: {}
  policy_signing_certificates:
    description:
      - Certificates in PEM of those who may sign policies. A provider made with them is of the trust model Isolated, and takes no other
        policies. Fixed when the provider is made.
    type: list
    elements: path
    default: []
  policy_signing_key:
    description:
      - File on the controller with the RSA key that signs the policies, in PEM; needed for a provider with policy signers.
    type: path
  policy_signing_certificate:
    description:
      - Certificate of O(policy_signing_key) in PEM.
    type: path
  tags:
    description:
      - Tags of the provider. They replace the tags it has; V({}) removes all.
    type: dict
  state:
    description:
      - V(absent) deletes the provider. Keys whose release policy names it as the authority are released to nobody then.
    type: str
    choices: [present, absent]
    default: present
seealso:
  - name: How to author an attestation policy
    description: The grammar as Microsoft documents it.
    link: https://learn.microsoft.com/azure/attestation/author-sign-policy
  - module: confidential.azure_skr.attestation_provider_info
"""

EXAMPLES = r"""
- name: A provider of our own that attests nothing without secure boot
  confidential.azure_skr.attestation_provider:
    name: ourattestation
    resource_group: rg-web
    location: westeurope
    policies:
      AzureGuest: |
        version= 1.0;
        authorizationrules
        {
          [type=="secureboot", value==true] => permit();
        };
        issuancerules
        {
        };
  register: provider

- name: A release policy for it
  ansible.builtin.debug:
    msg: "{{ {'authority': provider.authority} | confidential.azure_skr.release_policy }}"
"""

RETURN = r"""
provider:
  description: The provider as it is, or in check mode as it would be.
  type: dict
  returned: success
authority:
  description: Address of the provider, as release policies name it.
  type: str
  returned: when the provider is there
policies:
  description: SHA-256 of the policy's text by attestation type.
  type: dict
  returned: when O(policies) is given and the provider is there
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
from ansible_collections.confidential.azure_skr.plugins.module_utils.azure import private_provider
from ansible_collections.confidential.azure_skr.plugins.module_utils.azure.arguments import azure_argument_spec
from ansible_collections.confidential.azure_skr.plugins.module_utils.azure.clients import connection


def main() -> None:
    spec = {
        **azure_argument_spec(),
        "name": {"type": "str", "required": True},
        "resource_group": {"type": "str", "required": True},
        "location": {"type": "str"},
        "policies": {"type": "dict", "default": {}},
        "policy_signing_certificates": {"type": "list", "elements": "path", "default": []},
        "policy_signing_key": {"type": "path", "no_log": False},
        "policy_signing_certificate": {"type": "path"},
        "tags": {"type": "dict"},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    }
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    options = module.params

    def run() -> t.Dict[str, t.Any]:
        wanted = private_provider.Wanted(
            name=options["name"],
            resource_group=options["resource_group"],
            location=options["location"],
            signers=tuple(options["policy_signing_certificates"]),
            policies={kind: str(text or "") for kind, text in options["policies"].items()},
            signing_key=options["policy_signing_key"],
            signing_certificate=options["policy_signing_certificate"],
            tags=options["tags"],
            present=options["state"] == "present",
        )
        return private_provider.ensure(connection(options), wanted, module.check_mode)

    skin.run(module, run)


if __name__ == "__main__":
    main()
