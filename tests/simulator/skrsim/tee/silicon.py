# SPDX-License-Identifier: GPL-3.0-or-later
"""Throw-away silicon: an AMD-like key hierarchy and SNP reports that really verify under it.

Formats: AMD 56860 (attestation report), AMD 57230 (certificates). Every subject says SIMULATED.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime
import hashlib
import os
import struct
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import NameOID, ObjectIdentifier

_AMD = "1.3.6.1.4.1.3704.1"
_PSS = padding.PSS(mgf=padding.MGF1(hashes.SHA384()), salt_length=48)
POLICY = 0x3001F
POLICY_DEBUG = 1 << 19


@dataclasses.dataclass(frozen=True)
class Tcb:
    """Firmware levels of a host."""

    boot_loader: int = 4
    tee: int = 0
    snp: int = 24
    microcode: int = 219
    fmc: int = 0

    def encode(self, product: str) -> bytes:
        if product == "Turin":
            return bytes([self.fmc, self.boot_loader, self.tee, self.snp, 0, 0, 0, self.microcode])
        return bytes([self.boot_loader, self.tee, 0, 0, 0, 0, self.snp, self.microcode])


def _name(common: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "Engineering"),
            x509.NameAttribute(NameOID.COUNTRY_NAME, "US"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "SIMULATED, not AMD"),
            x509.NameAttribute(NameOID.COMMON_NAME, common),
        ]
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.timezone.utc)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .not_valid_before(now - datetime.timedelta(days=30))
        .not_valid_after(now + datetime.timedelta(days=days))
    )


class Hierarchy:
    """ARK and ASK of one product; the two RSA-4096 keys are kept in ``directory``, because making them is slow."""

    def __init__(self, product: str, directory: Path) -> None:
        self.product = product
        self._ark_key = _kept_key(directory / f"ark-{product}.pem")
        self._ask_key = _kept_key(directory / f"ask-{product}.pem")
        ark, ask = _name(f"ARK-{product}"), _name(f"SEV-{product}")
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        self.ark = (
            _builder(ark, ark, self._ark_key.public_key(), 9000)
            .serial_number(0x10000)
            .add_extension(constraints, True)
            .sign(self._ark_key, hashes.SHA384(), rsa_padding=_PSS)
        )
        self.ask = (
            _builder(ask, ark, self._ask_key.public_key(), 9000)
            .serial_number(0x10001)
            .add_extension(constraints, True)
            .sign(self._ark_key, hashes.SHA384(), rsa_padding=_PSS)
        )

    @property
    def chain_pem(self) -> str:
        return "".join(c.public_bytes(serialization.Encoding.PEM).decode() for c in (self.ask, self.ark))

    @property
    def root_pem(self) -> str:
        return self.ark.public_bytes(serialization.Encoding.PEM).decode()

    def vcek(self, key: ec.EllipticCurvePublicKey, chip_id: bytes, tcb: Tcb) -> bytes:
        """DER of a VCEK certificate. Real ones have serial number 0, which the library refuses to write."""
        values = {"1": tcb.boot_loader, "2": tcb.tee, "3": tcb.snp, "4": 0, "5": 0, "6": 0, "7": 0, "8": tcb.microcode}
        if self.product == "Turin":
            values["9"] = tcb.fmc
        builder = _builder(_name("SEV-VCEK"), self.ask.subject, key, 2500).serial_number(1)
        builder = _extension(builder, "1", b"\x02\x01\x00")
        builder = _extension(builder, "2", _tlv(0x16, f"{self.product}-B0".encode()))
        for part, value in values.items():
            builder = _extension(builder, f"3.{part}", _integer(value))
        builder = _extension(builder, "4", chip_id[:8] if self.product == "Turin" else chip_id)
        made = builder.sign(self._ask_key, hashes.SHA384(), rsa_padding=_PSS)
        tbs = made.tbs_certificate_bytes.replace(
            b"\xa0\x03\x02\x01\x02\x02\x01\x01", b"\xa0\x03\x02\x01\x02\x02\x01\x00", 1
        )
        signature = self._ask_key.sign(tbs, _PSS, hashes.SHA384())
        der = made.public_bytes(serialization.Encoding.DER)
        middle = der[
            len(der) - len(made.signature) - 5 - self._algorithm_size(made) : len(der) - len(made.signature) - 5
        ]
        return _tlv(0x30, tbs + middle + _tlv(0x03, b"\0" + signature))

    @staticmethod
    def _algorithm_size(certificate: x509.Certificate) -> int:
        """Length of the outer AlgorithmIdentifier: what is left between TBS and signature."""
        der = certificate.public_bytes(serialization.Encoding.DER)
        return len(der) - 4 - len(certificate.tbs_certificate_bytes) - len(certificate.signature) - 5


def _kept_key(path: Path) -> rsa.RSAPrivateKey:
    if path.exists():
        key = serialization.load_pem_private_key(path.read_bytes(), None)
        assert isinstance(key, rsa.RSAPrivateKey)
        return key
    path.parent.mkdir(parents=True, exist_ok=True)
    key = rsa.generate_private_key(65537, 4096)
    temporary = path.with_suffix(f".{os.getpid()}")
    temporary.touch(mode=0o600)
    temporary.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    temporary.replace(path)
    return key


def _tlv(tag: int, content: bytes) -> bytes:
    size = len(content)
    length = (
        bytes([size]) if size < 128 else b"\x81" + bytes([size]) if size < 256 else b"\x82" + struct.pack(">H", size)
    )
    return bytes([tag]) + length + content


def _integer(value: int) -> bytes:
    return _tlv(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _extension(builder: x509.CertificateBuilder, part: str, value: bytes) -> x509.CertificateBuilder:
    return builder.add_extension(x509.UnrecognizedExtension(ObjectIdentifier(f"{_AMD}.{part}"), value), False)


_CPUID = {"Milan": (0x19, 0x01, 1), "Genoa": (0x19, 0x11, 1), "Turin": (0x1A, 0x02, 1)}


class Chip:
    """One simulated host: a chip id, firmware levels, and the VCEK that belongs to both."""

    def __init__(self, hierarchy: Hierarchy, chip_id: bytes, tcb: Tcb) -> None:
        self.hierarchy, self.tcb = hierarchy, tcb
        self.chip_id = chip_id[:8].ljust(64, b"\0") if hierarchy.product == "Turin" else chip_id
        self._key = ec.generate_private_key(ec.SECP384R1())
        self.vcek_der = hierarchy.vcek(self._key.public_key(), self.chip_id, tcb)

    @property
    def vcek_pem(self) -> str:
        return pem(self.vcek_der)

    def vcek_for(self, tcb: Tcb) -> str:
        """A VCEK of this chip for other firmware levels."""
        return pem(self.hierarchy.vcek(self._key.public_key(), self.chip_id, tcb))

    def report(
        self, report_data: bytes, measurement: bytes, id_key_digest: bytes, policy: int = POLICY, version: int = 3
    ) -> bytes:
        """A signed attestation report."""
        tcb = self.tcb.encode(self.hierarchy.product)
        report = bytearray(1184)
        struct.pack_into("<IIQ", report, 0, version, 8, policy)
        report[0x10:0x20] = b"\x01".ljust(16, b"\0")
        report[0x20:0x30] = b"\x02".ljust(16, b"\0")
        struct.pack_into("<II", report, 0x30, 0, 1)
        report[0x38:0x40] = tcb
        struct.pack_into("<QI", report, 0x40, 0x1, 0)
        report[0x50:0x90] = report_data.ljust(64, b"\0")
        report[0x90:0xC0] = measurement
        report[0xE0:0x110] = id_key_digest
        report[0x140:0x160] = hashlib.sha256(report_data + self.chip_id).digest()
        report[0x160:0x180] = b"\xff" * 32
        report[0x180:0x188] = tcb
        if version >= 3:
            report[0x188:0x18B] = bytes(_CPUID[self.hierarchy.product])
        report[0x1A0:0x1E0] = self.chip_id
        report[0x1E0:0x1E8] = tcb
        report[0x1E8:0x1EB] = bytes([21, 55, 1])
        report[0x1EC:0x1EF] = bytes([21, 55, 1])
        report[0x1F0:0x1F8] = tcb
        r, s = decode_dss_signature(self._key.sign(bytes(report[:0x2A0]), ec.ECDSA(hashes.SHA384())))
        report[0x2A0:0x2E8] = r.to_bytes(72, "little")
        report[0x2E8:0x330] = s.to_bytes(72, "little")
        return bytes(report)


def pem(der: bytes) -> str:

    text = base64.b64encode(der).decode()
    lines = "\n".join(text[start : start + 64] for start in range(0, len(text), 64))
    return f"-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----\n"


class VtpmAuthority:
    """Issues the certificates of attestation keys."""

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(65537, 2048)
        name = _name("Global Virtual TPM CA - 01")
        self.certificate = (
            _builder(name, name, self._key.public_key(), 3000)
            .serial_number(1)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
            .sign(self._key, hashes.SHA256())
        )

    def issue(self, modulus: int, label: str, now: float, days: int = 365) -> bytes:
        """DER of an AK certificate, valid from a day before ``now``."""
        at = datetime.datetime.fromtimestamp(now, datetime.timezone.utc)
        usages = x509.ExtendedKeyUsage([ObjectIdentifier("1.3.6.1.4.1.311.10.3.12"), ObjectIdentifier("2.23.133.8.3")])
        made = (
            x509.CertificateBuilder()
            .subject_name(_name(f"{label}.TrustedVM.Azure.Microsoft"))
            .issuer_name(self.certificate.subject)
            .public_key(rsa.RSAPublicNumbers(65537, modulus).public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(at - datetime.timedelta(days=1))
            .not_valid_after(at + datetime.timedelta(days=days))
            .add_extension(usages, False)
            .sign(self._key, hashes.SHA256())
        )
        return made.public_bytes(serialization.Encoding.DER)
