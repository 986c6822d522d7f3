# SPDX-License-Identifier: GPL-3.0-or-later
"""As much TPM 2.0 marshalling as the lab needs to provision a TPM and to look into its traffic."""

from __future__ import annotations

import struct

CREATE_PRIMARY, EVICT_CONTROL, NV_DEFINE, NV_UNDEFINE = 0x131, 0x120, 0x12A, 0x122
NV_WRITE, NV_READ, NV_READ_PUBLIC, READ_PUBLIC, RSA_DECRYPT = 0x137, 0x14E, 0x169, 0x173, 0x159
PCR_EXTEND, PCR_READ, FLUSH, START_SESSION, LOAD, LOAD_EXTERNAL, CONTEXT_LOAD = (
    0x182,
    0x17E,
    0x165,
    0x176,
    0x157,
    0x167,
    0x161,
)
MAKES_HANDLE = {CREATE_PRIMARY, START_SESSION, LOAD, LOAD_EXTERNAL, CONTEXT_LOAD}
OWNER, ENDORSEMENT = 0x40000001, 0x4000000B
PASSWORD = bytes.fromhex("40000009000001 0000".replace(" ", ""))
NAMES = {
    CREATE_PRIMARY: "CreatePrimary", NV_DEFINE: "NV_DefineSpace", NV_UNDEFINE: "NV_UndefineSpace", NV_WRITE: "NV_Write",
    NV_READ: "NV_Read", NV_READ_PUBLIC: "NV_ReadPublic", READ_PUBLIC: "ReadPublic", PCR_READ: "PCR_Read", FLUSH: "FlushContext",
    START_SESSION: "StartAuthSession", 0x158: "Quote", 0x148: "Certify", RSA_DECRYPT: "RSA_Decrypt", 0x17F: "PolicyPCR",
    0x17A: "GetCapability", 0x17B: "GetRandom", 0x189: "PolicyGetDigest", PCR_EXTEND: "PCR_Extend", 0x120: "EvictControl",
}  # fmt: skip


class TpmError(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(f"TPM_RC 0x{code:03x}")
        self.code = code


def command(code: int, handles: list[int], auth: bytes = b"", parameters: bytes = b"") -> bytes:
    body = b"".join(struct.pack(">I", handle) for handle in handles)
    if auth:
        body += struct.pack(">I", len(auth)) + auth
    body += parameters
    return struct.pack(">HII", 0x8002 if auth else 0x8001, 10 + len(body), code) + body


def sized(data: bytes) -> bytes:
    return struct.pack(">H", len(data)) + data


def code_of(message: bytes) -> int:
    """Command code of a command, or return code of a response."""
    return int(struct.unpack_from(">I", message, 6)[0]) if len(message) >= 10 else 0


def error(code: int) -> bytes:
    return struct.pack(">HII", 0x8001, 10, code)


def payload(response: bytes) -> bytes:
    """What stands behind the header. Raises TpmError on a refusal."""
    if code_of(response):
        raise TpmError(code_of(response))
    return response[10:]


def rsa_modulus(public: bytes) -> int:
    """The modulus of a TPMT_PUBLIC of an RSA-2048 key: its last 256 bytes."""
    return int.from_bytes(public[-256:], "big")


# Restricted RSASSA-SHA256 signing key with empty policy, as the paravisor makes it.
AK_TEMPLATE = bytes.fromhex("0001000b00050472000000100014000b0800000000000000")
# The TCG's low-range template L-1 for an RSA-2048 endorsement key.
EK_TEMPLATE = bytes.fromhex(
    "0001000b000300b20020837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa00060080004300100800000000000100"
) + bytes(256)
