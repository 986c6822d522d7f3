# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What lets a principal release a key, whatever it is called and wherever it was granted, and taking away what is ours to take.

Ours is the release role or permission at the vault, the managed HSM's ``/keys`` or the key itself. A wider role, a grant
above the vault or one through a group reaches further than this key; it is told, never taken.
"""

from __future__ import annotations

import re
import typing as t

from ..policy.failure import SkrFailure
from . import budget, hsm, hsm_access, role_access
from .clients import SAFE_TO_REPEAT, Connection, errors, wire

_ASSIGNMENTS = "providers/Microsoft.Authorization/roleAssignments"
_ACTION = "Microsoft.KeyVault/vaults/keys/release/action"
_LOCAL_ACTION = "Microsoft.KeyVault/managedHsm/keys/release/action"


class Permission(t.NamedTuple):
    """One grant that includes the release. ``kept`` says why it is not taken away; None: it is."""

    principal_id: str
    via: str  # access_policy, rbac or hsm_local
    scope: str
    role: str
    name: str  # of the assignment; empty for an entry of the access policies
    kept: t.Optional[str] = None

    def as_dict(self) -> t.Dict[str, t.Any]:
        shown = {"principal_id": self.principal_id, "via": self.via, "scope": self.scope, "role": self.role}
        return {**shown, "why": self.kept} if self.kept else shown


class Held(t.NamedTuple):
    """What the principals hold: on this key, and on others (None: that could not be read)."""

    here: t.Tuple[Permission, ...]
    elsewhere: t.Optional[t.Tuple[Permission, ...]]


class Room(t.Protocol):
    """One plane of grants; ``where`` is the scope as a user knows it."""

    model: str
    where: str

    def held(self, principals: t.Sequence[str], elsewhere: bool) -> Held: ...

    def take(self, permissions: t.Sequence[Permission]) -> None: ...


def covers(scope: str, target: str) -> bool:
    """Whether a grant at ``scope`` reaches ``target``: the same, or above it at a segment's border."""
    above, below = scope.rstrip("/").lower(), target.rstrip("/").lower()
    return below == above or below.startswith(above + "/")


def _permits(permissions: t.Iterable[t.Mapping[str, t.Any]], action: str) -> bool:
    """Whether a role's data actions include this one; a wildcard stands for any text."""

    def hit(patterns: t.Any) -> bool:
        texts = [re.escape(str(one).lower()).replace(r"\*", ".*") for one in patterns or []]
        return any(re.fullmatch(text, action.lower()) for text in texts)

    return any(hit(one.get("dataActions")) and not hit(one.get("notDataActions")) for one in permissions)


class AzureRoles:
    """Azure RBAC: one list for each principal, of everything in the subscription that reaches it."""

    model = "rbac"

    def __init__(self, connection: Connection, vault_id: str, key_name: str) -> None:
        self._connection, self.where = connection, vault_id
        self._key = f"{vault_id}/keys/{key_name}"
        self._roles: t.Dict[str, t.Tuple[str, t.Optional[bool]]] = {role_access.ROLE_ID: (role_access.ROLE, True)}

    def held(self, principals: t.Sequence[str], elsewhere: bool) -> Held:
        here: t.List[Permission] = []
        others: t.List[Permission] = []
        subscription = f"/subscriptions/{self._connection.subscription_id}"
        for principal in principals:
            what, term = f"the role assignments of {principal}", f"assignedTo('{principal}')"
            for found in self._connection.list(
                f"{subscription}/{_ASSIGNMENTS}", role_access.API_VERSION, what, filter=term
            ):
                one = self._permission(principal, found)
                if one is not None:
                    (here if covers(one.scope, self._key) else others).append(one)
        entries = _policies_elsewhere(self._connection, principals, self.where) if elsewhere else None
        return Held(tuple(here), None if entries is None else (*others, *entries))

    def _permission(self, principal: str, found: t.Mapping[str, t.Any]) -> t.Optional[Permission]:
        inner = found.get("properties") or {}
        role_id = str(inner.get("roleDefinitionId", "")).rstrip("/").rpartition("/")[2].lower()
        role, releases = self._role(role_id)
        if releases is False:
            return None
        scope, holder = str(inner.get("scope", "")), str(inner.get("principalId", "")).lower()
        kept = None
        if releases is None:
            kept = "the definition of this role cannot be read, and it may include the release"
        elif holder != principal.lower():
            kept = f"it is granted to the group {holder}, of which the identity is a member"
        elif scope.lower() not in (self.where.lower(), self._key.lower()):
            kept = f"it is granted at {scope}, which is above the vault"
        elif role_id != role_access.ROLE_ID:
            kept = "this role allows more than the release"
        return Permission(principal.lower(), self.model, scope, role, str(found.get("name", "")), kept)

    def _role(self, role_id: str) -> t.Tuple[str, t.Optional[bool]]:
        """Its name, and whether it includes the release; None where that cannot be read."""
        if role_id not in self._roles:
            path = (
                f"/subscriptions/{self._connection.subscription_id}/providers/Microsoft.Authorization/roleDefinitions"
            )
            try:
                found = self._connection.get(f"{path}/{role_id}", role_access.API_VERSION, f"the role {role_id}")
                inner = found.get("properties") or {}
                permits = _permits(inner.get("permissions") or [], _ACTION)
                self._roles[role_id] = (str(inner.get("roleName") or role_id), permits)
            except SkrFailure as failure:
                if failure.reason not in ("authorization_failed", "resource_not_found"):
                    raise
                self._roles[role_id] = (role_id, None)
        return self._roles[role_id]

    def take(self, permissions: t.Sequence[Permission]) -> None:
        def one(permission: Permission) -> None:
            what = f"the role '{permission.role}' of {permission.principal_id}"
            path = f"{permission.scope}/{_ASSIGNMENTS}/{permission.name}"
            self._connection.delete(path, role_access.API_VERSION, what)

        finish(permissions, budget.each(permissions, one))


class AccessPolicies:
    """The vault's own list; entries of other vaults come from one list of the subscription's vaults."""

    model = "access_policy"

    def __init__(self, connection: Connection, group: str, found: t.Mapping[str, t.Any], key_name: str) -> None:
        self._connection, self._group, self._key_name = connection, group, key_name
        self._name, self.where = str(found["name"]), str(found["id"])
        self._tenant = str(found["properties"].get("tenantId"))

    def held(self, principals: t.Sequence[str], elsewhere: bool) -> Held:
        with errors(f"vault {self._name}"):
            vault = wire(self._connection.vaults.get(self._group, self._name))
        here = tuple(_entries(vault, principals))
        return Held(here, self._elsewhere(principals) if elsewhere else None)

    def _elsewhere(self, principals: t.Sequence[str]) -> t.Optional[t.Tuple[Permission, ...]]:
        """Other vaults; roles mean nothing in this one, but above it they reach those that use roles."""
        roles = AzureRoles(self._connection, self.where, self._key_name)
        try:
            held = roles.held(principals, elsewhere=True)
        except SkrFailure as failure:
            if failure.reason != "authorization_failed":
                raise
            return None
        above = [one for one in held.here if not covers(self.where, one.scope)]
        return None if held.elsewhere is None else (*above, *held.elsewhere)

    def take(self, permissions: t.Sequence[Permission]) -> None:
        """One write for all; the service takes from entries without touching others."""
        lost = {"keys": ["release"], "secrets": [], "certificates": []}
        entries = [{"tenantId": self._tenant, "objectId": one.principal_id, "permissions": lost} for one in permissions]
        with errors(f"the access policies of vault {self._name}"):
            self._connection.vaults.update_access_policy(
                self._group, self._name, "remove", {"properties": {"accessPolicies": entries}}, **SAFE_TO_REPEAT
            )


def _policies_elsewhere(
    connection: Connection, principals: t.Sequence[str], vault_id: str
) -> t.Optional[t.Tuple[Permission, ...]]:
    """Entries of the principals in other vaults of the subscription; None where the vaults cannot be listed."""
    try:
        with errors("the vaults of the subscription"):
            vaults = [wire(one) for one in connection.vaults.list_by_subscription()]
    except SkrFailure as failure:
        if failure.reason != "authorization_failed":
            raise
        return None
    others = [one for one in vaults if str(one["id"]).lower() != vault_id.lower()]
    using = [one for one in others if not one["properties"].get("enableRbacAuthorization")]
    return tuple(entry for one in using for entry in _entries(one, principals))


def _entries(vault: t.Mapping[str, t.Any], principals: t.Sequence[str]) -> t.Iterator[Permission]:
    asked = {one.lower() for one in principals}
    for entry in vault["properties"].get("accessPolicies") or []:
        who = str(entry.get("objectId", "")).lower()
        names = {str(name).lower() for name in (entry.get("permissions") or {}).get("keys") or []}
        if who not in asked or entry.get("applicationId") or not names & {"release", "all"}:
            continue
        kept = None if "release" in names else "the entry has the permission 'all', which is an administrator's"
        role = "release" if "release" in names else "all"
        yield Permission(who, AccessPolicies.model, str(vault["id"]), role, "", kept)
        if names >= {"release", "all"}:
            both = "the entry has the permission 'all' besides"
            yield Permission(who, AccessPolicies.model, str(vault["id"]), "all", "", both)


class LocalRoles:
    """The local roles of one managed HSM: one list of its assignments, one of its roles where others than ours occur."""

    model = "hsm_local"

    def __init__(self, connection: Connection, uri: str, key_name: str) -> None:
        self._connection, self._uri = connection, uri.rstrip("/")
        self._key = f"/keys/{key_name}"
        self.where = f"{self._uri}/keys"
        self._roles: t.Optional[t.Dict[str, t.Tuple[str, bool]]] = None

    def held(self, principals: t.Sequence[str], elsewhere: bool) -> Held:
        asked = {one.lower() for one in principals}
        here: t.List[Permission] = []
        others: t.List[Permission] = []
        with hsm.activation_told(self._connection, self._uri), errors(f"the local roles of {self._uri}"):
            for assignment in list(self._connection.local_roles(self._uri).list_role_assignments("/")):
                properties = assignment.properties
                who = str(properties.principal_id).lower()
                role_id = str(properties.role_definition_id).rstrip("/").rpartition("/")[2].lower()
                if who not in asked:
                    continue
                role, releases = self._role(role_id)
                if releases:
                    scope = str(getattr(properties.scope, "value", properties.scope))
                    one = self._permission(who, scope, role_id, role, str(assignment.name))
                    (here if covers(scope, self._key) else others).append(one)
        return Held(tuple(here), tuple(others))

    def _permission(self, who: str, scope: str, role_id: str, role: str, name: str) -> Permission:
        kept = None
        if scope.lower() not in ("/keys", self._key.lower()):
            kept = f"it is granted at {scope}, which is not for keys alone"
        elif role_id != hsm_access.ROLE_ID:
            kept = "this role allows more than the release"
        return Permission(who, self.model, scope, role, name, kept)

    def _role(self, role_id: str) -> t.Tuple[str, bool]:
        if role_id == hsm_access.ROLE_ID:
            return hsm_access.ROLE, True
        if self._roles is None:
            self._roles = {}
            for one in self._connection.local_roles(self._uri).list_role_definitions("/"):
                permissions = [
                    {"dataActions": _texts(entry.data_actions), "notDataActions": _texts(entry.not_data_actions)}
                    for entry in one.permissions or []
                ]
                self._roles[str(one.name).lower()] = (str(one.role_name), _permits(permissions, _LOCAL_ACTION))
        return self._roles.get(role_id, (role_id, False))

    def take(self, permissions: t.Sequence[Permission]) -> None:
        client = self._connection.local_roles(self._uri)

        def one(permission: Permission) -> None:
            with errors(f"the local role '{permission.role}' of {permission.principal_id}"):
                client.delete_role_assignment(permission.scope, permission.name, **SAFE_TO_REPEAT)

        finish(permissions, budget.each(permissions, one, workers=1))


def _texts(values: t.Any) -> t.List[str]:
    return [str(getattr(one, "value", one)) for one in values or []]


def finish(permissions: t.Sequence[Permission], failures: t.Mapping[int, SkrFailure]) -> None:
    """Tell which could not be taken, when all have been tried. Raises SkrFailure."""
    if not failures:
        return
    still = sorted({permissions[index].principal_id for index in failures})
    first = failures[min(failures)]
    raise SkrFailure(
        first.reason,
        f"{len(failures)} of {len(permissions)} grants are still there ({', '.join(still)}), the others are gone: {first.message}",
        {**first.facts, "still_granted": still, "taken": len(permissions) - len(failures)},
    )
