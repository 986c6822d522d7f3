# SPDX-License-Identifier: GPL-3.0-or-later
"""Verification of a report, and every way it can fail, each under its own reason."""

from __future__ import annotations

import dataclasses
import struct
import typing as t

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from unit.guest.release_fakes import refused
from unit.guest.silicon_fakes import AMD, Host, certificate, ec_key, integer, pem, rsa_key, spki

from ansible_collections.confidential.azure_skr.plugins.module_utils.guest import amd_roots, der, snp, snp_verify

MILAN = Host()
PRODUCTS = [Host("Milan"), Host("Genoa"), Host("Turin")]


def verify(report: bytes, chain: str, host: Host = MILAN, roots: t.Optional[str] = None) -> None:
    snp_verify.verify(snp.parse(report), snp_verify.parse_chain(chain), pem(host.ark) if roots is None else roots)


def extensions(host: Host, **changes: t.Optional[bytes]) -> t.Dict[str, bytes]:
    """The VCEK's extensions with some changed (``p3_8`` is …3704.1.3.8) or, with None, left out."""
    made: t.Dict[str, t.Optional[bytes]] = dict(host.extensions())
    made.update({f"{AMD}.{part[1:].replace('_', '.')}": value for part, value in changes.items()})
    return {kind: value for kind, value in made.items() if value is not None}


@pytest.mark.parametrize("host", PRODUCTS, ids=lambda host: host.product)
@pytest.mark.parametrize("version", [2, 3, 5])
def test_genuine(host: Host, version: int) -> None:
    chain = snp_verify.parse_chain(host.chain())
    assert chain.vcek.serial == 0 and chain.product == host.product
    verify(host.report(b"data", version), host.chain(), host)


# --- certificates


def test_amd_alone_is_trusted_by_default() -> None:
    with refused("vcek_chain") as info:
        verify(MILAN.report(), MILAN.chain(), roots="")
    assert "ARK-Milan" in info.value.message and "pinned" in info.value.message


def test_an_extra_root_does_not_replace_amd() -> None:
    assert {"Milan", "Genoa", "Turin"} == set(amd_roots.ARK)
    for product, text in amd_roots.ARK.items():
        (root,) = der.pem_certificates(text)
        made = der.certificate(root)
        assert made.common_name() == made.common_name("issuer") == f"ARK-{product}"
        snp_verify._issued(made, made)  # self-signed


@pytest.mark.parametrize(
    "text", ["-----BEGIN CERTIFICATE-----\nAAAA", "-----BEGIN CERTIFICATE-----\n***\n-----END CERTIFICATE-----\n"]
)
def test_extra_roots_that_are_damaged(text: str) -> None:
    with refused("invalid_input") as info:
        verify(MILAN.report(), MILAN.chain(), roots=text)
    assert info.value.facts == {"option": "report_roots_path"}


def test_a_root_of_the_same_name_is_not_the_root() -> None:
    impostor = certificate("ARK-Milan", "ARK-Milan", spki(rsa_key("mallory")), rsa_key("mallory"), serial=1)
    with refused("vcek_chain"):
        verify(MILAN.report(), pem(MILAN.vcek(), MILAN.ask, impostor))


@pytest.mark.parametrize("count", [0, 1, 2, 4])
def test_a_chain_of_another_length(count: int) -> None:
    parts = [MILAN.vcek(), MILAN.ask, MILAN.ark, MILAN.ark][:count]
    with refused("vcek_chain") as info:
        verify(MILAN.report(), pem(*parts))
    assert f"{count} certificates" in info.value.message


@pytest.mark.parametrize("text", ["", "no certificates", pem(b"\x30\x03\x02\x01\x05") * 3, pem(b"\x30\x00") * 3, "é"])
def test_a_chain_that_is_none(text: str) -> None:
    with refused("vcek_chain"):
        verify(MILAN.report(), text)


def test_a_chain_in_another_order() -> None:
    with refused("vcek_chain"):
        verify(MILAN.report(), pem(MILAN.ask, MILAN.vcek(), MILAN.ark))


def test_certificates_that_others_signed() -> None:
    mallory = rsa_key("mallory")
    ask = certificate("SEV-Milan", "ARK-Milan", spki(mallory), mallory, serial=1)
    forged = MILAN.vcek(signer=mallory)
    for parts in ((forged, MILAN.ask), (forged, ask), (MILAN.vcek(), ask)):
        with refused("vcek_chain") as info:
            verify(MILAN.report(), pem(*parts, MILAN.ark))
        assert "does not verify" in info.value.message


def test_names_that_do_not_chain() -> None:
    """The right key under a wrong name."""
    with refused("vcek_chain") as info:
        verify(MILAN.report(), MILAN.chain(issuer="SEV-Genoa"))
    assert "was not issued by" in info.value.message


def test_a_certificate_with_another_signature_scheme() -> None:
    with refused("vcek_chain") as info:
        verify(MILAN.report(), MILAN.chain(algorithm="rsa"))
    assert "RSA-PSS" in info.value.message


def test_an_issuer_of_an_unknown_product() -> None:
    host = dataclasses.replace(MILAN, product="Milan")
    ask = certificate("SEV-Venice", "ARK-Milan", spki(rsa_key("ask")), rsa_key("ark"), serial=1)
    with refused("product_unknown") as info:
        verify(host.report(), pem(host.vcek(issuer="SEV-Venice"), ask, host.ark))
    assert "SEV-Venice" in info.value.message


@pytest.mark.parametrize("part", ["p3_1", "p3_2", "p3_3", "p3_8"])
def test_a_vcek_that_lacks_a_firmware_level(part: str) -> None:
    with refused("vcek_chain") as info:
        verify(MILAN.report(), MILAN.chain(extensions=extensions(MILAN, **{part: None})))
    assert "lacks" in info.value.message


@pytest.mark.parametrize("value", [b"", b"\x04\x01\x04", b"\x02\x05\x01", b"\x04"])
def test_a_vcek_with_a_firmware_level_that_is_no_number(value: bytes) -> None:
    with refused("vcek_chain"):
        verify(MILAN.report(), MILAN.chain(extensions=extensions(MILAN, p3_1=value)))


@pytest.mark.parametrize("key", [ec_key("p256", ec.SECP256R1), rsa_key("mallory")], ids=["P-256", "RSA"])
def test_a_vcek_with_another_kind_of_key(key: t.Any) -> None:
    with refused("vcek_chain") as info:
        verify(MILAN.report(), MILAN.chain(public=spki(key)))
    assert "P-384" in info.value.message


# --- does the VCEK belong to the report: never "bad signature"


@pytest.mark.parametrize("host", PRODUCTS, ids=lambda host: host.product)
def test_the_vcek_of_another_chip(host: Host) -> None:
    other = dataclasses.replace(host, chip_id=bytes(range(1, 65)), key="other vcek")
    with refused("vcek_chip") as info:
        verify(host.report(), other.chain(), host)
    assert info.value.facts["report"] == host.chip_id.hex()
    assert info.value.facts["vcek"] == (other.chip_id[:8] if host.product == "Turin" else other.chip_id).hex()


@pytest.mark.parametrize("host", PRODUCTS, ids=lambda host: host.product)
@pytest.mark.parametrize("level", range(4))
def test_the_vcek_of_another_firmware_level(host: Host, level: int) -> None:
    tcb = [4, 0, 24, 219]
    tcb[level] += 1
    old = dataclasses.replace(host, tcb=tuple(tcb), key="newer vcek")
    with refused("vcek_tcb") as info:
        verify(host.report(), old.chain(), host)
    assert info.value.facts["report"] != info.value.facts["vcek"]
    assert all(str(number) in info.value.message for number in (*tcb, *host.tcb))


def test_the_vcek_of_another_fmc() -> None:
    host = Host("Turin")
    with refused("vcek_tcb"):
        verify(host.report(), dataclasses.replace(host, fmc=2).chain(), host)
    with refused("vcek_tcb"):
        verify(host.report(), host.chain(extensions=extensions(host, p3_9=None)), host)


def test_an_fmc_level_means_nothing_before_turin() -> None:
    verify(MILAN.report(), MILAN.chain(extensions=extensions(MILAN, p3_9=integer(0))))


def test_a_masked_chip_id_is_not_compared() -> None:
    verify(MILAN.report(patches={0x1A0: bytes(64)}), MILAN.chain())


@pytest.mark.parametrize("value", [None, b"", bytes(range(63)), bytes(range(8))])
def test_a_vcek_without_a_whole_hardware_id(value: t.Optional[bytes]) -> None:
    with refused("vcek_chip"):
        verify(MILAN.report(), MILAN.chain(extensions=extensions(MILAN, p4=value)))


def test_committed_and_reported_firmware_may_differ() -> None:
    """Seen on real hosts: only the reported level counts."""
    verify(MILAN.report(patches={0x1E0: b"\xff" * 8, 0x38: b"\xfe" * 8, 0x1F0: b"\xfd" * 8}), MILAN.chain())


# --- the report itself


def test_a_report_signed_by_another_key() -> None:
    with refused("report_signature"):
        verify(MILAN.report(signer="mallory"), MILAN.chain())


def test_every_bit_of_the_signed_part_counts() -> None:
    raw, chain = MILAN.report(b"data"), snp_verify.parse_chain(MILAN.chain())
    reasons = set()
    for position in range(snp.SIGNED):
        altered = bytearray(raw)
        altered[position] ^= 1 << position % 8
        with pytest.raises(Exception) as info:  # noqa: B017, PT011 - the kind is asserted below
            snp_verify.verify(snp.parse(bytes(altered)), chain, pem(MILAN.ark))
        reasons.add(getattr(info.value, "reason", repr(info.value)))
    assert reasons == {"report_signature", "report_malformed", "vcek_chip", "vcek_tcb"}


@pytest.mark.parametrize("position", [*range(0x2A0, 0x2D0, 5), 0x2E0, *range(0x2E8, 0x318, 5), 0x32F])
def test_bits_of_the_signature_count(position: int) -> None:
    altered = bytearray(MILAN.report())
    altered[position] ^= 1
    with refused("report_signature"):
        verify(bytes(altered), MILAN.chain())


def test_a_signature_of_zeros() -> None:
    with refused("report_signature"):
        verify(MILAN.report()[:0x2A0] + bytes(1184 - 0x2A0), MILAN.chain())


def test_what_is_behind_the_signature_does_not_count() -> None:
    verify(MILAN.report()[:0x330] + b"\xff" * 368, MILAN.chain())


@pytest.mark.parametrize(
    ("offset", "piece"), [(0x34, struct.pack("<I", 0)), (0x34, struct.pack("<I", 2)), (0x48, b"\x0c"), (0x48, b"\x1c")]
)
def test_a_report_that_no_known_key_signed(offset: int, piece: bytes) -> None:
    """Another algorithm, another key, or none at all."""
    with refused("report_malformed"):
        verify(MILAN.report(patches={offset: piece}), MILAN.chain())


# --- the provider's key instead of the chip's

VLEK = b"\x04"


@pytest.mark.parametrize("host", PRODUCTS, ids=lambda host: host.product)
@pytest.mark.parametrize("chip", [bytes(64), bytes(range(7, 71))])
def test_a_vlek(host: Host, chip: bytes) -> None:
    """It is of no chip, whatever the report tells of one."""
    chain = snp_verify.parse_chain(host.vlek_chain())
    assert (chain.kind, chain.product, chain.provider) == ("VLEK", host.product, "Simulated Cloud")
    verify(host.report(signer="vlek", patches={0x48: VLEK, 0x1A0: chip}), host.vlek_chain(), host)


def test_a_vlek_of_another_firmware_level() -> None:
    other = dataclasses.replace(MILAN, tcb=(4, 0, 23, 219))
    with refused("vcek_tcb") as info:
        verify(MILAN.report(signer="vlek", patches={0x48: VLEK}), other.vlek_chain())
    assert info.value.facts["direction"] == "lower" and "VLEK" in info.value.message


def test_the_other_kind_of_key() -> None:
    """Both kinds lead to the same root, so the report itself must name the kind."""
    with refused("vcek_kind"):
        verify(MILAN.report(signer="vlek"), MILAN.vlek_chain())
    with refused("vcek_kind"):
        verify(MILAN.report(patches={0x48: VLEK}), MILAN.chain())


def test_a_vlek_under_the_authority_of_chips() -> None:
    with refused("vcek_chain"):
        verify(MILAN.report(signer="vlek", patches={0x48: VLEK}), pem(MILAN.vlek(), MILAN.ask, MILAN.ark))


# --- lower, higher, unknown


@pytest.mark.parametrize(
    ("tcb", "direction"),
    [((4, 0, 23, 219), "lower"), ((4, 0, 24, 220), "higher"), ((3, 0, 24, 220), "mixed"), ((3, 0, 23, 1), "lower")],
)
def test_the_direction_is_told(tcb: t.Tuple[int, int, int, int], direction: str) -> None:
    with refused("vcek_tcb") as info:
        verify(MILAN.report(), dataclasses.replace(MILAN, tcb=tcb).chain())
    assert info.value.facts["direction"] == direction
    assert {"lower": "a lower", "higher": "a higher", "mixed": "another"}[direction] in info.value.message


@pytest.mark.parametrize("family_model", [b"\x17\x01", b"\x19\x20", b"\x19\x9f", b"\x1a\x50", b"\x00\x00"])
def test_a_processor_nobody_knows(family_model: bytes) -> None:
    with refused("product_unknown") as info:
        verify(MILAN.report(patches={0x188: family_model}), MILAN.chain())
    assert info.value.facts == {"family": family_model[0], "model": family_model[1], "stepping": 1}


def test_the_certificate_of_another_product() -> None:
    with refused("vcek_chip") as info:
        verify(MILAN.report(patches={0x188: b"\x19\x11"}), MILAN.chain())
    assert info.value.facts == {"vcek": "Milan", "report": "Genoa"}


@pytest.mark.parametrize("model", [b"\x19\xa0", b"\x19\xaf", b"\x19\x10"])
def test_bergamo_and_siena_have_genoas_keys(model: bytes) -> None:
    host = Host("Genoa")
    verify(host.report(patches={0x188: model}), host.chain(), host)


def test_a_hardware_id_in_its_wrapping() -> None:
    wrapped = extensions(MILAN, p4=b"\x04\x40" + MILAN.chip_id)
    verify(MILAN.report(), MILAN.chain(extensions=wrapped))


# --- files in any order


def test_certificates_in_any_order() -> None:
    blocks = [MILAN.ark, MILAN.vcek(), MILAN.ask]
    chain = snp_verify.assemble(blocks)
    assert [one.common_name() for one in (chain.vcek, chain.ask, chain.ark)] == ["SEV-VCEK", "SEV-Milan", "ARK-Milan"]
    assert [one.der for one in snp_verify.parse_chain(chain.pem).__dict__.values()] == [blocks[1], blocks[2], blocks[0]]
    with refused("vcek_chain") as info:
        snp_verify.assemble([MILAN.vcek()])
    assert info.value.facts == {"missing": "SEV-Milan"}
    with refused("vcek_chain"):
        snp_verify.assemble([MILAN.ask, MILAN.ark])
    with refused("vcek_chain"):
        snp_verify.assemble([b"damaged"])


# --- genuine is not yet wanted


def test_debugging() -> None:
    snp_verify.check_debug(snp.parse(MILAN.report()))
    with refused("report_debug"):
        snp_verify.check_debug(snp.parse(MILAN.report(patches={8: struct.pack("<Q", 0x3001F | 1 << 19)})))


def test_privilege_levels() -> None:
    made = snp.parse(MILAN.report(patches={0x30: struct.pack("<I", 2)}))
    snp_verify.check_vmpl(made, 2)
    with refused("report_vmpl") as info:
        snp_verify.check_vmpl(made, 0)
    assert info.value.facts == {"found": 2, "wanted": 0}


@pytest.mark.parametrize("patches", [{8: struct.pack("<Q", 0x3001F | 1 << 18)}, {0x160: b"\x01" * 32}], ids=str)
def test_migration_agents(patches: t.Dict[int, bytes]) -> None:
    snp_verify.check_migration(snp.parse(MILAN.report()))
    with refused("report_migration"):
        snp_verify.check_migration(snp.parse(MILAN.report(patches=patches)))
