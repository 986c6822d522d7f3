#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: attestation_provider_info
short_description: Find attestation providers, and read their policies
version_added: 0.2.0
author:
  - confidential.azure_skr contributors (@confidential-azure)
description:
  - Asks Azure Resource Manager for the shared attestation provider of a region, which is the authority of release policies and the
    O(confidential.azure_skr.key_release#module:attestation_url) of VMs there. It is never guessed from the region's name.
  - What Azure told is cached on the controller, because a region's authority does not move.
  - With O(resource_group) it lists the private providers of that group instead, and with O(policies) it reads their attestation
    policies back, each proven by the provider's signature.
extends_documentation_fragment:
  - confidential.azure_skr.azure
  - confidential.azure_skr.attributes
  - confidential.azure_skr.attributes.azure
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  location:
    description:
      - Azure region, such as V(westeurope). Without it the providers of all regions are returned.
    type: str
  cache_dir:
    description:
      - Folder of the cache on the controller. By default C(azure_skr) in the user's cache folder.
    type: path
  refresh:
    description:
      - Ask Azure even where the cache knows the answer.
    type: bool
    default: false
  resource_group:
    description:
      - Resource group whose private providers are returned. Nothing of it is cached.
    type: str
  name:
    description:
      - The one private provider of O(resource_group) to return.
    type: str
  policies:
    description:
      - Attestation types whose policies are read from each private provider, such as V(AzureGuest).
      - Needs the role Attestation Reader on the providers, or one above it such as Reader.
    type: list
    elements: str
    default: []
seealso:
  - module: confidential.azure_skr.attestation_provider
  - module: confidential.azure_skr.exportable_key
  - plugin: confidential.azure_skr.release_policy
    plugin_type: filter
"""

EXAMPLES = r"""
- name: The authority of the region
  confidential.azure_skr.attestation_provider_info:
    location: westeurope
  register: provider

- name: A policy for it
  ansible.builtin.debug:
    msg: "{{ {'authority': provider.authority} | confidential.azure_skr.release_policy }}"

- name: The attestation policies of our own providers
  confidential.azure_skr.attestation_provider_info:
    resource_group: rg-web
    policies: [AzureGuest]
  register: ours
"""

RETURN = r"""
authority:
  description: Address of the region's shared provider, or of the private provider O(name).
  type: str
  returned: when O(location) or O(name) is given
providers:
  description:
    - C(location) and C(authority) of each provider.
    - Of private providers also C(id), C(name), C(trust_model), C(status), C(attest_url), C(tags) and, where asked for, C(policies) with
      C(text), C(sha256), C(policy_hash) and C(default) by attestation type.
  type: list
  elements: dict
  returned: success
cached:
  description: Whether the answer came from the cache.
  type: bool
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
    attestation_private,
    attestation_provider,
)
from ansible_collections.confidential.azure_skr.plugins.module_utils.azure.arguments import azure_argument_spec
from ansible_collections.confidential.azure_skr.plugins.module_utils.azure.clients import connection


def main() -> None:
    spec = {
        **azure_argument_spec(),
        "location": {"type": "str"},
        "cache_dir": {"type": "path"},
        "refresh": {"type": "bool", "default": False},
        "resource_group": {"type": "str"},
        "name": {"type": "str"},
        "policies": {"type": "list", "elements": "str", "default": []},
    }
    module = AnsibleModule(
        argument_spec=spec,
        mutually_exclusive=[("location", "resource_group")],
        required_by={"name": "resource_group"},
        supports_check_mode=True,
    )
    options = module.params

    def run() -> t.Dict[str, t.Any]:
        group = options["resource_group"]
        if group is not None:
            return attestation_private.info(connection(options), group, options["name"], options["policies"])
        cache = options["cache_dir"] or attestation_provider.default_cache()
        return attestation_provider.find(connection(options), options["location"], cache, options["refresh"])

    skin.run(module, run)


if __name__ == "__main__":
    main()
