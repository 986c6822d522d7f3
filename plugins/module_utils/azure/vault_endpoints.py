# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private endpoint connections of a vault: who asks to reach it privately, and whom we let."""

from __future__ import annotations

import re
import typing as t

from ..policy.failure import SkrFailure
from .clients import Connection

API_VERSION = "2023-07-01"
_ID = re.compile(
    r"/subscriptions/[^/]+/resourceGroups/[^/]+/providers/Microsoft\.Network/privateEndpoints/[^/]+", re.IGNORECASE
)


class Wanted(t.NamedTuple):
    """Private endpoints by resource id; connections of others stay as they are."""

    approve: t.Tuple[str, ...] = ()
    reject: t.Tuple[str, ...] = ()

    def states(self) -> t.Dict[str, str]:
        """The wanted status by id in lower case. Raises SkrFailure ``invalid_input``."""
        found: t.Dict[str, str] = {}
        for word, entries in (("approve", self.approve), ("reject", self.reject)):
            option = f"{word}_private_endpoints"
            for entry in entries:
                identifier = entry.rstrip("/").lower()
                wanted = "the resource id of a private endpoint" if not _ID.fullmatch(identifier) else None
                wanted = "an endpoint that is not to be approved as well" if identifier in found else wanted
                if wanted:
                    message = f"{option} has {entry!r}, wanted {wanted}."
                    raise SkrFailure("invalid_input", message, {"option": option})
                found[identifier] = "Approved" if word == "approve" else "Rejected"
        return found


def describe(found: t.Mapping[str, t.Any]) -> t.List[t.Dict[str, t.Any]]:
    """The connections of a vault, as results show them."""
    shown = []
    for entry in found["properties"].get("privateEndpointConnections") or []:
        properties = entry.get("properties") or {}
        state = properties.get("privateLinkServiceConnectionState") or {}
        shown.append(
            {
                "name": entry.get("name") or str(entry.get("id") or "").rpartition("/")[2],
                "private_endpoint_id": (properties.get("privateEndpoint") or {}).get("id"),
                "status": state.get("status"),
            }
        )
    return sorted(shown, key=lambda one: str(one["name"]))


def ensure(
    connection: Connection,
    found: t.Mapping[str, t.Any],
    wanted: Wanted,
    check_mode: bool,
    result: t.Dict[str, t.Any],
) -> None:
    """Approve and reject what is wanted.

    Adds to ``changed`` and the difference, and ``private_endpoint_connections``. Raises SkrFailure; an endpoint that
    has not asked is no failure but a warning, because it may ask later.
    """
    shown, states = describe(found), wanted.states()
    before, after = {}, {}
    for one in shown:
        status = states.pop(str(one["private_endpoint_id"]).lower(), None)
        if status is None or status == one["status"]:
            continue
        before[one["name"]], after[one["name"]] = one["status"], status
        if not check_mode:
            state = {"status": status, "description": f"{status} by confidential.azure_skr"}
            body = {"properties": {"privateLinkServiceConnectionState": state}}
            path = f"{found['id']}/privateEndpointConnections/{one['name']}"
            connection.put(path, API_VERSION, body, f"private endpoint connection {one['name']}")
        one["status"] = status
    result["private_endpoint_connections"] = shown
    if states:
        result.setdefault("warnings", []).append(
            f"No connection of {', '.join(sorted(states))} has been asked for at this vault so far."
        )
    if after:
        result["changed"] = True
        diff = result.setdefault("diff", {"before": {}, "after": {}})
        diff["before"] = {**diff["before"], "private_endpoint_connections": before}
        diff["after"] = {**diff["after"], "private_endpoint_connections": after}
