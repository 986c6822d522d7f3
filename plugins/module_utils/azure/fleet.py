# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The confidential VMs of whole subscriptions, by a few queries of Azure Resource Graph instead of a request per VM.

The graph lags Resource Manager by seconds to minutes: good for finding VMs, not for proving what was just written.
Request: Azure REST reference, Resource Graph, ``Resources``, 2021-03-01; a caller may send 15 queries in 5 seconds.
"""

from __future__ import annotations

import re
import typing as t

from ..policy.failure import SkrFailure
from . import attestation_provider, cvm_info
from .clients import Connection

API_VERSION = "2021-03-01"
PAGE = 1000
_GROUP = re.compile(r"[-\w._()]{1,90}")
_VMS = (
    "id, name, resourceGroup, subscriptionId, location, tags, zones, identity, properties",
    "microsoft.compute/virtualmachines",
)
_INTERFACES = (
    "id, vm=tostring(properties.virtualMachine.id), configurations=properties.ipConfigurations",
    "microsoft.network/networkinterfaces",
)


def find(
    connection: Connection, subscriptions: t.Sequence[str], groups: t.Sequence[str], everything: bool
) -> t.List[t.Dict[str, t.Any]]:
    """VMs with the facts of ``cvm_info.describe`` and their subscription, power state, addresses and authority.

    ``groups`` are names of resource groups, all when there are none; ``everything`` has also VMs that are not
    confidential. Raises SkrFailure.
    """
    scope = list(subscriptions) or [connection.subscription_id]
    where = _in_groups(groups)
    confidential = "" if everything else " | where properties.securityProfile.securityType =~ 'ConfidentialVM'"
    machines = list(_ask(connection, scope, _VMS, f"{confidential}{where}", "the VMs"))
    if not machines:
        return []
    addresses: t.Dict[str, t.List[str]] = {}
    bound = " | where isnotempty(properties.virtualMachine.id)"
    for one in _ask(connection, scope, _INTERFACES, bound, "the network interfaces"):
        addresses.setdefault(str(one["vm"]).lower(), []).extend(_private(one.get("configurations") or []))
    authorities = _authorities(connection)
    found = []
    for machine in machines:
        shown = cvm_info.describe(machine)
        properties = machine.get("properties") or {}
        state = ((properties.get("extended") or {}).get("instanceView") or {}).get("powerState") or {}
        location = str(machine.get("location") or "").replace(" ", "").lower()
        found.append(
            {
                **shown,
                "subscription_id": machine.get("subscriptionId"),
                "powerstate": str(state.get("code") or "").rpartition("/")[2] or "unknown",
                "private_ipv4_addresses": addresses.get(str(machine["id"]).lower(), []),
                "authority": authorities.get(location),
                "computer_name": (properties.get("osProfile") or {}).get("computerName"),
                "zones": list(machine.get("zones") or []),
            }
        )
    return found


def _in_groups(groups: t.Sequence[str]) -> str:
    """The condition of a query; names are checked, because they become part of its text."""
    for group in groups:
        if not _GROUP.fullmatch(group):
            raise SkrFailure(
                "invalid_input",
                f"include_vm_resource_groups has {group!r}, wanted names of resource groups, or '*' for all.",
                {"option": "include_vm_resource_groups"},
            )
    return f" | where resourceGroup in~ ({', '.join(repr(group) for group in groups)})" if groups else ""


def _ask(
    connection: Connection, subscriptions: t.List[str], wanted: t.Tuple[str, str], where: str, what: str
) -> t.Iterator[t.Dict[str, t.Any]]:
    """All rows; without an order by a unique column pages would overlap."""
    columns, kind = wanted
    query = f"Resources | where type =~ '{kind}'{where} | project {columns} | order by id asc"
    options: t.Dict[str, t.Any] = {"resultFormat": "objectArray", "$top": PAGE}
    while True:
        body = {"subscriptions": subscriptions, "query": query, "options": options}
        answer = connection.post("/providers/Microsoft.ResourceGraph/resources", API_VERSION, body, what)
        yield from answer.get("data") or []
        token = answer.get("$skipToken")
        if not token:
            return
        options = {**options, "$skipToken": token}


def _private(configurations: t.Sequence[t.Mapping[str, t.Any]]) -> t.List[str]:
    """Private addresses, that of the primary configuration first."""
    inner = [one.get("properties") or {} for one in configurations]
    inner.sort(key=lambda one: not one.get("primary"))
    found = [str(one["privateIPAddress"]) for one in inner if one.get("privateIPAddress")]
    return [address for address in found if ":" not in address]


def _authorities(connection: Connection) -> t.Dict[str, str]:
    """The shared attestation authority of each region; none where the caller may not ask."""
    try:
        providers = attestation_provider.find(connection, None, None)["providers"]
    except SkrFailure as failure:
        if failure.reason not in ("authorization_failed", "resource_not_found", "provider_not_found"):
            raise
        return {}
    return {str(one["location"]).replace(" ", "").lower(): str(one["authority"]) for one in providers}
