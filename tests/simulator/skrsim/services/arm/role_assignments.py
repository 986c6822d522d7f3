# SPDX-License-Identifier: GPL-3.0-or-later
"""Role assignments: put, get, delete and list at a scope."""

from __future__ import annotations

import re
import typing as t
import uuid

from ...core.messages import Response
from ...core.world import RoleAssignment
from . import roles, scopes, versions
from .call import Call, Route, route
from .errors import guid, known, refuse
from .operations import stamp
from .role_definitions import missing

LIMIT = 4000  # role assignments of a subscription (Azure RBAC limits)
PAGE = 100
_A = "/providers/Microsoft.Authorization"
_KIND = "Microsoft.Authorization/roleAssignments"
_TERM = re.compile(
    r"(?P<scope>atScope\(\))|principalId eq '?(?P<principal>[0-9a-f-]+)'?|assignedTo\('(?P<assigned>[^']+)'\)",
    re.IGNORECASE,
)
# Kinds of principals that this directory could know; all that exist here are service principals.
_TYPES = ("User", "Group", "ServicePrincipal", "ForeignGroup", "Device")


class RoleAssignments:
    def routes(self) -> list[Route]:
        here, takes = f"{{scope}}{_A}/roleAssignments", versions.AUTHORIZATION
        one = f"{here}/{{name}}"
        skip = ("$filter", "tenantId", "$skipToken", "$skiptoken")
        return [
            route("role_put", "PUT", one, takes, self.put),
            route("role_get", "GET", one, takes, self.get, "tenantId", action=f"{_KIND}/read", scope="{scope}"),
            route("role_delete", "DELETE", one, takes, self.delete, "tenantId"),
            route("role_list", "GET", here, takes, self.list, *skip, action=f"{_KIND}/read", scope="{scope}"),
        ]

    # --- writing

    def put(self, call: Call) -> Response:
        scope, name = call.groups["scope"].rstrip("/"), call.groups["name"]
        body = known(call.body(), "RoleAssignmentCreateParameters", read_only=True)
        properties = known(body.get("properties"), "RoleAssignmentProperties")
        role_id = guid(
            roles.last_segment(str(properties.get("roleDefinitionId", ""))),
            "InvalidRoleDefinitionId",
            f"The role definition ID '{properties.get('roleDefinitionId')}' is not valid.",
        )
        call.needs(f"{_KIND}/write", scope, role_id)
        scopes.existing(call.world, scope)
        message = f"The role assignment ID '{name}' is not valid. The role assignment ID must be a GUID."
        name = guid(name, "InvalidRoleAssignmentId", message)
        principal = _principal(call, properties)
        if role_id not in roles.ROLES:
            raise missing(role_id)
        if properties.get("condition") or properties.get("delegatedManagedIdentityResourceId"):
            message = "The simulator evaluates no conditions and delegates no identities."
            raise refuse(400, "UnsupportedRoleAssignmentProperty", message)
        description = properties.get("description")
        if not isinstance(description, (str, type(None))):
            raise refuse(400, "InvalidRequestContent", "The request content was invalid: description must be a text.")
        _no_conflict(call, scope, name, role_id, principal)
        return self._store(call, scope, name, role_id, principal, description)

    def _store(
        self, call: Call, scope: str, name: str, role_id: str, principal: str, description: str | None
    ) -> Response:
        key = f"{scope}{_A}/roleAssignments/{name}".lower()
        found = call.world.role_assignments.get(key)
        if found is not None:
            changed = found.description != description
            found.description = description
            return Response.of(document(found), 200, write=changed)
        if len(call.world.role_assignments) >= LIMIT:
            message = "No more role assignments can be created (code: RoleAssignmentLimitExceeded)"
            raise refuse(400, "RoleAssignmentLimitExceeded", message)
        effective = call.now + call.world.grant_delay(principal, call.world.delays.role_effective)
        made = RoleAssignment(name, scope, role_id, principal, "ServicePrincipal", call.now, effective, description)
        call.world.role_assignments[key] = made
        return Response.of(document(made), 201, write=True)

    def delete(self, call: Call) -> Response:
        key, found = self._find(call)
        scope = call.groups["scope"].rstrip("/")
        call.needs(f"{_KIND}/delete", scope, found.role_id if found else None)
        if found is None:
            return Response(204)
        del call.world.role_assignments[key]
        found.removed_at = call.now
        call.world.removed_assignments.append(found)
        return Response.of(document(found), write=True)

    # --- reading

    def _find(self, call: Call) -> tuple[str, RoleAssignment | None]:
        key = f"{call.groups['scope'].rstrip('/')}{_A}/roleAssignments/{call.groups['name']}".lower()
        return key, call.world.role_assignments.get(key)

    def get(self, call: Call) -> Response:
        _key, found = self._find(call)
        if found is None:
            raise refuse(404, "RoleAssignmentNotFound", f"The role assignment '{call.groups['name']}' is not found.")
        return Response.of(document(found))

    def list(self, call: Call) -> Response:
        """At the scope, above it and, unless ``atScope()`` is asked for, below it."""
        scope = scopes.existing(call.world, call.groups["scope"])
        at_scope, principal = _filter(call.request.param("$filter"))
        chosen = [
            document(one)
            for one in call.world.role_assignments.values()
            if (roles.covers(one.scope, scope) or (not at_scope and roles.covers(scope, one.scope)))
            and principal in (None, one.principal_id)
        ]
        return call.page(chosen, PAGE, "$skipToken")


def _filter(text: str | None) -> tuple[bool, str | None]:
    """Whether only the scope and what is above it counts, and the principal asked for."""
    at_scope, principals = False, []
    for term in re.split(r"\s+and\s+", text or "", flags=re.IGNORECASE):
        found = _TERM.fullmatch(term.strip())
        if found is None and text:
            raise refuse(400, "InvalidFilter", f"The filter '{text}' is not supported.")
        if found:
            at_scope = at_scope or found["scope"] is not None
            principals += [name.lower() for name in (found["principal"], found["assigned"]) if name]
    if len(principals) > 1:
        message = f"The filter '{text}' is not supported: principalId and assignedTo cannot be combined."
        raise refuse(400, "InvalidFilter", message)
    return at_scope, principals[0] if principals else None


def _principal(call: Call, properties: dict[str, t.Any]) -> str:
    """The object id of a principal that RBAC knows.

    Azure documents that ``principalType`` avoids PrincipalNotFound for a principal that was just made, and that it
    may happen all the same; here it happens until the principal is visible, so that clients have to wait for it.
    """
    given = properties.get("principalId")
    principal = guid(given, "InvalidPrincipalId", f"The principal ID '{given}' is not valid. It must be a GUID.")
    kind = properties.get("principalType") or "ServicePrincipal"
    if kind not in _TYPES:
        raise refuse(400, "InvalidPrincipalType", f"The principal type '{kind}' is not valid.")
    found = call.world.principals.get(principal)
    if found is None or call.now < found.visible_at:
        raise refuse(
            400,
            "PrincipalNotFound",
            f"Principal {uuid.UUID(principal).hex} does not exist in the directory {call.world.tenant_id}. Check that "
            "you have the correct principal ID. If you are creating this principal and then immediately assigning a "
            "role, this error might be related to a replication delay. In this case, set the role assignment "
            "principalType property to a value, such as ServicePrincipal, User, or Group. See "
            "https://aka.ms/docs-principaltype",
        )
    actual = "User" if found.kind == "user" else "ServicePrincipal"
    if kind != actual:
        raise refuse(
            400,
            "UnmatchedPrincipalType",
            f"The PrincipalId '{uuid.UUID(principal).hex}' has type '{actual}', which is different from "
            f"specified PrincipalType '{kind}'.",
        )
    return principal


def _no_conflict(call: Call, scope: str, name: str, role_id: str, principal: str) -> None:
    """One assignment of a role to a principal at a scope; one meaning of a name in the directory."""
    wanted = (scope.lower(), role_id, principal)
    for other in call.world.role_assignments.values():
        same = (other.scope.lower(), other.role_id, other.principal_id) == wanted
        if same and other.name != name:
            raise refuse(
                409,
                "RoleAssignmentExists",
                "The role assignment already exists. The ID of the existing role assignment is "
                f"{uuid.UUID(other.name).hex}.",
            )
        if other.name == name and not same:
            raise refuse(
                400,
                "RoleAssignmentUpdateNotPermitted",
                "Tenant ID, application ID, principal ID, and scope are not allowed to be updated.",
            )


def document(one: RoleAssignment) -> dict[str, t.Any]:
    subscription = "/".join(one.scope.split("/")[:3])
    return {
        "id": one.id,
        "name": one.name,
        "type": _KIND,
        "properties": {
            "roleDefinitionId": f"{subscription}{_A}/roleDefinitions/{one.role_id}",
            "principalId": one.principal_id,
            "principalType": one.principal_type,
            "scope": one.scope,
            "description": one.description,
            "condition": None,
            "conditionVersion": None,
            "delegatedManagedIdentityResourceId": None,
            "createdOn": stamp(one.created_at),
            "updatedOn": stamp(one.created_at),
        },
    }
