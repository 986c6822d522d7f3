# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The simple network of VMs that bring no interface of their own: one network per resource group, one interface per VM.

Nothing from outside gets in: the security group has no rule of its own, and there is no public address.
"""

from __future__ import annotations

import typing as t

from .clients import Connection

API_VERSION = "2024-05-01"
NETWORK, SUBNET = "cvm-network", "default"
_SPACE, _PREFIX = "10.99.0.0/16", "10.99.0.0/20"


class Network(t.NamedTuple):
    """Where the parts are, and which of them are missing."""

    group: str
    location: str
    network: str  # resource ids
    security_group: str
    interface: t.Optional[str] = None
    missing: t.Tuple[str, ...] = ()

    @property
    def subnet(self) -> str:
        return f"{self.network}/subnets/{SUBNET}"


def look(connection: Connection, resource_group: str, location: str, vm: t.Optional[str]) -> Network:
    """A request for each part; nothing is written. Without a VM there is no interface. Raises SkrFailure."""
    group = f"/subscriptions/{connection.subscription_id}/resourceGroups/{resource_group}"
    base = f"{group}/providers/Microsoft.Network"
    parts = {
        "security_group": f"{base}/networkSecurityGroups/{NETWORK}",
        "network": f"{base}/virtualNetworks/{NETWORK}",
    }
    if vm is not None:
        parts["interface"] = f"{base}/networkInterfaces/{vm}-nic"
    missing = [
        part for part, identifier in parts.items() if connection.find(identifier, API_VERSION, identifier) is None
    ]
    return Network(resource_group, location, missing=tuple(missing), **parts)


def make(connection: Connection, network: Network) -> t.List[str]:
    """Make what is missing, in the order in which one needs the other; returns what was made."""
    bodies: t.Dict[str, t.Dict[str, t.Any]] = {
        "security_group": {"securityRules": []},
        "network": {
            "addressSpace": {"addressPrefixes": [_SPACE]},
            "subnets": [
                {
                    "name": SUBNET,
                    "properties": {
                        "addressPrefix": _PREFIX,
                        "networkSecurityGroup": {"id": network.security_group},
                    },
                }
            ],
        },
        "interface": {"ipConfigurations": [{"name": "primary", "properties": {"subnet": {"id": network.subnet}}}]},
    }
    for part in network.missing:
        identifier = str(getattr(network, part))
        body = {"location": network.location, "properties": bodies[part]}
        connection.put(identifier, API_VERSION, body, identifier)
    return list(network.missing)
