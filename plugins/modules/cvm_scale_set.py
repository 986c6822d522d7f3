#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cvm_scale_set
short_description: Manage a scale set of confidential VMs
version_added: 0.2.0
author:
  - confidential.azure_skr contributors (@confidential-azure)
description:
  - Makes a scale set of confidential Linux VMs (orchestration mode Uniform) with everything that Secure Key Release needs, or deletes it.
  - All instances share the identity of the set, so one grant covers those that are there and those to come.
  - Security type, size, firmware, disk encryption, network and upgrade mode are fixed when the set is made; a difference is refused, never
    ignored. Identities are added, tags replaced and the number of instances changed on a set that is there.
  - Nothing from outside reaches an instance; there is no public address and no inbound rule.
extends_documentation_fragment:
  - confidential.azure_skr.azure
  - confidential.azure_skr.machine
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
      - Name of the scale set; the host names of its instances begin with it.
    type: str
    required: true
  capacity:
    description:
      - Number of instances. A new set has one by default.
    type: int
  upgrade_mode:
    description:
      - How instances get a changed model. V(Manual) by default; then a new identity reaches the instances with their next upgrade, see
        O(confidential.azure_skr.cvm_identity#module:upgrade_instances).
    type: str
    choices: [Manual, Automatic, Rolling]
  zones:
    description:
      - Availability zones.
    type: list
    elements: str
    default: []
  subnet_id:
    description:
      - Resource id of the subnet of the instances.
      - Without it they are in the network C(cvm-network) of the resource group; what is missing of it is made.
    type: str
  state:
    description:
      - V(absent) deletes the set with its instances and their disks.
    type: str
    choices: [present, absent]
    default: present
seealso:
  - name: About Azure confidential VMs
    description: Sizes, encryption and limits as Microsoft documents them.
    link: https://learn.microsoft.com/azure/confidential-computing/confidential-vm-overview
  - module: confidential.azure_skr.cvm
  - module: confidential.azure_skr.cvm_identity
"""

EXAMPLES = r"""
- name: Three SNP VMs in a simple network of their own
  confidential.azure_skr.cvm_scale_set:
    name: web
    resource_group: rg-web
    location: westeurope
    capacity: 3
    ssh_public_keys:
      - "{{ lookup('ansible.builtin.file', '~/.ssh/id_ed25519.pub') }}"
  register: made

- name: All of them may release keys from this vault
  confidential.azure_skr.release_access:
    vault_name: kv-web-prod
    resource_group: rg-web
    scale_sets: [web]
"""

RETURN = r"""
scale_set:
  description: The set as it is, or in check mode as it would be.
  type: dict
  returned: success
  contains:
    id:
      description: Resource id.
      type: str
    capacity:
      description: Number of instances.
      type: int
    tee_type:
      description: V(sevsnpvm) or V(tdxvm).
      type: str
    principal_id:
      description: Object id of the system-assigned identity.
      type: str
    problems:
      description: In words what keeps the instances from releasing keys, as far as it shows from outside.
      type: list
      elements: str
network_made:
  description: Which parts of the simple network were made; V(security_group), V(network).
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
from ansible_collections.confidential.azure_skr.plugins.module_utils.azure import (
    cvm_body,
    cvm_scale_set,
)
from ansible_collections.confidential.azure_skr.plugins.module_utils.azure.arguments import (
    azure_argument_spec,
    machine_argument_spec,
)
from ansible_collections.confidential.azure_skr.plugins.module_utils.azure.clients import connection


def main() -> None:
    spec = {
        **azure_argument_spec(),
        **machine_argument_spec(),
        "capacity": {"type": "int"},
        "upgrade_mode": {"type": "str", "choices": list(cvm_scale_set.UPGRADE_MODES)},
        "zones": {"type": "list", "elements": "str", "default": []},
        "subnet_id": {"type": "str"},
    }
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    options = module.params

    def run() -> t.Dict[str, t.Any]:
        with connection(options) as azure:
            machine = cvm_body.machine(options, azure.subscription_id)
            wanted = cvm_scale_set.Wanted(
                zones=tuple(options["zones"]),
                **machine,
                **{name: options[name] for name in ("capacity", "upgrade_mode", "subnet_id")},
            )
            return cvm_scale_set.ensure(azure, wanted, module.check_mode)

    skin.run(module, run)


if __name__ == "__main__":
    main()
