# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Key Vault that can hold exportable keys."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ..policy.failure import SkrFailure
from . import vault_deleted, vault_endpoints, vault_network
from .clients import SAFE_TO_REPEAT, Connection, errors, wire
from .plan import Plan, same_location, text_tags

_NAME = re.compile(r"[a-zA-Z](?!.*--)[a-zA-Z0-9-]{1,22}[a-zA-Z0-9]")
_GUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
# What somebody needs who manages keys, and nothing that uses them.
MANAGER_PERMISSIONS = (
    "get", "list", "create", "update", "import", "delete", "recover", "rotate", "getrotationpolicy", "setrotationpolicy",
)  # fmt: skip
_POLL = 2


@dataclasses.dataclass(frozen=True)
class Wanted:
    """The vault as it shall be; None means: leave as it is (on creation: the service's or this module's default)."""

    name: str
    resource_group: str
    location: t.Optional[str] = None
    sku: str = "premium"
    enable_rbac_authorization: t.Optional[bool] = None
    purge_protection: t.Optional[bool] = None
    soft_delete_retention_days: t.Optional[int] = None
    key_managers: t.Tuple[str, ...] = ()
    network: vault_network.Rules = vault_network.Rules()
    accept_weakening: bool = False
    deleted_action: str = "fail"
    tags: t.Optional[t.Dict[str, str]] = None
    endpoints: vault_endpoints.Wanted = vault_endpoints.Wanted()


def ensure(connection: Connection, wanted: Wanted, check_mode: bool) -> t.Dict[str, t.Any]:
    """Make or update the vault; returns the module's result. Raises SkrFailure."""
    check(wanted)
    wanted = dataclasses.replace(wanted, tags=text_tags(wanted.tags))
    found = get(connection, wanted.resource_group, wanted.name)
    if wanted.key_managers and "self" in wanted.key_managers:
        own = str(connection.caller()["oid"])
        managers = tuple(own if entry == "self" else entry for entry in wanted.key_managers)
        wanted = dataclasses.replace(wanted, key_managers=managers)
    # The body wants a GUID, the option may be a domain name; the caller's token always tells the GUID.
    given = connection.login.tenant or ""
    tenant = given if found or _GUID.fullmatch(given) else str(connection.caller()["tid"])
    recovered = False
    if found is None and wanted.deleted_action != "fail":
        recovered = _deleted(connection, wanted, check_mode)
        if recovered and not check_mode:
            found = get(connection, wanted.resource_group, wanted.name)
    if recovered and check_mode:
        plan = Plan("recover", {"state": "deleted"}, {"state": "recovered"})
    else:
        plan = plan_vault(wanted, found, tenant)
    if plan.changed and not check_mode:
        found = apply(connection, wanted, plan)
    shown = describe(found) if found and not (check_mode and plan.changed) else plan.after
    result = plan.result()
    if recovered:
        result.setdefault("diff", {"before": {"state": "deleted"}, "after": {"state": "recovered"}})
        result["changed"] = True
    if found is not None:
        vault_endpoints.ensure(connection, found, wanted.endpoints, check_mode, result)
    return {
        **result,
        "vault": shown,
        "vault_uri": connection.login.cloud.vault_uri(wanted.name),
    }


def _deleted(connection: Connection, wanted: Wanted, check_mode: bool) -> bool:
    """Deal with a soft-deleted vault of the name; returns whether it was (or would be) recovered."""
    deleted = vault_deleted.find(connection, wanted.name)
    if deleted is None:
        return False
    if wanted.deleted_action == "purge":
        if not check_mode:
            vault_deleted.purge(connection, wanted.name, deleted)
        return False
    if not check_mode:
        vault_deleted.recover(connection, wanted.resource_group, wanted.name, deleted)
    return True


def check(wanted: Wanted) -> None:
    """Refuse what cannot work before anything is asked."""
    if not _NAME.fullmatch(wanted.name):
        raise _invalid("name", wanted.name, "3 to 24 letters, digits and single hyphens, beginning with a letter")
    days = wanted.soft_delete_retention_days
    if days is not None and not 7 <= days <= 90:
        raise _invalid("soft_delete_retention_days", days, "a number from 7 to 90")
    wanted.endpoints.states()
    for entry in wanted.key_managers:
        if entry != "self" and not _GUID.fullmatch(entry):
            raise _invalid("key_managers", entry, "an object id (GUID) or self")


def _invalid(option: str, found: t.Any, wanted: str) -> SkrFailure:
    return SkrFailure("invalid_input", f"{option} is {found!r}, wanted {wanted}.", {"option": option})


def get(connection: Connection, resource_group: str, name: str) -> t.Optional[t.Dict[str, t.Any]]:
    """The vault in the service's own names; None when it does not exist."""
    client = connection.vaults
    from azure.core.exceptions import ResourceNotFoundError

    with errors(f"vault {name}"):
        try:
            return wire(client.get(resource_group, name))
        except ResourceNotFoundError as error:
            if getattr(error.error, "code", "") == "ResourceGroupNotFound":
                raise
            return None


def find(connection: Connection, name: str) -> t.Optional[t.Dict[str, t.Any]]:
    """The vault of this name anywhere in the subscription; names are unique in the world."""
    with errors(f"vault {name}"):
        for vault in connection.vaults.list_by_subscription():
            if str(vault.name).lower() == name.lower():
                return wire(vault)
    return None


def describe(found: t.Dict[str, t.Any]) -> t.Dict[str, t.Any]:
    """The parts of a vault that this collection cares for."""
    properties = found["properties"]
    return {
        "id": found.get("id"),
        "name": found.get("name"),
        "location": found.get("location"),
        "sku": properties["sku"]["name"],
        "enable_rbac_authorization": bool(properties.get("enableRbacAuthorization")),
        "purge_protection": bool(properties.get("enablePurgeProtection")),
        "soft_delete_retention_days": properties.get("softDeleteRetentionInDays", 90),
        "key_managers": sorted(_managers(properties)),
        **vault_network.shown(vault_network.describe(properties)),
        "tags": found.get("tags") or {},
    }


def _managers(properties: t.Mapping[str, t.Any]) -> t.Set[str]:
    found = set()
    for entry in properties.get("accessPolicies") or []:
        granted = {str(permission).lower() for permission in entry.get("permissions", {}).get("keys") or []}
        if granted >= set(MANAGER_PERMISSIONS) or "all" in granted:
            found.add(str(entry["objectId"]).lower())
    return found


def plan_vault(wanted: Wanted, found: t.Optional[t.Dict[str, t.Any]], tenant: str) -> Plan:
    """What has to change. Raises SkrFailure where the change is impossible or would weaken the vault."""
    if found is None:
        return _creation(wanted, tenant)
    now = describe(found)
    if wanted.location and not same_location(wanted.location, now["location"]):
        raise _invalid("location", wanted.location, f"{now['location']}, where the vault {wanted.name} already is")
    if wanted.sku == "standard" and now["sku"] == "premium":
        raise SkrFailure(
            "vault_weakening_refused", f"sku is standard, but the vault {wanted.name} is premium.", {"option": "sku"}
        )
    if wanted.purge_protection is False and now["purge_protection"]:
        raise SkrFailure(
            "purge_protection_irreversible", f"purge_protection is false, but it is on for the vault {wanted.name}."
        )
    days = wanted.soft_delete_retention_days
    if days is not None and days != now["soft_delete_retention_days"]:
        raise _invalid(
            "soft_delete_retention_days", days, f"{now['soft_delete_retention_days']}, which cannot be changed any more"
        )
    properties: t.Dict[str, t.Any] = {}
    after = dict(now)
    if wanted.sku != now["sku"]:
        properties["sku"] = {"family": "A", "name": wanted.sku}
    if wanted.purge_protection and not now["purge_protection"]:
        properties["enablePurgeProtection"] = True
    if wanted.enable_rbac_authorization not in (None, now["enable_rbac_authorization"]):
        properties["enableRbacAuthorization"] = wanted.enable_rbac_authorization
    network = vault_network.describe(found["properties"])
    rules = vault_network.merged(wanted.network, network)
    if rules != network:
        vault_network.refuse_weakening(rules, network, wanted.accept_weakening, f"vault {wanted.name}")
        properties.update(vault_network.body(rules))
        after.update(vault_network.shown(rules))
    body: t.Dict[str, t.Any] = {"properties": properties} if properties else {}
    if wanted.tags is not None and wanted.tags != now["tags"]:
        body["tags"] = wanted.tags
    after.update(sku=wanted.sku, purge_protection=now["purge_protection"] or bool(wanted.purge_protection))
    after["enable_rbac_authorization"] = properties.get("enableRbacAuthorization", now["enable_rbac_authorization"])
    after["tags"] = body.get("tags", now["tags"])
    managers = {entry.lower() for entry in wanted.key_managers} - set(now["key_managers"])
    if after["enable_rbac_authorization"]:
        managers = set()  # roles decide there, entries would have no effect
    after["key_managers"] = sorted({*now["key_managers"], *managers})
    tenant = str(found["properties"]["tenantId"])
    if managers:
        body["_managers"] = [_manager(tenant, entry) for entry in sorted(managers)]
    return Plan("update" if body else "none", now, after, body or None)


def _creation(wanted: Wanted, tenant: str) -> Plan:
    if not wanted.location:
        raise _invalid("location", wanted.location, f"an Azure region, because the vault {wanted.name} has to be made")
    rbac = True if wanted.enable_rbac_authorization is None else wanted.enable_rbac_authorization
    entries = [] if rbac else [_manager(tenant, entry.lower()) for entry in sorted(wanted.key_managers)]
    properties: t.Dict[str, t.Any] = {
        "tenantId": tenant,
        "sku": {"family": "A", "name": wanted.sku},
        # Always sent: the service's default differs between its API versions.
        "enableRbacAuthorization": rbac,
        "enableSoftDelete": True,
        "softDeleteRetentionInDays": wanted.soft_delete_retention_days or 90,
        "accessPolicies": entries,
    }
    if wanted.purge_protection:
        properties["enablePurgeProtection"] = True
    if any(member is not None for member in wanted.network):
        properties.update(vault_network.body(vault_network.merged(wanted.network, vault_network.describe({}))))
    body = {"location": wanted.location, "tags": wanted.tags or {}, "properties": properties}
    after = describe(
        {"name": wanted.name, "location": wanted.location, "tags": wanted.tags or {}, "properties": properties}
    )
    return Plan("create", {}, after, body)


def _manager(tenant: str, object_id: str) -> t.Dict[str, t.Any]:
    return {
        "tenantId": tenant,
        "objectId": object_id,
        "permissions": {"keys": list(MANAGER_PERMISSIONS), "secrets": [], "certificates": []},
    }


def apply(connection: Connection, wanted: Wanted, plan: Plan) -> t.Dict[str, t.Any]:
    """Carry out a plan and return the vault as it then is."""
    client, group, body = connection.vaults, wanted.resource_group, dict(plan.body or {})
    with errors(f"vault {wanted.name}"):
        if plan.action == "create":
            client.begin_create_or_update(group, wanted.name, body, polling_interval=_POLL, **SAFE_TO_REPEAT).result()
        else:
            managers = body.pop("_managers", None)
            if body:
                # PATCH and not PUT: PUT would empty the access policies.
                client.update(group, wanted.name, body, **SAFE_TO_REPEAT)
            if managers:
                client.update_access_policy(
                    group, wanted.name, "add", {"properties": {"accessPolicies": managers}}, **SAFE_TO_REPEAT
                )
        return wire(client.get(group, wanted.name))
