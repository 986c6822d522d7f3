# SPDX-License-Identifier: GPL-3.0-or-later
"""The virtual TPM behaves like Azure's: indices, renewal, ephemeral keys, reboots; a stranger's tools agree."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import struct
import subprocess
import time
import typing as t
import warnings
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from conftest import GROUP, LOCATION, SILICON
from skrsim.core.faults import Fault
from skrsim.core.world import World
from skrsim.services.arm import seed
from skrsim.tee import eventlog
from skrsim.tee.platform import Platform
from skrsim.vtpm import relay as relays
from skrsim.vtpm import wire
from skrsim.vtpm.vm import AK_HANDLE, VirtualTpm

SELECTION = bytes.fromhex("00000001000b03ff0000")
NULL = 0x40000007


@pytest.fixture
def vtpm(world: World, tmp_path: Path) -> t.Iterator[VirtualTpm]:
    made = VirtualTpm(world, "cvm-01", Platform(world, SILICON), tmp_path / "tpm")
    made.start()
    yield made
    made.stop()


class Client:
    """One opener that speaks raw TPM."""

    def __init__(self, tpm: VirtualTpm) -> None:
        self.relay, self.opener = tpm.relay, tpm.relay.open()

    def raw(self, code: int, handles: list[int], auth: bytes = b"", parameters: bytes = b"") -> bytes:
        return self.relay.transceive(self.opener, wire.command(code, handles, auth, parameters))

    def run(self, code: int, handles: list[int], auth: bytes = b"", parameters: bytes = b"") -> bytes:
        return wire.payload(self.raw(code, handles, auth, parameters))

    def refusal(self, code: int, handles: list[int], auth: bytes = b"", parameters: bytes = b"") -> int:
        return wire.code_of(self.raw(code, handles, auth, parameters))

    def read(self, index: int, size: int, offset: int = 0) -> bytes:
        return self.run(wire.NV_READ, [wire.OWNER, index], wire.PASSWORD, struct.pack(">HH", size, offset))[
            6 : 6 + size
        ]

    def report(self) -> bytes:
        size = len(self.relay.overlay[relays.HCL_REPORT])
        return b"".join(self.read(relays.HCL_REPORT, min(1024, size - at), at) for at in range(0, size, 1024))

    def pcrs(self) -> list[bytes]:
        body = self.run(wire.PCR_READ, [], b"", SELECTION)
        return [body[20 + 34 * n : 52 + 34 * n] for n in range(8)]

    def primary(self, policy: bytes, hierarchy: int = NULL) -> tuple[int, bytes]:
        template = struct.pack(">HHI", 1, 0x0B, 0x00020432) + wire.sized(policy)
        template += struct.pack(">HHHI", 0x10, 0x10, 2048, 0) + wire.sized(bytes(256))
        parameters = bytes.fromhex("000400000000") + wire.sized(template) + b"\0\0" + bytes(4)
        body = self.run(wire.CREATE_PRIMARY, [hierarchy], wire.PASSWORD, parameters)
        handle, _size, length = struct.unpack_from(">IIH", body)
        return handle, body[10 : 10 + length]

    def policy(self) -> bytes:
        digest = hashlib.sha256(b"".join(self.pcrs())).digest()
        return hashlib.sha256(bytes(32) + struct.pack(">I", 0x17F) + SELECTION + digest).digest()

    def session(self) -> int:
        parameters = wire.sized(bytes(20)) + b"\0\0\x01\0\x10\0\x0b"
        return int(struct.unpack_from(">I", self.run(wire.START_SESSION, [NULL, NULL], b"", parameters))[0])

    def decrypt(self, key: int, cipher: bytes, auth: bytes) -> bytes:
        return self.raw(0x159, [key], auth, wire.sized(cipher) + b"\0\x15\0\0")

    def extend(self, pcr: int) -> None:
        self.run(wire.PCR_EXTEND, [pcr], wire.PASSWORD, struct.pack(">IH", 1, 0x0B) + bytes(32))


def runtime_of(report: bytes) -> dict[str, t.Any]:
    size = struct.unpack_from("<I", report, 1232)[0]
    return t.cast(dict[str, t.Any], json.loads(report[1236 : 1236 + size]))


def test_nv_table(vtpm: VirtualTpm) -> None:
    client = Client(vtpm)
    for index, size in ((relays.HCL_REPORT, 2600), (relays.AK_CERT, 4096)):
        body = client.run(wire.NV_READ_PUBLIC, [index])
        public = body[2 : 2 + struct.unpack_from(">H", body)[0]]
        name = body[2 + len(public) + 2 :]
        found, algorithm, attributes = struct.unpack_from(">IHI", public)
        assert (found, algorithm, struct.unpack_from(">H", public, len(public) - 2)[0]) == (index, 0x0B, size)
        assert attributes & 0x40000000 and attributes & 0x20000  # platform-created, owner may read
        assert name == b"\0\x0b" + hashlib.sha256(public).digest()
    assert client.refusal(wire.NV_READ_PUBLIC, [relays.USER_DATA]) == 0x18B
    assert client.refusal(wire.NV_READ, [wire.OWNER, relays.USER_DATA], wire.PASSWORD, b"\0\x40\0\0") == 0x28B


def test_nv_refusals(vtpm: VirtualTpm) -> None:
    client = Client(vtpm)
    read = struct.pack(">HH", 64, 2600)
    assert client.refusal(wire.NV_READ, [wire.OWNER, relays.HCL_REPORT], wire.PASSWORD, read) == 0x146
    own = client.refusal(wire.NV_READ, [relays.HCL_REPORT, relays.HCL_REPORT], wire.PASSWORD, struct.pack(">HH", 64, 0))
    assert own == 0x9A2
    for index in (relays.HCL_REPORT, relays.AK_CERT):
        assert client.refusal(wire.NV_WRITE, [wire.OWNER, index], wire.PASSWORD, wire.sized(b"x") + b"\0\0") == 0x149
        assert client.refusal(wire.NV_UNDEFINE, [wire.OWNER, index], wire.PASSWORD) == 0x149
    public = struct.pack(">IHIHH", relays.HCL_REPORT, 0x0B, 0x60006, 0, 64)
    assert client.refusal(wire.NV_DEFINE, [wire.OWNER], wire.PASSWORD, b"\0\0" + wire.sized(public)) == 0x14C
    oversized = struct.pack(">IHIHH", 0x01500000, 0x0B, 0x60006, 0, 2600)
    assert client.refusal(wire.NV_DEFINE, [wire.OWNER], wire.PASSWORD, b"\0\0" + wire.sized(oversized)) == 0x2D5


def test_user_data_and_the_two_second_rule(vtpm: VirtualTpm) -> None:
    client = Client(vtpm)
    assert set(runtime_of(client.report())["user-data"]) == {"0"}
    public = struct.pack(">IHIHH", relays.USER_DATA, 0x0B, 0x60006, 0, 64)
    client.run(wire.NV_DEFINE, [wire.OWNER], wire.PASSWORD, b"\0\0" + wire.sized(public))
    assert client.refusal(wire.NV_READ, [wire.OWNER, relays.USER_DATA], wire.PASSWORD, b"\0\x40\0\0") == 0x14A
    wanted = bytes(range(64))
    client.run(wire.NV_WRITE, [wire.OWNER, relays.USER_DATA], wire.PASSWORD, wire.sized(wanted) + b"\0\0")
    assert set(runtime_of(client.report())["user-data"]) == {"0"}  # stale: renewed less than two seconds ago
    time.sleep(2.1)
    tail = client.read(relays.HCL_REPORT, 64, 1240)
    assert tail in client.relay.overlay[relays.HCL_REPORT]  # another offset renews nothing
    report = client.report()
    assert runtime_of(report)["user-data"] == wanted.hex().upper()
    size = struct.unpack_from("<I", report, 1232)[0]
    assert report[32 + 0x50 : 32 + 0x90] == hashlib.sha256(report[1236 : 1236 + size]).digest() + bytes(32)


def test_variants_of_the_report(world: World, tmp_path: Path) -> None:
    platform = Platform(world, SILICON)
    option = platform.option("cvm-01")
    option.report_size, option.report_version, option.lower_user_data = 2900, 2, True
    made = VirtualTpm(world, "cvm-01", platform, tmp_path / "tpm")
    made.start()
    try:
        report = Client(made).report()
        assert len(report) == 2900 and struct.unpack_from("<I", report, 32)[0] == 2
    finally:
        made.stop()


def test_report_and_chain_verify_with_other_code(vtpm: VirtualTpm) -> None:
    report = Client(vtpm).report()[32:1216]
    thim = vtpm._platform.thim("cvm-01")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        vcek, ask, ark = x509.load_pem_x509_certificates((thim["vcekCert"] + thim["certificateChain"]).encode())
        assert vcek.serial_number == 0
    pss = padding.PSS(mgf=padding.MGF1(hashes.SHA384()), salt_length=48)
    for subject, issuer in ((ark, ark), (ask, ark), (vcek, ask)):
        key = issuer.public_key()
        assert isinstance(key, rsa.RSAPublicKey)
        key.verify(subject.signature, subject.tbs_certificate_bytes, pss, hashes.SHA384())
        assert "SIMULATED" in subject.subject.rfc4514_string()
    public = vcek.public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey)
    r, s = (int.from_bytes(report[at : at + 72], "little") for at in (0x2A0, 0x2E8))
    public.verify(encode_dss_signature(r, s), report[:0x2A0], ec.ECDSA(hashes.SHA384()))
    assert thim["tcbm"] == report[0x180:0x188][::-1].hex().upper()


@pytest.mark.parametrize("product", ["Genoa", "Turin"])
def test_other_products(world: World, product: str) -> None:
    platform = Platform(world, SILICON, product)
    chip = platform.chip("cvm-01")
    report = chip.report(bytes(64), bytes(48), bytes(48))
    assert report[0x180:0x188] == chip.tcb.encode(product)
    if product == "Turin":
        assert set(report[0x1A8:0x1E0]) == {0}


def test_event_log_replays_to_the_pcrs(vtpm: VirtualTpm) -> None:
    values = [bytes(32)] * 8
    for event in eventlog.boot(True):
        values[event.pcr] = hashlib.sha256(values[event.pcr] + event.digest).digest()
    assert Client(vtpm).pcrs() == values


def test_the_ephemeral_key_wants_its_policy(vtpm: VirtualTpm) -> None:
    client = Client(vtpm)
    handle, public = client.primary(client.policy())
    cipher = rsa.RSAPublicNumbers(65537, wire.rsa_modulus(public)).public_key().encrypt(b"secret", padding.PKCS1v15())
    assert wire.code_of(client.decrypt(handle, cipher, wire.PASSWORD)) == 0x12F
    session = client.session()
    auth = struct.pack(">IHBH", session, 0, 0, 0)
    assert wire.code_of(client.decrypt(handle, cipher, auth)) == 0x99D  # no PolicyPCR yet
    client.run(0x17F, [session], b"", b"\0\0" + SELECTION)
    answer = client.decrypt(handle, cipher, auth)
    assert wire.payload(answer)[6:12] == b"secret"
    session = client.session()
    auth = struct.pack(">IHBH", session, 0, 0, 0)
    client.run(0x17F, [session], b"", b"\0\0" + SELECTION)
    client.extend(4)
    assert wire.code_of(client.decrypt(handle, cipher, auth)) == 0x128  # PCRs moved under the policy
    session = client.session()
    client.run(0x17F, [session], b"", b"\0\0" + SELECTION)
    assert wire.code_of(client.decrypt(handle, cipher, struct.pack(">IHBH", session, 0, 0, 0))) == 0x99D


def test_reboot(vtpm: VirtualTpm) -> None:
    """The attestation key is the same again; keys of the NULL hierarchy are others; PCRs follow the new boot."""
    client = Client(vtpm)
    ak, before, pcrs = client.run(wire.READ_PUBLIC, [AK_HANDLE]), client.primary(bytes(32))[1], client.pcrs()
    assert client.primary(bytes(32))[1] == before  # within one boot the same template is the same key
    vtpm.kernel = "6.8.0-1022-azure"
    vtpm.reboot()
    client = Client(vtpm)
    assert client.run(wire.READ_PUBLIC, [AK_HANDLE]) == ak
    assert client.primary(bytes(32))[1] != before
    changed = [number for number, (old, new) in enumerate(zip(pcrs, client.pcrs(), strict=True)) if old != new]
    assert changed == [4]


def test_openers_leave_nothing_behind(vtpm: VirtualTpm) -> None:
    """Three keys an opener, as the kernel has it; what it leaves is flushed when it closes."""
    client = Client(vtpm)
    for _number in range(3):
        client.primary(bytes(32))
    with pytest.raises(wire.TpmError) as full:
        client.primary(bytes(32))
    assert full.value.code == 0x902
    vtpm.relay.close(client.opener)
    again = Client(vtpm)
    for _number in range(3):
        again.primary(bytes(32))


def test_trusted_launch_has_no_report(world: World, tmp_path: Path) -> None:
    seed.vm(world, "plain", GROUP, LOCATION).security_type = "TrustedLaunch"
    made = VirtualTpm(world, "plain", Platform(world, SILICON), tmp_path / "plain")
    made.start()
    try:
        assert Client(made).refusal(wire.NV_READ_PUBLIC, [relays.HCL_REPORT]) == 0x18B
    finally:
        made.stop()


def test_socket_and_faults(vtpm: VirtualTpm, world: World) -> None:
    command = wire.command(wire.READ_PUBLIC, [AK_HANDLE])

    def ask() -> bytes:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(vtpm.socket_path))
            connection.sendall(command)
            return connection.recv(4096)

    assert wire.code_of(ask()) == 0
    world.faults.add(Fault("rc", service="tpm", operation="ReadPublic", times=1, parameters={"code": "0x922"}))
    assert wire.code_of(ask()) == 0x922
    world.faults.add(Fault("busy", service="tpm", operation="open", times=1))
    with pytest.raises((ConnectionError, AssertionError)):
        assert ask()
    assert wire.code_of(ask()) == 0


ROOT_ONLY = pytest.mark.skipif(
    os.geteuid() != 0 or not os.path.exists("/dev/fuse"), reason="mounting a device file needs root and /dev/fuse"
)


@ROOT_ONLY
def test_device_file(vtpm: VirtualTpm, tmp_path: Path, world: World) -> None:
    """One write is one command; the answer may be read in pieces; truncating opens work; busy is EBUSY."""
    path = tmp_path / "tpmrm0"
    vtpm.mount(path)
    command = wire.command(wire.READ_PUBLIC, [AK_HANDLE])
    for flags in (os.O_RDWR, os.O_RDWR | os.O_TRUNC):
        device = os.open(path, flags)
        os.write(device, command)
        header = os.read(device, 10)
        rest = os.read(device, 4096)
        assert struct.unpack_from(">I", header, 2)[0] == len(header + rest) and os.read(device, 10) == b""
        os.close(device)
    exclusive = tmp_path / "tpm0"
    vtpm.mount(exclusive, exclusive=True)
    device = os.open(exclusive, os.O_RDWR)
    with pytest.raises(OSError, match="busy"):
        os.open(exclusive, os.O_RDWR)
    os.close(device)
    world.faults.add(Fault("busy", service="tpm", operation="open", times=1))
    with pytest.raises(OSError, match="busy"):
        os.open(path, os.O_RDWR)


@ROOT_ONLY
@pytest.mark.skipif(shutil.which("tpm2_quote") is None, reason="tpm2-tools are not installed")
def test_tpm2_tools_as_a_stranger(vtpm: VirtualTpm, tmp_path: Path) -> None:
    """An independent implementation quotes and checks the quote over the device file."""
    device = tmp_path / "tpmrm0"
    vtpm.mount(device)
    environment = {"PATH": os.environ["PATH"], "TPM2TOOLS_TCTI": f"device:{device}"}

    def run(*words: str) -> None:
        subprocess.run(words, env=environment, cwd=tmp_path, check=True, capture_output=True, timeout=60)

    run("tpm2_getrandom", "--hex", "8")
    run("tpm2_readpublic", "-c", hex(AK_HANDLE), "-o", "ak.pem", "-f", "pem")
    run(
        "tpm2_quote",
        "-c",
        hex(AK_HANDLE),
        "-l",
        "sha256:0,1,2,3,4,5,6,7",
        "-q",
        "abcd",
        "-m",
        "m",
        "-s",
        "s",
        "-o",
        "p",
        "-g",
        "sha256",
    )
    run("tpm2_checkquote", "-u", "ak.pem", "-m", "m", "-s", "s", "-f", "p", "-g", "sha256", "-q", "abcd")
    run("tpm2_createprimary", "-C", "n", "-c", "key.ctx")
    run("tpm2_nvreadpublic", hex(relays.HCL_REPORT))
