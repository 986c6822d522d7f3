# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The HCL attestation report that the paravisor keeps in the vTPM: layout, and the binding of its runtime data.

Layout: Microsoft, "Azure confidential VM guest attestation design"; values observed on captured reports.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import hashlib
import struct
import typing as t

from ..policy.failure import SkrFailure
from . import documents

SIGNATURE = b"HCLA"
HEADER = 32
SLOT = 1184
FIXED = HEADER + SLOT + 20
TEES = {1: "vbs", 2: "snp", 3: "trusted_launch", 4: "tdx", 5: "cca"}
HASHES = {1: "sha256", 2: "sha384", 3: "sha512"}
# Where the 64 bytes of report data are in the hardware report of each TEE.
REPORT_DATA = {"snp": 0x50, "tdx": 128}


@dataclasses.dataclass(frozen=True)
class HclReport:
    """A parsed report; nothing is verified yet."""

    raw: bytes
    header_version: int
    tee: str
    hardware_report: bytes  # 1,184 bytes
    hash_name: str
    runtime_data: bytes  # the JSON as stored: hash these bytes, never a re-serialisation
    runtime: t.Dict[str, t.Any]

    @property
    def report_data(self) -> bytes:
        offset = REPORT_DATA[self.tee]
        return self.hardware_report[offset : offset + 64]

    @property
    def user_data(self) -> t.Optional[bytes]:
        text = self.runtime.get("user-data")
        try:
            return bytes.fromhex(text) if isinstance(text, str) else None
        except ValueError:
            return None

    @property
    def vm_unique_id(self) -> t.Optional[str]:
        configuration = self.runtime.get("vm-configuration")
        value = configuration.get("vmUniqueId") if isinstance(configuration, dict) else None
        return value if isinstance(value, str) else None

    def key_modulus(self, kid: str) -> t.Optional[int]:
        """The RSA modulus of one of the report's keys (HCLAkPub, HCLEkPub)."""
        keys = self.runtime.get("keys")
        for key in keys if isinstance(keys, list) else []:
            if isinstance(key, dict) and key.get("kid") == kid and isinstance(key.get("n"), str):
                text = key["n"]
                try:
                    return int.from_bytes(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), "big")
                except (binascii.Error, ValueError):
                    return None
        return None


def parse(blob: bytes) -> HclReport:
    """Take the content of the NV index apart. Sizes inside the blob decide; the header's own size field does not.

    Raises SkrFailure ``hcl_malformed`` or ``tee_unsupported``.
    """
    if len(blob) < FIXED or blob[:4] != SIGNATURE:
        raise _malformed(
            f"it begins with {blob[:4]!r} and has {len(blob)} bytes, wanted b'HCLA' and at least {FIXED}", blob
        )
    header_version = struct.unpack_from("<I", blob, 4)[0]
    request_size, _version, kind, hash_kind, size = struct.unpack_from("<IIIII", blob, HEADER + SLOT)
    if request_size != 20 + size or FIXED + size > len(blob):
        raise _malformed(
            f"runtime data of {size} bytes do not fit request data of {request_size} in {len(blob)} bytes", blob
        )
    if kind not in TEES or hash_kind not in HASHES:
        raise _malformed(f"report type {kind} or hash type {hash_kind} is not known", blob)
    runtime_data = blob[FIXED : FIXED + size]
    try:
        runtime = documents.loads(runtime_data)
    except ValueError as error:
        raise _malformed(f"its runtime data are not JSON ({error})", blob) from error
    if not isinstance(runtime, dict):
        raise _malformed("its runtime data are not a JSON object", blob)
    return HclReport(
        blob, header_version, TEES[kind], blob[HEADER : HEADER + SLOT], HASHES[hash_kind], runtime_data, runtime
    )


def check_binding(report: HclReport, ak_modulus: int) -> None:
    """The runtime data are those the hardware signed for, and name the attestation key of this TPM.

    1. Report data begin with the hash of the runtime data; the rest is zero.
    2. HCLAkPub in the runtime data is the TPM's attestation key.

    Raises SkrFailure ``hcl_binding`` or ``tee_unsupported``.
    """
    # 1
    check_runtime(report)
    # 2
    check_key(report, ak_modulus)


def check_runtime(report: HclReport) -> None:
    """Step 1. Raises SkrFailure ``hcl_binding`` or ``tee_unsupported``."""
    if report.tee not in REPORT_DATA:
        raise SkrFailure(
            "tee_unsupported", f"The HCL report is of type {report.tee}, wanted snp or tdx.", {"tee": report.tee}
        )
    digest = hashlib.new(report.hash_name, report.runtime_data).digest()
    if report.report_data != digest.ljust(64, b"\0"):
        raise SkrFailure(
            "hcl_binding",
            "The hash of the HCL report's runtime data is not in the hardware report.",
            {"wanted": digest.hex(), "found": report.report_data.hex()},
        )


def check_key(report: HclReport, ak_modulus: int) -> None:
    """Step 2. Raises SkrFailure ``hcl_binding``."""
    if report.key_modulus("HCLAkPub") != ak_modulus:
        raise SkrFailure("hcl_binding", "HCLAkPub in the HCL report is not this TPM's attestation key at 0x81000003.")


def _malformed(what: str, blob: bytes) -> SkrFailure:
    return SkrFailure("hcl_malformed", f"The HCL report is malformed: {what}.", {"size": len(blob)})
