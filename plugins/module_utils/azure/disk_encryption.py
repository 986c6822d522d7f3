# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A disk encryption set for the OS disks of confidential VMs: an identity, and the customer key it wraps with.

This key encrypts disks for the platform. It is not an application's key, and has another policy and other users.
"""

from __future__ import annotations

import re
import typing as t

from ..policy.failure import SkrFailure
from .clients import SAFE_TO_REPEAT, Connection, errors, wire
from .plan import Plan, same_location, text_tags

TYPE = "ConfidentialVmEncryptedWithCustomerKey"
_KEY_URL = re.compile(r"https://[0-9a-zA-Z-]+\.[0-9a-zA-Z.-]+/keys/[0-9a-zA-Z-]{1,127}/[0-9a-f]{32}")
_VAULT = re.compile(
    r"/subscriptions/[^/]+/resourceGroups/[^/]+/providers/Microsoft\.KeyVault/vaults/[^/]+", re.IGNORECASE
)
_POLL = 5


class Wanted(t.NamedTuple):
    """``key_url`` names a version; ``vault_id`` is the resource id of its vault, None for a managed HSM's key."""

    name: str
    resource_group: str
    location: t.Optional[str] = None
    key_url: t.Optional[str] = None
    vault_id: t.Optional[str] = None
    tags: t.Optional[t.Dict[str, str]] = None
    present: bool = True


def ensure(connection: Connection, wanted: Wanted, check_mode: bool) -> t.Dict[str, t.Any]:
    """Make, change or delete the set; returns the module's result. Raises SkrFailure."""
    wanted = wanted._replace(tags=text_tags(wanted.tags))
    check(wanted)
    found = get(connection, wanted)
    sets = connection.compute.disk_encryption_sets
    if not wanted.present:
        state = "present" if found else "absent"
        plan = Plan("delete" if found else "none", {"state": state}, {"state": "absent"})
        if found and not check_mode:
            with errors(f"disk encryption set {wanted.name}"):
                sets.begin_delete(wanted.resource_group, wanted.name, polling_interval=_POLL, **SAFE_TO_REPEAT).result()
        return {**plan.result(), "disk_encryption_set": {"name": wanted.name, "state": "absent"}}
    plan = plan_set(wanted, found)
    if plan.changed and not check_mode:
        with errors(f"disk encryption set {wanted.name}"):
            sets.begin_create_or_update(
                wanted.resource_group, wanted.name, plan.body, polling_interval=_POLL, **SAFE_TO_REPEAT
            ).result()
        found = get(connection, wanted)
    shown = describe(found) if found and not (check_mode and plan.changed) else plan.after
    return {**plan.result(), "disk_encryption_set": shown}


def check(wanted: Wanted) -> None:
    """Refuse what cannot work before anything is asked."""
    if not wanted.present:
        return
    if wanted.key_url is not None and not _KEY_URL.fullmatch(wanted.key_url):
        raise _invalid("key_url", wanted.key_url, "the identifier of a key version, https://VAULT/keys/NAME/VERSION")
    of_vault = wanted.key_url is not None and ".managedhsm." not in wanted.key_url
    if of_vault and not _VAULT.fullmatch(str(wanted.vault_id or "").rstrip("/")):
        raise _invalid("vault_id", wanted.vault_id, "the resource id of the vault that holds the key")


def _invalid(option: str, found: t.Any, wanted: str) -> SkrFailure:
    return SkrFailure("invalid_input", f"{option} is {found!r}, wanted {wanted}.", {"option": option})


def get(connection: Connection, wanted: Wanted) -> t.Optional[t.Dict[str, t.Any]]:
    from azure.core.exceptions import ResourceNotFoundError

    with errors(f"disk encryption set {wanted.name}"):
        try:
            return wire(connection.compute.disk_encryption_sets.get(wanted.resource_group, wanted.name))
        except ResourceNotFoundError as error:
            if getattr(error.error, "code", "") == "ResourceGroupNotFound":
                raise
            return None


def describe(found: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    properties, identity = found.get("properties") or {}, found.get("identity") or {}
    key = properties.get("activeKey") or {}
    return {
        "id": found.get("id"),
        "name": found.get("name"),
        "location": found.get("location"),
        "encryption_type": properties.get("encryptionType"),
        "key_url": key.get("keyUrl"),
        "vault_id": (key.get("sourceVault") or {}).get("id"),
        "principal_id": identity.get("principalId"),
        "tags": found.get("tags") or {},
    }


def plan_set(wanted: Wanted, found: t.Optional[t.Dict[str, t.Any]]) -> Plan:
    """PUT states the whole, so what is not asked for goes along as it is. Raises SkrFailure ``vm_fixed``."""
    now = describe(found) if found else {}
    if found and now["encryption_type"] != TYPE:
        raise SkrFailure(
            "vm_fixed",
            f"The disk encryption set {wanted.name} is of type {now['encryption_type']}, wanted {TYPE}; that is fixed.",
            {"option": "name", "found": now["encryption_type"], "wanted": TYPE},
        )
    if found and wanted.location and not same_location(wanted.location, str(now["location"])):
        raise _invalid("location", wanted.location, f"{now['location']}, where the disk encryption set already is")
    for option in ("location", "key_url"):
        if not found and not getattr(wanted, option):
            raise _invalid(option, None, f"a value, because the disk encryption set {wanted.name} has to be made")
    after = {
        **(now or {"name": wanted.name, "encryption_type": TYPE}),
        "location": now.get("location") or wanted.location,
        "key_url": wanted.key_url or now.get("key_url"),
        "vault_id": wanted.vault_id if wanted.key_url else now.get("vault_id"),
        "tags": now.get("tags", {}) if wanted.tags is None else wanted.tags,
    }
    same = found and str(after["vault_id"] or "").lower() == str(now["vault_id"] or "").lower()
    if same and all(after[member] == now[member] for member in ("key_url", "tags")):
        return Plan("none", now, now)
    source = {"sourceVault": {"id": after["vault_id"]}} if after["vault_id"] else {}
    body = {
        "location": after["location"],
        "tags": after["tags"],
        "identity": {"type": "SystemAssigned"},
        "properties": {"encryptionType": TYPE, "activeKey": {"keyUrl": after["key_url"], **source}},
    }
    return Plan("update" if found else "create", now, after, body)
