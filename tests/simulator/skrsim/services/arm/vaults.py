# SPDX-License-Identifier: GPL-3.0-or-later
"""Vaults in ARM: create, update, read and list, and the access policies of one."""

from __future__ import annotations

import typing as t

from ...core.messages import Response
from ...core.world import Vault, World
from . import access_policies, vault_rules, versions
from .call import Call, Route, route
from .deleted_vaults import DeletedVaults
from .errors import known, refuse, tags
from .operations import RETRY_AFTER, Operation, Operations

KIND = "Microsoft.KeyVault/vaults"
PAGE = 25
_EVERY = f"/subscriptions/{{sub}}/providers/{KIND}"
_GROUP = f"/subscriptions/{{sub}}/resourceGroups/{{rg}}/providers/{KIND}"
_VAULT = f"{_GROUP}/{{vault}}"
_IN_DELETED_STATE = (
    "A vault with the same name already exists in deleted state. You need to either recover or purge existing key "
    "vault. Follow this link https://go.microsoft.com/fwlink/?linkid=2149745 for more information on soft delete."
)


class Vaults:
    def __init__(self, world: World, operations: Operations, deleted: DeletedVaults) -> None:
        self._operations, self._deleted = operations, deleted
        self._creating: dict[str, Operation] = {}  # lower name -> registration of its DNS name

    def routes(self) -> list[Route]:
        takes, read, policy = versions.KEYVAULT, f"{KIND}/read", f"{KIND}/accessPolicies/write"
        sub, group = "/subscriptions/{sub}", "/subscriptions/{sub}/resourceGroups/{rg}"
        skip = ("$top", "$skiptoken")
        policies = f"{_VAULT}/accessPolicies/{{op}}"
        return [
            route("vault_put", "PUT", _VAULT, takes, self.put, action=f"{KIND}/write"),
            route("vault_patch", "PATCH", _VAULT, takes, self.patch, action=f"{KIND}/write"),
            route("vault_get", "GET", _VAULT, takes, self.get, action=read),
            route("vault_delete", "DELETE", _VAULT, takes, self.delete, action=f"{KIND}/delete"),
            route("vault_list", "GET", _GROUP, takes, self.list_group, *skip, action=read, scope=group),
            route("vault_list_all", "GET", _EVERY, takes, self.list_all, *skip, action=read, scope=sub),
            route(
                "private_endpoint_put",
                "PUT",
                f"{_VAULT}/privateEndpointConnections/{{connection}}",
                takes,
                self.private_endpoint,
                action=f"{KIND}/privateEndpointConnections/write",
                scope=_VAULT,
            ),
            route("access_policy", "PUT", policies, takes, self.access, action=policy, scope=_VAULT),
        ]

    # --- reading

    def _vault(self, call: Call) -> Vault:
        group, name = call.group_id(), call.groups["vault"]
        vault = call.world.vaults.get(name.lower())
        if vault is None or not vault.id.lower().startswith(group.lower() + "/"):
            raise call.not_found(KIND, name)
        return vault

    def get(self, call: Call) -> Response:
        """While the DNS name is being registered each look is a poll, since clients poll the vault itself."""
        vault = self._vault(call)
        creating = self._creating.get(vault.name.lower())
        if creating is not None:
            self._operations.poll(creating)
        return self._answer(vault)

    def _answer(self, vault: Vault, status: int = 200, write: bool = False) -> Response:
        pending = vault.provisioning_state == "RegisteringDns"
        return Response.of(document(vault), status, RETRY_AFTER if pending else None, write=write)

    def list_group(self, call: Call) -> Response:
        return self._list(call, call.group_id())

    def list_all(self, call: Call) -> Response:
        return self._list(call, call.subscription)

    def _list(self, call: Call, below: str) -> Response:
        vaults = [vault for vault in call.world.vaults.values() if vault.id.lower().startswith(below.lower() + "/")]
        return call.page([document(vault) for vault in vaults], call.top(PAGE))

    # --- writing

    def put(self, call: Call) -> Response:
        group, name = call.group_id(), call.groups["vault"]
        body = known(call.body(), "VaultCreateOrUpdateParameters", read_only=True)
        properties = known(body.get("properties"), "VaultProperties")
        if not vault_rules.valid_name(name):
            raise refuse(
                400,
                "VaultNameNotValid",
                f"The vault name '{name}' is invalid. A vault's name must be between 3-24 alphanumeric characters. The "
                "name must begin with a letter, end with a letter or digit, and not contain consecutive hyphens.",
            )
        location = str(body.get("location") or "").replace(" ", "").lower()
        if not location:
            raise refuse(400, "LocationRequired", "The location property is required for this definition.")
        existing = self._named(call, name, group, location)
        mode = properties.get("createMode") or "default"
        if mode not in ("default", "recover"):
            raise vault_rules.bad(f"The value '{mode}' of createMode is not valid.")
        if mode == "recover" and existing is None:
            return self._recover(call, name, group, location)
        if existing is None and name.lower() in call.world.deleted_vaults:
            raise refuse(409, "ConflictError", _IN_DELETED_STATE)
        return self._create_or_update(call, existing, Vault(
            name, call.world.subscription_id, group.rpartition("/")[2], location, call.world.tenant_id,
            rbac=call.version[:10] >= versions.KEYVAULT_RBAC_DEFAULT, created_at=call.now,
            cloud=call.cloud.name,
        ), body)  # fmt: skip

    def _named(self, call: Call, name: str, group: str, location: str) -> Vault | None:
        """The live vault of that name; a name that another group or region has is refused."""
        existing = call.world.vaults.get(name.lower())
        if existing is None:
            return None
        if not existing.id.lower().startswith(group.lower() + "/"):
            raise refuse(
                409,
                "VaultAlreadyExists",
                f"The vault name '{name}' is already in use. Vault names are globally unique so it is possible that "
                "the name is already taken.",
            )
        if existing.location != location:
            raise refuse(
                409,
                "InvalidResourceLocation",
                f"The resource '{name}' already exists in location '{existing.location}' in resource group "
                f"'{existing.resource_group}'. A resource with the same name cannot be created in location "
                f"'{location}'. Please select a new resource name.",
            )
        return existing

    def _create_or_update(self, call: Call, existing: Vault | None, fresh: Vault, body: dict[str, t.Any]) -> Response:
        """PUT states the whole: access policies and tags that are not in it are gone afterwards."""
        vault, properties = existing or fresh, body["properties"]
        for member in ("tenantId", "sku"):
            if properties.get(member) is None:
                raise vault_rules.bad(f"The parameter {member} is required.")
        changes = vault_rules.check(call.world, vault, properties, existing is None)
        if properties.get("accessPolicies") is None and not changes.get("rbac", vault.rbac):
            raise vault_rules.bad("The parameter accessPolicies is required.")
        changes["access_policies"] = access_policies.replaced(call.world, vault, properties.get("accessPolicies"))
        changes["tags"] = tags(body)
        changed = _apply(vault, changes)
        if existing is not None:
            return self._answer(vault, write=changed)
        call.world.vaults[vault.name.lower()] = vault
        self._register(vault)
        return self._answer(vault, 201, write=True)

    def _register(self, vault: Vault) -> None:
        """A vault's name takes a while until DNS knows it."""
        vault.provisioning_state = "RegisteringDns"

        def end(state: str) -> None:
            vault.provisioning_state = state

        operation = self._operations.begin("vault_put", vault.name, lambda: end("Succeeded"), lambda: end("Failed"))
        self._creating[vault.name.lower()] = operation

    def _recover(self, call: Call, name: str, group: str, location: str) -> Response:
        vault = self._deleted.recover(call.world, name, group, location)
        self._register(vault)
        return self._answer(vault, write=True)

    def patch(self, call: Call) -> Response:
        vault = self._vault(call)
        body = known(call.body(), "VaultPatchParameters", read_only=True)
        properties = known(body.get("properties") or {}, "VaultPatchProperties")
        changes = vault_rules.check(call.world, vault, properties, False)
        if properties.get("accessPolicies") is not None:
            changes["access_policies"] = access_policies.replaced(call.world, vault, properties["accessPolicies"])
        if body.get("tags") is not None:
            changes["tags"] = tags(body)
        return self._answer(vault, write=_apply(vault, changes))

    def delete(self, call: Call) -> Response:
        """Soft delete: the vault and its keys wait until they are recovered, purged or their time is over."""
        group, name = call.group_id(), call.groups["vault"].lower()
        vault = call.world.vaults.get(name)
        if vault is None or not vault.id.lower().startswith(group.lower() + "/"):
            return Response(204)
        self._creating.pop(name, None)
        self._deleted.delete(call.world, vault)
        return Response(200, audit={"write": True})

    def private_endpoint(self, call: Call) -> Response:
        """Approve or reject a connection that somebody asked for; nobody can ask for one here."""
        vault, name = self._vault(call), call.groups["connection"]
        found = vault.private_endpoints.get(name)
        if found is None:
            raise call.not_found(f"{KIND}/privateEndpointConnections", name)
        body = known(call.body(), "PrivateEndpointConnection", read_only=True)
        properties = known(body.get("properties"), "PrivateEndpointConnectionProperties")
        state = known(properties.get("privateLinkServiceConnectionState"), "PrivateLinkServiceConnectionState")
        if state.get("status") not in ("Approved", "Rejected"):
            raise vault_rules.bad(f"The status '{state.get('status')}' of a private endpoint connection is not valid.")
        wanted = {**found, "status": str(state["status"]), "text": str(state.get("description") or "")}
        changed = wanted != found
        vault.private_endpoints[name] = wanted
        return Response.of(_connection(vault, name), write=changed)

    def access(self, call: Call) -> Response:
        vault, operation = self._vault(call), call.groups["op"].lower()
        if operation not in ("add", "remove", "replace"):
            raise vault_rules.bad(f"The access policy operation '{operation}' is not valid.")
        body = known(call.body(), "VaultAccessPolicyParameters")
        entries = known(body.get("properties"), "VaultAccessPolicyProperties").get("accessPolicies")
        policies = access_policies.changed(call.world, vault, entries, operation)
        write = _apply(vault, {"access_policies": policies})
        found = [access_policies.document(policy) for policy in vault.access_policies]
        answer = {"id": f"{vault.id}/accessPolicies/", "type": f"{KIND}/accessPolicies"}
        return Response.of({**answer, "properties": {"accessPolicies": found}}, write=write)


def _apply(vault: Vault, changes: dict[str, t.Any]) -> bool:
    """Set attributes; whether anything differs afterwards."""
    different = {name: value for name, value in changes.items() if getattr(vault, name) != value}
    for name, value in different.items():
        setattr(vault, name, value)
    return bool(different)


def _connection(vault: Vault, name: str) -> dict[str, t.Any]:
    found = vault.private_endpoints[name]
    state = {"status": found["status"], "description": found["text"], "actionsRequired": "None"}
    return {
        "id": f"{vault.id}/privateEndpointConnections/{name}",
        "name": name,
        "properties": {
            "privateEndpoint": {"id": found["id"]},
            "privateLinkServiceConnectionState": state,
            "provisioningState": "Succeeded",
        },
    }


def document(vault: Vault) -> dict[str, t.Any]:
    properties: dict[str, t.Any] = {
        "sku": {"family": "A", "name": vault.sku},
        "tenantId": vault.tenant_id,
        "accessPolicies": [access_policies.document(policy) for policy in vault.access_policies],
        "enabledForDeployment": False,
        "enabledForDiskEncryption": False,
        "enabledForTemplateDeployment": False,
        "enableSoftDelete": True,
        "softDeleteRetentionInDays": vault.retention_days,
        "enableRbacAuthorization": vault.rbac,
        "vaultUri": f"https://{vault.host}/",
        "provisioningState": vault.provisioning_state,
        "publicNetworkAccess": vault.public_network_access,
    }
    if vault.purge_protection:
        properties["enablePurgeProtection"] = True
    if vault.network_acls is not None:
        properties["networkAcls"] = vault.network_acls
    if vault.private_endpoints:
        properties["privateEndpointConnections"] = [_connection(vault, name) for name in vault.private_endpoints]
    return {
        "id": vault.id,
        "name": vault.name,
        "type": KIND,
        "location": vault.location,
        "tags": vault.tags,
        "properties": properties,
    }
