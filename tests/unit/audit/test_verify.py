# SPDX-License-Identifier: GPL-3.0-or-later
"""Verification off line: each check has a record that fails it and nothing before it."""

from __future__ import annotations

import base64
import hashlib
import json
import typing as t

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from unit.audit import audit_fakes as fakes
from unit.guest import release_fakes
from unit.guest.release_fakes import refused

from ansible_collections.confidential.azure_skr.plugins.module_utils.audit import (
    bundle,
    record_checks,
    signature,
    verify,
)

Change = t.Callable[[t.Dict[str, t.Any]], None]
NAME = "audit.tar.gz"


def by_hash(content: bytes) -> verify.Trust:
    return verify.Trust(hash_list=signature.hash_line(content, NAME))


def checked(content: bytes, **trust: t.Any) -> verify.Result:
    found = by_hash(content)
    return verify.verify(content, NAME, verify.Trust(**{"hash_list": found.hash_list, **trust}))


def failed(result: verify.Result) -> t.List[t.Tuple[str, str]]:
    every = [*result.checks, *(check for one in result.records for check in one["checks"])]
    return [(check.name, str(check.reason)) for check in every if check.state == "failed"]


def test_a_release_and_a_refusal_verify() -> None:
    found = checked(fakes.packed())
    assert found.verdict == "verified", found.text()
    assert found.counts() == {"records": 2, "verified": 2, "failed": 0, "incomplete": 0, "security_events": 1}
    assert found.by_reason() == {"policy_not_met": ["web-01"]} or found.by_reason() == {"released": ["web-01"]}
    for one in found.records:
        numbers = [check.number for check in one["checks"]]
        assert numbers == sorted(numbers) and numbers[0] == 5 and numbers[-1] == 14
    release = next(one for one in found.records if one["outcome"] == "released")
    assert [check.number for check in release["checks"]] == list(range(5, 15))
    assert {check.state for check in release["checks"]} == {"ok"}
    assert "VERIFIED: 2 records of 1 hosts" in found.text() and "SECURITY EVENT" in found.text()
    assert [one["severity"] for one in found.findings()] == ["warning", "info"]
    json.dumps(found.result())


def test_every_check_has_its_number_for_good() -> None:
    assert record_checks.NUMBERS == {
        "hash": 1, "signature": 1, "archive": 2, "manifest": 3, "documents": 4, "layout": 5, "token_signature": 6, "token_issuer": 7,
        "token_time": 8, "claims": 9, "policy_sha256": 10, "policy_verdict": 11, "key": 12, "key_version": 13, "outcome": 14,
    }  # fmt: skip


# --- the bundle


@pytest.mark.parametrize("place", [0.0, 0.3, 0.6, 0.99])
def test_an_altered_bundle_is_rejected(place: float) -> None:
    content = fakes.packed()
    trust = by_hash(content)
    at = int(place * (len(content) - 1))
    altered = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
    found = verify.verify(altered, NAME, trust)
    assert failed(found) == [("hash", "bundle_hash_mismatch")] and found.records == []
    assert found.summary().startswith("REJECTED") and found.verdict == "failed"
    with refused("bundle_hash_mismatch"):
        found.accepted()


def test_signatures_of_every_kind() -> None:
    content = fakes.packed()
    private = ed25519.Ed25519PrivateKey.generate()
    for key in (release_fakes.rsa_key("auditor"), release_fakes.ec_key("auditor"), private):
        pem = signature.pem(key.public_key()).encode()
        good = signature.sign(key, content)
        assert verify.verify(content, NAME, verify.Trust(pem, good)).verdict == "verified"
        for content_now, signed in (
            (content + b"x", good),
            (content, good[:-1] + bytes([good[-1] ^ 1])),
            (content, None),
            (content, b""),
        ):
            found = verify.verify(content_now, NAME, verify.Trust(pem, signed))
            assert failed(found) == [("signature", "bundle_signature_invalid")] and found.records == []
    other = signature.pem(release_fakes.rsa_key("auditor").public_key()).encode()
    assert failed(verify.verify(content, NAME, verify.Trust(other, signature.sign(private, content))))


def test_a_certificate_stands_for_its_key_and_weak_keys_for_nothing() -> None:
    content = fakes.packed()
    certificate = release_fakes.chain()[-1]
    assert isinstance(signature.public(release_fakes.pem(certificate)), signature.crypto.rsa.RSAPublicKey)
    weak = signature.crypto.rsa.generate_private_key(65537, 1024)
    for pem in (
        signature.pem(weak.public_key()).encode(),
        b"no key",
        b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
    ):
        with refused("bundle_key_invalid"):
            verify.verify(content, NAME, verify.Trust(pem, b""))


def test_passphrases() -> None:
    key = release_fakes.ec_key("auditor")
    form = serialization.PrivateFormat.PKCS8
    pem = key.private_bytes(serialization.Encoding.PEM, form, serialization.BestAvailableEncryption(b"open sesame"))
    assert isinstance(signature.private(pem, "open sesame"), signature.crypto.ec.EllipticCurvePrivateKey)
    for passphrase in (None, "", "wrong words"):
        with refused("bundle_key_invalid") as told:
            signature.private(pem, passphrase)
        assert "wrong words" not in told.value.message
    plain = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    with refused("bundle_key_invalid"):
        signature.private(plain, "needless")


def test_without_anything_to_compare_with_it_is_incomplete() -> None:
    found = verify.verify(fakes.packed(), NAME, verify.Trust())
    assert found.verdict == "incomplete" and failed(found) == [] and "INCOMPLETE" in found.text()


@pytest.mark.parametrize("kind", ["records", "jwks", "control", "hosts", "metrics"])
def test_a_file_that_is_not_the_manifests(kind: str) -> None:
    files = fakes.files()
    path = next(path for path in sorted(files) if path.startswith(kind))
    manifest = bundle.load(bundle.pack(files, fakes.CREATED)).manifest
    for altered in (
        {**files, path: files[path].replace(b"1", b"2", 1) + b" "},
        {p: c for p, c in files.items() if p != path},
        {**files, f"{kind}/more": b""},
    ):
        content = verify.bundles.archive.pack({**altered, "manifest.json": json.dumps(manifest).encode()})
        found = checked(content)
        assert failed(found) == [("manifest", "bundle_altered")] and found.records == [] and kind in found.summary()


def test_what_is_no_bundle() -> None:
    for content in (b"", b"PK", bundle.archive.pack({"a": b""}), bundle.archive.pack({"manifest.json": b"[]"}),
                    bundle.archive.pack({"manifest.json": b'{"files": {}, "schema": "azure-skr/evidence-bundle/9"}'})):  # fmt: skip
        assert failed(checked(content)) == [("archive", "bundle_invalid")]
    files = fakes.files()
    content = bundle.pack({**files, "control/keys.json": b"{}"}, fakes.CREATED)
    assert failed(checked(content)) == [("documents", "bundle_invalid")]


# --- the records: somebody who can make the manifest anew changes one thing


def claim(found: t.Dict[str, t.Any], **claims: t.Any) -> None:
    found["attestation"]["claims"].update(claims)


def retoken(key: str = "authority", **claims: t.Any) -> Change:
    def change(found: t.Dict[str, t.Any]) -> None:
        claim(found, **claims)
        parts = fakes.token(found["attestation"]["claims"], key).split(".")
        found["attestation"]["token"] = dict(zip(("protected", "payload", "signature"), parts))

    return change


def put(path: str, value: t.Any) -> Change:
    def change(found: t.Dict[str, t.Any]) -> None:
        *parents, name = path.split(".")
        for parent in parents:
            found = found[parent]
        found[name] = value

    return change


OTHER, BASE = "f" * 32, f"{release_fakes.VAULT}/keys/app"
RECORDS: t.List[t.Tuple[str, Change, t.List[t.Tuple[str, str]]]] = [
    ("another authority's signature", retoken("another"), [("token_signature", "token_signature")]),
    ("token altered", put("attestation.token.payload", base64.urlsafe_b64encode(b"{}").decode().rstrip("=")), [("token_signature", "token_signature")]),
    ("issuer", retoken(iss="https://other.weu.attest.azure.net"), [("token_issuer", "token_issuer"), ("policy_verdict", "record_verdict_differs")]),
    ("before the token", put("times.attested", fakes.iso(fakes.NOW - 7200)), [("token_time", "token_time")]),
    ("after the token", put("times.attested", fakes.iso(fakes.NOW + 90 * 86400)), [("token_time", "token_time")]),
    ("claims", lambda found: claim(found, added="x"), [("claims", "record_claims_differ")]),
    ("claim of the policy", lambda found: claim(found, secureboot=False), [("claims", "record_claims_differ"), ("policy_verdict", "record_verdict_differs")]),
    ("policy's digest", put("policy.sha256", "0" * 64), [("policy_sha256", "record_policy_hash")]),
    ("policy", put("policy.document", fakes.policy(other="y")), [("policy_sha256", "record_policy_hash")]),
    ("policy is none", put("policy.document", {"version": "1.0.0"}), [("policy_sha256", "policy_invalid")]),
    ("decision", put("policy.satisfied", False), [("policy_verdict", "record_verdict_differs")]),
    ("trace", lambda found: found["policy"]["trace"][0]["conditions"][0].update(found=False), [("policy_verdict", "record_verdict_differs")]),
    ("another key", put("key.kid", f"{release_fakes.VAULT}/keys/other/{release_fakes.VERSION}"), [("key", "record_key_mismatch")]),
    ("another vault", put("key.kid", f"https://evil.vault.azure.net/keys/app/{release_fakes.VERSION}"), [("key", "record_key_mismatch")]),
    ("version apart from the kid", put("key.version", OTHER), [("key", "record_key_mismatch")]),
    ("version not asked for", put("request.key_version", OTHER), [("key", "record_key_mismatch")]),
    ("version unknown to the vault", lambda found: found["key"].update(kid=f"{BASE}/{OTHER}", version=OTHER), [("key_version", "record_key_mismatch")]),
    ("a release without a key", put("key", None), [("outcome", "record_inconsistent")]),
    ("outcome", put("outcome", "refused"), [("outcome", "record_inconsistent")]),
    ("reason", put("reason", "policy_not_met"), [("outcome", "record_inconsistent")]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "change", "wanted"), RECORDS, ids=[row[0] for row in RECORDS])
def test_a_record_that_does_not_hold(name: str, change: Change, wanted: t.List[t.Tuple[str, str]]) -> None:
    record = fakes.made()
    change(record)
    found = checked(fakes.packed(record))
    assert failed(found) == wanted, found.text()
    assert (
        found.verdict == "failed"
        and "FAILED: 1 of 1" in found.summary()
        and found.findings()[0]["severity"] == "failed"
    )


def test_a_security_event_cannot_be_unmarked() -> None:
    record = fakes.refused()
    assert record["security_event"] is True and record["outcome"] == "refused"
    record["security_event"] = False
    assert failed(checked(fakes.packed(record))) == [("outcome", "record_inconsistent")]


def test_a_live_policy_that_is_not_met_and_a_release_all_the_same() -> None:
    record = fakes.made(wanted_policy=fakes.policy(secureboot=False))
    assert failed(checked(fakes.packed(record))) == []  # the policy given need not be the vault's
    record["policy"]["source"] = "live"
    assert failed(checked(fakes.packed(record))) == [("outcome", "record_inconsistent")]


def test_a_record_under_another_name() -> None:
    record = fakes.made()
    files = fakes.files(record)
    path = next(path for path in files if path.startswith("records/"))
    files["records/web-01/20200101T000000Z-000000.json"] = files.pop(path)
    assert failed(checked(bundle.pack(files, fakes.CREATED))) == [("layout", "record_invalid")]


# --- whose keys


def test_the_auditors_own_keys_count_alone() -> None:
    content = fakes.packed(fakes.made())
    found = checked(content, key_sets={"": fakes.key_set()})
    assert found.verdict == "verified" and found.keys_from == "the auditor"
    assert checked(content, key_sets={release_fakes.ISSUER: fakes.key_set()}).verdict == "verified"
    assert failed(checked(content, key_sets={"": fakes.key_set("another")})) == [("token_signature", "token_signature")]
    # A whole fleet that was told of a forged authority: its records agree among themselves.
    forged = fakes.made()
    retoken("another")(forged)
    forged["attestation"]["signing_key"]["x5c"] = fakes.key_set("another")["keys"][0]["x5c"]
    assert checked(fakes.packed(forged)).verdict == "verified"
    assert failed(checked(fakes.packed(forged), key_sets={"": fakes.key_set()})) == [
        ("token_signature", "token_signature")
    ]
    other = checked(content, key_sets={"https://other.attest.azure.net": fakes.key_set()})
    assert other.verdict == "incomplete" and "no signing keys" in other.text()


def test_two_authorities_need_names() -> None:
    second = fakes.made()
    second["id"] = "20261125T120000Z-00000b"
    second["attestation"]["authority"] = "https://other.weu.attest.azure.net"
    content = fakes.packed(fakes.made(), second)
    with refused("invalid_input") as told:
        checked(content, key_sets={"": fakes.key_set()})
    assert "AUTHORITY=FILE" in told.value.message
    # Each authority is checked by its own keys alone.
    assert ("token_issuer", "token_issuer") in failed(checked(content))


def test_a_try_without_attestation_or_policy() -> None:
    failure = release_fakes.SkrFailure("imds_unreachable", "Nobody there.")
    record = fakes.made(failure, attestation=None, known=None, attested=None, answered=None)
    assert record["outcome"] == "failed" and record["attestation"] is None and record["policy"] is None
    found = checked(fakes.packed(record))
    assert found.verdict == "verified", found.text()
    record = fakes.made()
    record["attestation"]["token"] = None
    assert checked(fakes.packed(record)).verdict == "incomplete"


def test_the_hash_list() -> None:
    content = fakes.packed()
    digest = hashlib.sha256(content).hexdigest()
    for text in (
        f"{digest}  {NAME}\n",
        f"{digest.upper()} *{NAME}\n",
        f"{'0' * 64}  other\n{digest}  some/where/{NAME}\n",
        f"{digest}  renamed.tar.gz\n",
    ):
        assert verify.verify(content, NAME, verify.Trust(hash_list=text)).verdict == "verified"
    for text in ("", "nonsense", f"{'0' * 64}  {NAME}\n", f"{digest}  a\n{digest}  b\n"):
        assert failed(verify.verify(content, NAME, verify.Trust(hash_list=text))) == [("hash", "bundle_hash_mismatch")]
