# SPDX-License-Identifier: GPL-3.0-or-later
"""Playbook rotate: a new version, consumers moved batch by batch, the old version disabled when all report (AC-27)."""

from __future__ import annotations

import concurrent.futures
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from integration.rotation import HOSTS, Fleet, changes
from integration.site import Site
from labkit import Lab


class Rotating(Fleet):
    """With a log of reloads for each host. A version of any age but this second's is followed by a new one."""

    def rotate(self, *words: str, check: bool = False, **variables: Any) -> subprocess.CompletedProcess[str]:
        reload = ["/bin/sh", "-c", 'echo x >> "$0"', f"{self.folder}/{{{{ inventory_hostname }}}}.reloads"]
        given = {"skr_reload_command": reload, "skr_rotate_if_older_than": "PT1S"} | variables
        return self.play("rotate", *words, check=check, **given)

    @property
    def reloads(self) -> dict[str, int]:
        found = {name: self.folder / f"{name}.reloads" for name in HOSTS}
        return {name: len(path.read_text().split()) if path.exists() else 0 for name, path in found.items()}


@pytest.fixture
def fleet(local_lab: Lab, tmp_path: Path) -> Rotating:
    made = Rotating(local_lab, tmp_path)
    made.release()
    return made


def test_all_report_and_a_second_run_changes_nothing(fleet: Rotating) -> None:
    """AC-27: all move, reload once, the old version goes; the second run continues with the version and writes nothing."""
    lab, mark = fleet.lab, fleet.lab.mark
    predicted = fleet.rotate(check=True)
    assert predicted.returncode == 0, predicted.stdout
    assert lab.writes(mark) == [] and "a new version would be made" in predicted.stdout
    assert fleet.reloads == dict.fromkeys(HOSTS, 0) and fleet.states == []

    done = fleet.rotate(skr_canary=1, skr_serial=2)
    assert done.returncode == 0, done.stdout
    assert fleet.enabled == [False, True] and fleet.reloads == dict.fromkeys(HOSTS, 1)
    assert "3 of 3 hosts have moved" in done.stdout and "are disabled" in done.stdout
    state = json.loads(fleet.states[-1].read_text())
    assert {one["key_version"] for one in state["hosts"].values()} == {fleet.newest}
    # One of them was the check mode's.
    assert len(lab.audit(mark, operation="key_release")) == 6
    assert fleet.operations(mark) == ["key_rotate", "key_update"]

    mark = lab.mark
    again = fleet.rotate(skr_rotate_if_older_than="PT1H")
    assert again.returncode == 0 and set(changes(again.stdout).values()) == {0}, again.stdout
    assert lab.writes(mark) == [] and fleet.reloads == dict.fromkeys(HOSTS, 1)


def test_one_missed_keeps_the_old_version_until_the_resumed_run(fleet: Rotating) -> None:
    """Below the share nothing is disabled and the host is named; the resumed run touches it alone and finishes."""
    lab, mark = fleet.lab, fleet.lab.mark
    with lab.fault("status", service="keyvault", operation="key_release", vm="cvm-02", code=403):
        done = fleet.rotate(skr_wait_for_grant=0)
    assert done.returncode == 2 and fleet.enabled == [True, True], done.stdout
    assert "missed: cvm-02" in done.stdout and "[rotation_incomplete]" in done.stdout
    assert fleet.reloads == {"cvm-01": 1, "cvm-02": 0, "cvm-04": 1}
    new = fleet.newest
    assert f"skr_rotate_version={new}" in done.stdout.replace("\n", " ")

    mark = lab.mark
    resumed = fleet.rotate(skr_resume=str(fleet.states[-1]))
    assert resumed.returncode == 0, resumed.stdout
    assert fleet.enabled == [False, True] and fleet.reloads == dict.fromkeys(HOSTS, 1)
    assert [row["vm"] for row in lab.audit(mark, operation="key_release")] == ["cvm-02"]
    assert fleet.operations(mark) == ["key_update"]


def test_an_accepted_share(fleet: Rotating) -> None:
    """With two of three accepted the old version goes, the missed host is listed and fails."""
    with fleet.lab.fault("status", service="keyvault", operation="key_release", vm="cvm-04", code=403):
        done = fleet.rotate(skr_wait_for_grant=0, skr_rotate_share=60)
    assert done.returncode == 2 and fleet.enabled == [False, True], done.stdout
    assert "2 of 3 hosts have moved" in done.stdout and "missed: cvm-04" in done.stdout
    assert re.search(r"^cvm-04 .*failed=1", done.stdout, re.MULTILINE)
    assert re.search(r"^cvm-01 .*failed=0", done.stdout, re.MULTILINE)


def test_a_reload_that_fails_counts_and_is_owed(fleet: Rotating) -> None:
    """The host holds the new key, but it has not moved; the resumed run reloads it although no byte changes."""
    done = fleet.rotate(skr_reload_command=["/bin/sh", "-c", "echo no such unit >&2; exit 5"])
    assert done.returncode == 2 and fleet.enabled == [True, True], done.stdout
    assert done.stdout.count("reload_failed") >= 3 and "no such unit" in done.stdout
    state = json.loads(fleet.states[-1].read_text())
    assert state["open"] == list(HOSTS) and {one["reason"] for one in state["hosts"].values()} == {"reload_failed"}
    new = fleet.newest
    resumed = fleet.rotate(skr_resume=str(fleet.states[-1]), skr_rotate_version=new)
    assert resumed.returncode == 0, resumed.stdout
    assert fleet.reloads == dict.fromkeys(HOSTS, 1) and fleet.enabled == [False, True]


def test_parts_of_the_fleet_disable_nothing(fleet: Rotating) -> None:
    """Slices and limited runs move their hosts and leave the last step to a run that sees all, which changes no host."""
    first = fleet.rotate("--limit", "cvm-01")
    assert first.returncode == 0 and fleet.enabled == [True, True], first.stdout
    assert "does not see 2 hosts (cvm-02, cvm-04)" in first.stdout
    second = fleet.rotate("--limit", "cvm-02:cvm-04", skr_slices=2, skr_rotate_if_older_than="PT1H")
    assert second.returncode == 0 and fleet.enabled == [True, True], second.stdout
    assert "one of 2 slices" in second.stdout and fleet.reloads == dict.fromkeys(HOSTS, 1)
    kept = fleet.rotate(skr_rotate_if_older_than="PT1H", skr_rotate_disable_old=False)
    assert kept.returncode == 0 and fleet.enabled == [True, True], kept.stdout
    mark = fleet.lab.mark
    last = fleet.rotate(skr_rotate_version=fleet.newest)
    assert last.returncode == 0 and fleet.enabled == [False, True], last.stdout
    assert fleet.reloads == dict.fromkeys(HOSTS, 1)
    assert fleet.operations(mark) == ["key_update"]


def test_a_boot_configuration_that_pins_the_old_version_holds_it(fleet: Rotating) -> None:
    old = fleet.versions[0]
    pinned = fleet.folder / "cvm-02.json"
    pinned.write_text(json.dumps({"key_name": "app-key", "key_version": old}))
    boot = f"{fleet.folder}/{{{{ inventory_hostname }}}}.json"
    done = fleet.rotate(skr_boot_config=boot)
    assert done.returncode == 2 and fleet.enabled == [True, True], done.stdout
    assert "missed: cvm-02: boot_version_pinned" in done.stdout and old in done.stdout
    pinned.unlink()
    pinned.mkdir()  # what cannot be read may pin anything
    unknown = fleet.rotate(skr_boot_config=boot, skr_rotate_if_older_than="PT1H")
    assert unknown.returncode == 2 and fleet.enabled == [True, True], unknown.stdout
    assert "could not be read" in unknown.stdout
    pinned.rmdir()
    pinned.write_text(json.dumps({"key_name": "app-key"}))
    last = fleet.rotate(skr_boot_config=boot, skr_rotate_if_older_than="PT1H")
    assert last.returncode == 0 and fleet.enabled == [False, True], last.stdout


def test_a_first_node_makes_the_version_for_the_next(fleet: Rotating) -> None:
    """The later node gets the first one's artifact as a variable, and makes no version however old that one is."""
    mark = fleet.lab.mark
    first = fleet.rotate(skr_rotate_phase="version")
    assert first.returncode == 0 and fleet.enabled == [True, True], first.stdout
    assert fleet.operations(mark) == ["key_rotate"] and fleet.lab.audit(mark, operation="key_release") == []
    artifact = {"version": fleet.newest, "previous": fleet.versions[:1], "disabled": [], "moved": [], "missed": []}
    last = fleet.rotate(azure_skr_rotate=artifact, skr_rotate_if_older_than=0)
    assert last.returncode == 0 and fleet.enabled == [False, True], last.stdout
    bad = fleet.rotate(skr_rotate_phase="half")
    assert bad.returncode == 2 and "skr_rotate_phase is half, wanted version or all" in bad.stdout


def test_a_disabled_version_is_no_goal(fleet: Rotating) -> None:
    assert fleet.rotate().returncode == 0
    old = fleet.versions[0]
    mark = fleet.lab.mark
    done = fleet.rotate(skr_rotate_version=old)
    assert done.returncode == 2 and "[key_disabled]" in done.stdout, done.stdout
    assert fleet.lab.writes(mark) == [] and fleet.lab.audit(mark, operation="key_release") == []


# --- the module


def test_the_module_makes_no_version_while_one_is_young(local_lab: Lab) -> None:
    made = Site(local_lab, vms=())
    mark = local_lab.mark
    young = made.ensure_key(rotate=True, rotate_if_older_than="PT1H")
    assert not young["changed"] and young["kid"] == made.key["kid"] and local_lab.writes(mark) == []
    planned = made.ensure_key(rotate=True, rotate_if_older_than=0, check=True)
    assert planned["changed"] and local_lab.writes(mark) == []
    turned = made.ensure_key(rotate=True, rotate_if_older_than=0)
    assert turned["changed"] and turned["kid"] != made.key["kid"]
    # A disabled version serves nobody, so it holds no new one off.
    assert made.ensure_key(enabled=False)["changed"]
    third = made.ensure_key(rotate=True, rotate_if_older_than="PT1H")
    assert third["changed"] and third["kid"] != turned["kid"] and third["key"]["enabled"]
    mark = local_lab.mark
    for option in ({"rotate_if_older_than": "PT1H"}, {"rotate": True, "rotate_if_older_than": "soon"}):
        bad = made.ensure_key(**option)
        assert bad["failed"] and bad["reason"] == "invalid_input" and "rotate_if_older_than" in bad["msg"]
    assert local_lab.writes(mark) == []


def test_two_slices_at_the_same_moment_go_on_with_one_version(local_lab: Lab) -> None:
    """Whether one or both make a version is chance; that they end with the same is not."""
    made = Site(local_lab, vms=())
    assert made.ensure_key(enabled=False)["changed"]  # so that a new version is due, and only one
    local_lab.in_process = False  # processes of their own, with pauses as long as a user's
    try:
        with concurrent.futures.ThreadPoolExecutor() as pool:
            runs = [pool.submit(made.ensure_key, rotate=True, rotate_if_older_than="PT1H") for _ in range(2)]
        first, second = (run.result() for run in runs)
    finally:
        local_lab.in_process = True
    assert first["key_version"] == second["key_version"] != made.key["key_version"]
    assert first["changed"] or second["changed"]
