# SPDX-License-Identifier: GPL-3.0-or-later
"""One attestation from evidence to validated claims, against an authority that speaks the documented protocol."""

from __future__ import annotations

import contextlib
import json
import time
import typing as t
from pathlib import Path

import pytest
import requests
from unit.guest import release_fakes as fakes
from unit.guest.release_fakes import ISSUER, Cloud, answer, refused, rsa_key

from ansible_collections.confidential.azure_skr.plugins.module_utils.guest import arguments, attest
from ansible_collections.confidential.azure_skr.plugins.module_utils.guest.http import Http
from ansible_collections.confidential.azure_skr.plugins.module_utils.guest.imds import Identity, Imds
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.failure import SkrFailure


class Evidence:
    """Stands for what the TPM collected."""

    modulus = rsa_key("ephemeral").public_key().public_numbers().n
    key_handle = 0x80000000

    def request(self, payload: t.Mapping[str, str]) -> t.Dict[str, t.Any]:
        return {"payload": dict(payload)}

    def decrypt_rsaes(self, cipher: bytes) -> bytes:
        return fakes.rsaes(cipher)

    def facts(self) -> t.Dict[str, t.Any]:
        return {"tee": "snp"}


class Tpm:
    """Stands for an open TPM."""

    def __init__(self) -> None:
        self.commands, self.opens, self.created = 12, 1, 1
        self.flushed: t.List[int] = []

    def flush(self, handle: int) -> None:
        self.flushed.append(handle)


class Authority:
    """The attestation provider: seals a token over whatever nonce it is sent."""

    def __init__(self) -> None:
        self.cloud = Cloud(self._answer)
        self.changes: t.Dict[str, t.Any] = {}
        self.signer, self.kid = "authority", "k-1"

    def _answer(self, request: requests.PreparedRequest) -> fakes.Answer:
        if request.url == f"{ISSUER}/certs":
            return answer(fakes.key_set(**{self.kid: rsa_key("authority")}))
        assert request.url == f"{ISSUER}/attest/AzureGuest?api-version=2020-10-01"
        payload = json.loads(t.cast(bytes, request.body))["payload"]
        claims = fakes.guest_claims(payload["nonce"], time.time(), **self.changes)
        header = {"alg": "RS256", "jku": "https://evil.example/certs", "kid": self.kid, "typ": "JWT"}
        return answer({"token": fakes.seal(fakes.sign(header, claims, rsa_key(self.signer)))})


@pytest.fixture
def authority() -> Authority:
    return Authority()


@pytest.fixture
def session(authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> attest.Session:
    monkeypatch.setattr(attest, "collect", lambda *_words, **_options: Evidence())
    http, local = Http(sleep=[].append), Http(local=True)
    http.ready().mount("https://", authority.cloud)
    guest = attest.Guest(ISSUER, cache_dir=str(tmp_path / "cache"))
    return attest.Session(guest, t.cast(t.Any, Tpm()), http, Imds(local))


def paths(authority: Authority) -> t.List[str]:
    return [str(asked.path_url).partition("?")[0] for asked in authority.cloud.asked]


def test_claims_are_validated_and_the_key_kept_for_what_follows(session: attest.Session, authority: Authority) -> None:
    attestation = session.attest()
    assert attestation.claims["iss"] == attestation.authority == ISSUER
    assert attestation.token.count(".") == 2
    assert paths(authority) == ["/attest/AzureGuest", "/certs"] and not session.tpm.flushed  # type: ignore[attr-defined]


def test_a_steady_state_needs_one_request(session: attest.Session, authority: Authority) -> None:
    session.attest()
    session.attest()
    assert paths(authority) == ["/attest/AzureGuest", "/certs", "/attest/AzureGuest"]
    assert session.counts() == {"http_requests": 3, "tpm_commands": 12, "device_opens": 1, "create_primary": 1}


def sent(authority: Authority) -> t.List[t.Dict[str, str]]:
    bodies = [asked.body for asked in authority.cloud.asked if asked.body]
    return [json.loads(t.cast(bytes, body))["payload"] for body in bodies]


def test_every_request_has_a_nonce_of_its_own(session: attest.Session, authority: Authority) -> None:
    session.attest()
    session.attest({"build": "7"})
    first, second = sent(authority)
    assert first["nonce"] != second["nonce"] and len(first["nonce"]) >= 22
    assert second["build"] == "7"


@pytest.mark.parametrize("nonce", ["mine", "", "n\u00f6nce", "a b"])
def test_the_callers_nonce_is_used_and_checked(session: attest.Session, authority: Authority, nonce: str) -> None:
    claims = session.attest({"nonce": nonce}).claims
    assert sent(authority) == [{"nonce": nonce}]
    assert claims["x-ms-runtime"]["client-payload"]["nonce"] == fakes.b64(nonce.encode())


@pytest.mark.parametrize("value", [5, True, None, ["a"], {"a": "b"}, 1.5])
def test_a_payload_that_is_no_text_is_an_option_error(
    session: attest.Session, authority: Authority, value: t.Any
) -> None:
    with refused("invalid_input") as info:
        session.attest({"build": value})
    assert "client_payload.build" in info.value.message and not authority.cloud.asked


@pytest.mark.parametrize(
    ("changes", "signer", "reason"),
    [
        ({}, "other", "token_signature"),
        ({"iss": "https://sharedeus2.eus2.attest.azure.net"}, "authority", "token_issuer"),
        ({"exp": 5}, "authority", "token_time"),
        ({"x-ms-runtime": {"client-payload": {"nonce": fakes.b64(b"x")}}}, "authority", "token_nonce"),
    ],
)
def test_a_token_that_is_refused_leaves_no_key_behind(
    session: attest.Session, authority: Authority, changes: t.Dict[str, t.Any], signer: str, reason: str
) -> None:
    authority.changes, authority.signer = changes, signer
    with refused(reason) as info:
        session.attest()
    assert session.tpm.flushed == [Evidence.key_handle]  # type: ignore[attr-defined]
    assert "eyJ" not in json.dumps(info.value.as_result())


def failing(times: int, reason: str) -> t.Tuple[t.Callable[..., Evidence], t.List[int]]:
    calls: t.List[int] = []

    def collect(*_words: t.Any, **_options: t.Any) -> Evidence:
        calls.append(1)
        if len(calls) <= times:
            raise SkrFailure(reason, "from the TPM")
        return Evidence()

    return collect, calls


def test_pcrs_that_move_once_are_attested_anew(session: attest.Session, monkeypatch: pytest.MonkeyPatch) -> None:
    collect, calls = failing(1, "pcr_changed")
    monkeypatch.setattr(attest, "collect", collect)
    assert session.attest().claims["iss"] == ISSUER and len(calls) == 2


def test_pcrs_that_keep_moving_end_it(session: attest.Session, monkeypatch: pytest.MonkeyPatch) -> None:
    collect, calls = failing(9, "pcr_changed")
    monkeypatch.setattr(attest, "collect", collect)
    with refused("pcr_changed"):
        session.attest()
    assert len(calls) == 2


@pytest.mark.parametrize("reason", ["not_a_cvm", "hcl_binding", "tpm_busy", "vcek_tcb"])
def test_other_failures_of_the_evidence_are_final(
    session: attest.Session, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    collect, calls = failing(1, reason)
    monkeypatch.setattr(attest, "collect", collect)
    with refused(reason):
        session.attest()
    assert len(calls) == 1


def test_pcrs_that_move_between_attestation_and_its_answer(
    session: attest.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: t.List[int] = []

    def decrypt(_self: Evidence, cipher: bytes) -> bytes:
        opened.append(1)
        if len(opened) == 1:
            raise SkrFailure("pcr_changed", "RSA_Decrypt answered 0x128")
        return fakes.rsaes(cipher)

    monkeypatch.setattr(Evidence, "decrypt_rsaes", decrypt)
    assert session.attest().claims["iss"] == ISSUER
    assert session.tpm.flushed == [Evidence.key_handle]  # type: ignore[attr-defined]


# --- the session as a whole


def test_options_are_checked_before_the_tpm_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attest, "open_tpm", lambda *_words: pytest.fail("the TPM was opened"))
    for changes, option in (
        ({"attestation_url": "http://a.example"}, "attestation_url"),
        ({"report_roots_path": "/no/such/file"}, "report_roots_path"),
        ({"ca_path": "/no/such/file"}, "ca_path"),
    ):
        guest = attest.Guest(**{"attestation_url": ISSUER, **changes})
        with refused("invalid_input") as info, attest.session(guest):
            pytest.fail("a session was opened")
        assert info.value.facts == {"option": option}


def test_a_machine_without_a_tpm(tmp_path: Path) -> None:
    guest = attest.Guest(ISSUER, tpm_device=str(tmp_path / "tpmrm0"), tpm_timeout=0.1)
    with refused("tpm_missing") as info, attest.session(guest):
        pytest.fail("a session was opened")
    assert str(tmp_path / "tpmrm0") in info.value.message


def test_information_holds_claims_and_facts_and_never_the_token(
    session: attest.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextlib.contextmanager
    def opened(_guest: attest.Guest) -> t.Iterator[attest.Session]:
        yield session

    monkeypatch.setattr(attest, "session", opened)
    result = attest.info(session.guest, {"nonce": "mine"})
    shown = json.dumps(result)
    assert (result["changed"], result["validated"], result["authority"]) == (False, True, ISSUER)
    assert (result["tee_type"], result["compliance_status"]) == ("sevsnpvm", "azure-compliant-cvm")
    assert result["secure_boot"] is True and result["expires_at"] - result["issued_at"] == 28800
    assert result["evidence"] == {"tee": "snp"} and result["counts"]["create_primary"] == 1
    assert "eyJ" not in shown


def test_a_trusted_launch_token_has_no_hardware_claims(
    session: attest.Session, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextlib.contextmanager
    def opened(_guest: attest.Guest) -> t.Iterator[attest.Session]:
        yield session

    authority.changes = {"x-ms-isolation-tee": None}
    monkeypatch.setattr(attest, "session", opened)
    assert attest.info(session.guest, None)["tee_type"] is None


# --- options to settings


def test_the_defaults_of_the_options_are_those_of_the_settings() -> None:
    spec = arguments.guest_argument_spec()
    options = {name: members.get("default") for name, members in spec.items()}
    assert arguments.guest({**options, "attestation_url": ISSUER}) == attest.Guest(ISSUER)


def test_identity_options() -> None:
    spec = arguments.identity_argument_spec()
    options: t.Dict[str, t.Any] = {name: members.get("default") for name, members in spec.items()}
    options["known_client_ids"] = ["a", "b"]
    assert arguments.identity({**options, "identity_client_id": "c"}) == Identity("c", None, None, ("a", "b"))
    assert arguments.identity({**options, "identity_object_id": "o"}) == Identity(None, "o", None, ("a", "b"))
    assert arguments.identity({**options, "identity_resource_id": "r"}) == Identity(None, None, "r", ("a", "b"))
    assert {name for group in arguments.IDENTITY_EXCLUSIVE for name in group} < set(spec)
