# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of the SNP report and its certificates, and of the runtime data bound to it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
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
from .request import unbase64

_OID = "1.3.6.1.4.1.3704.1"


@dataclasses.dataclass(frozen=True)
class Snp:
    """A verified report with the firmware levels of its reported TCB."""

    raw: bytes
    svn: dict[str, int]

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
    key = vcek.public_key()
    r, s = (int.from_bytes(report[at : at + 72], "little") for at in (0x2A0, 0x2E8))
    svn = _tcb(report, vcek)
    if any(report[0x1A0:0x1E0]) and not report[0x1A0:0x1E0].startswith(_extension(vcek, "4")):
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
    return Snp(report, svn)


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


def _tcb(report: bytes, vcek: x509.Certificate) -> dict[str, int]:
    tcb = report[0x180:0x188]
    turin = "Turin" in vcek.issuer.rfc4514_string()
    svn = (
        {"bootloader": tcb[1], "tee": tcb[2], "snpfw": tcb[3], "microcode": tcb[7]}
        if turin
        else {"bootloader": tcb[0], "tee": tcb[1], "snpfw": tcb[6], "microcode": tcb[7]}
    )
    for name, part in (("bootloader", "3.1"), ("tee", "3.2"), ("snpfw", "3.3"), ("microcode", "3.8")):
        value = _extension(vcek, part)
        if int.from_bytes(value[2:], "big") != svn[name]:
            raise invalid("10.tcb", "The VCEK is of another TCB than the report.")
    return svn


def runtime(data: bytes, report: bytes, ak_modulus: int | None) -> dict[str, t.Any]:
    """Checks 12 and 13: runtime data hash to the report data and name the attestation key."""
    if report[0x50:0x90] != hashlib.sha256(data).digest().ljust(64, b"\0"):
        raise invalid("12.runtime_hash", "RunTimeData do not hash to the report data.")
    try:
        document = json.loads(data)
        keys = {key["kid"]: key["n"] for key in document["keys"]}
    except (ValueError, KeyError, TypeError):
        raise invalid("13.runtime_json", "RunTimeData are not the expected JSON.") from None
    if ak_modulus is not None:
        if int.from_bytes(unbase64(keys.get("HCLAkPub"), "HCLAkPub"), "big") != ak_modulus:
            raise invalid("13.ak", "HCLAkPub in RunTimeData is not AikPub.")
    return t.cast(dict[str, t.Any], document)
