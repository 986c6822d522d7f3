# SPDX-License-Identifier: GPL-3.0-or-later
"""Secure Key Release as the vault does it: the answer, and refusals about the request or the key."""

from __future__ import annotations

import base64
import hashlib
import typing as t

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from vault_caller import (
    HASHES,
    VaultLab,
    b64u,
    ec_key,
    opened,
    rsa_key,
    unb64u,
    unwrapped,
)

from skrsim.core.app import App


@pytest.fixture
def lab(app: App) -> VaultLab:
    made = VaultLab(app)
    made.key()
    return made


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
    one, two = (unb64u(opened(lab.release())[2]["ciphertext"]) for _unused in range(2))
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
