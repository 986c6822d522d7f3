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

from .authority import key as authority_key
from .model import Claim, Group, Policy, Value

Node = t.Union[Claim, Group]


class Change(t.NamedTuple):
    """One difference. ``kind`` is rule_added, rule_removed, added, removed or changed, seen from live to wanted."""

    kind: str
    authority: str
    claim: t.Optional[str]
    live: t.Optional[str]
    wanted: t.Optional[str]
    message: str

    def as_dict(self) -> t.Dict[str, t.Any]:
        return self._asdict()


def text_form(value: t.Any) -> str:
    """A claim's or policy's value as the vault compares it: booleans as lower-case text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def equal(one: Policy, other: Policy) -> bool:
    """Whether both policies accept the same tokens (as far as order, duplicates and spelling are concerned)."""
    return _meaning(one) == _meaning(other)


def simplified(group: Group) -> Node:
    """The same condition without groups of one member and without allOf in allOf or anyOf in anyOf."""
    members: t.List[Node] = []
    for member in group.members:
        inner = simplified(member) if isinstance(member, Group) else member
        members += inner.members if isinstance(inner, Group) and inner.kind == group.kind else [inner]
    unique = {_node(member): member for member in members}
    return next(iter(unique.values())) if len(unique) == 1 else Group(group.kind, tuple(unique.values()))


def changes(wanted: Policy, live: Policy) -> t.List[Change]:
    """What would have to change in the live policy so that it means what is wanted; empty when it does.

    Rules that are in both are left out; of the rest, those of one authority are paired so that the fewest conditions
    differ.
    """
    want, have = _rules(wanted), _rules(live)
    left = {key: rule for key, rule in want.items() if key not in have}
    right = {key: rule for key, rule in have.items() if key not in want}
    found: t.List[Change] = []
    for key in sorted(left):
        authority, conditions = left[key]
        partner = min(
            (other for other in sorted(right) if right[other][0] == authority),
            key=lambda other: len(right[other][1] ^ conditions),
            default=None,
        )
        if partner is None:
            found.append(_whole("rule_added", authority, conditions))
        else:
            found += _conditions(authority, conditions, right.pop(partner)[1])
    return found + [_whole("rule_removed", *right[key]) for key in sorted(right)]


def differences(wanted: Policy, live: Policy) -> t.List[str]:
    """The same in words, a sentence each."""
    return [change.message for change in changes(wanted, live)]


def _conditions(authority: str, wanted: t.FrozenSet[Node], live: t.FrozenSet[Node]) -> t.List[Change]:
    added, removed = sorted(wanted - live, key=_node), sorted(live - wanted, key=_node)
    found = []
    for node in added:
        twins = [one for one in removed if isinstance(node, Claim) and isinstance(one, Claim) and one.path == node.path]
        if twins:
            removed.remove(twins[0])
            old, new = _node(twins[0]), _node(node)
            message = f"{authority}: change the condition {old} to {new}"
            found.append(Change("changed", authority, t.cast(Claim, node).path, old, new, message))
        else:
            found.append(_one("added", authority, node))
    return found + [_one("removed", authority, node) for node in removed]


def _one(kind: str, authority: str, node: Node) -> Change:
    text = _node(node)
    path = node.path if isinstance(node, Claim) else None
    if kind == "added":
        return Change(kind, authority, path, None, text, f"{authority}: add the condition {text}")
    return Change(kind, authority, path, text, None, f"{authority}: remove the condition {text}")


def _whole(kind: str, authority: str, conditions: t.FrozenSet[Node]) -> Change:
    text = " and ".join(sorted(_node(node) for node in conditions))
    if kind == "rule_added":
        return Change(kind, authority, None, None, text, f"add a rule for {authority}: {text}")
    return Change(kind, authority, None, text, None, f"remove the rule for {authority}: {text}")


def _rules(policy: Policy) -> t.Dict[str, t.Tuple[str, t.FrozenSet[Node]]]:
    found = {}
    for rule in policy.rules:
        authority, whole = authority_key(rule.authority), simplified(rule.conditions)
        members = whole.members if isinstance(whole, Group) and whole.kind == "allOf" else (whole,)
        # One spelling for each member, so that sets of them compare by meaning.
        spelt = frozenset(_spelt(member) for member in members)
        found[f"{authority} {sorted(_node(member) for member in spelt)}"] = (authority, spelt)
    return found


def _spelt(node: Node) -> Node:
    if isinstance(node, Claim):
        return Claim(node.path, node.operator, _value(node.value))
    return Group(node.kind, tuple(sorted((_spelt(member) for member in node.members), key=_node)))


def _meaning(policy: Policy) -> t.FrozenSet[str]:
    return frozenset(_rules(policy))


def _node(node: Node) -> str:
    if isinstance(node, Claim):
        return f"{node.path} {node.operator} {json.dumps(_value(node.value))}"
    members = sorted({_node(member) for member in node.members})
    return members[0] if len(members) == 1 else f"{node.kind}({', '.join(members)})"


def _value(value: Value) -> t.Union[str, float, int]:
    if isinstance(value, float) and value.is_integer():  # 2.0 is 2, by value
        return int(value)
    return text_form(value) if isinstance(value, (bool, str)) else value
