# SPDX-License-Identifier: GPL-3.0-or-later
"""One authenticated ARM call, and the checks every operation shares."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ...core.messages import Request, Response
from ...core.world import Principal, World
from . import roles
from .errors import refuse

Handler = t.Callable[["Call"], Response]


@dataclasses.dataclass
class Call:
    """A request with its caller; ``groups`` are the path's named parts."""

    world: World
    request: Request
    principal: Principal
    groups: dict[str, str]

    @property
    def now(self) -> float:
        return self.world.clock.now()

    def body(self) -> t.Any:
        try:
            document = self.request.json()
        except ValueError:
            raise refuse(400, "InvalidRequestContent", "The request content was invalid and could not be deserialized.") from None
        return {} if document is None else document

    def needs(self, action: str, scope: str) -> None:
        """Refuse unless the caller's roles allow an action at a scope."""
        assignment = roles.allows(self.world, self.principal.object_id, scope, action, False, self.now)
        if assignment is None:
            raise refuse(
                403,
                "AuthorizationFailed",
                f"The client '{self.principal.app_id}' with object id '{self.principal.object_id}' does not have authorization to "
                f"perform action '{action}' over scope '{scope}' or the scope is invalid. If access was recently granted, "
                "please refresh your credentials.",
            )

    def group_id(self) -> str:
        """The resource id of the path's resource group, which must exist."""
        name = self.groups["rg"]
        if name.lower() not in self.world.resource_groups:
            raise refuse(404, "ResourceGroupNotFound", f"Resource group '{name}' could not be found.")
        found = self.world.resource_groups[name.lower()]["name"]
        return f"/subscriptions/{self.world.subscription_id}/resourceGroups/{found}"

    def page(self, items: list[t.Any], size: int) -> Response:
        """One page of a list; ``nextLink`` is absolute, as the SDKs want it."""
        token = self.request.param("$skiptoken")
        start = int(token) if token and token.isdigit() else 0
        document: dict[str, t.Any] = {"value": items[start : start + size]}
        if start + size < len(items):
            kept = "&".join(f"{k}={v}" for k, v in self.request.query if k not in ("$skiptoken",))
            document["nextLink"] = f"{self.request.base_url}{self.request.path}?{kept}&%24skiptoken={start + size}"
        return Response.of(document)

    def not_found(self, kind: str, name: str) -> Exception:
        return refuse(
            404,
            "ResourceNotFound",
            f"The Resource '{kind}/{name}' under resource group '{self.groups.get('rg', '')}' was not found. "
            "For more details please go to https://aka.ms/ARMResourceNotFoundFix",
        )


@dataclasses.dataclass
class Route:
    """A method and path pattern with the api-versions and query parameters it takes."""

    name: str
    method: str
    pattern: re.Pattern[str]
    versions: t.Container[str]
    handler: Handler
    query: frozenset[str]


def route(
    name: str, method: str, path: str, versions: t.Container[str], handler: Handler, *query: str
) -> Route:
    """``path`` names its variable segments in braces; segments compare without regard to case."""
    pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path)
    return Route(name, method, re.compile(f"{pattern}/?", re.IGNORECASE), versions, handler, frozenset({"api-version", *query}))
