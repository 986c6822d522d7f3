# SPDX-License-Identifier: GPL-3.0-or-later
"""Between clients and swtpm: one command at a time, and the NV indices that Azure's paravisor keeps.

swtpm refuses NV indices above 2,048 bytes, and Azure renews the HCL report while it is read; both are done here.
"""

from __future__ import annotations

import collections
import os
import struct
import threading
import time
import typing as t

from ..core.world import World
from . import faults, wire
from .nv import AK_CERT, HCL_REPORT, USER_DATA, Nv

__all__ = ["AK_CERT", "HCL_REPORT", "RENEWAL", "USER_DATA", "Relay"]
RENEWAL = 2.0
MAX_TRANSIENT = 3


class Relay:
    """The TPM of one VM as its guests see it. ``overlay`` maps an index to its content; None where the index is absent."""

    def __init__(self, world: World, vm: str, transceive: t.Callable[[bytes], bytes]) -> None:
        self._world, self._vm, self._raw = world, vm, transceive
        self.lock = threading.RLock()
        self._handles: dict[int, list[int]] = {}
        self._next = 0
        self._renewed = 0.0
        self.nv = Nv()
        self.overlay = self.nv.content
        self.renew: t.Callable[[bytes], bytes] | None = None  # user data -> new HCL report
        self.renew_certificate: t.Callable[[], None] | None = None  # called when another index is read from its start
        self.extend: t.Callable[[int], None] | None = None  # change a PCR, as a fault wants it
        self.two_second_rule = True
        self.commands = self.opens = 0
        self.left = 0  # objects and sessions that openers left to be flushed for them
        self.names: collections.Counter[str] = collections.Counter()

    # --- openers

    @property
    def openers(self) -> int:
        """How many have the TPM open."""
        with self.lock:
            return len(self._handles)

    def open(self) -> int:
        """A new opener. Raises OSError while a fault says that somebody else holds the TPM, or that it is gone."""
        faults.at_open(self._world, self._vm)
        with self.lock:
            self._next += 1
            self.opens += 1
            self._handles[self._next] = []
            return self._next

    def close(self, opener: int) -> None:
        """Flush what the opener left, as the kernel's resource manager does."""
        with self.lock:
            for handle in self._handles.pop(opener, []):
                answer = self._raw(wire.command(wire.FLUSH, [], b"", struct.pack(">I", handle)))
                self.left += not wire.code_of(answer)

    def forget(self) -> None:
        """The TPM has been reset: what openers had made is gone, and the next report is a new one."""
        with self.lock:
            self._handles = {opener: [] for opener in self._handles}
            self._renewed = 0.0

    def transceive(self, opener: int, command: bytes) -> bytes:
        """One command. Raises OSError when a fault makes the device fail."""
        if len(command) < 10 or struct.unpack_from(">I", command, 2)[0] != len(command):
            return wire.error(0x142)  # TPM_RC_COMMAND_SIZE
        code = wire.code_of(command)
        instead = faults.at_command(self._world, self._vm, code, self.extend)
        if instead is not None:
            return instead
        with self.lock:
            self.commands += 1
            self.names[wire.NAMES.get(code, hex(code))] += 1
            return self._answer(opener, code, command)

    def _answer(self, opener: int, code: int, command: bytes) -> bytes:
        mine = self._handles.setdefault(opener, [])
        special = {
            wire.NV_READ_PUBLIC: self.nv.read_public,
            wire.NV_READ: self._read,
            wire.NV_WRITE: self.nv.write,
            wire.NV_UNDEFINE: self.nv.undefine,
            wire.NV_DEFINE: self.nv.define,
        }.get(code)
        if special is not None:
            try:
                answer = special(command)
            except struct.error:
                return wire.error(0x1DA)  # TPM_RC_INSUFFICIENT, parameter 1
            if answer is not None:
                return answer
        makes_object = code in wire.MAKES_HANDLE and code != wire.START_SESSION
        if makes_object and sum(1 for handle in mine if handle >> 24 == 0x80) >= MAX_TRANSIENT:
            return wire.error(0x902)
        response = self._raw(command)
        if code in wire.MAKES_HANDLE and not wire.code_of(response):
            mine.append(struct.unpack_from(">I", response, 10)[0])
        if code == wire.FLUSH and not wire.code_of(response):
            handle = struct.unpack_from(">I", command, 10)[0]
            if handle in mine:
                mine.remove(handle)
        if code == wire.RSA_DECRYPT and not wire.code_of(response) and not command[24] & 1:  # continueSession is clear
            session = struct.unpack_from(">I", command, 18)[0]
            if session in mine:
                mine.remove(session)  # the TPM has ended it, and may give its handle to somebody else
        return response

    # --- what the paravisor does when it sees a read

    def _read(self, command: bytes) -> bytes | None:
        index, size_of_auth = struct.unpack_from(">II", command, 14)
        offset = struct.unpack_from(">H", command, 22 + size_of_auth + 2)[0]
        if offset == 0 and index == HCL_REPORT:
            self._renewal()
        elif offset == 0 and self.renew_certificate is not None:
            self.renew_certificate()
        elif index == HCL_REPORT and self.renew is not None and self._fault("torn"):
            # Somebody else wrote user data and read from the start, between two pieces of this reader's.
            self.overlay[HCL_REPORT] = self.renew(os.urandom(64))
        return self.nv.read(command)

    def _fault(self, action: str) -> bool:
        return self._world.faults.fire("paravisor", "hcl_report", self._vm, {action}) is not None

    def _renewal(self) -> None:
        """Reading offset 0 renews the report, but not within two seconds of the last renewal. A failure is silent."""
        now = time.monotonic()
        if self.renew is None or (self.two_second_rule and now - self._renewed <= RENEWAL and self._renewed):
            return
        self._renewed = now
        if not self._fault("fail"):
            self.overlay[HCL_REPORT] = self.renew(self.user_data())

    def user_data(self) -> bytes:
        """What the guest wrote to its own index; zeros when it is not there or was never written."""
        parameters = struct.pack(">HH", 64, 0)
        response = self._raw(wire.command(wire.NV_READ, [wire.OWNER, USER_DATA], wire.PASSWORD, parameters))
        return bytes(64) if wire.code_of(response) else response[16:80]
