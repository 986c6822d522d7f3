# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All facts judged by what was observed, as a document and as Markdown that can be posted: no secret, no identifier."""

from __future__ import annotations

import re
import typing as t

from . import trial, vm
from .fact import FACTS, Fact, Observation, Seen, Unseen

SCHEMA = "azure-skr/field-check/1"
STATES = ("differs", "agrees", "not_checked")  # in the order of the report
_IDENTIFIERS = (
    (re.compile(r"/subscriptions/[^\s'\",;)]+", re.I), "<resource>"),
    (re.compile(r"https?://[^\s'\",;)]+", re.I), "<address>"),
    (re.compile(r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b", re.I), "<id>"),
    (re.compile(r"\b[0-9a-f]{32,}\b", re.I), "<digits>"),
    (re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}\b"), "<address>"),
    (re.compile(r"\b[a-z0-9-]+(?:\.[a-z0-9-]+)*\.(?:net|com|us|cn|org|io|internal|local)\b", re.I), "<host>"),
)
_ROOMS = (vm, trial)  # importing them registers their facts


def report(observations: Observation, identifiers: bool = False) -> t.Dict[str, t.Any]:
    """``{schema, identifiers, hosts, writes, counts, facts, markdown}``.

    ``observations``: ``hosts`` (a list of results by name, with ``name``, ``vm_name`` and ``nonce``), the control plane's
    ``vms`` and ``provider``, ``trial`` (results of its steps, empty where it was not made) and ``names``, words that
    identify. Raises ValueError for another shape.
    """
    hosts = observations.get("hosts")
    if not isinstance(hosts, list) or not all(isinstance(one, t.Mapping) for one in hosts):
        raise ValueError("hosts is no list of dictionaries")
    scrub = _Scrub([] if identifiers else [str(one.get("name")) for one in hosts], observations, identifiers)
    rows = [_row(fact, observations, hosts, scrub) for fact in FACTS.values()]
    counts = {state: sum(row["state"] == state for row in rows) for state in STATES}
    found: t.Dict[str, t.Any] = {
        "schema": SCHEMA,
        "version": str(observations.get("version") or "unknown"),
        "identifiers": identifiers,
        "hosts": [scrub.host(str(one.get("name"))) for one in hosts],
        "writes": bool(observations.get("trial")),
        "counts": counts,
        "facts": rows,
    }
    found["markdown"] = markdown(found)
    return found


class _Scrub:
    """Takes out of a text what tells whose subscription it is; hosts keep a number, so that rows can be told apart."""

    def __init__(self, hosts: t.List[str], observations: Observation, keep: bool) -> None:
        self._keep = keep
        words = {name: f"vm-{number}" for number, name in enumerate(hosts, 1)}
        names = observations.get("names")
        for name in names if isinstance(names, list) else []:
            if name:
                words.setdefault(str(name), "<name>")
        self._labels = words
        # Shorter words would be found within the report's own sentences, and tell nobody anything.
        self._words = sorted((pair for pair in words.items() if len(pair[0]) > 2), key=lambda pair: -len(pair[0]))

    def host(self, name: str) -> str:
        return name if self._keep else self._labels.get(name, "<name>")

    def __call__(self, text: str) -> str:
        if self._keep:
            return text
        for pattern, mark in _IDENTIFIERS:
            text = pattern.sub(mark, text)
        for word, mark in self._words:
            text = re.sub(rf"(?<![\w-]){re.escape(word)}(?![\w-])", mark, text)
        return " ".join(text.split())


def _row(fact: Fact, observations: Observation, hosts: t.Sequence[Observation], scrub: _Scrub) -> t.Dict[str, t.Any]:
    """One fact: differs where any observation does, agrees where one does and none differs, else not checked."""
    if fact.scope == "vm":
        given: t.Sequence[t.Tuple[str, Observation]] = [(str(one.get("name")), one) for one in hosts]
    elif fact.scope == "trial":
        given = [("", observations.get("trial") or {})]
    else:
        given = [("", observations)]
    seen: t.List[t.Tuple[str, Seen]] = []
    unseen: t.List[str] = [] if given else ["there was no host"]
    for name, one in given:
        try:
            seen.append((name, fact.judge(one)))
        except Unseen as why:
            unseen.append(str(why))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            unseen.append(f"what was observed is of another form than expected ({type(error).__name__})")
    state = "not_checked" if not seen else "agrees" if all(one.agrees for _name, one in seen) else "differs"
    texts = sorted({scrub(one.found) for _name, one in seen if state == "agrees" or not one.agrees})
    return {
        "fact": fact.name,
        "topic": fact.topic,
        "assumed": fact.assumes,
        "state": state,
        "found": texts,
        "differing_hosts": [scrub.host(name) for name, one in seen if name and not one.agrees],
        "observations": len(seen),
        "why": "" if seen else scrub("; ".join(sorted(set(unseen)))),
    }


def _cell(text: str) -> str:
    """Text that cannot end a table's cell or start markup."""
    return re.sub(r"([|\\`<>\[\]*_])", r"\\\1", " ".join(text.split()))


def markdown(found: Observation) -> str:
    """The report as a table to post. What is in the cells is escaped."""
    counts = found["counts"]
    lines = [
        "## Field check of confidential.azure_skr " + str(found["version"]), "",
        f"{len(found['hosts'])} VMs, {'with' if found['writes'] else 'without'} a trial key: "
        f"{counts['differs']} differ, {counts['agrees']} agree, {counts['not_checked']} not checked.", "",
        "| Fact | State | The lab assumes | Found |", "|---|---|---|---|",
    ]  # fmt: skip
    for row in sorted(found["facts"], key=lambda one: STATES.index(one["state"])):
        text = "; ".join(row["found"]) if row["found"] else f"not checked: {row['why']}"
        if row["differing_hosts"]:
            text += f" (on {', '.join(row['differing_hosts'])})"
        state = row["state"].replace("_", " ")
        lines.append(
            f"| `{row['fact']}` | {f'**{state}**' if state == 'differs' else state} | {_cell(row['assumed'])} | {_cell(text)} |"
        )
    return "\n".join(lines) + "\n"
