# SPDX-License-Identifier: GPL-3.0-or-later
"""Platform attestation of SNP reports: what is bound, what is echoed, and a policy that is only tried out."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import struct
import typing as t

import pytest
from attestation_bench import HOST, Bench, Vm, b64u, claims_of, proof

from conftest import GROUP, LOCATION
from skrsim.core.faults import Fault
from skrsim.core.messages import Request, Response
from skrsim.core.world import AttestationProvider
from skrsim.services.maa import policies

PATH, VERSION = "/attest/SevSnpVm", "2022-08-01"


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Bench]:
    made = Bench(tmp_path_factory.mktemp("platform"))
    made.vm("one")
    yield made
    made.stop()


@pytest.fixture
def vm(bench: Bench) -> Vm:
    return bench.vms[0]


@pytest.fixture
def body(vm: Vm) -> dict[str, t.Any]:
    data = {"data": b64u(vm.runtime), "dataType": "JSON"}
    return {"report": proof(vm.hardware, vm.chain), "runtimeData": data}


def claims(bench: Bench, body: dict[str, t.Any], version: str = VERSION) -> dict[str, t.Any]:
    response, clause = bench.send(body, PATH, version)
    assert response.status == 200 and clause == "maa.attested", (clause, response.body)
    assert set(response.json()) == {"token"}
    return claims_of(response.json()["token"])


def refused(bench: Bench, body: t.Any, check: str, version: str = VERSION) -> None:
    response, clause = bench.send(body, PATH, version)
    assert (response.status, clause) == (400, f"maa.{check}"), response.body
    assert response.json()["error"]["code"] == "InvalidParameter"


@pytest.mark.parametrize("version", ["2020-10-01", "2022-08-01", "2023-04-01-preview", "2025-06-01"])
def test_token(bench: Bench, vm: Vm, body: dict[str, t.Any], version: str) -> None:
    """In clear, with the TEE's claims at top level and no key but the paravisor's."""
    found = claims(bench, body, version)
    assert found["x-ms-attestation-type"] == "sevsnpvm" and found["x-ms-compliance-status"] == "azure-compliant-cvm"
    assert found["x-ms-runtime"] == json.loads(vm.runtime) and found["x-ms-ver"] == "1.0"
    assert [key["kid"] for key in found["x-ms-runtime"]["keys"]] == ["HCLAkPub", "HCLEkPub"]
    assert found["x-ms-sevsnpvm-reportdata"] == vm.hardware[0x50:0x90].hex()
    assert not {"x-ms-isolation-tee", "secureboot", "nonce", "x-ms-inittime"} & set(found)


def test_versions(bench: Bench, body: dict[str, t.Any]) -> None:
    for version in ("", "2018-09-01-preview", "2023-04-01"):
        refused(bench, body, "api_version", version)
    request = Request("GET", "https", HOST, PATH, (("api-version", VERSION),), {}, b"", "one")
    assert asyncio.run(bench.app.handle(request))[0].status == 404


def test_paddings_of_clients(bench: Bench, vm: Vm, body: dict[str, t.Any]) -> None:
    """One client pads its base64url; the Python client encodes the chain in base64url too."""
    inner = {"SnpReport": b64u(vm.hardware), "VcekCertChain": b64u(vm.chain.encode()), "Endorsements": b64u(b"{}")}
    body["report"] = base64.urlsafe_b64encode(json.dumps(inner).encode()).decode()
    body["runtimeData"]["data"] = base64.urlsafe_b64encode(vm.runtime).decode()
    assert claims(bench, body)["x-ms-attestation-type"] == "sevsnpvm"


def test_runtime_data(bench: Bench, vm: Vm, body: dict[str, t.Any]) -> None:
    """Binary data are hashed and not echoed; without data nothing is bound and nothing is claimed."""
    body["runtimeData"]["dataType"] = "Binary"
    assert "x-ms-runtime" not in claims(bench, body)
    for absent in ({"data": "", "dataType": "JSON"}, None):
        assert "x-ms-runtime" not in claims(bench, {**body, "runtimeData": absent})
    del body["runtimeData"]
    assert "x-ms-runtime" not in claims(bench, body)
    data = b64u(vm.runtime)
    for given, check in (
        ({"data": b64u(b"{}"), "dataType": "JSON"}, "12.runtime_hash"),
        ({"data": b64u(vm.runtime + b"\0"), "dataType": "Binary"}, "12.runtime_hash"),
        ({"data": data, "dataType": "json"}, "1.data_type"),
        ({"data": data}, "1.data_type"),
        ({"dataType": "JSON"}, "1.types"),
        ({"data": "%%", "dataType": "JSON"}, "1.base64"),
        ({"data": data, "dataType": "JSON", "more": 1}, "1.members"),
        (data, "1.members"),
    ):
        refused(bench, {**body, "runtimeData": given}, check)


def signed(bench: Bench, vm: Vm, **parts: bytes) -> str:
    """The VM's report with fields replaced, and signed by its chip all the same."""
    report = bytearray(vm.hardware)
    for name, value in parts.items():
        at = {"report_data": 0x50, "host_data": 0xC0}[name]
        report[at : at + len(value)] = value
    bench.platform.chip("one").sign(report)
    return proof(bytes(report), vm.chain)


def test_json_that_is_none(bench: Bench, vm: Vm, body: dict[str, t.Any]) -> None:
    """Any JSON object may be bound, a container's keys for one; text that is not JSON only as Binary."""
    own = json.dumps({"keys": [{"kty": "RSA", "kid": "own", "key_ops": ["encrypt"]}]}).encode()
    for data, check in ((own, None), (b"{}", None), (b"no json", "13.runtime_json"), (b"[1]", "13.runtime_json")):
        body["report"] = signed(bench, vm, report_data=hashlib.sha256(data).digest() + bytes(32))
        body["runtimeData"] = {"data": b64u(data), "dataType": "JSON"}
        if check:
            refused(bench, body, check)
            body["runtimeData"]["dataType"] = "Binary"
            assert "x-ms-runtime" not in claims(bench, body)
        else:
            assert claims(bench, body)["x-ms-runtime"] == json.loads(data)


def test_init_time_data(bench: Bench, vm: Vm, body: dict[str, t.Any]) -> None:
    """Their SHA-256 is the host data, which are zero on a confidential VM."""
    data = b'{"policy":"allow"}'
    body["initTimeData"] = {"data": b64u(data), "dataType": "JSON"}
    refused(bench, body, "12.init_time_hash")
    body["report"] = signed(bench, vm, host_data=hashlib.sha256(data).digest())
    assert claims(bench, body)["x-ms-inittime"] == {"policy": "allow"}
    body["initTimeData"]["dataType"] = "Binary"
    assert "x-ms-inittime" not in claims(bench, body)
    body["initTimeData"]["data"] = b64u(data + b" ")
    refused(bench, body, "12.init_time_hash")


@pytest.mark.parametrize("nonce", ["some text", 1234567890123, ""])
def test_nonce(bench: Bench, body: dict[str, t.Any], nonce: t.Any) -> None:
    """Text by the description, a number as one client sends it: echoed as it came."""
    assert claims(bench, {**body, "nonce": nonce})["nonce"] == nonce


@pytest.mark.parametrize("nonce", [True, None, 1.5, ["x"], {}])
def test_no_nonce(bench: Bench, body: dict[str, t.Any], nonce: t.Any) -> None:
    refused(bench, {**body, "nonce": nonce}, "1.types")


def test_members(bench: Bench, body: dict[str, t.Any]) -> None:
    for altered, check in (
        ({**body, "quote": "x"}, "1.members"),
        ({**body, "RuntimeData": {}}, "1.members"),
        ([body], "1.members"),
        ("text", "1.members"),
        ({**body, "report": None}, "1.types"),
        ({**body, "report": b64u(b"no json")}, "10.proof"),
        ({**body, "report": b64u(b"[]")}, "1.members"),
        ({"runtimeData": body["runtimeData"]}, "1.types"),
        ({**body, "draftPolicyForAttestation": 7}, "1.types"),
    ):
        refused(bench, altered, check)


def test_reports_are_checked_as_for_guests(bench: Bench, vm: Vm, body: dict[str, t.Any]) -> None:
    for position, bit, check in ((0x90, 1, "10.signature"), (0x180, 1, "10.tcb"), (0x48, 4, "10.signing_key")):
        report = bytearray(vm.hardware)
        report[position] ^= bit
        refused(bench, {**body, "report": proof(bytes(report), vm.chain)}, check)
    report = bytearray(vm.hardware)
    struct.pack_into("<Q", report, 8, 0x3001F | 1 << 19)
    bench.platform.chip("one").sign(report)
    found = claims(bench, {**body, "report": proof(bytes(report), vm.chain)})
    assert found["x-ms-sevsnpvm-is-debuggable"] and found["x-ms-compliance-status"] != "azure-compliant-cvm"


# --- policies


RULES = "version= 1.0; authorizationrules{{ [type=={claim}, value=={value}] => permit(); }}; issuancerules{{}};"
KIND = '"x-ms-attestation-type"'


def test_draft_policy(bench: Bench, body: dict[str, t.Any]) -> None:
    """A policy that permits gives a token nobody can verify; one that does not is an error; so is no policy."""
    text = RULES.format(claim=KIND, value='"sevsnpvm"')
    response, clause = bench.send({**body, "draftPolicyForAttestation": text}, PATH, VERSION)
    assert response.status == 200 and clause == "maa.draft"
    header, _payload, signature = response.json()["token"].split(".")
    assert signature == "" and json.loads(base64.urlsafe_b64decode(header + "==")) == {"alg": "none", "typ": "JWT"}
    found = claims_of(response.json()["token"])
    digest = hashlib.sha256(b64u(text.encode()).encode()).digest()
    assert found["x-ms-attestation-type"] == "sevsnpvm" and found["x-ms-policy-hash"] == b64u(digest)
    for text, code in (
        (RULES.format(claim=KIND, value='"tdxvm"'), "PolicyEvaluationError"),
        ("no policy", "PolicyParsingError"),
        ("", "PolicyParsingError"),
    ):
        response, _clause = bench.send({**body, "draftPolicyForAttestation": text}, PATH, VERSION)
        assert (response.status, response.json()["error"]["code"]) == (400, code), text


def test_policy_of_a_private_provider(bench: Bench, body: dict[str, t.Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Check 15, for the attestation type of the endpoint."""
    world = bench.world
    made = AttestationProvider("mine", world.subscription_id, GROUP, LOCATION, "mine.weu.attest.azure.net")
    monkeypatch.setitem(world.attestation_providers, made.id.lower(), made)

    def send() -> Response:
        request = Request("POST", "https", made.host, PATH, (("api-version", VERSION),), {}, json.dumps(body).encode())
        return asyncio.run(bench.app.handle(request))[0]

    assert send().status == 200
    made.policies["TdxVm"] = policies.unsecured(RULES.format(claim=KIND, value='"tdxvm"'))
    assert send().status == 200
    made.policies["SevSnpVm"] = policies.unsecured(RULES.format(claim=KIND, value='"tdxvm"'))
    denied = send()
    assert denied.status == 400 and denied.json()["error"]["code"] == "PolicyEvaluationError"
    assert "A Deny claim was issued, authorization failed." in denied.json()["error"]["message"]


def test_faults(bench: Bench, body: dict[str, t.Any]) -> None:
    """The faults of tokens hit these endpoints too."""
    assert bench.verifies(bench.send(body, PATH, VERSION)[0].json()["token"])
    for action in ("wrong_issuer", "expired_token", "bad_signature", "policy_denied"):
        bench.world.faults.add(Fault(action, service="maa", operation="attest_sevsnpvm", times=1))
        response, _clause = bench.send({**body, "nonce": "n"}, PATH, VERSION)
        if action == "policy_denied":
            assert response.json()["error"]["code"] == "PolicyEvaluationError"
            continue
        found = claims_of(response.json()["token"])
        assert bench.verifies(response.json()["token"]) == (action != "bad_signature")
        assert (found["iss"] != f"https://{HOST}") == (action == "wrong_issuer")
        assert (found["exp"] < bench.world.clock.now()) == (action == "expired_token")
