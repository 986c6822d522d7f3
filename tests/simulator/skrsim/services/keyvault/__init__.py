# SPDX-License-Identifier: GPL-3.0-or-later
"""The data plane of vaults and managed HSMs: keys, and for an HSM its local roles and its activation."""

from __future__ import annotations

import re
import typing as t

from ...core.ca import LabCA
from ...core.messages import Refusal, Request, Response
from ...core.world import ManagedHsm, Principal, Vault, World
from . import access, keys, local_roles, release, security_domain
from .call import VERSIONS, Call
from .errors import bad, refuse
from .throttle import Throttle

Handler = t.Callable[[Call], t.Awaitable[Response]]


class Route(t.NamedTuple):
    name: str
    method: str
    pattern: re.Pattern[str]
    permission: str
    handler: Handler | None
    query: frozenset[str]


def _route(name: str, method: str, path: str, permission: str, handler: Handler | None, *query: str) -> Route:
    return Route(name, method, re.compile(path + "/?"), permission, handler, frozenset({"api-version", *query}))


# The SDKs write "/keys/NAME/" and "/keys/NAME//release" when no version is given.
_K = r"/keys/(?P<name>[^/]+)"
_V = r"(?:/(?P<version>[0-9a-fA-F]{32})|/)?"
ROUTES = (
    _route("key_create", "POST", rf"{_K}/create", "create", keys.create),
    _route("key_release", "POST", rf"{_K}{_V}/release", "release", None),
    _route("key_rotate", "POST", rf"{_K}/rotate", "rotate", keys.rotate),
    _route("key_versions", "GET", rf"{_K}/versions", "list", keys.versions, "maxresults", "$skiptoken"),
    _route("rotation_policy_get", "GET", rf"{_K}/rotationpolicy", "getrotationpolicy", keys.rotation_policy),
    _route("rotation_policy_put", "PUT", rf"{_K}/rotationpolicy", "setrotationpolicy", keys.rotation_policy),
    _route("key_get", "GET", rf"{_K}(?:/(?P<version>[0-9a-fA-F]{{32}}))?", "get", keys.get),
    _route("key_update", "PATCH", rf"{_K}(?:/(?P<version>[0-9a-fA-F]{{32}}))?", "update", keys.update),
    _route("key_import", "PUT", _K, "import", keys.import_),
    _route("key_delete", "DELETE", _K, "delete", keys.delete),
    _route("key_list", "GET", r"/keys", "list", keys.list_, "maxresults", "$skiptoken"),
    _route("deleted_key_recover", "POST", r"/deletedkeys/(?P<name>[^/]+)/recover", "recover", keys.recover),
    _route("deleted_key_get", "GET", r"/deletedkeys/(?P<name>[^/]+)", "get", keys.deleted_get),
    _route("deleted_key_purge", "DELETE", r"/deletedkeys/(?P<name>[^/]+)", "purge", keys.purge),
    _route("key_attestation", "GET", rf"{_K}{_V}/attestation", "get", keys.attestation),
    _route("deleted_key_list", "GET", r"/deletedkeys", "list", keys.deleted_list, "maxresults", "$skiptoken"),
)
# What a managed HSM has beyond keys. ``security_domain`` is all it has before it is activated.
_A = r"(?P<scope>/.*?)?/providers/Microsoft\.Authorization"
_ONE = rf"{_A}/roleAssignments/(?P<assignment>[^/]+)"
HSM_ROUTES = (
    _route(
        "security_domain_download", "POST", "/securitydomain/download", "security_domain", security_domain.download
    ),
    _route("security_domain_pending", "GET", "/securitydomain/download/pending", "security_domain",
           security_domain.pending),
    _route("local_role_put", "PUT", _ONE, "roles_write", local_roles.assignment_put),
    _route("local_role_get", "GET", _ONE, "roles_read", local_roles.assignment_get),
    _route("local_role_delete", "DELETE", _ONE, "roles_delete", local_roles.assignment_delete),
    _route("local_role_list", "GET", rf"{_A}/roleAssignments", "roles_read", local_roles.assignment_list, "$filter"),
    _route("local_definition_list", "GET", rf"{_A}/roleDefinitions", "definitions", local_roles.definition_list,
           "$filter"),
)  # fmt: skip
SINCE_7_3 = frozenset({"key_release", "key_rotate", "rotation_policy_get", "rotation_policy_put"})


class KeyVaultService:
    name = "keyvault"

    def __init__(self, world: World) -> None:
        self.world = world
        self._foreign: LabCA | None = None
        self._throttle_of_vaults = Throttle(world)
        world.services["foreign_signing"] = self._foreign_signing

    def _foreign_signing(self, action: str) -> t.Any:
        """A signing chain that clients must not accept: another root, or the right root for another name."""
        ca: LabCA = self.world.services["ca"]
        if action == "wrong_name":
            return ca.signing_for(["vault.example.net"])
        if self._foreign is None:
            self._foreign = LabCA(ca.directory / "foreign", "SIMULATED foreign CA")
        return self._foreign.signing()

    def _vault(self, host: str) -> Vault | None:
        name, _dot, service = host.partition(".")
        places: tuple[Vault | None, ...] = (self.world.vaults.get(name), self.world.hsms.get(name))
        return next((one for one in places if one is not None and one.service == service), None)

    def serves(self, host: str) -> bool:
        return self._vault(host) is not None

    def _match(self, request: Request) -> tuple[Route, re.Match[str]] | None:
        vault = self._vault(request.host)
        for candidate in (*HSM_ROUTES, *ROUTES) if vault is not None and vault.is_hsm else ROUTES:
            found = candidate.pattern.fullmatch(request.path)
            if found and candidate.method == request.method:
                return candidate, found
        return None

    def operation(self, request: Request) -> str:
        found = self._match(request)
        return found[0].name if found else "unknown"

    async def handle(self, request: Request) -> Response:
        vault = self._vault(request.host)
        assert vault is not None
        headers = (
            {"x-ms-request-id": self.world.guid(), "x-ms-server-latency": "1"}
            if vault.is_hsm
            else {
                "x-ms-keyvault-region": vault.location,
                "x-ms-keyvault-network-info": f"conn_type=Ipv4;addr={request.client_address};act_addr_fam=InterNetwork;",
                "x-ms-request-id": self.world.guid(),
                "x-ms-keyvault-service-version": "1.9.0.0",
            }
        )
        try:
            response = await self._answer(request, vault)
        except Refusal as refusal:
            response = refusal.response
        response.headers = {**headers, **response.headers}
        return response

    async def _answer(self, request: Request, vault: Vault) -> Response:
        access.firewall(vault, request)
        self._throttle(request, vault)
        principal, claims = access.authenticate(self.world, vault, request)
        try:
            return await self._authenticated(request, vault, principal, claims)
        except Refusal as refusal:
            refusal.response.audit.setdefault("principal", principal.object_id)
            raise

    def _throttle(self, request: Request, vault: Vault) -> None:
        """Before anything else but the network, so that challenges count as well."""
        found = self._match(request)
        name = (found[1].groupdict().get("name") or "").lower() if found else ""
        key = self.world.keys.get((vault.slot, name))
        self._throttle_of_vaults.spend(vault.slot, found[0].name if found else "unknown", key)

    async def _authenticated(
        self, request: Request, vault: Vault, principal: Principal, claims: dict[str, t.Any]
    ) -> Response:
        found = self._match(request)
        if found is None:
            raise refuse(404, "NotFound", f"{request.method} {request.path} is not an operation of this service.")
        chosen, groups = found
        if request.param("api-version") not in VERSIONS:
            raise bad(f"api-version '{request.param('api-version')}' is not supported.")
        for name, _value in request.query:
            if name not in chosen.query:
                raise bad(f"Unknown query parameter '{name}'.")
        parts = groups.groupdict()
        name = parts.get("name") or ""
        if isinstance(vault, ManagedHsm):
            access.activated(vault, chosen.permission)
            scope = f"/keys/{name}" if name else "/keys" if "/keys" in request.path else "/"
            if "scope" in parts:
                scope = "/" + (parts["scope"] or "").strip("/")
            clause = access.authorize_locally(vault, scope, chosen.permission, principal)
        else:
            clause = access.authorize(self.world, vault, name, chosen.permission, principal, claims)
        given = {part: text for part, text in parts.items() if text is not None}
        call = Call(self.world, request, vault, principal, name, parts.get("version") or "", given)
        if chosen.name in SINCE_7_3 and not call.version_at_least("7.3"):
            raise bad(f"The operation needs api-version 7.3 or later, not '{request.param('api-version')}'.")
        response = await (chosen.handler(call) if chosen.handler else release.release(call, clause))
        if vault.rbac and not vault.is_hsm:
            response.headers["x-ms-keyvault-rbac-assignment-id"] = clause.rpartition(" ")[2]
        response.audit = {"principal": principal.object_id, "clause": clause, **response.audit}
        return response


def service(world: World) -> KeyVaultService:
    return KeyVaultService(world)
