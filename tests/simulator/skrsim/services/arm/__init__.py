# SPDX-License-Identifier: GPL-3.0-or-later
"""Azure Resource Manager: authentication, routing and strictness; the resources are files of their own."""

from __future__ import annotations

import re

from ...core.messages import Request, Response
from ...core.world import World
from ..entra import TokenError
from .authorization import Authorization
from .call import Call, Route, route
from .compute import VERSIONS as COMPUTE_VERSIONS
from .compute import Compute
from .errors import refuse
from .general import General, cloud_metadata
from .operations import Operations
from .vaults import Vaults

HOST = "management.azure.com"
AUDIENCES = ("https://management.azure.com", "https://management.core.windows.net")


class ArmService:
    name = "arm"

    def __init__(self, world: World) -> None:
        self.world = world
        operations = Operations(world)
        path = "/subscriptions/{sub}/providers/Microsoft.Compute/locations/{location}/operations/{operation}"
        self.routes: list[Route] = [
            *Authorization().routes(),
            *Compute(operations).routes(),
            *Vaults().routes(),
            *General().routes(),
            route("operation_status", "GET", path, COMPUTE_VERSIONS, operations.status),
        ]

    def serves(self, host: str) -> bool:
        return host == HOST

    def _match(self, request: Request) -> tuple[Route, re.Match[str]] | None:
        for candidate in self.routes:
            found = candidate.pattern.fullmatch(request.path)
            if found and candidate.method == request.method:
                return candidate, found
        return None

    def operation(self, request: Request) -> str:
        if request.path.rstrip("/") == "/metadata/endpoints":
            return "cloud_metadata"
        found = self._match(request)
        return found[0].name if found else "unknown"

    async def handle(self, request: Request) -> Response:
        if self.operation(request) == "cloud_metadata":
            return Response.of(cloud_metadata())
        principal = self._authenticate(request)
        found = self._match(request)
        if found is None:
            if any(candidate.pattern.fullmatch(request.path) for candidate in self.routes):
                raise refuse(405, "MethodNotAllowed", f"{request.method} is not allowed on {request.path}.")
            raise refuse(404, "InvalidResourceType", f"The resource type of {request.path} could not be found.")
        chosen, groups = found
        self._strict(request, chosen)
        subscription = groups.groupdict().get("sub")
        if subscription and subscription.lower() != self.world.subscription_id:
            raise refuse(404, "SubscriptionNotFound", f"The subscription '{subscription}' could not be found.")
        response = chosen.handler(Call(self.world, request, self.world.principals[principal], groups.groupdict()))
        response.audit.setdefault("principal", principal)
        return response

    def _authenticate(self, request: Request) -> str:
        scheme, _space, token = request.headers.get("authorization", "").partition(" ")
        challenge = {"WWW-Authenticate": f'Bearer authorization_uri="https://login.windows.net/{self.world.tenant_id}"'}
        if scheme.lower() != "bearer" or not token:
            raise refuse(
                401, "AuthenticationFailed", "Authentication failed. The 'Authorization' header is missing.", challenge
            )
        try:
            claims = self.world.services["entra"].verify(token, AUDIENCES)
        except TokenError as error:
            code = {"audience": "InvalidAuthenticationTokenAudience", "expired": "ExpiredAuthenticationToken"}
            name = code.get(error.code, "InvalidAuthenticationToken")
            raise refuse(401, name, f"The access token is invalid ({error.code}).", challenge) from error
        return str(claims["oid"])

    @staticmethod
    def _strict(request: Request, chosen: Route) -> None:
        version = request.param("api-version")
        if not version:
            raise refuse(
                400,
                "MissingApiVersionParameter",
                "The api-version query parameter (?api-version=) is required for all requests.",
            )
        if version not in chosen.versions:
            raise refuse(
                400, "InvalidApiVersionParameter", f"The api-version '{version}' is invalid for {chosen.name}."
            )
        for name, _value in request.query:
            if name not in chosen.query:
                raise refuse(
                    400, "InvalidQueryParameter", f"The query parameter '{name}' is not known for {chosen.name}."
                )


def service(world: World) -> ArmService:
    return ArmService(world)


__all__ = ["ArmService", "service"]
