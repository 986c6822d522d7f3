# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether two policies mean the same, and where they differ.

A vault gives a policy back re-serialised: other order, boolean ``true`` as text ``"true"``, perhaps another slash at
the authority. None of that is a difference.
"""

from __future__ import annotations

import json
import typing as t
from urllib.parse import urlsplit

from .model import Claim, Group, Policy, Value


def authority_key(url: str) -> str:
    """Two authorities are the same when scheme, host and path are; case of the host and a final slash do not count."""
    try:
        parts = urlsplit(url)
    except ValueError:  # no URL at all, so it is like itself alone
        return url
    return f"{parts.scheme.lower()}://{parts.netloc.lower()}{parts.path.rstrip('/')}"


def text_form(value: t.Any) -> str:
    """A claim's or policy's value as the vault compares it: booleans as lower-case text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def equal(one: Policy, other: Policy) -> bool:
    """Whether both policies accept the same tokens (as far as order, duplicates and spelling are concerned)."""
    return _meaning(one) == _meaning(other)


def differences(wanted: Policy, live: Policy) -> t.List[str]:
    """What would have to change in the live policy, a sentence each; empty when they mean the same."""
    want, have = dict(_by_authority(wanted)), dict(_by_authority(live))
    found = []
    for authority in sorted({*want, *have}):
        if authority not in have:
            found.append(f"rule for authority {authority} is missing in the live policy")
        elif authority not in want:
            found.append(f"rule for authority {authority} is only in the live policy")
        else:
            found += [
                f"{authority}: wanted, but not live: {text}" for text in sorted(want[authority] - have[authority])
            ]
            found += [
                f"{authority}: live, but not wanted: {text}" for text in sorted(have[authority] - want[authority])
            ]
    if not found and not equal(wanted, live):
        found.append("the same conditions are distributed over the rules in another way")
    return found


def _meaning(policy: Policy) -> t.FrozenSet[t.Tuple[str, str]]:
    return frozenset((authority_key(rule.authority), _group(rule.conditions)) for rule in policy.rules)


def _by_authority(policy: Policy) -> t.Dict[str, t.Set[str]]:
    found: t.Dict[str, t.Set[str]] = {}
    for rule in policy.rules:
        conditions = found.setdefault(authority_key(rule.authority), set())
        if rule.conditions.kind == "allOf" or len(rule.conditions.members) == 1:
            conditions.update(_member(member) for member in rule.conditions.members)
        else:
            conditions.add(_group(rule.conditions))
    return found


def _group(group: Group) -> str:
    members = sorted({_member(member) for member in group.members})
    if len(members) == 1:  # "all of one" and "any of one" are that one
        return members[0]
    return f"{group.kind}({', '.join(members)})"


def _member(member: t.Union[Claim, Group]) -> str:
    if isinstance(member, Group):
        return _group(member)
    return f"{member.path} {member.operator} {json.dumps(_value(member.value))}"


def _value(value: Value) -> t.Union[str, float, int]:
    if isinstance(value, float) and value.is_integer():  # 2.0 is 2, by value
        return int(value)
    return text_form(value) if isinstance(value, (bool, str)) else value
