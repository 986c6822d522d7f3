# SPDX-License-Identifier: GPL-3.0-or-later
"""Append-only record of what the simulator was asked and how it decided.

One JSON object per line. Tests assert on it; it never holds a token, a key or a request body.
"""

from __future__ import annotations

import json
import threading
import typing as t
from pathlib import Path


class Audit:
    """The audit log: kept in memory and, when a path is given, appended to a file."""

    def __init__(self, path: Path | None = None) -> None:
        self._records: list[dict[str, t.Any]] = []
        self._lock = threading.Lock()
        self._file = path.open("a", encoding="utf-8", buffering=1) if path else None

    def record(self, **facts: t.Any) -> dict[str, t.Any]:
        """Append one record; ``seq`` numbers them from 1 without gaps."""
        with self._lock:
            entry = {"seq": len(self._records) + 1, **facts}
            self._records.append(entry)
            if self._file:
                self._file.write(json.dumps(entry, separators=(",", ":"), default=str) + "\n")
        return entry

    def records(self, since: int = 0, **where: t.Any) -> list[dict[str, t.Any]]:
        """Records with ``seq`` above ``since`` whose members equal ``where``."""
        with self._lock:
            found = self._records[since:]
        return [r for r in found if all(r.get(k) == v for k, v in where.items())]

    def writes(self, since: int = 0) -> list[dict[str, t.Any]]:
        """Records of calls that changed state in the simulated cloud."""
        return self.records(since, write=True)

    @property
    def last(self) -> int:
        with self._lock:
            return len(self._records)
