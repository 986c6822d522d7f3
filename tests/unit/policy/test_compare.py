# SPDX-License-Identifier: GPL-3.0-or-later
"""Comparison by meaning: what a vault re-serialises is no difference, everything else is."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from unit.policy.places import put

from ansible_collections.confidential.azure_skr.plugins.module_utils.policy import compare, model

HOST = "https://sharedweu.weu.attest.azure.net"
BASE: dict[str, Any] = {
    "version": "1.0.0",
    "anyOf": [
        {
            "authority": HOST,
            "allOf": [
                {"claim": "tee.type", "equals": "sevsnpvm"},
                {"claim": "secureboot", "equals": True},
                {"anyOf": [{"claim": "level", "greaterOrEquals": 2}, {"claim": "note", "exists": False}]},
            ],
        },
        {"authority": "https://sharedneu.neu.attest.azure.net", "anyOf": [{"claim": "tee.type", "equals": "tdxvm"}]},
    ],
}


def altered(place: str, value: Any) -> model.Policy:
    return model.parse(put(BASE, place, value))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("anyOf[0].authority", HOST + "/"),
        ("anyOf[0].authority", "HTTPS://SharedWEU.weu.attest.azure.net"),
        ("anyOf[0].allOf[1].equals", "true"),
        ("anyOf[0].allOf[2].anyOf[0].greaterOrEquals", 2.0),
        ("anyOf[0].allOf[2].anyOf[1].exists", "false"),
        ("anyOf[0].allOf", list(reversed(BASE["anyOf"][0]["allOf"]))),
        ("anyOf[0].allOf[3]", BASE["anyOf"][0]["allOf"][0]),
        ("anyOf[0].allOf[0]", {"allOf": [{"claim": "tee.type", "equals": "sevsnpvm"}]}),
        ("anyOf[1]", {"authority": BASE["anyOf"][1]["authority"], "allOf": BASE["anyOf"][1]["anyOf"]}),
        ("anyOf", [BASE["anyOf"][1], BASE["anyOf"][0], BASE["anyOf"][1]]),
        ("version", "1.0"),
    ],
)
def test_spelling_is_no_difference(path: str, value: Any) -> None:
    other = altered(path, value)
    assert compare.equal(model.parse(BASE), other)
    assert compare.differences(model.parse(BASE), other) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("anyOf[0].authority", "https://sharedeus.eus.attest.azure.net"),
        ("anyOf[0].authority", HOST + ":8443"),
        ("anyOf[0].authority", HOST + "/other"),
        ("anyOf[0].allOf[0].equals", "SEVSNPVM"),
        ("anyOf[0].allOf[0].claim", "Tee.type"),
        ("anyOf[0].allOf[1].equals", False),
        ("anyOf[0].allOf[1].equals", "True"),
        ("anyOf[0].allOf[1].equals", 1),
        ("anyOf[0].allOf[2].anyOf[0].greaterOrEquals", "2"),
        ("anyOf[0].allOf[2].anyOf[0]", {"claim": "level", "greater": 2}),
        ("anyOf[0].allOf[2]", {"allOf": BASE["anyOf"][0]["allOf"][2]["anyOf"]}),
        ("anyOf[0].allOf", BASE["anyOf"][0]["allOf"][:2]),
        ("anyOf", BASE["anyOf"][:1]),
    ],
)
def test_another_meaning_is_a_difference_and_is_told(path: str, value: Any) -> None:
    other = altered(path, value)
    assert not compare.equal(model.parse(BASE), other)
    assert compare.differences(model.parse(BASE), other)


def test_white_space_and_member_order_do_not_count() -> None:
    text = json.dumps(BASE, indent=4, sort_keys=True).replace("\n", "\r\n")
    assert compare.equal(model.parse(text), model.parse(BASE))


def test_changes_name_authority_claim_and_both_sides() -> None:
    (change,) = compare.changes(model.parse(BASE), altered("anyOf[0].allOf[0].equals", "tdxvm"))
    assert change.as_dict() == {
        "kind": "changed",
        "authority": HOST,
        "claim": "tee.type",
        "live": 'tee.type equals "tdxvm"',
        "wanted": 'tee.type equals "sevsnpvm"',
        "message": f'{HOST}: change the condition tee.type equals "tdxvm" to tee.type equals "sevsnpvm"',
    }


def test_a_rule_or_condition_on_one_side_only() -> None:
    wanted, fewer = model.parse(BASE), altered("anyOf", BASE["anyOf"][:1])
    assert [change.kind for change in compare.changes(wanted, fewer)] == ["rule_added"]
    assert [change.kind for change in compare.changes(fewer, wanted)] == ["rule_removed"]
    assert compare.differences(wanted, fewer) == [
        'add a rule for https://sharedneu.neu.attest.azure.net: tee.type equals "tdxvm"'
    ]
    short = altered("anyOf[0].allOf", BASE["anyOf"][0]["allOf"][:2])
    assert [(one.kind, one.claim) for one in compare.changes(wanted, short)] == [("added", None)]
    assert [(one.kind, one.claim) for one in compare.changes(short, wanted)] == [("removed", None)]


def test_rules_of_one_authority_are_paired_by_likeness() -> None:
    """Of two rules one changed in one condition: that change is told, not both rules."""
    conditions = [{"claim": "id", "equals": "a"}, {"claim": "x", "equals": 1}, {"claim": "y", "equals": 1}]

    def fleet(*ids: str) -> model.Policy:
        rules = [{"authority": HOST, "allOf": [{"claim": "id", "equals": one}, *conditions[1:]]} for one in ids]
        return model.parse({"version": "1.0.0", "anyOf": rules})

    (change,) = compare.changes(fleet("a", "b", "d"), fleet("a", "b", "c"))
    assert (change.kind, change.live, change.wanted) == ("changed", 'id equals "c"', 'id equals "d"')


def test_two_rules_are_not_one_rule_with_both_conditions() -> None:
    """Rules are alternatives: splitting one weakens the policy although every condition is still there."""
    conditions = [{"claim": "a", "equals": 1}, {"claim": "b", "equals": 2}]
    one = model.parse({"version": "1.0.0", "anyOf": [{"authority": HOST, "allOf": conditions}]})
    two = model.parse(
        {"version": "1.0.0", "anyOf": [{"authority": HOST, "allOf": [condition]} for condition in conditions]}
    )
    assert not compare.equal(one, two)
    assert compare.differences(one, two) and compare.differences(two, one)


def test_any_shuffle_means_the_same() -> None:
    """Property: whatever the order in which a vault gives members and conditions back, nothing differs."""
    rng = random.Random(7)

    def shuffled(node: Any) -> Any:
        if isinstance(node, list):
            return [shuffled(item) for item in rng.sample(node, len(node))]
        if isinstance(node, dict):
            return {name: shuffled(node[name]) for name in rng.sample(list(node), len(node))}
        return json.dumps(node) if isinstance(node, bool) else node

    for _round in range(100):
        assert compare.equal(model.parse(BASE), model.parse(shuffled(BASE)))
