# SPDX-License-Identifier: GPL-3.0-or-later
"""The ways to a TPM: device file, UNIX socket, TCP; held, missing, forbidden, closed in the middle."""

from __future__ import annotations

import errno
import os
import socket
import struct
import threading
import time
import tracemalloc
import tty
import typing as t
from pathlib import Path

import pytest
from unit.guest.release_fakes import refused
from unit.guest.tpm_fakes import Clock

from ansible_collections.confidential.azure_skr.plugins.module_utils.guest.tpm2 import client, open_tpm, transport

AREA = b"area" * 70
ANSWER = struct.pack(">HIIH", 0x8001, 12 + len(AREA), 0, len(AREA)) + AREA
COMMAND = bytes.fromhex("8001 0000000e 00000173 81000003")


class Listener:
    """Serves connections one after another; ``plan`` says how each ends: answer, close, half, garbage."""

    def __init__(self, made: socket.socket, *plan: str) -> None:
        self.plan, self.seen = list(plan), 0
        self._socket = made
        made.listen(8)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _peer = self._socket.accept()
            except OSError:
                return
            self.seen += 1
            with connection:
                self._talk(connection, self.plan.pop(0) if self.plan else "answer")

    def _talk(self, connection: socket.socket, how: str) -> None:
        if how == "close":
            return
        while connection.recv(4096):
            if how == "half":
                connection.sendall(ANSWER[:50])
                return
            if how == "once":
                connection.sendall(ANSWER)
                connection.recv(4096)
                return
            for start in range(0, len(ANSWER), 7):  # a stream has no message boundaries
                connection.sendall(ANSWER[start : start + 7])

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


@pytest.fixture
def unix(tmp_path: Path) -> t.Iterator[t.Callable[..., t.Tuple[str, Listener]]]:
    made: t.List[Listener] = []

    def listen(*plan: str) -> t.Tuple[str, Listener]:
        server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        path = tmp_path / f"tpm{len(made)}.sock"
        server.bind(str(path))
        made.append(Listener(server, *plan))
        return f"unix:{path}", made[-1]

    yield listen
    for listener in made:
        listener.close()


def test_unix_socket(unix: t.Callable[..., t.Tuple[str, Listener]]) -> None:
    device, _listener = unix()
    with open_tpm(device) as tpm:
        assert tpm.read_public(0x81000003) == AREA
        assert tpm.read_public(0x81000003) == AREA
        assert (tpm.commands, tpm.opens) == (2, 1)


def test_tcp_socket() -> None:
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    listener = Listener(server)
    with open_tpm(f"tcp:127.0.0.1:{server.getsockname()[1]}") as tpm:
        assert tpm.read_public(0x81000003) == AREA
    listener.close()


@pytest.mark.parametrize("device", ["tcp:2321", "tcp:host:", "tcp::2321", "tcp:host:port"])
def test_tcp_address_that_is_none(device: str) -> None:
    with refused("invalid_input") as info:
        open_tpm(device)
    assert info.value.facts == {"option": "tpm_device"} and device in info.value.message


def test_device_file_gives_its_answer_in_pieces() -> None:
    """A terminal stands in for the device: one write goes out, what comes back can be read in pieces."""
    outer, inner = os.openpty()
    tty.setraw(inner)

    def serve() -> None:
        assert os.read(outer, 4096) == COMMAND
        for piece in (ANSWER[:4], ANSWER[4:60], ANSWER[60:]):
            os.write(outer, piece)
            time.sleep(0.02)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    with open_tpm(os.ttyname(inner)) as tpm:
        assert tpm.read_public(0x81000003) == AREA
    thread.join(5)
    os.close(inner)
    os.close(outer)


def test_device_that_ends_too_early(tmp_path: Path) -> None:
    """An ordinary file: what was written is not answered."""
    path = tmp_path / "tpm"
    path.touch()
    with refused("tpm_error"), open_tpm(str(path)) as tpm:
        tpm.read_public(0x81000003)


@pytest.mark.parametrize("device", ["{0}/none", "unix:{0}/none"])
def test_missing(device: str, tmp_path: Path) -> None:
    began = time.monotonic()
    with refused("tpm_missing") as info:
        open_tpm(device.format(tmp_path), 30.0)
    assert info.value.facts["device"] == device.format(tmp_path)
    assert time.monotonic() - began < 5, "waiting would not help"


class Opening:
    """os.open that fails with errors given in advance, then opens /dev/null."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *errors: int) -> None:
        self.errors, self.tries, self.clock = list(errors), 0, Clock()
        real = os.open

        def opened(path: t.Any, flags: int, *more: t.Any, **named: t.Any) -> int:
            if path != "/dev/tpmrm0":
                return real(path, flags, *more, **named)
            self.tries += 1
            assert flags & os.O_CLOEXEC
            if self.errors:
                code = self.errors.pop(0)
                raise OSError(code, os.strerror(code), path)
            return real("/dev/null", flags)

        monkeypatch.setattr(os, "open", opened)
        for room in (transport, client):
            monkeypatch.setattr(room, "time", self.clock)


@pytest.mark.parametrize("code", [errno.EACCES, errno.EPERM])
def test_permission(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    opening = Opening(monkeypatch, code)
    with refused("tpm_permission") as info:
        open_tpm("/dev/tpmrm0")
    assert info.value.facts["user"] == os.geteuid() and str(os.geteuid()) in info.value.message
    assert opening.tries == 1 and opening.clock.slept == []


def test_held_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    opening = Opening(monkeypatch, *[errno.EBUSY] * 5)
    open_tpm("/dev/tpmrm0", 15.0).close()
    assert opening.tries == 6 and max(opening.clock.slept) <= 1.0


def test_held_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    opening = Opening(monkeypatch, *[errno.EBUSY] * 1000)
    with refused("tpm_busy") as info:
        open_tpm("/dev/tpmrm0", 15.0)
    assert "15 seconds" in info.value.message and "/dev/tpmrm0" in info.value.message
    assert 10 < sum(opening.clock.slept) <= 15


def test_another_error_of_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    Opening(monkeypatch, errno.EIO)
    with refused("tpm_error") as info:
        open_tpm("/dev/tpmrm0")
    assert info.value.facts["error"] == os.strerror(errno.EIO)


def test_a_socket_that_accepts_and_closes_is_held(unix: t.Callable[..., t.Tuple[str, Listener]]) -> None:
    device, listener = unix("close", "close")
    with open_tpm(device) as tpm:
        assert tpm.read_public(0x81000003) == AREA
        assert tpm.opens == 3 == listener.seen


def test_a_socket_that_closes_for_ever(unix: t.Callable[..., t.Tuple[str, Listener]]) -> None:
    device, _listener = unix(*["close"] * 100)
    with refused("tpm_busy"), open_tpm(device, 1.0) as tpm:
        tpm.read_public(0x81000003)


def test_an_answer_cut_short_is_asked_for_again(unix: t.Callable[..., t.Tuple[str, Listener]]) -> None:
    device, _listener = unix("half")
    with open_tpm(device) as tpm:
        assert tpm.read_public(0x81000003) == AREA


def test_no_new_connection_while_something_is_loaded(unix: t.Callable[..., t.Tuple[str, Listener]]) -> None:
    """The key would be gone; going on with its old handle could meet another's."""
    device, listener = unix("once")
    with refused("tpm_busy"), open_tpm(device) as tpm:
        tpm.read_public(0x81000003)
        tpm._loaded.append(0x80000000)
        tpm.read_public(0x81000003)
    assert listener.seen == 1


def test_nobody_listens(tmp_path: Path) -> None:
    path = tmp_path / "left.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    with refused("tpm_busy"):
        open_tpm(f"unix:{path}", 0.3)


def test_silence_is_bounded(unix: t.Callable[..., t.Tuple[str, Listener]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "_IO_TIMEOUT", 0.2)
    device, listener = unix()
    monkeypatch.setattr(listener, "_talk", lambda connection, _how: time.sleep(1.5))
    with refused("tpm_busy"), open_tpm(device, 0.1) as tpm:
        tpm.read_public(0x81000003)


def test_an_answer_longer_than_any_is_not_waited_for(tmp_path: Path) -> None:
    """A socket's reader keeps as much memory ready as it is told to expect."""
    head = struct.pack(">HII", 0x8001, 1_740_826_431, 0)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(head)
        channel = transport.Socket.__new__(transport.Socket)
        channel._socket = ours
        tracemalloc.start()
        with pytest.raises(OSError) as info:
            channel.transceive(COMMAND)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 1 << 20 and transport.explain(info.value, "unix:/x").reason == "tpm_error"
    path = tmp_path / "tpm"
    path.write_bytes(COMMAND + head)
    device = transport.DeviceFile(str(path))
    with pytest.raises(OSError):
        device.transceive(COMMAND)
    device.close()
