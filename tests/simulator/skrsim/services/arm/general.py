# SPDX-License-Identifier: GPL-3.0-or-later
"""Subscriptions, resource groups, providers, the vault listing that az uses, identities and attestation authorities."""

from __future__ import annotations

import typing as t

from ...core.messages import Response
from ...core.world import UserIdentity
from .call import Call, Route, route
from .errors import known, refuse

GROUPS = ("2020-10-01", "2021-04-01", "2022-09-01", "2024-11-01", "2025-04-01")
SUBSCRIPTIONS = ("2016-06-01", "2019-11-01", "2020-01-01", "2021-01-01", "2022-09-01", "2022-12-01")
IDENTITIES = ("2018-11-30", "2023-01-31", "2024-11-30")
ATTESTATION = ("2020-10-01", "2021-06-01")
# Region -> code in the host name of the region's shared attestation provider (public list of Microsoft's clients).
REGIONS = {
    "westeurope": "weu", "northeurope": "neu", "eastus": "eus", "eastus2": "eus2", "centralus": "cus", "westus": "wus",
    "westus2": "wus2", "westus3": "wus3", "uksouth": "uks", "germanywestcentral": "dewc", "switzerlandnorth": "swn",
    "eastasia": "easia", "southeastasia": "sasia", "japaneast": "jpe", "australiaeast": "eau", "uaenorth": "uaen",
    "italynorth": "itn", "southcentralus": "scus", "northcentralus": "ncus", "centralindia": "cin",
}  # fmt: skip
_S = "/subscriptions/{sub}"
_IDENTITY = f"{_S}/resourceGroups/{{rg}}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{{name}}"


class General:
    def routes(self) -> list[Route]:
        where = f"{_S}/providers/Microsoft.Attestation"
        return [
            route("subscription_list", "GET", "/subscriptions", SUBSCRIPTIONS, self.subscriptions),
            route("subscription_get", "GET", _S, SUBSCRIPTIONS, self.subscription),
            route("tenant_list", "GET", "/tenants", SUBSCRIPTIONS, self.tenants),
            route("group_list", "GET", f"{_S}/resourceGroups", GROUPS, self.groups, "$filter", "$top"),
            route("group_get", "GET", f"{_S}/resourceGroups/{{rg}}", GROUPS, self.group),
            route("group_head", "HEAD", f"{_S}/resourceGroups/{{rg}}", GROUPS, self.group),
            route("group_put", "PUT", f"{_S}/resourceGroups/{{rg}}", GROUPS, self.group_put),
            route("provider_get", "GET", f"{_S}/providers/{{namespace}}", GROUPS, self.provider, "$expand"),
            route(
                "resource_list",
                "GET",
                f"{_S}/resources",
                ("2015-11-01", *GROUPS),
                self.resources,
                "$filter",
                "$top",
                "$expand",
            ),
            route("identity_get", "GET", _IDENTITY, IDENTITIES, self.identity_get),
            route("identity_put", "PUT", _IDENTITY, IDENTITIES, self.identity_put),
            route(
                "default_provider",
                "GET",
                f"{where}/locations/{{location}}/defaultProvider",
                ATTESTATION,
                self.default_provider,
            ),
            route("default_providers", "GET", f"{where}/defaultProviders", ATTESTATION, self.default_providers),
        ]

    def _subscription(self, call: Call) -> dict[str, t.Any]:
        world = call.world
        return {
            "id": f"/subscriptions/{world.subscription_id}",
            "subscriptionId": world.subscription_id,
            "tenantId": world.tenant_id,
            "displayName": "SIMULATED subscription",
            "state": "Enabled",
            "subscriptionPolicies": {
                "locationPlacementId": "Public_2014-09-01",
                "quotaId": "Simulated",
                "spendingLimit": "Off",
            },
            "authorizationSource": "RoleBased",
        }

    def subscriptions(self, call: Call) -> Response:
        return Response.of({"value": [self._subscription(call)]})

    def subscription(self, call: Call) -> Response:
        return Response.of(self._subscription(call))

    def tenants(self, call: Call) -> Response:
        return Response.of({"value": [{"id": f"/tenants/{call.world.tenant_id}", "tenantId": call.world.tenant_id}]})

    def _group(self, call: Call, name: str) -> dict[str, t.Any]:
        found = call.world.resource_groups[name.lower()]
        return {
            "id": f"/subscriptions/{call.world.subscription_id}/resourceGroups/{found['name']}",
            "name": found["name"],
            "type": "Microsoft.Resources/resourceGroups",
            "location": found["location"],
            "properties": {"provisioningState": "Succeeded"},
        }

    def groups(self, call: Call) -> Response:
        return Response.of({"value": [self._group(call, name) for name in call.world.resource_groups]})

    def group(self, call: Call) -> Response:
        call.needs("Microsoft.Resources/subscriptions/resourceGroups/read", call.group_id())
        if call.request.method == "HEAD":
            return Response(204)
        return Response.of(self._group(call, call.groups["rg"]))

    def group_put(self, call: Call) -> Response:
        name = call.groups["rg"]
        call.needs(
            "Microsoft.Resources/subscriptions/resourceGroups/write",
            f"/subscriptions/{call.world.subscription_id}/resourceGroups/{name}",
        )
        body = known(call.body(), ("location", "tags", "managedBy", "properties", "name"), "ResourceGroup")
        new = name.lower() not in call.world.resource_groups
        if "location" not in body:
            raise refuse(400, "LocationRequired", "The location property is required for this definition.")
        call.world.resource_groups.setdefault(name.lower(), {"name": name, "location": body["location"]})
        return Response.of(self._group(call, name), 201 if new else 200, write=new)

    def provider(self, call: Call) -> Response:
        namespace = call.groups["namespace"]
        return Response.of(
            {
                "id": f"/subscriptions/{call.world.subscription_id}/providers/{namespace}",
                "namespace": namespace,
                "registrationState": "Registered",
                "resourceTypes": [],
            }
        )

    def resources(self, call: Call) -> Response:
        text = call.request.param("$filter") or ""
        if "microsoft.keyvault/vaults" not in text.lower():
            return Response.of({"value": []})
        vaults = call.world.vaults.values()
        return Response.of(
            {
                "value": [
                    {
                        "id": v.id,
                        "name": v.name,
                        "type": "Microsoft.KeyVault/vaults",
                        "location": v.location,
                        "tags": v.tags,
                    }
                    for v in vaults
                ]
            }
        )

    # --- user-assigned identities

    def _identity_id(self, call: Call) -> str:
        return f"{call.group_id()}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{call.groups['name']}"

    def identity_get(self, call: Call) -> Response:
        found = call.world.user_identities.get(self._identity_id(call).lower())
        if found is None:
            raise call.not_found("Microsoft.ManagedIdentity/userAssignedIdentities", call.groups["name"])
        return Response.of(self._identity(call, found))

    def identity_put(self, call: Call) -> Response:
        identifier = self._identity_id(call)
        call.needs("Microsoft.ManagedIdentity/userAssignedIdentities/write", identifier)
        body = known(call.body(), ("location", "tags", "properties"), "Identity")
        new = identifier.lower() not in call.world.user_identities
        if new:
            principal = call.world.new_managed_identity(call.groups["name"], identifier)
            made = UserIdentity(
                identifier, call.groups["name"], str(body.get("location")), principal.object_id, principal.app_id
            )
            call.world.user_identities[identifier.lower()] = made
        return Response.of(
            self._identity(call, call.world.user_identities[identifier.lower()]), 201 if new else 200, write=new
        )

    @staticmethod
    def _identity(call: Call, identity: UserIdentity) -> dict[str, t.Any]:
        properties = {
            "tenantId": call.world.tenant_id,
            "principalId": identity.principal_id,
            "clientId": identity.client_id,
        }
        kind = "Microsoft.ManagedIdentity/userAssignedIdentities"
        return {
            "id": identity.id,
            "name": identity.name,
            "type": kind,
            "location": identity.location,
            "properties": properties,
        }

    # --- attestation authorities

    def _authority(self, call: Call, location: str) -> dict[str, t.Any]:
        code = REGIONS[location]
        return {
            "id": f"/subscriptions/{call.world.subscription_id}/providers/Microsoft.Attestation/attestationProviders/shared{code}",
            "name": f"shared{code}",
            "type": "Microsoft.Attestation/attestationProviders",
            "location": location,
            "properties": {
                "trustModel": "AAD",
                "status": "Ready",
                "attestUri": f"https://shared{code}.{code}.attest.azure.net",
            },
        }

    def default_provider(self, call: Call) -> Response:
        location = call.groups["location"].replace(" ", "").lower()
        if location not in REGIONS:
            raise refuse(404, "ResourceNotFound", f"There is no default attestation provider in '{location}'.")
        return Response.of(self._authority(call, location))

    def default_providers(self, call: Call) -> Response:
        return Response.of({"value": [self._authority(call, location) for location in REGIONS]})


def cloud_metadata() -> dict[str, t.Any]:
    """What /metadata/endpoints answers: one object, as api-version 2022-09-01 has it."""
    return {
        "name": "AzureCloud",
        "resourceManager": "https://management.azure.com/",
        "portal": "https://portal.azure.com",
        "authentication": {
            "loginEndpoint": "https://login.microsoftonline.com",
            "audiences": ["https://management.core.windows.net/", "https://management.azure.com/"],
            "tenant": "common",
            "identityProvider": "AAD",
        },
        "suffixes": {
            "keyVaultDns": "vault.azure.net",
            "mhsmDns": "managedhsm.azure.net",
            "attestationEndpoint": "attest.azure.net",
            "storage": "core.windows.net",
        },
        "attestationResourceId": "https://attest.azure.net",
        "microsoftGraphResourceId": "https://graph.microsoft.com/",
    }
