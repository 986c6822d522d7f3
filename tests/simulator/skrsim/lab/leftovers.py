# SPDX-License-Identifier: GPL-3.0-or-later
"""What a lab leaves on the machine when its process is killed instead of asked to end, and how it is taken away.

A killed lab's virtual TPMs end by themselves. Its hosts, device files, network namespaces and runtime folder stay; they
all carry the name of the runtime folder, so nothing else is ever touched.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import tempfile
from pathlib import Path

from . import netns

PREFIX = "skrsim-"
_PID = "pid"
_HOSTS = "hosts.pid"


def note_lab(runtime: Path) -> None:
    """The lab's own process, so that others can tell a living lab from a dead one."""
    (runtime / _PID).write_text(str(os.getpid()))


def note_host(runtime: Path, pid: int) -> None:
    with (runtime / _HOSTS).open("a") as stream:
        stream.write(f"{pid}\n")


def _mentions(pid: int, text: str) -> bool:
    try:
        return text.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def is_dead(runtime: Path) -> bool:
    """Whether a lab ran here and its process is gone. A folder without a pid is one that is just being made."""
    try:
        pid = int((runtime / _PID).read_text())
    except (OSError, ValueError):
        return False
    return not _mentions(pid, "skrsim.lab.daemon")


def remove(runtime: Path) -> None:
    """Take away everything that belongs to the lab of this runtime folder. Its process must be gone."""
    with contextlib.suppress(OSError):
        for line in (runtime / _HOSTS).read_text().split():
            if _mentions(int(line), "unshare"):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(line), signal.SIGKILL)
    libc = ctypes.CDLL(None, use_errno=True)
    for line in Path("/proc/self/mounts").read_text().splitlines():
        place = line.split(" ")[1]
        if place.startswith(f"{runtime}/"):
            libc.umount2(place.encode(), 2)  # MNT_DETACH
    namespaces = Path("/run/netns")
    for path in sorted(namespaces.glob(f"{runtime.name}-*")) if namespaces.is_dir() else ():
        with contextlib.suppress(RuntimeError):
            netns.ip("netns", "del", path.name)
    for folder in (runtime, Path("/dev/shm") / runtime.name):
        shutil.rmtree(folder, ignore_errors=True)


def sweep() -> list[str]:
    """Remove the dead labs of this user; returns their names."""
    gone = []
    for runtime in sorted(Path(tempfile.gettempdir()).glob(f"{PREFIX}*")):
        with contextlib.suppress(OSError):
            if runtime.stat().st_uid == os.geteuid() and is_dead(runtime):
                remove(runtime)
                gone.append(runtime.name)
    return gone
