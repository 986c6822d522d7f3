# SPDX-License-Identifier: GPL-3.0-or-later
"""The simulated network as services see it: a vault that fetches an authority's keys really connects to it."""

from __future__ import annotations

import asyncio
import ssl
from urllib.parse import urlsplit

import h11

from .app import App
from .ca import LabCA
from .messages import Response


class Fetch:
    """GET over TCP and TLS, through the lab's own listener, verified against the lab CA."""

    def __init__(self, app: App, ca: LabCA, port: int) -> None:
        self._app, self._port = app, port
        self._context = ssl.create_default_context(cadata=ca.ca_pem.decode())

    async def __call__(self, url: str) -> Response:
        """Fetch an https URL. Raises OSError when name, port, connection or certificate fail."""
        parts = urlsplit(url)
        host = parts.hostname or ""
        if parts.scheme != "https" or parts.port not in (None, 443) or not self._app.serves(host):
            raise OSError(f"{host}: no such host in the simulated network")
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self._port, ssl=self._context, server_hostname=host, limit=1 << 20
        )
        try:
            connection = h11.Connection(h11.CLIENT)
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            request = h11.Request(method="GET", target=target, headers=[("Host", host), ("Connection", "close")])
            writer.write((connection.send(request) or b"") + (connection.send(h11.EndOfMessage()) or b""))
            response = Response(0)
            while True:
                event = connection.next_event()
                if event is h11.NEED_DATA:
                    connection.receive_data(await reader.read(1 << 16))
                elif isinstance(event, h11.Response):
                    response.status = event.status_code
                elif isinstance(event, h11.Data):
                    response.body += bytes(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    return response
                else:
                    raise OSError(f"{host}: connection closed")
        except h11.RemoteProtocolError as error:
            raise OSError(f"{host}: {error}") from error
        finally:
            writer.close()
