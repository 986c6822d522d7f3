# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""User-assigned managed identities: names and ids, and creating what does not exist yet.

Requests: Managed Identity REST reference, ``userAssignedIdentities``, 2024-11-30.
"""

from __future__ import annotations

import re
import typing as t

from ..policy.failure import SkrFailure
from .clients import Connection

API_VERSION = "2024-11-30"
_TYPE = "Microsoft.ManagedIdentity/userAssignedIdentities"
_ID = re.compile(
    r"/subscriptions/[^/]+/resourceGroups/(?P<group>[^/]+)/providers/Microsoft\.ManagedIdentity/userAssignedIdentities/(?P<name>[^/]+)",
    re.IGNORECASE,
)
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]{2,127}")


def resource_ids(
    entries: t.Sequence[str], group: t.Optional[str], subscription: str, option: str = "user_assigned"
) -> t.List[str]:
    """Names or resource ids as resource ids, each once. Raises SkrFailure ``invalid_input``."""
    found: t.Dict[str, str] = {}
    for entry in entries:
        if _ID.fullmatch(entry.rstrip("/")):
            identifier = entry.rstrip("/")
        elif _NAME.fullmatch(entry) and group:
            identifier = f"/subscriptions/{subscription}/resourceGroups/{group}/providers/{_TYPE}/{entry}"
        else:
            wanted = (
                "a resource id, because resource_group is not set"
                if _NAME.fullmatch(entry)
                else "a name or resource id"
            )
            raise SkrFailure("invalid_input", f"{option} has {entry!r}, wanted {wanted}.", {"option": option})
        found.setdefault(identifier.lower(), identifier)
    return list(found.values())


def ensure(
    connection: Connection, identifiers: t.Sequence[str], location: t.Optional[str], check_mode: bool
) -> t.List[str]:
    """Make the identities that do not exist, where a location says so; returns their ids. Raises SkrFailure."""
    missing = [identifier for identifier in identifiers if not _exists(connection, identifier)]
    if missing and not location:
        names = ", ".join(identifier.rpartition("/")[2] for identifier in missing)
        raise SkrFailure(
            "resource_not_found",
            f"There is no user-assigned identity {names}.",
            {"missing": missing},
            next_step="Correct user_assigned, or give location to have the identity made.",
        )
    for identifier in missing if not check_mode else []:
        what = f"identity {identifier.rpartition('/')[2]}"
        connection.put(identifier, API_VERSION, {"location": location}, what)
    return missing


def principals(connection: Connection, identifiers: t.Sequence[str]) -> t.List[str]:
    """Object ids of the identities. Raises SkrFailure ``resource_not_found`` for one that does not exist."""
    found = []
    for identifier in identifiers:
        name = identifier.rpartition("/")[2]
        document = connection.get(identifier, API_VERSION, f"identity {name}")
        principal = (document.get("properties") or {}).get("principalId")
        if not principal:
            raise SkrFailure(
                "identity_missing", f"The identity {name} has no principal (yet).", {"identity": identifier}
            )
        found.append(str(principal))
    return found


def _exists(connection: Connection, identifier: str) -> bool:
    try:
        connection.get(identifier, API_VERSION, f"identity {identifier.rpartition('/')[2]}")
    except SkrFailure as failure:
        if failure.reason != "resource_not_found":
            raise
        return False
    return True
