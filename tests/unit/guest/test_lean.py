# SPDX-License-Identifier: GPL-3.0-or-later
"""The lean client beyond what test_http asks of both: connections that are kept, proxies it leaves to requests, imports."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import typing as t

import pytest

from ansible_collections.confidential.azure_skr.plugins.module_utils.guest import http, lean


class Server:
    """Answers each request of each connection with the number of the connection; ``last`` requests end one."""

    def __init__(self, last: int = 1000, body: bytes = b"") -> None:
        self.connections, self._last, self._body = 0, last, body
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _address = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection, self.connections), daemon=True).start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError), connection:
            for _round in range(self._last):
                if not connection.recv(65536):
                    return
                body = self._body or str(number).encode()
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> http.Http:
    monkeypatch.setattr(http.Http, "lean", True)
    made = http.Http(local=True, sleep=lambda _seconds: None)
    assert isinstance(made.ready(), lean.Session)
    return made


def test_connection_is_used_again(client: http.Http) -> None:
    server = Server()
    bodies = [client.request("x", "GET", server.url).body for _round in range(3)]
    server.close()
    assert bodies == [b"1", b"1", b"1"] and server.connections == 1


def test_connection_that_the_server_closed_is_not(client: http.Http) -> None:
    server = Server(last=1)
    first = client.request("x", "GET", server.url).body
    threading.Event().wait(0.2)  # until its end has arrived
    second = client.request("x", "GET", server.url).body
    server.close()
    assert (first, second) == (b"1", b"2")


def test_connection_with_an_unread_rest_is_not(client: http.Http) -> None:
    server = Server(body=b"x" * (http._MAX_BODY + 100000))
    assert len(client.request("x", "GET", server.url).body) > http._MAX_BODY
    client.request("x", "GET", server.url)
    server.close()
    assert server.connections == 2


@pytest.mark.parametrize(
    ("proxies", "expected"),
    [
        ({}, True),
        ({"https": "http://proxy:3128", "no": "localhost:80,b"}, True),
        ({"all": "http://user:word@proxy:3128"}, True),
        ({"https": "https://proxy:3128"}, False),
        ({"all": "socks5h://proxy:1080"}, False),
        ({"https": "proxy:3128"}, False),
    ],
)
def test_proxies_it_can_use(proxies: t.Dict[str, str], expected: bool) -> None:
    assert lean.serves(proxies) is expected


def test_other_proxies_are_left_to_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http.Http, "lean", True)
    assert not isinstance(http.Http(https_proxy="https://proxy:3128").ready(), lean.Session)


def test_it_imports_no_library() -> None:
    code = f"import sys, {lean.__name__}; print([name for name in sys.modules if name in ('requests', 'urllib3')])"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert done.stdout == "[]\n"
