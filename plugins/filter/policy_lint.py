# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with a key release policy."""

from __future__ import annotations

DOCUMENTATION = r"""
name: policy_lint
short_description: Find what is wrong with a key release policy
version_added: 0.2.0
author:
  - confidential.azure_skr contributors (@confidential-azure)
description:
  - Says what is wrong with a release policy before anybody relies on it. Errors first.
  - All codes stand in the documentation page of reason codes.
options:
  _input:
    description:
      - The release policy, as a dictionary or as JSON text.
    type: raw
    required: true
"""

EXAMPLES = r"""
- name: What is wrong with a policy
  ansible.builtin.debug:
    msg: "{{ policy | confidential.azure_skr.policy_lint }}"
  vars:
    policy:
      version: 1.0.0
      anyOf:
        - authority: https://sharedweu.weu.attest.azure.net
          allOf:
            - claim: x-ms-compliance-status
              equals: azure-compliant-cvm
"""

RETURN = r"""
_value:
  description:
    - Findings, each with C(code), C(severity) (error, warning or info), C(path) in the policy and C(message).
  type: list
  elements: dict
"""

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.confidential.azure_skr.plugins.module_utils.policy import lint, model
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.failure import SkrFailure


def policy_lint(policy: t.Any) -> t.List[t.Dict[str, str]]:
    """Policy -> findings."""
    try:
        return [finding.as_dict() for finding in lint.lint(model.parse(policy))]
    except SkrFailure as failure:
        raise AnsibleFilterError(failure.as_result()["msg"]) from None


class FilterModule:
    """Ansible's way to the filter."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        return {"policy_lint": policy_lint}
