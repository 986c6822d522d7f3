# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Add the verdicts of a batch to the state of a roll-out."""

from __future__ import annotations

DOCUMENTATION = r"""
name: rollout_record
short_description: Add the verdicts of a batch to the state of a roll-out
version_added: 0.2.0
author:
  - confidential.azure_skr contributors (@confidential-azure)
description:
  - Gives the new state, which says which hosts are open and whether the run stops because too many hosts of the batch failed.
positional: verdicts
options:
  _input:
    description:
      - The state so far; an empty dictionary begins a new one.
    type: dict
    required: true
  verdicts:
    description:
      - Verdicts of the batch, as P(confidential.azure_skr.rollout_verdict#filter) gives them.
    type: list
    elements: dict
    required: true
  most:
    description:
      - Share of the batch's hosts, in percent, that may fail without an end to the run.
    type: float
    default: 20
  hosts:
    description:
      - All hosts of the run, for a new state.
    type: list
    elements: str
    default: []
  run:
    description:
      - Name of the run, for a new state.
    type: str
    default: rollout
  slice:
    description:
      - Name of the part of the run, for a new state.
    type: str
    default: '1'
"""

EXAMPLES = r"""
- name: Remember the batch
  ansible.builtin.set_fact:
    rollout_state: "{{ rollout_state | confidential.azure_skr.rollout_record(verdicts, most=20) }}"
  vars:
    verdicts: "{{ ansible_play_batch | map('extract', hostvars, 'rollout_verdict') | list }}"
"""

RETURN = r"""
_value:
  description:
    - C(schema), C(run), C(slice), C(started), C(updated), C(finished), C(stopped) (null, or C(reason) and C(message)), C(hosts) (a verdict
      each) and C(open) (names).
  type: dict
"""

import time
import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.confidential.azure_skr.plugins.module_utils.fleet import rollout
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.failure import SkrFailure


def rollout_record(
    state: t.Any,
    verdicts: t.Sequence[t.Dict[str, t.Any]],
    most: t.Any = 20,
    hosts: t.Sequence[str] = (),
    run: str = "rollout",
    slice: str = "1",
) -> t.Dict[str, t.Any]:
    """State and a batch's verdicts -> new state."""
    try:
        if not state:
            state = rollout.begin(str(run), str(slice), [str(host) for host in hosts], time.time())
        return rollout.record(state, list(verdicts), rollout.share(most), time.time())
    except SkrFailure as failure:
        raise AnsibleFilterError(failure.as_result()["msg"]) from None


class FilterModule:
    """Ansible's way to the filter."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        return {"rollout_record": rollout_record}
