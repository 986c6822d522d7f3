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
  - Uses access policies or Azure RBAC, whichever the vault uses, or the local roles of a managed HSM. Entries of others are never
    touched.
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
      - Name of the vault. Either this or O(hsm_uri).
    type: str
  resource_group:
    description:
      - Resource group of the vault; required with O(vault_name).
    type: str
  hsm_uri:
    description:
      - Address of the managed HSM, such as V(https://myhsm.managedhsm.azure.net). Azure roles mean nothing there; the local role
        Managed HSM Crypto Service Release User is assigned, for which the caller needs Managed HSM Policy Administrator.
    type: str
    version_added: 0.2.0
  principals:
    description:
      - Object ids (principal ids) of the identities.
      - They are joined with those of O(vms), O(scale_sets) and O(identities).
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
  scale_sets:
    description:
      - Names or resource ids of scale sets whose identities are meant.
    type: list
    elements: str
    default: []
    version_added: 0.2.0
  identities:
    description:
      - Names or resource ids of user-assigned identities. One for a whole fleet is one grant, however many VMs have it.
    type: list
    elements: str
    default: []
    version_added: 0.2.0
  vm_resource_group:
    description:
      - Resource group of the VMs, scale sets and identities that are given by name. By default that of the vault.
    type: str
    version_added: 0.2.0
  exclusive:
    description:
      - Take the permission away from everybody else who has it at this very scope.
      - Grants above the scope, and access policy entries with V(all), are left alone.
    type: bool
    default: false
    version_added: 0.2.0
  everyone:
    description:
      - With O(state=absent) take the permission from whoever has it at this very scope, without naming anybody.
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
    choices: [auto, access_policy, rbac, hsm_local]
    default: auto
  scope:
    description:
      - With roles, grant for the whole vault or HSM (there C(/keys)), or for one key.
      - Access policies always hold for the whole vault, so V(key) is refused for a vault that uses them.
    type: str
    choices: [vault, key]
    default: vault
  key_name:
    description:
      - Name of the key, for O(scope=key). In a vault the key must exist.
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

- name: One grant for a fleet that shares an identity
  confidential.azure_skr.release_access:
    vault_name: kv-web-prod
    resource_group: rg-web
    identities: [id-web]

- name: These VMs and nobody else
  confidential.azure_skr.release_access:
    vault_name: kv-web-prod
    resource_group: rg-web
    vms: [web-01, web-02]
    exclusive: true

- name: One key of a managed HSM
  confidential.azure_skr.release_access:
    hsm_uri: https://hsm-web-prod.managedhsm.azure.net
    scope: key
    key_name: tls-key
    vms: [web-01, web-02]
    vm_resource_group: rg-web

- name: Nobody may release from this vault any more
  confidential.azure_skr.release_access:
    vault_name: kv-web-prod
    resource_group: rg-web
    everyone: true
    state: absent

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
from ansible_collections.confidential.azure_skr.plugins.module_utils.azure import access, identity, user_identity
from ansible_collections.confidential.azure_skr.plugins.module_utils.azure.arguments import azure_argument_spec
from ansible_collections.confidential.azure_skr.plugins.module_utils.azure.clients import connection


def main() -> None:
    spec = {
        **azure_argument_spec(),
        "vault_name": {"type": "str"},
        "resource_group": {"type": "str"},
        "hsm_uri": {"type": "str"},
        "principals": {"type": "list", "elements": "str", "default": []},
        "vms": {"type": "list", "elements": "str", "default": []},
        "scale_sets": {"type": "list", "elements": "str", "default": []},
        "identities": {"type": "list", "elements": "str", "default": []},
        "vm_resource_group": {"type": "str"},
        "exclusive": {"type": "bool", "default": False},
        "everyone": {"type": "bool", "default": False},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "grant_model": {"type": "str", "choices": ["auto", "access_policy", "rbac", "hsm_local"], "default": "auto"},
        "scope": {"type": "str", "choices": ["vault", "key"], "default": "vault"},
        "key_name": {"type": "str", "no_log": False},
        "wait": {"type": "bool", "default": True},
        "wait_timeout": {"type": "float", "default": 120},
    }
    module = AnsibleModule(
        argument_spec=spec,
        mutually_exclusive=[["vault_name", "hsm_uri"]],
        required_one_of=[["vault_name", "hsm_uri"]],
        required_by={"vault_name": ["resource_group"]},
        supports_check_mode=True,
    )
    options = module.params

    def run() -> t.Dict[str, t.Any]:
        names = (
            *("vault_name", "resource_group", "hsm_uri", "grant_model", "scope", "key_name"),
            *("exclusive", "everyone", "wait", "wait_timeout"),
        )
        with connection(options) as azure:
            group = options["vm_resource_group"] or options["resource_group"]
            subscription = azure.login.subscription_id
            vms = identity.locate(options["vms"], group, subscription)
            vms += identity.locate(options["scale_sets"], group, subscription, scale_sets=True)
            users = options["identities"]
            ids = user_identity.resource_ids(users, group, azure.subscription_id, "identities") if users else []
            found = [*(identity.principals(azure, vms) if vms else []), *user_identity.principals(azure, ids)]
            wanted = access.Wanted(
                principals=tuple(dict.fromkeys([*options["principals"], *found])),
                present=options["state"] == "present",
                **{name: options[name] for name in names},
            )
            return access.ensure(azure, wanted, module.check_mode)

    skin.run(module, run)


if __name__ == "__main__":
    main()
