# SPDX-License-Identifier: GPL-3.0-or-later
"""Throw-away silicon: an AMD-like key hierarchy and SNP reports that really verify under it.

Formats: AMD 56860 (attestation report), AMD 57230 (certificates). Every subject says SIMULATED.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
import struct
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import ObjectIdentifier

from .certificates import builder, integer, name, pem, tlv

_AMD = "1.3.6.1.4.1.3704.1"
_PSS = padding.PSS(mgf=padding.MGF1(hashes.SHA384()), salt_length=48)
POLICY = 0x3001F
POLICY_DEBUG = 1 << 19
PRODUCTS = ("Milan", "Genoa", "Turin")


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


# Four different values of Turin's, so that a reader who takes one byte for another is found out.
USUAL = {"Milan": Tcb(), "Genoa": Tcb(9, 0, 21, 84), "Turin": Tcb(2, 1, 4, 75, 3)}


class Hierarchy:
    """ARK, ASK and ASVK of one product; the RSA-4096 keys are kept in ``directory``, because making them is slow."""

    def __init__(self, product: str, directory: Path) -> None:
        self.product, self._directory = product, directory
        self._ark_key = _kept_key(directory / f"ark-{product}.pem")
        self._ask_key = _kept_key(directory / f"ask-{product}.pem")
        ark = name(f"ARK-{product}", "AMD")
        self.ark = self._authority(ark, self._ark_key, 0x10000)
        self.ask = self._authority(name(f"SEV-{product}", "AMD"), self._ask_key, 0x10001)

    def _authority(self, subject: x509.Name, key: rsa.RSAPrivateKey, number: int) -> x509.Certificate:
        return (
            builder(subject, name(f"ARK-{self.product}", "AMD"), key.public_key(), 9000)
            .serial_number(number)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
            .sign(self._ark_key, hashes.SHA384(), rsa_padding=_PSS)
        )

    @functools.cached_property
    def _asvk_key(self) -> rsa.RSAPrivateKey:
        return _kept_key(self._directory / f"asvk-{self.product}.pem")

    @functools.cached_property
    def asvk(self) -> x509.Certificate:
        """The issuer of VLEKs; made when the first one is asked for."""
        return self._authority(name(f"SEV-VLEK-{self.product}", "AMD"), self._asvk_key, 0x10002)

    @property
    def chain_pem(self) -> str:
        return _pem(self.ask) + _pem(self.ark)

    @property
    def vlek_chain_pem(self) -> str:
        return _pem(self.asvk) + _pem(self.ark)

    @property
    def root_pem(self) -> str:
        return _pem(self.ark)

    def vcek(self, key: ec.EllipticCurvePublicKey, chip_id: bytes, tcb: Tcb) -> bytes:
        """DER of a VCEK certificate: of one chip at one firmware level."""
        hardware = chip_id[:8] if self.product == "Turin" else chip_id
        return self._leaf("SEV-VCEK", self.ask, self._ask_key, key, tcb, ("4", hardware))

    def vlek(self, key: ec.EllipticCurvePublicKey, tcb: Tcb) -> bytes:
        """DER of a VLEK certificate: of one provider at one firmware level, of no chip."""
        return self._leaf("SEV-VLEK", self.asvk, self._asvk_key, key, tcb, ("5", tlv(0x16, b"SIMULATED provider")))

    def _leaf(
        self,
        common: str,
        issuer: x509.Certificate,
        issuer_key: rsa.RSAPrivateKey,
        key: ec.EllipticCurvePublicKey,
        tcb: Tcb,
        identity: tuple[str, bytes],
    ) -> bytes:
        """Real ones have serial number 0, which the library refuses to write: made with 1, changed and signed anew."""
        values = {"1": tcb.boot_loader, "2": tcb.tee, "3": tcb.snp, "4": 0, "5": 0, "6": 0, "7": 0, "8": tcb.microcode}
        if self.product == "Turin":
            values["9"] = tcb.fmc
        extensions = {"1": b"\x02\x01\x00", "2": tlv(0x16, f"{self.product}-B0".encode())}
        extensions |= {f"3.{part}": integer(value) for part, value in values.items()}
        extensions |= dict([identity])
        draft = builder(name(common, "AMD"), issuer.subject, key, 2500).serial_number(1)
        for part, value in extensions.items():
            identifier = ObjectIdentifier(f"{_AMD}.{part}")
            draft = draft.add_extension(x509.UnrecognizedExtension(identifier, value), False)
        made = draft.sign(issuer_key, hashes.SHA384(), rsa_padding=_PSS)
        one, zero = (b"\xa0\x03\x02\x01\x02\x02\x01" + number for number in (b"\x01", b"\x00"))
        tbs = made.tbs_certificate_bytes.replace(one, zero, 1)
        signature = issuer_key.sign(tbs, _PSS, hashes.SHA384())
        der = made.public_bytes(serialization.Encoding.DER)
        # Between TBS and signature stands the outer AlgorithmIdentifier, which stays.
        algorithm = der[4 + len(made.tbs_certificate_bytes) : len(der) - len(made.signature) - 5]
        return tlv(0x30, tbs + algorithm + tlv(0x03, b"\0" + signature))


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


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


_CPUID = {"Milan": (0x19, 0x01, 1), "Genoa": (0x19, 0x11, 1), "Turin": (0x1A, 0x02, 1)}


class Chip:
    """One simulated host: a chip id, firmware levels, and the VCEK that belongs to both."""

    def __init__(self, hierarchy: Hierarchy, chip_id: bytes, tcb: Tcb) -> None:
        self.hierarchy, self.tcb = hierarchy, tcb
        self.chip_id = chip_id[:8].ljust(64, b"\0") if hierarchy.product == "Turin" else chip_id
        self._key = ec.generate_private_key(ec.SECP384R1())
        self._vlek_key = ec.generate_private_key(ec.SECP384R1())
        self.vcek_der = hierarchy.vcek(self._key.public_key(), self.chip_id, tcb)

    @property
    def vcek_pem(self) -> str:
        return pem(self.vcek_der)

    def vcek_for(self, tcb: Tcb) -> str:
        """A VCEK of this chip for other firmware levels."""
        return pem(self.hierarchy.vcek(self._key.public_key(), self.chip_id, tcb))

    def vcek_under(self, other: Hierarchy) -> str:
        """A VCEK of this chip and its levels, issued by another authority."""
        return pem(other.vcek(self._key.public_key(), self.chip_id, self.tcb))

    @functools.cached_property
    def vlek_pem(self) -> str:
        return pem(self.hierarchy.vlek(self._vlek_key.public_key(), self.tcb))

    def report(
        self,
        report_data: bytes,
        measurement: bytes,
        id_key_digest: bytes,
        policy: int = POLICY,
        version: int = 3,
        vlek: bool = False,
    ) -> bytes:
        """A signed attestation report (AMD 56860, table "ATTESTATION_REPORT structure")."""
        tcb = self.tcb.encode(self.hierarchy.product)
        report = bytearray(1184)
        struct.pack_into("<IIQ", report, 0, version, 8, policy)
        report[0x10:0x20] = b"\x01".ljust(16, b"\0")
        report[0x20:0x30] = b"\x02".ljust(16, b"\0")
        struct.pack_into("<II", report, 0x30, 0, 1)
        report[0x38:0x40] = tcb
        struct.pack_into("<QI", report, 0x40, 0x1, 1 << 2 if vlek else 0)
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
        if version >= 5:  # launch and current mitigation vectors
            struct.pack_into("<QQ", report, 0x1F8, 0x1F, 0x1F)
        self.sign(report, vlek)
        return bytes(report)

    def sign(self, report: bytearray, vlek: bool = False) -> None:
        """Sign the first 0x2A0 bytes, as the chip would if it had made them."""
        key = self._vlek_key if vlek else self._key
        r, s = decode_dss_signature(key.sign(bytes(report[:0x2A0]), ec.ECDSA(hashes.SHA384())))
        report[0x2A0:0x2E8] = r.to_bytes(72, "little")
        report[0x2E8:0x330] = s.to_bytes(72, "little")
