# SPDX-License-Identifier: GPL-3.0-or-later
"""The gate before Resource Manager: what the service tells decides, for all workers alike."""

from __future__ import annotations

import threading

import pytest

from ansible_collections.confidential.azure_skr.plugins.module_utils.azure import budget
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.failure import SkrFailure


class Time:
    """Time that passes when somebody sleeps."""

    def __init__(self) -> None:
        self.now, self.slept = 100.0, list[float]()

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def gate(time: Time) -> budget.Gate:
    return budget.Gate(lambda: time.now, time.sleep)


def left(kind: str, number: int) -> dict[str, str]:
    return {f"x-ms-ratelimit-remaining-subscription-{kind}": str(number)}


def test_nothing_is_held_while_there_is_plenty(gate: budget.Gate, time: Time) -> None:
    for number in range(200, 100, -1):
        gate.wait("PUT")
        gate.told("PUT", 201, left("writes", number))
    assert time.slept == [] and gate.waited == 0


def test_a_low_bucket_slows_down_to_its_refill_and_a_full_one_lets_go(gate: budget.Gate, time: Time) -> None:
    gate.told("PUT", 201, left("writes", budget.LOW - 1))
    for _request in range(9):
        gate.wait("PATCH")
    assert sum(time.slept) == pytest.approx(8 * budget.PACE["write"])
    gate.wait("GET")  # reads have a bucket of their own
    assert len(time.slept) == 8
    gate.told("PUT", 201, left("writes", 4 * budget.LOW + 1))
    time.slept.clear()
    gate.wait("PUT")
    gate.wait("PUT")
    assert sum(time.slept) <= budget.PACE["write"]


@pytest.mark.parametrize(("headers", "seconds"), [({"Retry-After": "7"}, 7.0), ({"retry-after": "0"}, 2.0), ({}, 2.0)])
def test_one_that_is_throttled_holds_all(
    gate: budget.Gate, time: Time, headers: dict[str, str], seconds: float
) -> None:
    gate.told("PATCH", 429, headers)
    gate.wait("PUT")
    assert seconds <= sum(time.slept) <= seconds + budget.PACE["write"]
    gate.wait("DELETE")
    assert sum(time.slept) >= seconds + budget.PACE["write"] - 1e-9


def test_no_more_than_so_many_at_a_time_and_one_failure_stops_no_other() -> None:
    running, most, lock = 0, 0, threading.Lock()
    done: list[int] = []
    gathered = threading.Barrier(4, timeout=10)

    def work(item: int) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        if item < 4:
            gathered.wait()  # four at least are in here together
        with lock:
            running -= 1
        if item == 2:
            raise SkrFailure("conflict", "two")
        done.append(item)

    failures = budget.each(range(20), work, workers=4)
    assert most == 4 and sorted(done) == [item for item in range(20) if item != 2]
    assert list(failures) == [2] and failures[2].reason == "conflict"


def test_a_defect_is_not_hidden() -> None:
    def work(item: int) -> None:
        raise KeyError(item)

    with pytest.raises(KeyError):
        budget.each([1, 2], work)
    with pytest.raises(KeyError):
        budget.each([1], work)
