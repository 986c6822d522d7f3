# SPDX-License-Identifier: GPL-3.0-or-later
"""The policy's grammar: what is accepted, and where a refusal points to."""

from __future__ import annotations

import json
from typing import Any

import pytest
from unit.policy.places import put

from ansible_collections.confidential.azure_skr.plugins.module_utils.policy import model
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.failure import SkrFailure

AUTHORITY = "https://sharedweu.weu.attest.azure.net"
GOOD: dict[str, Any] = {
    "version": "1.0.0",
    "anyOf": [
        {
            "authority": AUTHORITY,
            "allOf": [
                {"claim": "x-ms-isolation-tee.x-ms-attestation-type", "equals": "sevsnpvm"},
                {"anyOf": [{"claim": "secureboot", "equals": True}, {"claim": "level", "greaterOrEquals": 2}]},
            ],
        }
    ],
}


def changed(place: str, value: Any) -> dict[str, Any]:
    """GOOD with one place set to another value."""
    made: dict[str, Any] = put(GOOD, place, value)
    return made


def test_dictionary_text_and_bytes_mean_the_same() -> None:
    policy = model.parse(GOOD)
    assert policy == model.parse(json.dumps(GOOD)) == model.parse(json.dumps(GOOD, indent=3).encode())
    assert policy.version == "1.0.0" and policy.rules[0].authority == AUTHORITY
    first, nested = policy.rules[0].conditions.members
    assert first == model.Claim("x-ms-isolation-tee.x-ms-attestation-type", "equals", "sevsnpvm")
    assert nested == model.Group(
        "anyOf", (model.Claim("secureboot", "equals", True), model.Claim("level", "greaterOrEquals", 2))
    )


@pytest.mark.parametrize("operator", model.OPERATORS)
def test_every_operator_of_the_grammar_is_known(operator: str) -> None:
    policy = model.parse(changed("anyOf[0].allOf[0]", {"claim": "a.b", operator: 1}))
    assert policy.rules[0].conditions.members[0] == model.Claim("a.b", operator, 1)


@pytest.mark.parametrize(
    ("path", "value", "position"),
    [
        ("version", "2.0.0", "version"),
        ("version", 1.0, "version"),
        ("other", 1, "other"),
        ("anyOf", [], "anyOf"),
        ("anyOf", {}, "anyOf"),
        ("anyOf[0]", "text", "anyOf[0]"),
        ("anyOf[0].condition", [], "anyOf[0].condition"),
        ("anyOf[0].authority", "http://plain.example", "anyOf[0].authority"),
        ("anyOf[0].authority", "sharedweu.weu.attest.azure.net", "anyOf[0].authority"),
        ("anyOf[0].authority", "https://", "anyOf[0].authority"),
        ("anyOf[0].authority", "https://[unclosed", "anyOf[0].authority"),
        ("anyOf[0].authority", "https://host/?trust=all", "anyOf[0].authority"),
        ("anyOf[0].authority", None, "anyOf[0].authority"),
        ("anyOf[0].anyOf", [{"claim": "a", "equals": 1}], "anyOf[0]"),
        ("anyOf[0].allOf", [], "anyOf[0].allOf"),
        ("anyOf[0].allOf[0]", {}, "anyOf[0].allOf[0]"),
        ("anyOf[0].allOf[0]", {"equals": "x"}, "anyOf[0].allOf[0].equals"),
        ("anyOf[0].allOf[0]", {"claim": "a"}, "anyOf[0].allOf[0]"),
        ("anyOf[0].allOf[0]", {"claim": "a", "equals": 1, "less": 2}, "anyOf[0].allOf[0]"),
        ("anyOf[0].allOf[0]", {"claim": "a", "like": "x"}, "anyOf[0].allOf[0].like"),
        ("anyOf[0].allOf[0].claim", "", "anyOf[0].allOf[0].claim"),
        ("anyOf[0].allOf[0].claim", "a..b", "anyOf[0].allOf[0].claim"),
        ("anyOf[0].allOf[0].claim", ["a"], "anyOf[0].allOf[0].claim"),
        ("anyOf[0].allOf[0].equals", None, "anyOf[0].allOf[0].equals"),
        ("anyOf[0].allOf[0].equals", ["a"], "anyOf[0].allOf[0].equals"),
        ("anyOf[0].allOf[0].equals", {"a": 1}, "anyOf[0].allOf[0].equals"),
        ("anyOf[0].allOf[0].equals", float("nan"), "anyOf[0].allOf[0].equals"),
        ("anyOf[0].allOf[1].anyOf[1].claim", 7, "anyOf[0].allOf[1].anyOf[1].claim"),
    ],
)
def test_refusal_names_the_position(path: str, value: Any, position: str) -> None:
    with pytest.raises(SkrFailure) as caught:
        model.parse(changed(path, value))
    assert caught.value.reason == "policy_invalid"
    assert caught.value.facts["position"] == position
    assert position in caught.value.message


@pytest.mark.parametrize("text", ["", "{", b"\xff\xfe", "[]", "null", '"text"'])
def test_what_is_no_json_object_is_refused(text: Any) -> None:
    with pytest.raises(SkrFailure) as caught:
        model.parse(text)
    assert caught.value.reason == "policy_invalid"
    assert caught.value.facts["position"].startswith(("line 1, column", "byte 0")) or not caught.value.facts["position"]


def test_top_level_all_of_is_refused_in_words() -> None:
    document = {"version": "1.0.0", "allOf": GOOD["anyOf"]}
    with pytest.raises(SkrFailure) as caught:
        model.parse(document)
    assert "allOf" in caught.value.message and "anyOf" in caught.value.message


@pytest.mark.parametrize(
    ("text", "place", "told"),
    [
        ('{"version": "1.0.0",\n "anyOf": [}', "line 2, column 12", "not JSON"),
        ('{"version": "1.0.0", "version": "1.0.0"}', "version", "twice"),
        ("[" * 100000, "", "too deeply"),
        ('{"version": ' + "1" * 5000 + "}", "", "too long"),
        ('{"version": "1.0.0", "anyOf": [{"authority": "https://a", "allOf": [{"claim": "a", "equals": [1]}]}]}', "anyOf[0].allOf[0].equals", "[1]"),
    ],
)  # fmt: skip
def test_place_of_what_cannot_be_read(text: str, place: str, told: str) -> None:
    with pytest.raises(SkrFailure) as caught:
        model.parse(text)
    assert caught.value.facts["position"] == place and told in caught.value.message


def test_nesting_has_a_limit() -> None:
    node: dict[str, Any] = {"claim": "a", "equals": 1}
    for _level in range(model.MAX_DEPTH - 1):
        node = {"anyOf": [node]}
    rule = {"authority": "https://a.attest.azure.net", "allOf": [node]}
    model.parse({"version": "1.0.0", "anyOf": [rule]})
    with pytest.raises(SkrFailure) as caught:
        model.parse({"version": "1.0.0", "anyOf": [{**rule, "allOf": [{"allOf": [node]}]}]})
    assert caught.value.reason == "policy_invalid" and "nested" in caught.value.message
