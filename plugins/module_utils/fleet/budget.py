# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast a fleet may ask one vault: the documented windows, and the moment at which each host begins.

The moment comes from the host's place in the batch and its name, so that it is the same in every run and needs no clock or
lottery. It counts from the start of the batch; a host that Ansible reaches later anyway waits no longer. Source of the limits: "Azure Key Vault
service limits", HSM keys, all operations but creation, for each vault and region in ten seconds.
"""

from __future__ import annotations

import hashlib
import typing as t

from ..policy.failure import SkrFailure

WINDOW_S = 10.0
# A release is one request, and one more where the live policy is read for the check beforehand.
REQUESTS_A_RELEASE = 2
EC_LIMIT, RSA_LIMITS = 2000, {2048: 2000, 3072: 500, 4096: 250}
OCT_LIMIT = 2000  # not documented for managed HSMs; the largest documented window is assumed


def limit(key_type: str, key_size: t.Optional[int] = None) -> int:
    """Requests that a vault answers in ten seconds for keys of this kind. Raises SkrFailure ``invalid_input``."""
    if key_type.startswith("EC"):
        return EC_LIMIT
    if key_type.startswith("oct"):
        return OCT_LIMIT
    if not key_type.startswith("RSA"):
        raise SkrFailure(
            "invalid_input",
            f"key_type is {key_type!r}, wanted RSA-HSM, EC-HSM or oct-HSM.",
            {"option": "key_type", "found": key_type},
        )
    size = key_size or 3072  # what the service makes when nothing is said
    if size not in RSA_LIMITS:
        raise SkrFailure(
            "invalid_input",
            f"key_size is {size}, wanted one of {', '.join(map(str, RSA_LIMITS))}.",
            {"option": "key_size", "found": size},
        )
    return RSA_LIMITS[size]


def allowed(key_type: str, key_size: t.Any, share: t.Any, documented: t.Any = None) -> float:
    """Requests in ten seconds that a fleet may make; 0 for no budget. ``documented`` replaces the limit of the kind of key.

    Raises SkrFailure ``invalid_input``.
    """
    most = (
        _number(documented, "skr_request_limit", 1)
        if documented
        else limit(key_type, int(key_size) if key_size else None)
    )
    part = _number(share, "skr_request_share", 0)
    if part > 1:
        raise SkrFailure(
            "invalid_input",
            f"skr_request_share is {share!r}, wanted a share from 0 (no budget) to 1 (the whole window).",
            {"option": "skr_request_share", "found": str(share)},
        )
    return most * part


def slices(value: t.Any) -> int:
    """How many slices run at the same time. Raises SkrFailure ``invalid_input``."""
    return int(_number(value, "skr_slices", 1))


def _number(value: t.Any, option: str, least: int) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = least - 1.0
    if number < least:
        raise SkrFailure(
            "invalid_input",
            f"{option} is {value!r}, wanted a number of at least {least}.",
            {"option": option, "found": str(value)},
        )
    return number


def spread(hosts: int, allowed: float, slices: int = 1) -> float:
    """Seconds over which so many hosts begin, so that all slices together stay within ``allowed`` requests a window."""
    return hosts * slices * REQUESTS_A_RELEASE / allowed * WINDOW_S


def delay(host: str, batch: t.Sequence[str], allowed: float, slices: int = 1) -> float:
    """Seconds after the start of its batch at which this host begins; 0 without a budget (``allowed`` 0).

    Hosts begin one after the other in the order of the batch, which is that in which Ansible comes to them: in any other order
    those that come first, and wait long, would keep all forks busy, and those that come after them would find their moments
    gone and begin all at once. Within its place each begins at a moment that belongs to its name, so that slices, which do not
    know each other, do not beat in time.
    """
    if allowed <= 0:
        return 0.0
    if host not in batch:
        raise SkrFailure(
            "invalid_input",
            f"host {host!r} is none of the batch's {len(batch)} hosts.",
            {"option": "host", "found": host},
        )
    place = list(batch).index(host) + _fraction(host)
    return round(place / len(batch) * spread(len(batch), allowed, slices), 3)


def _fraction(text: str) -> float:
    """A number from 0 to 1 that belongs to a text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big") / 2**48
