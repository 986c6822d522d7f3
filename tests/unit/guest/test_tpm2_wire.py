# SPDX-License-Identifier: GPL-3.0-or-later
"""The bytes of every command, against known answers of a software TPM (libtpms), PCRs 0 to 7 all zero."""

from __future__ import annotations

import hashlib
import os
import struct
import typing as t

import pytest
from unit.guest.release_fakes import refused

from ansible_collections.confidential.azure_skr.plugins.module_utils.guest.tpm2 import Tpm, templates, transport, wire
from ansible_collections.confidential.azure_skr.plugins.module_utils.guest.tpm2.transport import Transport

PCRS = range(8)
DIGEST = "5341e6b2646979a70e57653007a1f310169421ec9bdd9f1a5648f75ade005af1"
POLICY = "9a72c2e06a93c453a86efb47532e9c7a91dcab018e675919910c58d6a1a5aa78"
TEMPLATE = f"0001000b000204320020{POLICY}00100010080000000000" + "0100" + "00" * 256
KEY = 0x80000000


class Recorder:
    """A transport that keeps the commands and plays back answers."""

    def __init__(self, *answers: str) -> None:
        self.sent: t.List[str] = []
        self._answers = [bytes.fromhex(answer) for answer in answers]

    def transceive(self, command: bytes) -> bytes:
        self.sent.append(command.hex())
        return self._answers.pop(0)

    def close(self) -> None: ...


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> t.Callable[..., t.Tuple[Tpm, Recorder]]:
    def made(*answers: str) -> t.Tuple[Tpm, Recorder]:
        recorder: Transport = Recorder(*answers)
        monkeypatch.setattr(transport, "connect", lambda _device: recorder)
        assert isinstance(recorder, Recorder)
        return Tpm("unix:/recorder", 1.0), recorder

    return made


def answer(parameters: bytes = b"", handle: bytes = b"", sessions: bool = True) -> str:
    if sessions:
        body = handle + struct.pack(">I", len(parameters)) + parameters + bytes.fromhex("0000010000")
    else:
        body = handle + parameters
    return (struct.pack(">HII", 0x8002 if sessions else 0x8001, 10 + len(body), 0) + body).hex()


def b2(text: str) -> str:
    return f"{len(text) // 2:04x}{text}"


def statement(signature: bytes = b"s" * 256, scheme: bytes = b"\x00\x14\x00\x0b") -> bytes:
    return wire.sized(b"attest") + scheme + wire.sized(signature)


def hexed(text: str) -> str:
    return text.replace(" ", "")


# --- policy and template, computed without a TPM


def test_pcr_digest_and_policy() -> None:
    digest = templates.pcr_digest([bytes(32)] * 8)
    assert digest.hex() == DIGEST
    assert templates.pcr_policy(PCRS, digest).hex() == POLICY


def test_template_of_the_ephemeral_key() -> None:
    template = templates.ephemeral_template(bytes.fromhex(POLICY))
    assert template.hex() == TEMPLATE and len(template) == 310
    public = wire.rsa_public(template)
    # Neither userWithAuth (0x40) nor adminWithPolicy (0x80) nor restricted (0x10000); decrypt (0x20000) is set.
    assert public.attributes == 0x20432 and public.policy.hex() == POLICY
    assert (public.symmetric, public.scheme, public.bits, public.exponent) == (0x10, 0x10, 2048, 65537)


@pytest.mark.parametrize(
    ("pcrs", "bits"),
    [(PCRS, "ff0000"), ([*PCRS, 11, 12, 13, 14], "ff7800"), ([*PCRS, 11], "ff0800"), (range(24), "ffffff")],
)
def test_selections(pcrs: t.Iterable[int], bits: str) -> None:
    assert wire.selection(pcrs).hex() == f"00000001000b03{bits}"


# --- commands


def test_create_primary(recorded: t.Callable[..., t.Tuple[Tpm, Recorder]]) -> None:
    area = bytes.fromhex(TEMPLATE)
    tpm, recorder = recorded(answer(wire.sized(area), bytes.fromhex("80000000")))
    assert tpm.create_primary(wire.RH_NULL, area) == (KEY, area)
    assert tpm.created == 1
    head = "8002 0000015f 00000131 40000007 00000009 400000090000010000 0004 00000000 0136"
    assert recorder.sent == [hexed(head) + TEMPLATE + "0000" + "00000000"]


def test_certify(recorded: t.Callable[..., t.Tuple[Tpm, Recorder]]) -> None:
    tpm, recorder = recorded(answer(statement()))
    made = tpm.certify(KEY, templates.AK_HANDLE)
    assert (made.data, made.signature) == (b"attest", b"s" * 256)
    auths = "00000012 400000090000010000 400000090000010000"
    assert recorder.sent == [hexed(f"8002 0000002c 00000148 80000000 81000003 {auths} 0000 0010")]


def test_quote(recorded: t.Callable[..., t.Tuple[Tpm, Recorder]]) -> None:
    tpm, recorder = recorded(answer(statement()))
    assert tpm.quote(templates.AK_HANDLE, PCRS).signature == b"s" * 256
    parts = "8002 00000029 00000158 81000003 00000009 400000090000010000 0000 0010 00000001000b03ff0000"
    assert recorder.sent == [hexed(parts)]


@pytest.mark.parametrize("scheme", ["0016000b", "0014000c", "00140004"])
def test_statements_of_another_scheme(scheme: str, recorded: t.Callable[..., t.Tuple[Tpm, Recorder]]) -> None:
    tpm, _recorder = recorded(answer(statement(scheme=bytes.fromhex(scheme))))
    with refused("quote_invalid"):
        tpm.quote(templates.AK_HANDLE, PCRS)


@pytest.mark.parametrize(("scheme", "size"), [("0015", 0x121), ("0017000b", 0x123)])
def test_rsa_decrypt(
    scheme: str, size: int, recorded: t.Callable[..., t.Tuple[Tpm, Recorder]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Session, policy, decryption: continueSession is clear, so that success ends the session."""
    monkeypatch.setattr(os, "urandom", lambda size: b"n" * size)
    session = answer(wire.sized(bytes(20)), bytes.fromhex("03000000"), sessions=False)
    tpm, recorder = recorded(session, answer(sessions=False), answer(wire.sized(b"secret")))
    assert tpm.rsa_decrypt(KEY, b"c" * 256, bytes.fromhex(scheme), PCRS) == b"secret"
    tpm.close()
    nonce = (b"n" * 20).hex()
    assert recorder.sent == [
        hexed(f"8001 0000002f 00000176 40000007 40000007 0014 {nonce} 0000 01 0010 000b"),
        hexed("8001 0000001a 0000017f 03000000 0000 00000001000b03ff0000"),
        hexed(f"8002 {size:08x} 00000159 80000000 00000009 03000000 0000 00 0000 0100")
        + (b"c" * 256).hex()
        + scheme
        + "0000",
    ]


def test_nv_commands(recorded: t.Callable[..., t.Tuple[Tpm, Recorder]]) -> None:
    tpm, recorder = recorded(answer(), answer(), answer())
    tpm.nv_define(0x01400002, 64, 0x00060006)
    tpm.nv_write(0x01400002, b"u" * 64)
    tpm.nv_undefine(0x01400002)
    public = b2("01400002 000b 00060006 0000 0040".replace(" ", ""))
    password = "00000009 400000090000010000"
    assert recorder.sent == [
        hexed(f"8002 0000002d 0000012a 40000001 {password} 0000 {public}"),
        hexed(f"8002 00000063 00000137 40000001 01400002 {password} 0040 {(b'u' * 64).hex()} 0000"),
        hexed(f"8002 0000001f 00000122 40000001 01400002 {password}"),
    ]


def test_nv_reading(recorded: t.Callable[..., t.Tuple[Tpm, Recorder]]) -> None:
    public = wire.sized(bytes.fromhex("01400001 000b 62060004 0000 0a28")) + wire.sized(bytes(34))
    tpm, recorder = recorded(answer(public, sessions=False), *(answer(wire.sized(b"x" * n)) for n in (1024, 1024, 552)))
    index = tpm.nv_read_public(0x01400001)
    assert index is not None and (index.size, index.attributes) == (2600, 0x62060004)
    assert tpm.nv_read(0x01400001, index.size) == b"x" * 2600
    password = "00000009 400000090000010000"
    assert recorder.sent[0] == hexed("8001 0000000e 00000169 01400001")
    assert recorder.sent[1:] == [
        hexed(f"8002 00000023 0000014e 40000001 01400001 {password} {size:04x} {offset:04x}")
        for size, offset in ((1024, 0), (1024, 1024), (552, 2048))
    ]


def test_other_commands(recorded: t.Callable[..., t.Tuple[Tpm, Recorder]]) -> None:
    values = struct.pack(">I", 7) + bytes.fromhex("00000001000b03ff0000 00000008") + wire.sized(bytes(32)) * 8
    tpm, recorder = recorded(
        answer(wire.sized(b"area"), sessions=False), answer(values, sessions=False), answer(sessions=False)
    )
    assert tpm.read_public(templates.AK_HANDLE) == b"area"
    assert tpm.pcr_read(PCRS) == [bytes(32)] * 8
    tpm.flush(KEY)
    assert recorder.sent == [
        hexed("8001 0000000e 00000173 81000003"),
        hexed("8001 00000014 0000017e 00000001000b03ff0000"),
        hexed("8001 0000000e 00000165 80000000"),
    ]


# --- structures


def test_attestation_key_as_the_paravisor_makes_it() -> None:
    modulus = bytes([0xC1] * 256)
    area = bytes.fromhex("0001000b00050472000000100014000b0800000000000100") + modulus
    assert len(area) == 280
    public = wire.rsa_public(area)
    assert (public.attributes, public.policy, public.scheme, public.scheme_hash) == (0x50472, b"", 0x14, 0x0B)
    assert public.modulus == int.from_bytes(modulus, "big") and public.exponent == 65537


def test_attestation_key_with_a_policy() -> None:
    """Trusted Launch samples have a policy of 32 bytes: nothing may count on fixed offsets."""
    policy = "9dffcbf36c383ae699fb9868dc6dcb89d7153884be2803922c124158bfad22ae"
    area = bytes.fromhex(f"0001000b000504720020{policy}00100014000b0800000000000100") + bytes([0xC1] * 256)
    assert len(area) == 0x138
    assert wire.rsa_public(area).policy.hex() == policy


def test_key_with_a_symmetric_algorithm() -> None:
    """An endorsement key: restricted decryption, AES-128-CFB."""
    policy = "837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa"
    area = bytes.fromhex(f"0001000b000300b20020{policy}000600800043001008000001000101 00") + b"\xc1" * 256
    public = wire.rsa_public(area)
    assert (public.symmetric, public.scheme, public.bits, public.exponent) == (6, 0x10, 2048, 0x10001)


def test_a_key_of_another_kind() -> None:
    with refused("tpm_error"):
        wire.rsa_public(bytes.fromhex("0023000b000504720000001000180 00b00030010".replace(" ", "")))


@pytest.mark.parametrize("size", [0, 1, 9, 30, 279])
def test_a_key_cut_short(size: int) -> None:
    area = bytes.fromhex("0001000b00050472000000100014000b0800000000000100") + b"\xc1" * 256
    with refused("tpm_error"):
        wire.rsa_public(area[:size])


def test_the_name_of_an_object() -> None:
    """TPM 2.0 Part 1, section 16: algorithm and digest of the public area."""
    assert templates.object_name(b"area") == b"\x00\x0b" + hashlib.sha256(b"area").digest()
