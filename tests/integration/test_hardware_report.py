# SPDX-License-Identifier: GPL-3.0-or-later
"""What each kind of VM can prove, through the modules: SNP, Turin, a provider's key, TDX and Trusted Launch."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from integration.site import ready
from labkit import Lab, lab

from ansible_collections.confidential.azure_skr.plugins.module_utils.guest.commands import verify as command
from skrsim.lab.inventory import release_policy
from skrsim.lab.plan import AUTHORITY

SNP, TURIN, DEBUG, TDX, PLAIN = "cvm-01", "cvm-02", "cvm-03", "cvm-04", "cvm-05"
KINDS = ["--tdx", TDX, "--trusted-launch", PLAIN, "--turin", TURIN, "--debug", DEBUG]


@pytest.fixture(scope="module")
def kinds() -> Iterator[Lab]:
    with lab("--vms", "5", "--door", "local", *KINDS) as made:
        yield made


@pytest.fixture
def clean(kinds: Lab, tmp_path: Path) -> Iterator[Lab]:
    """The lab without faults, and with nothing remembered of other tests."""
    kinds.call("fault_clear")
    yield kinds
    kinds.call("fault_clear")


def report(lab: Lab, vm: str, **options: Any) -> dict[str, Any]:
    return lab.module("hardware_report_info", **{**lab.guest(vm), **options})


def attest(lab: Lab, vm: str, **options: Any) -> dict[str, Any]:
    return lab.module("attestation_info", **{**lab.guest(vm), "attestation_url": AUTHORITY, **options})


def states(found: dict[str, Any]) -> dict[str, str]:
    return {check["name"]: check["state"] for check in found["checks"]}


def told(found: dict[str, Any]) -> str:
    """The warnings of a module, in whatever form this ansible-core gives them."""
    return json.dumps(found.get("warnings", []))


# --- the good cases


@pytest.mark.parametrize(("vm", "product"), [(SNP, "Milan"), (TURIN, "Turin")])
def test_snp(clean: Lab, vm: str, product: str) -> None:
    found = report(clean, vm, require_tee="snp")
    assert found["verified"] and not found["changed"], found
    facts = found["evidence"]
    assert (facts["tee"], facts["isolation"], facts["product"]) == ("snp", "SevSnp", product)
    assert (facts["reported_tcb"]["fmc"] is not None) == (product == "Turin")
    assert facts["event_log"]["matches_pcrs"] is True and facts["event_log"]["secure_boot"] is True
    assert states(found)["ak_issuer"] == "not checked" and facts["ak_cert_issuer_status"] == "unverified issuer"
    assert found["counts"]["tpm_commands"] <= 12


@pytest.mark.parametrize("version", [4, 5])
def test_tdx(clean: Lab, version: int) -> None:
    clean.call("vm_set", name=TDX, values={"quote_version": version})
    found = report(clean, TDX, require_tee="tdx")
    assert found["verified"], found["text"]
    facts = found["evidence"]
    assert (facts["tee"], facts["quote_version"], facts["debuggable"]) == ("tdx", version, False)
    assert facts["fmspc"] == "00806f050000" and states(found)["collateral"] == "not checked"
    assert found["counts"]["http_requests"] == 1
    clean.call("vm_set", name=TDX, values={"quote_version": 4})


def test_trusted_launch_is_labelled(clean: Lab) -> None:
    """Nothing but the AK certificate vouches for its TPM, so without its authority there is no proof."""
    found = report(clean, PLAIN)
    assert (found["evidence"]["tee"], found["evidence"]["isolation"]) == ("none", "TrustedLaunch")
    assert found["verdict"] == "incomplete" and found["reasons"] == [] and states(found)["hardware"] == "not checked"
    assert states(found)["event_log_pcrs"] == states(found)["quote_signature"] == "ok"
    assert report(clean, PLAIN, require_tee="confidential")["reasons"] == ["not_a_cvm"]


def test_check_mode_and_again(clean: Lab) -> None:
    first = clean.module("hardware_report_info", check=True, diff=True, **clean.guest(SNP))
    again = report(clean, SNP)
    assert first["verified"] and again["verified"] and not first["changed"] and not again["changed"]


@pytest.mark.parametrize("vm", [SNP, TDX])
def test_evidence_for_an_auditor(clean: Lab, vm: str, tmp_path: Path) -> None:
    """Fresh by nonce and user data; verified again on another machine, with nothing but files."""
    found = report(clean, vm, nonce="c0ffee", user_data="ab" * 64, include_evidence=True)
    assert found["verified"] and found["evidence"]["user_data"] == "ab" * 64, found["text"]
    (tmp_path / "evidence.json").write_text(json.dumps(found["document"]))
    parser = argparse.ArgumentParser()
    command.add(parser)
    roots = clean.variables["skr_report_roots_path"]
    words = ["--evidence", str(tmp_path / "evidence.json"), "--user-data", "ab" * 64, "--quote-nonce", "c0ffee"]
    status, text = command.run(vars(parser.parse_args([*words, "--roots", roots])))
    assert status == 0 and text.startswith("VERIFIED"), text
    status, text = command.run(vars(parser.parse_args(words)))
    assert status == 1 and "pinned" in text, "the lab's roots are nobody's by default"


# --- what is wrong is told


def test_a_debuggable_vm(clean: Lab) -> None:
    assert report(clean, DEBUG)["reasons"] == ["report_debug"]
    assert report(clean, DEBUG, allow_debug=True)["verified"]


def test_the_technology_that_is_insisted_on(clean: Lab) -> None:
    assert report(clean, SNP, require_tee="tdx")["reasons"] == ["tee_mismatch"]
    assert attest(clean, SNP, require_tee="tdx")["reason"] == "tee_mismatch"
    assert attest(clean, TDX, require_tee="snp")["reason"] == "tee_mismatch"
    assert attest(clean, PLAIN, require_tee="confidential")["reason"] == "not_a_cvm"


@pytest.mark.parametrize(
    ("fault", "reason"), [("stale_tcb", "vcek_tcb"), ("foreign_vcek", "vcek_chip"), ("foreign_root", "vcek_chain")]
)
def test_certificates_of_others(clean: Lab, fault: str, reason: str, tmp_path: Path) -> None:
    with clean.fault(fault, service="thim", operation="certification"):
        found = report(clean, SNP, cache_dir=str(tmp_path))
    assert found["reasons"][0] == reason and states(found)["hcl_binding"] == "ok", found["text"]
    if fault == "stale_tcb":
        (check,) = (one for one in found["checks"] if one.get("reason") == "vcek_tcb")
        assert check["facts"]["direction"] == "lower"


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("bad_signature", "td_quote_signature"),
        ("unbound_key", "td_quote_key"),
        ("foreign_root", "pck_chain"),
        ("other_report_data", "td_quote_binding"),
        ("truncated", "td_quote_malformed"),
    ],
)
def test_quotes_that_do_not_verify(clean: Lab, fault: str, reason: str) -> None:
    with clean.fault(fault, service="thim", operation="td_quote"):
        found = report(clean, TDX)
        assert found["reasons"] == [reason], found["text"]
        assert attest(clean, TDX)["reason"] == reason


def test_a_host_that_gives_nothing(clean: Lab, tmp_path: Path) -> None:
    with clean.fault("status", service="imds", operation="thim_certification", code=400):
        found = report(clean, SNP, cache_dir=str(tmp_path))
    assert found["verdict"] == "incomplete" and not found["verified"] and "answered 400" in found["summary"], found[
        "text"
    ]


def test_a_log_that_does_not_lead_to_the_registers(clean: Lab, tmp_path: Path) -> None:
    log = bytearray(Path(clean.guest(SNP)["event_log_path"]).read_bytes())
    other = Path(clean.guest(TURIN)["event_log_path"]).read_bytes()
    assert other
    place = log.index(b"\x0b\x00", 80) + 2  # the first digest of the first event
    log[place] ^= 1
    (tmp_path / "log").write_bytes(log)
    found = report(clean, SNP, event_log_path=str(tmp_path / "log"))
    assert found["reasons"] == ["eventlog_mismatch"] and found["evidence"]["event_log"]["differing_pcrs"]


# --- a provider's key


def test_a_report_signed_by_the_providers_key(clean: Lab, tmp_path: Path) -> None:
    clean.call("vm_set", name=SNP, values={"vlek": True})
    try:
        found = report(clean, SNP, cache_dir=str(tmp_path))
        assert found["verified"] and found["evidence"]["signing_key"] == "VLEK", found["text"]
        assert found["evidence"]["provider"]
        # It passes here; the lab's attestation service takes reports of chips' own keys only.
        assert attest(clean, SNP, cache_dir=str(tmp_path))["reason"] == "attestation_refused"
    finally:
        clean.call("vm_set", name=SNP, values={"vlek": False})


@pytest.mark.parametrize(
    ("version", "size", "generation"), [(2, 2048, "legacy"), (3, 2600, "usual"), (5, 2900, "current")]
)
def test_versions_sizes_and_generations(clean: Lab, version: int, size: int, generation: str) -> None:
    before = clean.call("vm_platform", name=SNP)
    changed = {"report_version": version, "report_size": size, "generation": generation}
    try:
        clean.call("vm_set", name=SNP, values=changed)
        found = report(clean, SNP)
        assert found["verified"] and found["evidence"]["report_version"] == version, found["text"]
    finally:
        clean.call("vm_set", name=SNP, values={name: before[name] for name in changed})


# --- attestation of each kind


def test_guest_attestation_of_tdx(clean: Lab) -> None:
    found = attest(clean, TDX, nonce="mine")
    assert (found["tee_type"], found["compliance_status"]) == ("tdxvm", "azure-compliant-cvm"), found
    assert found["evidence"]["mrtd"] == found["claims"]["x-ms-isolation-tee"]["tdx_mrtd"]
    assert found["counts"]["create_primary"] == 1 and found["counts"]["device_opens"] == 1


def test_guest_attestation_of_trusted_launch(clean: Lab) -> None:
    found = attest(clean, PLAIN)
    assert found["validated"] and found["tee_type"] is None and "x-ms-isolation-tee" not in found["claims"]
    assert found["evidence"]["tee"] == "none" and found["secure_boot"] is True


@pytest.mark.parametrize(("vm", "kind"), [(SNP, "sevsnpvm"), (TDX, "tdxvm")])
def test_platform_attestation(clean: Lab, vm: str, kind: str) -> None:
    found = attest(clean, vm, attestation_type="platform", nonce="mine", user_data="07" * 64)
    assert found["tee_type"] == kind and found["claims"]["nonce"] == "mine", found
    assert found["claims"]["x-ms-runtime"]["user-data"].lower() == "07" * 64
    assert found["attestation_type"] == "platform"


def test_platform_attestation_of_nothing(clean: Lab) -> None:
    assert attest(clean, PLAIN, attestation_type="platform")["reason"] == "not_a_cvm"
    found = attest(clean, SNP, attestation_type="platform", client_payload={"build": "7"})
    assert found["reason"] == "invalid_input" and "client_payload" in found["msg"]


def test_other_pcrs_are_warned_of(clean: Lab) -> None:
    found = report(clean, SNP, pcrs=[7, 4, 11])
    assert found["verified"] and list(found["evidence"]["pcrs"]) == ["4", "7", "11"]
    assert "pcrs is not 0 to 7" in told(attest(clean, SNP, pcrs=[0, 7]))


# --- releases


def test_releases_of_each_kind(clean: Lab) -> None:
    """A TDX VM gets the key within the same costs as an SNP VM; a Trusted Launch VM does not meet the policy."""
    site = ready(clean, vms=(SNP, TDX, PLAIN), release_policy=release_policy(tdx=True))
    for vm, tee in ((SNP, "snp"), (TDX, "tdx")):
        site.release(vm)  # the first one fetches what is remembered afterwards
        found = site.release(vm, require_tee=tee)
        assert not found.get("failed"), found
        assert found["evidence"]["tee"] == tee
        counts = found["counts"]
        assert counts["create_primary"] == counts["device_opens"] == 1
        assert counts["tpm_commands"] <= 18 and counts["http_requests"] <= 4, counts
    assert site.release(PLAIN)["reason"] == "policy_not_met"
    assert site.release(PLAIN, require_tee="confidential")["reason"] == "not_a_cvm"


# --- the AK certificate


def test_renewal_on_trusted_launch_is_stored(clean: Lab) -> None:
    clean.call("vm_ak_certificate", name=PLAIN, days=20)
    found = attest(clean, PLAIN)
    assert found["evidence"]["ak_cert_days_left"] in (19, 20) and "days left" in told(found)
    found = attest(clean, PLAIN, renew_ak_certificate="when_due")
    assert found["evidence"]["ak_cert_days_left"] > 300, found
    mark = clean.mark
    found = attest(clean, PLAIN, renew_ak_certificate="when_due")
    assert found["evidence"]["ak_cert_days_left"] > 300
    assert clean.audit(mark, operation="thim_ak_renewal") == [], "it was written back"


def test_renewal_on_a_confidential_vm_serves_once(clean: Lab) -> None:
    """Only the paravisor writes its index; an expired certificate has a way out all the same."""
    clean.call("vm_ak_certificate", name=TDX, days=-1)
    found = attest(clean, TDX)
    assert found["reason"] == "ak_cert_expired" and "renew_ak_certificate" in found["next_step"]
    assert report(clean, TDX)["reasons"] == ["ak_cert_expired"]
    found = attest(clean, TDX, renew_ak_certificate="when_due")
    assert found["evidence"]["ak_cert_days_left"] > 300, found
    assert "this attestation only" in told(found)
    clean.call("vm_ak_certificate", name=TDX, days=365)


def test_a_renewal_that_fails_is_a_warning(clean: Lab) -> None:
    clean.call("vm_ak_certificate", name=SNP, days=20)
    with clean.fault("status", service="imds", operation="thim_ak_renewal", code=400):
        found = attest(clean, SNP, renew_ak_certificate="when_due")
    assert found["validated"] and "was not renewed" in told(found), found
    clean.call("vm_ak_certificate", name=SNP, days=365)


# --- bad input


@pytest.mark.parametrize(
    ("options", "option"),
    [
        ({"user_data": "xyz"}, "user_data"),
        ({"user_data": "00" * 65}, "user_data"),
        ({"nonce": ""}, "nonce"),
        ({"pcrs": [24]}, "pcrs"),
        ({"ak_roots_path": "/no/such/file"}, "ak_roots_path"),
        ({"report_roots_path": "/no/such/file"}, "report_roots_path"),
    ],
)
def test_bad_input(clean: Lab, options: dict[str, Any], option: str) -> None:
    found = report(clean, SNP, **options)
    assert found["failed"] and found["reason"] == "invalid_input" and found["facts"]["option"] == option
