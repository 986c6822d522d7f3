# SPDX-License-Identifier: GPL-3.0-or-later
"""The release call, and what each of the vault's refusals means to a user."""

from __future__ import annotations

import json
import typing as t

import pytest
from unit.guest.release_fakes import KID, VAULT, VAULT_HOST, VERSION, Site, answer, refused

from ansible_collections.confidential.azure_skr.plugins.module_utils.guest import keyvault
from ansible_collections.confidential.azure_skr.plugins.module_utils.guest.http import Http, Reply

OID = "0a1b2c3d-0000-4000-8000-00000000beef"
KEY = keyvault.KeyId(VAULT, "app", VERSION)


# --- options


def test_a_key_is_put_together_from_its_options() -> None:
    key = keyvault.key_id(f"{VAULT.replace('my', 'MY')}/", None, "app", None)
    assert key.kid == f"{VAULT}/keys/app" and key.host == VAULT_HOST
    assert keyvault.key_id(VAULT, None, "app", VERSION).kid == KID
    assert keyvault.key_id(VAULT, None, "app", "").version is None


@pytest.mark.parametrize(
    ("host", "audience"),
    [
        ("myvault.vault.azure.net", "https://vault.azure.net"),
        ("myhsm.managedhsm.azure.net", "https://managedhsm.azure.net"),
        ("myvault.vault.usgovcloudapi.net", "https://vault.usgovcloudapi.net"),
        ("myvault.vault.azure.cn", "https://vault.azure.cn"),
    ],
)
def test_the_token_is_for_the_vaults_own_domain(host: str, audience: str) -> None:
    hsm = "managedhsm" in host
    key = keyvault.key_id(None if hsm else f"https://{host}", f"https://{host}" if hsm else None, "app", None)
    assert (key.audience, key.is_hsm) == (audience, hsm)


@pytest.mark.parametrize(
    ("vault", "name", "version", "option"),
    [
        ("http://myvault.vault.azure.net", "app", None, "vault_uri"),
        ("myvault", "app", None, "vault_uri"),
        ("https://myhsm.managedhsm.azure.net", "app", None, "vault_uri"),
        ("https://myvault", "app", None, "vault_uri"),
        ("https://myvault.vault.azure.net/keys/app", "app", None, "vault_uri"),
        ("https://u:sentinel@myvault.vault.azure.net", "app", None, "vault_uri"),
        ("https://[myvault.vault.azure.net", "app", None, "vault_uri"),
        (VAULT, "", None, "key_name"),
        (VAULT, "a/b", None, "key_name"),
        (VAULT, "a" * 128, None, "key_name"),
        (VAULT, "app\n", None, "key_name"),
        (VAULT, "app", "latest", "key_version"),
        (VAULT, "app", VERSION.upper(), "key_version"),
    ],
)
def test_options_that_cannot_work(vault: str, name: str, version: t.Optional[str], option: str) -> None:
    with refused("invalid_input") as info:
        keyvault.key_id(vault, None, name, version)
    assert info.value.facts == {"option": option} and option in info.value.message
    assert "sentinel" not in info.value.message


# --- the call


def release(site: Site, version: t.Optional[str] = VERSION, slept: t.Optional[t.List[float]] = None) -> str:
    http = Http(local=True, sleep=[].append if slept is None else slept.append)
    key = keyvault.KeyId(site.url, "app", version)
    return keyvault.release(http, key, "sentinel-access", "sentinel-target", "RSA_AES_KEY_WRAP_256", "n-1")


@pytest.mark.parametrize(("version", "path"), [(VERSION, f"/keys/app/{VERSION}/release"), (None, "/keys/app/release")])
def test_asks_as_documented(version: t.Optional[str], path: str) -> None:
    with Site(answer({"value": "a.b.c"})) as site:
        assert release(site, version) == "a.b.c"
    asked = site.asked[0]
    assert (asked.method, asked.path) == ("POST", f"{path}?api-version=7.4")
    assert asked.headers["authorization"] == "Bearer sentinel-access"
    assert (asked.headers["content-type"], asked.headers["accept"]) == ("application/json", "application/json")
    wanted = {"target": "sentinel-target", "enc": "RSA_AES_KEY_WRAP_256", "nonce": "n-1"}
    assert json.loads(asked.body) == wanted


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"{}", b"[]", b'{"value": 1}', b'{"value": ""}', b'{"value": "a.b"}', b'{"value": "a.b.c.d"}'],
)
def test_an_answer_that_is_no_jws(body: bytes) -> None:
    with Site((200, {}, body)) as site, refused("response_malformed"):
        release(site)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_throttling_and_server_errors_are_tried_again(status: int) -> None:
    slept: t.List[float] = []
    with Site(answer({}, status, Retry_After="3"), answer({"value": "a.b.c"})) as site:
        assert release(site, slept=slept) == "a.b.c"
    assert len(site.asked) == 2 and slept[0] >= 3


@pytest.mark.parametrize(("status", "reason"), [(429, "throttled"), (503, "service_error")])
def test_lasting_throttling(status: int, reason: str) -> None:
    with Site(answer({"error": {"code": "Throttled", "message": "m"}}, status)) as site, refused(reason) as info:
        release(site)
    assert len(site.asked) == 5 and info.value.facts["code"] == "Throttled"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409])
def test_refusals_are_not_tried_again_and_quote_no_token(status: int) -> None:
    with Site(answer({"error": {"code": "x", "message": "m"}}, status)) as site:
        with pytest.raises(keyvault.SkrFailure) as info:
            release(site)
    assert len(site.asked) == 1 and "sentinel" not in json.dumps(info.value.as_result())


def test_a_redirect_is_refused_and_the_token_goes_nowhere_else() -> None:
    with Site(answer({"value": "a.b.c"})) as other, Site((308, {"Location": f"{other.url}/x"}, b"")) as site:
        with refused("redirect_refused"):
            release(site)
    assert not other.asked


# --- refusals


def refusal(status: int, code: str, message: str, inner: str = "") -> keyvault.SkrFailure:
    error: t.Dict[str, t.Any] = {"code": code, "message": message}
    if inner:
        error["innererror"] = {"code": inner}
    reply = Reply(status, {"x-ms-request-id": "r-5"}, json.dumps({"error": error}).encode())
    return keyvault.refusal(reply, KEY)


NO_PERMISSION = (
    f"The user, group or application 'appid=11111111-0000-4000-8000-000000000000;oid={OID};iss=https://sts.windows.net/t/' "
    "does not have keys release permission on key vault 'myvault;location=westeurope'. For help resolving this issue, please see x"
)
NO_ROLE = (
    "Caller is not authorized to perform action on resource.\r\nIf role assignments, deny assignments or role definitions were "
    f"changed recently, please observe propagation time.\r\nCaller: appid=11111111-0000-4000-8000-000000000000;oid={OID};iss=x\r\n"
    "Action: 'Microsoft.KeyVault/vaults/keys/release/action'\r\nResource: '/subscriptions/s/keys/app'\r\nAssignment: (not found)"
)
FIREWALL = (
    "Client address is not authorized and caller is not a trusted service.\r\nClient address: 203.0.113.9\r\nCaller: x\r\n"
    "Vault: myvault;location=westeurope"
)
PRIVATE = (
    "Public network access is disabled and request is not from a trusted service nor via an approved private link."
)
UNVERIFIED = "Target environment attestation statement cannot be verified."
UNMET = "Target environment attestation does not meet key release policy requirements."
DISABLED = "Operation release is not allowed on a disabled key."
NOT_EXPORTABLE = "Operation release is not allowed on a non-exportable key."


@pytest.mark.parametrize(
    ("status", "code", "message", "inner", "reason"),
    [
        (401, "Unauthorized", "AKV10022: Invalid audience.", "", "vault_token_rejected"),
        (401, "Unauthorized", "AKV10032: Invalid issuer.", "", "vault_token_rejected"),
        (403, "Forbidden", UNVERIFIED, "AccessDenied", "attestation_not_verified"),
        (403, "Forbidden", UNMET, "AccessDenied", "policy_not_met"),
        (403, "Forbidden", NO_PERMISSION, "AccessDenied", "permission_missing"),
        (403, "Forbidden", NO_ROLE, "ForbiddenByRbac", "permission_missing"),
        (403, "Forbidden", FIREWALL, "ForbiddenByFirewall", "vault_firewall"),
        (403, "Forbidden", PRIVATE, "ForbiddenByConnection", "vault_firewall"),
        (403, "Forbidden", DISABLED, "KeyDisabled", "key_disabled"),
        (403, "Forbidden", DISABLED, "", "key_disabled"),
        (403, "Forbidden", NOT_EXPORTABLE, "KeyNotExportable", "key_not_exportable"),
        (400, "BadParameter", NOT_EXPORTABLE, "", "key_not_exportable"),
        (400, "BadParameter", "The algorithm 'x' is not valid.", "", "release_bad_request"),
        (403, "Forbidden", "Something new.", "", "service_error"),
        (404, "KeyNotFound", "A key with (name/id) app was not found in this key vault.", "", "key_not_found"),
        (429, "Throttled", "Request was not processed.", "VaultRequestTypeLimitReached", "throttled"),
        (500, "InternalError", "An internal error occurred.", "", "service_error"),
        (418, "Teapot", "", "", "service_error"),
    ],
)
def test_every_refusal_has_its_reason(status: int, code: str, message: str, inner: str, reason: str) -> None:
    failure = refusal(status, code, message, inner)
    assert failure.reason == reason
    facts = {name: failure.facts[name] for name in ("status", "code", "inner_code", "message", "request_id", "kid")}
    assert facts == {
        "status": status,
        "code": code,
        "inner_code": inner,
        "message": message,
        "request_id": "r-5",
        "kid": KID,
    }


def test_a_missing_permission_names_principal_permission_and_vault() -> None:
    failure = refusal(403, "Forbidden", NO_PERMISSION, "AccessDenied")
    assert OID in failure.message and "'release'" in failure.message and VAULT_HOST in failure.message
    assert failure.facts["principal_id"] == OID and failure.facts["model"] == "access_policy"


def test_a_missing_role_names_principal_role_and_key() -> None:
    failure = refusal(403, "Forbidden", NO_ROLE, "ForbiddenByRbac")
    assert OID in failure.message and "Key Vault Crypto Service Release User" in failure.message
    assert KID in failure.message
    assert failure.facts["principal_id"] == OID and failure.facts["model"] == "rbac"


def test_a_firewall_names_the_address_the_service_saw() -> None:
    failure = refusal(403, "Forbidden", FIREWALL, "ForbiddenByFirewall")
    assert failure.facts["address"] == "203.0.113.9" and "203.0.113.9" in failure.message


def test_an_unmet_policy_is_a_security_event_and_others_are_not() -> None:
    assert refusal(403, "Forbidden", UNMET, "AccessDenied").facts["security_event"] is True
    assert "security_event" not in refusal(403, "Forbidden", NO_ROLE, "ForbiddenByRbac").facts


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b"{}", b'{"error": "text"}', b'{"error": {"innererror": "text"}}', b'{"error": null}'],
)
@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500])
def test_refusals_of_any_shape_are_reported(body: bytes, status: int) -> None:
    failure = keyvault.refusal(Reply(status, {}, body), KEY)
    assert failure.facts["status"] == status


@pytest.mark.parametrize(
    "body", [b"[" * 100000, b'{"error":' * 100000, b'{"error": {"code": NaN}}', b'{"value": "\\ud800"}']
)
def test_an_answer_that_is_hardly_json(body: bytes) -> None:
    with Site((200, {}, body)) as site, refused("response_malformed"):
        release(site)
    with Site((404, {}, body)) as site, refused("key_not_found"):
        release(site)
