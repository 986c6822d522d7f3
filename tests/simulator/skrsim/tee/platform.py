# SPDX-License-Identifier: GPL-3.0-or-later
"""The hardware side of every VM: which host it runs on, what that host's silicon signs, what THIM knows of it."""

from __future__ import annotations

import dataclasses
import hashlib
import typing as t
from pathlib import Path

from cryptography.hazmat.primitives import serialization

from ..core.world import World
from . import hcl
from .silicon import POLICY, POLICY_DEBUG, Chip, Hierarchy, Tcb, VtpmAuthority

VMS_PER_HOST = 3
ID_KEY_DIGEST = hashlib.sha384(b"SIMULATED id key").digest()
MEASUREMENT = hashlib.sha384(b"SIMULATED paravisor").digest()


@dataclasses.dataclass
class Options:
    """How one VM's platform differs from the usual."""

    report_size: int = 2600
    report_version: int = 3
    lower_user_data: bool = False
    id_key_digest: bytes = ID_KEY_DIGEST


class Platform:
    """Registered as ``world.services["platform"]``."""

    def __init__(self, world: World, cache: Path, product: str = "Milan") -> None:
        self.world = world
        self.hierarchy = Hierarchy(product, cache)
        self.authority = VtpmAuthority()
        self.options: dict[str, Options] = {}
        self._chips: list[Chip] = []
        self._places: dict[str, Chip] = {}
        world.services["platform"] = self

    # --- what a verifier trusts

    @property
    def amd_roots(self) -> list[bytes]:
        return [self.hierarchy.ark.public_bytes(serialization.Encoding.DER)]

    @property
    def amd_root_pem(self) -> str:
        return self.hierarchy.root_pem

    @property
    def vtpm_ca(self) -> t.Any:
        return self.authority.certificate

    approved_id_key_digests = frozenset({ID_KEY_DIGEST})
    minimum_tcb = Tcb(3, 0, 8, 115)

    # --- hosts

    def chip(self, vm: str) -> Chip:
        """The host a VM runs on."""
        if vm not in self._places:
            if not self._chips or len(self._places) % VMS_PER_HOST == 0:
                self._chips.append(self.new_chip())
            self._places[vm] = self._chips[-1]
        return self._places[vm]

    def new_chip(self) -> Chip:
        return Chip(self.hierarchy, bytes.fromhex(self.world.hex(128)), Tcb())

    def move(self, vm: str) -> None:
        """Live migration: another host, another chip."""
        self._places[vm] = self.new_chip()

    def option(self, vm: str) -> Options:
        return self.options.setdefault(vm, Options())

    # --- evidence

    def hcl_report(self, vm: str, ak_modulus: int, ek_modulus: int, user_data: bytes) -> bytes:
        """What the paravisor puts into the NV index on renewal."""
        machine, options = self.world.vms[vm], self.option(vm)
        runtime = hcl.runtime_data(
            ak_modulus, ek_modulus, machine.vm_id, machine.secure_boot, user_data, options.lower_user_data
        )
        policy = POLICY | (POLICY_DEBUG if machine.debug else 0)
        hardware = self.chip(vm).report(
            hcl.report_data(runtime), MEASUREMENT, options.id_key_digest, policy, options.report_version
        )
        return hcl.report(hardware, runtime, options.report_size)

    def ak_certificate(self, vm: str, modulus: int) -> bytes:
        return self.authority.issue(modulus, self.world.vms[vm].vm_id.replace("-", ""), self.world.clock.now())

    def thim(self, vm: str) -> dict[str, str]:
        """The answer of the host's certificate service; faults make it stale or foreign."""
        chip = self.chip(vm)
        fault = self.world.faults.fire("thim", "certification", vm, {"stale_tcb", "foreign_vcek"})
        vcek, tcb = chip.vcek_pem, chip.tcb
        if fault and fault.action == "stale_tcb":
            tcb = dataclasses.replace(chip.tcb, microcode=chip.tcb.microcode - 1)
            vcek = chip.vcek_for(tcb)
        if fault and fault.action == "foreign_vcek":
            vcek = self.new_chip().vcek_pem
        return {
            "vcekCert": vcek,
            "tcbm": tcb.encode(self.hierarchy.product)[::-1].hex().upper(),
            "certificateChain": self.hierarchy.chain_pem,
            "cacheControl": "86400",
        }
