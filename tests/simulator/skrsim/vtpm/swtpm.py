# SPDX-License-Identifier: GPL-3.0-or-later
"""A software TPM as a child process, reached over a UNIX socket that only the lab uses."""

from __future__ import annotations

import socket
import struct
import subprocess
import time
from pathlib import Path


class SwTpm:
    """Starting on an empty directory makes a TPM with fresh seeds; the directory is the TPM's memory across reboots."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._path = directory / "swtpm.sock"
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None

    def start(self) -> None:
        state = self.directory / "state"
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path.unlink(missing_ok=True)
        command = ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={state}", "--flags", "not-need-init,startup-clear"]
        # --terminate: when the lab's process is killed its end of the socket closes, and the TPM ends with it.
        command += ["--server", f"type=unixio,path={self._path}", "--terminate"]
        with (self.directory / "swtpm.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._socket = self._connect()

    def _connect(self) -> socket.socket:
        deadline = time.monotonic() + 10
        while True:
            made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                made.connect(str(self._path))
                return made
            except OSError:
                made.close()
                if self._process is None or self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(
                        f"swtpm did not start: {(self.directory / 'swtpm.log').read_text()[-300:]}"
                    ) from None
                time.sleep(0.005)

    def transceive(self, command: bytes) -> bytes:
        assert self._socket is not None
        self._socket.sendall(command)
        response = b""
        while len(response) < 10 or len(response) < struct.unpack_from(">I", response, 2)[0]:
            piece = self._socket.recv(1 << 16)
            if not piece:
                raise RuntimeError("swtpm closed its socket")
            response += piece
        return response

    def stop(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(10)
        self._process = None
