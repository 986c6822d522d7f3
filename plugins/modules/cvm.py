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
  resource_group:
    description:
      - Resource group of the VM. It must exist.
    type: str
    required: true
  location:
    description:
      - Azure region. Required when the VM is made.
    type: str
  size:
    description:
      - Confidential VM size that the region offers; DCas, DCads, ECas and ECads for SNP, DCes, DCeds, ECes and ECeds for TDX. A new VM has
        V(Standard_DC2as_v5) by default.
    type: str
    aliases: [vm_size]
  zone:
    description:
      - Availability zone.
    type: str
  image:
    description:
      - Image for the OS disk, one for confidential VMs. Only used when the VM is made, then Canonical's Ubuntu 24.04 by default.
    type: dict
    suboptions:
      id:
        description: Resource id of an image version in a gallery, instead of the others.
        type: str
      publisher:
        description: Publisher.
        type: str
      offer:
        description: Offer.
        type: str
      sku:
        description: SKU.
        type: str
      version:
        description: Version, by default the latest.
        type: str
  admin_username:
    description:
      - First user. Only used when the VM is made.
    type: str
    default: azureuser
  ssh_public_keys:
    description:
      - Public keys of the first user. At least one is required when the VM is made, and only used then; passwords are off.
    type: list
    elements: str
    default: []
  security_encryption_type:
    description:
      - What is encrypted with the VM's own key. V(VMGuestStateOnly), by default, is the vTPM's state; V(DiskWithVMGuestState) also the OS
        disk; with V(NonPersistedTPM) the vTPM is a new one after every boot.
    type: str
    choices: [VMGuestStateOnly, DiskWithVMGuestState, NonPersistedTPM]
  secure_boot_enabled:
    description:
      - Secure boot. A new VM has it unless this is V(false), and most release policies want it.
    type: bool
  disk_encryption_set_id:
    description:
      - Resource id of a disk encryption set with a customer key, for the OS disk; see M(confidential.azure_skr.disk_encryption_set). Needs
        O(security_encryption_type=DiskWithVMGuestState).
    type: str
  os_disk_type:
    description:
      - Kind of storage of the OS disk. Only used when the VM is made.
    type: str
    default: Premium_LRS
  os_disk_size_gb:
    description:
      - Size of the OS disk in GiB. Only used when the VM is made, then by default that of the image.
    type: int
  network_interface_id:
    description:
      - Resource id of the network interface. It stays when the VM is deleted.
      - Without it the VM gets an interface of its own, C(NAME-nic), in a network C(cvm-network) of the resource group; what is missing of
        these is made. The interface goes with the VM.
    type: str
  system_assigned:
    description:
      - Give the VM a system-assigned identity.
    type: bool
    default: true
  user_assigned:
    description:
      - User-assigned identities for the VM, by name (in O(resource_group)) or resource id. They must exist; others stay.
    type: list
    elements: str
    default: []
  tags:
    description:
      - Tags of the VM. They replace the tags it has; V({}) removes all.
    type: dict
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
from ansible_collections.confidential.azure_skr.plugins.module_utils.azure import cvm, cvm_body, identity, user_identity
from ansible_collections.confidential.azure_skr.plugins.module_utils.azure.arguments import azure_argument_spec
from ansible_collections.confidential.azure_skr.plugins.module_utils.azure.clients import connection


def main() -> None:
    spec = {
        **azure_argument_spec(),
        "name": {"type": "str", "required": True},
        "resource_group": {"type": "str", "required": True},
        "location": {"type": "str"},
        "size": {"type": "str", "aliases": ["vm_size"]},
        "zone": {"type": "str"},
        "image": {
            "type": "dict",
            "options": {part: {"type": "str"} for part in ("id", "publisher", "offer", "sku", "version")},
        },
        "admin_username": {"type": "str", "default": "azureuser"},
        # Not secret, but somebody may paste the private half.
        "ssh_public_keys": {"type": "list", "elements": "str", "default": [], "no_log": True},
        "security_encryption_type": {"type": "str", "choices": list(cvm_body.ENCRYPTION)},
        "secure_boot_enabled": {"type": "bool"},
        "disk_encryption_set_id": {"type": "str"},
        "os_disk_type": {"type": "str", "default": "Premium_LRS"},
        "os_disk_size_gb": {"type": "int"},
        "network_interface_id": {"type": "str"},
        "system_assigned": {"type": "bool", "default": True},
        "user_assigned": {"type": "list", "elements": "str", "default": []},
        "tags": {"type": "dict"},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    }
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    options = module.params

    def run() -> t.Dict[str, t.Any]:
        with connection(options) as azure:
            names = (
                *("name", "resource_group", "location", "size", "zone", "image", "admin_username", "tags"),
                *("security_encryption_type", "secure_boot_enabled", "disk_encryption_set_id"),
                *("os_disk_type", "os_disk_size_gb", "network_interface_id"),
            )
            group, users = options["resource_group"], options["user_assigned"]
            ids = user_identity.resource_ids(users, group, azure.subscription_id) if users else []
            wanted = cvm.Wanted(
                ssh_public_keys=tuple(options["ssh_public_keys"]),
                identities=identity.Wanted(options["system_assigned"], tuple(ids)),
                present=options["state"] == "present",
                **{name: options[name] for name in names},
            )
            return cvm.ensure(azure, wanted, module.check_mode)

    skin.run(module, run)


if __name__ == "__main__":
    main()
