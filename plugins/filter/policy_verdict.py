# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether claims satisfy a key release policy, and why not."""

from __future__ import annotations

DOCUMENTATION = r"""
name: policy_verdict
short_description: Tell whether claims satisfy a key release policy, and why not
version_added: 0.2.0
author:
  - confidential.azure_skr contributors (@confidential-azure)
description:
  - Evaluates a release policy over the claims of an attestation token as the vault does, with a trace of every condition.
  - Says what nearly matched, such as a claim at another place of the token, of another type or in another case.
positional: claims
options:
  _input:
    description:
      - The release policy, as a dictionary or as JSON text.
    type: raw
    required: true
  claims:
    description:
      - The token's claims, such as RV(confidential.azure_skr.attestation_info#module:claims).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Would this VM get the key
  ansible.builtin.debug:
    msg: "{{ policy | confidential.azure_skr.policy_verdict(claims) }}"
  vars:
    policy:
      version: 1.0.0
      anyOf:
        - authority: https://sharedweu.weu.attest.azure.net
          allOf:
            - claim: x-ms-compliance-status
              equals: azure-compliant-cvm
    claims:
      iss: https://sharedweu.weu.attest.azure.net
      x-ms-isolation-tee:
        x-ms-compliance-status: azure-compliant-cvm
"""

RETURN = r"""
_value:
  description:
    - C(satisfied), C(reason) (null, authority_mismatch or policy_not_met), C(message), C(failing), C(near_misses), and C(trace) with each
      branch and each condition of it.
  type: dict
"""

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.confidential.azure_skr.plugins.module_utils.policy import evaluate, model
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.failure import SkrFailure


def policy_verdict(policy: t.Any, claims: t.Any) -> t.Dict[str, t.Any]:
    """Policy and claims -> verdict with trace."""
    if not isinstance(claims, t.Mapping):
        raise AnsibleFilterError(
            f"policy_verdict: claims is of type {type(claims).__name__}, wanted a dictionary of claims"
        )
    try:
        return evaluate.evaluate(model.parse(policy), claims).as_dict()
    except SkrFailure as failure:
        raise AnsibleFilterError(failure.as_result()["msg"]) from None


class FilterModule:
    """Ansible's way to the filter."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        return {"policy_verdict": policy_verdict}
