# SPDX-License-Identifier: GPL-3.0-or-later
"""Signing in as an application: the form that is sent, the three proofs, refusals in words, and secrets nowhere."""

from __future__ import annotations

import base64
import json
import typing as t
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from unit.guest import release_fakes as fakes
from unit.guest.release_fakes import Cloud, answer, refused

from ansible_collections.confidential.azure_skr.plugins.module_utils.guest import clouds, http, imds, sign_in
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy import entra
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.failure import SkrFailure
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.reasons import REASONS

CLIENT, TENANT = "0f3b1a52-6c1c-4d8b-9b6e-0a1b2c3d4e5f", "contoso.onmicrosoft.com"
SECRET = "s3cret & +=%ü-sentinel"
VAULT = "https://vault.azure.net"
NOBODY = imds.Identity()
GOOD = answer({"access_token": "sentinel-token", "expires_in": 3599, "token_type": "Bearer"})


def options(**changes: t.Any) -> t.Dict[str, t.Any]:
    none = dict.fromkeys(sign_in.OPTIONS)
    return {**none, "identity_source": "service_principal", "tenant": TENANT, "client_id": CLIENT, **changes}


@pytest.fixture
def secret_file(tmp_path: Path) -> str:
    path = tmp_path / "secret"
    path.touch(mode=0o600)
    path.write_text(SECRET + "\n")
    return str(path)


@pytest.fixture
def certificate_file(tmp_path: Path) -> str:
    key = fakes.rsa_key("application")
    other = fakes.certificate("other", fakes.rsa_key("other"), "other", fakes.rsa_key("other"))
    path = tmp_path / "application.pem"
    path.touch(mode=0o600)
    path.write_bytes(fakes.pem(other, fakes.certificate("app", key, "app", key)) + fakes.private_pem(key))
    return str(path)


def ask(source: sign_in.Source, *answers: fakes.Answer, audience: str = VAULT) -> t.Tuple[str, Cloud]:
    """The token, and what was asked; answers are used up in order, the last one for ever."""
    left = list(answers or [GOOD])
    cloud = Cloud(lambda _request: left.pop(0) if len(left) > 1 else left[0])
    client = http.Http(local=True, sleep=lambda _seconds: None)
    client.ready().mount("https://", cloud)
    try:
        return sign_in.token(source, audience, imds.Imds(client), client), cloud
    except SkrFailure as error:
        for hidden in (SECRET, SECRET.encode().hex(), "sentinel"):
            assert hidden not in json.dumps(error.as_result()) + repr(error.args)
        raise


def form(cloud: Cloud) -> t.Dict[str, str]:
    return {name: values[0] for name, values in parse_qs(str(cloud.asked[0].body), strict_parsing=True).items()}


# --- what is sent


def test_secret_goes_percent_encoded_to_version_two_of_the_endpoint(secret_file: str) -> None:
    source = sign_in.choose(options(client_secret_file=secret_file), {}, NOBODY)
    token, cloud = ask(source)
    assert token == "sentinel-token" and len(cloud.asked) == 1
    asked = cloud.asked[0]
    assert (asked.method, asked.url) == ("POST", f"https://login.microsoftonline.com/{TENANT}/oauth2/v2.0/token")
    assert asked.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert form(cloud) == {
        "grant_type": "client_credentials",
        "client_id": CLIENT,
        "client_secret": SECRET,
        "scope": f"{VAULT}/.default",
    }


def test_secret_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in sign_in.SECRET_VARIABLES:
        environ = {name: SECRET, "AZURE_TENANT_ID": TENANT, "AZURE_CLIENT_ID": CLIENT}
        source = sign_in.choose(options(tenant=None, client_id=None), environ, NOBODY)
        assert SECRET not in repr(source)
        monkeypatch.setenv(name, SECRET)
        assert form(ask(source)[1])["client_secret"] == SECRET


def test_certificate_signs_an_assertion_for_this_endpoint(certificate_file: str) -> None:
    source = sign_in.choose(options(client_certificate_file=certificate_file), {}, NOBODY)
    _token, cloud = ask(source)
    sent = form(cloud)
    assert sent["client_assertion_type"] == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    assert "client_secret" not in sent
    parts = sent["client_assertion"].split(".")
    header, claims = (json.loads(base64.urlsafe_b64decode(part + "==")) for part in parts[:2])
    key = fakes.rsa_key("application")
    assert (header["alg"], header["typ"]) == ("RS256", "JWT") and len(
        base64.urlsafe_b64decode(header["x5t"] + "==")
    ) == 20
    signature = base64.urlsafe_b64decode(parts[2] + "==")
    key.public_key().verify(signature, ".".join(parts[:2]).encode(), padding.PKCS1v15(), hashes.SHA256())
    assert claims["aud"] == cloud.asked[0].url and claims["iss"] == claims["sub"] == CLIENT
    assert claims["nbf"] <= claims["iat"] < claims["exp"] <= claims["iat"] + 600
    again = form(ask(source)[1])["client_assertion"]
    assert again != sent["client_assertion"]  # jti: none is used twice


def test_federated_token_is_read_anew_each_time(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("a.b.c\n")
    source = sign_in.choose(
        options(identity_source="workload_identity"), {"AZURE_FEDERATED_TOKEN_FILE": str(path)}, NOBODY
    )
    assert form(ask(source)[1])["client_assertion"] == "a.b.c"
    path.write_text("d.e.f")
    assert form(ask(source)[1])["client_assertion"] == "d.e.f"


@pytest.mark.parametrize(
    ("audience", "host"),
    [
        ("https://vault.azure.net", "login.microsoftonline.com"),
        ("https://managedhsm.azure.net", "login.microsoftonline.com"),
        ("https://attest.azure.net", "login.microsoftonline.com"),
        ("https://vault.usgovcloudapi.net", "login.microsoftonline.us"),
        ("https://managedhsm.azure.cn", "login.chinacloudapi.cn"),
    ],
)
def test_each_cloud_has_its_sign_in_host(audience: str, host: str, secret_file: str) -> None:
    source = sign_in.choose(options(client_secret_file=secret_file), {}, NOBODY)
    assert str(ask(source, audience=audience)[1].asked[0].url).startswith(f"https://{host}/")


def test_a_named_sign_in_host_wins_and_a_private_cloud_needs_one(secret_file: str) -> None:
    given = options(client_secret_file=secret_file)
    private = "https://vault.local.example"
    with refused("invalid_input") as info:
        ask(sign_in.choose(given, {}, NOBODY), audience=private)
    assert info.value.facts["option"] == "authority_host"
    for environ, option in (({"AZURE_AUTHORITY_HOST": "https://login.example/"}, None), ({}, "login.example")):
        source = sign_in.choose({**given, "authority_host": option}, environ, NOBODY)
        assert str(ask(source, audience=private)[1].asked[0].url).startswith("https://login.example/")


def test_managed_identities_still_ask_the_metadata_service() -> None:
    none = options(identity_source="managed", tenant=None, client_id=None)
    # The environment alone makes no application of a managed identity.
    chosen = sign_in.choose(none, {"AZURE_CLIENT_SECRET": SECRET, "AZURE_CLIENT_ID": CLIENT}, imds.Identity("c-1"))
    assert chosen == imds.Identity("c-1")
    with fakes.Site(GOOD) as site:
        client = http.Http(local=True)
        assert sign_in.token(chosen, VAULT, imds.Imds(client, site.url), client) == "sentinel-token"
    assert "client_id=c-1" in site.asked[0].path


# --- options


@pytest.mark.parametrize(
    ("changes", "option", "words"),
    [
        ({"client_secret_file": None}, "client_secret_file", "AZURE_CLIENT_SECRET"),
        ({"client_secret_file": "/nowhere"}, "client_secret_file", "No such file"),
        ({"tenant": None}, "tenant", "AZURE_TENANT_ID"),
        ({"tenant": "a/b"}, "tenant", "'a/b'"),
        ({"client_id": None}, "client_id", "AZURE_CLIENT_ID"),
        ({"client_id": "web"}, "client_id", "'web'"),
        ({"authority_host": "http://login.example"}, "authority_host", "https"),
        ({"client_certificate_file": "/x"}, "client_certificate_file", "beside"),
        ({"federated_token_file": "/x"}, "federated_token_file", "no use"),
        ({"identity_source": "workload_identity"}, "client_secret_file", "no use"),
        ({"identity_source": "workload_identity", "client_secret_file": None}, "federated_token_file", "missing"),
        ({"identity_source": "managed", "client_secret_file": None}, "tenant", "managed"),
        (
            {"identity_source": "managed", "client_secret_file": None, "tenant": None},
            "client_id",
            "identity_client_id",
        ),
    ],
)
def test_bad_options_are_named(changes: t.Dict[str, t.Any], option: str, words: str, secret_file: str) -> None:
    with refused("invalid_input") as info:
        sign_in.choose(options(**{"client_secret_file": secret_file, **changes}), {}, NOBODY)
    assert info.value.facts["option"] == option and words in info.value.message


def test_a_named_managed_identity_beside_an_application(secret_file: str) -> None:
    with refused("invalid_input") as info:
        sign_in.choose(options(client_secret_file=secret_file), {}, imds.Identity(object_id="o"))
    assert info.value.facts["option"] == "identity_object_id"


def test_a_file_that_others_may_read_is_refused(secret_file: str, certificate_file: str) -> None:
    for option, path in (("client_secret_file", secret_file), ("client_certificate_file", certificate_file)):
        Path(path).chmod(0o644)
        with refused("invalid_input") as info:
            sign_in.choose(options(**{option: path}), {}, NOBODY)
        assert "0644" in info.value.message and info.value.facts["option"] == option
        Path(path).chmod(0o640)
        sign_in.choose(options(**{option: path}), {}, NOBODY)


def _files() -> t.Iterator[t.Tuple[str, str, bytes, str]]:
    key, foreign = fakes.rsa_key("application"), fakes.rsa_key("other")
    own = fakes.pem(fakes.certificate("app", key, "app", key))
    encrypted = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"word")
    )
    certificate = "client_certificate_file"
    yield "empty", "client_secret_file", b" \n", "empty"
    yield "binary", "client_secret_file", b"\xff\xfe\x00", "UTF-8"
    yield "no token", "federated_token_file", b"only.two", "no token"
    yield "no key", certificate, own, "no private key"
    yield "encrypted", certificate, own + encrypted, "encrypted"
    yield "garbage", certificate, own + b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "unreadable"
    yield "curve", certificate, own + fakes.private_pem(fakes.ec_key("curve")), "no RSA key"
    yield "key alone", certificate, fakes.private_pem(key), "no certificate of its private key"
    yield "other's", certificate, own + fakes.private_pem(foreign), "no certificate of its private key"
    yield "torn", certificate, fakes.private_pem(key) + own[:-30], "no certificate of its private key"


@pytest.mark.parametrize(
    ("option", "content", "words"), [case[1:] for case in _files()], ids=[case[0] for case in _files()]
)
def test_files_that_hold_something_else(option: str, content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch(mode=0o600)
    path.write_bytes(content)
    source = "workload_identity" if option == "federated_token_file" else "service_principal"
    with refused("invalid_input") as info:
        sign_in.choose(options(identity_source=source, **{option: str(path)}), {}, NOBODY)
    assert info.value.facts["option"] == option and words in info.value.message and str(path) in info.value.message
    assert "PRIVATE" not in info.value.message


# --- refusals


def said(number: int, text: str = "It is so", status: int = 401) -> fakes.Answer:
    description = f"AADSTS{number}: {text}. Trace ID: 0000 Correlation ID: 1111"
    return answer({"error": "invalid_client", "error_description": description, "error_codes": [number]}, status)


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (7000215, "client_secret_refused"),
        (7000222, "client_secret_expired"),
        (700027, "client_certificate_refused"),
        (700211, "federation_refused"),
        (700213, "federation_refused"),
        (700021, "federation_refused"),
        (700024, "assertion_time"),
        (700016, "application_unknown"),
        (90002, "tenant_unknown"),
        (500011, "audience_unknown"),
        (53003, "sign_in_blocked"),
        (99999, "authentication_failed"),
    ],
)
def test_entras_codes_have_reasons_of_their_own(number: int, reason: str, secret_file: str) -> None:
    source = sign_in.choose(options(client_secret_file=secret_file), {}, NOBODY)
    with refused(reason) as info:
        ask(source, said(number))
    assert info.value.facts["code"] == f"AADSTS{number}" and "It is so." in info.value.message
    assert "Trace ID" not in info.value.message
    assert reason != "authentication_failed" or "AADSTS99999" in info.value.next_step


def test_every_kind_of_entras_codes_has_a_declared_reason() -> None:
    assert set(sign_in._REASONS) == set(entra.KINDS.values())
    assert set(sign_in._REASONS.values()) <= set(REASONS)


def test_what_repeats_the_secret_is_not_repeated(secret_file: str) -> None:
    source = sign_in.choose(options(client_secret_file=secret_file), {}, NOBODY)
    with refused("client_secret_refused") as info:
        ask(source, said(7000215, f"The secret {SECRET} is wrong"))
    assert "***" in info.value.message


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (answer({}, 429), "throttled"),
        (answer({}, 503), "service_error"),
        (answer({}, 200), "service_error"),
        (answer({"access_token": 7}, 200), "service_error"),
        ((200, {}, b"<html>sign in to the proxy</html>"), "service_error"),
        (answer({"error": "invalid_request"}, 400), "authentication_failed"),
        (answer({"error": "invalid_client", "error_description": "MSIS9623: no"}, 400), "authentication_failed"),
    ],
)
def test_other_answers(given: fakes.Answer, reason: str, secret_file: str) -> None:
    source = sign_in.choose(options(client_secret_file=secret_file), {}, NOBODY)
    with refused(reason):
        ask(source, given)


def test_a_moments_trouble_passes(secret_file: str) -> None:
    source = sign_in.choose(options(client_secret_file=secret_file), {}, NOBODY)
    token, cloud = ask(source, answer({}, 503), answer({}, 429), GOOD)
    assert token == "sentinel-token" and len(cloud.asked) == 3


def test_a_wrong_secret_is_sent_once(secret_file: str) -> None:
    source = sign_in.choose(options(client_secret_file=secret_file), {}, NOBODY)
    seen: t.List[str] = []

    def function(request: t.Any) -> fakes.Answer:
        seen.append(str(request.url))
        return said(7000215)

    client = http.Http(local=True, sleep=lambda _seconds: None)
    client.ready().mount("https://", Cloud(function))
    with refused("client_secret_refused"):
        sign_in.token(source, VAULT, imds.Imds(client), client)
    assert len(seen) == 1 and "secret" not in seen[0].lower()


def test_a_longer_key_works(tmp_path: Path) -> None:
    key = rsa.generate_private_key(65537, 3072)
    path = tmp_path / "key.pem"
    path.touch(mode=0o600)
    path.write_bytes(fakes.private_pem(key) + fakes.pem(fakes.certificate("app", key, "app", key)))
    sent = form(ask(sign_in.choose(options(client_certificate_file=str(path)), {}, NOBODY))[1])
    assert len(base64.urlsafe_b64decode(sent["client_assertion"].split(".")[2] + "==")) == 384


def test_clouds_by_host() -> None:
    assert clouds.by_host("kv.vault.azure.net") is clouds.PUBLIC is clouds.by_host("login.microsoftonline.com")
    assert clouds.by_host("sharedweu.weu.attest.azure.net") is clouds.PUBLIC
    found = clouds.by_metadata("AzureUSGovernmentCloud")
    assert found is not None and found is clouds.by_host("kv.vault.usgovcloudapi.net")
    assert clouds.by_host("evilvault.azure.net") is clouds.by_host("vault.azure.net.evil") is None
