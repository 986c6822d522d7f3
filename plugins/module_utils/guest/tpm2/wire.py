# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Marshalling of TPM 2.0 commands and structures (TCG TPM 2.0 Library, Part 2 and Part 3). Everything is big-endian."""

from __future__ import annotations

import struct
import typing as t

from ...policy.failure import SkrFailure

ST_NO_SESSIONS, ST_SESSIONS = 0x8001, 0x8002
RH_OWNER, RH_NULL, RH_ENDORSEMENT = 0x40000001, 0x40000007, 0x4000000B
RS_PW = 0x40000009
ALG_RSA, ALG_SHA1, ALG_SHA256, ALG_SHA384, ALG_NULL = 0x0001, 0x0004, 0x000B, 0x000C, 0x0010
ALG_RSASSA, ALG_RSAES, ALG_OAEP = 0x0014, 0x0015, 0x0017
HASHES = {"sha1": ALG_SHA1, "sha256": ALG_SHA256, "sha384": ALG_SHA384}

CC_NV_UNDEFINE_SPACE, CC_NV_DEFINE_SPACE, CC_CREATE_PRIMARY = 0x122, 0x12A, 0x131
CC_NV_WRITE, CC_CERTIFY, CC_NV_READ, CC_QUOTE = 0x137, 0x148, 0x14E, 0x158
CC_RSA_DECRYPT, CC_FLUSH_CONTEXT, CC_NV_READ_PUBLIC, CC_READ_PUBLIC = 0x159, 0x165, 0x169, 0x173
CC_START_AUTH_SESSION, CC_PCR_READ, CC_POLICY_PCR = 0x176, 0x17E, 0x17F
COMMANDS = {
    CC_NV_UNDEFINE_SPACE: "NV_UndefineSpace",
    CC_NV_DEFINE_SPACE: "NV_DefineSpace",
    CC_CREATE_PRIMARY: "CreatePrimary",
    CC_NV_WRITE: "NV_Write",
    CC_CERTIFY: "Certify",
    CC_NV_READ: "NV_Read",
    CC_QUOTE: "Quote",
    CC_RSA_DECRYPT: "RSA_Decrypt",
    CC_FLUSH_CONTEXT: "FlushContext",
    CC_NV_READ_PUBLIC: "NV_ReadPublic",
    CC_READ_PUBLIC: "ReadPublic",
    CC_START_AUTH_SESSION: "StartAuthSession",
    CC_PCR_READ: "PCR_Read",
    CC_POLICY_PCR: "PolicyPCR",
}

# An authorization area with the empty password: TPMS_AUTH_COMMAND of TPM_RS_PW, no nonce, continueSession, no HMAC.
PASSWORD = struct.pack(">IHBH", RS_PW, 0, 1, 0)


def sized(data: bytes) -> bytes:
    """A TPM2B: two bytes of length, then the data."""
    return struct.pack(">H", len(data)) + data


def command(code: int, handles: t.Sequence[int] = (), auths: t.Sequence[bytes] = (), parameters: bytes = b"") -> bytes:
    """One whole command."""
    body = b"".join(struct.pack(">I", handle) for handle in handles)
    if auths:
        area = b"".join(auths)
        body += struct.pack(">I", len(area)) + area
    body += parameters
    return struct.pack(">HII", ST_SESSIONS if auths else ST_NO_SESSIONS, 10 + len(body), code) + body


def policy_auth(session: int) -> bytes:
    """An authorization area with a policy session; continueSession is clear, so the TPM ends it on success."""
    return struct.pack(">IHBH", session, 0, 0, 0)


def selection(pcrs: t.Iterable[int]) -> bytes:
    """TPML_PCR_SELECTION of one SHA-256 bank with three bytes of bits."""
    bits = sum(1 << pcr for pcr in set(pcrs))
    return struct.pack(">IHB", 1, ALG_SHA256, 3) + bits.to_bytes(3, "little")


class Reader:
    """Takes a response apart; running past the end is ``tpm_error``, never an IndexError."""

    def __init__(self, data: bytes, what: str) -> None:
        self._data, self._at, self._what = data, 0, what

    def take(self, size: int) -> bytes:
        piece = self._data[self._at : self._at + size]
        if len(piece) != size:
            raise SkrFailure(
                "tpm_error",
                f"The TPM's answer to {self._what} is shorter than its own lengths say.",
                {"command": self._what},
            )
        self._at += size
        return piece

    def u8(self) -> int:
        return self.take(1)[0]

    def u16(self) -> int:
        return int(struct.unpack(">H", self.take(2))[0])

    def u32(self) -> int:
        return int(struct.unpack(">I", self.take(4))[0])

    def u64(self) -> int:
        return int(struct.unpack(">Q", self.take(8))[0])

    def sized(self) -> bytes:
        return self.take(self.u16())

    @property
    def rest(self) -> bytes:
        return self._data[self._at :]


class RsaPublic(t.NamedTuple):
    """The parts of a TPMT_PUBLIC of an RSA key (TPM 2.0 Part 2, 12.2.4)."""

    name_alg: int
    attributes: int
    policy: bytes
    symmetric: int
    scheme: int
    scheme_hash: int
    bits: int
    exponent: int
    modulus: int


def rsa_public(area: bytes, what: str = "ReadPublic") -> RsaPublic:
    """Parse a TPMT_PUBLIC. Raises SkrFailure ``tpm_error`` when it is not an RSA key."""
    reader = Reader(area, what)
    kind, name_alg, attributes, policy = reader.u16(), reader.u16(), reader.u32(), reader.sized()
    if kind != ALG_RSA:
        raise SkrFailure(
            "tpm_error", f"The TPM key is of algorithm 0x{kind:04x}, wanted RSA (0x0001).", {"command": what}
        )
    symmetric = reader.u16()
    if symmetric != ALG_NULL:
        reader.take(4)  # key bits and mode
    scheme = reader.u16()
    scheme_hash = reader.u16() if scheme != ALG_NULL else ALG_NULL
    bits, exponent = reader.u16(), reader.u32()
    modulus = int.from_bytes(reader.sized(), "big")
    return RsaPublic(name_alg, attributes, policy, symmetric, scheme, scheme_hash, bits, exponent or 65537, modulus)
