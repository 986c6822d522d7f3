# SPDX-License-Identifier: GPL-3.0-or-later
"""Role definitions: get, and list with the filters that clients use."""

from __future__ import annotations

import re
import typing as t

from ...core.messages import Response
from . import roles, versions
from .call import Call, Route, route
from .errors import refuse

_A = "/providers/Microsoft.Authorization"
_TERM = re.compile(
    r"roleName eq '(?P<name>[^']+)'|type eq '(?P<type>[^']+)'|atScopeAndBelow\(\)|atScope\(\)", re.IGNORECASE
)


class RoleDefinitions:
    def routes(self) -> list[Route]:
        here, takes = f"{{scope}}{_A}/roleDefinitions", versions.AUTHORIZATION
        return [
            route("definition_list", "GET", here, takes, self.list, "$filter"),
            route("definition_get", "GET", f"{here}/{{name}}", takes, self.get),
        ]

    @staticmethod
    def _authorize(call: Call) -> None:
        """Built-in definitions at the tenant's root are for everybody to read."""
        scope = call.groups["scope"].rstrip("/")
        if scope:
            call.needs("Microsoft.Authorization/roleDefinitions/read", scope)

    def get(self, call: Call) -> Response:
        self._authorize(call)
        role = roles.ROLES.get(call.groups["name"].lower())
        if role is None:
            raise missing(call.groups["name"])
        return Response.of(document(call, role))

    def list(self, call: Call) -> Response:
        self._authorize(call)
        name, kind = None, None
        for term in re.split(r" and ", call.request.param("$filter") or "", flags=re.IGNORECASE):
            found = _TERM.fullmatch(term.strip())
            if term and not found:
                raise refuse(400, "InvalidFilter", f"The filter '{call.request.param('$filter')}' is not supported.")
            name, kind = (found and found["name"]) or name, (found and found["type"]) or kind
        chosen = [
            document(call, role)
            for role in roles.ROLES.values()
            if (name is None or role.name.lower() == name.lower()) and (kind is None or kind.lower() == "builtinrole")
        ]
        return call.page(chosen, 100)


def missing(name: str) -> Exception:
    return refuse(404, "RoleDefinitionDoesNotExist", f"The specified role definition with ID '{name}' does not exist.")


def document(call: Call, role: roles.Role) -> dict[str, t.Any]:
    permission: dict[str, t.Any] = {
        "actions": list(role.actions),
        "notActions": list(role.not_actions),
        "dataActions": list(role.data_actions),
        "notDataActions": list(role.not_data_actions),
    }
    if role.grantable is not None:
        kinds = (("write", "Request"), ("delete", "Resource"))
        permission["conditionVersion"] = "2.0"
        permission["condition"] = " AND ".join(
            f"((!(ActionMatches{{'Microsoft.Authorization/roleAssignments/{action}'}})) OR "
            f"(@{source}[Microsoft.Authorization/roleAssignments:RoleDefinitionId] ForAnyOfAnyValues:GuidEquals"
            f"{{{', '.join(role.grantable)}}}))"
            for action, source in kinds
        )
    return {
        "id": f"{call.subscription}{_A}/roleDefinitions/{role.id}",
        "name": role.id,
        "type": "Microsoft.Authorization/roleDefinitions",
        "properties": {
            "roleName": role.name,
            "type": "BuiltInRole",
            "description": f"SIMULATED definition of the built-in role {role.name}",
            "assignableScopes": ["/"],
            "permissions": [permission],
        },
    }
