# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A planned change of what a policy pins, in two steps that refuse nobody: expand, then contract.

``target`` is the whole policy as it shall be afterwards. Expanded, the live policy accepts what it accepted and what the
target accepts; contracted, the target alone. In between every VM is asked by which of the two it is let in. A rule of the
live policy that the target has too is no old one: a mixed fleet's other kinds of VM are left alone.
"""

from __future__ import annotations

import typing as t

from . import canonical, evaluate, model, near
from . import vocabulary as words
from .compare import text_form
from .failure import SkrFailure
from .lint import tee_of
from .model import Claim, Group, Policy, Rule

NEW, OLD, NONE = "new", "old", "none"
# What tells VMs apart, not states of one: never taken from a golden VM.
_IDENTITY = frozenset({words.VM_UNIQUE_ID, words.VM_ID})
# What a golden VM must have as the policy wants it, for ever.
_FIRM = frozenset({words.TYPE, words.OUTER_TYPE, words.COMPLIANCE, *words.DEBUG.values()})
# What may differ, if the user names it, because the policy may be weaker than before. Secure boot that is on now is not.
_GUARDED = frozenset({words.SECURE_BOOT, *(path for path, _meaning in words.LOG_BOOLEANS.values())})


def _key(rule: Rule) -> str:
    """The same for rules that mean the same."""
    return canonical.digest(Policy("1.0.0", (rule,)))


def union(live: Policy, target: Policy) -> Policy:
    """The live policy and the rules of the target that it lacks, each meaning once, in the target's spelling if it has one."""
    found: t.Dict[str, Rule] = {}
    for rule in (*target.rules, *live.rules):
        found.setdefault(_key(rule), Rule(rule.authority, t.cast("Group", _typed(rule.conditions))))
    return Policy(live.version, tuple(found.values()))


def _typed(node: t.Union[Claim, Group]) -> t.Union[Claim, Group]:
    """A vault gives booleans back as text; what is sent to it again has booleans, as a user would write them."""
    if isinstance(node, Group):
        return Group(node.kind, tuple(_typed(member) for member in node.members))
    known = words.find(node.path)
    if known is not None and known.kind == "boolean" and node.value in ("true", "false"):
        return Claim(node.path, node.operator, node.value == "true")
    return node


def contract(live: Policy, target: Policy) -> Policy:
    """The live policy without its old rules. Raises SkrFailure ``overlap_missing`` where it lacks rules of the target."""
    have = {_key(rule) for rule in live.rules}
    wanted = {_key(rule): rule for rule in target.rules}
    lacking = [rule for key, rule in wanted.items() if key not in have]
    if lacking:
        raise SkrFailure(
            "overlap_missing",
            f"The live policy lacks {len(lacking)} of the {len(wanted)} branches that are to stay: "
            f"{'; '.join(_told(rule) for rule in lacking)}.",
            {"lacking": [_document(rule) for rule in lacking]},
        )
    return Policy(live.version, tuple(wanted.values()))


def branches(live: Policy, target: Policy) -> t.Dict[str, t.List[t.Dict[str, t.Any]]]:
    """The rules of both as documents: ``old`` will go, ``kept`` are in both, ``new`` are to be added."""
    have, want = {_key(rule): rule for rule in live.rules}, {_key(rule): rule for rule in target.rules}
    return {
        "old": [_document(rule) for key, rule in have.items() if key not in want],
        "kept": [_document(rule) for key, rule in have.items() if key in want],
        "new": [_document(rule) for key, rule in want.items() if key not in have],
    }


def standing(policy: Policy, target: Policy, verdict: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    """By which branch a VM is let in, from the verdict (``trace`` and ``issuer``) over ``policy``, the expanded one.

    ``branch`` is new (it needs no old branch), old or none; ``position`` that of the branch; ``failing`` why no new branch
    holds: of the one that came nearest ``claim``, ``operator``, ``wanted`` and ``found``; another authority is told as claim
    ``iss``. Raises SkrFailure ``invalid_input`` for a trace over another policy.
    """
    trace: t.Sequence[t.Mapping[str, t.Any]] = verdict.get("trace") or []
    if len(trace) != len(policy.rules):
        raise SkrFailure(
            "invalid_input",
            f"The trace has {len(trace)} branches, wanted the {len(policy.rules)} of the policy it is compared with.",
            {"option": "trace"},
        )
    wanted = {_key(rule) for rule in target.rules}
    pairs = [(NEW if _key(rule) in wanted else OLD, entry) for rule, entry in zip(policy.rules, trace)]
    for kind in (NEW, OLD):
        held = next((entry for one, entry in pairs if one == kind and entry["satisfied"]), None)
        if held is not None:
            failing = [] if kind == NEW else _failing(pairs, verdict.get("issuer"))
            return {"branch": kind, "position": held["position"], "failing": failing}
    return {"branch": NONE, "position": None, "failing": _failing(pairs, verdict.get("issuer"))}


def _failing(
    pairs: t.Sequence[t.Tuple[str, t.Mapping[str, t.Any]]], issuer: t.Optional[str]
) -> t.List[t.Dict[str, t.Any]]:
    """What the new branch that came nearest lacks; one for this VM's authority before others."""
    found: t.List[t.List[t.Dict[str, t.Any]]] = []
    for kind, entry in pairs:
        if kind != NEW:
            continue
        lacking = [
            {name: one[name] for name in ("claim", "operator", "wanted", "found")}
            for one in entry["conditions"]
            if not one["satisfied"]
        ]
        if not entry["authority_matches"]:
            lacking.insert(0, {"claim": "iss", "operator": "equals", "wanted": entry["authority"], "found": issuer})
        found.append(lacking)
    # False sorts before True.
    return min(found, key=lambda one: (any(each["claim"] == "iss" for each in one), len(one)), default=[])


# --- a golden VM


def from_golden(live: Policy, claims: t.Mapping[str, t.Any], weaken: t.Sequence[str] = ()) -> Policy:
    """The target when a VM that has been updated is as all shall be: its values in the place of those that it changed.

    Every rule for the golden VM's authority and kind of TEE has the values of its pinned claims exchanged; the other rules
    stay. VM ids stay as well. ``weaken`` names the guarded claims (secure boot and the log booleans) that may change.
    Raises SkrFailure ``golden_unfit`` where the VM differs in what must not change, or is not of this policy at all.
    """
    live = union(Policy(live.version, ()), live)  # each branch once, and its booleans as such, for the message
    fitting = [rule for rule in live.rules if _is_for(rule, claims)]
    if not fitting:
        raise SkrFailure(
            "golden_unfit",
            f"No branch of the policy is for VMs like the golden one: it was attested by {claims.get('iss')!r} and is of kind "
            f"{near.Index(claims).lookup(words.TYPE)!r}.",
            {"authority": claims.get("iss")},
        )
    index = near.Index(claims)
    unfit: t.Dict[str, evaluate.Outcome] = {}
    rules = tuple(
        Rule(rule.authority, _exchanged(rule.conditions, index, frozenset(weaken), unfit)) if rule in fitting else rule
        for rule in live.rules
    )
    if unfit:
        told = "; ".join(outcome.sentence() for outcome in unfit.values())
        raise SkrFailure(
            "golden_unfit",
            f"The golden VM differs in what is not exchanged: {told}.",
            {
                "failing": [outcome.as_dict() for outcome in unfit.values()],
                "may_be_named": sorted(_GUARDED & set(unfit)),
            },
        )
    return union(Policy(live.version, ()), Policy(live.version, rules))


def _is_for(rule: Rule, claims: t.Mapping[str, t.Any]) -> bool:
    """Whether a rule speaks of VMs of this authority and kind."""
    tee = tee_of(rule)
    kind = near.Index(claims).lookup(words.TYPE)
    branch = evaluate.evaluate(Policy("1.0.0", (rule,)), claims).trace[0]
    return branch.authority_matches and (not tee or kind == tee)


def _exchanged(
    group: Group, index: near.Index, weaken: t.FrozenSet[str], unfit: t.Dict[str, evaluate.Outcome]
) -> Group:
    """The group with the golden VM's values. An anyOf that holds stays; of alternatives for one claim one value is left."""
    if group.kind == "anyOf":
        if any(_holds(member, index) for member in group.members):
            return group
        paths = {member.path if isinstance(member, Claim) else None for member in group.members}
        first = group.members[0]
        if len(paths) == 1 and isinstance(first, Claim):
            return Group("anyOf", (_value(first, index, weaken, unfit),))
    return Group(
        group.kind,
        tuple(
            _value(member, index, weaken, unfit)
            if isinstance(member, Claim)
            else _exchanged(member, index, weaken, unfit)
            for member in group.members
        ),
    )


def _holds(member: t.Union[Claim, Group], index: near.Index) -> bool:
    if isinstance(member, Group):
        results = [_holds(one, index) for one in member.members]
        return any(results) if member.kind == "anyOf" else all(results)
    return member.path in _IDENTITY or evaluate.claim(member, "", index).satisfied


def _value(
    condition: Claim, index: near.Index, weaken: t.FrozenSet[str], unfit: t.Dict[str, evaluate.Outcome]
) -> Claim:
    path = condition.path
    outcome = evaluate.claim(condition, path, index)
    if path in _IDENTITY or outcome.satisfied:
        return condition
    comparable = isinstance(outcome.found, (str, int, float)) and condition.operator == "equals"
    stronger = path == words.SECURE_BOOT and text_form(outcome.found) == "true"
    if not comparable or path in _FIRM or (path in _GUARDED and path not in weaken and not stronger):
        unfit.setdefault(path, outcome)
        return condition
    return Claim(path, "equals", outcome.found)


def _document(rule: Rule) -> t.Dict[str, t.Any]:
    rules: t.List[t.Dict[str, t.Any]] = canonical.as_dict(Policy("1.0.0", (rule,)))["anyOf"]
    return rules[0]


def _told(rule: Rule) -> str:
    """A rule in one line."""

    def told(node: t.Union[Claim, Group]) -> str:
        if isinstance(node, Claim):
            return f"{node.path} {node.operator} {text_form(node.value)}"
        return f"{node.kind}({', '.join(told(member) for member in node.members)})"

    return f"{rule.authority}: {told(rule.conditions)}"


def parse(name: str, document: t.Any) -> Policy:
    """A policy given by a user under this name. Raises SkrFailure ``policy_invalid`` that says which one it was."""
    try:
        return model.parse(document)
    except SkrFailure as failure:
        raise SkrFailure(failure.reason, f"{name}: {failure.message}", failure.facts) from None
