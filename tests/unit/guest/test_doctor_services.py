# SPDX-License-Identifier: GPL-3.0-or-later
"""The doctor's look at metadata service, identities, attestation provider, vault and key: every outcome."""

from __future__ import annotations

import time
import typing as t
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from unit.guest import release_fakes as fakes
from unit.guest import silicon_fakes
from unit.guest.doctor_fakes import AUTHORITY, alone, told, wanted
from unit.guest.release_fakes import VAULT, Answer, Cloud, Site, answer

from ansible_collections.confidential.azure_skr.plugins.module_utils.guest import hcl, http, imds, keyvault, sign_in
from ansible_collections.confidential.azure_skr.plugins.module_utils.guest.doctor import metadata, patient, services
from ansible_collections.confidential.azure_skr.plugins.module_utils.guest.doctor.findings import Finding
from ansible_collections.confidential.azure_skr.plugins.module_utils.guest.doctor.metadata import Tokens
from ansible_collections.confidential.azure_skr.plugins.module_utils.guest.doctor.patient import Notes, guarded

KEY = keyvault.KeyId(VAULT, "app", None)
HSM = keyvault.KeyId("https://h.managedhsm.azure.net", "app", None, True)
COMPUTE = {
    "name": "web-01", "location": "westeurope", "subscriptionId": "s-1", "azEnvironment": "AzurePublicCloud",
    "securityProfile": {"securityType": "ConfidentialVM"},
}  # fmt: skip
HTML: Answer = (200, {"Content-Type": "text/html"}, b"<html>proxy</html>")
CHALLENGE = 'Bearer authorization="https://login.windows.net/T-1", resource="https://vault.azure.net"'


def cloud(*answers: Answer) -> t.Tuple[http.Http, Cloud]:
    """A client and who answers it; answers are used up in order, the last one for ever."""
    left = list(answers)
    made = Cloud(lambda _request: left.pop(0) if len(left) > 1 else left[0])
    client = http.Http(local=True)
    client.ready().mount("https://", made)
    return client, made


def token(**claims: t.Any) -> str:
    return fakes.sign({"alg": "RS256"}, {"appid": "c-1", "oid": "o-1", "tid": "t-1", **claims}, fakes.rsa_key("entra"))


def granted(**claims: t.Any) -> Answer:
    return answer({"access_token": token(**claims)})


# --- the metadata service


def instance(*answers: Answer) -> t.Tuple[t.List[Finding], Notes, Site]:
    notes = Notes()
    with Site(*answers) as site:
        found = metadata.examine(wanted(imds_endpoint=site.url), notes)
    return found, notes, site


def test_instance_data_and_chain() -> None:
    chain = {"vcekCert": "-----A-----", "certificateChain": "-----B-----"}
    found, notes, site = instance(answer(COMPUTE), answer(chain))
    assert told(found) == [("metadata", "ok", "ok")] and "web-01 in westeurope" in found[0].found
    assert notes.compute == COMPUTE and notes.chain_pem == "-----A-----\n-----B-----\n"
    assert all(one.headers["metadata"] == "true" for one in site.asked)
    assert list(notes.skews) == ["127.0.0.1"] and abs(notes.skews["127.0.0.1"]) < 5


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (HTML, "imds_unreachable"),
        (answer({"error": "x"}, 500), "imds_error"),
        ((302, {"Location": "http://x/"}, b""), "redirect_refused"),
    ],
)
def test_what_is_no_metadata_service(given: Answer, code: str) -> None:
    found, _notes, site = instance(given)
    assert (found[0].severity, found[0].code) == ("failed", code)
    assert len(site.asked) == 1 or code == "imds_error"  # asked once
    if code != "imds_error":
        assert told(found)[1] == ("certificate_chain", "skipped", "skipped")


def test_no_metadata_service() -> None:
    found = metadata.examine(wanted(imds_endpoint="http://127.0.0.1:9"), Notes())
    assert told(found) == [("metadata", "failed", "imds_unreachable"), ("certificate_chain", "skipped", "skipped")]


def test_a_certificate_service_that_fails() -> None:
    found, notes, site = instance(answer(COMPUTE), answer({}, 503))
    assert told(found) == [("metadata", "ok", "ok")] and len(site.asked) == 2  # no patience
    late = guarded("certificate_chain", lambda: metadata.chain(wanted(), notes))
    assert told(late) == [("certificate_chain", "failed", "thim_error")]
    notes.no_report = True  # then there is nothing that it could be missing for
    assert told(metadata.chain(wanted(), notes)) == [("certificate_chain", "skipped", "skipped")]
    runtime = silicon_fakes.runtime_data(silicon_fakes.modulus_of(silicon_fakes.rsa_key("ak")))
    notes.report = hcl.parse(silicon_fakes.hcl_blob(bytes(1184), runtime, report_type=4))
    assert "of type tdx" in alone(metadata.chain(wanted(), notes)).found


def test_chain_and_report(tmp_path: Path) -> None:
    roots = tmp_path / "roots.pem"
    host = silicon_fakes.Host()
    roots.write_text(silicon_fakes.pem(host.ark))
    runtime = silicon_fakes.runtime_data(silicon_fakes.modulus_of(silicon_fakes.rsa_key("ak")))
    given = wanted(report_roots_path=str(roots))
    notes = Notes(chain_pem=host.chain())

    def look() -> Finding:
        return alone(guarded("certificate_chain", lambda: metadata.chain(given, notes)))

    assert "not compared" in look().found
    notes.report = hcl.parse(silicon_fakes.hcl_blob(host.report(b"x"), runtime))
    assert look().severity == "ok" and "verifies" in look().found
    notes.chain_pem = silicon_fakes.Host(tcb=(3, 0, 20, 200)).chain()
    assert look().code == "vcek_tcb"
    notes.chain_pem = silicon_fakes.Host(chip_id=bytes(64)).chain()
    assert look().code == "vcek_chip"
    notes.chain_pem = "nothing"
    assert look().code == "vcek_chain"
    assert metadata.chain(given, Notes()) == []  # told already why there is none


# --- identities


def identity(given: t.Any, *answers: Answer, **notes: t.Any) -> t.Tuple[t.List[Finding], Tokens, Site]:
    made = Notes(metadata_answers=True, **notes)
    with Site(*answers) as site:
        tokens = Tokens(wanted(given, imds_endpoint=site.url, vault_uri=VAULT), made, None)
        found = guarded("identity", tokens.examine)
    return found, tokens, site


def test_identities_that_get_a_token() -> None:
    found, tokens, site = identity(imds.Identity(), granted())
    assert told(found) == [("identity", "ok", "ok")] and "System-assigned identity c-1" in found[0].found
    assert tokens.token == token() and token() not in str(found)
    assert parse_qs(urlsplit(site.asked[0].path).query)["resource"] == ["https://vault.azure.net"]
    mirid = "/subscriptions/s/providers/Microsoft.ManagedIdentity/userAssignedIdentities/web"
    found, _tokens, _site = identity(imds.Identity("c-1"), granted(xms_mirid=mirid))
    assert "User-assigned identity c-1" in found[0].found
    found, _tokens, _site = identity(imds.Identity("c-1"), answer({"access_token": "opaque"}))
    assert told(found) == [("identity", "ok", "ok")]


def test_the_audience_without_a_vault_is_the_clouds() -> None:
    with Site(granted()) as site:
        notes = Notes(metadata_answers=True, compute={"azEnvironment": "AzureUSGovernmentCloud"})
        Tokens(wanted(imds_endpoint=site.url), notes, None).examine()
    assert parse_qs(urlsplit(site.asked[0].path).query)["resource"] == ["https://vault.usgovcloudapi.net"]


def test_identities_that_get_none() -> None:
    none = answer({"error": "invalid_request", "error_description": "Identity not found"}, 400)
    several = answer({"error": "invalid_request", "error_description": "Multiple user assigned identities exist"}, 400)
    for given, code in ((none, "identity_not_found"), (several, "identity_ambiguous"), (HTML, "imds_unreachable")):
        found, tokens, _site = identity(imds.Identity(), given)
        assert told(found) == [("identity", "failed", code)] and tokens.token is None
    found, _tokens, _site = identity(imds.Identity(known=("a", "b")), several, granted(), none)
    assert found[0].facts["usable"] == ["a"] and "Usable: a." in found[0].found
    found, _tokens, _site = identity(imds.Identity(known=("a", "b")), several, none)
    assert "None of them" in found[0].found


def test_no_token_is_asked_of_a_metadata_service_that_is_not_there() -> None:
    tokens = Tokens(wanted(), Notes(), None)
    assert told(tokens.examine()) == [("identity", "skipped", "skipped")]


def application(folder: Path, tenant: str = "11111111-2222-4333-8444-555555555555") -> sign_in.Application:
    secret = folder / "secret"
    secret.touch(mode=0o600)
    secret.write_text("sentinel")
    return sign_in.Application("service_principal", tenant, "c-1", "client_secret_file", str(secret))


def test_an_application_and_the_vaults_tenant(tmp_path: Path) -> None:
    client, _cloud = cloud(granted())
    for tenant, severities in (
        ("11111111-2222-4333-8444-555555555555", ["ok"]),
        ("99999999-2222-4333-8444-555555555555", ["ok", "warning"]),
        ("contoso.com", ["ok"]),
    ):
        notes = Notes(tenant="11111111-2222-4333-8444-555555555555")
        tokens = Tokens(wanted(application(tmp_path, tenant), vault_uri=VAULT), notes, client)
        found = tokens.examine()
        assert [one.severity for one in found] == severities and "sentinel" not in str(found)
        assert "tenant_differs" in {one.code for one in found} or len(found) == 1
    lost = Tokens(wanted(application(tmp_path), vault_uri=VAULT), Notes(), None)
    assert told(guarded("identity", lost.examine)) == [("identity", "failed", "network_unreachable")]


# --- the attestation provider


@pytest.mark.parametrize(
    ("answers", "severity", "code"),
    [
        ([answer({"issuer": AUTHORITY}), answer({"keys": [{}, {}]})], "ok", "ok"),
        ([answer({"issuer": f"{AUTHORITY.upper().replace('HTTPS', 'https')}/"}), answer({"keys": [{}]})], "ok", "ok"),
        ([answer({"issuer": "https://other.attest.azure.net"})], "failed", "token_issuer"),
        ([HTML], "failed", "attestation_protocol"),
        ([answer({}, 404)], "failed", "attestation_protocol"),
        ([answer({}, 503)], "failed", "attestation_unavailable"),
        ([answer({"issuer": AUTHORITY}), answer({"keys": []})], "failed", "attestation_unavailable"),
        ([answer({"issuer": AUTHORITY}), HTML], "failed", "attestation_unavailable"),
    ],
)
def test_attestation_provider(answers: t.List[Answer], severity: str, code: str) -> None:
    client, _cloud = cloud(*answers)
    found = guarded("attestation_provider", lambda: services.attestation_provider(AUTHORITY, client))
    assert told(found) == [("attestation_provider", severity, code)]


# --- the vault


def forbidden(inner: str, text: str = "no") -> Answer:
    return answer({"error": {"code": "Forbidden", "message": text, "innererror": {"code": inner}}}, 403)


FIREWALL = (
    "Client address is not authorized and caller is not a trusted service.\r\nClient address: 20.1.2.3\r\nCaller: x"
)


@pytest.mark.parametrize(
    ("given", "severity", "code", "words"),
    [
        (answer({}, 401, WWW_Authenticate=CHALLENGE), "ok", "ok", "t-1"),
        (answer({}, 401, WWW_Authenticate="Basic realm=proxy"), "failed", "response_malformed", "of whom"),
        (forbidden("ForbiddenByFirewall", FIREWALL), "failed", "vault_firewall", "20.1.2.3"),
        (forbidden("ForbiddenByConnection"), "failed", "vault_firewall", "not told"),
        (forbidden("Other"), "failed", "response_malformed", "403"),
        (answer({}, 429), "failed", "throttled", "throttling"),
        (HTML, "failed", "response_malformed", "200"),
    ],
)
def test_the_way_into_the_vault(given: Answer, severity: str, code: str, words: str) -> None:
    client, asked = cloud(given)
    notes = Notes()
    found = alone(guarded("vault_network", lambda: services.vault_network(KEY, client, notes)))
    assert (found.severity, found.code) == (severity, code) and words in found.found
    assert notes.vault_open == (severity == "ok") and "Authorization" not in asked.asked[0].headers
    assert notes.tenant == ("t-1" if severity == "ok" else "")


def bundle(policy: t.Any = None, **attributes: t.Any) -> Answer:
    text = fakes.b64u(fakes.compact(policy or {"version": "1.0.0", "anyOf": [
        {"authority": AUTHORITY, "allOf": [{"claim": "secureboot", "equals": True}]}]}))  # fmt: skip
    return answer(
        {
            "key": {"kid": f"{VAULT}/keys/app/1", "kty": "RSA-HSM"},
            "attributes": {"enabled": True, "exportable": True, **attributes},
            "release_policy": {"data": text},
        }
    )


def key(*answers: Answer, url: str = AUTHORITY, one: keyvault.KeyId = KEY) -> t.List[Finding]:
    client, _asked = cloud(*answers, answer({}, 403))
    found = guarded("key", lambda: services.key(wanted(attestation_url=url), one, client, "sentinel-token"))
    assert "sentinel" not in str(found)
    return found


def test_a_good_key_and_its_policy() -> None:
    found = key(bundle(), answer({"value": [{}, {}]}))
    assert told(found) == [("key", "ok", "ok"), ("key_policy", "ok", "ok")]
    assert "2 versions" in found[0].found and AUTHORITY in found[1].found
    assert key(bundle())[0].facts["versions"] is None  # which the identity may not list
    assert key(bundle(), url="")[1].severity == "ok"


@pytest.mark.parametrize(
    ("attributes", "severity", "code"),
    [
        ({"exportable": False}, "failed", "key_not_exportable"),
        ({"enabled": False}, "failed", "key_disabled"),
        ({"exp": time.time() - 10}, "failed", "key_expired"),
        ({"exp": time.time() + 86400}, "warning", "key_expiring"),
        ({"nbf": time.time() + 86400}, "failed", "key_not_yet_valid"),
        ({"exp": time.time() + 86400 * 60, "nbf": 1}, "ok", "ok"),
    ],
)
def test_states_of_a_key(attributes: t.Dict[str, t.Any], severity: str, code: str) -> None:
    assert told(key(bundle(**attributes)))[0] == ("key", severity, code)


def test_policies() -> None:
    other = {"version": "1.0.0", "anyOf": [{"authority": "https://x.attest.azure.net", "allOf": [
        {"claim": "a", "equals": True}]}]}  # fmt: skip
    found = key(bundle(other))[1]
    assert (found.code, found.severity) == ("authority_mismatch", "failed") and "https://x.attest" in found.found
    assert key(bundle({"version": "1.0.0", "anyOf": "x"}))[1].code == "policy_invalid"
    plain = answer({"key": {}, "attributes": {"enabled": True}})
    assert told(key(plain)) == [("key", "failed", "key_not_exportable"), ("key_policy", "skipped", "skipped")]


def test_keys_that_cannot_be_read() -> None:
    for given in (forbidden("ForbiddenByRbac"), forbidden("AccessDenied")):
        found = key(given)
        assert told(found) == [("key", "info", "key_unreadable"), ("key_policy", "skipped", "skipped")]
        assert found[0].facts["model"] in ("rbac", "access_policy")
    missing = answer({"error": {"code": "KeyNotFound", "message": "A key with (name/id) app was not found"}}, 404)
    assert told(key(missing)) == [("key", "failed", "key_not_found")]
    assert told(key(forbidden("ForbiddenByFirewall", FIREWALL))) == [("key", "failed", "vault_firewall")]
    assert (
        told(key(answer({"error": {"code": "Unauthorized", "message": "AKV10022"}}, 401)))[0][2]
        == "vault_token_rejected"
    )


class Purse(Tokens):
    """Has a token for everything, or for nothing."""

    def __init__(self, empty: bool = False) -> None:
        self.empty, self.asked = empty, t.cast("t.List[str]", [])

    def get(self, audience: str) -> str:
        self.asked.append(audience)
        if self.empty:
            raise services.SkrFailure("identity_not_found", "none")
        return "sentinel-token"


def properties(*answers: Answer, one: keyvault.KeyId = KEY, empty: bool = False, known: bool = True) -> Finding:
    client, _asked = cloud(*(answers or (answer({}),)))
    purse, notes = Purse(empty), Notes(compute={"subscriptionId": "s-1"} if known else {})
    found = alone(services.vault_properties(wanted(vault_uri=VAULT), one, client, purse, notes))
    assert "sentinel" not in str(found) and set(purse.asked) <= {"https://management.azure.com"}
    return found


def listed(name: str = "MyVault", sku: str = "premium", rbac: bool = True) -> Answer:
    members = {"sku": {"name": sku}, "enableRbacAuthorization": rbac}
    return answer({"value": ["?", {"name": name}, {"name": name, "properties": members}]})


def test_properties_of_the_vault_where_they_can_be_read() -> None:
    assert "SKU premium; Azure RBAC decides" in properties(listed()).found
    assert properties(listed(rbac=False)).facts["permission_model"] == "access_policy"
    assert properties(listed(sku="standard")).code == "vault_sku"
    for unread in (
        properties(answer({}, 403)), properties(listed("other")), properties(empty=True), properties(known=False),
        properties(HTML), properties(one=HSM),
    ):  # fmt: skip
        assert unread.severity == "skipped"


def test_dates_of_answers() -> None:
    now = 1_800_000_000.0
    assert patient.skew_of("Fri, 15 Jan 2027 08:00:00 GMT", now, now + 1) == 0.0
    assert patient.skew_of("Fri, 15 Jan 2027 08:10:00 GMT", now, now + 1) == 600.0
    for text in ("", "soon", "Fri, 99 Jan 2027 08:00:00 GMT"):
        assert patient.skew_of(text, now, now) is None
