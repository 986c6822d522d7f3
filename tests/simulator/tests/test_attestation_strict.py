# SPDX-License-Identifier: GPL-3.0-or-later
"""Evidence that a TPM really makes and the attestation service must refuse, and requests that are not in form."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import struct
import typing as t

import pytest
from attestation_bench import SELECTION, Bench, Vm, b64, b64u, claims_of, flip, proof, refused, selection
from cryptography.exceptions import InvalidTag

from skrsim.core.faults import Fault
from skrsim.services.maa import eventlog as checks
from skrsim.tee import eventlog
from skrsim.vtpm import wire


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Bench]:
    made = Bench(tmp_path_factory.mktemp("strict"))
    made.vm("snp")
    made.vm("td", "Standard_DC2es_v5")
    made.vm("plain", "Standard_D2s_v5", "TrustedLaunch")
    yield made
    made.stop()


@pytest.fixture(params=["snp", "td", "plain"])
def vm(bench: Bench, request: pytest.FixtureRequest) -> Vm:
    """One VM of each kind: the TPM's evidence is judged alike."""
    return next(one for one in bench.vms if one.name == request.param)


@pytest.fixture
def evidence(vm: Vm) -> dict[str, t.Any]:
    return copy.deepcopy(vm.evidence)


# --- check 1: the frame


@pytest.mark.parametrize(
    ("body", "check"),
    [
        ({}, "1.types"),
        ([], "1.members"),
        (None, "1.members"),
        ({"AttestationInfo": 7}, "1.types"),
        ({"AttestationInfo": "%%"}, "1.base64"),
        ({"AttestationInfo": b64u(b"no json")}, "1.json"),
        ({"AttestationInfo": b64u(b"[]")}, "1.members"),
        ({"attestation_info": b64u(b"{}")}, "1.types"),
        ({"AttestationInfo": b64u(b"{}")}, "1.version"),
    ],
)
def test_outer_request(bench: Bench, body: t.Any, check: str) -> None:
    response, clause = bench.post(body)
    assert (response.status, clause) == (400, f"maa.{check}")


@pytest.mark.parametrize(
    ("member", "value", "check"),
    [
        ("AttestationProtocolVersion", 2.0, "1.version"),
        ("AttestationProtocolVersion", "1.0", "1.version"),
        ("OSType", 7, "1.types"),
        ("OSType", "%", "1.base64"),
        ("OSVersionMajor", True, "1.types"),
        ("OSVersionMajor", 24.5, "1.types"),
        ("OSVersionMinor", "four", "1.types"),
        ("OSVersionMinor", None, "1.types"),
        ("TcgLogs", 7, "1.types"),
        ("ClientPayload", "nonce", "1.members"),
        ("ClientPayload", ["nonce"], "1.members"),
        ("TpmInfo", [], "1.members"),
        ("IsolationInfo", "SevSnp", "1.members"),
        ("IsolationInfo", {}, "9.isolation_type"),
        ("IsolationInfo", {"Type": "sevsnp"}, "9.isolation_type"),
        ("IsolationInfo", {"Type": ["Tdx"]}, "9.isolation_type"),
    ],
)
def test_types(bench: Bench, evidence: dict[str, t.Any], member: str, value: t.Any, check: str) -> None:
    evidence[member] = value
    refused(bench, evidence, check)


@pytest.mark.parametrize(
    ("member", "value", "check"),
    [
        ("PcrSet", "0-7", "1.types"),
        ("PcrSet", [0, 1, 2, 3, 4, 5, 6, "7"], "1.types"),
        ("PcrSet", [*range(7), 24], "1.types"),
        ("PcrSet", [*range(7), -1], "1.types"),
        ("PcrSet", [*range(7), 6], "4.selection"),
        ("PcrSet", [], "4.selection"),
        ("PCRs", [], "1.members"),
        ("PCRs", {"0": "AA=="}, "1.members"),
        ("PCRs", [{"Index": "0", "Digest": "AA=="}], "1.types"),
        ("PCRs", [{"Digest": "AA=="}], "1.types"),
        ("PCRs", [{"Index": 0, "Digest": "AA=="}] * 2, "1.types"),
        ("PCRs", [7], "1.members"),
        ("AikPub", {}, "1.types"),
        ("AikPub", "", "2.ak_public"),
        ("EncKeyPub", "", "5.key_public"),
        ("PcrQuote", "", "4.quote"),
        ("PcrSignature", "", "4.signature"),
        ("EncKeyCertifyInfo", "", "5.certify"),
        ("AikCert", "", "3.ak_certificate"),
    ],
)
def test_tpm_members(bench: Bench, evidence: dict[str, t.Any], member: str, value: t.Any, check: str) -> None:
    evidence["TpmInfo"][member] = value
    refused(bench, evidence, check)


# --- check 2: the attestation key


@pytest.mark.parametrize("bit", [0x2, 0x10, 0x20, 0x10000, 0x40000, 0x20000])
def test_attributes_of_the_attestation_key(bench: Bench, evidence: dict[str, t.Any], bit: int) -> None:
    """fixedTPM, fixedParent, sensitiveDataOrigin, restricted and sign must be set, decrypt must be clear."""
    raw = bytearray(base64.b64decode(evidence["TpmInfo"]["AikPub"]))
    struct.pack_into(">I", raw, 6, struct.unpack_from(">I", raw, 6)[0] ^ bit)
    evidence["TpmInfo"]["AikPub"] = b64(bytes(raw))
    refused(bench, evidence, "2.ak_attributes")


@pytest.mark.parametrize(
    ("position", "value"), [(14, b"\0\x16"), (16, b"\0\x0c"), (18, b"\x04\0")], ids=["PSS", "SHA-384", "1024 bits"]
)
def test_shape_of_the_attestation_key(bench: Bench, evidence: dict[str, t.Any], position: int, value: bytes) -> None:
    raw = bytearray(base64.b64decode(evidence["TpmInfo"]["AikPub"]))
    assert raw[14:20] == bytes.fromhex("0014000b0800")
    raw[position : position + 2] = value
    evidence["TpmInfo"]["AikPub"] = b64(bytes(raw))
    refused(bench, evidence, "2.ak_attributes")


def test_the_attestation_key_may_have_a_policy(bench: Bench, evidence: dict[str, t.Any]) -> None:
    """As in the published sample of a Trusted Launch request."""
    area = base64.b64decode(evidence["TpmInfo"]["AikPub"])[2:]
    with_policy = area[:8] + wire.sized(bytes(32)) + area[10:]
    evidence["TpmInfo"]["AikPub"] = b64(wire.sized(with_policy))
    assert bench.send(evidence)[0].status == 200


# --- checks 4 to 7: what the TPM signs when asked for something else


@pytest.mark.parametrize(
    "quoted",
    [
        selection(range(9)),
        selection(range(7)),
        selection(range(8), 0x000C),
        struct.pack(">I", 2) + SELECTION[4:] + selection([0], 0x000C)[4:],
    ],
    ids=["one more", "one less", "SHA-384", "two banks"],
)
def test_selections(bench: Bench, vm: Vm, quoted: bytes) -> None:
    refused(bench, vm.collect(quoted=quoted), "4.selection")


def test_a_certification_in_place_of_a_quote(bench: Bench, evidence: dict[str, t.Any]) -> None:
    """Each statement is genuine and signed, and stands in the other's place."""
    tpm = evidence["TpmInfo"]
    swapped = copy.deepcopy(evidence)
    swapped["TpmInfo"] |= {"PcrQuote": tpm["EncKeyCertifyInfo"], "PcrSignature": tpm["EncKeyCertifyInfoSignature"]}
    refused(bench, swapped, "4.quote")
    tpm |= {"EncKeyCertifyInfo": tpm["PcrQuote"], "EncKeyCertifyInfoSignature": tpm["PcrSignature"]}
    refused(bench, evidence, "5.certify")


# A TPM makes and certifies such keys; none may get a token.
SHAPES: list[tuple[str, dict[str, t.Any]]] = [
    ("userWithAuth", {"attributes": 0x00020472}),
    ("no dictionary protection off", {"attributes": 0x00020032}),
    ("signs too", {"attributes": 0x00060432}),
    ("1024 bits", {"bits": 1024}),
    ("SHA-384 name", {"name_alg": 0x0C, "policy": bytes(48)}),
    ("RSAES scheme", {"scheme": b"\0\x15"}),
    ("OAEP scheme", {"scheme": b"\0\x17\0\x0b"}),
]


@pytest.mark.parametrize(("name", "shape"), SHAPES, ids=[name for name, _shape in SHAPES])
def test_shapes_of_the_ephemeral_key(bench: Bench, vm: Vm, name: str, shape: dict[str, t.Any]) -> None:
    # A name of another algorithm is no name as the check wants it, before the attributes are looked at.
    refused(bench, vm.collect(**shape), "5.name" if "name_alg" in shape else "7.key_attributes")


@pytest.mark.parametrize("policy", [b"", bytes(32), hashlib.sha256(b"x").digest()])
def test_policies_of_the_ephemeral_key(bench: Bench, vm: Vm, policy: bytes) -> None:
    refused(bench, vm.collect(policy=policy), "7.key_policy")


def test_policy_of_other_pcrs(bench: Bench, vm: Vm) -> None:
    """Bound to fewer PCRs than are quoted."""
    selected = selection(range(4))
    values = b"".join(vm.run(wire.PCR_READ, [], b"", selection([pcr]))[20:52] for pcr in range(4))
    digest = hashlib.sha256(values).digest()
    policy = hashlib.sha256(bytes(32) + struct.pack(">I", 0x17F) + selected + digest).digest()
    refused(bench, vm.collect(policy=policy), "7.key_policy")


# --- check 8: secure boot is what quoted events say


def log(events: list[eventlog.Event]) -> tuple[bytes, dict[int, bytes]]:
    """A log and the PCRs that it replays to."""
    values = dict.fromkeys(range(8), bytes(32))
    for event in events:
        values[event.pcr] = hashlib.sha256(values[event.pcr] + event.digest).digest()
    return eventlog.encode(events), values


def variable(value: bytes) -> bytes:
    return next(event.data for event in eventlog.boot(value == b"\1") if b"S\0e\0c\0u\0r\0e\0B\0" in event.data)


def test_secure_boot_in_another_pcr() -> None:
    """An event in PCR 1 that says so proves nothing; nor does a later one in PCR 7, for the first one counts."""
    kind = eventlog.EV_EFI_VARIABLE_DRIVER_CONFIG
    without = [event for event in eventlog.boot(False) if b"S\0e\0c\0u\0r\0e\0B\0" not in event.data]
    for events, secure in (
        (eventlog.boot(True), True),
        (eventlog.boot(False), False),
        ([*without, eventlog.Event(1, kind, variable(b"\1"))], None),
        ([*eventlog.boot(False), eventlog.Event(7, kind, variable(b"\1"))], False),
        (without, None),
    ):
        assert checks.check(*log(events)) is secure


def test_pcr_7_must_be_quoted(bench: Bench, vm: Vm) -> None:
    """A log is not believed about a PCR that the TPM did not sign."""
    vm.evidence, kept = vm.collect(pcrs=range(7)), vm.evidence
    claims = bench.attested(vm)
    assert claims["secureboot"] is False and claims["x-ms-azurevm-attested-pcrs"] == list(range(7))
    vm.evidence = kept


@pytest.mark.parametrize("pcrs", [[*range(8), 11, 12, 13, 14], [*range(8), 11]])
def test_other_sets_of_pcrs(bench: Bench, vm: Vm, pcrs: list[int]) -> None:
    vm.evidence, kept = vm.collect(pcrs=pcrs), vm.evidence
    response, clause = bench.send(vm.evidence)
    assert response.status == 200, clause
    vm.evidence = kept


def test_without_log_nothing_is_said_of_secure_boot(bench: Bench, vm: Vm) -> None:
    vm.evidence, kept = {**vm.evidence, "TcgLogs": ""}, vm.evidence
    claims = bench.attested(vm)
    assert claims["secureboot"] is False and claims["x-ms-azurevm-dbvalidated"] is False
    vm.evidence = kept


# --- what goes back


def test_envelope(bench: Bench, vm: Vm) -> None:
    """Inside, the standard alphabet and a number; the claims part has neither - nor _ for the strictest client."""
    vm.evidence, kept = {**vm.evidence, "ClientPayload": {"nonce": "a?b>c~d\u00fc"}}, vm.evidence
    token = bench.send(vm.evidence)[0].json()["token"]
    assert "." not in token
    envelope = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    assert envelope["EncryptionParams"]["KeySizeInBits"] == 256
    for text in (envelope["Jwt"], envelope["EncryptedInnerKey"], envelope["AuthenticationData"]):
        assert base64.b64decode(text, validate=True)
    assert vm.opened(token)["x-ms-runtime"]["client-payload"] == {"nonce": "a?b>c~d\u00fc"}
    vm.evidence = kept


@pytest.mark.parametrize("action", ["bad_tag", "wrong_aad", "foreign_envelope"])
def test_spoilt_envelopes(bench: Bench, vm: Vm, action: str) -> None:
    bench.world.faults.add(Fault(action, service="maa", operation="attest_azureguest", times=1))
    token = bench.send(vm.evidence)[0].json()["token"]
    with pytest.raises((InvalidTag, wire.TpmError)):
        vm.opened(token)
    assert bench.attested(vm)["x-ms-ver"] == "1.0"


def test_short_iv(bench: Bench, vm: Vm) -> None:
    bench.world.faults.add(Fault("short_iv", service="maa", operation="attest_azureguest", times=1))
    token = bench.send(vm.evidence)[0].json()["token"]
    envelope = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    assert len(base64.b64decode(envelope["EncryptionParams"]["Iv"])) == 8


def test_plain_token(bench: Bench, vm: Vm) -> None:
    """By a fault alone; the service never answers a guest with a token in clear."""
    bench.world.faults.add(Fault("plain_jwt", service="maa", operation="attest_azureguest", times=1))
    assert claims_of(bench.send(vm.evidence)[0].json()["token"])["x-ms-attestation-type"] == "azurevm"


# --- reports that a client must refuse


@pytest.mark.parametrize(("action", "check"), [("altered", "12.runtime_hash"), ("other_ak", "13.ak")])
def test_faults_of_the_report(bench: Bench, vm: Vm, action: str, check: str) -> None:
    if vm.name == "plain":
        pytest.skip("there is no report")
    bench.world.faults.add(Fault(action, service="paravisor", operation="hcl_report", vm=vm.name, times=1))
    vm.tpm.renew_report()
    refused(bench, vm.collect(), check)
    vm.tpm.renew_report()
    vm.evidence = vm.collect()
    assert bench.attested(vm)["x-ms-ver"] == "1.0"


def test_every_part_of_the_report_is_bound(bench: Bench, vm: Vm) -> None:
    """One changed bit anywhere before the certificates, or in the runtime data, is refused."""
    if vm.name == "plain":
        pytest.skip("there is no report")
    for position in range(0, len(vm.runtime), 50):
        altered = copy.deepcopy(vm.evidence)
        inner = altered["IsolationInfo"]["Evidence"]
        inner["RunTimeData"] = flip(inner["RunTimeData"], position)
        refused(bench, altered, "12.runtime_hash")
    whole, end = (vm.hardware, 0x330) if vm.name == "snp" else (vm.quote, 1250)
    for position in range(0, end, 23):
        changed = bytearray(whole)
        changed[position] ^= 0x10
        sent = proof(bytes(changed), vm.chain) if vm.name == "snp" else b64(bytes(changed))
        altered["IsolationInfo"]["Evidence"] = {"Proof": sent, "RunTimeData": b64(vm.runtime)}
        response, clause = bench.send(altered)
        assert response.status == 400 and clause.startswith(("maa.10.", "maa.11.")), (position, clause)
