# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What became of an instance's last release: a small public file, written atomically, for people and for monitoring."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import time
import typing as t

from ..policy.failure import SkrFailure

RELEASED, FAILED, WAITING, STOPPED = "released", "failed", "waiting", "stopped"
Status = t.Dict[str, t.Any]


def path(folder: str, name: str) -> str:
    return os.path.join(folder, f"{name}.json")


def read(folder: str, name: str) -> Status:
    """The status of an instance; an empty one where there is none or none that can be read."""
    try:
        with open(path(folder, name), encoding="utf-8") as stream:
            found = json.load(stream)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write(folder: str, name: str, status: t.Mapping[str, t.Any]) -> None:
    """Replace the status of an instance; anybody may read it."""
    replace(path(folder, name), json.dumps(status, indent=2, sort_keys=True) + "\n", "state_dir")


def replace(target: str, text: str, option: str) -> None:
    """Write a public file by atomic replacement. Raises SkrFailure ``invalid_input`` for a place where it cannot be."""
    folder = os.path.dirname(target)
    try:
        os.makedirs(folder, mode=0o755, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=".", dir=folder)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
                stream.write(text)
                os.fchmod(descriptor, 0o644)
            os.replace(temporary, target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
    except OSError as error:
        raise SkrFailure(
            "invalid_input",
            f"{option} is {folder!r}, wanted a folder to write in: {error.strerror}.",
            {"option": option},
        ) from error


def released(before: Status, result: t.Mapping[str, t.Any]) -> Status:
    """What is told of a release that worked."""
    now = time.time()
    return {
        "outcome": RELEASED,
        "reason": "released",
        "changed": result["changed"],
        "dest": result.get("dest"),
        "delivered": result.get("delivered"),
        "kid": result["kid"],
        "key_version": result["key_version"],
        "public_key_sha256": result.get("public_key_sha256"),
        "last_success": now,
        "counts": result["counts"],
        "ak_cert_days_left": result["evidence"].get("ak_cert_days_left"),
        "warnings": list(result.get("warnings", ())),
        "outcomes": counted(before, "released"),
    }


def failed(before: Status, failure: SkrFailure) -> Status:
    """What is told of a release that did not: the failure, and what is still known of the last one that worked."""
    kept = ("dest", "delivered", "kid", "key_version", "public_key_sha256", "last_success", "ak_cert_days_left")
    days = failure.facts.get("ak_cert_days_left")
    return {
        **{name: before[name] for name in kept if name in before},
        **({"ak_cert_days_left": days} if days is not None else {}),
        "outcome": FAILED,
        "reason": failure.reason,
        "message": failure.message,
        "cause": failure.cause,
        "next_step": failure.next_step,
        "outcomes": counted(before, failure.reason),
    }


def counted(before: Status, reason: str) -> t.Dict[str, int]:
    """How often each reason was the outcome since the machine started; a waiting run has not been counted yet."""
    found = before.get("outcomes")
    outcomes = {str(name): int(number) for name, number in found.items()} if isinstance(found, dict) else {}
    outcomes[reason] = outcomes.get(reason, 0) + 1
    return outcomes


def names(folder: str) -> t.List[str]:
    """Instances that have a status here."""
    try:
        found = os.listdir(folder)
    except OSError:
        return []
    return sorted(name[:-5] for name in found if name.endswith(".json") and not name.startswith("."))


def judge(status: Status, now: float) -> t.Tuple[int, str]:
    """Exit status and a word: 0 ok, 1 failed or stale, 2 unknown."""
    if not status:
        return 2, "unknown"
    if status.get("outcome") != RELEASED:
        return 1, str(status.get("outcome", FAILED))
    limit, last = float(status.get("stale_after") or 0), float(status.get("last_success") or 0)
    if limit and now - last > limit:
        return 1, "stale"
    if _gone(status.get("dest")):
        return 1, "gone"
    return 0, "ok"


def _gone(dest: t.Any) -> bool:
    """Whether the delivered file is certainly not there any more; who may not look into its folder cannot tell."""
    if not isinstance(dest, str) or not dest.startswith("/"):
        return False
    try:
        os.lstat(dest)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return False


def text(name: str, status: Status, now: float) -> str:
    """A few lines for a person."""
    word = judge(status, now)[1]
    if not status:
        return f"{name}: unknown (no release was tried since this machine started, or its state folder is another)"
    lines = [f"{name}: {word}"]
    if word == "gone":
        lines.append(f"  {status.get('dest')} is not there any more: release it again")
    if status.get("outcome") in (FAILED, WAITING):
        lines.append(f"  {status.get('message')} [{status.get('reason')}]")
        lines.append(f"  next step: {status.get('next_step')}")
    if status.get("kid"):
        lines.append(f"  key        {status['kid']}")
    for label, member in (("last run", "time"), ("last key", "last_success")):
        if status.get(member):
            lines.append(f"  {label:<10} {_when(float(status[member]))} ({_ago(now - float(status[member]))} ago)")
    if status.get("next_try"):
        lines.append(f"  next try   {_when(float(status['next_try']))}")
    lines.append(f"  attempts   {status.get('attempts', 0)}, {status.get('duration_s', 0)} s")
    if status.get("ak_cert_days_left") is not None:
        lines.append(f"  AK cert    {status['ak_cert_days_left']} days left")
    return "\n".join(lines + [f"  warning    {one}" for one in status.get("warnings", ())])


def _when(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(seconds))


def _ago(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{max(0, int(seconds))} s"
