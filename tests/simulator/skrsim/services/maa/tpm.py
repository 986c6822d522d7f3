# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of the TPM's evidence: attestation key, quote, certified ephemeral key (TPM 2.0 Part 2, 10.12 and 12.2)."""

from __future__ import annotations

import dataclasses
import hashlib
import struct

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from .errors import invalid
from .request import GuestRequest

AK_SET, AK_CLEAR = (
    0x00050072 & ~0x40,
    0x00020000,
)  # sign, restricted, fixedTPM, fixedParent, sensitiveDataOrigin; decrypt
EPHEMERAL_ATTRIBUTES = 0x00020432


class _Cursor:
    def __init__(self, data: bytes, check: str, name: str) -> None:
        self.data, self.at, self._check, self._name = data, 0, check, name

    def take(self, size: int) -> bytes:
        piece = self.data[self.at : self.at + size]
        if len(piece) != size:
            raise invalid(self._check, f"{self._name} is cut short.")
        self.at += size
        return piece

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def sized(self) -> bytes:
        return self.take(self.number(2))


@dataclasses.dataclass(frozen=True)
class Public:
    """An RSA TPMT_PUBLIC."""

    area: bytes
    name_alg: int
    attributes: int
    policy: bytes
    symmetric: int
    scheme: tuple[int, ...]
    bits: int
    exponent: int
    modulus: int

    @property
    def key(self) -> rsa.RSAPublicKey:
        return rsa.RSAPublicNumbers(self.exponent or 65537, self.modulus).public_key()


def public(data: bytes, check: str, name: str) -> Public:
    """A TPM2B_PUBLIC; bytes behind it are ignored."""
    area = _Cursor(data, check, name).sized()
    cursor = _Cursor(area, check, name)
    if cursor.number(2) != 0x0001:
        raise invalid(check, f"{name} is no RSA key.")
    name_alg, attributes, policy, symmetric = cursor.number(2), cursor.number(4), cursor.sized(), cursor.number(2)
    if symmetric != 0x0010:
        cursor.take(4)
    scheme: tuple[int, ...] = (cursor.number(2),)
    if scheme[0] not in (0x0010, 0x0015):  # no scheme, and RSAES: without a hash
        scheme += (cursor.number(2),)
    bits, exponent = cursor.number(2), cursor.number(4)
    return Public(
        area, name_alg, attributes, policy, symmetric, scheme, bits, exponent, int.from_bytes(cursor.sized(), "big")
    )


@dataclasses.dataclass(frozen=True)
class Attest:
    signer: bytes
    reset: int
    restart: int
    firmware: int
    body: bytes


def attest(data: bytes, kind: int, check: str, name: str) -> Attest:
    cursor = _Cursor(data, check, name)
    if cursor.take(4) != b"\xffTCG" or cursor.number(2) != kind:
        raise invalid(check, f"{name} is not the expected TPM statement.")
    signer = cursor.sized()
    cursor.sized()  # extraData: empty or not, it is not required
    cursor.take(8)
    reset, restart = cursor.number(4), cursor.number(4)
    cursor.take(1)
    return Attest(signer, reset, restart, cursor.number(8), cursor.data[cursor.at :])


def signed(key: rsa.RSAPublicKey, data: bytes, signature: bytes, check: str, name: str) -> None:
    try:
        key.verify(signature, data, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        raise invalid(check, f"The signature of {name} does not verify under the AIK.") from None


def check(request: GuestRequest, root: x509.Certificate, now: float) -> tuple[Public, Public, x509.Certificate]:
    """Checks 2 to 7; returns the attestation key, the ephemeral key and the attestation key's certificate."""
    # 2
    ak = public(request.ak_public, "2.ak_public", "AikPub")
    if ak.bits != 2048 or ak.attributes & AK_SET != AK_SET or ak.attributes & AK_CLEAR or ak.scheme != (0x0014, 0x000B):
        raise invalid("2.ak_attributes", "AikPub is not a restricted RSASSA-SHA256 signing key of 2048 bits.")
    # 3
    certificate = _certificate(request.ak_certificate, ak, root, now)
    # 4
    quote = attest(request.quote, 0x8018, "4.quote", "PcrQuote")
    bits = sum(1 << pcr for pcr in request.pcr_set)
    selection = struct.pack(">IHB", 1, 0x000B, 3) + bits.to_bytes(3, "little")
    if quote.body[:10] != selection or set(request.pcr_set) != set(request.pcrs):
        raise invalid("4.selection", "The quote's selection is not PcrSet, or PCRs are missing.")
    digest = hashlib.sha256(b"".join(request.pcrs[pcr] for pcr in sorted(request.pcrs))).digest()
    if quote.body[10:] != b"\0\x20" + digest:
        raise invalid("4.pcr_digest", "The quote's digest is not that of the PCRs.")
    signed(ak.key, request.quote, request.quote_signature, "4.signature", "PcrQuote")
    # 5
    key = public(request.key_public, "5.key_public", "EncKeyPub")
    certified = attest(request.certification, 0x8017, "5.certify", "EncKeyCertifyInfo")
    name = b"\x00\x0b" + hashlib.sha256(key.area).digest()
    if certified.body[:36] != b"\0\x22" + name:
        raise invalid("5.name", "EncKeyCertifyInfo is not about EncKeyPub.")
    signed(ak.key, request.certification, request.certification_signature, "5.signature", "EncKeyCertifyInfo")
    # 6
    one, two = (
        (quote.signer, quote.reset, quote.restart, quote.firmware),
        (certified.signer, certified.reset, certified.restart, certified.firmware),
    )
    if one != two:
        raise invalid("6.same_tpm", "The quote and the certification are of different TPMs or boots.")
    # 7
    policy = hashlib.sha256(bytes(32) + struct.pack(">I", 0x17F) + selection + digest).digest()
    shape = (key.bits, key.name_alg, key.attributes, key.symmetric, key.scheme, key.exponent or 65537)
    if shape != (2048, 0x000B, EPHEMERAL_ATTRIBUTES, 0x0010, (0x0010,), 65537):
        raise invalid("7.key_attributes", "EncKeyPub does not have the required attributes.")
    if key.policy != policy:
        raise invalid("7.key_policy", "EncKeyPub is not bound to the quoted PCRs.")
    return ak, key, certificate


def _certificate(content: bytes, ak: Public, root: x509.Certificate, now: float) -> x509.Certificate:
    if content[:2] != b"\x30\x82":
        raise invalid("3.ak_certificate", "AikCert is no certificate.")
    size = 4 + int.from_bytes(content[2:4], "big")
    try:
        certificate = x509.load_der_x509_certificate(content[:size])
        key = certificate.public_key()
    except ValueError:
        raise invalid("3.ak_certificate", "AikCert cannot be read.") from None
    if not certificate.not_valid_before_utc.timestamp() <= now <= certificate.not_valid_after_utc.timestamp():
        raise invalid("3.ak_certificate_dates", "AikCert is not valid now.")
    try:
        certificate.verify_directly_issued_by(root)
    except (ValueError, TypeError, InvalidSignature):
        raise invalid("3.ak_certificate_chain", "AikCert does not chain to a known vTPM authority.") from None
    if not isinstance(key, rsa.RSAPublicKey) or key.public_numbers().n != ak.modulus:
        raise invalid("3.ak_certificate_key", "AikCert is not for AikPub.")
    return certificate
