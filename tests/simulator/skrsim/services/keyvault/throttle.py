# SPDX-License-Identifier: GPL-3.0-or-later
"""Transactions of vaults in ten-second windows, after Microsoft's page "Azure Key Vault service limits".

What a request costs depends on the kind of its key: the limits are weights of one sum, so that 125 requests of an RSA key
of 4096 bits leave room for 1000 of one with 2048. All vaults of a subscription together have five times one vault's.
Off until it is switched on, as most tests are about something else; ``World.limits`` replaces single limits.
"""

from __future__ import annotations

import math

from ...core.messages import Refusal
from ...core.world import Key, World
from .errors import refuse

WINDOW = 10  # seconds
VAULTS = 5  # a subscription's share, in vaults
# HSM-protected keys: transactions of one vault in a window.
LIMITS = {"create": 10, "RSA-2048": 2000, "RSA-3072": 500, "RSA-4096": 250, "EC": 2000, "oct": 2000}
OTHER = "RSA-2048"  # requests of no key in particular
CREATING = frozenset({"key_create", "key_import", "key_rotate"})
_TEXT = "Request was not processed because too many requests were received. Reason: "


def kind(operation: str, key: Key | None) -> str:
    """Which of the limits a request counts against."""
    if operation in CREATING:
        return "create"
    if key is None or not key.versions:
        return OTHER
    newest = key.versions[-1]
    family = newest.kty.partition("-")[0]
    return f"RSA-{newest.private.key_size}" if family == "RSA" else family


class Throttle:
    """What has been used of the present window; ``spend`` raises Refusal 429 when it is not enough."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._window = 0
        self._used: dict[tuple[str, bool], float] = {}

    def spend(self, vault: str, operation: str, key: Key | None) -> None:
        if not self._world.throttling:
            self._used.clear()
            return
        now = self._world.clock.now()
        if int(now // WINDOW) != self._window:
            self._window = int(now // WINDOW)
            self._used.clear()
        name = kind(operation, key)
        weight = 1 / (self._world.limits.get(name) or LIMITS[name])
        creating = name == "create"  # apart from the others
        for slot, most, reason in (
            (vault, 1, "VaultRequestTypeLimitReached"),
            ("", VAULTS, "SubscriptionLimitReached"),
        ):
            used = self._used.get((slot, creating), 0.0) + weight
            if used > most + 1e-9:  # a sum of fractions
                raise self._refusal(reason, now)
        for slot in (vault, ""):
            self._used[slot, creating] = self._used.get((slot, creating), 0.0) + weight

    def _refusal(self, reason: str, now: float) -> Refusal:
        """The service promises no Retry-After; it is sent unless the lab is told otherwise."""
        left = max(1, math.ceil((self._window + 1) * WINDOW - now))
        tells = self._world.throttling_tells
        headers = {"Retry-After": str(left)} if tells else {}
        told = left if tells else None
        return refuse(429, "Throttled", _TEXT + reason, headers=headers, clause="vault.throttled", retry_after=told)
