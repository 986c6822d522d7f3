# SPDX-License-Identifier: GPL-3.0-or-later
"""Queries of Azure Resource Graph: what is understood, what is refused, and that nobody sees what they may not read."""

from __future__ import annotations

import typing as t

import pytest
from arm_caller import Answer, Caller

from skrsim.core.app import App
from skrsim.core.world import Principal, World
from skrsim.services.arm import seed

VERSION = "2021-03-01"
VMS = "Resources | where type =~ 'Microsoft.Compute/virtualMachines'"


@pytest.fixture
def arm(app: App, operator: Principal) -> Caller:
    return Caller(app, operator)


def ask(arm: Caller, query: str, **body: t.Any) -> Answer:
    return arm("POST", "/providers/Microsoft.ResourceGraph/resources", {"query": query, **body}, VERSION)


def names(answer: Answer) -> list[str]:
    assert answer.status == 200, answer
    return [row["name"] for row in answer.document["data"]]


def test_conditions(arm: Caller, world: World) -> None:
    there = sorted(world.vms)
    confidential = f"{VMS} and properties.securityProfile.securityType =~ 'confidentialvm' | order by name asc"
    assert names(ask(arm, confidential)) == there
    assert names(ask(arm, f"{VMS} | where resourceGroup in~ ('RG-TEST', 'none') | order by name asc")) == there
    assert names(ask(arm, f"{VMS} | where resourceGroup in~ ('none')")) == []
    assert names(ask(arm, f"{VMS} | where name == '{there[0].upper()}'")) == []
    assert names(ask(arm, f"{VMS} | where isnotempty(properties.nothing)")) == []


def test_columns(arm: Caller, world: World) -> None:
    query = (
        f"{VMS} | project id, vmId=tostring(properties.vmId), properties.hardwareProfile.vmSize, "
        "boot=tobool(properties.securityProfile.uefiSettings.secureBootEnabled), none=tostring(properties.none), "
        "power=tostring(properties.extended.instanceView.powerState.code) | order by id desc"
    )
    row = ask(arm, query).document["data"][0]
    vm = max(world.vms.values(), key=lambda one: one.id)
    assert row == {
        "id": vm.id, "vmId": vm.vm_id, "properties_hardwareProfile_vmSize": vm.size, "boot": vm.secure_boot, "none": "",
        "power": f"PowerState/{vm.power_state}",
    }  # fmt: skip


def test_pages(arm: Caller, world: World) -> None:
    for number in range(5):
        seed.vm(world, f"more-{number}", "rg-test", "westeurope")
    found, options = [], {"$top": 2}
    while True:
        answer = ask(arm, f"{VMS} | project name | order by name asc", options=options)
        found += names(answer)
        assert answer.document["totalRecords"] == len(world.vms) and answer.document["count"] <= 2
        if answer.document["resultTruncated"] == "false":
            break
        options = {"$top": 2, "$skipToken": answer.document["$skipToken"]}
    assert found == sorted(world.vms) and "$skipToken" not in answer.document


@pytest.mark.parametrize(
    ("query", "body"),
    [
        ("Nothing | where a == 'b'", {}),
        ("Resources | where name contains 'x'", {}),
        ("Resources | extend a = 1", {}),
        ("Resources | project count()", {}),
        ("Resources | order by a.b", {}),
        (VMS, {"options": {"$top": 1001}}),
        (VMS, {"options": {"resultFormat": "table"}}),
        (VMS, {"options": {"$skipToken": "x"}}),
        (VMS, {"subscriptions": "one"}),
        (VMS, {"unknown": 1}),
    ],
)
def test_what_is_not_understood_is_refused(arm: Caller, query: str, body: dict[str, t.Any]) -> None:
    assert ask(arm, query, **body).status == 400


def test_others_see_nothing(app: App, arm: Caller, world: World) -> None:
    stranger = world.new_service_principal("stranger") if hasattr(world, "new_service_principal") else None
    stranger = stranger or world.new_managed_identity("stranger", "")
    assert names(ask(Caller(app, stranger), VMS)) == []
    assert names(ask(arm, VMS, subscriptions=["00000000-0000-4000-8000-000000000000"])) == []
