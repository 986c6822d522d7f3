# SPDX-License-Identifier: GPL-3.0-or-later
"""Virtual machines: reading, paging, and the identity as PATCH changes it."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from arm_caller import COMPUTE, IDENTITY, Caller, vm_path

from skrsim.core.app import App, build
from skrsim.core.faults import Fault
from skrsim.core.world import Principal, World
from skrsim.services.arm import seed


@pytest.fixture
def app(world: World, tmp_path: Path) -> App:
    """Without the hardware side, which Resource Manager never asks."""
    return build(world, tmp_path)


@pytest.fixture
def arm(app: App, operator: Principal) -> Caller:
    return Caller(app, operator)


@pytest.fixture
def now(world: World) -> World:
    """Operations that are over at once."""
    world.delays.operation_polls = 0
    return world


def identify(arm: Caller, kind: str, **users: t.Any) -> t.Any:
    """PATCH the identity and read it back: None when the VM has none."""
    body: dict[str, t.Any] = {"type": kind}
    if users:
        body["userAssignedIdentities"] = {seed_id(arm.world, name): value for name, value in users.items()}
    answer = arm("PATCH", vm_path(arm.world), {"identity": body})
    assert answer.status == 200, answer.document
    return arm("GET", vm_path(arm.world)).document.get("identity")


def seed_id(world: World, name: str) -> str:
    return (
        f"/subscriptions/{world.subscription_id}/resourceGroups/rg-test"
        f"/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{name}"
    )


def names(identity: dict[str, t.Any]) -> set[str]:
    return {identifier.rpartition("/")[2] for identifier in identity["userAssignedIdentities"]}


@pytest.fixture
def users(world: World) -> None:
    for name in ("u1", "u2"):
        seed.user_identity(world, name, "rg-test", "westeurope")


# --- reading


def test_document_of_a_confidential_vm(arm: Caller, world: World) -> None:
    found = arm("GET", vm_path(world)).document
    assert "identity" not in found
    assert found["properties"]["vmId"] == world.vms["cvm-01"].vm_id
    assert found["properties"]["securityProfile"] == {
        "securityType": "ConfidentialVM",
        "uefiSettings": {"secureBootEnabled": True, "vTpmEnabled": True},
    }
    assert found["properties"]["provisioningState"] == "Succeeded" and "instanceView" not in found["properties"]


def test_instance_view_by_path_and_by_expand(arm: Caller, world: World) -> None:
    view = arm("GET", vm_path(world) + "/instanceView").document
    assert [status["code"] for status in view["statuses"]] == ["ProvisioningState/succeeded", "PowerState/running"]
    expanded = arm("GET", vm_path(world), query={"$expand": "instanceView"}).document
    assert expanded["properties"]["instanceView"] == view


def test_list_pages_through_a_fleet(arm: Caller, world: World) -> None:
    for number in range(310):
        seed.vm(world, f"many-{number:03}", "rg-many", "westeurope")
    everywhere = f"{arm.subscription}/providers/Microsoft.Compute/virtualMachines"
    first = arm("GET", everywhere, query={"statusOnly": "true"})
    assert len(first.document["value"]) == 150
    assert "statusOnly=true" in first.document["nextLink"] and "%24skiptoken=150" in first.document["nextLink"]
    found = arm.every(first)
    assert len(found) == 313 and len({vm["id"] for vm in found}) == 313
    assert all("instanceView" in vm["properties"] for vm in found)
    assert len(arm.every(arm("GET", vm_path(world, "x").rpartition("/")[0]))) == 3


def test_list_filters(arm: Caller) -> None:
    everywhere = f"{arm.subscription}/providers/Microsoft.Compute/virtualMachines"
    members = {"$filter": "'virtualMachineScaleSet/id' eq '/subscriptions/x/y'"}
    assert arm("GET", everywhere, query=members).document["value"] == []
    assert arm("GET", everywhere, query={"$filter": "securityType eq 'ConfidentialVM'"}).code == "InvalidParameter"


# --- identity


@pytest.mark.usefixtures("now", "users")
def test_identity_semantics(arm: Caller, world: World) -> None:
    system = identify(arm, "SystemAssigned")
    assert system["type"] == "SystemAssigned" and system["tenantId"] == world.tenant_id
    assert world.principals[system["principalId"]].resource_id == vm_path(world)
    # type is the union, the map only names what is new
    both = identify(arm, "SystemAssigned, UserAssigned", u1={})
    assert (both["type"], both["principalId"]) == ("SystemAssigned, UserAssigned", system["principalId"])
    # the map is merged by key
    assert names(identify(arm, "SystemAssigned, UserAssigned", u2={})) == {"u1", "u2"}
    # and may be left out
    assert names(identify(arm, "SystemAssigned, UserAssigned")) == {"u1", "u2"}
    # null takes one away
    assert names(identify(arm, "SystemAssigned, UserAssigned", u1=None)) == {"u2"}
    # type is authoritative: what it does not name goes
    assert identify(arm, "SystemAssigned") == system
    assert identify(arm, "None") is None


@pytest.mark.usefixtures("now", "users")
def test_user_identity_alone_drops_the_system_one(arm: Caller, world: World) -> None:
    identify(arm, "SystemAssigned")
    found = identify(arm, "UserAssigned", u1={})
    assert found["type"] == "UserAssigned" and "principalId" not in found
    one = world.user_identities[seed_id(world, "u1").lower()]
    assert found["userAssignedIdentities"] == {one.id: {"principalId": one.principal_id, "clientId": one.client_id}}
    assert world.vms["cvm-01"].system_principal is None


@pytest.mark.usefixtures("now")
def test_system_identity_that_is_made_again_has_a_new_principal(arm: Caller, world: World) -> None:
    first = identify(arm, "SystemAssigned")["principalId"]
    assert identify(arm, "SystemAssigned")["principalId"] == first
    identify(arm, "None")
    second = identify(arm, "SystemAssigned")["principalId"]
    assert second != first
    assert world.clock.now() < world.principals[first].visible_at  # RBAC knows the old one no more


@pytest.mark.usefixtures("now", "users")
def test_ids_are_compared_without_regard_to_case(arm: Caller, world: World) -> None:
    identify(arm, "UserAssigned", u1={})
    users: dict[str, t.Any] = {seed_id(world, "u1").upper(): {}, seed_id(world, "u2"): {}}
    arm("PATCH", vm_path(world), {"identity": {"type": "UserAssigned", "userAssignedIdentities": users}})
    assert names(arm("GET", vm_path(world)).document["identity"]) == {"u1", "u2"}


@pytest.mark.usefixtures("now", "users")
@pytest.mark.parametrize(
    ("identity", "status", "code"),
    [
        ({"type": "systemassigned;userassigned"}, 400, "InvalidParameter"),
        ({}, 400, "InvalidParameter"),
        ({"type": "UserAssigned"}, 400, "InvalidParameter"),
        ({"type": "UserAssigned", "userAssignedIdentities": ["u1"]}, 400, "InvalidRequestContent"),
        ({"type": "UserAssigned", "userAssignedIdentities": {"/none": {}}}, 400, "FailedIdentityOperation"),
    ],
)
def test_refused_identities(app: App, world: World, identity: t.Any, status: int, code: str) -> None:
    owner = Caller(app, seed.application(world, "owner", "x", ["Owner", ("Owner", "/")]))
    answer = owner("PATCH", vm_path(world), {"identity": identity})
    assert (answer.status, answer.code, answer.audit["write"]) == (status, code, False)
    assert world.vms["cvm-01"].provisioning_state == "Succeeded"


@pytest.mark.usefixtures("now", "users")
def test_attaching_a_user_identity_needs_a_role_on_it(app: App, world: World) -> None:
    group = f"/subscriptions/{world.subscription_id}/resourceGroups/rg-test"
    principal = seed.application(world, "vmc", "x", [("Virtual Machine Contributor", group)])
    caller = Caller(app, principal)
    body = {"identity": {"type": "UserAssigned", "userAssignedIdentities": {seed_id(world, "u1"): {}}}}
    answer = caller("PATCH", vm_path(world), body)
    assert (answer.status, answer.code) == (403, "LinkedAuthorizationFailed")
    seed.role(world, principal.object_id, "Managed Identity Operator", seed_id(world, "u1"))
    assert caller("PATCH", vm_path(world), body).status == 200


def test_only_identity_and_tags_can_be_changed(arm: Caller, world: World) -> None:
    answer = arm("PATCH", vm_path(world), {"properties": {"licenseType": "None"}})
    assert (answer.status, answer.code) == (409, "OperationNotAllowed")


# --- writing: operations, tags, preconditions


def test_operation_shows_progress_then_the_identity(arm: Caller, world: World) -> None:
    world.delays.operation_polls = 2
    answer = arm("PATCH", vm_path(world), {"identity": {"type": "SystemAssigned"}})
    assert answer.status == 200 and answer.audit["write"] is True
    assert answer.document["properties"]["provisioningState"] == "Updating" and "identity" not in answer.document
    link = answer.headers["Azure-AsyncOperation"]
    polls = [arm.follow(link) for _unused in range(3)]
    assert [poll.document["status"] for poll in polls] == ["InProgress", "InProgress", "Succeeded"]
    assert polls[0].headers["Retry-After"] == "1" and "Retry-After" not in polls[2].headers
    assert not any(poll.audit["write"] for poll in polls)
    found = arm("GET", vm_path(world)).document
    assert found["identity"]["type"] == "SystemAssigned" and found["properties"]["provisioningState"] == "Succeeded"


def test_operation_ends_by_the_clock_when_nobody_polls(arm: Caller, world: World) -> None:
    arm("PATCH", vm_path(world), {"identity": {"type": "SystemAssigned"}})
    assert "identity" not in arm("GET", vm_path(world)).document
    world.clock.advance(60)
    assert arm("GET", vm_path(world)).document["identity"]["type"] == "SystemAssigned"


def test_failed_operation_changes_no_identity(arm: Caller, world: World) -> None:
    world.faults.add(Fault("lro_failed", "arm", "vm_patch", vm="cvm-01", times=1, parameters={"code": "VMAgentStatus"}))
    answer = arm("PATCH", vm_path(world), {"identity": {"type": "SystemAssigned"}})
    link = answer.headers["Azure-AsyncOperation"]
    arm.follow(link)
    done = arm.follow(link)
    assert done.status == 200 and done.document["status"] == "Failed"
    assert done.document["error"]["code"] == "VMAgentStatus"
    found = arm("GET", vm_path(world)).document
    assert "identity" not in found and found["properties"]["provisioningState"] == "Failed"
    # another VM is not hit
    other = arm("PATCH", vm_path(world, "cvm-02"), {"identity": {"type": "SystemAssigned"}})
    assert other.document["properties"]["provisioningState"] == "Updating"


def test_slow_operation(arm: Caller, world: World) -> None:
    world.faults.add(Fault("lro_slow", "arm", parameters={"polls": 4}))
    link = arm("PATCH", vm_path(world), {"tags": {"a": "b"}}).headers["Azure-AsyncOperation"]
    assert [arm.follow(link).document["status"] for _unused in range(5)] == ["InProgress"] * 4 + ["Succeeded"]


def test_a_newer_patch_takes_the_place_of_one_that_runs(arm: Caller, world: World) -> None:
    seed.user_identity(world, "u1", "rg-test", "westeurope")
    first = arm("PATCH", vm_path(world), {"identity": {"type": "SystemAssigned"}})
    body = {"type": "SystemAssigned, UserAssigned", "userAssignedIdentities": {seed_id(world, "u1"): {}}}
    second = arm("PATCH", vm_path(world), {"identity": body})
    stopped = arm.follow(first.headers["Azure-AsyncOperation"]).document
    assert (stopped["status"], stopped["error"]["code"]) == ("Canceled", "OperationPreempted")
    for _unused in range(2):
        arm.follow(second.headers["Azure-AsyncOperation"])
    assert arm("GET", vm_path(world)).document["identity"]["type"] == "SystemAssigned, UserAssigned"


@pytest.mark.usefixtures("now")
def test_second_patch_of_the_same_writes_nothing(arm: Caller, world: World) -> None:
    body = {"identity": {"type": "SystemAssigned"}, "tags": {"stage": "test"}}
    assert arm("PATCH", vm_path(world), body).audit["write"] is True
    tag = world.vms["cvm-01"].etag
    assert arm("PATCH", vm_path(world), body).audit["write"] is False
    assert world.vms["cvm-01"].etag == tag


@pytest.mark.usefixtures("now")
def test_preconditions(arm: Caller, world: World) -> None:
    old = arm("GET", vm_path(world)).headers["ETag"]
    assert arm("PATCH", vm_path(world), {"tags": {"a": "1"}}, headers={"if-match": old}).status == 200
    for headers in ({"if-match": old}, {"if-none-match": "*"}):
        answer = arm("PATCH", vm_path(world), {"tags": {"a": "2"}}, headers=headers)
        assert (answer.status, answer.code) == (412, "PreconditionFailed")
    assert world.vms["cvm-01"].tags == {"a": "1"}
    assert arm("PATCH", vm_path(world), {"tags": {}}, headers={"if-match": "*"}).status == 200
    assert world.vms["cvm-01"].tags == {}


def test_metadata_service_learns_of_an_identity_later(arm: Caller, world: World) -> None:
    world.delays.operation_polls, world.delays.identity_visible = 0, 90
    arm("PATCH", vm_path(world), {"identity": {"type": "SystemAssigned"}})
    assert world.vms["cvm-01"].identity_visible_at == pytest.approx(world.clock.now() + 90, abs=5)
    before = world.vms["cvm-01"].identity_visible_at
    arm("PATCH", vm_path(world), {"tags": {"a": "b"}})
    assert world.vms["cvm-01"].identity_visible_at == before  # tags are no news about identities


# --- identities as resources


def test_user_identity_as_a_resource(arm: Caller, world: World) -> None:
    path = seed_id(world, "user-9")
    made = arm("PUT", path, {"location": "West Europe", "tags": {"a": "b"}}, IDENTITY)
    assert (made.status, made.audit["write"]) == (201, True)
    assert set(made.document["properties"]) == {"tenantId", "principalId", "clientId"}
    again = arm("PUT", path, {"location": "westeurope", "tags": {"a": "b"}}, "2023-01-31")
    assert (again.status, again.audit["write"]) == (200, False)
    assert again.document["properties"] == made.document["properties"]
    assert arm("PUT", path, {"location": "eastus"}, IDENTITY).code == "InvalidResourceLocation"
    assert arm("PUT", path, {}, IDENTITY).code == "LocationRequired"
    listed = arm("GET", path.rpartition("/")[0], version=IDENTITY).document["value"]
    assert [one["name"] for one in listed] == ["user-9"]
    world.vms["cvm-01"].user_identities = [path]
    assert arm("DELETE", path, version=IDENTITY).status == 200
    assert arm("DELETE", path, version=IDENTITY).status == 204
    assert arm("GET", path, version=IDENTITY).code == "ResourceNotFound"
    assert "identity" not in arm("GET", vm_path(world)).document


@pytest.mark.usefixtures("now")
def test_system_identity_by_scope(arm: Caller, world: World) -> None:
    path = vm_path(world) + "/providers/Microsoft.ManagedIdentity/identities/default"
    assert arm("GET", path, version=IDENTITY).code == "ResourceNotFound"
    principal = identify(arm, "SystemAssigned")["principalId"]
    found = arm("GET", path, version=IDENTITY).document["properties"]
    assert found["principalId"] == principal and found["clientId"] == world.principals[principal].app_id


def test_older_api_versions_are_taken(arm: Caller, world: World) -> None:
    for version in ("2024-07-01", "2023-07-01", "2025-04-01", COMPUTE):
        assert arm("GET", vm_path(world), version=version).status == 200
