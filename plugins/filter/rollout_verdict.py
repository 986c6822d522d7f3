# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell what became of a host from the result of its release."""

from __future__ import annotations

DOCUMENTATION = r"""
name: rollout_verdict
short_description: Tell what became of a host from the result of its release
version_added: 0.2.0
author:
  - confidential.azure_skr contributors (@confidential-azure)
description:
  - Turns the result of module M(confidential.azure_skr.key_release) on a host, also a failed one or that of a host that was not
    reached, into a verdict of one shape.
positional: host
options:
  _input:
    description:
      - The registered result; an empty one means that the host has not had its turn.
    type: dict
    required: true
  host:
    description:
      - Name of the host.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Remember the verdict
  ansible.builtin.set_fact:
    rollout_verdict: "{{ key_release_result | confidential.azure_skr.rollout_verdict(inventory_hostname) }}"
"""

RETURN = r"""
_value:
  description:
    - C(host), C(verdict) (released, refused, unreachable or pending), C(reason), C(message), C(next_step), C(kid), C(key_version), C(changed),
      C(waited_s) and C(facts).
  type: dict
"""

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.confidential.azure_skr.plugins.module_utils.fleet import verdict


def rollout_verdict(result: t.Any, host: str) -> t.Dict[str, t.Any]:
    """Result of a release -> verdict."""
    if not isinstance(result, t.Mapping):
        raise AnsibleFilterError(f"rollout_verdict: the result is of type {type(result).__name__}, wanted a dictionary")
    return verdict.verdict(str(host), result)


class FilterModule:
    """Ansible's way to the filter."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        return {"rollout_verdict": rollout_verdict}
