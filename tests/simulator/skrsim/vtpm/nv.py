# SPDX-License-Identifier: GPL-3.0-or-later
"""The NV indices that do not live in swtpm: those of the paravisor, and a certificate larger than swtpm takes.

TPM 2.0 Part 3, section 31. Every method takes a whole command and gives the response, or None when swtpm shall answer.
"""

from __future__ import annotations

import dataclasses
import hashlib
import struct

from . import wire

HCL_REPORT, USER_DATA, AK_CERT = 0x01400001, 0x01400002, 0x01C101D0
OWNERWRITE, AUTHWRITE, OWNERREAD, AUTHREAD = 0x2, 0x4, 0x20000, 0x40000
NO_DA, WRITTEN, PLATFORMCREATE = 0x02000000, 0x20000000, 0x40000000
# Of the paravisor's indices. Their own password is known to the paravisor alone.
PLATFORM = PLATFORMCREATE | WRITTEN | NO_DA | OWNERREAD | AUTHREAD | AUTHWRITE
OWNED = WRITTEN | NO_DA | OWNERREAD | OWNERWRITE | AUTHREAD | AUTHWRITE
MAX_BUFFER, MAX_INDEX = 1024, 4096
_RANGE, _AUTHORIZATION, _UNWRITTEN, _DEFINED = 0x146, 0x149, 0x14A, 0x14C
_BAD_AUTH, _AUTH_UNAVAILABLE, _BUFFER, _SIZE = 0x9A2, 0x12F, 0x1C4, 0x2D5


@dataclasses.dataclass
class Shape:
    """What the owner said when an index was defined."""

    attributes: int = OWNED
    policy: bytes = b""
    password: bytes = b""


class Nv:
    """``content`` maps an index to what is in it, ``owned`` tells those that the owner, not the platform, has made."""

    def __init__(self) -> None:
        self.content: dict[int, bytes] = {}
        self.owned: dict[int, Shape] = {}
        self.definable: set[int] = set()  # what the owner may define here and not in swtpm

    def _attributes(self, index: int) -> int:
        return self.owned[index].attributes if index in self.owned else PLATFORM

    def read_public(self, command: bytes) -> bytes | None:
        index = struct.unpack_from(">I", command, 10)[0]
        if index not in self.content:
            return None
        policy = self.owned[index].policy if index in self.owned else b""
        public = struct.pack(">IHI", index, 0x000B, self._attributes(index)) + wire.sized(policy)
        public += struct.pack(">H", len(self.content[index]))
        body = wire.sized(public) + wire.sized(b"\x00\x0b" + hashlib.sha256(public).digest())
        return struct.pack(">HII", 0x8001, 10 + len(body), 0) + body

    def read(self, command: bytes) -> bytes | None:
        authority, index = struct.unpack_from(">II", command, 10)
        if index not in self.content:
            return None
        refused, at = self._authorize(command, authority, index, OWNERREAD, AUTHREAD)
        if refused:
            return wire.error(refused)
        if not self._attributes(index) & WRITTEN:
            return wire.error(_UNWRITTEN)
        size, offset = struct.unpack_from(">HH", command, at)
        if size > MAX_BUFFER:
            return wire.error(_BUFFER)
        if offset + size > len(self.content[index]):
            return wire.error(_RANGE)
        return _answer(wire.sized(self.content[index][offset : offset + size]))

    def write(self, command: bytes) -> bytes | None:
        """The platform's indices are not written by a guest."""
        authority, index = struct.unpack_from(">II", command, 10)
        if index not in self.content:
            return None
        if index not in self.owned:
            return wire.error(_AUTHORIZATION)
        refused, at = self._authorize(command, authority, index, OWNERWRITE, AUTHWRITE)
        if refused:
            return wire.error(refused)
        size = struct.unpack_from(">H", command, at)[0]
        data, offset = command[at + 2 : at + 2 + size], struct.unpack_from(">H", command, at + 2 + size)[0]
        old = self.content[index]
        if size > MAX_BUFFER:
            return wire.error(_BUFFER)
        if offset + size > len(old):
            return wire.error(_RANGE)
        self.content[index] = old[:offset] + data + old[offset + size :]
        self.owned[index].attributes |= WRITTEN
        return _answer(b"")

    def undefine(self, command: bytes) -> bytes | None:
        """The platform's indices are not undefined by the owner."""
        authority, index = struct.unpack_from(">II", command, 10)
        if index not in self.content:
            return None
        if index not in self.owned or authority != wire.OWNER:
            return wire.error(_AUTHORIZATION)
        password, _at = _password(command, 18)
        if password != b"":
            return wire.error(_BAD_AUTH)
        del self.content[index], self.owned[index]
        return _answer(b"")

    def define(self, command: bytes) -> bytes | None:
        authority = struct.unpack_from(">I", command, 10)[0]
        password, at = _password(command, 14)
        size = struct.unpack_from(">H", command, at)[0]
        own, at = command[at + 2 : at + 2 + size], at + 2 + size
        index, algorithm, attributes = struct.unpack_from(">IHI", command, at + 2)
        if index in self.content:
            return wire.error(_DEFINED)
        if index not in self.definable or algorithm != 0x000B:
            return None
        if authority != wire.OWNER or password != b"":
            return wire.error(_BAD_AUTH)
        policy_size = struct.unpack_from(">H", command, at + 12)[0]
        policy = command[at + 14 : at + 14 + policy_size]
        data_size = struct.unpack_from(">H", command, at + 14 + policy_size)[0]
        if data_size > MAX_INDEX:
            return wire.error(_SIZE)
        self.content[index] = b"\xff" * data_size
        self.owned[index] = Shape(attributes & ~WRITTEN, policy, own)
        return _answer(b"")

    def _authorize(self, command: bytes, authority: int, index: int, by_owner: int, by_itself: int) -> tuple[int, int]:
        """The refusal (0: none) of a command with two handles and one password, and where its parameters begin."""
        password, at = _password(command, 18)
        attributes = self._attributes(index)
        if authority == wire.OWNER:
            refused = _BAD_AUTH if password != b"" else 0 if attributes & by_owner else _AUTHORIZATION
        elif authority != index:
            refused = _AUTHORIZATION
        elif index not in self.owned:
            refused = _BAD_AUTH
        elif not attributes & by_itself:
            refused = _AUTH_UNAVAILABLE
        else:
            refused = 0 if password == self.owned[index].password else _BAD_AUTH
        return refused, at


def _password(command: bytes, at: int) -> tuple[bytes | None, int]:
    """The password of a command's one authorization, None when it is another kind; and where its parameters begin."""
    size = struct.unpack_from(">I", command, at)[0]
    auth = command[at + 4 : at + 4 + size]
    if not auth.startswith(b"\x40\x00\x00\x09\0\0") or len(auth) < 9:
        return None, at + 4 + size
    return auth[9:], at + 4 + size


def _answer(parameters: bytes) -> bytes:
    """A success with one password session."""
    body = struct.pack(">I", len(parameters)) + parameters + b"\0\0\x01\0\0"
    return struct.pack(">HII", 0x8002, 10 + len(body), 0) + body
