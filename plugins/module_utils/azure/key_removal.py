# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Taking a key away: soft deletion, and purging for good."""

from __future__ import annotations

import contextlib
import typing as t

from ..policy.failure import SkrFailure
from . import hsm
from .clients import SAFE_TO_REPEAT, Connection, errors, service_code
from .key_target import Target


def ensure(connection: Connection, at: Target, purged: bool, check_mode: bool) -> t.Dict[str, t.Any]:
    """Delete the key, and with ``purged`` purge it too; returns the module's result. Raises SkrFailure.

    A deleted key can be recovered with all its versions until its purge date; a purged key never.
    """
    with hsm.activation_told(connection, at.uri) if at.is_hsm else contextlib.nullcontext():
        return _ensure(connection, at, purged, check_mode)


def _ensure(connection: Connection, at: Target, purged: bool, check_mode: bool) -> t.Dict[str, t.Any]:
    client, name = connection.keys(at.uri), at.name
    live = _state(lambda: client.get_key(name), name)
    deleted = None if live else _state(lambda: client.get_deleted_key(name), name)
    before = "present" if live else "deleted" if deleted else "absent"
    after = "absent" if purged or before == "absent" else "deleted"
    result: t.Dict[str, t.Any] = {"changed": before != after, **at.result()}
    if before == after:
        return result
    result["diff"] = {"before": {"state": before}, "after": {"state": after}}
    if not check_mode:
        if live:
            with errors(f"key {name}"):
                client.begin_delete_key(name, **SAFE_TO_REPEAT).wait()
        if purged:
            purge(client, name)
    return result


def _state(read: t.Callable[[], t.Any], name: str) -> t.Optional[t.Any]:
    from azure.core.exceptions import ResourceNotFoundError

    with errors(f"key {name}"):
        try:
            return read()
        except ResourceNotFoundError:
            return None


def purge(client: t.Any, name: str) -> None:
    """Purge a deleted key. Raises SkrFailure ``purge_refused`` where the vault is protected against it."""
    from azure.core.exceptions import HttpResponseError

    try:
        client.purge_deleted_key(name, **SAFE_TO_REPEAT)
    except HttpResponseError as error:
        # The code ForbiddenByPolicy alone may also mean that the caller lacks the permission to purge.
        if "purge protection" in service_code(error)[2].lower():
            raise SkrFailure(
                "purge_refused", f"The vault's purge protection forbids purging {name}.", {"key_name": name}
            ) from error
        with errors(f"deleted key {name}"):
            raise
