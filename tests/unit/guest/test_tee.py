# SPDX-License-Identifier: GPL-3.0-or-later
"""Evidence of TDX and of Trusted Launch, what is insisted on, and that nothing falls back to something weaker."""

from __future__ import annotations

import base64
import hashlib
import json
import time
import typing as t
import warnings
from pathlib import Path

import pytest
from unit.guest import tpm_fakes as fakes
from unit.guest.release_fakes import refused
from unit.guest.silicon_fakes import VMID, Host, hcl_blob, modulus_of, pem, rsa_key, runtime_data
from unit.guest.tdx_fakes import Quoter, filler, root_pem, td_report
from unit.guest.test_evidence import Vm
from unit.guest.tpm_fakes import ak_certificate

from ansible_collections.confidential.azure_skr.plugins.module_utils.guest import evidence, tee
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.failure import SkrFailure, SkrWarning


class TdxVm(Vm):
    """Its host makes quotes with ``quoter``; ``asked`` are the TD reports it was sent."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        super().__init__(monkeypatch, folder)
        self.quoter, self.debug = Quoter(), False
        self.asked: t.List[bytes] = []
        self.given: t.List[bytes] = []
        self.tpm.make_report = self.report

    def report(self, user_data: bytes) -> bytes:
        runtime = runtime_data(modulus_of(self.tpm.ak), user_data)
        return hcl_blob(td_report(hashlib.sha256(runtime).digest(), self.debug), runtime, report_type=4)

    def fetch_quote(self, report: bytes) -> bytes:
        self.asked.append(report)
        self.given.append(self.quoter.quote(report))
        return self.given[-1]

    def collect(self, user_data: t.Optional[bytes] = None, **changes: t.Any) -> evidence.Evidence:
        return super().collect(user_data, **{"roots": root_pem(), "fetch_quote": self.fetch_quote, **changes})


@pytest.fixture
def td(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> TdxVm:
    return TdxVm(monkeypatch, tmp_path)


@pytest.fixture
def snp(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Vm:
    return Vm(monkeypatch, tmp_path)


@pytest.fixture
def plain(snp: Vm) -> Vm:
    """A Trusted Launch VM."""
    del snp.tpm.nv[fakes.HCL_REPORT]
    return snp


def isolation(made: evidence.Evidence) -> t.Dict[str, t.Any]:
    text = made.request({})["AttestationInfo"]
    found: t.Dict[str, t.Any] = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))["IsolationInfo"]
    return found


# --- TDX


@pytest.mark.parametrize(("version", "body_type"), [(4, 2), (5, 3)])
def test_tdx(td: TdxVm, version: int, body_type: int) -> None:
    td.quoter = Quoter(version, body_type)
    made = td.collect()
    found = isolation(made)
    assert found["Type"] == "Tdx"
    quote = base64.b64decode(found["Evidence"]["Proof"], validate=True)
    runtime = base64.b64decode(found["Evidence"]["RunTimeData"], validate=True)
    assert td.given == [quote] and len(td.asked) == 1 and len(td.asked[0]) == 1024
    assert td.asked[0][128:160] == hashlib.sha256(runtime).digest()
    assert td.fetched == 0, "nobody asks for AMD's certificates"
    assert td.client.commands <= 12 and td.client.created == 1


def test_facts_of_tdx(td: TdxVm) -> None:
    facts = td.collect(bytes(range(64))).facts()
    assert json.loads(json.dumps(facts)) == facts
    expected = {
        "tee": "tdx",
        "isolation": "Tdx",
        "mrtd": filler("mrtd").hex(),
        "rtmr0": "00" * 48,
        "debuggable": False,
        "vm_unique_id": VMID,
        "user_data": bytes(range(64)).hex(),
        "ak_cert_issuer_status": "unverified issuer",
        "ak_cert_renewal_due": False,
    }
    assert {name: facts[name] for name in expected} == expected


def test_a_td_under_debug_is_told_apart(td: TdxVm) -> None:
    td.debug = True
    assert td.collect().facts()["debuggable"] is True


@pytest.mark.parametrize(
    ("quoter", "reason"),
    [
        (Quoter(signer="mallory"), "td_quote_signature"),
        (Quoter(vouched="mallory"), "td_quote_key"),
        (Quoter(enclave_signer="mallory"), "td_quote_qe"),
        (Quoter(tee_type=0), "td_quote_kind"),
        (Quoter(chain=b""), "pck_chain"),
    ],
)
def test_a_quote_that_does_not_verify(td: TdxVm, quoter: Quoter, reason: str) -> None:
    td.quoter = quoter
    with refused(reason):
        td.collect()
    assert len(td.asked) == 1


def test_the_quote_of_another_vm(td: TdxVm) -> None:
    foreign = td_report(b"\x01" * 32)
    answers = [foreign]
    made = td.collect(fetch_quote=lambda report: td.fetch_quote(answers.pop() if answers else report))
    assert made.facts()["tee"] == "tdx" and len(td.asked) == 2, "once more was enough"
    with refused("td_quote_binding"):
        td.collect(fetch_quote=lambda _report: td.fetch_quote(foreign))


def test_a_host_that_makes_no_quote(td: TdxVm) -> None:
    def refuse(_report: bytes) -> bytes:
        raise SkrFailure("td_quote_unavailable", "no quote")

    with refused("td_quote_unavailable"):
        td.collect(fetch_quote=refuse)
    with refused("td_quote_unavailable"):
        td.collect(fetch_quote=None)


def test_tdx_platform_request(td: TdxVm) -> None:
    operation, request = td.collect().tee.platform()
    assert operation == "TdxVm" and set(request) == {"quote", "runtimeData"}
    assert request["runtimeData"]["dataType"] == "JSON"


# --- Trusted Launch


def test_trusted_launch(plain: Vm) -> None:
    made = plain.collect()
    assert isolation(made) == {"Type": "TrustedLaunch"}
    facts = made.facts()
    assert (facts["tee"], facts["isolation"]) == ("none", "TrustedLaunch")
    assert "host can read" in facts["note"] and "vm_unique_id" not in facts
    assert plain.fetched == 0
    with refused("not_a_cvm"):
        made.tee.platform()


def test_nothing_falls_back_to_trusted_launch(snp: Vm, td: TdxVm) -> None:
    """The index is there, so whatever is wrong with it is told."""
    snp.tpm.make_report = lambda _data: bytes(2600)
    with refused("hcl_malformed"):
        snp.collect()
    td.tpm.codes[fakes.NV_READ] = [0x14A]
    with refused("tpm_error"):
        td.collect()


# --- what is insisted on


@pytest.mark.parametrize("wanted", ["any", "confidential", "snp"])
def test_snp_where_it_is_wanted(snp: Vm, wanted: str) -> None:
    assert snp.collect(require=wanted).tee.tee == "snp"


@pytest.mark.parametrize("wanted", ["any", "confidential", "tdx"])
def test_tdx_where_it_is_wanted(td: TdxVm, wanted: str) -> None:
    assert td.collect(require=wanted).tee.tee == "tdx"


def test_another_kind_than_wanted(snp: Vm) -> None:
    with refused("tee_mismatch") as info:
        snp.collect(require="tdx")
    assert info.value.facts == {"tee": "snp", "require_tee": "tdx"} and "AMD SEV-SNP" in info.value.message
    assert snp.fetched == 0 and fakes.CREATE_PRIMARY not in snp.tpm.counts()


def test_tdx_where_snp_is_wanted(td: TdxVm) -> None:
    with refused("tee_mismatch"):
        td.collect(require="snp")
    assert td.asked == []


def test_a_wish_nobody_knows(snp: Vm) -> None:
    with refused("invalid_input"):
        tee.check_required("snp", "sgx")


# --- which PCRs


@pytest.mark.parametrize("pcrs", [[7], [4, 7, 11], list(range(24))])
def test_a_choice_of_pcrs(snp: Vm, pcrs: t.List[int]) -> None:
    made = snp.collect(pcrs=pcrs)
    info = json.loads(base64.urlsafe_b64decode(made.request({})["AttestationInfo"] + "=="))["TpmInfo"]
    assert info["PcrSet"] == pcrs and [row["Index"] for row in info["PCRs"]] == pcrs
    assert list(made.facts()["pcrs"]) == [str(pcr) for pcr in pcrs]


@pytest.mark.parametrize("pcrs", [[], [24], [-1], ["7"]])
def test_pcrs_that_are_none(snp: Vm, pcrs: t.List[t.Any]) -> None:
    with refused("invalid_input") as info:
        snp.collect(pcrs=pcrs)
    assert info.value.facts == {"option": "pcrs"} and snp.client.commands == 0


def test_pcrs_twice_and_in_any_order(snp: Vm) -> None:
    assert snp.collect(pcrs=[7, 0, 7]).pcrs == (0, 7)


# --- warnings


@pytest.mark.parametrize(("days", "told"), [(90, True), (91, False), (20, True), (0, True)])
def test_an_ageing_certificate_is_told_of(snp: Vm, days: int, told: bool) -> None:
    end = time.time() + days * 86400 + 600
    snp.tpm.nv[fakes.AK_CERT].content = ak_certificate(rsa_key("ak"), end=end).ljust(4096, b"\0")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        facts = snp.collect().facts()
    words = [str(one.message) for one in caught if isinstance(one.message, SkrWarning)]
    assert bool(words) == told and all(f"{days} days left" in word for word in words)
    assert facts["ak_cert_days_left"] == days and facts["ak_cert_renewal_due"] is told


def test_extra_roots_of_both_vendors(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One file of roots serves a mixed fleet."""
    both = pem(Host().ark) + root_pem()
    assert Vm(monkeypatch, tmp_path).collect(roots=both).tee.tee == "snp"
    assert TdxVm(monkeypatch, tmp_path).collect(roots=both).tee.tee == "tdx"
