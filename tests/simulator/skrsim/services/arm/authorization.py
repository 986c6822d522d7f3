# SPDX-License-Identifier: GPL-3.0-or-later
"""Role definitions and role assignments."""

from __future__ import annotations

import re
import typing as t
import uuid

from ...core.messages import Response
from ...core.world import RoleAssignment
from . import roles
from .call import Call, Route, route
from .errors import known, refuse

VERSIONS = ("2018-01-01-preview", "2020-04-01-preview", "2020-10-01-preview", "2022-04-01", "2022-05-01-preview")
_A = "/providers/Microsoft.Authorization"
_SCOPE = r"(?P<scope>(?:/.+?)?)"
PROPERTIES = (
    "roleDefinitionId",
    "principalId",
    "principalType",
    "description",
    "condition",
    "conditionVersion",
    "delegatedManagedIdentityResourceId",
)
_FILTER = re.compile(
    r"(?:atScope\(\)|principalId eq '(?P<p>[^']+)'|assignedTo\('(?P<a>[^']+)'\))(?: and atScope\(\))?", re.IGNORECASE
)
_ROLE_FILTER = re.compile(
    r"(?:atScopeAndBelow\(\) and )?roleName eq '(?P<n>[^']+)'|type eq '(?P<t>[^']+)'", re.IGNORECASE
)


class Authorization:
    def routes(self) -> list[Route]:
        one = f"{_SCOPE}{_A}/roleAssignments/{{name}}"
        return [
            route("role_put", "PUT", one, VERSIONS, self.put),
            route("role_get", "GET", one, VERSIONS, self.get, "tenantId"),
            route("role_delete", "DELETE", one, VERSIONS, self.delete, "tenantId"),
            route(
                "role_list",
                "GET",
                f"{_SCOPE}{_A}/roleAssignments",
                VERSIONS,
                self.list,
                "$filter",
                "tenantId",
                "$skiptoken",
                "$skipToken",
            ),
            route("definition_list", "GET", f"{_SCOPE}{_A}/roleDefinitions", VERSIONS, self.definitions, "$filter"),
            route("definition_get", "GET", f"{_SCOPE}{_A}/roleDefinitions/{{name}}", VERSIONS, self.definition),
        ]

    def _scope(self, call: Call) -> str:
        """The scope, which must be the subscription or exist below it."""
        scope = call.groups["scope"].rstrip("/")
        subscription = f"/subscriptions/{call.world.subscription_id}"
        if not roles.covers(subscription, scope):
            raise refuse(404, "SubscriptionNotFound", f"The subscription of scope '{scope}' could not be found.")
        group = re.match(rf"{subscription}/resourceGroups/([^/]+)", scope, re.IGNORECASE)
        if group and group[1].lower() not in call.world.resource_groups:
            raise refuse(404, "ResourceGroupNotFound", f"Resource group '{group[1]}' could not be found.")
        vault = re.search(r"/Microsoft\.KeyVault/vaults/([^/]+)", scope, re.IGNORECASE)
        if vault and vault[1].lower() not in call.world.vaults:
            raise refuse(404, "ResourceNotFound", f"The resource '{scope}' was not found.")
        key = re.search(r"/vaults/([^/]+)/keys/([^/]+)$", scope, re.IGNORECASE)
        if key and (key[1].lower(), key[2].lower()) not in call.world.keys:
            raise refuse(404, "ResourceNotFound", f"The resource '{scope}' was not found.")
        return scope

    def put(self, call: Call) -> Response:
        scope, name = self._scope(call), call.groups["name"]
        call.needs("Microsoft.Authorization/roleAssignments/write", scope)
        body = known(call.body(), ("properties",), "RoleAssignmentCreateParameters")
        properties = known(body.get("properties"), PROPERTIES, "RoleAssignmentProperties")
        try:
            uuid.UUID(name)
        except ValueError:
            raise refuse(
                400, "InvalidRoleAssignmentId", f"The role assignment ID '{name}' is not valid. It must be a GUID."
            ) from None
        role_id = roles.last_segment(str(properties.get("roleDefinitionId", "")))
        principal = str(properties.get("principalId", "")).lower()
        if role_id not in roles.ROLES:
            raise refuse(
                404, "RoleDefinitionDoesNotExist", f"The specified role definition with ID '{role_id}' does not exist."
            )
        known_principal = call.world.principals.get(principal)
        if known_principal is None or call.now < known_principal.visible_at:
            raise refuse(
                400,
                "PrincipalNotFound",
                f"Principal {principal.replace('-', '')} does not exist in the directory {call.world.tenant_id}.",
            )
        if properties.get("principalType", "ServicePrincipal") != "ServicePrincipal":
            raise refuse(
                400,
                "UnmatchedPrincipalType",
                f"The PrincipalId '{principal}' has type 'ServicePrincipal', which is different from specified PrincipalType.",
            )
        return self._store(call, scope, name, role_id, principal, properties)

    def _store(
        self, call: Call, scope: str, name: str, role_id: str, principal: str, properties: dict[str, t.Any]
    ) -> Response:
        for other in call.world.role_assignments.values():
            same = (other.scope.lower(), other.role_id, other.principal_id) == (scope.lower(), role_id, principal)
            if same and other.name != name:
                raise refuse(
                    409,
                    "RoleAssignmentExists",
                    f"The role assignment already exists. The ID of the existing role assignment is {other.name.replace('-', '')}.",
                )
            if not same and (other.name, other.scope.lower()) == (name, scope.lower()):
                raise refuse(
                    400,
                    "RoleAssignmentUpdateNotPermitted",
                    "Tenant ID, application ID, principal ID, and scope are not allowed to be updated.",
                )
        key = f"{scope}{_A}/roleAssignments/{name}".lower()
        existing = call.world.role_assignments.get(key)
        if existing is not None:
            return Response.of(document(existing), 200)
        delay = call.world.grant_delay(principal, call.world.delays.role_effective)
        made = RoleAssignment(
            name,
            scope,
            role_id,
            principal,
            "ServicePrincipal",
            call.now,
            call.now + delay,
            properties.get("description"),
        )
        call.world.role_assignments[key] = made
        return Response.of(document(made), 201, write=True)

    def _find(self, call: Call) -> tuple[str, RoleAssignment | None]:
        key = f"{call.groups['scope'].rstrip('/')}{_A}/roleAssignments/{call.groups['name']}".lower()
        return key, call.world.role_assignments.get(key)

    def get(self, call: Call) -> Response:
        call.needs("Microsoft.Authorization/roleAssignments/read", self._scope(call))
        _key, found = self._find(call)
        if found is None:
            raise refuse(404, "RoleAssignmentNotFound", f"The role assignment '{call.groups['name']}' is not found.")
        return Response.of(document(found))

    def delete(self, call: Call) -> Response:
        call.needs("Microsoft.Authorization/roleAssignments/delete", call.groups["scope"].rstrip("/"))
        key, found = self._find(call)
        if found is None:
            return Response(204)
        del call.world.role_assignments[key]
        return Response.of(document(found), write=True)

    def list(self, call: Call) -> Response:
        scope = self._scope(call)
        call.needs("Microsoft.Authorization/roleAssignments/read", scope)
        text = call.request.param("$filter")
        found = _FILTER.fullmatch(text) if text else None
        if text and not found:
            raise refuse(400, "InvalidFilter", f"The filter '{text}' is not supported.")
        principal = (found["p"] or found["a"] or "").lower() if found else ""
        below = not text or bool(found and found["p"])
        chosen = [
            document(assignment)
            for assignment in call.world.role_assignments.values()
            if (roles.covers(assignment.scope, scope) or (below and roles.covers(scope, assignment.scope)))
            and principal in ("", assignment.principal_id)
        ]
        return call.page(chosen, 100)

    def definitions(self, call: Call) -> Response:
        text = call.request.param("$filter")
        found = _ROLE_FILTER.fullmatch(text) if text else None
        if text and not found:
            raise refuse(400, "InvalidFilter", f"The filter '{text}' is not supported.")
        wanted = found["n"] if found else None
        chosen = [role for role in roles.ROLES.values() if wanted is None or role.name.lower() == wanted.lower()]
        return Response.of({"value": [definition_document(call, role) for role in chosen]})

    def definition(self, call: Call) -> Response:
        role = roles.ROLES.get(call.groups["name"].lower())
        if role is None:
            raise refuse(
                404,
                "RoleDefinitionDoesNotExist",
                f"The specified role definition with ID '{call.groups['name']}' does not exist.",
            )
        return Response.of(definition_document(call, role))


def document(assignment: RoleAssignment) -> dict[str, t.Any]:
    subscription = "/".join(assignment.scope.split("/")[:3])
    return {
        "id": assignment.id,
        "name": assignment.name,
        "type": "Microsoft.Authorization/roleAssignments",
        "properties": {
            "roleDefinitionId": f"{subscription}{_A}/roleDefinitions/{assignment.role_id}",
            "principalId": assignment.principal_id,
            "principalType": assignment.principal_type,
            "scope": assignment.scope,
            "description": assignment.description,
        },
    }


def definition_document(call: Call, role: roles.Role) -> dict[str, t.Any]:
    return {
        "id": f"/subscriptions/{call.world.subscription_id}{_A}/roleDefinitions/{role.id}",
        "name": role.id,
        "type": "Microsoft.Authorization/roleDefinitions",
        "properties": {
            "roleName": role.name,
            "type": "BuiltInRole",
            "description": role.name,
            "assignableScopes": ["/"],
            "permissions": [
                {
                    "actions": list(role.actions),
                    "notActions": list(role.not_actions),
                    "dataActions": list(role.data_actions),
                    "notDataActions": list(role.not_data_actions),
                }
            ],
        },
    }
