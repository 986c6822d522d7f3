# SPDX-License-Identifier: GPL-3.0-or-later
"""VMs in our terms: kind of TEE by size, and what is wrong with a VM."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.confidential.azure_skr.plugins.module_utils.azure import cvm_info


def vm(size: str = "Standard_DC2as_v5", kind: str | None = "ConfidentialVM", **firmware: bool) -> dict[str, Any]:
    settings = {"secureBootEnabled": True, "vTpmEnabled": True, **firmware}
    security = {"securityType": kind, "uefiSettings": settings} if kind else None
    properties = {"vmId": "v", "hardwareProfile": {"vmSize": size}, "securityProfile": security}
    identity = {"type": "SystemAssigned", "principalId": "p"}
    return {
        "name": "web",
        "id": "/subscriptions/s/resourceGroups/rg/x/y/z/web",
        "properties": properties,
        "identity": identity,
    }


@pytest.mark.parametrize(
    ("size", "tee"),
    [
        ("Standard_DC2as_v5", "sevsnpvm"),
        ("Standard_DC96ads_v6", "sevsnpvm"),
        ("Standard_EC4as_v5", "sevsnpvm"),
        ("standard_dc2es_v5", "tdxvm"),
        ("Standard_EC128eds_v6", "tdxvm"),
        ("Standard_DC2s_v3", None),
        ("Standard_D2as_v5", None),
        ("", None),
    ],
)
def test_kind_of_tee_by_size(size: str, tee: str | None) -> None:
    assert cvm_info.tee_type(size) == tee


def test_a_vm_that_is_fit() -> None:
    shown = cvm_info.describe(vm())
    assert shown["problems"] == [] and shown["confidential"] and shown["resource_group"] == "rg"


@pytest.mark.parametrize(
    ("machine", "words"),
    [
        (vm(kind=None), ["security type is Standard", "vTPM is off", "secure boot is off"]),
        (vm(kind="TrustedLaunch"), ["weaker"]),
        (vm(size="Standard_X1"), ["no known confidential family"]),
        (vm(secureBootEnabled=False), ["secure boot is off"]),
        (vm(vTpmEnabled=False), ["vTPM is off"]),
        ({**vm(), "identity": None}, ["no managed identity"]),
    ],
)
def test_what_is_wrong_is_said(machine: dict[str, Any], words: list[str]) -> None:
    found = cvm_info.describe(machine)["problems"]
    assert len(found) == len(words) and all(word in text for word, text in zip(words, found, strict=True))
