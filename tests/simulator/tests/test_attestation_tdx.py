# SPDX-License-Identifier: GPL-3.0-or-later
"""TDX: what is in the VM, what its host makes a quote of, and each change of a quote refused for its own reason."""

from __future__ import annotations

import asyncio
import base64
import copy
import hashlib
import json
import struct
import typing as t

import pytest
from attestation_bench import Bench, Vm, b64, b64u, claims_of, refused
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding

from skrsim.core.faults import Fault
from skrsim.core.messages import Request, Response
from skrsim.tee.intel import Intel
from skrsim.tee.tdx import MRTD, TdxHost
from skrsim.vtpm import relay as relays

SIZE = "Standard_DC2es_v5"


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Bench]:
    made = Bench(tmp_path_factory.mktemp("tdx"))
    for name in ("td", "other"):
        made.vm(name, SIZE)
    made.vm("snp")
    yield made
    made.stop()


@pytest.fixture
def td(bench: Bench) -> Vm:
    return bench.vms[0]


def acc(bench: Bench, vm: str, body: t.Any, method: str = "POST", **headers: str) -> Response:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = Request(method, "http", "169.254.169.254", "/acc/tdquote", (), headers, data, vm)
    return asyncio.run(bench.app.handle(request))[0]


# --- the report in the VM


def test_hcl_report(td: Vm) -> None:
    """Type 4, header version 2, and a TD report of 1,024 bytes before 160 zeros (sections 3 and 4.3)."""
    blob = td.tpm.relay.overlay[relays.HCL_REPORT]
    assert len(blob) == 2600 and blob[:4] == b"HCLA" and struct.unpack_from("<I", blob, 4)[0] == 2
    used, request_type = struct.unpack_from("<II", blob, 8)
    size, version, kind, algorithm, length = struct.unpack_from("<IIIII", blob, 1216)
    assert (request_type, size, version, kind, algorithm) == (2, 20 + length, 1, 4, 1) and used == 1236 + length
    report, runtime = blob[32:1056], blob[1236 : 1236 + length]
    assert blob[1056:1216] == bytes(160) and report[0] == 0x81
    assert report[128:192] == hashlib.sha256(runtime).digest() + bytes(32)
    assert report[528:576] == MRTD and report[512] & 1 == 0
    assert report[720:912] == bytes(192)  # RTMR0 to RTMR3
    assert report[32:80] == hashlib.sha384(report[256:495]).digest()
    assert report[80:128] == hashlib.sha384(report[512:1024]).digest()
    machine = json.loads(runtime)["vm-configuration"]
    assert machine["tpm-persisted"] is True  # the paravisor is of today; Microsoft's Python client reads this
    assert machine["vmUniqueId"] == td.world.vms["td"].vm_id.upper()


def test_lower_case_variants(bench: Bench) -> None:
    vm = bench.vm("lower", SIZE, lower_vm_id=True, lower_user_data=True)
    runtime = json.loads(vm.runtime)
    assert runtime["vm-configuration"]["vmUniqueId"] == bench.world.vms["lower"].vm_id.lower()
    assert bench.attested(vm)["x-ms-azurevm-vmid"] == bench.world.vms["lower"].vm_id.lower()


# --- the host


@pytest.mark.parametrize("headers", [{}, {"metadata": "true"}])
def test_quote(bench: Bench, td: Vm, headers: dict[str, str]) -> None:
    """Checked here with other code than the attestation service's."""
    report = td.hardware[:1024]
    answer = acc(bench, "td", {"report": b64u(report)}, **headers)
    assert answer.status == 200 and set(answer.json()) == {"quote"} and "=" not in answer.json()["quote"]
    text = answer.json()["quote"]
    quote = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    assert quote[:28] == bytes.fromhex("04000200810000000000 0000 939a7233f79c4ca9940a0db3957f0607".replace(" ", ""))
    body = quote[48:632]
    assert body[520:] == report[128:192] and body[136:184] == MRTD and body[328:520] == bytes(192)
    assert body[:16] == report[264:280] and body[16:64] == report[280:328] and body[120:136] == report[512:528]
    assert struct.unpack_from("<I", quote, 632)[0] == len(quote) - 636
    signature, key = quote[636:700], quote[700:764]
    assert struct.unpack_from("<HI", quote, 764) == (6, len(quote) - 770)
    enclave, enclave_signature = quote[770:1154], quote[1154:1218]
    auth = quote[1220 : 1220 + struct.unpack_from("<H", quote, 1218)[0]]
    at = 1220 + len(auth)
    assert struct.unpack_from("<HI", quote, at) == (5, len(quote) - at - 6)
    pck, issuer, root = x509.load_pem_x509_certificates(quote[at + 6 :].rstrip(b"\0"))
    assert all("SIMULATED" in one.subject.rfc4514_string() for one in (pck, issuer, root))
    pck.verify_directly_issued_by(issuer)
    issuer.verify_directly_issued_by(root)
    assert pck.extensions.get_extension_for_oid(x509.ObjectIdentifier("1.2.840.113741.1.13.1"))
    assert enclave[320:384] == hashlib.sha256(key + auth).digest() + bytes(32)
    quoting = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + key)
    for who, signed, data in ((pck.public_key(), enclave_signature, enclave), (quoting, signature, quote[:632])):
        assert isinstance(who, ec.EllipticCurvePublicKey)
        r, s = (int.from_bytes(part, "big") for part in (signed[:32], signed[32:]))
        who.verify(encode_dss_signature(r, s), data, ec.ECDSA(hashes.SHA256()))
    assert root.public_bytes(Encoding.PEM).decode() in bench.platform.root_pem


def test_the_host_quotes_its_own_report_alone(bench: Bench, td: Vm) -> None:
    report = td.hardware[:1024]
    bad: list[tuple[str, bytes]] = [("short", report[:-1]), ("long", report + b"\0"), ("empty", b"")]
    for name, position in (("type", 0), ("report data", 130), ("MAC", 230), ("TCB", 300), ("MRTD", 530), ("end", 1000)):
        changed = bytearray(report)
        changed[position] ^= 1
        bad.append((name, bytes(changed)))
    bad.append(("other VM", bench.vms[1].hardware[:1024]))
    bad.append(("other CPU", TdxHost(Intel()).td_report(report[128:192])))
    for name, sent in bad:
        answer = acc(bench, "td", {"report": b64u(sent)})
        assert answer.status == 400, name
        assert answer.audit["clause"] == "thim.td_report", name
    bodies: list[t.Any] = [b"", b"no json", {}, {"report": 7}, {"report": "%%%"}, []]
    for body in bodies:
        answer = acc(bench, "td", body)
        assert (answer.status, answer.audit["clause"]) == (400, "thim.td_request"), body
    assert acc(bench, "td", {"report": b64u(report)}, "GET").status == 405
    assert acc(bench, "td", {"report": b64u(report)}, **{"x-forwarded-for": "10.0.0.4"}).status == 400
    assert acc(bench, "snp", {"report": b64u(report)}).status == 404


def test_migration_and_padding(bench: Bench, td: Vm) -> None:
    """Padded base64url is taken. After a migration the old report is of no use, the renewed one is."""
    report = td.hardware[:1024]
    padded = base64.urlsafe_b64encode(report).decode()
    assert padded.endswith("=") and acc(bench, "td", {"report": padded}).status == 200
    vm = bench.vm("mover", SIZE)
    old = vm.hardware[:1024]
    bench.platform.move("mover")
    assert acc(bench, "mover", {"report": b64u(old)}).status == 400
    vm.tpm.renew_report()
    vm.evidence = vm.collect()
    assert bench.attested(vm)["x-ms-isolation-tee"]["x-ms-attestation-type"] == "tdxvm"


# --- attestation of the guest


def test_token(bench: Bench, td: Vm) -> None:
    """The claims of section 7, in lower-case hex."""
    claims = bench.attested(td)
    nested = claims["x-ms-isolation-tee"]
    assert nested["x-ms-attestation-type"] == "tdxvm" and nested["x-ms-compliance-status"] == "azure-compliant-cvm"
    assert nested["x-ms-runtime"] == json.loads(td.runtime)
    sizes = {
        "mrtd": 96, "mrseam": 96, "mrsignerseam": 96, "mrconfigid": 96, "mrowner": 96, "mrownerconfig": 96,
        "rtmr0": 96, "rtmr1": 96, "rtmr2": 96, "rtmr3": 96, "report_data": 128, "xfam": 16, "td_attributes": 16,
        "seam_attributes": 16, "tee_tcb_svn": 32,
    }  # fmt: skip
    for name, size in sizes.items():
        text = nested[f"tdx_{name}"]
        assert len(text) == size and text == text.lower() and bytes.fromhex(text) is not None, name
    assert nested["tdx_report_data"] == hashlib.sha256(td.runtime).hexdigest() + 64 * "0"
    flags = ("debug", "key_locker", "perfmon", "protection_keys", "septve_disable")
    found = {name: nested[f"tdx_td_attributes_{name}"] for name in flags}
    assert found == dict.fromkeys(flags, False) | {"septve_disable": True}
    assert nested["tdx_is_debuggable"] is False and nested["tdx_seamsvn"] == 3
    assert nested["attester_tcb_status"] == "UpToDate" and nested["dbgstat"] == "disabled"
    assert nested["eat_profile"] == "https://aka.ms/maa-eat-profile-tdxvm" and nested["intuse"] == "generic"
    assert claims["x-ms-attestation-type"] == "azurevm" and claims["secureboot"] is True
    assert claims["x-ms-azurevm-vmid"] == bench.world.vms["td"].vm_id.upper()
    assert not any(name.startswith("x-ms-sevsnpvm") for name in nested)


def test_quote_of_version_5(bench: Bench) -> None:
    vm = bench.vm("five", SIZE, quote_version=5)
    assert vm.quote[:2] == b"\x05\0" and struct.unpack_from("<HI", vm.quote, 48) == (2, 584)
    assert bench.attested(vm)["x-ms-isolation-tee"]["tdx_mrtd"] == MRTD.hex()
    longer = vm.quote[:48] + struct.pack("<HI", 3, 648) + vm.quote[54:638] + bytes(64)
    vm.evidence["IsolationInfo"]["Evidence"]["Proof"] = b64(bench.platform.td_host("five").signed(longer))
    assert bench.attested(vm)["x-ms-isolation-tee"]["tdx_mrtd"] == MRTD.hex()
    mismatched = vm.quote[:48] + struct.pack("<HI", 3, 584) + vm.quote[54:638]
    vm.evidence["IsolationInfo"]["Evidence"]["Proof"] = b64(bench.platform.td_host("five").signed(mismatched))
    refused(bench, vm.evidence, "11.body_type")


@pytest.mark.parametrize(
    ("options", "debug"), [({}, True), ({"mrtd": "ab" * 48}, False)], ids=["debuggable", "unknown paravisor"]
)
def test_genuine_but_not_compliant(bench: Bench, options: dict[str, t.Any], debug: bool) -> None:
    """Check 14: a token, without Azure's word for the platform."""
    nested = bench.attested(bench.vm(f"bad-{debug}", SIZE, debug=debug, **options))["x-ms-isolation-tee"]
    assert nested["x-ms-compliance-status"] != "azure-compliant-cvm" and nested["tdx_is_debuggable"] is debug
    assert nested["dbgstat"] == ("enabled" if debug else "disabled")


def test_old_module(bench: Bench, td: Vm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench.platform, "minimum_tee_tcb_svn", bytes([3, 0, 7]))
    nested = bench.attested(td)["x-ms-isolation-tee"]
    assert nested["attester_tcb_status"] == "OutOfDate" and nested["x-ms-compliance-status"] != "azure-compliant-cvm"


# Position in a quote of version 4, what is changed there, and the check that refuses it.
ALTERATIONS: list[tuple[int, int, str]] = [
    (0, 1, "11.body_type"),  # version 5, whose body is described first
    (0, 7, "11.version"),  # version 3
    (2, 1, "11.key_type"),
    (4, 0x81, "11.tee_type"),  # an SGX quote
    (12, 1, "11.key_type"),
    (30, 1, "11.signature"),  # user data of the header
    (48, 1, "11.signature"),  # TEE TCB SVN
    (168, 1, "11.signature"),  # TD attributes
    (190, 1, "11.signature"),  # MRTD
    (400, 1, "11.signature"),  # RTMR0
    (570, 1, "11.signature"),  # report data
    (632, 1, "11.size"),
    (640, 1, "11.signature"),  # the quote's signature
    (700, 1, "11.qe_binding"),  # attestation key
    (764, 1, "11.certification"),
    (772, 1, "11.qe_signature"),  # quoting enclave's report
    (1095, 1, "11.qe_signature"),  # what it binds
    (1160, 1, "11.qe_signature"),
    (1218, 1, "11.certification"),  # size of the authentication data: what follows is shifted
    (1225, 1, "11.qe_binding"),  # authentication data
    (1252, 1, "11.certification"),
]


@pytest.mark.parametrize(("position", "bit", "check"), ALTERATIONS)
def test_altered_quote(bench: Bench, td: Vm, position: int, bit: int, check: str) -> None:
    evidence = copy.deepcopy(td.evidence)
    quote = bytearray(td.quote)
    quote[position] ^= bit
    evidence["IsolationInfo"]["Evidence"]["Proof"] = b64(bytes(quote))
    refused(bench, evidence, check)


def test_sizes(bench: Bench, td: Vm) -> None:
    evidence = copy.deepcopy(td.evidence)
    for quote in (b"", td.quote[:40], td.quote[:700], td.quote[:-1], td.quote + b"\1", td.hardware[:1024]):
        evidence["IsolationInfo"]["Evidence"]["Proof"] = b64(quote)
        response, clause = bench.send(evidence)
        assert response.status == 400 and clause in ("maa.11.size", "maa.11.version"), len(quote)
    evidence["IsolationInfo"]["Evidence"]["Proof"] = b64(td.quote + bytes(70))  # a captured quote has as many behind it
    assert bench.send(evidence)[0].status == 200


def test_chain(bench: Bench, td: Vm, monkeypatch: pytest.MonkeyPatch) -> None:
    """The chain may lack, repeat or damage a certificate, end elsewhere, or be of another time."""
    evidence, host = copy.deepcopy(td.evidence), bench.platform.td_host("td")
    end = "-----END CERTIFICATE-----\n"
    pck, issuer, root = (block + end for block in host.pck_chain.split(end)[:-1])
    foreign = TdxHost(Intel()).pck_chain
    lines = pck.splitlines()
    lines[-2] = lines[-2][:-8] + ("A" if lines[-2][-8] != "A" else "B") + lines[-2][-7:]
    for chain, check in (
        ("", "11.chain"),
        ("nonsense", "11.chain"),
        (pck + issuer, "11.chain"),
        (pck + issuer + root + root, "11.chain"),
        (pck + root + root, "11.chain_signature"),
        ("\n".join(lines) + "\n" + issuer + root, "11.chain_signature"),
        (foreign, "11.root"),
        (pck + issuer + foreign.split(end)[2] + end, "11.root"),
        (foreign.split(end)[0] + end + issuer + root, "11.chain_signature"),
    ):
        monkeypatch.setattr(host, "pck_chain", chain)
        evidence["IsolationInfo"]["Evidence"]["Proof"] = b64(host.signed(td.quote[:632]))
        refused(bench, evidence, check)
    monkeypatch.undo()
    evidence = copy.deepcopy(td.evidence)
    bench.world.clock.advance(9500 * 86400)
    try:
        renewed = bench.platform.authority.issue(td.tpm.ak_modulus, "x", bench.world.clock.now())
        evidence["TpmInfo"]["AikCert"] = b64(renewed)
        refused(bench, evidence, "11.chain_dates")
    finally:
        bench.world.clock.advance(-9500 * 86400)


def test_a_pck_of_this_hierarchy_that_signs_for_another_enclave(bench: Bench, td: Vm) -> None:
    """A genuine platform's key under another attestation key: the enclave's report does not bind it."""
    evidence = copy.deepcopy(td.evidence)
    one, two = bench.platform.td_host("td"), bench.platform.td_host("other")
    mixed = bytearray(one.signed(td.quote[:632]))
    mixed[636:764] = two.signed(td.quote[:632])[636:764]  # signature and key of the other
    evidence["IsolationInfo"]["Evidence"]["Proof"] = b64(bytes(mixed))
    refused(bench, evidence, "11.qe_binding")


def test_runtime_data(bench: Bench, td: Vm) -> None:
    evidence, other = copy.deepcopy(td.evidence), bench.vms[1]
    inner = evidence["IsolationInfo"]["Evidence"]
    inner["RunTimeData"] = b64(td.runtime + b" ")
    refused(bench, evidence, "12.runtime_hash")
    inner["RunTimeData"], inner["Proof"] = b64(other.runtime), b64(other.quote)
    refused(bench, evidence, "13.ak")
    body = bytearray(td.quote[:632])
    for data, check in ((b"no json", "13.runtime_json"), (b"[]", "13.runtime_json"), (b"{}", "13.runtime_json")):
        body[568:632] = hashlib.sha256(data).digest() + bytes(32)
        inner["RunTimeData"], inner["Proof"] = b64(data), b64(bench.platform.td_host("td").signed(bytes(body)))
        refused(bench, evidence, check)
    body[568:632] = hashlib.sha256(td.runtime).digest() + b"\1" * 32  # the rest must be zero
    inner["RunTimeData"], inner["Proof"] = b64(td.runtime), b64(bench.platform.td_host("td").signed(bytes(body)))
    refused(bench, evidence, "12.runtime_hash")


def test_evidence_of_another_kind(bench: Bench, td: Vm) -> None:
    """A TD report is no SNP report, a quote no SNP proof, and TDX needs evidence."""
    evidence = copy.deepcopy(td.evidence)
    evidence["IsolationInfo"]["Type"] = "SevSnp"
    refused(bench, evidence, "10.proof")
    evidence["IsolationInfo"]["Evidence"]["Proof"] = b64(
        json.dumps({"SnpReport": b64u(td.hardware), "VcekCertChain": ""}).encode()
    )
    response, clause = bench.send(evidence)
    assert response.status == 400 and clause.startswith("maa.10."), clause
    evidence["IsolationInfo"] = {"Type": "Tdx"}
    refused(bench, evidence, "1.members")
    evidence["IsolationInfo"] = {"Type": "Tdx", "Evidence": {"RunTimeData": b64(td.runtime)}}
    refused(bench, evidence, "1.types")


# --- the host's faults, which clients must see through


FAULTS = {
    "other_report_data": "12.runtime_hash",
    "foreign_root": "11.root",
    "unbound_key": "11.qe_binding",
    "bad_signature": "11.signature",
    "truncated": "11.size",
}


@pytest.mark.parametrize(("action", "check"), FAULTS.items())
def test_faults(bench: Bench, td: Vm, action: str, check: str) -> None:
    bench.world.faults.add(Fault(action, service="thim", operation="td_quote", vm="td", times=1))
    refused(bench, td.collect(), check)
    td.evidence = td.collect()
    assert bench.attested(td)["secureboot"] is True


# --- platform attestation


def test_platform(bench: Bench, td: Vm) -> None:
    """A token in clear, with the claims at top level."""
    data = {"data": b64u(td.runtime), "dataType": "JSON"}
    for version in ("2023-04-01-preview", "2025-06-01"):
        body = {"quote": b64u(td.quote), "runtimeData": data, "nonce": "n-1"}
        response, clause = bench.send(body, "/attest/TdxVm", version)
        assert response.status == 200 and clause == "maa.attested"
        claims = claims_of(response.json()["token"])
        assert claims["x-ms-attestation-type"] == "tdxvm" and claims["nonce"] == "n-1"
        assert claims["tdx_mrtd"] == MRTD.hex() and claims["x-ms-runtime"] == json.loads(td.runtime)
        assert claims["x-ms-compliance-status"] == "azure-compliant-cvm" and "x-ms-isolation-tee" not in claims
    for version in ("2020-10-01", "2022-08-01", ""):
        response, clause = bench.send(body, "/attest/TdxVm", version)
        assert (response.status, clause) == (400, "maa.api_version")
    for change, check in (
        ({"quote": b64u(td.quote[:-1])}, "11.size"),
        ({"quote": None}, "1.types"),
        ({"runtimeData": {**data, "data": b64u(b"{}")}}, "12.runtime_hash"),
        ({"initTimeData": {"data": b64u(b"x"), "dataType": "Binary"}}, "12.init_time_hash"),
        ({"report": b64u(td.quote)}, "1.members"),
    ):
        response, clause = bench.send({**body, **change}, "/attest/TdxVm", "2025-06-01")
        assert (response.status, clause) == (400, f"maa.{check}"), change
