# SPDX-License-Identifier: GPL-3.0-or-later
"""Loopback ports that lead to a host's sshd inside its namespace, so that plain ssh needs no proxy command."""

from __future__ import annotations

import asyncio
import contextlib
import socket

from . import netns


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.close()


async def forward(namespace: str, address: str, port: int) -> tuple[asyncio.Server, int]:
    """Listen on a free loopback port and carry each connection to ``address:port`` in the namespace."""

    def make() -> socket.socket:
        outgoing = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        outgoing.setblocking(False)
        return outgoing

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        outgoing = await asyncio.to_thread(netns.inside, namespace, make)
        try:
            await asyncio.get_running_loop().sock_connect(outgoing, (address, port))
            far_reader, far_writer = await asyncio.open_connection(sock=outgoing)
        except OSError:
            outgoing.close()
            writer.close()
            return
        await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))

    server = await asyncio.start_server(carry, "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()[1]
