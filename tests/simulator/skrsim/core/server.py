# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP/1.1 over asyncio streams (h11): the doors through which clients reach the services.

Written on streams and not on a web framework, because faults such as a reset in mid-body or a refused TLS handshake
must be possible.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import socket
import ssl
import struct
import typing as t
from urllib.parse import parse_qsl, unquote, urlsplit

import h11

from .app import App
from .ca import LabCA
from .faults import Fault
from .messages import Request, Response

_LIMIT = 1 << 22
_connections = itertools.count(1)


class Door:
    """One way in: how a connection's VM is known, and whether it speaks TLS."""

    def __init__(self, app: App, vm: str | None = None, by_address: bool = False, port: int = 443) -> None:
        self._app, self._vm, self._by_address, self._port = app, vm, by_address, port

    async def plain(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection whose scheme is http (the metadata service)."""
        with contextlib.suppress(OSError, h11.RemoteProtocolError, asyncio.IncompleteReadError):
            await self.serve(reader, writer, "http", None, self._peer(writer))
        _close(writer)

    async def tls(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection whose TLS handshake has been done by the listener."""
        tunnel = writer.get_extra_info("ssl_object")
        host = getattr(tunnel, "skr_host", None)
        with contextlib.suppress(OSError, h11.RemoteProtocolError, asyncio.IncompleteReadError):
            await self.serve(reader, writer, "https", host, self._peer(writer))
        _close(writer)

    def _peer(self, writer: asyncio.StreamWriter) -> tuple[str | None, str]:
        peer = writer.get_extra_info("peername")
        address = str(peer[0]) if peer else "127.0.0.1"
        return (self._app.addresses.get(address) if self._by_address else self._vm), address

    async def serve(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        scheme: str,
        host: str | None,
        peer: tuple[str | None, str],
    ) -> None:
        """Answer requests on one connection until either side closes it."""
        connection, number = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 17), next(_connections)
        while True:
            head = await _event(connection, reader)
            if not isinstance(head, h11.Request):
                return
            body = b""
            if connection.they_are_waiting_for_100_continue:
                writer.write(connection.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")
            while not isinstance(event := await _event(connection, reader), h11.EndOfMessage):
                if not isinstance(event, h11.Data) or len(body) > _LIMIT:
                    return
                body += bytes(event.data)
            request = _request(head, body, scheme, host, peer, self._port if scheme == "https" else 80, number)
            response, fault = await self._app.handle(request)
            if not await _send(connection, writer, response, fault, request.method == "HEAD"):
                return
            if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
                return
            connection.start_next_cycle()


def _request(
    head: h11.Request,
    body: bytes,
    scheme: str,
    host: str | None,
    peer: tuple[str | None, str],
    port: int,
    connection: int,
) -> Request:
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
    target = head.target.decode("latin-1")
    if target.startswith("http://"):  # absolute form, from a client that uses us as its proxy
        parts = urlsplit(target)
        host, target = parts.hostname or "", parts.path + (f"?{parts.query}" if parts.query else "")
    raw_path, _mark, query = target.partition("?")
    named = host or headers.get("host", "").partition(":")[0]
    return Request(
        method=head.method.decode("ascii"),
        scheme=scheme,
        host=named.lower(),
        path=unquote(raw_path),
        query=tuple(parse_qsl(query, keep_blank_values=True)),
        headers=headers,
        body=body,
        vm=peer[0],
        client_address=peer[1],
        port=port,
        connection=connection,
    )


async def _event(connection: h11.Connection, reader: asyncio.StreamReader) -> t.Any:
    while (event := connection.next_event()) is h11.NEED_DATA:
        connection.receive_data(await reader.read(1 << 16))
    return event


async def _send(
    connection: h11.Connection, writer: asyncio.StreamWriter, response: Response, fault: Fault | None, head_only: bool
) -> bool:
    """Send a response in one write, or spoil it as the fault says. False: the connection is over."""
    action, parameters = (fault.action, fault.parameters) if fault else ("", {})
    body = response.body
    if action == "delay":
        await asyncio.sleep(float(parameters.get("seconds", 1)))
    if action == "reset":
        _reset(writer)
        return False
    if action == "truncate_json":
        body = body[: len(body) // 2]
    headers = [*response.headers.items(), ("Content-Length", str(len(body)))]
    data = connection.send(h11.Response(status_code=response.status, headers=headers)) or b""
    if not head_only:
        data += connection.send(h11.Data(data=body)) or b""
    if action == "reset_mid_body":
        writer.write(data[: len(data) - len(body) // 2 - 1])
        await writer.drain()
        _reset(writer)
        return False
    data += connection.send(h11.EndOfMessage()) or b"" if not head_only else b""
    if action == "slow_body":
        for start in range(0, len(data), max(1, len(data) // 10)):
            writer.write(data[start : start + max(1, len(data) // 10)])
            await writer.drain()
            await asyncio.sleep(float(parameters.get("seconds", 1)) / 10)
    else:
        writer.write(data)
    await writer.drain()
    return not head_only


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST instead of FIN."""
    raw = writer.get_extra_info("socket")
    if raw is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def _close(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, RuntimeError):
        writer.close()


def tls_context(app: App, ca: LabCA) -> ssl.SSLContext:
    """A server context that shows a leaf for the asked name; names that nobody serves end the handshake."""

    def choose(tunnel: ssl.SSLObject, host: str | None, _context: ssl.SSLContext) -> int | None:
        if not host or not app.serves(host.lower()):
            return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        tunnel.context = ca.context(host.lower())
        tunnel.skr_host = host.lower()  # type: ignore[attr-defined]  # remembered for the door
        return None

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["http/1.1"])
    context.sni_callback = choose
    return context


class Proxy:
    """A forward proxy on loopback: CONNECT to any served name, the VM told by the user name."""

    def __init__(self, app: App, ca: LabCA) -> None:
        self._app, self._ca = app, ca

    async def connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            await self._connection(reader, writer)
        _close(writer)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, target, _version = (head[0].split(" ") + ["", ""])[:3]
        headers = {line.partition(":")[0].lower(): line.partition(":")[2].strip() for line in head[1:] if line}
        known, vm = self._user(headers.get("proxy-authorization", ""))
        host, _colon, port = target.rpartition(":")
        if not known:
            return await _line(writer, 407, "Proxy Authentication Required")
        if method != "CONNECT":
            return await _line(writer, 405, "Only CONNECT is served here")
        if port != "443" or not self._app.serves(host.lower()):
            return await _line(writer, 502, "No such host in the simulated network")
        await _line(writer, 200, "Connection established")
        await writer.start_tls(self._ca.context(host.lower()))
        door = Door(self._app)
        await door.serve(reader, writer, "https", host.lower(), (vm, "127.0.0.1"))

    def _user(self, authorization: str) -> tuple[bool, str | None]:
        """Whether the proxy user is known, and which VM it stands for (None: the controller)."""
        if not authorization:
            return True, None
        try:
            user = base64.b64decode(authorization.partition(" ")[2]).decode().partition(":")[0]
        except ValueError:
            return False, None
        return user == "controller" or user in self._app.world.vms, user if user in self._app.world.vms else None


async def _line(writer: asyncio.StreamWriter, status: int, text: str) -> None:
    length = "" if status == 200 else "Content-Length: 0\r\n"
    writer.write(f"HTTP/1.1 {status} {text}\r\n{length}\r\n".encode())
    await writer.drain()
