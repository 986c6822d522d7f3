# SPDX-License-Identifier: GPL-3.0-or-later
"""As much of Microsoft Graph as the Azure CLI asks to show a name beside an object id."""

from __future__ import annotations

from ..core.messages import Refusal, Request, Response
from ..core.world import World
from .entra import TokenError

HOST, AUDIENCE = "graph.microsoft.com", "https://graph.microsoft.com"


def _refuse(status: int, code: str, message: str) -> Refusal:
    return Refusal(status, {"error": {"code": code, "message": message}}, clause=f"graph.{code}")


class GraphService:
    name = "graph"

    def __init__(self, world: World) -> None:
        self.world = world

    def serves(self, host: str) -> bool:
        return host == HOST

    def operation(self, request: Request) -> str:
        return "get_by_ids" if request.path == "/v1.0/directoryObjects/getByIds" else "unknown"

    async def handle(self, request: Request) -> Response:
        scheme, _space, token = request.headers.get("authorization", "").partition(" ")
        try:
            claims = self.world.services["entra"].verify(token if scheme.lower() == "bearer" else "", (AUDIENCE,))
        except TokenError as error:
            text = f"Access token validation failure: {error.code}."
            raise _refuse(401, "InvalidAuthenticationToken", text) from error
        if self.operation(request) != "get_by_ids" or request.method != "POST":
            raise _refuse(404, "Request_ResourceNotFound", f"The simulator has no {request.method} {request.path}.")
        try:
            ids = [str(one).lower() for one in request.json()["ids"]]
        except (ValueError, TypeError, KeyError):
            raise _refuse(400, "Request_BadRequest", "The member 'ids' must be a list of object ids.") from None
        found = [
            {
                "@odata.type": "#microsoft.graph.servicePrincipal",
                "id": one.object_id,
                "appId": one.app_id,
                "displayName": one.name,
                "servicePrincipalNames": [one.app_id],
                "servicePrincipalType": "ManagedIdentity" if one.kind == "managed_identity" else "Application",
            }
            for one in self.world.principals.values()
            if one.object_id in ids
        ]
        return Response.of({"value": found}, principal=str(claims["oid"]))
