# SPDX-License-Identifier: GPL-3.0-or-later
"""When old versions are disabled and old branches removed: never too early, whatever a run sees or does not see."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from ansible_collections.confidential.azure_skr.plugins.module_utils.fleet import rollout, rotation, verdict
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.failure import SkrFailure
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.reasons import REASONS

OLD, NEW, DIGEST = "1" * 32, "2" * 32, "ab" * 32


def released(host: str, version: str = NEW, **facts: Any) -> dict[str, Any]:
    result = {"kid": f"https://v.vault.azure.net/keys/k/{version}", "key_version": version, "changed": True}
    return {**verdict.verdict(host, result), "facts": facts}


def refused(host: str, reason: str = "throttled") -> dict[str, Any]:
    return verdict.verdict(host, {"failed": True, "reason": reason, "msg": f"No. [{reason}] Wait."})


def state(*verdicts: dict[str, Any], at: float = 1.0, hosts: tuple[str, ...] = ()) -> dict[str, Any]:
    names = [*hosts, *(one["host"] for one in verdicts)]
    return rollout.record(rollout.begin("run", "1", names, at), verdicts, 100, at)


def decision(hosts: list[str], *states: dict[str, Any], **options: Any) -> dict[str, Any]:
    return rotation.decision(
        hosts, states, lambda host, one: rotation.missed_version(host, one, NEW, DIGEST), **options
    )


def test_the_last_step_wants_every_host() -> None:
    hosts = ["a", "b", "c"]
    done = decision(hosts, state(*map(released, hosts)))
    assert done["finish"] and done["moved"] == hosts and done["missed"] == [] and not done["failed"]
    part = decision(hosts, state(released("a"), released("b"), refused("c")))
    assert not part["finish"] and part["failed"] and part["held"] == "missed" and part["moved"] == ["a", "b"]
    assert part["missed"] == [{"host": "c", "reason": "throttled", "message": "No."}]
    assert "missed: c: throttled: No." in part["lines"]


def test_what_does_not_count() -> None:
    hosts = ["old", "other", "pinned", "pending", "fit"]
    found = decision(
        hosts,
        state(
            released("old", OLD),
            released("other", public_key_sha256="cd" * 32),
            released("pinned", public_key_sha256=DIGEST, boot_key_version=OLD),
            released("fit", public_key_sha256=DIGEST, boot_key_version=NEW),
            hosts=("pending",),
        ),
    )
    assert found["moved"] == ["fit"]
    assert {one["host"]: one["reason"] for one in found["missed"]} == {
        "old": "version_differs", "other": "version_differs", "pinned": "boot_version_pinned", "pending": "not_reached",
    }  # fmt: skip
    assert all(one["reason"] in REASONS for one in found["missed"])


@pytest.mark.parametrize(
    ("share", "moved", "finish"), [(60, 2, True), (66, 2, True), (67, 2, False), (0, 1, True), (0, 0, False)]
)
def test_a_share_of_three(share: float, moved: int, finish: bool) -> None:
    """Nobody has moved: then nothing is disabled, whatever share is asked for."""
    hosts = ["a", "b", "c"]
    verdicts = [released(host) if number < moved else refused(host) for number, host in enumerate(hosts)]
    assert decision(hosts, state(*verdicts), share=share)["finish"] is finish


@pytest.mark.parametrize(
    ("slices", "limited", "keep", "whole"), list(itertools.product((1, 2), (False, True), (False, True), (False, True)))
)
def test_only_a_run_that_sees_all_takes_the_last_step(slices: int, limited: bool, keep: bool, whole: bool) -> None:
    hosts = ["a", "b"]
    verdicts = [released("a")] if limited else [released("a"), released("b") if whole else refused("b")]
    found = decision(hosts, state(*verdicts), slices=slices, keep=keep)
    assert found["finish"] == (slices == 1 and not limited and not keep and whole)
    assert found["failed"] == (not limited and not whole)
    assert (found["held"] is None) == found["finish"]


def test_earlier_runs_count_for_hosts_that_this_one_leaves_out() -> None:
    hosts = ["a", "b", "c"]
    first = state(released("a"), refused("b"), released("c"), at=1.0)
    assert decision(hosts, first, state(released("b"), at=2.0))["finish"]
    # The later verdict counts, in whatever order the files come, and a host that had no turn says nothing new.
    assert not decision(hosts, state(refused("a"), at=3.0), first, state(released("b"), at=2.0))["finish"]
    assert decision(hosts, first, state(released("b"), hosts=("a", "c"), at=2.0))["finish"]
    # Hosts of an earlier run that the pattern does not name are nobody's business.
    assert decision(["a", "c"], first)["finish"]
    assert decision([], first)["finish"] is False


def test_resumed_version() -> None:
    assert rotation.resumed([]) is None and rotation.resumed([state(refused("a"))]) is None
    files = [state(released("a", OLD), at=1.0), state(released("b", NEW), at=2.0)]
    assert rotation.resumed(files) == rotation.resumed(reversed(files)) == NEW


def test_versions_of_a_key() -> None:
    def version(name: str, enabled: bool = True) -> dict[str, Any]:
        return {"version": name * 32, "enabled": enabled}

    listed = [version("4"), version("3", False), version("2"), version("1", False), version("0")]
    result = {"kid": "k", "key_version": NEW, "key": {"enabled": True}, "versions": listed, "public_key_sha256": DIGEST}
    assert rotation.versions(result) == {
        "version": NEW, "kid": "k", "public_key_sha256": DIGEST, "previous": ["0" * 32], "newer": ["4" * 32],
    }  # fmt: skip
    with pytest.raises(SkrFailure, match="is disabled") as caught:
        rotation.versions({**result, "key": {"enabled": False}})
    assert caught.value.reason == "key_disabled"


def branch(kind: str | None) -> dict[str, Any]:
    failing = [{"claim": "secureboot", "operator": "equals", "wanted": False, "found": True}]
    return released("a", **({"standing": {"branch": kind, "position": "anyOf[0]", "failing": failing}} if kind else {}))


@pytest.mark.parametrize(
    ("kind", "reason", "words"),
    [
        ("old", "old_branch_in_use", "claim secureboot wanted false, found true"),
        (None, "not_reached", "by which branch"),
    ],
)
def test_a_host_that_needs_the_old_branch_is_missed(kind: str | None, reason: str, words: str) -> None:
    missed = rotation.missed_branch("a", branch(kind))
    assert missed and missed["reason"] == reason and words in missed["message"]


def test_a_host_with_a_new_branch_has_moved() -> None:
    assert rotation.missed_branch("a", branch("new")) is None
    assert (rotation.missed_branch("a", refused("a", "policy_not_met")) or {})["reason"] == "policy_not_met"
    assert (rotation.missed_branch("a", None) or {})["reason"] == "not_reached"


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"schema": "other"}', '{"schema": "azure-skr/rollout/1", "hosts": []}']
)
def test_a_file_that_is_no_state(text: str) -> None:
    with pytest.raises(SkrFailure, match="skr_resume") as caught:
        rotation.read(text)
    assert caught.value.reason == "invalid_input"
    good = state(released("a"))
    assert rotation.read(json.dumps(good)) == rotation.read(good) == good
