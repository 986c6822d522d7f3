# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sections on what happened: who got which key, and who was refused and why."""

from __future__ import annotations

import typing as t

from . import common, facts, markup, model
from .facts import Host
from .markup import Child, Column, Markup, Table, badge, bdi, code, el, table
from .model import Record


def released(hosts: t.List[Host]) -> Markup:
    """Every host, key and version that was released together, with first and last time; by key, then host."""
    found: t.Dict[t.Tuple[str, str], t.Dict[t.Tuple[str, str], t.List[Record]]] = {}
    owner = {host.name: host for host in hosts}
    for host in hosts:
        for record in host.records:
            if record.left_vault:
                found.setdefault(record.key, {}).setdefault((host.name, record.version), []).append(record)
    groups: t.List[t.Tuple[Child, str, t.Sequence[t.Sequence[Child]]]] = []
    for (vault, name), users in sorted(found.items()):
        lines = [_release(owner[host], version, records) for (host, version), records in sorted(users.items())]
        hosts_ = len({host for host, _version in users})
        groups.append((["Key ", bdi(name or "not known"), " of ", bdi(vault or "a vault not known"),
                        f": {markup.plural(hosts_, 'host')}"], "", lines))  # fmt: skip
    heading = [Column("Host"), Column("Version"), Column("Times", "n"), Column("First (UTC)"), Column("Last (UTC)"),
               Column("Request id of the last")]  # fmt: skip
    body = table(Table("Releases by key, host and version", heading, groups=groups, wide=True)) if groups else el(
        "p", "No record tells of a release.", class_="soft")  # fmt: skip
    intro = "Releases that the collected records tell of, each with the id under which the vault has it in its own log."
    return el("section", el("h2", "Who got a key"), el("p", intro, class_="lead"), body,
              id="released", class_="fresh")  # fmt: skip


def _release(host: Host, version: str, records: t.List[Record]) -> t.List[Child]:
    last, lost = records[-1], sum(not record.released for record in records)
    told = badge("warn", f"{lost} of them given out by the vault, but not delivered", long=True) if lost else None
    name: Child = [common.link(host), el("br"), told] if told else common.link(host)
    return [name, code(version), str(len(records)), markup.utc(records[0].time), markup.utc(last.time),
            code(model.text(last.raw, "request_id"))]  # fmt: skip


def refused(hosts: t.List[Host]) -> Markup:
    """Tries without a key: security events first, then the newest."""
    events = [event for host in hosts for event in _events(host)]
    # Refusals before failures, each with the newest first.
    events.sort(key=lambda event: event[1][-1].order, reverse=True)
    events.sort(key=lambda event: facts.judge(event[1][-1]) != "bad")
    security = [event for event in events if event[1][-1].security_event]
    other = [event for event in events if not event[1][-1].security_event]
    parts: t.List[Child] = []
    if security:
        parts += [el("h3", f"Security events ({len(security)})"),
                  el("p", "A VM that may not have the key asked for it, or an answer was not what it should be."),
                  [_event(host, records) for host, records in security]]  # fmt: skip
    if other:
        parts += [
            el("h3", f"Other tries without a key ({len(other)})"),
            [_event(host, records) for host, records in other],
        ]
    if not events:
        parts.append(el("p", "No record tells of a refusal or a failure.", class_="soft"))
    intro = "Tries of one host with one reason are told once, with how often and when."
    return el("section", el("h2", "Who was refused, and why"), el("p", intro, class_="lead"), parts,
              id="refused", class_="fresh")  # fmt: skip


_Event = t.Tuple[Host, t.List[Record]]


def _events(host: Host) -> t.List[_Event]:
    """Tries of the same key without success and with the same reason and message, together."""
    found: t.Dict[t.Tuple[t.Any, ...], t.List[Record]] = {}
    for record in host.records:
        if not record.released:
            found.setdefault((record.key, record.reason, record.security_event), []).append(record)
    return [(host, records) for records in found.values()]


def _event(host: Host, records: t.List[Record]) -> Markup:
    last = records[-1]
    kind = facts.judge(last)
    later = host.latest.get(last.key)
    since = later is not None and later.released
    when: t.List[Child] = [markup.utc(last.time), " UTC"]
    if len(records) > 1:
        when = [f"{len(records)} times, ", markup.utc(records[0].time), " to ", markup.utc(last.time), " UTC"]
    message = model.text(last.raw, "message") or common.meaning(last.reason) or "The record gives no message."
    step = model.text(last.raw, "next_step")
    name = last.key[1] or "a key not known"
    met = model.flag(last.raw, "policy", "satisfied")
    return el(
        "div",
        el("h4", common.link(host), ", key ", bdi(name)),
        el("p", common.outcome(last), " ", when, class_="small"),
        el("p", bdi(message)),
        el("p", el("b", "Next step: "), bdi(step)) if step else None,
        el("p", "Since then this key was released to the host.", class_="soft") if since else None,
        el("p", "The VM met the release policy.", class_="soft") if met else common.trace(last, only_unmet=True),
        class_=f"event {kind}",
    )


def lost(hosts: t.List[Host], gaps: t.List[str]) -> Markup:
    """Hosts that the audit could not look at, and what else could not be collected."""
    found = [host for host in hosts if host.kind == "lost"]
    if not found:
        body = el("p", "Every host of the inventory was reached." if hosts else "The bundle names no host.")
    else:
        heading = [Column("Host"), Column("Why"), Column("Last record in the bundle (UTC)")]
        lines = [
            [common.link(host), bdi(model.text(host.entry, "reason") or "not told"),
             markup.utc(host.records[-1].time) if host.records else "none"]
            for host in found
        ]  # fmt: skip
        body = el("div", el("p", "What these hosts hold, and in what state they are, is not known."),
                  table(Table("Hosts not reached", heading, lines, wide=True)))  # fmt: skip
    missing = [el("h3", "What else could not be collected"), markup.listing(map(bdi, gaps))] if gaps else None
    return el("section", el("h2", f"Hosts not reached ({len(found)})"), body, missing, id="lost")
