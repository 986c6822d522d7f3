# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of a roll-out: who has had the turn, who is open, and whether the run goes on.

State (JSON types, schema ``azure-skr/rollout/1``): ``run``, ``slice``, ``started``, ``updated`` and ``finished`` (UTC),
``stopped`` (null, or ``reason`` and ``message``), ``hosts`` (name -> verdict), ``open`` (names that do not hold the key).
It is written after every batch, so that a run that was killed leaves the list of what is still to do.
"""

from __future__ import annotations

import calendar
import time
import typing as t

from ..policy.failure import SkrFailure
from . import verdict as verdicts

SCHEMA = "azure-skr/rollout/1"
State = t.Dict[str, t.Any]


def begin(run: str, part: str, hosts: t.Sequence[str], now: float) -> State:
    """The state before the first batch: every host is open."""
    return _counted(
        {
            "schema": SCHEMA,
            "run": run,
            "slice": part,
            "started": iso(now),
            "finished": None,
            "stopped": None,
            "hosts": {host: verdicts.pending(host) for host in hosts},
        },
        now,
    )


def record(state: State, batch: t.Sequence[verdicts.Verdict], most: float, now: float) -> State:
    """The state after a batch. ``most`` is the share of a batch's hosts, in percent, that may fail without an end to the run.

    Raises SkrFailure ``invalid_input`` for a share that is none.
    """
    share(most)
    hosts = {**state["hosts"], **{one["host"]: one for one in batch}}
    failed = [one for one in batch if one["verdict"] != verdicts.RELEASED]
    stopped = state["stopped"]
    left = sum(1 for one in hosts.values() if one["verdict"] == verdicts.PENDING)
    if batch and 100.0 * len(failed) / len(batch) > most:
        found = 100.0 * len(failed) / len(batch)
        reasons = ", ".join(
            f"{reason} ({verdicts.named(names)})" for reason, names in verdicts.by_reason(failed).items()
        )
        stopped = {
            "reason": "failure_share_exceeded",
            "message": f"{len(failed)} of the batch's {len(batch)} hosts failed, {found:.0f} percent where {most:g} are allowed "
            f"(skr_max_failure_share): {reasons}. {left} hosts have not been touched.",
        }
    ended = {"finished": iso(now)} if not left or stopped else {}
    return _counted({**state, "hosts": hosts, "stopped": stopped, **ended}, now)


def _counted(state: State, now: float) -> State:
    still = sorted(name for name, one in state["hosts"].items() if one["verdict"] != verdicts.RELEASED)
    return {**state, "updated": iso(now), "open": still}


def ended(state: State) -> bool:
    """Whether every host had its turn, or the run was stopped."""
    return state["finished"] is not None


def summary(state: State, now: float) -> t.Dict[str, t.Any]:
    """What a run tells at its end: ``lines`` for people, and for programs ``by_reason``, ``released``, ``open``, ``seconds``."""
    every = [state["hosts"][name] for name in sorted(state["hosts"])]
    seconds = round(now - parsed(state["started"]), 1)
    lines = verdicts.lines(every)
    if state["stopped"]:
        lines.insert(0, f"STOPPED: {state['stopped']['message']}")
    released = [one["host"] for one in every if one["verdict"] == verdicts.RELEASED]
    lines.append(
        f"{len(released)} of {len(every)} hosts hold the key, {len(state['open'])} are open, {seconds:g} s in all"
    )
    return {
        "lines": lines,
        "by_reason": verdicts.by_reason(every),
        "released": released,
        "open": state["open"],
        "stopped": state["stopped"],
        "seconds": seconds,
    }


def open_hosts(states: t.Iterable[t.Any]) -> t.List[str]:
    """The open hosts of earlier runs, of all slices together. Raises SkrFailure ``invalid_input`` for what is no state.

    A host that one state calls open and a later one calls released is done: a second attempt has a state of its own.
    """
    latest: t.Dict[str, t.Tuple[str, bool]] = {}
    for state in states:
        if not isinstance(state, dict) or state.get("schema") != SCHEMA or not isinstance(state.get("hosts"), dict):
            found = state.get("schema") if isinstance(state, dict) else type(state).__name__
            raise SkrFailure(
                "invalid_input",
                f"skr_resume names a file with schema {found!r}, wanted a state file of a roll-out ({SCHEMA}).",
                {"option": "skr_resume", "found": str(found)},
            )
        for name, one in state["hosts"].items():
            when = str(state.get("updated"))
            if name not in latest or latest[name][0] <= when:
                latest[name] = (when, one.get("verdict") != verdicts.RELEASED)
    return sorted(name for name, (_when, still) in latest.items() if still)


def share(value: t.Any, option: str = "skr_max_failure_share") -> float:
    """A percentage. Raises SkrFailure ``invalid_input``."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = -1.0
    if not 0 <= number <= 100:
        raise SkrFailure(
            "invalid_input",
            f"{option} is {value!r}, wanted a percentage from 0 to 100.",
            {"option": option, "found": str(value)},
        )
    return number


def iso(seconds: float) -> str:
    """UTC with milliseconds; text order is time order."""
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{whole}.{int(seconds * 1000) % 1000:03d}Z"


def parsed(text: str) -> float:
    """Seconds of what :func:`iso` wrote."""
    whole, _dot, rest = text.partition(".")
    return calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) + float("0." + (rest.rstrip("Z") or "0"))
