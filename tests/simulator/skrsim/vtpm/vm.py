# SPDX-License-Identifier: GPL-3.0-or-later
"""The virtual TPM of one VM: swtpm, provisioned as Azure's paravisor does, behind the relay and its doors.

platform = Platform(world, cache_directory)
tpm = VirtualTpm(world, "cvm-01", platform, directory)
tpm.start()        # then: tpm.socket_path, tpm.event_log, tpm.mount(path)
tpm.stop()
"""

from __future__ import annotations

import struct
import typing as t
from pathlib import Path

from ..core.world import World
from ..tee import eventlog
from ..tee.platform import Platform
from . import relay as relays
from . import wire
from .device import TpmDevice
from .nv import Shape
from .relay import Relay
from .socket import TpmSocket
from .swtpm import SwTpm

AK_HANDLE = 0x81000003
AK_CERT_SIZE = 4096
_DAY = 86400


class VirtualTpm:
    def __init__(self, world: World, vm: str, platform: Platform, directory: Path) -> None:
        self.vm, self._world, self._platform = vm, world, platform
        directory.mkdir(parents=True, exist_ok=True)
        self._swtpm = SwTpm(directory)
        self.relay = Relay(world, vm, self._swtpm.transceive)
        self.socket_path = directory / "tpm.sock"
        self.kernel = "6.8.0-1021-azure"
        self.event_log = b""
        self.log_changed: t.Callable[[], None] = lambda: None  # told when the event log has become another
        self._socket: TpmSocket | None = None
        self._devices: list[TpmDevice] = []
        self._moduli = (0, 0)
        self._events: list[eventlog.Event] = []
        self._certified = 0.0
        self.relay.extend = self.extend

    def start(self) -> None:
        """Power on: provision, then open the socket."""
        self._boot()
        self._socket = TpmSocket(self.relay, self.socket_path)

    def stop(self) -> None:
        for device in self._devices:
            device.close()
        if self._socket:
            self._socket.close()
        self._swtpm.stop()

    def mount(self, path: Path, exclusive: bool = False) -> None:
        """Put the TPM at a path as a device file (root)."""
        self._devices.append(TpmDevice(self.relay, path, exclusive))

    def reboot(self) -> None:
        """PCRs, sessions, transient keys and the NULL hierarchy's seed are new; AK and NV stay."""
        with self.relay.lock:
            self._swtpm.stop()
            self.relay.forget()
            self._boot()

    def _boot(self) -> None:
        self._swtpm.start()
        machine = self._world.vms[self.vm]
        self._events = []
        for event in eventlog.boot(machine.secure_boot, self.kernel):
            self._measure(event)
        self.event_log = eventlog.encode(self._events)
        self.log_changed()
        ek_handle, ek = self._primary(wire.EK_TEMPLATE)
        self._flush(ek_handle)
        handle, ak = self._primary(wire.AK_TEMPLATE)
        self._persist(handle)
        self._flush(handle)
        self._moduli = (wire.rsa_modulus(ak), wire.rsa_modulus(ek))
        confidential = machine.security_type == "ConfidentialVM"
        if not self._certified:
            self.set_ak_certificate(self._platform.ak_certificate(self.vm, self._moduli[0]))
            if not confidential:  # on these VMs the index is the owner's, who may make it anew
                self.relay.nv.owned[relays.AK_CERT] = Shape()
                self.relay.nv.definable.add(relays.AK_CERT)
        if confidential:
            self.relay.renew, self.relay.renew_certificate = self._report, self._renew_certificate
            self.renew_report()

    def _measure(self, event: eventlog.Event) -> None:
        digest = struct.pack(">IH", 1, 0x000B) + event.digest
        self._run(wire.PCR_EXTEND, [event.pcr], wire.PASSWORD, digest)
        self._events.append(event)

    def extend(self, pcr: int) -> None:
        """Something is measured late; the event log tells of it, so that PCRs and log agree again."""
        with self.relay.lock:
            self._measure(eventlog.Event(pcr, eventlog.EV_ACTION, b"SIMULATED late measurement"))
            self.event_log = eventlog.encode(self._events)
            self.log_changed()

    # --- what the paravisor keeps

    def set_ak_certificate(self, der: bytes) -> None:
        self.relay.overlay[relays.AK_CERT] = der.ljust(AK_CERT_SIZE, b"\0")
        self._certified = self._world.clock.now()

    def _renew_certificate(self) -> None:
        """Tried when the last renewal is older than a day; a failure is silent."""
        if self._world.clock.now() - self._certified <= _DAY:
            return
        self._certified = self._world.clock.now()
        if not self._world.faults.fire("paravisor", "ak_certificate", self.vm, {"fail"}):
            self.set_ak_certificate(self._platform.ak_certificate(self.vm, self._moduli[0]))

    def renew_report(self) -> None:
        """Put a new HCL report into its index, whenever the last one was."""
        with self.relay.lock:
            self.relay.overlay[relays.HCL_REPORT] = self._report(self.relay.user_data())

    @property
    def ak_modulus(self) -> int:
        return self._moduli[0]

    def _report(self, user_data: bytes) -> bytes:
        """A new report; a fault makes it one that names another key, or one whose runtime data are not what was hashed."""
        fault = self._world.faults.fire("paravisor", "hcl_report", self.vm, {"other_ak", "altered"})
        ak, ek = self._moduli
        report = self._platform.hcl_report(self.vm, ek if fault and fault.action == "other_ak" else ak, ek, user_data)
        if fault and fault.action == "altered":
            report = report.replace(b'"tpm-enabled":true', b'"tpm-enabled":null')
        return report

    def _run(self, code: int, handles: list[int], auth: bytes = b"", parameters: bytes = b"") -> bytes:
        return wire.payload(self._swtpm.transceive(wire.command(code, handles, auth, parameters)))

    def _primary(self, template: bytes) -> tuple[int, bytes]:
        parameters = bytes.fromhex("000400000000") + wire.sized(template) + b"\0\0" + bytes(4)
        body = self._run(wire.CREATE_PRIMARY, [wire.ENDORSEMENT], wire.PASSWORD, parameters)
        handle, _size, length = struct.unpack_from(">IIH", body)
        return handle, body[10 : 10 + length]

    def _persist(self, handle: int) -> None:
        try:  # on a reboot the old one is still there
            self._run(wire.EVICT_CONTROL, [wire.OWNER, AK_HANDLE], wire.PASSWORD, struct.pack(">I", AK_HANDLE))
        except wire.TpmError:
            pass
        self._run(wire.EVICT_CONTROL, [wire.OWNER, handle], wire.PASSWORD, struct.pack(">I", AK_HANDLE))

    def _flush(self, handle: int) -> None:
        self._run(wire.FLUSH, [], b"", struct.pack(">I", handle))
