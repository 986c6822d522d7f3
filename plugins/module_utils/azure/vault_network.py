# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may reach a vault over the network: public access, firewall addresses and subnets."""

from __future__ import annotations

import ipaddress
import re
import typing as t

from ..policy.failure import SkrFailure

_SUBNET = re.compile(
    r"/subscriptions/[^/]+/resourceGroups/[^/]+/providers/Microsoft\.Network/virtualNetworks/[^/]+/subnets/[^/]+", re.I
)


class Rules(t.NamedTuple):
    """As wanted or found; None: leave as it is. Addresses are networks in CIDR form, subnets lower-case resource ids."""

    public_network_access: t.Optional[str] = None  # Enabled | Disabled
    default_action: t.Optional[str] = None  # Allow | Deny
    bypass: t.Optional[str] = None  # AzureServices | None
    ip_rules: t.Optional[t.Tuple[str, ...]] = None
    subnet_ids: t.Optional[t.Tuple[str, ...]] = None


def wanted(public: t.Optional[str], acls: t.Optional[t.Mapping[str, t.Any]]) -> Rules:
    """The two options, checked. Raises SkrFailure ``invalid_input``."""
    acls = acls or {}
    addresses, subnets = acls.get("ip_rules"), acls.get("subnet_ids")
    return Rules(
        {"enabled": "Enabled", "disabled": "Disabled"}.get(public or ""),
        {"allow": "Allow", "deny": "Deny"}.get(acls.get("default_action") or ""),
        {"azure_services": "AzureServices", "none": "None"}.get(acls.get("bypass") or ""),
        None if addresses is None else tuple(sorted({_network(one) for one in addresses})),
        None if subnets is None else tuple(sorted({_subnet(one) for one in subnets})),
    )


def _network(text: str) -> str:
    try:
        found = ipaddress.IPv4Network(str(text))
    except ValueError as error:
        raise _wrong("ip_rules", text, "an IPv4 address or network such as 203.0.113.0/24") from error
    if found.is_private:
        raise _wrong("ip_rules", text, "a public address; private networks come in by subnet_ids")
    return str(found)


def _subnet(text: str) -> str:
    if not _SUBNET.fullmatch(text.rstrip("/")):
        raise _wrong("subnet_ids", text, "the resource id of a subnet")
    return text.rstrip("/").lower()


def _wrong(name: str, found: t.Any, wanted_text: str) -> SkrFailure:
    message = f"network_acls.{name} has {found!r}, wanted {wanted_text}."
    return SkrFailure("invalid_input", message, {"option": "network_acls"})


def describe(properties: t.Mapping[str, t.Any]) -> Rules:
    """What a vault has; members that old vaults lack mean open."""
    acls = properties.get("networkAcls") or {}
    return Rules(
        str(properties.get("publicNetworkAccess") or "Enabled").capitalize(),
        acls.get("defaultAction") or "Allow",
        acls.get("bypass") or "AzureServices",
        tuple(
            sorted(str(ipaddress.IPv4Network(str(rule["value"]), strict=False)) for rule in acls.get("ipRules") or [])
        ),
        tuple(sorted(str(rule["id"]).lower() for rule in acls.get("virtualNetworkRules") or [])),
    )


def merged(want: Rules, now: Rules) -> Rules:
    """What the vault will have."""
    return now._replace(**{name: value for name, value in want._asdict().items() if value is not None})


def weakened(after: Rules, now: Rules) -> t.Optional[str]:
    """In words what would be let in that is kept out now, by switching a protection off; None when nothing."""
    if now.public_network_access == "Disabled" and after.public_network_access == "Enabled":
        return "public network access would be enabled"
    if now.default_action == "Deny" and after.default_action == "Allow":
        return "the firewall would allow every address"
    return None


def body(after: Rules) -> t.Dict[str, t.Any]:
    """The properties to send; the service takes the lists as a whole."""
    return {
        "publicNetworkAccess": after.public_network_access,
        "networkAcls": {
            "bypass": after.bypass,
            "defaultAction": after.default_action,
            "ipRules": [{"value": value} for value in after.ip_rules or ()],
            "virtualNetworkRules": [{"id": value} for value in after.subnet_ids or ()],
        },
    }


def shown(rules: Rules) -> t.Dict[str, t.Any]:
    """Network rules as results and differences show them."""
    lists = {"ip_rules": list(rules.ip_rules or ()), "subnet_ids": list(rules.subnet_ids or ())}
    return {
        "public_network_access": (rules.public_network_access or "").lower(),
        "network_acls": {"default_action": rules.default_action, "bypass": rules.bypass, **lists},
    }


def refuse_weakening(after: Rules, now: Rules, accepted: bool, what: str) -> None:
    """``what`` names the vault or HSM. Raises SkrFailure ``vault_weakening_refused`` unless the weakening is accepted."""
    weaker = weakened(after, now)
    if weaker and not accepted:
        raise SkrFailure(
            "vault_weakening_refused",
            f"The {what} would be weakened: {weaker}.",
            {"option": "accept_weakening"},
            next_step="Set accept_weakening to true if this is really wanted.",
        )
