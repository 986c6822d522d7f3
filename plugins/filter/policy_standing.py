# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell by which branch of an expanded release policy a VM is let in."""

from __future__ import annotations

DOCUMENTATION = r"""
name: policy_standing
short_description: Tell by which branch of an expanded release policy a VM is let in
version_added: 0.2.0
author:
  - confidential.azure_skr contributors (@confidential-azure)
description:
  - From the check before a release, RV(confidential.azure_skr.key_release#module:preflight).
positional: policy, target
options:
  _input:
    description:
      - The verdict over O(policy), with its trace.
    type: dict
    required: true
  policy:
    description:
      - The policy that the verdict is about.
    type: raw
    required: true
  target:
    description:
      - The whole policy as it shall be after the change.
    type: raw
    required: true
"""

EXAMPLES = r"""
- name: Whether this VM needs the old branch
  ansible.builtin.debug:
    msg: "{{ verdict | confidential.azure_skr.policy_standing(expanded, target) }}"
  vars:
    # After a release, key_release_result.preflight is such a verdict.
    verdict: "{{ expanded | confidential.azure_skr.policy_verdict({'iss': 'https://sharedweu.weu.attest.azure.net'}) }}"
    expanded: "{{ (live | confidential.azure_skr.policy_overlap(target)).policy }}"
    live:
      version: 1.0.0
      anyOf:
        - authority: https://sharedweu.weu.attest.azure.net
          allOf:
            - claim: x-ms-isolation-tee.x-ms-sevsnpvm-launchmeasurement
              equals: "{{ '0a' * 48 }}"
    target:
      version: 1.0.0
      anyOf:
        - authority: https://sharedweu.weu.attest.azure.net
          allOf:
            - claim: x-ms-isolation-tee.x-ms-sevsnpvm-launchmeasurement
              equals: "{{ '0b' * 48 }}"
"""

RETURN = r"""
_value:
  description:
    - C(branch), new (no old branch is needed), old or none; C(position) of the branch; C(failing), why no new branch holds, with C(claim),
      C(operator), C(wanted) and C(found) each.
  type: dict
"""

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.confidential.azure_skr.plugins.module_utils.policy import overlap
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.failure import SkrFailure


def policy_standing(verdict: t.Any, policy: t.Any, target: t.Any) -> t.Dict[str, t.Any]:
    """Verdict of a pre-flight -> branch."""
    if not isinstance(verdict, t.Mapping):
        raise AnsibleFilterError(
            f"policy_standing: the verdict is of type {type(verdict).__name__}, wanted a dictionary"
        )
    try:
        return overlap.standing(overlap.parse("policy", policy), overlap.parse("the target", target), verdict)
    except SkrFailure as failure:
        raise AnsibleFilterError(failure.as_result()["msg"]) from None


class FilterModule:
    """Ansible's way to the filter."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        return {"policy_standing": policy_standing}
