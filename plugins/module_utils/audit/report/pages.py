# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A page for each host: what it is, what it proved, what it holds, and what happened on it."""

from __future__ import annotations

import re
import typing as t

from ...policy import notable
from ...policy import vocabulary as words
from . import common, facts, markup, model
from .facts import Host
from .markup import Child, Column, Markup, Table, badge, bdi, code, el, table
from .model import Doc, Record

_LAST = 12  # releases shown of each host
_SAMPLE = re.compile(r"azure_skr_(\w+?)(?:\{(.*)\})? (\S+)")
_CLAIMS = (
    "iss", words.TYPE, words.COMPLIANCE, words.SECURE_BOOT, *words.DEBUG.values(), f"{words.ISOLATION}.tdx_is_debuggable",
    words.VM_UNIQUE_ID, *words.HOST_DATA.values(), f"{words.ISOLATION}.attester_tcb_status",
    f"{words.ISOLATION}.attester_tcb_date",
)  # fmt: skip


def section(hosts: t.List[Host]) -> Markup:
    body = [_page(host, first=number == 0) for number, host in enumerate(hosts)]
    intro = "In the order of their names. All times are UTC."
    return el("section", el("h2", "Host by host"), el("p", intro if hosts else "The bundle names no host.", class_="lead"),
              body, id="pages", class_="fresh")  # fmt: skip


def _page(host: Host, first: bool) -> Markup:
    title = el(
        "h3", bdi(host.name), " ", common.verdict(host), el("a", "back to the index", href="#index", class_="back")
    )
    return el(
        "article",
        title,
        _lost(host),
        _identity(host),
        _warnings(host),
        _claims(host),
        _records(host),
        _traces(host),
        _status(host),
        _metrics(host),
        id=host.anchor,
        class_="host first" if first else "host",
    )


def _lost(host: Host) -> t.Optional[Markup]:
    if host.kind == "lost":
        why = model.text(host.entry, "reason") or "no reason told"
        return el("p", "This host was not reached (", bdi(why), "); what it holds now is not known.")
    if host.kind == "empty":
        return el("p", "This host has no record of any release: it never tried one, or its records were removed.")
    return None


def _identity(host: Host) -> Markup:
    vm, evidence = host.vm, host.evidence
    told = model.text(vm, "vm_id") or next((model.text(one.raw, "host", "vm_id") for one in reversed(host.records)), "")
    users = [model.text(one, "principal_id") for one in model.rows(vm, "user_assigned")]
    identities = [one for one in [model.text(vm, "principal_id"), *users] if one]
    boot, debug = host.secure_boot, host.debuggable
    return markup.facts([
        ("VM", bdi(model.text(vm, "name")) if vm else "in no inventory of the bundle"),
        ("VM id", code(told) if told else None),
        ("Resource group", bdi(model.text(vm, "resource_group")) if model.text(vm, "resource_group") else None),
        ("Size, region", _pair(model.text(vm, "vm_size"), model.text(vm, "location"))),
        ("Identities", [[code(one), " "] for one in identities] or None),
        ("TEE", host.tee or None),
        ("TCB level", host.tcb[0] or None),
        ("TCB status", host.tcb_status or None),
        ("Secure boot", common.yes_no(boot, True) if host.attested else None),
        ("Debugging", common.yes_no(debug, False) if host.attested else None),
        ("Measurement", code(model.text(evidence, "measurement")) if model.text(evidence, "measurement") else None),
        ("Boot log", _log(evidence)),
        ("AK certificate", _certificate(host)),
        ("Attested", [markup.utc(host.attested.time), " UTC"] if host.attested else None),
        ("Agent", _agent(host)),
    ])  # fmt: skip


def _pair(one: str, other: str) -> t.Optional[Markup]:
    known = [part for part in (one, other) if part]
    return bdi(", ".join(known)) if known else None


def _agent(host: Host) -> t.Optional[Markup]:
    tool = model.mapping(host.records[-1].raw, "tool") if host.records else {}
    told = " ".join(part for part in (model.text(tool, "collection"), model.text(tool, "version")) if part)
    door = model.text(tool, "door")
    return bdi(f"{told}{f' ({door})' if door else ''}") if told else None


def _log(evidence: Doc) -> Child:
    matches = model.flag(evidence, "event_log", "matches_pcrs")
    if matches is None:
        return None
    return badge("ok", "agrees with the PCRs") if matches else badge("warn", "does not agree with the PCRs")


def _certificate(host: Host) -> Child:
    if host.days_left is None:
        return None
    style = "bad" if host.days_left < 0 else "warn" if host.days_left < facts.SHORT_DAYS else ""
    left = f"{host.days_left} days left" if host.days_left >= 0 else "expired"
    end = model.text(host.evidence, "ak_cert_not_after")
    issuer = model.text(host.evidence, "ak_cert_issuer")
    return [badge(style, left) if style else left, [", until ", markup.utc(end)] if end else None,
            [el("br"), el("small", bdi(issuer))] if issuer else None]  # fmt: skip


def _warnings(host: Host) -> Child:
    if not host.warnings:
        return None
    return [el("h4", "Warnings"), markup.listing([bdi(warning) for warning in host.warnings])]


def _claims(host: Host) -> t.Optional[Markup]:
    """Claims of the last token that policies usually speak of, and those that are remarkable."""
    if not host.claims:
        return None
    odd = {remark.claim: remark.message.partition(":")[0] for remark in notable.remarks(host.claims)}
    lines: t.List[t.Sequence[Child]] = []
    for path in dict.fromkeys((*_CLAIMS, *odd)):
        value = facts.claim(host.claims, path)
        if value is None and path not in odd:
            continue
        known = words.find(path)
        remark = [el("br"), badge("warn", odd[path], long=True)] if path in odd else None
        lines.append([code(path), known.words if known else "", [code(model.show(value)), remark]])
    heading = [Column("Claim"), Column("Meaning"), Column("Value")]
    return table(Table("Claims that matter, of the last token", heading, lines))


def _records(host: Host) -> t.Optional[Markup]:
    if not host.records:
        return None
    shown = host.records[::-1][:_LAST]
    rest = host.records[::-1][_LAST:]
    kept = [record for record in rest if record.checked is False or record.security_event]
    lines = [_record(record) for record in (*shown, *kept)]
    left = len(rest) - len(kept)
    caption: t.List[Child] = ["Last releases and tries"]
    if left:
        caption.append(f" ({left} older ones of {len(host.records)} are in the bundle only)")
    heading = [Column("Time (UTC)"), Column("Key and version"), Column("Outcome"), Column("Seconds", "n"),
               Column("Verification")]  # fmt: skip
    return table(Table(caption, heading, lines))


def _record(record: Record) -> t.List[Child]:
    seconds = model.number(record.raw, "duration_s")
    name = f"{record.key[1] or 'not known'} / {record.version}" if record.version else record.key[1] or "not known"
    request = model.text(record.raw, "request_id")
    return [
        [markup.utc(record.time), el("br"), el("small", bdi(record.id or "no id"))],
        [code(name), [el("br"), el("small", "request ", bdi(request))] if request else None],
        common.outcome(record),
        "" if seconds is None else f"{seconds:.1f}",
        common.checked(record),
    ]


def _traces(host: Host) -> t.List[Child]:
    """The trace of the last record of each key: open where it was refused, folded where it was met."""
    made: t.List[Child] = []
    for _key, record in sorted(host.latest.items()):
        trace = common.trace(record)
        if trace is None:
            continue
        told: Child = ["Policy of ", bdi(record.key[1] or "a key not known"), " against this VM"]
        digest = model.text(record.raw, "policy", "sha256")
        note = (
            el("p", "Digest of the policy that was evaluated: ", code(digest), class_="soft small") if digest else None
        )
        if record.released:
            made.append(el("details", el("summary", told), trace, note))
        else:
            made.append([el("h4", told), trace, note])
    return made


def _status(host: Host) -> t.Optional[Markup]:
    if not host.instances:
        return None
    lines: t.List[t.Sequence[Child]] = []
    for name, one in host.instances.items():
        outcome = model.text(one, "state") or model.text(one, "outcome")
        style = {"released": "ok", "ok": "ok", "failed": "bad", "waiting": "warn", "stale": "warn", "gone": "bad"}.get(
            outcome, "none"
        )
        message = model.text(one, "message")
        lines.append([
            bdi(name),
            [badge(style, outcome or "not known"), [el("br"), el("small", bdi(message))] if message else None],
            code(model.text(one, "key_version")),
            markup.utc(one.get("time")),
            markup.utc(one.get("last_success")),
            model.text(one, "attempts"),
        ])  # fmt: skip
    heading = [Column("Instance"), Column("State"), Column("Version"), Column("Last run (UTC)"),
               Column("Last key (UTC)"), Column("Attempts", "n")]  # fmt: skip
    return table(Table("Instances of the agent, as the host tells", heading, lines))


def _metrics(host: Host) -> t.Optional[Markup]:
    """Counters since the machine started; the gauges say what the status says."""
    lines: t.List[t.Sequence[Child]] = []
    for line in host.metrics.splitlines():
        found = _SAMPLE.fullmatch(line.strip())
        if found and found.group(1) == "outcomes_total":
            labels = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', found.group(2) or ""))
            lines.append([bdi(labels.get("reason", "")), bdi(labels.get("name", "")), found.group(3)])
    if not lines:
        return None
    heading = [Column("Reason"), Column("Instance"), Column("Times", "n")]
    return table(Table("Releases since the machine started, by reason", heading, lines, "narrow"))
