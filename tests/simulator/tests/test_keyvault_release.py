# SPDX-License-Identifier: GPL-3.0-or-later
"""Secure Key Release as the vault does it: what it checks, what it answers, and what it never tells."""

from __future__ import annotations

import base64
import copy
import dataclasses
import hashlib
import typing as t

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap
from vault_caller import (
    AUTHORITY,
    HASHES,
    POLICY,
    TEE,
    Authority,
    VaultLab,
    b64u,
    ec_key,
    encoded,
    opened,
    public_jwk,
    rsa_key,
    unb64u,
    unwrapped,
)

from skrsim.core.app import App
from skrsim.core.faults import Fault
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


# --- a good release


@pytest.mark.parametrize("algorithm", sorted(HASHES))
def test_each_algorithm_wraps_the_key_to_the_key_in_the_token(lab: VaultLab, algorithm: str) -> None:
    answer = lab.release(body={"enc": algorithm})
    _header, payload, hsm = opened(answer)
    assert payload["request"]["enc"] == hsm["header"]["enc"] == algorithm
    assert hsm["header"] == {"kid": "TpmEphemeralEncryptionKey", "alg": "dir", "enc": algorithm}
    assert list(hsm) == ["schema_version", "header", "ciphertext"] and hsm["schema_version"] == "1.0"
    assert unwrapped(hsm).private_numbers() == rsa_key("app-0").private_numbers()
    # 256 bytes of OAEP; then RFC 5649: 8 bytes more than the data padded to a multiple of 8.
    assert (len(unb64u(hsm["ciphertext"])) - 256) % 8 == 0
    for other in HASHES.keys() - {algorithm}:
        with pytest.raises(ValueError):
            unwrapped({**hsm, "header": {"enc": other}})


def test_without_enc_the_oldest_algorithm_is_used_and_nothing_else_is_needed(lab: VaultLab) -> None:
    answer = lab("POST", "/keys/app/release", {"target": lab.authority.token()}, api="7.3")
    _header, payload, hsm = opened(answer)
    assert hsm["header"]["enc"] == "CKM_RSA_AES_KEY_WRAP"
    assert payload["request"] == {
        "api-version": "7.3",
        "enc": "CKM_RSA_AES_KEY_WRAP",
        "kid": "https://v.vault.azure.net/keys/app",
    }
    assert unwrapped(hsm).private_numbers() == rsa_key("app-0").private_numbers()


def test_two_releases_share_no_wrapping_key(lab: VaultLab) -> None:
    one, two = (unb64u(opened(lab.release())[2]["ciphertext"]) for _ in range(2))
    assert one[:256] != two[:256] and one[256:] != two[256:]


def test_the_payload_is_what_the_service_sends(lab: VaultLab) -> None:
    key = lab.world.keys["v", "app"]
    version = key.versions[0]
    version.tags, version.nbf, version.exp = {"team": "blue"}, 1600000000, 1700000000
    _header, payload, _hsm = opened(lab.release(body={"nonce": "ADE0101"}))
    kid = f"https://v.vault.azure.net/keys/app/{version.version}"
    inner = payload["response"]["key"]
    assert payload["request"] == {
        "api-version": "2025-07-01",
        "enc": "RSA_AES_KEY_WRAP_256",
        "kid": "https://v.vault.azure.net/keys/app",
        "nonce": "ADE0101",
    }
    numbers = version.private.public_key().public_numbers()
    jwk = {name: value for name, value in inner["key"].items() if name != "key_hsm"}
    assert jwk == {
        "kid": kid,
        "kty": "RSA-HSM",
        "key_ops": ["sign", "verify"],
        "n": b64u(numbers.n.to_bytes(256, "big")),
        "e": "AAEAAQ",
    }
    assert inner["attributes"] == {
        "enabled": True,
        "nbf": 1600000000,
        "exp": 1700000000,
        "created": version.created,
        "updated": version.updated,
        "recoveryLevel": "Recoverable+Purgeable",
        "recoverableDays": 90,
        "exportable": True,
    }
    assert inner["tags"] == {"team": "blue"}
    assert set(inner["release_policy"]) == {"data", "immutable"} and inner["release_policy"]["immutable"] is False
    assert (
        unb64u(inner["release_policy"]["data"])
        .decode()
        .startswith('{"version":"1.0.0","anyOf":[{"authority":"https://authority.example/","allOf":[{"claim":')
    )


def test_the_answer_is_signed_for_the_vaults_name_under_the_labs_authority(lab: VaultLab) -> None:
    answer = lab.release()
    header, _payload, _hsm = opened(answer)
    assert list(header) == ["alg", "kid", "x5t", "typ", "x5t#S256", "x5c"]
    chain = [x509.load_der_x509_certificate(base64.b64decode(entry, validate=True)) for entry in header["x5c"]]
    der = base64.b64decode(header["x5c"][0])
    sha1 = hashlib.sha1(der).digest()
    assert (header["alg"], header["typ"]) == ("RS256", "JWT")
    assert header["kid"].lower() == sha1.hex()
    assert header["x5t"] == b64u(sha1)
    assert header["x5t#S256"] == b64u(hashlib.sha256(der).digest())
    names = chain[0].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["*.vault.azure.net", "vault.azure.net"]
    assert "SIMULATED" in chain[0].subject.rfc4514_string()
    for lower, upper in zip(chain, chain[1:], strict=False):
        lower.verify_directly_issued_by(upper)
    assert chain[-1] == lab.world.services["ca"].certificate
    signed, _dot, signature = answer.document["value"].rpartition(".")
    public: t.Any = chain[0].public_key()
    public.verify(unb64u(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256())


def test_an_elliptic_key_is_released_in_the_same_form(lab: VaultLab) -> None:
    lab.key("curve", private=ec_key())
    _header, payload, hsm = opened(lab.release("/keys/curve/release"))
    shown = payload["response"]["key"]["key"]
    released: ec.EllipticCurvePrivateKey = unwrapped(hsm)
    assert released.private_numbers() == ec_key().private_numbers()
    point = released.public_key().public_numbers()
    assert (shown["kty"], shown["crv"]) == ("EC-HSM", "P-256")
    assert (shown["x"], shown["y"]) == (b64u(point.x.to_bytes(32, "big")), b64u(point.y.to_bytes(32, "big")))
    assert "n" not in shown and "e" not in shown


def test_every_form_of_the_url_is_understood(lab: VaultLab) -> None:
    key = lab.key("app", versions=2)
    old, new = (version.version for version in key.versions)
    base = "https://v.vault.azure.net/keys/app"
    for path, asked, given in (
        ("/keys/app/release", base, new),
        ("/keys/app//release", base, new),
        ("/keys/app/release/", base, new),
        ("/keys/APP/release", base, new),
        (f"/keys/app/{new}/release", f"{base}/{new}", new),
        (f"/keys/app/{old}/release", f"{base}/{old}", old),
        (f"/keys/app/{old}/release/", f"{base}/{old}", old),
    ):
        _header, payload, hsm = opened(lab.release(path))
        assert payload["request"]["kid"] == asked, path
        assert payload["response"]["key"]["key"]["kid"] == f"{base}/{given}", path
        number = 1 if given == new else 0
        assert unwrapped(hsm).private_numbers() == rsa_key(f"app-{number}").private_numbers(), path


@pytest.mark.parametrize("api", ["7.3", "7.4", "7.5", "7.6", "2025-07-01", "2026-04-01"])
def test_the_api_version_is_echoed(lab: VaultLab, api: str) -> None:
    assert opened(lab.release(api=api))[1]["request"]["api-version"] == api


@pytest.mark.parametrize("nonce", ["", "ADE0101", "ü ~?> \U0001f511", "x" * 4000])
def test_any_text_is_a_nonce_and_is_echoed(lab: VaultLab, nonce: str) -> None:
    assert opened(lab.release(body={"nonce": nonce}))[1]["request"]["nonce"] == nonce


def test_the_dates_of_a_key_do_not_block_its_release(lab: VaultLab) -> None:
    version = lab.world.keys["v", "app"].versions[0]
    now = int(lab.world.clock.now())
    version.nbf, version.exp = now + 3600, now + 7200
    assert lab.release().status == 200
    version.nbf, version.exp = now - 7200, now - 3600
    assert lab.release().status == 200


def test_a_release_is_in_the_audit_log_with_what_allowed_it_and_changes_nothing(lab: VaultLab) -> None:
    answer = lab.release(vm="cvm-01")
    assert (answer.audit["operation"], answer.audit["decision"], answer.audit["vm"]) == (
        "key_release",
        "allowed",
        "cvm-01",
    )
    assert answer.audit["principal"] == lab.officer.object_id
    assert "anyOf[0]" in answer.clause and "role assignment" in answer.clause
    assert answer.audit["write"] is False
    secrets = (lab.authority.token()[:40], answer.document["value"][:40])
    assert not any(secret in str(answer.audit) for secret in secrets)


# --- refusals about the request or the key


def test_bad_requests_name_the_member(lab: VaultLab) -> None:
    token = lab.authority.token()
    for body, word in (
        ({}, "'target'"),
        ({"target": ""}, "'target'"),
        ({"target": 5}, "'target'"),
        ({"target": token, "enc": "RSA-OAEP"}, "'RSA-OAEP'"),
        ({"target": token, "enc": None}, "'None'"),
        ({"target": token, "enc": ["RSA_AES_KEY_WRAP_256"]}, "RSA_AES_KEY_WRAP_256"),
        ({"target": token, "nonce": 7}, "'nonce'"),
        ({"target": token, "environment": "x"}, "'environment'"),
        (["target"], "JSON object"),
        (b"{", "JSON"),
    ):
        answer = lab("POST", "/keys/app/release", body)
        assert (answer.status, answer.document["error"]["code"]) == (400, "BadParameter"), body
        assert word in answer.message, body


@pytest.mark.parametrize("api", ["7.2", "7.0", "2016-10-01", "7.3-preview", "2030-01-01", "", None])
def test_release_needs_a_known_api_version_from_7_3(lab: VaultLab, api: str | None) -> None:
    answer = lab.release(api=api)
    assert (answer.status, answer.document["error"]["code"]) == (400, "BadParameter")


def test_a_missing_key_and_a_missing_version_are_not_found(lab: VaultLab) -> None:
    for path, name in (("/keys/other/release", "other"), (f"/keys/app/{'0' * 32}/release", f"app/{'0' * 32}")):
        answer = lab.release(path)
        assert (answer.status, answer.document["error"]["code"]) == (404, "KeyNotFound")
        assert answer.message.startswith(f"A key with (name/id) {name} was not found in this key vault. ")
        assert answer.audit["principal"] == lab.officer.object_id


def test_an_ordinary_key_cannot_be_released(lab: VaultLab) -> None:
    lab.key("plain", exportable=False, private=rsa_key("app-0"))
    answer = lab.release("/keys/plain/release")
    assert (answer.status, answer.document["error"]["code"]) == (400, "BadParameter")
    assert answer.message == "Operation release is not allowed on a non-exportable key."
    assert answer.clause == "vault.KeyNotExportable"


def test_a_disabled_version_cannot_be_released_and_another_one_can(lab: VaultLab) -> None:
    key = lab.key("app", versions=2)
    key.versions[1].enabled = False
    answer = lab.release()
    assert (answer.status, answer.inner) == (403, "KeyDisabled")
    assert answer.message == "Operation release is not allowed on a disabled key."
    assert lab.release(f"/keys/app/{key.versions[0].version}/release").status == 200


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


# --- faults


def _fault(lab: VaultLab, action: str, **row: t.Any) -> None:
    lab.world.faults.add(Fault(action, "keyvault", "key_release", times=1, **row))


def _signature_holds(answer: t.Any) -> bool:
    header, _payload, _hsm = opened(answer)
    signed, _dot, signature = answer.document["value"].rpartition(".")
    public: t.Any = x509.load_der_x509_certificate(base64.b64decode(header["x5c"][0])).public_key()
    try:
        public.verify(unb64u(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return False
    return True


@dataclasses.dataclass
class Seen:
    """What is right about a release, in the order in which a careful client looks."""

    signed: bool
    chain: bool
    name: bool
    key: bool
    nonce: bool
    enc: bool
    unwraps: bool

    @classmethod
    def of(cls, lab: VaultLab, answer: t.Any) -> Seen:
        header, payload, hsm = opened(answer)
        chain = [x509.load_der_x509_certificate(base64.b64decode(entry)) for entry in header["x5c"]]
        names = chain[0].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        try:
            unwrapped(hsm)
            unwraps = True
        except InvalidUnwrap:
            unwraps = False
        return cls(
            signed=_signature_holds(answer) and header["alg"] == "RS256",
            chain=chain[-1] == lab.world.services["ca"].certificate,
            name="*.vault.azure.net" in names.get_values_for_type(x509.DNSName),
            key=payload["request"]["kid"].endswith("/keys/app"),
            nonce=payload["request"]["nonce"] == "n",
            enc=payload["request"]["enc"] == hsm["header"]["enc"] == "RSA_AES_KEY_WRAP_256",
            unwraps=unwraps,
        )


ALL_RIGHT = Seen(True, True, True, True, True, True, True)


@pytest.mark.parametrize(
    ("action", "wrong"),
    [
        ("tamper", {"signed"}),
        ("unsigned", {"signed"}),
        ("untrusted_chain", {"chain"}),
        ("wrong_name", {"name"}),
        ("swap_key", {"key"}),
        ("wrong_nonce", {"nonce"}),
        ("wrong_enc", {"enc"}),
        ("broken_kwp", {"unwraps"}),
    ],
)
def test_a_spoilt_answer_is_wrong_in_one_way_once(lab: VaultLab, action: str, wrong: set[str]) -> None:
    _fault(lab, action)
    seen = Seen.of(lab, lab.release(body={"nonce": "n"}))
    assert seen == dataclasses.replace(ALL_RIGHT, **dict.fromkeys(wrong, False))
    assert Seen.of(lab, lab.release(body={"nonce": "n"})) == ALL_RIGHT


def test_a_wrong_algorithm_is_another_one_than_asked_whatever_was_asked(lab: VaultLab) -> None:
    for algorithm in HASHES:
        _fault(lab, "wrong_enc")
        _header, payload, hsm = opened(lab.release(body={"enc": algorithm}))
        assert payload["request"]["enc"] == hsm["header"]["enc"] != algorithm


def test_a_passing_failure_to_verify_passes(lab: VaultLab) -> None:
    _fault(lab, "unverifiable")
    assert lab.release().document == denied(UNVERIFIED)
    assert lab.release().status == 200


def test_throttling_is_answered_with_and_without_a_time_to_wait(lab: VaultLab) -> None:
    text = "Request was not processed because too many requests were received. Reason: VaultRequestTypeLimitReached"
    body = {"error": {"code": "Throttled", "message": text}}
    _fault(lab, "status", parameters={"code": 429, "retry_after": 3, "body": body})
    _fault(lab, "status", parameters={"code": 429, "body": body})
    first, second = lab.release(), lab.release()
    assert (first.status, first.document, first.headers["Retry-After"]) == (429, body, "3")
    assert (second.status, second.document) == (429, body)
    assert "Retry-After" not in second.headers
    assert lab.release().status == 200


def test_a_fault_for_one_vm_leaves_the_others_alone(lab: VaultLab) -> None:
    _fault(lab, "unverifiable", vm="cvm-02")
    assert lab.release(vm="cvm-01").status == 200
    assert lab.release(vm="cvm-02").status == 403


def test_a_stored_policy_is_not_changed_by_releases(lab: VaultLab) -> None:
    before = copy.deepcopy(lab.world.keys["v", "app"].release_policy)
    lab.release()
    lab.release(token=lab.authority.token(secureboot=False))
    assert lab.world.keys["v", "app"].release_policy == before
