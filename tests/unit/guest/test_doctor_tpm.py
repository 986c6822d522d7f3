# SPDX-License-Identifier: GPL-3.0-or-later
"""The doctor's look at the TPM: every check with every outcome."""

from __future__ import annotations

import errno
import hashlib
import os
import socket
import threading
import time
import typing as t
from pathlib import Path

import pytest
from unit.guest import silicon_fakes, test_eventlog, tpm_fakes
from unit.guest.doctor_fakes import told, wanted
from unit.guest.silicon_fakes import hcl_blob, modulus_of, rsa_key, runtime_data

from ansible_collections.confidential.azure_skr.plugins.module_utils.guest import crypto
from ansible_collections.confidential.azure_skr.plugins.module_utils.guest.doctor import examination, tpm
from ansible_collections.confidential.azure_skr.plugins.module_utils.guest.doctor.findings import Finding
from ansible_collections.confidential.azure_skr.plugins.module_utils.guest.doctor.patient import Notes
from ansible_collections.confidential.azure_skr.plugins.module_utils.guest.tpm2 import transport

GOOD = ["tpm_device", "vm_type", "ak", "ak_certificate", "pcr_bank", "boot_log"]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> tpm_fakes.FakeTpm:
    made = tpm_fakes.FakeTpm()
    tpm_fakes.install(monkeypatch, made)
    monkeypatch.setattr(tpm, "time", made.clock)
    made.extend(0)
    made.pcrs[7] = test_eventlog.extended(secure(True))
    return made


def secure(on: bool) -> bytes:
    return test_eventlog.variable("SecureBoot", b"\x01" if on else b"\x00")


def log_of(*records: t.Tuple[int, int, bytes]) -> bytes:
    return test_eventlog.header(test_eventlog.SHA256) + b"".join(test_eventlog.record(*one) for one in records)


@pytest.fixture
def log(tmp_path: Path, fake: tpm_fakes.FakeTpm) -> Path:
    """A log that leads to the fake's PCRs."""
    path = tmp_path / "log"
    path.write_bytes(log_of((0, 1, b"one"), (7, test_eventlog.VARIABLE, secure(True))))
    fake.pcrs[0] = test_eventlog.extended(b"one")
    return path


def examine(fake_log: t.Union[Path, str] = "/nowhere", **options: t.Any) -> t.Dict[str, Finding]:
    notes = Notes()
    return {one.check: one for one in tpm.examine(wanted(event_log_path=str(fake_log), **options), notes)}


def test_all_is_well(fake: tpm_fakes.FakeTpm, log: Path) -> None:
    found = examine(log)
    assert list(found) == GOOD and {one.severity for one in found.values()} == {"ok"}
    assert "snp" in found["vm_type"].found and found["vm_type"].facts["vm_unique_id"] == silicon_fakes.VMID
    assert found["ak_certificate"].facts["days_left"] > 90
    assert "20 events" not in found["boot_log"].found and "lead to the PCRs" in found["boot_log"].found
    assert fake.closed == 1 and not fake.objects and not fake.sessions
    # Nothing but looking: no write, no key, no session.
    assert set(fake.counts()) == {0x169, 0x14E, 0x173, 0x17E}


# --- the device


@pytest.mark.parametrize(
    ("number", "code", "words"),
    [
        (errno.ENOENT, "tpm_missing", "/dev/tpm"),
        (errno.EACCES, "tpm_permission", "this is user"),
        (errno.EBUSY, "tpm_busy", "held by"),
        (errno.EIO, "tpm_error", "Input/output error"),
    ],
)
def test_a_device_that_cannot_be_used(
    number: int, code: str, words: str, fake: tpm_fakes.FakeTpm, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect(_device: str) -> t.Any:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(transport, "connect", connect)
    found = examine(log, tpm_timeout=1.0)
    assert (found["tpm_device"].severity, found["tpm_device"].code) == ("failed", code)
    assert words in found["tpm_device"].found and found["tpm_device"].next_step
    assert {found[check].severity for check in tpm.REST} == {"skipped"}
    assert found["boot_log"].severity == "ok"  # which needs no TPM


def test_owner_group_and_mode_and_who_holds_it(tmp_path: Path) -> None:
    device = tmp_path / "tpm0"
    device.touch(mode=0o600)
    node = tpm._node(str(device))
    assert node["mode"] == "0600" and node["owner"] and node["group"]
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:  # another process, which has it open until it is told to end
        os.close(writer)
        os.open(device, os.O_RDWR)
        os.read(reader, 1)
        os._exit(0)
    os.close(reader)
    try:
        deadline = time.monotonic() + 10
        while not (held := tpm._holders(str(device))) and time.monotonic() < deadline:
            time.sleep(0.02)
    finally:
        os.close(writer)
        os.waitpid(child, 0)
    assert len(held) == 1 and f"(pid {child})" in held[0]
    assert tpm._holders("unix:/x") == [] and tpm._node("tcp:h:1") == {}


def test_a_tpm_that_never_answers_ends_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examination, "_TPM_LIMIT", 0.2)
    path, silent = str(tmp_path / "sock"), socket.socket(socket.AF_UNIX)
    silent.bind(path)
    silent.listen(1)
    threading.Thread(target=silent.accept, daemon=True).start()
    start = time.monotonic()
    found = examination._tpm(wanted(tpm_device=f"unix:{path}", tpm_timeout=0.1), Notes())
    assert told(found) == [("tpm_device", "failed", "tpm_busy")] and time.monotonic() - start < 5
    silent.close()


# --- kind of VM and key


def test_trusted_launch_and_no_azure_at_all(fake: tpm_fakes.FakeTpm, log: Path) -> None:
    del fake.nv[tpm_fakes.HCL_REPORT]
    assert "attestation key all the same" in examine(log)["vm_type"].found
    fake.nv[tpm_fakes.AK_CERT].attributes &= ~0x40000000  # the owner has made it, not the platform
    found = examine(log)
    assert found["vm_type"].code == "not_a_cvm" and "Trusted Launch" in found["vm_type"].found
    assert found["ak"].severity == "ok" and "compare" in found["ak"].found
    fake.persistent.clear()
    found = examine(log)
    assert "no Azure vTPM" in found["vm_type"].found and found["ak"].code == "ak_missing"
    assert found["ak_certificate"].severity == "skipped" and found["pcr_bank"].severity == "ok"


def test_reports_of_other_kinds(fake: tpm_fakes.FakeTpm, log: Path) -> None:
    fake.make_report = lambda _data: b"HCLX".ljust(2600, b"\0")
    assert examine(log)["vm_type"].code == "hcl_malformed"
    fake.clock.now += 100  # so that it is renewed again
    runtime = runtime_data(modulus_of(fake.ak))
    fake.make_report = lambda _data: hcl_blob(bytes(1184), runtime, report_type=1)
    found = examine(log)
    assert found["vm_type"].code == "tee_unsupported" and found["ak"].severity == "ok"


def test_a_debuggable_vm(fake: tpm_fakes.FakeTpm, log: Path) -> None:
    runtime = runtime_data(modulus_of(fake.ak))
    policy = (0x3001F | 1 << 19).to_bytes(8, "little")
    report = fake.host.report(hashlib.sha256(runtime).digest(), patches={8: policy})
    fake.make_report = lambda _data: hcl_blob(report, runtime)
    found = examine(log)["vm_type"]
    assert (found.severity, found.code) == ("warning", "vm_debuggable")


def test_a_report_of_another_key_is_read_again_first(fake: tpm_fakes.FakeTpm, log: Path) -> None:
    """Torn once it is fine; another VM's stays so."""
    good = fake.make_report
    foreign = runtime_data(modulus_of(rsa_key("other")))
    bad = hcl_blob(fake.host.report(hashlib.sha256(foreign).digest()), foreign)
    fake.make_report = lambda _data: bad
    found = examine(log)
    assert found["ak"].code == "hcl_binding" and found["ak_certificate"].severity == "ok"
    assert fake.clock.slept == [tpm._AGAIN]
    answers = iter([bad, good(bytes(64))])
    fake.make_report = lambda _data: next(answers)
    fake.clock.now += 100  # so that both readings renew it
    fake.clock.slept.clear()
    monkey = fake.clock.sleep
    fake.clock.sleep = lambda seconds: monkey(seconds + 10)  # type: ignore[method-assign]
    assert examine(log)["ak"].severity == "ok"


def test_a_key_that_is_no_attestation_key(fake: tpm_fakes.FakeTpm, log: Path) -> None:
    area = bytearray(fake.persistent[tpm_fakes.AK])
    area[4:8] = (0x00040472).to_bytes(4, "big")  # not restricted
    fake.persistent[tpm_fakes.AK] = bytes(area)
    assert examine(log)["ak"].code == "ak_missing"


# --- the certificate


@pytest.mark.parametrize(
    ("days", "severity", "code"),
    [(200, "ok", "ok"), (91.5, "ok", "ok"), (90, "warning", "ak_cert_expiring"), (0.5, "warning", "ak_cert_expiring"),
     (-1, "failed", "ak_cert_expired")],
)  # fmt: skip
def test_days_of_the_ak_certificate(days: float, severity: str, code: str, fake: tpm_fakes.FakeTpm, log: Path) -> None:
    now = time.time()
    der = tpm_fakes.ak_certificate(fake.ak, begin=now - 86400 * 300, end=now + 86400 * days + 60)
    fake.nv[tpm_fakes.AK_CERT].content = der.ljust(4096, b"\0")
    found = examine(log)["ak_certificate"]
    assert (found.severity, found.code) == (severity, code)
    if severity != "ok":
        assert "renew" in found.next_step.lower()


def test_ak_certificates_that_are_none(fake: tpm_fakes.FakeTpm, log: Path) -> None:
    index = fake.nv[tpm_fakes.AK_CERT]
    for content, code in (
        (bytes(4096), "ak_cert_missing"),
        (None, "ak_cert_missing"),
        (b"\x30\x03abc".ljust(4096, b"\0"), "ak_cert_invalid"),
        (tpm_fakes.ak_certificate(rsa_key("other")).ljust(4096, b"\0"), "ak_cert_invalid"),
    ):
        index.content = content
        assert examine(log)["ak_certificate"].code == code
    del fake.nv[tpm_fakes.AK_CERT]
    assert examine(log)["ak_certificate"].code == "ak_cert_missing"


def test_without_the_library_the_certificate_is_skipped(
    fake: tpm_fakes.FakeTpm, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crypto, "AVAILABLE", False)
    found = examine(log)
    assert found["ak_certificate"].severity == "skipped" and "cryptography" in found["ak_certificate"].found
    assert {found[check].severity for check in ("vm_type", "ak", "pcr_bank", "boot_log")} == {"ok"}


# --- registers and log


def test_registers(fake: tpm_fakes.FakeTpm, log: Path) -> None:
    fake.pcrs = [bytes(32)] * 24
    found = examine(log)
    assert found["pcr_bank"].code == "nothing_measured" and found["boot_log"].code == "boot_log_differs"
    fake.pcr_limit = 0
    found = examine(log)
    assert found["pcr_bank"].code == "pcr_bank_missing" and found["boot_log"].severity == "ok"
    fake.codes[tpm_fakes.PCR_READ] = [0x101]
    assert examine(log)["pcr_bank"].code == "tpm_error"


def test_logs(fake: tpm_fakes.FakeTpm, log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert examine(tmp_path / "none")["boot_log"].code == "boot_log_missing"
    (tmp_path / "empty").touch()
    assert examine(tmp_path / "empty")["boot_log"].code == "boot_log_missing"
    (tmp_path / "torn").write_bytes(log.read_bytes()[:-2])
    assert examine(tmp_path / "torn")["boot_log"].code == "boot_log_damaged"
    (tmp_path / "other").write_bytes(log_of((0, 1, b"two"), (7, test_eventlog.VARIABLE, secure(True))))
    found = examine(tmp_path / "other")["boot_log"]
    assert found.code == "boot_log_differs" and found.facts["pcrs"] == [0] and found.severity == "warning"
    fake.pcrs[7] = test_eventlog.extended(secure(False))
    (tmp_path / "off").write_bytes(log_of((0, 1, b"one"), (7, test_eventlog.VARIABLE, secure(False))))
    assert examine(tmp_path / "off")["boot_log"].code == "secure_boot_off"
    fake.pcrs[7] = bytes(32)
    (tmp_path / "silent").write_bytes(log_of((0, 1, b"one")))
    found = examine(tmp_path / "silent")["boot_log"]
    assert found.severity == "ok" and "does not tell" in found.found

    def denied(*_words: t.Any, **_options: t.Any) -> t.Any:
        raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(tpm, "open", denied, raising=False)
    found = examine(log)["boot_log"]
    assert found.code == "boot_log_unreadable" and "become" in found.next_step
