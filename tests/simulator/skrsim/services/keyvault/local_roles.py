# SPDX-License-Identifier: GPL-3.0-or-later
"""Local RBAC of a managed HSM: built-in roles, assignments at "/", "/keys" and single keys.

Roles and their data actions: Microsoft's page "Managed HSM local RBAC built-in roles".
"""

from __future__ import annotations

import re
import typing as t
import uuid

from ...core.messages import Response
from ...core.world import LocalAssignment, ManagedHsm
from .call import Call
from .errors import bad, refuse

_H = "Microsoft.KeyVault/managedHsm"
_KEY_READ = (f"{_H}/keys/read/action", f"{_H}/keys/deletedKeys/read/action")
_ROLE_WORK = tuple(f"{_H}/role{kind}/action" for kind in ("Assignments/read", "Assignments/write", "Assignments/delete",
                                                          "Definitions/read"))  # fmt: skip
_USE = ("encrypt", "decrypt", "wrap", "unwrap", "sign", "verify")


class LocalRole(t.NamedTuple):
    name: str
    id: str
    data_actions: tuple[str, ...]


ROLES = {
    role.id: role
    for role in (
        LocalRole(
            "Managed HSM Administrator",
            "a290e904-7015-4bba-90c8-60543313cdb4",
            (
                *_ROLE_WORK, f"{_H}/securitydomain/download/action", f"{_H}/securitydomain/download/read",
                f"{_H}/securitydomain/upload/action", f"{_H}/securitydomain/upload/read", f"{_H}/backup/start/action",
            ),
        ),
        LocalRole(
            "Managed HSM Crypto Officer",
            "515eb02d-2335-4d2d-92f2-b1cbdf9c3778",
            (
                *_ROLE_WORK, *_KEY_READ, f"{_H}/keys/deletedKeys/recover/action", f"{_H}/keys/deletedKeys/delete",
                f"{_H}/keys/export/action",
            ),
        ),
        LocalRole(
            "Managed HSM Crypto User",
            "21dbd100-6940-42c2-9190-5d6cb909625b",
            (
                *_KEY_READ, f"{_H}/keys/write/action", f"{_H}/keys/create", f"{_H}/keys/delete",
                f"{_H}/keys/import/action", f"{_H}/keys/rotate/action", f"{_H}/keys/release/action",
                *(f"{_H}/keys/{use}/action" for use in _USE),
            ),
        ),
        LocalRole("Managed HSM Policy Administrator", "4bd23610-cdcf-4971-bdee-bdc562cc28e4", _ROLE_WORK),
        LocalRole("Managed HSM Crypto Auditor", "2c18b078-7c48-4d3a-af88-5a3a1b3f82b3", (f"{_H}/keys/read/action",)),
        LocalRole(
            "Managed HSM Crypto Service Encryption User",
            "33413926-3206-4cdd-b39a-83574fe37a17",
            (f"{_H}/keys/read/action", f"{_H}/keys/wrap/action", f"{_H}/keys/unwrap/action"),
        ),
        LocalRole(
            "Managed HSM Crypto Service Release User",
            "21dbd100-6940-42c2-9190-5d6cb909625c",
            (f"{_H}/keys/release/action",),
        ),
    )
}  # fmt: skip
_SCOPE = re.compile(r"/|/keys|/keys/[0-9a-zA-Z-]{1,127}")
_PREFIX = "Microsoft.KeyVault/providers/Microsoft.Authorization"


def covers(scope: str, target: str) -> bool:
    """Whether an assignment at ``scope`` reaches ``target``; "/" reaches everything."""
    scope, target = scope.lower(), target.lower()
    return scope == "/" or target == scope or target.startswith(scope + "/")


def allows(hsm: ManagedHsm, principal: str, scope: str, action: str) -> LocalAssignment | None:
    for found in hsm.local_assignments.values():
        role = ROLES[found.role_id]
        if found.principal_id == principal and covers(found.scope, scope) and action in role.data_actions:
            return found
    return None


# --- the operations


def _scope(call: Call) -> str:
    """The scope of the path; ``/`` where there is none."""
    text = "/" + (call.groups.get("scope") or "").strip("/")
    if not _SCOPE.fullmatch(text):
        raise bad(f"The scope '{text}' is not valid: '/', '/keys' or '/keys/NAME'.")
    return text


def _document(found: LocalAssignment) -> dict[str, t.Any]:
    where = found.scope.rstrip("/")
    return {
        "id": f"{where}/providers/Microsoft.Authorization/roleAssignments/{found.name}",
        "name": found.name,
        "type": "Microsoft.Authorization/roleAssignments",
        "properties": {
            "principalId": found.principal_id,
            "roleDefinitionId": f"{_PREFIX}/roleDefinitions/{found.role_id}",
            "scope": found.scope,
        },
    }


def _hsm(call: Call) -> ManagedHsm:
    assert isinstance(call.vault, ManagedHsm)
    return call.vault


def _guid(text: t.Any, what: str) -> str:
    try:
        return str(uuid.UUID(str(text)))
    except ValueError:
        raise bad(f"The {what} '{text}' is not a GUID.") from None


async def assignment_put(call: Call) -> Response:
    hsm, scope, name = _hsm(call), _scope(call), _guid(call.groups["assignment"], "name of the assignment")
    body = call.body()
    properties = body.get("properties") if isinstance(body, dict) and set(body) == {"properties"} else None
    if not isinstance(properties, dict) or set(properties) != {"principalId", "roleDefinitionId"}:
        raise bad("The body must have properties with principalId and roleDefinitionId.")
    principal = _guid(properties["principalId"], "principalId")
    prefix, _slash, role = str(properties["roleDefinitionId"]).rpartition("/")
    if prefix.strip("/").lower() != f"{_PREFIX}/roleDefinitions".lower() or role.lower() not in ROLES:
        raise refuse(
            404, "RoleDefinitionNotFound", f"The role definition '{properties['roleDefinitionId']}' is unknown."
        )
    wanted = LocalAssignment(name, scope, role.lower(), principal)
    existing = hsm.local_assignments.get(name)
    if existing is not None and existing != wanted:
        raise refuse(
            409, "Conflict", "Tenant ID, application ID, principal ID, and scope are not allowed to be updated.",
            "RoleAssignmentUpdateNotPermitted",
        )  # fmt: skip
    for other in hsm.local_assignments.values():
        same = (other.scope.lower(), other.role_id, other.principal_id) == (scope.lower(), wanted.role_id, principal)
        if same and other.name != name:
            raise refuse(409, "Conflict", f"The role assignment already exists: {other.name}.", "RoleAssignmentExists")
    hsm.local_assignments[name] = wanted
    return Response.of(_document(wanted), 201, write=existing is None)


def _named(call: Call) -> LocalAssignment:
    found = _hsm(call).local_assignments.get(call.groups["assignment"].lower())
    if found is None or found.scope.lower() != _scope(call).lower():
        raise refuse(404, "RoleAssignmentNotFound", f"The role assignment '{call.groups['assignment']}' was not found.")
    return found


async def assignment_get(call: Call) -> Response:
    return Response.of(_document(_named(call)))


async def assignment_delete(call: Call) -> Response:
    found = _named(call)
    last = [one for one in _hsm(call).local_assignments.values() if one.scope == "/" and one.role_id == found.role_id]
    if ROLES[found.role_id].name == "Managed HSM Administrator" and last == [found]:
        raise refuse(409, "Conflict", "The last administrator of a managed HSM cannot be removed.")
    del _hsm(call).local_assignments[found.name]
    return Response.of(_document(found), write=True)


async def assignment_list(call: Call) -> Response:
    """At the scope, above and below it; ``principalId eq 'GUID'`` and ``atScope()`` as filters."""
    scope, text = _scope(call), call.request.param("$filter") or ""
    of = re.fullmatch(r"principalId eq '([0-9a-fA-F-]{36})'", text)
    if text and not of and text != "atScope()":
        raise bad(f"The filter '{text}' is not supported.")
    found = [
        _document(one)
        for one in _hsm(call).local_assignments.values()
        if (covers(one.scope, scope) or (covers(scope, one.scope) and text != "atScope()"))
        and (of is None or one.principal_id == of[1].lower())
    ]
    return Response.of({"value": sorted(found, key=lambda one: str(one["name"]))})


async def definition_list(call: Call) -> Response:
    found = []
    for role in ROLES.values():
        permission = {"actions": [], "notActions": [], "dataActions": list(role.data_actions), "notDataActions": []}
        properties = {
            "roleName": role.name, "description": f"SIMULATED definition of {role.name}", "type": "AKVBuiltInRole",
            "assignableScopes": ["/"], "permissions": [permission],
        }  # fmt: skip
        found.append({
            "id": f"{_PREFIX}/roleDefinitions/{role.id}", "name": role.id,
            "type": "Microsoft.Authorization/roleDefinitions", "properties": properties,
        })  # fmt: skip
    return Response.of({"value": found})
