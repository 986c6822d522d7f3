# SPDX-License-Identifier: GPL-3.0-or-later
"""Damage that keeps to the structure: what is JSON stays JSON, DER stays DER, and what is packed inside is damaged too.

A specimen is taken apart as far as it can be (JSON, base64, compact tokens, PEM, DER), one place of it is changed, and
all that is around it is put together again, so that a change deep inside still reaches the code that reads it.
"""

from __future__ import annotations

import base64
import binascii
import copy
import json
import random
import struct
import typing as t

Mutator = t.Callable[[bytes, random.Random], bytes]
LARGE = 1 << 17  # what an input is now and then blown up to, which shows work that grows faster than it
_DEPTH = 6
VALUES: t.List[t.Any] = [
    None, True, False, 0, -1, 1, 2**31, 2**64, 10**30, -(10**400), 1e308, float("nan"), float("inf"), "", "x", ".", "..", "a.b.c",
    "\ud800", "\u00e9", "\u00b2", "\0", "=", "AA==", "AQAB", "-_-_", [], {}, [[]], [{}], ["x"], [None], [1, 2], {"a": "b"}, [["a", "b"]], "9" * 5000,
]  # fmt: skip
NUMBERS = (0, 1, 2, 3, 4, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def anything(data: bytes, rng: random.Random) -> bytes:
    """A specimen with one to three places changed, as its own structure allows."""
    for _step in range(rng.choice((1, 1, 1, 2, 3))):
        data = _layer(data, rng, _DEPTH) if rng.random() < 0.85 else octets(data, rng)
    return data


def behind_first(data: bytes, rng: random.Random) -> bytes:
    """The first byte chooses how the rest is read, and stays."""
    return data[:1] + anything(data[1:], rng)


def tpm_answer(data: bytes, rng: random.Random) -> bytes:
    """The first byte chooses; with some luck the header behind it still tells the length."""
    changed = octets(data[1:], rng)
    if len(changed) >= 10 and rng.random() < 0.7:
        changed = changed[:2] + struct.pack(">I", len(changed)) + changed[6:]
    return data[:1] + changed


def octets(data: bytes, rng: random.Random) -> bytes:
    """Bytes cut out, doubled, moved, overwritten; numbers of two and four bytes made small, large or off by one."""
    found = bytearray(data)
    at = rng.randrange(len(found) + 1)
    kind = rng.randrange(12)
    if kind == 0:
        del found[at:]
    elif kind == 1:
        del found[at : at + rng.choice((1, 2, 4, 32))]
    elif kind == 2:
        found[at:at] = rng.randbytes(rng.choice((1, 2, 4, 32)))
    elif kind == 3:
        found[at:at] = found[at : at + rng.randrange(1, 64)] * rng.randrange(1, 4)
    elif kind == 4:
        found += rng.randbytes(rng.randrange(64))
    elif kind == 5 and found:
        found[at % len(found)] ^= 1 << rng.randrange(8)
    elif kind == 6 and found:
        found[at % len(found)] = rng.choice((0, 0x7F, 0x80, 0xFF, rng.randrange(256)))
    elif kind == 7 and rng.random() < 0.01:
        piece = bytes(found[at : at + rng.choice((1, 2, 3, 8, 64))]) or b"\0"
        found[at:at] = piece * (LARGE // len(piece))
    elif kind == 8:
        other = rng.randrange(len(found) + 1)
        size = rng.randrange(1, 33)
        found[other : other + size] = found[at : at + size]
    else:
        _number(found, at, rng)
    return bytes(found)


def _number(found: bytearray, at: int, rng: random.Random) -> None:
    size, order = rng.choice((2, 4, 4, 8)), rng.choice(("big", "little"))
    place = slice(at, at + size)
    if len(found[place]) == size:
        old = int.from_bytes(found[place], t.cast(t.Any, order))
        new = rng.choice((rng.choice(NUMBERS), old + 1, old - 1, old ^ (1 << rng.randrange(8 * size))))
        found[place] = (new % (1 << 8 * size)).to_bytes(size, t.cast(t.Any, order))


def _layer(data: bytes, rng: random.Random, depth: int) -> bytes:
    """Change something in the outermost structure that the data have, or in what that holds."""
    if depth and len(data) < LARGE:
        for layer in (_json, _token, _pem, _base64, _der):
            changed = layer(data, rng, depth - 1)
            if changed is not None:
                return changed
    return octets(data, rng)


def _json(data: bytes, rng: random.Random, depth: int) -> t.Optional[bytes]:
    if data[:1] not in (b"{", b"["):
        return None
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if rng.random() < 0.002:
        return rng.choice((b"[", b'{"a":')) * rng.choice((10, 2000, 100000))
    tree(document, rng, depth)
    try:
        return json.dumps(document, separators=(",", ":")).encode()
    except (ValueError, RecursionError):
        return data


def tree(document: t.Any, rng: random.Random, depth: int = _DEPTH) -> None:
    """One place of a document is exchanged, renamed, dropped, doubled, nested deeper, or damaged within."""
    node = document
    while isinstance(node, (dict, list)) and node:
        key: t.Any = rng.choice(list(node)) if isinstance(node, dict) else rng.randrange(len(node))
        value = node[key]
        if isinstance(value, (dict, list)) and value and rng.random() < 0.75:
            node = value
            continue
        kind = rng.randrange(8)
        if kind <= 2 and isinstance(value, str):
            try:
                node[key] = _layer(value.encode("utf-8"), rng, depth).decode("latin-1")
            except UnicodeEncodeError:
                node[key] = ""
        elif kind == 3 and isinstance(node, dict):
            node[rng.choice([*node, "other", ""])] = node.pop(key)
        elif kind == 4:
            del node[key]
        elif kind == 5:
            node[key] = rng.choice(([value], {"a": value}, [value] * 2, str(value)[:500]))
        elif kind == 6 and isinstance(node, list):
            node.append(copy.deepcopy(value))
        elif kind == 7 and isinstance(value, (int, float)):
            node[key] = rng.choice(
                (value + 1, -value, value * 10**9, value / 2 if abs(value) < 1e300 else 0.5, str(value)[:99])
            )
        else:
            node[key] = copy.deepcopy(rng.choice(VALUES))
        return


def _token(data: bytes, rng: random.Random, depth: int) -> t.Optional[bytes]:
    """A compact JWS: one of its parts."""
    parts = data.split(b".")
    if len(parts) != 3 or len(parts[0]) < 8:
        return None
    which = rng.choice((0, 0, 1, 1, 1, 2))
    changed = _base64(parts[which], rng, depth)
    if changed is None:
        return None
    parts[which] = changed.rstrip(b"=")
    return b".".join(parts)


def _base64(data: bytes, rng: random.Random, depth: int) -> t.Optional[bytes]:
    """Base64 in either alphabet, padded or not: what it encodes."""
    text = data.rstrip(b"=").translate(bytes.maketrans(b"-_", b"+/"))
    if len(text) < 8:
        return None
    try:
        inner = base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        return None
    encoded = base64.b64encode(_layer(inner, rng, depth))
    url = data.rstrip(b"=") != text or b"=" not in data
    return encoded.translate(bytes.maketrans(b"+/", b"-_")).rstrip(b"=") if url and rng.random() < 0.9 else encoded


def _pem(data: bytes, rng: random.Random, depth: int) -> t.Optional[bytes]:
    begin, end = b"-----BEGIN CERTIFICATE-----\n", b"-----END CERTIFICATE-----\n"
    blocks = data.split(begin)[1:]
    if not blocks:
        return None
    which = rng.randrange(len(blocks))
    kind = rng.randrange(8)
    if kind == 0:
        blocks.pop(which)
    elif kind == 1:
        blocks.insert(0, blocks[which])
    else:
        body = b"".join(blocks[which].partition(end)[0].split())
        changed = _base64(body, rng, depth)
        if changed is None:
            return None
        blocks[which] = changed.translate(bytes.maketrans(b"-_", b"+/")) + b"\n" + end
    return b"".join(begin + block for block in blocks)


def _der(data: bytes, rng: random.Random, depth: int) -> t.Optional[bytes]:
    """A SEQUENCE that fills the data: one element, and the lengths of all around it."""
    if data[:1] != b"\x30":
        return None
    elements = _elements(data)
    if not elements:
        return None
    tag, content = elements[0]
    return _tlv(tag, _inner(content, rng, 10)) + b"".join(_tlv(*one) for one in elements[1:])


def _inner(content: bytes, rng: random.Random, depth: int) -> bytes:
    elements = _elements(content) if depth else []
    if not elements or rng.random() < 0.05:
        return octets(content, rng)
    which = rng.randrange(len(elements))
    tag, inner = elements[which]
    kind = rng.randrange(10)
    if kind == 0:
        elements.pop(which)
    elif kind == 1:
        elements.insert(which, elements[rng.randrange(len(elements))])
    elif kind == 2:
        elements[which] = (rng.choice((2, 3, 4, 6, 0x30, 0x31, 0xA0, 0xA3, rng.randrange(256))), inner)
    elif kind == 3 and rng.random() < 0.01:
        elements[which:which] = [(rng.choice((2, 5, 6)), b"\x81" * rng.randrange(2))] * (LARGE // 3)
    elif kind == 4 and rng.random() < 0.02:
        elements[which] = (tag, rng.choice((b"\x81", b"9", inner[:1] or b"\0")) * LARGE)
    elif tag & 0x20 or tag == 4:
        elements[which] = (tag, _inner(inner, rng, depth - 1))
    else:
        elements[which] = (tag, octets(inner, rng))
    return b"".join(_tlv(*one) for one in elements)


def _elements(data: bytes) -> t.List[t.Tuple[int, bytes]]:
    """Tag and content of the elements that the data consist of; none when they do not consist of elements."""
    found, at = [], 0
    while at < len(data) and len(found) < 1000:
        tag, size, start = data[at], data[at + 1] if at + 1 < len(data) else 0x80, at + 2
        if size & 0x80:
            count = size & 0x7F
            size, start = int.from_bytes(data[start : start + count], "big"), start + count
            if not 1 <= count <= 3:
                return []
        if start + size > len(data):
            return []
        found.append((tag, data[start : start + size]))
        at = start + size
    return found


def _tlv(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 128:
        return bytes([tag, size]) + content
    octets_ = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(octets_)]) + octets_ + content
