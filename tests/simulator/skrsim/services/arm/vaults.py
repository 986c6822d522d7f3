# SPDX-License-Identifier: GPL-3.0-or-later
"""Vaults in ARM: create, update, read, delete, recover, purge, and access policies."""

from __future__ import annotations

import re
import typing as t

from ...core.messages import Response
from ...core.world import AccessPolicy, Vault
from .call import Call, Route, route
from .errors import known, refuse

VERSIONS = (
    "2022-07-01",
    "2023-02-01",
    "2023-07-01",
    "2024-11-01",
    "2024-12-01-preview",
    "2025-05-01",
    "2026-02-01",
    "2026-05-15",
)
BODY = ("location", "tags", "properties", "id", "name", "type", "systemData")
PROPERTIES = (
    "tenantId", "sku", "accessPolicies", "vaultUri", "enabledForDeployment", "enabledForDiskEncryption",
    "enabledForTemplateDeployment", "enableSoftDelete", "softDeleteRetentionInDays", "enableRbacAuthorization", "createMode",
    "enablePurgeProtection", "networkAcls", "provisioningState", "publicNetworkAccess", "hsmPoolResourceId",
    "privateEndpointConnections",
)  # fmt: skip
ENTRY = ("tenantId", "objectId", "applicationId", "permissions")
KEY_PERMISSIONS = frozenset(
    "all encrypt decrypt wrapkey unwrapkey sign verify get list create update import delete backup restore recover purge "
    "release rotate getrotationpolicy setrotationpolicy".split()
)
KINDS = ("keys", "secrets", "certificates", "storage")
NAME = re.compile(r"[a-zA-Z](?!.*--)[a-zA-Z0-9-]{1,22}[a-zA-Z0-9]")
_V = "/subscriptions/{sub}/resourceGroups/{rg}/providers/Microsoft.KeyVault/vaults"
_DELETED = "/subscriptions/{sub}/providers/Microsoft.KeyVault"
RBAC_DEFAULT_SINCE = "2026-02-01"


class Vaults:
    def routes(self) -> list[Route]:
        here = f"{_DELETED}/locations/{{location}}/deletedVaults/{{vault}}"
        return [
            route("vault_put", "PUT", f"{_V}/{{vault}}", VERSIONS, self.put),
            route("vault_patch", "PATCH", f"{_V}/{{vault}}", VERSIONS, self.patch),
            route("vault_get", "GET", f"{_V}/{{vault}}", VERSIONS, self.get),
            route("vault_delete", "DELETE", f"{_V}/{{vault}}", VERSIONS, self.delete),
            route("vault_list", "GET", _V, VERSIONS, self.list_group, "$top", "$skiptoken"),
            route("vault_list_all", "GET", f"{_DELETED}/vaults", VERSIONS, self.list_all, "$top", "$skiptoken"),
            route("access_policy", "PUT", f"{_V}/{{vault}}/accessPolicies/{{op}}", VERSIONS, self.access),
            route("deleted_vault_get", "GET", here, VERSIONS, self.deleted_get),
            route("deleted_vault_list", "GET", f"{_DELETED}/deletedVaults", VERSIONS, self.deleted_list, "$skiptoken"),
            route("deleted_vault_purge", "POST", f"{here}/purge", VERSIONS, self.purge),
            route("vault_name_check", "POST", f"{_DELETED}/checkNameAvailability", VERSIONS, self.check_name),
        ]

    def _vault(self, call: Call) -> Vault:
        group, name = call.group_id(), call.groups["vault"]
        vault = call.world.vaults.get(name.lower())
        if vault is None or not vault.id.lower().startswith(group.lower() + "/"):
            raise call.not_found("Microsoft.KeyVault/vaults", name)
        return vault

    def get(self, call: Call) -> Response:
        vault = self._vault(call)
        call.needs("Microsoft.KeyVault/vaults/read", vault.id)
        return Response.of(document(vault))

    def list_group(self, call: Call) -> Response:
        group = call.group_id()
        call.needs("Microsoft.KeyVault/vaults/read", group)
        return call.page(
            [document(v) for v in call.world.vaults.values() if v.id.lower().startswith(group.lower() + "/")], 25
        )

    def list_all(self, call: Call) -> Response:
        call.needs("Microsoft.KeyVault/vaults/read", f"/subscriptions/{call.world.subscription_id}")
        return call.page([document(vault) for vault in call.world.vaults.values()], 25)

    def put(self, call: Call) -> Response:
        group, name = call.group_id(), call.groups["vault"]
        call.needs("Microsoft.KeyVault/vaults/write", f"{group}/providers/Microsoft.KeyVault/vaults/{name}")
        body = known(call.body(), BODY, "VaultCreateOrUpdateParameters")
        properties = known(body.get("properties"), PROPERTIES, "VaultProperties")
        if not NAME.fullmatch(name):
            raise refuse(400, "VaultNameNotValid", f"The vault name '{name}' is invalid.")
        existing = call.world.vaults.get(name.lower())
        if existing and not existing.id.lower().startswith(group.lower() + "/"):
            raise refuse(409, "VaultAlreadyExists", f"The vault name '{name}' is already in use.")
        if properties.get("createMode") == "recover":
            return self._recover(call, name, group)
        if name.lower() in call.world.deleted_vaults:
            raise refuse(
                409,
                "ConflictError",
                "A vault with the same name already exists in deleted state. You need to either recover or purge existing key vault.",
            )
        for member in ("tenantId", "sku"):
            if member not in properties:
                raise refuse(400, "BadRequest", f"The parameter {member} is required.")
        if existing is None:
            vault = Vault(
                name,
                call.world.subscription_id,
                group.split("/")[-1],
                str(body.get("location", "")).replace(" ", "").lower(),
                properties["tenantId"],
                created_at=call.now,
                rbac=str(call.request.param("api-version")) >= RBAC_DEFAULT_SINCE,
            )
            if not vault.location:
                raise refuse(400, "LocationRequired", "The location property is required for this definition.")
        else:
            vault = existing
        if not vault.rbac and not properties.get("enableRbacAuthorization") and "accessPolicies" not in properties:
            raise refuse(400, "BadRequest", "The parameter accessPolicies is required.")
        self._apply(call, vault, properties, existing is None)
        vault.access_policies = []
        self._merge(call, vault, properties.get("accessPolicies") or [], "replace")
        vault.tags = dict(body.get("tags") or {})
        call.world.vaults[name.lower()] = vault
        return Response.of(document(vault), 201 if existing is None else 200, write=True)

    def patch(self, call: Call) -> Response:
        vault = self._vault(call)
        call.needs("Microsoft.KeyVault/vaults/write", vault.id)
        body = known(call.body(), BODY, "VaultPatchParameters")
        properties = known(body.get("properties") or {}, PROPERTIES, "VaultPatchProperties")
        self._apply(call, vault, properties, False)
        if "accessPolicies" in properties:
            vault.access_policies = []
            self._merge(call, vault, properties["accessPolicies"], "replace")
        if "tags" in body:
            vault.tags = dict(body["tags"] or {})
        return Response.of(document(vault), write=True)

    def _apply(self, call: Call, vault: Vault, properties: dict[str, t.Any], new: bool) -> None:
        """Check all, then set all: a refused request changes nothing."""
        sku = properties.get("sku")
        if sku is not None and (
            sku.get("family") != "A" or str(sku.get("name")).lower() not in ("standard", "premium")
        ):
            raise refuse(400, "BadRequest", f"The sku {sku} is not valid.")
        if properties.get("tenantId", call.world.tenant_id) != call.world.tenant_id:
            raise refuse(400, "BadRequest", "The tenant of the vault is not the tenant of the subscription.")
        if properties.get("enablePurgeProtection") is False:
            raise refuse(400, "BadRequest", 'The property "enablePurgeProtection" cannot be set to false.')
        if properties.get("enableSoftDelete") is False:
            raise refuse(
                400, "BadRequest", 'The property "enableSoftDelete" can be set to false only for creating new vault.'
            )
        days = properties.get("softDeleteRetentionInDays", vault.retention_days)
        if not 7 <= days <= 90:
            raise refuse(400, "BadRequest", "softDeleteRetentionInDays must be from 7 to 90.")
        if not new and days != vault.retention_days:
            raise refuse(400, "BadRequest", "softDeleteRetentionInDays cannot be changed.")
        if properties.get("publicNetworkAccess", "Enabled") not in ("Enabled", "Disabled"):
            raise refuse(400, "BadRequest", "publicNetworkAccess must be Enabled or Disabled.")
        if sku is not None:
            vault.sku = str(sku["name"]).lower()
        vault.retention_days = days
        vault.purge_protection = vault.purge_protection or bool(properties.get("enablePurgeProtection"))
        if properties.get("enableRbacAuthorization") is not None:
            vault.rbac = bool(properties["enableRbacAuthorization"])
        vault.public_network_access = properties.get("publicNetworkAccess", vault.public_network_access)
        vault.network_acls = properties.get("networkAcls", vault.network_acls)

    # --- access policies

    def access(self, call: Call) -> Response:
        vault, operation = self._vault(call), call.groups["op"].lower()
        call.needs("Microsoft.KeyVault/vaults/accessPolicies/write", vault.id)
        if operation not in ("add", "remove", "replace"):
            raise refuse(400, "BadRequest", f"The access policy operation '{operation}' is not valid.")
        body = known(call.body(), ("properties", "id", "name", "type", "location"), "VaultAccessPolicyParameters")
        properties = known(body.get("properties"), ("accessPolicies",), "VaultAccessPolicyProperties")
        self._merge(call, vault, properties.get("accessPolicies") or [], operation)
        answer = {"id": f"{vault.id}/accessPolicies/", "type": "Microsoft.KeyVault/vaults/accessPolicies"}
        entries = {"accessPolicies": [entry_document(entry) for entry in vault.access_policies]}
        return Response.of({**answer, "properties": entries}, write=True)

    def _merge(self, call: Call, vault: Vault, entries: list[t.Any], operation: str) -> None:
        """Entries are named by tenant, object and application; entries of others are never touched."""
        checked = [self._entry(call, vault, entry) for entry in entries]
        policies = list(vault.access_policies)
        for entry in checked:
            key = (entry.object_id.lower(), entry.application_id)
            old = next((p for p in policies if (p.object_id.lower(), p.application_id) == key), None)
            merged = self._combine(call, old, entry, operation)
            policies = [policy for policy in policies if policy is not old]
            if merged is not None:
                policies.append(merged)
        if len(policies) > 1024:
            raise refuse(400, "BadRequest", "A vault holds at most 1024 access policies.")
        vault.access_policies = policies

    def _combine(self, call: Call, old: AccessPolicy | None, new: AccessPolicy, operation: str) -> AccessPolicy | None:
        before = {kind: {p.lower() for p in (old.permissions.get(kind, []) if old else [])} for kind in KINDS}
        given = {kind: {p.lower() for p in new.permissions.get(kind, [])} for kind in KINDS}
        after = {
            "add": {kind: before[kind] | given[kind] for kind in KINDS},
            "remove": {kind: before[kind] - given[kind] for kind in KINDS},
            "replace": given,
        }[operation]
        if not any(after.values()):
            return None
        delay = call.world.grant_delay(new.object_id, call.world.delays.access_policy_effective)
        known_effective = old.effective if old else {}
        effective = {
            f"{kind}/{permission}": known_effective.get(f"{kind}/{permission}", call.now + delay)
            for kind in KINDS
            for permission in after[kind]
        }
        permissions = {kind: sorted(after[kind]) for kind in KINDS}
        return AccessPolicy(new.tenant_id, new.object_id, permissions, new.application_id, effective)

    def _entry(self, call: Call, vault: Vault, entry: t.Any) -> AccessPolicy:
        entry = known(entry, ENTRY, "AccessPolicyEntry")
        if entry.get("tenantId") != vault.tenant_id:
            raise refuse(400, "BadRequest", "An access policy entry is of another tenant than the vault.")
        permissions = known(entry.get("permissions"), KINDS, "Permissions")
        for permission in permissions.get("keys") or []:
            if str(permission).lower() not in KEY_PERMISSIONS:
                raise refuse(400, "BadRequest", f"The key permission '{permission}' is not valid.")
        return AccessPolicy(
            vault.tenant_id,
            str(entry["objectId"]),
            {k: list(v or []) for k, v in permissions.items()},
            entry.get("applicationId"),
        )

    # --- deletion

    def delete(self, call: Call) -> Response:
        vault = self._vault(call)
        call.needs("Microsoft.KeyVault/vaults/delete", vault.id)
        vault.deleted_at = call.now
        call.world.deleted_vaults[vault.name.lower()] = call.world.vaults.pop(vault.name.lower())
        return Response(200, audit={"write": True})

    def _recover(self, call: Call, name: str, group: str) -> Response:
        vault = call.world.deleted_vaults.get(name.lower())
        if vault is None or not vault.id.lower().startswith(group.lower() + "/"):
            raise refuse(
                404, "SoftDeletedVaultDoesNotExist", "A soft deleted vault with the given name does not exist."
            )
        vault.deleted_at = None
        call.world.vaults[name.lower()] = call.world.deleted_vaults.pop(name.lower())
        return Response.of(document(vault), 200, write=True)

    def deleted_get(self, call: Call) -> Response:
        call.needs("Microsoft.KeyVault/locations/deletedVaults/read", f"/subscriptions/{call.world.subscription_id}")
        vault = call.world.deleted_vaults.get(call.groups["vault"].lower())
        if vault is None or vault.location != call.groups["location"].lower():
            raise refuse(404, "DeletedVaultNotFound", f"The deleted vault '{call.groups['vault']}' was not found.")
        return Response.of(deleted_document(vault))

    def deleted_list(self, call: Call) -> Response:
        call.needs("Microsoft.KeyVault/deletedVaults/read", f"/subscriptions/{call.world.subscription_id}")
        return call.page([deleted_document(vault) for vault in call.world.deleted_vaults.values()], 25)

    def purge(self, call: Call) -> Response:
        call.needs(
            "Microsoft.KeyVault/locations/deletedVaults/purge/action", f"/subscriptions/{call.world.subscription_id}"
        )
        vault = call.world.deleted_vaults.get(call.groups["vault"].lower())
        if vault is None:
            raise refuse(404, "DeletedVaultNotFound", f"The deleted vault '{call.groups['vault']}' was not found.")
        if vault.purge_protection:
            raise refuse(409, "DeletedVaultPurge", "Operation is not allowed, because purge protection is enabled.")
        del call.world.deleted_vaults[vault.name.lower()]
        for store in (call.world.keys, call.world.deleted_keys):
            for key in [key for key in store if key[0] == vault.name.lower()]:
                del store[key]
        return Response(200, audit={"write": True})

    def check_name(self, call: Call) -> Response:
        body = known(call.body(), ("name", "type"), "VaultCheckNameAvailabilityParameters")
        name = str(body.get("name", ""))
        if not NAME.fullmatch(name):
            return Response.of(
                {"nameAvailable": False, "reason": "AccountNameInvalid", "message": "The vault name is invalid."}
            )
        if name.lower() in call.world.vaults or name.lower() in call.world.deleted_vaults:
            return Response.of(
                {
                    "nameAvailable": False,
                    "reason": "AlreadyExists",
                    "message": f"The vault name '{name}' is already in use.",
                }
            )
        return Response.of({"nameAvailable": True})


def entry_document(entry: AccessPolicy) -> dict[str, t.Any]:
    found: dict[str, t.Any] = {
        "tenantId": entry.tenant_id,
        "objectId": entry.object_id,
        "permissions": entry.permissions,
    }
    return found | ({"applicationId": entry.application_id} if entry.application_id else {})


def document(vault: Vault) -> dict[str, t.Any]:
    properties: dict[str, t.Any] = {
        "sku": {"family": "A", "name": vault.sku},
        "tenantId": vault.tenant_id,
        "accessPolicies": [entry_document(entry) for entry in vault.access_policies],
        "enabledForDeployment": False,
        "enableSoftDelete": True,
        "softDeleteRetentionInDays": vault.retention_days,
        "enableRbacAuthorization": vault.rbac,
        "vaultUri": f"https://{vault.name.lower()}.vault.azure.net/",
        "provisioningState": vault.provisioning_state,
        "publicNetworkAccess": vault.public_network_access,
    }
    if vault.purge_protection:
        properties["enablePurgeProtection"] = True
    if vault.network_acls is not None:
        properties["networkAcls"] = vault.network_acls
    return {
        "id": vault.id,
        "name": vault.name,
        "type": "Microsoft.KeyVault/vaults",
        "location": vault.location,
        "tags": vault.tags,
        "properties": properties,
    }


def deleted_document(vault: Vault) -> dict[str, t.Any]:
    base = f"/subscriptions/{vault.subscription}/providers/Microsoft.KeyVault/locations/{vault.location}/deletedVaults"
    return {
        "id": f"{base}/{vault.name}",
        "name": vault.name,
        "type": "Microsoft.KeyVault/deletedVaults",
        "properties": {
            "vaultId": vault.id,
            "location": vault.location,
            "tags": vault.tags,
            "purgeProtectionEnabled": vault.purge_protection,
        },
    }
