# SPDX-License-Identifier: GPL-3.0-or-later
"""The services as a running server: an event loop in a thread, with the listeners of both doors."""

from __future__ import annotations

import asyncio
import socket
import threading
import typing as t
from pathlib import Path

from . import server
from .app import App
from .ca import LabCA
from .fetch import Fetch

T = t.TypeVar("T")


class Running:
    """Start with ``start``; ports are then known: ``tls_port``, ``proxy_port`` and, per VM, ``imds_ports``."""

    def __init__(self, app: App, directory: Path) -> None:
        self.app = app
        self.ca: LabCA = app.world.services["ca"]
        self.bundle = self.ca.bundle(directory / "ca-bundle.pem")
        self.authority = self.ca.hashed(self.ca.directory)
        self.loop = asyncio.new_event_loop()
        self.imds_ports: dict[str, int] = {}
        self.tls_port = self.proxy_port = 0
        self._servers: list[asyncio.AbstractServer] = []
        self._thread = threading.Thread(target=self._run, name="services", daemon=True)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def call(self, coroutine: t.Coroutine[t.Any, t.Any, T]) -> T:
        """Run something in the services' loop from another thread."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(120)

    def start(self) -> None:
        self._thread.start()
        self.call(self._start())

    async def _start(self) -> None:
        door = server.Door(self.app)
        self.tls_port = await self._listen(door.tls, server.tls_context(self.app, self.ca))
        self.proxy_port = await self._listen(server.Proxy(self.app, self.ca).connection)
        self.app.world.services["fetch"] = Fetch(self.app, self.ca, self.tls_port)

    async def _listen(self, handler: t.Any, context: t.Any = None, sock: socket.socket | None = None) -> int:
        where: dict[str, t.Any] = {"sock": sock} if sock else {"host": "127.0.0.1", "port": 0}
        made = await asyncio.start_server(handler, ssl=context, limit=1 << 20, **where)
        self._servers.append(made)
        return int(made.sockets[0].getsockname()[1])

    def imds(self, vm: str) -> int:
        """A loopback port that is this VM's metadata service."""
        if vm not in self.imds_ports:
            door = server.Door(self.app, vm=vm, port=80)
            self.imds_ports[vm] = self.call(self._listen(door.plain))
        return self.imds_ports[vm]

    def listen_by_address(self, tls: socket.socket, metadata: socket.socket) -> None:
        """Serve on sockets made in the lab's own network, where a VM is known by its source address."""
        door = server.Door(self.app, by_address=True)
        self.call(self._listen(door.tls, server.tls_context(self.app, self.ca), tls))
        self.call(self._listen(door.plain, None, metadata))

    def proxy_url(self, user: str = "controller") -> str:
        return f"http://{user}:lab@127.0.0.1:{self.proxy_port}"

    def stop(self) -> None:
        if not self._thread.is_alive():
            return

        async def close() -> None:
            for made in self._servers:
                made.close()
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()  # connections that clients keep open

        self.call(close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
