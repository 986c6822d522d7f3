# SPDX-License-Identifier: GPL-3.0-or-later
"""Verification of saved evidence and tokens: a list of checks, each with a reason of its own."""

from __future__ import annotations

import argparse
import base64
import dataclasses
import hashlib
import json
import struct
import time
import typing as t
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from unit.guest import release_fakes as fakes
from unit.guest.release_fakes import refused
from unit.guest.silicon_fakes import Host, certificate, hcl_blob, modulus_of, pem, rsa_key, runtime_data, spki, tlv
from unit.guest.tdx_fakes import Quoter, root_pem, td_report
from unit.guest.test_eventlog import POST_CODE, SHA256, header, record, variable
from unit.guest.tpm_fakes import ak_certificate

from ansible_collections.confidential.azure_skr.plugins.module_utils.guest import der, eventlog, verify
from ansible_collections.confidential.azure_skr.plugins.module_utils.guest.commands import verify as command

HOST, AK, NOW = Host(), rsa_key("ak"), time.time()
RUNTIME = runtime_data(modulus_of(AK), bytes(range(64)))
LOG = header(SHA256) + record(0, POST_CODE, b"one") + record(7, 0x80000001, variable("SecureBoot", b"\1"))
REPLAYED = eventlog.replay(eventlog.decode(LOG))
PCRS = {pcr: REPLAYED.get(pcr, bytes(32)) for pcr in range(8)}


def tpm_quote(nonce: bytes = b"", pcrs: t.Mapping[int, bytes] = PCRS, signer: str = "ak") -> verify.TpmQuote:
    bits = sum(1 << pcr for pcr in pcrs)
    digest = hashlib.sha256(b"".join(pcrs[pcr] for pcr in sorted(pcrs))).digest()
    message = (
        b"\xffTCG\x80\x18" + struct.pack(">H", 34) + b"\x00\x0b" + bytes(32) + struct.pack(">H", len(nonce)) + nonce
    )
    message += struct.pack(">QIIBQ", 1, 2, 3, 1, 4) + struct.pack(">IHB", 1, 11, 3) + bits.to_bytes(3, "little")
    message += struct.pack(">H", 32) + digest
    signature = rsa_key(signer).sign(message, padding.PKCS1v15(), hashes.SHA256())
    return verify.TpmQuote(message, signature, dict(pcrs))


def snp_material(**patches: t.Any) -> verify.Material:
    """Everything an SNP VM has; ``patches`` go to the report."""
    hardware = HOST.report(hashlib.sha256(RUNTIME).digest(), **patches)
    return verify.Material(
        hcl_report=hcl_blob(hardware, RUNTIME),
        certificates=[HOST.vcek(), HOST.ask, HOST.ark],
        ak_certificate=ak_certificate(AK),
        tpm_quote=tpm_quote(),
        event_log=LOG,
    )


def tdx_material(debug: bool = False, **changes: t.Any) -> verify.Material:
    report = td_report(hashlib.sha256(RUNTIME).digest(), debug)
    return verify.Material(
        hcl_report=hcl_blob(report, RUNTIME, report_type=4), td_quote=Quoter(**changes).quote(report)
    )


def checked(material: verify.Material, now: float = NOW, **wanted: t.Any) -> verify.Run:
    roots = {"roots_pem": pem(HOST.ark) + root_pem(), **wanted}
    return verify.verify(material, verify.Wanted(**roots), now)


def state(run: verify.Run, name: str) -> str:
    (found,) = (check for check in run.checks if check.name == name)
    return found.state


def failed(run: verify.Run) -> t.Dict[str, t.Optional[str]]:
    return {check.name: check.reason for check in run.checks if check.state == "failed"}


# --- the whole


def test_everything_of_an_snp_vm() -> None:
    run = checked(snp_material())
    assert failed(run) == {} and run.verdict == "verified"
    assert [check.number for check in run.checks] == list(range(1, len(run.checks) + 1))
    assert [check.name for check in run.checks if check.state == "not checked"] == [
        "revocation",
        "ak_issuer",
        "quote_nonce",
    ]
    assert (
        run.facts["tee"] == "snp" and run.facts["product"] == "Milan" and run.facts["ak_cert_days_left"] in (364, 365)
    )
    assert run.facts["event_log"]["secure_boot"] is True and run.facts["ak_cert_issuer_status"] == "unverified issuer"
    assert run.summary().startswith("VERIFIED: a genuine AMD SEV-SNP report of a Milan processor for VM")
    assert json.loads(json.dumps(run.result()))["verified"] is True


def test_everything_of_a_tdx_vm() -> None:
    run = checked(tdx_material())
    assert failed(run) == {} and run.verdict == "verified" and run.facts["tee"] == "tdx"
    assert state(run, "collateral") == "not checked" and state(run, "quote_binding") == "ok"


def test_nothing() -> None:
    run = checked(verify.Material())
    assert run.checks == [] and run.verdict == "incomplete"


@pytest.mark.parametrize("product", ["Milan", "Genoa", "Turin"])
@pytest.mark.parametrize("version", [2, 3, 5])
def test_bare_reports(product: str, version: int) -> None:
    host = Host(product)
    material = verify.Material(snp_report=host.report(b"data", version), certificates=[host.ark, host.ask, host.vcek()])
    run = checked(material, roots_pem=pem(host.ark), user_data=b"data".ljust(64, b"\0"))
    assert failed(run) == {} and run.verdict == "verified" and run.facts["reported_tcb"]["snp"] == 24


def test_the_text() -> None:
    material = snp_material()
    material.certificates = None
    lines = checked(material).text().split("\n")
    assert lines[0].startswith("INCOMPLETE: nothing failed, but there is no proof that the report is signed")
    assert lines[2].startswith(" 1. ok           HCL report has the documented layout: type snp")
    failing = checked(snp_material(signer="mallory")).text()
    assert failing.startswith("FAILED: do not trust this.") and "[report_signature]" in failing
    assert "redeploy the VM" in failing, "the next step"


# --- one thing wrong at a time

OTHER_CHIP = dataclasses.replace(HOST, chip_id=bytes(range(1, 65)))
OLD = dataclasses.replace(HOST, tcb=(4, 0, 23, 219))


def with_(material: verify.Material, **changes: t.Any) -> verify.Material:
    return dataclasses.replace(material, **changes)


@pytest.mark.parametrize(
    ("material", "wrong"),
    [
        (snp_material(signer="mallory"), {"signature": "report_signature"}),
        (with_(snp_material(), hcl_report=b"HCLA"), {"hcl_layout": "hcl_malformed"}),
        (
            with_(snp_material(), hcl_report=hcl_blob(HOST.report(b"x"), RUNTIME)),
            {"hcl_binding": "hcl_binding"},
        ),
        (with_(snp_material(), certificates=[OTHER_CHIP.vcek(), HOST.ask, HOST.ark]), {"belongs": "vcek_chip"}),
        (with_(snp_material(), certificates=[OLD.vcek(), HOST.ask, HOST.ark]), {"belongs": "vcek_tcb"}),
        (with_(snp_material(), certificates=[HOST.ask, HOST.ark]), {"certificates": "vcek_chain"}),
        (
            with_(snp_material(), certificates=[HOST.vcek(signer=rsa_key("mallory")), HOST.ask, HOST.ark]),
            {"chain": "vcek_chain"},
        ),
        (snp_material(patches={8: struct.pack("<Q", 0x3001F | 1 << 19)}), {"debug": "report_debug"}),
        (snp_material(patches={0x30: b"\x01"}), {"vmpl": "report_vmpl"}),
        (snp_material(patches={8: struct.pack("<Q", 0x3001F | 1 << 18)}), {"migration": "report_migration"}),
        (snp_material(patches={0x188: b"\x19\x77"}), {"product": "product_unknown"}),
        (snp_material(patches={0x48: b"\x04"}), {"signer": "vcek_kind"}),
        (with_(snp_material(), ak_certificate=ak_certificate(rsa_key("other"))), {"ak_certificate": "ak_cert_invalid"}),
        (with_(snp_material(), ak_certificate=b"damaged"), {"ak_certificate": "ak_cert_invalid"}),
        (
            with_(snp_material(), ak_certificate=ak_certificate(AK, begin=1.0, end=86400.0)),
            {"ak_dates": "ak_cert_expired"},
        ),
        (with_(snp_material(), tpm_quote=tpm_quote(signer="mallory")), {"quote_signature": "quote_invalid"}),
        (
            with_(snp_material(), tpm_quote=dataclasses.replace(tpm_quote(), pcrs={**PCRS, 3: b"\1" * 32})),
            {"quote_pcrs": "quote_invalid", "event_log_pcrs": "eventlog_mismatch"},
        ),
        (
            with_(snp_material(), tpm_quote=dataclasses.replace(tpm_quote(), pcrs={0: PCRS[0]})),
            {"quote_pcrs": "quote_invalid"},
        ),
        (with_(snp_material(), event_log=LOG[:-3]), {"event_log": "invalid_input"}),
        (
            with_(snp_material(), tpm_quote=tpm_quote(pcrs={**PCRS, 7: b"\1" * 32})),
            {"event_log_pcrs": "eventlog_mismatch"},
        ),
        (tdx_material(signer="mallory"), {"signature": "td_quote_signature"}),
        (tdx_material(vouched="mallory"), {"quote_key": "td_quote_key"}),
        (tdx_material(enclave_signer="mallory"), {"enclave": "td_quote_qe"}),
        (tdx_material(tee_type=0), {"quote_kind": "td_quote_kind"}),
        (tdx_material(chain=b""), {"chain": "pck_chain"}),
        (with_(tdx_material(), td_quote=b"\x04\x00"), {"quote_layout": "td_quote_malformed"}),
        (with_(tdx_material(), td_quote=Quoter().quote(td_report())), {"quote_binding": "td_quote_binding"}),
        (tdx_material(debug=True), {"debug": "report_debug"}),
    ],
    ids=lambda one: "-".join(one.values()) if isinstance(one, dict) else "",
)
def test_what_is_wrong_is_told_alone(material: verify.Material, wrong: t.Dict[str, str]) -> None:
    run = checked(material)
    found = failed(run)
    assert {name: found.get(name) for name in wrong} == wrong
    assert set(found) - set(wrong) <= {"signature"}, "a foreign certificate's key does not verify either"
    assert run.verdict == "failed" and run.result()["reasons"][0] in wrong.values()
    assert run.facts.get("debuggable") in (None, False) or "debug" in wrong


def test_the_layout_of_the_bare_report() -> None:
    run = checked(verify.Material(snp_report=b"\x09" + bytes(1183)))
    assert failed(run) == {"report_layout": "report_malformed"}


def test_certificates_out_of_date() -> None:
    late = NOW + 400 * 86400
    run = checked(snp_material(), now=late)
    assert failed(run) == {"dates": "certificate_dates", "ak_dates": "ak_cert_expired"}
    assert run.facts["ak_cert_days_left"] < 0


# --- what is wanted


def test_what_is_accepted_by_option() -> None:
    material = snp_material(patches={8: struct.pack("<Q", 0x3001F | 3 << 18), 0x30: b"\x02"})
    run = checked(material, allow_debug=True, allow_migration=True, vmpl=2)
    assert failed(run) == {} and state(run, "debug") == state(run, "migration") == "not checked"


@pytest.mark.parametrize(("wanted", "reason"), [("snp", None), ("confidential", None), ("tdx", "tee_mismatch")])
def test_the_technology(wanted: str, reason: t.Optional[str]) -> None:
    assert failed(checked(snp_material(), require_tee=wanted)).get("tee") == reason


def test_user_data() -> None:
    assert state(checked(snp_material(), user_data=bytes(range(64))), "user_data") == "ok"
    assert failed(checked(snp_material(), user_data=bytes(64))) == {"user_data": "user_data_mismatch"}


def test_the_nonce_of_the_quote() -> None:
    material = with_(snp_material(), tpm_quote=tpm_quote(b"fresh"))
    assert state(checked(material, quote_nonce=b"fresh"), "quote_nonce") == "ok"
    assert failed(checked(material, quote_nonce=b"other")) == {"quote_nonce": "quote_nonce"}


def test_the_tpms_own_key() -> None:
    """On the VM itself the key is known, and the report must name it."""
    run = checked(with_(snp_material(), ak_modulus=modulus_of(AK)))
    assert state(run, "hcl_key") == "ok"
    run = checked(with_(snp_material(), ak_modulus=5))
    assert failed(run) == {"hcl_key": "hcl_binding"}


def test_the_issuer_of_the_ak_certificate() -> None:
    run = checked(snp_material(), ak_roots_pem=vtpm_authority())
    assert state(run, "ak_issuer") == "ok" and run.facts["ak_cert_issuer_status"] == "verified"
    run = checked(snp_material(), ak_roots_pem=vtpm_authority("mallory"))
    assert failed(run) == {"ak_issuer": "ak_cert_issuer"} and run.facts["ak_cert_issuer_status"] == "refused"


# --- what has no proof


@pytest.mark.parametrize(
    ("material", "name"),
    [
        (with_(snp_material(), certificates=None), "signature"),
        (with_(tdx_material(), td_quote=None), "signature"),
        (verify.Material(tpm_quote=tpm_quote()), "quote_signature"),
        (verify.Material(token="a.b.c"), "token_signature"),
        (verify.Material(snp_report=HOST.report(), certificates=[HOST.vcek(issuer="SEV-Elsewhere")]), "signature"),
    ],
    ids=["no VCEK", "no quote", "no key", "no JWKS", "no ASK"],
)
def test_a_gap_is_neither_success_nor_failure(material: verify.Material, name: str) -> None:
    run = checked(material)
    assert failed(run) == {} and run.verdict == "incomplete" and run.result()["verified"] is False
    (found,) = (check for check in run.checks if check.name == name)
    assert found.state == "not checked" and found.gap and found.message


VTPM_CA = "Global Virtual TPM CA - 01"


def vtpm_authority(key: str = "vtpm-ca") -> str:
    constraints = {"2.5.29.19": tlv(0x30, b"\x01\x01\xff")}
    return pem(certificate(VTPM_CA, VTPM_CA, spki(rsa_key(key)), rsa_key(key), 5, constraints, algorithm="rsa"))


def test_parts_on_their_own() -> None:
    assert checked(verify.Material(td_quote=Quoter().quote(td_report(b"x")))).verdict == "verified"
    run = checked(verify.Material(event_log=LOG))
    assert run.verdict == "incomplete" and run.facts["event_log"]["replayed"]["0"] == REPLAYED[0].hex()
    assert state(run, "event_log_pcrs") == "not checked"


def test_without_hardware_the_authority_must_be_known() -> None:
    """Anybody can certify a key: on a Trusted Launch VM nothing else vouches for it."""
    material = verify.Material(ak_certificate=ak_certificate(AK), tpm_quote=tpm_quote(), event_log=LOG)
    run = checked(material)
    assert run.verdict == "incomplete" and VTPM_CA in run.summary()
    assert checked(material, ak_roots_pem=vtpm_authority()).verdict == "verified"


def test_nothing_binds_a_tpm_to_a_bare_report() -> None:
    material = verify.Material(
        snp_report=HOST.report(), certificates=[HOST.vcek(), HOST.ask], tpm_quote=tpm_quote(), ak_modulus=modulus_of(AK)
    )
    run = checked(material)
    assert run.verdict == "incomplete" and state(run, "hcl_key") == "not checked"


@pytest.mark.parametrize(
    "wish", [{"user_data": bytes(64)}, {"quote_nonce": b"n"}, {"issuer": "https://a"}, {"token_nonce": "n"}], ids=str
)
def test_no_wish_passes_by_silently(wish: t.Dict[str, t.Any]) -> None:
    material = verify.Material(ak_certificate=ak_certificate(AK))
    run = checked(material, ak_roots_pem=vtpm_authority(), **wish)
    assert run.verdict == "incomplete"
    assert failed(checked(material, require_tee="confidential")) == {"tee": "not_a_cvm"}


# --- tokens

KEYS = fakes.key_set(**{"k-1": rsa_key("authority")})


def token(signer: str = "authority", kid: str = "k-1", **changes: t.Any) -> str:
    claims = {**fakes.guest_claims("mine", NOW), **changes}
    return fakes.sign({"alg": "RS256", "kid": kid}, claims, rsa_key(signer))


def tokened(text: str, **wanted: t.Any) -> verify.Run:
    return checked(verify.Material(token=text, key_set=KEYS), issuer=fakes.ISSUER, token_nonce="mine", **wanted)


def test_a_good_token_passes_off_line() -> None:
    run = tokened(token())
    assert run.verdict == "verified" and run.facts["claims"]["iss"] == fakes.ISSUER
    assert {check.name for check in run.checks} == {"token_signature", "token_issuer", "token_time", "token_nonce"}


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        (token(iss="https://sharedeus2.eus2.attest.azure.net"), {"token_issuer": "token_issuer"}),
        (token(exp=int(NOW) - 4000, nbf=int(NOW) - 8000), {"token_time": "token_time"}),
        (token(nbf=int(NOW) + 4000), {"token_time": "token_time"}),
        (token(signer="mallory"), {"token_signature": "token_signature"}),
        (token(kid="k-2"), {"token_signature": "token_signature"}),
        (token(**{"x-ms-runtime": {"client-payload": {"nonce": "b3RoZXI="}}}), {"token_nonce": "token_nonce"}),
        ("no.token", {"token_signature": "token_signature"}),
    ],
    ids=["issuer", "expired", "early", "signature", "kid", "nonce", "malformed"],
)
def test_four_distinct_reasons(text: str, wrong: t.Dict[str, str]) -> None:
    assert failed(tokened(text)) == wrong


def test_a_platform_token() -> None:
    text = token(**{"nonce": "mine", "x-ms-runtime": None})
    assert tokened(text).verdict == "verified"


def test_a_token_of_another_vm() -> None:
    keys = {"keys": json.loads(RUNTIME)["keys"]}
    ours = token(**{"x-ms-isolation-tee": {"x-ms-runtime": keys}})
    for text, wanted in ((ours, {}), (token(), {"token_vm": "token_binding"})):
        assert failed(checked(with_(snp_material(), token=text, key_set=KEYS), issuer=fakes.ISSUER)) == wanted


# --- the command


def typed(*words: str) -> t.Dict[str, t.Any]:
    parser = argparse.ArgumentParser()
    command.add(parser)
    return vars(parser.parse_args(words))


class Files:
    """The material of a VM as files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        material = snp_material()
        assert material.hcl_report is not None and material.tpm_quote is not None
        quote = material.tpm_quote
        self.hcl = self.save("hcl.bin", material.hcl_report)
        self.vcek, self.issuers = self.save("vcek.der", HOST.vcek()), self.save("issuers.pem", pem(HOST.ask, HOST.ark))
        self.roots = self.save("roots.pem", pem(HOST.ark) + root_pem())
        self.ak = self.save("ak.der", ak_certificate(AK).ljust(4096, b"\0"))
        self.document = {
            "message": quote.message.hex(),
            "signature": fakes.b64u(quote.signature),
            "pcrs": [list(PCRS[pcr]) for pcr in range(8)],
        }
        self.quote = self.save("quote.json", json.dumps(self.document))
        self.log = self.save("log", LOG)

    def save(self, name: str, content: t.Union[bytes, str]) -> str:
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    def words(self) -> t.List[str]:
        chain = ["--chain", self.issuers, "--chain", self.vcek]
        return ["--report", self.hcl, *chain, "--roots", self.roots, "--ak-cert", self.ak, "--tpm-quote", self.quote]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def test_the_command(files: Files) -> None:
    status, text = command.run(typed(*files.words(), "--event-log", files.log))
    assert status == 0 and text.startswith("VERIFIED")
    status, text = command.run(typed(*files.words(), "--json"))
    assert status == 0 and json.loads(text)["verified"] is True
    status, text = command.run(typed(*files.words(), "--require-tee", "tdx", "--vmpl", "1"))
    assert status == 1 and "[tee_mismatch]" in text and "[report_vmpl]" in text


def test_what_nobody_can_check(files: Files) -> None:
    assert command.run(typed("--report", files.hcl))[0] == 1
    with refused("invalid_input"):
        command.run(typed())


def test_amds_own_root_is_the_default(files: Files) -> None:
    status, text = command.run(typed("--report", files.hcl, "--chain", files.vcek, "--chain", files.issuers))
    assert status == 1 and "not a pinned AMD root" in text


def test_dates_as_of_another_time(files: Files) -> None:
    status, text = command.run(typed(*files.words(), "--at", "2020-01-01T00:00:00Z"))
    assert status == 1 and "certificate_dates" in text
    with refused("invalid_input") as info:
        command.run(typed(*files.words(), "--at", "yesterday"))
    assert info.value.facts == {"option": "--at"}


def test_a_document_of_evidence(files: Files) -> None:
    material = snp_material()
    assert material.hcl_report is not None
    document = {
        "version": 0,
        "hcl_report": fakes.b64u(material.hcl_report),
        "vcek": fakes.b64(HOST.vcek()),
        "tpm_quote": files.document,
        "event_log": fakes.b64(LOG),
        "ak_certificate": fakes.b64(ak_certificate(AK)),
    }
    path = files.save("evidence.json", json.dumps(document))
    for option in ("--evidence", "--report"):
        status, text = command.run(typed(option, path, "--chain", files.issuers, "--roots", files.roots, "--json"))
        assert status == 0, text
        names = {check["name"] for check in json.loads(text)["checks"]}
        assert {"signature", "quote_signature", "event_log_pcrs", "ak_dates"} <= names
    document["vcek"] = pem(HOST.vcek())
    path = files.save("evidence.json", json.dumps(document))
    assert command.run(typed("--evidence", path, "--chain", files.issuers, "--roots", files.roots))[0] == 0


def test_quotes_in_a_tpms_own_wrapping(files: Files) -> None:
    quote = tpm_quote()
    message = len(quote.message).to_bytes(2, "big") + quote.message
    signature = bytes.fromhex("0014000b0100") + quote.signature
    rows = {str(pcr): value.hex() for pcr, value in PCRS.items()}
    files.save("quote.json", json.dumps({"quote": fakes.b64(message), "signature": signature.hex(), "pcrs": rows}))
    assert command.run(typed(*files.words()))[0] == 0


def test_a_token_on_the_command_line(files: Files) -> None:
    text, keys = files.save("token", token() + "\n"), files.save("jwks", json.dumps(KEYS))
    words = ["--token", text, "--jwks", keys, "--issuer", fakes.ISSUER, "--nonce"]
    assert command.run(typed(*words, "mine"))[0] == 0
    status, told = command.run(typed(*words, "yours"))
    assert status == 1 and "[token_nonce]" in told and "eyJ" not in told


@pytest.mark.parametrize(
    ("option", "content"),
    [
        ("--report", b"neither nor"),
        ("--report", bytes((1 << 20) + 1)),
        ("--evidence", b"{"),
        ("--evidence", b"[]"),
        ("--evidence", b'{"version": 0}'),
        ("--evidence", b'{"hcl_report": 5}'),
        ("--evidence", b'{"hcl_report": "*"}'),
        ("--evidence", b'{"hcl_report": [256]}'),
        ("--evidence", b'{"snp_report": "00", "vcek_chain": "none"}'),
        ("--tpm-quote", b"{}"),
        ("--tpm-quote", b'{"message": "00", "signature": "00", "pcrs": 5}'),
        ("--tpm-quote", b'{"message": "00", "signature": "00", "pcrs": {"a": "00"}}'),
        ("--chain", b"-----BEGIN CERTIFICATE-----\nAAAA"),
        ("--ak-cert", (pem(b"\x30\x00") * 2).encode()),
        ("--token", b"\xff"),
        ("--jwks", b"5"),
        ("--roots", b"\xff"),
    ],
)
def test_files_that_are_of_no_use(files: Files, option: str, content: bytes) -> None:
    with refused("invalid_input") as info:
        command.run(typed("--event-log", files.log, option, files.save("file", content)))
    assert info.value.facts == {"option": option}
    with refused("invalid_input") as info:
        command.run(typed("--event-log", files.log, option, "/no/such/file"))
    assert "/no/such/file" in info.value.message


@pytest.mark.parametrize("option", ["--user-data", "--quote-nonce"])
@pytest.mark.parametrize("value", ["", "xyz", "00" * 65])
def test_values_that_are_no_hex(files: Files, option: str, value: str) -> None:
    with refused("invalid_input") as info:
        command.run(typed("--report", files.hcl, option, value))
    assert info.value.facts == {"option": option}


def test_certificates_one_by_one_are_those_of_a_chain() -> None:
    assert der.pem_certificates(der.to_pem(HOST.ask)) == [HOST.ask]
    assert base64.b64encode(HOST.ask).decode()[:60] in der.to_pem(HOST.ask).replace("\n", "")
