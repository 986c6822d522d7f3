# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A key release policy in plain words."""

from __future__ import annotations

DOCUMENTATION = r"""
name: policy_explain
short_description: Explain a key release policy in plain words
version_added: 0.2.0
author:
  - confidential.azure_skr contributors (@confidential-azure)
description:
  - Says in plain words who can get a key. The text is the same for a policy and for what a vault gives back of it.
options:
  _input:
    description:
      - The release policy, as a dictionary or as JSON text.
    type: raw
    required: true
"""

EXAMPLES = r"""
- name: Who could get this key
  ansible.builtin.debug:
    msg: "{{ policy | confidential.azure_skr.policy_explain }}"
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
  description: The explanation, with line ends.
  type: str
"""

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.confidential.azure_skr.plugins.module_utils.policy import explain, model
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.failure import SkrFailure


def policy_explain(policy: t.Any) -> str:
    """Policy -> plain words."""
    try:
        return explain.explain(model.parse(policy))
    except SkrFailure as failure:
        raise AnsibleFilterError(failure.as_result()["msg"]) from None


class FilterModule:
    """Ansible's way to the filter."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        return {"policy_explain": policy_explain}
