# SPDX-License-Identifier: GPL-3.0-or-later
"""Azure Resource Manager's front door.

For each request, in this order:
1. the bearer token; 2. path and method; 3. api-version and query parameters; 4. the subscription; 5. the caller's
permission for the operation; 6. the operation itself, which checks that resource group and resource exist.
"""

from __future__ import annotations

import re
import uuid

from ...core import clouds
from ...core.messages import Refusal, Request, Response
from ...core.world import World
from ..entra import TokenError
from . import versions
from .attestation import Attestation
from .attestation_providers import AttestationProviders
from .call import Call, Route
from .deleted_vaults import DeletedVaults
from .disk_encryption_sets import DiskEncryptionSets
from .errors import refuse
from .groups import Groups
from .identities import Identities
from .managed_hsms import ManagedHsms
from .networks import Networks
from .operations import Operations
from .resource_graph import ResourceGraph
from .role_assignments import RoleAssignments
from .role_definitions import RoleDefinitions
from .scale_sets import ScaleSets
from .skus import Skus
from .subscriptions import Subscriptions
from .throttle import Throttle, told
from .vaults import Vaults
from .vms import VirtualMachines

HOST = clouds.PUBLIC.resource_manager
_METADATA = "/metadata/endpoints"
_TOKEN_CODES = {"audience": "InvalidAuthenticationTokenAudience", "expired": "ExpiredAuthenticationToken"}


class ArmService:
    name = "arm"

    def __init__(self, world: World) -> None:
        self.world = world
        self._operations = Operations(world)
        self.deleted = DeletedVaults(world, self._operations)
        self._throttle = Throttle(world)
        self._hsms = ManagedHsms(world, self._operations)
        identities = Identities(world)
        self.routes: list[Route] = [
            *RoleAssignments().routes(),
            *RoleDefinitions().routes(),
            *VirtualMachines(world, self._operations).routes(),
            *ScaleSets(world, self._operations).routes(),
            *DiskEncryptionSets(self._operations).routes(),
            *Networks().routes(),
            *Skus().routes(),
            *ResourceGraph().routes(),
            *Vaults(world, self._operations, self.deleted).routes(),
            *self.deleted.routes(),
            *self._hsms.routes(),
            *identities.routes(),
            *Attestation().routes(),
            *Groups(self._operations, self.deleted, self._hsms, identities).routes(),
            *AttestationProviders().routes(),
            *Subscriptions().routes(),
            *self._operations.routes(),
        ]

    def serves(self, host: str) -> bool:
        return clouds.by_resource_manager(host) is not None

    def operation(self, request: Request) -> str:
        """The route's name; ``unknown`` when there is none."""
        if _is_metadata(request):
            return "cloud_metadata"
        found = self._match(request)
        return found[0].name if found else "unknown"

    async def handle(self, request: Request) -> Response:
        self._operations.settle()
        self.deleted.settle()
        self._hsms.settle()
        if _is_metadata(request):
            return self._metadata(request)
        principal = self._authenticate(request)  # 1
        call = Call(self.world, request, self.world.principals[principal], {})
        try:
            headers = self._throttle.check(request, principal, self.operation(request))
            response = told(self._dispatch(call), headers)
        except Refusal as refusal:
            refusal.response.audit.setdefault("principal", principal)
            raise
        response.audit.setdefault("principal", principal)
        response.audit.setdefault("decision", "allowed")
        if call.clause:
            response.audit.setdefault("clause", call.clause)
        return response

    def _dispatch(self, call: Call) -> Response:
        found = self._match(call.request)  # 2
        if found is None:
            raise self._no_route(call.request)
        chosen, groups = found
        call.groups = {name: text for name, text in groups.groupdict().items() if text is not None}
        self._strict(call.request, chosen)  # 3
        self._subscription(call.groups.get("sub"))  # 4
        chosen.authorize(call)  # 5
        return chosen.handler(call)  # 6

    def _match(self, request: Request) -> tuple[Route, re.Match[str]] | None:
        for candidate in self.routes:
            if candidate.method == request.method and (found := candidate.pattern.fullmatch(request.path)):
                return candidate, found
        return None

    def _no_route(self, request: Request) -> Refusal:
        if any(candidate.pattern.fullmatch(request.path) for candidate in self.routes):
            message = f"The requested resource does not support http method '{request.method}'."
            return refuse(405, "HttpMethodNotSupported", message)
        kind = re.search(r".*/providers/([^/]+)(?:/([^/]+))?", request.path, re.IGNORECASE)
        if kind is None:
            return refuse(404, "NotFound", f"No HTTP resource was found that matches the path '{request.path}'.")
        message = f"The resource type '{kind[2] or ''}' could not be found in the namespace '{kind[1]}'."
        return refuse(404, "InvalidResourceType", message)

    def _authenticate(self, request: Request) -> str:
        """The object id of the caller."""
        scheme, _space, token = request.headers.get("authorization", "").partition(" ")
        cloud = clouds.by_resource_manager(request.host) or clouds.PUBLIC
        where = f'authorization_uri="{cloud.authority(self.world.tenant_id)}"'
        if scheme.lower() != "bearer" or not token:
            message = "Authentication failed. The 'Authorization' header is missing."
            raise refuse(401, "AuthenticationFailed", message, {"WWW-Authenticate": f"Bearer {where}"})
        try:
            claims = self.world.services["entra"].verify(token, cloud.audiences)
        except TokenError as error:
            code = _TOKEN_CODES.get(error.code, "InvalidAuthenticationToken")
            text = f"The access token is invalid: {error.code}."
            challenge = f'Bearer {where}, error="invalid_token", error_description="{text}"'
            raise refuse(401, code, text, {"WWW-Authenticate": challenge}) from error
        principal = str(claims["oid"])
        if principal not in self.world.principals:
            challenge = f'Bearer {where}, error="invalid_token"'
            text = "The access token is invalid: its principal is not in this directory."
            raise refuse(401, "InvalidAuthenticationToken", text, {"WWW-Authenticate": challenge})
        return principal

    @staticmethod
    def _strict(request: Request, chosen: Route) -> None:
        version = request.param("api-version")
        if not version:
            message = "The api-version query parameter (?api-version=) is required for all requests."
            raise refuse(400, "MissingApiVersionParameter", message)
        if version not in chosen.versions:
            message = f"The api-version '{version}' is invalid for the operation {chosen.name}."
            raise refuse(400, "InvalidApiVersionParameter", message)
        names = [name for name, _value in request.query]
        for name in names:
            if name not in chosen.query or names.count(name) > 1:
                message = f"The query parameter '{name}' is not supported by the operation {chosen.name}."
                raise refuse(400, "UnsupportedQueryParameter", message)

    def _subscription(self, named: str | None) -> None:
        if named is None or named.lower() == self.world.subscription_id:
            return
        try:
            uuid.UUID(named)
        except ValueError:
            message = f"The provided subscription identifier '{named}' is malformed or invalid."
            raise refuse(400, "InvalidSubscriptionId", message) from None
        raise refuse(404, "SubscriptionNotFound", f"The subscription '{named}' could not be found.")

    def _metadata(self, request: Request) -> Response:
        """Endpoints of the cloud, for everybody."""
        if request.method != "GET":
            raise refuse(405, "HttpMethodNotSupported", f"The http method '{request.method}' is not supported.")
        version = request.param("api-version")
        if version not in versions.METADATA:
            raise refuse(400, "InvalidApiVersionParameter", f"The api-version '{version}' is invalid.")
        return Response.of(clouds.metadata(clouds.by_resource_manager(request.host) or clouds.PUBLIC))


def _is_metadata(request: Request) -> bool:
    return request.path.rstrip("/").lower() == _METADATA
