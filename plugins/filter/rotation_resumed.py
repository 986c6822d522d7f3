# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell the version of a key that earlier runs moved hosts to."""

from __future__ import annotations

DOCUMENTATION = r"""
name: rotation_resumed
short_description: Tell the version of a key that earlier runs moved hosts to
version_added: 0.2.0
author:
  - confidential.azure_skr contributors (@confidential-azure)
description:
  - From the state files of those runs; that of the run which was updated last. Null where no host had been moved.
options:
  _input:
    description:
      - Contents of state files, as JSON text or as dictionaries.
    type: list
    elements: raw
    required: true
"""

EXAMPLES = r"""
- name: Where an earlier run was
  ansible.builtin.debug:
    msg: "{{ states | confidential.azure_skr.rotation_resumed }}"
  vars:
    # query('ansible.builtin.file', '/var/lib/skr/runs/june-1.json') reads such a state.
    states:
      - schema: azure-skr/rollout/1
        updated: '2027-01-31T12:00:00.000Z'
        hosts:
          web-1:
            verdict: released
            key_version: 0123456789abcdef0123456789abcdef
"""

RETURN = r"""
_value:
  description:
    - The version, or null.
  type: str
"""

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.confidential.azure_skr.plugins.module_utils.fleet import rotation
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.failure import SkrFailure


def rotation_resumed(states: t.Sequence[t.Any]) -> t.Optional[str]:
    """State files -> version."""
    try:
        return rotation.resumed([rotation.read(one) for one in states])
    except SkrFailure as failure:
        raise AnsibleFilterError(failure.as_result()["msg"]) from None


class FilterModule:
    """Ansible's way to the filter."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        return {"rotation_resumed": rotation_resumed}
