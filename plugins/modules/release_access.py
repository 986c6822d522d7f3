#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: release_access
short_description: Manage the permission to release a key
version_added: 0.1.0
author:
  - confidential.azure_skr contributors (@confidential-azure)
description:
  - Grants the permission to release keys, and nothing else, to managed identities, or takes it away.
  - Uses access policies or Azure RBAC, whichever the vault uses. Entries of others are never touched.
  - Waits until the control plane shows the change. Whether the vault honours a new grant already is something only the VM can observe,
    by releasing; see O(confidential.azure_skr.key_release#module:wait_for_grant).
extends_documentation_fragment:
  - confidential.azure_skr.azure
  - confidential.azure_skr.attributes
  - confidential.azure_skr.attributes.azure
attributes:
  check_mode:
    support: full
    details:
      - A vault that is not there yet counts as one that an earlier task makes, with a warning.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  vault_name:
    description:
      - Name of the vault.
    type: str
    required: true
  resource_group:
    description:
      - Resource group of the vault.
    type: str
    required: true
  principals:
    description:
      - Object ids (principal ids) of the identities.
      - They are joined with those of O(vms).
    type: list
    elements: str
    default: []
  vms:
    description:
      - Names or resource ids of VMs whose identities are meant, all that they have.
    type: list
    elements: str
    default: []
    version_added: 0.2.0
  vm_resource_group:
    description:
      - Resource group of the VMs that are given by name. By default that of the vault.
    type: str
    version_added: 0.2.0
  exclusive:
    description:
      - Take the permission away from everybody else who has it at this very scope.
      - Grants above the scope, and access policy entries with V(all), are left alone.
    type: bool
    default: false
    version_added: 0.2.0
  state:
    description:
      - Whether the identities shall have the permission.
    type: str
    choices: [present, absent]
    default: present
  grant_model:
    description:
      - How to grant. V(auto) takes what the vault uses; a model that the vault does not use is refused.
    type: str
    choices: [auto, access_policy, rbac]
    default: auto
  scope:
    description:
      - With Azure RBAC, grant for the whole vault or for one key.
      - Access policies always hold for the whole vault, so V(key) is refused for a vault that uses them.
    type: str
    choices: [vault, key]
    default: vault
  key_name:
    description:
      - Name of the key, for O(scope=key). The key must exist.
    type: str
  wait:
    description:
      - Wait until the control plane shows the change.
    type: bool
    default: true
  wait_timeout:
    description:
      - How long to wait, in seconds; also for a new identity to become known to the directory.
    type: float
    default: 120
seealso:
  - name: Azure built-in roles for Key Vault data plane operations
    description: The roles as Microsoft documents them.
    link: https://learn.microsoft.com/azure/key-vault/general/rbac-guide
  - module: confidential.azure_skr.key_release
"""

EXAMPLES = r"""
- name: Two VMs may release
  confidential.azure_skr.release_access:
    vault_name: kv-web-prod
    resource_group: rg-web
    principals:
      - 11111111-1111-4111-8111-111111111111
      - 22222222-2222-4222-8222-222222222222

- name: These VMs and nobody else
  confidential.azure_skr.release_access:
    vault_name: kv-web-prod
    resource_group: rg-web
    vms: [web-01, web-02]
    exclusive: true

- name: Least privilege with Azure RBAC, one key only
  confidential.azure_skr.release_access:
    vault_name: kv-web-prod
    resource_group: rg-web
    scope: key
    key_name: tls-key
    principals: "{{ identities.vms | map(attribute='principal_id') | list }}"
"""

RETURN = r"""
grant_model:
  description: The model that was used.
  type: str
  returned: success
scope:
  description: Resource id at which the permission holds.
  type: str
  returned: success
waited_s:
  description: Seconds until the control plane showed the change.
  type: float
  returned: success
principals:
  description: What holds for each identity, and whether it was changed.
  type: list
  elements: dict
  returned: success
revoked:
  description: Object ids of others who lost the permission because of O(exclusive).
  type: list
  elements: str
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
from ansible_collections.confidential.azure_skr.plugins.module_utils.azure import access, identity
from ansible_collections.confidential.azure_skr.plugins.module_utils.azure.arguments import azure_argument_spec
from ansible_collections.confidential.azure_skr.plugins.module_utils.azure.clients import connection


def main() -> None:
    spec = {
        **azure_argument_spec(),
        "vault_name": {"type": "str", "required": True},
        "resource_group": {"type": "str", "required": True},
        "principals": {"type": "list", "elements": "str", "default": []},
        "vms": {"type": "list", "elements": "str", "default": []},
        "vm_resource_group": {"type": "str"},
        "exclusive": {"type": "bool", "default": False},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "grant_model": {"type": "str", "choices": ["auto", "access_policy", "rbac"], "default": "auto"},
        "scope": {"type": "str", "choices": ["vault", "key"], "default": "vault"},
        "key_name": {"type": "str", "no_log": False},
        "wait": {"type": "bool", "default": True},
        "wait_timeout": {"type": "float", "default": 120},
    }
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    options = module.params

    def run() -> t.Dict[str, t.Any]:
        names = (
            "vault_name",
            "resource_group",
            "grant_model",
            "scope",
            "key_name",
            "exclusive",
            "wait",
            "wait_timeout",
        )
        azure = connection(options)
        group = options["vm_resource_group"] or options["resource_group"]
        vms = identity.locate(options["vms"], group, azure.login.subscription_id)
        of_vms = identity.principals(azure, vms) if vms else []
        wanted = access.Wanted(
            principals=tuple(dict.fromkeys([*options["principals"], *of_vms])),
            present=options["state"] == "present",
            **{name: options[name] for name in names},
        )
        return access.ensure(azure, wanted, module.check_mode)

    skin.run(module, run)


if __name__ == "__main__":
    main()
