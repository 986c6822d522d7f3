# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fleet at a glance: the numbers that a manager asks for, what needs attention, the charts, the index of hosts."""

from __future__ import annotations

import collections
import statistics
import typing as t

from . import charts, common, facts, markup, model
from .access import Key
from .charts import Bar, Chart
from .facts import Host
from .markup import Child, Column, Markup, Table, badge, bdi, code, el
from .model import Record, View

_MOST_BARS = 14


def tiles(view: View, hosts: t.List[Host], keys: t.List[Key]) -> Markup:
    kinds = collections.Counter(host.kind for host in hosts)
    events = sum(record.security_event for record in view.all_records)
    bad = sum(record.checked is False for record in view.all_records)
    good = sum(record.checked is True for record in view.all_records)
    strangers = len({principal.id for key in keys for principal in key.strangers})
    days = [host.days_left for host in hosts if host.days_left is not None]
    soon = sum(left < facts.SHORT_DAYS for left in days)
    refused = sum(not record.released for record in view.all_records)
    found: t.List[t.Tuple[int, t.Optional[int], str, str]] = [
        (len(hosts) - kinds["lost"], len(hosts), "hosts reached", _lost(kinds["lost"])),
        (kinds["ok"], len(hosts), "hosts hold their keys", _others(kinds)),
        (good, len(view.all_records), "records verified", f"{bad} do not verify" if bad else _unverified(view)),
        (refused, None, "tries without a key", markup.plural(events, "security event")),
        (len(keys), None, "keys", markup.plural(strangers, "stranger holds a permission", "strangers hold a permission")),
        (soon, len(days), "AK certificates under 30 days", "" if len(days) == len(hosts) else f"{len(hosts) - len(days)} not known"),
    ]  # fmt: skip
    made = [
        el("li", el("b", str(value), el("small", f" / {whole}") if whole is not None else None), el("span", what),
           el("span", note, class_="soft") if note else None)
        for value, whole, what, note in found
    ]  # fmt: skip
    return el("ul", made, class_="tiles")


def _lost(count: int) -> str:
    return "all of them" if not count else f"{count} not reached: unknown"


def _others(kinds: t.Mapping[str, int]) -> str:
    return ", ".join(
        f"{kinds[kind]} {facts.KINDS[kind].lower()}" for kind in facts.KINDS if kind != "ok" and kinds[kind]
    )


def _unverified(view: View) -> str:
    left = sum(record.checked is None for record in view.all_records)
    return f"{left} not verified" if left else "none fails"


def attention(view: View, hosts: t.List[Host], keys: t.List[Key]) -> Markup:
    """What somebody should look at, gravest first, each with the way to it."""
    found = [*_attention_records(view, hosts), *_attention_keys(keys), *_attention_hosts(hosts)]
    if not found:
        return el("p", "Nothing in this bundle asks for attention.")
    order = {"bad": 0, "warn": 1, "none": 2}
    found.sort(key=lambda item: order[item[0]])
    labels = {"bad": "act", "warn": "look at", "none": "unknown"}
    items = [el("li", badge(kind, labels[kind]), el("span", told)) for kind, told in found]
    return el("ul", items, class_="attention")


_Item = t.Tuple[str, Child]


def _attention_records(view: View, hosts: t.List[Host]) -> t.Iterator[_Item]:
    bad = [record for record in view.all_records if record.checked is False]
    if bad:
        names = sorted({record.host for record in bad})
        told = f"{markup.plural(len(bad), 'record does', 'records do')} not verify, of "
        yield "bad", [told, _names([host for host in hosts if host.name in names]), "."]
    events = [record for record in view.all_records if record.security_event]
    if events:
        told = f"{markup.plural(len(events), 'security event')}: a VM that may not have a key asked for it, or an answer was not what it should be, on "
        yield "bad", [told, _names([host for host in hosts if any(one.security_event for one in host.records)]), "."]
    for kind, style, words in (("bad", "warn", "last refused"), ("warn", "warn", "last failed")):
        named = [host for host in hosts if host.kind == kind]
        if named:
            yield style, [f"{markup.plural(len(named), 'host')} {words}: ", _names(named), "."]
    for gap in view.gaps:
        yield "none", ["Not collected: ", bdi(gap)]
    lost = [host for host in hosts if host.kind == "lost"]
    if lost:
        yield (
            "none",
            [
                f"{markup.plural(len(lost), 'host was', 'hosts were')} not reached: ",
                _names(lost),
                "; the state is not known.",
            ],
        )
    empty = [host for host in hosts if host.kind == "empty"]
    if empty:
        yield "none", [f"{markup.plural(len(empty), 'host has', 'hosts have')} no record: ", _names(empty), "."]


def _attention_keys(keys: t.List[Key]) -> t.Iterator[_Item]:
    for key in keys:
        name = el("a", bdi(key.name), href=f"#{key.anchor}")
        if key.strangers:
            count = markup.plural(len(key.strangers), "identity that is", "identities that are")
            yield "bad", ["The release permission on ", name, f" is held by {count} no VM of the inventory."]
        for finding in key.lint:
            if finding.severity == "error" and finding.code not in key.accepted:
                yield "bad", ["The policy of ", name, ": ", finding.message, " Nobody accepted this."]
        if key.listed and key.policy is None:
            yield "warn", ["The release policy of ", name, " is not in the bundle, or cannot be read."]
        newest = newest_version(key)
        old = [host for host in key.hosts if key.id in host.latest and _old(host.latest[key.id], newest)]
        if old:
            told = f"{markup.plural(len(old), 'host holds', 'hosts hold')} a version of "
            yield "warn", [told, name, " that is not the newest enabled one: ", _names(old), "."]


def _old(record: Record, newest: str) -> bool:
    return bool(newest and record.released and record.version and record.version != newest)


def newest_version(key: Key) -> str:
    """The enabled version that was made last; empty where that is not known."""
    made = [
        (model.moment(one.get("created")), model.text(one, "version")) for one in key.versions if one.get("enabled")
    ]
    known = [(when.isoformat(), version) for when, version in made if when and version]
    return max(known)[1] if known else ""


def _attention_hosts(hosts: t.List[Host]) -> t.Iterator[_Item]:
    looks: t.List[t.Tuple[str, str, t.Callable[[Host], bool]]] = [
        ("bad", "whose memory the cloud's host may debug", lambda host: host.debuggable is True),
        ("bad", "attested without secure boot", lambda host: host.secure_boot is False),
        ("bad", "with an expired AK certificate", lambda host: _left(host) < 0),
        ("warn", f"whose AK certificate ends within {facts.SHORT_DAYS} days", lambda host: 0 <= _left(host) < facts.SHORT_DAYS),
        ("warn", "without a hardware TEE", lambda host: host.tee.startswith("none")),
        ("warn", "whose platform Intel calls out of date", lambda host: host.tcb_status not in ("", "UpToDate")),
    ]  # fmt: skip
    for style, words, wanted in looks:
        named = [host for host in hosts if wanted(host)]
        if named:
            yield style, [f"{markup.plural(len(named), 'host')} {words}: ", _names(named), "."]
    lag = lags(hosts)
    behind = [host for host in hosts if lag(host)]
    if behind:
        told = (
            f"{markup.plural(len(behind), 'host runs', 'hosts run')} on older firmware than others of the same kind: "
        )
        yield "warn", [told, _names(behind), "."]


def _left(host: Host) -> int:
    return 10**9 if host.days_left is None else host.days_left


def lags(hosts: t.List[Host]) -> t.Callable[[Host], bool]:
    """Whether a host's TCB has a number below that of another one of the same product."""
    best: t.Dict[str, t.List[float]] = {}
    for host in hosts:
        label, level = host.tcb
        if level:
            known = best.setdefault(label.partition(":")[0], list(level))
            if len(known) == len(level):
                known[:] = [max(pair) for pair in zip(known, level)]

    def behind(host: Host) -> bool:
        label, level = host.tcb
        return bool(level) and any(mine < most for mine, most in zip(level, best[label.partition(":")[0]]))

    return behind


def _names(hosts: t.Sequence[Host], most: int = 6) -> Child:
    shown: t.List[Child] = []
    for number, host in enumerate(hosts[:most]):
        shown += [", " if number else None, common.link(host)]
    left = len(hosts) - most
    return [*shown, f" and {left} more" if left > 0 else None]


def overview(view: View, hosts: t.List[Host]) -> Markup:
    """The charts."""
    drawn = [
        charts.bars(_verdicts(hosts)),
        charts.bars(_switches(hosts)),
        charts.bars(_tcb(hosts)),
        charts.bars(_versions(hosts)),
        charts.columns(_days(hosts)),
        _latency(view),
    ]
    return el("div", drawn, class_="charts")


def _verdicts(hosts: t.List[Host]) -> Chart:
    counted = collections.Counter((host.kind, host.reason) for host in hosts)
    order = list(facts.KINDS)
    items = sorted(
        counted.items(), key=lambda item: (item[0][0] != "ok", order.index(item[0][0]), -item[1], item[0][1])
    )
    bars = [
        Bar(reason.replace("_", " ") if kind in ("lost", "empty", "ok") else f"{facts.KINDS[kind].lower()}: {reason}",
            count, facts.STYLE[kind], common.meaning(reason))
        for (kind, reason), count in items
    ]  # fmt: skip
    note = "The last try of each host; with several keys the worst of them."
    return Chart("c-verdict", "Verdicts by reason", note, "Verdict", "Hosts", _few(bars))


def _switches(hosts: t.List[Host]) -> Chart:
    boot = collections.Counter(host.secure_boot for host in hosts)
    debug = collections.Counter(host.debuggable for host in hosts)
    bars = [
        Bar("secure boot on", boot[True], "ok"),
        Bar("secure boot off", boot[False], "bad"),
        Bar("secure boot not known", boot[None], "none"),
        Bar("debugging by the host excluded", debug[False], "ok"),
        Bar("debugging by the host possible", debug[True], "bad"),
        Bar("debugging by the host not known", debug[None], "none"),
    ]
    note = "As attested by the hardware and the measured boot, not as configured."
    return Chart("c-boot", "Secure boot and debugging", note, "State", "Hosts", bars)


def _tcb(hosts: t.List[Host]) -> Chart:
    behind = lags(hosts)
    levels: t.Dict[str, t.List[Host]] = {}
    for host in hosts:
        levels.setdefault(host.tcb[0], []).append(host)
    bars = []
    for label, found in sorted(levels.items(), key=lambda item: (item[0] == "", item[0])):
        low = behind(found[0])
        told = "older than another host of this kind" if low else ""
        name = f"{label} (older)" if low else label or "not known"
        bars.append(Bar(name, len(found), "warn" if low else "plain" if label else "none", told))
    note = "Security versions of the platform's firmware, product by product."
    return Chart("c-tcb", "TCB levels", note, "Level", "Hosts", _few(bars))


def _versions(hosts: t.List[Host]) -> Chart:
    counted: t.Dict[t.Tuple[str, str], int] = collections.Counter()
    for host in hosts:
        for (_vault, name), record in host.latest.items():
            if record.released:
                counted[(name, record.version or "version not known")] += 1
    bars = [Bar(f"{name} / {version}", count) for (name, version), count in sorted(counted.items())]
    note = "The version that each host got last."
    return Chart("c-version", "Key versions in use", note, "Key and version", "Hosts", _few(bars))


def _days(hosts: t.List[Host]) -> Chart:
    bounds = ((None, 0, "expired", "bad"), (0, 30, "0-29", "warn"), (30, 90, "30-89", "plain"), (90, 180, "90-179", "plain"),
              (180, 365, "180-364", "plain"), (365, None, "365 +", "plain"))  # fmt: skip
    days = [host.days_left for host in hosts if host.days_left is not None]
    bars = []
    for low, high, label, style in bounds:
        count = sum((low is None or low <= left) and (high is None or left < high) for left in days)
        bars.append(Bar(label, count, style))
    unknown = len(hosts) - len(days)
    bars.append(Bar("unknown", unknown, "none"))
    note = "Of the TPM's attestation key. Without a valid one no attestation works; renewal is due from 90 days on."
    return Chart("c-ak", "AK certificate: days left", note, "Days left", "Hosts", bars if days else [])


def _latency(view: View) -> Markup:
    """Histogram of the releases that worked, with median and 95th percentile."""
    times = sorted(
        value
        for value in (model.number(record.raw, "duration_s") for record in view.all_records if record.released)
        if value is not None and 0 <= value < 1e6
    )
    note = "From the start of the try to the delivered key."
    chart = Chart("c-time", "Release latency", note, "Seconds", "Releases", [])
    if not times:
        return charts.columns(chart)
    width = _width(times[int(0.98 * (len(times) - 1))])
    counts = [0] * 9
    for value in times:
        counts[min(8, int(value / width))] += 1
    labels = [f"{width * number:g}-{width * (number + 1):g}" for number in range(8)] + [f"{width * 8:g} +"]
    bars = [Bar(label, count) for label, count in zip(labels, counts)]
    median, late = statistics.median(times), times[min(len(times) - 1, int(0.95 * len(times)))]
    marks = [(min(8.9, value / width), word) for value, word in ((median, "50 %"), (late, "95 %"))]
    note = f"{note} Median {median:.1f} s; 95 percent within {late:.1f} s (dashed lines)."
    return charts.columns(chart._replace(bars=bars, note=note), marks)


def _width(most: float) -> float:
    """Seconds a column stands for: a round number, so that eight of them reach nearly everything."""
    for width in (0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 50, 100, 500):
        if width * 8 > most:
            return width
    return 1000


def _few(bars: t.List[Bar]) -> t.List[Bar]:
    """The largest bars in their order, the rest as one."""
    if len(bars) <= _MOST_BARS:
        return bars
    kept = sorted(bars, key=lambda one: -one.value)[: _MOST_BARS - 1]
    left = [one for one in bars if one not in kept]
    return [one for one in bars if one in kept] + [Bar(f"{len(left)} others", sum(one.value for one in left))]


def index(hosts: t.List[Host]) -> Markup:
    """Every host with its verdict, grouped by it; radio buttons filter the groups without any script."""
    grouped = {kind: [host for host in hosts if host.kind == kind] for kind in facts.KINDS}
    choices: t.List[Markup] = []
    for kind, label in (("all", "All"), *facts.KINDS.items()):
        count = len(hosts) if kind == "all" else len(grouped[kind])
        if count or kind == "all":
            button = el("input", type="radio", name="only", id=f"only-{kind}", checked=kind == "all")
            choices.append(el("label", button, f"{label} ({count})"))
    heading = [Column("Host"), Column("Verdict"), Column("Reason"), Column("TEE", "w"), Column("Last record (UTC)", "w"),
               Column("AK days", "n"), Column("Verification", "w")]  # fmt: skip
    groups = [
        (f"{facts.KINDS[kind]} ({len(found)})", kind, [_line(host) for host in found])
        for kind, found in grouped.items()
        if found
    ]
    made = markup.table(Table("Hosts by verdict", heading, groups=groups, classes="index", wide=True))
    return el("div", el("fieldset", el("legend", "Show"), choices, class_="filter"), made, class_="pick")


def _line(host: Host) -> t.List[Child]:
    last = host.records[-1] if host.records else None
    reason = model.text(host.entry, "reason") if host.kind == "lost" else ""
    bad = sum(record.checked is False for record in host.records)
    good = sum(record.checked is True for record in host.records)
    told = badge("bad", f"{bad} of {len(host.records)} fail") if bad else f"{good} of {len(host.records)}"
    return [
        common.link(host),
        common.verdict(host),
        [code(host.reason), [el("br"), el("small", bdi(reason))] if reason else None],
        host.tee or "not known",
        markup.utc(last.time) if last else "never",
        "" if host.days_left is None else str(host.days_left),
        told if host.records else "no record",
    ]
