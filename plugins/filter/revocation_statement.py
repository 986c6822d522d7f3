# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The statement of a revocation, and the verdict of every host."""

from __future__ import annotations

DOCUMENTATION = r"""
name: revocation_statement
short_description: State in plain words what a revocation stopped, what it proved and what it cannot recall
version_added: 0.2.0
author:
  - confidential.azure_skr contributors (@confidential-azure)
description:
  - Holds the probe on each suspect against what the vault's state says, and puts the result into words. The role revocation calls it.
  - A host's verdict is C(proved), C(not_proved), C(not_effective), C(unreachable) or, in check mode, C(planned).
options:
  _input:
    description:
      - What is known, as a dictionary.
    type: dict
    required: true
    suboptions:
      action:
        description:
          - What was done.
        type: str
        choices: [ungrant, disable, narrow]
        required: true
      key_name:
        description:
          - Name of the key.
        type: str
        required: true
      where:
        description:
          - Address of the vault or managed HSM.
        type: str
        required: true
      key_version:
        description:
          - The version alone that was disabled.
        type: str
      check_mode:
        description:
          - Whether nothing was done.
        type: bool
        default: false
      times:
        description:
          - C(started), C(stopped) and C(finished), as text.
        type: dict
        required: true
      wait_chunk:
        description:
          - How long one run of the probe waits, in seconds.
        type: float
      principals:
        description:
          - Object ids of further identities of the suspects.
        type: list
        elements: str
      control:
        description:
          - Result of the action.
        type: dict
      state:
        description:
          - Result of M(confidential.azure_skr.release_revocation) with C(action=examine), after the action.
        type: dict
      key_after:
        description:
          - The key after the action, from M(confidential.azure_skr.exportable_key_info).
        type: dict
      hosts:
        description:
          - C(host), C(vm), and the registered results C(reach), C(probe), C(copy), C(units), C(stopped) and C(reloaded) of each; C(kept) where nothing was to
            be removed.
        type: list
        elements: dict
        required: true
seealso:
  - module: confidential.azure_skr.release_probe
  - module: confidential.azure_skr.release_revocation
"""

EXAMPLES = r"""
- name: Nobody could be asked
  ansible.builtin.debug:
    msg: "{{ (facts | confidential.azure_skr.revocation_statement).lines }}"
  vars:
    facts:
      action: disable
      key_name: tls-key
      where: https://kv-web-prod.vault.azure.net
      times:
        started: 2027-01-31T12:00:00Z
        stopped: 2027-01-31T12:00:05Z
        finished: 2027-01-31T12:00:20Z
      control:
        changed: true
        stopped_versions: [0123456789abcdef0123456789abcdef]
      key_after:
        versions:
          - version: 0123456789abcdef0123456789abcdef
            enabled: false
      hosts:
        - host: web-07
          vm: web-07
          reach:
            unreachable: true
"""

RETURN = r"""
_value:
  description:
    - C(document) for programs, C(lines) in plain text, C(markdown), and C(failures) with a message for each host that gave no proof or that
      could not be cleaned up.
  type: dict
"""

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.confidential.azure_skr.plugins.module_utils.fleet import statement
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.failure import SkrFailure


def revocation_statement(facts: t.Any) -> t.Dict[str, t.Any]:
    """What is known -> what is said."""
    if not isinstance(facts, t.Mapping):
        raise AnsibleFilterError(f"revocation_statement: found a {type(facts).__name__}, wanted a dictionary of facts")
    try:
        return statement.statement(facts)
    except SkrFailure as failure:
        raise AnsibleFilterError(failure.as_result()["msg"]) from None


class FilterModule:
    """Ansible's way to the filter."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        return {"revocation_statement": revocation_statement}
