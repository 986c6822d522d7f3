# SPDX-License-Identifier: GPL-3.0-or-later
"""AES key wrap with padding, the key formats, and the comparison with the public half."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import typing as t
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap_with_padding
from unit.guest import release_fakes as fakes
from unit.guest.release_fakes import ec_key, jwk, oaep, pkcs8, refused, rsa_key

from ansible_collections.confidential.azure_skr.plugins.module_utils.guest import unwrap
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.failure import SkrFailure

ALGORITHM = "RSA_AES_KEY_WRAP_256"
KEK = bytes(range(32))


def wrapped(body: bytes) -> bytes:
    """A ciphertext whose AES key is KEK: 256 bytes that ``known`` takes for it, then the wrapped key."""
    return bytes(256) + body


def known(cipher: bytes, hash_name: str) -> bytes:
    assert (len(cipher), hash_name) == (256, "sha256")
    return KEK


# --- known answers


@pytest.mark.parametrize(
    ("kek", "plain", "cipher"),
    [
        # RFC 5649, section 6
        (
            "5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8",
            "c37b7e6492584340bed12207808941155068f738",
            "138bdeaa9b8fa7fc61f97742e72248ee5ae6ae5360d1ae6a5f54f373fa543b6a",
        ),
        ("5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8", "466f7250617369", "afbeb0f07dfbf5419200f2ccb50bb24f"),
    ],
)
def test_the_library_agrees_with_the_rfc(kek: str, plain: str, cipher: str) -> None:
    assert aes_key_unwrap_with_padding(bytes.fromhex(kek), bytes.fromhex(cipher)).hex() == plain


def test_a_known_answer_with_a_256_bit_key() -> None:
    body = bytes.fromhex("c783bf3f6ee99c48dabbc410e284c52cbf758578989de18a3294c9a4d197c8a26270488b1ce98016")
    assert unwrap.unwrap(wrapped(body), ALGORITHM, known) == bytes(range(32))


def kwp(head: bytes, padded: bytes) -> bytes:
    """RFC 5649 with any initial value and padding, so that wrong ones can be made."""
    aes = Cipher(algorithms.AES(KEK), modes.ECB()).encryptor()
    if len(padded) == 8:
        return aes.update(head + padded)
    a, blocks = head, [padded[i : i + 8] for i in range(0, len(padded), 8)]
    for j in range(6):
        for i, block in enumerate(blocks):
            b = aes.update(a + block)
            a = (int.from_bytes(b[:8], "big") ^ (len(blocks) * j + i + 1)).to_bytes(8, "big")
            blocks[i] = b[8:]
    return a + b"".join(blocks)


def test_our_own_wrap_is_the_standards() -> None:
    body = kwp(bytes.fromhex("a65959a600000014"), bytes(20) + bytes(4))
    assert unwrap.unwrap(wrapped(body), ALGORITHM, known) == bytes(20)


@pytest.mark.parametrize(
    ("head", "padded"),
    [
        pytest.param("a65959a700000014", bytes(24), id="another constant"),
        pytest.param("a6a6a6a6a6a6a6a6", bytes(24), id="the constant of RFC 3394"),
        pytest.param("a65959a600000010", bytes(24), id="a whole block of padding"),
        pytest.param("a65959a600000019", bytes(24), id="longer than the data"),
        pytest.param("a65959a6ffffffff", bytes(24), id="absurdly long"),
        pytest.param("a65959a600000014", bytes(20) + b"\0\0\0\1", id="padding is not zero"),
        pytest.param("a65959a600000000", bytes(8), id="one block, no data"),
        pytest.param("a65959a600000009", bytes(8), id="one block, too long"),
        pytest.param("a65959a600000007", b"\1" * 8, id="one block, padding is not zero"),
    ],
)
def test_a_broken_key_wrap(head: str, padded: bytes) -> None:
    with refused("unwrap_failed"):
        unwrap.unwrap(wrapped(kwp(bytes.fromhex(head), padded)), ALGORITHM, known)


def test_any_altered_bit_of_the_wrapped_key_is_noticed() -> None:
    body = bytearray(kwp(bytes.fromhex("a65959a600000020"), os.urandom(32)))
    for place in range(0, len(body), 7):
        body[place] ^= 0x10
        with refused("unwrap_failed"):
            unwrap.unwrap(wrapped(bytes(body)), ALGORITHM, known)
        body[place] ^= 0x10


# --- the envelope


@pytest.mark.parametrize("algorithm", sorted(fakes.HASHES))
def test_every_algorithm_the_vault_offers(algorithm: str) -> None:
    material = pkcs8(ec_key("released"))
    assert unwrap.unwrap(fakes.wrap(material, algorithm), algorithm, oaep) == material


@pytest.mark.parametrize("used", sorted(fakes.HASHES))
@pytest.mark.parametrize("asked", sorted(fakes.HASHES))
def test_another_hash_than_asked_does_not_open(used: str, asked: str) -> None:
    if used == asked:
        assert unwrap.unwrap(fakes.wrap(b"x" * 24, used), asked, oaep) == b"x" * 24
        return
    with refused("unwrap_failed"):
        unwrap.unwrap(fakes.wrap(b"x" * 24, used), asked, oaep)


@pytest.mark.parametrize("size", [0, 8, 255, 256, 264, 271, 273, 279])
def test_an_impossible_length(size: int) -> None:
    with refused("unwrap_failed"):
        unwrap.unwrap(bytes(size), ALGORITHM, known)


@pytest.mark.parametrize("size", [0, 16, 24, 31, 33])
def test_an_aes_key_of_another_size(size: int) -> None:
    with refused("unwrap_failed"):
        unwrap.unwrap(bytes(256 + 40), ALGORITHM, lambda _cipher, _hash: bytes(size))


@pytest.mark.parametrize("size", [16, 24])
def test_a_key_wrapped_with_a_shorter_aes_key(size: int) -> None:
    with refused("unwrap_failed"):
        unwrap.unwrap(fakes.wrap(b"x" * 24, ALGORITHM, size), ALGORITHM, oaep)


@pytest.mark.parametrize("reason", ["pcr_changed", "tpm_busy"])
def test_other_failures_of_the_tpm_keep_their_reason(reason: str) -> None:
    def decrypt(_cipher: bytes, _hash: str) -> bytes:
        raise SkrFailure(reason, "from the TPM")

    with refused(reason):
        unwrap.unwrap(bytes(256 + 40), ALGORITHM, decrypt)


# --- the key


def traditional(key: t.Any) -> bytes:
    """PKCS#1 or SEC 1."""
    return bytes(
        key.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
    )


@pytest.mark.parametrize("form", [pkcs8, traditional])
@pytest.mark.parametrize(
    "key",
    [
        pytest.param(rsa_key("released"), id="RSA"),
        *[
            pytest.param(ec_key("released", curve), id=curve)
            for curve in ("secp256r1", "secp256k1", "secp384r1", "secp521r1")
        ],
    ],
)
def test_every_kind_of_key_in_either_form(key: t.Any, form: t.Callable[[t.Any], bytes]) -> None:
    loaded = unwrap.load(form(key), jwk(key))
    assert loaded.private_numbers() == key.private_numbers()


@pytest.mark.parametrize("exponent", ["AQAB", "AAEAAQ", "AAAAAQAB"])
def test_exponents_are_compared_as_numbers(exponent: str) -> None:
    assert unwrap.load(pkcs8(rsa_key("released")), {**jwk(rsa_key("released")), "e": exponent})


@pytest.mark.parametrize(
    ("key", "public"),
    [
        pytest.param(rsa_key("released"), jwk(rsa_key("other")), id="another RSA key"),
        pytest.param(rsa_key("released"), {**jwk(rsa_key("released")), "e": "Aw"}, id="another exponent"),
        pytest.param(rsa_key("released"), {"kty": "RSA-HSM"}, id="no public half"),
        pytest.param(rsa_key("released"), {**jwk(rsa_key("released")), "n": 5}, id="modulus is a number"),
        pytest.param(rsa_key("released"), jwk(ec_key("released")), id="EC announced, RSA found"),
        pytest.param(ec_key("released"), jwk(rsa_key("released")), id="RSA announced, EC found"),
        pytest.param(ec_key("released"), jwk(ec_key("other")), id="another EC key"),
        pytest.param(ec_key("released"), {**jwk(ec_key("released")), "crv": "P-256K"}, id="another curve"),
        pytest.param(ec_key("released"), {**jwk(ec_key("released")), "crv": []}, id="curve is a list"),
        pytest.param(ec_key("released"), {**jwk(ec_key("released")), "y": "%"}, id="y is not base64url"),
        pytest.param(ed25519.Ed25519PrivateKey.generate(), jwk(ec_key("released")), id="a kind that no vault has"),
    ],
)
def test_a_private_key_that_does_not_fit_the_answer(key: t.Any, public: t.Dict[str, t.Any]) -> None:
    with refused("response_key_mismatch"):
        unwrap.load(pkcs8(key), public)


def test_an_ec_key_whose_stated_public_half_is_not_its_own() -> None:
    """The DER of an EC key carries a public point beside the private number; only the number counts."""
    mine, other = ec_key("released"), ec_key("other")
    point = {
        name: key.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
        for name, key in (("mine", mine), ("other", other))
    }
    forged = pkcs8(mine).replace(point["mine"], point["other"])
    assert forged != pkcs8(mine)
    with pytest.raises(SkrFailure) as info:
        unwrap.load(forged, jwk(other))
    assert info.value.reason in ("response_key_mismatch", "unwrap_failed")


def test_an_rsa_key_whose_private_half_is_not_its_own() -> None:
    """n and e fit the answer, d, p and q are another key's."""
    mine = rsa_key("released").public_key().public_numbers()
    size = 256
    other = rsa_key("other").private_numbers().public_numbers.n
    forged = pkcs8(rsa_key("other")).replace(other.to_bytes(size, "big"), mine.n.to_bytes(size, "big"))
    assert forged != pkcs8(rsa_key("other"))
    with pytest.raises(SkrFailure) as info:
        unwrap.load(forged, jwk(rsa_key("released")))
    assert info.value.reason in ("response_key_mismatch", "unwrap_failed")


@pytest.mark.parametrize(
    "material",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\x01" * 32, id="raw bytes of a symmetric key"),
        pytest.param(pkcs8(rsa_key("released"))[:-5], id="cut short"),
        pytest.param(fakes.private_pem(rsa_key("released")), id="PEM"),
        pytest.param(
            rsa_key("released")
            .public_key()
            .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo),
            id="a public key",
        ),
        pytest.param(
            pkcs8(ec_key("released")).replace(
                bytes.fromhex("06082a8648ce3d030107"), bytes.fromhex("06082a8648ce3d03017f")
            ),
            id="a curve nobody knows",
        ),
        pytest.param(
            pkcs8(rsa_key("released")).replace(
                bytes.fromhex("06092a864886f70d010101"), bytes.fromhex("06092a864886f70d01017f")
            ),
            id="a kind nobody knows",
        ),
    ],
)
def test_material_that_is_no_key(material: bytes) -> None:
    with refused("unwrap_failed") as info:
        unwrap.load(material, {"kty": "oct-HSM"})
    assert "oct-HSM" in info.value.message


def test_no_failure_quotes_the_material() -> None:
    with refused("unwrap_failed") as info:
        unwrap.load(b"sentinel" * 4, {"kty": "oct-HSM"})
    assert "sentinel" not in json.dumps(info.value.as_result())


# --- what leaves the room


@pytest.mark.parametrize("key", [rsa_key("released"), ec_key("released")])
def test_pem_is_pkcs8_and_always_the_same(key: t.Any) -> None:
    content = unwrap.pem(key)
    assert isinstance(content, bytearray) and content.startswith(b"-----BEGIN PRIVATE KEY-----\n")
    assert content == unwrap.pem(key) and content.endswith(b"-----END PRIVATE KEY-----\n")
    assert unwrap.fingerprint_of_pem(bytes(content)) == unwrap.public_facts(key)["public_key_sha256"]


@pytest.mark.parametrize("key", [rsa_key("released"), ec_key("released")])
def test_public_facts_are_public(key: t.Any) -> None:
    facts = unwrap.public_facts(key)
    assert set(facts) == {"public_key_pem", "public_key_sha256"}
    public = serialization.load_pem_public_key(facts["public_key_pem"].encode())
    info = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert hashlib.sha256(info).hexdigest() == facts["public_key_sha256"]


def test_openssl_computes_the_same_fingerprint() -> None:
    content = bytes(unwrap.pem(ec_key("released")))
    try:
        done = subprocess.run(
            ["openssl", "pkey", "-pubout", "-outform", "DER"], input=content, capture_output=True, check=True
        )
    except FileNotFoundError:
        pytest.skip("openssl's command is not installed")
    assert hashlib.sha256(done.stdout).hexdigest() == unwrap.fingerprint_of_pem(content)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"text",
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        fakes.private_pem(ed25519.Ed25519PrivateKey.generate()),
        fakes.private_pem(ec_key("released")).replace(b"PRIVATE", b"PUBLIC"),
        bytes(
            ec_key("released").private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.BestAvailableEncryption(b"secret"),
            )
        ),
    ],
)
def test_other_files_have_no_fingerprint(content: bytes) -> None:
    assert unwrap.fingerprint_of_pem(content) is None


def test_a_file_of_a_curve_nobody_knows_has_no_fingerprint() -> None:
    der = pkcs8(ec_key("released")).replace(
        bytes.fromhex("06082a8648ce3d030107"), bytes.fromhex("06082a8648ce3d03017f")
    )
    body = fakes.b64(der)
    content = f"-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n".encode()
    assert unwrap.fingerprint_of_pem(content) is None


def test_wiping_leaves_zeros() -> None:
    one, two = bytearray(b"secret"), bytearray(b"more")
    unwrap.wipe(one, two, bytearray())
    assert (one, two) == (bytearray(6), bytearray(4))


def test_the_types_a_user_gets() -> None:
    assert isinstance(unwrap.load(pkcs8(rsa_key("released")), jwk(rsa_key("released"))), rsa.RSAPrivateKey)
    assert isinstance(unwrap.load(pkcs8(ec_key("released")), jwk(ec_key("released"))), ec.EllipticCurvePrivateKey)


@pytest.mark.parametrize("member", ["d", "p", "dmp1", "dmq1", "iqmp"])
def test_rsa_key_whose_numbers_do_not_fit_is_refused(member: str) -> None:
    """The library is asked not to search for primes; that the numbers belong together is looked at all the same."""
    key = rsa.generate_private_key(65537, 2048)
    numbers = {name: getattr(key.private_numbers(), name) for name in ("d", "p", "q", "dmp1", "dmq1", "iqmp")}
    assert unwrap._consistent(key)
    numbers[member] += 2
    forged = SimpleNamespace(
        private_numbers=lambda: SimpleNamespace(public_numbers=key.public_key().public_numbers(), **numbers)
    )
    assert not unwrap._consistent(forged)  # type: ignore[arg-type]


def test_older_library_is_asked_without_its_search_for_primes_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """cryptography 38 has a switch in place of an option; it is put back, and what lacks both checks everything."""
    seen: t.List[t.Any] = []
    old = SimpleNamespace(_rsa_skip_check_key=False)

    def loader(content: bytes, password: None) -> bytes:
        seen.append(getattr(old, "_rsa_skip_check_key", None))
        if content == b"broken":
            raise ValueError(content)
        return content

    monkeypatch.setitem(sys.modules, "cryptography.hazmat.backends.openssl.backend", SimpleNamespace(backend=old))
    assert unwrap._parsed(loader, b"key") == b"key"
    with pytest.raises(ValueError, match="broken"):
        unwrap._parsed(loader, b"broken")
    assert seen == [True, True] and old._rsa_skip_check_key is False
    del old._rsa_skip_check_key
    assert unwrap._parsed(loader, b"key") == b"key" and seen[-1] is None and not hasattr(old, "_rsa_skip_check_key")
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.backends.openssl.backend", None)  # a library without it
    assert unwrap._parsed(loader, b"key") == b"key"
