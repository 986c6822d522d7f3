# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take the release permission away from suspected VMs, or tell what they hold; no connection to any of them is needed.

An identity that other machines have too is their permission as well: that is told, and refused unless it is accepted.
"""

from __future__ import annotations

import dataclasses
import time
import typing as t

from ..policy.failure import SkrFailure
from . import identity, key_target, release_permissions, vault
from .access import choose_model
from .clients import Connection
from .release_permissions import Held, Permission, Room

_POLL = 2.0


@dataclasses.dataclass(frozen=True)
class Wanted:
    """Whose permission on which key. Either ``vault_name`` and ``resource_group``, or ``hsm_uri``.

    ``principals`` are object ids besides those of the VMs; ``take`` false only looks.
    """

    vms: t.Tuple[identity.Vm, ...]
    principals: t.Tuple[str, ...]
    key_name: str
    vault_name: t.Optional[str] = None
    resource_group: t.Optional[str] = None
    hsm_uri: t.Optional[str] = None
    take: bool = True
    shared: bool = False
    wait_timeout: float = 120.0


class _Principal(t.NamedTuple):
    """An identity of a suspect; ``others`` are the machines besides that have it."""

    principal_id: str
    kind: str  # system_assigned, user_assigned or given
    id: t.Optional[str] = None
    client_id: t.Optional[str] = None
    others: t.Tuple[str, ...] = ()

    def as_dict(self) -> t.Dict[str, t.Any]:
        return {**self._asdict(), "others": list(self.others)}


def ensure(connection: Connection, wanted: Wanted, check_mode: bool) -> t.Dict[str, t.Any]:
    """Find the suspects' identities and what they hold, and take it; returns the module's result. Raises SkrFailure."""
    room = _room(connection, wanted)
    suspects = _suspects(connection, wanted)
    principals = {one.principal_id: one for entry in suspects for one in entry["principals"]}
    principals.update({one.lower(): _Principal(one.lower(), "given") for one in wanted.principals})
    if wanted.take:
        _somebody(suspects, wanted)
    held = room.held(list(principals), elsewhere=True)
    taken = [one for one in held.here if one.kept is None]
    shared = [principals[one] for one in sorted({one.principal_id for one in held.here}) if principals[one].others]
    if wanted.take and shared and not wanted.shared:
        raise _refusal(shared)
    result = _result(suspects, held, room)
    result["shared"] = [one.as_dict() for one in shared]
    result["changed"] = bool(wanted.take and taken)
    result["taken"] = [one.as_dict() for one in taken] if wanted.take else []
    left = [one for one in held.here if one not in taken]
    result["remaining"] = [one.as_dict() for one in (left if wanted.take else held.here)]
    start = time.monotonic()
    if result["changed"]:
        result["diff"] = {
            "before": {"release": [one.as_dict() for one in held.here]},
            "after": {"release": [one.as_dict() for one in left]},
        }
        if not check_mode:
            room.take(taken)
            _await_record(room, list(principals), taken, wanted.wait_timeout)
    result["waited_s"] = round(time.monotonic() - start, 1)
    return result


def _room(connection: Connection, wanted: Wanted) -> Room:
    if wanted.hsm_uri:
        key_target.target(None, wanted.hsm_uri, wanted.key_name)
        return release_permissions.LocalRoles(connection, wanted.hsm_uri, wanted.key_name)
    group, name = str(wanted.resource_group), str(wanted.vault_name)
    found = vault.get(connection, group, name)
    if found is None:
        raise SkrFailure("resource_not_found", f"There is no vault {name} in resource group {group}.")
    if choose_model("auto", found) == "access_policy":
        return release_permissions.AccessPolicies(connection, group, found, wanted.key_name)
    return release_permissions.AzureRoles(connection, str(found["id"]), wanted.key_name)


def _suspects(connection: Connection, wanted: Wanted) -> t.List[t.Dict[str, t.Any]]:
    """Each suspect with its identities. Every machine of the subscription is looked at for who shares one."""
    if not wanted.vms:
        return []
    machines = list(_machines(connection))
    holders: t.Dict[str, t.List[t.Tuple[str, str]]] = {}  # principal -> name and lower id of each that has it
    for machine in machines:
        for one in _principals(machine):
            holders.setdefault(one.principal_id, []).append((str(machine.get("name")), str(machine["id"]).lower()))
    known = {_key(machine): machine for machine in machines}
    missing = [vm.name for vm in wanted.vms if vm.key not in known]
    if missing:
        raise SkrFailure(
            "resource_not_found",
            f"There is no VM {', '.join(missing)} in resource group {wanted.vms[0].group}.",
            {"missing": missing},
        )
    own = {str(known[vm.key]["id"]).lower() for vm in wanted.vms}
    found = []
    for vm in wanted.vms:
        machine = known[vm.key]
        principals = [
            one._replace(others=tuple(sorted(name for name, where in holders[one.principal_id] if where not in own)))
            for one in _principals(machine)
        ]
        vm_id = str((machine.get("properties") or {}).get("vmId") or "")
        found.append({"name": vm.name, "id": machine["id"], "vm_id": vm_id, "principals": principals})
    return found


def _key(machine: t.Mapping[str, t.Any]) -> t.Tuple[str, str, bool]:
    parts = str(machine["id"]).lower().split("/")
    return parts[4], parts[8], parts[7] == "virtualmachinescalesets"


def _machines(connection: Connection) -> t.Iterator[t.Dict[str, t.Any]]:
    base = f"/subscriptions/{connection.subscription_id}/providers/Microsoft.Compute"
    yield from connection.list(f"{base}/virtualMachines", identity.API_VERSION, "the VMs of the subscription")
    yield from connection.list(
        f"{base}/virtualMachineScaleSets", identity.API_VERSION, "the scale sets of the subscription"
    )


def _principals(machine: t.Mapping[str, t.Any]) -> t.Iterator[_Principal]:
    found = machine.get("identity") or {}
    if found.get("principalId"):
        yield _Principal(str(found["principalId"]).lower(), "system_assigned")
    for key, value in sorted((found.get("userAssignedIdentities") or {}).items()):
        if (value or {}).get("principalId"):
            client = value.get("clientId")
            yield _Principal(str(value["principalId"]).lower(), "user_assigned", str(key), client)


def _somebody(suspects: t.Sequence[t.Mapping[str, t.Any]], wanted: Wanted) -> None:
    without = [str(entry["name"]) for entry in suspects if not entry["principals"]]
    if wanted.principals or (suspects and not without):
        return
    raise SkrFailure(
        "identity_missing",
        f"{', '.join(without) or 'Nobody'} has no managed identity, and principals names none: there is nobody to take it from.",
        {"vms": without, "option": "principals"},
        next_step="Give the object id of the application that the VM signs in as, or use the action disable.",
    )


def _refusal(shared: t.Sequence[_Principal]) -> SkrFailure:
    told = "; ".join(
        f"{(one.id or one.principal_id).rpartition('/')[2]} is also that of {', '.join(one.others)}" for one in shared
    )
    facts = {"shared": [one.as_dict() for one in shared], "option": "shared"}
    return SkrFailure("identity_shared", f"Others would lose the permission too: {told}.", facts)


def _result(suspects: t.Sequence[t.Mapping[str, t.Any]], held: Held, room: Room) -> t.Dict[str, t.Any]:
    elsewhere = None if held.elsewhere is None else [one.as_dict() for one in held.elsewhere]
    return {
        "grant_model": room.model,
        "scope": room.where,
        "suspects": [
            {**entry, "principals": [one.as_dict() for one in entry["principals"]]} for entry in suspects
        ],
        "elsewhere": elsewhere,
    }  # fmt: skip


def _await_record(room: Room, principals: t.Sequence[str], taken: t.Sequence[Permission], timeout: float) -> None:
    """Wait until the control plane shows it; what the vault honours only a release can tell."""
    deadline = time.monotonic() + timeout
    while still := set(taken) & set(room.held(principals, elsewhere=False).here):
        if time.monotonic() + _POLL > deadline:
            names = sorted({one.principal_id for one in still})
            raise SkrFailure(
                "wait_timeout",
                f"After {timeout:.0f} seconds {room.where} still shows the permission of {', '.join(names)}.",
                {"principals": names},
            )
        time.sleep(_POLL)
