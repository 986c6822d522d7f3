# SPDX-License-Identifier: GPL-3.0-or-later
"""JSON from outside: whatever cannot be handed on is refused."""

from __future__ import annotations

import json
import typing as t

import pytest

from ansible_collections.confidential.azure_skr.plugins.module_utils.guest import documents


@pytest.mark.parametrize("document", [{}, [], "x", 5, None, {"a": [1, {"b": "\u00e9\U0001f600"}]}, [[["x"]]] * 100])
def test_documents_as_they_are(document: t.Any) -> None:
    assert documents.loads(json.dumps(document)) == documents.loads(json.dumps(document).encode()) == document


@pytest.mark.parametrize("depth", [2, 60])
def test_nesting_that_occurs(depth: int) -> None:
    assert documents.loads("[" * depth + "]" * depth) is not None


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "x", b"\xff", "NaN", '{"a": Infinity}', "[-Infinity]", '"\\ud800"', '{"\\udc00": 1}', "[" * 70 + "]" * 70,
        "[" * 100000, '{"a":' * 100000, '{"a":' * 900 + "1" + "}" * 900,
    ],
)  # fmt: skip
def test_what_is_none(text: t.Union[str, bytes]) -> None:
    with pytest.raises(ValueError):
        documents.loads(text)


@pytest.mark.parametrize("value", [0, 1800000000, 1.5, 253402300799])
def test_dates(value: float) -> None:
    assert documents.seconds(value) == value


@pytest.mark.parametrize("value", [None, True, "1800000000", -1, 1e300, 10**400, float("nan"), float("inf"), [], {}])
def test_dates_that_are_none(value: t.Any) -> None:
    assert documents.seconds(value) is None
