#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: release_access_info
short_description: List who may release the keys of a vault or managed HSM
version_added: 0.3.0
author:
  - confidential.azure_skr contributors (@confidential-azure)
description:
  - Lists everybody who has the permission to release, however it was given; by an access policy, by an Azure role (a custom one too) at the vault,
    above it or at one of its keys, or by a local role of a managed HSM. Administrators, whose roles hold the permission among others, are listed too.
  - The permission alone releases nothing; whoever has it must also meet the key's release policy.
  - A role that is given to a group is one entry, of RV(access[].principal_type) V(Group); who is in it is not looked up.
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
  vault_name:
    description:
      - Name of the vault. Either this or O(hsm_uri).
    type: str
  resource_group:
    description:
      - Resource group of the vault.
    type: str
  hsm_uri:
    description:
      - Address of the managed HSM.
    type: str
  key_name:
    description:
      - Only whom the permission lets release this key. By default the grants at all single keys are listed too.
    type: str
seealso:
  - module: confidential.azure_skr.release_access
  - module: confidential.azure_skr.exportable_key_info
"""

EXAMPLES = r"""
- name: Who may release the key
  confidential.azure_skr.release_access_info:
    vault_name: kv-web-prod
    resource_group: rg-web
    key_name: tls-key
  register: found

- name: Everybody who is no service principal
  ansible.builtin.debug:
    msg: "{{ found.access | rejectattr('principal_type', 'equalto', 'ServicePrincipal') }}"
"""

RETURN = r"""
grant_model:
  description: How the vault or HSM gives permissions.
  type: str
  returned: success
access:
  description: Who may release, ordered by principal.
  type: list
  elements: dict
  returned: success
  contains:
    principal_id:
      description: Object id of the identity, user or group.
      type: str
    principal_type:
      description: Such as V(ServicePrincipal), V(User) or V(Group), where the service tells it; access policies and managed HSMs do not.
      type: str
    via:
      description: V(rbac), V(access_policy) or V(hsm_local).
      type: str
    scope:
      description: Where the permission holds.
      type: str
    role:
      description: Name of the role; of an access policy V(release) or V(all).
      type: str
    condition:
      description: The condition of the role assignment, which is not evaluated here.
      type: str
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
from ansible_collections.confidential.azure_skr.plugins.module_utils.azure import access_info
from ansible_collections.confidential.azure_skr.plugins.module_utils.azure.arguments import azure_argument_spec
from ansible_collections.confidential.azure_skr.plugins.module_utils.azure.clients import connection


def main() -> None:
    spec = {
        **azure_argument_spec(),
        "vault_name": {"type": "str"},
        "resource_group": {"type": "str"},
        "hsm_uri": {"type": "str"},
        "key_name": {"type": "str", "no_log": False},
    }
    module = AnsibleModule(
        argument_spec=spec,
        mutually_exclusive=[["vault_name", "hsm_uri"]],
        required_one_of=[["vault_name", "hsm_uri"]],
        required_by={"vault_name": ["resource_group"]},
        supports_check_mode=True,
    )
    names = ("vault_name", "resource_group", "hsm_uri", "key_name")

    def run() -> t.Dict[str, t.Any]:
        with connection(module.params) as azure:
            return access_info.info(azure, *(module.params[name] for name in names))

    skin.run(module, run)


if __name__ == "__main__":
    main()
