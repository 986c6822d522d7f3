# SPDX-License-Identifier: GPL-3.0-or-later
"""Scale sets of confidential VMs: made, read, listed, given identities; instances follow by manual upgrade."""

from __future__ import annotations

import typing as t

from ...core.messages import Response
from ...core.world import ScaleSet, World
from . import scale_set_model, skus, versions, vm_identity
from .call import Call, Route, route
from .errors import known, refuse, tags
from .operations import Operation, Operations

KIND = "Microsoft.Compute/virtualMachineScaleSets"
PAGE = 150
_EVERY = f"/subscriptions/{{sub}}/providers/{KIND}"
_GROUP = f"/subscriptions/{{sub}}/resourceGroups/{{rg}}/providers/{KIND}"
_SET = f"{_GROUP}/{{name}}"


class ScaleSets:
    def __init__(self, world: World, operations: Operations) -> None:
        self._operations = operations
        self._running: dict[str, tuple[Operation, vm_identity.Goal]] = {}

    def routes(self) -> list[Route]:
        takes, read, group = versions.COMPUTE, f"{KIND}/read", "/subscriptions/{sub}/resourceGroups/{rg}"
        return [
            route("scale_set_get", "GET", _SET, takes, self.get, "$expand", action=read),
            route("scale_set_put", "PUT", _SET, takes, self.put, action=f"{KIND}/write"),
            route("scale_set_patch", "PATCH", _SET, takes, self.patch, action=f"{KIND}/write"),
            route("scale_set_delete", "DELETE", _SET, takes, self.delete, "forceDeletion", action=f"{KIND}/delete"),
            route("scale_set_list", "GET", _GROUP, takes, self.list_group, "$skiptoken", action=read, scope=group),
            route(
                "scale_set_list_all", "GET", _EVERY, takes, self.list_all, "$skiptoken", action=read,
                scope="/subscriptions/{sub}",
            ),
            route(
                "scale_set_instances", "GET", f"{_SET}/virtualMachines", takes, self.instances, "$filter", "$select",
                "$expand", "$skiptoken", action=f"{KIND}/virtualMachines/read", scope=_SET,
            ),
            route(
                "scale_set_upgrade", "POST", f"{_SET}/manualupgrade", takes, self.upgrade,
                action=f"{KIND}/manualupgrade/action", scope=_SET,
            ),
        ]  # fmt: skip

    @staticmethod
    def _find(call: Call) -> ScaleSet | None:
        identifier = f"{call.group_id()}/providers/{KIND}/{call.groups['name']}"
        return call.world.scale_sets.get(identifier.lower())

    def _set(self, call: Call) -> ScaleSet:
        found = self._find(call)
        if found is None:
            raise call.not_found(KIND, call.groups["name"])
        return found

    def get(self, call: Call) -> Response:
        found = self._set(call)
        return Response.of(document(call.world, found), headers={"ETag": found.etag})

    def list_group(self, call: Call) -> Response:
        return self._list(call, call.group_id())

    def list_all(self, call: Call) -> Response:
        return self._list(call, call.subscription)

    @staticmethod
    def _list(call: Call, below: str) -> Response:
        found = [one for key, one in call.world.scale_sets.items() if key.startswith(below.lower() + "/")]
        return call.page([document(call.world, one) for one in found], PAGE)

    def put(self, call: Call) -> Response:
        body = known(call.body(), "VirtualMachineScaleSet", read_only=True)
        location = str(body.get("location") or "").replace(" ", "").lower()
        if not location:
            raise refuse(400, "LocationRequired", "The location property is required for this definition.")
        sku = body.get("sku") or {}
        size, capacity = str(sku.get("name") or ""), sku.get("capacity", 0)
        try:
            kind = skus.kind_of(size, location)
        except KeyError:
            raise refuse(409, "SkuNotAvailable", f"The requested VM size '{size}' is not available.") from None
        properties = known(body.get("properties") or {}, "VirtualMachineScaleSetProperties")
        found = scale_set_model.checked(call, properties, kind, size, location)
        mode = known(properties.get("upgradePolicy") or {}, "UpgradePolicy").get("mode") or "Manual"
        if mode not in ("Manual", "Automatic", "Rolling"):
            raise refuse(400, "InvalidParameter", f"The upgrade mode '{mode}' is invalid.")
        if not isinstance(capacity, int) or isinstance(capacity, bool) or not 0 <= capacity <= 1000:
            raise refuse(400, "InvalidParameter", f"The capacity {capacity!r} is invalid.")
        if properties.get("orchestrationMode", "Uniform") != "Uniform":
            raise refuse(
                400, "InvalidParameter", "The simulator makes scale sets with orchestration mode Uniform alone."
            )
        existing = self._find(call)
        made = existing or ScaleSet(
            call.groups["name"],
            call.world.subscription_id,
            call.group_id().rpartition("/")[2],
            location,
            size,
            capacity,
        )
        goal = vm_identity.Goal.of(made)
        if body.get("identity") is not None:
            goal = vm_identity.wanted(call, made, goal, body["identity"])
        made.size, made.capacity, made.upgrade_mode = size, capacity, str(mode)
        made.tags, made.profile, made.zones = tags(body), found, scale_set_model.zones(body)
        made.latest = {str(number) for number in range(capacity)} if existing is None else made.latest
        call.world.scale_sets[made.id.lower()] = made
        return self._begin(call, made, goal, "scale_set_put", 200 if existing else 201, True)

    def _begin(
        self, call: Call, found: ScaleSet, goal: vm_identity.Goal, name: str, status: int, changed: bool
    ) -> Response:
        before = self._running.get(found.id)
        self._operations.preempt(before[0] if before else None)
        found.provisioning_state = "Updating" if status == 200 else "Creating"

        def end() -> None:
            if goal != vm_identity.Goal.of(found) and found.upgrade_mode == "Manual":
                found.latest = set()  # instances have the new model only after their upgrade
            vm_identity.apply(call.world, found, goal)
            found.provisioning_state = "Succeeded"

        def fail() -> None:
            found.provisioning_state = "Failed"

        operation = self._operations.begin(name, found.name, end, fail)
        self._running[found.id] = (operation, goal)
        headers = self._operations.status_headers(call, operation, "Microsoft.Compute", found.location)
        return Response.of(document(call.world, found), status, headers, write=changed)

    def patch(self, call: Call) -> Response:
        found = self._set(call)
        match = call.request.headers.get("if-match")
        if match not in (None, "*", found.etag):
            raise refuse(412, "PreconditionFailed", f"The ETag of scale set '{found.name}' is {found.etag}.")
        body = known(call.body(), "VirtualMachineScaleSetUpdate")
        if any(body.get(member) for member in ("properties", "plan", "zones", "placement")):
            raise refuse(409, "OperationNotAllowed", "The simulator changes identity, tags and capacity alone.")
        capacity = scale_set_model.capacity(body, found)
        before, current = self._running.get(found.id), vm_identity.Goal.of(found)
        base = before[1] if before and before[0].status == "InProgress" else current
        goal = base if body.get("identity") is None else vm_identity.wanted(call, found, base, body["identity"])
        labels = found.tags if body.get("tags") is None else tags(body)
        changed = goal != current or labels != found.tags or capacity != found.capacity
        found.latest |= {str(number) for number in range(found.capacity, capacity)}  # new ones have the newest model
        found.tags, found.capacity = labels, capacity
        if changed:
            found.etag = f'"{int(found.etag.strip(chr(34))) + 1}"'
        return self._begin(call, found, goal, "scale_set_patch", 200, changed)

    def delete(self, call: Call) -> Response:
        found = self._find(call)
        if found is None:
            return Response(204)
        vm_identity.retire(call.world, found.system_principal)
        del call.world.scale_sets[found.id.lower()]
        return Response(200, audit={"write": True})

    def instances(self, call: Call) -> Response:
        found = self._set(call)
        return call.page(
            [
                {
                    "id": f"{found.id}/virtualMachines/{number}",
                    "name": f"{found.name}_{number}",
                    "instanceId": str(number),
                    "location": found.location,
                    "properties": {"latestModelApplied": str(number) in found.latest},
                }
                for number in range(found.capacity)
            ],
            PAGE,
        )

    def upgrade(self, call: Call) -> Response:
        found = self._set(call)
        ids = known(call.body(), "VirtualMachineScaleSetVMInstanceRequiredIDs").get("instanceIds")
        everyone = [str(number) for number in range(found.capacity)]
        if not isinstance(ids, list) or not ids or not all(one == "*" or one in everyone for one in ids):
            raise refuse(400, "InvalidParameter", "The instance ids are not those of the scale set.")
        chosen = set(everyone if "*" in ids else ids)
        changed = not chosen <= found.latest

        def end() -> None:
            found.latest |= chosen

        operation = self._operations.begin("scale_set_upgrade", found.name, end)
        where = f"providers/Microsoft.Compute/locations/{found.location}/operationResults"
        headers = self._operations.result_headers(call, operation, where)
        headers |= self._operations.status_headers(call, operation, "Microsoft.Compute", found.location)
        return Response(202, headers=headers, audit={"write": changed})


def document(world: World, found: ScaleSet) -> dict[str, t.Any]:
    made: dict[str, t.Any] = {
        "id": found.id,
        "name": found.name,
        "type": KIND,
        "location": found.location,
        "tags": found.tags,
        "etag": found.etag,
        "sku": {"name": found.size, "tier": "Standard", "capacity": found.capacity},
        "properties": {
            "orchestrationMode": "Uniform",
            "upgradePolicy": {"mode": found.upgrade_mode},
            "virtualMachineProfile": scale_set_model.shown(found.profile),
            "provisioningState": found.provisioning_state,
        },
    }
    if found.zones:
        made["zones"] = found.zones
    identity = vm_identity.document(world, found)
    return made | ({"identity": identity} if identity else {})
