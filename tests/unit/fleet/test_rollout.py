# SPDX-License-Identifier: GPL-3.0-or-later
"""Verdicts, the state of a run, when it stops, and what is open."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.confidential.azure_skr.plugins.module_utils.fleet import rollout, verdict
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.failure import SkrFailure
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.reasons import REASONS

FLEET = [f"web-{number:03d}" for number in range(500)]
RELEASED = {"kid": "https://v/keys/k/1", "key_version": "1", "changed": True}
REFUSED = {
    "failed": True,
    "reason": "policy_not_met",
    "msg": "The release policy is not met: x wanted 1, found 2. [policy_not_met] Compare wanted and found.",
    "next_step": "Compare wanted and found.",
    "facts": {"failing": [{"claim": "x"}], "trace": ["long"]},
}
UNREACHABLE = {"unreachable": True, "msg": "Failed to connect to the host via ssh"}
BROKEN = {"failed": True, "msg": "No Python"}


def run(outcomes: dict[str, dict[str, Any]], most: float = 100, size: int = 50) -> rollout.State:
    state = rollout.begin("june", "1", FLEET, 1000.0)
    for start in range(0, len(FLEET), size):
        batch = [verdict.verdict(host, outcomes.get(host, RELEASED)) for host in FLEET[start : start + size]]
        state = rollout.record(state, batch, most, 1000.0 + start)
        if state["stopped"]:
            break
    return state


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (RELEASED, ("released", "released", "https://v/keys/k/1")),
        (REFUSED, ("refused", "policy_not_met", "The release policy is not met: x wanted 1, found 2.")),
        (UNREACHABLE, ("unreachable", "vm_unreachable", "Failed to connect to the host via ssh")),
        (BROKEN, ("refused", "module_failed", "No Python")),
        ({}, ("pending", "not_reached", "The run ended before this host had its turn.")),
        ({"changed": True}, ("released", "released", "would be released")),
    ],
)
def test_verdicts(result: dict[str, Any], expected: tuple[str, str, str]) -> None:
    one = verdict.verdict("web-001", result)
    assert (one["verdict"], one["reason"], one["message"]) == expected
    assert set(one) == {
        "host", "verdict", "reason", "message", "next_step", "kid", "key_version", "changed", "waited_s", "facts"
    }  # fmt: skip
    assert one["verdict"] == "released" or one["next_step"]
    assert one["reason"] == "released" or one["reason"] in REASONS
    assert "trace" not in one["facts"]


def test_what_was_waited_in_earlier_runs_of_the_module_counts() -> None:
    for result, waited in (({"waited_s": 3.2}, 3.2), ({"waited_s": 3.2, "attempts": 3}, 95.2), ({"attempts": 1}, 0.0)):
        assert verdict.verdict("web-001", {**RELEASED, **result})["waited_s"] == waited
    role = Path(__file__).parents[3] / "roles/key_release/vars/main.yml"
    assert f"key_release_wait_chunk: {verdict.WAIT_CHUNK:g}\n" in role.read_text()


def test_twelve_of_five_hundred_for_three_reasons() -> None:
    """AC-25: the others are unaffected, the summary is grouped, and exactly the twelve are open."""
    bad = {host: result for host, result in zip(FLEET[7::41], [REFUSED, UNREACHABLE, BROKEN] * 4, strict=False)}
    assert len(bad) == 12
    state = run(bad, most=20)
    assert state["stopped"] is None and state["finished"]
    assert state["open"] == sorted(bad)
    told = rollout.summary(state, 1600.0)
    assert {reason: len(hosts) for reason, hosts in told["by_reason"].items()} == {
        "released": 488, "policy_not_met": 4, "vm_unreachable": 4, "module_failed": 4
    }  # fmt: skip
    assert told["seconds"] == 600.0
    assert told["lines"][-2:] == [
        "released: 488 hosts, 488 of them changed",
        "488 of 500 hosts hold the key, 12 are open, 600 s in all",
    ]
    assert any(line.startswith("policy_not_met: 4 hosts: web-") for line in told["lines"])
    # The state survives its file, and the second run is about the twelve alone.
    assert rollout.open_hosts([json.loads(json.dumps(state))]) == sorted(bad)


def test_the_canary_stops_the_run() -> None:
    """AC-26: two of five, where 20 percent are allowed."""
    state = run({"web-001": REFUSED, "web-004": REFUSED}, most=20, size=5)
    assert state["stopped"]["reason"] == "failure_share_exceeded"
    assert "2 of the batch's 5 hosts failed, 40 percent where 20 are allowed" in state["stopped"]["message"]
    assert "policy_not_met (web-001, web-004). 495 hosts have not been touched." in state["stopped"]["message"]
    assert len(state["open"]) == 497 and state["finished"]
    assert rollout.summary(state, 2000.0)["lines"][0].startswith("STOPPED: 2 of the batch's 5")


@pytest.mark.parametrize(("most", "stops"), [(39, True), (40, False), (100, False), (0, True)])
def test_the_share_may_be_reached_but_not_passed(most: float, stops: bool) -> None:
    state = run({"web-001": REFUSED, "web-004": REFUSED}, most=most, size=5)
    assert bool(state["stopped"]) == stops


def test_the_last_batch_does_not_stop_what_has_ended() -> None:
    state = run({host: REFUSED for host in FLEET[-50:]}, most=0)
    assert state["stopped"] is None and len(state["open"]) == 50


def test_before_the_first_batch_everybody_is_open() -> None:
    state = rollout.begin("june", "1", ["b", "a"], 0.0)
    assert state["open"] == ["a", "b"] and state["finished"] is None


def test_slices_and_later_attempts_together() -> None:
    first = rollout.record(
        rollout.begin("r", "1", ["a", "b"], 0.0), [verdict.verdict("a", REFUSED), verdict.verdict("b", {})], 100, 1.0
    )
    other = rollout.record(rollout.begin("r", "2", ["c", "d"], 0.0), [verdict.verdict("c", RELEASED)], 100, 1.0)
    again = rollout.record(rollout.begin("s", "1", ["a"], 5.0), [verdict.verdict("a", RELEASED)], 100, 6.0)
    assert rollout.open_hosts([first, other]) == ["a", "b", "d"]
    assert rollout.open_hosts([again, first, other]) == ["b", "d"]


@pytest.mark.parametrize("thing", [{"schema": "other"}, [], "text", {"schema": rollout.SCHEMA}, None])
def test_what_is_no_state_is_refused(thing: Any) -> None:
    with pytest.raises(SkrFailure) as caught:
        rollout.open_hosts([thing])
    assert "wanted a state file of a roll-out" in caught.value.message


def test_nothing_to_resume_is_an_error_and_not_an_empty_list() -> None:
    with pytest.raises(SkrFailure) as caught:
        rollout.open_hosts([])
    assert "skr_resume names no file" in caught.value.message


@pytest.mark.parametrize("value", [-1, 101, "many", None])
def test_a_share_that_is_none(value: Any) -> None:
    with pytest.raises(SkrFailure) as caught:
        rollout.share(value)
    assert f"skr_max_failure_share is {value!r}, wanted a percentage from 0 to 100" in caught.value.message


def test_times_are_text_that_sorts() -> None:
    assert rollout.iso(0.25) == "1970-01-01T00:00:00.250Z"
    assert rollout.parsed(rollout.iso(1234567890.5)) == 1234567890.5


def test_many_hosts_are_named_in_part() -> None:
    assert verdict.named(FLEET[:3]) == "web-000, web-001, web-002"
    assert verdict.named(FLEET).endswith("web-019 and 480 more")
