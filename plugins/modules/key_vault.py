#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: key_vault
short_description: Manage a Key Vault for exportable keys
version_added: 0.1.0
author:
  - confidential.azure_skr contributors (@confidential-azure)
description:
  - Makes a Key Vault, or brings an existing one to what exportable keys need. Exportable keys need the Premium SKU.
  - What would weaken an existing vault is refused.
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
      - Name of the vault; 3 to 24 letters, digits and single hyphens, unique in the world.
    type: str
    required: true
  resource_group:
    description:
      - Resource group of the vault. It must exist.
    type: str
    required: true
  location:
    description:
      - Azure region. Required when the vault is made.
    type: str
  sku:
    description:
      - SKU of the vault. A Premium vault is never made Standard.
    type: str
    choices: [premium, standard]
    default: premium
  enable_rbac_authorization:
    description:
      - Whether the vault decides by Azure RBAC or by access policies.
      - A new vault uses Azure RBAC unless this says otherwise; an existing vault is changed only if this is given.
    type: bool
  purge_protection:
    description:
      - Switch purge protection on. It can never be switched off.
    type: bool
  soft_delete_retention_days:
    description:
      - Days that deleted keys can be recovered, from 7 to 90. Fixed when the vault is made (then 90 by default).
    type: int
  key_managers:
    description:
      - Object ids that shall be able to manage keys by access policy. V(self) is the identity that runs the module.
      - Other entries stay. In a vault with Azure RBAC this has no effect; assign the role Key Vault Crypto Officer there.
    type: list
    elements: str
    default: []
  approve_private_endpoints:
    description:
      - Resource ids of private endpoints whose connections are approved. Connections of others stay as they are.
    type: list
    elements: str
    default: []
    version_added: 0.2.0
  reject_private_endpoints:
    description:
      - Resource ids of private endpoints whose connections are rejected, also approved ones.
    type: list
    elements: str
    default: []
    version_added: 0.2.0
  deleted_action:
    description:
      - What to do when the name is held by a soft-deleted vault of the subscription. V(recover) brings it back with its keys, V(purge)
        removes it and its keys for ever.
    type: str
    choices: [fail, recover, purge]
    default: fail
    version_added: 0.2.0
  tags:
    description:
      - Tags of the vault. They replace the tags it has; V({}) removes all.
    type: dict
seealso:
  - name: About Azure Key Vault
    description: The service as Microsoft documents it.
    link: https://learn.microsoft.com/azure/key-vault/general/overview
  - module: confidential.azure_skr.exportable_key
"""

EXAMPLES = r"""
- name: A Premium vault with Azure RBAC
  confidential.azure_skr.key_vault:
    name: kv-web-prod
    resource_group: rg-web
    location: westeurope
    purge_protection: true

- name: A vault that only our own network reaches
  confidential.azure_skr.key_vault:
    name: kv-web-prod
    resource_group: rg-web
    location: westeurope
    network_acls:
      default_action: deny
      ip_rules: [20.50.1.0/24]

- name: A Premium vault with access policies, keys managed by the identity that runs the play
  confidential.azure_skr.key_vault:
    name: kv-web-test
    resource_group: rg-web
    location: westeurope
    enable_rbac_authorization: false
    key_managers: [self]
"""

RETURN = r"""
vault:
  description: The vault as it is, or in check mode as it would be.
  type: dict
  returned: success
private_endpoint_connections:
  description: C(name), C(private_endpoint_id) and C(status) of each connection.
  type: list
  elements: dict
  returned: when the vault is there
vault_uri:
  description: Address of the vault.
  type: str
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
from ansible_collections.confidential.azure_skr.plugins.module_utils.azure import vault, vault_endpoints, vault_network
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
        "sku": {"type": "str", "choices": ["premium", "standard"], "default": "premium"},
        "enable_rbac_authorization": {"type": "bool"},
        "purge_protection": {"type": "bool"},
        "soft_delete_retention_days": {"type": "int"},
        "key_managers": {"type": "list", "elements": "str", "default": [], "no_log": False},
        "approve_private_endpoints": {"type": "list", "elements": "str", "default": []},
        "reject_private_endpoints": {"type": "list", "elements": "str", "default": []},
        "deleted_action": {"type": "str", "choices": ["fail", "recover", "purge"], "default": "fail"},
        "tags": {"type": "dict"},
    }
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    options = module.params

    def run() -> t.Dict[str, t.Any]:
        names = (
            "name",
            "resource_group",
            "location",
            "sku",
            "enable_rbac_authorization",
            "purge_protection",
            "soft_delete_retention_days",
            "tags",
            "accept_weakening",
            "deleted_action",
        )
        network = vault_network.wanted(options["public_network_access"], options["network_acls"])
        managers = tuple(options["key_managers"])
        words = ("approve_private_endpoints", "reject_private_endpoints")
        endpoints = vault_endpoints.Wanted(*(tuple(options[word]) for word in words))
        wanted = vault.Wanted(
            key_managers=managers, network=network, endpoints=endpoints, **{name: options[name] for name in names}
        )
        with connection(options) as azure:
            return vault.ensure(azure, wanted, module.check_mode)

    skin.run(module, run)


if __name__ == "__main__":
    main()
