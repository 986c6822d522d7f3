# SPDX-License-Identifier: GPL-3.0-or-later
"""Azure RBAC: what a role allows where and from when, and role assignments as resources."""

from __future__ import annotations

import math
import typing as t
import uuid
from pathlib import Path

import pytest
from arm_caller import ROLE, VAULT, Caller, role_path, vault_body, vault_path

from skrsim.core.app import App, build
from skrsim.core.world import Key, Principal, World
from skrsim.services.arm import roles, seed

RELEASE = "08bbd89e-9f13-488c-ac41-acfcb10c90ab"
READER = "acdd72a7-3385-48ef-bd42-f606fba81ae7"
RELEASE_ACTION = "Microsoft.KeyVault/vaults/keys/release/action"
NAME = "7b2f0a5c-0000-4000-8000-000000000001"


@pytest.fixture
def app(world: World, tmp_path: Path) -> App:
    """Without the hardware side, which Resource Manager never asks."""
    return build(world, tmp_path)


@pytest.fixture
def arm(app: App, operator: Principal) -> Caller:
    app.world.delays.operation_polls = 0
    return Caller(app, operator)


@pytest.fixture
def scope(arm: Caller) -> str:
    """A key's scope, the vault and the key being there."""
    arm("PUT", vault_path(arm.world), vault_body(arm.world), VAULT)
    arm.world.keys[("kv-test", "app")] = Key("app", "kv-test")
    return vault_path(arm.world) + "/keys/app"


@pytest.fixture
def vm(arm: Caller) -> Principal:
    return arm.world.new_managed_identity("cvm-01", "/vm")


def body(principal: Principal | str, role: str = RELEASE, **properties: t.Any) -> dict[str, t.Any]:
    oid = principal if isinstance(principal, str) else principal.object_id
    definition = f"/subscriptions/x/providers/Microsoft.Authorization/roleDefinitions/{role}"
    wanted = {"roleDefinitionId": definition, "principalId": oid, "principalType": "ServicePrincipal", **properties}
    return {"properties": wanted}


# --- the pure part


@pytest.mark.parametrize(
    ("pattern", "action", "same"),
    [
        ("*", "Microsoft.Compute/virtualMachines/write", True),
        ("*/read", "microsoft.compute/virtualmachines/READ", True),
        ("*/read", "Microsoft.Compute/virtualMachines/write", False),
        ("Microsoft.KeyVault/vaults/keys/*", RELEASE_ACTION, True),
        ("Microsoft.KeyVault/vaults/keys/*", "Microsoft.KeyVault/vaults/keyrotationpolicies/read", False),
        ("Microsoft.KeyVault/vaults/*/read", "Microsoft.KeyVault/vaults/read", True),
        ("Microsoft.KeyVault/vaults/*/read", "Microsoft.KeyVault/vaults/keys/read", True),
        ("Microsoft.KeyVault/vaults/read", "MicrosoftxKeyVault/vaults/read", False),
        ("Microsoft.Authorization/*/Write", "Microsoft.Authorization/roleAssignments/write", True),
    ],
)
def test_wildcards(pattern: str, action: str, same: bool) -> None:
    assert roles.matches(pattern, action) is same


@pytest.mark.parametrize(
    ("scope", "target", "reached"),
    [
        ("/", "/subscriptions/s", True),
        ("/subscriptions/s", "/subscriptions/s/resourceGroups/g", True),
        ("/subscriptions/S/RESOURCEGROUPS/g/", "/subscriptions/s/resourceGroups/G/providers/x/y/z", True),
        ("/subscriptions/s/resourceGroups/g", "/subscriptions/s/resourceGroups/g2", False),
        ("/subscriptions/s/resourceGroups/g", "/subscriptions/s", False),
        ("/v/keys/a", "/v/keys/ab", False),
    ],
)
def test_scopes_are_inherited_at_segment_borders(scope: str, target: str, reached: bool) -> None:
    assert roles.covers(scope, target) is reached


def allowed(world: World, who: Principal, scope: str, action: str, data: bool) -> bool:
    return roles.allows(world, who.object_id, scope, action, data, world.clock.now()) is not None


def test_actions_and_data_actions_are_two_things(world: World) -> None:
    owner = seed.application(world, "owner", "x", ["Owner"])
    scope = f"/subscriptions/{world.subscription_id}/anything"
    assert allowed(world, owner, scope, "Microsoft.KeyVault/vaults/delete", False)
    assert not allowed(world, owner, scope, RELEASE_ACTION, True)
    user = seed.application(world, "user", "x", ["Key Vault Crypto User"])
    assert allowed(world, user, scope, "Microsoft.KeyVault/vaults/keys/sign/action", True)
    assert not allowed(world, user, scope, RELEASE_ACTION, True)  # use of a key is not its release
    assert not allowed(world, user, scope, "Microsoft.KeyVault/vaults/read", False)
    contributor = seed.application(world, "contributor", "x", ["Contributor"])
    assert not allowed(world, contributor, scope, "Microsoft.Authorization/roleAssignments/write", False)
    assert allowed(world, contributor, scope, "Microsoft.Authorization/roleAssignments/read", False)


def test_only_data_planes_wait_for_an_assignment(world: World) -> None:
    who = seed.application(world, "officer", "x")
    given = seed.role(world, who.object_id, "Key Vault Crypto Officer", "/subscriptions/s")
    given.effective_at = world.clock.now() + 30
    assert allowed(world, who, "/subscriptions/s/v", "Microsoft.KeyVault/vaults/read", False)
    assert not allowed(world, who, "/subscriptions/s/v", RELEASE_ACTION, True)
    world.clock.advance(31)
    assert allowed(world, who, "/subscriptions/s/v", RELEASE_ACTION, True)


# --- definitions


def test_definitions_by_name(arm: Caller) -> None:
    path = f"{arm.subscription}/providers/Microsoft.Authorization/roleDefinitions"
    name = "Key Vault Crypto Service Release User"
    found = arm("GET", path, version=ROLE, query={"$filter": f"roleName eq '{name}'"}).document["value"]
    assert [one["name"] for one in found] == [RELEASE]
    assert found[0]["properties"]["permissions"][0]["dataActions"] == [RELEASE_ACTION]
    assert arm("GET", path, version=ROLE, query={"$filter": "roleName eq 'Nobody'"}).document["value"] == []
    assert arm("GET", path, version=ROLE, query={"$filter": "name eq 'x'"}).code == "InvalidFilter"
    everything = arm("GET", path, version=ROLE, query={"$filter": "atScopeAndBelow() and type eq 'BuiltInRole'"})
    assert len(everything.document["value"]) == len(roles.ROLES)
    assert arm("GET", f"{path}/{RELEASE}", version=ROLE).document["id"] == f"{path}/{RELEASE}"
    assert arm("GET", f"{path}/{NAME}", version=ROLE).code == "RoleDefinitionDoesNotExist"


# --- assignments


def test_put_again_get_and_delete(arm: Caller, scope: str, vm: Principal) -> None:
    made = arm("PUT", role_path(scope, NAME), body(vm, description="why"), ROLE)
    assert (made.status, made.audit["write"]) == (201, True)
    properties = made.document["properties"]
    assert (properties["principalId"], properties["scope"], properties["description"]) == (vm.object_id, scope, "why")
    assert properties["roleDefinitionId"].startswith(arm.subscription)
    assert properties["roleDefinitionId"].endswith(RELEASE)
    again = arm("PUT", role_path(scope, NAME), body(vm, description="why"), ROLE)
    assert (again.status, again.audit["write"]) == (200, False)
    assert arm("PUT", role_path(scope, NAME), body(vm, description="new"), ROLE).audit["write"] is True
    assert arm("GET", role_path(scope, NAME), version=ROLE).document["properties"]["description"] == "new"
    gone = arm("DELETE", role_path(scope, NAME), version=ROLE)
    assert (gone.status, gone.document["name"]) == (200, NAME)
    absent = arm("DELETE", role_path(scope, NAME), version=ROLE)
    assert (absent.status, absent.audit["write"]) == (204, False)
    assert arm("GET", role_path(scope, NAME), version=ROLE).code == "RoleAssignmentNotFound"


def test_same_grant_under_another_name(arm: Caller, scope: str, vm: Principal) -> None:
    arm("PUT", role_path(scope, NAME), body(vm), ROLE)
    answer = arm("PUT", role_path(scope, str(uuid.uuid4())), body(vm), ROLE)
    assert (answer.status, answer.code) == (409, "RoleAssignmentExists")
    assert NAME.replace("-", "") in answer.message


def test_same_name_for_another_grant(arm: Caller, scope: str, vm: Principal) -> None:
    arm("PUT", role_path(scope, NAME), body(vm), ROLE)
    renewed = arm.world.new_managed_identity("cvm-01", "/vm")
    vault = vault_path(arm.world)
    for where, wanted in ((scope, body(renewed)), (scope, body(vm, READER)), (vault, body(vm))):
        answer = arm("PUT", role_path(where, NAME), wanted, ROLE)
        assert (answer.status, answer.code) == (400, "RoleAssignmentUpdateNotPermitted")


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"principalId": "me"}, 400, "InvalidPrincipalId"),
        ({"principalId": NAME}, 400, "PrincipalNotFound"),
        ({"principalType": "User"}, 400, "UnmatchedPrincipalType"),
        ({"principalType": "Robot"}, 400, "InvalidPrincipalType"),
        ({"roleDefinitionId": "/x/Owner"}, 400, "InvalidRoleDefinitionId"),
        ({"roleDefinitionId": f"/x/{NAME}"}, 404, "RoleDefinitionDoesNotExist"),
        ({"condition": "true", "conditionVersion": "2.0"}, 400, "UnsupportedRoleAssignmentProperty"),
        ({"expiresOn": "never"}, 400, "InvalidRequestContent"),
    ],
)
def test_refused_assignments(
    arm: Caller, scope: str, vm: Principal, change: dict[str, t.Any], status: int, code: str
) -> None:
    answer = arm("PUT", role_path(scope, NAME), body(vm, **change), ROLE)
    assert (answer.status, answer.code, answer.audit["write"]) == (status, code, False)


def test_name_must_be_a_guid_and_the_scope_must_exist(arm: Caller, scope: str, vm: Principal) -> None:
    assert arm("PUT", role_path(scope, "first"), body(vm), ROLE).code == "InvalidRoleAssignmentId"
    for missing, code in (
        (scope + "2", "ResourceNotFound"),
        (vault_path(arm.world, "kv-none"), "ResourceNotFound"),
        (vault_path(arm.world, group="rg-none"), "ResourceGroupNotFound"),
        (f"{arm.subscription}/resourceGroups/rg-test/providers/Microsoft.Web/sites/x", "ResourceNotFound"),
    ):
        answer = arm("PUT", role_path(missing, NAME), body(vm), ROLE)
        assert (answer.status, answer.code) == (404, code)


def test_new_principal_is_not_known_at_once(arm: Caller, scope: str) -> None:
    arm.world.delays.principal_visible = 60
    vm = arm.world.new_managed_identity("cvm-01", "/vm")
    answer = arm("PUT", role_path(scope, NAME), body(vm), ROLE)
    assert (answer.status, answer.code) == (400, "PrincipalNotFound")
    assert vm.object_id.replace("-", "") in answer.message
    arm.world.clock.advance(61)
    assert arm("PUT", role_path(scope, NAME), body(vm), ROLE).status == 201
    vm.visible_at = math.inf  # its VM has lost it
    assert arm("PUT", role_path(scope, str(uuid.uuid4())), body(vm, READER), ROLE).code == "PrincipalNotFound"


def test_effect_is_delayed_and_can_be_late_for_one(arm: Caller, scope: str, vm: Principal) -> None:
    world = arm.world
    world.delays.role_effective = 30
    world.delays.late = {vm.object_id: 90}
    other = world.new_managed_identity("cvm-02", "/vm2")
    arm("PUT", role_path(scope, NAME), body(vm), ROLE)
    arm("PUT", role_path(scope, str(uuid.uuid4())), body(other), ROLE)
    assert arm("GET", role_path(scope, NAME), version=ROLE).status == 200  # visible at once
    effect = []
    for _unused in range(3):
        effect.append([allowed(world, who, scope, RELEASE_ACTION, True) for who in (vm, other)])
        world.clock.advance(45)
    assert effect == [[False, False], [False, True], [True, True]]


def test_removal_is_honoured_late_on_the_data_plane_alone(arm: Caller, scope: str, vm: Principal) -> None:
    world = arm.world
    world.delays.lingering = {vm.object_id: 90}
    arm("PUT", role_path(scope, NAME), body(vm), ROLE)
    assert arm("DELETE", role_path(scope, NAME), version=ROLE).status == 200
    assert arm("GET", role_path(scope, NAME), version=ROLE).status == 404  # gone at once
    assert allowed(world, vm, scope, RELEASE_ACTION, True)
    world.clock.advance(91)
    assert not allowed(world, vm, scope, RELEASE_ACTION, True)


def test_data_access_administrator_may_not_grant_release(arm: Caller, app: App, scope: str, vm: Principal) -> None:
    caller = Caller(app, seed.application(arm.world, "kvdaa", "x", ["Key Vault Data Access Administrator"]))
    crypto_user = "12338af0-0e69-4776-bea7-57ae8d297424"
    assert caller("PUT", role_path(scope, NAME), body(vm, crypto_user), ROLE).status == 201
    assert caller("PUT", role_path(scope, str(uuid.uuid4())), body(vm), ROLE).code == "AuthorizationFailed"
    arm("PUT", role_path(scope, (other := str(uuid.uuid4()))), body(vm), ROLE)
    assert caller("DELETE", role_path(scope, other), version=ROLE).code == "AuthorizationFailed"
    assert caller("DELETE", role_path(scope, NAME), version=ROLE).status == 200


def test_limit_of_a_subscription(arm: Caller, scope: str, vm: Principal) -> None:
    for number in range(4000 - len(arm.world.role_assignments)):
        seed.role(arm.world, f"nobody-{number}", "Reader", scope)
    answer = arm("PUT", role_path(scope, NAME), body(vm), ROLE)
    assert (answer.status, answer.code) == (400, "RoleAssignmentLimitExceeded")


# --- lists


@pytest.fixture
def three(arm: Caller, scope: str, vm: Principal) -> dict[str, str]:
    """Release for one VM at the subscription, the vault and the key: label -> assignment name."""
    made = {}
    for label, where in (("above", arm.subscription), ("at", vault_path(arm.world)), ("below", scope)):
        made[label] = arm("PUT", role_path(where, str(uuid.uuid4())), body(vm), ROLE).document["name"]
    return made


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (None, {"above", "at", "below"}),
        ("atScope()", {"above", "at"}),
        ("principalId eq '{oid}'", {"above", "at", "below"}),
        ("assignedTo('{oid}')", {"above", "at", "below"}),
        ("atScope() and assignedTo('{oid}')", {"above", "at"}),
    ],
)
def test_filters(arm: Caller, vm: Principal, three: dict[str, str], text: str | None, found: set[str]) -> None:
    path = role_path(vault_path(arm.world), "")
    query = {"$filter": text.format(oid=vm.object_id)} if text else {}
    items = arm("GET", path, version=ROLE, query=query).document["value"]
    mine = {one["name"] for one in items if one["properties"]["principalId"] == vm.object_id}
    assert mine == {three[label] for label in found}
    if text and "oid" in text:
        assert len(items) == len(mine)


def test_refused_filters(arm: Caller, three: dict[str, str]) -> None:
    path = role_path(vault_path(arm.world), "")
    for text in ("principalId eq 'x' and assignedTo('x')", "principalId eq 'a' and assignedTo('b')", "roleName eq 'x'"):
        assert arm("GET", path, version=ROLE, query={"$filter": text}).code == "InvalidFilter"


def test_long_lists_come_in_pages(arm: Caller, scope: str) -> None:
    for number in range(230):
        seed.role(arm.world, f"nobody-{number}", "Reader", scope)
    first = arm("GET", role_path(scope, ""), version=ROLE)
    assert len(first.document["value"]) == 100 and "skipToken" in first.document["nextLink"]
    found = arm.every(first)
    assert len(found) == len({one["id"] for one in found}) == 230 + 3
