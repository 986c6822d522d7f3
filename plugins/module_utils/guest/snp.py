# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The SEV-SNP attestation report: bytes to structure, no trust implied.

Offsets: AMD document 56860, "SEV Secure Nested Paging Firmware ABI Specification", table "ATTESTATION_REPORT".
"""

from __future__ import annotations

import dataclasses
import struct
import typing as t

from ..policy.failure import SkrFailure

SIZE = 1184
SIGNED = 0x2A0
VERSIONS = (2, 3, 4, 5)
POLICY_DEBUG = 1 << 19
POLICY_MIGRATE = 1 << 18
POLICY_SMT = 1 << 16
SIGNING_KEYS = {0: "VCEK", 1: "VLEK", 7: "none"}
NO_AGENT = b"\xff" * 32
# CPUID family (extended and base added) and ranges of models of the products, whose keys and TCB layout differ.
# Bergamo and Siena (models 0xA0 and up) are of Genoa's kind, Turin Dense (0x10 and up) of Turin's.
_MODELS = (
    ("Milan", 0x19, range(0x00, 0x10)),
    ("Genoa", 0x19, range(0x10, 0x20)),
    ("Genoa", 0x19, range(0xA0, 0xB0)),
    ("Turin", 0x1A, range(0x00, 0x20)),
)


@dataclasses.dataclass(frozen=True)
class Tcb:
    """Security version numbers of the parts of the platform; ``fmc`` exists on Turin only."""

    boot_loader: int
    tee: int
    snp: int
    microcode: int
    fmc: t.Optional[int] = None

    def text(self) -> str:
        parts = [] if self.fmc is None else [f"fmc {self.fmc}"]
        parts += [
            f"boot loader {self.boot_loader}",
            f"tee {self.tee}",
            f"snp {self.snp}",
            f"microcode {self.microcode}",
        ]
        return ", ".join(parts)

    def parts(self) -> t.Tuple[t.Optional[int], ...]:
        return self.boot_loader, self.tee, self.snp, self.microcode, self.fmc

    def as_dict(self) -> t.Dict[str, t.Optional[int]]:
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class SnpReport:
    """A parsed report. Byte fields are as stored; ``chip_id`` is all zeros when the host masks it."""

    raw: bytes
    version: int
    guest_svn: int
    policy: int
    vmpl: int
    signature_algorithm: int
    signing_key: str
    report_data: bytes
    measurement: bytes
    host_data: bytes
    id_key_digest: bytes
    author_key_digest: bytes
    report_id: bytes
    migration_agent: bytes  # the agent's report id; all ones where there is none
    reported_tcb: bytes
    committed_tcb: bytes
    chip_id: bytes
    cpuid: t.Optional[t.Tuple[int, int, int]]  # family, model, stepping; None on version 2, which does not tell

    @property
    def signed(self) -> bytes:
        return self.raw[:SIGNED]

    @property
    def signature(self) -> t.Tuple[int, int]:
        """R and S: 72 bytes each, little-endian."""
        r, s = self.raw[SIGNED : SIGNED + 72], self.raw[SIGNED + 72 : SIGNED + 144]
        return int.from_bytes(r, "little"), int.from_bytes(s, "little")

    @property
    def debuggable(self) -> bool:
        return bool(self.policy & POLICY_DEBUG)

    @property
    def migratable(self) -> bool:
        """Whether a migration agent may take the VM elsewhere, or is already bound to it."""
        return bool(self.policy & POLICY_MIGRATE) or self.migration_agent not in (NO_AGENT, bytes(32))

    @property
    def product(self) -> t.Optional[str]:
        """Milan, Genoa or Turin; None where the report does not tell, or tells of one nobody here knows."""
        if self.cpuid is None:
            return None
        family, model, _stepping = self.cpuid
        return next((name for name, wanted, models in _MODELS if family == wanted and model in models), None)

    def tcb(self, product: str) -> Tcb:
        return decode_tcb(self.reported_tcb, product)


def decode_tcb(value: bytes, product: str) -> Tcb:
    """The eight bytes of a TCB version. Turin moved the fields and added FMC (AMD 56860, table "TCB_VERSION")."""
    if product == "Turin":
        return Tcb(value[1], value[2], value[3], value[7], value[0])
    return Tcb(value[0], value[1], value[6], value[7])


def parse(raw: bytes) -> SnpReport:
    """Take a report apart. Raises SkrFailure ``report_malformed``."""
    if len(raw) != SIZE:
        raise SkrFailure("report_malformed", f"The SNP report has {len(raw)} bytes, wanted {SIZE}.", {"size": len(raw)})
    version, guest_svn, policy = struct.unpack_from("<IIQ", raw, 0)
    if version not in VERSIONS:
        raise SkrFailure(
            "report_malformed", f"The SNP report has version {version}, wanted one of 2, 3, 4, 5.", {"version": version}
        )
    vmpl, algorithm = struct.unpack_from("<II", raw, 0x30)
    key_bits = struct.unpack_from("<I", raw, 0x48)[0]
    return SnpReport(
        raw=raw,
        version=version,
        guest_svn=guest_svn,
        policy=policy,
        vmpl=vmpl,
        signature_algorithm=algorithm,
        signing_key=SIGNING_KEYS.get(key_bits >> 2 & 7, "unknown"),
        report_data=raw[0x50:0x90],
        measurement=raw[0x90:0xC0],
        host_data=raw[0xC0:0xE0],
        id_key_digest=raw[0xE0:0x110],
        author_key_digest=raw[0x110:0x140],
        report_id=raw[0x140:0x160],
        migration_agent=raw[0x160:0x180],
        reported_tcb=raw[0x180:0x188],
        committed_tcb=raw[0x1E0:0x1E8],
        chip_id=raw[0x1A0:0x1E0],
        cpuid=(raw[0x188], raw[0x189], raw[0x18A]) if version >= 3 else None,
    )
