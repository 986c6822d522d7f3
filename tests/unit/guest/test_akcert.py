# SPDX-License-Identifier: GPL-3.0-or-later
"""The attestation key's certificate: trimmed, for this key, in its time."""

from __future__ import annotations

import time
import typing as t

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from unit.guest.release_fakes import refused
from unit.guest.silicon_fakes import certificate, ec_key, modulus_of, pem, rsa_key, spki, tlv
from unit.guest.tpm_fakes import ak_certificate

from ansible_collections.confidential.azure_skr.plugins.module_utils.guest import akcert

AK = rsa_key("ak")
BEGIN, END = 1_700_000_000.0, 1_731_536_000.0
DAY = 86400


def made(**changes: t.Any) -> bytes:
    return ak_certificate(AK, begin=BEGIN, end=END, **changes)


@pytest.mark.parametrize("padding", [0, 1, 2500])
def test_zeros_behind_it_are_cut_off(padding: int) -> None:
    found = akcert.parse(made() + bytes(padding), modulus_of(AK), BEGIN + 1)
    assert found.der == made()
    assert (found.subject, found.issuer) == ("0123abcd.TrustedVM.Azure.Microsoft", "Global Virtual TPM CA - 01")
    assert (found.not_before, found.not_after) == (BEGIN, END)


@pytest.mark.parametrize(
    ("before_end", "days"), [(0, 0), (DAY - 1, 0), (DAY, 1), (90 * DAY, 90), (90 * DAY + 5, 90), (-1, -1)]
)
def test_days_left(before_end: int, days: int) -> None:
    found = akcert.parse(made(), modulus_of(AK), END)
    assert found.days_left(END - before_end) == days


def test_expired() -> None:
    akcert.parse(made(), modulus_of(AK), END)
    with refused("ak_cert_expired") as info:
        akcert.parse(made(), modulus_of(AK), END + 1)
    assert info.value.facts == {
        "not_before": "2023-11-14T22:13:20Z",
        "not_after": "2024-11-13T22:13:20Z",
        "vm_clock": "2024-11-13T22:13:21Z",
    }


def test_not_yet_valid() -> None:
    akcert.parse(made(), modulus_of(AK), BEGIN)
    with refused("ak_cert_invalid") as info:
        akcert.parse(made(), modulus_of(AK), BEGIN - 1)
    assert "2023-11-14T22:13:20Z" in info.value.message


@pytest.mark.parametrize("key", [rsa_key("other ak"), ec_key("ec ak", ec.SECP256R1)], ids=["another", "elliptic"])
def test_for_another_key(key: t.Any) -> None:
    content = certificate("x", "y", spki(key), rsa_key("vtpm-ca"), begin=BEGIN, end=END)
    with refused("ak_cert_invalid") as info:
        akcert.parse(content, modulus_of(AK), BEGIN + 1)
    assert "0x81000003" in info.value.message


@pytest.mark.parametrize("content", [b"", bytes(4096), b"\xff" * 4096, made()[:-1], made()[:700], b"\x30\x82\x05\x00"])
def test_damaged(content: bytes) -> None:
    with refused("ak_cert_invalid"):
        akcert.parse(content, modulus_of(AK), BEGIN + 1)


def test_an_algorithm_nobody_knows() -> None:
    rsa_oid, other = bytes.fromhex("06092a864886f70d010101"), bytes.fromhex("06092a864886f70d01017f")
    with refused("ak_cert_invalid"):
        akcert.parse(made().replace(rsa_oid, other), modulus_of(AK), BEGIN + 1)


# --- who issued it


def authority(name: str, key: str, issuer: str = "", issuer_key: str = "") -> bytes:
    """A certificate authority's certificate."""
    constraints = {"2.5.29.19": tlv(0x30, b"\x01\x01\xff")}
    public, signer = spki(rsa_key(key)), rsa_key(issuer_key or key)
    return certificate(name, issuer or name, public, signer, 5, constraints, algorithm="rsa")


CA = "Global Virtual TPM CA - 01"


def issued(ca_key: str = "vtpm-ca") -> akcert.AkCertificate:
    return akcert.read(certificate("x", CA, spki(AK), rsa_key(ca_key), 7, algorithm="rsa"), modulus_of(AK))


def test_an_authority_that_is_given() -> None:
    middle, root = authority(CA, "vtpm-ca", "Root", "root"), authority("Root", "root")
    assert akcert.check_issuer(issued(), pem(middle)) == [CA]
    assert akcert.check_issuer(issued(), pem(root, middle)) == [CA, "Root"]
    assert akcert.check_issuer(issued(), pem(authority(CA, "vtpm-ca"))) == [CA]


@pytest.mark.parametrize(
    "given",
    [
        pem(authority("Root", "root")),
        pem(authority(CA, "mallory")),
        pem(certificate(CA, CA, spki(rsa_key("vtpm-ca")), rsa_key("vtpm-ca"), algorithm="rsa")),
    ],
    ids=["of another name", "of the same name", "no authority"],
)
def test_another_authority(given: str) -> None:
    with refused("ak_cert_issuer") as info:
        akcert.check_issuer(issued(), given)
    assert info.value.facts["issuer"] == CA


def test_an_authority_that_has_expired() -> None:
    ca = pem(authority(CA, "vtpm-ca"))
    assert akcert.check_issuer(issued(), ca, time.time()) == [CA]
    with refused("ak_cert_issuer"):
        akcert.check_issuer(issued(), ca, time.time() + 400 * DAY)


@pytest.mark.parametrize("text", ["", "-----BEGIN CERTIFICATE-----\nAAAA"])
def test_authorities_that_are_none(text: str) -> None:
    with refused("invalid_input") as info:
        akcert.check_issuer(issued(), text)
    assert info.value.facts == {"option": "ak_roots_path"}


def test_nobody_claims_an_issuer_that_was_not_checked() -> None:
    assert issued().facts()["ak_cert_issuer_status"] == "unverified issuer"
