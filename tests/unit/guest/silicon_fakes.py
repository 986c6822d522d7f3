# SPDX-License-Identifier: GPL-3.0-or-later
"""Hardware reports and certificates made for tests, so that each can be wrong in exactly one way.

Certificates are written as DER by hand: a VCEK has serial number 0, which libraries refuse to write.
"""

from __future__ import annotations

import base64
import dataclasses
import functools
import hashlib
import json
import struct
import time
import typing as t

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

AMD = "1.3.6.1.4.1.3704.1"
VMID = "26F8BC30-774E-4290-8E7A-535F3B672AEE"
ALGORITHMS = {"pss": "1.2.840.113549.1.1.10", "rsa": "1.2.840.113549.1.1.11"}
YEAR = 365 * 86400


@functools.cache
def rsa_key(name: str) -> rsa.RSAPrivateKey:
    """A throw-away key, made once for each name."""
    return rsa.generate_private_key(65537, 2048)


@functools.cache
def ec_key(name: str, curve: t.Type[ec.EllipticCurve] = ec.SECP384R1) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(curve())


def modulus_of(key: t.Any) -> int:
    return int(key.public_key().public_numbers().n)


# --- DER


def tlv(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    size = len(content)
    if size < 128:
        return bytes([tag, size]) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(octets)]) + octets + content


def integer(value: int) -> bytes:
    return tlv(2, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def oid(text: str) -> bytes:
    first, second, *rest = (int(part) for part in text.split("."))
    octets = b""
    for number in (40 * first + second, *rest):
        piece = [number & 0x7F]
        while number := number >> 7:
            piece.insert(0, number & 0x7F | 0x80)
        octets += bytes(piece)
    return tlv(6, octets)


def name(common: str) -> bytes:
    attributes = (("2.5.4.10", "SIMULATED"), ("2.5.4.3", common))
    return tlv(0x30, *(tlv(0x31, tlv(0x30, oid(kind), tlv(0x0C, text.encode()))) for kind, text in attributes))


def date(seconds: float) -> bytes:
    form = (0x17, "%y%m%d%H%M%SZ") if seconds < 2524608000 else (0x18, "%Y%m%d%H%M%SZ")
    return tlv(form[0], time.strftime(form[1], time.gmtime(seconds)).encode())


def spki(key: t.Any) -> bytes:
    made = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return bytes(made)


SHA384 = tlv(0x30, oid("2.16.840.1.101.3.4.2.2"), b"\x05\x00")
MGF1 = tlv(0x30, oid("1.2.840.113549.1.1.8"), SHA384)
PSS_PARAMETERS = tlv(0x30, tlv(0xA0, SHA384), tlv(0xA1, MGF1), tlv(0xA2, integer(48)))


def certificate(
    subject: str,
    issuer: str,
    public: bytes,
    signer: rsa.RSAPrivateKey,
    serial: int = 0,
    extensions: t.Optional[t.Mapping[str, bytes]] = None,
    algorithm: str = "pss",
    begin: float = 0,
    end: float = 0,
) -> bytes:
    """DER of a certificate; valid from yesterday for a year unless said otherwise."""
    now = time.time()
    scheme = tlv(0x30, oid(ALGORITHMS[algorithm]), PSS_PARAMETERS if algorithm == "pss" else b"\x05\x00")
    validity = tlv(0x30, date(begin or now - 86400), date(end or now + YEAR))
    listed = [tlv(0x30, oid(kind), tlv(4, value)) for kind, value in (extensions or {}).items()]
    tail = [tlv(0xA3, tlv(0x30, *listed))] if listed else []
    tbs = tlv(
        0x30, tlv(0xA0, integer(2)), integer(serial), scheme, name(issuer), validity, name(subject), public, *tail
    )
    if algorithm == "pss":
        signature = signer.sign(tbs, padding.PSS(padding.MGF1(hashes.SHA384()), 48), hashes.SHA384())
    else:
        signature = signer.sign(tbs, padding.PKCS1v15(), hashes.SHA256())
    return tlv(0x30, tbs, scheme, tlv(3, b"\0", signature))


def pem(*ders: bytes) -> str:
    return "".join(
        f"-----BEGIN CERTIFICATE-----\n{base64.encodebytes(one).decode()}-----END CERTIFICATE-----\n" for one in ders
    )


# --- one host


@dataclasses.dataclass
class Host:
    """The silicon under a VM: product, chip, firmware levels (boot loader, tee, snp, microcode; fmc on Turin)."""

    product: str = "Milan"
    chip_id: bytes = bytes(range(64))
    tcb: t.Tuple[int, int, int, int] = (4, 0, 24, 219)
    fmc: int = 1
    key: str = "vcek"

    def __post_init__(self) -> None:
        if self.product == "Turin":
            self.chip_id = self.chip_id[:8].ljust(64, b"\0")

    @property
    def ark(self) -> bytes:
        common = f"ARK-{self.product}"
        return _root(common)

    @property
    def ask(self) -> bytes:
        return _intermediate(f"SEV-{self.product}", f"ARK-{self.product}")

    def tcb_bytes(self) -> bytes:
        loader, tee, firmware, microcode = self.tcb
        if self.product == "Turin":
            return bytes([self.fmc, loader, tee, firmware, 0, 0, 0, microcode])
        return bytes([loader, tee, 0, 0, 0, 0, firmware, microcode])

    def extensions(self) -> t.Dict[str, bytes]:
        parts = dict(zip((1, 2, 3, 8), self.tcb))
        if self.product == "Turin":
            parts[9] = self.fmc
        made = {f"{AMD}.3.{part}": integer(value) for part, value in parts.items()}
        made[f"{AMD}.2"] = tlv(0x16, f"{self.product}-B0".encode())
        made[f"{AMD}.4"] = self.chip_id[:8] if self.product == "Turin" else self.chip_id
        return made

    def vcek(self, extensions: t.Optional[t.Mapping[str, bytes]] = None, **changes: t.Any) -> bytes:
        fields: t.Dict[str, t.Any] = {
            "subject": "SEV-VCEK",
            "issuer": f"SEV-{self.product}",
            "public": spki(ec_key(self.key)),
            "signer": rsa_key("ask"),
            **changes,
        }
        return certificate(extensions=self.extensions() if extensions is None else extensions, **fields)

    def chain(self, **changes: t.Any) -> str:
        return pem(self.vcek(**changes), self.ask, self.ark)

    def vlek(self, extensions: t.Optional[t.Mapping[str, bytes]] = None, **changes: t.Any) -> bytes:
        """The provider's key of this firmware level: it names the provider and no chip."""
        made = {kind: value for kind, value in self.extensions().items() if not kind.endswith(".1.4")}
        made[f"{AMD}.5"] = tlv(0x16, b"Simulated Cloud")
        fields: t.Dict[str, t.Any] = {
            "subject": "SEV-VLEK",
            "issuer": f"SEV-VLEK-{self.product}",
            "public": spki(ec_key("vlek")),
            "signer": rsa_key("ask"),
            **changes,
        }
        return certificate(extensions=made if extensions is None else extensions, **fields)

    def vlek_chain(self) -> str:
        return pem(self.vlek(), _intermediate(f"SEV-VLEK-{self.product}", f"ARK-{self.product}"), self.ark)

    def report(
        self, data: bytes = b"", version: int = 3, signer: str = "", patches: t.Optional[t.Mapping[int, bytes]] = None
    ) -> bytes:
        """A signed report; ``patches`` (offset → bytes) are applied before it is signed."""
        family = {"Milan": (0x19, 0x01), "Genoa": (0x19, 0x11), "Turin": (0x1A, 0x02)}[self.product]
        raw = bytearray(1184)
        struct.pack_into("<IIQ", raw, 0, version, 8, 0x3001F)
        raw[0x34] = 1
        raw[0x50:0x90] = data.ljust(64, b"\0")
        for offset, size in ((0x90, 48), (0xC0, 32), (0xE0, 48), (0x110, 48), (0x140, 32)):
            raw[offset : offset + size] = hashlib.sha512(bytes([offset & 0xFF])).digest()[:size]
        raw[0x160:0x180] = b"\xff" * 32
        raw[0x180:0x188] = self.tcb_bytes()
        if version >= 3:
            raw[0x188:0x18B] = bytes([*family, 1])
        raw[0x1A0:0x1E0] = self.chip_id
        for offset, piece in (patches or {}).items():
            raw[offset : offset + len(piece)] = piece
        r, s = decode_dss_signature(ec_key(signer or self.key).sign(bytes(raw[:0x2A0]), ec.ECDSA(hashes.SHA384())))
        raw[0x2A0:0x2E8], raw[0x2E8:0x330] = r.to_bytes(72, "little"), s.to_bytes(72, "little")
        return bytes(raw)


@functools.cache
def _root(common: str) -> bytes:
    return certificate(common, common, spki(rsa_key("ark")), rsa_key("ark"), serial=0x10000)


@functools.cache
def _intermediate(common: str, issuer: str) -> bytes:
    return certificate(common, issuer, spki(rsa_key("ask")), rsa_key("ark"), serial=0x10001)


# --- what the paravisor makes of it


def b64u(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def runtime_data(modulus: int, user_data: t.Optional[bytes] = None, lower: bool = False) -> bytes:
    n = b64u(modulus.to_bytes(256, "big"))
    document: t.Dict[str, t.Any] = {
        "keys": [{"kid": "HCLAkPub", "key_ops": ["sign"], "kty": "RSA", "e": "AQAB", "n": n}],
        "vm-configuration": {"console-enabled": True, "secure-boot": True, "tpm-enabled": True, "vmUniqueId": VMID},
    }
    if user_data is not None:
        document["user-data"] = user_data.hex() if lower else user_data.hex().upper()
    return json.dumps(document, separators=(",", ":")).encode()


def hcl_blob(
    hardware: bytes,
    runtime: bytes,
    size: int = 2600,
    report_type: int = 2,
    hash_type: int = 1,
    header_version: int = 2,
    request_version: int = 1,
) -> bytes:
    header = struct.pack("<4sIIII12x", b"HCLA", header_version, 1236 + len(runtime), 2, 0)
    request = struct.pack("<IIIII", 20 + len(runtime), request_version, report_type, hash_type, len(runtime))
    return (header + hardware.ljust(1184, b"\0") + request + runtime).ljust(size, b"\0")
