# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The subscription of a managed identity for which nobody named one (``GET /subscriptions``, Azure REST reference)."""

from __future__ import annotations

import typing as t

from ..policy.failure import SkrFailure

if t.TYPE_CHECKING:
    from .clients import Connection

API_VERSION = "2022-12-01"


def only(connection: Connection) -> str:
    """The subscription that the identity sees, where that is exactly one: none is chosen by chance. Raises SkrFailure."""
    what = "the subscriptions of the managed identity"
    found = sorted(str(one["subscriptionId"]) for one in connection.list("/subscriptions", API_VERSION, what))
    if len(found) == 1:
        return found[0]
    seen = f"several ({', '.join(found[:10])})" if found else "none"
    raise SkrFailure(
        "invalid_input",
        f"subscription_id is not set (nor AZURE_SUBSCRIPTION_ID), and the managed identity sees {seen}, wanted one.",
        {"option": "subscription_id", "found": found},
    )
