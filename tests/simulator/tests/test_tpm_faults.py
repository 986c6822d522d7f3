# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults of the TPM, each chosen by command and by the number of the call; reboots; and what the paravisor does late."""

from __future__ import annotations

import errno
import hashlib
import os
import socket
import struct
import time
import typing as t
from pathlib import Path

import pytest
from attestation_bench import SELECTION, Bench, Vm
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from skrsim.core.faults import Fault
from skrsim.lab import fault_rows
from skrsim.vtpm import relay as relays
from skrsim.vtpm import wire
from skrsim.vtpm.vm import AK_HANDLE

NULL = 0x40000007
READ_AK = wire.command(wire.READ_PUBLIC, [AK_HANDLE])


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Bench]:
    made = Bench(tmp_path_factory.mktemp("faults"))
    made.vm("one")
    made.vm("td", "Standard_DC2es_v5")
    yield made
    made.stop()


@pytest.fixture
def vm(bench: Bench) -> t.Iterator[Vm]:
    yield bench.vms[0]
    bench.world.faults.remove()


def fault(bench: Bench, action: str, operation: str | None = None, **row: t.Any) -> None:
    parameters = {name: row.pop(name) for name in ("code", "seconds", "pcr") if name in row}
    given = {"action": action, "service": "tpm", "operation": operation, "parameters": parameters, **row}
    bench.world.faults.add(fault_rows.checked(given))


def code(vm: Vm, command: bytes) -> int:
    return wire.code_of(vm.tpm.relay.transceive(vm.opener, command))


def pcrs(vm: Vm) -> list[bytes]:
    body = vm.run(wire.PCR_READ, [], b"", SELECTION)
    return [body[20 + 34 * number : 52 + 34 * number] for number in range(8)]


# --- by command and call


@pytest.mark.parametrize(
    ("action", "wanted"),
    [("retry", 0x922), ("lockout", 0x921), ("object_memory", 0x902), ("session_memory", 0x903), ("rc", 0x101)],
)
def test_codes(bench: Bench, vm: Vm, action: str, wanted: int) -> None:
    """The second and third ReadPublic are hit, and no other command."""
    row: dict[str, t.Any] = {"code": "0x101"} if action == "rc" else {}
    fault(bench, action, "ReadPublic", first=2, times=2, **row)
    pcr_read = wire.command(wire.PCR_READ, [], b"", SELECTION)
    found = []
    for _number in range(5):
        found.append(code(vm, READ_AK))
        assert code(vm, pcr_read) == 0
    assert found == [0, wanted, wanted, 0, 0]


def test_vms_are_told_apart(bench: Bench, vm: Vm) -> None:
    fault(bench, "retry", "ReadPublic", vm="td")
    assert code(vm, READ_AK) == 0 and code(bench.vms[1], READ_AK) == 0x922


def test_slow(bench: Bench, vm: Vm) -> None:
    fault(bench, "delay", "ReadPublic", times=1, seconds=0.3)
    for least, most in ((0.3, 3.0), (0.0, 0.25)):
        start = time.monotonic()
        assert code(vm, READ_AK) == 0
        assert least <= time.monotonic() - start < most


@pytest.mark.parametrize(("action", "number"), [("busy", errno.EBUSY), ("lost", errno.ENODEV)])
def test_open(bench: Bench, vm: Vm, action: str, number: int) -> None:
    fault(bench, action, "open", times=1)
    with pytest.raises(OSError) as refused:
        vm.tpm.relay.open()
    assert refused.value.errno == number
    vm.tpm.relay.close(vm.tpm.relay.open())


def test_lost_for_good(bench: Bench, vm: Vm) -> None:
    """Without a number of times and an operation, commands fail and nothing can be opened any more."""
    fault(bench, "lost", first=2)
    assert code(vm, READ_AK) == 0
    with pytest.raises(OSError) as lost:
        code(vm, READ_AK)
    assert lost.value.errno == errno.EIO
    with pytest.raises(OSError) as gone:
        vm.tpm.relay.open()
    assert gone.value.errno == errno.ENODEV


@pytest.mark.parametrize("operation", ["open", "ReadPublic"])
def test_lost_on_the_socket(bench: Bench, vm: Vm, operation: str) -> None:
    """The connection is closed where the answer should be."""
    fault(bench, "lost", operation, times=1)
    for expected in (b"", None):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(vm.tpm.socket_path))
            connection.settimeout(5)
            try:
                connection.sendall(READ_AK)
                answer = connection.recv(4096)
            except ConnectionError:
                answer = b""
        assert answer == b"" if expected == b"" else wire.code_of(answer) == 0 and answer


@pytest.mark.skipif(
    os.geteuid() != 0 or not os.path.exists("/dev/fuse"), reason="mounting a device file needs root and /dev/fuse"
)
def test_on_the_device_file(bench: Bench, vm: Vm, tmp_path: Path) -> None:
    """Busy is an error of the write; lost lets the command be written and fails the read, as the kernel does."""
    path = tmp_path / "tpmrm0"
    vm.tpm.mount(path)
    fault(bench, "lost", "open", times=1)
    with pytest.raises(OSError) as gone:
        os.open(path, os.O_RDWR)
    assert gone.value.errno == errno.ENODEV
    device = os.open(path, os.O_RDWR)
    fault(bench, "busy", "ReadPublic", times=1)
    with pytest.raises(OSError) as busy:
        os.write(device, READ_AK)
    assert busy.value.errno == errno.EBUSY
    fault(bench, "lost", "ReadPublic", times=1)
    assert os.write(device, READ_AK) == len(READ_AK)
    with pytest.raises(OSError) as lost:
        os.read(device, 4096)
    assert lost.value.errno == errno.EIO
    os.write(device, READ_AK)
    assert wire.code_of(os.read(device, 4096)) == 0
    os.close(device)


# --- PCRs that change


def decrypt(vm: Vm, key: int, cipher: bytes) -> int:
    session = vm.run(wire.START_SESSION, [NULL] * 2, b"", wire.sized(bytes(20)) + b"\0\0\x01\0\x10\0\x0b")
    vm.run(0x17F, [struct.unpack_from(">I", session)[0]], b"", b"\0\0" + SELECTION)
    auth, parameters = session[:4] + b"\0\0\0\0\0", wire.sized(cipher) + b"\0\x15\0\0"
    found = code(vm, wire.command(0x159, [key], auth, parameters))
    if found:
        vm.run(wire.FLUSH, [], b"", session[:4])
    return found


@pytest.mark.parametrize("pcr", [0, 4, 7])
def test_pcr_changes_between_policy_and_use(bench: Bench, vm: Vm, pcr: int) -> None:
    """0x128 from the TPM itself, then 0x99D; evidence collected anew is attested, for the log tells of the change."""
    made = vm.run(wire.CREATE_PRIMARY, [NULL], wire.PASSWORD, vm.template)
    key, length = struct.unpack_from(">I4xH", made)
    public = rsa.RSAPublicNumbers(65537, wire.rsa_modulus(made[10 : 10 + length])).public_key()
    cipher = public.encrypt(b"secret", padding.PKCS1v15())
    assert decrypt(vm, key, cipher) == 0
    before = pcrs(vm)
    fault(bench, "pcr_changed", "RSA_Decrypt", first=2, times=1, pcr=pcr)
    assert decrypt(vm, key, cipher) == 0
    assert decrypt(vm, key, cipher) == 0x128
    assert decrypt(vm, key, cipher) == 0x99D
    vm.run(wire.FLUSH, [], b"", made[:4])
    assert [number for number, (old, new) in enumerate(zip(before, pcrs(vm), strict=True)) if old != new] == [pcr]
    vm.evidence = vm.collect()
    assert bench.attested(vm)["secureboot"] is True


def test_pcr_changes_between_reading_and_quote(bench: Bench, vm: Vm) -> None:
    fault(bench, "pcr_changed", "Quote", times=1)
    response, clause = bench.send(vm.collect())
    assert response.status == 400 and clause == "maa.4.pcr_digest"
    vm.evidence = vm.collect()
    assert bench.attested(vm)["secureboot"] is True


# --- the paravisor


def define_user_data(vm: Vm, data: bytes) -> None:
    shape = wire.sized(struct.pack(">IHIHH", relays.USER_DATA, 0x0B, 0x60006, 0, 64))
    command = wire.command(wire.NV_DEFINE, [wire.OWNER], wire.PASSWORD, b"\0\0" + shape)
    assert code(vm, command) in (0, 0x14C)
    vm.run(wire.NV_WRITE, [wire.OWNER, relays.USER_DATA], wire.PASSWORD, wire.sized(data) + b"\0\0")


def read(vm: Vm, size: int, offset: int) -> bytes:
    parameters = struct.pack(">HH", size, offset)
    return vm.run(wire.NV_READ, [wire.OWNER, relays.HCL_REPORT], wire.PASSWORD, parameters)[6 : 6 + size]


def whole(vm: Vm) -> bytes:
    return b"".join(read(vm, min(1024, 2600 - at), at) for at in range(0, 2600, 1024))


def binds(report: bytes) -> bool:
    """Whether the runtime data have the hash in the hardware report (an SNP report)."""
    size = struct.unpack_from("<I", report, 1232)[0]
    return report[112:144] == hashlib.sha256(report[1236 : 1236 + size]).digest()


def test_torn_read(bench: Bench, vm: Vm) -> None:
    """Between two pieces another process has the report renewed: what was read does not fit together."""
    vm.tpm.relay.two_second_rule = False
    bench.world.faults.add(fault_rows.checked({"action": "torn", "service": "paravisor", "times": 1}))
    assert not binds(whole(vm))
    assert binds(whole(vm))


def test_failed_renewal_is_silent(bench: Bench, vm: Vm) -> None:
    vm.tpm.relay.two_second_rule = False
    define_user_data(vm, bytes([1]) * 64)
    old = whole(vm)
    define_user_data(vm, bytes([2]) * 64)
    row = {"action": "fail", "service": "paravisor", "operation": "hcl_report", "times": 1}
    bench.world.faults.add(fault_rows.checked(row))
    assert whole(vm) == old and b"0101" in old[1236:]
    assert b"0202" in whole(vm)[1236:]


# --- reboot


def test_reboot(bench: Bench) -> None:
    """PCRs follow the new boot, the ephemeral key is another, user data and attestation key stay, sessions are gone."""
    for vm in bench.vms:
        define_user_data(vm, bytes([7]) * 64)
        vm.tpm.extend(4)
        ak, before, changed = vm.tpm.ak_modulus, vm.evidence["TpmInfo"]["EncKeyPub"], pcrs(vm)
        session = vm.run(wire.START_SESSION, [NULL] * 2, b"", wire.sized(bytes(20)) + b"\0\0\x01\0\x10\0\x0b")
        vm.tpm.reboot()
        assert vm.tpm.ak_modulus == ak and pcrs(vm) != changed
        assert code(vm, wire.command(wire.FLUSH, [], b"", session[:4])) != 0
        # At once, without waiting for two seconds: the boot has forgotten when the last renewal was.
        assert b"0707" in whole(vm)[1236:]
        vm.evidence = vm.collect()
        assert vm.evidence["TpmInfo"]["EncKeyPub"] != before
        assert bench.attested(vm)["secureboot"] is True


def test_reboot_without_secure_boot(bench: Bench) -> None:
    vm = bench.vms[1]
    before = pcrs(vm)
    bench.world.vms["td"].secure_boot = False
    try:
        vm.tpm.reboot()
        vm.evidence = vm.collect()
        claims = bench.attested(vm)
        assert claims["secureboot"] is False
        assert claims["x-ms-isolation-tee"]["x-ms-runtime"]["vm-configuration"]["secure-boot"] is False
        assert pcrs(vm)[7] != before[7] and pcrs(vm)[1:4] == before[1:4]
    finally:
        bench.world.vms["td"].secure_boot = True
        vm.tpm.reboot()


def test_openers_of_an_earlier_boot(bench: Bench) -> None:
    """Closing one does not take away what others have made since."""
    vm = bench.vms[0]
    old = vm.tpm.relay.open()
    make = wire.command(wire.CREATE_PRIMARY, [NULL], wire.PASSWORD, vm.template)
    assert wire.code_of(vm.tpm.relay.transceive(old, make)) == 0
    vm.tpm.reboot()
    made = vm.run(wire.CREATE_PRIMARY, [NULL], wire.PASSWORD, vm.template)
    vm.tpm.relay.close(old)
    assert vm.run(wire.READ_PUBLIC, [struct.unpack_from(">I", made)[0]])
    vm.run(wire.FLUSH, [], b"", made[:4])


# --- the table refuses what nobody would carry out


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"action": "retry", "service": "tpm", "operation": "RsaDecrypt"}, "tpm has no operation RsaDecrypt"),
        ({"action": "explode", "service": "tpm"}, "tpm has no fault explode"),
        ({"action": "retry", "service": "tpm", "operation": "open"}, "tpm open has no fault retry"),
        ({"action": "status", "service": "thim"}, "belongs to imds"),
        ({"action": "torn", "service": "paravisor", "operation": "ak_certificate"}, "has no fault torn"),
        ({"action": "stale_tcb", "service": "thim", "operation": "td_quote"}, "thim td_quote has no fault stale_tcb"),
    ],
)
def test_rows_are_checked(row: dict[str, t.Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fault_rows.checked(row)


def test_other_services_are_not_asked() -> None:
    assert isinstance(fault_rows.checked({"action": "status", "service": "imds"}), Fault)
