# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's control channel: one JSON line in, one JSON line out, over a UNIX socket only its owner can open."""

from __future__ import annotations

import json
import os
import socket
import socketserver
import threading
import typing as t
from pathlib import Path

Handler = t.Callable[[dict[str, t.Any]], t.Any]


class ControlError(Exception):
    """The lab refused a control request, or no lab answers."""


def serve(path: Path, handlers: dict[str, Handler]) -> socketserver.ThreadingUnixStreamServer:
    """Start answering in a background thread. A handler's ValueError or KeyError is sent back as text."""

    class Connection(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            for line in self.rfile:
                try:
                    request = json.loads(line)
                    reply = {"ok": True, "result": handlers[request.pop("command")](request)}
                except (ValueError, KeyError, TypeError) as error:
                    reply = {"ok": False, "error": f"{type(error).__name__}: {error}"}
                self.wfile.write(json.dumps(reply, default=str).encode() + b"\n")

    class Server(socketserver.ThreadingUnixStreamServer):
        daemon_threads = True

    old = os.umask(0o177)
    try:
        server = Server(str(path), Connection)
    finally:
        os.umask(old)
    threading.Thread(target=server.serve_forever, daemon=True, name="control").start()
    return server


def call(path: Path, command: str, **parameters: t.Any) -> t.Any:
    """Ask the lab. Raises ControlError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            connection.connect(str(path))
        except OSError as error:
            raise ControlError(f"no lab answers at {path}: {error.strerror}") from error
        connection.sendall(json.dumps({"command": command, **parameters}).encode() + b"\n")
        with connection.makefile("rb") as stream:
            line = stream.readline()
    if not line:
        raise ControlError("the lab closed the connection without an answer; see its log")
    reply = json.loads(line)
    if not reply["ok"]:
        raise ControlError(reply["error"])
    return reply["result"]
