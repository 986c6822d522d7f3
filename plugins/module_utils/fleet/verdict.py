# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What became of one host in a fleet's run, and what a whole run tells of it."""

from __future__ import annotations

import typing as t

RELEASED, REFUSED, UNREACHABLE, PENDING = "released", "refused", "unreachable", "pending"
Verdict = t.Dict[str, t.Any]
WAIT_CHUNK = 45.0  # seconds: key_release_wait_chunk of the role, which no result tells
_SHOWN = 20  # hosts named in one line of a summary; the state file has all of them


def verdict(host: str, result: t.Optional[t.Mapping[str, t.Any]]) -> Verdict:
    """The verdict on a host from what module key_release returned there; from nothing, that it is still to come."""
    if not result:
        return pending(host)
    told = {
        "host": host,
        "kid": result.get("kid"),
        "key_version": result.get("key_version"),
        "changed": bool(result.get("changed")),
        "waited_s": _waited(result),
        # Every condition of every branch is for the evidence; the list of a fleet has room for those that failed.
        "facts": {
            name: value for name, value in (result.get("facts") or {}).items() if name not in ("trace", "branches")
        },
    }
    if result.get("unreachable"):
        words = (
            "Check that Ansible reaches the VM (address, login, host key); then run again with the list of open hosts."
        )
        return {
            **told,
            "verdict": UNREACHABLE,
            "reason": "vm_unreachable",
            "message": _first(result),
            "next_step": words,
        }
    if result.get("failed"):
        return {
            **told,
            "verdict": REFUSED,
            # A module that could not run at all (no Python, say) has no reason of its own.
            "reason": result.get("reason") or "module_failed",
            "message": _first(result),
            "next_step": result.get("next_step") or "Read the message of the task that failed on this host.",
        }
    message = str(result.get("kid") or "would be released")
    if result.get("public_key_sha256"):  # a rotation compares it with that of the new version
        told["facts"] = {"public_key_sha256": result["public_key_sha256"]}
    return {**told, "verdict": RELEASED, "reason": "released", "message": message, "next_step": None}


def pending(host: str) -> Verdict:
    """A host that has not had its turn."""
    nothing: Verdict = {"kid": None, "key_version": None, "changed": False, "waited_s": 0.0, "facts": {}}
    return {
        "host": host,
        "verdict": PENDING,
        "reason": "not_reached",
        "message": "The run ended before this host had its turn.",
        "next_step": "Run again with the list of open hosts.",
        **nothing,
    }


def by_reason(verdicts: t.Iterable[Verdict]) -> t.Dict[str, t.List[str]]:
    """Names of hosts by reason, both sorted; released hosts are under ``released``."""
    found: t.Dict[str, t.List[str]] = {}
    for one in verdicts:
        found.setdefault(one["reason"], []).append(one["host"])
    return {reason: sorted(hosts) for reason, hosts in sorted(found.items())}


def named(hosts: t.Sequence[str]) -> str:
    """Some hosts in one line."""
    more = f" and {len(hosts) - _SHOWN} more" if len(hosts) > _SHOWN else ""
    return ", ".join(hosts[:_SHOWN]) + more


def lines(verdicts: t.Sequence[Verdict]) -> t.List[str]:
    """A summary for people, the worst first: each reason once, with its hosts, one message and the next step."""
    told: t.List[str] = []
    for reason, hosts in sorted(
        by_reason(verdicts).items(), key=lambda pair: (pair[0] == "released", -len(pair[1]), pair[0])
    ):
        one = next(each for each in verdicts if each["reason"] == reason and each["host"] == hosts[0])
        if one["verdict"] == RELEASED:
            changed = sum(1 for each in verdicts if each["verdict"] == RELEASED and each["changed"])
            told.append(f"released: {len(hosts)} hosts, {changed} of them changed")
            continue
        told.append(f"{reason}: {len(hosts)} {'host' if len(hosts) == 1 else 'hosts'}: {named(hosts)}")
        if one["verdict"] != PENDING:
            told.append(f"  {hosts[0]}: {one['message']}")
        told.append(f"  next: {one['next_step']}")
    return told


def _waited(result: t.Mapping[str, t.Any]) -> float:
    """Seconds over all runs of the module: the role repeats it after a second while a grant has not taken effect."""
    before = int(result.get("attempts") or 1) - 1
    return round(before * (WAIT_CHUNK + 1.0) + float(result.get("waited_s") or 0.0), 1)


def _first(result: t.Mapping[str, t.Any]) -> str:
    """The message without the code and the next step that a module appends for people."""
    text = str(result.get("msg") or "The module did not run.")
    reason = result.get("reason")
    return text.partition(f" [{reason}]")[0] if reason else text
