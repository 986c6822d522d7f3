#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: exportable_key_info
short_description: Show exportable keys and who could get them
version_added: 0.2.0
author:
  - confidential.azure_skr contributors (@confidential-azure)
description:
  - Shows one key, or all exportable keys of a vault, with attributes and release policy, what is wrong with the policy, and in plain words
    who could get the key.
  - A key that does not exist is no failure; RV(keys) is empty then.
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
  vault_uri:
    description:
      - Address of the vault, such as V(https://myvault.vault.azure.net). Either this or O(hsm_uri).
    type: str
  hsm_uri:
    description:
      - Address of the managed HSM, such as V(https://myhsm.managedhsm.azure.net).
    type: str
  key_name:
    description:
      - Name of the key. Without it all exportable keys of the vault are shown, one request for each.
    type: str
  deleted:
    description:
      - Also list soft-deleted keys, which needs the permission to list them.
    type: bool
    default: false
  attestation:
    description:
      - Also fetch the managed HSM's attestation of each key, one more request for each. Vaults offer none.
    type: bool
    default: false
seealso:
  - module: confidential.azure_skr.exportable_key
  - plugin: confidential.azure_skr.policy_explain
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Who could get this key
  confidential.azure_skr.exportable_key_info:
    vault_uri: https://kv-web-prod.vault.azure.net
    key_name: tls-key
  register: found

- name: In plain words
  ansible.builtin.debug:
    msg: "{{ found['keys'][0].explanation }}"
"""

RETURN = r"""
keys:
  description: The keys.
  type: list
  elements: dict
  returned: success
  contains:
    name:
      description: Name of the key.
      type: str
    kid:
      description: Key identifier of the latest version.
      type: str
    release_policy:
      description: The decoded release policy in canonical form.
      type: dict
    policy_sha256:
      description: Digest of what the policy means, the same however the vault writes it.
      type: str
    immutable:
      description: Whether the policy can never be changed again.
      type: bool
    explanation:
      description: Who could get the key, in plain words.
      type: str
    lint:
      description: Findings on the policy.
      type: list
      elements: dict
    versions:
      description: All versions, newest first; only with O(key_name).
      type: list
      elements: dict
    public_key_pem:
      description: The public half; only with O(key_name).
      type: str
    attestation:
      description:
        - The HSM's signed statement that it holds the key, for Microsoft's verification tool; C(certificate_pem),
          C(private_key_attestation) and C(public_key_attestation) in base64, C(version). None of a vault's key.
      type: dict
      returned: when O(attestation) is true
deleted:
  description: C(name), C(deleted_on) and C(purge_on) of soft-deleted keys.
  type: list
  elements: dict
  returned: when O(deleted) is true
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
from ansible_collections.confidential.azure_skr.plugins.module_utils.azure import key_info, key_target
from ansible_collections.confidential.azure_skr.plugins.module_utils.azure.arguments import azure_argument_spec
from ansible_collections.confidential.azure_skr.plugins.module_utils.azure.clients import connection


def main() -> None:
    spec = {
        **azure_argument_spec(),
        "vault_uri": {"type": "str"},
        "hsm_uri": {"type": "str"},
        "key_name": {"type": "str", "no_log": False},
        "deleted": {"type": "bool", "default": False},
        "attestation": {"type": "bool", "default": False},
    }
    module = AnsibleModule(
        argument_spec=spec,
        mutually_exclusive=[["vault_uri", "hsm_uri"]],
        required_one_of=[["vault_uri", "hsm_uri"]],
        supports_check_mode=True,
    )
    options = module.params

    def run() -> t.Dict[str, t.Any]:
        name = options["key_name"]
        at = key_target.target(options["vault_uri"], options["hsm_uri"], name or "any")
        with connection(options) as azure:
            return key_info.info(azure, at, name, options["deleted"], options["attestation"])

    skin.run(module, run)


if __name__ == "__main__":
    main()
