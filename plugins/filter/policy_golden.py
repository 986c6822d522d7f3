# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Derive the policy for the state after a change from a VM that has been changed already."""

from __future__ import annotations

DOCUMENTATION = r"""
name: policy_golden
short_description: Derive the policy for the state after a change from a VM that has been changed already
version_added: 0.2.0
author:
  - confidential.azure_skr contributors (@confidential-azure)
description:
  - Every branch for the golden VM's authority and kind of TEE has the values of its pinned claims exchanged for those of the golden VM.
    Other branches and the ids of VMs stay.
  - Fails where the golden VM differs in what is never exchanged (kind of TEE, compliance, debugging, security versions), and for secure
    boot that is off now and the booleans of the boot log unless O(weaken) names the claim.
positional: claims
options:
  _input:
    description:
      - The live release policy, as a dictionary or as JSON text.
    type: raw
    required: true
  claims:
    description:
      - Claims of the golden VM, from M(confidential.azure_skr.attestation_info).
    type: dict
    required: true
  weaken:
    description:
      - Paths of the guarded claims that may change.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: The policy for VMs like the golden one
  ansible.builtin.debug:
    msg: "{{ live | confidential.azure_skr.policy_golden(claims) }}"
  vars:
    claims:
      iss: https://sharedweu.weu.attest.azure.net
      x-ms-isolation-tee:
        x-ms-attestation-type: sevsnpvm
        x-ms-sevsnpvm-launchmeasurement: "{{ '0b' * 48 }}"
    live:
      version: 1.0.0
      anyOf:
        - authority: https://sharedweu.weu.attest.azure.net
          allOf:
            - claim: x-ms-isolation-tee.x-ms-sevsnpvm-launchmeasurement
              equals: "{{ '0a' * 48 }}"
"""

RETURN = r"""
_value:
  description:
    - The policy in canonical form.
  type: dict
"""

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.confidential.azure_skr.plugins.module_utils.policy import canonical, overlap
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.failure import SkrFailure


def policy_golden(live: t.Any, claims: t.Any, weaken: t.Sequence[str] = ()) -> t.Dict[str, t.Any]:
    """Live policy and claims of a golden VM -> target."""
    if not isinstance(claims, t.Mapping):
        raise AnsibleFilterError(
            f"policy_golden: claims is of type {type(claims).__name__}, wanted a dictionary of claims"
        )
    try:
        one = overlap.parse("the live policy", live)
        return canonical.as_dict(overlap.from_golden(one, claims, [str(path) for path in weaken]))
    except SkrFailure as failure:
        raise AnsibleFilterError(failure.as_result()["msg"]) from None


class FilterModule:
    """Ansible's way to the filter."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        return {"policy_golden": policy_golden}
