# SPDX-License-Identifier: GPL-3.0-or-later
"""TD reports and quotes: their layout, and every way a quote can be untrustworthy, each under its own reason."""

from __future__ import annotations

import dataclasses
import hashlib
import struct
import time
import typing as t

import pytest
from unit.guest.release_fakes import certificate, ec_key, pem, refused, rsa_key
from unit.guest.tdx_fakes import Quoter, filler, pki, point, root_certificate, root_pem, td_report

from ansible_collections.confidential.azure_skr.plugins.module_utils.guest import der, intel_roots, tdx, tdx_verify

DATA = hashlib.sha256(b"runtime data").digest().ljust(64, b"\0")
REPORT = td_report(DATA)
LAYOUTS = [(4, 2), (5, 2), (5, 3)]


def verify(quote: bytes, data: t.Optional[bytes] = DATA, roots: t.Optional[str] = None, **more: t.Any) -> None:
    tdx_verify.verify(tdx.parse_quote(quote), data, root_pem() if roots is None else roots, **more)


# --- layouts


def test_the_report() -> None:
    report = tdx.parse_report(REPORT + bytes(160))
    found = report.measurements
    assert report.raw == REPORT and report.report_data == DATA and not found.debuggable
    assert (found.mrtd, found.mrseam, found.xfam) == (filler("mrtd"), filler("mrseam"), filler("xfam", 8))
    assert (found.mrownerconfig, found.seam_attributes) == (filler("mrownerconfig"), filler("seam_attributes", 8))
    assert found.rtmrs == (bytes(48),) * 4
    assert tdx.parse_report(td_report(debug=True)).measurements.debuggable


@pytest.mark.parametrize("raw", [b"", REPORT[:1023], b"\x00" + REPORT[1:], bytes(1184)])
def test_no_report(raw: bytes) -> None:
    with refused("report_malformed"):
        tdx.parse_report(raw)


@pytest.mark.parametrize(("version", "body_type"), LAYOUTS)
def test_the_quote(version: int, body_type: int) -> None:
    raw = Quoter(version, body_type).quote(REPORT)
    quote = tdx.parse_quote(raw)
    assert quote.measurements == tdx.parse_report(REPORT).measurements
    assert quote.version == version and quote.report_data == DATA
    assert quote.attestation_key == point(ec_key("attestation key"))
    assert (quote.mrservicetd is not None) == (quote.tee_tcb_svn_2 is not None) == (body_type == 3)
    facts = quote.facts()
    assert facts["mrtd"] == filler("mrtd").hex() and facts["debuggable"] is False
    assert facts.get("mrservicetd") == (filler("mrservicetd").hex() if body_type == 3 else None)
    verify(raw, now=time.time())


@pytest.mark.parametrize(("version", "body_type"), LAYOUTS)
def test_a_quote_that_is_cut_short(version: int, body_type: int) -> None:
    """Nowhere does it end in anything but the one reason."""
    raw = Quoter(version, body_type, tail=b"").quote(REPORT)
    for size in [*range(0, 1300, 13), *range(1300, len(raw), 101), len(raw) - 1]:
        with pytest.raises(Exception) as info:  # noqa: B017, PT011 - the kind is asserted below
            tdx.parse_quote(raw[:size])
        assert getattr(info.value, "reason", repr(info.value)) == "td_quote_malformed", size


@pytest.mark.parametrize(
    "changes",
    [{"version": 3}, {"version": 6}, {"outer_type": 5}, {"inner_type": 1}, {"inner_type": 6}],
    ids=str,
)
def test_layouts_nobody_knows(changes: t.Dict[str, t.Any]) -> None:
    with refused("td_quote_kind"):
        tdx.parse_quote(dataclasses.replace(Quoter(), **changes).quote(REPORT))


@pytest.mark.parametrize("descriptor", [(1, 384), (2, 648), (3, 584), (4, 584)])
def test_bodies_nobody_knows(descriptor: t.Tuple[int, int]) -> None:
    raw = bytearray(Quoter(5).quote(REPORT))
    raw[48:54] = struct.pack("<HI", *descriptor)
    with refused("td_quote_kind"):
        tdx.parse_quote(bytes(raw))


# --- 1. kind


@pytest.mark.parametrize("changes", [{"key_type": 3}, {"tee_type": 0}, {"vendor": bytes(16)}], ids=str)
def test_other_kinds_of_quotes(changes: t.Dict[str, t.Any]) -> None:
    with refused("td_quote_kind"):
        verify(Quoter(**changes).quote(REPORT))


# --- 2. certificates


def test_intel_alone_is_trusted_by_default() -> None:
    with refused("pck_chain") as info:
        verify(Quoter().quote(REPORT), roots="")
    assert "pinned" in info.value.message and len(intel_roots.SGX_ROOT_CA) == 64


def test_extra_roots_that_are_damaged() -> None:
    with refused("invalid_input") as info:
        verify(Quoter().quote(REPORT), roots="-----BEGIN CERTIFICATE-----\nAAAA")
    assert info.value.facts == {"option": "report_roots_path"}


def parts() -> t.List[bytes]:
    return [block + b"-----END CERTIFICATE-----\n" for block in pki().split(b"-----END CERTIFICATE-----\n")[:-1]]


def damaged(block: bytes) -> bytes:
    (content,) = der.pem_certificates(block.decode())
    from unit.guest.silicon_fakes import pem as bare

    return bare(content[:-1] + bytes([content[-1] ^ 1])).encode()


def chains() -> t.Dict[str, bytes]:
    pck, platform, root = parts()
    mallory = ec_key("mallory")
    impostor = pem(certificate("Simulated Root CA", mallory, "Simulated Root CA", mallory))
    no_ca = pem(
        certificate(
            "Simulated PCK Platform CA", ec_key("platform ca"), "Simulated Root CA", ec_key("sgx root"), ca=False
        )
    )
    return {
        "none": b"",
        "leaf alone": pck,
        "no intermediate": pck + root,
        "order": platform + pck + root,
        "root of the same name": pck + platform + impostor,
        "authority that is none": pck + no_ca + root,
        "damaged leaf": damaged(pck) + platform + root,
        "damaged authority": pck + damaged(platform) + root,
        "no certificates": b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n" * 3,
        "no base64": b"-----BEGIN CERTIFICATE-----\n***\n-----END CERTIFICATE-----\n",
    }


@pytest.mark.parametrize("case", sorted(chains()))
def test_certificates_that_do_not_lead_to_the_root(case: str) -> None:
    with refused("pck_chain"):
        verify(Quoter(chain=chains()[case]).quote(REPORT))


def test_dates_count_where_they_are_asked_for() -> None:
    raw = Quoter().quote(REPORT)
    verify(raw, now=None)
    with refused("pck_chain") as info:
        verify(raw, now=time.time() + 400 * 86400)
    assert "PCK" in info.value.message


def test_a_pck_with_another_kind_of_key() -> None:
    chain = pem(
        certificate("PCK", rsa_key("pck"), "Simulated Root CA", ec_key("sgx root"), ca=False), root_certificate()
    )
    with refused("pck_chain") as info:
        verify(Quoter(chain=chain).quote(REPORT))
    assert "P-256" in info.value.message


# --- 3 to 6


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"enclave_signer": "mallory"}, "td_quote_qe"),
        ({"vouched": "mallory"}, "td_quote_key"),
        ({"attestation": "mallory", "signer": "mallory"}, "td_quote_key"),
        ({"signer": "mallory"}, "td_quote_signature"),
    ],
    ids=str,
)
def test_signatures_of_others(changes: t.Dict[str, str], reason: str) -> None:
    with refused(reason):
        verify(Quoter(**t.cast(t.Any, changes)).quote(REPORT))


def test_a_key_that_is_no_point() -> None:
    quote = tdx.parse_quote(Quoter().quote(REPORT))
    with refused("td_quote_key"):
        tdx_verify.check_signature(dataclasses.replace(quote, attestation_key=b"\x01" * 64))


def test_the_quote_of_another_report() -> None:
    with refused("td_quote_binding") as info:
        verify(Quoter().quote(td_report(bytes(64))))
    assert info.value.facts == {"wanted": DATA.hex(), "found": "00" * 64}


@pytest.mark.parametrize(("version", "body_type"), LAYOUTS)
def test_every_bit_counts(version: int, body_type: int) -> None:
    """Of header, body, signature, key, enclave's report and its signature; of the chain the last test tells."""
    raw = Quoter(version, body_type, tail=b"").quote(REPORT)
    reasons = set()
    head = len(tdx.parse_quote(raw).signed)
    for position in [*range(0, head, 3), *range(head, head + 4 + 128 + 6 + 384 + 64 + 34, 3)]:
        altered = bytearray(raw)
        altered[position] ^= 1 << position % 8
        with pytest.raises(Exception) as info:  # noqa: B017, PT011 - the kind is asserted below
            verify(bytes(altered))
        reasons.add(getattr(info.value, "reason", repr(info.value)))
    assert reasons <= {
        "td_quote_kind",
        "td_quote_malformed",
        "td_quote_signature",
        "td_quote_key",
        "td_quote_qe",
        "pck_chain",
    }
    assert {"td_quote_signature", "td_quote_key", "td_quote_qe"} <= reasons


def test_a_certificate_without_intels_extension() -> None:
    chain = tdx_verify.check_chain(tdx.parse_quote(Quoter().quote(REPORT)), root_pem())
    assert [one.common_name() for one in chain][0] == "Simulated PCK Certificate"
    assert tdx_verify.fmspc(chain[0]) is None
