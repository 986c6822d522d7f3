# SPDX-License-Identifier: GPL-3.0-or-later
"""When each host of a fleet begins: within the vault's window, the same in every run, whatever the slices."""

from __future__ import annotations

import heapq
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.confidential.azure_skr.plugins.module_utils.fleet import budget
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.failure import SkrFailure

FLEET = [f"web-{number:04d}" for number in range(500)]


def peak(moments: list[float], window: float = budget.WINDOW_S) -> int:
    """The most beginnings in any window."""
    ordered = sorted(moments)
    return max(sum(1 for one in ordered if start <= one < start + window) for start in ordered)


@pytest.mark.parametrize(
    ("kind", "size", "documented"),
    [
        ("RSA-HSM", 2048, 2000),
        ("RSA-HSM", None, 500),
        ("RSA-HSM", 3072, 500),
        ("RSA-HSM", 4096, 250),
        ("EC-HSM", None, 2000),
    ],
)
def test_documented_limits(kind: str, size: int | None, documented: int) -> None:
    assert budget.limit(kind, size) == documented


@pytest.mark.parametrize("size", [2048, 3072, 4096])
def test_five_hundred_hosts_stay_within_half_of_the_window(size: int) -> None:
    allowed = budget.allowed("RSA-HSM", size, 0.5)
    moments = [budget.delay(host, FLEET, allowed) for host in FLEET]
    # One more than the even share can fall in a window, because each begins anywhere within its place.
    assert peak(moments) * budget.REQUESTS_A_RELEASE <= allowed + 2 * budget.REQUESTS_A_RELEASE
    assert max(moments) <= budget.spread(500, allowed)
    assert len(set(moments)) > 490


def test_at_4096_bits_a_storm_would_have_broken_the_limit() -> None:
    assert len(FLEET) * budget.REQUESTS_A_RELEASE > budget.limit("RSA-HSM", 4096)
    assert budget.spread(500, budget.allowed("RSA-HSM", 4096, 0.5)) == 80.0


def test_slices_that_do_not_know_each_other_stay_within_it_together() -> None:
    allowed = budget.allowed("RSA-HSM", 4096, 0.5)
    slices = [FLEET[part::5] for part in range(5)]
    moments = [budget.delay(host, part, allowed, slices=5) for part in slices for host in part]
    assert peak(moments) * budget.REQUESTS_A_RELEASE <= allowed * 1.15
    assert max(moments) <= budget.spread(100, allowed, 5) == budget.spread(500, allowed)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=40, unique=True))
def test_the_moment_belongs_to_place_and_name(hosts: list[str]) -> None:
    moments = [budget.delay(host, hosts, 100.0) for host in hosts]
    assert moments == [budget.delay(host, hosts, 100.0) for host in hosts]
    width = budget.spread(1, 100.0)
    # Each within its own place, at the same part of it whatever the place is.
    for place, (host, moment) in enumerate(zip(hosts, moments, strict=True)):
        assert moment == pytest.approx(place * width + budget.delay(host, [host], 100.0), abs=0.002)
        assert 0 <= moment - place * width <= width + 0.002


@pytest.mark.parametrize("forks", [5, 10, 25, 50])
def test_the_window_is_kept_however_many_hosts_work_at_a_time(forks: int) -> None:
    """A host that waits for its moment holds a fork; the others of the batch come to their turn as forks become free."""
    hosts, allowed, work = FLEET[:50], 40.0, 1.5
    free, moments = [0.0] * forks, list[float]()
    for host in hosts:
        fork = heapq.heappop(free)
        begins = max(fork, budget.delay(host, hosts, allowed))
        moments.append(begins)
        heapq.heappush(free, begins + work)
    assert peak(moments) * budget.REQUESTS_A_RELEASE <= allowed + 2 * budget.REQUESTS_A_RELEASE


def test_no_budget_means_no_waiting() -> None:
    assert budget.allowed("RSA-HSM", 4096, 0) == 0
    assert {budget.delay(host, FLEET, 0.0) for host in FLEET} == {0.0}


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda: budget.allowed("RSA-HSM", 2048, 1.5),
            "skr_request_share is 1.5, wanted a share from 0 (no budget) to 1",
        ),
        (lambda: budget.allowed("RSA-HSM", 2048, "half"), "skr_request_share is 'half', wanted a number"),
        (lambda: budget.allowed("RSA-HSM", 2047, 0.5), "key_size is 2047, wanted one of 2048, 3072, 4096"),
        (lambda: budget.allowed("RSA", 2048, 0.5, -3), "skr_request_limit is -3, wanted a number of at least 1"),
        (lambda: budget.limit("AES"), "key_type is 'AES', wanted RSA-HSM, EC-HSM or oct-HSM"),
        (lambda: budget.slices(0), "skr_slices is 0, wanted a number of at least 1"),
        (lambda: budget.delay("a", ["b"], 5.0), "host 'a' is none of the batch's 1 hosts"),
    ],
)
def test_what_cannot_work_is_named(call: Callable[[], object], words: str) -> None:
    with pytest.raises(SkrFailure) as caught:
        call()
    assert words in caught.value.message and caught.value.reason == "invalid_input"


def test_a_limit_of_ones_own() -> None:
    assert budget.allowed("RSA-HSM", 2048, 0.5, "40") == 20.0
    assert budget.allowed("RSA-HSM", 2048, 0.5, 0) == 1000.0
