# SPDX-License-Identifier: GPL-3.0-or-later
"""Azure RBAC: built-in role definitions of this field, and whether a principal may do something somewhere.

Definitions: Microsoft's list of Azure built-in roles (sections General, Compute, Identity and Security).
"""

from __future__ import annotations

import dataclasses
import functools
import re

from ...core.world import RoleAssignment, World


@dataclasses.dataclass(frozen=True)
class Role:
    """A role definition. ``grantable``: a condition limits role assignments made through it to these role ids."""

    name: str
    id: str
    actions: tuple[str, ...] = ()
    not_actions: tuple[str, ...] = ()
    data_actions: tuple[str, ...] = ()
    not_data_actions: tuple[str, ...] = ()
    grantable: tuple[str, ...] | None = None


_V = "Microsoft.KeyVault/vaults"
_ATTESTATION = "Microsoft.Attestation/attestationProviders"
_GROUP = "Microsoft.Resources/subscriptions/resourceGroups/read"
# What the roles of Key Vault's data plane may read in ARM.
_VAULT_READ = (
    "Microsoft.Authorization/*/read",
    "Microsoft.Resources/deployments/*",
    _GROUP,
    "Microsoft.KeyVault/checkNameAvailability/read",
    "Microsoft.KeyVault/deletedVaults/read",
    "Microsoft.KeyVault/locations/*/read",
    f"{_V}/*/read",
    "Microsoft.KeyVault/operations/read",
)
# Roles that Key Vault Data Access Administrator may grant. The Release User is not among them.
_DATA_ROLES = (
    "00482a5a-887f-4fb3-b363-3b7fe8e74483",
    "a4417e6f-fecd-4de8-b567-7b0420556985",
    "14b46e9e-c2b7-41b4-b07b-48a6ebf60603",
    "e147488a-f6f5-4113-8e2d-b22465e65bf6",
    "12338af0-0e69-4776-bea7-57ae8d297424",
    "21090545-7ca7-4776-b22c-e363652d74d2",
    "b86a8fe4-44ce-4948-aee5-eccb2c155cd7",
    "4633458b-17de-408a-b874-0445c86b69e6",
)
_KEY_USE = ("read", "update", "backup", "encrypt", "decrypt", "wrap", "unwrap", "sign", "verify")

ROLES = {
    role.id: role
    for role in (
        Role("Owner", "8e3af657-a8ff-443c-a75c-2fe8c4bcb635", ("*",)),
        Role(
            "Contributor",
            "b24988ac-6180-42a0-ab88-20f7382dd24c",
            ("*",),
            (
                "Microsoft.Authorization/*/Delete",
                "Microsoft.Authorization/*/Write",
                "Microsoft.Authorization/elevateAccess/Action",
            ),
        ),
        Role("Reader", "acdd72a7-3385-48ef-bd42-f606fba81ae7", ("*/read",)),
        Role(
            "User Access Administrator",
            "18d7d88d-d35e-4fb5-a5c3-7773c20a72d9",
            ("*/read", "Microsoft.Authorization/*", "Microsoft.Support/*"),
        ),
        Role(
            "Virtual Machine Contributor",
            "9980e02c-c2be-4d73-94e8-173b1dc7cf3c",
            (
                "Microsoft.Authorization/*/read",
                "Microsoft.Compute/availabilitySets/*",
                "Microsoft.Compute/locations/*",
                "Microsoft.Compute/virtualMachines/*",
                "Microsoft.Compute/virtualMachineScaleSets/*",
                "Microsoft.Compute/diskEncryptionSets/read",
                "Microsoft.Compute/skus/read",
                "Microsoft.Network/networkInterfaces/*",
                "Microsoft.Network/networkSecurityGroups/join/action",
                "Microsoft.Network/networkSecurityGroups/read",
                "Microsoft.Network/virtualNetworks/read",
                "Microsoft.Network/virtualNetworks/subnets/join/action",
                "Microsoft.Resources/deployments/*",
                _GROUP,
            ),
        ),
        Role(
            "Network Contributor",
            "4d97b98b-1d4f-4787-a291-c67834d212e7",
            ("Microsoft.Authorization/*/read", "Microsoft.Network/*", "Microsoft.Resources/deployments/*", _GROUP),
        ),
        Role(
            "Managed Identity Operator",
            "f1a07417-d97a-45cb-824c-7a7467783830",
            (
                "Microsoft.ManagedIdentity/userAssignedIdentities/*/read",
                "Microsoft.ManagedIdentity/userAssignedIdentities/*/assign/action",
                "Microsoft.Authorization/*/read",
                "Microsoft.Resources/deployments/*",
                _GROUP,
            ),
        ),
        Role(
            "Key Vault Contributor",
            "f25e0fa2-a7c8-4377-a976-54943a77a395",
            ("Microsoft.Authorization/*/read", "Microsoft.KeyVault/*", "Microsoft.Resources/deployments/*", _GROUP),
            (
                "Microsoft.KeyVault/locations/deletedVaults/purge/action",
                "Microsoft.KeyVault/hsmPools/*",
                "Microsoft.KeyVault/managedHsms/*",
            ),
        ),
        # The attestation service asks for "actions", not for data actions, so wildcard roles reach its policies too.
        Role(
            "Attestation Contributor",
            "bbf86eb8-f7b4-4cce-96e4-18cddf81d86e",
            tuple(f"{_ATTESTATION}/attestation/{verb}" for verb in ("read", "write", "delete")),
        ),
        Role(
            "Attestation Reader",
            "fd1bd22b-8476-40bc-a0bc-69b95687b9f3",
            (f"{_ATTESTATION}/attestation/read", f"{_ATTESTATION}/read"),
        ),
        Role(
            "Managed HSM contributor",
            "18500a29-7fe2-46b2-a342-b16a415e101d",
            (
                "Microsoft.KeyVault/managedHSMs/*",
                "Microsoft.KeyVault/deletedManagedHsms/read",
                "Microsoft.KeyVault/locations/deletedManagedHsms/read",
                "Microsoft.KeyVault/locations/deletedManagedHsms/purge/action",
                "Microsoft.KeyVault/locations/managedHsmOperationResults/read",
            ),
        ),
        Role("Key Vault Administrator", "00482a5a-887f-4fb3-b363-3b7fe8e74483", _VAULT_READ, (), (f"{_V}/*",)),
        Role(
            "Key Vault Reader",
            "21090545-7ca7-4776-b22c-e363652d74d2",
            _VAULT_READ,
            (),
            (f"{_V}/*/read", f"{_V}/secrets/readMetadata/action"),
        ),
        Role(
            "Key Vault Crypto Officer",
            "14b46e9e-c2b7-41b4-b07b-48a6ebf60603",
            _VAULT_READ,
            (),
            (f"{_V}/keys/*", f"{_V}/keyrotationpolicies/*"),
        ),
        Role(
            "Key Vault Crypto User",
            "12338af0-0e69-4776-bea7-57ae8d297424",
            data_actions=tuple(f"{_V}/keys/{use}" + ("" if use == "read" else "/action") for use in _KEY_USE),
        ),
        Role(
            "Key Vault Crypto Service Encryption User",
            "e147488a-f6f5-4113-8e2d-b22465e65bf6",
            tuple(f"Microsoft.EventGrid/eventSubscriptions/{action}" for action in ("write", "read", "delete")),
            (),
            (f"{_V}/keys/read", f"{_V}/keys/wrap/action", f"{_V}/keys/unwrap/action"),
        ),
        Role(
            "Key Vault Crypto Service Release User",
            "08bbd89e-9f13-488c-ac41-acfcb10c90ab",
            data_actions=(f"{_V}/keys/release/action",),
        ),
        Role(
            "Key Vault Data Access Administrator",
            "8b54135c-b56d-4d72-a534-26097cfdc8d8",
            (
                "Microsoft.Authorization/roleAssignments/write",
                "Microsoft.Authorization/roleAssignments/delete",
                "Microsoft.Authorization/*/read",
                "Microsoft.Resources/deployments/*",
                _GROUP,
                "Microsoft.Resources/subscriptions/read",
                f"{_V}/*/read",
            ),
            grantable=_DATA_ROLES,
        ),
    )
}


@functools.cache
def _pattern(text: str) -> re.Pattern[str]:
    """A wildcard stands for any text, also across segments; between two slashes it may stand for nothing."""
    escaped = re.escape(text.lower()).replace(r"/\*/", "/(?:.*/)?").replace(r"\*", ".*")
    return re.compile(escaped, re.DOTALL)


def matches(pattern: str, action: str) -> bool:
    """Whether an action falls under a pattern of a role definition; neither looks at case."""
    return _pattern(pattern).fullmatch(action.lower()) is not None


def covers(scope: str, target: str) -> bool:
    """Whether an assignment at ``scope`` reaches ``target``: the same, or above it at a segment border."""
    scope, target = scope.rstrip("/").lower(), target.rstrip("/").lower()
    return target == scope or target.startswith(scope + "/")


def permits(role: Role, action: str, data: bool) -> bool:
    granted, taken = (role.data_actions, role.not_data_actions) if data else (role.actions, role.not_actions)
    return any(matches(p, action) for p in granted) and not any(matches(p, action) for p in taken)


def allows(
    world: World,
    principal_id: str,
    scope: str,
    action: str,
    data: bool,
    now: float,
    granted_role: str | None = None,
    delayed: bool = False,
) -> RoleAssignment | None:
    """The assignment that allows an action at a scope, or None.

    A data plane honours an assignment only from its ``effective_at``; ARM itself honours it at once. ``delayed``: a
    data plane that asks for an action and not for a data action.
    ``granted_role``: for writing or deleting role assignments, the id of the role in them.
    """
    # Resource Manager forgets at once what was removed, a data plane after a while.
    removed = [one for one in world.removed_assignments if data and world.lingers(one.principal_id, one.removed_at)]
    for assignment in [*world.role_assignments.values(), *removed]:
        if assignment.principal_id != principal_id or ((data or delayed) and now < assignment.effective_at):
            continue
        role = ROLES.get(assignment.role_id)
        if role is None or not covers(assignment.scope, scope) or not permits(role, action, data):
            continue
        if granted_role is None or role.grantable is None or granted_role in role.grantable:
            return assignment
    return None


def by_name(name: str) -> Role:
    """The role of a display name, e.g. ``Key Vault Crypto Officer``. Raises ValueError."""
    for role in ROLES.values():
        if role.name.lower() == name.lower():
            return role
    raise ValueError(f"no built-in role is called {name}")


def last_segment(definition_id: str) -> str:
    """The GUID of a role definition id, whose form varies (with or without the subscription)."""
    return definition_id.rstrip("/").rpartition("/")[2].lower()
