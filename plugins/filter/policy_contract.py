# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Remove the branches of a release policy that a planned change made superfluous."""

from __future__ import annotations

DOCUMENTATION = r"""
name: policy_contract
short_description: Remove the branches of a release policy that a planned change made superfluous
version_added: 0.2.0
author:
  - confidential.azure_skr contributors (@confidential-azure)
description:
  - The live policy without the branches that the target does not have. Fails where the live policy lacks branches of the target.
positional: target
options:
  _input:
    description:
      - The live release policy, as a dictionary or as JSON text.
    type: raw
    required: true
  target:
    description:
      - The whole policy as it shall be after the change.
    type: raw
    required: true
"""

EXAMPLES = r"""
- name: The policy once the fleet is updated
  ansible.builtin.debug:
    msg: "{{ expanded | confidential.azure_skr.policy_contract(target) }}"
  vars:
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
    - The policy in canonical form.
  type: dict
"""

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.confidential.azure_skr.plugins.module_utils.policy import canonical, overlap
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.failure import SkrFailure


def policy_contract(live: t.Any, target: t.Any) -> t.Dict[str, t.Any]:
    """Live policy and target -> the policy without old branches."""
    try:
        one, other = overlap.parse("the live policy", live), overlap.parse("the target", target)
        return canonical.as_dict(overlap.contract(one, other))
    except SkrFailure as failure:
        raise AnsibleFilterError(failure.as_result()["msg"]) from None


class FilterModule:
    """Ansible's way to the filter."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        return {"policy_contract": policy_contract}
