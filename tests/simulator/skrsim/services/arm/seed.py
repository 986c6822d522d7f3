# SPDX-License-Identifier: GPL-3.0-or-later
"""What is there before anybody calls: resource groups, VMs, identities, applications with roles."""

from __future__ import annotations

import typing as t

from ...core.world import Principal, RoleAssignment, UserIdentity, VirtualMachine, World
from . import roles


def resource_group(world: World, name: str, location: str) -> str:
    """A resource group, unless it is there already; returns its id."""
    found = world.resource_groups.setdefault(name.lower(), {"name": name, "location": location, "tags": {}})
    return f"/subscriptions/{world.subscription_id}/resourceGroups/{found['name']}"


def vm(
    world: World,
    name: str,
    group: str,
    location: str,
    debug: bool = False,
    secure_boot: bool = True,
    size: str = "Standard_DC2as_v5",
    security_type: str = "ConfidentialVM",
) -> VirtualMachine:
    """A running VM without identity, confidential unless told otherwise; its group is made when it is not there."""
    resource_group(world, group, location)
    made = VirtualMachine(
        name,
        world.subscription_id,
        group,
        location,
        world.guid(),
        size=size,
        security_type=security_type,
        debug=debug,
        secure_boot=secure_boot,
        encryption="VMGuestStateOnly" if security_type == "ConfidentialVM" else None,
    )
    world.vms[name] = made
    return made


def user_identity(world: World, name: str, group: str, location: str) -> UserIdentity:
    """A user-assigned identity; its group is made when it is not there."""
    identifier = (
        f"{resource_group(world, group, location)}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{name}"
    )
    principal = world.new_managed_identity(name, identifier)
    made = UserIdentity(identifier, name, location, principal.object_id, principal.app_id)
    world.user_identities[identifier.lower()] = made
    return made


def application(world: World, name: str, secret: str, granted: t.Iterable[str | tuple[str, str]] = ()) -> Principal:
    """An application that logs in with a secret.

    ``granted``: role names, in effect at once; alone at the subscription, in a pair with a scope at that scope.
    """
    made = Principal(world.guid(), world.guid(), "application", name, secret, created_at=world.clock.now())
    return _add(world, made, granted)


def user(
    world: World, name: str, password: str, granted: t.Iterable[str | tuple[str, str]] = (), mfa: bool = False
) -> Principal:
    """A user of the tenant; ``name`` is the principal name, ``granted`` as for an application."""
    made = Principal(world.guid(), name, "user", name, password, created_at=world.clock.now(), mfa=mfa)
    return _add(world, made, granted)


def _add(world: World, made: Principal, granted: t.Iterable[str | tuple[str, str]]) -> Principal:
    world.principals[made.object_id] = made
    for item in granted:
        name_of_role, scope = item if isinstance(item, tuple) else (item, f"/subscriptions/{world.subscription_id}")
        role(world, made.object_id, name_of_role, scope)
    return made


def role(world: World, principal_id: str, role_name: str, scope: str) -> RoleAssignment:
    """A role assignment that every plane honours already. Raises ValueError for an unknown role."""
    found = roles.by_name(role_name)
    now = world.clock.now()
    principal = world.principals.get(principal_id)
    kind = "User" if principal is not None and principal.kind == "user" else "ServicePrincipal"
    made = RoleAssignment(world.guid(), scope.rstrip("/"), found.id, principal_id, kind, now, now)
    world.role_assignments[made.id.lower()] = made
    return made
