# SPDX-License-Identifier: GPL-3.0-or-later
"""Between clients and swtpm: one command at a time, and the NV indices that Azure's paravisor keeps.

swtpm refuses NV indices above 2,048 bytes, and Azure renews the HCL report while it is read; both are done here.
"""

from __future__ import annotations

import collections
import errno
import hashlib
import struct
import threading
import time
import typing as t

from ..core.world import World
from . import wire

HCL_REPORT, USER_DATA, AK_CERT = 0x01400001, 0x01400002, 0x01C101D0
# PLATFORMCREATE, WRITTEN, NO_DA, OWNERREAD, AUTHREAD, AUTHWRITE
ATTRIBUTES = 0x40000000 | 0x20000000 | 0x02000000 | 0x20000 | 0x40000 | 0x4
RENEWAL = 2.0
MAX_BUFFER = 1024
MAX_TRANSIENT = 3
_RANGE, _NV_AUTHORIZATION, _DEFINED, _BAD_AUTH = 0x146, 0x149, 0x14C, 0x9A2


class Relay:
    """The TPM of one VM as its guests see it. ``overlay`` maps an index to its content; None where the index is absent."""

    def __init__(self, world: World, vm: str, transceive: t.Callable[[bytes], bytes]) -> None:
        self._world, self._vm, self._raw = world, vm, transceive
        self._lock = threading.RLock()
        self._handles: dict[int, list[int]] = {}
        self._next = 0
        self._renewed = 0.0
        self.overlay: dict[int, bytes] = {}
        self.renew: t.Callable[[bytes], bytes] | None = None  # user data -> new HCL report
        self.two_second_rule = True
        self.commands = self.opens = 0
        self.left = 0  # objects and sessions that openers left to be flushed for them
        self.names: collections.Counter[str] = collections.Counter()

    # --- openers

    @property
    def openers(self) -> int:
        """How many have the TPM open."""
        with self._lock:
            return len(self._handles)

    def open(self) -> int:
        """A new opener. Raises OSError EBUSY while a fault says somebody else holds the TPM."""
        if self._world.faults.fire("tpm", "open", self._vm, {"busy"}):
            raise OSError(errno.EBUSY, "busy")
        with self._lock:
            self._next += 1
            self.opens += 1
            self._handles[self._next] = []
            return self._next

    def close(self, opener: int) -> None:
        """Flush what the opener left, as the kernel's resource manager does."""
        with self._lock:
            for handle in self._handles.pop(opener, []):
                answer = self._raw(wire.command(wire.FLUSH, [], b"", struct.pack(">I", handle)))
                self.left += not wire.code_of(answer)

    def transceive(self, opener: int, command: bytes) -> bytes:
        if len(command) < 10 or struct.unpack_from(">I", command, 2)[0] != len(command):
            return wire.error(0x142)  # TPM_RC_COMMAND_SIZE
        code = wire.code_of(command)
        fault = self._world.faults.fire("tpm", wire.NAMES.get(code, hex(code)), self._vm, {"rc", "delay"})
        if fault and fault.action == "rc":
            return wire.error(int(str(fault.parameters.get("code", "0x922")), 0))
        if fault:
            time.sleep(float(fault.parameters.get("seconds", 1)))
        with self._lock:
            self.commands += 1
            self.names[wire.NAMES.get(code, hex(code))] += 1
            return self._answer(opener, code, command)

    def _answer(self, opener: int, code: int, command: bytes) -> bytes:
        mine = self._handles.setdefault(opener, [])
        special = {
            wire.NV_READ_PUBLIC: self._read_public,
            wire.NV_READ: self._read,
            wire.NV_WRITE: self._refuse_second,
            wire.NV_UNDEFINE: self._refuse_second,
            wire.NV_DEFINE: self._define,
        }.get(code)
        if special is not None:
            answer = special(command)
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

    # --- NV

    def _read_public(self, command: bytes) -> bytes | None:
        index = struct.unpack_from(">I", command, 10)[0]
        if index not in self.overlay:
            return None
        public = struct.pack(">IHI", index, 0x000B, ATTRIBUTES) + b"\0\0" + struct.pack(">H", len(self.overlay[index]))
        body = wire.sized(public) + wire.sized(b"\x00\x0b" + hashlib.sha256(public).digest())
        return struct.pack(">HII", 0x8001, 10 + len(body), 0) + body

    def _read(self, command: bytes) -> bytes | None:
        authority, index = struct.unpack_from(">II", command, 10)
        if index not in self.overlay:
            return None
        size_of_auth = struct.unpack_from(">I", command, 18)[0]
        auth = command[22 : 22 + size_of_auth]
        size, offset = struct.unpack_from(">HH", command, 22 + size_of_auth)
        if authority != wire.OWNER or not auth.startswith(b"\x40\x00\x00\x09") or auth[-2:] != b"\0\0":
            # The index's own password is known to the paravisor alone.
            return wire.error(_BAD_AUTH)
        if index == HCL_REPORT and offset == 0:
            self._renewal()
        content = self.overlay[index]
        if size > MAX_BUFFER:
            return wire.error(0x1C4)
        if offset + size > len(content):
            return wire.error(_RANGE)
        body = wire.sized(content[offset : offset + size])
        answer = struct.pack(">I", len(body)) + body + b"\0\0\x01\0\0"
        return struct.pack(">HII", 0x8002, 10 + len(answer), 0) + answer

    def _renewal(self) -> None:
        """Reading offset 0 renews the report, but not within two seconds of the last renewal."""
        now = time.monotonic()
        if self.renew is None or (self.two_second_rule and now - self._renewed <= RENEWAL and self._renewed):
            return
        self._renewed = now
        self.overlay[HCL_REPORT] = self.renew(self._user_data())

    def _user_data(self) -> bytes:
        """What the guest wrote to its own index; zeros when it is not there or was never written."""
        parameters = struct.pack(">HH", 64, 0)
        response = self._raw(wire.command(wire.NV_READ, [wire.OWNER, USER_DATA], wire.PASSWORD, parameters))
        return bytes(64) if wire.code_of(response) else response[16:80]

    def _refuse_second(self, command: bytes) -> bytes | None:
        """Platform-created indices are neither written nor undefined by a guest."""
        return wire.error(_NV_AUTHORIZATION) if struct.unpack_from(">I", command, 14)[0] in self.overlay else None

    def _define(self, command: bytes) -> bytes | None:
        size_of_auth = struct.unpack_from(">I", command, 14)[0]
        at = 18 + size_of_auth
        at += 2 + struct.unpack_from(">H", command, at)[0]  # the new index's password
        index = struct.unpack_from(">I", command, at + 2)[0]
        return wire.error(_DEFINED) if index in self.overlay else None
