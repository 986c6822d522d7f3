# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether claims satisfy a key release policy."""

from __future__ import annotations

DOCUMENTATION = r"""
name: satisfied_by
short_description: Test whether claims satisfy a key release policy
version_added: 0.2.0
author:
  - confidential.azure_skr contributors (@confidential-azure)
description:
  - Evaluates a release policy over the claims of an attestation token as the vault does.
positional: policy
options:
  _input:
    description:
      - The token's claims, such as RV(confidential.azure_skr.attestation_info#module:claims).
    type: dict
    required: true
  policy:
    description:
      - The release policy, as a dictionary or as JSON text.
    type: raw
    required: true
seealso:
  - plugin: confidential.azure_skr.policy_verdict
    plugin_type: filter
"""

EXAMPLES = r"""
- name: This VM would get the key
  ansible.builtin.assert:
    that: claims is confidential.azure_skr.satisfied_by(policy)
  vars:
    claims:
      iss: https://sharedweu.weu.attest.azure.net
      secureboot: true
    policy:
      version: 1.0.0
      anyOf:
        - authority: https://sharedweu.weu.attest.azure.net
          allOf:
            - claim: secureboot
              equals: true
"""

RETURN = r"""
_value:
  description: Whether the claims satisfy the policy.
  type: bool
"""

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.confidential.azure_skr.plugins.module_utils.policy import evaluate, model
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.failure import SkrFailure


def satisfied_by(claims: t.Any, policy: t.Any) -> bool:
    """Claims and policy -> whether the policy is met."""
    if not isinstance(claims, t.Mapping):
        raise AnsibleFilterError(f"satisfied_by: the claims are of type {type(claims).__name__}, wanted a dictionary")
    try:
        return evaluate.evaluate(model.parse(policy), claims).satisfied
    except SkrFailure as failure:
        raise AnsibleFilterError(failure.as_result()["msg"]) from None


class TestModule:
    """Ansible's way to the test."""

    def tests(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        return {"satisfied_by": satisfied_by}
