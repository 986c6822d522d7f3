# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation fragment of the modules that make confidential VMs and scale sets of them."""

from __future__ import annotations


class ModuleDocFragment:
    """What a confidential VM is made of, and its identities."""

    DOCUMENTATION = r"""
options:
  resource_group:
    description:
      - Resource group. It must exist.
    type: str
    required: true
  location:
    description:
      - Azure region. Required for making it.
    type: str
  size:
    description:
      - Confidential VM size that the region offers; DCas, DCads, ECas and ECads for SNP, DCes, DCeds, ECes and ECeds for TDX. What is made
        has V(Standard_DC2as_v5) by default.
    type: str
    aliases: [vm_size]
  image:
    description:
      - Image for the OS disk, one for confidential VMs. Only used for making it, then Canonical's Ubuntu 24.04 by default.
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
      - First user. Only used for making it.
    type: str
    default: azureuser
  ssh_public_keys:
    description:
      - Public keys of the first user. At least one is required for making it, and only used then; passwords are off.
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
      - Secure boot. It is on unless this is V(false), and most release policies want it.
    type: bool
  disk_encryption_set_id:
    description:
      - Resource id of a disk encryption set with a customer key, for the OS disk; see M(confidential.azure_skr.disk_encryption_set). Needs
        O(security_encryption_type=DiskWithVMGuestState).
    type: str
  os_disk_type:
    description:
      - Kind of storage of the OS disk. Only used for making it.
    type: str
    default: Premium_LRS
  os_disk_size_gb:
    description:
      - Size of the OS disk in GiB. Only used for making it, then by default that of the image.
    type: int
  system_assigned:
    description:
      - Give it a system-assigned identity.
    type: bool
    default: true
  user_assigned:
    description:
      - User-assigned identities for it, by name (in O(resource_group)) or resource id. They must exist; others stay.
    type: list
    elements: str
    default: []
  tags:
    description:
      - Tags. They replace the tags it has; V({}) removes all.
    type: dict
"""
