# SPDX-License-Identifier: GPL-3.0-or-later
"""The managed identities of a VM: what a PATCH asks for, how it comes about, and how it reads."""

from __future__ import annotations

import dataclasses
import math
import typing as t

from ...core.world import ScaleSet, VirtualMachine, World
from .call import Call
from .errors import known, refuse

_TYPES = {
    "systemassigned": (True, False),
    "userassigned": (False, True),
    "systemassigned, userassigned": (True, True),
    "systemassigned,userassigned": (True, True),
    "none": (False, False),
}
_ASSIGN = "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action"


@dataclasses.dataclass(frozen=True)
class Goal:
    """The identities that a VM has or is to have; ``users`` are ARM ids."""

    system: bool
    users: tuple[str, ...]

    @classmethod
    def of(cls, vm: VirtualMachine | ScaleSet) -> Goal:
        return cls(vm.system_principal is not None, tuple(vm.user_identities))


def wanted(call: Call, vm: VirtualMachine | ScaleSet, base: Goal, body: t.Any) -> Goal:
    """What ``identity`` of a PATCH makes of ``base``.

    ``type`` is authoritative: what it does not name goes away. Within UserAssigned the map is merged by id without
    regard to case, and a null value takes one away.
    """
    identity = known(body, "VirtualMachineIdentity")
    kinds = _TYPES.get(str(identity.get("type", "")).lower())
    if kinds is None:
        message = f"The value '{identity.get('type')}' of parameter identity.type is invalid."
        raise refuse(400, "InvalidParameter", message)
    system, user = kinds
    given = identity.get("userAssignedIdentities") or {}
    if not isinstance(given, dict):
        raise refuse(400, "InvalidRequestContent", "The request content was invalid: userAssignedIdentities is a map.")
    users = {identifier.lower(): identifier for identifier in base.users}
    for identifier, value in given.items():
        if value is None:
            users.pop(identifier.lower(), None)
            continue
        known(value, "UserAssignedIdentitiesValue")
        if user and identifier.lower() not in users:
            users[identifier.lower()] = _attachable(call, vm, identifier)
    if user and not users:
        message = "The identity type UserAssigned needs at least one entry in userAssignedIdentities."
        raise refuse(400, "InvalidParameter", message)
    return Goal(system, tuple(users.values()) if user else ())


def _kind(vm: VirtualMachine | ScaleSet) -> str:
    return "Microsoft.Compute/virtualMachine" + ("ScaleSets" if isinstance(vm, ScaleSet) else "s")


def _attachable(call: Call, vm: VirtualMachine | ScaleSet, identifier: str) -> str:
    """The id of a user-assigned identity that exists and that the caller may attach."""
    if not call.may(_ASSIGN, identifier):
        raise refuse(
            403,
            "LinkedAuthorizationFailed",
            f"The client '{call.principal.app_id}' with object id '{call.principal.object_id}' has permission to "
            f"perform action '{_kind(vm)}/write' on scope '{vm.id}'; however, it does not have "
            f"permission to perform action(s) '{_ASSIGN}' on the linked scope(s) '{identifier}' (respectively) or the "
            "linked scope(s) are invalid.",
        )
    found = call.world.user_identities.get(identifier.lower())
    if found is None:
        raise refuse(
            400,
            "FailedIdentityOperation",
            f"Identity operation for resource '{vm.id}' failed with error 'Failed to perform resource identity "
            f"operation. Status: 'BadRequest'. Response: Resource '{identifier}' was not found.'.",
        )
    return found.id


def apply(world: World, vm: VirtualMachine | ScaleSet, goal: Goal) -> None:
    """Bring a VM's identities to the goal. A system identity that is made again has a new principal id."""
    if goal == Goal.of(vm):
        return
    vm.user_identities = list(goal.users)
    if not goal.system:
        retire(world, vm.system_principal)
        vm.system_principal = None
    elif vm.system_principal is None:
        vm.system_principal = world.new_managed_identity(vm.name, vm.id).object_id
    vm.identity_visible_at = world.clock.now() + world.delays.identity_visible


def retire(world: World, principal_id: str | None) -> None:
    """A managed identity is gone: RBAC knows its principal no more, role assignments to it stay behind.

    The principal itself is kept, since tokens that were issued for it are valid until they expire.
    """
    principal = world.principals.get(principal_id or "")
    if principal is not None:
        principal.visible_at = math.inf


def document(world: World, vm: VirtualMachine | ScaleSet) -> dict[str, t.Any] | None:
    """The ``identity`` member; None when the VM has none."""
    there = (("SystemAssigned", vm.system_principal), ("UserAssigned", vm.user_identities))
    kinds = [kind for kind, value in there if value]
    if not kinds:
        return None
    found: dict[str, t.Any] = {"type": ", ".join(kinds)}
    if vm.system_principal:
        found |= {"principalId": vm.system_principal, "tenantId": world.tenant_id}
    if vm.user_identities:
        users = [world.user_identities[identifier.lower()] for identifier in vm.user_identities]
        found["userAssignedIdentities"] = {
            user.id: {"principalId": user.principal_id, "clientId": user.client_id} for user in users
        }
    return found
