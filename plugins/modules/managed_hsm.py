#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: managed_hsm
short_description: Manage a managed HSM
version_added: 0.2.0
author:
  - confidential.azure_skr contributors (@confidential-azure)
description:
  - Makes a managed HSM, changes what can be changed of it, deletes or purges it.
  - Azure takes ten minutes to half an hour to make one. A run that finds one in the making waits for it; it never makes a second one.
  - An HSM is of no use before it is activated; see M(confidential.azure_skr.managed_hsm_activation).
extends_documentation_fragment:
  - confidential.azure_skr.azure
  - confidential.azure_skr.network
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
      - Name of the HSM; 3 to 24 letters, digits and single hyphens, unique in the world.
    type: str
    required: true
  resource_group:
    description:
      - Resource group of the HSM. It must exist.
    type: str
    required: true
  location:
    description:
      - Azure region. Required when the HSM is made.
    type: str
  sku:
    description:
      - SKU such as V(Standard_B1), which a new HSM has by default, or V(Custom_B32). Fixed when the HSM is made.
    type: str
  administrators:
    description:
      - Object ids of its first administrators, who activate it and give local roles. V(self) is the identity that runs the module, and
        the default when the HSM is made. Fixed then.
    type: list
    elements: str
    default: []
  purge_protection:
    description:
      - Switch purge protection on. It can never be switched off.
    type: bool
  soft_delete_retention_days:
    description:
      - Days that a deleted HSM and its keys can be recovered, from 7 to 90. Fixed when the HSM is made (then 90 by default).
    type: int
  deleted_action:
    description:
      - What to do when the name is held by a soft-deleted HSM of the subscription. V(recover) brings it back with its keys, V(purge)
        removes it and its keys for ever.
    type: str
    choices: [fail, recover, purge]
    default: fail
  tags:
    description:
      - Tags of the HSM. They replace the tags it has; V({}) removes all.
    type: dict
  state:
    description:
      - V(absent) deletes the HSM with all its keys. It can be recovered, and is paid for, until its purge date. V(purged) also purges
        it, for ever.
    type: str
    choices: [present, absent, purged]
    default: present
  wait:
    description:
      - Wait until Azure has made it. Without, RV(hsm.provisioning_state) tells how far it is.
    type: bool
    default: true
  wait_timeout:
    description:
      - How long to wait, in seconds.
    type: float
    default: 3600
seealso:
  - name: About Azure Managed HSM
    description: The service as Microsoft documents it.
    link: https://learn.microsoft.com/azure/key-vault/managed-hsm/overview
  - module: confidential.azure_skr.managed_hsm_activation
"""

EXAMPLES = r"""
- name: A managed HSM that the play's own identity administers
  confidential.azure_skr.managed_hsm:
    name: hsm-web-prod
    resource_group: rg-web
    location: westeurope
    purge_protection: true
    soft_delete_retention_days: 90

- name: Start, do something else, and look again later
  confidential.azure_skr.managed_hsm:
    name: hsm-web-prod
    resource_group: rg-web
    location: westeurope
    wait: false
  register: made
  until: made.hsm.provisioning_state != 'Provisioning'
  retries: 60
  delay: 30

- name: Remove a test HSM and stop paying for it
  confidential.azure_skr.managed_hsm:
    name: hsm-web-test
    resource_group: rg-web
    state: purged
"""

RETURN = r"""
hsm:
  description: The HSM as it is, or in check mode as it would be.
  type: dict
  returned: success
  contains:
    provisioning_state:
      description: Azure's word for how far it is, such as V(Provisioning) or V(Succeeded).
      type: str
    status_message:
      description: Azure's own sentence on that.
      type: str
    activation_status:
      description: V(NotActivated), V(Active), V(Unknown) or V(Failed).
      type: str
hsm_uri:
  description: Address of the HSM.
  type: str
  returned: when the HSM is there or will be
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
from ansible_collections.confidential.azure_skr.plugins.module_utils.azure import hsm, vault_network
from ansible_collections.confidential.azure_skr.plugins.module_utils.azure.arguments import (
    azure_argument_spec,
    network_argument_spec,
)
from ansible_collections.confidential.azure_skr.plugins.module_utils.azure.clients import connection


def main() -> None:
    spec = {
        **azure_argument_spec(),
        **network_argument_spec(),
        "name": {"type": "str", "required": True},
        "resource_group": {"type": "str", "required": True},
        "location": {"type": "str"},
        "sku": {"type": "str"},
        "administrators": {"type": "list", "elements": "str", "default": []},
        "purge_protection": {"type": "bool"},
        "soft_delete_retention_days": {"type": "int"},
        "deleted_action": {"type": "str", "choices": ["fail", "recover", "purge"], "default": "fail"},
        "tags": {"type": "dict"},
        "state": {"type": "str", "choices": ["present", "absent", "purged"], "default": "present"},
        "wait": {"type": "bool", "default": True},
        "wait_timeout": {"type": "float", "default": 3600},
    }
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    options = module.params

    def run() -> t.Dict[str, t.Any]:
        names = (
            *("name", "resource_group", "location", "sku", "purge_protection", "soft_delete_retention_days"),
            *("accept_weakening", "deleted_action", "tags", "state", "wait", "wait_timeout"),
        )
        wanted = hsm.Wanted(
            administrators=tuple(options["administrators"]),
            network=vault_network.wanted(options["public_network_access"], options["network_acls"]),
            **{name: options[name] for name in names},
        )
        with connection(options) as azure:
            return hsm.ensure(azure, wanted, module.check_mode)

    skin.run(module, run)


if __name__ == "__main__":
    main()
