# SPDX-License-Identifier: GPL-3.0-or-later
"""Attestation policies without a service: wrapping, verification of answers, comparison, plans; and the provider's plan."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from policy_signer import Signer
from unit.azure.fakes import connection

from ansible_collections.confidential.azure_skr.plugins.module_utils.azure import (
    attestation_policy,
    attestation_private,
    attestation_token,
    cloud,
)
from ansible_collections.confidential.azure_skr.plugins.module_utils.azure.attestation_policy import Service, Wanted
from ansible_collections.confidential.azure_skr.plugins.module_utils.azure.clients import Connection
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.failure import SkrFailure

URL = "https://maatest1.weu.attest.azure.net"
TEXT = "version=1.0;\nauthorizationrules\n{\n  => permit();\n};"
SIGNER = Signer()  # stands for the provider's own key too
NOW = 1_790_000_000.0


def b64u(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


KEYS = {
    "keys": [
        {"kid": "other", "kty": "RSA", "x5c": ["AAAA"]},
        {
            "kid": "k1",
            "kty": "RSA",
            "x5c": [base64.b64encode(SIGNER.leaf.public_bytes(serialization.Encoding.DER)).decode()],
        },
    ]
}


def answer(header: dict[str, Any] | None = None, spoil: bool = False, **claims: Any) -> dict[str, Any]:
    """An answer's document; ``claims`` with the value ... are left out."""
    body = {"iss": URL, "nbf": NOW - 10, "exp": NOW + 3600, **claims}
    head = {"alg": "RS256", "kid": "k1", **(header or {})}
    kept = {name: value for name, value in body.items() if value is not ...}
    signed = ".".join(b64u(json.dumps(part).encode()) for part in (head, kept))
    signature = bytearray(SIGNER.key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))
    signature[3] ^= spoil
    return {"token": f"{signed}.{b64u(bytes(signature))}"}


def failure(reason: str, *words: str) -> Any:
    """Expect a failure of this reason whose message has these words."""

    class Expectation:
        def __enter__(self) -> None: ...

        def __exit__(self, _kind: Any, error: Any, _trace: Any) -> bool:
            assert isinstance(error, SkrFailure), error
            assert error.reason == reason and all(word in error.message for word in words), error.message
            return True

    return Expectation()


# --- tokens


def test_an_unsecured_policy_is_worded_as_documented() -> None:
    """The sample of "How to author an attestation policy" begins with this header and ends with a period."""
    made = attestation_token.wrapped(TEXT, None)
    head, body, signature = made.split(".")
    assert head == "eyJhbGciOiJub25lIn0" and signature == ""
    document = json.loads(attestation_token.unb64u(body))
    assert document == {"AttestationPolicy": b64u(TEXT.encode())} and attestation_token.text_of(made) == TEXT
    assert attestation_token.wrapped(None, None) == "eyJhbGciOiJub25lIn0.."  # as in the REST reference's example
    assert attestation_token.text_of("eyJhbGciOiJub25lIn0..") == ""


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    found = {name: tmp_path / name for name in ("key", "chain", "ca")}
    found["key"].write_text(SIGNER.key_pem())
    found["chain"].write_text(SIGNER.pem(SIGNER.leaf) + SIGNER.pem(SIGNER.ca))
    found["ca"].write_text(SIGNER.pem(SIGNER.ca))
    return found


def test_a_signed_policy(files: dict[str, Path]) -> None:
    signer = attestation_token.load_signer(str(files["key"]), str(files["chain"]))
    made = attestation_token.wrapped(TEXT, signer)
    signed, _dot, signature = made.rpartition(".")
    header = json.loads(attestation_token.unb64u(signed.split(".")[0]))
    chain = [x509.load_der_x509_certificate(base64.b64decode(one)) for one in header["x5c"]]
    assert header["alg"] == "RS256" and chain == [SIGNER.leaf, SIGNER.ca]
    public = SIGNER.key.public_key()
    public.verify(attestation_token.unb64u(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    assert attestation_token.text_of(made) == TEXT
    assert "RSAPrivateKey" not in repr(signer) and "object" not in repr(Wanted(signer=signer))


def test_signers_that_cannot_sign(files: dict[str, Path]) -> None:
    key, chain = str(files["key"]), str(files["chain"])
    with failure("invalid_input", "policy_signer_certificate", "in first place"):
        attestation_token.load_signer(key, str(files["ca"]))
    with failure("invalid_input", "policy_signer_certificate", "holds a private key"):
        attestation_token.load_signer(key, key)
    with failure("invalid_input", "policy_signer_key", "PEM private key"):
        attestation_token.load_signer(chain, chain)
    files["key"].write_text(SIGNER.key_pem("sesame"))
    for phrase in (None, "wrong"):
        with failure("invalid_input", "policy_signer_key", "passphrase"):
            attestation_token.load_signer(key, chain, phrase)
    assert attestation_token.load_signer(key, chain, "sesame").certificates
    curve = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    files["key"].write_bytes(curve)
    with failure("invalid_input", "RS256"):
        attestation_token.load_signer(key, chain)
    files["key"].unlink()
    with failure("invalid_input", "readable"):
        attestation_token.load_signer(key, chain)


def test_a_true_answer() -> None:
    claims = attestation_token.verified(answer(x=1), lambda: KEYS, URL, NOW)
    assert claims["x"] == 1
    assert attestation_token.verified(answer(iss=URL.upper() + "/", nbf=...), lambda: KEYS, URL, NOW)
    for moment in (NOW - 300, NOW + 3800):
        assert attestation_token.verified(answer(), lambda: KEYS, URL, moment)


@pytest.mark.parametrize(
    ("document", "word"),
    [
        ({}, "no token"),
        ({"token": None}, "no token"),
        ({"token": "a.b"}, "no token"),
        ({"token": "a.b.c"}, "no token"),
        ({"token": "é.é.é"}, "no token"),
        (answer(exp=...), "no token"),
        (answer(exp="soon"), "no token"),
        (answer({"kid": "k2"}), "does not list"),
        (answer({"kid": None}), "does not list"),
        (answer({"kid": "other"}), "list of keys"),
        (answer({"alg": "none"}), "'none'"),
        (answer({"alg": "HS256"}), "'HS256'"),
        (answer(spoil=True), "signature does not verify"),
        (answer(iss="https://sharedweu.weu.attest.azure.net"), "sharedweu"),
        (answer(exp=NOW - 301), "expired"),
        (answer(nbf=NOW + 301), "expired or not yet valid"),
    ],
)
def test_false_answers(document: dict[str, Any], word: str) -> None:
    with failure("attestation_policy_unverified", word):
        attestation_token.verified(document, lambda: KEYS, URL, NOW)


@pytest.mark.parametrize("keys", [{}, {"keys": None}, {"keys": [{"kid": "k1"}]}, {"keys": [{"kid": "k1", "x5c": []}]}])
def test_unreadable_keys(keys: dict[str, Any]) -> None:
    with failure("attestation_policy_unverified", "list of keys"):
        attestation_token.verified(answer(), lambda: keys, URL, NOW)


@pytest.mark.parametrize("stored", ["", "x", "a.b.c", "eyJhbGciOiJub25lIn0.e30.", "eyJhbGciOiJub25lIn0.W10."])
def test_a_stored_policy_that_is_none(stored: str) -> None:
    with failure("attestation_policy_unverified", "not wrapped as documented"):
        attestation_token.text_of(stored)


def test_the_hash_that_tokens_carry() -> None:
    """REST reference: "The SHA256 hash of the BASE64URL encoded policy text used for attestation"."""
    expected = b64u(hashlib.sha256(b64u(TEXT.encode()).encode()).digest())
    assert attestation_token.policy_hash(TEXT) == expected and len(expected) == 43


# --- what is wanted


def test_options(tmp_path: Path) -> None:
    path = tmp_path / "p"
    path.write_bytes(b"\xef\xbb\xbf" + TEXT.replace("\n", "\r\n").encode() + b"\r\n")
    found = attestation_policy.wanted({"sevsnpvm": f"\n{TEXT}\n"}, {"AzureGuest": str(path)}, ["TPM"])
    assert found.texts == {"SevSnpVm": TEXT, "AzureGuest": TEXT} and found.reset == ("Tpm",)
    assert found.types == ["AzureGuest", "SevSnpVm", "Tpm"]
    path.write_bytes(b"\xff\xfe")
    with failure("invalid_input", "UTF-8"):
        attestation_policy.wanted({}, {"AzureGuest": str(path)}, [])


@pytest.mark.parametrize(
    ("texts", "reset", "word"),
    [
        ({"AzureVm": TEXT}, [], "AzureGuest"),
        ({"AzureGuest": TEXT, "azureguest": TEXT}, [], "once"),
        ({"AzureGuest": TEXT}, ["AzureGuest"], "once"),
        ({"AzureGuest": ""}, [], "reset_policies"),
        ({"AzureGuest": None}, [], "reset_policies"),
        ({"AzureGuest": 5}, [], "text of a policy"),
        ({}, ["Sgx"], "reset_policies has 'Sgx'"),
    ],
)
def test_options_that_cannot_work(texts: dict[str, Any], reset: list[str], word: str) -> None:
    with failure("invalid_input", word):
        attestation_policy.wanted(texts, {}, reset)


DEFAULT = """version= 1.0; // the default
authorizationrules
{
    [type=="x-ms-azurevm-default-securebootkeysvalidated", value==false] => deny();
    [type=="x-ms-azurevm-debuggersdisabled", value==false] => deny();
    /* boot */
    [type=="secureboot", value==false] => deny();
    [type=="x-ms-azurevm-signingdisabled", value==false] => deny();
    [type=="x-ms-azurevm-dbvalidated", value==false] => deny();
    [type=="x-ms-azurevm-dbxvalidated", value==false] => deny();
    => permit();
};
issuancerules{};"""


def test_known_defaults() -> None:
    assert attestation_policy.is_default(DEFAULT) and attestation_policy.is_default("")
    assert attestation_policy.is_default("version= 1.0; authorizationrules{=> permit();}; issuancerules{};")
    assert not attestation_policy.is_default(DEFAULT.replace("=> permit", '[type=="a"] => permit'))
    assert not attestation_policy.is_default(TEXT)


# --- plans


def test_plan_compares_texts() -> None:
    want = Wanted({"AzureGuest": TEXT, "SevSnpVm": TEXT})
    same = {"AzureGuest": TEXT.replace("\n", "\r\n") + "\r\n", "SevSnpVm": TEXT}
    plan = attestation_policy.plan(want, same)
    assert not plan.changed and plan.body is None and plan.before == plan.after
    plan = attestation_policy.plan(want, {**same, "SevSnpVm": DEFAULT, "Tpm": "not asked for"})
    assert plan.body == {"SevSnpVm": TEXT} and plan.before["SevSnpVm"] == DEFAULT and "Tpm" not in plan.before
    assert plan.after == {"AzureGuest": TEXT, "SevSnpVm": TEXT}


def test_plan_of_resets() -> None:
    want = Wanted(reset=("AzureGuest", "Tpm", "SevSnpVm"))
    plan = attestation_policy.plan(want, {"AzureGuest": TEXT, "Tpm": "", "SevSnpVm": DEFAULT})
    assert plan.body == {"AzureGuest": None} and plan.after["AzureGuest"] == "(default)"
    assert not attestation_policy.plan(want, {}).changed  # a provider that is not made yet has its defaults


def test_a_signer_is_asked_for_in_time() -> None:
    attestation_policy.check_signer(Wanted(), isolated=True)
    attestation_policy.check_signer(Wanted({"Tpm": TEXT}), isolated=False)
    with failure("attestation_policy_unsigned", "Isolated"):
        attestation_policy.check_signer(Wanted(reset=("Tpm",)), isolated=True)


# --- the service's answers about one policy


class Provider:
    """Stands for a provider's API: ``change`` alters what it says of a write."""

    def __init__(self, **change: Any) -> None:
        self.stored, self.change = "eyJhbGciOiJub25lIn0..", change
        self.calls: list[tuple[str, str, str]] = []

    def __call__(self, method: str, url: str, what: str, version: str = "", content: str | None = None) -> Any:
        self.calls.append((method, url.removeprefix(URL), version))
        if url.endswith("/certs"):
            return KEYS
        now = {"nbf": time.time(), "exp": time.time() + 60}
        if method == "GET":
            return answer(**now, **{"x-ms-policy": self.change.get("stored", self.stored)})
        assert content is not None
        self.stored = content
        digest = b64u(hashlib.sha256(content.encode()).digest())
        told = {"x-ms-policy-result": "Updated" if method == "PUT" else "Removed", "x-ms-policy-token-hash": digest}
        return answer(**{**now, **told, **self.change})


def service(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> Service:
    monkeypatch.setattr(Connection, "attestation", lambda _self, *words: provider(*words))
    return Service(connection(), URL)


def test_a_policy_is_set_and_read_back(monkeypatch: pytest.MonkeyPatch) -> None:
    provider = Provider()
    service(provider, monkeypatch).set("AzureGuest", TEXT, None)
    version = "2022-08-01"
    assert provider.calls == [
        ("PUT", "/policies/AzureGuest", version),
        ("GET", "/certs", ""),
        ("GET", "/policies/AzureGuest", version),
    ]
    assert service(provider, monkeypatch).get("TdxVm") == TEXT and provider.calls[-2][2] == "2025-06-01"


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"x-ms-policy-result": "Removed"}, "'Removed'"),
        ({"x-ms-policy-result": ...}, "None"),
        ({"x-ms-policy-token-hash": ...}, "hash"),
        ({"x-ms-policy-token-hash": b64u(bytes(32))}, "hash"),
        ({"stored": attestation_token.wrapped("another", None)}, "reads back otherwise"),
        ({"stored": "eyJhbGciOiJub25lIn0.."}, "reads back otherwise"),
    ],
)
def test_answers_that_are_not_about_what_was_sent(
    monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], word: str
) -> None:
    with failure("attestation_policy_unverified", "AzureGuest", word):
        service(Provider(**change), monkeypatch).set("AzureGuest", TEXT, None)


def test_reset_needs_no_hash_but_the_word(monkeypatch: pytest.MonkeyPatch) -> None:
    provider = Provider(**{"x-ms-policy-token-hash": ...})
    service(provider, monkeypatch).reset("Tpm", None)
    assert (
        provider.calls[0] == ("POST", "/policies/Tpm:reset", "2022-08-01")
        and provider.stored == "eyJhbGciOiJub25lIn0.."
    )
    with failure("attestation_policy_unverified", "'Updated'"):
        service(Provider(**{"x-ms-policy-result": "Updated"}), monkeypatch).reset("Tpm", None)


@pytest.mark.parametrize(
    "url",
    [
        "http://maa.weu.attest.azure.net",
        "https://maa.weu.attest.azure.net.example",
        "https://attest.azure.net",
        "https://maa.weu.attest.azure.net/x",
        "https://maa.weu.attest.azure.net:8443",
        "https://user@maa.weu.attest.azure.net",
        "https://maa.weu.attest.azure.us",
        "",
    ],
)
def test_the_callers_token_goes_to_the_attestation_service_alone(url: str) -> None:
    with failure("service_error", "not one of the service"):
        Service(connection(), url)


def test_attestation_suffixes() -> None:
    assert {name: one.attestation_suffix for name, one in cloud.CLOUDS.items()} == {
        "AzureCloud": "attest.azure.net",
        "AzureUSGovernment": "attest.azure.us",
        "AzureChinaCloud": "attest.azure.cn",
    }


# --- the provider


def found(**changes: Any) -> dict[str, Any]:
    properties = {"trustModel": "AAD", "status": "Ready", "attestUri": URL}
    return {
        "id": "/x",
        "name": "maatest",
        "location": "westeurope",
        "tags": {"a": "b"},
        "properties": properties,
    } | changes


def test_plan_of_a_new_provider() -> None:
    wanted = attestation_private.Wanted("maatest", "rg", "West Europe", tags={"a": "b"})
    plan = attestation_private.plan_provider(wanted, None, [])
    assert plan.action == "create" and plan.body == {"location": "West Europe", "tags": {"a": "b"}, "properties": {}}
    assert plan.after["trust_model"] == "AAD" and plan.after["attest_url"] is None
    signed = attestation_private.plan_provider(wanted, None, [SIGNER.ca])
    (key,) = signed.body["properties"]["policySigningCertificates"]["keys"]  # type: ignore[index]
    assert set(key) == {"kty", "x5c"} and key["kty"] == "RSA" and base64.b64decode(key["x5c"][0]) == SIGNER.ca_der
    assert signed.after["trust_model"] == "Isolated"
    with failure("invalid_input", "location"):
        attestation_private.plan_provider(attestation_private.Wanted("maatest", "rg"), None, [])


def test_plan_of_an_existing_provider() -> None:
    plan = attestation_private.plan_provider(attestation_private.Wanted("maatest", "rg", "West Europe"), found(), [])
    assert not plan.changed and plan.body is None
    retag = attestation_private.Wanted("maatest", "rg", tags={})
    plan = attestation_private.plan_provider(retag, found(), [])
    assert plan.action == "update" and plan.body == {"tags": {}} and plan.before["tags"] == {"a": "b"}
    with failure("attestation_name_taken", "westeurope"):
        attestation_private.plan_provider(attestation_private.Wanted("maatest", "rg", "eastus"), found(), [])


@pytest.mark.parametrize("name", ["ab", "maa-test", "x" * 25, ""])
def test_names(name: str) -> None:
    with failure("invalid_input", "3 to 24 letters and digits"):
        attestation_private.check(attestation_private.Wanted(name, "rg"))


def test_signing_certificates_must_be_authorities(tmp_path: Path) -> None:
    path = tmp_path / "c.pem"
    path.write_text(SIGNER.pem(SIGNER.ca))
    wanted = attestation_private.Wanted("maatest", "rg", signing_certificates=(str(path),))
    assert attestation_private.check(wanted) == [SIGNER.ca]
    path.write_text(SIGNER.pem(SIGNER.ca) + SIGNER.pem(SIGNER.leaf))
    with failure("invalid_input", "CA"):
        attestation_private.check(wanted)
    path.write_text("nothing")
    with failure("invalid_input", "PEM certificates"):
        attestation_private.check(wanted)


class Manager:
    """Stands for Resource Manager: answers in turn."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: Any) -> None:
        self.answers, self.calls = list(answers), []
        for method in ("get", "put", "patch", "delete"):
            monkeypatch.setattr(Connection, method, self._method(method))
        monkeypatch.setattr(attestation_private.time, "sleep", lambda _seconds: None)

    def _method(self, name: str) -> Any:
        def call(_connection: Any, *_words: Any) -> Any:
            self.calls.append(name)
            reply = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            if isinstance(reply, SkrFailure):
                raise reply
            return reply

        return call


ABSENT = SkrFailure("resource_not_found", "absent", {"code": "ResourceNotFound"})
PENDING = found(properties={"trustModel": "AAD", "status": "NotReady", "attestUri": URL})


def test_a_new_provider_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = attestation_private.Wanted("maatest", "rg", "westeurope")
    manager = Manager(monkeypatch, ABSENT, PENDING, PENDING, found())
    result = attestation_private.ensure(connection(), wanted, False)
    assert result["changed"] and result["provider"]["status"] == "Ready" and result["attest_url"] == URL
    assert manager.calls == ["get", "put", "get", "get"]
    Manager(monkeypatch, ABSENT, PENDING)
    with failure("wait_timeout", "not ready"):
        attestation_private.ensure(
            connection(), attestation_private.Wanted("maatest", "rg", "weu", wait_timeout=0), False
        )
    broken = found(properties={"status": "Error"})
    Manager(monkeypatch, ABSENT, broken)
    with failure("operation_failed", "maatest"):
        attestation_private.ensure(connection(), wanted, False)


def test_removal_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = attestation_private.Wanted("maatest", "rg", present=False)
    manager = Manager(monkeypatch, found(), None, found(), ABSENT)
    assert attestation_private.ensure(connection(), wanted, False)["changed"]
    assert manager.calls == ["get", "delete", "get", "get"]
    Manager(monkeypatch, found())
    with failure("wait_timeout", "still there"):
        attestation_private.ensure(
            connection(), attestation_private.Wanted("maatest", "rg", present=False, wait_timeout=0), False
        )


def test_an_absent_group_is_no_absent_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    Manager(monkeypatch, SkrFailure("resource_not_found", "group", {"code": "ResourceGroupNotFound"}))
    with failure("resource_not_found", "group"):
        attestation_private.ensure(connection(), attestation_private.Wanted("maatest", "rg", present=False), False)


def test_a_new_address_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until DNS knows the new name the provider cannot be reached; other failures end the wait at once."""
    provider, misses = Provider(), [SkrFailure("network_unreachable", "no such host")] * 2

    def attestation(_self: Any, *words: Any) -> Any:
        if misses:
            raise misses.pop()
        return provider(*words)

    monkeypatch.setattr(Connection, "attestation", attestation)
    Manager(monkeypatch, ABSENT, found())
    wanted = attestation_private.Wanted("maatest", "rg", "westeurope", policies=Wanted({"AzureGuest": TEXT}))
    assert attestation_private.ensure(connection(), wanted, False)["policies"]["AzureGuest"]["default"] is False
    assert not misses
    misses.append(SkrFailure("tls_untrusted", "foreign certificate"))
    Manager(monkeypatch, ABSENT, found())
    with failure("tls_untrusted", "foreign"):
        attestation_private.ensure(connection(), wanted, False)


def test_a_reset_that_changed_nothing_is_no_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """A default in words that are not known here is reset each time, and reported as what it is."""
    unknown = attestation_token.wrapped("version=1.1; the default of another day", None)
    provider = Provider(stored=unknown)
    monkeypatch.setattr(Connection, "attestation", lambda _self, *words: provider(*words))
    wanted = attestation_private.Wanted("maatest", "rg", policies=Wanted(reset=("AzureGuest",)))
    Manager(monkeypatch, found())
    assert attestation_private.ensure(connection(), wanted, True)["changed"] is True
    result = attestation_private.ensure(connection(), wanted, False)
    assert result["changed"] is False and "diff" not in result
    assert [method for method, _path, _version in provider.calls].count("POST") == 1


def test_keys_are_asked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    provider = Provider()
    one = service(provider, monkeypatch)
    for _unused in range(3):
        one.get("Tpm")
    assert [path for _method, path, _version in provider.calls].count("/certs") == 1
    assert isinstance(SIGNER.key, rsa.RSAPrivateKey)
