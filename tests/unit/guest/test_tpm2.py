# SPDX-License-Identifier: GPL-3.0-or-later
"""TPM commands byte for byte (known answers recomputed from the TCG's tables), return codes, transports."""

from __future__ import annotations

import errno
import os
import socket
import struct
import threading
import typing as t
from pathlib import Path

import pytest

from ansible_collections.confidential.azure_skr.plugins.module_utils.guest.tpm2 import (
    Tpm,
    open_tpm,
    rc,
    templates,
    transport,
    wire,
)
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.failure import SkrFailure

PCRS = range(8)


class Script:
    """A TPM that answers from a list and remembers what it was sent."""

    def __init__(self, *answers: bytes) -> None:
        self.answers, self.sent, self.closed = list(answers), [], False

    def transceive(self, command: bytes) -> bytes:
        self.sent.append(command)
        return self.answers.pop(0)

    def close(self) -> None:
        self.closed = True


def ok(parameters: bytes = b"", handle: t.Optional[int] = None, sessions: bool = False) -> bytes:
    body = b"" if handle is None else struct.pack(">I", handle)
    body += struct.pack(">I", len(parameters)) + parameters + b"\0\0\x01\0\0" if sessions else parameters
    return struct.pack(">HII", 0x8002 if sessions else 0x8001, 10 + len(body), 0) + body


def error(code: int) -> bytes:
    return struct.pack(">HII", 0x8001, 10, code)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> t.Callable[..., t.Tuple[Tpm, Script]]:
    def make(*answers: bytes, timeout: float = 0.2) -> t.Tuple[Tpm, Script]:
        made = Script(*answers)
        monkeypatch.setattr(transport, "connect", lambda _device: made)
        return open_tpm("/dev/tpmrm0", timeout), made

    return make


def test_known_answers_of_the_ephemeral_key() -> None:
    """PCRs 0 to 7 all zero."""
    digest = templates.pcr_digest([bytes(32)] * 8)
    assert digest.hex() == "5341e6b2646979a70e57653007a1f310169421ec9bdd9f1a5648f75ade005af1"
    policy = templates.pcr_policy(PCRS, digest)
    assert policy.hex() == "9a72c2e06a93c453a86efb47532e9c7a91dcab018e675919910c58d6a1a5aa78"
    template = templates.ephemeral_template(policy)
    expected = "0001000b000204320020" + policy.hex() + "00100010080000000000" + "0100" + "00" * 256
    assert len(template) == 310 and template.hex() == expected


def test_commands_byte_for_byte(script: t.Any) -> None:
    template = bytes(310)
    tpm, made = script(ok(b"\0\0", 0x80000000, sessions=True), ok(sessions=True))
    with pytest.raises(SkrFailure):
        tpm.create_primary(wire.RH_NULL, template)
        tpm.certify(0x80000000, templates.AK_HANDLE)
    create = "80020000015f00000131" + "40000007" + "00000009" + "400000090000010000" + "000400000000" + "0136"
    assert made.sent[0].hex() == create + template.hex() + "0000" + "00000000"
    certify = "80020000002c00000148" + "80000000" + "81000003" + "00000012" + "400000090000010000" * 2 + "0000" + "0010"
    assert made.sent[1].hex() == certify
    tpm, made = script(ok(sessions=True))
    with pytest.raises(SkrFailure):
        tpm.quote(templates.AK_HANDLE, PCRS)
    quote = (
        "80020000002900000158"
        + "81000003"
        + "00000009"
        + "400000090000010000"
        + "0000"
        + "0010"
        + "00000001000b03ff0000"
    )
    assert made.sent[0].hex() == quote


def test_decryption_is_one_policy_session(script: t.Any) -> None:
    tpm, made = script(
        ok(struct.pack(">I", 0x03000000) + b"\0\x14" + bytes(20)), ok(), ok(b"\0\x05clear", sessions=True)
    )
    assert tpm.rsa_decrypt(0x80000000, bytes(256), b"\x00\x15", list(PCRS)) == b"clear"
    start, policy, decrypt = made.sent
    assert (
        len(start) == 47
        and start.hex().startswith("80010000002f0000017640000007400000070014")
        and start.hex().endswith("0000010010000b")
    )
    assert policy.hex() == "80010000001a0000017f03000000000000000001000b03ff0000"
    assert len(decrypt) == 289 and decrypt.hex().startswith(
        "80020000012100000159800000000000000903000000000000" + "0000"
    )
    assert decrypt.hex().endswith("00150000")
    tpm.close()
    assert made.closed and len(made.sent) == 3  # the TPM has ended the session itself


def test_what_is_left_is_flushed(script: t.Any) -> None:
    """After a refusal the session is still there, and the key too."""
    tpm, made = script(
        ok(b"\0\0", 0x80000000, sessions=True),
        ok(struct.pack(">I", 0x03000000) + b"\0\0"),
        ok(),
        error(0x99D),
        ok(),
        ok(),
    )
    tpm.create_primary(wire.RH_NULL, b"")
    with pytest.raises(SkrFailure) as refused:
        tpm.rsa_decrypt(0x80000000, bytes(256), b"\x00\x15", list(PCRS))
    assert refused.value.reason == "pcr_changed"
    tpm.close()
    flushed = [command[-4:].hex() for command in made.sent if command[6:10].hex() == "00000165"]
    assert sorted(flushed) == ["03000000", "80000000"]


@pytest.mark.parametrize(
    ("code", "reason", "name"),
    [
        (0x18B, "tpm_error", "TPM_RC_HANDLE"),
        (0x28B, "tpm_error", "TPM_RC_HANDLE"),
        (0x14A, "tpm_error", "TPM_RC_NV_UNINITIALIZED"),
        (0x146, "tpm_error", "TPM_RC_NV_RANGE"),
        (0x2D5, "tpm_error", "TPM_RC_SIZE"),
        (0x101, "tpm_error", "TPM_RC_FAILURE"),
        (0x99D, "pcr_changed", "TPM_RC_POLICY_FAIL"),
        (0x128, "pcr_changed", "TPM_RC_PCR_CHANGED"),
        (0x902, "tpm_busy", "TPM_RC_OBJECT_MEMORY"),
        (0x922, "tpm_busy", "TPM_RC_RETRY"),
        (0x921, "tpm_lockout", "TPM_RC_LOCKOUT"),
    ],
)
def test_return_codes(code: int, reason: str, name: str) -> None:
    failure = rc.failure("Quote", code, "/dev/tpmrm0")
    assert failure.reason == reason and failure.facts["name"] == name
    assert "/dev/tpmrm0" in failure.message and f"0x{code:03x}" in failure.message


def test_absent_handles_are_none(script: t.Any) -> None:
    tpm, _made = script(error(0x18B), error(0x18B))
    assert tpm.nv_read_public(templates.NV_HCL_REPORT) is None
    assert tpm.read_public(templates.AK_HANDLE) is None


def test_nv_is_read_in_pieces_from_the_start(script: t.Any) -> None:
    pieces = [ok(wire.sized(bytes([n]) * size), sessions=True) for n, size in enumerate((1024, 1024, 552))]
    tpm, made = script(*pieces)
    assert len(tpm.nv_read(templates.NV_HCL_REPORT, 2600)) == 2600
    assert [command[-4:].hex() for command in made.sent] == ["04000000", "04000400", "02280800"]
    assert tpm.commands == 3


def test_pcrs_are_read_again_when_they_move(script: t.Any) -> None:
    def answer(counter: int, first: int, count: int) -> bytes:
        bits = sum(1 << pcr for pcr in range(first, first + count)).to_bytes(3, "little")
        head = struct.pack(">I", counter) + bytes.fromhex("00000001000b03") + bits + struct.pack(">I", count)
        return ok(head + b"".join(wire.sized(bytes([pcr]) * 32) for pcr in range(first, first + count)))

    tpm, made = script(answer(1, 0, 8), answer(2, 8, 2), answer(2, 0, 8), answer(2, 8, 2))
    assert tpm.pcr_read(range(10)) == [bytes([pcr]) * 32 for pcr in range(10)] and len(made.sent) == 4
    tpm, _made = script(*[answer(n, 0 if n % 2 == 0 else 8, 8 if n % 2 == 0 else 2) for n in range(6)])
    with pytest.raises(SkrFailure) as moved:
        tpm.pcr_read(range(10))
    assert moved.value.reason == "pcr_changed"


def test_an_answer_cut_short(script: t.Any) -> None:
    for answer in (b"", b"\x80\x01", ok(b"\0\xff")):
        tpm, _made = script(answer)
        with pytest.raises(SkrFailure) as failure:
            tpm.read_public(templates.AK_HANDLE)
        assert failure.value.reason == "tpm_error"


def test_retry_is_bounded(script: t.Any) -> None:
    tpm, made = script(error(0x922), ok(wire.sized(b"public")))
    assert tpm.read_public(1) == b"public" and len(made.sent) == 2
    tpm, _made = script(*[error(0x922)] * 50, timeout=0.1)
    with pytest.raises(SkrFailure) as busy:
        tpm.read_public(1)
    assert busy.value.reason == "tpm_busy"


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.ENOENT, "tpm_missing"),
        (errno.EACCES, "tpm_permission"),
        (errno.EBUSY, "tpm_busy"),
        (errno.EIO, "tpm_error"),
    ],
)
def test_opening(monkeypatch: pytest.MonkeyPatch, number: int, reason: str) -> None:
    def refuse(_device: str) -> t.NoReturn:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(transport, "connect", refuse)
    with pytest.raises(SkrFailure) as failure:
        open_tpm("/dev/tpm0", 0.2)
    assert failure.value.reason == reason and "/dev/tpm0" in failure.value.message


def test_a_device_may_answer_in_pieces(tmp_path: Path) -> None:
    """Header first, then the rest; as the kernel allows and as a FIFO pair shows it."""
    answer = ok(wire.sized(b"x" * 100))

    class Pieces(transport.DeviceFile):
        def __init__(self) -> None:
            self._fd, self._other = (end.detach() for end in socket.socketpair())

    device = Pieces()

    def serve() -> None:
        os.read(device._other, 4096)
        for piece in (answer[:10], answer[10:40], answer[40:]):
            os.write(device._other, piece)
            threading.Event().wait(0.02)

    thread = threading.Thread(target=serve)
    thread.start()
    assert device.transceive(wire.command(wire.CC_READ_PUBLIC, [1])) == answer
    thread.join()
    os.close(device._other)
    device.close()


def test_a_bad_address_is_an_option_error() -> None:
    with pytest.raises(SkrFailure) as failure:
        open_tpm("tcp:nowhere")
    assert failure.value.reason == "invalid_input" and "tpm_device" in failure.value.message
