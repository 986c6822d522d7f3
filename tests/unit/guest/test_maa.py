# SPDX-License-Identifier: GPL-3.0-or-later
"""The attestation request, its refusals, and the sealed token: each way to spoil one is refused by its own reason."""

from __future__ import annotations

import base64
import json
import os
import typing as t

import pytest
from cryptography.hazmat.primitives.asymmetric import padding
from unit.guest import release_fakes as fakes
from unit.guest.release_fakes import Answer, Site, answer, refused, seal

from ansible_collections.confidential.azure_skr.plugins.module_utils.guest import maa
from ansible_collections.confidential.azure_skr.plugins.module_utils.guest.http import Http
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.failure import SkrFailure

TOKEN = "aGVhZGVy.Y2xhaW1z.c2lnbmF0dXJl"


class Evidence:
    """Stands for what the TPM collected."""

    def request(self, payload: t.Mapping[str, str]) -> t.Dict[str, str]:
        return {"AttestationInfo": f"for {payload['nonce']}"}

    def decrypt_rsaes(self, cipher: bytes) -> bytes:
        return fakes.rsaes(cipher)


def attest(site: Site, slept: t.Optional[t.List[float]] = None) -> str:
    http = Http(local=True, sleep=[].append if slept is None else slept.append)
    return maa.attest(http, site.url, Evidence(), {"nonce": "n-1"})  # type: ignore[arg-type]


# --- the address


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("https://sharedweu.weu.attest.azure.net", "https://sharedweu.weu.attest.azure.net"),
        ("https://SharedWeu.weu.attest.azure.net/", "https://sharedweu.weu.attest.azure.net"),
    ],
)
def test_the_authority_is_the_hosts_address(url: str, wanted: str) -> None:
    assert maa.authority(url) == wanted


@pytest.mark.parametrize(
    "url",
    [
        "http://sharedweu.weu.attest.azure.net",
        "sharedweu.weu.attest.azure.net",
        "https://",
        "",
        "https://a.attest.azure.net/attest/AzureGuest",
        "https://a.attest.azure.net/?api-version=1",
        "https://user:sentinel@a.attest.azure.net",
        "https://[a.attest.azure.net",
    ],
)
def test_other_addresses_are_refused_before_anything_is_sent(url: str) -> None:
    with refused("invalid_input") as info:
        maa.authority(url)
    assert info.value.facts["option"] == "attestation_url"
    assert "sentinel" not in json.dumps(info.value.as_result())


# --- the request


def test_sends_the_evidence_and_opens_the_answer() -> None:
    with Site(answer({"token": seal(TOKEN)})) as site:
        assert attest(site) == TOKEN
    asked = site.asked[0]
    assert (asked.method, asked.path) == ("POST", "/attest/AzureGuest?api-version=2020-10-01")
    assert json.loads(asked.body) == {"AttestationInfo": "for n-1"}
    assert asked.headers["content-type"] == "application/json"


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_passing_troubles_are_tried_again_three_times(status: int) -> None:
    slept: t.List[float] = []
    with Site(answer({}, status)) as site, refused("attestation_unavailable"):
        attest(site, slept)
    assert len(site.asked) == 4 and slept[0] < slept[1] < slept[2] <= 20
    with Site(answer({}, status), answer({"token": seal(TOKEN)})) as site:
        assert attest(site) == TOKEN


@pytest.mark.parametrize(
    ("status", "code", "reason"),
    [
        (400, "InvalidParameter", "attestation_refused"),
        (401, "Unauthorized", "attestation_refused"),
        (403, "Forbidden", "attestation_refused"),
        (400, "PolicyEvaluationError", "attestation_policy_denied"),
        (404, "NotFound", "attestation_protocol"),
        (405, "", "attestation_protocol"),
    ],
)
def test_refusals_are_final_and_carry_the_services_words(status: int, code: str, reason: str) -> None:
    refusal = answer({"error": {"code": code, "message": "the words"}}, status, x_ms_request_id="r-7")
    with Site(refusal) as site, refused(reason) as info:
        attest(site)
    assert len(site.asked) == 1
    facts = info.value.facts
    assert (facts["status"], facts["code"], facts["message"]) == (status, code, "the words")
    assert (facts["request_id"], facts["authority"]) == ("r-7", site.url)


@pytest.mark.parametrize("body", [b"<html>proxy</html>", b"{}", b'{"token": ""}', b'{"token": 5}', b"[]", b""])
def test_an_answer_without_a_token_is_no_attestation(body: bytes) -> None:
    with Site((200, {}, body)) as site, refused("attestation_protocol"):
        attest(site)


def test_an_unsealed_token_is_refused() -> None:
    with Site(answer({"token": TOKEN})) as site, refused("attestation_protocol") as info:
        attest(site)
    assert "unsealed" in info.value.message


def test_a_redirect_is_refused() -> None:
    with Site((307, {"Location": "https://elsewhere.invalid/"}, b"")) as site, refused("redirect_refused"):
        attest(site)
    assert len(site.asked) == 1


# --- the sealed token


def spoilt(**changes: t.Any) -> str:
    return seal(TOKEN, changes=changes)


def test_opens_either_alphabet_padded_or_not() -> None:
    sealed = seal(TOKEN)
    outer = base64.urlsafe_b64decode(sealed + "=" * (-len(sealed) % 4))
    for spelling in (sealed, base64.b64encode(outer).decode(), base64.urlsafe_b64encode(outer).decode()):
        assert maa.open_envelope(spelling, fakes.rsaes) == TOKEN


@pytest.mark.parametrize(
    "sealed",
    [
        pytest.param("", id="nothing"),
        pytest.param("%%%", id="no base64"),
        pytest.param(fakes.b64u(b"not json"), id="no JSON"),
        pytest.param(fakes.b64u(b"[]"), id="a list"),
        pytest.param(fakes.b64u(b"{}"), id="no members"),
        pytest.param(spoilt(EncryptionParams=[]), id="parameters are a list"),
        pytest.param(spoilt(Jwt=5), id="text is a number"),
        pytest.param(spoilt(Jwt="%"), id="text is no base64"),
        pytest.param(spoilt(EncryptedInnerKey=None), id="key is null"),
        pytest.param(spoilt(EncryptedInnerKey=fakes.b64(bytes(257))), id="key of 257 bytes"),
        pytest.param(spoilt(EncryptedInnerKey=fakes.b64(bytes(128))), id="key of 128 bytes"),
        pytest.param(spoilt(AuthenticationData=fakes.b64(bytes(12))), id="tag of 12 bytes"),
        pytest.param(spoilt(AuthenticationData=fakes.b64(bytes(16))), id="altered tag"),
        pytest.param(spoilt(Jwt=fakes.b64(b"other")), id="altered text"),
        pytest.param(spoilt(Jwt=""), id="no text"),
        pytest.param(seal(TOKEN, additional=b""), id="no additional data"),
        pytest.param(seal(TOKEN, additional=b"transport key"), id="other additional data"),
        pytest.param(seal(TOKEN, parameters={"Iv": fakes.b64(bytes(16))}), id="IV of 16 bytes"),
        pytest.param(seal(TOKEN, parameters={"Iv": fakes.b64(bytes(12))}), id="other IV"),
        pytest.param(seal(TOKEN, sizes=(32, 16)), id="sealed with an IV of 16 bytes"),
        pytest.param(seal(TOKEN, sizes=(16, 12)), id="sealed with a key of 16 bytes"),
        pytest.param(seal(TOKEN, sizes=(24, 12)), id="sealed with a key of 24 bytes"),
        pytest.param(seal(TOKEN, parameters={"Cipher": "DES"}), id="other cipher"),
        pytest.param(seal(TOKEN, parameters={"BlockMode": "ChainingModeCBC"}), id="other mode"),
        pytest.param(seal(TOKEN, parameters={"KeySizeInBits": 128}), id="other size"),
        pytest.param(seal(TOKEN, key=fakes.rsa_key("other").public_key()), id="for another key"),
        pytest.param(seal("\u00e9"), id="not ASCII"),
    ],
)
def test_a_spoilt_envelope_is_refused(sealed: str) -> None:
    with refused("envelope_invalid"):
        maa.open_envelope(sealed, fakes.rsaes)


@pytest.mark.parametrize("size", [0, 16, 24, 31, 33])
def test_an_inner_key_of_another_size_is_refused(size: int) -> None:
    inner = fakes.rsa_key("ephemeral").public_key().encrypt(os.urandom(size), padding.PKCS1v15())
    with refused("envelope_invalid"):
        maa.open_envelope(spoilt(EncryptedInnerKey=fakes.b64(inner)), fakes.rsaes)


@pytest.mark.parametrize("reason", ["pcr_changed", "tpm_busy", "tpm_lockout"])
def test_other_failures_of_the_tpm_keep_their_reason(reason: str) -> None:
    def decrypt(_cipher: bytes) -> bytes:
        raise SkrFailure(reason, "from the TPM")

    with refused(reason):
        maa.open_envelope(seal(TOKEN), decrypt)


def test_no_failure_quotes_the_token() -> None:
    def decrypt(_cipher: bytes) -> bytes:
        return b"sentinel" * 4

    with refused("envelope_invalid") as info:
        maa.open_envelope(seal(TOKEN), decrypt)
    shown = json.dumps(info.value.as_result())
    assert "sentinel" not in shown and TOKEN not in shown


def refusal_without_json() -> Answer:
    return 400, {"Content-Type": "text/html"}, b"<html>"


def test_a_refusal_that_is_not_json_still_names_its_status() -> None:
    with Site(refusal_without_json()) as site, refused("attestation_refused") as info:
        attest(site)
    assert info.value.facts["status"] == 400
