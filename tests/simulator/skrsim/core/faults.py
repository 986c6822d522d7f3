# SPDX-License-Identifier: GPL-3.0-or-later
"""The fault table: which call is to go wrong, and how.

A fault matches on service, operation, VM and call number; its action is a name with parameters.
Transport actions are carried out by the HTTP server, the others by the service that owns them.
"""

from __future__ import annotations

import dataclasses
import random
import threading
import typing as t

# Actions that the HTTP server performs on any response.
TRANSPORT_ACTIONS = frozenset(
    {"status", "delay", "slow_body", "reset", "reset_mid_body", "truncate_json", "html", "redirect"}
)


@dataclasses.dataclass
class Fault:
    """One row. ``None`` in a matching member means "any"."""

    action: str
    service: str | None = None
    operation: str | None = None
    vm: str | None = None
    first: int = 1  # number of the first matching call that is hit, from 1
    times: int | None = None  # how many calls are hit; None: all that follow
    probability: float = 1.0
    parameters: dict[str, t.Any] = dataclasses.field(default_factory=dict)
    id: int = 0
    seen: int = 0
    hits: int = 0

    def matches(self, service: str, operation: str, vm: str | None) -> bool:
        return self.service in (None, service) and self.operation in (None, operation) and self.vm in (None, vm)


class FaultTable:
    """Faults in the order they were added; the first that fires wins."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._rows: list[Fault] = []
        self._lock = threading.Lock()
        self._next = 1

    def add(self, fault: Fault) -> int:
        with self._lock:
            fault.id = self._next
            self._next += 1
            self._rows.append(fault)
            return fault.id

    def remove(self, fault_id: int | None = None) -> None:
        """Remove one row, or all of them."""
        with self._lock:
            self._rows = [] if fault_id is None else [f for f in self._rows if f.id != fault_id]

    def rows(self) -> list[Fault]:
        with self._lock:
            return list(self._rows)

    def fire(
        self, service: str, operation: str, vm: str | None, actions: t.Container[str] | None = None
    ) -> Fault | None:
        """The fault that hits this call, if any. ``actions`` limits which kinds the caller handles."""
        with self._lock:
            for row in self._rows:
                if actions is not None and row.action not in actions:
                    continue
                if not row.matches(service, operation, vm):
                    continue
                row.seen += 1
                if row.seen < row.first or (row.times is not None and row.hits >= row.times):
                    continue
                if row.probability < 1 and self._rng.random() >= row.probability:
                    continue
                row.hits += 1
                return row
        return None
