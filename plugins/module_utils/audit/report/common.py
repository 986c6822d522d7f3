# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pieces that several sections use: links to hosts, badges of verdicts, what verification says, the trace of a policy."""

from __future__ import annotations

import typing as t

from ...policy import reasons
from ...policy import vocabulary as words
from . import facts, model
from .facts import Host
from .markup import Child, Column, Markup, Table, badge, bdi, code, el, table
from .model import Doc, Record

_OPERATORS = {
    "equals": "",
    "notEquals": "not ",
    "less": "less than ",
    "lessOrEquals": "at most ",
    "greater": "more than ",
    "greaterOrEquals": "at least ",
    "exists": "is present: ",
}


def link(host: Host) -> Markup:
    return el("a", bdi(host.name), href=f"#{host.anchor}")


def verdict(host: Host) -> Markup:
    return badge(facts.STYLE[host.kind], facts.KINDS[host.kind])


def outcome(record: Record) -> Markup:
    """A record's verdict with its reason code; a security event is called one."""
    kind = facts.judge(record)
    told = badge(facts.STYLE[kind], facts.KINDS[kind])
    reason = None if record.released else [" ", code(record.reason)]
    event = [" ", badge("bad", "security event")] if record.security_event else None
    return el("span", told, reason, event)


def checked(record: Record) -> Markup:
    """What verification says of a record, with the message where it did not pass."""
    if record.checked:
        return badge("ok", "verified")
    bad = record.checked is False
    shown = [finding for finding in record.findings if finding.ok is (False if bad else None) and finding.message]
    told = [[el("br"), code(finding.reason), " ", bdi(finding.message)] for finding in shown]
    return el("span", badge("bad", "does not verify") if bad else badge("none", "not verified"), told)


def meaning(reason: str) -> str:
    """The cause behind a reason code; empty for one that is not ours."""
    return reasons.REASONS[reason].cause if reason in reasons.REASONS else ""


def yes_no(value: t.Optional[bool], good: t.Optional[bool]) -> Markup:
    """On or off, and whether that is how it should be."""
    if value is None:
        return badge("none", "not known")
    word = "on" if value else "off"
    return el("span", word) if good is None else badge("ok" if value == good else "bad", word)


def share(part: int, whole: int) -> str:
    return f"{part} of {whole}"


def branches(record: Record) -> t.List[Doc]:
    """The branches of a record's trace, the one that was met or came nearest first."""
    trace = model.rows(record.raw, "policy", "trace") or model.rows(record.raw, "facts", "trace")
    return sorted(trace, key=lambda branch: (branch.get("satisfied") is not True, len(unmet(branch))))


def conditions(branch: Doc) -> t.List[Doc]:
    return model.rows(branch, "conditions") or model.rows(branch, "outcomes")


def unmet(branch: Doc) -> t.List[Doc]:
    return [condition for condition in conditions(branch) if condition.get("satisfied") is not True]


def trace(record: Record, only_unmet: bool = False) -> t.Optional[Markup]:
    """The conditions of every branch with the value wanted and the value found; None where the record has no trace."""
    found = branches(record)
    if not found:
        failing = model.rows(record.raw, "policy", "failing") or model.rows(record.raw, "facts", "failing")
        found = [{"conditions": failing}] if failing else []
    groups: t.List[t.Tuple[Child, str, t.Sequence[t.Sequence[Child]]]] = []
    for number, branch in enumerate(found, 1):
        shown = unmet(branch) if only_unmet else conditions(branch)
        groups.append((_branch(branch, number, len(found)), "", [_condition(one) for one in shown]))
    if not groups:
        return None
    heading = [Column("Claim"), Column("Wanted"), Column("Found"), Column("Result")]
    title = "Conditions that were not met" if only_unmet else "Release policy, condition by condition"
    return table(Table(title, heading, groups=groups, classes="trace"))


def _branch(branch: Doc, number: int, count: int) -> Child:
    authority = model.text(branch, "authority")
    words_: t.List[Child] = [f"Branch {number} of {count}" if count > 1 else "The branch"]
    if authority:
        words_ += [", for tokens of ", bdi(authority)]
    if model.flag(branch, "authority_matches") is False:
        words_ += [": this VM was attested by another authority"]
    elif model.flag(branch, "satisfied") is not None:
        words_ += [": met" if branch["satisfied"] else ": not met"]
    return words_


def _condition(condition: Doc) -> t.List[Child]:
    path = model.text(condition, "claim") or model.text(condition, "path")
    operator = model.text(condition, "operator") or "equals"
    missing = condition.get("found_type") == "missing"
    hint = model.text(condition, "hint")
    met = condition.get("satisfied") is True
    named = _named(path)
    return [
        [code(path), [el("br"), el("small", named)] if named else None],
        [_OPERATORS.get(operator, f"{operator} "), code(model.show(condition.get("wanted")))],
        "nothing" if missing else code(model.show(condition.get("found"))),
        [badge("ok" if met else "bad", "met" if met else "not met"), [el("br"), el("small", hint)] if hint else None],
    ]


def _named(path: str) -> str:
    known = words.find(path)
    return known.words if known else ""
