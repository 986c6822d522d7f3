# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a token's claims satisfy a policy, and if not, which condition failed and what nearly matched."""

from __future__ import annotations

import dataclasses
import typing as t

from .compare import authority_key, text_form
from .model import Claim, Group, Policy, Rule, Value

_MISSING = object()


@dataclasses.dataclass(frozen=True)
class Outcome:
    """One condition and what the token held. ``found`` is None when the claim is missing (``found_type`` missing)."""

    path: str
    operator: str
    wanted: Value
    found: t.Any
    found_type: str
    satisfied: bool
    hint: t.Optional[str] = None

    def as_dict(self) -> t.Dict[str, t.Any]:
        return {
            "claim": self.path,
            "operator": self.operator,
            "wanted": self.wanted,
            "found": self.found,
            "found_type": self.found_type,
            "satisfied": self.satisfied,
            "hint": self.hint,
        }


@dataclasses.dataclass(frozen=True)
class Branch:
    """One rule of the policy as it was evaluated."""

    authority: str
    authority_matches: bool
    satisfied: bool
    outcomes: t.Tuple[Outcome, ...]


@dataclasses.dataclass(frozen=True)
class Verdict:
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
        """The verdict in words, with every failing claim, the value wanted and the value found."""
        if self.satisfied:
            return "The release policy is met."
        if self.reason == "authority_mismatch":
            return f"The release policy trusts {', '.join(self.authorities)}, but this VM was attested by {self.issuer or 'nobody'}."
        parts = []
        for outcome in self.failing:
            wanted = (
                f"{outcome.operator} {show(outcome.wanted)}" if outcome.operator != "equals" else show(outcome.wanted)
            )
            found = "nothing" if outcome.found_type == "missing" else show(outcome.found)
            parts.append(
                f"claim {outcome.path} wanted {wanted}, found {found}" + (f" ({outcome.hint})" if outcome.hint else "")
            )
        return f"The release policy is not met: {'; '.join(parts)}."

    def as_dict(self) -> t.Dict[str, t.Any]:
        return {
            "satisfied": self.satisfied,
            "reason": self.reason,
            "issuer": self.issuer,
            "authorities": list(self.authorities),
            "failing": [outcome.as_dict() for outcome in self.failing],
            "near_misses": [outcome.as_dict() for outcome in self.near_misses],
        }


def show(value: t.Any) -> str:
    """A value so that text and boolean can be told apart."""
    if isinstance(value, bool):
        return text_form(value)
    return f"'{value}'" if isinstance(value, str) else str(value)


def evaluate(policy: Policy, claims: t.Mapping[str, t.Any]) -> Verdict:
    """Evaluate as the vault does: any rule whose authority is the token's ``iss`` and whose conditions hold.

    Text compares exactly, numbers by value, booleans by their text form; an object or a list equals nothing; a missing
    claim fulfils no condition.
    """
    issuer = str(claims.get("iss", ""))
    branches = tuple(_branch(rule, issuer, claims) for rule in policy.rules)
    satisfied = any(branch.satisfied for branch in branches)
    matching = [branch for branch in branches if branch.authority_matches]
    reason = None if satisfied else "policy_not_met" if matching else "authority_mismatch"
    failing: t.List[Outcome] = []
    if not satisfied:
        for branch in matching:
            failing += [outcome for outcome in branch.outcomes if not outcome.satisfied and outcome not in failing]
    return Verdict(satisfied, reason, issuer, tuple(rule.authority for rule in policy.rules), tuple(failing), branches)


def _branch(rule: Rule, issuer: str, claims: t.Mapping[str, t.Any]) -> Branch:
    matches = bool(issuer) and authority_key(rule.authority) == authority_key(issuer)
    outcomes: t.List[Outcome] = []
    holds = _group(rule.conditions, claims, outcomes)
    return Branch(rule.authority, matches, matches and holds, tuple(outcomes))


def _group(group: Group, claims: t.Mapping[str, t.Any], outcomes: t.List[Outcome]) -> bool:
    results, mine = [], []
    for member in group.members:
        if isinstance(member, Claim):
            outcome = _claim(member, claims)
            mine.append(outcome)
            results.append(outcome.satisfied)
        else:
            results.append(_group(member, claims, mine))
    holds = any(results) if group.kind == "anyOf" else all(results)
    # An unfulfilled alternative of a fulfilled anyOf is no reason for a refusal.
    outcomes += [dataclasses.replace(outcome, satisfied=True) for outcome in mine] if holds else mine
    return holds


def _claim(condition: Claim, claims: t.Mapping[str, t.Any]) -> Outcome:
    found = _lookup(claims, condition.path)
    if found is _MISSING:
        satisfied = condition.operator == "exists" and text_form(condition.value) == "false"
        hint = None if satisfied else _near(condition, claims) or "missing"
        return Outcome(condition.path, condition.operator, condition.value, None, "missing", satisfied, hint)
    satisfied = _compare(condition.operator, condition.value, found)
    hint = _mismatch(condition, found)
    return Outcome(condition.path, condition.operator, condition.value, found, _type(found), satisfied, hint)


def _lookup(claims: t.Mapping[str, t.Any], path: str) -> t.Any:
    here: t.Any = claims
    for part in path.split("."):
        if not isinstance(here, dict) or part not in here:
            return _MISSING
        here = here[part]
    return here


def _compare(operator: str, wanted: Value, found: t.Any) -> bool:
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
        return text_form(wanted) == text_form(found)
    return type(wanted) is type(found) and wanted == found


def _number(value: t.Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _type(value: t.Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if _number(value):
        return "number"
    kinds: t.Dict[type, str] = {str: "text", dict: "object", list: "list"}
    return kinds.get(type(value), "null")


def _mismatch(condition: Claim, found: t.Any) -> t.Optional[str]:
    """Why a present claim nearly matched, or matched by its text form only (which nobody should rely on)."""
    wanted = condition.value
    if condition.operator != "equals":
        return None
    if _type(wanted) != _type(found):
        return "type_differs"
    if wanted != found and isinstance(wanted, str) and isinstance(found, str) and wanted.lower() == found.lower():
        return "case_differs"
    return None


def _near(condition: Claim, claims: t.Mapping[str, t.Any]) -> t.Optional[str]:
    """Where a claim of the same name stands instead; a place that would satisfy the condition comes first."""
    name = condition.path.rpartition(".")[2]
    places = [(path, value) for path, value in _walk(claims, "") if path.rpartition(".")[2].lower() == name.lower()]
    places.sort(key=lambda place: (not _compare(condition.operator, condition.value, place[1]), place[0].count(".")))
    return f"found_at:{places[0][0]}" if places else None


def _walk(node: t.Mapping[str, t.Any], prefix: str) -> t.Iterator[t.Tuple[str, t.Any]]:
    for name, value in node.items():
        path = f"{prefix}{name}"
        yield path, value
        if isinstance(value, dict):
            yield from _walk(value, f"{path}.")
