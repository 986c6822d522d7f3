# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell whether the last step of a rotation or of a planned update may be taken."""

from __future__ import annotations

DOCUMENTATION = r"""
name: rotation_decision
short_description: Tell whether the last step of a rotation or of a planned update may be taken
version_added: 0.2.0
author:
  - confidential.azure_skr contributors (@confidential-azure)
description:
  - The last step disables old versions of the key, or removes old branches of its release policy. It is taken only when enough of the
    hosts report that they do without, and only by a run that knows of all hosts.
  - Never by a slice, and not by a run that leaves hosts out (C(--limit)) of which no state file tells.
positional: hosts
options:
  _input:
    description:
      - States of roll-outs, of this run and of earlier ones that it continues, as JSON text or as dictionaries. Empty ones are passed over.
    type: list
    elements: raw
    required: true
  hosts:
    description:
      - Names of all hosts that the inventory has under the play's pattern.
    type: list
    elements: str
    required: true
  version:
    description:
      - The version of the key that a host must report. Without it a host must be let in by a new branch of the policy.
    type: str
  public_key_sha256:
    description:
      - Digest of that version's public half, compared with what the host reports.
    type: str
  share:
    description:
      - Share of the hosts, in percent, that suffices.
    type: float
    default: 100
  option:
    description:
      - Name of the variable that O(share) comes from, for the message when it is wrong.
    type: str
    default: skr_rotate_share
  slices:
    description:
      - Number of slices of the job.
    type: int
    default: 1
  keep:
    description:
      - No last step is wanted.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Whether the old version may go
  ansible.builtin.debug:
    msg: "{{ states | confidential.azure_skr.rotation_decision(['web-1'], version='0123456789abcdef0123456789abcdef') }}"
  vars:
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
    - C(finish); C(held), why it is not taken (missed, kept, sliced, limited, or null), and C(failed), whether that is a failure; C(moved),
      names of hosts; C(missed), with C(host), C(reason) and C(message) each; C(lines) for people.
  type: dict
"""

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.confidential.azure_skr.plugins.module_utils.fleet import budget, rollout, rotation
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.failure import SkrFailure


def rotation_decision(
    states: t.Sequence[t.Any],
    hosts: t.Sequence[str],
    version: t.Optional[str] = None,
    public_key_sha256: t.Optional[str] = None,
    share: t.Any = 100,
    option: str = "skr_rotate_share",
    slices: t.Any = 1,
    keep: bool = False,
) -> t.Dict[str, t.Any]:
    """States of roll-outs -> decision."""

    def counts(host: str, one: t.Optional[rotation.Verdict]) -> t.Optional[t.Dict[str, str]]:
        if version:
            return rotation.missed_version(host, one, str(version), public_key_sha256)
        return rotation.missed_branch(host, one)

    try:
        known = [rotation.read(one) for one in states if one]
        names = [str(host) for host in hosts]
        return rotation.decision(names, known, counts, rollout.share(share, option), budget.slices(slices), bool(keep))
    except SkrFailure as failure:
        raise AnsibleFilterError(failure.as_result()["msg"]) from None


class FilterModule:
    """Ansible's way to the filter."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        return {"rotation_decision": rotation_decision}
