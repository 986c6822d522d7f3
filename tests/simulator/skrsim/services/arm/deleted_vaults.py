# SPDX-License-Identifier: GPL-3.0-or-later
"""Soft-deleted vaults: read, recover, purge, and whether a name is free."""

from __future__ import annotations

import typing as t

from ...core.messages import Response
from ...core.world import Key, Vault, World
from . import roles, vault_rules, versions
from .call import Call, Route, route
from .errors import known, refuse
from .operations import Operations, stamp

_DAY = 86400.0
_WHERE = "/subscriptions/{sub}/providers/Microsoft.KeyVault"
_ONE = f"{_WHERE}/locations/{{location}}/deletedVaults/{{vault}}"
Keys = dict[tuple[str, str], Key]


class DeletedVaults:
    """Keeps a deleted vault's keys aside, so that the data plane sees none of a vault that is not there."""

    def __init__(self, world: World, operations: Operations) -> None:
        self._world, self._operations = world, operations
        self._shelf: dict[str, tuple[Keys, Keys]] = {}  # lower vault name -> its keys, its deleted keys

    def routes(self) -> list[Route]:
        takes, sub = versions.KEYVAULT, "/subscriptions/{sub}"
        kind = "Microsoft.KeyVault/locations/deletedVaults"
        check, everywhere = f"{_WHERE}/checkNameAvailability", f"{_WHERE}/deletedVaults"
        return [
            route("deleted_vault_get", "GET", _ONE, takes, self.get, action=f"{kind}/read", scope=sub),
            route(
                "deleted_vault_purge", "POST", f"{_ONE}/purge", takes, self.purge,
                action=f"{kind}/purge/action", scope=sub,
            ),
            route(
                "deleted_vault_list", "GET", everywhere, takes, self.list, "$skiptoken",
                action="Microsoft.KeyVault/deletedVaults/read", scope=sub,
            ),
            route(
                "vault_name_check", "POST", check, takes, self.check_name,
                action="Microsoft.KeyVault/checkNameAvailability/read", scope=sub,
            ),
        ]  # fmt: skip

    # --- what happens to a vault

    def delete(self, world: World, vault: Vault) -> None:
        name = vault.name.lower()
        vault.deleted_at = world.clock.now()
        world.deleted_vaults[name] = world.vaults.pop(name)
        self._shelf[name] = (take(world.keys, vault.slot), take(world.deleted_keys, vault.slot))

    def recover(self, world: World, name: str, group: str, location: str) -> Vault:
        """Bring a vault back as it was: in the same group and region, with keys and role assignments."""
        vault = world.deleted_vaults.get(name.lower())
        same = vault is not None and vault.location == location and vault.id.lower().startswith(group.lower() + "/")
        if vault is None or not same:
            raise refuse(
                404,
                "SoftDeletedVaultDoesNotExist",
                f"A soft deleted vault with the given name '{name}' does not exist in this resource group and "
                "location. Ensure that the name for the vault that is being attempted to recover is in a recoverable "
                "state.",
            )
        vault.deleted_at = None
        world.vaults[name.lower()] = world.deleted_vaults.pop(name.lower())
        keys, deleted = self._shelf.pop(name.lower(), ({}, {}))
        world.keys.update(keys)
        world.deleted_keys.update(deleted)
        return vault

    def settle(self) -> None:
        """Purge what has been deleted for as long as its retention says."""
        now = self._world.clock.now()
        for vault in list(self._world.deleted_vaults.values()):
            if now >= (vault.deleted_at or 0.0) + vault.retention_days * _DAY:
                self._remove(vault)

    def _remove(self, vault: Vault) -> None:
        """For good: keys, and the role assignments that held on until now."""
        if self._world.deleted_vaults.pop(vault.name.lower(), None) is None:
            return
        self._shelf.pop(vault.name.lower(), None)
        drop_assignments(self._world, vault.id)

    # --- operations

    def get(self, call: Call) -> Response:
        return Response.of(document(self._find(call)))

    def _find(self, call: Call) -> Vault:
        vault = call.world.deleted_vaults.get(call.groups["vault"].lower())
        if vault is None or vault.location != call.groups["location"].replace(" ", "").lower():
            raise refuse(404, "DeletedVaultNotFound", f"The deleted vault '{call.groups['vault']}' was not found.")
        return vault

    def list(self, call: Call) -> Response:
        return call.page([document(vault) for vault in call.world.deleted_vaults.values()], 25)

    def purge(self, call: Call) -> Response:
        vault = self._find(call)
        if vault.purge_protection:
            raise refuse(
                405,
                "MethodNotAllowed",
                "Operation 'DeletedVaultPurge' is not allowed because purge protection is enabled for this vault. Key "
                "Vault service will automatically purge it after the retention period has passed.",
            )
        operation = self._operations.begin("deleted_vault_purge", vault.name, lambda: self._remove(vault))
        where = f"providers/Microsoft.KeyVault/locations/{vault.location}/operationResults"
        headers = self._operations.result_headers(call, operation, where)
        return Response(202, headers=headers, audit={"write": True})

    def check_name(self, call: Call) -> Response:
        body = known(call.body(), "VaultCheckNameAvailabilityParameters")
        name = str(body.get("name", ""))
        if body.get("type") != "Microsoft.KeyVault/vaults":
            raise vault_rules.bad(f"The resource type '{body.get('type')}' is not valid.")
        if not vault_rules.valid_name(name):
            text = f"The vault name '{name}' is invalid."
            return Response.of({"nameAvailable": False, "reason": "AccountNameInvalid", "message": text})
        if name.lower() in call.world.vaults or name.lower() in call.world.deleted_vaults:
            text = (
                f"The vault name '{name}' is already in use. Vault names are globally unique so it is possible that "
                "the name is already taken."
            )
            return Response.of({"nameAvailable": False, "reason": "AlreadyExists", "message": text})
        return Response.of({"nameAvailable": True})


def take(store: Keys, slot: str) -> Keys:
    """Remove and return the keys of one vault or managed HSM."""
    return {name: store.pop(name) for name in [name for name in store if name[0] == slot]}


def drop_assignments(world: World, scope: str) -> None:
    """Role assignments at a scope that is gone, and below it, go with it."""
    for key, assignment in list(world.role_assignments.items()):
        if roles.covers(scope, assignment.scope):
            del world.role_assignments[key]


def document(vault: Vault) -> dict[str, t.Any]:
    deleted = vault.deleted_at or 0.0
    base = f"/subscriptions/{vault.subscription}/providers/Microsoft.KeyVault/locations/{vault.location}/deletedVaults"
    properties: dict[str, t.Any] = {
        "vaultId": vault.id,
        "location": vault.location,
        "tags": vault.tags,
        "deletionDate": stamp(deleted),
        "scheduledPurgeDate": stamp(deleted + vault.retention_days * _DAY),
    }
    if vault.purge_protection:
        properties["purgeProtectionEnabled"] = True
    return {
        "id": f"{base}/{vault.name}",
        "name": vault.name,
        "type": "Microsoft.KeyVault/deletedVaults",
        "properties": properties,
    }
