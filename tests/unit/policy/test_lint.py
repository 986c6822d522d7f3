# SPDX-License-Identifier: GPL-3.0-or-later
"""Lint: each code is found where it belongs and nowhere else, with severity, place and advice."""

from __future__ import annotations

from typing import Any

import pytest
from unit.policy import published
from unit.policy.tokens import ISSUER, TEE, VM

from ansible_collections.confidential.azure_skr.plugins.module_utils.policy import build, lint, model

BOUND = {"claim": f"{TEE}.x-ms-runtime.vm-configuration.vmUniqueId", "equals": VM.upper()}
SNP = {"claim": f"{TEE}.x-ms-attestation-type", "equals": "sevsnpvm"}
TDX = {"claim": f"{TEE}.x-ms-attestation-type", "equals": "tdxvm"}
COMPLIANT = {"claim": f"{TEE}.x-ms-compliance-status", "equals": "azure-compliant-cvm"}
NO_DEBUG = {"claim": f"{TEE}.x-ms-sevsnpvm-is-debuggable", "equals": False}
GOOD = [SNP, COMPLIANT, NO_DEBUG, BOUND]
PRIVATE = "https://mine.weu.attest.azure.net"


def findings(*members: dict[str, Any], authority: str = ISSUER, kind: str = "allOf") -> list[tuple[str, str, str]]:
    policy = model.parse({"version": "1.0.0", "anyOf": [{"authority": authority, kind: list(members)}]})
    return [(one.code, one.severity, one.path) for one in lint.lint(policy)]


def test_a_bound_policy_without_mistakes_has_no_findings() -> None:
    assert findings(*GOOD) == []


@pytest.mark.parametrize(
    ("member", "expected"),
    [
        ({"claim": "secureboot", "equals": "true"}, ("boolean_as_text", "warning", "anyOf[0].allOf[4].equals")),
        ({"claim": "secureboot", "equals": "yes"}, ("value_type", "error", "anyOf[0].allOf[4].equals")),
        ({"claim": "secureboot", "equals": 1}, ("value_type", "error", "anyOf[0].allOf[4].equals")),
        ({"claim": f"{TEE}.x-ms-sevsnpvm-tee-svn", "equals": "0"}, ("value_type", "error", "anyOf[0].allOf[4].equals")),
        ({"claim": TEE, "equals": "x"}, ("value_type", "error", "anyOf[0].allOf[4].equals")),
        (
            {"claim": f"{TEE}.x-ms-sevsnpvm-launchmeasurement", "equals": "AB"},
            ("value_type", "error", "anyOf[0].allOf[4].equals"),
        ),
        (
            {"claim": "x-ms-compliance-status", "equals": "azure-compliant-cvm"},
            ("claim_at_wrong_level", "error", "anyOf[0].allOf[4].claim"),
        ),
        ({"claim": f"{TEE}.secureboot", "equals": True}, ("claim_at_wrong_level", "error", "anyOf[0].allOf[4].claim")),
        ({"claim": "SecureBoot", "equals": True}, ("claim_at_wrong_level", "error", "anyOf[0].allOf[4].claim")),
        ({"claim": "no-such", "equals": 1}, ("claim_unknown", "warning", "anyOf[0].allOf[4].claim")),
        ({"claim": "x-ms-azurevm-pcr7", "equals": "x"}, ("pcr_is_not_a_claim", "error", "anyOf[0].allOf[4].claim")),
        ({"claim": "pcrs.7", "equals": "x"}, ("pcr_is_not_a_claim", "error", "anyOf[0].allOf[4].claim")),
        (
            {"claim": "x-ms-runtime.client-payload.role", "equals": "web"},
            ("client_payload_proves_nothing", "warning", "anyOf[0].allOf[4]"),
        ),
        (
            {"claim": f"{TEE}.x-ms-sevsnpvm-snpfw-svn", "greaterOrEquals": 8},
            ("operator_not_field_confirmed", "info", "anyOf[0].allOf[4]"),
        ),
        ({"claim": "secureboot", "exists": True}, ("operator_not_field_confirmed", "info", "anyOf[0].allOf[4]")),
        (
            {"anyOf": [{"claim": "secureboot", "equals": True}]},
            ("nesting_not_portable", "warning", "anyOf[0].allOf[4]"),
        ),
        (COMPLIANT, ("duplicate_condition", "warning", "anyOf[0].allOf[4]")),
        (TDX, ("contradiction", "error", "anyOf[0]")),
    ],
)
def test_a_mistake_is_found_with_its_place(member: dict[str, Any], expected: tuple[str, str, str]) -> None:
    assert findings(*GOOD, member) == [expected]


@pytest.mark.parametrize(
    ("members", "severity"),
    [([SNP, COMPLIANT, BOUND], "warning"), ([SNP, BOUND], "error"), ([TDX, {**BOUND, "equals": VM}], "error")],
)
def test_debugging_not_excluded(members: list[dict[str, Any]], severity: str) -> None:
    assert findings(*members) == [("debug_not_excluded", severity, "anyOf[0]")]


def test_a_vm_id_in_the_other_case() -> None:
    assert findings(SNP, COMPLIANT, NO_DEBUG, {**BOUND, "equals": VM}) == [
        ("vm_id_case", "warning", "anyOf[0].allOf[3].equals")
    ]
    tdx = [TDX, COMPLIANT, {"claim": f"{TEE}.tdx_td_attributes_debug", "equals": False}]
    assert findings(*tdx, {**BOUND, "equals": VM}) == []
    assert [one[0] for one in findings(*tdx, BOUND)] == ["vm_id_case"]
    both = [{"authority": ISSUER, "allOf": [*tdx, {**BOUND, "equals": one}]} for one in (VM, VM.upper())]
    assert lint.lint(model.parse({"version": "1.0.0", "anyOf": both})) == []


@pytest.mark.parametrize(
    "unbound",
    [
        [],
        [{"claim": f"{TEE}.x-ms-sevsnpvm-launchmeasurement", "equals": "0a" * 48}],
        [{"claim": f"{TEE}.x-ms-sevsnpvm-hostdata", "equals": "00" * 32}],
        [{"claim": BOUND["claim"], "notEquals": VM.upper()}],
        [{"claim": BOUND["claim"], "exists": True}],
        [{"anyOf": [BOUND, {"claim": "secureboot", "equals": True}]}],
        [{"claim": "x-ms-runtime.client-payload.me", "equals": "mine"}],
    ],
)
def test_satisfied_by_any_tenant(unbound: list[dict[str, Any]]) -> None:
    assert ("satisfied_by_any_tenant", "error", "anyOf[0]") in findings(SNP, COMPLIANT, NO_DEBUG, *unbound)


@pytest.mark.parametrize(
    ("bound", "authority"),
    [
        ([BOUND], ISSUER),
        ([{"claim": f"{TEE}.x-ms-sevsnpvm-hostdata", "equals": "0e" * 32}], ISSUER),
        ([{"anyOf": [BOUND, {**BOUND, "equals": VM.upper()[:-1] + "0"}]}], ISSUER),
        ([{"claim": "my-own-claim", "equals": "web"}], PRIVATE),
    ],
)
def test_bound_to_what_is_mine(bound: list[dict[str, Any]], authority: str) -> None:
    codes = [one[0] for one in findings(SNP, COMPLIANT, NO_DEBUG, *bound, authority=authority)]
    assert "satisfied_by_any_tenant" not in codes


@pytest.mark.parametrize(
    ("authority", "code"),
    [
        (ISSUER + "/", "authority_trailing_slash"),
        ("https://sharedweu.eus.attest.azure.net", "authority_unknown_region"),
        ("https://sharedxyz.xyz.attest.azure.net", "authority_unknown_region"),
        ("https://mine.xyz.attest.azure.net", "authority_unknown_region"),
        ("https://sharedweu.weu.attest.azure.com", "authority_unknown_region"),
        ("https://attest.azure.net", "authority_unknown_region"),
    ],
)
def test_a_doubtful_authority(authority: str, code: str) -> None:
    assert (code, "anyOf[0].authority") in [(one[0], one[2]) for one in findings(*GOOD, authority=authority)]


@pytest.mark.parametrize("authority", [ISSUER, PRIVATE, "https://sharedeus2.eus2.attest.azure.net"])
def test_a_good_authority(authority: str) -> None:
    assert findings(*GOOD, authority=authority) == []


def test_the_same_branch_twice() -> None:
    rule = {"authority": ISSUER, "allOf": GOOD}
    again = {"authority": ISSUER + "/", "allOf": [*reversed(GOOD)]}
    found = lint.lint(model.parse({"version": "1.0.0", "anyOf": [rule, again]}))
    assert [(one.code, one.path) for one in found] == [("duplicate_branch", "anyOf[1]")]


def test_a_policy_that_is_too_large() -> None:
    rules = [{"authority": ISSUER, "allOf": [*GOOD, {"claim": "jti", "equals": f"{n:064x}"}]} for n in range(20)]
    found = lint.lint(model.parse({"version": "1.0.0", "anyOf": rules}))
    assert [one.code for one in found] == ["policy_too_large"]


def test_immutability_needs_a_second_word() -> None:
    policy = model.parse({"version": "1.0.0", "anyOf": [{"authority": ISSUER, "allOf": GOOD}]})
    assert [one.code for one in lint.lint(policy, immutable=True)] == ["immutable_without_confirmation"]
    assert lint.lint(policy, immutable=True, confirmed=True) == []


def test_errors_come_first() -> None:
    severities = [one[1] for one in findings({"claim": "x", "less": 1}, {"claim": "pcr0", "equals": 1})]
    assert severities == sorted(severities, key=lint.SEVERITIES.index) and len(set(severities)) == 3


@pytest.mark.parametrize(
    ("policy", "codes"),
    [
        (published.CVM, {"satisfied_by_any_tenant", "debug_not_excluded"}),
        (
            published.DEFAULT_CVM,
            {"authority_trailing_slash", "claim_at_wrong_level", "satisfied_by_any_tenant", "satisfied_without_tee"},
        ),
        (
            published.DATA_DISK,
            {"authority_trailing_slash", "debug_not_excluded", "nesting_not_portable", "satisfied_by_any_tenant"},
        ),
        (published.TRUSTED_LAUNCH, {"satisfied_without_tee"}),
    ],
)
def test_published_policies(policy: dict[str, Any], codes: set[str]) -> None:
    assert {one.code for one in lint.lint(model.parse(policy))} == codes


@pytest.mark.parametrize("tee", ["sevsnpvm", "tdxvm"])
def test_what_the_builder_makes_has_no_mistakes(tee: str) -> None:
    made = build.release_policy({"authority": ISSUER, "tee_type": tee, "vm_unique_ids": [VM]})
    assert lint.lint(model.parse(made)) == []


def test_every_code_is_documented_and_found_in_these_tests() -> None:
    source = open(__file__, encoding="utf-8").read()
    assert [code for code in lint.CODES if f'"{code}"' not in source] == []
