# SPDX-License-Identifier: GPL-3.0-or-later
"""Name resolution of the ssh door: names that a simulated service serves resolve to it, all others do not exist.

A hosts file cannot do this, because vaults come and go while the lab runs. Wire format: RFC 1035.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import typing as t

TYPE_A, CLASS_IN = 1, 1
NO_ERROR, FORMAT_ERROR, NAME_ERROR = 0, 1, 3


def question(packet: bytes) -> tuple[str, int, int, int]:
    """Name, type, class and end offset of the single question. Raises ValueError on anything else."""
    if len(packet) < 17 or struct.unpack_from(">H", packet, 4)[0] != 1:
        raise ValueError("not one question")
    labels, offset = [], 12
    while packet[offset]:
        size = packet[offset]
        if size > 63:
            raise ValueError("compressed name in a question")
        labels.append(packet[offset + 1 : offset + 1 + size].decode("ascii").lower())
        offset += 1 + size
        if offset >= len(packet):
            raise ValueError("name runs past the packet")
    kind, klass = struct.unpack_from(">HH", packet, offset + 1)
    return ".".join(labels), kind, klass, offset + 5


def answer(packet: bytes, serves: t.Callable[[str], bool], address: str) -> bytes:
    """The response to one query."""
    try:
        name, kind, klass, end = question(packet)
    except (ValueError, IndexError, struct.error, UnicodeDecodeError):
        return packet[:2] + struct.pack(">HHHHH", 0x8180 | FORMAT_ERROR, 0, 0, 0, 0)
    known = klass == CLASS_IN and serves(name)
    records = b""
    if known and kind == TYPE_A:
        # Pointer to the question's name, 5 seconds to live: vaults may be deleted.
        records = struct.pack(">HHHIH", 0xC00C, TYPE_A, CLASS_IN, 5, 4) + socket.inet_aton(address)
    code = NO_ERROR if known else NAME_ERROR
    header = packet[:2] + struct.pack(">HHHHH", 0x8580 | code, 1, 1 if records else 0, 0, 0)
    return header + packet[12:end] + records


class Resolver(asyncio.DatagramProtocol):
    """Answers on a bound UDP socket."""

    def __init__(self, serves: t.Callable[[str], bool], address: str) -> None:
        self._serves, self._address = serves, address
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = t.cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: t.Any) -> None:
        if self._transport and len(data) >= 12:
            self._transport.sendto(answer(data, self._serves, self._address), addr)
