# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel's keyring syscalls, without any library or program: add_key(2), keyctl(2), keyrings(7)."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import typing as t

from ...policy.failure import SkrFailure

# add_key and keyctl; asm-x86_64/unistd_64.h and asm-generic/unistd.h. Only 64-bit processes are meant.
_NUMBERS = {"x86_64": (248, 250), "aarch64": (217, 219)}
PROCESS, SESSION, USER = -2, -3, -4  # KEY_SPEC_PROCESS_KEYRING, _SESSION_ and _USER_
# linux/keyctl.h
_GET_KEYRING_ID, _REVOKE, _SETPERM, _DESCRIBE = 0, 3, 5, 6
_LINK, _UNLINK, _READ, _SET_TIMEOUT, _GET_PERSISTENT = 8, 9, 11, 15, 22
_KIND = b"user"  # readable by programs, unlike "logon"
LARGEST = 32767  # bytes of a payload of that kind
_GONE = frozenset({errno.ENOKEY, errno.EKEYEXPIRED, errno.EKEYREVOKED})


class Described(t.NamedTuple):
    """What the kernel tells of a key without its payload."""

    kind: str
    uid: int
    gid: int
    permissions: int
    description: str


class Keys:
    """The syscalls. Refusals are SkrFailure ``keyring_unavailable``, ``keyring_quota`` or ``delivery_failed``."""

    def __init__(self) -> None:
        numbers = _NUMBERS.get(platform.machine())
        if numbers is None or struct.calcsize("P") != 8:
            raise SkrFailure(
                "keyring_unavailable",
                f"The keyring calls of a {platform.machine()} machine with {8 * struct.calcsize('P')} bits are not known here.",
            )
        self._add_key, self._keyctl = numbers
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._libc.syscall.restype = ctypes.c_long

    def syscall(self, number: int, *words: t.Any) -> int:
        """One call; negative is minus the error number."""
        # A variadic function gets no conversion: numbers must have the width of a register.
        given = [ctypes.c_long(word) if isinstance(word, int) else word for word in words]
        result: int = self._libc.syscall(ctypes.c_long(number), *given)
        return -ctypes.get_errno() if result == -1 else result

    def _call(self, doing: str, operation: int, *words: t.Any) -> int:
        return _judged(doing, self.syscall(self._keyctl, operation, *words))

    def probe(self) -> None:
        """Raises SkrFailure ``keyring_unavailable`` where kernel or container refuse keyrings altogether."""
        result = self.syscall(self._keyctl, _GET_KEYRING_ID, USER, 0)
        if -result in (errno.ENOSYS, errno.EPERM, errno.EOPNOTSUPP):
            _judged("looked for", result)

    def keyring(self, special: int) -> int:
        """The serial number of a special keyring, which is made where it does not exist."""
        return self._call("made", _GET_KEYRING_ID, special, 1)

    def persistent(self) -> int:
        """This user's persistent keyring, linked into the process's; asking for it renews its lifetime."""
        result = self.syscall(self._keyctl, _GET_PERSISTENT, -1, PROCESS)
        if result == -errno.EOPNOTSUPP:
            raise SkrFailure(
                "keyring_unavailable", "This kernel has no persistent keyrings.", {"keyring": "persistent"}
            )
        return _judged("opened", result)

    def link(self, key: int, ring: int) -> None:
        self._call("linked", _LINK, key, ring)

    def add(self, description: str, payload: bytearray, ring: int) -> int:
        """Make the key or, where the ring has one of this description, give it this payload; its serial number stays."""
        space = (ctypes.c_char * len(payload)).from_buffer(payload)  # no further copy
        name = description.encode("utf-8")
        return _judged("written", self.syscall(self._add_key, _KIND, name, space, len(payload), ring))

    def members(self, ring: int) -> t.List[int]:
        """Serial numbers of what is directly in a keyring; a search would look into nested ones too."""
        content = bytes(self._read("read", ring) or b"")
        return [number for (number,) in struct.iter_unpack("=i", content[: len(content) // 4 * 4])]

    def describe(self, key: int) -> t.Optional[Described]:
        """None for a key that is gone or that may not be looked at."""
        size = self.syscall(self._keyctl, _DESCRIBE, key, None, 0)
        space = ctypes.create_string_buffer(max(size, 1))
        if size < 0 or self.syscall(self._keyctl, _DESCRIBE, key, space, len(space)) < 0:
            return None
        kind, uid, gid, permissions, description = space.value.decode("utf-8", "replace").split(";", 4)
        return Described(kind, int(uid), int(gid), int(permissions, 16), description)

    def find(self, description: str, ring: int) -> t.Optional[int]:
        """The key of kind user with this description that is directly in the ring."""
        for key in self.members(ring):
            found = self.describe(key)
            if found is not None and (found.kind, found.description) == (_KIND.decode(), description):
                return key
        return None

    def payload(self, key: int) -> t.Optional[bytearray]:
        """None where it is not there any more: expired or revoked."""
        return self._read("read", key, _GONE)

    def _read(self, doing: str, key: int, none_for: t.Container[int] = ()) -> t.Optional[bytearray]:
        size = self.syscall(self._keyctl, _READ, key, None, 0)
        while size >= 0:
            found = bytearray(size)
            space = (ctypes.c_char * size).from_buffer(found)
            got = self.syscall(self._keyctl, _READ, key, space, size)
            del space  # as long as it lives the bytearray cannot change its size
            if got <= size:
                if got >= 0:
                    del found[got:]
                    return found
            size = got  # it has grown meanwhile, or gone
        if -size in none_for:
            return None
        _judged(doing, size)
        raise AssertionError("a negative result is a failure")

    def permit(self, key: int, permissions: int) -> None:
        self._call("given its permissions", _SETPERM, key, permissions)

    def expire(self, key: int, seconds: int) -> None:
        """Counted from now; 0 takes a time limit away."""
        self._call("given its lifetime", _SET_TIMEOUT, key, seconds)

    def revoke(self, key: int) -> None:
        """The payload is gone for all who hold a link to it."""
        result = self.syscall(self._keyctl, _REVOKE, key)
        if -result not in _GONE:
            _judged("revoked", result)

    def unlink(self, key: int, ring: int) -> None:
        self._call("removed", _UNLINK, key, ring)


def _judged(doing: str, result: int) -> int:
    if result >= 0:
        return result
    number = -result
    name, text = errno.errorcode.get(number, str(number)), os.strerror(number)
    facts = {"error": name}
    if number in (errno.ENOSYS, errno.EOPNOTSUPP):
        raise SkrFailure("keyring_unavailable", f"This kernel has no keyrings: {text} ({name}).", facts)
    if number == errno.EPERM:
        raise SkrFailure("keyring_unavailable", f"Keyrings are refused to this process: {text} ({name}).", facts)
    if number == errno.EDQUOT:
        raise SkrFailure("keyring_quota", f"The key could not be {doing}: {text} ({name}).", facts)
    raise SkrFailure("delivery_failed", f"The key could not be {doing} in the keyring: {text} ({name}).", facts)
