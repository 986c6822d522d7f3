# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A vault's name that is held by a soft-deleted vault: recover it, purge it, or leave it to the service to refuse."""

from __future__ import annotations

import typing as t

from ..policy.failure import SkrFailure
from .clients import SAFE_TO_REPEAT, Connection, errors

_POLL = 2


def find(connection: Connection, name: str) -> t.Optional[t.Any]:
    """The deleted vault of this name in the subscription."""
    with errors("the deleted vaults"):
        for vault in connection.vaults.list_deleted():
            if str(vault.name).lower() == name.lower():
                return vault
    return None


def recover(connection: Connection, group: str, name: str, deleted: t.Any) -> None:
    """Bring the vault back with its keys, in the group and region it was in. Raises SkrFailure."""
    properties = {"tenantId": str(connection.caller()["tid"]), "sku": {"family": "A", "name": "premium"}}
    document = {"location": deleted.properties.location, "properties": {**properties, "createMode": "recover"}}
    with errors(f"deleted vault {name}"):
        connection.vaults.begin_create_or_update(
            group, name, document, polling_interval=_POLL, **SAFE_TO_REPEAT
        ).result()


def purge(connection: Connection, name: str, deleted: t.Any) -> None:
    """Remove the vault and its keys for ever. Raises SkrFailure ``purge_refused`` where it is protected."""
    if deleted.properties.purge_protection_enabled:
        raise SkrFailure(
            "purge_refused", f"The purge protection of the deleted vault {name} forbids purging it.", {"vault": name}
        )
    with errors(f"deleted vault {name}"):
        connection.vaults.begin_purge_deleted(
            name, deleted.properties.location, polling_interval=_POLL, **SAFE_TO_REPEAT
        ).result()
