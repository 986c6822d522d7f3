# SPDX-License-Identifier: GPL-3.0-or-later
"""Collecting the evidence of a VM: the request, its cost, and every way the VM or its TPM can be unfit."""

from __future__ import annotations

import base64
import dataclasses
import fcntl
import hashlib
import json
import os
import typing as t
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from unit.guest import tpm_fakes as fakes
from unit.guest.release_fakes import refused
from unit.guest.silicon_fakes import VMID, Host, hcl_blob, modulus_of, pem, rsa_key, runtime_data
from unit.guest.tpm_fakes import FakeTpm, ak_certificate, open_fake

from ansible_collections.confidential.azure_skr.plugins.module_utils.guest import (
    der,
    evidence,
    hcl,
    hcl_index,
    quote,
    tee,
)
from ansible_collections.confidential.azure_skr.plugins.module_utils.guest.tpm2 import Tpm, templates, wire

USER_DATA = bytes(range(64))
HOST = Host()
RSAES = padding.PKCS1v15()


class Vm:
    """A confidential VM with a fake TPM, a certificate service that gives ``chains`` in turn, and two files."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path, host: Host = HOST) -> None:
        self.tpm = FakeTpm(host=host)
        self.client = open_fake(monkeypatch, self.tpm)
        for room in (hcl_index, tee):
            monkeypatch.setattr(room, "time", self.tpm.clock)
        monkeypatch.setattr(hcl_index, "_LOCK", str(folder / "lock"))
        self.chains: t.List[t.Callable[[], str]] = []
        self.fetched = 0
        self.log, self.release = folder / "log", folder / "os-release"
        self.log.write_bytes(b"measured boot")
        self.release.write_text('NAME="Ubuntu"\nVERSION_ID="24.04"\n')

    def chain(self) -> str:
        self.fetched += 1
        return (self.chains.pop(0) if self.chains else self.tpm.host.chain)()

    def collect(self, user_data: t.Optional[bytes] = None, **changes: t.Any) -> evidence.Evidence:
        roots = changes.pop("roots", pem(self.tpm.host.ark))
        paths = {"event_log_path": str(self.log), "os_release_path": str(self.release)}
        return evidence.collect(self.client, self.chain, roots, user_data, **{**paths, **changes})


@pytest.fixture
def vm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Vm:
    return Vm(monkeypatch, tmp_path)


def unb64(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def unb64u(text: str) -> bytes:
    assert "=" not in text and "+" not in text and "/" not in text
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


# --- the good case


def test_the_cost(vm: Vm) -> None:
    """At most 20 TPM commands with both decryptions of a release, one key, one fetch."""
    made = vm.collect()
    assert vm.client.created == 1 and vm.fetched == 1
    assert dict(vm.tpm.counts()) == {
        fakes.NV_READ_PUBLIC: 2,
        fakes.READ_PUBLIC: 1,
        fakes.NV_READ: 4,
        fakes.PCR_READ: 1,
        fakes.CREATE_PRIMARY: 1,
        fakes.QUOTE: 1,
        fakes.CERTIFY: 1,
    }
    public = rsa.RSAPublicNumbers(65537, made.modulus).public_key()
    assert made.decrypt_rsaes(public.encrypt(b"inner key", RSAES)) == b"inner key"
    oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    assert made.decrypt_oaep(public.encrypt(b"wrapping key", oaep), "sha256") == b"wrapping key"
    vm.client.close()
    assert vm.client.commands <= 20 and vm.tpm.objects == {} and vm.tpm.sessions == {}
    assert vm.tpm.clock.slept == []


@pytest.mark.parametrize("hash_name", ["sha1", "sha256", "sha384"])
def test_every_oaep_hash(hash_name: str, vm: Vm) -> None:
    made = vm.collect()
    way: t.Any = {"sha1": hashes.SHA1, "sha256": hashes.SHA256, "sha384": hashes.SHA384}[hash_name]
    cipher = (
        rsa.RSAPublicNumbers(65537, made.modulus)
        .public_key()
        .encrypt(b"key", padding.OAEP(padding.MGF1(way()), way(), None))
    )
    assert made.decrypt_oaep(cipher, hash_name) == b"key"


def test_the_request(vm: Vm) -> None:
    made = vm.collect()
    body = made.request({"nonce": "text", "purpose": "größe"})
    assert list(body) == ["AttestationInfo"]
    inner = json.loads(unb64u(body["AttestationInfo"]))
    assert set(inner) == {
        "AttestationProtocolVersion", "OSType", "OSDistro", "OSVersionMajor", "OSVersionMinor", "OSBuild", "TcgLogs",
        "ClientPayload", "TpmInfo", "IsolationInfo",
    }  # fmt: skip
    assert (inner["AttestationProtocolVersion"], inner["OSVersionMajor"], inner["OSVersionMinor"]) == ("2.0", 24, 4)
    words = {name: unb64(inner[name]) for name in ("OSType", "OSDistro", "OSBuild", "TcgLogs")}
    assert words == {
        "OSType": b"Linux",
        "OSDistro": b"Ubuntu",
        "OSBuild": b"NotApplication",
        "TcgLogs": b"measured boot",
    }
    payload = {name: unb64(value).decode() for name, value in inner["ClientPayload"].items()}
    assert payload == {"nonce": "text", "purpose": "größe"}


def test_the_tpm_part_of_the_request(vm: Vm) -> None:
    made = vm.collect()
    info = json.loads(unb64u(made.request({})["AttestationInfo"]))["TpmInfo"]
    assert set(info) == {
        "AikCert", "AikPub", "PcrQuote", "PcrSignature", "PcrSet", "PCRs", "EncKeyPub", "EncKeyCertifyInfo",
        "EncKeyCertifyInfoSignature",
    }  # fmt: skip
    sizes = {name: len(unb64(value)) for name, value in info.items() if isinstance(value, str) and name != "AikCert"}
    assert sizes == {
        "AikPub": 282,
        "PcrQuote": 113,
        "PcrSignature": 256,
        "EncKeyPub": 312,
        "EncKeyCertifyInfo": 141,
        "EncKeyCertifyInfoSignature": 256,
    }
    assert info["PcrSet"] == list(range(8))
    assert info["PCRs"] == [{"Index": pcr, "Digest": base64.b64encode(bytes(32)).decode()} for pcr in range(8)]
    assert unb64(info["AikPub"]) == b"\x01\x18" + vm.tpm.persistent[fakes.AK]
    assert unb64(info["AikCert"]) == der.certificate(unb64(info["AikCert"])).der, "no zeros behind it"
    ak = vm.tpm.ak.public_key()
    for statement in ("PcrQuote", "EncKeyCertifyInfo"):
        signature = unb64(info["PcrSignature" if statement == "PcrQuote" else "EncKeyCertifyInfoSignature"])
        ak.verify(signature, unb64(info[statement]), padding.PKCS1v15(), hashes.SHA256())
    area = unb64(info["EncKeyPub"])[2:]
    policy = templates.pcr_policy(range(8), templates.pcr_digest([bytes(32)] * 8))
    assert area[:-256] == templates.ephemeral_template(policy)[:-256]
    assert quote.parse(unb64(info["EncKeyCertifyInfo"])).name == b"\0\x0b" + hashlib.sha256(area).digest()


def test_the_hardware_part_of_the_request(vm: Vm) -> None:
    made = vm.collect()
    isolation = json.loads(unb64u(made.request({})["AttestationInfo"]))["IsolationInfo"]
    assert isolation["Type"] == "SevSnp" and set(isolation["Evidence"]) == {"Proof", "RunTimeData"}
    proof = json.loads(unb64(isolation["Evidence"]["Proof"]))
    report, runtime = unb64u(proof["SnpReport"]), unb64(isolation["Evidence"]["RunTimeData"])
    assert len(report) == 1184 and report[0x50:0x70] == hashlib.sha256(runtime).digest()
    assert json.loads(runtime)["keys"][0]["kid"] == "HCLAkPub"
    assert len(der.pem_certificates(unb64(proof["VcekCertChain"]).decode())) == 3


def test_facts_are_public_and_plain(vm: Vm) -> None:
    facts = vm.collect().facts()
    assert json.loads(json.dumps(facts)) == facts
    expected = {
        "tee": "snp",
        "product": "Milan",
        "report_version": 3,
        "chip_id": HOST.chip_id.hex(),
        "reported_tcb": {"boot_loader": 4, "tee": 0, "snp": 24, "microcode": 219, "fmc": None},
        "vm_unique_id": VMID,
        "debuggable": False,
        "vmpl": 0,
        "guest_svn": 8,
        "pcrs": {str(pcr): "00" * 32 for pcr in range(8)},
        "ak_cert_issuer": "Global Virtual TPM CA - 01",
        "ak_cert_days_left": 364,
    }
    assert {name: facts[name] for name in expected} == expected


@pytest.mark.parametrize("product", ["Milan", "Genoa", "Turin"])
@pytest.mark.parametrize("size", [2048, 2600, 2900])
def test_products_and_sizes(product: str, size: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine = Vm(monkeypatch, tmp_path, Host(product))
    machine.tpm.nv[fakes.HCL_REPORT].size = size
    made = machine.collect()
    assert made.facts()["product"] == product and made.tee.report.tee == "snp"
    assert made.facts()["reported_tcb"]["fmc"] == (1 if product == "Turin" else None)


# --- what surrounds the evidence


def test_without_an_event_log(vm: Vm) -> None:
    vm.log.unlink()
    inner = json.loads(unb64u(vm.collect().request({})["AttestationInfo"]))
    assert inner["TcgLogs"] == ""


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('NAME="Ubuntu"\nVERSION_ID="22.04"\n', ("Ubuntu", 22, 4)),
        ("NAME='Red Hat Enterprise Linux'\nVERSION_ID='9.4'\n", ("Red Hat Enterprise Linux", 9, 4)),
        ('NAME="Debian GNU/Linux"\nVERSION_ID="12"\n', ("Debian GNU/Linux", 12, 0)),
        ("NAME=Arch\n", ("Arch", 1, 0)),
        ("NAME=x\nVERSION_ID=0.5\n", ("x", 1, 5)),  # the service refuses a major version of 0
        ("NAME=x\nVERSION_ID=²\n", ("x", 1, 0)),
        ("", ("Linux", 1, 0)),
    ],
)
def test_distributions(text: str, found: t.Tuple[str, int, int], tmp_path: Path) -> None:
    (tmp_path / "os-release").write_text(text, encoding="utf-8")
    assert evidence.distribution(str(tmp_path / "os-release")) == found


def test_no_os_release(tmp_path: Path) -> None:
    assert evidence.distribution(str(tmp_path / "none")) == ("Linux", 1, 0)


# --- the VM is unfit


def test_no_confidential_vm(vm: Vm) -> None:
    del vm.tpm.nv[fakes.HCL_REPORT]
    for wanted in ("confidential", "snp", "tdx"):
        with refused("not_a_cvm"):
            vm.collect(require=wanted)
    assert vm.client.commands == 3
    with refused("not_a_cvm") as info:
        vm.collect(USER_DATA)
    assert info.value.facts == {"option": "user_data"}


def test_no_attestation_key(vm: Vm) -> None:
    vm.tpm.persistent.clear()
    with refused("ak_missing"):
        vm.collect()


@pytest.mark.parametrize("bit", [0x2, 0x10, 0x20, 0x10000, 0x40000])
def test_a_key_that_others_could_make_sign_anything(bit: int, vm: Vm) -> None:
    area = vm.tpm.persistent[fakes.AK]
    vm.tpm.persistent[fakes.AK] = area[:4] + (0x50472 & ~bit).to_bytes(4, "big") + area[8:]
    with refused("ak_missing"):
        vm.collect()


def test_the_report_of_another_vm(vm: Vm) -> None:
    vm.tpm.persistent[fakes.AK] = fakes.public_area(rsa_key("other ak"))
    with refused("hcl_binding") as info:
        vm.collect()
    assert "HCLAkPub" in info.value.message and vm.fetched == 0
    assert sum(vm.tpm.clock.slept) <= 10


@pytest.mark.parametrize("report_type", [1, 3, 5])
def test_hardware_that_is_not_supported(report_type: int, vm: Vm) -> None:
    runtime = runtime_data(modulus_of(vm.tpm.ak))
    vm.tpm.make_report = lambda _data: hcl_blob(b"", runtime, report_type=report_type)
    with refused("tee_unsupported"):
        vm.collect()
    assert vm.tpm.clock.slept == [], "waiting does not change the hardware"


def test_an_index_that_holds_no_report(vm: Vm) -> None:
    vm.tpm.make_report = lambda _data: bytes(2600)
    with refused("hcl_malformed"):
        vm.collect()
    assert sum(vm.tpm.clock.slept) <= 10


# --- the AK certificate


@pytest.mark.parametrize("how", ["absent", "never written", "zeros"])
def test_no_ak_certificate(how: str, vm: Vm) -> None:
    if how == "absent":
        del vm.tpm.nv[fakes.AK_CERT]
    else:
        vm.tpm.nv[fakes.AK_CERT].content = None if how == "never written" else bytes(4096)
    with refused("ak_cert_missing"):
        vm.collect()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (ak_certificate(rsa_key("other ak")), "ak_cert_invalid"),
        (ak_certificate(rsa_key("ak"), begin=1.0, end=86400.0), "ak_cert_expired"),
        (ak_certificate(rsa_key("ak"), begin=4e9, end=5e9), "ak_cert_invalid"),
        (ak_certificate(rsa_key("ak"))[:500], "ak_cert_invalid"),
        (b"\x30\x82\xff\xff", "ak_cert_invalid"),
        (b"\xff" * 4096, "ak_cert_invalid"),
    ],
)
def test_an_unfit_ak_certificate(content: bytes, reason: str, vm: Vm) -> None:
    vm.tpm.nv[fakes.AK_CERT].content = content.ljust(4096, b"\0")
    with refused(reason):
        vm.collect()


@pytest.mark.parametrize("size", [1400, 2048, 4096])
def test_only_the_certificate_is_read(size: int, vm: Vm) -> None:
    """The index may be much larger than what it holds."""
    certificate = ak_certificate(rsa_key("ak"))
    vm.tpm.nv[fakes.AK_CERT] = fakes.Nv(0x62060004, size, certificate.ljust(size, b"\0"))
    assert vm.collect().ak_certificate.der == certificate
    assert vm.tpm.counts()[fakes.NV_READ] == 3 + (len(certificate) + 1023) // 1024


# --- the certificate service and the report do not match


def other_chip() -> str:
    return dataclasses.replace(HOST, chip_id=bytes(range(1, 65)), key="other vcek").chain()


def other_level() -> str:
    return dataclasses.replace(HOST, tcb=(4, 0, 24, 220)).chain()


@pytest.mark.parametrize("wrong", [other_chip, other_level])
def test_a_difference_that_passes(wrong: t.Callable[[], str], vm: Vm) -> None:
    """The VM moved, or the host was updated, between the two readings."""
    vm.chains = [wrong]
    vm.collect()
    assert vm.fetched == 2 and vm.tpm.counts()[fakes.CREATE_PRIMARY] == 1


@pytest.mark.parametrize(("wrong", "reason"), [(other_chip, "vcek_chip"), (other_level, "vcek_tcb")])
def test_a_difference_that_stays(wrong: t.Callable[[], str], reason: str, vm: Vm) -> None:
    vm.chains = [wrong] * 20
    with refused(reason):
        vm.collect()
    assert vm.fetched == 3


def test_an_untrusted_root_is_not_asked_for_twice(vm: Vm) -> None:
    with refused("vcek_chain"):
        vm.collect(roots="")
    assert vm.fetched == 1


def test_a_forged_report(vm: Vm) -> None:
    runtime = runtime_data(modulus_of(vm.tpm.ak))
    vm.tpm.make_report = lambda _data: hcl_blob(
        HOST.report(hashlib.sha256(runtime).digest(), signer="mallory"), runtime
    )
    with refused("report_signature"):
        vm.collect()
    assert vm.fetched == 1


# --- user data, stale and torn reports


def test_user_data(vm: Vm) -> None:
    made = vm.collect(USER_DATA)
    assert made.tee.report.user_data == USER_DATA
    index = vm.tpm.nv[fakes.USER_DATA]
    assert (index.size, index.attributes, index.content) == (64, 0x00060006, USER_DATA)


def test_user_data_again(vm: Vm) -> None:
    """The index is there already; the report is not renewed within two seconds, so the first reading is stale."""
    vm.collect(USER_DATA)
    made = vm.collect(USER_DATA[::-1])
    assert made.tee.report.user_data == USER_DATA[::-1]
    assert vm.tpm.counts()[fakes.NV_DEFINE] == 1 and 2 < sum(vm.tpm.clock.slept) <= 10


def test_an_index_of_another_size(vm: Vm) -> None:
    vm.tpm.nv[fakes.USER_DATA] = fakes.Nv(0x20002, 32, bytes(32))
    assert vm.collect(USER_DATA).tee.report.user_data == USER_DATA
    assert vm.tpm.counts()[fakes.NV_UNDEFINE] == 1 and vm.tpm.nv[fakes.USER_DATA].size == 64


@pytest.mark.parametrize("size", [0, 1, 63, 65])
def test_user_data_of_another_size(size: int, vm: Vm) -> None:
    with refused("invalid_input") as info:
        vm.collect(bytes(size))
    assert info.value.facts == {"option": "user_data"} and fakes.NV_WRITE not in vm.tpm.counts()


@pytest.mark.parametrize("lower", [True, False])
def test_digits_of_either_case(lower: bool, vm: Vm) -> None:
    def report(data: bytes) -> bytes:
        runtime = runtime_data(modulus_of(vm.tpm.ak), data, lower)
        return hcl_blob(HOST.report(hashlib.sha256(runtime).digest()), runtime)

    vm.tpm.make_report = report
    assert vm.collect(b"\xab" * 64).tee.report.user_data == b"\xab" * 64


def test_a_report_that_is_never_renewed(vm: Vm) -> None:
    stale = vm.tpm.report(bytes(64))
    vm.tpm.make_report = lambda _data: stale
    with refused("report_stale"):
        vm.collect(USER_DATA)
    assert 5 < sum(vm.tpm.clock.slept) <= 10


def test_a_torn_reading(vm: Vm) -> None:
    """Somebody reads offset 0 between two of our pieces: the pieces are of two reports."""
    reads = [0]

    def between() -> None:
        reads[0] += 1
        if reads[0] == 2:
            vm.tpm.nv[fakes.HCL_REPORT].content = vm.tpm.report(USER_DATA)

    vm.tpm.before[fakes.NV_READ] = between
    made = vm.collect()
    assert vm.tpm.clock.slept == [0.5] and vm.fetched == 1
    hcl.check_binding(made.tee.report, modulus_of(vm.tpm.ak))


def test_a_torn_reading_of_reports_of_different_length(vm: Vm) -> None:
    """Then what is read is not even JSON."""
    reads = [0]

    def between() -> None:
        reads[0] += 1
        if reads[0] == 3:
            runtime = runtime_data(modulus_of(vm.tpm.ak)).ljust(900)
            vm.tpm.nv[fakes.HCL_REPORT].content = hcl_blob(b"", b"{" + runtime, 2600)

    def report(data: bytes) -> bytes:
        runtime = json.dumps({"padding": "x" * 500, **json.loads(runtime_data(modulus_of(vm.tpm.ak), data))}).encode()
        return hcl_blob(HOST.report(hashlib.sha256(runtime).digest()), runtime)

    vm.tpm.before[fakes.NV_READ] = between
    vm.tpm.make_report = report
    vm.collect()
    assert len(vm.tpm.clock.slept) >= 1 and vm.fetched == 1


def test_the_lock_is_for_user_data_only_and_is_released(vm: Vm, tmp_path: Path) -> None:
    vm.collect()
    assert not (tmp_path / "lock").exists()
    vm.collect(USER_DATA)
    with (tmp_path / "lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o600


def test_a_lock_that_somebody_keeps(vm: Vm, tmp_path: Path) -> None:
    """The wait is bounded; reading back the user data still tells an exchange."""
    with (tmp_path / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert vm.collect(USER_DATA).tee.report.user_data == USER_DATA
    assert 29 < sum(vm.tpm.clock.slept) < 45


def test_a_lock_that_cannot_be_made(vm: Vm, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("")
    os.symlink(tmp_path / "elsewhere", tmp_path / "link")
    for path in (tmp_path / "none" / "lock", tmp_path / "link"):
        monkeypatch.setattr(hcl_index, "_LOCK", str(path))
        vm.tpm.clock.now += 3
        assert vm.collect(USER_DATA).tee.report.user_data == USER_DATA
        vm.client.close()


# --- PCRs that move, statements that do not verify


def test_an_event_log_that_grows_while_quoting(vm: Vm) -> None:
    """What is measured between quote and reading the log would be in the log alone; the service refuses that."""
    late = [lambda: vm.log.write_bytes(vm.log.read_bytes() + b"late")]
    vm.tpm.before[fakes.QUOTE] = lambda: late.pop()() if late else None
    made = vm.collect()
    assert made.event_log == vm.log.read_bytes() and made.event_log.endswith(b"late")
    assert vm.tpm.counts()[fakes.QUOTE] == 2 and len(vm.tpm.objects) == 1
    vm.tpm.before[fakes.QUOTE] = lambda: vm.log.write_bytes(vm.log.read_bytes() + b"more") and None
    with refused("pcr_changed"):
        vm.collect()


def test_pcrs_that_move_once(vm: Vm) -> None:
    moves = [lambda: vm.tpm.extend(3)]
    vm.tpm.before[fakes.QUOTE] = lambda: moves.pop()() if moves else None
    made = vm.collect()
    assert made.pcr_values[3] == vm.tpm.pcrs[3] != bytes(32)
    assert list(vm.tpm.objects) == [made.key_handle], "the first key is gone"
    assert vm.tpm.counts()[fakes.CREATE_PRIMARY] == 2 and vm.fetched == 1
    public = rsa.RSAPublicNumbers(65537, made.modulus).public_key()
    assert made.decrypt_rsaes(public.encrypt(b"key", RSAES)) == b"key"


def test_pcrs_that_never_hold_still(vm: Vm) -> None:
    vm.tpm.before[fakes.QUOTE] = lambda: vm.tpm.extend(3)
    with refused("pcr_changed"):
        vm.collect()
    assert vm.tpm.counts()[fakes.CREATE_PRIMARY] == 3 and vm.tpm.objects == {}


def test_other_pcrs_may_move(vm: Vm) -> None:
    vm.tpm.before[fakes.QUOTE] = lambda: vm.tpm.extend(16)
    vm.collect()
    assert vm.tpm.counts()[fakes.CREATE_PRIMARY] == 1


def altered(offset: int) -> t.Callable[[bytes], bytes]:
    """One bit of an answer flipped; the statement begins at offset 16."""
    return lambda answer: answer[:offset] + bytes([answer[offset] ^ 1]) + answer[offset + 1 :]


@pytest.mark.parametrize("command", [fakes.QUOTE, fakes.CERTIFY])
@pytest.mark.parametrize("offset", [16, 21, 60, 110, 200])
def test_statements_that_do_not_verify(command: int, offset: int, vm: Vm) -> None:
    vm.tpm.alter[command] = altered(offset)
    with refused("quote_invalid"):
        vm.collect()
    assert vm.tpm.objects == {} and vm.tpm.counts()[fakes.CREATE_PRIMARY] == 1


def test_a_key_of_another_public_area_than_certified(vm: Vm) -> None:
    """The answer to CreatePrimary was altered: handle, size of parameters, size of the area, the area."""
    vm.tpm.alter[fakes.CREATE_PRIMARY] = altered(10 + 4 + 4 + 2 + 200)
    with refused("quote_invalid"):
        vm.collect()


def test_a_quote_of_other_pcrs_than_asked(vm: Vm) -> None:
    """It is no movement of PCRs, so it is not repeated."""
    real = vm.tpm._on_158

    def other(handles: t.Sequence[int], auths: bytes, rest: bytes) -> t.Tuple[bytes, bytes]:
        return real(handles, auths, rest.replace(wire.selection(range(8)), wire.selection(range(7))))

    vm.tpm._on_158 = other  # type: ignore[method-assign]
    with refused("quote_invalid"):
        vm.collect()
    assert vm.tpm.counts()[fakes.CREATE_PRIMARY] == 1 and vm.tpm.objects == {}


# --- nothing is left behind


@pytest.mark.parametrize("command", [fakes.QUOTE, fakes.CERTIFY])
@pytest.mark.parametrize(("code", "reason"), [(0x101, "tpm_error"), (0x902, "tpm_busy"), (0x921, "tpm_lockout")])
def test_a_refusal_leaves_no_key(command: int, code: int, reason: str, vm: Vm) -> None:
    vm.tpm.codes[command] = [code]
    with refused(reason):
        vm.collect()
    assert vm.tpm.objects == {}


def test_the_reason_survives_a_tpm_that_does_not_even_flush(vm: Vm) -> None:
    vm.tpm.codes[fakes.CERTIFY] = [0x101]
    vm.tpm.codes[fakes.FLUSH] = [0x101]
    with refused("tpm_error") as info:
        vm.collect()
    assert info.value.facts["command"] == "Certify"
    vm.client.close()
    assert vm.tpm.objects == {}


def test_many_collections_in_one_opening(vm: Vm) -> None:
    for _time in range(5):
        made = vm.collect()
        vm.client.flush(made.key_handle)
    assert vm.tpm.objects == {} and isinstance(vm.client, Tpm)
