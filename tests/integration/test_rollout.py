# SPDX-License-Identifier: GPL-3.0-or-later
"""Playbook rollout: verdicts by reason, what is open, the canary, slices, and a run that is killed in the middle."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from labkit import Lab, environment

VAULT = "kv-skr-rollout"
GOOD = ("cvm-01", "cvm-02", "cvm-04")


class Fleet:
    """The lab's VMs, and a folder in which runs leave what they know."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.lab, self.folder = lab, folder
        self.variables: dict[str, Any] = {"skr_vault_name": VAULT, "skr_run_dir": str(folder), "skr_wait_for_grant": 0}

    def provision(self, *hosts: str) -> None:
        done = self.lab.playbook("provision", "--limit", ",".join(hosts), variables=self.variables)
        assert done.returncode == 0, done.stdout

    def roll(self, run: str, *words: str, check: bool = False, **variables: Any) -> subprocess.CompletedProcess[str]:
        return self.lab.playbook(
            "rollout", *words, variables={**self.variables, "skr_run": run, **variables}, check=check
        )

    def state(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / f"{name}.json").read_text())
        return found

    def touched(self, since: int) -> set[str]:
        """VMs that asked anybody for anything."""
        return {str(record["vm"]) for record in self.lab.audit(since) if record.get("vm")}

    def dest(self, host: str) -> Path:
        return Path(self.lab.hosts[host]["skr_dest"])

    def clear(self) -> None:
        for host in self.lab.hosts:
            self.dest(host).unlink(missing_ok=True)


@pytest.fixture(scope="module")
def provisioned(shared_lab: Lab) -> Lab:
    """cvm-05 has neither identity nor grant; cvm-03 is debuggable."""
    fleet = Fleet(shared_lab, Path("/nonexistent"))
    fleet.provision(*GOOD, "cvm-03", "cvm-06")
    shared_lab.call("vm_identities", name="cvm-05", count=0)
    return shared_lab


@pytest.fixture
def fleet(provisioned: Lab, local_lab: Lab, tmp_path: Path) -> Iterator[Fleet]:
    made = Fleet(provisioned, tmp_path / "runs")
    made.clear()
    yield made
    made.clear()


@pytest.fixture
def cut_off(tmp_path: Path) -> tuple[str, ...]:
    """Options of a run in which nobody answers where cvm-06 should be."""
    away = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 9}
    path = tmp_path / "away.yml"
    path.write_text(json.dumps({"all": {"hosts": {"cvm-06": away}}}))
    return ("-i", str(path))


def recap(output: str, host: str) -> dict[str, int]:
    line = re.search(rf"^{host}\s+: (.*)$", output, re.MULTILINE)
    assert line, output
    return {name: int(number) for name, number in re.findall(r"(\w+)=(\d+)", line[1])}


def test_partial_failure_and_resume(fleet: Fleet, cut_off: tuple[str, ...]) -> None:
    """AC-25: three hosts fail for three reasons; the others hold the key; the second run touches the three alone."""
    shape = {"skr_canary": 1, "skr_serial": "60%", "skr_max_failure_share": 100}
    first = fleet.roll("june", *cut_off, **shape)
    assert first.returncode == 2, first.stdout
    state = fleet.state("june-1")
    assert state["open"] == ["cvm-03", "cvm-05", "cvm-06"]
    verdicts = {host: (one["verdict"], one["reason"]) for host, one in state["hosts"].items()}
    assert {host: verdicts[host] for host in GOOD} == dict.fromkeys(GOOD, ("released", "released"))
    assert verdicts["cvm-03"] == ("refused", "policy_not_met")
    assert verdicts["cvm-05"] == ("refused", "identity_not_found")
    assert verdicts["cvm-06"] == ("unreachable", "vm_unreachable")
    assert (fleet.folder / "june-1.retry").read_text() == "cvm-03\ncvm-05\ncvm-06\n"
    assert all(fleet.dest(host).exists() for host in GOOD)
    assert recap(first.stdout, "cvm-03")["failed"] == 1 and recap(first.stdout, "cvm-01")["failed"] == 0
    for words in ("policy_not_met: 1 host: cvm-03", "vm_unreachable: 1 host: cvm-06", "released: 3 hosts, 3 of them changed",
                  "3 of 6 hosts hold the key, 3 are open"):  # fmt: skip
        assert words in first.stdout
    # Two of the three are mended.
    fleet.provision("cvm-05")
    mark = fleet.lab.mark
    second = fleet.roll("june-again", skr_resume=str(fleet.folder / "june-1.json"), **shape)
    assert fleet.touched(mark) == {"cvm-03", "cvm-05", "cvm-06"}
    assert fleet.lab.writes(mark) == []
    assert fleet.state("june-again-1")["open"] == ["cvm-03"], second.stdout
    assert "cvm-01" not in second.stdout
    # All files together: what the second attempt has done is not open any more.
    mark = fleet.lab.mark
    third = fleet.roll("june-last", skr_resume=str(fleet.folder / "june-*.json"), **shape)
    assert fleet.touched(mark) == {"cvm-03"} and third.returncode == 2
    # The limit file does the same for those who prefer Ansible's own way.
    mark = fleet.lab.mark
    fleet.roll("by-limit", "--limit", f"@{fleet.folder / 'june-again-1.retry'}", **shape)
    assert fleet.touched(mark) == {"cvm-03"}
    fleet.lab.call("vm_identities", name="cvm-05", count=0)


def test_everything_done_is_nothing_to_do(fleet: Fleet) -> None:
    limit = ("--limit", "cvm-01,cvm-02")
    assert fleet.roll("all", *limit).returncode == 0
    assert fleet.state("all-1")["open"] == []
    assert (fleet.folder / "all-1.retry").read_text() == ""
    mark = fleet.lab.mark
    resumed = fleet.roll("none", skr_resume=str(fleet.folder / "all-1.json"))
    assert resumed.returncode == 0 and fleet.touched(mark) == set()
    assert "no_host_is_open" in resumed.stdout + resumed.stderr
    again = fleet.roll("again", *limit)
    assert again.returncode == 0 and "released: 2 hosts, 0 of them changed" in again.stdout
    assert fleet.lab.writes(mark) == []
    assert recap(again.stdout, "cvm-01")["changed"] == 0


def test_canary_stop(fleet: Fleet) -> None:
    """AC-26: two of the first five fail where 20 percent may: the sixth is not touched, nor is policy or key."""
    mark = fleet.lab.mark
    done = fleet.roll("canary", skr_canary=5, skr_max_failure_share=20)
    assert done.returncode == 2
    assert "cvm-06" not in fleet.touched(mark) and fleet.lab.writes(mark) == []
    assert not fleet.dest("cvm-06").exists()
    text = " ".join(done.stdout.split())
    assert "STOPPED: 2 of the batch''s 5 hosts failed, 40 percent where 20 are allowed (skr_max_failure_share)" in text
    assert "[failure_share_exceeded]" in text and "1 hosts have not been touched" in text
    state = fleet.state("canary-1")
    assert state["stopped"]["reason"] == "failure_share_exceeded" and state["hosts"]["cvm-06"]["verdict"] == "pending"
    assert state["open"] == ["cvm-03", "cvm-05", "cvm-06"]


def test_check_mode_predicts_and_writes_nothing(fleet: Fleet) -> None:
    done = fleet.roll("check", "--limit", "cvm-01,cvm-02", check=True)
    assert done.returncode == 0, done.stdout
    assert recap(done.stdout, "cvm-01")["changed"] == 1
    assert not fleet.dest("cvm-01").exists() and not fleet.folder.exists()


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"skr_max_failure_share": 120}, "skr_max_failure_share is 120, wanted a percentage from 0 to 100"),
        ({"skr_request_share": 7}, "skr_request_share is 7, wanted a share from 0 (no budget) to 1"),
        ({"skr_slices": 0}, "skr_slices is 0, wanted a number of at least 1"),
        ({"skr_resume": "/nowhere/*.json"}, "skr_resume names no file"),
    ],
    ids=["failure_share", "request_share", "slices", "resume"],
)
def test_bad_input_is_named(fleet: Fleet, variables: dict[str, Any], words: str) -> None:
    mark = fleet.lab.mark
    done = fleet.roll("bad", "--limit", "cvm-01", **variables)
    assert done.returncode != 0
    assert words in " ".join((done.stdout + done.stderr).split())
    assert fleet.touched(mark) == set()


def start(fleet: Fleet, run: str, *words: str, **variables: Any) -> subprocess.Popen[str]:
    """A run in a process group of its own."""
    given = json.dumps({**fleet.variables, "skr_run": run, **variables})
    return subprocess.Popen(
        ["ansible-playbook", "-i", str(fleet.lab.inventory), "confidential.azure_skr.rollout", "-e", given, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment(),
        cwd=fleet.lab.directory,
        start_new_session=True,
    )


def test_two_slices_at_the_same_time(fleet: Fleet) -> None:
    slices = {"101": ("cvm-01", "cvm-04"), "102": ("cvm-02", "cvm-03")}
    running = [
        start(fleet, "sliced", "--limit", ",".join(hosts), awx_job_id=job, skr_slices=2, skr_max_failure_share=100)
        for job, hosts in slices.items()
    ]
    outputs = [process.communicate()[0] for process in running]
    assert [process.returncode for process in running] == [0, 2], outputs
    assert fleet.state("sliced-101")["open"] == [] and fleet.state("sliced-102")["open"] == ["cvm-03"]
    assert set(fleet.state("sliced-101")["hosts"]) == set(slices["101"])
    mark = fleet.lab.mark
    fleet.roll("rest", skr_resume=str(fleet.folder / "sliced-*.json"))
    assert fleet.touched(mark) == {"cvm-03"}


def test_a_run_that_is_killed_leaves_nothing_half_done(fleet: Fleet) -> None:
    hosts = (*GOOD, "cvm-06")
    mark = fleet.lab.mark
    running = start(fleet, "killed", "--limit", ",".join(hosts), skr_canary=1, skr_serial=1)
    deadline = time.monotonic() + 120
    while len(fleet.lab.audit(mark, operation="key_release", status=200)) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(running.pid, signal.SIGKILL)
    running.communicate()
    state = fleet.state("killed-1")
    assert state["finished"] is None and 0 < len(state["open"]) < 4
    assert (fleet.folder / "killed-1.retry").read_text().split() == state["open"]
    for host in hosts:
        halves = [path.name for path in fleet.dest(host).parent.glob(".*")]  # files are written under such names first
        assert halves == [], halves
        if fleet.dest(host).exists():
            assert serialization.load_pem_private_key(fleet.dest(host).read_bytes(), None)
    done = {host for host in hosts if host not in state["open"]}
    assert done and all(fleet.dest(host).exists() for host in done)
    mark = fleet.lab.mark
    resumed = fleet.roll("rest", skr_resume=str(fleet.folder / "killed-1.json"))
    assert resumed.returncode == 0, resumed.stdout
    assert fleet.touched(mark) == set(state["open"])
    assert all(fleet.dest(host).exists() for host in hosts)
