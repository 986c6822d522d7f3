# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When the last step of a rotation or of a planned update may be taken: the one after which nobody can go back.

The old version is disabled, or the old branch removed, only when the hosts report that they do without. Which hosts must
report: all that the inventory has under the play's pattern. A run that sees but a part of them (a slice, or a run under
``--limit``) therefore never takes the last step, however well it went.
"""

from __future__ import annotations

import json
import typing as t

from ..policy.failure import SkrFailure
from .rollout import SCHEMA

Verdict = t.Mapping[str, t.Any]
_SHOWN = 20

# Why the last step is not taken.
MISSED, SLICED, LIMITED, KEPT = "missed", "sliced", "limited", "kept"


def versions(key: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    """The version to move to and its neighbours, from the result of module exportable_key.

    ``version``, ``kid`` and ``public_key_sha256`` (null for oct keys) of the version; ``previous`` are older versions that
    are enabled, ``newer`` younger ones that are enabled, newest first both. Raises SkrFailure ``key_disabled``.
    """
    version, listed = str(key["key_version"]), list(key.get("versions") or [])
    if not key["key"].get("enabled"):
        raise SkrFailure(
            "key_disabled",
            f"Version {version} of {key.get('key_name')} is disabled, so no host can move to it.",
            {"kid": key.get("kid")},
            next_step="Enable it with exportable_key, or leave skr_rotate_version out to make a new one.",
        )
    names = [str(one["version"]) for one in listed]
    place = names.index(version) if version in names else 0
    return {
        "version": version,
        "kid": key.get("kid"),
        "public_key_sha256": key.get("public_key_sha256"),
        "previous": [str(one["version"]) for one in listed[place + 1 :] if one["enabled"]],
        "newer": [str(one["version"]) for one in listed[:place] if one["enabled"]],
    }


def read(state: t.Any) -> t.Dict[str, t.Any]:
    """A roll-out's state, from JSON text or a dictionary. Raises SkrFailure ``invalid_input``."""
    if isinstance(state, str):
        try:
            state = json.loads(state)
        except ValueError:
            state = None
    if not isinstance(state, dict) or state.get("schema") != SCHEMA or not isinstance(state.get("hosts"), dict):
        raise SkrFailure(
            "invalid_input",
            f"skr_resume names a file that is no state file of a roll-out, wanted one with schema {SCHEMA}.",
            {"option": "skr_resume"},
        )
    return dict(state)


def resumed(states: t.Iterable[t.Mapping[str, t.Any]]) -> t.Optional[str]:
    """The version that earlier runs moved hosts to, from their state files: that of the run which was updated last."""
    latest: t.Tuple[str, t.Optional[str]] = ("", None)
    for state in states:
        found = [one.get("key_version") for one in state["hosts"].values() if one.get("verdict") == "released"]
        if found and found[0] and latest[0] <= str(state.get("updated")):
            latest = (str(state.get("updated")), str(found[0]))
    return latest[1]


def known(states: t.Iterable[t.Mapping[str, t.Any]]) -> t.Dict[str, Verdict]:
    """What is known of each host from several state files: the last verdict that is one."""
    found: t.Dict[str, t.Tuple[str, Verdict]] = {}
    for state in states:
        when = str(state.get("updated"))
        for name, one in state["hosts"].items():
            before = found.get(name)
            if (
                before is None
                or before[1]["verdict"] == "pending"
                or (one["verdict"] != "pending" and before[0] <= when)
            ):
                found[name] = (when, one)
    return {name: one for name, (_when, one) in found.items()}


def decision(
    hosts: t.Sequence[str],
    states: t.Iterable[t.Mapping[str, t.Any]],
    counts: t.Callable[[str, t.Optional[Verdict]], t.Optional[t.Dict[str, str]]],
    share: float = 100.0,
    slices: int = 1,
    keep: bool = False,
) -> t.Dict[str, t.Any]:
    """:func:`decide` over state files; ``hosts`` are all that the pattern names, ``counts`` says why one does not count."""
    verdicts = known(states)
    must = [host for host in hosts if host in verdicts]
    missed = [one for one in (counts(host, verdicts[host]) for host in must) if one]
    return decide(must, missed, share, [host for host in hosts if host not in verdicts], slices, keep)


def missed_version(
    host: str, verdict: t.Optional[Verdict], version: str, public_key_sha256: t.Optional[str] = None
) -> t.Optional[t.Dict[str, str]]:
    """None when the host reports the version, else why it does not count: ``host``, ``reason`` and ``message``."""
    missed = _not_released(host, verdict)
    if missed or verdict is None:
        return missed
    facts = verdict.get("facts") or {}
    found, digest, boot = verdict.get("key_version"), facts.get("public_key_sha256"), facts.get("boot_key_version")
    if found != version:
        return _missed(host, "version_differs", f"It reports version {found}, wanted {version}.")
    if digest and public_key_sha256 and digest != public_key_sha256:
        return _missed(
            host, "version_differs", f"Its key's public half is {digest}, that of {version} {public_key_sha256}."
        )
    if boot and boot != version:
        return _missed(
            host, "boot_version_pinned", f"Its boot configuration pins version {boot}, wanted {version} or none."
        )
    return None


def missed_branch(host: str, verdict: t.Optional[Verdict]) -> t.Optional[t.Dict[str, str]]:
    """None when the host is let in by a new branch of the policy, else why it does not count."""
    missed = _not_released(host, verdict)
    if missed or verdict is None:
        return missed
    standing = (verdict.get("facts") or {}).get("standing") or {}
    if standing.get("branch") == "new":
        return None
    if not standing:
        return _missed(host, "not_reached", "Nothing tells by which branch of the policy it was let in.")
    changed = "; ".join(
        f"claim {one['claim']} {'' if one['operator'] == 'equals' else one['operator'] + ' '}wanted {_shown(one['wanted'])}, "
        f"found {_shown(one['found'])}"
        for one in standing.get("failing") or []
    )
    return _missed(host, "old_branch_in_use", f"It relies on the old branch {standing.get('position')}: {changed}.")


def decide(
    must: t.Sequence[str],
    missed: t.Sequence[t.Mapping[str, str]],
    share: float = 100.0,
    outside: t.Sequence[str] = (),
    slices: int = 1,
    keep: bool = False,
) -> t.Dict[str, t.Any]:
    """Whether the last step is taken. ``must`` are the hosts of this run, ``missed`` those that do not count, ``outside``
    hosts of the pattern that this run does not see, ``share`` the percentage of hosts that suffices, ``keep`` that the user
    wants no last step.

    ``finish``; ``held`` why not (null, missed, sliced, limited, kept); ``failed`` whether that is a failure of the run;
    ``moved`` names; ``missed``; ``lines`` for people.
    """
    names = {one["host"] for one in missed}
    moved = sorted(host for host in must if host not in names)
    enough = bool(moved) and 100 * len(moved) >= share * len(must)
    held = None
    if not enough:
        held = MISSED
    elif keep:
        held = KEPT
    elif slices > 1:
        held = SLICED
    elif outside:
        held = LIMITED
    lines = [f"{len(moved)} of {len(must)} hosts have moved, {share:g} percent must have"]
    lines += [
        f"missed: {one['host']}: {one['reason']}: {one['message']}"
        for one in sorted(missed, key=lambda one: one["host"])
    ]
    reasons = {
        KEPT: "nothing more was asked for",
        SLICED: f"this is one of {slices} slices, which sees only its own hosts; finish with a run without slices",
        LIMITED: f"this run does not see {len(outside)} hosts ({_named(outside)}); finish with a run without --limit",
    }
    if held in reasons:
        lines.append(f"the last step is not taken: {reasons[held]}")
    return {
        "finish": held is None,
        "held": held,
        "failed": held == MISSED,
        "moved": moved,
        "missed": [dict(one) for one in missed],
        "lines": lines,
    }


def _not_released(host: str, verdict: t.Optional[Verdict]) -> t.Optional[t.Dict[str, str]]:
    if verdict is None:
        return _missed(host, "not_reached", "Nothing is known of it.")
    if verdict["verdict"] != "released":
        return _missed(host, str(verdict["reason"]), str(verdict["message"]))
    return None


def _missed(host: str, reason: str, message: str) -> t.Dict[str, str]:
    return {"host": host, "reason": reason, "message": message}


def _named(hosts: t.Sequence[str]) -> str:
    more = f" and {len(hosts) - _SHOWN} more" if len(hosts) > _SHOWN else ""
    return ", ".join(sorted(hosts)[:_SHOWN]) + more


def _shown(value: t.Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "nothing" if value is None else f"'{value}'" if isinstance(value, str) else str(value)
