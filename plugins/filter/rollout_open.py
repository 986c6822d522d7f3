# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""List the hosts that earlier roll-outs left open."""

from __future__ import annotations

DOCUMENTATION = r"""
name: rollout_open
short_description: List the hosts that earlier roll-outs left open
version_added: 0.2.0
author:
  - confidential.azure_skr contributors (@confidential-azure)
description:
  - From the state files of a run, of all its slices and of later attempts together. What a later attempt has done is not open.
options:
  _input:
    description:
      - Contents of state files, as JSON text or as dictionaries.
    type: list
    elements: raw
    required: true
"""

EXAMPLES = r"""
- name: Who is open
  ansible.builtin.debug:
    msg: "{{ [lookup('ansible.builtin.file', '/var/lib/skr/runs/june-1.json')] | confidential.azure_skr.rollout_open }}"
"""

RETURN = r"""
_value:
  description:
    - Names of the hosts, sorted.
  type: list
"""

import json
import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.confidential.azure_skr.plugins.module_utils.fleet import rollout
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.failure import SkrFailure


def rollout_open(states: t.Any) -> t.List[str]:
    """Contents of state files -> names of open hosts."""
    try:
        return rollout.open_hosts([_read(one) for one in states])
    except SkrFailure as failure:
        raise AnsibleFilterError(failure.as_result()["msg"]) from None


def _read(state: t.Any) -> t.Any:
    if not isinstance(state, str):
        return state
    try:
        return json.loads(state)
    except ValueError:
        raise AnsibleFilterError(
            "rollout_open: skr_resume names a file that is no JSON, wanted a state file of a roll-out"
        ) from None


class FilterModule:
    """Ansible's way to the filter."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        return {"rollout_open": rollout_open}
