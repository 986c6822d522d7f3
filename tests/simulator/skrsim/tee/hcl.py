# SPDX-License-Identifier: GPL-3.0-or-later
"""The paravisor's HCL report: runtime data in JSON, a hardware report over their hash, and the frame around both."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
import typing as t

SNP, TDX = 2, 4  # report types


def runtime_data(
    ak_modulus: int,
    ek_modulus: int,
    vm_id: str,
    secure_boot: bool,
    user_data: bytes,
    lower_user_data: bool = False,
    lower_vm_id: bool = False,
) -> bytes:
    """The runtime JSON with its members in the order seen on real VMs."""

    def key(kid: str, operation: str, modulus: int) -> dict[str, t.Any]:
        n = base64.urlsafe_b64encode(modulus.to_bytes(256, "big")).rstrip(b"=").decode()
        return {"kid": kid, "key_ops": [operation], "kty": "RSA", "e": "AQAB", "n": n}

    text = user_data.hex()
    document = {
        "keys": [key("HCLAkPub", "sign", ak_modulus), key("HCLEkPub", "encrypt", ek_modulus)],
        "vm-configuration": {
            "console-enabled": True,
            "secure-boot": secure_boot,
            "tpm-enabled": True,
            "vmUniqueId": vm_id.lower() if lower_vm_id else vm_id.upper(),
        },
        "user-data": text if lower_user_data else text.upper(),
    }
    return json.dumps(document, separators=(",", ":")).encode()


def report(hardware_report: bytes, runtime: bytes, size: int = 2600, kind: int = SNP) -> bytes:
    """The content of the NV index: header, 1,184-byte slot, request data, runtime JSON, zeros."""
    used = 1236 + len(runtime)
    header = struct.pack("<4sIIII12x", b"HCLA", 2, used, 2, 0)
    request = struct.pack("<IIIII", 20 + len(runtime), 1, kind, 1, len(runtime))
    blob = header + hardware_report.ljust(1184, b"\0") + request + runtime
    if len(blob) > size:
        raise ValueError(f"the report needs {len(blob)} bytes, the index has {size}")
    return blob.ljust(size, b"\0")


def report_data(runtime: bytes) -> bytes:
    return hashlib.sha256(runtime).digest().ljust(64, b"\0")
