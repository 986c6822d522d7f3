# SPDX-License-Identifier: GPL-3.0-or-later
"""Every check of the attestation service: true evidence altered in one place, each refused for its own reason.

The evidence comes from a real software TPM and the throw-away silicon, collected with the simulator's own TPM code.
"""

from __future__ import annotations

import asyncio
import base64
import copy
import hashlib
import json
import typing as t

import pytest
from attestation_bench import HOST, Bench, b64, b64u, flip, proof, refused
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from skrsim.core.messages import Request
from skrsim.tee.vtpm_authority import VtpmAuthority
from skrsim.vtpm import wire


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Bench]:
    made = Bench(tmp_path_factory.mktemp("maa"))
    made.vm("one")
    made.vm("four")
    yield made
    made.stop()


@pytest.fixture
def evidence(bench: Bench) -> dict[str, t.Any]:
    return copy.deepcopy(bench.vms[0].evidence)


def test_true_evidence_is_attested(bench: Bench, evidence: dict[str, t.Any]) -> None:
    response, clause = bench.send(evidence)
    assert response.status == 200 and clause == "maa.attested"
    envelope = json.loads(base64.urlsafe_b64decode(response.json()["token"] + "=="))
    assert set(envelope) == {"Jwt", "EncryptedInnerKey", "EncryptionParams", "AuthenticationData"}
    assert envelope["EncryptionParams"]["KeySizeInBits"] == 256
    assert not set(envelope["Jwt"]) & set("-_")


# --- what is altered, and which check must refuse it


TPM_ALTERATIONS: list[tuple[str, int, str]] = [
    ("AikPub", 100, "3.ak_certificate_key"),
    ("AikCert", 5, "3.ak_certificate"),
    ("PcrQuote", 0, "4.quote"),
    ("PcrQuote", 5, "4.quote"),
    ("PcrQuote", 50, "4.signature"),
    ("PcrQuote", 73, "4.selection"),
    ("PcrQuote", 100, "4.pcr_digest"),
    ("PcrSignature", 9, "4.signature"),
    ("EncKeyPub", 200, "5.name"),
    ("EncKeyCertifyInfo", 4, "5.certify"),
    ("EncKeyCertifyInfo", 55, "5.signature"),
    ("EncKeyCertifyInfo", 80, "5.name"),
    ("EncKeyCertifyInfoSignature", 9, "5.signature"),
]


@pytest.mark.parametrize(("member", "position", "check"), TPM_ALTERATIONS)
def test_tpm_evidence(bench: Bench, evidence: dict[str, t.Any], member: str, position: int, check: str) -> None:
    evidence["TpmInfo"][member] = flip(evidence["TpmInfo"][member], position)
    refused(bench, evidence, check)


def test_pcr_values_and_set(bench: Bench, evidence: dict[str, t.Any]) -> None:
    altered = copy.deepcopy(evidence)
    altered["TpmInfo"]["PCRs"][3]["Digest"] = flip(altered["TpmInfo"]["PCRs"][3]["Digest"], 0)
    refused(bench, altered, "4.pcr_digest")
    altered = copy.deepcopy(evidence)
    altered["TpmInfo"]["PcrSet"] = list(range(9))
    refused(bench, altered, "4.selection")
    altered = copy.deepcopy(evidence)
    altered["TpmInfo"]["PCRs"].pop()
    refused(bench, altered, "4.selection")


def test_statements_of_two_tpms(bench: Bench, evidence: dict[str, t.Any]) -> None:
    """A quote of this VM with the key, certification and attestation key of another."""
    for member in ("PcrQuote", "PcrSignature"):
        evidence["TpmInfo"][member] = bench.vms[1].evidence["TpmInfo"][member]
    refused(bench, evidence, "4.signature")


def test_quote_of_an_earlier_boot(bench: Bench) -> None:
    """The attestation key is the same after a reboot; the counters tell the boots apart."""
    vm = bench.vm("reboot")
    before = vm.evidence["TpmInfo"]
    vm.tpm.reboot()
    after = vm.collect()
    after["TpmInfo"]["PcrQuote"], after["TpmInfo"]["PcrSignature"] = before["PcrQuote"], before["PcrSignature"]
    refused(bench, after, "6.same_tpm")


def test_ephemeral_key_of_another_shape(bench: Bench) -> None:
    """With a password (userWithAuth) or another policy the key is certified all the same, and must be refused."""
    refused(bench, bench.vms[0].collect(attributes=0x00020472), "7.key_attributes")
    refused(bench, bench.vms[0].collect(policy=hashlib.sha256(b"another").digest()), "7.key_policy")


def test_attestation_key_certificate(bench: Bench, evidence: dict[str, t.Any]) -> None:
    world, vm = bench.world, bench.vms[0]
    for moved in (400 * 86400, -10 * 86400):
        world.clock.advance(moved)
        try:
            refused(bench, evidence, "3.ak_certificate_dates")
        finally:
            world.clock.advance(-moved)
    foreign = VtpmAuthority().issue(vm.tpm.ak_modulus, "foreign", world.clock.now())
    evidence["TpmInfo"]["AikCert"] = b64(foreign)
    refused(bench, evidence, "3.ak_certificate_chain")
    other = rsa.generate_private_key(65537, 2048).public_key().public_numbers().n
    evidence["TpmInfo"]["AikCert"] = b64(bench.platform.authority.issue(other, "other", world.clock.now()))
    refused(bench, evidence, "3.ak_certificate_key")


def test_an_unrestricted_attestation_key(bench: Bench, evidence: dict[str, t.Any]) -> None:
    raw = bytearray(base64.b64decode(evidence["TpmInfo"]["AikPub"]))
    raw[7] &= 0xFE  # clear "restricted": byte 2 of the attributes
    evidence["TpmInfo"]["AikPub"] = b64(bytes(raw))
    refused(bench, evidence, "2.ak_attributes")
    evidence["TpmInfo"]["AikPub"] = b64(bytes(raw[:50]))
    refused(bench, evidence, "2.ak_public")


SNP_ALTERATIONS: list[tuple[int, int, str]] = [
    (0x000, 4, "10.version"),
    (0x034, 2, "10.version"),
    (0x048, 4, "10.signing_key"),
    (0x008, 1, "10.signature"),
    (0x00A, 8, "10.signature"),
    (0x030, 1, "10.signature"),
    (0x050, 1, "10.signature"),
    (0x090, 1, "10.signature"),
    (0x180, 1, "10.tcb"),
    (0x187, 1, "10.tcb"),
    (0x1A0, 1, "10.chip_id"),
    (0x2A0, 1, "10.signature"),
    (0x2E8, 1, "10.signature"),
]


@pytest.mark.parametrize(("position", "bit", "check"), SNP_ALTERATIONS)
def test_snp_report(bench: Bench, evidence: dict[str, t.Any], position: int, bit: int, check: str) -> None:
    report = bytearray(bench.vms[0].hardware)
    report[position] ^= bit
    evidence["IsolationInfo"]["Evidence"]["Proof"] = proof(bytes(report), bench.vms[0].chain)
    refused(bench, evidence, check)


def test_snp_report_that_is_genuine_but_not_wanted(bench: Bench, evidence: dict[str, t.Any]) -> None:
    """Signed by the right chip, yet of another VMPL, or with a reserved bit of the policy clear."""
    chip, report = bench.platform.chip("one"), bench.vms[0].hardware
    for position, bit, check in ((0x30, 1, "10.vmpl"), (0x0A, 2, "10.policy")):
        altered = bytearray(report)
        altered[position] ^= bit
        chip.sign(altered)
        evidence["IsolationInfo"]["Evidence"]["Proof"] = proof(bytes(altered), bench.vms[0].chain)
        refused(bench, evidence, check)


def test_vcek_chain(bench: Bench, evidence: dict[str, t.Any]) -> None:
    report, chain = bench.vms[0].hardware, bench.vms[0].chain
    blocks = [block + "-----END CERTIFICATE-----\n" for block in chain.split("-----END CERTIFICATE-----\n")[:-1]]
    damaged = blocks[0].splitlines()
    damaged[-2] = damaged[-2][:-8] + ("A" if damaged[-2][-8] != "A" else "B") + damaged[-2][-7:]
    for altered, check in (
        ("".join(blocks[:2]), "10.chain"),
        ("nonsense", "10.chain"),
        ("\n".join(damaged) + "\n" + blocks[1] + blocks[2], "10.chain_signature"),
        (blocks[0] + blocks[2] + blocks[2], "10.chain_signature"),
        (bench.platform.new_chip().vcek_pem + blocks[1] + blocks[2], "10.chip_id"),
    ):
        evidence["IsolationInfo"]["Evidence"]["Proof"] = proof(report, altered)
        refused(bench, evidence, check)
    evidence["IsolationInfo"]["Evidence"]["Proof"] = proof(report[:-1], chain)
    refused(bench, evidence, "10.size")


def test_another_root(bench: Bench, evidence: dict[str, t.Any]) -> None:
    """Even a root of the same name and key is another root when it is not the pinned certificate."""
    hierarchy = bench.platform.hierarchy
    pss = padding.PSS(mgf=padding.MGF1(hashes.SHA384()), salt_length=48)
    other = (
        x509.CertificateBuilder(hierarchy.ark.issuer, hierarchy.ark.subject, hierarchy.ark.public_key(), 77)
        .not_valid_before(hierarchy.ark.not_valid_before_utc)
        .not_valid_after(hierarchy.ark.not_valid_after_utc)
        .sign(hierarchy._ark_key, hashes.SHA384(), rsa_padding=pss)
    )
    blocks = bench.vms[0].chain.split("-----END CERTIFICATE-----\n")
    chain = "-----END CERTIFICATE-----\n".join(blocks[:2]) + "-----END CERTIFICATE-----\n"
    chain += other.public_bytes(serialization.Encoding.PEM).decode()
    evidence["IsolationInfo"]["Evidence"]["Proof"] = proof(bench.vms[0].hardware, chain)
    refused(bench, evidence, "10.root")


def test_runtime_data(bench: Bench, evidence: dict[str, t.Any]) -> None:
    inner = evidence["IsolationInfo"]["Evidence"]
    inner["RunTimeData"] = b64(bench.vms[0].runtime.replace(b'"tpm-enabled":true', b'"tpm-enabled":null'))
    refused(bench, evidence, "12.runtime_hash")
    inner["RunTimeData"] = b64(bench.vms[0].runtime + b" ")
    refused(bench, evidence, "12.runtime_hash")
    four = bench.vms[1]
    inner["RunTimeData"], inner["Proof"] = b64(four.runtime), proof(four.hardware, four.chain)
    refused(bench, evidence, "13.ak")


def test_event_log(bench: Bench, evidence: dict[str, t.Any]) -> None:
    log = base64.b64decode(evidence["TcgLogs"])
    evidence["TcgLogs"] = b64(log[:-5])
    refused(bench, evidence, "8.log_format")
    evidence["TcgLogs"] = b64(b"no log")
    refused(bench, evidence, "8.log_format")
    forged = log.replace("SecureBoot".encode("utf-16-le") + b"\x01", "SecureBoot".encode("utf-16-le") + b"\x00")
    assert forged != log
    evidence["TcgLogs"] = b64(forged)
    refused(bench, evidence, "8.log_data")
    from skrsim.tee import eventlog

    evidence["TcgLogs"] = b64(eventlog.encode(eventlog.boot(False)))
    refused(bench, evidence, "8.log_replay")


MEMBERS = [
    "OSType",
    "OSDistro",
    "OSVersionMajor",
    "OSVersionMinor",
    "OSBuild",
    "TpmInfo",
    "IsolationInfo",
    "AttestationProtocolVersion",
]


@pytest.mark.parametrize("member", MEMBERS)
def test_missing_members(bench: Bench, evidence: dict[str, t.Any], member: str) -> None:
    del evidence[member]
    response, clause = bench.send(evidence)
    assert response.status == 400 and clause.startswith(("maa.1.", "maa.9.")), clause


@pytest.mark.parametrize(
    "member", [*dict.fromkeys(name for name, _position, _check in TPM_ALTERATIONS), "PcrSet", "PCRs"]
)
def test_missing_tpm_members(bench: Bench, evidence: dict[str, t.Any], member: str) -> None:
    del evidence["TpmInfo"][member]
    response, clause = bench.send(evidence)
    assert response.status == 400 and clause.startswith("maa.1."), clause


def test_isolation(bench: Bench, evidence: dict[str, t.Any]) -> None:
    altered = copy.deepcopy(evidence)
    altered["IsolationInfo"]["Type"] = "Sgx"
    refused(bench, altered, "9.isolation_type")
    altered = copy.deepcopy(evidence)
    altered["IsolationInfo"]["Type"] = "TrustedLaunch"
    refused(bench, altered, "9.evidence")
    altered = copy.deepcopy(evidence)
    del altered["IsolationInfo"]["Evidence"]
    refused(bench, altered, "1.members")
    altered = copy.deepcopy(evidence)
    altered["AttestationProtocolVersion"] = "3.0"
    refused(bench, altered, "1.version")


def test_request_frame(bench: Bench, evidence: dict[str, t.Any]) -> None:
    response, clause = bench.send(evidence, version="1999-01-01")
    assert response.status == 400 and clause == "maa.api_version"
    request = Request("POST", "https", HOST, "/attest/AzureGuest", (("api-version", "2020-10-01"),), {}, b"no json")
    response, _fault = asyncio.run(bench.app.handle(request))
    assert response.status == 400


# --- what must not be required


def test_tolerated_differences(bench: Bench, evidence: dict[str, t.Any]) -> None:
    """What Microsoft's own clients do differently from each other is all accepted."""
    raw = base64.b64decode(evidence["TpmInfo"]["AikPub"])
    variants: list[t.Callable[[dict[str, t.Any]], None]] = [
        lambda e: e.update(OSVersionMajor="24", OSVersionMinor="04"),
        lambda e: e.update(OSType=b64(b"Edgeless"), OSDistro=b64(b"x"), OSBuild=b64(b"")),
        lambda e: e.update(TcgLogs=""),
        lambda e: e.update(ClientPayload={"user-claims": {"nonce": "plain text"}}),
        lambda e: e.update(ClientPayload={}),
        lambda e: e["TpmInfo"].update(AikPub=b64(raw + bytes(72))),
        lambda e: e["TpmInfo"].update(AikPub=b64u(raw)),
        lambda e: e["TpmInfo"].update(AikCert=e["TpmInfo"]["AikCert"].rstrip("=")),
        lambda e: e["IsolationInfo"]["Evidence"].update(RunTimeData=b64u(bench.vms[0].runtime)),
    ]
    for variant in variants:
        altered = copy.deepcopy(evidence)
        variant(altered)
        response, clause = bench.send(altered)
        assert response.status == 200, (clause, response.body)
    response, _clause = bench.send(evidence, version="2025-06-01", member="attestationInfo")
    assert response.status == 200


def test_owner_hierarchy_and_qualifying_data_are_accepted(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key may be of any hierarchy; a nonce in the quote is neither wanted nor refused."""
    vm = bench.vms[0]
    original = vm.run

    def other(code: int, handles: list[int], auth: bytes = b"", parameters: bytes = b"") -> bytes:
        if code == wire.CREATE_PRIMARY:
            handles = [wire.OWNER]
        if code == 0x158:
            parameters = b"\0\x05nonce" + parameters[2:]
        return original(code, handles, auth, parameters)

    monkeypatch.setattr(vm, "run", other)
    response, clause = bench.send(vm.collect())
    assert response.status == 200, clause


def test_trusted_launch_has_no_isolation_claims(bench: Bench, evidence: dict[str, t.Any]) -> None:
    evidence["IsolationInfo"] = {"Type": "TrustedLaunch"}
    response, _clause = bench.send(evidence)
    assert response.status == 200
