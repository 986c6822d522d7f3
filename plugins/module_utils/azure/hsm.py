# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A managed HSM: making it takes Azure up to half an hour, and it is of no use until it is activated."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import time
import typing as t

from ..policy.failure import SkrFailure
from . import vault_network
from .clients import SAFE_TO_REPEAT, Connection, errors, wire
from .plan import Plan, same_location, text_tags

SKUS = (
    "Standard_B1", "Custom_B6", "Custom_B32", "Custom_C10", "Custom_C42", "Standard_B1v2", "Standard_B5v2",
    "Standard_B10v2", "Standard_B15v2", "Standard_B20v2",
)  # fmt: skip
_NAME = re.compile(r"[a-zA-Z](?!.*--)[a-zA-Z0-9-]{1,22}[a-zA-Z0-9]")
_GUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
# Seconds between two looks at an HSM in the making, where the service names none.
_POLL = 15


@dataclasses.dataclass(frozen=True)
class Wanted:
    """The HSM as it shall be; None means: leave as it is (on creation: a default)."""

    name: str
    resource_group: str
    location: t.Optional[str] = None
    sku: t.Optional[str] = None
    administrators: t.Tuple[str, ...] = ()
    purge_protection: t.Optional[bool] = None
    soft_delete_retention_days: t.Optional[int] = None
    network: vault_network.Rules = vault_network.Rules()
    accept_weakening: bool = False
    deleted_action: str = "fail"
    tags: t.Optional[t.Dict[str, str]] = None
    state: str = "present"  # present | absent | purged
    wait: bool = True
    wait_timeout: float = 3600.0


def ensure(connection: Connection, wanted: Wanted, check_mode: bool) -> t.Dict[str, t.Any]:
    """Make, update, delete or purge the HSM; returns the module's result. Raises SkrFailure."""
    check(wanted)
    wanted = dataclasses.replace(wanted, tags=text_tags(wanted.tags))
    if wanted.state != "present":
        return _remove(connection, wanted, check_mode)
    found = get(connection, wanted.resource_group, wanted.name)
    deleted = None if found or wanted.deleted_action == "fail" else find_deleted(connection, wanted.name)
    if deleted is not None and wanted.deleted_action == "recover":
        plan = Plan("recover", {"state": "deleted"}, {"state": "recovered"}, _recovery(connection, deleted))
    else:
        plan = _plan(connection, wanted, found)
    if plan.changed and not check_mode:
        if deleted is not None and wanted.deleted_action == "purge":
            _purge(connection, wanted.name, deleted)
        found = _send(connection, wanted, plan)
    elif found and wanted.wait and not check_mode and _under_way(found):
        found = _await(connection, wanted, found)
    shown = describe(found) if found and not (check_mode and plan.changed) else plan.after
    uri = shown.get("hsm_uri") or connection.login.cloud.hsm_uri(wanted.name)
    return {**plan.result(), "hsm": shown, "hsm_uri": uri}


def check(wanted: Wanted) -> None:
    """Refuse what cannot work before anything is asked."""
    if not _NAME.fullmatch(wanted.name):
        raise _invalid("name", wanted.name, "3 to 24 letters, digits and single hyphens, beginning with a letter")
    if wanted.sku is not None and wanted.sku not in SKUS:
        raise _invalid("sku", wanted.sku, f"one of {', '.join(SKUS)}")
    days = wanted.soft_delete_retention_days
    if days is not None and not 7 <= days <= 90:
        raise _invalid("soft_delete_retention_days", days, "a number from 7 to 90")
    for entry in wanted.administrators:
        if entry != "self" and not _GUID.fullmatch(entry):
            raise _invalid("administrators", entry, "an object id (GUID) or self")
    if wanted.wait_timeout <= 0:
        raise _invalid("wait_timeout", wanted.wait_timeout, "a number of seconds above 0")


def _invalid(option: str, found: t.Any, wanted: str) -> SkrFailure:
    return SkrFailure("invalid_input", f"{option} is {found!r}, wanted {wanted}.", {"option": option})


# --- reading


def get(connection: Connection, resource_group: str, name: str) -> t.Optional[t.Dict[str, t.Any]]:
    """The HSM in the service's own names; None when it does not exist."""
    from azure.core.exceptions import ResourceNotFoundError

    with errors(f"managed HSM {name}"):
        try:
            found = connection.managed_hsms.get(resource_group, name)
        except ResourceNotFoundError as error:
            if getattr(error.error, "code", "") == "ResourceGroupNotFound":
                raise
            return None
        return wire(found) if found is not None else None  # the service may also answer 204


def find(connection: Connection, uri: str) -> t.Optional[t.Dict[str, t.Any]]:
    """The HSM of this address anywhere in the subscription; names are unique in the world."""
    name = uri.partition("://")[2].partition(".")[0].lower()
    with errors(f"managed HSM {name}"):
        for hsm in connection.managed_hsms.list_by_subscription():
            if str(hsm.name).lower() == name:
                return wire(hsm)
    return None


def find_deleted(connection: Connection, name: str) -> t.Optional[t.Any]:
    """The deleted HSM of this name; until it is purged it is paid for."""
    with errors("the deleted managed HSMs"):
        for hsm in connection.managed_hsms.list_deleted():
            if str(hsm.name).lower() == name.lower():
                return hsm
    return None


def describe(found: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    """The parts of an HSM that this collection cares for."""
    properties = found["properties"]
    rules = vault_network.describe(properties)
    return {
        "id": found.get("id"),
        "name": found.get("name"),
        "location": found.get("location"),
        "sku": (found.get("sku") or {}).get("name"),
        "administrators": sorted(str(one).lower() for one in properties.get("initialAdminObjectIds") or []),
        "purge_protection": bool(properties.get("enablePurgeProtection")),
        "soft_delete_retention_days": properties.get("softDeleteRetentionInDays", 90),
        **vault_network.shown(rules),
        "tags": found.get("tags") or {},
        "hsm_uri": str(properties.get("hsmUri") or "").rstrip("/") or None,
        "provisioning_state": properties.get("provisioningState"),
        "status_message": properties.get("statusMessage"),
        "activation_status": activation_status(found),
    }


def activation_status(found: t.Mapping[str, t.Any]) -> str:
    """NotActivated, Active, Unknown or Failed; old API versions tell it by the state alone."""
    properties = found["properties"]
    stated = (properties.get("securityDomainProperties") or {}).get("activationStatus")
    if stated:
        return str(stated)
    return "Active" if properties.get("provisioningState") == "Activated" else "Unknown"


@contextlib.contextmanager
def activation_told(connection: Connection, uri: str) -> t.Iterator[None]:
    """Around calls to an HSM's data plane: a refusal by one that is not activated is told as that.

    The service's own text for it is not published, so Resource Manager is asked, where the caller may.
    """
    try:
        yield
    except SkrFailure as failure:
        told = ("permission_missing", "service_error", "conflict", "network_unreachable", "authentication_failed")
        if failure.reason not in told or not connection.login.subscription_id:
            raise
        try:
            found = find(connection, uri)
        except SkrFailure:
            raise failure from None
        if found is None or activation_status(found) != "NotActivated":
            raise
        raise SkrFailure(
            "hsm_not_activated",
            f"The managed HSM {found['name']} is not activated.",
            {"hsm_uri": uri, "activation_status": "NotActivated", **failure.facts},
        ) from failure


# --- planning


def _plan(connection: Connection, wanted: Wanted, found: t.Optional[t.Dict[str, t.Any]]) -> Plan:
    administrators = wanted.administrators
    if "self" in administrators:
        own = str(connection.caller()["oid"])
        administrators = tuple(own if entry == "self" else entry for entry in administrators)
    asked = tuple(sorted({entry.lower() for entry in administrators}))
    if found is None:
        given = connection.login.tenant or ""
        tenant = given if _GUID.fullmatch(given) else str(connection.caller()["tid"])
        return plan_creation(wanted, asked or (str(connection.caller()["oid"]),), tenant)
    return plan_update(wanted, asked, found)


def plan_creation(wanted: Wanted, administrators: t.Sequence[str], tenant: str) -> Plan:
    if not wanted.location:
        raise _invalid(
            "location", wanted.location, f"an Azure region, because the managed HSM {wanted.name} has to be made"
        )
    properties: t.Dict[str, t.Any] = {
        "tenantId": tenant,
        "initialAdminObjectIds": list(administrators),
        "enableSoftDelete": True,
        "softDeleteRetentionInDays": wanted.soft_delete_retention_days or 90,
    }
    if wanted.purge_protection:
        properties["enablePurgeProtection"] = True
    if any(member is not None for member in wanted.network):
        properties.update(vault_network.body(vault_network.merged(wanted.network, vault_network.describe({}))))
    body = {
        "location": wanted.location,
        "sku": {"family": "B", "name": wanted.sku or "Standard_B1"},
        "tags": wanted.tags or {},
        "properties": properties,
    }
    after = describe({"name": wanted.name, **body})
    for member in ("id", "hsm_uri", "provisioning_state", "status_message", "activation_status"):
        after.pop(member)
    return Plan("create", {}, after, body)


def plan_update(wanted: Wanted, administrators: t.Sequence[str], found: t.Dict[str, t.Any]) -> Plan:
    """Raises SkrFailure where the change is impossible or would weaken the HSM."""
    now = describe(found)
    if wanted.location and not same_location(wanted.location, now["location"]):
        raise _invalid("location", wanted.location, f"{now['location']}, where the managed HSM already is")
    for option, value in (
        ("sku", wanted.sku),
        ("soft_delete_retention_days", wanted.soft_delete_retention_days),
        ("administrators", list(administrators) or None),
    ):
        if value is not None and value != now[option]:
            raise SkrFailure(
                "hsm_fixed",
                f"{option} is {value!r}, but the managed HSM {wanted.name} has {now[option]!r}.",
                {"option": option, "found": now[option], "wanted": value},
            )
    if wanted.purge_protection is False and now["purge_protection"]:
        raise SkrFailure(
            "purge_protection_irreversible", f"Purge protection of {wanted.name} is on and can never be switched off."
        )
    after, properties = dict(now), {}
    if wanted.purge_protection and not now["purge_protection"]:
        properties["enablePurgeProtection"] = after["purge_protection"] = True
    held = vault_network.describe(found["properties"])
    rules = vault_network.merged(wanted.network, held)
    if rules != held:
        vault_network.refuse_weakening(rules, held, wanted.accept_weakening, f"managed HSM {wanted.name}")
        properties.update(vault_network.body(rules))
        after.update(vault_network.shown(rules))
    body: t.Dict[str, t.Any] = {"properties": properties} if properties else {}
    if wanted.tags is not None and wanted.tags != now["tags"]:
        body["tags"] = after["tags"] = wanted.tags
    return Plan("update" if body else "none", now, after, body or None)


def _recovery(connection: Connection, deleted: t.Any) -> t.Dict[str, t.Any]:
    properties = {"tenantId": str(connection.caller()["tid"]), "createMode": "recover"}
    sku = {"family": "B", "name": "Standard_B1"}
    return {"location": deleted.properties.location, "sku": sku, "properties": properties}


# --- carrying out


def _send(connection: Connection, wanted: Wanted, plan: Plan) -> t.Dict[str, t.Any]:
    """Start what the plan says and, unless told otherwise, wait for its end."""
    client, body = connection.managed_hsms, dict(plan.body or {})
    try:
        with errors(f"managed HSM {wanted.name}"):
            start = client.begin_update if plan.action == "update" else client.begin_create_or_update
            poller = start(wanted.resource_group, wanted.name, body, polling_interval=_POLL, **SAFE_TO_REPEAT)
            if wanted.wait:
                poller.result(wanted.wait_timeout)
                if not poller.done():
                    raise _too_long(wanted)
    except SkrFailure as failure:
        # An answer that got lost, and a repetition that met the first one's work: it is under way, or done.
        if failure.reason not in ("conflict", "service_error", "network_unreachable") or plan.action == "update":
            raise
        found = get(connection, wanted.resource_group, wanted.name)
        if found is None or found["properties"].get("provisioningState") == "Failed":
            raise
        return _await(connection, wanted, found) if wanted.wait else found
    found = get(connection, wanted.resource_group, wanted.name)
    if found is None:
        raise SkrFailure("conflict", f"The managed HSM {wanted.name} is gone right after it was written.")
    return found


def _under_way(found: t.Mapping[str, t.Any]) -> bool:
    return found["properties"].get("provisioningState") in ("Provisioning", "Updating", "Restoring")


def _await(connection: Connection, wanted: Wanted, found: t.Dict[str, t.Any]) -> t.Dict[str, t.Any]:
    """An earlier run, or somebody else, has started it; see it to its end."""
    deadline = time.monotonic() + wanted.wait_timeout
    while _under_way(found):
        if time.monotonic() > deadline:
            raise _too_long(wanted)
        time.sleep(min(_POLL, max(0.0, deadline - time.monotonic())))
        found = get(connection, wanted.resource_group, wanted.name) or found
    return found


def _too_long(wanted: Wanted) -> SkrFailure:
    return SkrFailure(
        "wait_timeout",
        f"After {wanted.wait_timeout:.0f} seconds Azure is still working on the managed HSM {wanted.name}.",
        {"option": "wait_timeout"},
        next_step="Run the task again: it goes on waiting, and makes no second one.",
    )


def _remove(connection: Connection, wanted: Wanted, check_mode: bool) -> t.Dict[str, t.Any]:
    found = get(connection, wanted.resource_group, wanted.name)
    deleted = None if found else find_deleted(connection, wanted.name)
    purged = wanted.state == "purged"
    before = "present" if found else "deleted" if deleted else "absent"
    after = "absent" if purged or before == "absent" else "deleted"
    plan = Plan("none" if before == after else "remove", {"state": before}, {"state": after})
    if found and purged and describe(found)["purge_protection"]:
        raise _protected(wanted.name)
    if deleted is not None and purged and deleted.properties.purge_protection_enabled:
        raise _protected(wanted.name)
    if plan.changed and not check_mode:
        if found:
            with errors(f"managed HSM {wanted.name}"):
                connection.managed_hsms.begin_delete(
                    wanted.resource_group, wanted.name, polling_interval=_POLL, **SAFE_TO_REPEAT
                ).result()
            deleted = find_deleted(connection, wanted.name) if purged else None
        if purged and deleted is not None:
            _purge(connection, wanted.name, deleted)
    shown = {"name": wanted.name, "state": after}
    return {**plan.result(), "hsm": shown, "hsm_uri": None}


def _purge(connection: Connection, name: str, deleted: t.Any) -> None:
    if deleted.properties.purge_protection_enabled:
        raise _protected(name)
    with errors(f"deleted managed HSM {name}"):
        connection.managed_hsms.begin_purge_deleted(
            name, deleted.properties.location, polling_interval=_POLL, **SAFE_TO_REPEAT
        ).result()


def _protected(name: str) -> SkrFailure:
    return SkrFailure("purge_refused", f"Purge protection forbids purging the managed HSM {name}.", {"hsm": name})
