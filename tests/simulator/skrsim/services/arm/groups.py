# SPDX-License-Identifier: GPL-3.0-or-later
"""Resource groups. Deleting one takes what is in it; vaults go to the deleted ones."""

from __future__ import annotations

import re
import typing as t

from ...core.messages import Response
from ...core.world import World
from . import attestation_providers, versions, vm_identity
from .call import Call, Route, route
from .deleted_vaults import DeletedVaults, drop_assignments
from .errors import known, refuse, tags
from .identities import Identities
from .managed_hsms import ManagedHsms
from .operations import Operations

KIND = "Microsoft.Resources/subscriptions/resourceGroups"
_GROUP = "/subscriptions/{sub}/resourceGroups/{rg}"
_NAME = re.compile(r"[\w().-]{0,89}[\w()-]")


class Groups:
    def __init__(
        self, operations: Operations, deleted: DeletedVaults, hsms: ManagedHsms, identities: Identities
    ) -> None:
        self._operations, self._deleted, self._hsms, self._identities = operations, deleted, hsms, identities

    def routes(self) -> list[Route]:
        takes, read, everywhere = versions.RESOURCES, f"{KIND}/read", "/subscriptions/{sub}/resourceGroups"
        return [
            route("group_list", "GET", everywhere, takes, self.list, "$top", "$skiptoken"),
            route("group_get", "GET", _GROUP, takes, self.get, action=read),
            route("group_head", "HEAD", _GROUP, takes, self.head, action=read),
            route("group_put", "PUT", _GROUP, takes, self.put, action=f"{KIND}/write"),
            route("group_delete", "DELETE", _GROUP, takes, self.delete, "forceDeletionTypes", action=f"{KIND}/delete"),
        ]

    def list(self, call: Call) -> Response:
        """The groups that the caller may read."""
        found = [document(call.world, name) for name in call.world.resource_groups]
        return call.page([group for group in found if call.may(f"{KIND}/read", group["id"])], call.top(100))

    def get(self, call: Call) -> Response:
        call.group_id()
        return Response.of(document(call.world, call.groups["rg"]))

    def head(self, call: Call) -> Response:
        return Response(204 if call.groups["rg"].lower() in call.world.resource_groups else 404)

    def put(self, call: Call) -> Response:
        name = call.groups["rg"]
        body = known(call.body(), "ResourceGroup")
        if not _NAME.fullmatch(name):
            message = f"The provided resource group name '{name}' has invalid characters."
            raise refuse(400, "InvalidResourceGroup", message)
        location, labels = str(body.get("location") or "").replace(" ", "").lower(), tags(body)
        if not location:
            raise refuse(400, "LocationRequired", "The location property is required for this definition.")
        found = call.world.resource_groups.get(name.lower())
        if found is not None and found["location"] != location:
            raise refuse(
                409,
                "InvalidResourceGroupLocation",
                f"Invalid resource group location '{location}'. The Resource group already exists in location "
                f"'{found['location']}'.",
            )
        new = found is None
        wanted = {"name": found["name"] if found else name, "location": location, "tags": labels}
        changed = new or labels != (found or {}).get("tags", {})
        call.world.resource_groups[name.lower()] = wanted
        return Response.of(document(call.world, name), 201 if new else 200, write=changed)

    def delete(self, call: Call) -> Response:
        group, world = call.group_id(), call.world
        name = group.rpartition("/")[2]
        world.resource_groups[name.lower()]["state"] = "Deleting"
        operation = self._operations.begin("group_delete", name, lambda: self._remove(world, group))
        headers = self._operations.result_headers(call, operation, "operationresults")
        return Response(202, headers=headers, audit={"write": True})

    def _remove(self, world: World, group: str) -> None:
        below = group.lower() + "/"
        for vm in [vm for vm in world.vms.values() if vm.id.lower().startswith(below)]:
            vm_identity.retire(world, vm.system_principal)
            del world.vms[vm.name]
        for identifier, scale_set in list(world.scale_sets.items()):
            if identifier.startswith(below):
                vm_identity.retire(world, scale_set.system_principal)
                del world.scale_sets[identifier]
        for identifier in [identifier for identifier in world.resources if identifier.startswith(below)]:
            del world.resources[identifier]
        for vault in [vault for vault in world.vaults.values() if vault.id.lower().startswith(below)]:
            self._deleted.delete(world, vault)
        for hsm in [hsm for hsm in world.hsms.values() if hsm.id.lower().startswith(below)]:
            self._hsms.remove(world, hsm)
        for identifier in [identifier for identifier in world.user_identities if identifier.startswith(below)]:
            self._identities.remove(world, identifier)
        for identifier in [identifier for identifier in world.attestation_providers if identifier.startswith(below)]:
            attestation_providers.remove(world, identifier)
        drop_assignments(world, group)
        world.resource_groups.pop(group.rpartition("/")[2].lower(), None)


def document(world: World, name: str) -> dict[str, t.Any]:
    found = world.resource_groups[name.lower()]
    return {
        "id": f"/subscriptions/{world.subscription_id}/resourceGroups/{found['name']}",
        "name": found["name"],
        "type": "Microsoft.Resources/resourceGroups",
        "location": found["location"],
        "tags": found.get("tags", {}),
        "properties": {"provisioningState": found.get("state", "Succeeded")},
    }
