# SPDX-License-Identifier: GPL-3.0-or-later
"""Check 11: a TD quote and the certificates behind it (Intel "TDX DCAP Quoting Library API", appendix A)."""

from __future__ import annotations

import dataclasses
import hashlib
import struct
import typing as t

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding

from .errors import invalid
from .token import COMPLIANT, NOT_COMPLIANT

VENDOR = bytes.fromhex("939a7233f79c4ca9940a0db3957f0607")
_HEADER = 48
_BODIES = {2: 584, 3: 648}
_ATTRIBUTES = {"debug": 0, "septve_disable": 28, "protection_keys": 30, "key_locker": 31, "perfmon": 63}


@dataclasses.dataclass(frozen=True)
class Td:
    """The body of a verified quote."""

    body: bytes

    def part(self, offset: int, size: int = 48) -> bytes:
        return self.body[offset : offset + size]

    @property
    def report_data(self) -> bytes:
        return self.part(520, 64)

    @property
    def config_id(self) -> bytes:
        return self.part(184)

    @property
    def mrtd(self) -> bytes:
        return self.part(136)

    @property
    def tee_tcb_svn(self) -> bytes:
        return self.part(0, 16)

    @property
    def attributes(self) -> int:
        return int(struct.unpack_from("<Q", self.body, 120)[0])

    @property
    def debug(self) -> bool:
        return bool(self.attributes & 1)


class _Reader:
    """Pieces of a quote, one behind the other."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, size: int) -> bytes:
        piece = self.data[self.at : self.at + size]
        if len(piece) != size:
            raise invalid("11.size", "The TD quote is cut short.")
        self.at += size
        return piece

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def end(self) -> None:
        if self.at != len(self.data):
            raise invalid("11.size", "The TD quote has more bytes than its sizes say.")


def check(quote: bytes, roots: list[bytes], now: float) -> Td:
    """Header and body, then from the root down: PCK chain, quoting enclave, attestation key, quote. Raises Refusal."""
    reader = _Reader(quote)
    header = reader.take(_HEADER)
    version, key_type, tee_type = struct.unpack_from("<HHI", header)
    if version not in (4, 5):
        raise invalid("11.version", f"A TD quote of version {version} is not supported.")
    if tee_type != 0x81:
        raise invalid("11.tee_type", "The quote is not of a TD.")
    if key_type != 2 or header[12:28] != VENDOR:
        raise invalid("11.key_type", "The quote is not of a known quoting enclave.")
    body = reader.take(584) if version == 4 else _described(reader)
    signed = quote[: reader.at]
    signatures = _Reader(reader.take(reader.number(4)))
    if quote[reader.at :].strip(b"\0"):  # hosts give the buffer they were given, with zeros behind the quote
        raise invalid("11.size", "The TD quote has more bytes than its sizes say.")
    signature, key = signatures.take(64), signatures.take(64)
    enclave, enclave_signature, auth, chain = _certification(signatures)
    pck = _chain(chain, roots, now)
    _verify(pck, enclave_signature, enclave, "11.qe_signature", "The quoting enclave's report")
    if enclave[320:384] != hashlib.sha256(key + auth).digest().ljust(64, b"\0"):
        raise invalid("11.qe_binding", "The quoting enclave does not vouch for the attestation key.")
    try:
        attestation_key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + key)
    except ValueError:
        raise invalid("11.attestation_key", "The attestation key is no point of the curve.") from None
    _verify(attestation_key, signature, signed, "11.signature", "The TD quote")
    return Td(body)


def _described(reader: _Reader) -> bytes:
    """The body of a quote of version 5."""
    kind, size = reader.number(2), reader.number(4)
    if _BODIES.get(kind) != size:
        raise invalid("11.body_type", f"A quote body of type {kind} and {size} bytes is not supported.")
    return reader.take(size)


def _certification(reader: _Reader) -> tuple[bytes, bytes, bytes, str]:
    """Enclave report, its signature, authentication data and PCK chain out of the certification data."""
    kind, size = reader.number(2), reader.number(4)
    if kind != 6:
        raise invalid("11.certification", f"Certification data of type {kind} are not supported.")
    inner = _Reader(reader.take(size))
    reader.end()
    report, signature = inner.take(384), inner.take(64)
    auth = inner.take(inner.number(2))
    kind, size = inner.number(2), inner.number(4)
    if kind != 5:
        raise invalid("11.certification", f"Certification data of type {kind} are not supported.")
    chain = inner.take(size)
    inner.end()
    return report, signature, auth, chain.rstrip(b"\0").decode("ascii", "replace")


def _chain(pem: str, roots: list[bytes], now: float) -> ec.EllipticCurvePublicKey:
    """The PCK's key, after its chain has been followed to a known root."""
    try:
        certificates = x509.load_pem_x509_certificates(pem.encode())
    except ValueError:
        raise invalid("11.chain", "The PCK chain cannot be read.") from None
    if len(certificates) != 3:
        raise invalid("11.chain", "The PCK chain must hold the PCK, its issuer and the root.")
    pck, issuer, root = certificates
    if root.public_bytes(Encoding.DER) not in roots:
        raise invalid("11.root", "The PCK chain does not end at a known root.")
    for certificate, above in ((root, root), (issuer, root), (pck, issuer)):
        try:
            certificate.verify_directly_issued_by(above)
        except (ValueError, TypeError, InvalidSignature):
            raise invalid("11.chain_signature", "A signature in the PCK chain does not verify.") from None
        if not certificate.not_valid_before_utc.timestamp() <= now <= certificate.not_valid_after_utc.timestamp():
            raise invalid("11.chain_dates", "A certificate of the PCK chain is not valid now.")
    constraints = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value
    key = pck.public_key()
    if not constraints.ca or not isinstance(key, ec.EllipticCurvePublicKey):
        raise invalid("11.chain", "The PCK chain's certificates are not what they must be.")
    return key


def _verify(key: ec.EllipticCurvePublicKey, signature: bytes, data: bytes, clause: str, name: str) -> None:
    r, s = (int.from_bytes(part, "big") for part in (signature[:32], signature[32:]))
    try:
        key.verify(encode_dss_signature(r, s), data, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        raise invalid(clause, f"{name} has a signature that does not verify.") from None


def claims(td: Td, current: bool, compliant: bool) -> dict[str, t.Any]:
    """The claims of a TD; nested for guest tokens, at top level for platform tokens.

    ``current``: its TDX module is recent enough. ``compliant``: Azure's own measure of the whole platform.
    """
    measured = {
        "mrseam": 16, "mrsignerseam": 64, "mrtd": 136, "mrconfigid": 184, "mrowner": 232, "mrownerconfig": 280,
        **{f"rtmr{number}": 328 + 48 * number for number in range(4)},
    }  # fmt: skip
    flags = {f"tdx_td_attributes_{name}": bool(td.attributes >> bit & 1) for name, bit in _ATTRIBUTES.items()}
    return {
        "x-ms-attestation-type": "tdxvm",
        "x-ms-compliance-status": COMPLIANT if compliant else NOT_COMPLIANT,
        **{f"tdx_{name}": td.part(offset).hex() for name, offset in measured.items()},
        **flags,
        "tdx_report_data": td.report_data.hex(),
        "tdx_seam_attributes": td.part(112, 8).hex(),
        "tdx_seamsvn": int.from_bytes(td.tee_tcb_svn[:1], "little"),
        "tdx_tee_tcb_svn": td.tee_tcb_svn.hex(),
        "tdx_td_attributes": td.part(120, 8).hex(),
        "tdx_xfam": td.part(128, 8).hex(),
        "tdx_is_debuggable": td.debug,
        "attester_tcb_status": "UpToDate" if current else "OutOfDate",
        "dbgstat": "enabled" if td.debug else "disabled",
        "eat_profile": "https://aka.ms/maa-eat-profile-tdxvm",
        "intuse": "generic",
    }
