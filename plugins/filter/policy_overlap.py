# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Expand a release policy so that it accepts the state before and after a planned change."""

from __future__ import annotations

DOCUMENTATION = r"""
name: policy_overlap
short_description: Expand a release policy so that it accepts the state before and after a planned change
version_added: 0.2.0
author:
  - confidential.azure_skr contributors (@confidential-azure)
description:
  - The live policy and the branches of the target that it lacks. Branches are compared by meaning, and each is there once.
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
- name: The policy while the fleet is updated
  ansible.builtin.debug:
    msg: "{{ (live | confidential.azure_skr.policy_overlap(target)).policy }}"
  vars:
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
    - C(policy), the expanded one in canonical form; C(old), branches of the live policy that the target does not have, C(kept), those of
      both, and C(new), those to be added; C(expanded), whether the live policy has all branches of the target already.
  type: dict
"""

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.confidential.azure_skr.plugins.module_utils.policy import canonical, overlap
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.failure import SkrFailure


def policy_overlap(live: t.Any, target: t.Any) -> t.Dict[str, t.Any]:
    """Live policy and target -> expanded policy and branches."""
    try:
        one, other = overlap.parse("the live policy", live), overlap.parse("the target", target)
        found = overlap.branches(one, other)
        policy = canonical.as_dict(overlap.union(one, other))
    except SkrFailure as failure:
        raise AnsibleFilterError(failure.as_result()["msg"]) from None
    return {"policy": policy, **found, "expanded": not found["new"]}


class FilterModule:
    """Ansible's way to the filter."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        return {"policy_overlap": policy_overlap}
