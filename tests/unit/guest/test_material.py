# SPDX-License-Identifier: GPL-3.0-or-later
"""Formats of released keys: each for the kinds it makes sense for, always the same bytes, and readable by others."""

from __future__ import annotations

import base64
import itertools
import json
import subprocess
import typing as t

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from unit.guest import release_fakes as fakes
from unit.guest.release_fakes import ec_key, pkcs8, refused, rsa_key

from ansible_collections.confidential.azure_skr.plugins.module_utils.guest import arguments, material, unwrap

CURVES = {"secp256r1": "P-256", "secp256k1": "secp256k1", "secp384r1": "P-384", "secp521r1": "P-521"}
KEYS: t.Dict[str, t.Any] = {"RSA": rsa_key("released"), **{curve: ec_key("released", curve) for curve in CURVES}}
OCTETS = bytes(range(32))


def of(name: str) -> material.Material:
    if name in KEYS:
        return material.load(pkcs8(KEYS[name]), fakes.jwk(KEYS[name]))
    return material.load(OCTETS, {"kty": "oct-HSM"}) if name == "oct" else material.secret(b"a secret\n")


ALL = (*KEYS, "oct", "secret")
FITTING = {
    "RSA": {"pem_pkcs8", "pem_pkcs1", "der", "jwk"},
    **dict.fromkeys(CURVES, {"pem_pkcs8", "der", "jwk"}),
    "oct": {"raw", "base64", "jwk"},
    "secret": {"raw", "base64"},
}


@pytest.mark.parametrize(("name", "form"), list(itertools.product(ALL, material.NAMES[1:])))
def test_each_format_for_the_kinds_it_is_for(name: str, form: str) -> None:
    made = of(name)
    if form not in FITTING[name]:
        with refused("invalid_input") as info:
            made.encode(form)
        assert f"'{form}'" in info.value.message and all(word in info.value.message for word in FITTING[name])
        assert info.value.facts["option"] == "format"
        return
    content = made.encode(form)
    assert content and content == of(name).encode(form)
    # A file of it is known again by its public half, whatever its format.
    assert material.fingerprint_of(bytes(content)) == made.public_key_sha256


@pytest.mark.parametrize("name", KEYS)
def test_others_read_the_same_key(name: str) -> None:
    key, made = KEYS[name], of(name)
    pem = bytes(made.encode("auto"))
    assert pem == bytes(made.encode("pem_pkcs8")) == unwrap.pem(key)
    for loaded in (
        serialization.load_pem_private_key(pem, None),
        serialization.load_der_private_key(bytes(made.encode("der")), None),
    ):
        assert loaded.private_numbers() == key.private_numbers()  # type: ignore[union-attr]
    if name == "RSA":
        content = bytes(made.encode("pem_pkcs1"))
        assert content.startswith(b"-----BEGIN RSA PRIVATE KEY-----\n")
        assert serialization.load_pem_private_key(content, None).private_numbers() == key.private_numbers()  # type: ignore[union-attr]


def number(text: str) -> int:
    assert "=" not in text
    return int.from_bytes(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), "big")


@pytest.mark.parametrize("name", KEYS)
def test_jwk(name: str) -> None:
    document = json.loads(of(name).encode("jwk"))
    found, values = KEYS[name].private_numbers(), {}
    for member, text in document.items():
        if member not in ("kty", "crv"):
            values[member] = number(text)
    if name == "RSA":
        public = rsa.RSAPublicNumbers(values["e"], values["n"])
        made: t.Any = rsa.RSAPrivateNumbers(
            values["p"], values["q"], values["d"], values["dp"], values["dq"], values["qi"], public
        )
        assert document["kty"] == "RSA" and document["e"] == "AQAB"
    else:
        assert (document["kty"], document["crv"]) == ("EC", CURVES[name])
        size = (KEYS[name].curve.key_size + 7) // 8
        assert all(len(base64.urlsafe_b64decode(document[m] + "==")) == size for m in ("x", "y", "d"))
        made = ec.EllipticCurvePrivateNumbers(
            values["d"], ec.EllipticCurvePublicNumbers(values["x"], values["y"], KEYS[name].curve)
        )
    assert made == found


def test_symmetric_keys_byte_for_byte() -> None:
    odd = b"\0\n\xff=\r\n" + bytes(10)
    made = material.load(odd, {"kty": "oct"})
    assert made.encode("auto") == made.encode("raw") == odd
    assert base64.b64decode(made.encode("base64"), validate=True) == odd and b"\n" not in made.encode("base64")
    assert json.loads(made.encode("jwk")) == {"kty": "oct", "k": fakes.b64u(odd)}
    assert made.public == {} and made.public_key_sha256 is None


@pytest.mark.parametrize("kty", ["oct", "oct-HSM"])
@pytest.mark.parametrize("size", range(0, 80))
def test_sizes_of_symmetric_keys(kty: str, size: int) -> None:
    if size in (16, 24, 32, 48, 64):
        assert material.load(bytes(size), {"kty": kty}).encode("raw") == bytes(size)
        return
    with refused("unwrap_failed") as info:
        material.load(bytes(size), {"kty": kty})
    assert str(size) in info.value.message


def test_a_symmetric_key_where_another_kind_was_announced() -> None:
    for jwk in ({"kty": "RSA-HSM"}, {}, {"kty": None}, {"kty": "OCT"}):
        with refused("unwrap_failed"):
            material.load(OCTETS, jwk)


@pytest.mark.parametrize("name", ALL)
def test_a_mark_is_public_or_salted(name: str) -> None:
    made, salt = of(name), b"s" * 16
    assert made.mark(salt) == of(name).mark(salt) and OCTETS.hex() not in made.mark(salt)
    assert (made.mark(salt) == made.mark(b"t" * 16)) is (name in KEYS)
    if name in KEYS:
        assert made.mark(salt) == made.public_key_sha256


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"{}", b"[]", b'{"kty":"RSA"}', b'{"kty":"RSA","n":"AA","e":5}', b'{"kty":"EC","crv":"P-257","x":"AA","y":"AA"}',
        b'{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}', b'{"kty":"oct","k":"AA"}', b"{\xff", b"\x30\x03\x02\x01\x00", bytes(32),
        b"-----BEGIN NOTHING-----\n", pytest.param(pkcs8(ed25519.Ed25519PrivateKey.generate()), id="ed25519"),
    ],
)  # fmt: skip
def test_other_bytes_have_no_fingerprint(content: bytes) -> None:
    assert material.fingerprint_of(content) is None


def test_nothing_of_it_shows_and_wiping_leaves_zeros() -> None:
    made = material.secret(b"sentinel")
    assert "sentinel" not in repr(made) + str(made)
    made.wipe()
    assert made.encode("raw") == bytes(8)


def test_the_choices_offered_are_these() -> None:
    assert arguments.delivery_argument_spec()["format"]["choices"] == list(material.NAMES)


def test_openssl_reads_pkcs1() -> None:
    content = bytes(of("RSA").encode("pem_pkcs1"))
    try:
        done = subprocess.run(["openssl", "pkey", "-pubout"], input=content, capture_output=True, check=True)
    except FileNotFoundError:
        pytest.skip("openssl's command is not installed")
    assert done.stdout.decode() == of("RSA").public["public_key_pem"]
