# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A minimal reader of DER and of X.509 certificates (ITU-T X.690, RFC 5280).

Every VCEK has serial number 0, which strict X.509 parsers announce to refuse. What is needed of a certificate is read
here, so that a library's strictness can never stop a release. Signatures are checked by ``cryptography``.
"""

from __future__ import annotations

import base64
import datetime
import typing as t

SEQUENCE, SET, OID, INTEGER, OCTETS, BITS = 0x30, 0x31, 0x06, 0x02, 0x04, 0x03
UTC_TIME, GENERALIZED_TIME = 0x17, 0x18
_LARGEST = 1 << 16  # bytes of a certificate; real ones have some 2,000
_OID_BITS = 130  # of one number; the largest in use are UUIDs


class DerError(ValueError):
    """The bytes are not the DER structure that was expected."""


class Element(t.NamedTuple):
    """One element: tag, content and the whole encoding."""

    tag: int
    content: bytes
    whole: bytes


def element(data: bytes, at: int = 0) -> Element:
    """The element that begins there. Raises DerError."""
    if len(data) < at + 2:
        raise DerError("element cut short")
    tag, first = data[at], data[at + 1]
    if tag & 0x1F == 0x1F:
        raise DerError("multi-byte tag")
    start, size = at + 2, first
    if first & 0x80:
        count = first & 0x7F
        if not 1 <= count <= 4 or len(data) < start + count:
            raise DerError("bad length")
        start, size = start + count, int.from_bytes(data[start : start + count], "big")
    end = start + size
    if end > len(data):
        raise DerError("element runs past the data")
    return Element(tag, data[start:end], data[at:end])


def children(content: bytes) -> t.List[Element]:
    """All elements of a constructed content."""
    found, at = [], 0
    while at < len(content):
        found.append(element(content, at))
        at += len(found[-1].whole)
    return found


def expect(data: bytes, tag: int) -> Element:
    found = element(data)
    if found.tag != tag:
        raise DerError(f"tag 0x{found.tag:02x}, wanted 0x{tag:02x}")
    return found


def oid(content: bytes) -> str:
    """An object identifier as dotted text."""
    if not content:
        raise DerError("empty object identifier")
    numbers, value = [], 0
    for byte in content:
        value = value << 7 | byte & 0x7F
        if value >> _OID_BITS:
            raise DerError("object identifier with an endless number")
        if not byte & 0x80:
            numbers.append(value)
            value = 0
    if not numbers:
        raise DerError("object identifier cut short")
    first = min(numbers[0] // 40, 2)
    return ".".join(str(number) for number in (first, numbers[0] - 40 * first, *numbers[1:]))


class Certificate(t.NamedTuple):
    """The parts of an X.509 certificate that verification needs. Names are DER, times Unix seconds."""

    der: bytes
    tbs: bytes
    serial: int
    issuer: bytes
    subject: bytes
    not_before: float
    not_after: float
    public_key: bytes  # SubjectPublicKeyInfo
    signature_algorithm: str
    signature_parameters: bytes
    signature: bytes
    extensions: t.Dict[str, bytes]  # OID -> content of the OCTET STRING

    def common_name(self, which: str = "subject") -> str:
        """The CN of the subject or issuer; empty when there is none."""
        for relative in children(expect(getattr(self, which), SEQUENCE).content):
            for attribute in children(relative.content):
                parts = children(attribute.content)
                if len(parts) == 2 and oid(parts[0].content) == "2.5.4.3":
                    return parts[1].content.decode("utf-8", "replace")
        return ""


def certificate(data: bytes) -> Certificate:
    """Parse one certificate, names included; bytes behind it are ignored. Raises DerError."""
    try:
        found = _certificate(data)
        found.common_name("subject"), found.common_name("issuer")
    except DerError:
        raise
    except (IndexError, ValueError) as error:
        raise DerError("certificate without its fields") from error
    return found


def _certificate(data: bytes) -> Certificate:
    outer = expect(data, SEQUENCE)
    if len(outer.whole) > _LARGEST:
        raise DerError(f"certificate of {len(outer.whole)} bytes")
    tbs, algorithm, signature = children(outer.content)[:3]
    if tbs.tag != SEQUENCE or signature.tag != BITS or not signature.content:
        raise DerError("not a certificate")
    fields = children(tbs.content)
    if fields and fields[0].tag == 0xA0:
        fields = fields[1:]
    if len(fields) < 6:
        raise DerError("certificate without its fields")
    serial, inner_algorithm, issuer, validity, subject, key = fields[:6]
    if (
        inner_algorithm.whole != algorithm.whole
    ):  # RFC 5280 4.1.1.2: the outer one is not signed, so it must be the same
        raise DerError("two signature algorithms in one certificate")
    begin, end = children(validity.content)[:2]
    algorithm_parts = children(algorithm.content)
    return Certificate(
        outer.whole,
        tbs.whole,
        int.from_bytes(serial.content, "big", signed=True),
        issuer.whole,
        subject.whole,
        _time(begin),
        _time(end),
        key.whole,
        oid(algorithm_parts[0].content),
        algorithm_parts[1].whole if len(algorithm_parts) > 1 else b"",
        signature.content[1:],
        _extensions(fields[6:]),
    )


def _extensions(fields: t.List[Element]) -> t.Dict[str, bytes]:
    found: t.Dict[str, bytes] = {}
    for field in fields:
        if field.tag == 0xA3:
            for extension in children(expect(field.content, SEQUENCE).content):
                parts = children(extension.content)
                found[oid(parts[0].content)] = parts[-1].content
    return found


def _time(field: Element) -> float:
    text = field.content.decode("ascii", "replace")
    try:
        if field.tag == UTC_TIME:  # RFC 5280 4.1.2.5.1: years 50 to 99 are of the last century
            year = int(text[:2])
            text = f"{1900 + year if year >= 50 else 2000 + year}{text[2:]}"
        if len(text) != 15 or not text[:14].isdecimal() or text[14] != "Z":
            raise ValueError("wanted YYYYMMDDHHMMSSZ")
        # Not time.strptime, whose regular expressions would be compiled for this alone.
        month, day, hour, minute, second = (int(text[at : at + 2]) for at in range(4, 14, 2))
        moment = datetime.datetime(int(text[:4]), month, day, hour, minute, second, tzinfo=datetime.timezone.utc)
        return moment.timestamp()
    except ValueError as error:
        raise DerError(f"bad time {text!r}") from error


def pem_certificates(text: str) -> t.List[bytes]:
    """The DER of every certificate in PEM text, in order. Raises DerError."""

    found = []
    for block in text.split("-----BEGIN CERTIFICATE-----")[1:]:
        body, mark, _rest = block.partition("-----END CERTIFICATE-----")
        if not mark:
            raise DerError("PEM block without its end")
        try:
            found.append(base64.b64decode("".join(body.split()), validate=True))
        except ValueError as error:  # characters beyond ASCII are not even a binascii.Error
            raise DerError("PEM block is not base64") from error
    return found


def to_pem(content: bytes) -> str:
    """One certificate as PEM text."""
    return f"-----BEGIN CERTIFICATE-----\n{base64.encodebytes(content).decode('ascii')}-----END CERTIFICATE-----\n"
