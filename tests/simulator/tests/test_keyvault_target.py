# SPDX-License-Identifier: GPL-3.0-or-later
"""The attestation token of a release: one refusal text for all that is wrong with it; the audit log knows what it was."""

from __future__ import annotations

import hashlib
import typing as t

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap
from vault_caller import (
    AUTHORITY,
    POLICY,
    TEE,
    Authority,
    VaultLab,
    b64u,
    encoded,
    opened,
    public_jwk,
    rsa_key,
    unwrapped,
)

from skrsim.core.app import App
from skrsim.core.messages import Response

UNVERIFIED = "Target environment attestation statement cannot be verified."
UNMET = "Target environment attestation does not meet key release policy requirements."


@pytest.fixture
def lab(app: App) -> VaultLab:
    made = VaultLab(app)
    made.key()
    return made


def denied(message: str) -> dict[str, t.Any]:
    return {"error": {"code": "Forbidden", "message": message, "innererror": {"code": "AccessDenied"}}}


# --- refusals about the token: one text for all, and the audit log knows which


def _tokens(authority: Authority) -> dict[str, tuple[str, str]]:
    claims = authority.claims()
    now = claims["iat"]
    good = authority.token()
    head, body, signature = good.split(".")
    changed = encoded({**claims, "secureboot": False})
    other = rsa_key("somebody else")
    unsigned = f"{encoded({'alg': 'none', 'kid': authority.kid})}.{body}."
    hmac = f"{encoded({'alg': 'HS256', 'kid': authority.kid})}.{body}.{b64u(hashlib.sha256(b'x').digest())}"
    no_kid = f"{encoded({'alg': 'RS256'})}.{body}.{signature}"
    return {
        "two parts": (f"{head}.{body}", "release.malformed"),
        "four parts": (good + ".x", "release.malformed"),
        "five parts, as of an encrypted token": (good + ".x.y", "release.malformed"),
        "not base64": (f"{head}.!.{signature}", "release.malformed"),
        "claims are a list": (f"{head}.{encoded([1])}.{signature}", "release.malformed"),
        "header is a number": (f"{encoded(5)}.{body}.{signature}", "release.malformed"),
        "no exp": (authority.token(exp=None), "release.malformed"),
        "no nbf": (authority.token(nbf=None), "release.malformed"),
        "no iss": (authority.token(iss=None), "release.malformed"),
        "no kid": (no_kid, "release.malformed"),
        "alg none": (unsigned, "release.algorithm"),
        "alg HS256": (hmac, "release.algorithm"),
        "alg RS384": (authority.sign(claims, algorithm=hashes.SHA384(), alg="RS384"), "release.algorithm"),
        "unknown kid": (authority.sign(claims, kid="other"), "release.unknown_kid"),
        "claims changed": (f"{head}.{changed}.{signature}", "release.signature"),
        "other key, known kid": (authority.sign(claims, other), "release.signature"),
        "other hash": (authority.sign(claims, algorithm=hashes.SHA512()), "release.signature"),
        "no signature": (f"{head}.{body}.", "release.signature"),
        "expired": (authority.token(nbf=now - 7200, exp=now - 1), "release.time"),
        "not yet valid": (authority.token(nbf=now + 900), "release.time"),
    }


def test_each_bad_token_is_refused_for_its_own_reason_with_the_one_text(lab: VaultLab) -> None:
    for case, (token, clause) in _tokens(lab.authority).items():
        answer = lab.release(token=token)
        assert answer.status == 403, case
        assert answer.document == denied(UNVERIFIED), case
        assert answer.clause == clause, case
        assert answer.audit["decision"] == "refused", case
        assert "Retry-After" not in answer.headers, case


def test_a_token_ends_with_its_lifetime(lab: VaultLab) -> None:
    token = lab.authority.token()
    lab.world.clock.advance(28790)
    assert lab.release(token=token).status == 200
    lab.world.clock.advance(20)
    assert lab.release(token=token).clause == "release.time"


def test_a_signing_key_that_was_rotated_away_verifies_nothing_more(lab: VaultLab) -> None:
    token = lab.authority.token()
    renamed = [{**lab.authority.entries[0], "kid": "signing-key-2"}]
    lab.authority.entries = renamed + lab.authority.entries  # both published for a while
    assert lab.release(token=token).status == 200
    lab.authority.entries = renamed
    assert lab.release(token=token).clause == "release.unknown_kid"


def test_a_published_key_counts_only_with_its_certificate(lab: VaultLab) -> None:
    entry = lab.authority.entries[0]
    bare = {name: value for name, value in entry.items() if name != "x5c"}
    bare |= public_jwk(lab.authority.key, lab.authority.kid)
    for entries, clause in (
        ([bare], "release.unknown_kid"),
        ([{**entry, "x5c": []}], "release.unknown_kid"),
        ([{**entry, "x5c": ["AAAA"]}], "release.x5c"),
        ([{**entry, "x5c": [5]}], "release.x5c"),
        (["text"], "release.unknown_kid"),
        ("text", "release.unknown_kid"),
        ([], "release.unknown_kid"),
    ):
        lab.authority.entries = entries
        answer = lab.release()
        assert (answer.document, answer.clause) == (denied(UNVERIFIED), clause), entries


def test_the_vault_fetches_the_authoritys_keys_over_the_network(lab: VaultLab) -> None:
    before = lab.world.audit.last
    assert lab.release().status == 200
    seen = [(r["host"], r["operation"]) for r in lab.world.audit.records(before)]
    assert seen == [(AUTHORITY, "openid"), (AUTHORITY, "certs"), ("v.vault.azure.net", "key_release")]


def test_an_authority_that_cannot_be_reached_or_talks_nonsense_verifies_nothing(lab: VaultLab) -> None:
    html = Response(200, b"<html>sign in</html>", {"Content-Type": "text/html"})
    elsewhere = Response.of({"jwks_uri": "https://nowhere.example/certs"})
    plain = Response.of({"jwks_uri": f"http://{AUTHORITY}/certs"})
    for pages in (
        {"openid": Response.of({"error": "x"}, 503)},
        {"openid": html},
        {"openid": Response.of({"issuer": "x"})},
        {"openid": Response.of([])},
        {"openid": elsewhere},
        {"openid": plain},
        {"certs": html},
        {"certs": Response.of({"error": "x"}, 503)},
        {"certs": Response(200)},
    ):
        lab.authority.pages = pages
        answer = lab.release()
        assert answer.document == denied(UNVERIFIED), pages
        assert answer.clause in ("release.discovery", "release.authority_unreachable"), pages
    lab.authority.pages = {}
    lab.app.services.remove(lab.authority)
    assert lab.release().clause == "release.authority_unreachable"


# --- refusals by policy


def test_each_condition_refuses_when_it_alone_is_false_or_missing(lab: VaultLab) -> None:
    for change, path, wanted, found in (
        ({"isolation_tee__x-ms-attestation-type": "tdxvm"}, f"{TEE}.x-ms-attestation-type", "'sevsnpvm'", "'tdxvm'"),
        ({"isolation_tee__x-ms-compliance-status": None}, f"{TEE}.x-ms-compliance-status", "", "missing"),
        ({"isolation_tee__x-ms-sevsnpvm-is-debuggable": True}, f"{TEE}.x-ms-sevsnpvm-is-debuggable", "'false'", "True"),
        ({"secureboot": False}, "secureboot", "'true'", "False"),
        ({"secureboot": "True"}, "secureboot", "'true'", "'True'"),
        ({"secureboot": 1}, "secureboot", "'true'", "1"),
        ({"secureboot": [True]}, "secureboot", "'true'", "[True]"),
        ({"secureboot": {"on": True}}, "secureboot", "'true'", "{"),
        ({"isolation_tee": "x"}, f"{TEE}.x-ms-attestation-type", "", "missing"),
    ):
        answer = lab.release(token=lab.authority.token(**t.cast(dict[str, t.Any], change)))
        assert answer.status == 403
        assert answer.document == denied(UNMET), change
        assert answer.clause.startswith("release.policy: anyOf[0]: "), change
        assert all(word in answer.clause for word in (path, wanted, found)), (change, answer.clause)
        assert answer.audit["principal"] == lab.officer.object_id
    true_as_text = lab.authority.token(**{"secureboot": "true", "isolation_tee__x-ms-sevsnpvm-is-debuggable": "false"})
    assert lab.release(token=true_as_text).status == 200


def test_the_answer_does_not_tell_which_condition_failed(lab: VaultLab) -> None:
    one = lab.release(token=lab.authority.token(secureboot=False))
    two = lab.release(token=lab.authority.token(**{"isolation_tee__x-ms-attestation-type": "tdxvm"}))
    assert one.document == two.document
    assert one.clause != two.clause


def test_a_token_of_an_authority_that_the_policy_does_not_name_is_refused_without_asking_it(
    lab: VaultLab, app: App
) -> None:
    stranger = Authority(lab.world, "stranger.example")
    app.services.append(stranger)
    before = lab.world.audit.last
    for issuer in (stranger.url, f"https://{AUTHORITY}/tenant", f"https://{AUTHORITY}:8443", f"http://{AUTHORITY}"):
        answer = lab.release(token=lab.authority.token(iss=issuer))
        assert answer.document == denied(UNMET), issuer
        assert answer.clause.startswith("release.authority"), issuer
    assert not [r for r in lab.world.audit.records(before) if r["service"] == "authority"]


def test_a_rule_of_another_authority_does_not_help(lab: VaultLab, app: App) -> None:
    lax = {"authority": "https://lax.example", "allOf": [{"claim": "secureboot", "exists": True}]}
    lab.key("app", policy={"version": "1.0.0", "anyOf": [lax, *POLICY["anyOf"]]})
    assert lab.release(token=lab.authority.token(secureboot=False)).document == denied(UNMET)
    assert lab.release().status == 200
    app.services.append(Authority(lab.world, "lax.example"))
    assert lab.release(token=lab.authority.token(iss="https://lax.example", secureboot=False)).status == 200


# --- the key to wrap to


def test_the_first_fitting_key_of_the_token_is_used(lab: VaultLab) -> None:
    fitting = public_jwk(rsa_key("tpm"), "TpmEphemeralEncryptionKey", key_ops=["encrypt"])
    later = public_jwk(rsa_key("hcl"), "later", key_ops=["encrypt"])
    unfit = [
        public_jwk(rsa_key("hcl"), "sign only", key_ops=["sign"]),
        public_jwk(rsa_key("hcl"), "for signatures", key_use="sig"),
        public_jwk(rsa_key("hcl"), None, key_ops=["encrypt"]),
        {"kty": "EC", "kid": "curve", "crv": "P-256", "x": "AA", "y": "AA", "key_ops": ["encrypt"]},
        "not a key",
    ]
    by_use = {**fitting, "key_ops": [], "key_use": "enc"}
    for first in (fitting, by_use):
        token = lab.authority.token(**{"x-ms-runtime__keys": [*unfit, first, later]})
        _header, _payload, hsm = opened(lab.release(token=token))
        assert hsm["header"]["kid"] == "TpmEphemeralEncryptionKey"
        assert unwrapped(hsm).private_numbers() == rsa_key("app-0").private_numbers()
        with pytest.raises((ValueError, InvalidUnwrap)):
            unwrapped(hsm, rsa_key("hcl"))


def test_without_a_fitting_key_at_top_level_nothing_is_released(lab: VaultLab) -> None:
    # The claims' isolation part carries a key with key_ops encrypt: it must never be wrapped to.
    nested = lab.authority.claims()[TEE]["x-ms-runtime"]["keys"]
    assert nested[0]["key_ops"] == ["encrypt"]
    good = lab.authority.claims()["x-ms-runtime"]["keys"][0]
    for runtime, clause in (
        (None, "no_encryption_key"),
        ("text", "no_encryption_key"),
        ({"keys": []}, "no_encryption_key"),
        ({"keys": {"kid": "x"}}, "no_encryption_key"),
        ({"keys": [{**good, "key_ops": ["decrypt"]}]}, "no_encryption_key"),
        ({"keys": [{**good, "n": 5}]}, "encryption_key_malformed"),
        ({"keys": [{**good, "e": "AA"}]}, "encryption_key_malformed"),
        ({"keys": [{"kid": "x", "kty": "RSA", "key_use": "enc"}]}, "encryption_key_malformed"),
    ):
        answer = lab.release(token=lab.authority.token(**{"x-ms-runtime": runtime}))
        assert answer.document == denied(UNVERIFIED), runtime
        assert answer.clause == f"release.{clause}", runtime
