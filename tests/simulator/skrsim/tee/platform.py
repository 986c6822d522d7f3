# SPDX-License-Identifier: GPL-3.0-or-later
"""The hardware side of every VM: which host it runs on, what that host's silicon signs, what the host certifies."""

from __future__ import annotations

import dataclasses
import hashlib
import typing as t
from pathlib import Path

from cryptography.hazmat.primitives import serialization

from ..core.world import World
from . import hcl, tdx, thim
from .intel import Intel
from .silicon import POLICY, POLICY_DEBUG, PRODUCTS, USUAL, Chip, Hierarchy, Tcb
from .vtpm_authority import VtpmAuthority

VMS_PER_HOST = 3
ID_KEY_DIGEST = hashlib.sha384(b"SIMULATED id key").digest()
# The key under which the firmware to come is signed: as compliant as that of today, for planned changes.
NEXT_ID_KEY_DIGEST = hashlib.sha384(b"SIMULATED next id key").digest()
MEASUREMENT = hashlib.sha384(b"SIMULATED paravisor").digest()
MINIMUM = {"Milan": Tcb(3, 0, 8, 115), "Genoa": Tcb(7, 0, 14, 62), "Turin": Tcb(1, 0, 1, 60, 1)}
_DAY = 86400


@dataclasses.dataclass
class Options:
    """How one VM's platform differs from the usual."""

    product: str | None = None  # of the SNP host, where it is not the lab's usual one
    generation: str | None = None  # of the host's paravisor (hcl.GENERATIONS); None: current under TDX, else usual
    report_size: int | None = None  # None: 2,048 on a legacy host, 2,600 elsewhere
    report_version: int | None = None  # of the SNP report; None: 5 on Turin, 3 elsewhere
    vlek: bool = False  # the SNP report is signed by the provider's key in place of the chip's
    lower_user_data: bool = False
    lower_vm_id: bool = False
    id_key_digest: bytes = ID_KEY_DIGEST
    mrtd: bytes = tdx.MRTD
    quote_version: int = 4

    def change(self, values: t.Mapping[str, t.Any]) -> None:
        """Set members by name; bytes are given in hex. Raises ValueError."""
        known = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        for member, value in values.items():
            if member not in known:
                raise ValueError(f"a VM's platform has no {member}; it has {', '.join(known)}")
            if isinstance(known[member], bytes):
                value = bytes.fromhex(str(value))
                if len(value) != 48:
                    raise ValueError(f"{member} wants 48 bytes in hex, found {len(value)}")
            wanted: dict[str, tuple[t.Any, ...]] = {
                "product": (*PRODUCTS, None),
                "generation": (*hcl.GENERATIONS, None),
                "report_size": (2048, 2600, 2900, None),
                "report_version": (2, 3, 5, None),
                "quote_version": (4, 5),
            }
            if member in wanted and value not in wanted[member]:
                raise ValueError(f"{member} must be one of {wanted[member]}, found {value!r}")
            if isinstance(known[member], bool) and not isinstance(value, bool):
                raise ValueError(f"{member} must be true or false, found {value!r}")
            setattr(self, member, value)

    def shown(self) -> dict[str, t.Any]:
        """Every member as ``change`` takes it."""
        return {
            name: value.hex() if isinstance(value, bytes) else value for name, value in dataclasses.asdict(self).items()
        }


class Platform:
    """Registered as ``world.services["platform"]``."""

    def __init__(self, world: World, cache: Path, product: str = "Milan") -> None:
        self.world, self.product, self._cache = world, product, cache
        self.hierarchies: dict[str, Hierarchy] = {}
        self.hierarchy = self._hierarchy(product)
        self.intel = Intel()
        self.authority = VtpmAuthority()
        self.thim_service = thim.Thim(self)
        self.options: dict[str, Options] = {}
        self.attestation_keys: dict[str, int] = {}  # VM -> modulus of its AK
        self._places: dict[str, Chip] = {}
        self._td_hosts: dict[str, tdx.TdxHost] = {}
        world.services["platform"] = self

    def _hierarchy(self, product: str) -> Hierarchy:
        if product not in self.hierarchies:
            self.hierarchies[product] = Hierarchy(product, self._cache)
        return self.hierarchies[product]

    def foreign_hierarchy(self, product: str) -> Hierarchy:
        """Of the same names and another root, which nobody has been told to trust."""
        return Hierarchy(product, self._cache / "foreign")

    # --- what a verifier trusts

    @property
    def amd_roots(self) -> list[bytes]:
        return [one.ark.public_bytes(serialization.Encoding.DER) for one in self.hierarchies.values()]

    @property
    def amd_root_pem(self) -> str:
        return "".join(one.root_pem for one in self.hierarchies.values())

    @property
    def intel_roots(self) -> list[bytes]:
        return [self.intel.root.public_bytes(serialization.Encoding.DER)]

    @property
    def root_pem(self) -> str:
        """Every root of hardware reports in this lab."""
        return self.amd_root_pem + self.intel.root_pem

    @property
    def vtpm_ca(self) -> t.Any:
        return self.authority.certificate

    approved_id_key_digests = frozenset({ID_KEY_DIGEST, NEXT_ID_KEY_DIGEST})
    approved_mrtds = frozenset({tdx.MRTD})
    minimum_tee_tcb_svn = bytes([3, 0, 5])

    @staticmethod
    def minimum_tcb(product: str) -> Tcb:
        return MINIMUM[product]

    # --- hosts

    def chip(self, vm: str) -> Chip:
        """The host an SNP VM runs on."""
        if vm not in self._places:
            hierarchy = self._hierarchy(self.option(vm).product or self.product)
            neighbours = [chip for chip in self._places.values() if chip.hierarchy is hierarchy]
            room = bool(neighbours) and neighbours.count(neighbours[-1]) < VMS_PER_HOST
            self._places[vm] = neighbours[-1] if room else self.new_chip(hierarchy.product)
        return self._places[vm]

    def new_chip(self, product: str | None = None) -> Chip:
        hierarchy = self._hierarchy(product or self.product)
        return Chip(hierarchy, bytes.fromhex(self.world.hex(128)), USUAL[hierarchy.product])

    def td_host(self, vm: str) -> tdx.TdxHost:
        """The host of a TDX VM, one for each."""
        if vm not in self._td_hosts:
            self._td_hosts[vm] = tdx.TdxHost(self.intel)
        return self._td_hosts[vm]

    def move(self, vm: str) -> None:
        """Live migration: another host, another chip."""
        if self.world.vms[vm].tee == "TDX":
            self._td_hosts[vm] = tdx.TdxHost(self.intel)
        else:
            self._places[vm] = self.new_chip(self.option(vm).product)

    def option(self, vm: str) -> Options:
        return self.options.setdefault(vm, Options())

    # --- evidence

    def hcl_report(self, vm: str, ak_modulus: int, ek_modulus: int, user_data: bytes) -> bytes:
        """What the paravisor puts into the NV index on renewal."""
        machine, options = self.world.vms[vm], self.option(vm)
        generation = options.generation or ("current" if machine.tee == "TDX" else "usual")
        now = int(self.world.clock.now())
        style = hcl.Style(generation, options.lower_user_data, options.lower_vm_id, now)
        runtime = hcl.runtime_data(ak_modulus, ek_modulus, machine.vm_id, machine.secure_boot, user_data, style)
        size = options.report_size or (2048 if generation == "legacy" else 2600)
        header = 1 if generation == "legacy" else 2
        data = hcl.report_data(runtime)
        if machine.tee == "TDX":
            hardware = self.td_host(vm).td_report(data, machine.debug, options.mrtd)
            return hcl.report(hardware, runtime, size, hcl.TDX, header)
        policy, chip = POLICY | (POLICY_DEBUG if machine.debug else 0), self.chip(vm)
        version = options.report_version or (5 if chip.hierarchy.product == "Turin" else 3)
        hardware = chip.report(data, MEASUREMENT, options.id_key_digest, policy, version, options.vlek)
        return hcl.report(hardware, runtime, size, hcl.SNP, header)

    def ak_certificate(self, vm: str, modulus: int, days: int = 365) -> bytes:
        """A new certificate for a VM's attestation key; less than a day of validity makes an expired one."""
        self.attestation_keys[vm] = modulus
        now = self.world.clock.now() - _DAY * max(0, 2 - days)
        return self.authority.issue(modulus, self.world.vms[vm].vm_id.replace("-", ""), now, max(days, 1))

    def thim(self, vm: str) -> dict[str, str]:
        """The answer of the host's certificate service; faults make it stale or foreign."""
        return self.thim_service.certification(vm)
