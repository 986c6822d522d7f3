# SPDX-License-Identifier: GPL-3.0-or-later
"""The SNP report's fields, and the firmware levels that each product packs in its own way."""

from __future__ import annotations

import struct
import typing as t

import pytest
from unit.guest.release_fakes import refused
from unit.guest.silicon_fakes import Host

from ansible_collections.confidential.azure_skr.plugins.module_utils.guest import snp

# Offset and size of the fields that are kept as bytes (AMD 56860, table "ATTESTATION_REPORT").
FIELDS = {
    "report_data": (0x50, 64),
    "measurement": (0x90, 48),
    "host_data": (0xC0, 32),
    "id_key_digest": (0xE0, 48),
    "author_key_digest": (0x110, 48),
    "report_id": (0x140, 32),
    "reported_tcb": (0x180, 8),
    "chip_id": (0x1A0, 64),
}


def counted(version: int = 3) -> bytes:
    """A report in which every byte but the version tells its own offset."""
    raw = bytes((offset * 7 + offset // 256) & 0xFF for offset in range(snp.SIZE))
    return struct.pack("<I", version) + raw[4:]


def report(**patches: t.Any) -> snp.SnpReport:
    return snp.parse(Host().report(b"data", **patches))


@pytest.mark.parametrize("field", FIELDS)
def test_offsets(field: str) -> None:
    offset, size = FIELDS[field]
    assert getattr(snp.parse(counted()), field) == counted()[offset : offset + size]


def test_numbers() -> None:
    raw = counted()
    made = snp.parse(raw)
    assert made.guest_svn == int.from_bytes(raw[4:8], "little")
    assert made.policy == int.from_bytes(raw[8:16], "little")
    assert made.vmpl == int.from_bytes(raw[0x30:0x34], "little")
    assert made.signature_algorithm == int.from_bytes(raw[0x34:0x38], "little")
    assert made.signed == raw[:672]
    assert made.signature == (
        int.from_bytes(raw[0x2A0:0x2E8], "little"),
        int.from_bytes(raw[0x2E8:0x330], "little"),
    )


@pytest.mark.parametrize("version", [2, 3, 4, 5])
def test_versions(version: int) -> None:
    made = report(version=version)
    assert made.version == version
    assert made.product == (None if version == 2 else "Milan"), "version 2 does not tell its product"


@pytest.mark.parametrize("version", [0, 1, 6, 0x02000000])
def test_versions_that_are_not_known(version: int) -> None:
    with refused("report_malformed") as info:
        snp.parse(counted(version))
    assert info.value.facts == {"version": version}


@pytest.mark.parametrize("size", [0, 672, 1183, 1185, 4000])
def test_sizes(size: int) -> None:
    with refused("report_malformed"):
        snp.parse(counted().ljust(size, b"\0")[:size])


@pytest.mark.parametrize(
    ("family", "model", "product"),
    [
        (0x19, 0x01, "Milan"),
        (0x19, 0x11, "Genoa"),
        (0x19, 0xA0, "Genoa"),  # Bergamo
        (0x19, 0xAF, "Genoa"),  # Siena
        (0x1A, 0x02, "Turin"),
        (0x1A, 0x11, "Turin"),  # Turin Dense
        (0x17, 0x31, None),
        (0x19, 0x61, None),
        (0x1B, 0x02, None),
    ],
)
def test_products(family: int, model: int, product: t.Optional[str]) -> None:
    assert report(patches={0x188: bytes([family, model, 1])}).product == product


def test_firmware_levels_of_milan_and_genoa() -> None:
    value = bytes([4, 1, 2, 3, 5, 6, 24, 219])
    for product in ("Milan", "Genoa"):
        assert snp.decode_tcb(value, product) == snp.Tcb(boot_loader=4, tee=1, snp=24, microcode=219, fmc=None)


def test_firmware_levels_of_turin() -> None:
    value = bytes([7, 4, 1, 24, 2, 3, 5, 219])
    made = snp.decode_tcb(value, "Turin")
    assert made == snp.Tcb(boot_loader=4, tee=1, snp=24, microcode=219, fmc=7)
    assert made.text() == "fmc 7, boot loader 4, tee 1, snp 24, microcode 219"
    assert made.as_dict() == {"boot_loader": 4, "tee": 1, "snp": 24, "microcode": 219, "fmc": 7}


@pytest.mark.parametrize(
    ("bits", "key"), [(0, "VCEK"), (1, "VCEK"), (0b00100, "VLEK"), (0b11100, "none"), (8, "unknown")]
)
def test_signing_keys(bits: int, key: str) -> None:
    """Bit 0 tells of an author key, bit 1 of a masked chip key; the signing key is in bits 2 to 4."""
    assert report(patches={0x48: bytes([bits])}).signing_key == key


def test_the_policy_azure_uses_allows_no_debugging() -> None:
    assert report().policy == 0x3001F and not report().debuggable
    assert report(patches={8: struct.pack("<Q", 0x3001F | 1 << 19)}).debuggable
