# SPDX-License-Identifier: GPL-3.0-or-later
"""A TPM in this process: real keys, policies and signatures, and every answer can be made wrong.

Written from the TPM 2.0 Library (Parts 2 and 3) without the client's marshalling.
"""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import struct
import typing as t

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from unit.guest.silicon_fakes import Host, certificate, hcl_blob, modulus_of, rsa_key, runtime_data, spki

from ansible_collections.confidential.azure_skr.plugins.module_utils.guest import tpm2
from ansible_collections.confidential.azure_skr.plugins.module_utils.guest.tpm2 import client, transport

HCL_REPORT, USER_DATA, AK_CERT, AK = 0x01400001, 0x01400002, 0x01C101D0, 0x81000003
NV_UNDEFINE, NV_DEFINE, CREATE_PRIMARY, NV_WRITE, CERTIFY, NV_READ = 0x122, 0x12A, 0x131, 0x137, 0x148, 0x14E
QUOTE, RSA_DECRYPT, FLUSH, NV_READ_PUBLIC, READ_PUBLIC = 0x158, 0x159, 0x165, 0x169, 0x173
START_SESSION, PCR_READ, POLICY_PCR = 0x176, 0x17E, 0x17F
AK_HEAD = bytes.fromhex("0001000b00050472000000100014000b0800000000000100")
HASHES: t.Dict[int, t.Callable[[], hashes.HashAlgorithm]] = {4: hashes.SHA1, 11: hashes.SHA256, 12: hashes.SHA384}


def sized(data: bytes) -> bytes:
    return struct.pack(">H", len(data)) + data


def reply(body: bytes = b"", code: int = 0, tag: int = 0x8001) -> bytes:
    return struct.pack(">HII", tag, 10 + len(body), code) + body


def public_area(key: rsa.RSAPrivateKey) -> bytes:
    return AK_HEAD + modulus_of(key).to_bytes(256, "big")


class Refused(Exception):
    """An answer with a return code."""


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: t.List[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@dataclasses.dataclass
class Nv:
    attributes: int
    size: int
    content: t.Optional[bytes] = None


class FakeTpm:
    """``before[code]`` is called ahead of a command, ``codes[code]`` are return codes to give first (0: none),
    ``alter[code]`` rewrites an answer. ``sent`` holds every command, ``objects`` and ``sessions`` what is loaded."""

    def __init__(self, clock: t.Optional[Clock] = None, host: t.Optional[Host] = None) -> None:
        self.clock, self.host = clock or Clock(), host or Host()
        self.ak = rsa_key("ak")
        self.pcrs = [bytes(32)] * 24
        self.counter = 7
        self.objects: t.Dict[int, t.Tuple[rsa.RSAPrivateKey, bytes]] = {}
        self.sessions: t.Dict[int, t.Tuple[bytes, int]] = {}
        self.nv: t.Dict[int, Nv] = {HCL_REPORT: Nv(0x62060004, 2600), AK_CERT: Nv(0x62060004, 4096)}
        self.nv[AK_CERT].content = ak_certificate(self.ak).ljust(4096, b"\0")
        self.persistent: t.Dict[int, bytes] = {AK: public_area(self.ak)}
        self.make_report: t.Callable[[bytes], bytes] = self.report
        self.renewed = 0.0
        self.sent: t.List[bytes] = []
        self.before: t.Dict[int, t.Callable[[], None]] = {}
        self.codes: t.Dict[int, t.List[int]] = collections.defaultdict(list)
        self.alter: t.Dict[int, t.Callable[[bytes], bytes]] = {}
        self.closed = 0
        self.fails_with = 0x101
        self.qualify = b"\x00\x0b" + bytes(32)
        self.pcr_limit = 8

    def report(self, user_data: bytes) -> bytes:
        runtime = runtime_data(modulus_of(self.ak), user_data)
        return hcl_blob(self.host.report(hashlib.sha256(runtime).digest()), runtime, self.nv[HCL_REPORT].size)

    def extend(self, pcr: int) -> None:
        self.pcrs[pcr] = hashlib.sha256(self.pcrs[pcr] + bytes(32)).digest()
        self.counter += 1

    def counts(self) -> t.Counter[int]:
        return collections.Counter(struct.unpack_from(">I", command, 6)[0] for command in self.sent)

    # --- transport

    def close(self) -> None:
        self.closed += 1

    def transceive(self, command: bytes) -> bytes:
        self.sent.append(command)
        tag, size, code = struct.unpack_from(">HII", command)
        assert size == len(command), "the command's own length is wrong"
        self.before.get(code, lambda: None)()
        if self.codes[code] and (status := self.codes[code].pop(0)):
            return reply(code=status)
        try:
            body = self._dispatch(code, command[10:], tag)
        except Refused as error:
            return reply(code=error.args[0])
        return self.alter.get(code, lambda answer: answer)(body)

    def _dispatch(self, code: int, body: bytes, tag: int) -> bytes:
        handles = {
            NV_UNDEFINE: 2, NV_DEFINE: 1, CREATE_PRIMARY: 1, NV_WRITE: 2, CERTIFY: 2, NV_READ: 2, QUOTE: 1,
            RSA_DECRYPT: 1, NV_READ_PUBLIC: 1, READ_PUBLIC: 1, START_SESSION: 2, POLICY_PCR: 1,
        }.get(code, 0)  # fmt: skip
        named = struct.unpack_from(f">{handles}I", body)
        rest, auths = body[4 * handles :], b""
        if tag == 0x8002:
            length = struct.unpack_from(">I", rest)[0]
            auths, rest = rest[4 : 4 + length], rest[4 + length :]
        handle, parameters = getattr(self, f"_on_{code:x}")(named, auths, rest)
        if tag == 0x8001:
            return reply(handle + parameters)
        return reply(handle + struct.pack(">I", len(parameters)) + parameters + b"\0\0\1\0\0", tag=0x8002)

    # --- NV

    def _on_169(self, handles: t.Sequence[int], _auths: bytes, _rest: bytes) -> t.Tuple[bytes, bytes]:
        index = self.nv.get(handles[0])
        if index is None:
            raise Refused(0x18B)
        public = struct.pack(">IHI", handles[0], 11, index.attributes) + sized(b"") + struct.pack(">H", index.size)
        return b"", sized(public) + sized(b"\0\x0b" + hashlib.sha256(public).digest())

    def _on_14e(self, handles: t.Sequence[int], auths: bytes, rest: bytes) -> t.Tuple[bytes, bytes]:
        assert handles[0] == 0x40000001 and auths == bytes.fromhex("400000090000010000")
        size, offset = struct.unpack(">HH", rest)
        index = self.nv.get(handles[1])
        if index is None:
            raise Refused(0x28B)
        if handles[1] == HCL_REPORT and offset == 0 and self.clock.now - self.renewed > 2:
            written = self.nv.get(USER_DATA)
            self.renewed = self.clock.now
            index.content = self.make_report((written and written.content) or bytes(64))
        if index.content is None:
            raise Refused(0x14A)
        if size > 1024:
            raise Refused(0x1C4)
        if offset + size > index.size:
            raise Refused(0x146)
        return b"", sized(index.content[offset : offset + size])

    def _on_12a(self, handles: t.Sequence[int], _auths: bytes, rest: bytes) -> t.Tuple[bytes, bytes]:
        assert rest[:2] == b"\0\0", "no index password"
        index, _algorithm, attributes, _policy, size = struct.unpack(">IHIHH", rest[4:])
        if index in self.nv:
            raise Refused(0x14C)
        self.nv[index] = Nv(attributes, size)
        return b"", b""

    def _on_122(self, handles: t.Sequence[int], _auths: bytes, _rest: bytes) -> t.Tuple[bytes, bytes]:
        if self.nv[handles[1]].attributes & 0x40000000:
            raise Refused(0x149)
        del self.nv[handles[1]]
        return b"", b""

    def _on_137(self, handles: t.Sequence[int], _auths: bytes, rest: bytes) -> t.Tuple[bytes, bytes]:
        length = struct.unpack_from(">H", rest)[0]
        offset = struct.unpack_from(">H", rest, 2 + length)[0]
        index = self.nv[handles[1]]
        if not index.attributes & 0x2:
            raise Refused(0x149)
        if length > 1024 or offset + length > index.size:
            raise Refused(0x146)
        old = index.content or bytes(index.size)
        index.content = old[:offset] + rest[2 : 2 + length] + old[offset + length :]
        return b"", b""

    # --- keys

    def _on_173(self, handles: t.Sequence[int], _auths: bytes, _rest: bytes) -> t.Tuple[bytes, bytes]:
        if handles[0] not in self.persistent:
            raise Refused(0x18B)
        return b"", sized(self.persistent[handles[0]]) + sized(b"\0\x0b" + bytes(32)) * 2

    def _on_131(self, handles: t.Sequence[int], _auths: bytes, rest: bytes) -> t.Tuple[bytes, bytes]:
        assert rest[:6] == bytes.fromhex("000400000000")
        length = struct.unpack_from(">H", rest, 6)[0]
        template = rest[8 : 8 + length]
        if len(self.objects) >= 3:
            raise Refused(0x902)
        key = rsa_key("ephemeral" + template.hex())
        area = template[:-256] + modulus_of(key).to_bytes(256, "big")
        handle = next(number for number in range(0x80000000, 0x80000009) if number not in self.objects)
        self.objects[handle] = (key, area)
        return struct.pack(">I", handle), sized(area) + sized(b"creation data")

    def _on_165(self, _handles: t.Sequence[int], _auths: bytes, rest: bytes) -> t.Tuple[bytes, bytes]:
        handle = struct.unpack(">I", rest)[0]
        if self.objects.pop(handle, None) is None and self.sessions.pop(handle, None) is None:
            raise Refused(0x1CB)
        return b"", b""

    # --- PCRs and statements

    def _digest(self, selection: bytes) -> bytes:
        return hashlib.sha256(b"".join(self.pcrs[pcr] for pcr in selected(selection))).digest()

    def _on_17e(self, _handles: t.Sequence[int], _auths: bytes, rest: bytes) -> t.Tuple[bytes, bytes]:
        pcrs = selected(rest)[: self.pcr_limit]
        bits = sum(1 << pcr for pcr in pcrs)
        values = b"".join(sized(self.pcrs[pcr]) for pcr in pcrs)
        head = struct.pack(">IIHB", self.counter, 1, 11, 3) + bits.to_bytes(3, "little")
        return b"", head + struct.pack(">I", len(pcrs)) + values

    def _statement(self, kind: int, extra: bytes, body: bytes) -> t.Tuple[bytes, bytes]:
        data = b"\xffTCG" + struct.pack(">H", kind) + sized(self.qualify) + sized(extra)
        data += struct.pack(">QIIBQ", 123456, 3, 1, 1, 0x2020031200120003) + body
        signature = self.ak.sign(data, padding.PKCS1v15(), hashes.SHA256())
        return b"", sized(data) + struct.pack(">HH", 0x14, 0x0B) + sized(signature)

    def _on_158(self, handles: t.Sequence[int], _auths: bytes, rest: bytes) -> t.Tuple[bytes, bytes]:
        assert handles == (AK,)
        extra = rest[2 : 2 + struct.unpack_from(">H", rest)[0]]
        selection = rest[4 + len(extra) :]
        return self._statement(0x8018, extra, selection + sized(self._digest(selection)))

    def _on_148(self, handles: t.Sequence[int], auths: bytes, rest: bytes) -> t.Tuple[bytes, bytes]:
        assert handles[1] == AK and len(auths) == 18
        extra = rest[2 : 2 + struct.unpack_from(">H", rest)[0]]
        named = b"\x00\x0b" + hashlib.sha256(self.objects[handles[0]][1]).digest()
        return self._statement(0x8017, extra, sized(named) + sized(b"\x00\x0b" + bytes(32)))

    # --- policy and decryption

    def _on_176(self, handles: t.Sequence[int], _auths: bytes, _rest: bytes) -> t.Tuple[bytes, bytes]:
        if len(self.sessions) >= 3:
            raise Refused(0x903)
        handle = next(number for number in range(0x03000000, 0x03000009) if number not in self.sessions)
        self.sessions[handle] = (bytes(32), self.counter)
        return struct.pack(">I", handle), sized(bytes(20))

    def _on_17f(self, handles: t.Sequence[int], _auths: bytes, rest: bytes) -> t.Tuple[bytes, bytes]:
        assert rest[:2] == b"\0\0"
        old = self.sessions[handles[0]][0]
        digest = hashlib.sha256(old + struct.pack(">I", POLICY_PCR) + rest[2:] + self._digest(rest[2:])).digest()
        self.sessions[handles[0]] = (digest, self.counter)
        return b"", b""

    def _on_159(self, handles: t.Sequence[int], auths: bytes, rest: bytes) -> t.Tuple[bytes, bytes]:
        session = struct.unpack_from(">I", auths)[0]
        if session not in self.sessions:
            raise Refused(0x12F)  # a password
        policy, counter = self.sessions[session]
        key, area = self.objects[handles[0]]
        if counter != self.counter:
            raise Refused(0x128)
        if area[10:42] != policy:
            raise Refused(0x99D)
        cipher = rest[2 : 2 + struct.unpack_from(">H", rest)[0]]
        if len(cipher) != 256:
            raise Refused(0x095)
        scheme = struct.unpack_from(">HH", rest, 258)
        way: t.Any = padding.PKCS1v15()
        if scheme[0] == 0x17:
            made = HASHES[scheme[1]]
            way = padding.OAEP(padding.MGF1(made()), made(), None)
        try:
            message = key.decrypt(cipher, way)
        except ValueError:
            raise Refused(self.fails_with) from None
        if not auths[6] & 1:  # continueSession
            del self.sessions[session]
        return b"", sized(message)


def selected(selection: bytes) -> t.List[int]:
    assert selection[:7] == bytes.fromhex("00000001000b03") and len(selection) == 10
    bits = int.from_bytes(selection[7:], "little")
    return [pcr for pcr in range(24) if bits >> pcr & 1]


def ak_certificate(key: rsa.RSAPrivateKey, **dates: float) -> bytes:
    """A certificate of the attestation key as Azure gives it."""
    subject, issuer = "0123abcd.TrustedVM.Azure.Microsoft", "Global Virtual TPM CA - 01"
    return certificate(subject, issuer, spki(key), rsa_key("vtpm-ca"), serial=77, algorithm="rsa", **dates)


def install(monkeypatch: pytest.MonkeyPatch, fake: FakeTpm) -> None:
    """Every opening of a TPM reaches the fake, and waiting costs no time."""
    monkeypatch.setattr(transport, "connect", lambda _device: fake)
    for room in (client, transport):
        monkeypatch.setattr(room, "time", fake.clock)


def open_fake(monkeypatch: pytest.MonkeyPatch, fake: FakeTpm, patience: float = 15.0) -> tpm2.Tpm:
    install(monkeypatch, fake)
    return tpm2.open_tpm("unix:/fake", patience)
