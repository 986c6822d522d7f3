# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hosts' metrics as one text for Prometheus' textfile collector: a ``host`` label on each, and totals of the fleet."""

from __future__ import annotations

import re
import typing as t

_SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)")
_HEAD = re.compile(r"# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.*)")
Labels = t.Mapping[str, str]


class Families:
    """Metrics by name, each with its meaning, kind and samples, in the order of their first appearance."""

    def __init__(self) -> None:
        self._heads: t.Dict[str, t.Dict[str, str]] = {}
        self._samples: t.Dict[str, t.List[str]] = {}

    def add(self, name: str, kind: str, meaning: str, samples: t.Iterable[t.Tuple[Labels, float]]) -> None:
        self._heads.setdefault(name, {"HELP": meaning, "TYPE": kind})
        rows = self._samples.setdefault(name, [])
        for labels, value in samples:
            inner = ",".join(f'{label}="{escaped(text)}"' for label, text in labels.items())
            rows.append(f"{name}{{{inner}}} {_number(value)}" if inner else f"{name} {_number(value)}")

    def read(self, text: str, host: str) -> None:
        """A host's text, every sample with the label ``host``; a line that is none of this format is left out."""
        for line in text.splitlines():
            head, sample = _HEAD.fullmatch(line), _SAMPLE.fullmatch(line)
            if head:
                self._heads.setdefault(head.group(2), {}).setdefault(head.group(1), head.group(3))
            elif sample:
                name, labels, value = sample.groups()
                inner = f'host="{escaped(host)}"' + (f",{labels}" if labels else "")
                self._samples.setdefault(name, []).append(f"{name}{{{inner}}} {value}")

    def text(self) -> str:
        lines: t.List[str] = []
        for name, samples in self._samples.items():
            if samples:
                head = self._heads.get(name, {})
                lines += [f"# {word} {name} {head[word]}" for word in ("HELP", "TYPE") if word in head]
                lines += dict.fromkeys(samples)
        return "\n".join(lines) + "\n" if lines else ""


def merged(texts: t.Iterable[str]) -> str:
    """The texts of several instances of one host as one: each metric's head stands once."""
    found = Families()
    for text in texts:
        found.read(text, "")
    return found.text().replace('{host="",', "{").replace('{host=""}', "")


def fleet(
    texts: t.Mapping[str, str], hosts: t.Sequence[t.Mapping[str, t.Any]], records: t.Mapping[str, t.Sequence[t.Any]]
) -> str:
    """One text of all hosts, and totals: hosts, the agent's instances by state, records by outcome and reason.

    ``hosts`` are rows of ``hosts.json``, ``records`` those of each host.
    """
    found = Families()
    states: t.Dict[str, int] = {}
    for row in hosts:
        for one in (row.get("status") or {}).values():
            states[str(one.get("state"))] = states.get(str(one.get("state")), 0) + 1
    outcomes: t.Dict[t.Tuple[str, str], int] = {}
    everything = [one for rows in records.values() for one in rows]
    for one in everything:
        place = (str(one["outcome"]), str(one["reason"]))
        outcomes[place] = outcomes.get(place, 0) + 1
    reached = sum(1 for row in hosts if row.get("reachable"))
    found.add("azure_skr_fleet_hosts", "gauge", "Hosts of the last audit, by whether they were reached.", [
        ({"reachable": "yes"}, reached), ({"reachable": "no"}, len(hosts) - reached)])  # fmt: skip
    found.add("azure_skr_fleet_instances", "gauge", "Keys that the agents keep in place, by state.", [
        ({"state": state}, number) for state, number in sorted(states.items())])  # fmt: skip
    found.add("azure_skr_fleet_records", "gauge", "Records of evidence in the last audit.", [
        ({"outcome": outcome, "reason": reason}, number) for (outcome, reason), number in sorted(outcomes.items())])  # fmt: skip
    events = sum(1 for one in everything if one["security_event"])
    found.add("azure_skr_fleet_security_events", "gauge", "Records marked as security events.", [({}, events)])
    for host, text in sorted(texts.items()):
        found.read(text, host)
    return found.text()


def escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else f"{float(value):.3f}"
