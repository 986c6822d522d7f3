# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A key release policy from named parameters."""

from __future__ import annotations

DOCUMENTATION = r"""
name: release_policy
short_description: Build a key release policy from named parameters
version_added: 0.2.0
author:
  - confidential.azure_skr contributors (@confidential-azure)
description:
  - Builds a release policy in canonical form from named parameters, ready for O(confidential.azure_skr.exportable_key#module:release_policy).
  - Debugging is excluded and Azure's compliance verdict is required unless said otherwise.
  - The policy is flat, one branch for each TEE, authority and combination of bound values.
options:
  _input:
    description:
      - The parameters as a dictionary. Those that a branch of C(branches) does not set are taken from the outer level.
    type: dict
    required: true
    suboptions:
      authority:
        description:
          - The attestation authority, or a list of them.
        type: raw
        required: true
      tee_type:
        description:
          - Kind of VM. V(trusted_launch) has no hardware TEE and is weaker, because the cloud operator must be trusted.
        type: str
        choices: [sevsnpvm, tdxvm, trusted_launch]
        default: sevsnpvm
      branches:
        description:
          - For mixed fleets, a list of dictionaries with these same parameters, one for each kind of VM.
        type: list
        elements: dict
      require_compliant_cvm:
        description:
          - Require that Azure calls the VM compliant.
        type: bool
        default: true
      allow_debug:
        description:
          - Leave out the condition that the host cannot debug the VM.
        type: bool
        default: false
      vm_unique_ids:
        description:
          - Ids of the VMs that may have the key, in any case; the policy has them in the case of the TEE's tokens.
        type: list
        elements: str
      host_data:
        description:
          - Values of the host data (SNP, 64 hex digits) or of MRCONFIGID (TDX, 96 hex digits).
        type: list
        elements: str
      launch_measurements:
        description:
          - Launch measurements (96 hex digits). They measure Azure's firmware, not your workload.
        type: list
        elements: str
      id_key_digests:
        description:
          - Digests of the id key (96 hex digits; SNP alone).
        type: list
        elements: str
      minimum_svns:
        description:
          - Smallest security versions, by component. SNP has C(bootloader), C(guest), C(microcode), C(snpfw) and C(tee), TDX has C(seam).
          - The grammar can compare each number by itself. It cannot compare a vector, so TDX's TCB vector is not offered.
          - The operator C(greaterOrEquals) is in the grammar but not confirmed in the field.
        type: dict
      secure_boot:
        description:
          - Require secure boot to be on (or off). V(trusted_launch) requires it by default.
        type: bool
      log_booleans:
        description:
          - Further booleans that the attestation service derives from the boot log, such as C(dbvalidated) or C(debuggersdisabled).
        type: dict
      claims:
        description:
          - Further claims by path, each with the value it must equal, such as those issued by an own attestation provider.
        type: dict
      golden_claims:
        description:
          - Claims of a VM that is as it shall be, from M(confidential.azure_skr.attestation_info).
        type: dict
      pin:
        description:
          - What of O(_input.golden_claims) is pinned. Claim paths, or V(launch_measurement), V(id_key_digest), V(host_data),
            V(secure_boot), V(vm_unique_id), V(svns), V(log_booleans).
        type: list
        elements: str
      planned_change:
        description:
          - New values of pinned claims, by path. While O(_input.planned_stage=overlap) both the old and the new values are accepted.
        type: dict
      planned_stage:
        description:
          - V(overlap) before and during the change, V(contract) once all VMs report the new values.
        type: str
        choices: [overlap, contract]
        default: overlap
      nested:
        description:
          - Write alternatives as groups within a branch instead of many branches. Not every reader of the grammar accepts that.
        type: bool
        default: false
seealso:
  - plugin: confidential.azure_skr.policy_lint
    plugin_type: filter
"""

EXAMPLES = r"""
- name: A policy for two SNP VMs
  ansible.builtin.debug:
    msg: "{{ parameters | confidential.azure_skr.release_policy }}"
  vars:
    parameters:
      authority: https://sharedweu.weu.attest.azure.net
      tee_type: sevsnpvm
      vm_unique_ids:
        - 0f3b1a52-6c1c-4d8b-9b6e-0a1b2c3d4e5f
        - 1a2b3c4d-5e6f-4a5b-8c7d-9e0f1a2b3c4d

- name: A mixed fleet
  ansible.builtin.debug:
    msg: "{{ parameters | confidential.azure_skr.release_policy }}"
  vars:
    parameters:
      authority: https://sharedweu.weu.attest.azure.net
      branches:
        - tee_type: sevsnpvm
        - tee_type: tdxvm

- name: Before a firmware update, accept the old and the new launch measurement
  ansible.builtin.debug:
    msg: "{{ parameters | confidential.azure_skr.release_policy }}"
  vars:
    parameters:
      authority: https://sharedweu.weu.attest.azure.net
      golden_claims:
        x-ms-isolation-tee:
          x-ms-sevsnpvm-launchmeasurement: "{{ '0a' * 48 }}"
      pin: [launch_measurement]
      planned_change:
        x-ms-isolation-tee.x-ms-sevsnpvm-launchmeasurement: "{{ '0b' * 48 }}"
"""

RETURN = r"""
_value:
  description: The release policy.
  type: dict
"""

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.confidential.azure_skr.plugins.module_utils.policy import build
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.failure import SkrFailure


def release_policy(parameters: t.Any) -> t.Dict[str, t.Any]:
    """Named parameters -> policy."""
    try:
        return build.release_policy(parameters)
    except SkrFailure as failure:
        raise AnsibleFilterError(failure.as_result()["msg"]) from None


class FilterModule:
    """Ansible's way to the filter."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        return {"release_policy": release_policy}
