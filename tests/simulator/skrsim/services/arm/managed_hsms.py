# SPDX-License-Identifier: GPL-3.0-or-later
"""Managed HSMs in ARM: create, update, read, list, delete, and the deleted ones that can be recovered or purged."""

from __future__ import annotations

import re
import typing as t

from ...core.messages import Response
from ...core.world import LocalAssignment, ManagedHsm, World
from . import vault_rules, versions
from .call import Call, Route, route
from .deleted_vaults import Keys, take
from .errors import guid, known, refuse, tags
from .operations import Operation, Operations, stamp

KIND = "Microsoft.KeyVault/managedHSMs"
ADMINISTRATOR = "a290e904-7015-4bba-90c8-60543313cdb4"
PAGE = 25
_DAY = 86400.0
_NAME = re.compile(r"[a-zA-Z](?!.*--)[a-zA-Z0-9-]{1,22}[a-zA-Z0-9]")
_SKUS = {
    sku.lower(): sku
    for sku in (
        "Standard_B1", "Custom_B32", "Custom_B6", "Custom_C42", "Custom_C10", "Standard_B1v2", "Standard_B5v2",
        "Standard_B10v2", "Standard_B15v2", "Standard_B20v2",
    )
}  # fmt: skip
_WHERE = "/subscriptions/{sub}/providers/Microsoft.KeyVault"
_GROUP = f"/subscriptions/{{sub}}/resourceGroups/{{rg}}/providers/{KIND}"
_HSM = f"{_GROUP}/{{hsm}}"
_DELETED = f"{_WHERE}/locations/{{location}}/deletedManagedHSMs/{{hsm}}"


class ManagedHsms:
    def __init__(self, world: World, operations: Operations) -> None:
        self._world, self._operations = world, operations
        self._busy: dict[str, Operation] = {}  # lower name -> what is under way
        self._shelf: dict[str, tuple[Keys, Keys]] = {}  # keys of the deleted ones

    def routes(self) -> list[Route]:
        takes, read = versions.KEYVAULT, f"{KIND}/read"
        sub, group = "/subscriptions/{sub}", "/subscriptions/{sub}/resourceGroups/{rg}"
        skip, deleted = ("$top", "$skiptoken"), "Microsoft.KeyVault/locations/deletedManagedHsms"
        return [
            route("hsm_put", "PUT", _HSM, takes, self.put, action=f"{KIND}/write"),
            route("hsm_patch", "PATCH", _HSM, takes, self.patch, action=f"{KIND}/write"),
            route("hsm_get", "GET", _HSM, takes, self.get, action=read),
            route("hsm_delete", "DELETE", _HSM, takes, self.delete, action=f"{KIND}/delete"),
            route("hsm_list", "GET", _GROUP, takes, self.list_group, *skip, action=read, scope=group),
            route(
                "hsm_list_all", "GET", f"{_WHERE}/managedHSMs", takes, self.list_all, *skip, action=read, scope=sub
            ),
            route("deleted_hsm_get", "GET", _DELETED, takes, self.deleted, action=f"{deleted}/read", scope=sub),
            route(
                "deleted_hsm_list", "GET", f"{_WHERE}/deletedManagedHSMs", takes, self.list_deleted, "$skiptoken",
                action="Microsoft.KeyVault/deletedManagedHsms/read", scope=sub,
            ),
            route(
                "deleted_hsm_purge", "POST", f"{_DELETED}/purge", takes, self.purge,
                action=f"{deleted}/purge/action", scope=sub,
            ),
            route(
                "hsm_name_check", "POST", f"{_WHERE}/checkMhsmNameAvailability", takes, self.check_name,
                action="Microsoft.KeyVault/checkMhsmNameAvailability/read", scope=sub,
            ),
        ]  # fmt: skip

    # --- reading

    def _hsm(self, call: Call) -> ManagedHsm:
        group, name = call.group_id(), call.groups["hsm"]
        found = call.world.hsms.get(name.lower())
        if found is None or not found.id.lower().startswith(group.lower() + "/"):
            raise call.not_found(KIND, name)
        return found

    def get(self, call: Call) -> Response:
        """Clients that do not follow the operation look at the HSM itself, which is a poll as well."""
        found = self._hsm(call)
        busy = self._busy.get(found.name.lower())
        if busy is not None and found.provisioning_state == "Provisioning":
            self._operations.poll(busy)
        return Response.of(document(found))

    def list_group(self, call: Call) -> Response:
        return self._list(call, call.group_id())

    def list_all(self, call: Call) -> Response:
        return self._list(call, call.subscription)

    @staticmethod
    def _list(call: Call, below: str) -> Response:
        found = [hsm for hsm in call.world.hsms.values() if hsm.id.lower().startswith(below.lower() + "/")]
        return call.page([document(hsm) for hsm in found], call.top(PAGE))

    # --- writing

    def put(self, call: Call) -> Response:
        group, name = call.group_id(), call.groups["hsm"]
        body = known(call.body(), "ManagedHsm", read_only=True)
        properties = known(body.get("properties"), "ManagedHsmProperties")
        if not _NAME.fullmatch(name):
            raise refuse(400, "VaultNameNotValid", f"The managed HSM name '{name}' is invalid.")
        location = str(body.get("location") or "").replace(" ", "").lower()
        if not location:
            raise refuse(400, "LocationRequired", "The location property is required for this definition.")
        existing = self._named(call, name, group, location)
        if existing is not None:
            return self._change(call, existing, body, properties)
        if properties.get("createMode") == "recover":
            return self._recover(call, name, group, location)
        if name.lower() in call.world.deleted_hsms:
            raise refuse(
                409,
                "ConflictError",
                f"A managed HSM with the name '{name}' already exists in deleted state. You need to either recover or purge it.",
            )
        made = ManagedHsm(
            name, call.world.subscription_id, group.rpartition("/")[2], location, call.world.tenant_id, rbac=True,
            created_at=call.now, cloud=call.cloud.name,
        )  # fmt: skip
        for attribute, value in _creation(call, made, body, properties).items():
            setattr(made, attribute, value)
        for principal in made.administrators:
            first = LocalAssignment(call.world.guid(), "/", ADMINISTRATOR, principal)
            made.local_assignments[first.name] = first
        call.world.hsms[name.lower()] = made
        return self._provision(call, made)

    @staticmethod
    def _named(call: Call, name: str, group: str, location: str) -> ManagedHsm | None:
        found = call.world.hsms.get(name.lower())
        if found is not None and (not found.id.lower().startswith(group.lower() + "/") or found.location != location):
            raise refuse(409, "ManagedHsmAlreadyExists", f"The managed HSM name '{name}' is already in use.")
        return found

    def _provision(self, call: Call, hsm: ManagedHsm) -> Response:
        """In Azure this takes ten minutes to half an hour."""
        hsm.provisioning_state = "Provisioning"

        def end(state: str) -> None:
            hsm.provisioning_state = state

        operation = self._operations.begin("hsm_put", hsm.name, lambda: end("Succeeded"), lambda: end("Failed"))
        self._busy[hsm.name.lower()] = operation
        headers = self._operations.status_headers(call, operation, "Microsoft.KeyVault", hsm.location)
        return Response.of(document(hsm), 202, headers, write=True)

    def _change(self, call: Call, hsm: ManagedHsm, body: dict[str, t.Any], properties: dict[str, t.Any]) -> Response:
        if hsm.provisioning_state != "Succeeded":
            raise refuse(409, "Conflict", f"The managed HSM '{hsm.name}' is being provisioned.")
        given = properties.get("initialAdminObjectIds")
        if given is not None and {str(one).lower() for one in given} != set(hsm.administrators):
            raise vault_rules.bad("The property initialAdminObjectIds cannot be changed after creation.")
        if body.get("sku") is not None and _sku(body["sku"]) != hsm.hsm_sku:
            raise vault_rules.bad("The SKU of a managed HSM cannot be changed.")
        changes = vault_rules.check(call.world, hsm, {**properties, "sku": None}, False)
        if body.get("tags") is not None:
            changes["tags"] = tags(body)
        different = {name: value for name, value in changes.items() if getattr(hsm, name) != value}
        for name, value in different.items():
            setattr(hsm, name, value)
        return Response.of(document(hsm), write=bool(different))

    def patch(self, call: Call) -> Response:
        hsm = self._hsm(call)
        body = known(call.body(), "ManagedHsm", read_only=True)
        return self._change(call, hsm, body, known(body.get("properties") or {}, "ManagedHsmProperties"))

    # --- deletion

    def delete(self, call: Call) -> Response:
        group, name = call.group_id(), call.groups["hsm"].lower()
        hsm = call.world.hsms.get(name)
        if hsm is None or not hsm.id.lower().startswith(group.lower() + "/"):
            return Response(204)
        self.remove(call.world, hsm)
        return Response(200, audit={"write": True})

    def remove(self, world: World, hsm: ManagedHsm) -> None:
        name = hsm.name.lower()
        hsm.deleted_at = world.clock.now()
        world.deleted_hsms[name] = world.hsms.pop(name)
        self._shelf[name] = (take(world.keys, hsm.slot), take(world.deleted_keys, hsm.slot))

    def settle(self) -> None:
        now = self._world.clock.now()
        for name, hsm in list(self._world.deleted_hsms.items()):
            if now >= (hsm.deleted_at or 0.0) + hsm.retention_days * _DAY:
                del self._world.deleted_hsms[name]
                self._shelf.pop(name, None)

    def _recover(self, call: Call, name: str, group: str, location: str) -> Response:
        hsm = call.world.deleted_hsms.get(name.lower())
        same = hsm is not None and hsm.location == location and hsm.id.lower().startswith(group.lower() + "/")
        if hsm is None or not same:
            raise refuse(404, "SoftDeletedManagedHsmDoesNotExist", f"There is no deleted managed HSM '{name}' here.")
        hsm.deleted_at = None
        call.world.hsms[name.lower()] = call.world.deleted_hsms.pop(name.lower())
        keys, deleted = self._shelf.pop(name.lower(), ({}, {}))
        call.world.keys.update(keys)
        call.world.deleted_keys.update(deleted)
        return self._provision(call, hsm)

    def _deleted(self, call: Call) -> ManagedHsm:
        found = call.world.deleted_hsms.get(call.groups["hsm"].lower())
        if found is None or found.location != call.groups["location"].replace(" ", "").lower():
            raise refuse(404, "DeletedManagedHsmNotFound", f"The deleted HSM '{call.groups['hsm']}' was not found.")
        return found

    def deleted(self, call: Call) -> Response:
        return Response.of(deleted_document(self._deleted(call)))

    def list_deleted(self, call: Call) -> Response:
        return call.page([deleted_document(hsm) for hsm in call.world.deleted_hsms.values()], PAGE)

    def purge(self, call: Call) -> Response:
        hsm = self._deleted(call)
        if hsm.purge_protection:
            raise refuse(
                405,
                "MethodNotAllowed",
                "Purge is not allowed because purge protection is enabled for this managed HSM.",
            )
        call.world.deleted_hsms.pop(hsm.name.lower(), None)
        self._shelf.pop(hsm.name.lower(), None)
        operation = self._operations.begin("deleted_hsm_purge", hsm.name, lambda: None)
        headers = self._operations.result_headers(
            call, operation, f"providers/Microsoft.KeyVault/locations/{hsm.location}/operationResults"
        )
        return Response(202, headers=headers, audit={"write": True})

    @staticmethod
    def check_name(call: Call) -> Response:
        name = str(known(call.body(), "CheckMhsmNameAvailabilityParameters").get("name"))
        if not _NAME.fullmatch(name):
            answer = {
                "nameAvailable": False,
                "reason": "AccountNameInvalid",
                "message": f"The name '{name}' is invalid.",
            }
            return Response.of(answer)
        taken = name.lower() in call.world.hsms or name.lower() in call.world.deleted_hsms
        text = {"reason": "AlreadyExists", "message": f"The name '{name}' is already in use."}
        return Response.of({"nameAvailable": not taken, **(text if taken else {})})


def _sku(value: t.Any) -> str:
    sku = known(value, "ManagedHsmSku")
    found = _SKUS.get(str(sku.get("name")).lower())
    if str(sku.get("family")).upper() not in ("B", "C") or found is None:
        raise vault_rules.bad(f"The SKU with family '{sku.get('family')}' and name '{sku.get('name')}' is not valid.")
    return found


def _creation(call: Call, made: ManagedHsm, body: dict[str, t.Any], properties: dict[str, t.Any]) -> dict[str, t.Any]:
    if properties.get("tenantId") is None:
        raise vault_rules.bad("The parameter tenantId is required.")
    given = properties.get("initialAdminObjectIds")
    if not isinstance(given, list) or not given:
        raise vault_rules.bad("The parameter initialAdminObjectIds is required.")
    message = "An object id in initialAdminObjectIds is not valid."
    changes = vault_rules.check(call.world, made, {**properties, "sku": None}, True)
    changes["administrators"] = tuple(guid(one, "BadRequest", message) for one in given)
    changes["hsm_sku"] = _sku(body.get("sku"))
    changes["tags"] = tags(body)
    return changes


def document(hsm: ManagedHsm) -> dict[str, t.Any]:
    active = hsm.activated
    properties: dict[str, t.Any] = {
        "tenantId": hsm.tenant_id,
        "initialAdminObjectIds": list(hsm.administrators),
        "hsmUri": f"https://{hsm.host}/",
        "enableSoftDelete": True,
        "softDeleteRetentionInDays": hsm.retention_days,
        "enablePurgeProtection": hsm.purge_protection,
        "publicNetworkAccess": hsm.public_network_access,
        "networkAcls": hsm.network_acls or {"bypass": "AzureServices", "defaultAction": "Allow", "ipRules": [],
                                            "virtualNetworkRules": []},
        "provisioningState": hsm.provisioning_state,
        "statusMessage": (
            "The Managed HSM is being provisioned." if hsm.provisioning_state == "Provisioning"
            else "The Managed HSM is provisioned and ready to use."
        ),
        "securityDomainProperties": {
            "activationStatus": "Active" if active else "NotActivated",
            "activationStatusMessage": "Your HSM has been activated and can be used for cryptographic operations."
            if active else "Your HSM has been provisioned, but cannot be used for cryptographic operations until it is "
            "activated. To activate the HSM, download the security domain.",
        },
        "regions": [],
        "privateEndpointConnections": [],
    }  # fmt: skip
    return {
        "id": hsm.id,
        "name": hsm.name,
        "type": KIND,
        "location": hsm.location,
        "sku": {"family": "B", "name": hsm.hsm_sku},
        "tags": hsm.tags,
        "properties": properties,
    }


def deleted_document(hsm: ManagedHsm) -> dict[str, t.Any]:
    deleted = hsm.deleted_at or 0.0
    base = f"/subscriptions/{hsm.subscription}/providers/Microsoft.KeyVault/locations/{hsm.location}"
    return {
        "id": f"{base}/deletedManagedHSMs/{hsm.name}",
        "name": hsm.name,
        "type": "Microsoft.KeyVault/deletedManagedHSMs",
        "properties": {
            "mhsmId": hsm.id,
            "location": hsm.location,
            "deletionDate": stamp(deleted),
            "scheduledPurgeDate": stamp(deleted + hsm.retention_days * _DAY),
            "purgeProtectionEnabled": hsm.purge_protection,
            "tags": hsm.tags,
        },
    }
