# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a token's claims satisfy a policy, and if not, which condition failed and what nearly matched."""

from __future__ import annotations

import typing as t

from . import near
from .authority import key as authority_key
from .compare import text_form
from .model import Claim, Group, Policy, Rule, Value
from .near import MISSING, Index, kind_of


class Outcome(t.NamedTuple):
    """One condition and what the token held. ``found`` is None when the claim is missing (``found_type`` missing).

    ``position`` is the condition's place in the policy. ``hint`` says what nearly matched (see :mod:`near`), and
    ``finding`` is the code under which the lint speaks of the same mistake.
    """

    position: str
    path: str
    operator: str
    wanted: Value
    found: t.Any
    found_type: str
    satisfied: bool
    hint: t.Optional[str] = None

    @property
    def finding(self) -> t.Optional[str]:
        return near.finding(self.hint, self.wanted)

    def as_dict(self) -> t.Dict[str, t.Any]:
        return {
            "position": self.position,
            "claim": self.path,
            "operator": self.operator,
            "wanted": self.wanted,
            "found": self.found,
            "found_type": self.found_type,
            "satisfied": self.satisfied,
            "hint": self.hint,
            "finding": self.finding,
        }

    def sentence(self) -> str:
        wanted = show(self.wanted) if self.operator == "equals" else f"{self.operator} {show(self.wanted)}"
        found = "nothing" if self.found_type == "missing" else show(self.found)
        hint = f" ({self.hint})" if self.hint else ""
        return f"claim {self.path} wanted {wanted}, found {found}{hint}"


class Branch(t.NamedTuple):
    """One rule of the policy as it was evaluated.

    ``outcomes`` are all its conditions, ``blocking`` those because of which it is not fulfilled: a condition that
    failed within a fulfilled anyOf is not among them.
    """

    position: str
    authority: str
    authority_matches: bool
    satisfied: bool
    outcomes: t.Tuple[Outcome, ...]
    blocking: t.Tuple[Outcome, ...]
    hint: t.Optional[str] = None

    def as_dict(self) -> t.Dict[str, t.Any]:
        return {
            "position": self.position,
            "authority": self.authority,
            "authority_matches": self.authority_matches,
            "satisfied": self.satisfied,
            "hint": self.hint,
            "conditions": [outcome.as_dict() for outcome in self.outcomes],
        }


class Verdict(t.NamedTuple):
    """The result: ``reason`` is None, ``authority_mismatch`` or ``policy_not_met``.

    ``failing`` holds the unfulfilled conditions of the rules for the token's issuer, in the policy's order.
    """

    satisfied: bool
    reason: t.Optional[str]
    issuer: str
    authorities: t.Tuple[str, ...]
    failing: t.Tuple[Outcome, ...]
    trace: t.Tuple[Branch, ...]

    @property
    def near_misses(self) -> t.Tuple[Outcome, ...]:
        """Every condition of the issuer's rules that carries a hint, fulfilled or not."""
        branches = [branch for branch in self.trace if branch.authority_matches]
        return tuple(outcome for branch in branches for outcome in branch.outcomes if outcome.hint)

    def sentence(self) -> str:
        """The verdict in words, with every failing claim, the value wanted and the value found.

        Of several rules that failed the one that came nearest is told.
        """
        if self.satisfied:
            return "The release policy is met."
        if self.reason == "authority_mismatch":
            hints = sorted({branch.hint for branch in self.trace if branch.hint})
            known = f" ({'; '.join(hints)})" if hints else ""
            trusted = ", ".join(dict.fromkeys(self.authorities))
            return f"The release policy trusts {trusted}, but this VM was attested by {self.issuer or 'nobody'}{known}."
        nearest, others = self.nearest(), len([one for one in self.trace if one.authority_matches]) - 1
        more = f" The other {others} rules for this authority are further from being met." if others else ""
        return f"The release policy is not met: {'; '.join(one.sentence() for one in nearest.blocking)}.{more}"

    def nearest(self) -> Branch:
        """The rule for the token's issuer with the fewest failing conditions."""
        matching = [branch for branch in self.trace if branch.authority_matches]
        return min(matching or self.trace, key=lambda branch: len(branch.blocking))

    def as_dict(self) -> t.Dict[str, t.Any]:
        return {
            "satisfied": self.satisfied,
            "reason": self.reason,
            "message": self.sentence(),
            "issuer": self.issuer,
            "authorities": list(self.authorities),
            "failing": [outcome.as_dict() for outcome in self.failing],
            "near_misses": [outcome.as_dict() for outcome in self.near_misses],
            "trace": [branch.as_dict() for branch in self.trace],
        }


def show(value: t.Any) -> str:
    """A value so that text and boolean can be told apart."""
    if isinstance(value, bool):
        return text_form(value)
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    return f"'{value}'" if isinstance(value, str) else str(value)


def evaluate(policy: Policy, claims: t.Mapping[str, t.Any]) -> Verdict:
    """Evaluate as the vault does: any rule whose authority is the token's ``iss`` and whose conditions hold.

    Text compares exactly, numbers by value, booleans by their text form; an object or a list equals nothing; a missing
    claim fulfils no condition (but ``exists`` false).
    """
    issuer = claims.get("iss", "")
    issuer = issuer if isinstance(issuer, str) else ""
    index = Index(claims)
    branches = tuple(_branch(rule, f"anyOf[{number}]", issuer, index) for number, rule in enumerate(policy.rules))
    satisfied = any(branch.satisfied for branch in branches)
    matching = [branch for branch in branches if branch.authority_matches]
    reason = None if satisfied else "policy_not_met" if matching else "authority_mismatch"
    failing: t.Dict[t.Tuple[t.Any, ...], Outcome] = {}
    for branch in matching if not satisfied else []:
        for outcome in branch.blocking:
            failing.setdefault((outcome.path, outcome.operator, show(outcome.wanted)), outcome)
    authorities = tuple(rule.authority for rule in policy.rules)
    return Verdict(satisfied, reason, issuer, authorities, tuple(failing.values()), branches)


def _branch(rule: Rule, position: str, issuer: str, index: Index) -> Branch:
    matches = bool(issuer) and authority_key(rule.authority) == authority_key(issuer)
    outcomes: t.List[Outcome] = []
    blocking: t.List[Outcome] = []
    holds = _group(rule.conditions, f"{position}.{rule.conditions.kind}", index, outcomes, blocking)
    hint = near.authority(rule.authority, issuer, matches)
    return Branch(position, rule.authority, matches, matches and holds, tuple(outcomes), tuple(blocking), hint)


def _group(group: Group, position: str, index: Index, outcomes: t.List[Outcome], blocking: t.List[Outcome]) -> bool:
    """Evaluate every condition, also where the result is known already: the trace shows all."""
    results, failed = [], []
    for number, member in enumerate(group.members):
        place = f"{position}[{number}]"
        if isinstance(member, Claim):
            outcome = claim(member, place, index)
            outcomes.append(outcome)
            results.append(outcome.satisfied)
            if not outcome.satisfied:
                failed.append(outcome)
        else:
            results.append(_group(member, f"{place}.{member.kind}", index, outcomes, failed))
    holds = any(results) if group.kind == "anyOf" else all(results)
    if not holds:
        blocking += failed
    return holds


def claim(condition: Claim, position: str, index: Index) -> Outcome:
    """One condition over a token's claims; ``position`` is its place in the policy."""
    path, operator, wanted = condition.path, condition.operator, condition.value
    found = index.lookup(path)
    if found is MISSING:
        satisfied = operator == "exists" and text_form(wanted) == "false"
        hint = None if satisfied else index.near(path, lambda value: compare(operator, wanted, value))
        return Outcome(position, path, operator, wanted, None, "missing", satisfied, hint)
    satisfied = compare(operator, wanted, found)
    hint = near.value(operator, wanted, found)
    return Outcome(position, path, operator, wanted, found, kind_of(found), satisfied, hint)


def compare(operator: str, wanted: Value, found: t.Any) -> bool:
    """One comparison of a claim that is present."""
    if operator == "exists":
        return text_form(wanted) == "true"
    if operator in ("equals", "notEquals"):
        return _same(wanted, found) == (operator == "equals")
    if not _number(wanted) or not _number(found):
        return False
    low, high = t.cast(float, found), t.cast(float, wanted)  # as they are: float() of a long integer overflows
    orders = {"less": low < high, "lessOrEquals": low <= high, "greater": low > high, "greaterOrEquals": low >= high}
    return orders[operator]


def _same(wanted: Value, found: t.Any) -> bool:
    if isinstance(found, (dict, list)) or found is None:
        return False
    if _number(wanted) and _number(found):
        return bool(wanted == found)
    if isinstance(wanted, bool) or isinstance(found, bool):
        # By text form: the boolean, or the text that the vault made of it, on either side. A number is neither.
        return not _number(wanted) and not _number(found) and text_form(wanted) == text_form(found)
    # isinstance, because playbooks hand over subclasses of str.
    return isinstance(wanted, str) and isinstance(found, str) and wanted == found


def _number(value: t.Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
