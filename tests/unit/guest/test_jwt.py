# SPDX-License-Identifier: GPL-3.0-or-later
"""Validation of attestation tokens, one reason for each check, and the authority's keys with their public cache."""

from __future__ import annotations

import json
import os
import time
import typing as t
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from unit.guest import release_fakes as fakes
from unit.guest.release_fakes import ISSUER, Site, answer, refused, rsa_key

from ansible_collections.confidential.azure_skr.plugins.module_utils.guest import jwt
from ansible_collections.confidential.azure_skr.plugins.module_utils.guest.http import Http

NOW = 1_800_000_000.0
NONCE = "a-nonce-of-ours"
KID = "J0pAPdfXXHqWWimgrH853wMIdh5/fLe1z6uSXYPXCa0="


class Keys:
    """An authority with one key, known by its kid."""

    def key(self, kid: str) -> t.Optional[rsa.RSAPublicKey]:
        return fakes.rsa_key("authority").public_key() if kid == KID else None


def token(header: t.Optional[t.Dict[str, t.Any]] = None, signer: str = "authority", **changes: t.Any) -> str:
    full = {"alg": "RS256", "jku": f"{ISSUER}/certs", "kid": KID, "typ": "JWT", **(header or {})}
    return fakes.sign(full, fakes.guest_claims(NONCE, NOW, **changes), fakes.rsa_key(signer))


def validate(text: str, now: float = NOW, issuer: str = ISSUER, nonce: str = NONCE) -> t.Dict[str, t.Any]:
    modulus = fakes.rsa_key("ephemeral").public_key().public_numbers().n
    return jwt.validate(text, Keys(), issuer, fakes.b64(nonce.encode()), modulus, now)  # type: ignore[arg-type]


def runtime(**changes: t.Any) -> t.Dict[str, t.Any]:
    """``x-ms-runtime`` with some members replaced."""
    return {"x-ms-runtime": {**fakes.guest_claims(NONCE, NOW)["x-ms-runtime"], **changes}}


def test_a_good_token_gives_its_claims() -> None:
    assert validate(token())["secureboot"] is True


@pytest.mark.parametrize("issuer", [ISSUER, f"{ISSUER}/", ISSUER.replace("shared", "SHARED")])
def test_the_issuers_spelling_does_not_count(issuer: str) -> None:
    assert validate(token(), issuer=issuer)
    assert validate(token(iss=issuer))


@pytest.mark.parametrize("algorithm", ["none", "HS256", "RS384", "RS512", "PS256", "ES256", "rs256", None, ["RS256"]])
def test_only_rs256_counts(algorithm: t.Any) -> None:
    with refused("token_signature") as info:
        validate(token({"alg": algorithm}))
    assert "RS256" in info.value.message


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "a.b",
        "a.b.c.d",
        "..",
        "e30.e30.%",
        "e30=.e30.e30",
        "W10.e30.e30",
        "e30.W10.e30",
        "bm90.anNv.bg",
        "e30.e30.\u00e9",
        "e30.e3 0.e30",
    ],
)
def test_a_malformed_token(text: str) -> None:
    with refused("token_signature"):
        validate(text)


def test_an_unsigned_token() -> None:
    with refused("token_signature"):
        validate(token().rpartition(".")[0] + ".")


def test_a_token_signed_by_somebody_else() -> None:
    with refused("token_signature"):
        validate(token(signer="other"))


def test_a_token_whose_claims_were_altered() -> None:
    header, _claims, signature = token().split(".")
    other = token(secureboot=False).split(".")[1]
    with refused("token_signature"):
        validate(f"{header}.{other}.{signature}")


@pytest.mark.parametrize("kid", ["unknown", "", None, 5])
def test_a_kid_that_the_authority_does_not_have(kid: t.Any) -> None:
    with refused("token_signature") as info:
        validate(token({"kid": kid}))
    assert ISSUER in info.value.message


@pytest.mark.parametrize(
    "issuer",
    [
        "https://sharedeus2.eus2.attest.azure.net",
        f"{ISSUER}.evil.example",
        ISSUER.replace("https", "http"),
        f"{ISSUER}:8443",
        f"{ISSUER}/x",
        "",
        None,
    ],
)
def test_a_token_of_another_issuer(issuer: t.Any) -> None:
    with refused("token_issuer") as info:
        validate(token(iss=issuer))
    assert ISSUER in info.value.message


@pytest.mark.parametrize(("now", "fits"), [(-301, False), (-299, True), (0, True), (29099, True), (29101, False)])
def test_the_token_must_be_valid_now(now: float, fits: bool) -> None:
    if fits:
        assert validate(token(), now=NOW + now)
        return
    with refused("token_time") as info:
        validate(token(), now=NOW + now)
    assert set(info.value.facts) == {"not_before", "expires", "vm_clock"}
    assert info.value.facts["vm_clock"] in info.value.message


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": None}, {"nbf": None}, {"exp": "1800000000"}, {"exp": 1e300}, {"exp": 10**30}, {"exp": True}, {"nbf": -1},
        {"exp": [1800000000]},
    ],
)  # fmt: skip
def test_a_token_without_dates(changes: t.Dict[str, t.Any]) -> None:
    with refused("token_time"):
        validate(token(**changes))


@pytest.mark.parametrize(
    "changes",
    [
        runtime(**{"client-payload": {"nonce": fakes.b64(b"another")}}),
        runtime(**{"client-payload": {"nonce": NONCE}}),
        runtime(**{"client-payload": {}}),
        runtime(**{"client-payload": "text"}),
        {"x-ms-runtime": None},
        {"x-ms-runtime": []},
    ],
)
def test_the_token_must_carry_our_nonce(changes: t.Dict[str, t.Any]) -> None:
    with refused("token_nonce"):
        validate(token(**changes))


def our_key(**changes: t.Any) -> t.Dict[str, t.Any]:
    return {**fakes.guest_claims(NONCE, NOW)["x-ms-runtime"]["keys"][0], **changes}


OTHER = fakes.integer(fakes.rsa_key("other").public_key().public_numbers().n)


@pytest.mark.parametrize(
    "keys",
    [
        pytest.param([], id="none"),
        pytest.param(None, id="null"),
        pytest.param([our_key(n=OTHER)], id="another key"),
        pytest.param([our_key(kid="HCLAkPub")], id="ours under another kid"),
        pytest.param([our_key(n="%")], id="not base64url"),
        pytest.param([our_key(n=None), "text"], id="no keys at all"),
    ],
)
def test_the_token_must_name_our_ephemeral_key(keys: t.Any) -> None:
    with refused("token_binding"):
        validate(token(**runtime(keys=keys)))


def test_our_key_may_stand_beside_others() -> None:
    assert validate(token(**runtime(keys=[our_key(kid="x", n=OTHER), our_key()])))


def test_a_key_within_the_hardware_claims_does_not_count() -> None:
    with refused("token_binding"):
        validate(token(**runtime(keys=[]), **{"x-ms-isolation-tee": {"x-ms-runtime": {"keys": [our_key()]}}}))


def test_an_earlier_check_speaks_first() -> None:
    with refused("token_signature"):
        validate(token(signer="other", iss="https://x.example", exp=0))
    with refused("token_issuer"):
        validate(token(iss="https://x.example", exp=0))


# --- the authority's keys


def authority(site: Site, folder: t.Optional[Path]) -> t.Tuple[jwt.Authority, Http]:
    http = Http(local=True, sleep=[].append)
    return jwt.Authority(http, site.url, str(folder) if folder else None), http


def numbers(key: t.Optional[rsa.RSAPublicKey]) -> int:
    assert key is not None
    return key.public_numbers().n


def test_keys_come_from_the_authority_and_never_from_the_tokens_jku(tmp_path: Path) -> None:
    with Site(answer(fakes.key_set(a=fakes.rsa_key("a"), b=fakes.rsa_key("b")))) as site:
        found, http = authority(site, tmp_path)
        assert numbers(found.key("b")) == fakes.rsa_key("b").public_key().public_numbers().n
        assert numbers(found.key("a")) == fakes.rsa_key("a").public_key().public_numbers().n
    assert [asked.path for asked in site.asked] == ["/certs"] and http.count == 1


def test_a_second_run_asks_nobody(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    with Site(answer(fakes.key_set(a=fakes.rsa_key("a")))) as site:
        assert authority(site, folder)[0].key("a")
        assert authority(site, folder)[0].key("a")
    assert len(site.asked) == 1
    assert folder.stat().st_mode & 0o777 == 0o700
    (file,) = folder.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert set(json.loads(file.read_text())) == {"a"}


def test_an_unknown_kid_asks_once_again(tmp_path: Path) -> None:
    old, new = fakes.key_set(a=fakes.rsa_key("a")), fakes.key_set(b=fakes.rsa_key("b"))
    with Site(answer(old), answer(new)) as site:
        assert authority(site, tmp_path)[0].key("a")
        assert authority(site, tmp_path)[0].key("b")
        assert authority(site, tmp_path)[0].key("c") is None
        # What the authority no longer names is no longer believed.
        assert authority(site, tmp_path)[0].key("a") is None
    assert len(site.asked) == 4


def test_remembered_keys_are_asked_for_anew_after_a_day(tmp_path: Path) -> None:
    with Site(answer(fakes.key_set(a=fakes.rsa_key("a")))) as site:
        assert authority(site, tmp_path)[0].key("a")
        (file,) = tmp_path.iterdir()
        old = time.time() - 25 * 3600
        os.utime(file, (old, old))
        assert authority(site, tmp_path)[0].key("a")
        assert authority(site, tmp_path)[0].key("a")
    assert len(site.asked) == 2


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b'{"a": 5}', b'{"a": "%%%"}'])
def test_a_damaged_cache_is_no_failure(tmp_path: Path, content: bytes) -> None:
    with Site(answer(fakes.key_set(a=fakes.rsa_key("a")))) as site:
        assert authority(site, tmp_path)[0].key("a")
        (file,) = tmp_path.iterdir()
        file.write_bytes(content)
        assert authority(site, tmp_path)[0].key("a")


def test_somebody_elses_cache_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Site(answer(fakes.key_set(a=fakes.rsa_key("a")))) as site:
        assert authority(site, tmp_path)[0].key("a")
        monkeypatch.setattr("os.geteuid", lambda: 4711)
        assert authority(site, tmp_path)[0].key("a")
    assert len(site.asked) == 2


def test_a_cache_that_cannot_be_written_costs_a_request_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with Site(answer(fakes.key_set(a=fakes.rsa_key("a")))) as site:
        for folder in (None, tmp_path / "file" / "below"):
            assert authority(site, folder)[0].key("a")
    assert len(site.asked) == 2


def test_authorities_do_not_share_a_cache(tmp_path: Path) -> None:
    with Site(answer(fakes.key_set(a=fakes.rsa_key("a")))) as one, Site(answer({"keys": []})) as two:
        assert authority(one, tmp_path)[0].key("a")
        assert authority(two, tmp_path)[0].key("a") is None


@pytest.mark.parametrize(
    "entry",
    [
        {"kid": "a"},
        {"kid": "a", "x5c": []},
        {"kid": "a", "x5c": "text"},
        {"kid": "a", "x5c": ["%"]},
        {"kid": "a", "x5c": [fakes.b64(b"not a certificate")]},
        {"kid": "a", "x5c": [fakes.b64(b"\x30\x06\x30\x00\x30\x00\x03\x00")]},
        {"kid": "a", "x5c": [fakes.b64(fakes.der(fakes.chain()[1]))]},
        {"kid": 5, "x5c": ["x"]},
        "text",
    ],
)
def test_entries_without_a_usable_certificate_are_no_keys(entry: t.Any, tmp_path: Path) -> None:
    with Site(answer({"keys": [entry]})) as site:
        assert authority(site, tmp_path)[0].key("a") is None


@pytest.mark.parametrize("reply", [answer({}, 404), answer({"keys": {}}), (200, {}, b"<html>"), answer({}, 503)])
def test_no_keys_at_all(reply: t.Any) -> None:
    with Site(reply) as site, refused("attestation_unavailable"):
        authority(site, None)[0].key("a")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_a_token_that_never_ends(number: str) -> None:
    """No number compares as greater than NaN, so such a token would be valid for ever."""
    text = token(exp="the end")
    parts = [jwt.decode(part) for part in text.split(".")[:2]]
    signed = ".".join(fakes.b64u(part.replace(b'"the end"', number.encode())) for part in parts)
    signature = rsa_key("authority").sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    with refused("token_signature"):
        validate(f"{signed}.{fakes.b64u(signature)}")


@pytest.mark.parametrize("part", [b"[" * 100000, b'{"a":' * 100000, b'{"a":' * 100 + b"1" + b"}" * 100])
def test_a_token_that_is_nested_without_end(part: bytes) -> None:
    header, claims, signature = token().split(".")
    for text in (f"{fakes.b64u(part)}.{claims}.{signature}", f"{header}.{fakes.b64u(part)}.{signature}"):
        with refused("token_signature"):
            validate(text)
