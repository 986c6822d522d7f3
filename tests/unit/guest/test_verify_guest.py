# SPDX-License-Identifier: GPL-3.0-or-later
"""This VM's own evidence, verified on the spot: what is wrong is told in the list instead of ending it."""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import typing as t
from pathlib import Path

import pytest
from unit.guest import tpm_fakes as fakes
from unit.guest.release_fakes import refused
from unit.guest.silicon_fakes import Host, hcl_blob, modulus_of, pem, runtime_data
from unit.guest.tdx_fakes import Quoter, root_pem, td_report
from unit.guest.test_eventlog import POST_CODE, SHA256, header, record
from unit.guest.test_verify import vtpm_authority
from unit.guest.tpm_fakes import FakeTpm, install

from ansible_collections.confidential.azure_skr.plugins.module_utils.guest import (
    attest,
    der,
    hcl_index,
    tee,
    verify,
    verify_guest,
)
from ansible_collections.confidential.azure_skr.plugins.module_utils.guest.commands import verify as command
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.failure import SkrFailure

HOST = Host()


class Imds:
    """The host's side: certificates or quotes, or a failure."""

    count = 1

    def __init__(self, host: Host) -> None:
        self.host, self.quoter = host, Quoter()
        self.failures: t.List[SkrFailure] = []  # the first is raised, for ever
        self.chains: t.List[str] = []

    def vcek_chain(self) -> str:
        if self.failures:
            raise self.failures[0]
        return self.chains.pop(0) if self.chains else self.host.chain()

    def td_quote(self, report: bytes) -> bytes:
        if self.failures:
            raise self.failures[0]
        return self.quoter.quote(report)


class Vm:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.tpm, self.imds, self.folder = FakeTpm(host=HOST), Imds(HOST), folder
        install(monkeypatch, self.tpm)
        for room in (hcl_index, tee):
            monkeypatch.setattr(room, "time", self.tpm.clock)
        monkeypatch.setattr(hcl_index, "_LOCK", str(folder / "lock"))
        monkeypatch.setattr(attest, "clients", lambda _guest: (None, self.imds))
        self.log = folder / "log"
        self.guest = attest.Guest("", "unix:/fake", event_log_path=str(self.log), cache_dir=None)

    def be_tdx(self) -> None:
        def report(user_data: bytes) -> bytes:
            runtime = runtime_data(modulus_of(self.tpm.ak), user_data)
            return hcl_blob(td_report(hashlib.sha256(runtime).digest()), runtime, report_type=4)

        self.tpm.make_report = report

    def info(
        self, include: bool = False, guest: t.Optional[attest.Guest] = None, **wanted: t.Any
    ) -> t.Dict[str, t.Any]:
        roots = {"roots_pem": pem(HOST.ark) + root_pem(), **wanted}
        found = verify_guest.info(guest or self.guest, verify.Wanted(**roots), include)
        assert json.loads(json.dumps(found)) == found and found["changed"] is False
        return found


@pytest.fixture
def vm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Vm:
    return Vm(monkeypatch, tmp_path)


def state(found: t.Dict[str, t.Any], name: str) -> str:
    (check,) = (check for check in found["checks"] if check["name"] == name)
    return str(check["state"])


def test_snp(vm: Vm) -> None:
    found = vm.info()
    assert found["verified"] and found["reasons"] == [] and found["evidence"]["isolation"] == "SevSnp"
    assert {"hcl_key", "signature", "belongs", "ak_certificate", "quote_signature"} <= {
        check["name"] for check in found["checks"]
    }
    assert found["evidence"]["vm_unique_id"] and found["evidence"]["pcrs"]["7"] == "00" * 32
    counts = vm.tpm.counts()
    assert found["counts"] == {"tpm_commands": sum(counts.values()), "http_requests": 1}
    assert not {fakes.CREATE_PRIMARY, fakes.NV_WRITE} & set(counts), "nothing is made and nothing is written"
    assert sum(counts.values()) <= 10


def test_tdx(vm: Vm) -> None:
    vm.be_tdx()
    found = vm.info(require_tee="tdx")
    assert found["verified"] and (found["evidence"]["tee"], found["evidence"]["isolation"]) == ("tdx", "Tdx")
    vm.tpm.clock.now += 3
    vm.imds.quoter = Quoter(signer="mallory")
    found = vm.info()
    assert found["reasons"] == ["td_quote_signature"] and state(found, "quote_key") == "ok"


def test_trusted_launch(vm: Vm) -> None:
    del vm.tpm.nv[fakes.HCL_REPORT]
    found = vm.info()
    assert found["verdict"] == "incomplete" and state(found, "hardware") == "not checked"
    assert found["evidence"]["tee"] == "none" and "unverified issuer" in found["summary"]
    found = vm.info(ak_roots_pem=vtpm_authority())
    assert found["verified"] and "Trusted Launch VM, whose host can read its memory" in found["summary"]
    assert vm.info(require_tee="confidential")["reasons"] == ["not_a_cvm"]
    assert vm.info(user_data=bytes(64), ak_roots_pem=vtpm_authority())["verdict"] == "incomplete"


def test_user_data_and_nonce(vm: Vm) -> None:
    found = vm.info(user_data=b"\x05" * 64, quote_nonce=b"fresh")
    assert found["verified"] and found["evidence"]["user_data"] == "05" * 64
    assert state(found, "user_data") == state(found, "quote_nonce") == "ok"


def test_the_log(vm: Vm) -> None:
    vm.log.write_bytes(header(SHA256) + record(4, POST_CODE, b"boot"))
    found = vm.info()
    assert found["reasons"] == ["eventlog_mismatch"] and found["evidence"]["event_log"]["matches_pcrs"] is False
    vm.tpm.pcrs[4] = bytes.fromhex(found["evidence"]["event_log"]["differing_pcrs"]["4"]["log"])
    assert vm.info()["verified"]


# --- what is wrong is told, and the rest is checked


def test_a_host_that_gives_no_certificates(vm: Vm) -> None:
    vm.imds.failures = [SkrFailure("thim_error", "The host's certificate service answered 500.")]
    found = vm.info()
    assert found["verdict"] == "incomplete" and "answered 500" in found["summary"]
    assert state(found, "signature") == "not checked" and state(found, "quote_signature") == "ok"
    vm.be_tdx()
    vm.tpm.clock.now += 3
    assert vm.info()["verdict"] == "incomplete"


def test_certificates_of_another_host(vm: Vm) -> None:
    other = dataclasses.replace(HOST, chip_id=bytes(range(1, 65)), key="other vcek").chain()
    vm.imds.chains = [other]
    assert vm.info()["verified"], "once more was enough"
    vm.imds.chains = [other] * 9
    found = vm.info()
    assert found["reasons"] == ["vcek_chip", "report_signature"] and state(found, "hcl_binding") == "ok"


def test_certificates_that_are_none(vm: Vm) -> None:
    vm.imds.chains = ["-----BEGIN CERTIFICATE-----\nAAAA"] * 9
    assert vm.info()["reasons"] == ["vcek_chain"]


def test_a_report_of_another_vm(vm: Vm) -> None:
    runtime = runtime_data(5)
    vm.tpm.make_report = lambda _data: hcl_blob(HOST.report(hashlib.sha256(runtime).digest()), runtime)
    found = vm.info()
    assert "hcl_binding" in found["reasons"] and state(found, "hcl_key") == "failed"


def test_an_index_that_holds_no_report(vm: Vm) -> None:
    vm.tpm.make_report = lambda _data: bytes(2600)
    assert vm.info()["reasons"] == ["hcl_malformed"]


def test_no_ak_certificate(vm: Vm) -> None:
    del vm.tpm.nv[fakes.AK_CERT]
    found = vm.info()
    assert found["reasons"] == ["ak_cert_missing"] and state(found, "signature") == "ok"


def test_a_debuggable_vm(vm: Vm) -> None:
    runtime = runtime_data(modulus_of(vm.tpm.ak))
    policy = (0x3001F | 1 << 19).to_bytes(8, "little")
    report = HOST.report(hashlib.sha256(runtime).digest(), patches={8: policy})
    vm.tpm.make_report = lambda _data: hcl_blob(report, runtime)
    assert vm.info()["reasons"] == ["report_debug"]
    assert vm.info(allow_debug=True)["verified"]


# --- what ends it


def test_a_tpm_that_cannot_be_used(vm: Vm) -> None:
    vm.tpm.codes[fakes.NV_READ] = [0x101]
    with refused("tpm_error"):
        vm.info()
    vm.tpm.persistent.clear()
    with refused("ak_missing"):
        vm.info()
    with refused("invalid_input"):
        vm.info(guest=dataclasses.replace(vm.guest, pcrs=[99]))


# --- evidence for another machine


@pytest.mark.parametrize("tdx", [False, True])
def test_the_document_verifies_elsewhere(vm: Vm, tdx: bool, tmp_path: Path) -> None:
    if tdx:
        vm.be_tdx()
    vm.log.write_bytes(header(SHA256))
    found = vm.info(include=True, quote_nonce=b"\x07\x08")
    assert ("td_quote" in found["document"]) == tdx and ("vcek_chain" in found["document"]) != tdx
    paths = {"evidence": json.dumps(found["document"]), "roots": pem(HOST.ark) + root_pem()}
    for name, content in paths.items():
        (tmp_path / name).write_text(content)
    parser = argparse.ArgumentParser()
    command.add(parser)
    words = [
        "--evidence",
        str(tmp_path / "evidence"),
        "--roots",
        str(tmp_path / "roots"),
        "--quote-nonce",
        "0708",
        "--json",
    ]
    status, text = command.run(vars(parser.parse_args(words)))
    again = json.loads(text)
    assert status == 0, text
    here = {check["name"]: check["state"] for check in found["checks"]}
    there = {check["name"]: check["state"] for check in again["checks"]}
    assert {name: there.get(name) for name in here if name != "hcl_key"} == {
        name: state for name, state in here.items() if name != "hcl_key"
    }, "there the TPM's own key is not at hand"
    if not tdx:
        assert len(der.pem_certificates(found["document"]["vcek_chain"])) == 3
