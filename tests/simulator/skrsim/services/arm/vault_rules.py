# SPDX-License-Identifier: GPL-3.0-or-later
"""What may be asked of a vault: names, and the rules for each property of PUT and PATCH."""

from __future__ import annotations

import ipaddress
import re
import typing as t

from ...core.world import Vault, World
from .errors import known, objects, refuse

_NAME = re.compile(r"[a-zA-Z](?!.*--)[a-zA-Z0-9-]{1,22}[a-zA-Z0-9]")
_SKUS = ("standard", "premium")


def valid_name(name: str) -> bool:
    """3 to 24 letters, digits and hyphens, a letter first, no hyphen last, no two hyphens together."""
    return _NAME.fullmatch(name) is not None


def bad(message: str) -> Exception:
    return refuse(400, "BadRequest", message)


def check(world: World, vault: Vault, properties: dict[str, t.Any], new: bool) -> dict[str, t.Any]:
    """The changes that the properties mean, as attributes of ``Vault``. Nothing is changed here.

    Refused: what cannot be undone (purge protection, soft delete, the retention of an existing vault) and what is
    not valid at all.
    """
    _irreversible(vault, properties, new)
    tenant = properties.get("tenantId")
    if tenant is not None and str(tenant).lower() != world.tenant_id:
        raise bad(f"The tenant '{tenant}' of the vault is not the tenant '{world.tenant_id}' of its subscription.")
    changes: dict[str, t.Any] = {}
    if properties.get("sku") is not None:
        changes["sku"] = _sku(properties["sku"])
    if properties.get("enableRbacAuthorization") is not None:
        changes["rbac"] = _boolean(properties, "enableRbacAuthorization")
    if _boolean(properties, "enablePurgeProtection"):
        changes["purge_protection"] = True
    if properties.get("softDeleteRetentionInDays") is not None:
        changes["retention_days"] = properties["softDeleteRetentionInDays"]
    access = properties.get("publicNetworkAccess")
    if access is not None:
        if str(access).lower() not in ("enabled", "disabled"):
            raise bad(f"The value '{access}' of publicNetworkAccess is not valid: it must be Enabled or Disabled.")
        changes["public_network_access"] = str(access).capitalize()
    if properties.get("networkAcls") is not None:
        changes["network_acls"] = _network(properties["networkAcls"])
    return changes


def _boolean(properties: dict[str, t.Any], member: str) -> bool:
    value = properties.get(member)
    if value is not None and not isinstance(value, bool):
        raise refuse(400, "InvalidRequestContent", f"The request content was invalid: {member} must be a boolean.")
    return bool(value)


def _irreversible(vault: Vault, properties: dict[str, t.Any], new: bool) -> None:
    if properties.get("enablePurgeProtection") is False:
        raise bad(
            'The property "enablePurgeProtection" cannot be set to false. Enabling the purge protection for a vault is '
            "an irreversible action."
        )
    if properties.get("enableSoftDelete") is False:
        raise bad(
            'The property "enableSoftDelete" cannot be set to false. Soft delete is on for every vault and enabling it '
            "is an irreversible action."
        )
    days = properties.get("softDeleteRetentionInDays")
    if days is None:
        return
    if not isinstance(days, int) or isinstance(days, bool) or not 7 <= days <= 90:
        raise bad(f'The value "{days}" of the property "softDeleteRetentionInDays" is not valid: 7 to 90 days.')
    if not new and days != vault.retention_days:
        raise bad('The property "softDeleteRetentionInDays" has been set already and it can\'t be modified.')


def _sku(value: t.Any) -> str:
    sku = known(value, "Sku")
    if sku.get("family") != "A" or str(sku.get("name")).lower() not in _SKUS:
        raise bad(f"The SKU with family '{sku.get('family')}' and name '{sku.get('name')}' is not valid.")
    return str(sku["name"]).lower()


def _network(value: t.Any) -> dict[str, t.Any]:
    """The firewall as the service stores it: single addresses get ``/32``."""
    rules = known(value, "NetworkRuleSet")
    bypass, action = rules.get("bypass") or "AzureServices", rules.get("defaultAction") or "Allow"
    if bypass not in ("AzureServices", "None") or action not in ("Allow", "Deny"):
        raise bad(f"The network rules with bypass '{bypass}' and defaultAction '{action}' are not valid.")
    networks = []
    for rule in objects(rules.get("ipRules"), "IPRule"):
        try:
            networks.append({"value": str(ipaddress.IPv4Network(str(rule.get("value"))))})
        except ValueError:
            raise bad(f"The IP rule '{rule.get('value')}' is not an IPv4 address or network.") from None
    subnets = objects(rules.get("virtualNetworkRules"), "VirtualNetworkRule")
    if not all(str(subnet.get("id", "")).startswith("/subscriptions/") for subnet in subnets):
        raise bad("A virtual network rule has no valid subnet id.")
    return {"bypass": bypass, "defaultAction": action, "ipRules": networks, "virtualNetworkRules": subnets}
