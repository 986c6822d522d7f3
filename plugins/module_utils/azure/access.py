# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The release permission: an entry in the vault's access policies, an Azure role, or a managed HSM's local role."""

from __future__ import annotations

import dataclasses
import time
import typing as t
import uuid

from ..policy.failure import SkrFailure
from . import hsm_access, key_target, role_access
from . import vault as vaults
from .clients import SAFE_TO_REPEAT, Connection, errors
from .plan import Plan

_POLL = 2.0


@dataclasses.dataclass(frozen=True)
class Wanted:
    """Who shall (or shall not) be allowed to release. ``grant_model``: auto, access_policy, rbac or hsm_local.

    Either ``vault_name`` and ``resource_group``, or ``hsm_uri``.
    """

    vault_name: t.Optional[str]
    resource_group: t.Optional[str]
    principals: t.Tuple[str, ...]
    hsm_uri: t.Optional[str] = None
    grant_model: str = "auto"
    scope: str = "vault"
    key_name: t.Optional[str] = None
    present: bool = True
    exclusive: bool = False  # with present: nobody else at this scope
    everyone: bool = False  # without present: whoever has the permission at this scope loses it
    wait: bool = True
    wait_timeout: float = 120.0


def ensure(connection: Connection, wanted: Wanted, check_mode: bool) -> t.Dict[str, t.Any]:
    """Grant or revoke; returns the module's result. Raises SkrFailure."""
    check(wanted)
    room: _Room
    if wanted.hsm_uri:
        if wanted.grant_model not in ("auto", "hsm_local"):
            raise _wrong_model(wanted.grant_model, "hsm_local", f"the managed HSM {wanted.hsm_uri}")
        model, room = "hsm_local", _local(connection, wanted)
    else:
        found = vaults.get(connection, str(wanted.resource_group), str(wanted.vault_name))
        if found is None:
            absent = f"There is no vault {wanted.vault_name} in resource group {wanted.resource_group}."
            if check_mode and wanted.present:
                return _foreseen(connection, wanted, absent)
            raise SkrFailure("resource_not_found", absent)
        model = choose_model(wanted.grant_model, found)
        if wanted.scope == "key" and model == "access_policy":
            raise SkrFailure(
                "grant_model_mismatch",
                f"scope is key, but the vault {found['name']} uses access policies, which always hold for the whole vault.",
                {"option": "scope", "found": "key", "wanted": "vault"},
            )
        roles = role_access.Roles(connection, wanted, found)
        room = _AccessPolicies(connection, wanted, found) if model == "access_policy" else roles
    return _granted(room, wanted, model, check_mode)


def _local(connection: Connection, wanted: Wanted) -> hsm_access.LocalRoles:
    return hsm_access.LocalRoles(
        connection, str(wanted.hsm_uri), wanted.scope, wanted.key_name, wanted.exclusive or wanted.everyone
    )


def _granted(room: _Room, wanted: Wanted, model: str, check_mode: bool) -> t.Dict[str, t.Any]:
    held = room.held()
    if wanted.everyone:
        wanted = dataclasses.replace(wanted, principals=tuple(sorted(room.removable())))
    others = _others(wanted, room.removable())
    plan = plan_grant(wanted, held, model, room.where, others)
    start = time.monotonic()
    if plan.changed and not check_mode:
        # Those that shall have it come first, so that a failure in between locks nobody out.
        room.apply(sorted(_difference(wanted, held)), wanted.present)
        room.apply(sorted(others), False)
        if wanted.wait:
            _await_record(room, wanted)
    return {
        **plan.result(),
        "grant_model": model,
        "scope": room.where,
        "waited_s": round(time.monotonic() - start, 1) if plan.changed and not check_mode else 0.0,
        "principals": [
            {
                "principal_id": entry,
                "granted": wanted.present,
                "changed": entry.lower() in _difference(wanted, held),
                "via": model,
            }
            for entry in wanted.principals
        ],
        "revoked": sorted(others),
    }


def _foreseen(connection: Connection, wanted: Wanted, absent: str) -> t.Dict[str, t.Any]:
    """Check mode of a play that would have made the vault before: every grant would be new."""
    group = f"/subscriptions/{connection.subscription_id}/resourceGroups/{wanted.resource_group}"
    where = f"{group}/providers/Microsoft.KeyVault/vaults/{wanted.vault_name}"
    where += f"/keys/{wanted.key_name}" if wanted.scope == "key" else ""
    plan = plan_grant(wanted, set(), wanted.grant_model, where)
    changes = {"granted": True, "changed": True, "via": wanted.grant_model}
    return {
        **plan.result(),
        "grant_model": wanted.grant_model,
        "scope": where,
        "waited_s": 0.0,
        "principals": [{"principal_id": entry, **changes} for entry in wanted.principals],
        "revoked": [],
        "warnings": [f"{absent} Check mode takes it that an earlier task makes it."],
    }


def check(wanted: Wanted) -> None:
    """Refuse what cannot work before anything is asked."""
    if wanted.hsm_uri:
        key_target.target(None, wanted.hsm_uri, wanted.key_name or "any")
    elif wanted.grant_model == "hsm_local":
        raise _invalid(
            "grant_model", "hsm_local", "auto, access_policy or rbac for a vault; hsm_local goes with hsm_uri"
        )
    object_ids(wanted.principals)
    if wanted.exclusive and wanted.present and not wanted.principals:
        raise _invalid("principals", [], "at least one identity, because exclusive would take the permission from all")
    if wanted.everyone and (wanted.present or wanted.principals):
        raise _invalid("everyone", True, "false, because it goes with state absent and names nobody")
    if wanted.scope == "key" and not wanted.key_name:
        raise _invalid("key_name", wanted.key_name, "the name of a key, because scope is key")


def object_ids(entries: t.Sequence[str]) -> None:
    """Check the option ``principals``. Raises SkrFailure ``invalid_input``."""
    for entry in entries:
        try:
            exact = str(uuid.UUID(entry)) == entry.lower()  # UUID() also takes braces and no hyphens
        except ValueError:
            exact = False
        if not exact:
            raise _invalid("principals", entry, "an object id (GUID) of an identity")


def _invalid(option: str, found: t.Any, wanted: str) -> SkrFailure:
    return SkrFailure("invalid_input", f"{option} is {found!r}, wanted {wanted}.", {"option": option})


def choose_model(asked: str, found: t.Mapping[str, t.Any]) -> str:
    """The model the vault uses; asking for the other one would be a grant without effect."""
    uses = "rbac" if found["properties"].get("enableRbacAuthorization") else "access_policy"
    if asked not in ("auto", uses):
        raise _wrong_model(asked, uses, f"the vault {found['name']}")
    return uses


def _wrong_model(asked: str, uses: str, what: str) -> SkrFailure:
    return SkrFailure(
        "grant_model_mismatch",
        f"grant_model is {asked}, but {what} uses {uses}.",
        {"option": "grant_model", "found": asked, "wanted": uses},
    )


def _difference(wanted: Wanted, held: t.AbstractSet[str]) -> t.Set[str]:
    asked = {entry.lower() for entry in wanted.principals}
    return asked - held if wanted.present else asked & held


def _others(wanted: Wanted, removable: t.AbstractSet[str]) -> t.Set[str]:
    """Who else has the permission at this very scope and loses it, where it shall be exclusive."""
    asked = {entry.lower() for entry in wanted.principals}
    return set(removable) - asked if wanted.exclusive and wanted.present else set()


def plan_grant(
    wanted: Wanted, held: t.AbstractSet[str], model: str, where: str, others: t.AbstractSet[str] = frozenset()
) -> Plan:
    """Which of the principals change; entries of others are no part of it unless the grant is exclusive."""
    asked = {entry.lower() for entry in wanted.principals}
    before = {"grant_model": model, "scope": where, "release": sorted((asked & held) | others)}
    if not _difference(wanted, held) and not others:
        return Plan("none", before, before)
    return Plan("update", before, {**before, "release": sorted(asked) if wanted.present else []})


class _Room(t.Protocol):
    """One plane of grants. ``where`` is the scope; ``held`` looks anew, the others rest on the last look."""

    where: str

    def held(self) -> t.Set[str]: ...

    def removable(self) -> t.Set[str]: ...

    def apply(self, principals: t.Sequence[str], grant: bool) -> None: ...


class _AccessPolicies:
    """One write for all principals; the service adds to and takes from entries without touching others."""

    def __init__(self, connection: Connection, wanted: Wanted, found: t.Mapping[str, t.Any]) -> None:
        self._connection, self._wanted = connection, wanted
        self._found: t.Optional[t.Mapping[str, t.Any]] = found
        self.where = str(found["id"])

    def held(self) -> t.Set[str]:
        found = (
            self._found
            or vaults.get(self._connection, str(self._wanted.resource_group), str(self._wanted.vault_name))
            or {"properties": {}}
        )
        self._found = None
        held = set()
        self._removable: t.Set[str] = set()
        for entry in found["properties"].get("accessPolicies") or []:
            permissions = {str(name).lower() for name in entry.get("permissions", {}).get("keys") or []}
            if permissions & {"release", "all"} and not entry.get("applicationId"):
                held.add(str(entry["objectId"]).lower())
                if "release" in permissions:  # an entry with "all" is an administrator's, and stays
                    self._removable.add(str(entry["objectId"]).lower())
        self._tenant = str(found["properties"].get("tenantId"))
        return held

    def removable(self) -> t.Set[str]:
        """Principals with the permission by name; as of the last ``held``."""
        return self._removable

    def apply(self, principals: t.Sequence[str], grant: bool) -> None:
        if not principals:
            return
        permissions = {"keys": ["release"], "secrets": [], "certificates": []}
        entries = [{"tenantId": self._tenant, "objectId": entry, "permissions": permissions} for entry in principals]
        operation = "add" if grant else "remove"
        with errors(f"the access policies of vault {self._wanted.vault_name}"):
            self._connection.vaults.update_access_policy(
                self._wanted.resource_group,
                self._wanted.vault_name,
                operation,
                {"properties": {"accessPolicies": entries}},
                **SAFE_TO_REPEAT,
            )


def _await_record(room: _Room, wanted: Wanted) -> None:
    """Wait until the control plane shows every change. What the vault honours only the VM can observe."""
    deadline = time.monotonic() + wanted.wait_timeout
    while missing := _open(room, wanted):
        if time.monotonic() + _POLL > deadline:
            raise SkrFailure(
                "wait_timeout",
                f"After {wanted.wait_timeout:.0f} seconds {room.where} does not show the change for {', '.join(sorted(missing))}.",
                {"principals": sorted(missing)},
            )
        time.sleep(_POLL)


def _open(room: _Room, wanted: Wanted) -> t.Set[str]:
    """Principals for whom the control plane does not show the change yet."""
    held = room.held()
    if wanted.everyone:  # a grant above the scope stays, and shows as held
        return set(room.removable()) & {entry.lower() for entry in wanted.principals}
    return _difference(wanted, held) | _others(wanted, room.removable())
