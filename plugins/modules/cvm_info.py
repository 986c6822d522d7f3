#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cvm_info
short_description: List confidential VMs and whether they are fit for Secure Key Release
version_added: 0.2.0
author:
  - confidential.azure_skr contributors (@confidential-azure)
description:
  - Lists the confidential VMs of a subscription or of resource groups with the kind of TEE, identities, secure boot and disk encryption,
    and says what is wrong where a VM is not fit for Secure Key Release.
  - One request per page of VMs, none per VM.
extends_documentation_fragment:
  - confidential.azure_skr.azure
  - confidential.azure_skr.attributes
  - confidential.azure_skr.attributes.azure
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  resource_groups:
    description:
      - Resource groups whose VMs are listed. By default those of the whole subscription.
    type: list
    elements: str
    default: []
  include_other_vms:
    description:
      - Also list VMs that are not confidential.
    type: bool
    default: false
seealso:
  - module: confidential.azure_skr.cvm_identity
"""

EXAMPLES = r"""
- name: Confidential VMs of the subscription
  confidential.azure_skr.cvm_info:
  register: found

- name: Those that cannot release keys as they are
  ansible.builtin.debug:
    msg: "{{ found.vms | selectattr('problems') | items2dict(key_name='name', value_name='problems') }}"
"""

RETURN = r"""
vms:
  description: The VMs, in the order of their resource ids.
  type: list
  elements: dict
  returned: success
  contains:
    name:
      description: Name of the VM.
      type: str
    id:
      description: Resource id.
      type: str
    vm_id:
      description: The VM's own id, as release policies bind to it.
      type: str
    tee_type:
      description: V(sevsnpvm) or V(tdxvm), by the VM's size.
      type: str
    security_type:
      description: V(ConfidentialVM), V(TrustedLaunch) or V(Standard).
      type: str
    secure_boot_enabled:
      description: Whether secure boot is on.
      type: bool
    security_encryption_type:
      description: How disk and guest state are encrypted.
      type: str
    principal_id:
      description: Object id of the system-assigned identity.
      type: str
    user_assigned:
      description: User-assigned identities.
      type: list
      elements: dict
    problems:
      description: In words what keeps the VM from releasing keys.
      type: list
      elements: str
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

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.confidential.azure_skr.plugins.module_utils import skin
from ansible_collections.confidential.azure_skr.plugins.module_utils.azure import cvm_info
from ansible_collections.confidential.azure_skr.plugins.module_utils.azure.arguments import azure_argument_spec
from ansible_collections.confidential.azure_skr.plugins.module_utils.azure.clients import connection


def main() -> None:
    spec = {
        **azure_argument_spec(),
        "resource_groups": {"type": "list", "elements": "str", "default": []},
        "include_other_vms": {"type": "bool", "default": False},
    }
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    options = module.params
    skin.run(
        module,
        lambda: cvm_info.info(connection(options), options["resource_groups"], options["include_other_vms"]),
    )


if __name__ == "__main__":
    main()
