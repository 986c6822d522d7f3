# SPDX-License-Identifier: GPL-3.0-or-later
"""Readers of what the TPM, the paravisor and the host give a VM, with good specimens."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import random
import socket
import struct
import time
import typing as t
from unittest import mock

from unit.guest import release_fakes, silicon_fakes, tdx_fakes, test_eventlog, test_quote, test_verify, tpm_fakes

from ansible_collections.confidential.azure_skr.plugins.module_utils.guest import (
    akcert,
    der,
    eventlog,
    evidence,
    hcl,
    hcl_index,
    quote,
    snp,
    snp_verify,
    tdx,
    tdx_verify,
    tee,
    verify,
    verify_files,
    verify_guest,
)
from ansible_collections.confidential.azure_skr.plugins.module_utils.guest.tpm2 import client, transport, wire
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.failure import SkrFailure

from . import mutate

PCRS = tuple(range(8))


@functools.cache
def host_of(product: str = "Milan") -> silicon_fakes.Host:
    return silicon_fakes.Host(product)


def hcl_specimens() -> t.List[bytes]:
    found = []
    for kind, number in (("snp", 2), ("tdx", 4), ("vbs", 1)):
        runtime = silicon_fakes.runtime_data(silicon_fakes.modulus_of(silicon_fakes.rsa_key("ak")), bytes(range(64)))
        slot = bytearray(host_of().report(hashlib.sha256(runtime).digest()) if kind == "snp" else bytes(1184))
        found.append(silicon_fakes.hcl_blob(bytes(slot), runtime, report_type=number))
    return found


def hcl_damage(data: bytes, rng: random.Random) -> bytes:
    """Half of the time the runtime data are changed and their sizes and hash put right, so that more than sizes are read."""
    if rng.random() < 0.5 or len(data) < hcl.FIXED:
        return mutate.octets(data, rng)
    size = struct.unpack_from("<I", data, hcl.FIXED - 4)[0]
    runtime = mutate.anything(data[hcl.FIXED : hcl.FIXED + size], rng)
    head = bytearray(data[: hcl.FIXED])
    head[32 + 0x50 : 32 + 0x90] = hashlib.sha256(runtime).digest().ljust(64, b"\0")
    struct.pack_into("<I", head, 1216, (20 + len(runtime)) % (1 << 32))
    struct.pack_into("<I", head, hcl.FIXED - 4, len(runtime))
    return bytes(head) + runtime


def read_hcl(data: bytes) -> None:
    report = hcl.parse(data)
    assert report.user_data is None or isinstance(report.user_data, bytes)
    assert report.vm_unique_id is None or isinstance(report.vm_unique_id, str)
    hcl.check_binding(report, silicon_fakes.modulus_of(silicon_fakes.rsa_key("ak")))


def read_snp(data: bytes) -> None:
    report = snp.parse(data)
    for product in ("Milan", "Genoa", "Turin"):
        json.dumps(report.tcb(product).as_dict()), report.tcb(product).text()
    chain, root = _chain()
    snp_verify.verify(report, chain, root)


@functools.cache
def _chain() -> t.Tuple[t.Any, str]:
    return snp_verify.parse_chain(host_of().chain()), silicon_fakes.pem(host_of().ark)


@functools.cache
def _report() -> snp.SnpReport:
    return snp.parse(host_of().report())


def read_chain(data: bytes) -> None:
    chain = snp_verify.parse_chain(data.decode("utf-8", "surrogateescape"))
    snp_verify.verify(_report(), chain, silicon_fakes.pem(host_of().ark))


def certificates() -> t.List[bytes]:
    ak = tpm_fakes.ak_certificate(silicon_fakes.rsa_key("ak"))
    return [ak, ak.ljust(4096, b"\0"), host_of().vcek(), host_of().ask, *map(release_fakes.der, release_fakes.chain())]


def read_certificate(data: bytes) -> None:
    try:
        found = der.certificate(data)
        found.common_name(), found.common_name("issuer")
    except der.DerError:
        pass
    akcert.parse(data, silicon_fakes.modulus_of(silicon_fakes.rsa_key("ak")))


def read_der(data: bytes) -> None:
    for element in der.children(data):
        if element.tag & 0x20:
            der.children(element.content)
        if element.tag == der.OID:
            der.oid(element.content)


def event_logs() -> t.List[bytes]:
    one, two = test_eventlog.SHA1, test_eventlog.SHA256
    boot = test_eventlog.variable("SecureBoot", b"\x01")
    body = test_eventlog.record(7, test_eventlog.VARIABLE, boot) + test_eventlog.record(0, 1, b"one")
    return [
        test_eventlog.header(two) + body,
        test_eventlog.header(one, two, vendor=b"v") + test_eventlog.record(4, 4, b"two", one, two),
        test_eventlog.header(two) + body + bytes(64),
    ]


def read_event_log(data: bytes) -> None:
    events = eventlog.decode(data)
    eventlog.replay(events), eventlog.secure_boot(events)


def read_statement(data: bytes) -> None:
    """Data and signature, one behind the other."""
    body, signature = data[:-256], data[-256:]
    ak = silicon_fakes.rsa_key("ak").public_key().public_numbers()
    for check in (
        lambda: quote.check_quote(body, PCRS, test_quote.VALUES),
        lambda: quote.check_certification(body, test_quote.NAME),
        lambda: quote.verify_signature(body, signature, ak.n, ak.e, "quote"),
    ):
        with contextlib.suppress(SkrFailure):
            check()
    quote.parse(body)


# --- TDX, and saved evidence of either kind


def td_quotes() -> t.List[bytes]:
    return [tdx_fakes.Quoter(version, kind).quote(tdx_fakes.td_report()) for version, kind in ((4, 2), (5, 2), (5, 3))]


def read_td_report(data: bytes) -> None:
    json.dumps(dataclasses.asdict(tdx.parse_report(data).measurements), default=bytes.hex)


def read_td_quote(data: bytes) -> None:
    found = tdx.parse_quote(data)
    json.dumps(found.facts())
    tdx_verify.verify(found, None, tdx_fakes.root_pem(), time.time())


def saved_evidence() -> t.List[bytes]:
    made = (test_verify.snp_material(), test_verify.tdx_material())
    return [json.dumps(verify_guest.document(material)).encode() for material in made]


def read_evidence(data: bytes) -> None:
    """A file that somebody sent, and all that is checked of what it holds."""
    material = verify.Material()
    with mock.patch.object(verify_files, "read", lambda _option, _path: data):
        verify_files.add_report(material, "report", "evidence.json")
    roots = silicon_fakes.pem(host_of().ark) + tdx_fakes.root_pem()
    run = verify.verify(material, verify.Wanted(roots_pem=roots), time.time())
    json.dumps(run.result())
    assert all(check.reason != "internal_error" for check in run.checks)


# --- the TPM's answers, one at a time and as a conversation


class Scripted:
    """A TPM that gives recorded answers, command by command; further ones of a kind are its last."""

    def __init__(self, script: t.Sequence[t.Tuple[int, bytes]]) -> None:
        self._script = list(script)

    def transceive(self, command: bytes) -> bytes:
        code = struct.unpack_from(">I", command, 6)[0]
        mine = [number for number, (kind, _answer) in enumerate(self._script) if kind == code]
        if not mine:
            return struct.pack(">HII", 0x8001, 10, 0x143)
        answer = self._script[mine[0]][1]
        if len(mine) > 1:
            self._script.pop(mine[0])
        return answer

    def close(self) -> None:
        """Nothing is open."""


class Recorder(tpm_fakes.FakeTpm):
    def __init__(self) -> None:
        super().__init__()
        self.script: t.List[t.Tuple[int, bytes]] = []

    def transceive(self, command: bytes) -> bytes:
        answer = super().transceive(command)
        self.script.append((struct.unpack_from(">I", command, 6)[0], answer))
        return answer


@contextlib.contextmanager
def _scripted(tpm: t.Any) -> t.Iterator[client.Tpm]:
    clock = tpm_fakes.Clock()
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(transport, "connect", lambda _device: tpm))
        for room in (client, transport, hcl_index, tee):
            stack.enter_context(mock.patch.object(room, "time", clock))
        yield client.open_tpm("unix:/scripted", 1.0)


def _collect(tpm: client.Tpm) -> evidence.Evidence:
    host = host_of()
    return evidence.collect(
        tpm, host.chain, silicon_fakes.pem(host.ark), event_log_path="/nonexistent", os_release_path="/nonexistent"
    )


@functools.cache
def conversation() -> t.Tuple[t.Tuple[int, bytes], ...]:
    recorder = Recorder()
    recorder.host = host_of()
    with _scripted(recorder) as tpm:
        made = _collect(tpm)
        cipher = (
            next(iter(recorder.objects.values()))[0].public_key().encrypt(b"k" * 32, release_fakes.padding.PKCS1v15())
        )
        made.decrypt_rsaes(cipher)
        tpm.close()
    return tuple(recorder.script)


def answers() -> t.List[bytes]:
    """Number of the answer in the conversation, and what is answered there."""
    return [bytes([number]) + answer for number, (_code, answer) in enumerate(conversation())]


def read_conversation(data: bytes) -> None:
    script = list(conversation())
    number = data[0] % len(script) if data else 0
    script[number] = (script[number][0], data[1:])
    with _scripted(Scripted(script)) as tpm:
        try:
            _collect(tpm).decrypt_rsaes(bytes(256))
        finally:
            tpm.close()


def read_answer(data: bytes) -> None:
    """One command of the client and the answer it gets; the first byte chooses."""
    if not data:
        return
    script = conversation()
    code = script[data[0] % len(script)][0]
    commands: t.Dict[int, t.Callable[[client.Tpm], t.Any]] = {
        wire.CC_NV_READ_PUBLIC: lambda tpm: tpm.nv_read_public(1),
        wire.CC_NV_READ: lambda tpm: tpm.nv_read(1, 2600),
        wire.CC_READ_PUBLIC: lambda tpm: wire.rsa_public(tpm.read_public(1) or b""),
        wire.CC_PCR_READ: lambda tpm: tpm.pcr_read(PCRS),
        wire.CC_CREATE_PRIMARY: lambda tpm: wire.rsa_public(tpm.create_primary(1, b"")[1]),
        wire.CC_QUOTE: lambda tpm: quote.parse(tpm.quote(1, PCRS).data),
        wire.CC_CERTIFY: lambda tpm: quote.parse(tpm.certify(1, 2).data),
        wire.CC_START_AUTH_SESSION: lambda tpm: tpm.rsa_decrypt(1, b"", b"", PCRS),
        wire.CC_POLICY_PCR: lambda tpm: tpm.rsa_decrypt(1, b"", b"", PCRS),
        wire.CC_RSA_DECRYPT: lambda tpm: tpm.rsa_decrypt(1, b"", b"", PCRS),
        wire.CC_FLUSH_CONTEXT: lambda tpm: tpm.flush(1),
    }
    others = [(kind, answer) for kind, answer in script if kind != code]
    with _scripted(Scripted([*others, (code, data[1:])])) as tpm:
        commands[code](tpm)


def read_stream(data: bytes) -> None:
    """What comes out of a socket, however long it says it is."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(data[:60000])
        theirs.shutdown(socket.SHUT_WR)
        channel = transport.Socket.__new__(transport.Socket)
        channel._socket = ours
        tpm = client.Tpm.__new__(client.Tpm)
        tpm.device, tpm._transport, tpm._timeout, tpm._loaded, tpm.commands, tpm.opens = (
            "unix:/x",
            channel,
            -1.0,
            [],
            0,
            1,
        )
        tpm.run(wire.CC_READ_PUBLIC, [1]).sized()
