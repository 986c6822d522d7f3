# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A key release policy without the suspects."""

from __future__ import annotations

DOCUMENTATION = r"""
name: revocation_policy
short_description: Narrow a key release policy so that suspected VMs do not meet it
version_added: 0.2.0
author:
  - confidential.azure_skr contributors (@confidential-azure)
description:
  - Takes the ids of suspected VMs out of a release policy, or checks that a policy that is given is narrower.
  - A policy with a rule that names no VM is refused, because taking ids out of the others would keep nobody away.
positional: vm_ids
options:
  _input:
    description:
      - The live release policy, as a dictionary or as JSON text.
    type: raw
    required: true
  vm_ids:
    description:
      - Ids of the suspected VMs, in any case.
    type: list
    elements: str
    required: true
  given:
    description:
      - A narrower policy to be used instead. Each of its rules must be one of the live rules with further or tighter conditions.
    type: dict
  immutable:
    description:
      - Whether the live policy is immutable, so that a change is refused.
    type: bool
    default: false
seealso:
  - module: confidential.azure_skr.exportable_key
  - plugin: confidential.azure_skr.release_policy
    plugin_type: filter
"""

EXAMPLES = r"""
- name: A policy without one VM
  ansible.builtin.debug:
    msg: "{{ (live | confidential.azure_skr.revocation_policy(['0f3b1a52-6c1c-4d8b-9b6e-0a1b2c3d4e5f'])).policy }}"
  vars:
    live: "{{ parameters | confidential.azure_skr.release_policy }}"
    parameters:
      authority: https://sharedweu.weu.attest.azure.net
      vm_unique_ids:
        - 0f3b1a52-6c1c-4d8b-9b6e-0a1b2c3d4e5f
        - 1a2b3c4d-5e6f-4a5b-8c7d-9e0f1a2b3c4d
"""

RETURN = r"""
_value:
  description:
    - C(policy), whether it C(changed), the VM ids that were C(removed), and whether it C(keeps_away) every suspect by its id.
    - Where it is refused C(reason) and C(msg) instead.
  type: dict
"""

import typing as t

from ansible_collections.confidential.azure_skr.plugins.module_utils.fleet import narrowing
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.failure import SkrFailure


def revocation_policy(
    live: t.Any, vm_ids: t.Sequence[str], given: t.Optional[t.Any] = None, immutable: bool = False
) -> t.Dict[str, t.Any]:
    """A live policy and who is to be kept away -> the policy that does."""
    try:
        return narrowing.narrow(live, [str(one) for one in vm_ids], given or None, bool(immutable)).as_dict()
    except SkrFailure as failure:  # a result, so that the play tells it as a sentence and not as an error of a template
        return {"reason": failure.reason, "msg": failure.as_result()["msg"]}


class FilterModule:
    """Ansible's way to the filter."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        return {"revocation_policy": revocation_policy}
