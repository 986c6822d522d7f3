# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: cvm
short_description: Confidential VMs of Azure subscriptions as inventory
version_added: 0.3.0
author:
  - confidential.azure_skr contributors (@confidential-azure)
description:
  - Takes the confidential VMs of one or more subscriptions, or of some of their resource groups, as hosts, with the facts that matter for
    Secure Key Release as variables.
  - Asks Azure Resource Graph, so that five hundred VMs cost three requests. What was changed in the last seconds may not show yet.
  - All hosts are in the group C(cvm), which the playbooks of this collection use by default.
  - The file's name must end with C(cvm.yml), C(cvm.yaml), C(azure_cvm.yml) or C(azure_cvm.yaml).
extends_documentation_fragment:
  - confidential.azure_skr.azure
  - ansible.builtin.constructed
  - ansible.builtin.inventory_cache
options:
  plugin:
    description:
      - Name of this plugin.
    type: str
    required: true
    choices: [confidential.azure_skr.cvm]
  subscriptions:
    description:
      - Ids of the subscriptions to look in; by default that of the credentials.
    type: list
    elements: str
    default: []
  include_vm_resource_groups:
    description:
      - Names of the resource groups to look in; V(*) is all.
    type: list
    elements: str
    default: ['*']
  include_not_confidential:
    description:
      - Take VMs that are not confidential, too. They are in the group C(not_cvm).
    type: bool
    default: false
  plain_host_names:
    description:
      - Take the VMs' names as they are. Where a name occurs more than once, or with V(false) always, four characters of a hash of the VM's
        resource id are added, and the variable C(skr_vm_name) has the VM's own name.
    type: bool
    default: true
  default_host_filters:
    description:
      - Conditions, each an expression over the host's variables; a host for which one holds is left out.
    type: list
    elements: str
    default: []
  exclude_host_filters:
    description:
      - More of the same; both lists count.
    type: list
    elements: str
    default: []
  conditional_groups:
    description:
      - Another name for O(groups), as in azure.azcollection; both count.
    type: dict
    default: {}
  hostvar_expressions:
    description:
      - Another name for O(compose), as in azure.azcollection; both count.
    type: dict
    default: {}
notes:
  - The variables are those of the results of M(confidential.azure_skr.cvm_info), and C(subscription_id), C(powerstate),
    C(private_ipv4_addresses), C(authority), C(computer_name), C(zones). Name and tags are C(azure_name) and C(azure_tags), because a play
    keeps the plain words for itself.
  - C(ansible_host) is the first private address unless O(compose) or O(hostvar_expressions) sets it.
seealso:
  - module: confidential.azure_skr.cvm_info
"""

EXAMPLES = r"""
# azure_cvm.yml
plugin: confidential.azure_skr.cvm
include_vm_resource_groups: [rg-web]
exclude_host_filters:
  - powerstate != 'running'
keyed_groups:
  - prefix: tee
    key: tee_type
  - prefix: region
    key: location
compose:
  ansible_host: private_ipv4_addresses | first
  skr_attestation_url: authority
groups:
  unfit: problems | length > 0
"""

import hashlib
import typing as t

from ansible.errors import AnsibleError, AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin, Cacheable, Constructable

from ansible_collections.confidential.azure_skr.plugins.module_utils.azure import fleet
from ansible_collections.confidential.azure_skr.plugins.module_utils.azure.arguments import azure_argument_spec
from ansible_collections.confidential.azure_skr.plugins.module_utils.azure.clients import connection
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.failure import SkrFailure

Facts = t.Dict[str, t.Any]
_ENDINGS = ("cvm.yml", "cvm.yaml")
# Names that a play keeps for itself.
_VARIABLES = {"name": "azure_name", "tags": "azure_tags"}


class InventoryModule(BaseInventoryPlugin, Constructable, Cacheable):  # type: ignore[misc]  # Ansible has no types
    NAME = "confidential.azure_skr.cvm"

    def verify_file(self, path: str) -> bool:
        return bool(super().verify_file(path)) and path.endswith(_ENDINGS)

    def parse(self, inventory: t.Any, loader: t.Any, path: str, cache: bool = True) -> None:
        super().parse(inventory, loader, path, cache)
        self._read_config_data(path)
        key = self.get_cache_key(path)
        keeps = bool(self.get_option("cache"))
        if keeps and cache:
            try:
                self._add(self._cache[key])
                return
            except KeyError:
                pass  # nothing kept, or too old
        machines = self._ask()
        if keeps:
            self._cache[key] = machines
        self._add(machines)

    def _ask(self) -> t.List[Facts]:
        options = {name: self._given(name) for name in azure_argument_spec()}
        groups = [str(group) for group in self.get_option("include_vm_resource_groups")]
        subscriptions = [str(one).lower() for one in self.get_option("subscriptions")]
        try:
            with connection(options) as azure:
                everything = bool(self.get_option("include_not_confidential"))
                return fleet.find(azure, subscriptions, [] if "*" in groups else groups, everything)
        except SkrFailure as failure:
            told = failure.as_result()
            raise AnsibleParserError(f"{told['msg']} {told['next_step']}") from None

    def _given(self, name: str) -> t.Any:
        value = self.get_option(name)
        return self.templar.template(value) if isinstance(value, str) and self.templar.is_template(value) else value

    def _add(self, machines: t.Sequence[Facts]) -> None:
        for group in ("cvm", *(["not_cvm"] if self.get_option("include_not_confidential") else [])):
            self.inventory.add_group(group)
        times: t.Dict[str, int] = {}
        for machine in machines:
            times[str(machine["name"]).lower()] = times.get(str(machine["name"]).lower(), 0) + 1
        plain = bool(self.get_option("plain_host_names"))
        for machine in machines:
            facts = dict(machine)
            name = str(facts["name"])
            if not plain or times[name.lower()] > 1:
                facts["skr_vm_name"] = name
                name += "_" + hashlib.sha256(str(facts["id"]).lower().encode()).hexdigest()[:4]
            self._host(name, facts)

    def _host(self, name: str, facts: Facts) -> None:
        strict = bool(self.get_option("strict"))
        addresses = facts["private_ipv4_addresses"]
        variables = {_VARIABLES.get(key, key): value for key, value in facts.items()}
        if addresses:
            variables["ansible_host"] = addresses[0]
        if self._left_out(variables):
            return
        self.inventory.add_host(name, group="cvm" if facts["confidential"] else "not_cvm")
        for key, value in variables.items():
            self.inventory.set_variable(name, key, value)
        compose = {**self.get_option("hostvar_expressions"), **(self.get_option("compose") or {})}
        self._set_composite_vars(compose, variables, name, strict=strict)
        groups = {**self.get_option("conditional_groups"), **(self.get_option("groups") or {})}
        self._add_host_to_composed_groups(groups, variables, name, strict=strict)
        self._add_host_to_keyed_groups(self.get_option("keyed_groups") or [], variables, name, strict=strict)

    def _left_out(self, facts: Facts) -> bool:
        filters = [*self.get_option("default_host_filters"), *self.get_option("exclude_host_filters")]
        for condition in filters:
            try:
                if self._compose(condition, facts):
                    return True
            except AnsibleError as error:
                if self.get_option("strict"):
                    raise AnsibleParserError(f"The filter {condition!r} cannot be evaluated: {error}") from error
        return False
