# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many requests to Resource Manager without a storm: bounded workers, one gate for all of them.

Resource Manager lets each caller have a bucket of requests that refills at a steady rate (reads 250 and 25 a second,
writes 200 and 10 a second; Microsoft's page "Understand how Azure Resource Manager throttles requests"). It tells in
headers how much is left. The gate goes down to the pace of the refill before the bucket is empty, and when one worker
is throttled all wait for as long as it was told to.
"""

from __future__ import annotations

import random
import threading
import time
import typing as t
from concurrent.futures import ThreadPoolExecutor

from ..policy.failure import SkrFailure

WORKERS = 16
LOW = 2 * WORKERS  # so few left that the workers together could empty the bucket with their next requests
# Seconds between two requests once the bucket is low: a little slower than it refills.
PACE = {"read": 1 / 20, "write": 1 / 8}
_LEFT = "x-ms-ratelimit-remaining-subscription-"
_DEFAULT_WAIT, _LONGEST_WAIT = 2.0, 120.0

Item = t.TypeVar("Item")


class Gate:
    """Decides when the next request may go; safe for many threads. ``waited`` counts the seconds it held requests."""

    def __init__(
        self, now: t.Callable[[], float] = time.monotonic, sleep: t.Callable[[float], None] = time.sleep
    ) -> None:
        self._now, self._sleep, self._lock = now, sleep, threading.Lock()
        self._next = {"read": 0.0, "write": 0.0}
        self._interval = {"read": 0.0, "write": 0.0}
        self.waited = 0.0

    @staticmethod
    def kind(method: str) -> str:
        return "read" if method in ("GET", "HEAD") else "write"

    def wait(self, method: str) -> None:
        """Return when a request of this method may be sent."""
        kind = self.kind(method)
        with self._lock:
            now = self._now()
            start = max(now, self._next[kind])
            self._next[kind] = start + self._interval[kind]
            self.waited += start - now
        if start > now:
            self._sleep(start - now)

    def told(self, method: str, status: int, headers: t.Mapping[str, str]) -> None:
        """Learn from an answer."""
        kind = self.kind(method)
        with self._lock:
            if status == 429:
                self._interval[kind] = PACE[kind]
                # A little after the time told, not all at the same moment.
                opens = self._now() + retry_after(headers) + random.uniform(0, PACE[kind])  # noqa: S311
                self._next[kind] = max(self._next[kind], opens)
            elif _left(headers) < LOW:
                self._interval[kind] = PACE[kind]
            elif _left(headers) > 4 * LOW and _left(headers) < _UNKNOWN:
                self._interval[kind] = 0.0


_UNKNOWN = 1 << 30


def _left(headers: t.Mapping[str, str]) -> int:
    """The smallest number of requests left that the answer tells of."""
    found = [int(value) for name, value in headers.items() if name.lower().startswith(_LEFT) and str(value).isdigit()]
    return min(found, default=_UNKNOWN)


def retry_after(headers: t.Mapping[str, str]) -> float:
    """Seconds; a default where the header is missing or no number."""
    text = next((str(value) for name, value in headers.items() if name.lower() == "retry-after"), "")
    return min(float(text), _LONGEST_WAIT) if text.isdigit() and int(text) > 0 else _DEFAULT_WAIT


def policy(gate: Gate) -> t.Any:
    """The gate as a policy of azure-core's pipeline, for each attempt of a request."""
    from azure.core.pipeline.policies import SansIOHTTPPolicy

    class GatePolicy(SansIOHTTPPolicy):  # type: ignore[misc]
        def on_request(self, request: t.Any) -> None:
            gate.wait(request.http_request.method)

        def on_response(self, request: t.Any, response: t.Any) -> None:
            gate.told(request.http_request.method, response.http_response.status_code, response.http_response.headers)

    return GatePolicy()


def each(items: t.Sequence[Item], work: t.Callable[[Item], None], workers: int = WORKERS) -> t.Dict[int, SkrFailure]:
    """Do the work for every item, at most so many at a time; one item's failure does not stop the others.

    Returns the failures by the item's index. Anything but SkrFailure is raised after all have ended.
    """
    failures: t.Dict[int, SkrFailure] = {}

    def one(index: int) -> None:
        try:
            work(items[index])
        except SkrFailure as failure:
            failures[index] = failure

    if len(items) < 2 or workers < 2:
        for index in range(len(items)):
            one(index)
        return failures
    with ThreadPoolExecutor(min(workers, len(items))) as pool:
        for future in [pool.submit(one, index) for index in range(len(items))]:
            future.result()
    return failures
