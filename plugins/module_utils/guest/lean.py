# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What :mod:`http` needs of a session, by the standard library alone: importing requests takes as long as a whole release.

It answers as a session of requests does, as far as it is asked: one request, a streamed answer, no redirect, no cookie.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import http.client
import json as codec
import select
import ssl
import threading
import typing as t
from urllib.parse import unquote, urlencode, urlsplit

_AGENT = "confidential.azure_skr"
Place = t.Tuple[str, str, int, str]  # scheme, host, port and proxy of connections that may stand for each other
Timeout = t.Tuple[float, float]  # seconds to connect in, and seconds between two pieces of an answer


class Response:
    """An answer whose body is still to be read; its connection is kept for the next request when all of it was read."""

    def __init__(self, answer: http.client.HTTPResponse, done: t.Callable[[bool], None]) -> None:
        self._answer, self._done = answer, done
        self.status_code = answer.status
        self.headers = dict(answer.getheaders())

    def iter_content(self, size: int) -> t.Iterator[bytes]:
        """The body in pieces. Raises OSError."""
        while True:
            with _broken():
                piece = self._answer.read(size)
            if not piece:
                return
            yield piece

    def __enter__(self) -> Response:
        return self

    def __exit__(self, kind: t.Any, *_exc: t.Any) -> None:
        self._done(kind is None and self._answer.isclosed() and not self._answer.will_close)


class Session:
    """Connections by server, kept open between requests.

    ``contexts`` make what servers are verified against. One that does not verify against the first is tried with the next,
    on a new connection; nothing has been sent then. The first is made at once.
    """

    def __init__(self, *contexts: t.Callable[[], ssl.SSLContext]) -> None:
        self._contexts = list(contexts)
        self._context = self._contexts.pop(0)() if contexts else None
        self._lock = threading.Lock()
        self._idle: t.Dict[Place, t.List[http.client.HTTPConnection]] = {}

    def request(
        self,
        method: str,
        url: str,
        headers: t.Mapping[str, str],
        params: t.Optional[t.Mapping[str, str]] = None,
        json: t.Any = None,
        data: t.Optional[t.Mapping[str, str]] = None,
        timeout: Timeout = (10.0, 60.0),
        proxies: t.Optional[t.Mapping[str, str]] = None,
        **_requests: t.Any,
    ) -> Response:
        """One request; the words are those of requests. Raises OSError, ssl.SSLError among them."""
        parts = urlsplit(url)
        default = 443 if parts.scheme == "https" else 80
        known = proxies or {}
        proxy = known.get(parts.scheme) or known.get("all") or ""
        place = (parts.scheme, parts.hostname or "", parts.port or default, proxy)
        target = (parts.path or "/") + (f"?{urlencode(params)}" if params else "")
        sent = {"User-Agent": _AGENT, "Accept": "*/*", **headers}
        body: t.Optional[bytes] = None
        if json is not None:
            body, sent["Content-Type"] = codec.dumps(json).encode(), "application/json"
        elif data is not None:
            body, sent["Content-Type"] = urlencode(data).encode(), "application/x-www-form-urlencoded"
        if proxy and parts.scheme == "http":
            target, sent = f"http://{parts.netloc}{target}", {**sent, **_authorization(urlsplit(proxy))}
        connection = self._connection(place, timeout)
        with _closed_on_failure(connection):
            connection.request(method, target, body, sent)
            answer = connection.getresponse()
        return Response(answer, lambda whole: self._keep(place, connection) if whole else connection.close())

    def _keep(self, place: Place, connection: http.client.HTTPConnection) -> None:
        self._idle.setdefault(place, []).append(connection)

    def _connection(self, place: Place, timeout: Timeout) -> http.client.HTTPConnection:
        """One that is open and quiet, or a new one. Raises OSError."""
        idle = self._idle.get(place, [])
        while idle:
            kept = idle.pop()
            if kept.sock and not select.select([kept.sock], [], [], 0)[0]:
                return kept
            kept.close()  # whatever can be read from it is its end
        while True:
            context = self._context
            try:
                return self._connected(place, timeout, context)
            except ssl.SSLCertVerificationError:
                if not self._another(context):
                    raise

    def _another(self, refused: t.Optional[ssl.SSLContext]) -> bool:
        """Whether there is another context than that one by now."""
        with self._lock:
            if self._context is refused and self._contexts:
                self._context = self._contexts.pop(0)()
            return self._context is not refused

    def _connected(
        self, place: Place, timeout: Timeout, context: t.Optional[ssl.SSLContext]
    ) -> http.client.HTTPConnection:
        scheme, host, port, proxy = place
        through = urlsplit(proxy)
        near = (through.hostname or "", through.port or 80) if proxy else (host, port)
        made: http.client.HTTPConnection
        if scheme == "https":
            made = http.client.HTTPSConnection(*near, timeout=timeout[0], context=context)
            if proxy:
                made.set_tunnel(host, port, _authorization(through))
        else:
            made = http.client.HTTPConnection(*near, timeout=timeout[0])
        with _closed_on_failure(made):
            made.connect()
        made.sock.settimeout(timeout[1])
        return made


def serves(proxies: t.Mapping[str, str]) -> bool:
    """Whether these proxies can be used: those that are spoken to in plain HTTP, which is all but a few."""
    used = [proxies[name] for name in ("https", "http", "all") if proxies.get(name)]
    return all(urlsplit(proxy).scheme == "http" for proxy in used)


def _authorization(proxy: t.Any) -> t.Dict[str, str]:
    if proxy.username is None:
        return {}
    user = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}".encode()
    return {"Proxy-Authorization": f"Basic {base64.b64encode(user).decode('ascii')}"}


@contextlib.contextmanager
def _broken() -> t.Iterator[None]:
    """What is no HTTP, or breaks off, is an error of the network; its own text may quote what was sent."""
    try:
        yield
    except OSError:  # a certificate that does not verify is a ValueError too
        raise
    except (http.client.HTTPException, ValueError) as error:
        raise OSError(errno.EPROTO, type(error).__name__) from error


@contextlib.contextmanager
def _closed_on_failure(connection: http.client.HTTPConnection) -> t.Iterator[None]:
    try:
        with _broken():
            yield
    except BaseException:
        connection.close()
        raise
