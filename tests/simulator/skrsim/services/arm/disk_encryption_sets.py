# SPDX-License-Identifier: GPL-3.0-or-later
"""Disk encryption sets for the OS disks of confidential VMs: an identity, and the key it wraps with."""

from __future__ import annotations

import re
import typing as t

from ...core.messages import Response
from ...core.world import Vault, World
from . import versions, vm_identity
from .call import Call, Route, route
from .errors import known, refuse, tags
from .operations import Operations

KIND = "Microsoft.Compute/diskEncryptionSets"
CONFIDENTIAL = "ConfidentialVmEncryptedWithCustomerKey"
_GROUP = f"/subscriptions/{{sub}}/resourceGroups/{{rg}}/providers/{KIND}"
_ONE = f"{_GROUP}/{{name}}"
_URL = re.compile(r"https://(?P<host>[^/]+)/keys/(?P<key>[^/]+)/(?P<version>[0-9a-f]{32})")
_TYPES = ("EncryptionAtRestWithCustomerKey", "EncryptionAtRestWithPlatformAndCustomerKeys", CONFIDENTIAL)


class DiskEncryptionSets:
    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    def routes(self) -> list[Route]:
        takes, group = versions.DISKS, "/subscriptions/{sub}/resourceGroups/{rg}"
        return [
            route("disk_encryption_set_get", "GET", _ONE, takes, self.get, action=f"{KIND}/read"),
            route("disk_encryption_set_put", "PUT", _ONE, takes, self.put, action=f"{KIND}/write"),
            route("disk_encryption_set_delete", "DELETE", _ONE, takes, self.delete, action=f"{KIND}/delete"),
            route("disk_encryption_set_list", "GET", _GROUP, takes, self.list, action=f"{KIND}/read", scope=group),
        ]

    @staticmethod
    def _id(call: Call) -> str:
        return f"{call.group_id()}/providers/{KIND}/{call.groups['name']}"

    def get(self, call: Call) -> Response:
        found = call.world.resources.get(self._id(call).lower())
        if found is None:
            raise call.not_found(KIND, call.groups["name"])
        return Response.of(found)

    def list(self, call: Call) -> Response:
        below = f"{call.group_id()}/providers/{KIND}/".lower()
        return call.page([one for key, one in call.world.resources.items() if key.startswith(below)], 100)

    def put(self, call: Call) -> Response:
        identifier, world = self._id(call), call.world
        body = known(call.body(), "DiskEncryptionSet", read_only=True)
        location = str(body.get("location") or "").replace(" ", "").lower()
        if not location:
            raise refuse(400, "LocationRequired", "The location property is required for this definition.")
        properties = known(body.get("properties") or {}, "EncryptionSetProperties")
        kind = properties.get("encryptionType") or _TYPES[0]
        if kind not in _TYPES:
            raise refuse(400, "InvalidParameter", f"The value '{kind}' of encryptionType is invalid.")
        identity = known(body.get("identity") or {}, "EncryptionSetIdentity")
        if identity.get("type") != "SystemAssigned":
            raise refuse(
                400, "InvalidParameter", "A disk encryption set of the simulator has a SystemAssigned identity."
            )
        before = world.resources.get(identifier.lower())
        if before is not None and before["properties"]["encryptionType"] != kind:
            raise refuse(409, "PropertyChangeNotAllowed", "Changing property 'encryptionType' is not allowed.")
        key = known(properties.get("activeKey") or {}, "KeyForDiskEncryptionSet")
        source = known(key.get("sourceVault") or {}, "SourceVault").get("id")
        _check_key(world, str(key.get("keyUrl")), source)
        principal = (before or {}).get("identity", {}).get("principalId")
        principal = principal or world.new_managed_identity(call.groups["name"], identifier).object_id
        made = {
            "id": identifier, "name": call.groups["name"], "type": KIND, "location": location, "tags": tags(body),
            "identity": {"type": "SystemAssigned", "principalId": principal, "tenantId": world.tenant_id},
            "properties": {
                "activeKey": {"keyUrl": key["keyUrl"], **({"sourceVault": {"id": source}} if source else {})},
                "encryptionType": kind, "provisioningState": "Succeeded",
                "rotationToLatestKeyVersionEnabled": bool(properties.get("rotationToLatestKeyVersionEnabled")),
            },
        }  # fmt: skip
        world.resources[identifier.lower()] = made
        operation = self._operations.begin("disk_encryption_set_put", call.groups["name"], lambda: None)
        headers = self._operations.status_headers(call, operation, "Microsoft.Compute", location)
        return Response.of(made, 200, headers, write=made != before)

    def delete(self, call: Call) -> Response:
        identifier, world = self._id(call), call.world
        found = world.resources.get(identifier.lower())
        if found is None:
            return Response(204)
        if any((vm.disk_encryption_set or "").lower() == identifier.lower() for vm in world.vms.values()):
            raise refuse(409, "OperationNotAllowed", f"Disk encryption set {identifier} is in use by a disk.")
        vm_identity.retire(world, found["identity"]["principalId"])
        del world.resources[identifier.lower()]
        return Response(200, audit={"write": True})


def _check_key(world: World, url: str, source: t.Any) -> None:
    """The key and its version exist, in a vault with purge protection that is the one named, or in an HSM."""
    found = _URL.fullmatch(url)
    place: Vault | None = None
    if found:
        name, _dot, service = found["host"].partition(".")
        places: tuple[Vault | None, ...] = (world.vaults.get(name), world.hsms.get(name))
        place = next((one for one in places if one is not None and one.service == service), None)
    key = world.keys.get((place.slot, found["key"].lower())) if place and found else None
    if key is None or found is None or found["version"] not in (one.version for one in key.versions) or place is None:
        raise refuse(400, "KeyVaultKeyNotFound", f"Unable to access key vault resource '{url}'.")
    if not place.is_hsm and str(source or "").lower() != place.id.lower():
        raise refuse(400, "InvalidParameter", "sourceVault must be the vault that holds the key.")
    if not place.purge_protection:
        raise refuse(400, "KeyVaultNotPurgeProtected", f"Key vault '{place.name}' must have purge protection enabled.")
