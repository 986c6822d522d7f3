# SPDX-License-Identifier: GPL-3.0-or-later
"""Network namespaces of the ssh door: one core with a bridge, one per host. The machine's own network is untouched.

Addresses come from 198.18.0.0/15, which RFC 2544 sets aside for test networks.
"""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import threading
import typing as t

CORE_ADDRESS = "198.18.0.1"
METADATA_ADDRESS = "169.254.169.254"
CLONE_NEWNET = 0x40000000

T = t.TypeVar("T")


def ip(*words: str) -> None:
    """Run ip(8); raises RuntimeError with its own text."""
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(words)}: {done.stderr.strip()}")


def inside(namespace: str, function: t.Callable[[], T]) -> T:
    """Call a function in a thread that has entered the namespace; sockets it makes belong there for good."""
    result: list[T] = []
    errors: list[BaseException] = []

    def enter() -> None:
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            descriptor = os.open(f"/run/netns/{namespace}", os.O_RDONLY | os.O_CLOEXEC)
            try:
                if libc.setns(descriptor, CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), f"cannot enter network namespace {namespace}")
            finally:
                os.close(descriptor)
            result.append(function())
        except BaseException as error:  # handed to the caller below
            errors.append(error)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return result[0]


def listener(namespace: str, address: str, port: int) -> socket.socket:
    """A listening TCP socket inside a namespace."""

    def make() -> socket.socket:
        return socket.create_server((address, port), backlog=512)

    return inside(namespace, make)


class Network:
    """The core namespace and its hosts; ``close`` removes everything it made."""

    def __init__(self, run_id: str) -> None:
        self.prefix = f"skrsim-{run_id}"
        self.core = f"{self.prefix}-core"
        self._made: list[str] = []

    def up(self) -> None:
        self._add(self.core)
        core = ("-n", self.core)
        ip(*core, "link", "set", "lo", "up")
        ip(*core, "link", "add", "br0", "type", "bridge")
        ip(*core, "link", "set", "br0", "up")
        ip(*core, "addr", "add", f"{CORE_ADDRESS}/16", "dev", "br0")
        ip(*core, "addr", "add", f"{METADATA_ADDRESS}/32", "dev", "br0")

    def add_host(self, number: int) -> tuple[str, str]:
        """Make the namespace of host ``number`` (1 to 250); returns its name and address."""
        name, address = f"{self.prefix}-h{number}", f"198.18.1.{number}"
        self._add(name)
        host, port = ("-n", name), f"p{number}"
        ip("-n", self.core, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", name)
        ip("-n", self.core, "link", "set", port, "master", "br0", "up")
        ip(*host, "link", "set", "lo", "up")
        ip(*host, "addr", "add", f"{address}/16", "dev", "eth0")
        ip(*host, "link", "set", "eth0", "up")
        ip(*host, "route", "add", f"{METADATA_ADDRESS}/32", "via", CORE_ADDRESS)
        return name, address

    def _add(self, name: str) -> None:
        ip("netns", "add", name)
        self._made.append(name)

    def close(self) -> None:
        for name in reversed(self._made):
            ip("netns", "del", name)
        self._made.clear()
