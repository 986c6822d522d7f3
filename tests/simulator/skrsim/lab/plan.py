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

    def check(self) -> None:
        """Raise ValueError when an option names a VM that will not exist."""
        if not 1 <= self.vms <= 250:
            raise ValueError(f"--vms must be from 1 to 250, found {self.vms}")
        for option, names in (
            ("--debug", self.debug),
            ("--no-secure-boot", self.no_secure_boot),
            ("--late", self.late),
        ):
            for name in names:
                if name not in self.names:
                    raise ValueError(f"{option} names {name}, the lab has {self.names[0]} to {self.names[-1]}")

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
        for member in ("debug", "no_secure_boot"):
            document[member] = tuple(document[member])
        return cls(**document)
