#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cvm
short_description: Manage a confidential VM
version_added: 0.2.0
author:
  - confidential.azure_skr contributors (@confidential-azure)
description:
  - Makes a confidential Linux VM with everything that Secure Key Release needs, or deletes it.
  - Security type, size, firmware and disk encryption are fixed when the VM is made; a difference is refused, never ignored. Identities
    are added and tags replaced on a VM that is there.
  - Nothing from outside reaches a VM in the simple network that this module makes; there is no public address and no inbound rule.
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
      - Name of the VM, also its host name.
    type: str
    required: true
  zone:
    description:
      - Availability zone.
    type: str
  network_interface_id:
    description:
      - Resource id of the network interface. It stays when the VM is deleted.
      - Without it the VM gets an interface of its own, C(NAME-nic), in a network C(cvm-network) of the resource group; what is missing of
        these is made. The interface goes with the VM.
    type: str
  state:
    description:
      - V(absent) deletes the VM with its OS disk and the interface that this module made.
    type: str
    choices: [present, absent]
    default: present
seealso:
  - name: About Azure confidential VMs
    description: Sizes, encryption and limits as Microsoft documents them.
    link: https://learn.microsoft.com/azure/confidential-computing/confidential-vm-overview
  - module: confidential.azure_skr.cvm_info
  - module: confidential.azure_skr.cvm_identity
"""

EXAMPLES = r"""
- name: An SNP VM in a simple network of its own
  confidential.azure_skr.cvm:
    name: web-01
    resource_group: rg-web
    location: westeurope
    ssh_public_keys:
      - "{{ lookup('ansible.builtin.file', '~/.ssh/id_ed25519.pub') }}"

- name: A TDX VM with an encrypted OS disk on a given interface
  confidential.azure_skr.cvm:
    name: db-01
    resource_group: rg-web
    location: westeurope
    size: Standard_DC4es_v6
    security_encryption_type: DiskWithVMGuestState
    network_interface_id: "{{ interface.id }}"
    ssh_public_keys: "{{ keys }}"
    user_assigned: [id-web]
"""

RETURN = r"""
vm:
  description: The VM as it is, or in check mode as it would be.
  type: dict
  returned: success
  contains:
    id:
      description: Resource id.
      type: str
    vm_id:
      description: The VM's own id, a GUID, to which a release policy can be bound.
      type: str
    tee_type:
      description: V(sevsnpvm) or V(tdxvm).
      type: str
    principal_id:
      description: Object id of the system-assigned identity.
      type: str
    problems:
      description: In words what keeps the VM from releasing keys, as far as it shows from outside.
      type: list
      elements: str
network_made:
  description: Which parts of the simple network were made; V(security_group), V(network), V(interface).
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
from ansible_collections.confidential.azure_skr.plugins.module_utils.azure import cvm, cvm_body
from ansible_collections.confidential.azure_skr.plugins.module_utils.azure.arguments import (
    azure_argument_spec,
    machine_argument_spec,
)
from ansible_collections.confidential.azure_skr.plugins.module_utils.azure.clients import connection


def main() -> None:
    spec = {
        **azure_argument_spec(),
        **machine_argument_spec(),
        "zone": {"type": "str"},
        "network_interface_id": {"type": "str"},
    }
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    options = module.params

    def run() -> t.Dict[str, t.Any]:
        with connection(options) as azure:
            machine = cvm_body.machine(options, azure.subscription_id)
            wanted = cvm.Wanted(**machine, **{name: options[name] for name in ("zone", "network_interface_id")})
            return cvm.ensure(azure, wanted, module.check_mode)

    skin.run(module, run)


if __name__ == "__main__":
    main()
