# SPDX-License-Identifier: GPL-3.0-or-later
"""The field check's judgement: states, what is told, and that nothing that identifies gets into a report."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.confidential.azure_skr.plugins.filter import field_check as plugin
from ansible_collections.confidential.azure_skr.plugins.module_utils.field import report
from ansible_collections.confidential.azure_skr.plugins.module_utils.field.fact import FACTS, fact

ID = "78e51061-7311-48a3-82ce-6f447ed4d57b"


def vm(name: str, lifetime: int = 28800, **more: Any) -> dict[str, Any]:
    attested = {"issued_at": 0, "expires_at": lifetime, "claims": {"x-ms-attestation-type": "azurevm"}}
    return {"name": name, "attestation": attested, **more}


def row(found: dict[str, Any], name: str) -> dict[str, Any]:
    return next(one for one in found["facts"] if one["fact"] == name)


def test_a_fact_differs_where_one_vm_does() -> None:
    found = row(report.report({"hosts": [vm("a"), vm("b", 3600)]}), "token_lifetime")
    assert (found["state"], found["found"], found["differing_hosts"]) == ("differs", ["1 hours"], ["vm-2"])
    assert row(report.report({"hosts": [vm("a"), vm("b")]}), "token_lifetime")["state"] == "agrees"


@pytest.mark.parametrize(
    ("result", "why"),
    [
        (None, "was not run"),
        ({"unreachable": True}, "not reached"),
        ({"msg": "no", "reason": "tpm_busy"}, "tpm_busy"),
        ({"msg": f"module of {ID} broke"}, "no reason code"),
        ({"issued_at": "soon", "expires_at": None}, "another form"),
    ],
)
def test_what_was_not_seen_is_not_checked_and_says_why(result: Any, why: str) -> None:
    found = row(report.report({"hosts": [{"name": "a", "attestation": result}]}), "token_lifetime")
    assert found["state"] == "not_checked" and why in found["why"] and ID not in found["why"]


def test_without_hosts_nothing_is_checked() -> None:
    found = report.report({"hosts": []})
    assert found["counts"] == {"differs": 0, "agrees": 0, "not_checked": len(FACTS)}


def test_nothing_that_identifies_is_told_unless_asked_for() -> None:
    words = [
        ID,
        "/subscriptions/x/resourceGroups/rg-secret",
        "https://kv-ours.vault.azure.net/keys/k",
        "10.1.2.3",
        "web-01",
        "ab" * 20,
    ]
    trial = {"key": {}, "key_again": {"msg": "; ".join(words), "reason": "service_error"}}
    observed = {"hosts": [vm("web-01")], "trial": trial, "names": ["kv-ours", ""]}
    found = report.report(observed)
    told = str(found)
    assert row(found, "policy_read_back")["state"] == "differs"
    assert not [word for word in [*words, "kv-ours", "rg-secret"] if word in told], told
    assert all(word in str(report.report(observed, identifiers=True)) for word in words)


def test_a_report_cannot_be_broken_by_what_was_found() -> None:
    claims = {"x-ms-attestation-type": "a|b`c\n| <script>[x](y)"}
    text = report.report({"hosts": [{"name": "a", "attestation": {"claims": claims}}]})["markdown"]
    line = next(one for one in text.splitlines() if "token_type" in one)
    assert line.count("|") - line.count("\\|") == 5 and "<script>" not in line.replace("\\<", "")


def test_a_fact_stands_once() -> None:
    with pytest.raises(ValueError, match="twice"):
        fact("token_type", "x", "y")(lambda _observed: pytest.fail("not asked"))


@pytest.mark.parametrize("given", ["text", {"hosts": "a"}, {"hosts": [1]}, {}])
def test_another_input_is_refused_in_words(given: Any) -> None:
    with pytest.raises(AnsibleFilterError, match="field_check: "):
        plugin.field_check(given)


def test_the_version_is_that_of_the_collection() -> None:
    assert plugin.about.VERSION == plugin.field_check({"hosts": []})["version"] != "unknown"
