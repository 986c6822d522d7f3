# SPDX-License-Identifier: GPL-3.0-or-later
"""The paravisor's HCL report: runtime data in JSON, a hardware report over their hash, and the frame around both."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import struct
import typing as t

SNP, TDX = 2, 4  # report types


@dataclasses.dataclass(frozen=True)
class Style:
    """How a generation of hosts writes its runtime data.

    ``legacy``: hosts of 2022, with the attestation key alone, marked for encryption, and no user data. ``current``: the
    paravisor as its source has it now. ``usual``: what lies between, as captured most.
    """

    generation: str = "usual"
    lower_user_data: bool = False
    lower_vm_id: bool = False
    now: int = 0


GENERATIONS = ("legacy", "usual", "current")


def _key(kid: str, operation: str, modulus: int) -> dict[str, t.Any]:
    n = base64.urlsafe_b64encode(modulus.to_bytes(256, "big")).rstrip(b"=").decode()
    return {"kid": kid, "key_ops": [operation], "kty": "RSA", "e": "AQAB", "n": n}


def runtime_data(
    ak_modulus: int, ek_modulus: int, vm_id: str, secure_boot: bool, user_data: bytes, style: Style | None = None
) -> bytes:
    """The runtime JSON with its members in the order seen on real VMs."""
    style = style or Style()
    machine = {
        "console-enabled": True,
        "secure-boot": secure_boot,
        "tpm-enabled": True,
        "vmUniqueId": vm_id.lower() if style.lower_vm_id else vm_id.upper(),
    }
    if style.generation == "legacy":
        document = {
            "keys": [_key("HCLAkPub", "encrypt", ak_modulus)],
            "vm-configuration": {"console-enabled": True, "current-time": style.now, **machine},
        }
        return _encoded(document)
    if style.generation == "current":
        machine = {
            "root-cert-thumbprint": "",
            "console-enabled": True,
            "interactive-console-enabled": True,
            "secure-boot": secure_boot,
            "tpm-enabled": True,
            "tpm-persisted": True,
            "filtered-vpci-devices-allowed": True,
            "vmUniqueId": machine["vmUniqueId"],
        }
    text = user_data.hex()
    return _encoded(
        {
            "keys": [_key("HCLAkPub", "sign", ak_modulus), _key("HCLEkPub", "encrypt", ek_modulus)],
            "vm-configuration": machine,
            "user-data": text if style.lower_user_data else text.upper(),
        }
    )


def _encoded(document: dict[str, t.Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def report(hardware_report: bytes, runtime: bytes, size: int = 2600, kind: int = SNP, version: int = 2) -> bytes:
    """The content of the NV index: header, 1,184-byte slot, request data, runtime JSON, zeros."""
    used = 1236 + len(runtime)
    header = struct.pack("<4sIIII12x", b"HCLA", version, used, 2, 0)
    request = struct.pack("<IIIII", 20 + len(runtime), 1, kind, 1, len(runtime))
    blob = header + hardware_report.ljust(1184, b"\0") + request + runtime
    if len(blob) > size:
        raise ValueError(f"the report needs {len(blob)} bytes, the index has {size}")
    return blob.ljust(size, b"\0")


def report_data(runtime: bytes) -> bytes:
    return hashlib.sha256(runtime).digest().ljust(64, b"\0")
