# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The difference between two key release policies."""

from __future__ import annotations

DOCUMENTATION = r"""
name: policy_diff
short_description: Compare two key release policies by meaning
version_added: 0.2.0
author:
  - confidential.azure_skr contributors (@confidential-azure)
description:
  - Compares the wanted policy with the live one by meaning. Order, white space, duplicates, a slash at the end of an authority and
    booleans written as text are no differences.
positional: live
options:
  _input:
    description:
      - The wanted release policy, as a dictionary or as JSON text.
    type: raw
    required: true
  live:
    description:
      - The live policy, such as RV(confidential.azure_skr.exportable_key#module:key) has it in C(release_policy).
    type: raw
    required: true
"""

EXAMPLES = r"""
- name: What would change
  ansible.builtin.debug:
    msg: "{{ wanted | confidential.azure_skr.policy_diff(live) }}"
  vars:
    wanted:
      version: 1.0.0
      anyOf:
        - authority: https://sharedweu.weu.attest.azure.net
          allOf:
            - claim: secureboot
              equals: true
    live:
      version: 1.0.0
      anyOf:
        - authority: https://sharedweu.weu.attest.azure.net/
          allOf:
            - claim: secureboot
              equals: "false"
"""

RETURN = r"""
_value:
  description:
    - C(equal), and C(changes), each with C(kind) (rule_added, rule_removed, added, removed, changed), C(authority), C(claim), C(live),
      C(wanted) and C(message).
  type: dict
"""

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.confidential.azure_skr.plugins.module_utils.policy import compare, model
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.failure import SkrFailure


def policy_diff(wanted: t.Any, live: t.Any) -> t.Dict[str, t.Any]:
    """Wanted and live policy -> what would change."""
    try:
        one, other = model.parse(wanted), model.parse(live)
    except SkrFailure as failure:
        raise AnsibleFilterError(failure.as_result()["msg"]) from None
    return {
        "equal": compare.equal(one, other),
        "changes": [change.as_dict() for change in compare.changes(one, other)],
    }


class FilterModule:
    """Ansible's way to the filter."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        return {"policy_diff": policy_diff}
