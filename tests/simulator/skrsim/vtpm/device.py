# SPDX-License-Identifier: GPL-3.0-or-later
"""A file that behaves like /dev/tpmrm0: a FUSE file system whose root is that file. Linux, root, no package needed.

One write is one command, the response may be read in pieces, opening for truncation works, poll says "ready".
Message layouts: include/uapi/linux/fuse.h.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import threading
from pathlib import Path

from .relay import Relay

_IN = struct.Struct("<IIQQIIIHH")
_OUT = struct.Struct("<IiQ")
FORGET, GETATTR, SETATTR, OPEN, READ, WRITE, STATFS, RELEASE = 2, 3, 4, 14, 15, 16, 17, 18
FLUSH, INIT, ACCESS, INTERRUPT, DESTROY, POLL, BATCH_FORGET = 25, 26, 34, 36, 38, 40, 42
_DIRECT_IO, _NONSEEKABLE, _STREAM = 1, 4, 16
_POLL_READY = 0x45  # in, out, normal read
_MAX_REQUEST = 1 << 17


def _attributes(mode: int) -> bytes:
    return struct.pack("<QQQQQQIIIIIIIIII", 1, 0, 0, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)


class TpmDevice:
    """One device file. ``exclusive`` is how /dev/tpm0 behaves: a second open is refused with EBUSY."""

    def __init__(self, relay: Relay, path: Path, exclusive: bool = False) -> None:
        self._relay, self._path, self._exclusive = relay, path, exclusive
        self._open: dict[int, bytes] = {}
        self._failed: dict[int, int] = {}  # opener -> error number that its next read gives
        self._mode = 0o100660
        path.touch()
        self._fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        options = f"fd={self._fd},rootmode={self._mode:o},user_id=0,group_id=0,allow_other,default_permissions"
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mount(b"skrsim-tpm", str(path).encode(), b"fuse", 6, options.encode()):
            code = ctypes.get_errno()
            os.close(self._fd)
            raise OSError(code, f"cannot mount the TPM device at {path}")
        threading.Thread(target=self._serve, daemon=True, name=f"device {path.name}").start()

    def close(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        libc.umount2(str(self._path).encode(), 2)  # MNT_DETACH: a host may still hold it open

    def _reply(self, unique: int, data: bytes = b"", error: int = 0) -> None:
        try:
            os.write(self._fd, _OUT.pack(16 + len(data), -error, unique) + data)
        except OSError as problem:
            if problem.errno != errno.ENOENT:  # the caller was interrupted
                raise

    def _serve(self) -> None:
        while True:
            try:
                request = os.read(self._fd, _MAX_REQUEST)
            except OSError as problem:
                if problem.errno in (errno.EINTR, errno.EAGAIN):
                    continue
                os.close(self._fd)
                return  # unmounted
            size, operation, unique = _IN.unpack_from(request)[:3]
            if operation in (READ, WRITE, OPEN, RELEASE):
                # Commands of several openers may take long; none shall hold up the others' opening.
                threading.Thread(target=self._slow, args=(operation, unique, request[40:size]), daemon=True).start()
            elif operation not in (FORGET, BATCH_FORGET, INTERRUPT):
                self._quick(operation, unique, request[40:size])

    def _quick(self, operation: int, unique: int, body: bytes) -> None:
        if operation == INIT:
            self._reply(unique, struct.pack("<IIIIHHIIHHI", 7, 31, 0, 0, 12, 10, 1 << 16, 1, 16, 0, 0) + bytes(24))
        elif operation in (GETATTR, SETATTR):
            self._reply(unique, struct.pack("<QII", 0, 0, 0) + _attributes(self._mode))
        elif operation == POLL:
            self._reply(unique, struct.pack("<II", _POLL_READY, 0))
        elif operation == STATFS:
            self._reply(unique, bytes(80))
        elif operation in (FLUSH, ACCESS, DESTROY):
            self._reply(unique)
        else:
            self._reply(unique, error=errno.ENOSYS)

    def _slow(self, operation: int, unique: int, body: bytes) -> None:
        if operation == OPEN:
            try:
                if self._exclusive and self._open:
                    raise OSError(errno.EBUSY, "busy")
                opener = self._relay.open()
            except OSError as problem:
                return self._reply(unique, error=problem.errno or errno.EIO)
            self._open[opener] = b""
            return self._reply(unique, struct.pack("<QII", opener, _DIRECT_IO | _NONSEEKABLE | _STREAM, 0))
        opener = struct.unpack_from("<Q", body)[0]
        if operation == WRITE:
            size = struct.unpack_from("<QQI", body)[2]
            try:
                self._open[opener] = self._relay.transceive(opener, body[40 : 40 + size])
            except OSError as problem:
                if problem.errno == errno.EBUSY:
                    return self._reply(unique, error=errno.EBUSY)
                self._failed[opener] = (
                    problem.errno or errno.EIO
                )  # the kernel takes the command, its answer never comes
            self._reply(unique, struct.pack("<II", size, 0))
        elif operation == READ:
            if opener in self._failed:
                return self._reply(unique, error=self._failed.pop(opener))
            size = struct.unpack_from("<QQI", body)[2]
            pending = self._open.get(opener, b"")
            self._open[opener] = pending[size:]
            self._reply(unique, pending[:size])
        else:
            self._open.pop(opener, None)
            self._failed.pop(opener, None)
            self._relay.close(opener)
            self._reply(unique)
