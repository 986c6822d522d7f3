# SPDX-License-Identifier: GPL-3.0-or-later
"""Evidence captured on real confidential VMs: it parses, binds and verifies, and one flipped bit is refused.

The captures lie beside the repository (or where SKR_VECTORS says); without them these tests are skipped.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import typing as t
from pathlib import Path

import pytest

from ansible_collections.confidential.azure_skr.plugins.module_utils.guest import (
    amd_authorities,
    der,
    eventlog,
    hcl,
    quote,
    snp,
    snp_verify,
    tdx,
    tdx_verify,
)
from ansible_collections.confidential.azure_skr.plugins.module_utils.guest.commands import verify as verify_command
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.failure import SkrFailure

VECTORS = Path(os.environ.get("SKR_VECTORS", Path(__file__).resolve().parents[4] / "shared" / "vectors"))
pytestmark = pytest.mark.skipif(not VECTORS.is_dir(), reason=f"the captured evidence is not at {VECTORS}")


def read(name: str) -> bytes:
    return (VECTORS / name).read_bytes()


def unb64u(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def refused(*reasons: str) -> t.Any:
    class Refused:
        def __enter__(self) -> None: ...

        def __exit__(self, _kind: t.Any, error: t.Any, _trace: t.Any) -> bool:
            assert isinstance(error, SkrFailure) and error.reason in reasons, repr(error)
            return True

    return Refused()


def pem(data: bytes) -> str:
    return f"-----BEGIN CERTIFICATE-----\n{base64.encodebytes(data).decode()}-----END CERTIFICATE-----\n"


def chain_of(vcek: bytes) -> snp_verify.Chain:
    return snp_verify.parse_chain(pem(vcek) + read("amd-roots/ask_ark_milan.pem").decode())


def milan_hcl() -> t.Tuple[hcl.HclReport, snp_verify.Chain]:
    return hcl.parse(read("snp-milan/hcl-report.bin")), snp_verify.parse_chain(
        read("snp-milan/vcek-chain.pem").decode()
    )


def milan_evidence() -> t.Tuple[hcl.HclReport, snp_verify.Chain, t.Dict[str, t.Any]]:
    document = json.loads(read("snp-milan/evidence.json"))
    report = hcl.parse(unb64u(document["hcl_report"]))
    return report, chain_of(unb64u(document["vcek"])), document["tpm_quote"]


def test_hcl_report_of_version_2() -> None:
    report, chain = milan_hcl()
    assert (report.tee, report.hash_name, report.header_version) == ("snp", "sha256", 1)
    modulus = report.key_modulus("HCLAkPub")
    assert modulus is not None
    hcl.check_binding(report, modulus)
    hardware = snp.parse(report.hardware_report)
    assert hardware.version == 2 and hardware.vmpl == 0 and not hardware.debuggable
    assert chain.vcek.serial == 0 and chain.product == "Milan"
    snp_verify.verify(hardware, chain)


def test_evidence_with_quote() -> None:
    """Binding, chain, signature, quote under the AK of the runtime data, and the PCR digest."""
    report, chain, tpm_quote = milan_evidence()
    modulus = report.key_modulus("HCLAkPub")
    assert modulus is not None
    hcl.check_binding(report, modulus)
    hardware = snp.parse(report.hardware_report)
    assert hardware.version == 3 and hardware.product == "Milan"
    snp_verify.verify(hardware, chain)
    signature, message, pcrs = _quote(tpm_quote)
    quote.verify_signature(message, signature, modulus, 65537, "quote")
    statement = quote.parse(message)
    assert statement.kind == quote.QUOTE
    assert statement.pcr_digest == hashlib.sha256(b"".join(pcrs)).digest()
    quote.check_quote(message, range(24), pcrs)


def _quote(document: t.Dict[str, t.Any]) -> t.Tuple[bytes, bytes, t.List[bytes]]:
    def octets(value: t.Any) -> bytes:
        return (
            bytes(value)
            if isinstance(value, list)
            else bytes.fromhex(value)
            if set(value) <= set("0123456789abcdef")
            else unb64u(value)
        )

    return octets(document["signature"]), octets(document["message"]), [octets(pcr) for pcr in document["pcrs"]]


def test_one_flipped_bit_in_the_quote() -> None:
    report, _chain, tpm_quote = milan_evidence()
    modulus = report.key_modulus("HCLAkPub") or 0
    signature, message, pcrs = _quote(tpm_quote)
    for position in range(len(message)):
        altered = bytearray(message)
        altered[position] ^= 1 << position % 8
        with refused("quote_invalid"):
            quote.verify_signature(bytes(altered), signature, modulus, 65537, "quote")
    for position in range(0, len(signature), 7):
        altered = bytearray(signature)
        altered[position] ^= 1
        with refused("quote_invalid"):
            quote.verify_signature(message, bytes(altered), modulus, 65537, "quote")
    for index in range(len(pcrs)):
        wrong = [bytes([value[0] ^ 1]) + value[1:] if number == index else value for number, value in enumerate(pcrs)]
        with refused("quote_invalid"):
            quote.check_quote(message, range(24), wrong)


def test_one_flipped_bit_anywhere_in_the_signed_report() -> None:
    report, chain = milan_hcl()
    raw = report.hardware_report
    for position in range(snp.SIGNED):
        altered = bytearray(raw)
        altered[position] ^= 1 << position % 8
        # A bit in the version, the chip id or the TCB is refused before the signature is looked at.
        with refused("report_signature", "report_malformed", "vcek_chip", "vcek_tcb"):
            snp_verify.verify(snp.parse(bytes(altered)), chain)
    for position in (*range(snp.SIGNED, snp.SIGNED + 48), *range(snp.SIGNED + 72, snp.SIGNED + 120)):
        altered = bytearray(raw)
        altered[position] ^= 1
        with refused("report_signature"):
            snp_verify.verify(snp.parse(bytes(altered)), chain)


def test_one_flipped_bit_in_the_runtime_data() -> None:
    report, _chain = milan_hcl()
    blob = read("snp-milan/hcl-report.bin")
    modulus = report.key_modulus("HCLAkPub") or 0
    for offset in range(0, len(report.runtime_data), 11):
        altered = bytearray(blob)
        altered[hcl.FIXED + offset] ^= 2
        with refused("hcl_binding", "hcl_malformed"):
            hcl.check_binding(hcl.parse(bytes(altered)), modulus)
    with refused("hcl_binding"):
        hcl.check_binding(report, modulus + 2)


def test_one_flipped_bit_in_the_certificates() -> None:
    report, chain = milan_hcl()
    hardware = snp.parse(report.hardware_report)
    for certificate in (chain.vcek, chain.ask, chain.ark):
        for offset in range(4, len(certificate.der), 61):
            altered = bytearray(certificate.der)
            altered[offset] ^= 4
            parts = [bytes(altered) if one is certificate else one.der for one in (chain.vcek, chain.ask, chain.ark)]
            with refused("vcek_chain", "vcek_chip", "vcek_tcb", "report_signature"):
                snp_verify.verify(hardware, snp_verify.parse_chain("".join(pem(part) for part in parts)))


def test_bare_report() -> None:
    report = snp.parse(read("snp-milan/bare-report.bin"))
    snp_verify.verify(report, chain_of(read("snp-milan/bare-report-vcek.der")))


def test_a_vcek_of_another_machine_is_named_as_such() -> None:
    """Not "bad signature": the certificate is genuine and simply belongs to another report."""
    report, _chain = milan_hcl()
    _report, other, _quote_document = milan_evidence()
    with refused("vcek_chip", "vcek_tcb"):
        snp_verify.verify(snp.parse(report.hardware_report), other)


def test_the_chain_of_another_product_and_an_unknown_root() -> None:
    report, chain = milan_hcl()
    genoa = der.pem_certificates(read("amd-roots/ask_ark_genoa.pem").decode())
    mixed = pem(chain.vcek.der) + "".join(pem(part) for part in genoa)
    with refused("vcek_chain"):
        snp_verify.verify(snp.parse(report.hardware_report), snp_verify.parse_chain(mixed))


@pytest.mark.parametrize("product", ["milan", "genoa", "turin"])
def test_amd_roots_are_those_embedded(product: str) -> None:
    from ansible_collections.confidential.azure_skr.plugins.module_utils.guest import amd_roots

    published = der.pem_certificates(read(f"amd-roots/ask_ark_{product}.pem").decode())
    assert der.pem_certificates(amd_roots.ARK[product.capitalize()])[0] in published


def test_tdx_report_is_recognised_and_bound() -> None:
    report = hcl.parse(read("tdx/hcl-report.bin"))
    assert report.tee == "tdx" and report.header_version == 2
    hcl.check_binding(report, report.key_modulus("HCLAkPub") or 0)
    assert report.report_data in read("tdx/td-quote.bin")


def test_tdx_quote() -> None:
    """Up to Intel's root, and made of the TD report that the HCL report holds."""
    report = tdx.parse_report(hcl.parse(read("tdx/hcl-report.bin")).hardware_report)
    quote = tdx.parse_quote(read("tdx/td-quote.bin"))
    tdx_verify.verify(quote, report.report_data, now=1764028800.0)
    assert quote.measurements == report.measurements and not quote.measurements.debuggable
    chain = tdx_verify.check_chain(quote)
    assert [one.common_name() for one in chain] == [
        "Intel SGX PCK Certificate",
        "Intel SGX PCK Platform CA",
        "Intel SGX Root CA",
    ]
    assert tdx_verify.fmspc(chain[0]) == "00806f050000"


def test_one_flipped_bit_in_the_tdx_quote() -> None:
    raw = read("tdx/td-quote.bin")
    wanted = tdx.parse_quote(raw).report_data
    area = 48 + 584 + 4 + 128 + 6 + 384 + 64 + 2 + 32
    for position in (*range(0, area, 5), *range(area + 6, 4936 - 4, 101)):
        altered = bytearray(raw)
        altered[position] ^= 1 << position % 8
        try:
            tdx_verify.verify(tdx.parse_quote(bytes(altered)), wanted)
        except SkrFailure as error:
            assert error.reason.startswith(("td_quote_", "pck_chain")), error.reason
        else:
            # Base64 has a spare bit here and there, and text between the certificates means nothing.
            assert tdx.parse_quote(bytes(altered)).chain_pem != tdx.parse_quote(raw).chain_pem
            same = der.pem_certificates(tdx.parse_quote(bytes(altered)).chain_pem)
            assert same == der.pem_certificates(tdx.parse_quote(raw).chain_pem)


@pytest.mark.parametrize("name", ["ubuntu-secure-boot.bin", "rhel8-uefi.bin"])
def test_event_logs_decode_and_replay(name: str) -> None:
    log = read(f"eventlog/{name}")
    events = eventlog.decode(log)
    values = eventlog.replay(events)
    assert set(range(8)) <= set(values) and all(len(value) == 32 for value in values.values())
    assert eventlog.secure_boot(events) is not None
    with refused("invalid_input"):
        eventlog.decode(log[:-3])
    altered = bytearray(log)
    altered[len(log) // 2] ^= 1
    with refused("invalid_input"):
        if eventlog.replay(eventlog.decode(bytes(altered))) == values:
            # The bit was in an event's data, which the digests do not show; that is what comparing data is for.
            raise SkrFailure("invalid_input", "data differ")
        raise SkrFailure("invalid_input", "replay differs")


# --- all of it through the command, without a TPM


def verified(*words: str) -> t.Dict[str, t.Any]:
    parser = argparse.ArgumentParser()
    verify_command.add(parser)
    _status, text = verify_command.run({**vars(parser.parse_args(words)), "json": True})
    return t.cast(t.Dict[str, t.Any], json.loads(text))


@pytest.mark.parametrize(
    "words",
    [
        ["--evidence", "snp-milan/evidence.json"],
        ["--evidence", "snp-milan/evidence.json", "--chain", "amd-roots/ask_ark_milan.pem"],
        ["--report", "snp-milan/hcl-report.bin", "--chain", "snp-milan/vcek-chain.pem"],
        ["--report", "snp-milan/bare-report.bin", "--chain", "snp-milan/bare-report-vcek.der"],
        ["--report", "tdx/hcl-report.bin", "--td-quote", "tdx/td-quote.bin"],
        ["--report", "tdx/td-quote.bin"],
    ],
    ids=" ".join,
)
def test_verified_by_the_command(words: t.List[str]) -> None:
    found = verified(*(str(VECTORS / word) if "/" in word else word for word in words))
    assert found["verified"], found["summary"]


@pytest.mark.parametrize("name", ["ubuntu-secure-boot.bin", "rhel8-uefi.bin"])
def test_logs_by_the_command(name: str) -> None:
    """Alone a log proves nothing; what it leads to is told, and PCRs of those values agree with it."""
    path = str(VECTORS / "eventlog" / name)
    found = verified("--event-log", path)
    assert found["verdict"] == "incomplete" and found["reasons"] == []
    log = found["evidence"]["event_log"]
    values = {int(pcr): bytes.fromhex(value) for pcr, value in log["replayed"].items()}
    summary = eventlog.summary(read(f"eventlog/{name}"), values)
    assert summary["matches_pcrs"] and summary["secure_boot"] is log["secure_boot"] is not None
    values[4] = bytes(32)
    assert list(eventlog.summary(read(f"eventlog/{name}"), values)["differing_pcrs"]) == ["4"]


def test_foreign_vcek_by_the_command() -> None:
    chain = str(VECTORS / "snp-milan/vcek-chain.pem")
    found = verified("--report", str(VECTORS / "snp-milan/bare-report.bin"), "--chain", chain)
    assert found["reasons"][0] in ("vcek_chip", "vcek_tcb")


@pytest.mark.parametrize("product", ["milan", "genoa", "turin"])
def test_amd_authorities_are_those_embedded(product: str) -> None:
    published = der.pem_certificates(read(f"amd-roots/ask_ark_{product}.pem").decode())
    (embedded,) = der.pem_certificates(amd_authorities.ASK[product.capitalize()])
    assert embedded in published
    (root,) = (one for one in published if one != embedded)
    snp_verify._issued(der.certificate(embedded), der.certificate(root))
