# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report on a bundle of evidence: one HTML file that needs nothing else, for a screen and for paper.

No script, no network: the only style is the sheet in the file, allowed by its digest in the content security policy.
The same bundle gives the same bytes; no clock is read.
"""

from __future__ import annotations

import base64
import hashlib
import typing as t

from . import access, charts, facts, fleet, keys, model, pages, releases, statement, style
from .markup import Markup, el

__all__ = ["html"]


def html(bundle: t.Any, findings: t.Any = None) -> str:
    """The whole file as text, to be written as UTF-8.

    ``bundle`` has the members of :class:`model.BundleLike`, ``findings`` are {host, record_id, ok, reason, message} for
    each record (without host and record_id: of the bundle), or a ``verify.Result``; None says that nobody verified it.
    Whatever is missing or of another shape is shown as not known.
    """
    view = model.view(bundle, findings)
    hosts = facts.hosts(view)
    known = access.keys(view, hosts)
    sheet = style.sheet(tuple(facts.KINDS))
    digest = base64.b64encode(hashlib.sha256(sheet.encode("utf-8")).digest()).decode("ascii")
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    made = model.moment(view.manifest.get("created"))
    when = f", {made:%Y-%m-%d %H:%M} UTC" if made else ""
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=policy),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="referrer", content="no-referrer"),
        el("meta", name="color-scheme", content="light dark"),
        el("title", f"Secure Key Release: evidence report{when}"),
        el("style", Markup(sheet)),
    )
    main = el(
        "main",
        _summary(view, hosts, known),
        keys.section(known),
        releases.released(hosts),
        releases.refused(hosts),
        releases.lost(hosts, view.gaps),
        statement.section(),
        pages.section(hosts),
        id="main",
    )
    body = el(
        "body",
        el("a", "Skip to the report", href="#main", class_="skip"),
        charts.patterns(),
        statement.head(view, hosts),
        el("div", _contents(view, hosts, known), main, class_="layout"),
        _footer(view),
    )
    return f"<!DOCTYPE html>\n{el('html', head, body, lang='en', dir='ltr')}\n"


def _summary(view: model.View, hosts: t.List[facts.Host], known: t.List[access.Key]) -> Markup:
    return el(
        "section",
        el("h2", "The fleet"),
        fleet.tiles(view, hosts, known),
        el("h3", "What needs attention", id="attention"),
        fleet.attention(view, hosts, known),
        el("h3", "In numbers", id="charts"),
        fleet.overview(view, hosts),
        el("h3", "Index of hosts", id="index"),
        fleet.index(hosts),
        id="fleet",
    )


def _contents(view: model.View, hosts: t.List[facts.Host], known: t.List[access.Key]) -> Markup:
    lost = sum(host.kind == "lost" for host in hosts)
    refused = sum(not record.released for record in view.all_records)
    entries = (
        ("fleet", "The fleet", ""),
        ("attention", "What needs attention", ""),
        ("charts", "In numbers", ""),
        ("index", "Index of hosts", str(len(hosts))),
        ("keys", "Who could get which key", str(len(known))),
        ("released", "Who got a key", str(len(view.all_records) - refused)),
        ("refused", "Who was refused", str(refused)),
        ("lost", "Hosts not reached", str(lost)),
        ("proof", "What it proves", ""),
        ("pages", "Host by host", ""),
    )
    links = [
        el("li", el("a", title, el("span", count, class_="count") if count else None, href=f"#{anchor}"))
        for anchor, title, count in entries
    ]
    return el("nav", el("ul", links), class_="contents", aria_label="Contents")


def _footer(view: model.View) -> Markup:
    digest = f" SHA-256 of the bundle: {view.sha256}." if view.sha256 else ""
    told = f"Made from the bundle alone, without any network. It can be made again from it, byte for byte.{digest}"
    return el("footer", el("p", told))
