# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A release policy without the suspects: their VM ids taken out of the live one, or a narrower one that is given.

The vault evaluates the policy at each release, so a narrowed one holds against attestation tokens of any age at once.
"""

from __future__ import annotations

import itertools
import typing as t

from ..policy import canonical, compare, evaluate, model
from ..policy import vocabulary as words
from ..policy.authority import key as authority_key
from ..policy.failure import SkrFailure
from ..policy.model import Claim, Group, Policy

MAX_BRANCHES = 4096
_VM_IDS = (words.VM_UNIQUE_ID, words.VM_ID)
_Conditions = t.Tuple[Claim, ...]
_Branch = t.Tuple[str, _Conditions]


class Narrowed(t.NamedTuple):
    """``removed`` are the VM ids that were taken out; ``keeps_away`` whether the policy excludes every suspect by id."""

    policy: Policy
    changed: bool
    removed: t.Tuple[str, ...]
    keeps_away: bool

    def as_dict(self) -> t.Dict[str, t.Any]:
        shown = {"changed": self.changed, "removed": list(self.removed), "keeps_away": self.keeps_away}
        return {"policy": canonical.as_dict(self.policy), **shown}


def narrow(
    live_document: t.Any, vm_ids: t.Sequence[str], given: t.Optional[t.Any] = None, immutable: bool = False
) -> Narrowed:
    """The policy that keeps the suspects away. ``vm_ids`` in any case; ``given`` is a narrower policy to be used instead.

    Raises SkrFailure: policy_invalid, policy_immutable, policy_not_narrower, policy_binds_no_vm, policy_names_nobody_else.
    """
    live = model.parse(live_document)
    if given is not None:
        found = _given(model.parse(given), live, vm_ids)
    else:
        found = _without(live, vm_ids)
    if immutable and found.changed:
        raise SkrFailure(
            "policy_immutable",
            "The release policy is immutable, so it cannot be narrowed.",
            next_step="Use the action ungrant or disable.",
        )
    return found


def _given(wanted: Policy, live: Policy, vm_ids: t.Sequence[str]) -> Narrowed:
    away = all(excludes(wanted, one) for one in vm_ids) if vm_ids else False
    if compare.equal(wanted, live):
        return Narrowed(live, False, (), away)
    if not narrower(wanted, live):
        raise SkrFailure("policy_not_narrower", "The policy that is given is not narrower than the live one.")
    return Narrowed(wanted, True, (), away)


def _without(live: Policy, vm_ids: t.Sequence[str]) -> Narrowed:
    if not vm_ids:
        raise SkrFailure("policy_binds_no_vm", "No VM id of a suspect is known.")
    ids = {one.lower() for one in vm_ids}
    removed: t.Set[str] = set()
    rules = []
    for rule in live.rules:
        conditions = _pruned(rule.conditions, ids, removed)
        if conditions is not None:
            rules.append(rule._replace(conditions=conditions))
    if not rules:
        raise SkrFailure("policy_names_nobody_else", "The release policy names no VM but the suspects.")
    policy = live._replace(rules=tuple(rules))
    unbound = [number for number, rule in enumerate(rules) if any(not _names_vm(one) for one in _alternatives(rule))]
    if unbound:
        told = ", ".join(str(number + 1) for number in unbound)
        raise SkrFailure(
            "policy_binds_no_vm",
            f"Of {len(rules)} rules of the release policy number {told} names no VM that alone may have the key.",
            {"rules": unbound},
        )
    return Narrowed(policy, bool(removed), tuple(sorted(removed)), True)


def _pruned(group: Group, ids: t.Set[str], removed: t.Set[str]) -> t.Optional[Group]:
    """The group without the suspects; None when nobody is left to fulfil it. Notes the ids it took out."""
    members: t.List[t.Union[Claim, Group]] = []
    for member in group.members:
        kept = _kept(member, ids, removed)
        if kept is not None:
            members.append(kept)
        elif group.kind == "allOf":
            return None
    return Group(group.kind, tuple(members)) if members else None


def _kept(member: t.Union[Claim, Group], ids: t.Set[str], removed: t.Set[str]) -> t.Optional[t.Union[Claim, Group]]:
    if isinstance(member, Group):
        return _pruned(member, ids, removed)
    if member.path in _VM_IDS and member.operator == "equals" and str(member.value).lower() in ids:
        removed.add(str(member.value).lower())
        return None
    return member


def excludes(policy: Policy, vm_id: str) -> bool:
    """Whether every way to meet the policy needs another VM id than this one."""
    return all(
        any(str(one.value).lower() != vm_id.lower() for one in conditions if _is_vm(one))
        for _authority, conditions in branches(policy)
    )


def _is_vm(condition: Claim) -> bool:
    return condition.path in _VM_IDS and condition.operator == "equals"


def _names_vm(conditions: _Conditions) -> bool:
    return any(_is_vm(one) for one in conditions)


def narrower(wanted: Policy, live: Policy) -> bool:
    """Whether whoever meets ``wanted`` meets ``live`` too, as far as single conditions tell."""
    have = branches(live)
    return all(
        any(authority == other and _implied(conditions, required) for other, required in have)
        for authority, conditions in branches(wanted)
    )


def branches(policy: Policy) -> t.List[_Branch]:
    """The policy as a flat list of alternatives. Raises SkrFailure ``policy_invalid`` where there are too many."""
    found: t.List[_Branch] = []
    for rule in policy.rules:
        for conditions in _alternatives(rule):
            found.append((authority_key(rule.authority), conditions))
            if len(found) > MAX_BRANCHES:
                raise SkrFailure("policy_invalid", f"The release policy has more than {MAX_BRANCHES} alternatives.")
    return found


def _alternatives(rule: model.Rule) -> t.Iterator[_Conditions]:
    return _expanded(rule.conditions)


def _expanded(node: t.Union[Claim, Group]) -> t.Iterator[_Conditions]:
    if isinstance(node, Claim):
        yield (node,)
    elif node.kind == "anyOf":
        for member in node.members:
            yield from _expanded(member)
    else:
        for chosen in itertools.product(*(list(_expanded(member)) for member in node.members)):
            yield tuple(itertools.chain.from_iterable(chosen))


def _implied(given: _Conditions, required: _Conditions) -> bool:
    return all(any(_implies(one, other) for one in given) for other in required)


_AT_LEAST = {"greater": ("greater", "greaterOrEquals"), "greaterOrEquals": ("greaterOrEquals",)}
_AT_MOST = {"less": ("less", "lessOrEquals"), "lessOrEquals": ("lessOrEquals",)}


def _implies(one: Claim, other: Claim) -> bool:
    """Whether a claim that fulfils the one condition fulfils the other."""
    if one.path != other.path:
        return False
    if one.operator == other.operator and compare.text_form(one.value) == compare.text_form(other.value):
        return True
    if other.operator == "exists":  # a missing claim fulfils nothing but "exists false"
        return compare.text_form(other.value) == "true" and one.operator != "exists"
    if one.operator == "equals":
        return evaluate.compare(other.operator, other.value, one.value)
    if not all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in (one.value, other.value)):
        return False
    low, high = t.cast(float, one.value), t.cast(float, other.value)
    if other.operator in _AT_LEAST.get(one.operator, ()):
        return low >= high
    if other.operator in _AT_MOST.get(one.operator, ()):
        return low <= high
    # A bound that excludes itself may be implied by a tighter one that does not.
    tighter = {("greaterOrEquals", "greater"): low > high, ("lessOrEquals", "less"): low < high}
    return tighter.get((one.operator, other.operator), False)
