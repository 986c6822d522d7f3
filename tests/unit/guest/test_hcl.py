# SPDX-License-Identifier: GPL-3.0-or-later
"""The HCL report: its layout, and that its runtime data belong to the hardware report and to this TPM."""

from __future__ import annotations

import hashlib
import json
import struct
import typing as t

import pytest
from unit.guest.release_fakes import refused
from unit.guest.silicon_fakes import VMID, Host, hcl_blob, modulus_of, rsa_key, runtime_data

from ansible_collections.confidential.azure_skr.plugins.module_utils.guest import hcl

MODULUS = modulus_of(rsa_key("ak"))
HOST = Host()


def blob(runtime: bytes = runtime_data(MODULUS), data: t.Optional[bytes] = None, **changes: t.Any) -> bytes:
    """A report that is right but for ``changes``; ``data`` are other report data."""
    return hcl_blob(HOST.report(hashlib.sha256(runtime).digest() if data is None else data), runtime, **changes)


def patched(offset: int, piece: bytes) -> bytes:
    made = blob()
    return made[:offset] + piece + made[offset + len(piece) :]


@pytest.mark.parametrize("size", [2048, 2600, 2900])
@pytest.mark.parametrize("header_version", [1, 2])
def test_parsing(size: int, header_version: int) -> None:
    """Index sizes of three generations of hosts; the header's version is no mark of anything."""
    report = hcl.parse(blob(size=size, header_version=header_version))
    assert (report.tee, report.hash_name, report.header_version) == ("snp", "sha256", header_version)
    assert len(report.hardware_report) == 1184
    assert report.report_data == hashlib.sha256(report.runtime_data).digest().ljust(64, b"\0")
    assert report.runtime_data == runtime_data(MODULUS) and report.vm_unique_id == VMID
    assert report.key_modulus("HCLAkPub") == MODULUS and report.key_modulus("HCLEkPub") is None
    hcl.check_binding(report, MODULUS)


def test_the_header_size_field_is_ignored() -> None:
    for value in (0, 1, 0xFFFFFFFF):
        hcl.check_binding(hcl.parse(patched(8, struct.pack("<I", value))), MODULUS)


@pytest.mark.parametrize("size", [0, 4, 100, 1235])
def test_too_short(size: int) -> None:
    with refused("hcl_malformed") as info:
        hcl.parse(blob()[:size])
    assert info.value.facts == {"size": size}


@pytest.mark.parametrize(
    ("offset", "piece"),
    [
        (0, b"HCLB"),
        (0, b"\0\0\0\0"),
        (1216, struct.pack("<I", 0)),
        (1216, struct.pack("<I", 21)),
        (1224, struct.pack("<I", 0)),  # report type: invalid
        (1224, struct.pack("<I", 9)),
        (1228, struct.pack("<I", 0)),  # hash type
        (1228, struct.pack("<I", 4)),
        (1232, struct.pack("<I", 0)),
        (1232, struct.pack("<I", 0xFFFFFFF0)),
    ],
)
def test_fields_that_do_not_fit(offset: int, piece: bytes) -> None:
    with refused("hcl_malformed"):
        hcl.parse(patched(offset, piece))


def test_runtime_data_that_run_past_the_index() -> None:
    whole = blob()
    with refused("hcl_malformed"):
        hcl.parse(whole[: 1236 + len(runtime_data(MODULUS)) - 1])


@pytest.mark.parametrize(
    "runtime",
    [b"", b"{", b"[]", b"5", b"null", b'"text"', b"\xff\xfe", b"{}\0", b"[" * 1300, b'{"a":' * 250, b"\1\0\0\0{}"],
)
def test_runtime_data_that_are_no_json_object(runtime: bytes) -> None:
    with refused("hcl_malformed"):
        hcl.parse(blob(runtime))


@pytest.mark.parametrize(
    ("runtime", "vm", "user_data"),
    [
        ({}, None, None),
        ({"keys": None, "vm-configuration": None, "user-data": None}, None, None),
        ({"keys": 5, "vm-configuration": [], "user-data": 7}, None, None),
        ({"keys": ["HCLAkPub", {"kid": "HCLAkPub"}, {"kid": "HCLAkPub", "n": 3}]}, None, None),
        ({"keys": [{"kid": "HCLAkPub", "n": "é"}], "vm-configuration": {"vmUniqueId": 1}}, None, None),
        ({"keys": [{"kid": "HCLAkPub", "n": "A"}], "user-data": "zz"}, None, None),
        ({"vm-configuration": {"vmUniqueId": VMID}, "user-data": "0A" * 64}, VMID, b"\x0a" * 64),
        ({"user-data": "0a" * 64}, None, b"\x0a" * 64),
    ],
)
def test_members_of_other_shapes(runtime: t.Any, vm: t.Optional[str], user_data: t.Optional[bytes]) -> None:
    report = hcl.parse(blob(json.dumps(runtime, ensure_ascii=False).encode()))
    assert report.key_modulus("HCLAkPub") is None
    assert (report.vm_unique_id, report.user_data) == (vm, user_data)
    with refused("hcl_binding"):
        hcl.check_binding(report, MODULUS)


@pytest.mark.parametrize(("kind", "name"), [(1, "sha256"), (2, "sha384"), (3, "sha512")])
def test_hash_types(kind: int, name: str) -> None:
    runtime = runtime_data(MODULUS)
    report = hcl.parse(blob(runtime, hashlib.new(name, runtime).digest(), hash_type=kind))
    assert report.hash_name == name
    hcl.check_binding(report, MODULUS)
    other = hashlib.new("sha1", runtime).digest()
    with refused("hcl_binding"):
        hcl.check_binding(hcl.parse(blob(runtime, other, hash_type=kind)), MODULUS)


def test_old_hosts() -> None:
    """2022 and 2023: one key, marked for encryption, a time among the configuration, no user data."""
    document = json.loads(runtime_data(MODULUS))
    document["keys"][0]["key_ops"] = ["encrypt"]
    document["vm-configuration"]["current-time"] = 1661435549
    report = hcl.parse(blob(json.dumps(document).encode(), size=2048, header_version=1))
    hcl.check_binding(report, MODULUS)
    assert report.user_data is None


def test_binding_to_other_runtime_data() -> None:
    with refused("hcl_binding") as info:
        hcl.check_binding(hcl.parse(blob(data=hashlib.sha256(b"other").digest())), MODULUS)
    assert info.value.facts["wanted"] == hashlib.sha256(runtime_data(MODULUS)).hexdigest()
    assert info.value.facts["found"].startswith(hashlib.sha256(b"other").hexdigest())


def test_report_data_with_something_behind_the_hash() -> None:
    """Right hash, but the rest is not zero."""
    digest = hashlib.sha256(runtime_data(MODULUS)).digest()
    for position in (32, 47, 63):
        data = bytearray(digest.ljust(64, b"\0"))
        data[position] = 1
        with refused("hcl_binding"):
            hcl.check_binding(hcl.parse(blob(data=bytes(data))), MODULUS)


def test_the_report_of_another_machine() -> None:
    other = modulus_of(rsa_key("other ak"))
    with refused("hcl_binding") as info:
        hcl.check_binding(hcl.parse(blob(runtime_data(other))), MODULUS)
    assert "HCLAkPub" in info.value.message


def test_runtime_data_in_other_words_are_other_data() -> None:
    """The same JSON written with spaces: what is hashed are the bytes as stored."""
    document = json.loads(runtime_data(MODULUS))
    spaced = json.dumps(document).encode()
    hcl.check_binding(hcl.parse(blob(spaced)), MODULUS)
    with refused("hcl_binding"):
        hcl.check_binding(hcl.parse(blob(spaced, hashlib.sha256(runtime_data(MODULUS)).digest())), MODULUS)


@pytest.mark.parametrize(("kind", "tee"), [(1, "vbs"), (3, "trusted_launch"), (5, "cca")])
def test_other_kinds_of_hardware(kind: int, tee: str) -> None:
    report = hcl.parse(blob(report_type=kind))
    assert report.tee == tee
    with refused("tee_unsupported") as info:
        hcl.check_binding(report, MODULUS)
    assert info.value.facts == {"tee": tee}


def test_tdx_has_its_report_data_elsewhere() -> None:
    runtime = runtime_data(MODULUS)
    hardware = bytearray(1184)
    hardware[128:160] = hashlib.sha256(runtime).digest()
    report = hcl.parse(hcl_blob(bytes(hardware), runtime, report_type=4))
    assert report.tee == "tdx"
    hcl.check_binding(report, MODULUS)
