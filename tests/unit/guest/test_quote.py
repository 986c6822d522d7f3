# SPDX-License-Identifier: GPL-3.0-or-later
"""What the TPM states and signs: quotes and certifications."""

from __future__ import annotations

import hashlib
import struct
import typing as t

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from unit.guest.release_fakes import refused
from unit.guest.silicon_fakes import modulus_of, rsa_key

from ansible_collections.confidential.azure_skr.plugins.module_utils.guest import quote

PCRS = range(8)
VALUES = [bytes([pcr]) * 32 for pcr in PCRS]
SIGNER = b"\x00\x0b" + b"s" * 32
NAME = b"\x00\x0b" + b"n" * 32
AK = rsa_key("ak")


def b2(data: bytes) -> bytes:
    return struct.pack(">H", len(data)) + data


def statement(kind: int, body: bytes, extra: bytes = b"", magic: bytes = b"\xffTCG") -> bytes:
    clock = struct.pack(">QIIBQ", 99, 3, 1, 1, 0x2020031200120003)
    return magic + struct.pack(">H", kind) + b2(SIGNER) + b2(extra) + clock + body


def quoted(bits: str = "ff0000", values: t.Sequence[bytes] = VALUES, extra: bytes = b"") -> bytes:
    digest = hashlib.sha256(b"".join(values)).digest()
    return statement(0x8018, bytes.fromhex(f"00000001000b03{bits}") + b2(digest), extra)


CERTIFIED = statement(0x8017, b2(NAME) + b2(SIGNER))


def test_layouts() -> None:
    assert (len(quoted()), len(CERTIFIED)) == (113, 141)
    made = quote.parse(quoted(extra=b""))
    assert (made.kind, made.signer, made.extra_data) == (quote.QUOTE, SIGNER, b"")
    assert (made.reset_count, made.restart_count, made.firmware_version) == (3, 1, 0x2020031200120003)
    assert made.selection == bytes.fromhex("00000001000b03ff0000")
    assert made.pcr_digest == hashlib.sha256(b"".join(VALUES)).digest() and made.name == b""
    other = quote.parse(CERTIFIED)
    assert (other.kind, other.name, other.selection) == (quote.CERTIFY, NAME, b"")
    assert quote.parse(quoted(extra=b"nonce")).extra_data == b"nonce"


def test_contents() -> None:
    quote.check_quote(quoted(), PCRS, VALUES)
    quote.check_certification(CERTIFIED, NAME)


@pytest.mark.parametrize("bits", ["fe0000", "ff0800", "ff7800", "ffffff", "000000"])
def test_a_quote_of_other_pcrs(bits: str) -> None:
    with refused("quote_invalid"):
        quote.check_quote(quoted(bits), PCRS, VALUES)


def test_a_quote_of_another_bank() -> None:
    data = quoted().replace(bytes.fromhex("00000001000b03"), bytes.fromhex("00000001000403"))
    with refused("quote_invalid"):
        quote.check_quote(data, PCRS, VALUES)


def test_a_quote_of_other_values() -> None:
    for pcr in PCRS:
        others = [b"x" * 32 if pcr == index else value for index, value in enumerate(VALUES)]
        with refused("quote_invalid"):
            quote.check_quote(quoted(), PCRS, others)
    with refused("quote_invalid"):
        quote.check_quote(quoted(), PCRS, list(reversed(VALUES)))


def test_one_kind_is_not_the_other() -> None:
    with refused("quote_invalid"):
        quote.check_quote(CERTIFIED, PCRS, VALUES)
    with refused("quote_invalid"):
        quote.check_certification(quoted(), NAME)
    with refused("quote_invalid"):
        quote.check_certification(CERTIFIED, SIGNER)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xffTCG",
        statement(0x8018, b"", magic=b"\xffTCH"),  # data signed by a key that is not restricted to the TPM's own
        statement(0x8019, bytes(100)),
        statement(0x801A, bytes(100)),
        *(quoted()[:size] for size in (5, 8, 40, 60, 80, 112)),
        *(CERTIFIED[:size] for size in (60, 100, 140)),
    ],
)
def test_what_is_no_statement(data: bytes) -> None:
    with refused("quote_invalid"):
        quote.parse(data)


def signed(data: bytes) -> bytes:
    return AK.sign(data, padding.PKCS1v15(), hashes.SHA256())


def test_signatures() -> None:
    quote.verify_signature(quoted(), signed(quoted()), modulus_of(AK), 65537, "quote")


def test_signatures_that_do_not_verify() -> None:
    data, signature = quoted(), signed(quoted())
    pss = AK.sign(data, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
    sha384 = AK.sign(data, padding.PKCS1v15(), hashes.SHA384())
    other = modulus_of(rsa_key("other ak"))
    cases: t.List[t.Tuple[bytes, bytes, int]] = [
        (data + b"\0", signature, modulus_of(AK)),
        (data, signature[:-1], modulus_of(AK)),
        (data, b"", modulus_of(AK)),
        (data, bytes(256), modulus_of(AK)),
        (data, b"\xff" * 256, modulus_of(AK)),
        (data, signature, other),
        (data, pss, modulus_of(AK)),
        (data, sha384, modulus_of(AK)),
    ]
    for changed, made, modulus in cases:
        with refused("quote_invalid"):
            quote.verify_signature(changed, made, modulus, 65537, "quote")


@pytest.mark.parametrize(("modulus", "exponent"), [(0, 65537), (1, 65537), (2**2048, 0), (2**2047 + 1, 2)])
def test_numbers_that_make_no_key(modulus: int, exponent: int) -> None:
    with refused("quote_invalid"):
        quote.verify_signature(b"data", bytes(256), modulus, exponent, "quote")


def test_every_bit_counts() -> None:
    data, signature = quoted(), signed(quoted())
    for position in range(len(data)):
        altered = bytearray(data)
        altered[position] ^= 1 << position % 8
        with refused("quote_invalid"):
            quote.verify_signature(bytes(altered), signature, modulus_of(AK), 65537, "quote")
