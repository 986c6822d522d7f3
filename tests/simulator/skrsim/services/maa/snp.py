# SPDX-License-Identifier: GPL-3.0-or-later
"""Check 10: the SNP report and its certificates (AMD 56860, AMD 57230)."""

from __future__ import annotations

import dataclasses
import struct
import typing as t
import warnings

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding

from .errors import invalid

_OID = "1.3.6.1.4.1.3704.1"
_FAMILIES = {(0x19, 0x01): "Milan", (0x19, 0x11): "Genoa", (0x1A, 0x02): "Turin"}
# Which byte of a TCB is what: Turin's order is its own.
_LEVELS = {"bootloader": 0, "tee": 1, "snpfw": 6, "microcode": 7}
_TURIN = {"fmc": 0, "bootloader": 1, "tee": 2, "snpfw": 3, "microcode": 7}
_PARTS = {"bootloader": "3.1", "tee": "3.2", "snpfw": "3.3", "microcode": "3.8", "fmc": "3.9"}


@dataclasses.dataclass(frozen=True)
class Snp:
    """A verified report with the firmware levels of its reported TCB."""

    raw: bytes
    product: str
    svn: dict[str, int]

    @property
    def report_data(self) -> bytes:
        return self.raw[0x50:0x90]

    @property
    def id_key_digest(self) -> bytes:
        return self.raw[0xE0:0x110]

    @property
    def debug(self) -> bool:
        return bool(struct.unpack_from("<Q", self.raw, 8)[0] >> 19 & 1)

    @property
    def policy(self) -> int:
        return int(struct.unpack_from("<Q", self.raw, 8)[0])


def _load(pem: str) -> list[x509.Certificate]:
    with warnings.catch_warnings():
        # The library warns of the serial number 0 that every VCEK has.
        warnings.simplefilter("ignore")
        try:
            return x509.load_pem_x509_certificates(pem.encode())
        except ValueError:
            raise invalid("10.chain", "VcekCertChain cannot be read.") from None


def check(report: bytes, chain_pem: str, roots: list[bytes]) -> Snp:
    """Check 10: report and chain."""
    if len(report) != 1184:
        raise invalid("10.size", "The SNP report must have 1184 bytes.")
    version, policy = struct.unpack_from("<I4xQ", report)
    if version not in (2, 3, 5) or struct.unpack_from("<I", report, 0x34)[0] != 1:
        raise invalid("10.version", "The SNP report's version or signature algorithm is not supported.")
    if report[0x48] >> 2 & 7:
        raise invalid("10.signing_key", "The SNP report is not signed by a VCEK.")
    chain = _load(chain_pem)
    if len(chain) != 3:
        raise invalid("10.chain", "VcekCertChain must hold VCEK, ASK and ARK.")
    vcek, ask, ark = chain
    if ark.public_bytes(Encoding.DER) not in roots:
        raise invalid("10.root", "The VCEK chain does not end at a known root.")
    for subject, issuer in ((ark, ark), (ask, ark), (vcek, ask)):
        _issued(subject, issuer)
    product = _product(report, vcek)
    key = vcek.public_key()
    r, s = (int.from_bytes(report[at : at + 72], "little") for at in (0x2A0, 0x2E8))
    svn = _tcb(report, vcek, product)
    hardware = _extension(vcek, "4")
    if len(hardware) != (8 if product == "Turin" else 64):
        raise invalid("10.vcek_extensions", "The VCEK's hardware id is of another size than its product has.")
    if any(report[0x1A0:0x1E0]) and report[0x1A0:0x1E0] != hardware.ljust(64, b"\0"):
        raise invalid("10.chip_id", "The VCEK is of another chip.")
    try:
        assert isinstance(key, ec.EllipticCurvePublicKey)
        key.verify(encode_dss_signature(r, s), report[:0x2A0], ec.ECDSA(hashes.SHA384()))
    except (InvalidSignature, AssertionError):
        raise invalid("10.signature", "The SNP report's signature does not verify.") from None
    if struct.unpack_from("<I", report, 0x30)[0] != 0:
        raise invalid("10.vmpl", "The SNP report is not of VMPL 0.")
    if not policy >> 17 & 1:
        raise invalid("10.policy", "The SNP guest policy has a reserved bit clear.")
    return Snp(report, product, svn)


def _issued(subject: x509.Certificate, issuer: x509.Certificate) -> None:
    key = issuer.public_key()
    pss = padding.PSS(mgf=padding.MGF1(hashes.SHA384()), salt_length=48)
    try:
        assert isinstance(key, rsa.RSAPublicKey) and subject.issuer == issuer.subject
        key.verify(subject.signature, subject.tbs_certificate_bytes, pss, hashes.SHA384())
    except (InvalidSignature, AssertionError):
        raise invalid("10.chain_signature", "A signature in the VCEK chain does not verify.") from None


def _extension(certificate: x509.Certificate, part: str) -> bytes:
    try:
        found = certificate.extensions.get_extension_for_oid(x509.ObjectIdentifier(f"{_OID}.{part}"))
    except x509.ExtensionNotFound:
        raise invalid("10.vcek_extensions", f"The VCEK lacks extension {part}.") from None
    return bytes(t.cast(x509.UnrecognizedExtension, found.value).value)


def _product(report: bytes, vcek: x509.Certificate) -> str:
    """By the issuer's name; the processor that a report of version 3 or later names must be of that product."""
    issuer = vcek.issuer.rfc4514_string()
    product = next((name for name in _FAMILIES.values() if f"CN=SEV-{name}" in issuer.split(",")), None)
    if product is None:
        raise invalid("10.chain", "The VCEK is of no known product.")
    if struct.unpack_from("<I", report)[0] >= 3 and _FAMILIES.get((report[0x188], report[0x189])) != product:
        raise invalid("10.product", "The VCEK is of another product than the report.")
    return product


def _tcb(report: bytes, vcek: x509.Certificate, product: str) -> dict[str, int]:
    """The reported TCB's levels, which the VCEK must be for."""
    places = _TURIN if product == "Turin" else _LEVELS
    svn = {name: report[0x180 + place] for name, place in places.items()}
    for name, level in svn.items():
        if int.from_bytes(_extension(vcek, _PARTS[name])[2:], "big") != level:
            raise invalid("10.tcb", "The VCEK is of another TCB than the report.")
    return svn
