# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A TPM as an object with the few commands that attestation and release need."""

from __future__ import annotations

import contextlib
import os
import struct
import time
import typing as t

from ...policy.failure import SkrFailure
from . import rc, transport, wire

_NV_CHUNK = 1024  # MAX_NV_BUFFER_SIZE of the reference implementation
_PCR_READ_ROUNDS = 3


class NvPublic(t.NamedTuple):
    """What NV_ReadPublic says of an index."""

    attributes: int
    size: int


class Attest(t.NamedTuple):
    """A signed statement of the TPM: TPMS_ATTEST without its size prefix, and the bare RSASSA signature."""

    data: bytes
    signature: bytes


class Tpm:
    """One opening of a TPM. Counts what it does; on ``close`` it flushes what it left inside the TPM."""

    def __init__(self, device: str, busy_timeout: float) -> None:
        self.device = device
        self._timeout = busy_timeout
        self._loaded: t.List[int] = []
        self.commands = 0
        self.created = 0
        self.opens = 1
        self._transport, _tries = transport.open_patiently(device, busy_timeout)

    def __enter__(self) -> Tpm:
        return self

    def __exit__(self, *_exc: t.Any) -> None:
        self.close()

    def close(self) -> None:
        """Flush objects and sessions that are still loaded, then close. A TPM that is gone is no error here."""
        for handle in list(self._loaded):
            try:
                self.flush(handle)
            except SkrFailure as error:
                if error.reason != "tpm_error":  # the TPM is held or gone: the next handle would wait as long
                    break
        self._transport.close()

    # --- one command

    def run(
        self, code: int, handles: t.Sequence[int] = (), auths: t.Sequence[bytes] = (), parameters: bytes = b""
    ) -> wire.Reader:
        """Send one command and return a reader over its response parameters (behind the handle, if any).

        "Try again" answers are repeated until the time allowed has passed. Raises SkrFailure.
        """
        name = wire.COMMANDS[code]
        request = wire.command(code, handles, auths, parameters)
        deadline = time.monotonic() + self._timeout
        pause = 0.02
        while True:
            response = self._exchange(request, name, deadline)
            status = struct.unpack_from(">I", response, 6)[0]
            if status == 0:
                return wire.Reader(response[10:], name)
            if rc.base(status) not in rc.RETRY or time.monotonic() + pause > deadline:
                raise rc.failure(name, status, self.device)
            time.sleep(pause)
            pause = min(pause * 2, 1.0)

    def _exchange(self, request: bytes, name: str, deadline: float) -> bytes:
        while True:
            self.commands += 1
            try:
                response = self._transport.transceive(request)
            except OSError as error:
                failure = transport.explain(error, self.device)
                # Whoever holds a socket may have it closed on us; nothing is lost while nothing is loaded.
                if failure.reason != "tpm_busy" or self._loaded or time.monotonic() > deadline:
                    raise failure from error
                self._transport.close()
                time.sleep(0.2)
                self._transport, _tries = transport.open_patiently(self.device, max(deadline - time.monotonic(), 0.1))
                self.opens += 1
                continue
            if len(response) < 10:
                raise SkrFailure(
                    "tpm_error", f"The TPM at {self.device} gave no whole answer to {name}.", {"command": name}
                )
            return response

    @staticmethod
    def _after_handle(reader: wire.Reader) -> wire.Reader:
        reader.u32()  # parameterSize, present because the command had sessions
        return reader

    # --- NV

    def nv_read_public(self, index: int) -> t.Optional[NvPublic]:
        """Attributes and size of an NV index; None when it does not exist."""
        try:
            reader = self.run(wire.CC_NV_READ_PUBLIC, [index])
        except SkrFailure as error:
            if rc.is_code(error, rc.HANDLE):
                return None
            raise
        public = wire.Reader(reader.sized(), "NV_ReadPublic")
        public.u32()
        public.u16()
        attributes = public.u32()
        public.sized()
        return NvPublic(attributes, public.u16())

    def nv_read(self, index: int, size: int, offset: int = 0) -> bytes:
        """Read from an NV index with owner authorization, in pieces the TPM can carry, offset 0 first."""
        data = b""
        while len(data) < size:
            piece = min(_NV_CHUNK, size - len(data))
            parameters = struct.pack(">HH", piece, offset + len(data))
            reader = self.run(wire.CC_NV_READ, [wire.RH_OWNER, index], [wire.PASSWORD], parameters)
            got = self._after_handle(reader).sized()
            if not got:
                raise SkrFailure(
                    "tpm_error",
                    f"The TPM at {self.device} gave no data of index 0x{index:08x} at {len(data)}.",
                    {"command": "NV_Read"},
                )
            data += got
        return data

    def nv_define(self, index: int, size: int, attributes: int) -> None:
        public = struct.pack(">IHI", index, wire.ALG_SHA256, attributes) + wire.sized(b"") + struct.pack(">H", size)
        self.run(wire.CC_NV_DEFINE_SPACE, [wire.RH_OWNER], [wire.PASSWORD], wire.sized(b"") + wire.sized(public))

    def nv_undefine(self, index: int) -> None:
        self.run(wire.CC_NV_UNDEFINE_SPACE, [wire.RH_OWNER, index], [wire.PASSWORD])

    def nv_write(self, index: int, data: bytes, offset: int = 0) -> None:
        parameters = wire.sized(data) + struct.pack(">H", offset)
        self.run(wire.CC_NV_WRITE, [wire.RH_OWNER, index], [wire.PASSWORD], parameters)

    # --- keys, PCRs and statements

    def read_public(self, handle: int) -> t.Optional[bytes]:
        """The TPMT_PUBLIC of a loaded or persistent key; None when there is none at the handle."""
        try:
            return self.run(wire.CC_READ_PUBLIC, [handle]).sized()
        except SkrFailure as error:
            if rc.is_code(error, rc.HANDLE):
                return None
            raise

    def pcr_read(self, pcrs: t.Sequence[int]) -> t.List[bytes]:
        """SHA-256 PCR values in the order of ``pcrs``, all read at the same update counter.

        The TPM gives at most eight values at a time. Raises ``pcr_changed`` when the PCRs never hold still.
        """
        for _round in range(_PCR_READ_ROUNDS):
            values: t.Dict[int, bytes] = {}
            counters = set()
            while len(values) < len(set(pcrs)):
                missing = [pcr for pcr in pcrs if pcr not in values]
                reader = self.run(wire.CC_PCR_READ, parameters=wire.selection(missing))
                counters.add(reader.u32())
                reader.take(7)  # count 1, SHA-256, three bytes of bits
                bits = int.from_bytes(reader.take(3), "little")
                read = [pcr for pcr in range(24) if bits >> pcr & 1]
                if reader.u32() != len(read) or not read or not set(read) <= set(missing):
                    raise SkrFailure("tpm_error", f"The TPM at {self.device} has no SHA-256 bank for PCRs {missing}.")
                for pcr in read:
                    values[pcr] = reader.sized()
            if len(counters) == 1:
                return [values[pcr] for pcr in pcrs]
        raise SkrFailure(
            "pcr_changed", f"The PCRs of the TPM at {self.device} changed during each of {_PCR_READ_ROUNDS} readings."
        )

    def create_primary(self, hierarchy: int, template: bytes) -> t.Tuple[int, bytes]:
        """Make a primary key; returns its handle and TPMT_PUBLIC. It is flushed on ``close`` at the latest."""
        sensitive = struct.pack(">HHH", 4, 0, 0)
        parameters = sensitive + wire.sized(template) + wire.sized(b"") + struct.pack(">I", 0)
        self.created += 1
        reader = self.run(wire.CC_CREATE_PRIMARY, [hierarchy], [wire.PASSWORD], parameters)
        handle = reader.u32()
        self._loaded.append(handle)
        return handle, self._after_handle(reader).sized()

    def quote(self, key: int, pcrs: t.Iterable[int], qualifying: bytes = b"") -> Attest:
        """A signed statement of PCR values."""
        parameters = wire.sized(qualifying) + struct.pack(">H", wire.ALG_NULL) + wire.selection(pcrs)
        return self._attest(self.run(wire.CC_QUOTE, [key], [wire.PASSWORD], parameters), "Quote")

    def certify(self, subject: int, key: int, qualifying: bytes = b"") -> Attest:
        """A signed statement that ``subject`` is in this TPM."""
        parameters = wire.sized(qualifying) + struct.pack(">H", wire.ALG_NULL)
        return self._attest(self.run(wire.CC_CERTIFY, [subject, key], [wire.PASSWORD] * 2, parameters), "Certify")

    def _attest(self, reader: wire.Reader, what: str) -> Attest:
        data = self._after_handle(reader).sized()
        scheme, digest = reader.u16(), reader.u16()
        if (scheme, digest) != (wire.ALG_RSASSA, wire.ALG_SHA256):
            raise SkrFailure(
                "quote_invalid",
                f"{what} was signed with scheme 0x{scheme:04x}/0x{digest:04x}, wanted RSASSA with SHA-256.",
            )
        return Attest(data, reader.sized())

    def rsa_decrypt(self, key: int, cipher: bytes, scheme: bytes, pcrs: t.Sequence[int]) -> bytes:
        """Decrypt with a key that is bound to PCR values, in a policy session of its own."""
        session = self._policy_session(pcrs)
        parameters = wire.sized(cipher) + scheme + wire.sized(b"")
        try:
            reader = self.run(wire.CC_RSA_DECRYPT, [key], [wire.policy_auth(session)], parameters)
        except SkrFailure:
            self.discard(session)  # only success ends it
            raise
        self._loaded.remove(session)  # continueSession was clear: the TPM has ended it
        return self._after_handle(reader).sized()

    def _policy_session(self, pcrs: t.Sequence[int]) -> int:
        parameters = (
            wire.sized(os.urandom(20)) + wire.sized(b"") + struct.pack(">BHH", 1, wire.ALG_NULL, wire.ALG_SHA256)
        )
        session = self.run(wire.CC_START_AUTH_SESSION, [wire.RH_NULL, wire.RH_NULL], parameters=parameters).u32()
        self._loaded.append(session)
        try:
            self.run(wire.CC_POLICY_PCR, [session], parameters=wire.sized(b"") + wire.selection(pcrs))
        except SkrFailure:
            self.discard(session)
            raise
        return session

    def flush(self, handle: int) -> None:
        """Remove a key or session from the TPM."""
        self.run(wire.CC_FLUSH_CONTEXT, parameters=struct.pack(">I", handle))
        if handle in self._loaded:
            self._loaded.remove(handle)

    def discard(self, handle: int) -> None:
        """Flush on the way out of a failure, which a second one shall not hide; ``close`` tries again."""
        with contextlib.suppress(SkrFailure):
            self.flush(handle)


def open_tpm(device: str, busy_timeout: float = 15.0) -> Tpm:
    """Open a TPM: a path such as /dev/tpmrm0, ``unix:PATH`` or ``tcp:HOST:PORT``.

    Waits up to ``busy_timeout`` seconds while another process holds it. Raises SkrFailure with tpm_missing,
    tpm_permission, tpm_busy or tpm_error.
    """
    return Tpm(device, busy_timeout)
