# SPDX-License-Identifier: GPL-3.0-or-later
"""Access policies of a vault. An entry is named by object id and application id within the vault's tenant."""

from __future__ import annotations

import typing as t
import uuid

from ...core.world import AccessPolicy, Vault, World
from .errors import known, objects, refuse
from .members import PERMISSIONS

LIMIT = 1024
Key = tuple[str, str | None]


def replaced(world: World, vault: Vault, entries: t.Any) -> list[AccessPolicy]:
    """The vault's list when PUT or PATCH gives a whole new one. What was granted before keeps its time."""
    return _merged(world, vault, entries, "replace", [])


def changed(world: World, vault: Vault, entries: t.Any, operation: str) -> list[AccessPolicy]:
    """The list after ``add`` (union), ``remove`` (difference) or ``replace`` (exactly these) of single entries."""
    return _merged(world, vault, entries, operation, vault.access_policies)


def _merged(
    world: World, vault: Vault, entries: t.Any, operation: str, start: list[AccessPolicy]
) -> list[AccessPolicy]:
    before = {_key(policy): policy for policy in vault.access_policies}
    after = {_key(policy): policy for policy in start}
    for entry in objects(entries, "AccessPolicyEntry"):
        given = _entry(vault, entry)
        merged = _combined(world, before.get(_key(given)), after.get(_key(given)), given, operation)
        if merged is None:
            after.pop(_key(given), None)
        else:
            after[_key(given)] = merged
    _lingering(world, vault, before, after)
    if len(after) > LIMIT:
        raise refuse(400, "BadRequest", f"The number of access policies exceeds the maximum of {LIMIT}.")
    return list(after.values())


def _lingering(world: World, vault: Vault, before: dict[Key, AccessPolicy], after: dict[Key, AccessPolicy]) -> None:
    """What an entry loses, the data plane may honour for a while."""
    for key, old in before.items():
        kept = after[key].permissions.get("keys", []) if key in after else []
        for name in old.permissions.get("keys", []):
            if name not in kept and not old.application_id:
                vault.removed_permissions[(old.object_id.lower(), name)] = world.clock.now()


def _key(policy: AccessPolicy) -> Key:
    return policy.object_id.lower(), policy.application_id


def _combined(
    world: World, before: AccessPolicy | None, start: AccessPolicy | None, given: AccessPolicy, operation: str
) -> AccessPolicy | None:
    """One entry after the operation; None when it has no permission left."""
    permissions = {}
    for kind in PERMISSIONS:
        old = set(start.permissions.get(kind, [])) if start else set()
        new = set(given.permissions.get(kind, []))
        permissions[kind] = sorted({"add": old | new, "remove": old - new, "replace": new}[operation])
    if not any(permissions.values()):
        return None
    since = world.clock.now() + world.grant_delay(given.object_id, world.delays.access_policy_effective)
    known_times = before.effective if before else {}
    names = [f"{kind}/{permission}" for kind, found in permissions.items() for permission in found]
    effective = {name: known_times.get(name, since) for name in names}
    return AccessPolicy(given.tenant_id, given.object_id, permissions, given.application_id, effective)


def _entry(vault: Vault, entry: dict[str, t.Any]) -> AccessPolicy:
    tenant = _guid(entry, "tenantId")
    if tenant != vault.tenant_id:
        raise refuse(
            400,
            "BadRequest",
            f"The tenant '{tenant}' of an access policy is not the tenant '{vault.tenant_id}' of the vault.",
        )
    application = _guid(entry, "applicationId") if entry.get("applicationId") else None
    given = known(entry.get("permissions"), "Permissions")
    permissions = {kind: _names(kind, given.get(kind) or []) for kind in PERMISSIONS}
    return AccessPolicy(tenant, _guid(entry, "objectId"), permissions, application)


def _names(kind: str, names: t.Any) -> list[str]:
    if not isinstance(names, list):
        message = f"The request content was invalid: permissions.{kind} must be a list."
        raise refuse(400, "InvalidRequestContent", message)
    for name in names:
        if str(name).lower() not in PERMISSIONS[kind]:
            raise refuse(400, "BadRequest", f"The permission '{name}' to {kind} in an access policy is not valid.")
    return sorted({str(name).lower() for name in names})


def _guid(entry: dict[str, t.Any], member: str) -> str:
    try:
        return str(uuid.UUID(str(entry.get(member))))
    except ValueError:
        message = f"An invalid value was provided for '{member}' of an access policy: '{entry.get(member)}'."
        raise refuse(400, "BadRequest", message) from None


def document(policy: AccessPolicy) -> dict[str, t.Any]:
    found: dict[str, t.Any] = {
        "tenantId": policy.tenant_id,
        "objectId": policy.object_id,
        "permissions": policy.permissions,
    }
    return found | ({"applicationId": policy.application_id} if policy.application_id else {})
