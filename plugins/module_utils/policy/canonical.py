# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one way in which this collection writes a release policy.

``version`` stands first and ``authority`` before its conditions, there are no line ends, and the authority has no
trailing slash: managed HSM's parser insists on the first two, and tokens' issuers have no slash.
"""

from __future__ import annotations

import json
import typing as t

from .model import Claim, Group, Policy


def as_dict(policy: Policy) -> t.Dict[str, t.Any]:
    """The policy as a dictionary in canonical order, duplicates of a rule or condition left out."""
    rules: t.List[t.Dict[str, t.Any]] = []
    # Plain == would take True for 1, which are different conditions.
    for rule in policy.rules:
        document = {"authority": rule.authority.rstrip("/"), **_group(rule.conditions)}
        if not any(json.dumps(document) == json.dumps(known) for known in rules):
            rules.append(document)
    return {"version": policy.version, "anyOf": rules}


def dump(policy: Policy) -> str:
    """The policy as compact JSON text."""
    return json.dumps(as_dict(policy), separators=(",", ":"), ensure_ascii=True)


def _group(group: Group) -> t.Dict[str, t.Any]:
    members: t.List[t.Dict[str, t.Any]] = []
    for member in group.members:
        document = (
            {"claim": member.path, member.operator: member.value} if isinstance(member, Claim) else _group(member)
        )
        if not any(json.dumps(document) == json.dumps(known) for known in members):
            members.append(document)
    return {group.kind: members}
