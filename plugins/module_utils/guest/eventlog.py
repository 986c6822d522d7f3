# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The TCG event log of measured boot: decode, replay, secure-boot state.

Format: TCG PC Client Platform Firmware Profile, sections "Crypto Agile Log Entry Format" and "Event Types".
Everything is little-endian.
"""

from __future__ import annotations

import hashlib
import struct
import typing as t

from ..policy.failure import SkrFailure

EV_NO_ACTION = 0x00000003
EV_EFI_VARIABLE_DRIVER_CONFIG = 0x80000001
ALG_SHA256 = 0x000B
FIRMWARE = 8  # PCRs below this are extended by firmware alone, with an event for each; others also by an OS without one
_SPEC_ID = b"Spec ID Event03\0"
_LOCALITY = b"StartupLocality\0"


class Event(t.NamedTuple):
    """One record; ``digests`` maps the TPM algorithm id to the digest."""

    pcr: int
    kind: int
    digests: t.Dict[int, bytes]
    data: bytes


def decode(log: bytes) -> t.List[Event]:
    """All events of a crypto-agile log. Raises SkrFailure ``invalid_input``."""
    try:
        return list(_decode(log))
    except (struct.error, IndexError, KeyError) as error:
        raise SkrFailure("invalid_input", "The event log is damaged: a record runs past its end.") from error


def _decode(log: bytes) -> t.Iterator[Event]:
    pcr, kind, digest, size = struct.unpack_from("<II20sI", log, 0)
    data, at = log[32 : 32 + size], 32 + size
    if kind != EV_NO_ACTION or data[:16] != _SPEC_ID:
        raise SkrFailure("invalid_input", "The event log is not crypto-agile: it lacks the Spec ID event.")
    yield Event(pcr, kind, {}, data)
    sizes = {}
    for index in range(struct.unpack_from("<I", data, 24)[0]):
        algorithm, length = struct.unpack_from("<HH", data, 28 + 4 * index)
        sizes[algorithm] = length
    while at < len(log):
        pcr, kind, count = struct.unpack_from("<III", log, at)
        if kind == 0 and pcr == 0 and count == 0:  # zeros behind the last record
            return
        at += 12
        digests = {}
        for _index in range(count):
            algorithm = struct.unpack_from("<H", log, at)[0]
            at += 2
            digests[algorithm] = log[at : at + sizes[algorithm]]
            at += sizes[algorithm]
        size = struct.unpack_from("<I", log, at)[0]
        if at + 4 + size > len(log):
            raise IndexError
        yield Event(pcr, kind, digests, log[at + 4 : at + 4 + size])
        at += 4 + size


def replay(events: t.Iterable[Event], algorithm: int = ALG_SHA256, name: str = "sha256") -> t.Dict[int, bytes]:
    """The PCR values that the events lead to, for every PCR they touch."""
    values: t.Dict[int, bytes] = {}
    size = hashlib.new(name).digest_size
    for event in events:
        if event.kind == EV_NO_ACTION:
            if event.pcr == 0 and event.data[:16] == _LOCALITY:
                values[0] = bytes(size - 1) + event.data[16:17]
            continue
        if algorithm in event.digests:
            old = values.get(event.pcr, bytes(size))
            values[event.pcr] = hashlib.new(name, old + event.digests[algorithm]).digest()
    return values


def secure_boot(events: t.Iterable[Event]) -> t.Optional[bool]:
    """The SecureBoot variable as measured into PCR 7; None when it was not measured."""
    for event in events:
        if event.pcr != 7 or event.kind != EV_EFI_VARIABLE_DRIVER_CONFIG or len(event.data) < 32:
            continue
        name_length, data_length = struct.unpack_from("<QQ", event.data, 16)
        name = event.data[32 : 32 + 2 * name_length].decode("utf-16-le", "replace")
        if name == "SecureBoot":
            return event.data[32 + 2 * name_length :][:data_length] == b"\x01"
    return None


def compare(replayed: t.Mapping[int, bytes], values: t.Mapping[int, bytes]) -> t.List[int]:
    """The PCRs whose live value is not the one that the log leads to; one without events stays at zeros."""
    return sorted(pcr for pcr, value in values.items() if replayed.get(pcr, bytes(len(value))) != value)


def summary(log: bytes, values: t.Mapping[int, bytes]) -> t.Dict[str, t.Any]:
    """Public facts of a log and the live PCRs. A damaged log is a fact too: the service judges it, not this VM."""
    if not log:
        return {"present": False}
    try:
        events = decode(log)
        replayed = replay(events)
        state = secure_boot(events)
    except SkrFailure as error:
        return {"present": True, "error": error.message}
    differing = compare(replayed, values)
    return {
        "present": True,
        "events": len(events),
        "secure_boot": state,
        "matches_pcrs": not any(pcr < FIRMWARE for pcr in differing),
        "differing_pcrs": {
            str(pcr): {"log": replayed.get(pcr, bytes(32)).hex(), "tpm": values[pcr].hex()} for pcr in differing
        },
    }
