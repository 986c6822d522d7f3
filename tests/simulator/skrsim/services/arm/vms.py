# SPDX-License-Identifier: GPL-3.0-or-later
"""Virtual machines: made, deleted, read, listed, and PATCH of identity and tags."""

from __future__ import annotations

import re
import typing as t

from ...core.messages import Response
from ...core.world import VirtualMachine, World
from . import versions, vm_identity, vm_model
from .call import Call, Route, route
from .errors import known, refuse, tags
from .operations import Operation, Operations

KIND = "Microsoft.Compute/virtualMachines"
PAGE = 150  # what the real service gives is between 120 and 200
_EVERY = f"/subscriptions/{{sub}}/providers/{KIND}"
_GROUP = f"/subscriptions/{{sub}}/resourceGroups/{{rg}}/providers/{KIND}"
_VM = f"{_GROUP}/{{vm}}"
_SCALE_SET = re.compile(r"'?virtualMachineScaleSet/id'? eq '[^']*'", re.IGNORECASE)


def find(world: World, group: str, name: str) -> VirtualMachine | None:
    """The VM of that name in a resource group (by id)."""
    found = world.vms.get(name) or next((vm for vm in world.vms.values() if vm.name.lower() == name.lower()), None)
    return found if found and found.id.lower().startswith(group.lower() + "/") else None


def in_group(world: World, group: str) -> list[VirtualMachine]:
    return [vm for vm in world.vms.values() if vm.id.lower().startswith(group.lower() + "/")]


class VirtualMachines:
    def __init__(self, world: World, operations: Operations) -> None:
        self._operations = operations
        self._running: dict[str, tuple[Operation, vm_identity.Goal]] = {}  # VM name -> its last operation

    def routes(self) -> list[Route]:
        read, group = f"{KIND}/read", "/subscriptions/{sub}/resourceGroups/{rg}"
        takes = versions.COMPUTE
        identity = f"{_VM}/providers/Microsoft.ManagedIdentity/identities/default"
        return [
            route("vm_get", "GET", _VM, takes, self.get, "$expand", action=read),
            route(
                "vm_instance_view", "GET", f"{_VM}/instanceView", takes, self.instance_view,
                action=f"{KIND}/instanceView/read", scope=_VM,
            ),
            route("vm_put", "PUT", _VM, takes, self.put, action=f"{KIND}/write"),
            route("vm_delete", "DELETE", _VM, takes, self.delete, "forceDeletion", action=f"{KIND}/delete"),
            route("vm_patch", "PATCH", _VM, takes, self.patch, action=f"{KIND}/write"),
            route(
                "vm_list", "GET", _GROUP, takes, self.list_group, "$filter", "$expand", "$skiptoken",
                action=read, scope=group,
            ),
            route(
                "vm_list_all", "GET", _EVERY, takes, self.list_all, "$filter", "$expand", "statusOnly", "$skiptoken",
                action=read, scope="/subscriptions/{sub}",
            ),
            route(
                "vm_system_identity", "GET", identity, versions.IDENTITY, self.system_identity,
                action=read, scope=_VM,
            ),
        ]  # fmt: skip

    def _vm(self, call: Call) -> VirtualMachine:
        found = find(call.world, call.group_id(), call.groups["vm"])
        if found is None:
            raise call.not_found(KIND, call.groups["vm"])
        return found

    # --- reading

    def get(self, call: Call) -> Response:
        vm = self._vm(call)
        expand = _one_of(call, "$expand", "instanceView", "userData", "resiliencyView")
        return Response.of(document(call.world, vm, expand == "instanceView"), headers={"ETag": vm.etag})

    def instance_view(self, call: Call) -> Response:
        return Response.of(view(self._vm(call)))

    def list_group(self, call: Call) -> Response:
        return self._list(call, in_group(call.world, call.group_id()))

    def list_all(self, call: Call) -> Response:
        return self._list(call, list(call.world.vms.values()))

    def _list(self, call: Call, vms: list[VirtualMachine]) -> Response:
        """There is no filter on the security type; the one on scale sets finds none here."""
        text = call.request.param("$filter")
        if text is not None and not _SCALE_SET.fullmatch(text):
            raise refuse(400, "InvalidParameter", f"The filter '{text}' is not supported.")
        status = _one_of(call, "statusOnly", "true", "false") == "true"
        expand = _one_of(call, "$expand", "instanceView")
        chosen = [] if text is not None else vms
        return call.page([document(call.world, vm, status or expand is not None) for vm in chosen], PAGE)

    def system_identity(self, call: Call) -> Response:
        vm = self._vm(call)
        if vm.system_principal is None:
            raise call.not_found("Microsoft.ManagedIdentity/identities", "default")
        principal = call.world.principals[vm.system_principal]
        properties = {
            "tenantId": call.world.tenant_id, "principalId": principal.object_id, "clientId": principal.app_id,
        }  # fmt: skip
        kind = "Microsoft.ManagedIdentity/identities"
        identifier = f"{vm.id}/providers/{kind}/default"
        answer = {"id": identifier, "name": "default", "type": kind, "location": vm.location}
        return Response.of(answer | {"properties": properties})

    # --- writing

    def put(self, call: Call) -> Response:
        """A new VM is there at once, in state Creating; its identity and instance view come with the operation's end."""
        group, name = call.group_id(), call.groups["vm"]
        existing = find(call.world, group, name)
        if existing is None and any(vm.name.lower() == name.lower() for vm in call.world.vms.values()):
            raise refuse(409, "Conflict", f"The simulator has a VM '{name}' in another resource group.")
        if existing is not None:
            _preconditions(call, existing)
        body = known(call.body(), "VirtualMachine", read_only=True)
        made = vm_model.made(call, body, existing)
        goal = vm_identity.Goal.of(existing or made)
        if body.get("identity") is not None:
            goal = vm_identity.wanted(call, existing or made, goal, body["identity"])
        labels = tags(body)
        if existing is not None:
            if existing.size.lower() != made.size.lower() and existing.power_state != "deallocated":
                raise refuse(409, "OperationNotAllowed", f"VM '{name}' must be deallocated to change its size.")
            changed = goal != vm_identity.Goal.of(existing) or labels != existing.tags or made.size != existing.size
            existing.tags, existing.size, existing.profile = labels, made.size, made.profile
            vm = existing
        else:
            made.tags, made.power_state, changed = labels, "starting", True
            call.world.vms[made.name] = vm = made
        vm.provisioning_state = "Updating" if existing else "Creating"
        before = self._running.get(vm.name)
        self._operations.preempt(before[0] if before else None)
        operation = self._operations.begin("vm_put", vm.name, lambda: _succeed(call.world, vm, goal), lambda: _fail(vm))
        self._running[vm.name] = (operation, goal)
        headers = self._operations.status_headers(call, operation, "Microsoft.Compute", vm.location)
        return Response.of(
            document(call.world, vm), 200 if existing else 201, {**headers, "ETag": vm.etag}, write=changed
        )

    def delete(self, call: Call) -> Response:
        vm = find(call.world, call.group_id(), call.groups["vm"])
        if vm is None:
            return Response(204)
        vm.provisioning_state = "Deleting"
        before = self._running.pop(vm.name, None)
        self._operations.preempt(before[0] if before else None)
        operation = self._operations.begin("vm_delete", vm.name, lambda: _remove(call.world, vm), lambda: _fail(vm))
        status = self._operations.status_headers(call, operation, "Microsoft.Compute", vm.location)
        where = f"providers/Microsoft.Compute/locations/{vm.location}/operationResults"
        return Response(
            202, headers={**self._operations.result_headers(call, operation, where), **status}, audit={"write": True}
        )

    def patch(self, call: Call) -> Response:
        """The answer is 200 with what was, while the operation runs; what will be shows when it has ended."""
        vm = self._vm(call)
        _preconditions(call, vm)
        body = known(call.body(), "VirtualMachineUpdate")
        if any(body.get(member) for member in ("properties", "plan", "zones")):
            message = "The simulator changes a VM's identity and tags and nothing else."
            raise refuse(409, "OperationNotAllowed", message)
        before = self._running.get(vm.name)
        current = vm_identity.Goal.of(vm)
        base = before[1] if before and before[0].status == "InProgress" else current
        goal = base if body.get("identity") is None else vm_identity.wanted(call, vm, base, body["identity"])
        labels = vm.tags if body.get("tags") is None else tags(body)
        changed = goal != current or labels != vm.tags
        vm.tags = labels
        if changed:
            vm.etag = f'"{int(vm.etag.strip(chr(34))) + 1}"'
        self._operations.preempt(before[0] if before else None)
        vm.provisioning_state = "Updating"
        operation = self._operations.begin(
            "vm_patch", vm.name, lambda: _succeed(call.world, vm, goal), lambda: _fail(vm)
        )
        self._running[vm.name] = (operation, goal)
        headers = self._operations.status_headers(call, operation, "Microsoft.Compute", vm.location)
        return Response.of(document(call.world, vm), headers={**headers, "ETag": vm.etag}, write=changed)


def _succeed(world: World, vm: VirtualMachine, goal: vm_identity.Goal) -> None:
    vm_identity.apply(world, vm, goal)
    vm.provisioning_state = "Succeeded"
    if vm.power_state == "starting":
        vm.power_state = "running"


def _remove(world: World, vm: VirtualMachine) -> None:
    """With the VM go its system identity and the interfaces that are marked to be deleted with it."""
    vm_identity.retire(world, vm.system_principal)
    world.vms.pop(vm.name, None)
    for reference in vm.profile.get("networkProfile", {}).get("networkInterfaces", []):
        if (reference.get("properties") or {}).get("deleteOption") == "Delete":
            world.resources.pop(str(reference["id"]).lower(), None)


def _fail(vm: VirtualMachine) -> None:
    vm.provisioning_state = "Failed"


def _preconditions(call: Call, vm: VirtualMachine) -> None:
    """If-Match and If-None-Match (RFC 9110, sections 13.1.1 and 13.1.2)."""
    match, none_match = (call.request.headers.get(name) for name in ("if-match", "if-none-match"))
    if match not in (None, "*", vm.etag) or (none_match is not None and none_match in ("*", vm.etag)):
        raise refuse(412, "PreconditionFailed", f"The precondition for VM '{vm.name}' failed: its ETag is {vm.etag}.")


def _one_of(call: Call, parameter: str, *values: str) -> str | None:
    text = call.request.param(parameter)
    if text is not None and text.lower() not in (value.lower() for value in values):
        raise refuse(400, "InvalidParameter", f"The value '{text}' of the query parameter '{parameter}' is not valid.")
    return next((value for value in values if text is not None and value.lower() == text.lower()), None)


def document(world: World, vm: VirtualMachine, with_view: bool = False) -> dict[str, t.Any]:
    security: dict[str, t.Any] = {"securityEncryptionType": vm.encryption}
    confidential = {"securityProfile": security} if vm.security_type == "ConfidentialVM" else {}
    properties: dict[str, t.Any] = {
        "vmId": vm.vm_id,
        "hardwareProfile": {"vmSize": vm.size},
        "securityProfile": {
            "securityType": vm.security_type,
            "uefiSettings": {"secureBootEnabled": vm.secure_boot, "vTpmEnabled": vm.v_tpm},
        },
        "storageProfile": {"osDisk": {"osType": "Linux", "createOption": "FromImage", "managedDisk": confidential}},
        "osProfile": {"computerName": vm.name, "adminUsername": "azureuser"},
        "provisioningState": vm.provisioning_state,
        **(vm_model.shown(vm) if vm.profile else {}),
    }
    if with_view:
        properties["instanceView"] = view(vm)
    found: dict[str, t.Any] = {
        "id": vm.id,
        "name": vm.name,
        "type": KIND,
        "location": vm.location,
        "tags": vm.tags,
        "etag": vm.etag,
        "properties": properties,
    }
    if vm.zones:
        found["zones"] = vm.zones
    identity = vm_identity.document(world, vm)
    return found | ({"identity": identity} if identity else {})


def view(vm: VirtualMachine) -> dict[str, t.Any]:
    """The instance view: what the platform sees of the running guest."""
    state = vm.provisioning_state.lower()
    return {
        "computerName": vm.name,
        "osName": "ubuntu",
        "osVersion": "24.04",
        "hyperVGeneration": "V2",
        "statuses": [
            {"code": f"ProvisioningState/{state}", "level": "Info", "displayStatus": f"Provisioning {state}"},
            {"code": f"PowerState/{vm.power_state}", "level": "Info", "displayStatus": f"VM {vm.power_state}"},
        ],
    }
