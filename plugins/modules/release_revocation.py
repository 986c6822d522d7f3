#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: release_revocation
short_description: Take the release permission away from suspected VMs
version_added: 0.2.0
author:
  - confidential.azure_skr contributors (@confidential-azure)
description:
  - Takes the permission to release a key away from every identity of the suspected VMs, at the vault and at the key, by access policy, Azure
    RBAC or a managed HSM's local role, whichever holds there. Nothing is asked of the VMs, which may be cut off.
  - Tells what else would let them release this key all the same, such as a wider role, a grant above the vault or one of a group; and
    on which other vaults and keys the same identities have the permission.
  - An identity that is also that of other machines is told, and the call is refused unless O(shared) accepts it.
  - Every VM and scale set of the subscription is looked at for that. Machines of other subscriptions, and other kinds of resources and
    workloads that use a user-assigned identity, are not seen.
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
  vms:
    description:
      - Names or resource ids of the suspected VMs.
    type: list
    elements: str
    default: []
  vm_resource_group:
    description:
      - Resource group of the VMs that are given by name. By default that of the vault.
    type: str
  principals:
    description:
      - Object ids of further identities, such as the service principal of an application that the VMs sign in as.
    type: list
    elements: str
    default: []
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
      - Address of the managed HSM, such as V(https://myhsm.managedhsm.azure.net).
    type: str
  key_name:
    description:
      - Name of the key.
    type: str
    required: true
  action:
    description:
      - V(ungrant) takes the permission away, V(examine) only tells who the suspects are and what they hold.
    type: str
    choices: [ungrant, examine]
    default: ungrant
  shared:
    description:
      - Go on when an identity of the suspects is also that of other machines, which lose the permission too.
    type: bool
    default: false
  wait_timeout:
    description:
      - How long to wait until the control plane shows the change, in seconds. The vault itself may honour the grant for some
        minutes more, see M(confidential.azure_skr.release_probe).
    type: float
    default: 120
seealso:
  - module: confidential.azure_skr.release_access
  - module: confidential.azure_skr.release_probe
  - module: confidential.azure_skr.exportable_key
"""

EXAMPLES = r"""
- name: Two suspects may not release this key any more
  confidential.azure_skr.release_revocation:
    vault_name: kv-web-prod
    resource_group: rg-web
    key_name: tls-key
    vms: [web-07, web-08]

- name: What a suspect could release
  confidential.azure_skr.release_revocation:
    vault_name: kv-web-prod
    resource_group: rg-web
    key_name: tls-key
    vms: [web-07]
    action: examine
  register: found
"""

RETURN = r"""
grant_model:
  description: V(access_policy), V(rbac) or V(hsm_local).
  type: str
  returned: success
scope:
  description: The vault's resource id, or the managed HSM's address with C(/keys).
  type: str
  returned: success
suspects:
  description:
    - C(name), C(id), C(vm_id) of each VM, and its C(principals) with C(principal_id), C(kind), C(id), C(client_id) and the C(others) that have
      the identity too.
  type: list
  elements: dict
  returned: success
shared:
  description: Those of the identities that hold the permission and that other machines have too.
  type: list
  elements: dict
  returned: success
taken:
  description: C(principal_id), C(via), C(scope) and C(role) of each grant that was taken away.
  type: list
  elements: dict
  returned: success
remaining:
  description:
    - What still lets an identity of the suspects release this key; C(why) it was not taken away. With O(action=examine) all that does.
  type: list
  elements: dict
  returned: success
elsewhere:
  description:
    - The same for other keys and vaults of the subscription, or of this managed HSM. Null where that cannot be read.
  type: list
  elements: dict
  returned: success
waited_s:
  description: Seconds until the control plane showed the change.
  type: float
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
from ansible_collections.confidential.azure_skr.plugins.module_utils.azure import access, identity, revocation
from ansible_collections.confidential.azure_skr.plugins.module_utils.azure.arguments import azure_argument_spec
from ansible_collections.confidential.azure_skr.plugins.module_utils.azure.clients import connection


def main() -> None:
    spec = {
        **azure_argument_spec(),
        "vms": {"type": "list", "elements": "str", "default": []},
        "vm_resource_group": {"type": "str"},
        "principals": {"type": "list", "elements": "str", "default": []},
        "vault_name": {"type": "str"},
        "resource_group": {"type": "str"},
        "hsm_uri": {"type": "str"},
        "key_name": {"type": "str", "required": True, "no_log": False},
        "action": {"type": "str", "choices": ["ungrant", "examine"], "default": "ungrant"},
        "shared": {"type": "bool", "default": False},
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
        names = ("vault_name", "resource_group", "hsm_uri", "key_name", "shared", "wait_timeout")
        access.object_ids(options["principals"])
        with connection(options) as azure:
            group = options["vm_resource_group"] or options["resource_group"]
            wanted = revocation.Wanted(
                vms=tuple(identity.locate(options["vms"], group, azure.login.subscription_id)),
                principals=tuple(options["principals"]),
                take=options["action"] == "ungrant",
                **{name: options[name] for name in names},
            )
            return revocation.ensure(azure, wanted, module.check_mode)

    skin.run(module, run)


if __name__ == "__main__":
    main()
