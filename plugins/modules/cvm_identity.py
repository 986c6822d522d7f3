#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cvm_identity
short_description: Give confidential VMs their managed identity
version_added: 0.1.0
author:
  - confidential.azure_skr contributors (@confidential-azure)
description:
  - Gives VMs a system-assigned managed identity, many in one call. Other identities stay.
  - One VM's failure does not stop the others; the result tells all of them.
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
      - Names or resource ids of the VMs. Ids must be of the subscription that O(subscription_id) names.
      - At most sixteen are written at a time. When Azure throttles, all wait, and RV(throttled_s) tells how long.
    type: list
    elements: str
  scale_sets:
    description:
      - Names or resource ids of scale sets. The identity is that of the set; its instances have none of their own.
    type: list
    elements: str
    version_added: 0.2.0
  upgrade_instances:
    description:
      - Bring the instances of a changed scale set with manual upgrade mode up to date at once. B(This also brings every other pending
        change of the set's model.) Without, they get the identity with their next upgrade.
    type: bool
    default: false
    version_added: 0.2.0
  resource_group:
    description:
      - Resource group of the VMs and scale sets that are given by name.
    type: str
  system_assigned:
    description:
      - Whether O(state) is about the system-assigned identity. By default it is unless O(user_assigned) is given.
    type: bool
    version_added: 0.2.0
  user_assigned:
    description:
      - User-assigned identities that O(state) is about, by name (in O(resource_group)) or resource id.
      - Identities that are not named stay as they are.
    type: list
    elements: str
    default: []
    version_added: 0.2.0
  location:
    description:
      - Azure region for user-assigned identities that do not exist yet; they are made there.
      - Without it a missing identity is a failure.
    type: str
    version_added: 0.2.0
  state:
    description:
      - V(present) gives the VMs the identities, V(absent) takes them away. The identities themselves are never deleted.
      - A system-assigned identity that is taken away comes back with another principal, and its grants are of no use any more.
    type: str
    choices: [present, absent]
    default: present
    version_added: 0.2.0
seealso:
  - name: What are managed identities for Azure resources
    description: The feature as Microsoft documents it.
    link: https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/overview
  - module: confidential.azure_skr.release_access
"""

EXAMPLES = r"""
- name: Identities for three VMs
  confidential.azure_skr.cvm_identity:
    resource_group: rg-web
    vms: [web-01, web-02, web-03]
  register: identities

- name: One identity for the whole fleet, made where it is missing, so that one grant is enough
  confidential.azure_skr.cvm_identity:
    resource_group: rg-web
    vms: [web-01, web-02, web-03]
    user_assigned: [id-web-skr]
    location: westeurope

- name: They may release
  confidential.azure_skr.release_access:
    vault_name: kv-web-prod
    resource_group: rg-web
    principals: "{{ identities.vms | map(attribute='principal_id') | list }}"
"""

RETURN = r"""
vms:
  description: What is known of each VM, and whether it was changed.
  type: list
  elements: dict
  returned: success
  contains:
    name:
      description: Name of the VM or scale set.
      type: str
    kind:
      description: V(vm) or V(scale_set).
      type: str
    id:
      description: Resource id of the VM.
      type: str
    vm_id:
      description: The VM's own id, a GUID.
      type: str
    principal_id:
      description: Object id of the system-assigned identity.
      type: str
    tenant_id:
      description: Tenant of the identity.
      type: str
    user_assigned:
      description: Resource ids and client ids of the user-assigned identities.
      type: list
      elements: dict
    changed:
      description: Whether this VM was changed.
      type: bool
throttled_s:
  description: Seconds, summed over all requests, for which the module held requests back because of Azure's limits.
  type: float
  returned: success
identities_made:
  description: Resource ids of the user-assigned identities that were made.
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
from ansible_collections.confidential.azure_skr.plugins.module_utils.azure import identity, user_identity
from ansible_collections.confidential.azure_skr.plugins.module_utils.azure.arguments import azure_argument_spec
from ansible_collections.confidential.azure_skr.plugins.module_utils.azure.clients import connection


def main() -> None:
    spec = {
        **azure_argument_spec(),
        "vms": {"type": "list", "elements": "str"},
        "scale_sets": {"type": "list", "elements": "str"},
        "upgrade_instances": {"type": "bool", "default": False},
        "resource_group": {"type": "str"},
        "system_assigned": {"type": "bool"},
        "user_assigned": {"type": "list", "elements": "str", "default": []},
        "location": {"type": "str"},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    }
    module = AnsibleModule(argument_spec=spec, required_one_of=[["vms", "scale_sets"]], supports_check_mode=True)
    options = module.params

    def run() -> t.Dict[str, t.Any]:
        with connection(options) as azure:
            group, subscription = options["resource_group"], azure.login.subscription_id
            vms = identity.locate(options["vms"] or [], group, subscription)
            vms += identity.locate(options["scale_sets"] or [], group, subscription, scale_sets=True)
            names = options["user_assigned"]
            users = user_identity.resource_ids(names, group, azure.subscription_id) if names else []
            system = options["system_assigned"] if options["system_assigned"] is not None else not users
            wanted = identity.Wanted(system, tuple(users), options["state"] == "present")
            made = user_identity.ensure(azure, users, options["location"], module.check_mode) if wanted.present else []
            return identity.ensure(azure, vms, module.check_mode, wanted, made, options["upgrade_instances"])

    skin.run(module, run)


if __name__ == "__main__":
    main()
