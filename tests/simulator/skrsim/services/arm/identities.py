# SPDX-License-Identifier: GPL-3.0-or-later
"""User-assigned managed identities."""

from __future__ import annotations

import re
import typing as t

from ...core.messages import Response
from ...core.world import ScaleSet, UserIdentity, VirtualMachine, World
from . import versions, vm_identity
from .call import Call, Route, route
from .errors import known, refuse, tags

KIND = "Microsoft.ManagedIdentity/userAssignedIdentities"
PAGE = 100
_EVERY = f"/subscriptions/{{sub}}/providers/{KIND}"
_GROUP = f"/subscriptions/{{sub}}/resourceGroups/{{rg}}/providers/{KIND}"
_ONE = f"{_GROUP}/{{name}}"
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]{2,127}")


class Identities:
    def __init__(self, world: World) -> None:
        self._tags: dict[str, dict[str, str]] = {}  # lower ARM id -> tags

    def routes(self) -> list[Route]:
        takes, read = versions.IDENTITY, f"{KIND}/read"
        sub, group = "/subscriptions/{sub}", "/subscriptions/{sub}/resourceGroups/{rg}"
        skip = ("$top", "$skiptoken")
        return [
            route("identity_get", "GET", _ONE, takes, self.get, action=read),
            route("identity_put", "PUT", _ONE, takes, self.put, action=f"{KIND}/write"),
            route("identity_delete", "DELETE", _ONE, takes, self.delete, action=f"{KIND}/delete"),
            route("identity_list", "GET", _GROUP, takes, self.list_group, *skip, action=read, scope=group),
            route("identity_list_all", "GET", _EVERY, takes, self.list_all, *skip, action=read, scope=sub),
        ]

    def _id(self, call: Call) -> str:
        return f"{call.group_id()}/providers/{KIND}/{call.groups['name']}"

    def get(self, call: Call) -> Response:
        found = call.world.user_identities.get(self._id(call).lower())
        if found is None:
            raise call.not_found(KIND, call.groups["name"])
        return Response.of(self._document(call.world, found))

    def put(self, call: Call) -> Response:
        identifier, name = self._id(call), call.groups["name"]
        body = known(call.body(), "Identity")
        known(body.get("properties") or {}, "IdentityProperties")
        if not _NAME.fullmatch(name):
            raise refuse(400, "InvalidResourceName", f"The resource name '{name}' is invalid.")
        location, labels = str(body.get("location") or "").replace(" ", "").lower(), tags(body)
        if not location:
            raise refuse(400, "LocationRequired", "The location property is required for this definition.")
        found = call.world.user_identities.get(identifier.lower())
        if found is not None and found.location != location:
            raise refuse(
                409,
                "InvalidResourceLocation",
                f"The resource '{name}' already exists in location '{found.location}'. A resource with the same name "
                f"cannot be created in location '{location}'.",
            )
        new = found is None
        if found is None:
            principal = call.world.new_managed_identity(name, identifier)
            found = UserIdentity(identifier, name, location, principal.object_id, principal.app_id)
            call.world.user_identities[identifier.lower()] = found
        changed = new or labels != self._tags.get(identifier.lower(), {})
        self._tags[identifier.lower()] = labels
        return Response.of(self._document(call.world, found), 201 if new else 200, write=changed)

    def delete(self, call: Call) -> Response:
        if self._id(call).lower() not in call.world.user_identities:
            return Response(204)
        self.remove(call.world, self._id(call))
        return Response(200, audit={"write": True})

    def remove(self, world: World, identifier: str) -> None:
        """Take an identity away, from the VMs that have it too."""
        found = world.user_identities.pop(identifier.lower())
        self._tags.pop(identifier.lower(), None)
        vm_identity.retire(world, found.principal_id)
        users: list[VirtualMachine | ScaleSet] = [*world.vms.values(), *world.scale_sets.values()]
        for vm in users:
            vm.user_identities = [user for user in vm.user_identities if user.lower() != identifier.lower()]

    def list_group(self, call: Call) -> Response:
        return self._list(call, call.group_id())

    def list_all(self, call: Call) -> Response:
        return self._list(call, call.subscription)

    def _list(self, call: Call, below: str) -> Response:
        found = call.world.user_identities.values()
        chosen = [self._document(call.world, one) for one in found if one.id.lower().startswith(below.lower() + "/")]
        return call.page(chosen, call.top(PAGE))

    def _document(self, world: World, one: UserIdentity) -> dict[str, t.Any]:
        return {
            "id": one.id,
            "name": one.name,
            "type": KIND,
            "location": one.location,
            "tags": self._tags.get(one.id.lower(), {}),
            "properties": {"tenantId": world.tenant_id, "principalId": one.principal_id, "clientId": one.client_id},
        }
