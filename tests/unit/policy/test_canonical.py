# SPDX-License-Identifier: GPL-3.0-or-later
"""The canonical text: order of members, no line ends, no final slash, nothing twice."""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.confidential.azure_skr.plugins.module_utils.policy import canonical, compare, model


def policy(*rules: dict[str, Any]) -> model.Policy:
    return model.parse({"anyOf": list(rules), "version": "1.0.0"})


def rule(*members: dict[str, Any], authority: str = "https://a.attest.azure.net") -> dict[str, Any]:
    return {"allOf": list(members), "authority": authority}


def claim(path: str, value: Any, operator: str = "equals") -> dict[str, Any]:
    return {operator: value, "claim": path}


def test_order_of_members_is_fixed() -> None:
    text = canonical.dump(policy(rule(claim("secureboot", True), authority="https://a.attest.azure.net/")))
    assert text == (
        '{"version":"1.0.0","anyOf":[{"authority":"https://a.attest.azure.net",'
        '"allOf":[{"claim":"secureboot","equals":true}]}]}'
    )


def test_line_ends_and_other_letters_are_escaped() -> None:
    text = canonical.dump(policy(rule(claim("note", "two\r\nlines, größer"))))
    assert text.isascii() and "\n" not in text and "\r" not in text
    assert json.loads(text)["anyOf"][0]["allOf"][0]["equals"] == "two\r\nlines, größer"


def test_conditions_stand_in_one_order_groups_last() -> None:
    made = canonical.as_dict(policy(rule(claim("b", 1), claim("a", 2), {"anyOf": [claim("d", 1), claim("c", 2)]})))
    assert [member.get("claim") for member in made["anyOf"][0]["allOf"]] == ["a", "b", None]
    assert [member["claim"] for member in made["anyOf"][0]["allOf"][2]["anyOf"]] == ["c", "d"]


def test_what_stands_twice_is_written_once() -> None:
    """One branch is uploaded where the same branch was given twice, also when only a slash tells them apart."""
    twice = policy(rule(claim("a", 1), claim("a", 1)), rule(claim("a", 1), authority="https://a.attest.azure.net/"))
    made = canonical.as_dict(twice)
    assert len(made["anyOf"]) == 1 and made["anyOf"][0]["allOf"] == [{"claim": "a", "equals": 1}]


def test_true_and_one_are_two_conditions() -> None:
    assert len(canonical.as_dict(policy(rule(claim("a", True), claim("a", 1))))["anyOf"][0]["allOf"]) == 2
    assert len(canonical.as_dict(policy(rule(claim("a", True)), rule(claim("a", 1))))["anyOf"]) == 2


def test_canonical_form_is_stable_and_means_the_same() -> None:
    first = policy(rule(claim("b", 1.5), claim("a", "x", "notEquals"), claim("c", True, "exists")))
    text = canonical.dump(first)
    again = model.parse(text)
    assert canonical.dump(again) == text and compare.equal(first, again)


def test_equal_policies_make_equal_texts_and_one_digest() -> None:
    one = policy(rule(claim("b", 1), claim("a", True)), rule(claim("c", "x"), authority="https://b.attest.azure.net"))
    two = policy(
        rule(claim("c", "x"), authority="https://b.attest.azure.net/"),
        rule(claim("a", True), claim("b", 1), claim("b", 1)),
    )
    assert canonical.dump(one) == canonical.dump(two) and canonical.digest(one) == canonical.digest(two)


def test_digest_is_that_of_what_a_vault_gives_back() -> None:
    mine = policy(rule(claim("a", True), claim("b", 1)))
    back = policy(rule(claim("b", 1.0), claim("a", "true"), authority="https://A.attest.azure.net/"))
    assert canonical.digest(mine) == canonical.digest(back)
    for other in (claim("a", "True"), claim("a", 1), claim("a", True, "notEquals"), claim("A", True)):
        assert canonical.digest(policy(rule(other, claim("b", 1)))) != canonical.digest(mine)
    assert canonical.digest(policy(rule(claim("a", True), claim("b", "1")))) != canonical.digest(mine)
