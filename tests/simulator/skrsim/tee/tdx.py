# SPDX-License-Identifier: GPL-3.0-or-later
"""Throw-away TDX: TD reports with a MAC that only their host can check, and quotes that really verify.

Formats: Intel 348551 "TDX Module Base Architecture" (TDREPORT_STRUCT), Intel "TDX DCAP Quoting Library API", appendix
A (quotes of version 4 and 5). Every subject says SIMULATED.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import struct

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from .intel import Intel

REPORT_SIZE = 1024
TEE_TYPE, KEY_TYPE = 0x81, 2
VENDOR = bytes.fromhex("939a7233f79c4ca9940a0db3957f0607")
TCB_SVN = bytes([3, 0, 6]).ljust(16, b"\0")
MRSEAM = hashlib.sha384(b"SIMULATED TDX module").digest()
MRTD = hashlib.sha384(b"SIMULATED paravisor under TDX").digest()
XFAM = bytes.fromhex("e718060000000000")
SEPT_VE_DISABLE, DEBUG = 1 << 28, 1
_MAC, _TCB_INFO, _TD_INFO = 224, slice(256, 256 + 239), slice(512, 1024)


class BadReport(ValueError):
    """The host does not make a quote of this."""


def _raw(key: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    """An ECDSA signature as quotes hold it: r and s, 32 bytes each, big-endian."""
    r, s = decode_dss_signature(key.sign(data, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def _point(key: ec.EllipticCurvePrivateKey) -> bytes:
    numbers = key.public_key().public_numbers()
    return numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")


class TdxHost:
    """What a host does for one TD: the CPU that makes and checks its reports, and the enclave that quotes them."""

    def __init__(self, intel: Intel) -> None:
        self._secret = os.urandom(32)
        self._pck_key = ec.generate_private_key(ec.SECP256R1())
        self._ak = ec.generate_private_key(ec.SECP256R1())
        self._auth = os.urandom(32)
        self.pck_chain = self._chain(intel)

    def _chain(self, intel: Intel) -> str:
        return intel.pck_chain(self._pck_key.public_key(), TCB_SVN)

    # --- the CPU

    def td_report(self, report_data: bytes, debug: bool = False, mrtd: bytes = MRTD) -> bytes:
        """A TDREPORT_STRUCT. RTMRs are zero, as in the VMs of Azure: the guest is measured by its vTPM."""
        report = bytearray(REPORT_SIZE)
        report[0] = TEE_TYPE
        report[16:32] = TCB_SVN
        report[128:192] = report_data.ljust(64, b"\0")
        report[256:264] = b"\xff\x01".ljust(8, b"\0")  # which members of TEE_TCB_INFO are valid
        report[264:280], report[280:328] = TCB_SVN, MRSEAM
        struct.pack_into("<Q", report, 512, SEPT_VE_DISABLE | (DEBUG if debug else 0))
        report[520:528], report[528:576] = XFAM, mrtd
        report[32:80] = hashlib.sha384(report[_TCB_INFO]).digest()
        report[80:128] = hashlib.sha384(report[_TD_INFO]).digest()
        report[_MAC:256] = self._mac(report)
        return bytes(report)

    def _mac(self, report: bytes | bytearray) -> bytes:
        return hmac.digest(self._secret, bytes(report[:_MAC]), "sha256")

    def check(self, report: bytes) -> None:
        """Raise BadReport unless this host made the report, and nothing in it was changed."""
        if len(report) != REPORT_SIZE:
            raise BadReport(f"the TD report has {len(report)} bytes, wanted {REPORT_SIZE}")
        if not hmac.compare_digest(report[_MAC:256], self._mac(report)):
            raise BadReport("the MAC of the TD report is not of this TD's host")
        for place, part in ((32, _TCB_INFO), (80, _TD_INFO)):  # what the MAC covers by its hash alone
            if report[place : place + 48] != hashlib.sha384(report[part]).digest():
                raise BadReport("a part of the TD report does not have its hash")

    # --- the quoting enclave

    def quote(self, report: bytes, version: int = 4) -> bytes:
        """A quote of a TD report of this host. Raises BadReport."""
        self.check(report)
        header = struct.pack("<HHII", version, KEY_TYPE, TEE_TYPE, 0) + VENDOR + bytes(20)
        body = report[264:384] + report[512:912] + report[128:192]
        if version == 5:
            header += struct.pack("<HI", 2, len(body))
        return self.signed(header + body)

    def signed(self, data: bytes, intel: Intel | None = None, bound: bool = True) -> bytes:
        """Header and body with the signature data behind them (certification data of type 6 around type 5).

        ``intel``: another authority that certifies this host. ``bound``: the enclave vouches for the attestation key.
        """
        point = _point(self._ak)
        # The library really leaves a NUL behind the text.
        chain = (self._chain(intel) if intel else self.pck_chain).encode() + b"\0"
        enclave = self._enclave_report(point if bound else bytes(64))
        inner = enclave + _raw(self._pck_key, enclave)
        inner += struct.pack("<H", len(self._auth)) + self._auth + struct.pack("<HI", 5, len(chain)) + chain
        signature = _raw(self._ak, data) + point + struct.pack("<HI", 6, len(inner)) + inner
        return data + struct.pack("<I", len(signature)) + signature

    def _enclave_report(self, point: bytes) -> bytes:
        """The quoting enclave's own report, which binds its attestation key."""
        report = bytearray(384)
        report[0:16] = TCB_SVN
        struct.pack_into("<QQ", report, 48, 0x15, 0xE7)  # initialised, 64 bit, provision key
        report[64:96] = hashlib.sha256(b"SIMULATED quoting enclave").digest()
        report[128:160] = hashlib.sha256(b"SIMULATED enclave signer").digest()
        struct.pack_into("<HH", report, 256, 2, 6)
        report[320:352] = hashlib.sha256(point + self._auth).digest()
        return bytes(report)
