# SPDX-License-Identifier: GPL-3.0-or-later
"""AC-09: one policy from the inventory's variables for SNP and TDX VMs, bound to the VMs; both kinds hold the key."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from labkit import Lab, lab

SNP, TDX, STRANGER, PLAIN = "cvm-01", "cvm-02", "cvm-03", "cvm-04"


@pytest.fixture(scope="module")
def mixed() -> Iterator[Lab]:
    with lab("--vms", "4", "--door", "local", "--tdx", TDX, "--tdx", STRANGER, "--trusted-launch", PLAIN) as made:
        yield made


def variables(mixed: Lab) -> dict[str, Any]:
    ids = {vm["name"]: vm["vm_id"] for vm in mixed.module("cvm_info", **mixed.azure())["vms"]}
    assert set(ids) == {SNP, TDX, STRANGER}  # a Trusted Launch VM is not confidential
    return {
        "skr_vault_name": "kv-skr-mixed",
        # The lab's inventory has a policy of its own, which this one stands in for.
        "skr_release_policy": "{{ skr_policy_parameters | confidential.azure_skr.release_policy }}",
        "skr_policy_parameters": {
            "authority": mixed.variables["skr_attestation_url"],
            "secure_boot": True,
            "branches": [
                {"tee_type": "sevsnpvm", "vm_unique_ids": [ids[SNP]]},
                {"tee_type": "tdxvm", "vm_unique_ids": [ids[TDX]]},
            ],
        },
    }


@pytest.mark.parametrize("lower", [False, True])
def test_both_kinds_release_and_others_are_refused(mixed: Lab, lower: bool) -> None:
    """In whichever case the TDX VM's token has its id."""
    with mixed.platform(TDX, lower_vm_id=lower):
        done = mixed.playbook("site", variables=variables(mixed))
    told = done.stdout
    assert "policy_not_met" in told and "unreachable=0" in told, told
    recap = {line.split()[0]: line for line in told.splitlines() if " failed=" in line}
    assert all("failed=0" in recap[name] for name in (SNP, TDX)), told
    assert all("failed=1" in recap[name] for name in (STRANGER, PLAIN)), told
    released = mixed.audit(service="keyvault", operation="key_release", decision="allowed")
    assert {one["vm"] for one in released} == {SNP, TDX}


def test_the_policy_in_plain_words(mixed: Lab) -> None:
    found = mixed.module(
        "exportable_key_info", **mixed.azure(), vault_uri="https://kv-skr-mixed.vault.azure.net",
        key_name=mixed.variables["skr_key_name"],
    )  # fmt: skip
    text = json.dumps(found)
    assert "AMD SEV-SNP" in text and "Intel TDX" in text
