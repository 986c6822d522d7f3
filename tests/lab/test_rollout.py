# SPDX-License-Identifier: GPL-3.0-or-later
"""Playbook rollout over ssh: a host that cannot be reached, one that is refused, and a runner that is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import labkit
import pytest
from lab.test_ssh_site import on
from labkit import Lab


@pytest.fixture
def folder(ssh_lab: Lab, tmp_path: Path) -> Path:
    done = ssh_lab.playbook("provision")
    assert done.returncode == 0, done.stdout
    for host in ssh_lab.hosts:
        on(ssh_lab, host, "rm -f /run/app/app.pem")
    return tmp_path / "runs"


def test_partial_failure_and_resume(ssh_lab: Lab, folder: Path, tmp_path: Path) -> None:
    """AC-25 over ssh: cvm-02 cannot be reached, cvm-03 is refused, cvm-01 holds the key; then cvm-02 alone is mended."""
    away = tmp_path / "away.yml"
    away.write_text(json.dumps({"all": {"hosts": {"cvm-02": {"ansible_host": "127.0.0.1", "ansible_port": 9}}}}))
    given = {"skr_run_dir": str(folder), "skr_run": "a", "skr_max_failure_share": 100}
    first = ssh_lab.playbook("rollout", "-i", str(away), variables=given)
    assert first.returncode == 2
    state = json.loads((folder / "a-1.json").read_text())
    assert {host: one["reason"] for host, one in state["hosts"].items()} == {
        "cvm-01": "released", "cvm-02": "vm_unreachable", "cvm-03": "policy_not_met"
    }  # fmt: skip
    assert on(ssh_lab, "cvm-01", "stat -c %a /run/app/app.pem").strip() == "400"
    mark = ssh_lab.mark
    second = ssh_lab.playbook("rollout", variables={**given, "skr_run": "b", "skr_resume": str(folder / "a-1.json")})
    assert {record["vm"] for record in ssh_lab.audit(mark) if record.get("vm")} == {"cvm-02", "cvm-03"}
    assert json.loads((folder / "b-1.json").read_text())["open"] == ["cvm-03"], second.stdout
    assert on(ssh_lab, "cvm-02", "stat -c %a /run/app/app.pem").strip() == "400"


def test_a_killed_runner_leaves_nothing_half_done(ssh_lab: Lab, folder: Path) -> None:
    """The runner dies while the first host releases; the host ends as it would, and the list completes the rest."""
    mark = ssh_lab.mark
    given = {"skr_run_dir": str(folder), "skr_run": "k", "skr_max_failure_share": 100, "skr_serial": 1}
    with ssh_lab.fault("delay", service="maa", vm="cvm-01", seconds=3):
        running = subprocess.Popen(
            ["ansible-playbook", "-i", str(ssh_lab.inventory), "confidential.azure_skr.rollout", "-e", json.dumps(given)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=labkit.environment(), cwd=ssh_lab.directory,
            start_new_session=True,
        )  # fmt: skip
        deadline = time.monotonic() + 60
        while not ssh_lab.audit(mark, vm="cvm-01") and time.monotonic() < deadline:
            time.sleep(0.05)
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
        time.sleep(5)  # what was begun on the host ends
    state = json.loads((folder / "k-1.json").read_text())
    assert state["open"] == ["cvm-01", "cvm-02", "cvm-03"] and state["finished"] is None
    left = on(ssh_lab, "cvm-01", "ls -A /run/app").split()
    assert set(left) <= {"app.pem"}, left
    resumed = ssh_lab.playbook("rollout", variables={**given, "skr_run": "l", "skr_resume": str(folder / "k-1.json")})
    assert json.loads((folder / "l-1.json").read_text())["open"] == ["cvm-03"], resumed.stdout
    for host in ("cvm-01", "cvm-02"):
        assert on(ssh_lab, host, "ls -A /run/app").split() == ["app.pem"]
