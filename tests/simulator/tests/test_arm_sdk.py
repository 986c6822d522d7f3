# SPDX-License-Identifier: GPL-3.0-or-later
"""Unmodified Azure SDKs against Resource Manager: real host names, real TLS, the lab's authority alone trusted."""

from __future__ import annotations

import time
import typing as t
import uuid

import pytest
from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceModifiedError, ResourceNotFoundError
from azure.identity import ClientSecretCredential
from azure.mgmt.authorization import AuthorizationManagementClient
from azure.mgmt.compute import ComputeManagementClient
from azure.mgmt.keyvault import KeyVaultManagementClient
from azure.mgmt.msi import ManagedServiceIdentityClient

from skrsim.core.faults import Fault
from skrsim.core.running import Running
from skrsim.core.world import Principal, World
from skrsim.services.arm import seed

pytestmark = pytest.mark.usefixtures("clean_environment")
GROUP = "rg-test"
RELEASE = "Key Vault Crypto Service Release User"


@pytest.fixture
def connection(running: Running) -> dict[str, t.Any]:
    proxy = running.proxy_url()
    return {"proxies": {"http": proxy, "https": proxy}, "connection_verify": str(running.bundle)}


@pytest.fixture
def login(world: World, operator: Principal, connection: dict[str, t.Any]) -> tuple[ClientSecretCredential, str]:
    credential = ClientSecretCredential(world.tenant_id, operator.app_id, str(operator.secret), **connection)
    return credential, world.subscription_id


@pytest.fixture
def compute(login: t.Any, connection: dict[str, t.Any]) -> ComputeManagementClient:
    return ComputeManagementClient(*login, **connection)


@pytest.fixture
def vaults(login: t.Any, connection: dict[str, t.Any]) -> t.Any:
    return KeyVaultManagementClient(*login, **connection).vaults


@pytest.fixture
def authorization(login: t.Any, connection: dict[str, t.Any]) -> AuthorizationManagementClient:
    return AuthorizationManagementClient(*login, **connection)


def parameters(world: World, **properties: t.Any) -> dict[str, t.Any]:
    wanted = {"tenantId": world.tenant_id, "sku": {"family": "A", "name": "premium"}, "enableRbacAuthorization": True}
    return {"location": "westeurope", "properties": {**wanted, **properties}}


def test_identity_by_long_running_patch(compute: ComputeManagementClient, world: World) -> None:
    started = time.monotonic()
    poller = compute.virtual_machines.begin_update(GROUP, "cvm-01", {"identity": {"type": "SystemAssigned"}})
    vm = poller.result()
    assert time.monotonic() - started < 5  # Retry-After is honoured, not the SDK's 30 seconds
    assert vm.identity.principal_id == world.vms["cvm-01"].system_principal
    assert vm.provisioning_state == "Succeeded"
    assert [record["operation"] for record in world.audit.records(service="arm")] == [
        "vm_patch", "operation_status", "operation_status", "vm_get",
    ]  # fmt: skip
    assert len(world.audit.writes()) == 1


def test_user_identity_added_and_taken_away(
    compute: ComputeManagementClient, login: t.Any, connection: dict[str, t.Any], world: World
) -> None:
    world.delays.operation_polls = 0
    identities = ManagedServiceIdentityClient(*login, **connection).user_assigned_identities
    one = identities.create_or_update(GROUP, "user-1", {"location": "westeurope"})
    assert identities.get(GROUP, "user-1").principal_id == one.principal_id
    both = {"type": "SystemAssigned, UserAssigned", "userAssignedIdentities": {one.id: {}}}
    vm = compute.virtual_machines.begin_update(GROUP, "cvm-01", {"identity": both}).result()
    assert vm.identity.user_assigned_identities[one.id].client_id == one.client_id
    less = {"identity": {"type": "SystemAssigned, UserAssigned", "userAssignedIdentities": {one.id: None}}}
    with pytest.raises(HttpResponseError) as refused:  # nothing would be left of UserAssigned
        compute.virtual_machines.begin_update(GROUP, "cvm-01", less)
    assert refused.value.error.code == "InvalidParameter"
    vm = compute.virtual_machines.begin_update(GROUP, "cvm-01", {"identity": {"type": "SystemAssigned"}}).result()
    assert vm.identity.user_assigned_identities is None
    identities.delete(GROUP, "user-1")
    assert list(identities.list_by_resource_group(GROUP)) == []


def test_failed_operation_reaches_the_caller(compute: ComputeManagementClient, world: World) -> None:
    world.delays.operation_polls = 0
    world.faults.add(Fault("lro_failed", "arm", "vm_patch", parameters={"code": "OperationNotAllowed"}))
    with pytest.raises(HttpResponseError) as failed:
        compute.virtual_machines.begin_update(GROUP, "cvm-01", {"identity": {"type": "SystemAssigned"}}).result()
    assert failed.value.error.code == "OperationNotAllowed"


def test_lists_views_and_preconditions(compute: ComputeManagementClient, world: World) -> None:
    world.delays.operation_polls = 0
    for number in range(200):
        seed.vm(world, f"many-{number:03}", "rg-many", "westeurope")
    found = list(compute.virtual_machines.list_all(status_only="true"))
    assert len(found) == 203 and found[0].instance_view.statuses[1].code == "PowerState/running"
    assert len(list(compute.virtual_machines.list(GROUP))) == 3
    view = compute.virtual_machines.instance_view(GROUP, "cvm-01")
    assert view.hyper_v_generation == "V2"
    vm = compute.virtual_machines.get(GROUP, "cvm-01", expand="instanceView")
    assert vm.security_profile.security_type == "ConfidentialVM" and vm.instance_view.computer_name == "cvm-01"
    old = vm.etag
    condition = {"etag": old, "match_condition": MatchConditions.IfNotModified}
    compute.virtual_machines.begin_update(GROUP, "cvm-01", {"tags": {"a": "b"}}, **condition).result()
    with pytest.raises(ResourceModifiedError):
        compute.virtual_machines.begin_update(GROUP, "cvm-01", {"tags": {"a": "c"}}, **condition)
    with pytest.raises(ResourceNotFoundError) as missing:
        compute.virtual_machines.get(GROUP, "cvm-99")
    assert missing.value.error.code == "ResourceNotFound"


def test_vault_from_creation_to_purge(vaults: t.Any, world: World) -> None:
    made = vaults.begin_create_or_update(GROUP, "kv-sdk", parameters(world)).result()
    assert made.properties.provisioning_state == "Succeeded"
    assert made.properties.vault_uri == "https://kv-sdk.vault.azure.net/"
    changed = vaults.update(GROUP, "kv-sdk", {"properties": {"publicNetworkAccess": "Disabled"}})
    assert changed.properties.public_network_access == "Disabled" and changed.properties.enable_rbac_authorization
    assert [one.name for one in vaults.list_by_resource_group(GROUP, top=5)] == ["kv-sdk"]
    assert [one.name for one in vaults.list_by_subscription()] == ["kv-sdk"]
    assert [one.name for one in vaults.list(filter="resourceType eq 'Microsoft.KeyVault/vaults'")] == ["kv-sdk"]
    taken = vaults.check_name_availability({"name": "kv-sdk", "type": "Microsoft.KeyVault/vaults"})
    assert (taken.name_available, taken.reason) == (False, "AlreadyExists")
    vaults.delete(GROUP, "kv-sdk")
    assert vaults.get_deleted("kv-sdk", "westeurope").properties.vault_id.endswith("/vaults/kv-sdk")
    assert [one.name for one in vaults.list_deleted()] == ["kv-sdk"]
    with pytest.raises(ResourceExistsError) as conflict:
        vaults.begin_create_or_update(GROUP, "kv-sdk", parameters(world))
    assert conflict.value.error.code == "ConflictError"
    recovered = vaults.begin_create_or_update(GROUP, "kv-sdk", parameters(world, createMode="recover")).result()
    assert recovered.properties.public_network_access == "Disabled"
    vaults.delete(GROUP, "kv-sdk")
    vaults.begin_purge_deleted("kv-sdk", "westeurope").result()
    assert list(vaults.list_deleted()) == []


def test_access_policies(vaults: t.Any, world: World) -> None:
    world.delays.operation_polls = 0
    vaults.begin_create_or_update(
        GROUP, "kv-sdk", parameters(world, enableRbacAuthorization=False, accessPolicies=[])
    ).result()
    who = [str(uuid.UUID(int=number, version=4)) for number in (1, 2)]
    release = {"keys": ["get", "release"]}
    entries = [{"tenantId": world.tenant_id, "objectId": one, "permissions": release} for one in who]
    vaults.update_access_policy(GROUP, "kv-sdk", "add", {"properties": {"accessPolicies": entries}})
    vaults.update_access_policy(GROUP, "kv-sdk", "remove", {"properties": {"accessPolicies": entries[:1]}})
    found = vaults.get(GROUP, "kv-sdk").properties.access_policies
    assert [(one.object_id, one.permissions.keys_property) for one in found] == [(who[1], ["get", "release"])]


def test_grant_and_its_refusals(vaults: t.Any, authorization: AuthorizationManagementClient, world: World) -> None:
    world.delays.operation_polls = 0
    scope = vaults.begin_create_or_update(GROUP, "kv-sdk", parameters(world)).result().id
    role = next(iter(authorization.role_definitions.list(scope, filter=f"roleName eq '{RELEASE}'")))
    vm = world.new_managed_identity("cvm-01", "/vm")
    properties = {"roleDefinitionId": role.id, "principalId": vm.object_id, "principalType": "ServicePrincipal"}
    wanted = {"properties": properties}
    made = authorization.role_assignments.create(scope.lstrip("/"), str(uuid.uuid4()), wanted)
    assert made.principal_id == vm.object_id and made.role_definition_id == role.id
    assert authorization.role_assignments.get_by_id(made.id).scope == scope
    with pytest.raises(ResourceExistsError) as exists:
        authorization.role_assignments.create(scope, str(uuid.uuid4()), wanted)
    assert exists.value.error.code == "RoleAssignmentExists"
    found = authorization.role_assignments.list_for_scope(scope, filter=f"principalId eq '{vm.object_id}'")
    assert [one.name for one in found] == [made.name]
    assert authorization.role_assignments.delete(scope, made.name).name == made.name
    assert authorization.role_assignments.delete(scope, made.name) is None
    for number in range(230):
        seed.role(world, f"nobody-{number}", "Reader", scope)
    assert len(list(authorization.role_assignments.list_for_scope(scope, filter="atScope()"))) == 233
