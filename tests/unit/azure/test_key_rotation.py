# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a new version is due."""

from __future__ import annotations

import datetime
import types
from typing import Any

import pytest

from ansible_collections.confidential.azure_skr.plugins.module_utils.azure import key_rotation
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.failure import SkrFailure

NOW = 1_800_000_000.0


def newest(age: float, enabled: bool = True) -> Any:
    made = datetime.datetime.fromtimestamp(NOW - age, datetime.timezone.utc)
    return types.SimpleNamespace(created_on=made, enabled=enabled)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None), ("0", 0), (3600, 3600), ("3600", 3600), ("PT1H", 3600), ("pt90m", 5400), ("P1D", 86400), ("P1DT1S", 86401),
        ("P2W", 1209600), ("P1M", 2592000), ("P1Y", 31536000), ("PT0S", 0),
    ],
)  # fmt: skip
def test_ages(text: Any, seconds: float | None) -> None:
    assert key_rotation.read_age("rotate_if_older_than", text) == seconds


@pytest.mark.parametrize("text", ["", "P", "PT", "P1H", "1h", "-5", "P1DT", "PT1H1D", "1.5", "9" * 12, "P1D extra"])
def test_what_is_no_age(text: str) -> None:
    with pytest.raises(SkrFailure, match="rotate_if_older_than is .*PT1H") as caught:
        key_rotation.read_age("rotate_if_older_than", text)
    assert caught.value.reason == "invalid_input"


@pytest.mark.parametrize(
    ("age", "enabled", "older_than", "due"),
    [
        (0, True, None, True),
        (3599, True, 3600, False),
        (3600, True, 3600, True),
        (0, True, 0, True),
        (5, False, 3600, True),
        (-30, True, 3600, False),  # made by a clock that is ahead of ours
    ],
)
def test_due(age: float, enabled: bool, older_than: float | None, due: bool) -> None:
    assert key_rotation.due(newest(age, enabled), older_than, NOW) is due


def test_the_newest_version_is_read_a_moment_later(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    monkeypatch.setattr(key_rotation.time, "sleep", told.append)
    assert key_rotation.settled(lambda: told.append("read") or "newest") == "newest"  # type: ignore[func-returns-value]
    assert told == [key_rotation.SETTLE, "read"]
