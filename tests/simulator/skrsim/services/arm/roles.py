# SPDX-License-Identifier: GPL-3.0-or-later
"""Azure RBAC: built-in role definitions of this field, and whether a principal may do something somewhere."""

from __future__ import annotations

import dataclasses
import fnmatch
import re

from ...core.world import RoleAssignment, World


@dataclasses.dataclass(frozen=True)
class Role:
    name: str
    id: str
    actions: tuple[str, ...] = ()
    not_actions: tuple[str, ...] = ()
    data_actions: tuple[str, ...] = ()
    not_data_actions: tuple[str, ...] = ()


_V = "Microsoft.KeyVault/vaults"
_READ_VAULT = (f"{_V}/read", "Microsoft.Resources/subscriptions/resourceGroups/read")
ROLES = {
    role.id: role
    for role in (
        Role("Owner", "8e3af657-a8ff-443c-a75c-2fe8c4bcb635", ("*",)),
        Role(
            "Contributor",
            "b24988ac-6180-42a0-ab88-20f7382dd24c",
            ("*",),
            ("Microsoft.Authorization/*/Delete", "Microsoft.Authorization/*/Write", "Microsoft.Authorization/elevateAccess/Action"),
        ),
        Role("Reader", "acdd72a7-3385-48ef-bd42-f606fba81ae7", ("*/read",)),
        Role("User Access Administrator", "18d7d88d-d35e-4fb5-a5c3-7773c20a72d9", ("*/read", "Microsoft.Authorization/*")),
        Role("Key Vault Crypto Service Release User", "08bbd89e-9f13-488c-ac41-acfcb10c90ab", (), (), (f"{_V}/keys/release/action",)),
        Role("Key Vault Crypto Officer", "14b46e9e-c2b7-41b4-b07b-48a6ebf60603", _READ_VAULT, (), (f"{_V}/keys/*", f"{_V}/keyrotationpolicies/*")),
        Role(
            "Key Vault Crypto User",
            "12338af0-0e69-4776-bea7-57ae8d297424",
            (),
            (),
            tuple(
                f"{_V}/keys/{action}"
                for action in ("read", "update/action", "backup/action", "encrypt/action", "decrypt/action", "wrap/action",
                               "unwrap/action", "sign/action", "verify/action")
            ),
        ),
        Role(
            "Key Vault Crypto Service Encryption User",
            "e147488a-f6f5-4113-8e2d-b22465e65bf6",
            (),
            (),
            (f"{_V}/keys/read", f"{_V}/keys/wrap/action", f"{_V}/keys/unwrap/action"),
        ),
        Role("Key Vault Administrator", "00482a5a-887f-4fb3-b363-3b7fe8e74483", _READ_VAULT, (), (f"{_V}/*",)),
        Role("Key Vault Reader", "21090545-7ca7-4776-b22c-e363652d74d2", _READ_VAULT, (), (f"{_V}/*/read",)),
        Role("Key Vault Contributor", "f25e0fa2-a7c8-4377-a976-54943a77a395", ("Microsoft.KeyVault/*",)),
        Role("Virtual Machine Contributor", "9980e02c-c2be-4d73-94e8-173b1dc7cf3c", ("Microsoft.Compute/virtualMachines/*",)),
    )
}


def matches(pattern: str, action: str) -> bool:
    return fnmatch.fnmatchcase(action.lower(), pattern.lower())


def covers(scope: str, target: str) -> bool:
    """Whether an assignment at ``scope`` reaches ``target``: the same, or above it at a segment border."""
    scope, target = scope.rstrip("/").lower(), target.rstrip("/").lower()
    return target == scope or target.startswith(scope + "/")


def permits(role: Role, action: str, data: bool) -> bool:
    granted, taken = (role.data_actions, role.not_data_actions) if data else (role.actions, role.not_actions)
    return any(matches(p, action) for p in granted) and not any(matches(p, action) for p in taken)


def allows(world: World, principal_id: str, scope: str, action: str, data: bool, now: float) -> RoleAssignment | None:
    """The assignment that allows an action, or None. A data plane honours one only from ``effective_at``."""
    for assignment in world.role_assignments.values():
        role = ROLES.get(assignment.role_id)
        if role is None or assignment.principal_id != principal_id or not covers(assignment.scope, scope):
            continue
        if data and now < assignment.effective_at:
            continue
        if permits(role, action, data):
            return assignment
    return None


def by_name(name: str) -> Role:
    return next(role for role in ROLES.values() if role.name == name)


def last_segment(definition_id: str) -> str:
    return re.split("/", definition_id.rstrip("/"))[-1].lower()
