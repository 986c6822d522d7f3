#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: disk_encryption_set
short_description: Manage a disk encryption set for confidential VMs
version_added: 0.2.0
author:
  - confidential.azure_skr contributors (@confidential-azure)
description:
  - Makes a disk encryption set of the type that the OS disks of confidential VMs need, with a customer key, or changes its key.
  - The key encrypts disks for the platform and is another one than an application's. Its vault needs purge protection.
  - The set's identity needs the role Key Vault Crypto Service Encryption User on the key, and the platform's principal Confidential VM
    Orchestrator (application id C(bf7b6499-ff71-4aa2-97a4-f372087be7f0)) Key Vault Crypto Service Release User.
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
      - Name of the disk encryption set.
    type: str
    required: true
  resource_group:
    description:
      - Resource group of the disk encryption set. It must exist.
    type: str
    required: true
  location:
    description:
      - Azure region, that of the VMs. Required when the set is made.
    type: str
  key_url:
    description:
      - Identifier of the key's version. Required when the set is made.
    type: str
  vault_id:
    description:
      - Resource id of the vault that holds the key; nothing for the key of a managed HSM.
    type: str
  tags:
    description:
      - Tags. They replace the tags it has; V({}) removes all.
    type: dict
  state:
    description:
      - V(absent) deletes the set. Azure refuses while a disk uses it.
    type: str
    choices: [present, absent]
    default: present
seealso:
  - module: confidential.azure_skr.cvm
"""

EXAMPLES = r"""
- name: Encrypt OS disks with our own key
  confidential.azure_skr.disk_encryption_set:
    name: des-web
    resource_group: rg-web
    location: westeurope
    key_url: "{{ disk_key.kid }}"
    vault_id: "{{ disk_vault.vault.id }}"
"""

RETURN = r"""
disk_encryption_set:
  description: The set as it is, or in check mode as it would be; C(id), C(principal_id) of its identity, C(key_url).
  type: dict
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
from ansible_collections.confidential.azure_skr.plugins.module_utils.azure import disk_encryption
from ansible_collections.confidential.azure_skr.plugins.module_utils.azure.arguments import azure_argument_spec
from ansible_collections.confidential.azure_skr.plugins.module_utils.azure.clients import connection


def main() -> None:
    spec = {
        **azure_argument_spec(),
        "name": {"type": "str", "required": True},
        "resource_group": {"type": "str", "required": True},
        "location": {"type": "str"},
        "key_url": {"type": "str", "no_log": False},
        "vault_id": {"type": "str"},
        "tags": {"type": "dict"},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    }
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    options = module.params

    def run() -> t.Dict[str, t.Any]:
        names = ("name", "resource_group", "location", "key_url", "vault_id", "tags")
        wanted = disk_encryption.Wanted(
            present=options["state"] == "present", **{name: options[name] for name in names}
        )
        with connection(options) as azure:
            return disk_encryption.ensure(azure, wanted, module.check_mode)

    skin.run(module, run)


if __name__ == "__main__":
    main()
