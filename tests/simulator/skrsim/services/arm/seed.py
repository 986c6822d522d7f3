# SPDX-License-Identifier: GPL-3.0-or-later
"""What is there before anybody calls: resource groups, VMs, an operator with roles."""

from __future__ import annotations

from ...core.world import Principal, RoleAssignment, UserIdentity, VirtualMachine, World
from . import roles


def resource_group(world: World, name: str, location: str) -> None:
    world.resource_groups[name.lower()] = {"name": name, "location": location}


def vm(
    world: World, name: str, group: str, location: str, debug: bool = False, secure_boot: bool = True
) -> VirtualMachine:
    """A running confidential VM without identity."""
    made = VirtualMachine(
        name, world.subscription_id, group, location, world.guid(), debug=debug, secure_boot=secure_boot
    )
    world.vms[name] = made
    return made


def application(world: World, name: str, secret: str, role_names: tuple[str, ...]) -> Principal:
    """A service principal with roles at the subscription."""
    made = Principal(world.guid(), world.guid(), "application", name, secret)
    world.principals[made.object_id] = made
    scope = f"/subscriptions/{world.subscription_id}"
    for role_name in role_names:
        role = roles.by_name(role_name)
        assignment = RoleAssignment(world.guid(), scope, role.id, made.object_id, "ServicePrincipal", 0.0, 0.0)
        world.role_assignments[assignment.id.lower()] = assignment
    return made


__all__ = ["UserIdentity", "application", "resource_group", "vm"]
