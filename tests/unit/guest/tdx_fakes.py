# SPDX-License-Identifier: GPL-3.0-or-later
"""TD reports and quotes made for tests, so that each can be wrong in exactly one way.

Written from Intel's description of the layouts, without a look into the code under test.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import struct
import typing as t

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from unit.guest.release_fakes import certificate, ec_key, pem

VENDOR = bytes.fromhex("939a7233f79c4ca9940a0db3957f0607")


def filler(name: str, size: int = 48) -> bytes:
    """Bytes that differ from field to field."""
    return hashlib.sha512(name.encode()).digest()[:size]


def td_report(data: bytes = b"", debug: bool = False, patches: t.Optional[t.Mapping[int, bytes]] = None) -> bytes:
    """1,024 bytes; the MAC means nothing to anybody but the processor."""
    raw = bytearray(1024)
    raw[0] = 0x81
    raw[128:192] = data.ljust(64, b"\0")
    for offset, name, size in (
        (264, "tee_tcb_svn", 16), (280, "mrseam", 48), (328, "mrsignerseam", 48), (376, "seam_attributes", 8),
        (520, "xfam", 8), (528, "mrtd", 48), (576, "mrconfigid", 48), (624, "mrowner", 48), (672, "mrownerconfig", 48),
    ):  # fmt: skip
        raw[offset : offset + size] = filler(name, size)
    raw[512] = 1 if debug else 0
    for offset, piece in (patches or {}).items():
        raw[offset : offset + len(piece)] = piece
    return bytes(raw)


@functools.cache
def pki() -> bytes:
    """PCK certificate, authority and root."""
    root, platform, pck = (ec_key(name) for name in ("sgx root", "platform ca", "pck"))
    return pem(
        certificate("Simulated PCK Certificate", pck, "Simulated PCK Platform CA", platform, ca=False),
        certificate("Simulated PCK Platform CA", platform, "Simulated Root CA", root),
        root_certificate(),
    )


@functools.cache
def root_certificate() -> t.Any:
    root = ec_key("sgx root")
    return certificate("Simulated Root CA", root, "Simulated Root CA", root)


def root_pem() -> str:
    return pem(root_certificate()).decode()


def sign(key: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    r, s = decode_dss_signature(key.sign(data, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def point(key: ec.EllipticCurvePrivateKey) -> bytes:
    numbers = key.public_key().public_numbers()
    return numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")


@dataclasses.dataclass
class Quoter:
    """A platform that makes quotes; every member can be made wrong."""

    version: int = 4
    body_type: int = 2
    key_type: int = 2
    tee_type: int = 0x81
    vendor: bytes = VENDOR
    auth_data: bytes = bytes(range(32))
    attestation: str = "attestation key"
    vouched: str = "attestation key"  # the key whose hash is in the quoting enclave's report
    signer: str = "attestation key"
    enclave_signer: str = "pck"
    outer_type: int = 6
    inner_type: int = 5
    chain: t.Optional[bytes] = None
    tail: bytes = bytes(70)

    def body(self, report: bytes) -> bytes:
        """The parts of a TD report in the order of a quote's body."""
        made = report[264:384] + report[512:912] + report[128:192]
        assert len(made) == 584
        return made + (filler("tee_tcb_svn_2", 16) + filler("mrservicetd") if self.body_type == 3 else b"")

    def quote(self, report: bytes) -> bytes:
        head = struct.pack("<HHI4x", self.version, self.key_type, self.tee_type) + self.vendor + bytes(20)
        body = self.body(report)
        if self.version == 5:
            head += struct.pack("<HI", self.body_type, len(body))
        enclave = bytearray(384)
        enclave[64:96], enclave[128:160] = filler("qe", 32), filler("intel", 32)
        enclave[320:352] = hashlib.sha256(point(ec_key(self.vouched)) + self.auth_data).digest()
        chain = pki() if self.chain is None else self.chain
        inner = bytes(enclave) + sign(ec_key(self.enclave_signer), bytes(enclave))
        inner += struct.pack("<H", len(self.auth_data)) + self.auth_data
        inner += struct.pack("<HI", self.inner_type, len(chain) + 1) + chain + b"\0"
        area = sign(ec_key(self.signer), head + body) + point(ec_key(self.attestation))
        area += struct.pack("<HI", self.outer_type, len(inner)) + inner
        return head + body + struct.pack("<I", len(area)) + area + self.tail
