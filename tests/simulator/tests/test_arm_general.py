# SPDX-License-Identifier: GPL-3.0-or-later
"""Groups, subscriptions, providers, the generic listing, attestation authorities and the cloud's metadata."""

from __future__ import annotations

from pathlib import Path

import pytest
from arm_caller import IDENTITY, VAULT, Caller, vault_body, vault_path, vm_path

from skrsim.core.app import App, build
from skrsim.core.world import Key, Principal, World
from skrsim.services.arm import attestation, seed

GROUPS = "2024-11-01"
ATTESTATION = "2021-06-01"


@pytest.fixture
def app(world: World, tmp_path: Path) -> App:
    """Without the hardware side, which Resource Manager never asks."""
    return build(world, tmp_path)


@pytest.fixture
def arm(app: App, operator: Principal) -> Caller:
    app.world.delays.operation_polls = 0
    return Caller(app, operator)


def group(arm: Caller, name: str = "rg-new") -> str:
    return f"{arm.subscription}/resourceGroups/{name}"


def test_group_life(arm: Caller) -> None:
    assert arm("HEAD", group(arm), version=GROUPS).status == 404
    made = arm("PUT", group(arm), {"location": "West Europe", "tags": {"a": "b"}}, GROUPS)
    assert (made.status, made.audit["write"]) == (201, True)
    again = arm("PUT", group(arm, "RG-new"), {"location": "westeurope", "tags": {"a": "b"}}, GROUPS)
    assert (again.status, again.audit["write"], again.document["name"]) == (200, False, "rg-new")
    assert arm("PUT", group(arm), {"location": "eastus"}, GROUPS).code == "InvalidResourceGroupLocation"
    assert arm("PUT", group(arm), {}, GROUPS).code == "LocationRequired"
    assert arm("PUT", group(arm, "rg."), {"location": "eastus"}, GROUPS).code == "InvalidResourceGroup"
    assert arm("HEAD", group(arm), version=GROUPS).status == 204
    found = arm("GET", f"{arm.subscription}/resourcegroups", version=GROUPS).document["value"]
    assert [one["name"] for one in found] == ["rg-new", "rg-test"]


def test_deleting_a_group_takes_what_is_in_it(arm: Caller) -> None:
    world = arm.world
    arm("PATCH", vm_path(world), {"identity": {"type": "SystemAssigned"}})
    arm("PUT", vault_path(world), vault_body(world), VAULT)
    world.keys[("kv-test", "app")] = Key("app", "kv-test")
    seed.user_identity(world, "user-1", "rg-test", "westeurope")
    seed.role(world, arm.principal.object_id, "Key Vault Reader", vault_path(world))
    seed.vm(world, "elsewhere", "rg-other", "westeurope")
    before = len(world.role_assignments)
    world.delays.operation_polls = 1
    answer = arm("DELETE", group(arm, "rg-test"), version=GROUPS)
    assert (answer.status, answer.audit["write"]) == (202, True)
    assert arm("GET", group(arm, "rg-test"), version=GROUPS).document["properties"]["provisioningState"] == "Deleting"
    assert [arm.follow(answer.headers["Location"]).status for _unused in range(2)] == [202, 200]
    assert list(world.vms) == ["elsewhere"] and set(world.resource_groups) == {"rg-other"}
    assert not world.vaults and set(world.deleted_vaults) == {"kv-test"} and not world.keys
    assert not world.user_identities and len(world.role_assignments) == before - 1
    assert arm("GET", group(arm, "rg-test"), version=GROUPS).code == "ResourceGroupNotFound"


def test_a_caller_sees_what_its_roles_reach(app: App, arm: Caller) -> None:
    seed.resource_group(arm.world, "rg-two", "westeurope")
    reader = Caller(app, seed.application(arm.world, "reader", "x", [("Reader", group(arm, "rg-two"))]))
    nobody = Caller(app, seed.application(arm.world, "nobody", "x"))
    groups = f"{arm.subscription}/resourceGroups"
    assert [one["name"] for one in reader("GET", groups, version=GROUPS).document["value"]] == ["rg-two"]
    assert len(reader("GET", "/subscriptions", version="2022-12-01").document["value"]) == 1
    assert nobody("GET", "/subscriptions", version="2022-12-01").document["value"] == []
    assert nobody("GET", arm.subscription, version="2022-12-01").code == "AuthorizationFailed"
    assert reader("PUT", group(arm, "rg-two"), {"location": "westeurope"}, GROUPS).code == "AuthorizationFailed"


def test_subscription_and_tenant(arm: Caller) -> None:
    found = arm("GET", arm.subscription, version="2022-12-01").document
    assert (found["subscriptionId"], found["tenantId"]) == (arm.world.subscription_id, arm.world.tenant_id)
    tenants = arm("GET", "/tenants", version="2022-12-01").document["value"]
    assert [one["tenantId"] for one in tenants] == [arm.world.tenant_id]


def test_providers(arm: Caller) -> None:
    path = f"{arm.subscription}/providers/microsoft.attestation"
    found = arm("GET", path, version="2021-04-01").document
    assert (found["namespace"], found["registrationState"]) == ("Microsoft.Attestation", "Registered")
    unknown = arm("GET", f"{arm.subscription}/providers/Contoso.Web", version="2021-04-01")
    assert (unknown.status, unknown.code) == (404, "InvalidResourceNamespace")


def test_generic_listing(arm: Caller) -> None:
    arm("PUT", vault_path(arm.world), vault_body(arm.world), VAULT)
    path = f"{arm.subscription}/resources"

    def listed(text: str | None) -> list[str]:
        query = {"$filter": text} if text else {}
        return [one["name"] for one in arm("GET", path, version="2015-11-01", query=query).document["value"]]

    assert listed("resourceType eq 'Microsoft.KeyVault/vaults'") == ["kv-test"]
    assert listed("resourceType eq 'Microsoft.Compute/virtualMachines' and name eq 'cvm-02'") == ["cvm-02"]
    assert listed(None) == ["cvm-01", "cvm-02", "cvm-03", "kv-test"]
    wrong = arm("GET", path, version="2015-11-01", query={"$filter": "tagName eq 'a'"})
    assert wrong.code == "InvalidFilterInQueryString"


def test_attestation_authority_of_a_region(arm: Caller) -> None:
    path = f"{arm.subscription}/providers/Microsoft.Attestation/Locations"
    found = arm("GET", f"{path}/West Europe/defaultProvider", version=ATTESTATION).document
    assert found["properties"]["attestUri"] == "https://sharedweu.weu.attest.azure.net"
    assert arm("GET", f"{path}/belgiumcentral/defaultProvider", version=ATTESTATION).code == "ResourceNotFound"
    everywhere = arm("GET", f"{arm.subscription}/providers/Microsoft.Attestation/defaultProviders", version=ATTESTATION)
    assert len(everywhere.document["value"]) == len(attestation.REGIONS)


@pytest.mark.parametrize(
    ("region", "code"),
    [("eastus2", "eus2"), ("northeurope", "neu"), ("eastasia", "easia"), ("australiaeast", "eau"), ("uksouth", "uks")],
)
def test_region_codes_cannot_be_guessed(region: str, code: str) -> None:
    assert attestation.REGIONS[region] == code


def test_metadata_needs_no_token_and_is_one_object(arm: Caller) -> None:
    answer = arm("GET", "/metadata/endpoints", version="2022-09-01", headers={"authorization": ""})
    assert answer.document["suffixes"]["keyVaultDns"] == "vault.azure.net"
    assert answer.document["authentication"]["loginEndpoint"] == "https://login.microsoftonline.com"
    assert arm("GET", "/metadata/endpoints", version="2015-01-01").code == "InvalidApiVersionParameter"


def test_unknown_operation(arm: Caller) -> None:
    where = f"{arm.subscription}/providers/Microsoft.Compute/locations/westeurope/operations/{arm.world.guid()}"
    assert arm("GET", where).code == "NotFound"


def test_tags(arm: Caller) -> None:
    path = f"{group(arm, 'rg-test')}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/user-1"
    for tags, code in (({"a": 1}, "InvalidRequestContent"), ({str(n): "x" for n in range(51)}, "InvalidTags")):
        assert arm("PUT", path, {"location": "westeurope", "tags": tags}, IDENTITY).code == code
