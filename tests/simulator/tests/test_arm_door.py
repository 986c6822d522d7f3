# SPDX-License-Identifier: GPL-3.0-or-later
"""Who gets in, what is refused for its form, and what the audit log says of it."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from arm_caller import COMPUTE, IDENTITY, ROLE, VAULT, Caller, vault_body, vault_path, vm_path

from skrsim.core.app import App, build
from skrsim.core.world import Principal, World
from skrsim.services.arm import seed
from skrsim.services.arm.members import MODELS


@pytest.fixture
def app(world: World, tmp_path: Path) -> App:
    """Without the hardware side, which Resource Manager never asks."""
    return build(world, tmp_path)


@pytest.fixture
def arm(app: App, operator: Principal) -> Caller:
    return Caller(app, operator)


def test_no_token(arm: Caller, world: World) -> None:
    answer = arm("GET", vm_path(world), headers={"authorization": ""})
    assert (answer.status, answer.code) == (401, "AuthenticationFailed")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer authorization_uri=")
    assert answer.audit["decision"] == "refused" and answer.audit["clause"] == "arm.AuthenticationFailed"


@pytest.mark.parametrize(
    "audience",
    ["https://management.azure.com", "https://management.azure.com/", "https://management.core.windows.net/"],
)
def test_both_audiences_with_and_without_slash(app: App, operator: Principal, world: World, audience: str) -> None:
    caller = Caller(app, operator)
    caller.token = world.services["entra"].issue(operator, audience)
    assert caller("GET", vm_path(world)).status == 200


def test_token_for_the_vault_is_refused(arm: Caller, world: World, operator: Principal) -> None:
    arm.token = world.services["entra"].issue(operator, "https://vault.azure.net")
    answer = arm("GET", vm_path(world))
    assert (answer.status, answer.code) == (401, "InvalidAuthenticationTokenAudience")
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]


def test_expired_token(arm: Caller, world: World) -> None:
    world.clock.advance(90000)
    assert arm("GET", vm_path(world)).code == "ExpiredAuthenticationToken"


def test_token_with_a_changed_byte(arm: Caller, world: World) -> None:
    head, body, signature = arm.token.split(".")
    arm.token = f"{head}.{body}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}"
    assert arm("GET", vm_path(world)).code == "InvalidAuthenticationToken"


@pytest.mark.parametrize(
    ("query", "version", "code"),
    [
        ({}, None, "MissingApiVersionParameter"),
        ({}, "2031-01-01", "InvalidApiVersionParameter"),
        ({}, VAULT, "InvalidApiVersionParameter"),  # another provider's version
        ({"$select": "name"}, COMPUTE, "UnsupportedQueryParameter"),
        ({"$expand": "nonsense"}, COMPUTE, "InvalidParameter"),
    ],
)
def test_queries(arm: Caller, world: World, query: dict[str, str], version: str | None, code: str) -> None:
    answer = arm("GET", vm_path(world), version=version, query=query)
    assert (answer.status, answer.code) == (400, code)


def test_paths(arm: Caller, world: World) -> None:
    assert arm("POST", vm_path(world)).code == "HttpMethodNotSupported"
    assert arm("GET", vm_path(world) + "/extensions").code == "InvalidResourceType"
    assert arm("GET", vm_path(world).replace("Microsoft.Compute", "MicrosoftxCompute")).code == "InvalidResourceType"
    assert arm("GET", "/nothing").code == "NotFound"
    assert arm("GET", vm_path(world).lower()).status == 200  # segments are compared without regard to case
    other = vm_path(world).replace(world.subscription_id, "11111111-1111-1111-1111-111111111111")
    assert arm("GET", other).code == "SubscriptionNotFound"
    assert arm("GET", vm_path(world).replace(world.subscription_id, "mine")).code == "InvalidSubscriptionId"
    assert arm("GET", vm_path(world, group="rg-none")).code == "ResourceGroupNotFound"
    assert arm("GET", vm_path(world, "cvm-99")).code == "ResourceNotFound"


def test_body_that_is_no_json_or_has_an_unknown_member(arm: Caller, world: World) -> None:
    assert arm("PATCH", vm_path(world), b"{").code == "InvalidRequestContent"
    assert arm("PATCH", vm_path(world), []).code == "InvalidRequestContent"
    for wrong in ({"identty": {}}, {"identity": {"type": "SystemAssigned", "users": []}}):
        answer = arm("PATCH", vm_path(world), wrong)
        assert (answer.status, answer.code) == (400, "InvalidRequestContent")
        assert answer.audit["write"] is False
    body = vault_body(world, sku={"family": "A", "name": "premium", "tier": "x"})
    answer = arm("PUT", vault_path(world), body, VAULT)
    assert answer.code == "InvalidRequestContent" and "'tier'" in answer.message
    assert not world.vaults


STRANGE = (None, 5, "text", [], [5], {"x": 5}, True)


@pytest.mark.parametrize("method", ["PUT", "PATCH", "POST"])
def test_no_body_brings_the_service_down(arm: Caller, world: World, method: str) -> None:
    """Every member of every known body takes each strange value once; the answer is never a defect (500)."""
    seed.user_identity(world, "user-1", "rg-test", "westeurope")
    arm("PUT", vault_path(world), vault_body(world), VAULT)
    group = f"{arm.subscription}/resourceGroups/rg-test"
    paths = {
        vm_path(world): (COMPUTE, ["VirtualMachineUpdate"], ["VirtualMachineIdentity"]),
        vault_path(world): (VAULT, ["VaultCreateOrUpdateParameters"], ["VaultProperties"]),
        f"{vault_path(world)}/accessPolicies/add": (VAULT, [], ["VaultAccessPolicyProperties"]),
        f"{vault_path(world)}/providers/Microsoft.Authorization/roleAssignments/{world.guid()}": (
            ROLE, [], ["RoleAssignmentProperties"],
        ),
        f"{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/user-1": (IDENTITY, ["Identity"], []),
        f"{arm.subscription}/providers/Microsoft.KeyVault/checkNameAvailability": (
            VAULT, ["VaultCheckNameAvailabilityParameters"], [],
        ),
        group: ("2024-11-01", ["ResourceGroup"], []),
    }  # fmt: skip
    seen = set()
    for path, (version, outer, inner) in paths.items():
        base = vault_body(world) if path == vault_path(world) else {"location": "westeurope"}
        bodies: list[t.Any] = [*STRANGE]
        bodies += [{**base, name: value} for model in outer for name in MODELS[model] for value in STRANGE]
        for model in inner:
            where = "identity" if model == "VirtualMachineIdentity" else "properties"
            kept = base.get(where, {}) if where == "properties" else {"type": "SystemAssigned"}
            start = base if path == vault_path(world) else {}
            bodies += [{**start, where: {**kept, name: value}} for name in MODELS[model] for value in STRANGE]
        seen |= {arm(method, path, body, version).status for body in bodies}
    assert seen <= {200, 201, 400, 403, 404, 405, 409}, seen


def test_a_caller_without_a_role_is_refused_before_existence_is_told(app: App, world: World) -> None:
    caller = Caller(app, seed.application(world, "nobody", "x"))
    for name in ("cvm-01", "cvm-99"):
        answer = caller("GET", vm_path(world, name))
        assert (answer.status, answer.code) == (403, "AuthorizationFailed")
        assert "perform action 'Microsoft.Compute/virtualMachines/read' over scope" in answer.message
        assert vm_path(world, name) in answer.message
        assert answer.audit["principal"] == caller.principal.object_id


def test_audit_names_the_assignment_that_allowed(arm: Caller, world: World) -> None:
    record = arm("GET", vm_path(world)).audit
    allowed = [a for a in world.role_assignments.values() if record["clause"] == f"role assignment {a.name}"]
    assert len(allowed) == 1 and allowed[0].principal_id == arm.principal.object_id
    found = [record[member] for member in ("service", "operation", "decision", "write")]
    assert found == ["arm", "vm_get", "allowed", False]


def test_least_privilege_per_operation(app: App, world: World) -> None:
    group = f"/subscriptions/{world.subscription_id}/resourceGroups/rg-test"
    reader = Caller(app, seed.application(world, "reader", "x", [("Reader", group)]))
    machines = Caller(app, seed.application(world, "vmc", "x", [("Virtual Machine Contributor", group)]))
    vaults = Caller(app, seed.application(world, "kvc", "x", [("Key Vault Contributor", group)]))
    patch = {"identity": {"type": "SystemAssigned"}}
    assert reader("GET", vm_path(world)).status == 200
    assert reader("PATCH", vm_path(world), patch).code == "AuthorizationFailed"
    assert vaults("PATCH", vm_path(world), patch).code == "AuthorizationFailed"
    assert machines("PATCH", vm_path(world), patch).status == 200
    assert machines("PUT", vault_path(world), vault_body(world), VAULT).code == "AuthorizationFailed"
    assert vaults("PUT", vault_path(world), vault_body(world), VAULT).status == 201
    role = f"{group}/providers/Microsoft.Authorization/roleAssignments/{world.guid()}"
    body = {"properties": {"roleDefinitionId": "/x/acdd72a7-3385-48ef-bd42-f606fba81ae7", "principalId": world.guid()}}
    assert machines("PUT", role, body, ROLE).code == "AuthorizationFailed"
    # a role in one group says nothing about the whole subscription
    everywhere = f"/subscriptions/{world.subscription_id}/providers/Microsoft.Compute/virtualMachines"
    assert reader("GET", everywhere).code == "AuthorizationFailed"
