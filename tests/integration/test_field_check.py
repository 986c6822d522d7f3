# SPDX-License-Identifier: GPL-3.0-or-later
"""The field check in the lab: everything agrees; what is changed in the simulator is told; nothing is left behind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from integration.site import vault_name
from labkit import Lab, lab

from skrsim.lab.plan import LOCATION, RESOURCE_GROUP

# A trial has fourteen steps, most of them a module on the controller and one on the VM.

SNP, TDX, PLAIN = "cvm-01", "cvm-02", "cvm-03"
KEY = "azure-skr-field-check"
# What a run that only reads cannot tell, and what this collection never asks, on purpose.
NEVER = {
    "binary_runtime_data", "mrconfigid_hash", "ak_renewal", "throttling", "identical_immutable", "hsm_not_activated", "unit_boot",
}  # fmt: skip
# The lab's answers carry no Date header.
UNTOLD = {"date_headers"}


@pytest.fixture(scope="module")
def field() -> Iterator[Lab]:
    with lab("--vms", "3", "--door", "local", "--tdx", TDX, "--trusted-launch", PLAIN) as made:
        made.module("cvm_identity", **made.azure(), resource_group=RESOURCE_GROUP, vms=[SNP, TDX])
        yield made


def vault(field: Lab, **options: Any) -> str:
    name = vault_name()
    made = field.module(
        "key_vault", **field.azure(), name=name, resource_group=RESOURCE_GROUP, location=LOCATION, key_managers=["self"],
        **options,
    )  # fmt: skip
    assert made["changed"], made
    return name


def check(field: Lab, folder: Path, *words: str, **variables: Any) -> dict[str, Any]:
    """Run the playbook and read its report."""
    done = field.playbook("field_check", *words, variables={"skr_field_check_dest": str(folder), **variables})
    assert done.returncode == 0, done.stdout + done.stderr
    report: dict[str, Any] = json.loads((folder / "field-check.json").read_text())
    return report | {"text": (folder / "field-check.md").read_text(), "output": done.stdout}


def states(report: dict[str, Any]) -> dict[str, str]:
    return {row["fact"]: row["state"] for row in report["facts"]}


def trouble(report: dict[str, Any]) -> list[dict[str, Any]]:
    return [row for row in report["facts"] if row["state"] != "agrees"]


def secrets_of(field: Lab) -> list[str]:
    """What tells whose subscription it is, and the operator's secret."""
    found = [field.variables[f"skr_{name}"] for name in ("subscription_id", "tenant", "client_id", "secret")]
    rows = field.module("cvm_info", **field.azure(), resource_groups=[RESOURCE_GROUP])["vms"]
    return [
        *found,
        RESOURCE_GROUP,
        *(row[name] for row in rows for name in ("vm_id", "principal_id", "name") if row[name]),
    ]


def test_reading_alone_changes_nothing_and_agrees(field: Lab, tmp_path: Path) -> None:
    name = vault(field)
    mark = field.mark
    report = check(field, tmp_path, skr_vault_name=name)
    assert field.writes(mark) == [] and field.audit(mark, operation="key_release") == []
    found = states(report)
    assert "differs" not in found.values(), trouble(report)
    trial = {row["fact"] for row in report["facts"] if "skr_field_check_writes" in row["why"]}
    assert len(trial) >= 12 and report["writes"] is False
    assert {name for name, state in found.items() if state == "not_checked"} == NEVER | UNTOLD | trial, trouble(report)
    text = (tmp_path / "field-check.json").read_text() + report["text"]
    assert not [word for word in (*secrets_of(field), name) if word.lower() in text.lower()]
    assert "vm-1" in text and "eyJ" not in text


def leaves_nothing_secret(field: Lab, folder: Path, name: str) -> None:
    text = (folder / "field-check.json").read_text() + (folder / "field-check.md").read_text()
    assert not [word for word in (*secrets_of(field), name) if word.lower() in text.lower()]


def test_a_trial_agrees_and_leaves_nothing(field: Lab, tmp_path: Path) -> None:
    name = vault(field, purge_protection=True)
    before = access(field, name)
    report = check(field, tmp_path, skr_vault_name=name, skr_field_check_writes=True)
    assert {row["fact"] for row in trouble(report)} == NEVER | UNTOLD, trouble(report)
    assert report["writes"] is True
    assert next(row for row in report["facts"] if row["fact"] == "purge")["found"] == ["purge_refused"]
    gone(field, name, deleted=True)
    assert access(field, name) == before
    leaves_nothing_secret(field, tmp_path, name)
    assert "PRIVATE KEY" not in report["output"]


def access(field: Lab, name: str) -> Any:
    """Who may release from the vault, as the module sees it."""
    found = field.module(
        "release_access", check=True, **field.azure(), vault_name=name, resource_group=RESOURCE_GROUP, everyone=True,
        state="absent",
    )  # fmt: skip
    assert not found.get("failed"), found
    return found["principals"]


def gone(field: Lab, name: str, deleted: bool = False) -> None:
    found = field.module(
        "exportable_key_info", **field.azure(), vault_uri=f"https://{name}.vault.azure.net", key_name=KEY, deleted=True
    )
    assert found["keys"] == [] and bool(found["deleted"]) is deleted, found
    for host in (SNP, TDX):
        assert not (Path(field.hosts[host]["skr_dest"]).parent / f"{KEY}.pem").exists()


def test_with_access_policies_and_without_the_right_to_purge_a_second_run_works(field: Lab, tmp_path: Path) -> None:
    """Where a grant is for the whole vault, and the deleted key is still there when the next run begins."""
    name = vault(field, enable_rbac_authorization=False)
    before = access(field, name)
    for _run in range(2):
        report = check(field, tmp_path, skr_vault_name=name, skr_field_check_writes=True)
        assert {row["fact"] for row in trouble(report)} == NEVER | UNTOLD | {"purge"}, trouble(report)
        assert states(report)["purge"] == "not_checked"
        gone(field, name, deleted=True)
        assert access(field, name) == before


def test_what_the_platform_does_otherwise_is_told_with_its_hosts(field: Lab, tmp_path: Path) -> None:
    with field.platform(SNP, lower_vm_id=True), field.platform(TDX, quote_version=5):
        report = check(field, tmp_path, skr_field_check_identifiers=True)
    rows = {row["fact"]: row for row in report["facts"] if row["state"] == "differs"}
    assert rows["vm_id_case"]["found"] == ["snp: lower case"] and rows["vm_id_case"]["differing_hosts"] == [SNP]
    assert "| `vm_id_case` | **differs** |" in report["text"]
    if "tdx_quote_version" in rows:
        assert rows["tdx_quote_version"]["found"] == ["version 5"]
    else:  # a version that this client does not take is told as such
        assert "tdx" in json.dumps(report["facts"]).lower()
    assert set(rows) <= {"vm_id_case", "tdx_quote_version", "hardware_chain"}, rows


def test_other_answers_of_the_vault_are_told_and_nothing_is_left_behind(field: Lab, tmp_path: Path) -> None:
    """It refuses in other words at first, and breaks down in the middle of the trial."""
    name = vault(field)
    with (
        field.fault("unverifiable", service="keyvault", operation="key_release", first=2, times=2),
        field.fault("status", service="keyvault", operation="key_release", status=500, first=6),
    ):
        report = check(field, tmp_path, skr_vault_name=name, skr_field_check_writes=True)
    found = {row["fact"]: row["found"] for row in report["facts"] if row["state"] == "differs"}
    assert found["wrap_sha1"] == ["attestation_not_verified"], found
    assert any("service_error" in text for texts in found.values() for text in texts), found
    gone(field, name)
    leaves_nothing_secret(field, tmp_path, name)


def test_a_key_of_that_name_that_is_somebody_elses_is_left_alone(field: Lab, tmp_path: Path) -> None:
    name = vault(field)
    made = field.module(
        "exportable_key", **field.azure(), vault_uri=f"https://{name}.vault.azure.net", key_name=KEY, key_size=2048,
        release_policy=field.variables["skr_release_policy"],
    )  # fmt: skip
    assert made["changed"], made
    mark = field.mark
    report = check(field, tmp_path, skr_vault_name=name, skr_field_check_writes=True)
    assert field.writes(mark) == [] and "not made by a field check" in report["output"]
    assert states(report)["release"] == "not_checked"


def test_a_vm_that_is_not_reached_and_one_that_is_refused_are_no_failure_of_the_check(
    field: Lab, tmp_path: Path
) -> None:
    """The first host of the play is the one that is away."""
    away = tmp_path / "away.yml"
    away.write_text(json.dumps({"all": {"hosts": {SNP: {"ansible_connection": "ssh", "ansible_port": 1}}}}))
    with field.fault("status", service="maa", status=503, vm=TDX):
        report = check(field, tmp_path, "-i", str(away))
    rows = {row["fact"]: row for row in report["facts"]}
    assert rows["token_type"]["state"] == "agrees" and rows["token_type"]["observations"] == 1  # the Trusted Launch VM
    assert rows["compliance_status"]["state"] == "not_checked"
    assert "the VM was not reached" in rows["compliance_status"]["why"]
    assert "attestation failed: " in rows["compliance_status"]["why"]
