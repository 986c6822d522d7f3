# SPDX-License-Identifier: GPL-3.0-or-later
"""Playbook update: a planned change of what the policy pins, over a fleet (AC-14)."""

from __future__ import annotations

import contextlib
import copy
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from integration.rotation import HOSTS, Fleet, changes
from labkit import Lab

from ansible_collections.confidential.azure_skr.plugins.module_utils.policy import build, compare, model
from skrsim.lab.plan import AUTHORITY
from skrsim.tee.platform import NEXT_ID_KEY_DIGEST

DIGEST = "x-ms-isolation-tee.x-ms-sevsnpvm-idkeydigest"
NEW = NEXT_ID_KEY_DIGEST.hex()


class Updating(Fleet):
    """A policy that pins id-key digest, launch measurement and secure boot as the first host has them."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        found = lab.module("attestation_info", **lab.guest(HOSTS[0]), attestation_url=AUTHORITY)
        self.pins: dict[str, Any] = {
            "authority": AUTHORITY,
            "golden_claims": found["claims"],
            "pin": ["launch_measurement", "id_key_digest", "secure_boot"],
        }
        self.old = build.release_policy(self.pins)
        golden = copy.deepcopy(found["claims"])
        golden["x-ms-isolation-tee"]["x-ms-sevsnpvm-idkeydigest"] = NEW
        self.new = build.release_policy({**self.pins, "golden_claims": golden})
        super().__init__(lab, folder, release_policy=self.old)
        self.release()

    def update(self, *words: str, check: bool = False, **variables: Any) -> subprocess.CompletedProcess[str]:
        accepted = {"satisfied_by_any_tenant": "Tests tell VMs apart by their grants."}
        return self.play("update", *words, check=check, **({"skr_accepted_findings": accepted} | variables))

    def holds(self, policy: dict[str, Any]) -> bool:
        """Whether the key's policy means this; the vault spells it its own way."""
        return compare.equal(model.parse(self.key["release_policy"]), model.parse(policy))

    @property
    def branches(self) -> list[Any]:
        found: list[Any] = self.key["release_policy"]["anyOf"]
        return found

    def firmware(self) -> Path:
        """A task file as a user would write it: it changes the VM's firmware, and tells in a file that it did."""
        code = (
            "import sys; from pathlib import Path; from skrsim.lab import control; from skrsim.lab.plan import Plan; "
            "control.call(Plan.load(Path(sys.argv[1])).control, 'vm_set', name=sys.argv[2], "
            f"values={{'id_key_digest': '{NEW}'}})"
        )
        argv = [sys.executable, "-c", code, str(self.lab.directory / "lab.json"), "{{ inventory_hostname }}"]
        log = f"echo x >> {self.folder}/{{{{ inventory_hostname }}}}.updates"
        tasks: list[dict[str, Any]] = [
            {"name": "Firmware", "ansible.builtin.command": {"argv": argv}, "delegate_to": "localhost"},
            {"name": "Log", "ansible.builtin.shell": log, "delegate_to": "localhost"},
        ]
        path = self.folder / "firmware.yml"
        path.write_text(json.dumps(tasks))
        return path

    @property
    def updates(self) -> dict[str, int]:
        found = {name: self.folder / f"{name}.updates" for name in HOSTS}
        return {name: len(path.read_text().split()) if path.exists() else 0 for name, path in found.items()}


@pytest.fixture
def fleet(local_lab: Lab, tmp_path: Path) -> Iterator[Updating]:
    with contextlib.ExitStack() as stack:
        for host in HOSTS:  # whatever the test makes of them, they are put back
            before = local_lab.call("vm_platform", name=host)["id_key_digest"]
            stack.enter_context(local_lab.platform(host, id_key_digest=before))
        yield Updating(local_lab, tmp_path)


def change(lab: Lab, *hosts: str) -> None:
    for host in hosts:
        lab.call("vm_set", name=host, values={"id_key_digest": NEW})


def test_the_whole_change_in_one_run(fleet: Updating) -> None:
    """Expanded, each host changed and let in by the new branch, contracted; a second run changes nothing."""
    lab, mark = fleet.lab, fleet.lab.mark
    given = {"skr_new_release_policy": fleet.new, "skr_update_tasks": str(fleet.firmware())}
    predicted = fleet.update(check=True, **given)
    assert predicted.returncode == 0, predicted.stdout
    assert lab.writes(mark) == [] and fleet.updates == dict.fromkeys(HOSTS, 0)

    done = fleet.update(skr_canary=1, skr_serial=2, **given)
    assert done.returncode == 0, done.stdout
    assert fleet.holds(fleet.new) and fleet.updates == dict.fromkeys(HOSTS, 1)
    assert fleet.operations(mark) == ["key_update", "key_update"] and "3 of 3 hosts have moved" in done.stdout
    assert "provision would put it back" in done.stdout
    state = json.loads(fleet.states[-1].read_text())
    assert {one["facts"]["standing"]["branch"] for one in state["hosts"].values()} == {"new"}

    mark = lab.mark
    again = fleet.update(**given)
    assert again.returncode == 0 and set(changes(again.stdout).values()) == {0}, again.stdout
    assert lab.writes(mark) == [] and fleet.updates == dict.fromkeys(HOSTS, 1)


def test_phases_and_a_host_that_stays_behind(fleet: Updating) -> None:
    """Without the expansion the release names just the changed claim; the host that relies on the old branch holds it."""
    lab = fleet.lab
    change(lab, "cvm-01")
    refused = fleet.site.release("cvm-01")
    assert refused["reason"] == "policy_not_met"
    assert [(one["claim"], one["found"]) for one in refused["facts"]["failing"]] == [(DIGEST, NEW)]
    mark = lab.mark
    early = fleet.update(skr_update_phase="move", skr_new_release_policy=fleet.new)
    assert early.returncode == 2 and "[overlap_missing]" in early.stdout, early.stdout
    assert lab.writes(mark) == [] and lab.audit(mark, operation="key_release") == []

    # The golden host is the one that has been changed.
    expanded = fleet.update(skr_update_phase="expand", skr_golden_host="cvm-01")
    assert expanded.returncode == 0 and len(fleet.branches) == 2, expanded.stdout
    change(lab, "cvm-02")
    moved = fleet.update(skr_update_phase="move", skr_golden_host="cvm-01")
    assert moved.returncode == 2 and len(fleet.branches) == 2, moved.stdout
    behind = fleet.update(skr_update_phase="contract", skr_golden_host="cvm-01")
    assert behind.returncode == 2 and len(fleet.branches) == 2, behind.stdout
    told = re.sub(r"\s+", " ", behind.stdout)
    assert "missed: cvm-04: old_branch_in_use" in told and f"claim {DIGEST} wanted '{NEW}'" in told
    assert "[update_incomplete]" in told and "missed: cvm-02" not in told
    state = json.loads(fleet.states[-1].read_text())
    standing = {name: one["facts"]["standing"] for name, one in state["hosts"].items()}
    assert {name: one["branch"] for name, one in standing.items()} == {
        "cvm-01": "new",
        "cvm-02": "new",
        "cvm-04": "old",
    }
    assert [one["claim"] for one in standing["cvm-04"]["failing"]] == [DIGEST]

    change(lab, "cvm-04")
    limited = fleet.update("--limit", "cvm-04", skr_update_phase="contract", skr_golden_host="cvm-01")
    assert limited.returncode == 0 and len(fleet.branches) == 2, limited.stdout
    assert "does not see 2 hosts (cvm-01, cvm-02)" in limited.stdout
    mark = lab.mark
    contracted = fleet.update(skr_update_phase="contract", skr_golden_host="cvm-01")
    assert contracted.returncode == 0 and fleet.holds(fleet.new), contracted.stdout
    assert fleet.operations(mark) == ["key_update"]


def test_a_change_that_fails_and_an_accepted_share(fleet: Updating) -> None:
    """The host whose change fails is not asked for the key; with two of three accepted the old branch goes."""
    tasks = json.loads(fleet.firmware().read_text())
    broken = {
        "name": "Broken",
        "ansible.builtin.fail": {"msg": "no such package"},
        "when": "inventory_hostname == 'cvm-02'",
    }
    path = fleet.folder / "broken.yml"
    path.write_text(json.dumps([broken, *tasks]))
    mark = fleet.lab.mark
    done = fleet.update(skr_new_release_policy=fleet.new, skr_update_tasks=str(path), skr_update_share=60)
    assert done.returncode == 2 and fleet.holds(fleet.new), done.stdout
    assert "missed: cvm-02: update_failed: no such package" in re.sub(r"\s+", " ", done.stdout)
    assert fleet.lab.audit(mark, operation="key_release", vm="cvm-02") == []


def test_secure_boot_is_given_up_by_name_alone(fleet: Updating) -> None:
    lab = fleet.lab
    lab.reboot("cvm-01", secure_boot=False)
    try:
        mark = lab.mark
        refused = fleet.update(skr_update_phase="expand", skr_golden_host="cvm-01")
        assert refused.returncode == 2 and "[golden_unfit]" in refused.stdout and lab.writes(mark) == [], refused.stdout
        assert "claim secureboot wanted true, found false" in re.sub(r"\s+", " ", refused.stdout)
        named = fleet.update(skr_update_phase="expand", skr_golden_host="cvm-01", skr_golden_weaken=["secureboot"])
        assert named.returncode == 0 and len(fleet.branches) == 2, named.stdout
    finally:
        lab.reboot("cvm-01", secure_boot=True)


def test_a_pcr_and_an_immutable_policy_are_refused_before_any_host(fleet: Updating) -> None:
    lab = fleet.lab
    pcr = copy.deepcopy(fleet.new)
    pcr["anyOf"][0]["allOf"].append({"claim": "x-ms-azurevm-pcr7", "equals": "ab"})
    mark = lab.mark
    refused = fleet.update(skr_new_release_policy=pcr)
    told = re.sub(r"\s+", " ", refused.stdout)
    assert refused.returncode == 2 and "pcr_is_not_a_claim" in told and "own attestation provider" in told, told
    bad = fleet.update(skr_update_phase="shrink", skr_new_release_policy=fleet.new)
    assert bad.returncode == 2 and "skr_update_phase is shrink, wanted" in bad.stdout
    assert lab.writes(mark) == [] and lab.audit(mark, operation="key_release") == []
    assert fleet.site.ensure_key(immutable=True, confirm_immutable=True)["changed"]
    mark = lab.mark
    frozen = fleet.update(skr_new_release_policy=fleet.new)
    assert frozen.returncode == 2 and "[policy_immutable]" in frozen.stdout, frozen.stdout
    assert lab.writes(mark) == [] and lab.audit(mark, operation="key_release") == []
