# SPDX-License-Identifier: GPL-3.0-or-later
"""The simulated cloud's clock: real time plus an offset that tests and the operator can move."""

from __future__ import annotations

import time


class Clock:
    """Seconds since the epoch, as every simulated service sees them."""

    def __init__(self, offset: float = 0.0) -> None:
        self.offset = offset

    def now(self) -> float:
        return time.time() + self.offset

    def advance(self, seconds: float) -> float:
        """Move the clock (negative moves it back); returns the new time."""
        self.offset += seconds
        return self.now()
