# SPDX-License-Identifier: GPL-3.0-or-later
"""The verifiers: what each sends, and what each demands of a token."""

from __future__ import annotations

import json
import time
import typing as t

import pytest
from unit.guest import release_fakes as fakes
from unit.guest.release_fakes import Site, answer, refused, rsa_key
from unit.guest.tpm_fakes import public_area

from ansible_collections.confidential.azure_skr.plugins.module_utils.guest import jwt, verifier
from ansible_collections.confidential.azure_skr.plugins.module_utils.guest.http import Http

NOW = time.time()
AK = rsa_key("ak")
REQUEST = {"report": "cmVwb3J0", "runtimeData": {"data": "e30", "dataType": "JSON"}}


class Tee:
    def __init__(self, operation: str) -> None:
        self.operation = operation

    def platform(self) -> t.Tuple[str, t.Dict[str, t.Any]]:
        return self.operation, REQUEST


class Evidence:
    """Stands for what the TPM collected."""

    ak_public = public_area(AK)

    def __init__(self, operation: str = "SevSnpVm") -> None:
        self.tee = Tee(operation)


def claims(**changes: t.Any) -> t.Dict[str, t.Any]:
    """As platform attestation gives them: at top level, with the paravisor's keys."""
    key = {"kid": "HCLAkPub", "kty": "RSA", "e": "AQAB", "n": fakes.integer(AK.public_key().public_numbers().n)}
    found = {
        "iss": fakes.ISSUER,
        "nbf": int(NOW),
        "exp": int(NOW) + 28800,
        "nonce": "n-1",
        "x-ms-attestation-type": "sevsnpvm",
        "x-ms-runtime": {"keys": [key]},
    }
    return {**found, **changes}


def token(**changes: t.Any) -> str:
    return fakes.sign({"alg": "RS256", "kid": "k-1"}, claims(**changes), rsa_key("authority"))


KEYS = jwt.KeySet(fakes.key_set(**{"k-1": rsa_key("authority")}))


def validate(text: str) -> t.Dict[str, t.Any]:
    return verifier.Platform().validate(text, KEYS, fakes.ISSUER, t.cast(t.Any, Evidence()), {"nonce": "n-1"})


@pytest.mark.parametrize(("operation", "version"), [("SevSnpVm", "2022-08-01"), ("TdxVm", "2023-04-01-preview")])
def test_what_platform_attestation_sends(operation: str, version: str) -> None:
    with Site(answer({"token": "a.b.c"})) as site:
        evidence = t.cast(t.Any, Evidence(operation))
        assert verifier.Platform().attest(Http(local=True), site.url, evidence, {"nonce": "n-1"}) == "a.b.c"
    assert site.asked[0].path == f"/attest/{operation}?api-version={version}"
    assert json.loads(site.asked[0].body) == {**REQUEST, "nonce": "n-1"}


def test_platform_attestation_carries_no_payload() -> None:
    with Site(answer({})) as site, refused("invalid_input") as info:
        evidence = t.cast(t.Any, Evidence())
        verifier.Platform().attest(Http(local=True), site.url, evidence, {"nonce": "n", "build": "7"})
    assert "build" in info.value.message and site.asked == []


def test_a_platform_token() -> None:
    assert validate(token())["x-ms-attestation-type"] == "sevsnpvm"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"nonce": "n-2"}, "token_nonce"),
        ({"nonce": None}, "token_nonce"),
        ({"exp": 5}, "token_time"),
        ({"iss": "https://other.attest.azure.net"}, "token_issuer"),
        ({"x-ms-runtime": {"keys": []}}, "token_binding"),
        ({"x-ms-runtime": None}, "token_binding"),
    ],
)
def test_a_platform_token_that_is_not_ours(changes: t.Dict[str, t.Any], reason: str) -> None:
    with refused(reason):
        validate(token(**changes))


def test_keys_that_somebody_kept() -> None:
    assert KEYS.key("k-1") is not None and KEYS.key("k-2") is None
    for document in ({}, {"keys": None}, {"keys": [5, {"kid": "k-1"}, {"kid": "k-1", "x5c": ["?"]}]}):
        assert jwt.KeySet(document).key("k-1") is None


def test_the_verifiers_there_are() -> None:
    assert set(verifier.VERIFIERS) == {"guest", "platform"}
