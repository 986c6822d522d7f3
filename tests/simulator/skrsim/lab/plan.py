# SPDX-License-Identifier: GPL-3.0-or-later
"""What a lab shall contain: the VMs, their peculiarities, the operator, and where its files go."""

from __future__ import annotations

import dataclasses
import json
import typing as t
from pathlib import Path

RESOURCE_GROUP = "rg-skr-lab"
LOCATION = "westeurope"
AUTHORITY = "https://sharedweu.weu.attest.azure.net"
OPERATOR = "skr-lab-operator"
KINDS = ("tdx", "trusted_launch", "turin", "genoa")  # what a VM may be in place of an SNP VM on the usual host


@dataclasses.dataclass
class Plan:
    """The options of ``skrsim up``."""

    directory: Path  # files that live as long as the lab: inventory, CA, audit log, ssh key
    runtime: Path  # short path for sockets and device files
    door: str  # "ssh" | "local"
    vms: int = 3
    seed: int = 1
    debug: tuple[str, ...] = ()  # VMs whose SNP policy allows debugging
    no_secure_boot: tuple[str, ...] = ()
    tdx: tuple[str, ...] = ()  # VMs on TDX hosts; the others are SNP VMs
    trusted_launch: tuple[str, ...] = ()  # VMs that are not confidential
    turin: tuple[str, ...] = ()  # SNP VMs on hosts of another product than the usual one
    genoa: tuple[str, ...] = ()
    late: dict[str, float] = dataclasses.field(default_factory=dict)  # VM -> seconds until a grant counts
    cache: Path | None = None  # the throw-away AMD hierarchy may be kept between labs

    @property
    def names(self) -> list[str]:
        return [f"cvm-{number:02d}" for number in range(1, self.vms + 1)]

    @property
    def control(self) -> Path:
        return self.runtime / "control.sock"

    @property
    def run_id(self) -> str:
        return self.runtime.name.rpartition("-")[2]

    def security(self, name: str) -> tuple[str, str]:
        """Security type and size of a VM."""
        if name in self.trusted_launch:
            return "TrustedLaunch", "Standard_D2s_v5"
        return "ConfidentialVM", "Standard_DC2es_v5" if name in self.tdx else "Standard_DC2as_v5"

    def product(self, name: str) -> str | None:
        """The product of an SNP VM's host; None: the usual one."""
        return "Turin" if name in self.turin else "Genoa" if name in self.genoa else None

    def group(self, name: str) -> str:
        """The inventory group that tells what kind of VM it is."""
        return "trusted_launch" if name in self.trusted_launch else "tdx" if name in self.tdx else "snp"

    def check(self) -> None:
        """Raise ValueError when an option names a VM that will not exist, or one VM is to be two things."""
        if not 1 <= self.vms <= 250:
            raise ValueError(f"--vms must be from 1 to 250, found {self.vms}")
        for option, names in (
            ("--debug", self.debug),
            ("--no-secure-boot", self.no_secure_boot),
            ("--late", self.late),
            *((f"--{name.replace('_', '-')}", getattr(self, name)) for name in KINDS),
        ):
            for name in names:
                if name not in self.names:
                    raise ValueError(f"{option} names {name}, the lab has {self.names[0]} to {self.names[-1]}")
        kinds = [name for kind in KINDS for name in dict.fromkeys(getattr(self, kind))]
        for name in kinds:
            if kinds.count(name) > 1:
                raise ValueError(f"{name} can be only one of --tdx, --trusted-launch, --turin and --genoa")
        for name in self.debug:
            if name in self.trusted_launch:
                raise ValueError(f"--debug names {name}, a Trusted Launch VM, which has no debug bit")

    def save(self, path: Path) -> None:
        document = dataclasses.asdict(self)
        for member in ("directory", "runtime", "cache"):
            document[member] = str(document[member]) if document[member] else None
        path.write_text(json.dumps(document))

    @classmethod
    def load(cls, path: Path) -> Plan:
        document: dict[str, t.Any] = json.loads(path.read_text())
        for member in ("directory", "runtime", "cache"):
            document[member] = Path(document[member]) if document[member] else None
        for member in ("debug", "no_secure_boot", *KINDS):
            document[member] = tuple(document[member])
        return cls(**document)
