# SPDX-License-Identifier: GPL-3.0-or-later
"""A few inputs for every reader of bytes from outside; `make fuzz` has a million."""

from __future__ import annotations

import typing as t

import pytest
from fuzz import engine, targets

INPUTS = 2000
SHARES = sum(target.share for target in targets.TARGETS)


@pytest.mark.parametrize("target", targets.TARGETS, ids=lambda target: target.name)
def test_nothing_but_typed_failures(target: targets.Target) -> None:
    # Not the speed of this machine is tested here, so the time allowed is ample.
    made = engine.Engine(target, patience=10).run(-(-INPUTS * target.share // SHARES))
    assert made.inputs >= INPUTS * target.share // SHARES and made.accepted


def test_the_seed_decides() -> None:
    logs = next(target for target in targets.TARGETS if target.name == "event log")  # its specimens are no signatures
    first, second, other = (engine.Engine(logs, seed) for seed in (1, 1, 2))
    made = [[one.make() for _number in range(50)] for one in (first, second, other)]
    assert made[0] == made[1] != made[2]


def broken(what: str) -> targets.Target:
    def read(data: bytes) -> None:
        if len(data) == 3:
            return
        if what == "error":
            raise KeyError("x")
        if what == "memory":
            bytes(64 << 20)
        if what == "time":
            sum(range(30_000_000))

    return targets.Target(what, read, lambda: [b"abc"])


@pytest.mark.parametrize(
    ("what", "told"), [("error", "KeyError"), ("memory", "bytes of memory"), ("time", "s of processor time")]
)
def test_what_counts_as_a_defect(what: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "SAMPLE", 3 if what == "memory" else 1 << 30)
    with pytest.raises(engine.Defect, match=told):
        engine.Engine(t.cast(t.Any, broken(what))).run(100)
