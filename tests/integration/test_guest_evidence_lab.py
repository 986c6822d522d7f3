# SPDX-License-Identifier: GPL-3.0-or-later
"""Evidence from the lab's virtual TPM: a real swtpm, a paravisor's behaviour, silicon whose signatures verify.

The guest's rooms and the simulator meet here and nowhere else below the modules; each was written for itself.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from unit.guest.release_fakes import refused

from ansible_collections.confidential.azure_skr.plugins.module_utils.guest import eventlog, evidence
from ansible_collections.confidential.azure_skr.plugins.module_utils.guest.tpm2 import Tpm, open_tpm, templates, wire
from skrsim.core.faults import Fault
from skrsim.core.world import World
from skrsim.services.arm import seed
from skrsim.tee.platform import Platform
from skrsim.vtpm.vm import VirtualTpm

pytestmark = pytest.mark.skipif(shutil.which("swtpm") is None, reason="swtpm is not installed")
SILICON = Path(__file__).resolve().parents[2] / ".build" / "silicon"
VM = "cvm-01"
PCRS = range(8)


class Machine:
    """One confidential VM of the lab, with the certificate service's answer as a guest gets it."""

    def __init__(self, folder: Path, product: str = "Milan") -> None:
        self.world = World.new()
        seed.vm(self.world, VM, "rg", "westeurope")
        self.platform = Platform(self.world, SILICON, product)
        self.tpm = VirtualTpm(self.world, VM, self.platform, folder / "tpm")
        self.log = folder / "event_log"
        self.fetched = 0

    def start(self) -> None:
        self.tpm.start()
        self.log.write_bytes(self.tpm.event_log)

    @property
    def device(self) -> str:
        return f"unix:{self.tpm.socket_path}"

    def chain(self) -> str:
        self.fetched += 1
        answer = self.platform.thim(VM)
        return answer["vcekCert"] + answer["certificateChain"]

    def collect(self, tpm: Tpm, user_data: bytes | None = None, **changes: Any) -> evidence.Evidence:
        roots = changes.pop("roots", self.platform.amd_root_pem)
        return evidence.collect(tpm, self.chain, roots, user_data, event_log_path=str(self.log), **changes)

    def fault(self, action: str, operation: str, service: str = "tpm", **row: Any) -> None:
        times = row.pop("times", None)
        self.world.faults.add(Fault(action, service, operation, times=times, parameters=row))

    def extend(self, pcr: int) -> None:
        """TPM2_PCR_Extend by somebody else on the VM."""
        body = struct.pack(">II", pcr, 9) + wire.PASSWORD + struct.pack(">IH", 1, 0x0B) + os.urandom(32)
        opener = self.tpm.relay.open()
        answer = self.tpm.relay.transceive(opener, struct.pack(">HII", 0x8002, 10 + len(body), 0x182) + body)
        self.tpm.relay.close(opener)
        assert answer[6:10] == bytes(4)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path)
    made.start()
    yield made
    made.tpm.stop()


def encrypt(made: evidence.Evidence, message: bytes, hash_name: str = "") -> bytes:
    way: Any = padding.PKCS1v15()
    if hash_name:
        kind = {"sha1": hashes.SHA1, "sha256": hashes.SHA256, "sha384": hashes.SHA384}[hash_name]
        way = padding.OAEP(padding.MGF1(kind()), kind(), None)
    return rsa.RSAPublicNumbers(65537, made.modulus).public_key().encrypt(message, way)


def test_known_answers(machine: Machine) -> None:
    """The template gives one key per boot, and the policy computed here is the one the TPM computes."""
    with open_tpm(machine.device) as tpm:
        values = tpm.pcr_read(PCRS)
        template = templates.ephemeral_template(templates.pcr_policy(PCRS, templates.pcr_digest(values)))
        (first, area), (second, again) = (tpm.create_primary(wire.RH_NULL, template) for _time in range(2))
        assert first != second and area == again and area[:-256] == template[:-256]
        public = wire.rsa_public(area)
        cipher = rsa.RSAPublicNumbers(65537, public.modulus).public_key().encrypt(b"key", padding.PKCS1v15())
        assert tpm.rsa_decrypt(first, cipher, b"\x00\x15", tuple(PCRS)) == b"key"
        ak = tpm.read_public(templates.AK_HANDLE)
        assert ak is not None and ak[:24].hex() == "0001000b00050472000000100014000b0800000000000100"


def test_from_boot_to_decryption(machine: Machine) -> None:
    with open_tpm(machine.device) as tpm:
        made = machine.collect(tpm)
        assert made.decrypt_rsaes(encrypt(made, b"inner key")) == b"inner key"
        assert made.decrypt_oaep(encrypt(made, b"wrapping key", "sha256"), "sha256") == b"wrapping key"
        assert (made.facts()["product"], made.tee.tee) == ("Milan", "snp")
        assert made.facts()["vm_unique_id"] == machine.world.vms[VM].vm_id.upper()
        assert made.facts()["ak_cert_days_left"] >= 360
    assert tpm.commands <= 20 and tpm.opens == 1 and tpm.created == 1
    assert machine.tpm.relay.names["CreatePrimary"] == 1 and machine.tpm.relay.opens == 1
    assert machine.tpm.relay.commands == tpm.commands


@pytest.mark.parametrize("hash_name", ["sha1", "sha256", "sha384"])
def test_oaep(hash_name: str, machine: Machine) -> None:
    with open_tpm(machine.device) as tpm:
        made = machine.collect(tpm)
        assert made.decrypt_oaep(encrypt(made, b"key", hash_name), hash_name) == b"key"
        with refused("tpm_error"):
            made.decrypt_oaep(encrypt(made, b"key", "sha1" if hash_name != "sha1" else "sha256"), hash_name)


def test_failed_decryptions_use_up_nothing(machine: Machine) -> None:
    """swtpm has room for three sessions, and there is no resource manager in front of it here."""
    with open_tpm(machine.device) as tpm:
        made = machine.collect(tpm)
        for _time in range(8):
            with refused("tpm_error"):
                made.decrypt_oaep(os.urandom(255).rjust(256, b"\0"), "sha256")
        assert made.decrypt_rsaes(encrypt(made, b"key")) == b"key"


def test_event_log_leads_to_the_quoted_pcrs(machine: Machine) -> None:
    with open_tpm(machine.device) as tpm:
        made = machine.collect(tpm)
    events = eventlog.decode(made.event_log)
    replayed = eventlog.replay(events)
    assert [replayed.get(pcr, bytes(32)) for pcr in PCRS] == made.pcr_values
    assert eventlog.secure_boot(events) is True


def test_request_is_whole(machine: Machine) -> None:
    with open_tpm(machine.device) as tpm:
        text = machine.collect(tpm).request({"nonce": "n"})["AttestationInfo"]
    inner = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    isolation = inner["IsolationInfo"]["Evidence"]
    proof = json.loads(base64.b64decode(isolation["Proof"]))
    report = base64.urlsafe_b64decode(proof["SnpReport"] + "==")
    assert report[0x50:0x70] == hashlib.sha256(base64.b64decode(isolation["RunTimeData"])).digest()
    assert base64.b64decode(inner["TcgLogs"]) == machine.tpm.event_log


@pytest.mark.parametrize(
    ("product", "version", "size", "lower"),
    [("Milan", 2, 2600, False), ("Milan", 3, 2900, True), ("Milan", 5, 2600, True), ("Turin", 5, 2900, False)],
)
def test_other_generations_of_hosts(product: str, version: int, size: int, lower: bool, tmp_path: Path) -> None:
    machine = Machine(tmp_path, product)
    options = machine.platform.option(VM)
    options.report_version, options.report_size, options.lower_user_data = version, size, lower
    machine.start()
    try:
        with open_tpm(machine.device) as tpm:
            made = machine.collect(tpm, b"\xab" * 64)
    finally:
        machine.tpm.stop()
    assert (
        made.facts()["product"] == product
        and made.tee.hardware.version == version
        and made.tee.report.user_data == b"\xab" * 64
    )


def test_user_data_within_two_seconds_of_a_renewal(machine: Machine) -> None:
    with open_tpm(machine.device) as tpm:
        tpm.flush(machine.collect(tpm, b"\x01" * 64).key_handle)
        began = time.monotonic()
        made = machine.collect(tpm, b"\x02" * 64)
    assert made.tee.report.user_data == b"\x02" * 64 and 1 < time.monotonic() - began < 10


def test_two_callers_with_user_data(machine: Machine) -> None:
    """Each gets a report with its own."""
    found: dict[int, bytes | None] = {}

    def call(number: int) -> None:
        with open_tpm(machine.device) as tpm:
            found[number] = machine.collect(tpm, bytes([number]) * 64).tee.report.user_data

    threads = [threading.Thread(target=call, args=(number,)) for number in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == {1: b"\x01" * 64, 2: b"\x02" * 64}


def test_pcrs_that_move_after_attestation(machine: Machine) -> None:
    with open_tpm(machine.device) as tpm:
        made = machine.collect(tpm)
        cipher = encrypt(made, b"key")
        machine.extend(16)
        assert made.decrypt_rsaes(cipher) == b"key", "a register outside the set"
        machine.extend(4)
        with refused("pcr_changed"):
            made.decrypt_rsaes(cipher)


def test_reboot(machine: Machine) -> None:
    """The same attestation key, another ephemeral key."""
    with open_tpm(machine.device) as tpm:
        before = machine.collect(tpm)
    machine.tpm.stop()
    machine.start()
    with open_tpm(machine.device) as tpm:
        after = machine.collect(tpm)
    assert before.ak_public == after.ak_public and before.modulus != after.modulus


def test_the_lab_root_is_trusted_by_option_only(machine: Machine) -> None:
    with open_tpm(machine.device) as tpm, refused("vcek_chain"):
        machine.collect(tpm, roots="")


@pytest.mark.parametrize(("action", "reason"), [("foreign_vcek", "vcek_chip"), ("stale_tcb", "vcek_tcb")])
def test_certificates_of_another_host_or_level(action: str, reason: str, machine: Machine) -> None:
    machine.fault(action, "certification", "thim", times=1)
    with open_tpm(machine.device) as tpm:
        tpm.flush(machine.collect(tpm).key_handle)
        assert machine.fetched == 2, "once more was enough"
        machine.fault(action, "certification", "thim")
        with refused(reason):
            machine.collect(tpm)


def test_live_migration_between_report_and_certificates(machine: Machine) -> None:
    real, moved = machine.chain, []

    def chain() -> str:
        if not moved:
            moved.append(machine.platform.move(VM))
            time.sleep(2.1)  # the next reading may renew the report
        return real()

    with open_tpm(machine.device) as tpm:
        made = evidence.collect(tpm, chain, machine.platform.amd_root_pem)
    assert made.tee.hardware.chip_id == machine.platform.chip(VM).chip_id and machine.fetched == 2


@pytest.mark.parametrize("days", [-1, 0])
def test_an_expired_ak_certificate(days: int, machine: Machine) -> None:
    issued = machine.platform.authority.issue(machine.tpm.ak_modulus, "x", time.time() - 86400 * (1 - days), 1 + days)
    machine.tpm.set_ak_certificate(issued)
    with open_tpm(machine.device) as tpm, refused("ak_cert_expired"):
        machine.collect(tpm)


def test_a_vm_that_is_not_confidential(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.world.vms[VM].security_type = "TrustedLaunch"
    machine.start()
    try:
        with open_tpm(machine.device) as tpm, refused("not_a_cvm"):
            machine.collect(tpm, require="confidential")
    finally:
        machine.tpm.stop()


@pytest.mark.parametrize("command", ["NV_Read", "PCR_Read", "CreatePrimary", "Quote", "Certify"])
def test_answers_that_say_try_again(command: str, machine: Machine) -> None:
    machine.fault("rc", command, times=3, code="0x922")
    with open_tpm(machine.device) as tpm:
        machine.collect(tpm)


@pytest.mark.parametrize("command", ["NV_ReadPublic", "NV_Read", "CreatePrimary", "Quote", "Certify"])
def test_answers_that_say_no(command: str, machine: Machine) -> None:
    machine.fault("rc", command, times=1, code="0x101")
    with open_tpm(machine.device) as tpm:
        with refused("tpm_error") as info:
            machine.collect(tpm)
        assert info.value.facts["command"] == command
        for _time in range(4):  # three objects fit: nothing was left
            tpm.flush(machine.collect(tpm).key_handle)


def test_a_tpm_held_for_a_while(machine: Machine) -> None:
    machine.fault("busy", "open", times=3)
    with open_tpm(machine.device) as tpm:
        machine.collect(tpm)
        assert tpm.opens == 4


def test_a_tpm_held_for_ever(machine: Machine) -> None:
    machine.fault("busy", "open")
    with refused("tpm_busy"), open_tpm(machine.device, 1.0) as tpm:
        machine.collect(tpm)
