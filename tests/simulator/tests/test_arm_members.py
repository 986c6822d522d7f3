# SPDX-License-Identifier: GPL-3.0-or-later
"""The simulator's hand-written tables against the installed Azure SDKs: body members, permissions, api-versions."""

from __future__ import annotations

import inspect
import typing as t

import azure.mgmt.authorization.v2022_04_01.models as authorization
import azure.mgmt.compute.models as compute
import azure.mgmt.keyvault.models as keyvault
import azure.mgmt.msi.v2024_11_30.models as msi
import pytest

from skrsim.services.arm import members, versions

KEYVAULT = (
    "VaultCreateOrUpdateParameters",
    "VaultPatchParameters",
    "VaultProperties",
    "VaultPatchProperties",
    "Sku",
    "AccessPolicyEntry",
    "Permissions",
    "NetworkRuleSet",
    "IPRule",
    "VirtualNetworkRule",
    "VaultAccessPolicyParameters",
    "VaultAccessPolicyProperties",
    "VaultCheckNameAvailabilityParameters",
    "PrivateEndpointConnection",
    "PrivateEndpointConnectionProperties",
    "PrivateLinkServiceConnectionState",
    "ManagedHsm",
    "ManagedHsmProperties",
    "ManagedHsmSku",
    "CheckMhsmNameAvailabilityParameters",
)
# Models whose SDKs are not among the requirements; their members come from the published API specifications.
UNCOMPARED = {
    "ResourceGroup",
    "AttestationServiceCreationParams",
    "AttestationServiceCreationSpecificParams",
    "AttestationServicePatchParams",
    "AttestationServicePatchSpecificParams",
    "JsonWebKeySet",
    "QueryRequest",
    "QueryRequestOptions",
    "JsonWebKey",
}

# Names are the SDK's; a few of another package's happen to be called the same.
NETWORK = (
    "VirtualNetwork",
    "Subnet",
    "NetworkSecurityGroup",
    "NetworkInterface",
    "IPConfiguration",
    "AttestationService",
    "JsonWebKey",
)
OTHERS = {"Identity", "NetworkInterface", "VirtualNetwork", "Subnet", "IPConfiguration", "ResourceGroup"}
COMPUTE = tuple(name for name in members.MODELS if hasattr(compute, name) and name not in {*KEYVAULT, *OTHERS})


def wire_names(model: t.Any) -> set[str]:
    """Of a model in the mapping style, whose table is made with its first object."""
    model.__new__(model)
    return {field._rest_name for field in model._attr_to_rest_field.values()}


@pytest.mark.parametrize(
    ("package", "name"), [*((compute, name) for name in COMPUTE), *((keyvault, name) for name in KEYVAULT)]
)
def test_models_of_the_mapping_style(package: t.Any, name: str) -> None:
    assert members.MODELS[name] == wire_names(getattr(package, name))


@pytest.mark.parametrize(
    ("model", "outer", "inner"),
    [
        (authorization.RoleAssignmentCreateParameters, "RoleAssignmentCreateParameters", "RoleAssignmentProperties"),
        (msi.Identity, "Identity", "IdentityProperties"),
    ],
)
def test_models_of_the_older_style(model: t.Any, outer: str, inner: str) -> None:
    keys = [attribute["key"] for attribute in model._attribute_map.values()]
    nested = {key.partition(".")[2] for key in keys if key.startswith("properties.")}
    assert members.MODELS[inner] == nested
    assert members.MODELS[outer] == {key for key in keys if "." not in key} | {"properties"}


def test_every_model_is_compared() -> None:
    compared = {*COMPUTE, *KEYVAULT, "RoleAssignmentCreateParameters", "RoleAssignmentProperties"}
    compared |= {"Identity", "IdentityProperties"}
    rest = set(members.MODELS) - compared
    assert rest == UNCOMPARED | {name for name in rest if name.startswith(NETWORK)}


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("keys", keyvault.KeyPermissions),
        ("secrets", keyvault.SecretPermissions),
        ("certificates", keyvault.CertificatePermissions),
        ("storage", keyvault.StoragePermissions),
    ],
)
def test_permissions(kind: str, values: t.Any) -> None:
    assert members.PERMISSIONS[kind] == {value.value.lower() for value in values}


def test_versions_that_the_sdks_send() -> None:
    from azure.mgmt.compute.operations import _operations as vms
    from azure.mgmt.keyvault.operations import _operations as vaults

    assert '"2026-04-01"' in inspect.getsource(vms.build_virtual_machines_update_request)
    assert versions.COMPUTE[-1] == "2026-04-01"
    assert f'"{versions.KEYVAULT[-1]}"' in inspect.getsource(vaults.build_vaults_create_or_update_request)
    assert '"2015-11-01"' in inspect.getsource(vaults.build_vaults_list_request)
    assert versions.RESOURCE_LIST[0] == "2015-11-01"
