#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: attestation_provider_info
short_description: Find the shared attestation provider of a region
version_added: 0.2.0
author:
  - confidential.azure_skr contributors (@confidential-azure)
description:
  - Asks Azure Resource Manager for the shared attestation provider of a region, which is the authority of release policies and the
    O(confidential.azure_skr.key_release#module:attestation_url) of VMs there. It is never guessed from the region's name.
  - What Azure told is cached on the controller, because a region's authority does not move.
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
seealso:
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
"""

RETURN = r"""
authority:
  description: Address of the region's shared provider.
  type: str
  returned: when O(location) is given
providers:
  description: C(location) and C(authority) of each provider.
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

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.confidential.azure_skr.plugins.module_utils import skin
from ansible_collections.confidential.azure_skr.plugins.module_utils.azure import attestation_provider
from ansible_collections.confidential.azure_skr.plugins.module_utils.azure.arguments import azure_argument_spec
from ansible_collections.confidential.azure_skr.plugins.module_utils.azure.clients import connection


def main() -> None:
    spec = {
        **azure_argument_spec(),
        "location": {"type": "str"},
        "cache_dir": {"type": "path"},
        "refresh": {"type": "bool", "default": False},
    }
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    options = module.params
    cache = options["cache_dir"] or attestation_provider.default_cache()
    skin.run(
        module,
        lambda: attestation_provider.find(connection(options), options["location"], cache, options["refresh"]),
    )


if __name__ == "__main__":
    main()
