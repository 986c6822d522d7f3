# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may do what in a vault: network rules, challenge, token, then access policies or Azure RBAC."""

from __future__ import annotations

import ipaddress
import typing as t

from ...core import clouds
from ...core.messages import Request
from ...core.world import ManagedHsm, Principal, Vault, World
from ..arm import roles
from ..entra import TokenError
from . import local_roles
from .errors import refuse

# Permission of an access policy -> data action of Azure RBAC.
DATA_ACTIONS = {
    "get": "keys/read",
    "list": "keys/read",
    "create": "keys/create/action",
    "import": "keys/import/action",
    "update": "keys/update/action",
    "rotate": "keys/rotate/action",
    "release": "keys/release/action",
    "delete": "keys/delete",
    "recover": "keys/recover/action",
    "purge": "keys/purge/action",
    "getrotationpolicy": "keyrotationpolicies/read",
    "setrotationpolicy": "keyrotationpolicies/write",
}
# The same for a managed HSM's local RBAC.
_H = "Microsoft.KeyVault/managedHsm"
LOCAL_ACTIONS = {
    "get": f"{_H}/keys/read/action",
    "list": f"{_H}/keys/read/action",
    "create": f"{_H}/keys/create",
    "import": f"{_H}/keys/import/action",
    "update": f"{_H}/keys/write/action",
    "rotate": f"{_H}/keys/rotate/action",
    "release": f"{_H}/keys/release/action",
    "delete": f"{_H}/keys/delete",
    "recover": f"{_H}/keys/deletedKeys/recover/action",
    "purge": f"{_H}/keys/deletedKeys/delete",
    "getrotationpolicy": f"{_H}/keys/read/action",
    "setrotationpolicy": f"{_H}/keys/write/action",
    "security_domain": f"{_H}/securitydomain/download/action",
    "roles_read": f"{_H}/roleAssignments/read/action",
    "roles_write": f"{_H}/roleAssignments/write/action",
    "roles_delete": f"{_H}/roleAssignments/delete/action",
    "definitions": f"{_H}/roleDefinitions/read/action",
}


def firewall(vault: Vault, request: Request) -> None:
    acls = vault.network_acls or {}
    if vault.public_network_access == "Disabled":
        raise refuse(
            403,
            "Forbidden",
            "Public network access is disabled and request is not from a trusted service nor via an approved private link.",
            "ForbiddenByConnection",
        )
    if acls.get("defaultAction", "Allow") != "Deny":
        return
    address = ipaddress.ip_address(request.client_address)
    for rule in acls.get("ipRules", []):
        if address in ipaddress.ip_network(rule["value"], strict=False):
            return
    raise refuse(
        403,
        "Forbidden",
        "Client address is not authorized and caller is not a trusted service.\r\n"
        f"Client address: {request.client_address}\r\nCaller: unknown\r\nVault: {vault.name};location={vault.location}",
        "ForbiddenByFirewall",
    )


def authenticate(world: World, vault: Vault, request: Request) -> tuple[Principal, dict[str, t.Any]]:
    """The caller and the token's claims. Without a token: the challenge."""
    audience = f"https://{vault.service}"
    authority = clouds.CLOUDS[vault.cloud].authority(vault.tenant_id)
    challenge = {"WWW-Authenticate": f'Bearer authorization="{authority}", resource="{audience}"'}
    scheme, _space, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise refuse(
            401,
            "Unauthorized",
            "AKV10000: Request is missing a Bearer or PoP token.",
            headers=challenge,
            clause="vault.challenge",
        )
    try:
        claims = world.services["entra"].verify(token, (audience,))
    except TokenError as error:
        text = {
            "audience": f"AKV10022: Invalid audience. Expected {audience}, found: {error.found}.",
            "issuer": f"AKV10032: Invalid issuer. Expected one of https://sts.windows.net/{vault.tenant_id}/, found {error.found}.",
            "expired": "AKV10046: The token is expired or not yet valid.",
        }.get(error.code, "AKV10001: The token could not be validated.")
        raise refuse(401, "Unauthorized", text, headers=challenge, clause=f"vault.token.{error.code}") from error
    return world.principals[claims["oid"]], claims


def authorize(
    world: World, vault: Vault, key: str, permission: str, principal: Principal, claims: dict[str, t.Any]
) -> str:
    """The clause that allows the operation; raises Refusal when none does."""
    now = world.clock.now()
    if vault.rbac:
        action = f"Microsoft.KeyVault/vaults/{DATA_ACTIONS[permission]}"
        scope = f"{vault.id}/keys/{key}" if key else vault.id
        assignment = roles.allows(world, principal.object_id, scope, action, True, now)
        if assignment is not None:
            return f"role assignment {assignment.name}"
        raise refuse(
            403,
            "Forbidden",
            "Caller is not authorized to perform action on resource.\r\nIf role assignments, deny assignments or role definitions were "
            "changed recently, please observe propagation time.\r\n"
            f"Caller: appid={principal.app_id};oid={principal.object_id};iss={claims['iss']}\r\n"
            f"Action: '{action}'\r\nResource: '{scope.lower()}'\r\nAssignment: (not found)\r\nDenyAssignmentId: null\r\n"
            f"DecisionReason: null\r\nVault: {vault.name};location={vault.location}",
            "ForbiddenByRbac",
            principal=principal.object_id,
        )
    for entry in vault.access_policies:
        if entry.object_id.lower() != principal.object_id or entry.application_id:
            continue
        for name in (permission, "all"):
            if name in entry.permissions.get("keys", []) and now >= entry.effective.get(f"keys/{name}", 0.0):
                return f"access policy of {entry.object_id}"
    removed = [vault.removed_permissions.get((principal.object_id, name)) for name in (permission, "all")]
    if any(world.lingers(principal.object_id, moment) for moment in removed):
        return f"access policy of {principal.object_id}, which was removed"
    raise refuse(
        403,
        "Forbidden",
        f"The user, group or application 'appid={principal.app_id};oid={principal.object_id};iss={claims['iss']}' does not have keys "
        f"{permission} permission on key vault '{vault.name};location={vault.location}'. For help resolving this issue, please see "
        "https://go.microsoft.com/fwlink/?linkid=2125287",
        "AccessDenied",
        clause="vault.access_policy",
        principal=principal.object_id,
    )


def activated(hsm: ManagedHsm, permission: str) -> None:
    """Before its activation an HSM has nothing but the download of its security domain.

    The service's words for it are not published; a client must not depend on more than that it is refused.
    """
    if not hsm.activated and permission != "security_domain":
        raise refuse(
            403,
            "Forbidden",
            f"The managed HSM '{hsm.name}' is not activated. Download the security domain to activate it.",
            "HsmNotActivated",
            clause="hsm.not_activated",
        )


def authorize_locally(hsm: ManagedHsm, scope: str, permission: str, principal: Principal) -> str:
    """The clause of local RBAC that allows the operation; Azure roles and access policies mean nothing here."""
    action = LOCAL_ACTIONS[permission]
    found = local_roles.allows(hsm, principal.object_id, scope, action)
    if found is not None:
        return f"local role assignment {found.name}"
    raise refuse(
        403,
        "Forbidden",
        f"The user, group or application 'appid={principal.app_id};oid={principal.object_id}' is not authorized to perform action "
        f"'{action}' over scope '{scope}'.",
        "ForbiddenByRbac",
        clause="hsm.local_rbac",
        principal=principal.object_id,
    )
