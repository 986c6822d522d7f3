# SPDX-License-Identifier: GPL-3.0-or-later
"""A lab whose process was killed leaves nothing behind once the next one comes up, or once it is taken down."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import labkit
import pytest


def skrsim(directory: Path, *words: str) -> str:
    command = [sys.executable, "-m", "skrsim.lab.cli", "--dir", str(directory), *words]
    done = subprocess.run(command, capture_output=True, text=True, env=labkit.environment(), check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def traces(name: str) -> list[str]:
    """Everything on the machine that carries the name of a lab's runtime folder."""
    found = [line for line in Path("/proc/self/mounts").read_text().splitlines() if name in line]
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes()
        except OSError:
            continue
        if name.encode() in line:
            found.append(line.decode().replace("\0", " "))
    runtime = Path(tempfile.gettempdir(), name)
    return found + [str(path) for path in (runtime, Path("/dev/shm", name)) if path.exists()]


def kill(directory: Path) -> str:
    """Kill a lab without asking; returns the name of its runtime folder."""
    runtime = Path(json.loads((directory / "lab.json").read_text())["runtime"])
    pid = int((runtime / "pid").read_text())
    os.kill(pid, signal.SIGKILL)
    while Path(f"/proc/{pid}").exists():
        time.sleep(0.02)
    return runtime.name


@pytest.fixture
def directory() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="skr-killed-"))
    yield made
    skrsim(made, "down")
    shutil.rmtree(made)


@pytest.fixture(params=["local", "ssh"])
def door(request: pytest.FixtureRequest) -> str:
    if request.param == "ssh" and os.geteuid() != 0:
        pytest.skip("the ssh door needs root")
    return str(request.param)


UP = ("up", "--vms", "2", "--cache", str(labkit.ROOT / ".build" / "silicon"))


def test_down_after_a_kill(directory: Path, door: str) -> None:
    skrsim(directory, *UP, "--door", door)
    name = kill(directory)
    assert traces(name)
    assert "gone already" in skrsim(directory, "down")
    assert traces(name) == []


def test_the_next_lab_sweeps(directory: Path, door: str) -> None:
    skrsim(directory, *UP, "--door", door)
    name = kill(directory)
    (directory / "lab.json").unlink()
    assert f"removed what the killed lab {name} had left" in skrsim(directory, *UP, "--door", "local")
    assert traces(name) == []
