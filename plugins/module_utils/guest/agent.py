# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One release on a machine without anybody at it: asked again while that may help, and told to whoever looks later.

At a boot every VM of a fleet does this at once, so the pauses are drawn at random from a growing span ("full jitter"),
by a generator that is seeded with the host's name: hosts differ, and one host can be understood afterwards.
"""

from __future__ import annotations

import gc
import hashlib
import random
import signal
import socket
import sys
import time
import typing as t

from ..policy import passing
from ..policy.failure import SkrFailure
from . import notify, status
from .config import Configuration

_FIRST, _LONGEST = 2.0, 60.0  # seconds: the span of the first pause, and the longest span
_SHORTEST = 0.5
_SLICE = 10.0  # seconds between two signs of life while waiting
_ATTEMPT = 600.0  # seconds that one attempt may take with all repetitions inside it
Result = t.Dict[str, t.Any]


class Patience:
    """How long to wait before the next attempt, within a budget of seconds."""

    def __init__(self, budget: float, host: str, clock: t.Callable[[], float] = time.monotonic) -> None:
        self._random = random.Random(hashlib.sha256(host.encode()).digest())
        self._clock, self._end = clock, clock() + budget
        self._span = _FIRST
        self._first_met: t.Dict[str, float] = {}

    def pause(self, failure: SkrFailure) -> t.Optional[float]:
        """Seconds to wait, at least what the service asked for; None when it is final or the budget does not allow it."""
        now = self._clock()
        since = self._first_met.setdefault(failure.reason, now)
        if not passing.passes(failure, now - since):
            return None
        pause = max(self._random.uniform(_SHORTEST, self._span), float(failure.facts.get("retry_after") or 0))
        self._span = min(self._span * 2, _LONGEST)
        return pause if now + pause <= self._end else None


def release(configuration: Configuration, retry_for: float) -> t.Tuple[status.Status, t.List[str]]:
    """Release and deliver. Returns the status that was written, and complaints about writing it. Raises SkrFailure."""
    run = _Run(configuration, Patience(retry_for, f"{socket.gethostname()}/{configuration.name}"))
    with _interruptible():
        try:
            result = run.until_done()
        except SkrFailure as failure:
            run.record(status.failed(run.before, failure))
            notify.notify(f"STATUS=failed: {failure.reason}")
            raise
        except KeyboardInterrupt:
            run.record({**run.before, "outcome": status.STOPPED})
            raise
    told = run.record(status.released(run.before, result))
    notify.notify("READY=1", f"STATUS=released {result['kid']}")
    return told, run.complaints


class _Run:
    """The attempts of one release, and what is written about them."""

    def __init__(self, configuration: Configuration, patience: Patience) -> None:
        self._name, self._options, self._patience = configuration.name, configuration.options, patience
        self._started, self._attempts = time.monotonic(), 0
        self.before = status.read(self._options["state_dir"], self._name)
        self.complaints: t.List[str] = []

    def until_done(self) -> Result:
        while True:
            self._attempts += 1
            text = f"releasing {self._options['key_name']}, attempt {self._attempts}"
            notify.alive(text, _ATTEMPT + self._options["wait_for_grant"])
            try:
                return self._attempt()
            except SkrFailure as failure:
                pause = self._patience.pause(failure)
                if pause is None:
                    raise
                waiting = {**status.failed(self.before, failure), "outcome": status.WAITING}
                waiting["outcomes"] = self.before.get("outcomes", {})  # not an outcome yet
                self.record({**waiting, "next_try": time.time() + pause})
                self._wait(pause, failure.reason)

    def _attempt(self) -> Result:
        try:
            from . import arguments, http, release, request

            http.Http.lean = True
            return release.release(arguments.guest(self._options), request.wanted(self._options))
        except ImportError as error:
            package = (error.name or "unknown").partition(".")[0]
            text = f"The Python package {package} is not installed for {sys.executable}."
            raise SkrFailure("library_missing", text, {"package": package, "interpreter": sys.executable}) from error
        except (SkrFailure, KeyboardInterrupt):
            raise
        except Exception as error:  # whoever looks later must find it; its text might quote what must not be seen
            raise SkrFailure("internal_error", f"Unforeseen {type(error).__name__}.") from None

    def _wait(self, pause: float, reason: str) -> None:
        gc.enable()  # this is no short run any more (see agent_archive)
        end = time.monotonic() + pause
        while True:
            left = end - time.monotonic()
            if left <= 0:
                return
            notify.alive(f"{reason}; attempt {self._attempts + 1} in {left:.0f} s", 2 * _SLICE + 30)
            time.sleep(min(left, _SLICE))

    def record(self, found: status.Status) -> status.Status:
        """Write status and metrics. That it cannot be done is complained of, but must not cost the key."""
        told = {
            **found,
            "name": self._name,
            "time": time.time(),
            "attempts": self._attempts,
            "duration_s": round(time.monotonic() - self._started, 3),
            "stale_after": self._options["stale_after"],
        }
        try:
            status.write(self._options["state_dir"], self._name, told)
            if self._options["metrics_path"]:
                from . import metrics

                metrics.write(self._options["metrics_path"], self._name, told)
        except SkrFailure as failure:
            if failure.message not in self.complaints:
                self.complaints.append(failure.message)
        return told


class _interruptible:
    """SIGTERM ends a run as an interrupt does: whatever is half done is undone on the way out."""

    def __enter__(self) -> None:
        def interrupt(_number: int, _frame: t.Any) -> t.NoReturn:
            raise KeyboardInterrupt

        self._before = signal.signal(signal.SIGTERM, interrupt)

    def __exit__(self, *_exc: t.Any) -> None:
        signal.signal(signal.SIGTERM, self._before)
