# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies that end: after a time, or when the agent stops; and consumers that are told of a change.

A note beside the others in memory says what to remove and when. It holds options and public facts, never a secret. The
kernel itself ends a key in a keyring; files are removed by a timer of systemd, which needs neither us nor Python.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
import typing as t

from ...policy.failure import SkrFailure
from . import files
from .common import Diff, invalid, program, run

if t.TYPE_CHECKING:
    from . import Target

FOLDER = "/run/azure-skr/copies"
_SYSTEMD = "/run/systemd/system"  # sd_booted(3)
_LONGEST = 31 * 86400
_LARGEST = 1 << 16


def check(ttl: int, deliver_to: str) -> None:
    """Raises SkrFailure ``invalid_input`` or ``removal_unscheduled``."""
    if not 1 <= ttl <= _LONGEST:
        raise invalid("ttl", ttl, f"1 to {_LONGEST} seconds")
    if deliver_to == "keyring":
        return
    if not os.path.isdir(_SYSTEMD):
        raise SkrFailure("removal_unscheduled", "systemd does not run on this machine.", {"ttl": ttl})
    if os.geteuid() != 0:
        raise SkrFailure("removal_unscheduled", "Only root may set a timer of systemd.", {"ttl": ttl})
    for name, package in (("systemd-run", "systemd"), ("systemctl", "systemd"), ("shred", "coreutils")):
        program(name, package)


def arrange(target: Target, facts: t.Mapping[str, t.Any]) -> None:
    """Write the note, and set the timer anew, for a copy that is about to be made. Raises SkrFailure."""
    name = _name(facts)
    if target.ttl is None and not target.remove_on_stop:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(_path(name, "json"))
            _stop_timer(name)
        return
    ends = None if target.ttl is None else time.time() + target.ttl
    document = {"version": 1, "target": target.given(), "remove_at": ends, "remove_on_stop": target.remove_on_stop}
    _write(_path(name, "json"), json.dumps(document).encode())
    if target.ttl is not None and target.deliver_to != "keyring":
        _stop_timer(name)
        _start_timer(name, target.ttl, str(facts["dest"]))


def _start_timer(name: str, ttl: int, dest: str) -> None:
    """Zeros over the file, then its end and that of the note."""
    words = [f"--unit={_unit(name)}", f"--on-active={ttl}s", "--timer-property=AccuracySec=1s"]
    shred = [program("shred", "coreutils"), "--force", "--iterations=0", "--zero", "--remove=unlink"]
    done = run([program("systemd-run", "systemd"), "--quiet", *words, "--", *shred, dest, _path(name, "json")])
    if done.status:
        raise SkrFailure(
            "removal_unscheduled", f"systemd-run ended with status {done.status}.", {"ttl": ttl, "status": done.status}
        )


def _stop_timer(name: str) -> None:
    """There may be none; a failed unit of that name would stand in the way."""
    if os.path.isdir(_SYSTEMD):
        systemctl = program("systemctl", "systemd")
        run([systemctl, "stop", f"{_unit(name)}.timer"])
        run([systemctl, "reset-failed", f"{_unit(name)}.service"])


def forget(facts: t.Mapping[str, t.Any]) -> None:
    """The copy is gone; nothing has to end any more."""
    name = _name(facts)
    for ending in ("json", "pending"):
        with contextlib.suppress(OSError):
            os.unlink(_path(name, ending))
            if ending == "json":
                _stop_timer(name)


def remove_due(now: t.Optional[float] = None, stopping: bool = False) -> t.List[t.Tuple[t.Dict[str, t.Any], Diff]]:
    """Remove the copies whose time is over and, when the agent stops, those that were to live as long as it.

    Returns facts and diff of each that was there. All are tried before the first failure is raised.
    """
    from . import check as settle
    from . import target as read

    done, failures = [], []
    for note in _notes():
        over = note["remove_at"] is not None and note["remove_at"] <= (time.time() if now is None else now)
        if over or (stopping and note["remove_on_stop"]):
            try:
                place = settle(read(note["target"]), removal=True)
                changed, diff = place.remove()
                if changed:
                    done.append((place.facts(), diff))
            except SkrFailure as failure:
                failures.append(failure)
    if failures:
        failures[0].changed = bool(done)
        raise failures[0]
    return done


def _notes() -> t.Iterator[t.Dict[str, t.Any]]:
    """Those of this user; a note that somebody else could have written is not followed."""
    with contextlib.suppress(OSError):
        for entry in sorted(os.listdir(FOLDER)):
            if entry.endswith(".json"):
                with (
                    contextlib.suppress(OSError, ValueError, KeyError, TypeError),
                    open(os.path.join(FOLDER, entry), "rb") as stream,
                ):
                    if os.fstat(stream.fileno()).st_uid == os.geteuid():
                        note = json.loads(stream.read(_LARGEST))
                        if note["version"] == 1 and isinstance(note["target"], dict):
                            yield {"remove_at": None, "remove_on_stop": False, **note}


def tell(command: t.Sequence[str], facts: t.Mapping[str, t.Any], changed: bool) -> None:
    """Run the command where something changed. It hears nothing of the secret, and is tried again where it failed."""
    pending = _path(_name(facts), "pending")
    if changed:
        _write(pending, b"")
    elif not os.path.exists(pending):
        return
    done = run(command)
    if done.status:
        raise SkrFailure(
            "command_failed",
            f"The key is delivered, but {command[0]} (on_change) ended with status {done.status}.",
            {"program": command[0], "status": done.status},
        )
    with contextlib.suppress(OSError):
        os.unlink(pending)


def _write(path: str, content: bytes) -> None:
    with files.writing(path):
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        files.replace(files.File(path, mode=0o600), content, {"uid": os.geteuid(), "gid": os.getegid()})


def _name(facts: t.Mapping[str, t.Any]) -> str:
    return hashlib.sha256(json.dumps(dict(facts), sort_keys=True).encode()).hexdigest()[:24]


def _path(name: str, ending: str) -> str:
    return os.path.join(FOLDER, f"{name}.{ending}")


def _unit(name: str) -> str:
    return f"azure-skr-remove-{name}"
