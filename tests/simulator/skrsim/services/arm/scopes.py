# SPDX-License-Identifier: GPL-3.0-or-later
"""The scopes of role assignments: the subscription and what exists below it, down to a single key."""

from __future__ import annotations

import re

from ...core.world import World
from .errors import refuse

_BELOW = re.compile(
    r"/resourceGroups/(?P<group>[^/]+)(?:/providers/(?P<kind>[^/]+/[^/]+)/(?P<name>[^/]+)(?:/keys/(?P<key>[^/]+))?)?",
    re.IGNORECASE,
)


def existing(world: World, scope: str) -> str:
    """The scope itself; a scope that does not exist is refused for the part that is missing."""
    subscription = f"/subscriptions/{world.subscription_id}"
    scope = scope.rstrip("/")
    if scope.lower() == subscription:
        return scope
    if not scope.lower().startswith(subscription + "/"):
        named = scope.split("/")[2] if scope.count("/") > 1 else scope
        raise refuse(404, "SubscriptionNotFound", f"The subscription '{named}' could not be found.")
    found = _BELOW.fullmatch(scope[len(subscription) :])
    if found is None:
        raise refuse(400, "InvalidScope", f"The scope '{scope}' is not valid.")
    if found["group"].lower() not in world.resource_groups:
        raise refuse(404, "ResourceGroupNotFound", f"Resource group '{found['group']}' could not be found.")
    kind, name = (found["kind"] or "").lower(), (found["name"] or "").lower()
    if kind and not _exists(world, scope, kind, name, found["key"]):
        raise refuse(
            404,
            "ResourceNotFound",
            f"The Resource '{scope.partition('/providers/')[2]}' under resource group '{found['group']}' was not "
            "found. For more details please go to https://aka.ms/ARMResourceNotFoundFix",
        )
    return scope


def _exists(world: World, scope: str, kind: str, name: str, key: str | None) -> bool:
    if kind == "microsoft.keyvault/vaults":
        vault = world.vaults.get(name)
        if vault is None or vault.id.lower() != scope.lower().partition("/keys/")[0]:
            return False
        return key is None or (vault.slot, key.lower()) in world.keys
    if key is not None:
        return False
    if kind == "microsoft.keyvault/managedhsms":
        return name in world.hsms and world.hsms[name].id.lower() == scope.lower()
    if scope.lower() in world.resources or scope.lower() in world.scale_sets:
        return True
    if kind == "microsoft.compute/virtualmachines":
        return any(vm.id.lower() == scope.lower() for vm in world.vms.values())
    if kind == "microsoft.attestation/attestationproviders":
        return scope.lower() in world.attestation_providers
    return kind == "microsoft.managedidentity/userassignedidentities" and scope.lower() in world.user_identities
