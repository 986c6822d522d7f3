# SPDX-License-Identifier: GPL-3.0-or-later
"""Feeds inputs to a target and looks at what comes back: a typed failure or a result, soon, and without much memory."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import json
import random
import time
import traceback
import tracemalloc
import typing as t
import warnings
import zlib

from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.failure import SkrFailure
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.reasons import REASONS

from .targets import Target

SEED = 2026
SECONDS = 0.2  # of processor time, for one input
SAMPLE = 251  # every so manieth input is measured for memory too
KEEP = 64  # damaged inputs that are damaged further, besides the specimens


class Defect(AssertionError):
    """An input that a target did not handle as it must; the text holds its beginning."""

    def __init__(self, what: str, target: Target, number: int, data: bytes) -> None:
        text = base64.b64encode(data[:300]).decode()
        super().__init__(f"{what}; target {target.name!r}, input {number}, {len(data)} bytes, base64: {text}")
        self.data = data


@dataclasses.dataclass
class Tally:
    """What a target did with its inputs."""

    inputs: int = 0
    accepted: int = 0
    seconds: float = 0.0
    slowest: float = 0.0


def memory_limit(size: int) -> int:
    """What reading an input may allocate at a time: some copies of it and a constant, whatever lengths it states."""
    return (4 << 20) + 64 * size


@contextlib.contextmanager
def complaints() -> t.Iterator[None]:
    """A warning that would be printed is as bad as a traceback."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        yield


class Engine:
    """Inputs of one target, made from its specimens by a seeded generator."""

    def __init__(self, target: Target, seed: int = SEED, patience: float = 1.0) -> None:
        self.target, self.tally = target, Tally()
        self._seconds = SECONDS * patience
        self._rng = random.Random(seed ^ zlib.crc32(target.name.encode()))
        self._specimens = list(target.specimens())
        self._kept: t.List[bytes] = []
        with contextlib.suppress(SkrFailure, *target.errors):
            target.read(self._specimens[0])  # makes the keys and fakes that are made once
        for specimen in self._specimens:
            self.feed(specimen)

    def make(self) -> bytes:
        """The next input: a specimen or an earlier input, damaged; one in fifty is noise."""
        rng = self._rng
        if rng.random() < 0.02:
            return rng.randbytes(rng.randrange(300))
        source = self._kept if self._kept and rng.random() < 0.2 else self._specimens
        made = self.target.mutate(rng.choice(source), rng)
        if len(made) < 20000 and rng.random() < 0.02:
            self._kept = [*self._kept[-KEEP + 1 :], made]
        return made

    def run(self, inputs: int) -> Tally:
        with complaints():
            while self.tally.inputs < inputs:
                self.feed(self.make())
        return self.tally

    def feed(self, data: bytes) -> None:
        """Read one input. Raises Defect."""
        self.tally.inputs += 1
        measured = self.tally.inputs % SAMPLE == 0
        if measured:
            tracemalloc.start()
        start = time.thread_time()
        try:
            self.target.read(data)
            self.tally.accepted += 1
        except SkrFailure as failure:
            self._typed(failure, data)
        except self.target.errors:
            pass
        except Exception as error:
            raise self._defect(f"{type(error).__name__} at {_place(error)}: {error}", data) from error
        finally:
            peak = tracemalloc.get_traced_memory()[1] if measured else 0
            tracemalloc.stop()
        spent = time.thread_time() - start
        self.tally.seconds += spent
        if not measured:  # being measured makes it slow
            self.tally.slowest = max(self.tally.slowest, spent)
            if spent > self._seconds:
                raise self._defect(f"{spent:.2f} s of processor time", data)
        if peak > memory_limit(len(data)):
            raise self._defect(f"{peak} bytes of memory", data)

    def _typed(self, failure: SkrFailure, data: bytes) -> None:
        if failure.reason not in REASONS or failure.reason == "internal_error" or not failure.message:
            raise self._defect(f"reason {failure.reason}: {failure.message}", data)
        try:
            json.dumps(failure.as_result())
        except (TypeError, ValueError) as error:
            raise self._defect(f"a failure that is no JSON: {error}", data) from failure

    def _defect(self, what: str, data: bytes) -> Defect:
        return Defect(what, self.target, self.tally.inputs, data)


def _place(error: BaseException) -> str:
    """The innermost place of the collection that an error passed through."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "module_utils" in frame.filename]
    return (
        f"{frames[-1].filename.rpartition('module_utils/')[2]}:{frames[-1].lineno}" if frames else "the test's own code"
    )
