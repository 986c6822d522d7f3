# SPDX-License-Identifier: GPL-3.0-or-later
"""Evaluation of a policy against claims: the vault's rules, and the hints that explain a refusal."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.confidential.azure_skr.plugins.module_utils.policy import evaluate, model

ISSUER = "https://sharedweu.weu.attest.azure.net"
CLAIMS: dict[str, Any] = {
    "iss": ISSUER,
    "secureboot": True,
    "x-ms-attestation-type": "azurevm",
    "level": 3,
    "list": ["a"],
    "nothing": None,
    "x-ms-isolation-tee": {
        "x-ms-attestation-type": "sevsnpvm",
        "x-ms-sevsnpvm-is-debuggable": False,
        "x-ms-runtime": {
            "vm-configuration": {"secure-boot": True, "vmUniqueId": "0F3B0000-AAAA-4BBB-8CCC-DDDDEEEEFFFF"}
        },
    },
}
TEE = "x-ms-isolation-tee"


def verdict(*members: dict[str, Any], kind: str = "allOf", authority: str = ISSUER, **claims: Any) -> evaluate.Verdict:
    policy = model.parse({"version": "1.0.0", "anyOf": [{"authority": authority, kind: list(members)}]})
    return evaluate.evaluate(policy, {**CLAIMS, **claims})


def one(path: str, value: Any, operator: str = "equals") -> evaluate.Verdict:
    return verdict({"claim": path, operator: value})


@pytest.mark.parametrize(
    ("path", "operator", "value", "holds"),
    [
        (f"{TEE}.x-ms-attestation-type", "equals", "sevsnpvm", True),
        (f"{TEE}.x-ms-attestation-type", "equals", "SEVSNPVM", False),
        (f"{TEE}.x-ms-attestation-type", "notEquals", "tdxvm", True),
        (f"{TEE}.x-ms-attestation-type", "notEquals", "sevsnpvm", False),
        (f"{TEE}.x-ms-runtime.vm-configuration.secure-boot", "equals", True, True),
        # Booleans compare by their text form, either way round.
        ("secureboot", "equals", "true", True),
        ("secureboot", "equals", "True", False),
        ("secureboot", "equals", False, False),
        ("secureboot", "equals", 1, False),
        (f"{TEE}.x-ms-sevsnpvm-is-debuggable", "equals", "false", True),
        # Numbers compare by value, and only with numbers.
        ("level", "equals", 3, True),
        ("level", "equals", 3.0, True),
        ("level", "equals", "3", False),
        ("level", "less", 4, True),
        ("level", "less", 3, False),
        ("level", "lessOrEquals", 3, True),
        ("level", "greater", 3, False),
        ("level", "greater", 2.5, True),
        ("level", "greaterOrEquals", 3, True),
        ("level", "less", 10**400, True),
        ("level", "less", "4", False),
        ("x-ms-attestation-type", "greater", 1, False),
        ("secureboot", "greater", 0, False),
        # An object, a list or null equals nothing.
        (TEE, "equals", "sevsnpvm", False),
        ("list", "equals", "a", False),
        ("nothing", "equals", "None", False),
        ("nothing", "equals", "null", False),
        # A missing claim, or a path through something that is no object, fulfils nothing.
        ("absent", "equals", "x", False),
        ("absent", "notEquals", "x", False),
        ("absent", "less", 1, False),
        ("secureboot.deeper", "equals", True, False),
        ("list.0", "equals", "a", False),
        ("absent", "exists", True, False),
        ("absent", "exists", False, True),
        ("secureboot", "exists", True, True),
        ("secureboot", "exists", "true", True),
        ("secureboot", "exists", False, False),
    ],
)
def test_operators(path: str, operator: str, value: Any, holds: bool) -> None:
    found = one(path, value, operator)
    assert found.satisfied is holds
    assert found.reason == (None if holds else "policy_not_met")
    assert len(found.failing) == (0 if holds else 1)


@pytest.mark.parametrize(
    ("authority", "matches"),
    [
        (ISSUER, True),
        (ISSUER + "/", True),
        (ISSUER.replace("shared", "SHARED"), True),
        (ISSUER + ":8443", False),
        (ISSUER + "/path", False),
        ("https://sharedeus2.eus2.attest.azure.net", False),
        (ISSUER + ".evil.example", False),
    ],
)
def test_authority_is_the_issuer(authority: str, matches: bool) -> None:
    found = verdict({"claim": "secureboot", "equals": True}, authority=authority)
    assert found.satisfied is matches
    assert found.reason == (None if matches else "authority_mismatch")


def test_authority_mismatch_names_both_hosts_and_no_claim() -> None:
    found = verdict({"claim": "absent", "equals": 1}, authority="https://sharedeus2.eus2.attest.azure.net")
    assert found.failing == () and found.near_misses == ()
    assert "sharedeus2.eus2.attest.azure.net" in found.sentence() and ISSUER in found.sentence()


@pytest.mark.parametrize("issuer", ["", None, 7, "not a url", "https://[broken"])
def test_token_without_usable_issuer_matches_no_rule(issuer: Any) -> None:
    found = verdict({"claim": "secureboot", "equals": True}, iss=issuer)
    assert not found.satisfied and found.reason == "authority_mismatch"


@pytest.mark.parametrize(
    ("path", "value", "hint"),
    [
        ("secureboot", "yes", "type_differs"),
        ("level", "3", "type_differs"),
        (TEE, "sevsnpvm", "type_differs"),
        (f"{TEE}.x-ms-attestation-type", "SevSnpVm", "case_differs"),
        (f"{TEE}.x-ms-attestation-type", "tdxvm", None),
        ("x-ms-sevsnpvm-is-debuggable", False, f"found_at:{TEE}.x-ms-sevsnpvm-is-debuggable"),
        ("Secureboot", True, "found_at:secureboot"),
        ("vm.vmuniqueid", "x", f"found_at:{TEE}.x-ms-runtime.vm-configuration.vmUniqueId"),
        ("never-heard-of", 1, "missing"),
    ],
)
def test_hint_of_a_failing_condition(path: str, value: Any, hint: str | None) -> None:
    (outcome,) = one(path, value).failing
    assert outcome.hint == hint


def test_place_that_would_satisfy_the_condition_comes_first() -> None:
    claims = {"tee": {"kind": "wrong", "deep": {"kind": "right"}}}
    (outcome,) = verdict({"claim": "kind", "equals": "right"}, **claims).failing
    assert outcome.hint == "found_at:tee.deep.kind"


def test_match_by_text_form_alone_is_a_near_miss() -> None:
    """The vault takes it, but nobody should rely on it: text "true" in the policy, boolean true in the token."""
    found = one("secureboot", "true")
    assert found.satisfied
    assert [(outcome.path, outcome.hint) for outcome in found.near_misses] == [("secureboot", "type_differs")]


def test_failing_conditions_come_in_the_policys_order() -> None:
    found = verdict(
        {"claim": "z", "equals": 1},
        {"claim": "secureboot", "equals": True},
        {"anyOf": [{"claim": "y", "equals": 1}, {"claim": "level", "less": 2}]},
        {"claim": "a", "equals": 1},
    )
    assert [outcome.path for outcome in found.failing] == ["z", "y", "level", "a"]


def test_alternative_that_was_not_needed_is_no_failure() -> None:
    either = {"anyOf": [{"claim": "absent", "equals": 1}, {"claim": "secureboot", "equals": True}]}
    found = verdict(either, {"claim": "level", "equals": 4})
    assert not found.satisfied
    assert [outcome.path for outcome in found.failing] == ["level"]


def test_any_rule_is_enough_and_only_the_issuers_rules_explain() -> None:
    rules = [
        {"authority": "https://sharedneu.neu.attest.azure.net", "allOf": [{"claim": "foreign", "equals": 1}]},
        {"authority": ISSUER, "allOf": [{"claim": "level", "equals": 4}]},
        {"authority": ISSUER, "anyOf": [{"claim": "level", "equals": 3}]},
    ]
    whole = evaluate.evaluate(model.parse({"version": "1.0.0", "anyOf": rules}), CLAIMS)
    assert (
        whole.satisfied and whole.failing == () and [branch.satisfied for branch in whole.trace] == [False, False, True]
    )
    refused = evaluate.evaluate(model.parse({"version": "1.0.0", "anyOf": rules[:2]}), CLAIMS)
    assert refused.reason == "policy_not_met" and [outcome.path for outcome in refused.failing] == ["level"]


def test_sentence_and_dictionary_tell_wanted_and_found() -> None:
    """A debuggable VM under a policy that wants none."""
    tee = {**CLAIMS[TEE], "x-ms-sevsnpvm-is-debuggable": True}
    found = verdict({"claim": f"{TEE}.x-ms-sevsnpvm-is-debuggable", "equals": False}, **{TEE: tee})
    assert f"claim {TEE}.x-ms-sevsnpvm-is-debuggable wanted false, found true" in found.sentence()
    shown = json.loads(json.dumps(found.as_dict()))
    assert shown["reason"] == "policy_not_met" and shown["issuer"] == ISSUER
    assert shown["failing"][0]["wanted"] is False and shown["failing"][0]["found"] is True
    assert shown["failing"][0]["found_type"] == "boolean"
    assert "found nothing (missing)" in one("absent", 1).sentence()
    assert "wanted greater 5, found 3" in one("level", 5, "greater").sentence()


def test_subclasses_of_text_and_dictionaries_are_what_they_are() -> None:
    """Templating engines hand over subclasses of the plain types."""

    class Text(str):
        pass

    class Mapping(dict[str, Any]):
        pass

    claims = Mapping({"iss": Text(ISSUER), "a": Mapping({"b": Text("x")})})
    rule = Mapping({"authority": Text(ISSUER), "allOf": [Mapping({"claim": Text("a.b"), "equals": "x"})]})
    found = evaluate.evaluate(model.parse(Mapping({"version": Text("1.0.0"), "anyOf": [rule]})), claims)
    assert found.satisfied and not found.near_misses
