# SPDX-License-Identifier: GPL-3.0-or-later
"""The client against a TPM that keeps the rules and, now and then, does not answer as hoped."""

from __future__ import annotations

import hashlib
import struct
import typing as t

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from unit.guest import tpm_fakes as fakes
from unit.guest.release_fakes import refused
from unit.guest.tpm_fakes import FakeTpm, open_fake

from ansible_collections.confidential.azure_skr.plugins.module_utils.guest import tpm2
from ansible_collections.confidential.azure_skr.plugins.module_utils.guest.tpm2 import templates, wire

PCRS = tuple(range(8))
RSAES, OAEP_SHA1, OAEP_SHA256, OAEP_SHA384 = "0015", "00170004", "0017000b", "0017000c"
WAYS: t.Dict[str, t.Any] = {
    RSAES: padding.PKCS1v15(),
    OAEP_SHA1: padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None),
    OAEP_SHA256: padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None),
    OAEP_SHA384: padding.OAEP(padding.MGF1(hashes.SHA384()), hashes.SHA384(), None),
}


@pytest.fixture
def fake() -> FakeTpm:
    return FakeTpm()


@pytest.fixture
def tpm(fake: FakeTpm, monkeypatch: pytest.MonkeyPatch) -> tpm2.Tpm:
    return open_fake(monkeypatch, fake)


def ephemeral(tpm: tpm2.Tpm) -> int:
    policy = templates.pcr_policy(PCRS, templates.pcr_digest(tpm.pcr_read(PCRS)))
    return tpm.create_primary(wire.RH_NULL, templates.ephemeral_template(policy))[0]


def encrypted(fake: FakeTpm, handle: int, way: str, message: bytes = b"secret") -> bytes:
    return fake.objects[handle][0].public_key().encrypt(message, WAYS[way])


# --- repetition


@pytest.mark.parametrize("code", [0x922, 0x908, 0x90A, 0x920])
def test_passing_conditions_are_waited_out(code: int, fake: FakeTpm, tpm: tpm2.Tpm) -> None:
    fake.codes[fakes.READ_PUBLIC] = [code] * 4
    assert tpm.read_public(fakes.AK) == fake.persistent[fakes.AK]
    assert tpm.commands == 5 and fake.clock.slept == [0.02, 0.04, 0.08, 0.16]


def test_a_condition_that_does_not_pass(fake: FakeTpm, tpm: tpm2.Tpm) -> None:
    fake.codes[fakes.READ_PUBLIC] = [0x922] * 1000
    with refused("tpm_busy") as info:
        tpm.read_public(fakes.AK)
    assert info.value.facts["code"] == "0x922"
    assert sum(fake.clock.slept) <= 15 and tpm.commands < 50


@pytest.mark.parametrize(("code", "reason"), [(0x902, "tpm_busy"), (0x921, "tpm_lockout"), (0x101, "tpm_error")])
def test_other_refusals_come_at_once(code: int, reason: str, fake: FakeTpm, tpm: tpm2.Tpm) -> None:
    fake.codes[fakes.READ_PUBLIC] = [code]
    with refused(reason):
        tpm.read_public(fakes.AK)
    assert tpm.commands == 1 and fake.clock.slept == []


# --- NV


def test_what_is_absent(tpm: tpm2.Tpm) -> None:
    assert tpm.nv_read_public(0x01C00002) is None
    assert tpm.read_public(0x81000001) is None
    with refused("tpm_error") as info:
        tpm.nv_read(0x01C00002, 10)
    assert info.value.facts["code"] == "0x28b"


def test_other_errors_are_not_taken_for_absence(fake: FakeTpm, tpm: tpm2.Tpm) -> None:
    fake.codes[fakes.NV_READ_PUBLIC] = [0x101]
    fake.codes[fakes.READ_PUBLIC] = [0x101]
    with refused("tpm_error"):
        tpm.nv_read_public(fakes.HCL_REPORT)
    with refused("tpm_error"):
        tpm.read_public(fakes.AK)


@pytest.mark.parametrize(("size", "pieces"), [(64, 1), (1024, 1), (1025, 2), (2048, 2), (2600, 3), (2900, 3)])
def test_reading_in_pieces(size: int, pieces: int, fake: FakeTpm, tpm: tpm2.Tpm) -> None:
    content = bytes(number % 251 for number in range(size))
    fake.nv[0x01800001] = fakes.Nv(0x20002, size, content)
    assert tpm.nv_read(0x01800001, size) == content
    assert tpm.commands == pieces


def test_reading_behind_an_offset(fake: FakeTpm, tpm: tpm2.Tpm) -> None:
    fake.nv[0x01800001] = fakes.Nv(0x20002, 2000, bytes(range(250)) * 8)
    assert tpm.nv_read(0x01800001, 100, 1500) == (bytes(range(250)) * 8)[1500:1600]


def test_an_index_that_gives_nothing(fake: FakeTpm, tpm: tpm2.Tpm) -> None:
    fake.alter[fakes.NV_READ] = lambda _answer: fakes.reply(struct.pack(">IH", 2, 0) + b"\0\0\1\0\0", tag=0x8002)
    with refused("tpm_error"):
        tpm.nv_read(fakes.AK_CERT, 100)


def test_definition_and_writing(fake: FakeTpm, tpm: tpm2.Tpm) -> None:
    tpm.nv_define(fakes.USER_DATA, 64, 0x00060006)
    with refused("tpm_error") as info:
        tpm.nv_read(fakes.USER_DATA, 64)
    assert info.value.facts["name"] == "TPM_RC_NV_UNINITIALIZED"
    tpm.nv_write(fakes.USER_DATA, b"u" * 64)
    assert tpm.nv_read(fakes.USER_DATA, 64) == b"u" * 64
    with refused("tpm_error") as info:
        tpm.nv_define(fakes.USER_DATA, 64, 0x00060006)
    assert info.value.facts["name"] == "TPM_RC_NV_DEFINED"
    tpm.nv_undefine(fakes.USER_DATA)
    assert tpm.nv_read_public(fakes.USER_DATA) is None


# --- PCRs


def test_more_pcrs_than_one_answer_carries(fake: FakeTpm, tpm: tpm2.Tpm) -> None:
    fake.pcrs = [bytes([pcr]) * 32 for pcr in range(24)]
    assert tpm.pcr_read(range(24)) == fake.pcrs
    assert tpm.commands == 3
    assert tpm.pcr_read([3, 11]) == [b"\x03" * 32, b"\x0b" * 32]


def test_a_pcr_that_moves_between_two_readings(fake: FakeTpm, tpm: tpm2.Tpm) -> None:
    moves = [None, lambda: fake.extend(2)]

    def before() -> None:
        move = moves.pop(0) if moves else None
        if move:
            move()

    fake.before[fakes.PCR_READ] = before
    assert tpm.pcr_read(range(24)) == fake.pcrs
    assert fake.pcrs[2] != bytes(32) and tpm.commands == 6


def test_pcrs_that_never_hold_still(fake: FakeTpm, tpm: tpm2.Tpm) -> None:
    fake.before[fakes.PCR_READ] = lambda: fake.extend(2)
    with refused("pcr_changed"):
        tpm.pcr_read(range(24))
    assert tpm.commands <= 9


def test_a_tpm_without_the_bank(fake: FakeTpm, tpm: tpm2.Tpm) -> None:
    fake.pcr_limit = 0
    with refused("tpm_error") as info:
        tpm.pcr_read(PCRS)
    assert "SHA-256 bank" in info.value.message


# --- keys, statements, decryption


def test_the_same_template_gives_the_same_key(tpm: tpm2.Tpm) -> None:
    template = templates.ephemeral_template(bytes(32))
    first, second = (tpm.create_primary(wire.RH_NULL, template) for _time in range(2))
    assert first[0] != second[0] and first[1] == second[1]
    assert wire.rsa_public(first[1]).modulus.bit_length() == 2048


@pytest.mark.parametrize("way", list(WAYS))
def test_decryption(way: str, fake: FakeTpm, tpm: tpm2.Tpm) -> None:
    handle = ephemeral(tpm)
    cipher = encrypted(fake, handle, way)
    assert tpm.rsa_decrypt(handle, cipher, bytes.fromhex(way), PCRS) == b"secret"
    assert fake.sessions == {}, "success ends the session"


@pytest.mark.parametrize("code", [0x101, 0x084, 0x1C4])
def test_a_cipher_for_another_scheme(code: int, fake: FakeTpm, tpm: tpm2.Tpm) -> None:
    fake.fails_with = code
    handle = ephemeral(tpm)
    with refused("tpm_error"):
        tpm.rsa_decrypt(handle, encrypted(fake, handle, OAEP_SHA1), bytes.fromhex(OAEP_SHA256), PCRS)
    assert fake.sessions == {}, "failure leaves the session to us"


def test_a_cipher_of_another_length(fake: FakeTpm, tpm: tpm2.Tpm) -> None:
    with refused("tpm_error") as info:
        tpm.rsa_decrypt(ephemeral(tpm), b"c" * 255, bytes.fromhex(RSAES), PCRS)
    assert info.value.facts["name"] == "TPM_RC_SIZE" and fake.sessions == {}


def test_pcrs_that_moved_since_the_key_was_made(fake: FakeTpm, tpm: tpm2.Tpm) -> None:
    handle = ephemeral(tpm)
    cipher = encrypted(fake, handle, RSAES)
    fake.extend(4)
    with refused("pcr_changed") as info:
        tpm.rsa_decrypt(handle, cipher, bytes.fromhex(RSAES), PCRS)
    assert info.value.facts["name"] == "TPM_RC_POLICY_FAIL" and fake.sessions == {}


def test_pcrs_that_move_between_policy_and_use(fake: FakeTpm, tpm: tpm2.Tpm) -> None:
    handle = ephemeral(tpm)
    cipher = encrypted(fake, handle, RSAES)
    fake.before[fakes.RSA_DECRYPT] = lambda: fake.extend(23)
    with refused("pcr_changed") as info:
        tpm.rsa_decrypt(handle, cipher, bytes.fromhex(RSAES), PCRS)
    assert info.value.facts["name"] == "TPM_RC_PCR_CHANGED" and fake.sessions == {}


def test_a_policy_that_is_refused(fake: FakeTpm, tpm: tpm2.Tpm) -> None:
    handle = ephemeral(tpm)
    fake.codes[fakes.POLICY_PCR] = [0x101]
    with refused("tpm_error"):
        tpm.rsa_decrypt(handle, b"c" * 256, bytes.fromhex(RSAES), PCRS)
    assert fake.sessions == {}


def test_failures_do_not_use_up_the_sessions(fake: FakeTpm, tpm: tpm2.Tpm) -> None:
    handle = ephemeral(tpm)
    for _time in range(10):
        with refused("tpm_error"):
            tpm.rsa_decrypt(handle, b"c" * 256, bytes.fromhex(OAEP_SHA256), PCRS)
    assert tpm.rsa_decrypt(handle, encrypted(fake, handle, RSAES), bytes.fromhex(RSAES), PCRS) == b"secret"


def test_qualifying_data_and_selection_of_a_quote(tpm: tpm2.Tpm) -> None:
    made = tpm.quote(fakes.AK, PCRS, b"nonce")
    digest = hashlib.sha256(bytes(32 * 8)).digest()
    assert b"\0\x05nonce" in made.data and made.data.endswith(wire.selection(PCRS) + b"\0\x20" + digest)
    assert len(made.signature) == 256


# --- leaving


def test_closing_removes_what_is_left(fake: FakeTpm, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_fake(monkeypatch, fake) as tpm:
        ephemeral(tpm)
        ephemeral(tpm)
    assert fake.objects == {} and fake.closed == 1


def test_closing_after_an_exception(fake: FakeTpm, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RuntimeError, match="elsewhere"), open_fake(monkeypatch, fake) as tpm:
        ephemeral(tpm)
        raise RuntimeError("elsewhere")
    assert fake.objects == {} and fake.closed == 1


def test_one_handle_that_is_gone_does_not_keep_the_others(fake: FakeTpm, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_fake(monkeypatch, fake) as tpm:
        first = ephemeral(tpm)
        ephemeral(tpm)
        del fake.objects[first]
    assert fake.objects == {} and fake.closed == 1


def test_closing_a_tpm_that_does_not_answer(fake: FakeTpm, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no error, and one wait is enough whatever is loaded."""
    with open_fake(monkeypatch, fake) as tpm:
        ephemeral(tpm)
        ephemeral(tpm)
        fake.codes[fakes.FLUSH] = [0x922] * 1000
    assert fake.closed == 1 and sum(fake.clock.slept) <= 15


def test_flushing_by_hand(fake: FakeTpm, tpm: tpm2.Tpm) -> None:
    handle = ephemeral(tpm)
    tpm.flush(handle)
    assert fake.objects == {}
    with refused("tpm_error"):
        tpm.flush(handle)
    tpm.discard(handle)  # on the way out of a failure: no second one


@pytest.mark.parametrize("size", [0, 4, 9])
def test_an_answer_without_a_whole_header(size: int, fake: FakeTpm, tpm: tpm2.Tpm) -> None:
    fake.alter[fakes.READ_PUBLIC] = lambda answer: answer[:size]
    with refused("tpm_error"):
        tpm.read_public(fakes.AK)


@pytest.mark.parametrize("cut", [10, 12, 200])
def test_an_answer_shorter_than_it_says(cut: int, fake: FakeTpm, tpm: tpm2.Tpm) -> None:
    fake.alter[fakes.READ_PUBLIC] = lambda answer: answer[:cut]
    with refused("tpm_error") as info:
        tpm.read_public(fakes.AK)
    assert info.value.facts == {"command": "ReadPublic"}


@pytest.mark.parametrize("bits", ["000100", "00ff00", "ff0100"])
def test_pcrs_that_were_not_asked_for(bits: str, fake: FakeTpm, tpm: tpm2.Tpm) -> None:
    count = bin(int(bits, 16)).count("1")

    def other(_answer: bytes) -> bytes:
        head = struct.pack(">IIHB", 7, 1, 11, 3) + bytes.fromhex(bits) + struct.pack(">I", count)
        return fakes.reply(head + fakes.sized(bytes(32)) * count)

    fake.alter[fakes.PCR_READ] = other
    with refused("tpm_error"):
        tpm.pcr_read(PCRS)
    assert fake.counts()[fakes.PCR_READ] == 1
