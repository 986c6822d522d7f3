# SPDX-License-Identifier: GPL-3.0-or-later
"""What is not a resource of its own: tenants, subscriptions, providers, the generic listing, the cloud's metadata."""

from __future__ import annotations

import re
import typing as t

from ...core.messages import Response
from . import attestation_providers, identities, managed_hsms, roles, vaults, versions, vms
from .call import Call, Route, route
from .errors import refuse

_S = "/subscriptions/{sub}"
_NAMESPACES = (
    "Microsoft.Attestation",
    "Microsoft.Authorization",
    "Microsoft.Compute",
    "Microsoft.KeyVault",
    "Microsoft.ManagedIdentity",
    "Microsoft.Resources",
)
_FILTER = re.compile(r"resourceType eq '(?P<kind>[^']+)'(?: and name eq '(?P<name>[^']+)')?", re.IGNORECASE)


class Subscriptions:
    def routes(self) -> list[Route]:
        takes, read, expand = versions.RESOURCES, "Microsoft.Resources/subscriptions/read", "$expand"
        listing = ("$filter", "$top", "$skiptoken", expand)
        provider = f"{_S}/providers/{{namespace}}"
        return [
            route("tenant_list", "GET", "/tenants", takes, self.tenants),
            route("subscription_list", "GET", "/subscriptions", takes, self.list),
            route("subscription_get", "GET", _S, takes, self.get, action=read),
            route("provider_list", "GET", f"{_S}/providers", takes, self.providers, expand, action=read, scope=_S),
            route("provider_get", "GET", provider, takes, self.provider, expand, action=read, scope=_S),
            route("resource_list", "GET", f"{_S}/resources", versions.RESOURCE_LIST, self.resources, *listing),
        ]

    def tenants(self, call: Call) -> Response:
        tenant = call.world.tenant_id
        found = {"id": f"/tenants/{tenant}", "tenantId": tenant, "displayName": "SIMULATED", "tenantCategory": "Home"}
        return Response.of({"value": [found]})

    def _subscription(self, call: Call) -> dict[str, t.Any]:
        return {
            "id": call.subscription,
            "subscriptionId": call.world.subscription_id,
            "tenantId": call.world.tenant_id,
            "displayName": "SIMULATED subscription",
            "state": "Enabled",
            "subscriptionPolicies": {
                "locationPlacementId": "Public_2014-09-01",
                "quotaId": "PayAsYouGo_2014-09-01",
                "spendingLimit": "Off",
            },
            "authorizationSource": "RoleBased",
            "managedByTenants": [],
        }

    def list(self, call: Call) -> Response:
        """Those in which the caller has a role somewhere."""
        assigned = any(
            one.principal_id == call.principal.object_id and roles.covers(call.subscription, one.scope)
            for one in call.world.role_assignments.values()
        )
        return Response.of({"value": [self._subscription(call)] if assigned else []})

    def get(self, call: Call) -> Response:
        return Response.of(self._subscription(call))

    # --- providers

    def _provider(self, call: Call, namespace: str) -> dict[str, t.Any]:
        return {
            "id": f"{call.subscription}/providers/{namespace}",
            "namespace": namespace,
            "registrationState": "Registered",
            "registrationPolicy": "RegistrationRequired",
            "resourceTypes": [],
        }

    def providers(self, call: Call) -> Response:
        return Response.of({"value": [self._provider(call, namespace) for namespace in _NAMESPACES]})

    def provider(self, call: Call) -> Response:
        wanted = call.groups["namespace"]
        found = next((name for name in _NAMESPACES if name.lower() == wanted.lower()), None)
        if found is None:
            raise refuse(404, "InvalidResourceNamespace", f"The resource namespace '{wanted}' is invalid.")
        return Response.of(self._provider(call, found))

    # --- resources of any type

    def resources(self, call: Call) -> Response:
        """By type and name; those that the caller may read."""
        text = call.request.param("$filter")
        found = _FILTER.fullmatch(text) if text else None
        if text and found is None:
            raise refuse(400, "InvalidFilterInQueryString", f"Invalid $filter '{text}' specified in the query string.")
        documents = [
            *(vaults.document(vault) for vault in call.world.vaults.values()),
            *(managed_hsms.document(hsm) for hsm in call.world.hsms.values()),
            *(attestation_providers.document(one) for one in call.world.attestation_providers.values()),
            *(vms.document(call.world, vm) for vm in call.world.vms.values()),
            *(
                {"id": one.id, "name": one.name, "type": identities.KIND, "location": one.location}
                for one in call.world.user_identities.values()
            ),
        ]
        members = ("id", "name", "type", "location", "tags")
        chosen: list[dict[str, t.Any]] = [
            {member: one[member] for member in members if member in one}
            for one in documents
            if (found is None or one["type"].lower() == found["kind"].lower())
            and (found is None or found["name"] is None or one["name"].lower() == found["name"].lower())
            and call.may(f"{one['type']}/read", one["id"])
        ]
        return call.page(chosen, call.top(1000))
