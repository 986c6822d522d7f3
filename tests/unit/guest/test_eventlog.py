# SPDX-License-Identifier: GPL-3.0-or-later
"""The measured-boot log: decode, replay, secure-boot state."""

from __future__ import annotations

import hashlib
import struct
import typing as t

import pytest
from unit.guest.release_fakes import refused

from ansible_collections.confidential.azure_skr.plugins.module_utils.guest import eventlog

GLOBAL_VARIABLE = bytes.fromhex("61dfe48bca93d211aa0d00e098032b8c")
SHA1, SHA256 = (0x04, 20), (0x0B, 32)
NO_ACTION, SEPARATOR, VARIABLE, POST_CODE = 3, 4, 0x80000001, 1


def header(*algorithms: t.Tuple[int, int], vendor: bytes = b"") -> bytes:
    data = b"Spec ID Event03\0" + struct.pack("<IBBBBI", 0, 0, 2, 0, 2, len(algorithms))
    data += b"".join(struct.pack("<HH", *algorithm) for algorithm in algorithms) + bytes([len(vendor)]) + vendor
    return struct.pack("<II20sI", 0, NO_ACTION, bytes(20), len(data)) + data


def record(pcr: int, kind: int, data: bytes, *algorithms: t.Tuple[int, int]) -> bytes:
    digests = b""
    for number, size in algorithms or (SHA256,):
        digests += struct.pack("<H", number) + hashlib.new({20: "sha1", 32: "sha256"}[size], data).digest()
    return struct.pack("<III", pcr, kind, len(algorithms or (SHA256,))) + digests + struct.pack("<I", len(data)) + data


def variable(name: str, data: bytes) -> bytes:
    return GLOBAL_VARIABLE + struct.pack("<QQ", len(name), len(data)) + name.encode("utf-16-le") + data


def extended(*datas: bytes, start: bytes = bytes(32)) -> bytes:
    value = start
    for data in datas:
        value = hashlib.sha256(value + hashlib.sha256(data).digest()).digest()
    return value


def test_decoding_and_replay() -> None:
    log = header(SHA256) + record(0, POST_CODE, b"one") + record(7, SEPARATOR, b"two") + record(0, POST_CODE, b"three")
    events = eventlog.decode(log)
    assert [(event.pcr, event.kind, event.data) for event in events[1:]] == [
        (0, POST_CODE, b"one"),
        (7, SEPARATOR, b"two"),
        (0, POST_CODE, b"three"),
    ]
    assert events[1].digests == {0x0B: hashlib.sha256(b"one").digest()}
    assert eventlog.replay(events) == {0: extended(b"one", b"three"), 7: extended(b"two")}


def test_several_banks_and_a_vendor_part() -> None:
    log = header(SHA1, SHA256, vendor=b"vendor") + record(4, SEPARATOR, b"data", SHA1, SHA256)
    events = eventlog.decode(log)
    assert set(events[1].digests) == {0x04, 0x0B}
    assert eventlog.replay(events) == {4: extended(b"data")}
    assert eventlog.replay(events, 0x04, "sha1")[4] == hashlib.sha1(bytes(20) + hashlib.sha1(b"data").digest()).digest()


def test_events_that_are_not_extended() -> None:
    log = header(SHA256) + record(0, NO_ACTION, b"BIOS words") + record(0, SEPARATOR, b"data")
    assert eventlog.replay(eventlog.decode(log)) == {0: extended(b"data")}


def test_startup_locality() -> None:
    log = header(SHA256) + record(0, NO_ACTION, b"StartupLocality\0\x03") + record(0, SEPARATOR, b"data")
    assert eventlog.replay(eventlog.decode(log)) == {0: extended(b"data", start=bytes(31) + b"\x03")}


def test_zeros_behind_the_last_record() -> None:
    log = header(SHA256) + record(1, SEPARATOR, b"data")
    assert len(eventlog.decode(log + bytes(100))) == 2


@pytest.mark.parametrize(("data", "state"), [(b"\x01", True), (b"\x00", False), (b"", False), (b"\x01\x00", False)])
def test_secure_boot(data: bytes, state: bool) -> None:
    log = (
        header(SHA256) + record(7, VARIABLE, variable("PK", b"key")) + record(7, VARIABLE, variable("SecureBoot", data))
    )
    assert eventlog.secure_boot(eventlog.decode(log)) is state


@pytest.mark.parametrize(
    "event",
    [
        record(6, VARIABLE, variable("SecureBoot", b"\x01")),  # another register
        record(7, SEPARATOR, variable("SecureBoot", b"\x01")),  # another kind
        record(7, VARIABLE, variable("SetupMode", b"\x01")),
        record(7, VARIABLE, b"short"),
        record(7, VARIABLE, GLOBAL_VARIABLE + struct.pack("<QQ", 1 << 62, 1 << 63) + b"SecureBoot"),
    ],
)
def test_secure_boot_that_was_not_measured(event: bytes) -> None:
    assert eventlog.secure_boot(eventlog.decode(header(SHA256) + event)) is None


@pytest.mark.parametrize(
    "log",
    [
        b"",
        bytes(31),
        bytes(64),
        struct.pack("<II20sI", 0, 8, hashlib.sha1(b"x").digest(), 1) + b"x",  # the old form, SHA-1 alone
        header(SHA256)[:40],
        header(SHA256) + record(0, SEPARATOR, b"data")[:-1],
        header(SHA256) + record(0, SEPARATOR, b"data")[:20],
        header(SHA256) + record(0, SEPARATOR, b"data")[:9],
        header(SHA1) + record(0, SEPARATOR, b"data", SHA256),  # an algorithm that was not announced
        header(SHA256) + struct.pack("<III", 0, 1, 0xFFFFFFFF),
    ],
)
def test_damaged_logs(log: bytes) -> None:
    with refused("invalid_input"):
        eventlog.decode(log)


def test_a_changed_digest_changes_the_replay() -> None:
    log = bytearray(header(SHA256) + record(0, SEPARATOR, b"data"))
    log[len(header(SHA256)) + 14] ^= 1
    assert eventlog.replay(eventlog.decode(bytes(log)))[0] != extended(b"data")


# --- the log and the live registers


def test_registers_that_differ_are_named() -> None:
    log = header(SHA256) + record(0, POST_CODE, b"one") + record(7, VARIABLE, variable("SecureBoot", b"\1"))
    replayed = eventlog.replay(eventlog.decode(log))
    live = {0: replayed[0], 1: bytes(32), 7: replayed[7]}
    assert eventlog.compare(replayed, live) == []
    assert eventlog.summary(log, live) == {
        "present": True,
        "events": 3,
        "secure_boot": True,
        "matches_pcrs": True,
        "differing_pcrs": {},
    }
    live[1], live[0] = b"\1" * 32, bytes(32)
    found = eventlog.summary(log, live)
    assert found["matches_pcrs"] is False
    assert found["differing_pcrs"] == {
        "0": {"log": replayed[0].hex(), "tpm": "00" * 32},
        "1": {"log": "00" * 32, "tpm": "01" * 32},
    }


def test_registers_of_the_operating_system_prove_nothing_about_the_log() -> None:
    log = header(SHA256) + record(0, POST_CODE, b"one")
    found = eventlog.summary(log, {0: extended(b"one"), 11: b"\1" * 32})
    assert found["matches_pcrs"] is True and list(found["differing_pcrs"]) == ["11"]


def test_no_log_and_a_damaged_one_are_facts() -> None:
    assert eventlog.summary(b"", {0: bytes(32)}) == {"present": False}
    found = eventlog.summary(b"damaged" * 10, {0: bytes(32)})
    assert found["present"] is True and "log" in found["error"]
