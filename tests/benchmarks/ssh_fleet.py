# SPDX-License-Identifier: GPL-3.0-or-later
"""Fifty hosts of the ssh door: what a release over all of them takes, beside a ping of the same hosts in the same run.

The two are made fair so: the same inventory, ansible.cfg, forks, environment and machine; an uncounted round first, so that
every counted run finds its ssh connections open (ControlPersist), the hosts' file caches warm and, in the release's case,
the key in its place, as when an operator runs the play again; then rounds in which ping and release take turns, so that
what else the machine does meets both. The ratio is the median over the rounds. Processor time of the hosts, of their
software TPMs and of the simulated cloud is spent on the same cores and is in the release's time; on Azure it would not be.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from labkit import Lab, environment

HOSTS, ROUNDS = 50, 3
SERVICES = ("keyvault", "maa", "imds")  # whom the VMs ask
Measured = tuple[str, float, str, float]
_TICKS = os.sysconf("SC_CLK_TCK")


class Spent(NamedTuple):
    """Seconds: wall time, and processor time by who used it."""

    wall: float
    controller: float
    hosts: float  # sshd and what it started
    tpms: float
    cloud: float

    def text(self) -> str:
        shares = ", ".join(f"{name} {getattr(self, name):.1f}" for name in self._fields[1:])
        return f"{self.wall:.1f} s; processor seconds: {shares}"


def _ticks(pid: int, ended: bool) -> float:
    """Processor seconds of a process, with those of its children that have ended if asked (proc(5), stat)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:  # it ended meanwhile, and its parent has its time
        return 0.0
    return sum(int(one) for one in fields[11 : 15 if ended else 13]) / _TICKS


class _Meter:
    """The processes of one lab."""

    def __init__(self, made: Lab) -> None:
        self._cloud = int(made.call("status")["pid"])

    def read(self) -> tuple[float, float, float, float]:
        """Processor seconds until now: of this process's children, of the hosts, of their TPMs and of the cloud."""
        mine, parents = os.times(), {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                name, _end, rest = (folder / "stat").read_text().partition("(")[2].rpartition(")")
            except OSError:
                continue
            parents[int(folder.name)] = (int(rest.split()[1]), name)
        tpms = sum(
            _ticks(pid, False) for pid, (above, name) in parents.items() if (above, name) == (self._cloud, "swtpm")
        )
        hosts = sum(
            _ticks(pid, True) for pid, (_above, name) in parents.items() if name == "sshd" and self._below(pid, parents)
        )
        return mine.children_user + mine.children_system, hosts, tpms, _ticks(self._cloud, False)

    def _below(self, pid: int, parents: dict[int, tuple[int, str]]) -> bool:
        while pid in parents:
            pid = parents[pid][0]
            if pid == self._cloud:
                return True
        return False

    def run(self, command: list[str], cwd: Path) -> Spent:
        """A command to its end; it must succeed."""
        before, start = self.read(), time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True, env=environment(), cwd=cwd, check=False)
        wall = time.monotonic() - start
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return Spent(wall, *(after - first for first, after in zip(before, self.read(), strict=True)))


def ping(made: Lab, meter: _Meter) -> Spent:
    return meter.run(["ansible", "-i", str(made.inventory), "cvm", "-m", "ansible.builtin.ping"], made.directory)


def release(made: Lab, meter: _Meter) -> Spent:
    command = ["ansible-playbook", "-i", str(made.inventory), "confidential.azure_skr.release"]
    return meter.run(command, made.directory)


def refused_share(made: Lab, since: int) -> tuple[float, int]:
    """Which share of what VMs asked was answered 429, and of how many requests."""
    asked = [one for one in made.audit(since) if one["service"] in SERVICES and one["vm"]]
    assert asked
    return sum(one["status"] == 429 for one in asked) / len(asked), len(asked)


def turns(
    made: Lab, rounds: int = ROUNDS, tell: Callable[[str], Any] = lambda _text: None
) -> list[tuple[Spent, Spent]]:
    """Ping and release in turn, after an uncounted round. The site must have been provisioned."""
    meter = _Meter(made)
    ping(made, meter)
    release(made, meter)
    found = []
    for _round in range(rounds):
        pair = ping(made, meter), release(made, meter)
        tell(f"   ping    {pair[0].text()}")
        tell(f"   release {pair[1].text()}")
        found.append(pair)
    return found


def ssh_costs(made: Lab, tell: Callable[[str], Any] = lambda _text: None) -> list[Measured]:
    """The release over the ping, and how many of the VMs' requests met a documented limit."""
    done = made.playbook("provision")
    assert done.returncode == 0, done.stdout[-3000:]
    made.call("throttling", on=True)
    mark = made.mark
    pairs = turns(made, tell=tell)
    share, asked = refused_share(made, mark)
    made.call("throttling", on=False)
    ratio = statistics.median(job.wall / echo.wall for echo, job in pairs)
    return [
        ("fleet.release_over_ping", round(ratio, 2), f"ratio, {HOSTS} ssh hosts", 2.0),
        ("fleet.http_429_share", round(share, 4), f"of {asked} requests of VMs", 0.02),
    ]
