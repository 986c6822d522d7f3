# SPDX-License-Identifier: GPL-3.0-or-later
"""Private attestation providers through the modules: life, policies, signed policies, refusals, releases under their authority."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from pathlib import Path
from typing import Any

import pytest
from integration.site import Site, ready
from labkit import Lab
from policy_signer import Signer

from skrsim.lab.inventory import release_policy
from skrsim.lab.plan import AUTHORITY, LOCATION, RESOURCE_GROUP

_numbers = itertools.count(1)
PERMIT = """version=1.0;
authorizationrules
{
  [type=="secureboot", value==false] => deny();
  => permit();
};
issuancerules
{
};
"""
DENY = "version=1.0;\nauthorizationrules\n{\n};\nissuancerules\n{\n};"


def fresh() -> str:
    """A name that no other test uses."""
    return f"maaskr{next(_numbers)}"


def ensure(lab: Lab, name: str, check: bool = False, **options: Any) -> dict[str, Any]:
    wanted = {"resource_group": RESOURCE_GROUP, "location": LOCATION} | options
    return lab.module("attestation_provider", check=check, diff=True, **(lab.azure() | {"name": name} | wanted))


def info(lab: Lab, **options: Any) -> dict[str, Any]:
    return lab.module("attestation_provider_info", **(lab.azure() | {"resource_group": RESOURCE_GROUP} | options))


def refused(result: dict[str, Any], reason: str, *words: str) -> None:
    assert result.get("failed") and result["reason"] == reason, result
    assert result["cause"] and result["next_step"] and all(word in result["msg"] for word in words), result["msg"]


# --- the provider


def test_create_then_no_change_then_remove(local_lab: Lab) -> None:
    name = fresh()
    mark = local_lab.mark
    planned = ensure(local_lab, name, check=True, tags={"team": "web"}, policies={"AzureGuest": PERMIT})
    assert planned["changed"] and planned["attest_url"] is None and local_lab.writes(mark) == []
    assert planned["diff"]["before"] == {"policies": {}} and planned["diff"]["after"]["trust_model"] == "AAD"
    assert planned["diff"]["after"]["policies"] == {"AzureGuest": PERMIT.strip()}
    made = ensure(local_lab, name, tags={"team": "web"})
    assert made["changed"] and made["provider"]["tags"] == {"team": "web"} and made["provider"]["status"] == "Ready"
    assert made["attest_url"].startswith(f"https://{name}") and made["attest_url"].endswith(".weu.attest.azure.net")
    assert made["issuer"] == made["attest_url"] and made["policies"] == {}
    assert [one["operation"] for one in local_lab.writes(mark)] == ["attestation_put"]
    mark = local_lab.mark
    again = ensure(local_lab, name, tags={"team": "web"}, location="West Europe")
    assert not again["changed"] and "diff" not in again and again["provider"] == made["provider"]
    assert [one["operation"] for one in local_lab.audit(mark, service="arm")] == ["attestation_get"]
    retagged = ensure(local_lab, name, tags={"team": 7})
    assert retagged["changed"] and retagged["diff"]["after"]["tags"] == {"team": "7"}
    assert [one["method"] for one in local_lab.writes(mark)] == ["PATCH"]
    mark = local_lab.mark
    leaving = ensure(local_lab, name, check=True, state="absent")
    assert leaving["changed"] and leaving["diff"]["after"] == {} and local_lab.writes(mark) == []
    gone = ensure(local_lab, name, state="absent")
    assert gone["changed"] and gone["provider"] is None and gone["attest_url"] is None
    assert [one["operation"] for one in local_lab.writes(mark)] == ["attestation_delete"]
    mark = local_lab.mark
    assert not ensure(local_lab, name, state="absent")["changed"] and local_lab.writes(mark) == []


@pytest.mark.parametrize(
    ("options", "reason", "word"),
    [
        ({"name": "maa-web"}, "invalid_input", "name"),
        ({"name": "ab"}, "invalid_input", "name"),
        ({"location": None}, "invalid_input", "location"),
        ({"resource_group": "rg-nowhere"}, "resource_not_found", "rg-nowhere"),
        ({"policies": {"AzureVm": PERMIT}}, "invalid_input", "AzureGuest"),
        ({"policies": {"AzureGuest": " "}}, "invalid_input", "reset_policies"),
        ({"policies": {"AzureGuest": {"a": 1}}}, "invalid_input", "policies"),
        ({"policies": {"AzureGuest": PERMIT}, "reset_policies": ["azureguest"]}, "invalid_input", "once"),
        ({"policy_files": {"AzureGuest": "/nonexistent/policy"}}, "invalid_input", "policy_files"),
        ({"policy_signing_certificates": ["/nonexistent/ca.pem"]}, "invalid_input", "policy_signing_certificates"),
        (
            {"policy_signer_key": "/nonexistent/key", "policy_signer_certificate": "/nonexistent/crt"},
            "invalid_input",
            "policy_signer_key",
        ),
    ],
)
def test_bad_input_writes_nothing(local_lab: Lab, options: dict[str, Any], reason: str, word: str) -> None:
    mark = local_lab.mark
    refused(ensure(local_lab, options.pop("name", fresh()), **options), reason, word)
    assert local_lab.writes(mark) == []


def test_a_name_that_is_taken(local_lab: Lab) -> None:
    name = fresh()
    ensure(local_lab, name)
    refused(ensure(local_lab, name, location="eastus"), "attestation_name_taken", LOCATION)
    with local_lab.fault(
        "status",
        service="arm",
        operation="attestation_put",
        code=409,
        body={"error": {"code": "Conflict", "message": "in use"}},
    ):
        refused(ensure(local_lab, fresh()), "attestation_name_taken", "in use")


# --- policies


def test_policies_are_set_once_and_read_back(local_lab: Lab, tmp_path: Path) -> None:
    name = fresh()
    url = ensure(local_lab, name)["attest_url"]
    mark = local_lab.mark
    planned = ensure(local_lab, name, check=True, policies={"AzureGuest": PERMIT})
    assert planned["changed"] and local_lab.writes(mark) == []
    assert "securebootkeysvalidated" in planned["diff"]["before"]["policies"]["AzureGuest"]  # the default
    assert planned["diff"]["after"]["policies"]["AzureGuest"] == PERMIT.strip()
    made = ensure(local_lab, name, policies={"AzureGuest": PERMIT})
    text = PERMIT.strip()
    assert made["changed"] and made["policies"]["AzureGuest"]["sha256"] == hashlib.sha256(text.encode()).hexdigest()
    assert made["policies"] == planned["policies"] and made["policies"]["AzureGuest"]["default"] is False
    assert [one["operation"] for one in local_lab.writes(mark)] == ["policy_set"]
    assert all(one["host"] == url.removeprefix("https://") for one in local_lab.audit(mark, service="maa"))
    path = tmp_path / "guest.policy"
    path.write_bytes(b"\xef\xbb\xbf" + PERMIT.replace("\n", "\r\n").encode() + b"\r\n\r\n")
    mark = local_lab.mark
    for options in ({"policies": {"azureguest": PERMIT}}, {"policy_files": {"AzureGuest": str(path)}}):
        again = ensure(local_lab, name, **options)
        assert not again["changed"] and "diff" not in again and local_lab.writes(mark) == []
    more = ensure(local_lab, name, policies={"AzureGuest": PERMIT, "TdxVm": DENY, "SevSnpVm": DENY})
    assert more["changed"] and set(more["diff"]["after"]["policies"]) == {"AzureGuest", "TdxVm", "SevSnpVm"}
    assert [one["path"] for one in local_lab.writes(mark)] == ["/policies/TdxVm", "/policies/SevSnpVm"]
    (found,) = info(local_lab, name=name, policies=["AzureGuest", "Tpm"])["providers"]
    assert found["policies"]["AzureGuest"] == {"text": text, **made["policies"]["AzureGuest"]}
    assert found["policies"]["Tpm"]["text"] == "" and found["policies"]["Tpm"]["default"] is True
    assert info(local_lab, name=name)["authority"] == found["authority"] == url


def test_reset(local_lab: Lab) -> None:
    name = fresh()
    ensure(local_lab, name, policies={"AzureGuest": DENY})
    mark = local_lab.mark
    assert ensure(local_lab, name, check=True, reset_policies=["AzureGuest"])["changed"]
    assert local_lab.writes(mark) == []
    back = ensure(local_lab, name, reset_policies=["AzureGuest"])
    assert back["changed"] and back["policies"]["AzureGuest"]["default"] is True
    assert [one["operation"] for one in local_lab.writes(mark)] == ["policy_reset"]
    mark = local_lab.mark
    assert not ensure(local_lab, name, reset_policies=["AzureGuest", "Tpm"])["changed"]
    assert [one["operation"] for one in local_lab.audit(mark, service="maa") if one["method"] != "GET"] == []


@pytest.mark.parametrize(
    ("kind", "text", "reason", "word"),
    [
        ("AzureGuest", "version=1.0;\n[", "attestation_policy_refused", "Offending symbol: '['"),
        ("AzureGuest", "permit()", "attestation_policy_refused", "versionInfo"),
    ],
)
def test_what_the_service_refuses(local_lab: Lab, kind: str, text: str, reason: str, word: str) -> None:
    result = ensure(local_lab, fresh(), policies={kind: text})
    refused(result, reason, word)
    assert result["facts"]["code"] == "PolicyParsingError" and result["facts"]["line"]


def test_a_type_that_a_region_does_not_offer(local_lab: Lab) -> None:
    result = ensure(local_lab, fresh(), location="uksouth", policies={"Tpm": PERMIT})
    refused(result, "attestation_type_fixed", "Tpm attestation is not supported in the 'uksouth' region")


@pytest.mark.parametrize(
    ("fault", "operation", "word"),
    [
        ("bad_signature", "policy_set", "signature does not verify"),
        ("wrong_issuer", "policy_set", "sharedneu"),
        ("expired_token", "policy_set", "expired"),
        ("wrong_hash", "policy_set", "hash"),
        ("wrong_result", "policy_set", "'Removed'"),
        ("bad_signature", "policy_get", "signature does not verify"),
        ("expired_token", "policy_get", "expired"),
    ],
)
def test_false_answers_are_not_believed(local_lab: Lab, fault: str, operation: str, word: str) -> None:
    name = fresh()
    ensure(local_lab, name)
    with local_lab.fault(fault, service="maa", operation=operation):
        refused(ensure(local_lab, name, policies={"AzureGuest": PERMIT}), "attestation_policy_unverified", word)


def test_a_policy_that_reads_back_otherwise(local_lab: Lab) -> None:
    name = fresh()
    ensure(local_lab, name)
    with local_lab.fault("other_policy", service="maa", operation="policy_get"):
        result = ensure(local_lab, name, policies={"AzureGuest": PERMIT})
    refused(result, "attestation_policy_unverified", "reads back otherwise")
    with local_lab.fault("wrong_result", service="maa", operation="policy_reset"):
        refused(ensure(local_lab, name, reset_policies=["AzureGuest"]), "attestation_policy_unverified", "'Updated'")


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"action": "html"}, "service_error"),
        ({"action": "redirect"}, "service_error"),
        ({"action": "status", "code": 403}, "authorization_failed"),
        ({"action": "status", "code": 401}, "authorization_failed"),
        ({"action": "status", "code": 429, "retry_after": 0}, "throttled"),
        ({"action": "truncate_json"}, "service_error"),
    ],
)
def test_wire_faults(local_lab: Lab, fault: dict[str, Any], reason: str) -> None:
    name = fresh()
    ensure(local_lab, name)
    with local_lab.fault(fault.pop("action"), service="maa", operation="policy_get", **fault):
        result = ensure(local_lab, name, policies={"AzureGuest": PERMIT})
    refused(result, reason)
    assert reason != "authorization_failed" or "Attestation Contributor" in result["next_step"]


def test_a_passing_refusal_is_repeated(local_lab: Lab) -> None:
    name = fresh()
    ensure(local_lab, name)
    with local_lab.fault("status", service="maa", operation="policy_set", times=1, code=429):
        assert ensure(local_lab, name, policies={"AzureGuest": PERMIT})["changed"]


# --- signed policies


@pytest.fixture
def signer(tmp_path: Path) -> tuple[Signer, dict[str, Any]]:
    """A policy signer, and the options that name its files."""
    made = Signer()
    (tmp_path / "ca.pem").write_text(made.pem(made.ca))
    (tmp_path / "signer.pem").write_text(made.pem(made.leaf) + made.pem(made.ca))
    key = tmp_path / "signer.key"
    key.touch(mode=0o600)
    key.write_text(made.key_pem("open sesame"))
    options = {
        "policy_signing_certificates": [str(tmp_path / "ca.pem")],
        "policy_signer_key": str(key),
        "policy_signer_certificate": str(tmp_path / "signer.pem"),
        "policy_signer_passphrase": "open sesame",
    }
    return made, options


def test_isolated(local_lab: Lab, signer: tuple[Signer, dict[str, Any]], tmp_path: Path) -> None:
    made, options = signer
    name, unsigned = fresh(), {"policy_signing_certificates": options["policy_signing_certificates"]}
    mark = local_lab.mark
    refused(
        ensure(local_lab, name, policies={"AzureGuest": PERMIT}, **unsigned),
        "attestation_policy_unsigned",
        "Isolated",
    )
    assert local_lab.writes(mark) == []  # the provider was not made for nothing
    result = ensure(local_lab, name, policies={"AzureGuest": PERMIT}, **options)
    assert result["changed"] and result["provider"]["trust_model"] == "Isolated"
    secret = made.key_pem().splitlines()[3]
    assert "open sesame" not in json.dumps(result) and secret not in json.dumps(result)
    assert not ensure(local_lab, name, policies={"AzureGuest": PERMIT}, **options)["changed"]
    assert ensure(local_lab, name, reset_policies=["AzureGuest"], **options)["changed"]
    refused(ensure(local_lab, name, reset_policies=["AzureGuest"]), "attestation_policy_unsigned")
    other = Signer()
    (tmp_path / "ca.pem").write_text(other.pem(other.ca))
    fixed = ensure(local_lab, name, **options)
    refused(fixed, "attestation_trust_model_fixed")
    assert fixed["facts"]["found"] == [hashlib.sha256(made.ca_der).hexdigest()]
    refused(ensure(local_lab, name, policy_signing_certificates=[]), "attestation_trust_model_fixed")


def test_a_signer_that_the_provider_does_not_know(local_lab: Lab, signer: tuple[Signer, dict[str, Any]]) -> None:
    _made, options = signer
    name, other = fresh(), Signer()
    ensure(local_lab, name, **options)
    Path(options["policy_signer_key"]).write_text(other.key_pem())
    Path(options["policy_signer_certificate"]).write_text(other.pem(other.leaf))
    options.pop("policy_signer_passphrase")
    result = ensure(local_lab, name, policies={"AzureGuest": PERMIT}, **options)
    refused(result, "attestation_policy_refused", "Unable to find issuer certificate")


def test_a_plain_provider_stays_plain(local_lab: Lab, signer: tuple[Signer, dict[str, Any]]) -> None:
    _made, options = signer
    name = fresh()
    ensure(local_lab, name, policy_signing_certificates=[])
    refused(ensure(local_lab, name, **options), "attestation_trust_model_fixed")
    certificates = options.pop("policy_signing_certificates")
    signed = ensure(local_lab, name, policies={"AzureGuest": PERMIT}, **options)  # welcome all the same
    assert signed["changed"] and certificates


# --- the list


def test_info_lists_a_group(local_lab: Lab) -> None:
    names = sorted((fresh(), fresh()))
    for name in names:
        ensure(local_lab, name)
    mark = local_lab.mark
    found = info(local_lab)
    assert set(names) <= {one["name"] for one in found["providers"]} and found["authority"] is None
    assert all(one["authority"] == one["attest_url"] and one["status"] == "Ready" for one in found["providers"])
    assert local_lab.writes(mark) == [] and local_lab.audit(mark, service="maa") == []
    refused(info(local_lab, name="maaabsent"), "resource_not_found")
    refused(info(local_lab, policies=["AzureVm"]), "invalid_input", "AzureGuest")
    both = info(local_lab, location=LOCATION)
    assert both["failed"] and "mutually exclusive" in both["msg"]


# --- releases under a private authority


@pytest.fixture(scope="module")
def authority(shared_lab: Lab) -> tuple[str, str]:
    """Name and address of a provider."""
    name = fresh()
    return name, str(ensure(shared_lab, name, policies={"AzureGuest": PERMIT})["attest_url"])


@pytest.fixture(scope="module")
def site(shared_lab: Lab, authority: tuple[str, str]) -> Site:
    return ready(shared_lab, vms=("cvm-01", "cvm-02"), release_policy=release_policy(authority[1]))


def test_release_under_a_private_authority(local_lab: Lab, site: Site, authority: tuple[str, str]) -> None:
    """The vault fetches the provider's own keys; the shared provider of the region is another authority."""
    mark = local_lab.mark
    result = site.release(attestation_url=authority[1])
    assert not result.get("failed") and result["public_key_sha256"] == site.key["public_key_sha256"], result
    hosts = {one["host"] for one in local_lab.audit(mark, service="maa")}
    assert hosts == {authority[1].removeprefix("https://")}
    refused(site.release(attestation_url=AUTHORITY), "authority_mismatch", authority[1], AUTHORITY)
    refused(site.release(attestation_url=AUTHORITY, preflight="off"), "authority_mismatch")


def test_the_policy_can_be_pinned_by_its_hash(local_lab: Lab, authority: tuple[str, str]) -> None:
    """``policy_hash`` is what tokens carry as x-ms-policy-hash, so that a release policy can ask for the attestation policy."""
    hashed = ensure(local_lab, authority[0], policies={"AzureGuest": PERMIT})["policies"]["AzureGuest"]["policy_hash"]
    policy = release_policy(authority[1])
    policy["anyOf"][0]["allOf"].append({"claim": "x-ms-policy-hash", "equals": hashed})
    pinned = ready(local_lab, release_policy=policy)
    assert not pinned.release(attestation_url=authority[1]).get("failed")
    ensure(local_lab, authority[0], policies={"AzureGuest": PERMIT + "// changed"})
    try:
        result = pinned.release(attestation_url=authority[1], dest=pinned.destination("cvm-01") + ".2")
        refused(result, "policy_not_met")
        assert [one["claim"] for one in result["facts"]["failing"]] == ["x-ms-policy-hash"]
    finally:
        ensure(local_lab, authority[0], policies={"AzureGuest": PERMIT})


def test_a_policy_that_denies(local_lab: Lab, site: Site, authority: tuple[str, str]) -> None:
    dest = site.destination("cvm-02") + ".denied"
    ensure(local_lab, authority[0], policies={"AzureGuest": DENY})
    try:
        mark = local_lab.mark
        refused(site.release("cvm-02", attestation_url=authority[1], dest=dest), "attestation_policy_denied")
        assert local_lab.audit(mark, service="keyvault") == [] and not os.path.exists(dest)
        assert local_lab.audit(mark, service="maa")[-1]["clause"] == "maa.15.policy"
    finally:
        ensure(local_lab, authority[0], policies={"AzureGuest": PERMIT})
    assert not site.release("cvm-02", attestation_url=authority[1], dest=dest).get("failed")


def test_a_removed_authority_releases_nothing(local_lab: Lab) -> None:
    name = fresh()
    url = ensure(local_lab, name)["attest_url"]
    site = ready(local_lab, release_policy=release_policy(url))
    assert not site.release(attestation_url=url).get("failed")
    ensure(local_lab, name, state="absent")
    refused(site.release(attestation_url=url), "network_unreachable")
