# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell what a roll-out came to, grouped by reason."""

from __future__ import annotations

DOCUMENTATION = r"""
name: rollout_summary
short_description: Tell what a roll-out came to, grouped by reason
version_added: 0.2.0
author:
  - confidential.azure_skr contributors (@confidential-azure)
description:
  - From the state of a roll-out, for people and for programs.
options:
  _input:
    description:
      - The state, as P(confidential.azure_skr.rollout_record#filter) gives it.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Summary
  ansible.builtin.debug:
    msg: "{{ (rollout_state | confidential.azure_skr.rollout_summary).lines }}"
"""

RETURN = r"""
_value:
  description:
    - C(lines) for people; C(by_reason) (names of hosts), C(released) and C(open) (names), C(stopped) and C(seconds).
  type: dict
"""

import time
import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.confidential.azure_skr.plugins.module_utils.fleet import rollout


def rollout_summary(state: t.Any) -> t.Dict[str, t.Any]:
    """State -> summary."""
    if not isinstance(state, t.Mapping) or state.get("schema") != rollout.SCHEMA:
        raise AnsibleFilterError(f"rollout_summary: wanted the state of a roll-out ({rollout.SCHEMA})")
    return rollout.summary(dict(state), time.time())


class FilterModule:
    """Ansible's way to the filter."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        return {"rollout_summary": rollout_summary}
