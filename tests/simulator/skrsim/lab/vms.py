# SPDX-License-Identifier: GPL-3.0-or-later
"""Control commands on the lab's VMs: power, what their platform is, certificates and identities."""

from __future__ import annotations

import dataclasses
import typing as t

from ..core.world import UserIdentity, World
from ..tee.platform import Platform
from ..vtpm.vm import VirtualTpm
from . import control

Request = dict[str, t.Any]


class VmCommands:
    """``power_cycle`` empties what a VM keeps in memory; the door knows where that is."""

    def __init__(
        self,
        world: World,
        platform: Platform,
        tpms: dict[str, VirtualTpm],
        power_cycle: t.Callable[[str], None],
    ) -> None:
        self._world, self._platform, self._tpms, self._power_cycle = world, platform, tpms, power_cycle

    def commands(self) -> dict[str, control.Handler]:
        return {
            "vm_reboot": self._reboot,
            "vm_set": self._set,
            "vm_platform": lambda request: self._platform.option(self._tpm(request).vm).shown(),
            "vm_move": self._move,
            "vm_extend": lambda request: self._tpm(request).extend(int(request.get("pcr", 4))),
            "vm_ak_certificate": self._ak_certificate,
            "vm_identities": self._identities,
            "identities": self._show_identities,
        }

    def _tpm(self, request: Request) -> VirtualTpm:
        if request["name"] not in self._tpms:
            raise ValueError(f"the lab has no VM {request['name']}; it has {', '.join(self._tpms)}")
        return self._tpms[request["name"]]

    def _reboot(self, request: Request) -> str:
        """Another boot: PCRs, sessions and memory are new. ``kernel`` and ``secure_boot`` make it a different one."""
        tpm = self._tpm(request)
        values = request.get("values") or {}
        if unknown := set(values) - {"kernel", "secure_boot"}:
            raise ValueError(f"a reboot takes kernel and secure_boot, found {', '.join(sorted(unknown))}")
        if not isinstance(values.get("secure_boot", True), bool):
            raise ValueError(f"secure_boot must be true or false, found {values['secure_boot']!r}")
        tpm.kernel = str(values.get("kernel", tpm.kernel))
        machine = self._world.vms[tpm.vm]
        machine.secure_boot = values.get("secure_boot", machine.secure_boot)
        self._power_cycle(tpm.vm)
        tpm.reboot()
        return f"{tpm.vm} rebooted"

    def _set(self, request: Request) -> str:
        """Change how the VM's platform differs from the usual; its report is made anew."""
        tpm = self._tpm(request)
        machine, values = self._world.vms[tpm.vm], request.get("values") or {}
        if machine.tee is None:
            raise ValueError(f"{tpm.vm} is a Trusted Launch VM: it has no report that could be another")
        if "product" in values and machine.tee == "SNP":
            raise ValueError("a host's product is chosen when the lab comes up: skrsim up --turin or --genoa")
        before = dataclasses.replace(self._platform.option(tpm.vm))
        try:
            self._platform.option(tpm.vm).change(values)
            tpm.renew_report()
        except ValueError:
            self._platform.options[tpm.vm] = before
            raise
        return f"{tpm.vm}: {', '.join(f'{name}={value}' for name, value in values.items())}"

    def _move(self, request: Request) -> str:
        """Live migration: the report is of another host from the next renewal on."""
        tpm = self._tpm(request)
        self._platform.move(tpm.vm)
        return f"{tpm.vm} runs on another host"

    def _ak_certificate(self, request: Request) -> None:
        """Issue a new AK certificate with so many days left (negative: expired)."""
        tpm = self._tpm(request)
        tpm.set_ak_certificate(self._platform.ak_certificate(tpm.vm, tpm.ak_modulus, int(request["days"])))

    def _identities(self, request: Request) -> list[str]:
        """Give a VM so many user-assigned identities and no system-assigned one; returns their client ids."""
        vm = self._world.vms[request["name"]]
        vm.system_principal, vm.user_identities = None, []
        group, clients = vm.id.partition("/providers/")[0], []
        for number in range(int(request["count"])):
            name = f"{vm.name}-{number}"
            identifier = f"{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{name}"
            principal = self._world.new_managed_identity(name, identifier)
            made = UserIdentity(identifier, name, vm.location, principal.object_id, principal.app_id)
            self._world.user_identities[identifier.lower()] = made
            vm.user_identities.append(identifier)
            clients.append(principal.app_id)
        return clients

    def _show_identities(self, request: Request) -> list[dict[str, str]]:
        """The user-assigned identities of a VM."""
        found = [self._world.user_identities[name.lower()] for name in self._world.vms[request["name"]].user_identities]
        return [{"id": one.id, "principal_id": one.principal_id, "client_id": one.client_id} for one in found]
