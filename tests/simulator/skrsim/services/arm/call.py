# SPDX-License-Identifier: GPL-3.0-or-later
"""One authenticated ARM call, and the checks every operation shares."""

from __future__ import annotations

import dataclasses
import re
import typing as t
from urllib.parse import urlencode

from ...core import clouds
from ...core.messages import Request, Response
from ...core.world import Principal, World
from . import roles
from .errors import refuse

Handler = t.Callable[["Call"], Response]
_SKIP = ("$skiptoken", "$skipToken")


@dataclasses.dataclass
class Call:
    """A request with its caller. ``groups`` are the path's named parts; ``clause`` is what allowed the call."""

    world: World
    request: Request
    principal: Principal
    groups: dict[str, str]
    clause: str = ""

    @property
    def now(self) -> float:
        return self.world.clock.now()

    @property
    def cloud(self) -> clouds.Cloud:
        """The cloud through whose Resource Manager the call came."""
        return clouds.by_resource_manager(self.request.host) or clouds.PUBLIC

    @property
    def version(self) -> str:
        return self.request.param("api-version") or ""

    @property
    def subscription(self) -> str:
        return f"/subscriptions/{self.world.subscription_id}"

    def body(self) -> t.Any:
        """The request's JSON; the empty object when there is none."""
        try:
            document = self.request.json()
        except ValueError:
            raise refuse(
                400, "InvalidRequestContent", "The request content was invalid and could not be deserialized."
            ) from None
        return {} if document is None else document

    def needs(self, action: str, scope: str, granted_role: str | None = None) -> None:
        """Refuse unless the caller's roles allow an action at a scope."""
        assignment = roles.allows(self.world, self.principal.object_id, scope, action, False, self.now, granted_role)
        if assignment is None:
            raise refuse(
                403,
                "AuthorizationFailed",
                f"The client '{self.principal.app_id}' with object id '{self.principal.object_id}' does not have "
                f"authorization to perform action '{action}' over scope '{scope}' or the scope is invalid. If access "
                "was recently granted, please refresh your credentials.",
            )
        self.clause = f"role assignment {assignment.name}"

    def may(self, action: str, scope: str) -> bool:
        return roles.allows(self.world, self.principal.object_id, scope, action, False, self.now) is not None

    def group_id(self) -> str:
        """The resource id of the path's resource group, which must exist."""
        name = self.groups["rg"]
        found = self.world.resource_groups.get(name.lower())
        if found is None:
            raise refuse(404, "ResourceGroupNotFound", f"Resource group '{name}' could not be found.")
        return f"{self.subscription}/resourceGroups/{found['name']}"

    def page(self, items: t.Iterable[dict[str, t.Any]], size: int, skip: str = "$skiptoken") -> Response:
        """One page of a list in the order of the ids. ``nextLink`` is absolute; the last page has none."""
        ordered = sorted(items, key=lambda item: str(item.get("id", "")).lower())
        token = self.request.param(_SKIP[0]) or self.request.param(_SKIP[1]) or "0"
        if not token.isdigit():
            raise refuse(400, "InvalidSkipToken", f"The skip token '{token}' is not valid.")
        start = int(token)
        document: dict[str, t.Any] = {"value": ordered[start : start + size]}
        if start + size < len(ordered):
            kept = [pair for pair in self.request.query if pair[0] not in _SKIP]
            query = urlencode([*kept, (skip, str(start + size))])
            document["nextLink"] = f"{self.request.base_url}{self.request.path}?{query}"
        return Response.of(document)

    def top(self, most: int) -> int:
        """The page size that ``$top`` asks for, at most what the service gives."""
        text = self.request.param("$top")
        if text is None:
            return most
        if not text.isdigit() or int(text) < 1:
            raise refuse(400, "InvalidParameter", f"The value '{text}' of the query parameter '$top' is not valid.")
        return min(int(text), most)

    def not_found(self, kind: str, name: str) -> Exception:
        return refuse(
            404,
            "ResourceNotFound",
            f"The Resource '{kind}/{name}' under resource group '{self.groups.get('rg', '')}' was not found. "
            "For more details please go to https://aka.ms/ARMResourceNotFoundFix",
        )


@dataclasses.dataclass
class Route:
    """A method and path with the api-versions and query parameters it takes and the permission it needs."""

    name: str
    method: str
    pattern: re.Pattern[str]
    versions: t.Container[str]
    handler: Handler
    query: frozenset[str]
    action: str
    scope: str

    def authorize(self, call: Call) -> None:
        if self.action:
            call.needs(self.action, re.sub(r"\{(\w+)\}", lambda part: call.groups[part[1]], self.scope))


def route(
    name: str,
    method: str,
    path: str,
    versions: t.Container[str],
    handler: Handler,
    *query: str,
    action: str = "",
    scope: str | None = None,
) -> Route:
    """``path`` names its variable segments in braces (``{scope}``: any number of segments); case is not looked at.

    ``action`` is checked at ``scope``, by default the path itself, before the handler runs. Without an action the
    handler decides.
    """
    parts = re.split(r"\{(\w+)\}", path)  # text, name, text, name, ... text
    parts[0::2] = [re.escape(text) for text in parts[0::2]]
    parts[1::2] = [f"(?P<{part}>{'.*?' if part == 'scope' else '[^/]+'})" for part in parts[1::2]]
    compiled = re.compile("".join(parts) + "/?", re.IGNORECASE)
    parameters = frozenset({"api-version", *query})
    return Route(name, method, compiled, versions, handler, parameters, action, path if scope is None else scope)
