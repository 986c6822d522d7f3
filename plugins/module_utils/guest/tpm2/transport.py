# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How to reach a TPM: a device file, or a UNIX or TCP socket that carries raw commands and responses."""

from __future__ import annotations

import errno
import os
import socket
import struct
import time
import typing as t

from ...policy.failure import SkrFailure

_MAX_RESPONSE = 1 << 16
_IO_TIMEOUT = 120.0  # seconds; the slowest command makes an RSA key


class Transport(t.Protocol):
    """One open TPM: one command in, one response out."""

    def transceive(self, command: bytes) -> bytes: ...

    def close(self) -> None: ...


class DeviceFile:
    """A character device such as /dev/tpmrm0: one write is one command, the response may come in pieces."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)

    def transceive(self, command: bytes) -> bytes:
        os.write(self._fd, command)
        response = os.read(self._fd, _MAX_RESPONSE)
        while len(response) < 10 or len(response) < _size(response):
            piece = os.read(self._fd, _MAX_RESPONSE)
            if not piece:
                break
            response += piece
        return response

    def close(self) -> None:
        os.close(self._fd)


class Socket:
    """A stream of raw TPM commands and responses; one connection is one opening of the TPM."""

    def __init__(self, family: int, address: t.Any) -> None:
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.settimeout(_IO_TIMEOUT)
        try:
            self._socket.connect(address)
        except OSError:
            self._socket.close()
            raise

    def transceive(self, command: bytes) -> bytes:
        self._socket.sendall(command)
        header = self._exactly(10)
        return header + self._exactly(_size(header) - 10)

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = self._socket.recv(size - len(data))
            if not piece:
                raise OSError(errno.EBUSY, "the TPM's socket was closed before the response")
            data += piece
        return data

    def close(self) -> None:
        self._socket.close()


def _size(response: bytes) -> int:
    """How long a response says it is. Raises OSError where no TPM could mean it, before memory is kept ready for it."""
    size = int(struct.unpack_from(">I", response, 2)[0])
    if size > _MAX_RESPONSE:
        raise OSError(errno.EPROTO, os.strerror(errno.EPROTO))
    return size


def connect(device: str) -> Transport:
    """Open a device given as a path, ``unix:PATH`` or ``tcp:HOST:PORT``. Raises OSError."""
    if device.startswith("unix:"):
        return Socket(socket.AF_UNIX, device[5:])
    if device.startswith("tcp:"):
        host, _colon, port = device[4:].rpartition(":")
        if not host or not port.isdigit():
            raise SkrFailure(
                "invalid_input", f"tpm_device is {device!r}, wanted tcp:HOST:PORT.", {"option": "tpm_device"}
            )
        return Socket(socket.AF_INET, (host, int(port)))
    return DeviceFile(device)


_BUSY = frozenset({errno.EBUSY, errno.EAGAIN, errno.ECONNREFUSED, errno.ECONNRESET, errno.EPIPE})


def explain(error: OSError, device: str) -> SkrFailure:
    """The failure a user is given when a TPM cannot be opened or talked to."""
    facts: t.Dict[str, t.Any] = {"device": device, "error": os.strerror(error.errno) if error.errno else str(error)}
    if error.errno in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        return SkrFailure("tpm_missing", f"There is no TPM at {device}.", facts)
    if error.errno in (errno.EACCES, errno.EPERM):
        facts["user"] = os.geteuid()
        return SkrFailure("tpm_permission", f"User id {os.geteuid()} may not open the TPM at {device}.", facts)
    if error.errno in _BUSY or isinstance(error, socket.timeout):
        return SkrFailure("tpm_busy", f"The TPM at {device} is held by another process.", facts)
    return SkrFailure("tpm_error", f"The TPM at {device} cannot be used: {facts['error']}.", facts)


def open_patiently(device: str, timeout: float) -> t.Tuple[Transport, int]:
    """Open a TPM, waiting up to ``timeout`` seconds while somebody else holds it; returns also how often it was tried.

    A socket that accepts and closes is busy too, so the first command may still fail; the client covers that.
    """
    deadline = time.monotonic() + timeout
    pause, tries = 0.1, 0
    while True:
        tries += 1
        try:
            return connect(device), tries
        except OSError as error:
            if error.errno not in _BUSY or time.monotonic() + pause > deadline:
                failure = explain(error, device)
                if failure.reason == "tpm_busy":
                    failure.message += f" It stayed so for {timeout:.0f} seconds."
                raise failure from error
        time.sleep(pause)
        pause = min(pause * 1.5, 1.0)
