# SPDX-License-Identifier: GPL-3.0-or-later
"""Check 8: the event log replays to the quoted PCRs; secure boot is what PCR 7's events say."""

from __future__ import annotations

import hashlib
import struct

from .errors import invalid


def check(log: bytes, pcrs: dict[int, bytes]) -> bool | None:
    """Whether the VM booted securely; None when the log is empty. Raises Refusal."""
    if not log:
        return None
    try:
        replayed, secure = _replay(log)
    except (struct.error, IndexError, KeyError):
        raise invalid("8.log_format", "TcgLogs is not a crypto-agile event log.") from None
    for pcr, value in replayed.items():
        if pcr in pcrs and pcrs[pcr] != value:
            raise invalid("8.log_replay", f"TcgLogs does not replay to PCR {pcr}.")
    return secure if 7 in pcrs else None  # events of a PCR that is not quoted prove nothing


def _replay(log: bytes) -> tuple[dict[int, bytes], bool | None]:
    _pcr, kind, size = struct.unpack_from("<II20xI", log)
    spec = log[32 : 32 + size]
    if kind != 3 or spec[:16] != b"Spec ID Event03\0":
        raise KeyError("no Spec ID event")
    count = struct.unpack_from("<I", spec, 24)[0]
    sizes = dict(struct.unpack_from("<HH", spec, 28 + 4 * number) for number in range(count))
    values: dict[int, bytes] = {}
    secure: bool | None = None
    at = 32 + size
    while at < len(log):
        pcr, kind, count = struct.unpack_from("<III", log, at)
        at += 12
        digest = b""
        for _number in range(count):
            algorithm = struct.unpack_from("<H", log, at)[0]
            if algorithm == 0x000B:
                digest = log[at + 2 : at + 34]
            at += 2 + sizes[algorithm]
        length = struct.unpack_from("<I", log, at)[0]
        data = log[at + 4 : at + 4 + length]
        if len(data) != length:
            raise IndexError
        at += 4 + length
        if kind == 3:
            if pcr == 0 and data.startswith(b"StartupLocality\0"):
                values[0] = bytes(31) + data[16:17]
            continue
        values[pcr] = hashlib.sha256(values.get(pcr, bytes(32)) + digest).digest()
        if pcr == 7 and kind == 0x80000001 and secure is None:
            secure = _secure_boot(data, digest)
    return values, secure


def _secure_boot(data: bytes, digest: bytes) -> bool | None:
    if hashlib.sha256(data).digest() != digest:  # the digest was extended, not the data
        raise invalid("8.log_data", "An event's data do not have its digest.")
    name_size, data_size = struct.unpack_from("<QQ", data, 16)
    if data[32 : 32 + 2 * name_size].decode("utf-16-le", "replace") != "SecureBoot":
        return None
    return data[32 + 2 * name_size :][:data_size] == b"\x01"
