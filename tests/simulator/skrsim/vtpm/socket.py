# SPDX-License-Identifier: GPL-3.0-or-later
"""The TPM on a UNIX socket: a stream of raw commands and responses; one connection is one opener."""

from __future__ import annotations

import os
import socket
import socketserver
import struct
import threading
from pathlib import Path

from .relay import Relay


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = connection.recv(size - len(data))
        if not piece:
            return b""
        data += piece
    return data


class TpmSocket:
    def __init__(self, relay: Relay, path: Path) -> None:
        class Connection(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                try:
                    opener = relay.open()
                except OSError:
                    return  # busy: the client finds the connection closed
                try:
                    while header := _exactly(self.request, 10):
                        size = struct.unpack_from(">I", header, 2)[0]
                        rest = _exactly(self.request, size - 10) if 10 < size <= 1 << 16 else b""
                        self.request.sendall(relay.transceive(opener, header + rest))
                except OSError:
                    pass  # the client went away
                finally:
                    relay.close(opener)

        class Server(socketserver.ThreadingUnixStreamServer):
            daemon_threads = True

        path.unlink(missing_ok=True)
        old = os.umask(0o177)
        try:
            self._server = Server(str(path), Connection)
        finally:
            os.umask(old)
        threading.Thread(target=self._server.serve_forever, daemon=True, name=f"tpm {path.name}").start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
