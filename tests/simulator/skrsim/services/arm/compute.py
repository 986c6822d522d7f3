# SPDX-License-Identifier: GPL-3.0-or-later
"""Virtual machines: get, list, instance view, and PATCH of the identity."""

from __future__ import annotations

import typing as t

from ...core.messages import Response
from ...core.world import VirtualMachine
from .call import Call, Route, route
from .errors import known, refuse
from .operations import Operations

VERSIONS = ("2023-07-01", "2024-03-01", "2024-07-01", "2024-11-01", "2025-04-01", "2025-11-01", "2026-04-01")
IDENTITY_TYPES = ("SystemAssigned", "UserAssigned", "SystemAssigned, UserAssigned", "None")
UPDATE_MEMBERS = ("identity", "tags", "plan", "zones", "properties")
IDENTITY_MEMBERS = ("type", "userAssignedIdentities", "principalId", "tenantId")
PAGE = 50
_V = "/subscriptions/{sub}/resourceGroups/{rg}/providers/Microsoft.Compute/virtualMachines"


class Compute:
    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    def routes(self) -> list[Route]:
        everywhere = "/subscriptions/{sub}/providers/Microsoft.Compute/virtualMachines"
        return [
            route("vm_get", "GET", f"{_V}/{{vm}}", VERSIONS, self.get, "$expand"),
            route("vm_instance_view", "GET", f"{_V}/{{vm}}/instanceView", VERSIONS, self.instance_view),
            route("vm_patch", "PATCH", f"{_V}/{{vm}}", VERSIONS, self.patch),
            route("vm_list", "GET", _V, VERSIONS, self.list_group, "$filter", "$expand", "$skiptoken"),
            route(
                "vm_list_all",
                "GET",
                everywhere,
                VERSIONS,
                self.list_all,
                "$filter",
                "$expand",
                "statusOnly",
                "$skiptoken",
            ),
        ]

    def _vm(self, call: Call) -> VirtualMachine:
        group, name = call.group_id(), call.groups["vm"]
        for vm in call.world.vms.values():
            if vm.name.lower() == name.lower() and vm.id.lower().startswith(group.lower() + "/"):
                return vm
        raise call.not_found("Microsoft.Compute/virtualMachines", name)

    def get(self, call: Call) -> Response:
        vm = self._vm(call)
        call.needs("Microsoft.Compute/virtualMachines/read", vm.id)
        expand = call.request.param("$expand")
        if expand not in (None, "instanceView", "userData"):
            raise refuse(400, "InvalidParameter", f"$expand={expand} is not supported.")
        return Response.of(document(call, vm, expand == "instanceView"), headers={"ETag": vm.etag})

    def instance_view(self, call: Call) -> Response:
        vm = self._vm(call)
        call.needs("Microsoft.Compute/virtualMachines/instanceView/read", vm.id)
        return Response.of(view(vm))

    def list_group(self, call: Call) -> Response:
        group = call.group_id()
        call.needs("Microsoft.Compute/virtualMachines/read", group)
        vms = [vm for vm in call.world.vms.values() if vm.id.lower().startswith(group.lower() + "/")]
        return call.page([document(call, vm, False) for vm in vms], PAGE)

    def list_all(self, call: Call) -> Response:
        call.needs("Microsoft.Compute/virtualMachines/read", f"/subscriptions/{call.world.subscription_id}")
        status = call.request.param("statusOnly") == "true"
        return call.page([document(call, vm, status) for vm in call.world.vms.values()], PAGE)

    def patch(self, call: Call) -> Response:
        vm = self._vm(call)
        call.needs("Microsoft.Compute/virtualMachines/write", vm.id)
        wanted = call.request.headers.get("if-match")
        if wanted not in (None, "*", vm.etag):
            raise refuse(412, "PreconditionFailed", "The ETag of the resource has changed.")
        body = known(call.body(), UPDATE_MEMBERS, "VirtualMachineUpdate")
        if body.get("properties") or body.get("plan") or body.get("zones"):
            raise refuse(400, "OperationNotAllowed", "This lab changes identity and tags of a VM and nothing else.")
        changes = self._identity(call, vm, body["identity"]) if "identity" in body else None
        if "tags" in body:
            vm.tags = dict(body["tags"] or {})
        vm.provisioning_state = "Updating"
        vm.etag = f'"{int(vm.etag.strip(chr(34))) + 1}"'

        def finish() -> None:
            vm.provisioning_state = "Succeeded"
            if changes:
                changes()

        headers = self._operations.start(call, "Microsoft.Compute/locations/" + vm.location, finish)
        return Response.of(document(call, vm, False), headers={**headers, "ETag": vm.etag}, write=True)

    def _identity(self, call: Call, vm: VirtualMachine, body: t.Any) -> t.Callable[[], None]:
        """What the identity will be. ``type`` is authoritative; a null value removes one user identity."""
        identity = known(body, IDENTITY_MEMBERS, "VirtualMachineIdentity")
        kind = identity.get("type")
        if kind not in IDENTITY_TYPES:
            raise refuse(400, "InvalidParameter", f"The identity type '{kind}' is not valid.")
        users = list(vm.user_identities)
        for wanted, value in (identity.get("userAssignedIdentities") or {}).items():
            same = [user for user in users if user.lower() == wanted.lower()]
            if value is None:
                users = [user for user in users if user not in same]
            elif wanted.lower() not in call.world.user_identities:
                raise refuse(404, "ResourceNotFound", f"The identity '{wanted}' was not found.")
            elif not same:
                users.append(call.world.user_identities[wanted.lower()].id)
        if "UserAssigned" not in kind:
            users = []
        elif not users:
            raise refuse(400, "InvalidParameter", "UserAssigned needs at least one entry in userAssignedIdentities.")

        def apply() -> None:
            vm.user_identities = users
            if "SystemAssigned" not in kind:
                vm.system_principal = None
            elif vm.system_principal is None:
                vm.system_principal = call.world.new_managed_identity(vm.name, vm.id).object_id
            vm.identity_visible_at = call.world.clock.now() + call.world.delays.identity_visible

        return apply


def identity_document(call: Call, vm: VirtualMachine) -> dict[str, t.Any] | None:
    kinds = [
        kind for kind, there in (("SystemAssigned", vm.system_principal), ("UserAssigned", vm.user_identities)) if there
    ]
    if not kinds:
        return None
    found: dict[str, t.Any] = {"type": ", ".join(kinds)}
    if vm.system_principal:
        found |= {"principalId": vm.system_principal, "tenantId": call.world.tenant_id}
    if vm.user_identities:
        users = [call.world.user_identities[user.lower()] for user in vm.user_identities]
        found["userAssignedIdentities"] = {
            u.id: {"principalId": u.principal_id, "clientId": u.client_id} for u in users
        }
    return found


def document(call: Call, vm: VirtualMachine, with_view: bool) -> dict[str, t.Any]:
    properties: dict[str, t.Any] = {
        "vmId": vm.vm_id,
        "hardwareProfile": {"vmSize": vm.size},
        "securityProfile": {
            "securityType": vm.security_type,
            "uefiSettings": {"secureBootEnabled": vm.secure_boot, "vTpmEnabled": True},
        },
        "storageProfile": {
            "osDisk": {
                "osType": "Linux",
                "createOption": "FromImage",
                "managedDisk": {"securityProfile": {"securityEncryptionType": "VMGuestStateOnly"}},
            }
        },
        "provisioningState": vm.provisioning_state,
    }
    if with_view:
        properties["instanceView"] = view(vm)
    found: dict[str, t.Any] = {
        "id": vm.id,
        "name": vm.name,
        "type": "Microsoft.Compute/virtualMachines",
        "location": vm.location,
        "tags": vm.tags,
        "etag": vm.etag,
        "properties": properties,
    }
    identity = identity_document(call, vm)
    return found | ({"identity": identity} if identity else {})


def view(vm: VirtualMachine) -> dict[str, t.Any]:
    return {
        "computerName": vm.name,
        "osName": "ubuntu",
        "osVersion": "24.04",
        "hyperVGeneration": "V2",
        "statuses": [
            {
                "code": f"ProvisioningState/{vm.provisioning_state.lower()}",
                "level": "Info",
                "displayStatus": "Provisioning succeeded",
            },
            {"code": f"PowerState/{vm.power_state}", "level": "Info", "displayStatus": f"VM {vm.power_state}"},
        ],
    }
