# SPDX-License-Identifier: GPL-3.0-or-later
"""The small DER reader: what it reads, and that nothing but DerError comes out of it."""

from __future__ import annotations

import calendar
import random
import time
import typing as t
import warnings

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from unit.guest.silicon_fakes import Host, certificate, date, ec_key, integer, name, oid, pem, rsa_key, spki, tlv

from ansible_collections.confidential.azure_skr.plugins.module_utils.guest import amd_roots, der

HOST = Host()
PLAIN = certificate("leaf", "issuer", spki(rsa_key("leaf")), rsa_key("ca"), serial=1234567890123, algorithm="rsa")


@pytest.mark.parametrize(
    ("data", "tag", "content", "rest"),
    [
        ("0500", 5, "", ""),
        ("020105", 2, "05", ""),
        ("0201050401aa", 2, "05", "0401aa"),
        ("3081020500", 0x30, "0500", ""),  # longer length forms are read as well
        ("308400000002 0500", 0x30, "0500", ""),
    ],
)
def test_elements(data: str, tag: int, content: str, rest: str) -> None:
    found = der.element(bytes.fromhex(data))
    assert (found.tag, found.content.hex()) == (tag, content)
    assert found.whole + bytes.fromhex(rest) == bytes.fromhex(data)
    assert der.element(b"\0\0" + bytes.fromhex(data), 2) == found


@pytest.mark.parametrize(
    "data", ["", "30", "3001", "3080", "30800000", "30850000000001", "3082ff", "1f0100", "020500", "ff"]
)
def test_elements_that_are_none(data: str) -> None:
    with pytest.raises(der.DerError):
        der.element(bytes.fromhex(data))


def test_children_and_expectations() -> None:
    made = der.children(tlv(2, b"\x05") + tlv(4, b"x"))
    assert [(child.tag, child.content) for child in made] == [(2, b"\x05"), (4, b"x")]
    assert der.children(b"") == []
    assert der.expect(tlv(4, b"x"), der.OCTETS).content == b"x"
    with pytest.raises(der.DerError, match="0x04, wanted 0x30"):
        der.expect(tlv(4, b"x"), der.SEQUENCE)


@pytest.mark.parametrize("text", ["1.2.840.113549.1.1.10", "1.3.6.1.4.1.3704.1.3.8", "2.5.4.3", "0.9.1", "2.999.3"])
def test_object_identifiers(text: str) -> None:
    assert der.oid(der.element(oid(text)).content) == text


@pytest.mark.parametrize("content", [b"", b"\x86"])
def test_object_identifiers_that_are_none(content: bytes) -> None:
    with pytest.raises(der.DerError):
        der.oid(content)


def test_serial_number_zero() -> None:
    """Every VCEK has it."""
    made = der.certificate(HOST.vcek())
    assert made.serial == 0
    assert (made.common_name(), made.common_name("issuer")) == ("SEV-VCEK", "SEV-Milan")
    assert made.extensions == HOST.extensions()
    assert made.public_key == spki(ec_key("vcek")) and made.signature_algorithm == "1.2.840.113549.1.1.10"


@pytest.mark.parametrize("data", [PLAIN, HOST.ark, HOST.ask, *map(str.encode, amd_roots.ARK.values())])
def test_the_same_as_a_whole_library(data: bytes) -> None:
    if data.startswith(b"---"):
        (data,) = der.pem_certificates(data.decode())
    found, wanted = der.certificate(data), x509.load_der_x509_certificate(data)
    assert found.tbs == wanted.tbs_certificate_bytes and found.signature == wanted.signature
    assert (
        found.serial == wanted.serial_number
        and found.signature_algorithm == wanted.signature_algorithm_oid.dotted_string
    )
    assert found.issuer == wanted.issuer.public_bytes() and found.subject == wanted.subject.public_bytes()
    info = serialization.PublicFormat.SubjectPublicKeyInfo
    assert found.public_key == wanted.public_key().public_bytes(serialization.Encoding.DER, info)
    assert set(found.extensions) == {extension.oid.dotted_string for extension in wanted.extensions}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the dates' newer names are not in every version supported
        dates = (wanted.not_valid_before, wanted.not_valid_after)
    assert (found.not_before, found.not_after) == tuple(calendar.timegm(one.timetuple()) for one in dates)


def test_bytes_behind_a_certificate_do_not_count() -> None:
    assert der.certificate(PLAIN + bytes(2000)) == der.certificate(PLAIN)
    assert der.certificate(PLAIN + bytes(2000)).der == PLAIN


@pytest.mark.parametrize("seconds", [0, 946684800, 1700000000, 2524607999, 2524608000, 4102444800])
def test_dates(seconds: int) -> None:
    """UTCTime until 2049, GeneralizedTime from 2050."""
    made = certificate("x", "y", spki(rsa_key("leaf")), rsa_key("ca"), begin=seconds or 1, end=seconds + 5)
    assert (der.certificate(made).not_before, der.certificate(made).not_after) == (float(seconds or 1), seconds + 5.0)


@pytest.mark.parametrize("text", [b"", b"991332000000Z", b"700101000000", b"70010100000\xff", b"20200101000000"])
def test_dates_that_are_none(text: bytes) -> None:
    made = PLAIN.replace(date(der.certificate(PLAIN).not_before), b"\x17\x0d" + text.ljust(13, b"?")[:13])
    with pytest.raises(der.DerError):
        der.certificate(made)


def broken(*fields: bytes, outer: t.Sequence[bytes] = (tlv(0x30, oid("1.2.3")), tlv(3, b"\0x"))) -> bytes:
    return tlv(0x30, tlv(0x30, *fields), *outer)


FIELDS = (integer(5), tlv(0x30, oid("1.2.3")), name("i"), tlv(0x30, date(1), date(2)), name("s"), tlv(0x30))


def test_a_certificate_with_the_least() -> None:
    made = der.certificate(broken(*FIELDS))
    assert (made.serial, made.extensions, made.common_name()) == (5, {}, "s")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 100,
        tlv(0x30),
        tlv(0x30, tlv(0x30)),
        broken(),
        broken(*FIELDS[:5]),
        broken(*FIELDS[:3], tlv(0x30, date(1)), *FIELDS[4:]),
        broken(*FIELDS, outer=(tlv(0x30), tlv(3, b"\0x"))),
        broken(*FIELDS, outer=(tlv(0x30, oid("1.2.4")), tlv(3, b"\0x"))),
        broken(FIELDS[0], tlv(0x30), *FIELDS[2:], outer=(tlv(0x30), tlv(3, b"\0x"))),
        broken(*FIELDS, outer=(tlv(0x30, oid("1.2.3")), tlv(3))),
        broken(*FIELDS, outer=(tlv(0x30, oid("1.2.3")), tlv(4, b"\0x"))),
        broken(*FIELDS, tlv(0xA3, tlv(0x30, tlv(0x30)))),
        broken(*FIELDS, tlv(0xA3, tlv(0x04))),
        broken(*FIELDS[:4], tlv(4), FIELDS[5]),
        broken(*FIELDS[:4], tlv(0x30, tlv(0x31, tlv(0x30, tlv(6), tlv(12)))), FIELDS[5]),
        tlv(0x31, *FIELDS),
    ],
)
def test_what_is_no_certificate(data: bytes) -> None:
    with pytest.raises(der.DerError):
        der.certificate(data)


def test_no_damage_raises_anything_else() -> None:
    rng = random.Random(7)
    for data in (PLAIN, HOST.vcek()):
        for _time in range(1500):
            altered = bytearray(data[: rng.randrange(len(data))] if rng.random() < 0.2 else data)
            for _change in range(rng.choice((1, 1, 3))):
                if altered:
                    altered[rng.randrange(len(altered))] = rng.choice((0, 0x80, 0xFF, rng.randrange(256)))
            try:
                found = der.certificate(bytes(altered))
            except der.DerError:
                continue
            assert isinstance(found.common_name() + found.common_name("issuer"), str)


def test_pem() -> None:
    text = "leading words\n" + pem(PLAIN) + "between\r\n" + pem(HOST.ark).replace("\n", "\r\n")
    assert der.pem_certificates(text) == [PLAIN, HOST.ark]
    assert der.pem_certificates("") == []


@pytest.mark.parametrize("text", [pem(PLAIN)[:-30], pem(PLAIN).replace("M", "*", 1), pem(PLAIN).replace("M", "", 1)])
def test_pem_that_is_damaged(text: str) -> None:
    assert text != pem(PLAIN)
    with pytest.raises(der.DerError):
        der.pem_certificates(text)


def test_an_object_identifier_with_an_endless_number() -> None:
    longest = b"\x69" + b"\x84" + b"\x80" * 17 + b"\x00"  # 2.25 and a UUID
    assert der.oid(longest) == f"2.25.{1 << 128}"
    for content in (b"\x69" + b"\xff" * 19 + b"\x00", b"\xff" * 100000 + b"\x00"):
        with pytest.raises(der.DerError):
            der.oid(content)


def test_many_small_elements_take_time_in_proportion() -> None:
    """Each element was once cut off the rest, which copied all of it every time."""
    start = time.thread_time()
    assert len(der.children(b"\x05\x00" * 200000)) == 200000
    assert time.thread_time() - start < 3


def test_a_certificate_beyond_any_size() -> None:
    with pytest.raises(der.DerError, match="certificate of 7.... bytes"):
        der.certificate(certificate("a", "b", spki(ec_key("a")), rsa_key("a"), extensions={"1.2.3": bytes(70000)}))


def test_pem_beyond_ascii() -> None:
    with pytest.raises(der.DerError):
        der.pem_certificates(pem(PLAIN).replace("M", "\u00e9", 1))


@pytest.mark.parametrize(
    "text",
    [
        "260101000000",
        "2601010000000",
        "260101000000+",
        "26010100000xZ",
        "261301000000Z",
        "260230000000Z",
        "260101240000Z",
        "",
    ],
)
def test_times_that_are_none(text: str) -> None:
    with pytest.raises(der.DerError, match="bad time"):
        der._time(der.element(tlv(der.UTC_TIME, text.encode())))


def test_times_of_both_kinds() -> None:
    for tag, text, year in (
        (der.UTC_TIME, "500228235959Z", 1950),
        (der.UTC_TIME, "490228235959Z", 2049),
        (der.GENERALIZED_TIME, "99991231235959Z", 9999),
    ):
        found = time.gmtime(der._time(der.element(tlv(tag, text.encode()))))
        assert time.strftime("%m%d%H%M%S", found) == text[-11:-1] and found.tm_year == year
