# SPDX-License-Identifier: GPL-3.0-or-later
"""Vaults in Resource Manager: what may be asked, what stays, what comes back."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from arm_caller import VAULT, Caller, vault_body, vault_path

from skrsim.core.app import App, build
from skrsim.core.faults import Fault
from skrsim.core.world import Key, Principal, World
from skrsim.services.arm import seed

SOMEBODY = "3f1e8a52-0000-4000-8000-000000000001"
OTHER = "3f1e8a52-0000-4000-8000-000000000002"


@pytest.fixture
def app(world: World, tmp_path: Path) -> App:
    """Without the hardware side, which Resource Manager never asks."""
    return build(world, tmp_path)


@pytest.fixture
def arm(app: App, operator: Principal) -> Caller:
    app.world.delays.operation_polls = 0
    return Caller(app, operator)


def put(arm: Caller, name: str = "kv-test", version: str = VAULT, **properties: t.Any) -> t.Any:
    return arm("PUT", vault_path(arm.world, name), vault_body(arm.world, **properties), version)


def get(arm: Caller, name: str = "kv-test") -> dict[str, t.Any]:
    found: dict[str, t.Any] = arm("GET", vault_path(arm.world, name), version=VAULT).document["properties"]
    return found


def entry(world: World, who: str = SOMEBODY, *keys: str, **others: t.Any) -> dict[str, t.Any]:
    return {"tenantId": world.tenant_id, "objectId": who, "permissions": {"keys": list(keys)}, **others}


def policies(arm: Caller, operation: str, *entries: dict[str, t.Any]) -> t.Any:
    body = {"properties": {"accessPolicies": list(entries)}}
    return arm("PUT", f"{vault_path(arm.world)}/accessPolicies/{operation}", body, VAULT)


def keys_of(arm: Caller) -> dict[str, list[str]]:
    return {one["objectId"]: one["permissions"]["keys"] for one in get(arm)["accessPolicies"]}


# --- create


def test_create_again_and_read(arm: Caller) -> None:
    made = put(arm, name="Kv-Test", tenantId=arm.world.tenant_id, enablePurgeProtection=True)
    assert (made.status, made.audit["write"]) == (201, True)
    properties = get(arm)
    assert properties["vaultUri"] == "https://kv-test.vault.azure.net/"
    assert properties["sku"] == {"family": "A", "name": "premium"} and properties["enableSoftDelete"] is True
    assert (properties["softDeleteRetentionInDays"], properties["enablePurgeProtection"]) == (90, True)
    assert "networkAcls" not in properties
    again = put(arm, name="kv-test")
    assert (again.status, again.audit["write"]) == (200, False)


def test_name_is_registered_in_dns_before_it_succeeds(arm: Caller) -> None:
    arm.world.delays.operation_polls = 2
    made = put(arm)
    assert made.document["properties"]["provisioningState"] == "RegisteringDns" and made.headers["Retry-After"] == "1"
    states = [arm("GET", vault_path(arm.world), version=VAULT) for _unused in range(3)]
    found = [state.document["properties"]["provisioningState"] for state in states]
    assert found == ["RegisteringDns", "RegisteringDns", "Succeeded"]
    assert "Retry-After" not in states[2].headers


def test_failed_creation(arm: Caller) -> None:
    arm.world.faults.add(Fault("lro_failed", "arm", "vault_put"))
    put(arm)
    assert get(arm)["provisioningState"] == "Failed"


@pytest.mark.parametrize(
    ("version", "given", "rbac"),
    [
        ("2023-07-01", ..., False),
        ("2025-05-01", ..., False),
        ("2026-02-01", ..., True),
        (VAULT, ..., True),
        (VAULT, False, False),
        ("2023-07-01", True, True),
    ],
)
def test_default_model_depends_on_the_api_version(arm: Caller, version: str, given: t.Any, rbac: bool) -> None:
    put(arm, version=version, enableRbacAuthorization=given, accessPolicies=[])
    assert get(arm)["enableRbacAuthorization"] is rbac


@pytest.mark.parametrize("name", ["kv", "1vault", "a" * 25, "kv--x", "kv-x-", "kv_x"])
def test_names(arm: Caller, name: str) -> None:
    answer = put(arm, name=name)
    assert (answer.status, answer.code) == (400, "VaultNameNotValid")


@pytest.mark.parametrize(
    ("properties", "text"),
    [
        ({"tenantId": SOMEBODY}, "tenant"),
        ({"tenantId": ...}, "tenantId is required"),
        ({"sku": ...}, "sku is required"),
        ({"sku": {"family": "A", "name": "gold"}}, "SKU"),
        ({"sku": {"family": "B", "name": "premium"}}, "SKU"),
        ({"enablePurgeProtection": False}, '"enablePurgeProtection" cannot be set to false'),
        ({"enableSoftDelete": False}, '"enableSoftDelete" cannot be set to false'),
        ({"softDeleteRetentionInDays": 6}, "7 to 90 days"),
        ({"softDeleteRetentionInDays": 91}, "7 to 90 days"),
        ({"enableRbacAuthorization": False}, "accessPolicies is required"),
        ({"publicNetworkAccess": "Sometimes"}, "publicNetworkAccess"),
        ({"networkAcls": {"defaultAction": "Block"}}, "network rules"),
        ({"networkAcls": {"ipRules": [{"value": "1.2.3"}]}}, "IP rule"),
        ({"createMode": "again"}, "createMode"),
    ],
)
def test_refused_properties(arm: Caller, properties: dict[str, t.Any], text: str) -> None:
    answer = put(arm, **properties)
    assert (answer.status, answer.code) == (400, "BadRequest") and text in answer.message
    assert not arm.world.vaults and answer.audit["write"] is False


def test_location_is_required_and_fixed(arm: Caller) -> None:
    body = vault_body(arm.world)
    assert arm("PUT", vault_path(arm.world), {"properties": body["properties"]}, VAULT).code == "LocationRequired"
    put(arm)
    assert arm("PUT", vault_path(arm.world), {**body, "location": "West Europe"}, VAULT).status == 200
    assert arm("PUT", vault_path(arm.world), {**body, "location": "eastus"}, VAULT).code == "InvalidResourceLocation"


def test_name_of_another_group(arm: Caller) -> None:
    put(arm)
    seed.resource_group(arm.world, "rg-other", "westeurope")
    answer = arm("PUT", vault_path(arm.world, group="rg-other"), vault_body(arm.world), VAULT)
    assert (answer.status, answer.code) == (409, "VaultAlreadyExists")


# --- update


def test_patch_changes_what_it_names(arm: Caller) -> None:
    put(arm, sku={"family": "A", "name": "standard"})
    acls = {"defaultAction": "Deny", "ipRules": [{"value": "1.2.3.4"}, {"value": "10.0.0.0/8"}]}
    body = {"tags": {"a": "b"}, "properties": {"sku": {"family": "A", "name": "premium"}, "networkAcls": acls}}
    answer = arm("PATCH", vault_path(arm.world), body, VAULT)
    assert (answer.status, answer.audit["write"]) == (200, True)
    found = get(arm)
    assert found["sku"]["name"] == "premium" and found["enableRbacAuthorization"] is True
    assert found["networkAcls"] == {
        "bypass": "AzureServices",
        "defaultAction": "Deny",
        "ipRules": [{"value": "1.2.3.4/32"}, {"value": "10.0.0.0/8"}],
        "virtualNetworkRules": [],
    }
    assert arm("PATCH", vault_path(arm.world), body, VAULT).audit["write"] is False
    assert arm("PATCH", vault_path(arm.world), {"properties": {"vaultUri": "x"}}, VAULT).code == "InvalidRequestContent"


def test_what_cannot_be_undone(arm: Caller) -> None:
    put(arm, enablePurgeProtection=True, softDeleteRetentionInDays=7)
    for properties, text in (
        ({"enablePurgeProtection": False}, "irreversible"),
        ({"enableSoftDelete": False}, "irreversible"),
        ({"softDeleteRetentionInDays": 30}, "can't be modified"),
    ):
        answer = arm("PATCH", vault_path(arm.world), {"properties": properties}, VAULT)
        assert (answer.status, answer.code) == (400, "BadRequest") and text in answer.message
    put(arm)  # a PUT that says nothing of it does not take it back
    assert (get(arm)["enablePurgeProtection"], get(arm)["softDeleteRetentionInDays"]) == (True, 7)


def test_put_without_access_policies_empties_them(arm: Caller) -> None:
    put(arm, accessPolicies=[entry(arm.world, SOMEBODY, "get")])
    assert keys_of(arm) == {SOMEBODY: ["get"]}
    arm("PATCH", vault_path(arm.world), {"tags": {}}, VAULT)
    assert keys_of(arm) == {SOMEBODY: ["get"]}
    assert put(arm).audit["write"] is True
    assert keys_of(arm) == {}


# --- access policies


def test_add_remove_replace_touch_one_entry(arm: Caller) -> None:
    put(arm, enableRbacAuthorization=False, accessPolicies=[entry(arm.world, OTHER, "get", "list")])
    assert policies(arm, "add", entry(arm.world, SOMEBODY, "Get", "release")).audit["write"] is True
    assert keys_of(arm) == {OTHER: ["get", "list"], SOMEBODY: ["get", "release"]}
    assert policies(arm, "add", entry(arm.world, SOMEBODY, "release")).audit["write"] is False
    policies(arm, "add", entry(arm.world, SOMEBODY, "wrapKey"))
    assert keys_of(arm)[SOMEBODY] == ["get", "release", "wrapkey"]
    policies(arm, "remove", entry(arm.world, SOMEBODY, "wrapKey", "get"))
    assert keys_of(arm)[SOMEBODY] == ["release"]
    policies(arm, "replace", entry(arm.world, SOMEBODY, "list"))
    assert keys_of(arm) == {OTHER: ["get", "list"], SOMEBODY: ["list"]}
    policies(arm, "remove", entry(arm.world, SOMEBODY, "list"))
    assert keys_of(arm) == {OTHER: ["get", "list"]}


def test_entry_is_named_by_application_too(arm: Caller) -> None:
    put(arm)
    policies(arm, "add", entry(arm.world, SOMEBODY, "get"), entry(arm.world, SOMEBODY, "list", applicationId=OTHER))
    found = get(arm)["accessPolicies"]
    named = [(one.get("applicationId"), one["permissions"]["keys"]) for one in found]
    assert named == [(None, ["get"]), (OTHER, ["list"])]


@pytest.mark.parametrize(
    ("change", "code", "text"),
    [
        ({"tenantId": OTHER}, "BadRequest", "tenant"),
        ({"objectId": "me"}, "BadRequest", "objectId"),
        ({"permissions": {"keys": ["fly"]}}, "BadRequest", "'fly' to keys"),
        ({"permissions": {"secrets": ["release"]}}, "BadRequest", "'release' to secrets"),
        ({"permissions": {"hsm": []}}, "InvalidRequestContent", "'hsm'"),
        ({"principalId": SOMEBODY}, "InvalidRequestContent", "'principalId'"),
    ],
)
def test_refused_entries(arm: Caller, change: dict[str, t.Any], code: str, text: str) -> None:
    put(arm, accessPolicies=[entry(arm.world, OTHER, "get")])
    answer = policies(arm, "add", entry(arm.world, SOMEBODY, "get"), {**entry(arm.world, SOMEBODY, "list"), **change})
    assert (answer.status, answer.code) == (400, code) and text in answer.message
    assert keys_of(arm) == {OTHER: ["get"]}  # a refused request changes nothing, not even its good entries


def test_at_most_1024_entries(arm: Caller) -> None:
    put(arm)
    many = [entry(arm.world, f"3f1e8a52-0000-4000-8000-{number:012}", "get") for number in range(1025)]
    assert policies(arm, "add", *many[:1024]).status == 200
    assert policies(arm, "add", many[1024]).code == "BadRequest"
    assert policies(arm, "merge", many[0]).code == "BadRequest"


def test_a_policy_takes_effect_later_and_an_old_one_keeps_its_time(arm: Caller) -> None:
    world = arm.world
    put(arm)
    policies(arm, "add", entry(world, SOMEBODY, "get"))
    world.delays.access_policy_effective = 60
    policies(arm, "add", entry(world, SOMEBODY, "get", "release"))
    effective = world.vaults["kv-test"].access_policies[0].effective
    assert effective["keys/get"] <= world.clock.now() < world.clock.now() + 50 < effective["keys/release"]
    late = effective["keys/release"]
    # a PUT that names the same permissions does not start the wait again
    world.clock.advance(10)
    put(arm, accessPolicies=[entry(world, SOMEBODY, "release")])
    assert world.vaults["kv-test"].access_policies[0].effective == {"keys/release": late}


def test_lateness_of_one_principal(arm: Caller) -> None:
    arm.world.delays.late = {SOMEBODY: 90.0}
    put(arm)
    policies(arm, "add", entry(arm.world, SOMEBODY, "release"), entry(arm.world, OTHER, "release"))
    late, soon = (policy.effective["keys/release"] for policy in arm.world.vaults["kv-test"].access_policies)
    assert late == pytest.approx(soon + 90, abs=2)


# --- delete, recover, purge


def deleted_path(arm: Caller, name: str = "kv-test", location: str = "westeurope") -> str:
    return f"{arm.subscription}/providers/Microsoft.KeyVault/locations/{location}/deletedVaults/{name}"


def test_deleted_vault_keeps_its_name_and_comes_back_with_its_keys(arm: Caller) -> None:
    world = arm.world
    put(arm)
    world.keys[("kv-test", "app")] = Key("app", "kv-test")
    world.deleted_keys[("kv-test", "old")] = Key("old", "kv-test")
    assert arm("DELETE", vault_path(world), version=VAULT).audit["write"] is True
    assert arm("DELETE", vault_path(world), version=VAULT).status == 204
    assert not world.keys and not world.deleted_keys
    assert arm("GET", vault_path(world), version=VAULT).code == "ResourceNotFound"
    conflict = put(arm)
    assert (conflict.status, conflict.code) == (409, "ConflictError")
    assert "already exists in deleted state" in conflict.message
    recovered = put(arm, createMode="recover")
    assert (recovered.status, recovered.audit["write"]) == (200, True)
    assert set(world.keys) == {("kv-test", "app")} and set(world.deleted_keys) == {("kv-test", "old")}
    assert not world.deleted_vaults


def test_recover_without_a_deleted_vault(arm: Caller) -> None:
    answer = put(arm, createMode="recover")
    assert (answer.status, answer.code) == (404, "SoftDeletedVaultDoesNotExist")
    put(arm)
    arm("DELETE", vault_path(arm.world), version=VAULT)
    body = {**vault_body(arm.world, createMode="recover"), "location": "eastus"}
    assert arm("PUT", vault_path(arm.world), body, VAULT).code == "SoftDeletedVaultDoesNotExist"


def test_deleted_vaults_are_listed_and_purged(arm: Caller) -> None:
    world = arm.world
    put(arm, softDeleteRetentionInDays=10)
    scope = vault_path(world)
    seed.role(world, arm.principal.object_id, "Key Vault Reader", scope)
    count = len(world.role_assignments)
    arm("DELETE", scope, version=VAULT)
    found = arm("GET", deleted_path(arm), version=VAULT).document["properties"]
    assert found["vaultId"] == scope and found["scheduledPurgeDate"] > found["deletionDate"]
    everywhere = f"{arm.subscription}/providers/Microsoft.KeyVault/deletedVaults"
    assert [one["name"] for one in arm("GET", everywhere, version=VAULT).document["value"]] == ["kv-test"]
    assert arm("GET", deleted_path(arm, location="eastus"), version=VAULT).code == "DeletedVaultNotFound"
    assert len(world.role_assignments) == count
    world.delays.operation_polls = 1
    purge = arm("POST", f"{deleted_path(arm)}/purge", version=VAULT)
    assert purge.status == 202
    assert [arm.follow(purge.headers["Location"]).status for _unused in range(2)] == [202, 200]
    assert not world.deleted_vaults and len(world.role_assignments) == count - 1
    assert put(arm).status == 201


def test_purge_protection(arm: Caller) -> None:
    put(arm, enablePurgeProtection=True, softDeleteRetentionInDays=7)
    arm("DELETE", vault_path(arm.world), version=VAULT)
    answer = arm("POST", f"{deleted_path(arm)}/purge", version=VAULT)
    assert (answer.status, answer.code) == (405, "MethodNotAllowed") and "DeletedVaultPurge" in answer.message
    arm.world.clock.advance(8 * 86400)  # the end of the retention purges it all the same
    arm.token = arm.world.services["entra"].issue(arm.principal, "https://management.azure.com")
    assert arm("GET", deleted_path(arm), version=VAULT).code == "DeletedVaultNotFound"


def test_purging_needs_more_than_key_vault_contributor(arm: Caller, app: App) -> None:
    put(arm)
    arm("DELETE", vault_path(arm.world), version=VAULT)
    caller = Caller(app, seed.application(arm.world, "kvc", "x", ["Key Vault Contributor"]))
    assert caller("GET", deleted_path(arm), version=VAULT).status == 200
    assert caller("POST", f"{deleted_path(arm)}/purge", version=VAULT).code == "AuthorizationFailed"


def test_name_check(arm: Caller) -> None:
    path = f"{arm.subscription}/providers/Microsoft.KeyVault/checkNameAvailability"

    def check(name: str) -> t.Any:
        return arm("POST", path, {"name": name, "type": "Microsoft.KeyVault/vaults"}, VAULT).document

    put(arm)
    assert check("kv-new") == {"nameAvailable": True}
    assert check("KV-test")["reason"] == "AlreadyExists"
    arm("DELETE", vault_path(arm.world), version=VAULT)
    assert check("kv-test")["reason"] == "AlreadyExists"
    assert check("1")["reason"] == "AccountNameInvalid"
    assert arm("POST", path, {"name": "x", "type": "Microsoft.KeyVault/hsms"}, VAULT).code == "BadRequest"


def test_lists_and_top(arm: Caller) -> None:
    for number in range(30):
        put(arm, name=f"kv-{number:02}")
    everywhere = f"{arm.subscription}/providers/Microsoft.KeyVault/vaults"
    assert len(arm.every(arm("GET", everywhere, version=VAULT))) == 30
    first = arm("GET", vault_path(arm.world).rpartition("/")[0], version=VAULT, query={"$top": "7"})
    assert len(first.document["value"]) == 7 and len(arm.every(first)) == 30
    assert arm("GET", everywhere, version=VAULT, query={"$top": "many"}).code == "InvalidParameter"
    assert arm("GET", everywhere, version=VAULT, query={"$skiptoken": "x"}).code == "InvalidSkipToken"
