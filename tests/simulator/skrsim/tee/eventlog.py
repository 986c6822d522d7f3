# SPDX-License-Identifier: GPL-3.0-or-later
"""A TCG event log (crypto-agile, SHA-256) as a UEFI boot leaves it, and the PCR extensions that belong to it."""

from __future__ import annotations

import dataclasses
import hashlib
import struct

EV_SEPARATOR, EV_S_CRTM_VERSION, EV_ACTION = 0x4, 0x8, 0x5
EV_EFI_VARIABLE_DRIVER_CONFIG, EV_EFI_BOOT_APPLICATION = 0x80000001, 0x80000003
EV_EFI_VARIABLE_BOOT = 0x80000002
_GLOBAL = bytes.fromhex("61dfe48bca93d211aa0d00e098032b8c")
_SECURITY = bytes.fromhex("cbb219d73a3d9645a3bcdad00e67656f")


@dataclasses.dataclass(frozen=True)
class Event:
    pcr: int
    kind: int
    data: bytes

    @property
    def digest(self) -> bytes:
        return hashlib.sha256(self.data).digest()


def _variable(guid: bytes, name: str, data: bytes) -> bytes:
    encoded = name.encode("utf-16-le")
    return guid + struct.pack("<QQ", len(name), len(data)) + encoded + data


def boot(secure_boot: bool, kernel: str = "6.8.0-1021-azure") -> list[Event]:
    """The events of one boot; another kernel name is another boot chain in PCR 4."""
    events = [Event(0, EV_S_CRTM_VERSION, "SIMULATED firmware 4.1\0".encode("utf-16-le"))]
    variables = [
        (_GLOBAL, "SecureBoot", b"\x01" if secure_boot else b"\x00"),
        (_GLOBAL, "PK", b"SIMULATED platform key"),
        (_GLOBAL, "KEK", b"SIMULATED key exchange key"),
        (_SECURITY, "db", b"SIMULATED allowed signers"),
        (_SECURITY, "dbx", b"SIMULATED forbidden hashes"),
    ]
    events += [Event(7, EV_EFI_VARIABLE_DRIVER_CONFIG, _variable(*variable)) for variable in variables]
    events += [Event(1, EV_EFI_VARIABLE_BOOT, _variable(_GLOBAL, "BootOrder", b"\x00\x00"))]
    events += [Event(4, EV_ACTION, b"Calling EFI Application from Boot Option")]
    events += [Event(pcr, EV_SEPARATOR, bytes(4)) for pcr in range(8)]
    for image in ("shimx64.efi", "grubx64.efi", f"vmlinuz-{kernel}"):
        events.append(Event(4, EV_EFI_BOOT_APPLICATION, f"SIMULATED image {image}".encode()))
    return events


def encode(events: list[Event]) -> bytes:
    """The log as /sys/kernel/security/tpm0/binary_bios_measurements shows it."""
    spec = b"Spec ID Event03\0" + struct.pack("<IBBBB", 0, 0, 2, 0, 2) + struct.pack("<IHH", 1, 0x000B, 32) + b"\0"
    log = struct.pack("<II20sI", 0, 3, bytes(20), len(spec)) + spec
    for event in events:
        log += struct.pack("<III", event.pcr, event.kind, 1) + struct.pack("<H", 0x000B) + event.digest
        log += struct.pack("<I", len(event.data)) + event.data
    return log
