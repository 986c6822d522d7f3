# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may do what in a vault: network rules, challenge, token, then access policies or Azure RBAC."""

from __future__ import annotations

import ipaddress
import typing as t

from ...core.messages import Request
from ...core.world import Principal, Vault, World
from ..arm import roles
from ..entra import TokenError
from .errors import refuse

AUDIENCE = "https://vault.azure.net"
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
    challenge = {
        "WWW-Authenticate": f'Bearer authorization="https://login.windows.net/{vault.tenant_id}", resource="{AUDIENCE}"'
    }
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
        claims = world.services["entra"].verify(token, (AUDIENCE,))
    except TokenError as error:
        text = {
            "audience": f"AKV10022: Invalid audience. Expected {AUDIENCE}, found: {error.found}.",
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
