# SPDX-License-Identifier: GPL-3.0-or-later
"""The vault's own reading of release policies: what it accepts, how it stores it, what it decides."""

from __future__ import annotations

import base64
import json
import typing as t

import pytest
from vault_caller import encoded, unb64u

from skrsim.core.messages import Refusal
from skrsim.services.keyvault import policy

HOST = "https://a.example"


def rule(*conditions: t.Any, authority: str = HOST, kind: str = "allOf") -> dict[str, t.Any]:
    return {"authority": authority, kind: list(conditions)}


def whole(*rules: t.Any) -> dict[str, t.Any]:
    return {"version": "1.0.0", "anyOf": list(rules)}


def condition(operator: str, value: t.Any, claim: str = "c") -> dict[str, t.Any]:
    return {"claim": claim, operator: value}


def decide(document: t.Any, claims: dict[str, t.Any]) -> bool:
    return policy.decide(policy.stored_form(encoded(document)), {"iss": HOST, **claims})[0]


def refused(data: str) -> str:
    with pytest.raises(Refusal) as caught:
        policy.stored_form(data)
    error = caught.value.response.json()["error"]
    assert (caught.value.response.status, error["code"]) == (400, "BadParameter")
    return str(error["message"])


def test_a_policy_is_stored_with_version_and_authority_first_and_booleans_as_text() -> None:
    inner = {"anyOf": [{"equals": True, "claim": "x.y"}, {"claim": "n", "greater": 3}]}
    given = {
        "anyOf": [{"allOf": [{"equals": False, "claim": "b"}, inner], "authority": f"{HOST}/"}],
        "version": "1.0.0",
    }
    stored = unb64u(policy.encoded(policy.stored_form(encoded(given)))).decode()
    assert stored == (
        '{"version":"1.0.0","anyOf":[{"authority":"https://a.example/","allOf":[{"claim":"b","equals":"false"},'
        '{"anyOf":[{"claim":"x.y","equals":"true"},{"claim":"n","greater":3}]}]}]}'
    )
    assert policy.stored_form(base64.urlsafe_b64encode(stored.encode()).decode()) == json.loads(stored)


def test_plain_base64_white_space_and_padding_are_understood() -> None:
    text = json.dumps(whole(rule(condition("equals", "ü~?>"))), indent=2, ensure_ascii=False).replace("\n", "\r\n")
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        data = encode(text.encode()).decode()
        assert policy.stored_form(data) == policy.stored_form(data.rstrip("=")) == json.loads(text)


@pytest.mark.parametrize("version", ["1.0.0", "1.0"])
def test_known_versions(version: str) -> None:
    assert (
        policy.stored_form(encoded({**whole(rule(condition("equals", 1))), "version": version}))["version"] == version
    )


GOOD = condition("equals", "x")


@pytest.mark.parametrize(
    "document",
    [
        [],
        "text",
        {},
        {"anyOf": [rule(GOOD)]},
        {**whole(rule(GOOD)), "version": "2.0.0"},
        {**whole(rule(GOOD)), "comment": "x"},
        {"version": "1.0.0", "allOf": [rule(GOOD)]},
        whole(),
        {"version": "1.0.0", "anyOf": rule(GOOD)},
        whole("x"),
        whole({"allOf": [GOOD]}),
        whole(rule(GOOD, authority="http://a.example")),
        whole({"authority": 5, "allOf": [GOOD]}),
        whole({"authority": HOST}),
        whole(rule()),
        whole({"authority": HOST, "allOf": [GOOD], "anyOf": [GOOD]}),
        whole({"authority": HOST, "allOf": [GOOD], "note": "x"}),
        whole(rule("x")),
        whole(rule({})),
        whole(rule({"claim": "c"})),
        whole(rule({"equals": "x"})),
        whole(rule({"claim": 5, "equals": "x"})),
        whole(rule({"claim": "c", "equals": "x", "notEquals": "y"})),
        whole(rule({"claim": "c", "matches": "x"})),
        whole(rule({"claim": "c", "Equals": "x"})),
        whole(rule(condition("equals", None))),
        whole(rule(condition("equals", ["x"]))),
        whole(rule(condition("equals", {"x": 1}))),
        whole(rule({"allOf": []})),
        whole(rule({"allOf": [GOOD], "claim": "c"})),
        whole(rule({"authority": HOST, "allOf": [GOOD]})),
    ],
)
def test_what_is_outside_the_grammar_is_refused(document: t.Any) -> None:
    assert refused(encoded(document)).startswith("Key Release Policy: ")


@pytest.mark.parametrize("data", ["", "A", "not json", "e30", base64.b64encode(b"\xff\xfe").decode(), "None"])
def test_data_that_is_no_document_is_refused(data: str) -> None:
    assert refused(data).startswith("Key Release Policy: ")


def test_a_missing_version_is_named() -> None:
    assert refused(encoded({"anyOf": [rule(GOOD)]})) == "Key Release Policy: missing 'version' property."


@pytest.mark.parametrize(
    ("operator", "wanted", "found", "held"),
    [
        ("equals", "a", "a", True),
        ("equals", "a", "A", False),
        ("equals", "a", " a", False),
        ("equals", True, True, True),
        ("equals", True, "true", True),
        ("equals", "true", True, True),
        ("equals", "true", "true", True),
        ("equals", True, "True", False),
        ("equals", "True", True, False),
        ("equals", True, False, False),
        ("equals", True, 1, False),
        ("equals", False, 0, False),
        ("equals", 1, True, False),
        ("equals", 4, 4, True),
        ("equals", 4, 4.0, True),
        ("equals", 4, "4", False),
        ("equals", "4", 4, False),
        ("equals", "a", ["a"], False),
        ("equals", "a", {"a": "a"}, False),
        ("equals", "a", None, False),
        ("notEquals", "a", "b", True),
        ("notEquals", "a", "a", False),
        ("notEquals", True, "true", False),
        ("notEquals", 4, 5, True),
        ("less", 4, 3, True),
        ("less", 4, 4, False),
        ("lessOrEquals", 4, 4, True),
        ("lessOrEquals", 4, 5, False),
        ("greater", 4, 5, True),
        ("greater", 4, 4, False),
        ("greaterOrEquals", 4, 4, True),
        ("greaterOrEquals", 4, 3, False),
        ("greater", 4, "5", False),
        ("greater", "4", 5, False),
        ("greater", 0, True, False),
        ("exists", True, "x", True),
        ("exists", True, None, True),
        ("exists", False, "x", False),
    ],
)
def test_operators(operator: str, wanted: t.Any, found: t.Any, held: bool) -> None:
    assert decide(whole(rule(condition(operator, wanted))), {"c": found}) is held


@pytest.mark.parametrize("operator", ["equals", "notEquals", "less", "lessOrEquals", "greater", "greaterOrEquals"])
@pytest.mark.parametrize("claims", [{}, {"a": {}}, {"a": "text"}, {"a": None}, {"a": [{"b": 5}]}, {"a.b": 5}, {"b": 5}])
def test_a_missing_claim_makes_every_comparison_false(operator: str, claims: dict[str, t.Any]) -> None:
    assert not decide(whole(rule(condition(operator, 5, "a.b"))), claims)


def test_existence_of_a_missing_claim() -> None:
    assert not decide(whole(rule(condition("exists", True, "a.b"))), {"a": {}})
    assert decide(whole(rule(condition("exists", False, "a.b"))), {"a": {}})


def test_paths_step_through_objects_only() -> None:
    document = whole(rule(condition("equals", "x", "a.b-c.d")))
    assert decide(document, {"a": {"b-c": {"d": "x"}}})
    assert not decide(document, {"a": {"B-C": {"d": "x"}}})
    assert not decide(whole(rule(condition("equals", "x", "a.0"))), {"a": ["x"]})


def test_groups() -> None:
    yes, no = condition("equals", 1), condition("equals", 2)
    claims = {"c": 1}
    assert decide(whole(rule(yes, yes)), claims)
    assert not decide(whole(rule(yes, no)), claims)
    assert decide(whole(rule(no, yes, kind="anyOf")), claims)
    assert not decide(whole(rule(no, no, kind="anyOf")), claims)
    assert decide(whole(rule(yes, {"anyOf": [no, {"allOf": [yes, yes]}]})), claims)
    assert not decide(whole(rule(yes, {"anyOf": [no, {"allOf": [yes, no]}]})), claims)
    assert decide(whole(rule(no), rule(yes)), claims)


def test_only_rules_of_the_tokens_authority_count() -> None:
    document = whole(rule(condition("equals", 1), authority="https://b.example"), rule(condition("equals", 2)))
    assert not decide(document, {"c": 1})
    assert decide(document, {"c": 2})
    assert decide(document, {"c": 1, "iss": "https://b.example"})
    stored = policy.stored_form(encoded(document))
    assert policy.decide(stored, {"iss": "https://c.example", "c": 1}) == (False, "no rule for this authority")
    assert policy.decide(stored, {"c": 1}) == (False, "no rule for this authority")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://a.example", "https://a.example/", True),
        ("https://A.Example", "https://a.example", True),
        ("HTTPS://a.example", "https://a.example", True),
        ("https://a.example/t", "https://a.example/t/", True),
        ("https://a.example/t", "https://a.example/T", False),
        ("https://a.example//", "https://a.example", False),
        ("https://a.example/t", "https://a.example", False),
        ("https://a.example:8443", "https://a.example", False),
        ("https://a.example", "http://a.example", False),
        ("https://a.example", "https://a.example.evil.example", False),
        ("https://aa.example", "https://a.example", False),
        ("https://a.example", "", False),
    ],
)
def test_authorities_are_compared_as_urls(one: str, other: str, same: bool) -> None:
    for left, right in ((one, other), (other, one)):
        assert policy.same_authority(left, right) is same


def test_the_audit_clause_names_every_failing_condition_with_wanted_and_found() -> None:
    document = whole(rule(condition("equals", "x", "a"), condition("greater", 3, "b"), condition("equals", True, "d")))
    held, clause = policy.decide(policy.stored_form(encoded(document)), {"iss": HOST, "a": "y", "d": True})
    assert not held
    assert clause == "anyOf[0]: a: wanted equals 'x', found 'y'; b: missing"
