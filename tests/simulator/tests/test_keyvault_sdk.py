# SPDX-License-Identifier: GPL-3.0-or-later
"""The unmodified azure-keyvault-keys against the simulated vault, through TLS and the proxy door."""

from __future__ import annotations

import datetime
import json
import typing as t

import pytest
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.identity import ClientSecretCredential
from azure.keyvault.keys import (
    JsonWebKey,
    KeyClient,
    KeyReleasePolicy,
    KeyRotationLifetimeAction,
    KeyRotationPolicy,
    KeyRotationPolicyAction,
)
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from vault_caller import HASHES, POLICY, VaultLab, rsa_key, unb64u, unwrapped

from skrsim.core.app import App
from skrsim.core.faults import Fault
from skrsim.core.running import Running

pytestmark = pytest.mark.usefixtures("clean_environment")
JSON = json.dumps(POLICY).encode()


class Sdk:
    """The SDK's client of one vault for the officer, with nothing switched off."""

    def __init__(self, lab: VaultLab, running: Running) -> None:
        self.lab, self.running = lab, running
        self.client = self.made("officer")

    def made(self, name: str, **more: t.Any) -> KeyClient:
        principal = next(p for p in self.lab.world.principals.values() if p.name == name)
        door = {"proxies": {"https": self.running.proxy_url()}, "connection_verify": str(self.running.bundle)}
        credential = ClientSecretCredential(
            self.lab.world.tenant_id, principal.app_id, str(principal.secret), disable_instance_discovery=True, **door
        )
        return KeyClient("https://v.vault.azure.net/", credential, **door, **more)

    def exportable(self, name: str = "app", **more: t.Any) -> t.Any:
        return self.client.create_ec_key(
            name, hardware_protected=True, exportable=True, release_policy=KeyReleasePolicy(JSON), **more
        )


@pytest.fixture
def sdk(app: App, running: Running) -> Sdk:
    return Sdk(VaultLab(app, sockets=True), running)


def test_the_first_request_is_challenged_and_only_the_second_carries_the_body(sdk: Sdk) -> None:
    sdk.exportable()
    seen = sdk.lab.world.audit.records(service="keyvault")
    assert [(r["operation"], r["status"], r["clause"].split()[0]) for r in seen] == [
        ("key_create", 401, "vault.challenge"),
        ("key_create", 200, "role"),
    ]


def test_create_read_update_rotate_and_list(sdk: Sdk) -> None:
    made = sdk.exportable(tags={"a": "1"})
    assert made.properties.exportable is True
    assert made.properties.recovery_level == "Recoverable+Purgeable"
    read = sdk.client.get_key("app")
    assert read.id == made.id
    assert json.loads(read.properties.release_policy.encoded_policy)["anyOf"][0]["allOf"][3]["equals"] == "true"
    assert read.properties.release_policy.content_type == "application/json; charset=utf-8"
    assert read.properties.release_policy.immutable is False
    assert sdk.client.get_key("app", made.properties.version).id == made.id

    changed = {**POLICY, "anyOf": [{**POLICY["anyOf"][0], "authority": "https://b.example"}]}
    expires = datetime.datetime(2033, 5, 18, 3, 33, 20, tzinfo=datetime.timezone.utc)
    policy = KeyReleasePolicy(json.dumps(changed).encode())
    updated = sdk.client.update_key_properties("app", release_policy=policy, expires_on=expires, tags={})
    assert updated.properties.expires_on == expires
    assert updated.properties.tags == {}
    assert b"https://b.example" in updated.properties.release_policy.encoded_policy

    rotated = sdk.client.rotate_key("app")
    assert rotated.properties.version != made.properties.version
    assert rotated.properties.release_policy.encoded_policy == updated.properties.release_policy.encoded_policy
    versions = {found.version for found in sdk.client.list_properties_of_key_versions("app")}
    assert versions == {made.properties.version, rotated.properties.version}
    (listed,) = sdk.client.list_properties_of_keys()
    assert (listed.name, listed.exportable, listed.release_policy) == ("app", True, None)


def test_rsa_keys_and_their_exponent(sdk: Sdk) -> None:
    made = sdk.client.create_rsa_key("app", size=2048, hardware_protected=True)
    assert made.key_type == "RSA-HSM"
    assert bytes(made.key.e) == b"\0\1\0\1"
    assert len(made.key.n) == 256


def test_lists_follow_the_pages(sdk: Sdk) -> None:
    for number in range(27):
        sdk.lab.key(f"k{number:02}", private=rsa_key("shared"))
    assert [found.name for found in sdk.client.list_properties_of_keys()] == [f"k{number:02}" for number in range(27)]
    pages = sdk.client.list_properties_of_keys(max_page_size=10).by_page()
    assert [len(list(page)) for page in pages] == [10, 10, 7]


def test_import(sdk: Sdk) -> None:
    private = rsa_key("mine").private_numbers()
    names = {"d": private.d, "p": private.p, "q": private.q, "dp": private.dmp1, "dq": private.dmq1, "qi": private.iqmp}
    names |= {"n": private.public_numbers.n, "e": private.public_numbers.e}
    material = {name: value.to_bytes((value.bit_length() + 7) // 8, "big") for name, value in names.items()}
    made = sdk.client.import_key(
        "app",
        JsonWebKey(kty="RSA", key_ops=["sign"], **material),
        hardware_protected=True,
        exportable=True,
        release_policy=KeyReleasePolicy(JSON),
    )
    assert (made.key_type, made.key_operations, made.key.n) == ("RSA-HSM", ["sign"], material["n"])


def test_delete_recover_and_purge(sdk: Sdk) -> None:
    made = sdk.exportable()
    deletion = sdk.client.begin_delete_key("app", _polling_interval=0)
    deletion.wait()
    deleted = deletion.result()
    assert (deleted.name, deleted.recovery_id) == ("app", "https://v.vault.azure.net/deletedkeys/app")
    (listed,) = sdk.client.list_deleted_keys()
    assert (listed.name, listed.recovery_id, listed.deleted_date) == ("app", deleted.recovery_id, deleted.deleted_date)
    with pytest.raises(ResourceNotFoundError):
        sdk.client.get_key("app")
    with pytest.raises(ResourceExistsError) as conflict:
        sdk.exportable()
    assert conflict.value.error.innererror == {"code": "ObjectIsDeletedButRecoverable"}
    recovery = sdk.client.begin_recover_deleted_key("app", _polling_interval=0)
    recovery.wait()
    assert sdk.client.get_key("app").id == made.id
    sdk.client.begin_delete_key("app", _polling_interval=0).wait()
    sdk.client.purge_deleted_key("app")
    with pytest.raises(ResourceNotFoundError):
        sdk.client.get_deleted_key("app")
    assert list(sdk.client.list_deleted_keys()) == []


def test_rotation_policy(sdk: Sdk) -> None:
    sdk.exportable()
    (default,) = sdk.client.get_key_rotation_policy("app").lifetime_actions
    assert (default.action, default.time_before_expiry) == (KeyRotationPolicyAction.notify, "P30D")
    action = KeyRotationLifetimeAction(KeyRotationPolicyAction.rotate, time_after_create="P18M")
    sdk.client.update_key_rotation_policy("app", KeyRotationPolicy(), lifetime_actions=[action], expires_in="P2Y")
    found = sdk.client.get_key_rotation_policy("app")
    assert found.expires_in == "P2Y"
    assert (found.lifetime_actions[0].action, found.lifetime_actions[0].time_after_create) == ("Rotate", "P18M")


def test_refusals_arrive_as_the_sdk_shows_them(sdk: Sdk) -> None:
    with pytest.raises(HttpResponseError) as caught:
        sdk.client.create_rsa_key("app", size=2048, hardware_protected=True, exportable=True)
    assert (caught.value.status_code, caught.value.error.code) == (400, "BadParameter")
    assert caught.value.error.message == "AKV.SKR.1004: Exportable keys must have release policy."
    sdk.lab.application("stranger")
    with pytest.raises(HttpResponseError) as forbidden:
        sdk.made("stranger").get_key("app")
    assert (forbidden.value.status_code, forbidden.value.error.innererror) == (403, {"code": "ForbiddenByRbac"})
    sdk.lab.vault.network_acls = {"defaultAction": "Deny"}
    with pytest.raises(HttpResponseError) as walled:
        sdk.made("officer").get_key("app")
    assert walled.value.error.innererror == {"code": "ForbiddenByFirewall"}


@pytest.mark.parametrize("version", ["7.3", "7.4", "7.5", "7.6", "2025-07-01"])
def test_every_api_version_from_7_3_can_make_and_read_exportable_keys(sdk: Sdk, version: str) -> None:
    client = sdk.made("officer", api_version=version)
    client.create_ec_key("app", hardware_protected=True, exportable=True, release_policy=KeyReleasePolicy(JSON))
    assert client.get_key("app").properties.exportable is True
    assert client.rotate_key("app").properties.exportable is True


def _payload(value: str) -> dict[str, t.Any]:
    payload: dict[str, t.Any] = json.loads(unb64u(value.split(".")[1]))
    return payload


def test_release_with_every_algorithm(sdk: Sdk) -> None:
    made = sdk.client.create_rsa_key(
        "app", size=2048, hardware_protected=True, exportable=True, release_policy=KeyReleasePolicy(JSON)
    )
    token = sdk.lab.authority.token()
    for algorithm in HASHES:
        for version in (None, made.properties.version):
            released = sdk.client.release_key("app", token, version=version, algorithm=algorithm, nonce="n")
            payload = _payload(released.value)
            asked = "https://v.vault.azure.net/keys/app" + (f"/{version}" if version else "")
            assert payload["request"] == {
                "api-version": "2025-07-01",
                "enc": algorithm,
                "kid": asked,
                "nonce": "n",
            }
            private: rsa.RSAPrivateKey = unwrapped(json.loads(unb64u(payload["response"]["key"]["key"]["key_hsm"])))
            numbers = private.public_key().public_numbers()
            assert numbers.n == int.from_bytes(made.key.n, "big")
            assert payload["response"]["key"]["key"]["kid"] == made.id
    assert _payload(sdk.client.release_key("app", token).value)["request"]["enc"] == "CKM_RSA_AES_KEY_WRAP"
    fetched = sdk.lab.world.audit.records(service="authority")
    assert {(r["host"], r["operation"]) for r in fetched} == {
        ("authority.example", "openid"),
        ("authority.example", "certs"),
    }


def test_a_refused_release_is_an_error_of_the_sdk(sdk: Sdk) -> None:
    sdk.exportable()
    with pytest.raises(HttpResponseError) as caught:
        sdk.client.release_key("app", sdk.lab.authority.token(secureboot=False))
    assert caught.value.status_code == 403
    assert caught.value.error.code == "Forbidden"
    assert caught.value.error.message == (
        "Target environment attestation does not meet key release policy requirements."
    )
    assert caught.value.error.innererror == {"code": "AccessDenied"}


def test_an_authority_whose_connection_breaks_verifies_nothing(sdk: Sdk) -> None:
    sdk.exportable()
    token = sdk.lab.authority.token()
    for action in ("reset", "reset_mid_body", "truncate_json", "html", "redirect", "status"):
        for operation in ("openid", "certs"):
            sdk.lab.world.faults.add(Fault(action, "authority", operation, times=1))
            with pytest.raises(HttpResponseError, match="cannot be verified"):
                sdk.client.release_key("app", token)
    assert sdk.client.release_key("app", token).value


def test_the_released_key_is_a_usable_private_key(sdk: Sdk) -> None:
    sdk.exportable()
    payload = _payload(sdk.client.release_key("app", sdk.lab.authority.token()).value)
    private = unwrapped(json.loads(unb64u(payload["response"]["key"]["key"]["key_hsm"])))
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    assert pem.startswith(b"-----BEGIN PRIVATE KEY-----")
