# SPDX-License-Identifier: GPL-3.0-or-later
"""Release scenarios through the module: delivery, wrong authority, debug bit, near misses, dates, tampering."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from integration.site import Site, ready
from labkit import Lab

from skrsim.lab.inventory import release_policy
from skrsim.lab.plan import AUTHORITY


def fingerprint(path: str) -> str:
    key = serialization.load_pem_private_key(Path(path).read_bytes(), None)
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return hashlib.sha256(key.public_key().public_bytes(serialization.Encoding.DER, form)).hexdigest()


@pytest.fixture(scope="module")
def site(shared_lab: Lab) -> Site:
    return ready(shared_lab, vms=("cvm-01", "cvm-02", "cvm-03"))


def test_delivered_file_and_second_run(local_lab: Lab, site: Site) -> None:
    """AC-11: memory-backed, mode 0400, the vault's key; the second run changes nothing, rotation replaces atomically."""
    result = site.release()
    assert not result.get("failed"), result
    assert result["public_key_sha256"] == site.key["public_key_sha256"] == fingerprint(result["dest"])
    assert stat.S_IMODE(os.stat(result["dest"]).st_mode) == 0o400
    inode = os.stat(result["dest"]).st_ino
    again = site.release()
    assert not again["changed"] and os.stat(result["dest"]).st_ino == inode
    assert again["counts"]["http_requests"] == 3  # attestation, identity token, release
    rotated = site.ensure_key(rotate=True)
    assert rotated["changed"] and len(rotated["versions"]) == 2
    renewed = site.release()
    assert renewed["changed"] and renewed["kid"] == rotated["kid"]
    assert os.stat(result["dest"]).st_ino != inode
    assert fingerprint(result["dest"]) == rotated["public_key_sha256"]
    assert list(Path(result["dest"]).parent.glob(".*")) == []
    pinned = site.release(key_version=result["key_version"], dest=result["dest"] + ".old")
    assert pinned["public_key_sha256"] == site.key["public_key_sha256"]


def test_check_mode_predicts_and_touches_nothing(local_lab: Lab, site: Site) -> None:
    dest = site.destination("cvm-02") + ".check"
    predicted = site.release("cvm-02", check=True, dest=dest)
    assert predicted["changed"] and not os.path.exists(dest)
    assert predicted["diff"]["after"]["mode"] == "0400" and predicted["diff"]["before"] == {
        "dest": dest,
        "exists": False,
    }


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"dest": "/var/tmp/skr-never.pem"}, "not_memory_backed"),
        ({"mode": "0644"}, "invalid_input"),
        ({"owner": "nobody-of-this-name"}, "invalid_input"),
        ({"dest": "relative.pem"}, "invalid_input"),
        ({"vault_uri": "http://kv.vault.azure.net"}, "invalid_input"),
        ({"key_version": "latest"}, "invalid_input"),
        ({"attestation_url": "sharedweu"}, "invalid_input"),
        ({"release_policy": {"version": "1.0.0", "anyOf": []}}, "policy_invalid"),
        ({"tpm_device": "/nonexistent/tpm"}, "tpm_missing"),
        ({"ca_path": "/nonexistent/ca.pem"}, "invalid_input"),
    ],
)
def test_bad_input_names_the_option_and_asks_nobody(
    local_lab: Lab, site: Site, options: dict[str, Any], reason: str
) -> None:
    mark = local_lab.mark
    result = site.release(**options)
    assert result["failed"] and result["reason"] == reason, result
    assert "wanted" in result["msg"] or reason == "tpm_missing"
    assert local_lab.mark == mark


@pytest.mark.parametrize("algorithm", ["CKM_RSA_AES_KEY_WRAP", "RSA_AES_KEY_WRAP_256", "RSA_AES_KEY_WRAP_384"])
def test_all_wrap_algorithms(local_lab: Lab, site: Site, algorithm: str) -> None:
    result = site.release("cvm-02", wrap_algorithm=algorithm, dest=site.destination("cvm-02") + algorithm)
    assert not result.get("failed") and result["changed"], result


@pytest.mark.parametrize("curve", ["P-256", "P-384", "P-521"])
def test_ec_keys(local_lab: Lab, curve: str) -> None:
    site = ready(local_lab, key_type="EC-HSM", curve=curve)
    result = site.release()
    assert not result.get("failed"), result
    assert result["key_type"] == "EC-HSM" and fingerprint(result["dest"]) == site.key["public_key_sha256"]


def test_wrong_regional_authority(local_lab: Lab, site: Site) -> None:
    """AC-12: pre-flight names both hosts and the setting; forced past it, the service's refusal maps to the same reason."""
    other = "https://sharedeus2.eus2.attest.azure.net"
    for preflight in ("required", "off"):
        mark = local_lab.mark
        result = site.release("cvm-02", attestation_url=other, preflight=preflight)
        assert result["reason"] == "authority_mismatch", result
        for text in (other, AUTHORITY, "attestation_url"):
            assert text in result["msg"]
        asked = local_lab.audit(mark, service="keyvault", operation="key_release")
        assert len(asked) == (0 if preflight == "required" else 1)


def test_debug_enabled_vm(local_lab: Lab, site: Site) -> None:
    """AC-13: policy_not_met with failing claim, wanted and got; no retry; marked as a security event."""
    for preflight in ("required", "off"):
        mark = local_lab.mark
        result = site.release("cvm-03", preflight=preflight)
        assert result["reason"] == "policy_not_met", result
        (failing,) = [one for one in result["facts"]["failing"] if one["claim"].endswith("is-debuggable")]
        assert (failing["wanted"], failing["found"]) == (False, True)
        assert result["facts"]["security_event"] is True
        asked = local_lab.audit(mark, service="keyvault", operation="key_release")
        assert len(asked) == (0 if preflight == "required" else 1)
    assert "is-debuggable: wanted equals 'false', found True" in asked[0]["clause"]
    assert not os.path.exists(site.destination("cvm-03"))


def test_near_misses(local_lab: Lab, site: Site) -> None:
    """AC-15: text for a boolean, and a claim at top level, are named; nothing is sent to the vault."""
    policy = release_policy()
    policy["anyOf"][0]["allOf"] = [
        {"claim": "secureboot", "equals": "true"},
        {"claim": "x-ms-compliance-status", "equals": "azure-compliant-cvm"},
    ]
    mark = local_lab.mark
    result = site.release("cvm-02", release_policy=policy)
    assert result["reason"] == "policy_not_met"
    hints = {miss["claim"]: miss["hint"] for miss in result["facts"]["near_misses"]}
    assert hints == {
        "secureboot": "type_differs",
        "x-ms-compliance-status": "found_at:x-ms-isolation-tee.x-ms-compliance-status",
    }
    assert local_lab.audit(mark, service="keyvault") == []


@pytest.mark.parametrize(
    ("dates", "reason"),
    [
        ({"expires_on": "2020-01-01T00:00:00Z"}, "key_expired"),
        ({"not_before": "2099-01-01T00:00:00Z"}, "key_not_yet_valid"),
    ],
)
def test_dates_are_the_clients_business(local_lab: Lab, dates: dict[str, str], reason: str) -> None:
    """AC-16: the vault releases all the same; the client refuses by default, warns or accepts on request."""
    site = ready(local_lab, **dates)
    mark = local_lab.mark
    refused = site.release()
    assert refused["reason"] == reason and next(iter(dates.values())) in refused["msg"] and refused["facts"]["vm_clock"]
    assert local_lab.audit(mark, operation="key_release")[-1]["decision"] == "allowed"
    assert not os.path.exists(site.destination("cvm-01"))
    warned = site.release(outside_validity="warn")
    assert not warned.get("failed") and any("key" in str(warning) for warning in warned["warnings"])
    assert not site.release(outside_validity="accept").get("failed")


def test_a_key_that_expires_soon_is_warned_of(local_lab: Lab) -> None:
    soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 5 * 86400))
    result = ready(local_lab, expires_on=soon).release()
    assert any("expires" in str(warning) for warning in result["warnings"])


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("tamper", "response_signature_invalid"),
        ("unsigned", "response_signature_invalid"),
        ("swap_key", "response_key_mismatch"),
        ("untrusted_chain", "response_chain_untrusted"),
        ("wrong_name", "response_chain_untrusted"),
        ("wrong_nonce", "response_nonce_mismatch"),
        ("wrong_enc", "wrap_algorithm_mismatch"),
        ("broken_kwp", "unwrap_failed"),
    ],
)
def test_a_false_answer_delivers_nothing(local_lab: Lab, site: Site, fault: str, reason: str) -> None:
    """AC-17: each has its own reason; the old file is untouched."""
    before = site.release("cvm-02")
    assert not before.get("failed")
    old = Path(before["dest"]).read_bytes(), os.stat(before["dest"]).st_ino
    with local_lab.fault(fault, service="keyvault", operation="key_release"):
        result = site.release("cvm-02")
    assert result["failed"] and result["reason"] == reason, result
    assert (Path(before["dest"]).read_bytes(), os.stat(before["dest"]).st_ino) == old
    assert list(Path(before["dest"]).parent.glob(".*")) == []


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("wrong_issuer", "token_issuer"),
        ("expired_token", "token_time"),
        ("bad_signature", "token_signature"),
        ("wrong_nonce", "token_nonce"),
        ("foreign_key", "token_binding"),
        ("bad_tag", "envelope_invalid"),
        ("plain_jwt", "attestation_protocol"),
        ("policy_denied", "attestation_policy_denied"),
    ],
)
def test_a_false_attestation_answer_is_refused(local_lab: Lab, site: Site, fault: str, reason: str) -> None:
    mark = local_lab.mark
    with local_lab.fault(fault, service="maa"):
        result = site.release("cvm-02")
    assert result["failed"] and result["reason"] == reason, result
    assert local_lab.audit(mark, service="keyvault") == []


def test_key_rotation_of_the_authority(local_lab: Lab, site: Site) -> None:
    """The authority drops the key that signed the token before the vault looks: refused once, attested anew, released."""
    assert not site.release("cvm-02").get("failed")  # so that the client remembers the old key
    with local_lab.fault("rotate_keys", service="maa", times=1):
        result = site.release("cvm-02")
    assert not result.get("failed"), result


@pytest.mark.parametrize(
    ("service", "operation"), [("maa", "attest_azureguest"), ("keyvault", "key_release"), ("imds", "imds_token")]
)
def test_redirects_are_refused(local_lab: Lab, site: Site, service: str, operation: str) -> None:
    with local_lab.fault("redirect", service=service, operation=operation):
        result = site.release("cvm-02")
    assert result["failed"] and result["reason"] == "redirect_refused", result
