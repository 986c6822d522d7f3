# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys of a vault: the rules of exportable keys, versions, rotation, deletion."""

from __future__ import annotations

import asyncio
import copy
import json
import typing as t

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from vault_caller import POLICY, Answer, VaultLab, b64u, release_policy, rsa_key, unb64u

from skrsim.core.app import App
from skrsim.core.messages import Request

STORED = (
    '{"version":"1.0.0","anyOf":[{"authority":"https://authority.example/","allOf":['
    '{"claim":"x-ms-isolation-tee.x-ms-attestation-type","equals":"sevsnpvm"},'
    '{"claim":"x-ms-isolation-tee.x-ms-compliance-status","equals":"azure-compliant-cvm"},'
    '{"claim":"x-ms-isolation-tee.x-ms-sevsnpvm-is-debuggable","equals":"false"},'
    '{"claim":"secureboot","equals":"true"}]}]}'
)
OTHER = {**POLICY, "anyOf": [{"authority": "https://b.example", "allOf": [{"claim": "secureboot", "equals": True}]}]}
EXPORTABLE = {"kty": "EC-HSM", "attributes": {"exportable": True}, "release_policy": release_policy()}


@pytest.fixture
def lab(app: App) -> VaultLab:
    return VaultLab(app)


def create(lab: VaultLab, name: str = "app", **members: t.Any) -> Answer:
    api = members.pop("api", "2025-07-01")
    return lab("POST", f"/keys/{name}/create", {**copy.deepcopy(EXPORTABLE), **members}, api=api)


def says(answer: Answer, number: int, text: str) -> None:
    assert answer.status == 400
    assert answer.document == {"error": {"code": "BadParameter", "message": f"AKV.SKR.{number}: {text}"}}
    assert answer.clause == f"vault.AKV.SKR.{number}"
    assert answer.audit["write"] is False


# --- what a key looks like


def test_an_exportable_key_is_shown_as_the_service_shows_it(lab: VaultLab) -> None:
    answer = create(lab, kty="RSA-HSM", key_size=2048, tags={"team": "blue"}, key_ops=["encrypt", "decrypt"])
    assert (answer.status, answer.audit["write"]) == (200, True)
    key = answer.document["key"]
    version = key["kid"].rpartition("/")[2]
    assert key["kid"] == f"https://v.vault.azure.net/keys/app/{version}" and len(version) == 32
    assert (key["kty"], key["e"], key["key_ops"]) == ("RSA-HSM", "AAEAAQ", ["encrypt", "decrypt"])
    assert len(unb64u(key["n"])) == 256
    attributes = answer.document["attributes"]
    assert attributes == {
        "enabled": True,
        "created": attributes["created"],
        "updated": attributes["created"],
        "recoveryLevel": "Recoverable+Purgeable",
        "recoverableDays": 90,
        "exportable": True,
    }
    assert abs(attributes["created"] - lab.world.clock.now()) < 5
    assert answer.document["tags"] == {"team": "blue"}
    assert answer.document["release_policy"] == {
        "contentType": "application/json; charset=utf-8",
        "data": b64u(STORED.encode()),
        "immutable": False,
    }
    for path in ("/keys/app", "/keys/app/", "/keys/APP", f"/keys/app/{version}", f"/keys/app/{version.upper()}/"):
        assert lab("GET", path).document == answer.document, path


def test_an_ordinary_key_has_neither_the_attribute_nor_a_policy(lab: VaultLab) -> None:
    answer = lab("POST", "/keys/plain/create", {"kty": "EC"})
    assert answer.status == 200
    assert "exportable" not in answer.document["attributes"]
    assert "release_policy" not in answer.document
    assert answer.document["key"]["key_ops"] == ["sign", "verify"]


@pytest.mark.parametrize(
    ("days", "protected", "level"),
    [
        (90, False, "Recoverable+Purgeable"),
        (90, True, "Recoverable"),
        (7, False, "CustomizedRecoverable+Purgeable"),
        (30, True, "CustomizedRecoverable"),
    ],
)
def test_the_recovery_level_follows_the_vault(lab: VaultLab, days: int, protected: bool, level: str) -> None:
    lab.vault.retention_days, lab.vault.purge_protection = days, protected
    attributes = create(lab).document["attributes"]
    assert (attributes["recoveryLevel"], attributes["recoverableDays"]) == (level, days)


@pytest.mark.parametrize("size", [2048, 3072])
def test_sizes_of_rsa_keys(lab: VaultLab, size: int) -> None:
    answer = create(lab, kty="RSA-HSM", key_size=size)
    assert len(unb64u(answer.document["key"]["n"])) * 8 == size


@pytest.mark.parametrize(("curve", "length"), [("P-256", 32), ("P-256K", 32), ("P-384", 48), ("P-521", 66), (None, 32)])
def test_curves(lab: VaultLab, curve: str | None, length: int) -> None:
    key = create(lab, **({"crv": curve} if curve else {})).document["key"]
    assert key["crv"] == (curve or "P-256")
    assert (len(unb64u(key["x"])), len(unb64u(key["y"]))) == (length, length)


@pytest.mark.parametrize(
    "members",
    [
        {"kty": "RSA-HSM", "key_size": 1024},
        {"kty": "RSA-HSM", "key_size": 2049},
        {"kty": "RSA-HSM", "key_size": "2048"},
        {"crv": "P-255"},
        {"kty": "oct-HSM"},
        {"kty": "rsa"},
        {"kty": None},
        {"release_policy": release_policy({"anyOf": POLICY["anyOf"]})},
    ],
)
def test_a_key_that_cannot_be_made_leaves_nothing_behind(lab: VaultLab, members: dict[str, t.Any]) -> None:
    answer = create(lab, **members)
    assert (answer.status, answer.document["error"]["code"]) == (400, "BadParameter")
    assert not answer.message.startswith("AKV.SKR")
    assert lab("GET", "/keys/app").status == 404


# --- the rules of exportable keys


def test_exportable_keys_exist_in_premium_vaults_only(lab: VaultLab) -> None:
    lab.vault.sku = "standard"
    text = "The exportable attribute is only supported with premium vaults and API version >= '7.3-preview'."
    for kty in ("RSA-HSM", "EC-HSM", "RSA"):
        says(create(lab, kty=kty), 1001, text)
    ordinary = lab("POST", "/keys/plain/create", {"kty": "RSA-HSM"})
    assert ordinary.status == 400 and "AKV.SKR" not in ordinary.message
    assert lab("POST", "/keys/plain/create", {"kty": "EC"}).status == 200


@pytest.mark.parametrize("api", ["2016-10-01", "7.0", "7.2"])
def test_exportable_keys_need_api_version_7_3(lab: VaultLab, api: str) -> None:
    text = "The exportable attribute is only supported with premium vaults and API version >= '7.3-preview'."
    says(create(lab, api=api), 1001, text)
    assert create(lab, api="7.3").status == 200


def test_exportable_and_policy_need_each_other_and_a_hardware_key(lab: VaultLab) -> None:
    says(create(lab, release_policy=None), 1004, "Exportable keys must have release policy.")
    says(create(lab, attributes={}), 1005, "Non-exportable keys must not have release policy.")
    says(create(lab, attributes={"exportable": False}), 1005, "Non-exportable keys must not have release policy.")
    for kty in ("RSA", "EC"):
        says(create(lab, kty=kty), 1006, "The exportable attribute requires an HSM key type.")
    assert lab.world.keys == {}


def test_exportable_is_for_ever(lab: VaultLab) -> None:
    text = "The exportable attribute of an existing key cannot be changed."
    create(lab)
    lab("POST", "/keys/plain/create", {"kty": "EC-HSM"})
    says(lab("PATCH", "/keys/app/", {"attributes": {"exportable": False}}), 1003, text)
    says(lab("PATCH", "/keys/plain/", {"attributes": {"exportable": True}}), 1003, text)
    says(create(lab, attributes={}, release_policy=None), 1003, text)
    says(create(lab, name="plain"), 1003, text)
    assert lab("PATCH", "/keys/app/", {"attributes": {"exportable": True}}).status == 200
    says(
        lab("PATCH", "/keys/plain", {"release_policy": release_policy()}),
        1005,
        "Non-exportable keys must not have release policy.",
    )


def test_another_version_by_create_is_checked_like_a_new_key(lab: VaultLab) -> None:
    first = create(lab).document
    says(create(lab, release_policy=None), 1004, "Exportable keys must have release policy.")
    second = create(lab, name="APP", release_policy=release_policy(OTHER)).document
    assert second["key"]["kid"].startswith("https://v.vault.azure.net/keys/app/")
    assert second["key"]["kid"] != first["key"]["kid"]
    shown = lab("GET", first["key"]["kid"].removeprefix("https://v.vault.azure.net")).document
    assert shown["release_policy"] == second["release_policy"], "the policy belongs to the key"


def test_a_policy_is_replaced_on_the_versionless_key_only(lab: VaultLab) -> None:
    kid = create(lab).document["key"]["kid"].removeprefix("https://v.vault.azure.net")
    body = {"release_policy": release_policy(OTHER, contentType="application/json")}
    says(lab("PATCH", kid, body), 1016, "Key Release Policy can only be set on versionless key")
    for path in ("/keys/app", "/keys/app/"):
        shown = lab("PATCH", path, body).document["release_policy"]
        assert json.loads(unb64u(shown["data"])) == {
            "version": "1.0.0",
            "anyOf": [{"authority": "https://b.example", "allOf": [{"claim": "secureboot", "equals": "true"}]}],
        }
        assert (shown["contentType"], shown["immutable"]) == ("application/json", False)


def test_an_immutable_policy_stays(lab: VaultLab) -> None:
    text = "Immutable Key Release Policy cannot be modified."
    create(lab)
    assert lab("PATCH", "/keys/app", {"release_policy": release_policy(immutable=True)}).status == 200
    before = lab("GET", "/keys/app").document
    assert before["release_policy"]["immutable"] is True
    says(lab("PATCH", "/keys/app", {"release_policy": release_policy(OTHER)}), 1020, text)
    says(create(lab, release_policy=release_policy(OTHER)), 1020, text)
    same = lab("PATCH", "/keys/app", {"release_policy": release_policy(immutable=False)})
    assert same.status == 200 and same.document["release_policy"] == before["release_policy"]
    assert lab("PATCH", "/keys/app", {"tags": {"a": "b"}}).document["release_policy"] == before["release_policy"]
    assert lab("POST", "/keys/app/rotate").document["release_policy"] == before["release_policy"]


def test_an_update_changes_what_it_names_and_nothing_else(lab: VaultLab) -> None:
    before = create(lab, tags={"a": "1"}, attributes={"exportable": True, "nbf": 1}).document
    lab.world.clock.advance(100)
    after = lab(
        "PATCH", "/keys/app/", {"attributes": {"enabled": False, "exp": 2000000000}, "key_ops": ["sign"]}
    ).document
    assert after["attributes"]["updated"] >= before["attributes"]["updated"] + 100
    assert {**after["attributes"], "updated": 0} == {
        **before["attributes"],
        "updated": 0,
        "enabled": False,
        "exp": 2000000000,
    }
    assert after["key"] == {**before["key"], "key_ops": ["sign"]}
    assert after["tags"] == {"a": "1"}
    assert lab("PATCH", "/keys/app/", {"tags": {}}).document["tags"] == {}


def test_one_version_can_be_disabled_alone(lab: VaultLab) -> None:
    key = lab.key("app", versions=2)
    old, new = (version.version for version in key.versions)
    assert lab("PATCH", f"/keys/app/{old}", {"attributes": {"enabled": False}}).status == 200
    assert lab("GET", f"/keys/app/{old}").document["attributes"]["enabled"] is False
    assert lab("GET", f"/keys/app/{new}").document["attributes"]["enabled"] is True


# --- versions and lists


def test_rotation_makes_a_version_with_everything_else_kept(lab: VaultLab) -> None:
    before = create(lab, tags={"a": "1"}, key_ops=["sign"], attributes={"exportable": True, "exp": 2000000000}).document
    lab.world.clock.advance(10)
    after = lab("POST", "/keys/app/rotate").document
    fresh = {"kid", "x", "y"}
    assert all(after["key"][name] != before["key"][name] for name in fresh)
    assert {k: v for k, v in after["key"].items() if k not in fresh} == {
        k: v for k, v in before["key"].items() if k not in fresh
    }
    assert after["attributes"]["created"] >= before["attributes"]["created"] + 10
    times = {"created": 0, "updated": 0}
    assert after["attributes"] | times == before["attributes"] | times
    assert (after["tags"], after["release_policy"]) == (before["tags"], before["release_policy"])
    assert lab("GET", "/keys/app").document == after


def test_rotation_of_an_rsa_key_keeps_its_size(lab: VaultLab) -> None:
    lab.key("app", private=rsa.generate_private_key(65537, 3072))
    assert len(unb64u(lab("POST", "/keys/app/rotate").document["key"]["n"])) == 384


def test_the_default_rotation_policy_exists_and_can_be_replaced(lab: VaultLab) -> None:
    lab.key()
    default = lab("GET", "/keys/app/rotationpolicy").document
    assert default == {
        "id": "https://v.vault.azure.net/keys/app/rotationpolicy",
        "lifetimeActions": [{"trigger": {"timeBeforeExpiry": "P30D"}, "action": {"type": "Notify"}}],
        "attributes": {},
    }
    wanted = {
        "lifetimeActions": [{"trigger": {"timeAfterCreate": "P18M"}, "action": {"type": "Rotate"}}],
        "attributes": {"expiryTime": "P2Y"},
    }
    put = lab("PUT", "/keys/app/rotationpolicy", wanted)
    assert (put.status, put.audit["write"]) == (200, True)
    assert put.document == lab("GET", "/keys/app/rotationpolicy").document == {"id": default["id"], **wanted}
    assert lab("GET", "/keys/none/rotationpolicy").status == 404


def test_lists_come_in_pages_of_25_without_policy_and_operations(lab: VaultLab) -> None:
    for number in range(60):
        lab.key(f"k{number:02}", private=rsa_key("shared"))
    lab.world.keys["v2", "x"] = lab.world.keys["v", "k00"]
    found, sizes = lab.paged("/keys")
    assert sizes == [25, 25, 10]
    assert [item["kid"] for item in found] == [f"https://v.vault.azure.net/keys/k{n:02}" for n in range(60)]
    assert set(found[0]) == {"kid", "attributes", "tags"}
    assert found[0]["attributes"]["exportable"] is True
    assert lab.paged("/keys?maxresults=20")[1] == [20, 20, 20]


def test_versions_are_listed_in_pages_and_not_in_order_of_age(lab: VaultLab) -> None:
    key = lab.key("app", versions=30, private=rsa_key("shared"))
    found, sizes = lab.paged("/keys/app/versions")
    assert sizes == [25, 5]
    shown = [item["kid"] for item in found]
    assert sorted(shown) == sorted(f"https://v.vault.azure.net/keys/app/{v.version}" for v in key.versions)
    assert shown != [f"https://v.vault.azure.net/keys/app/{v.version}" for v in key.versions]
    assert lab("GET", "/keys/none/versions").status == 404


def test_creating_one_name_at_once_makes_versions_of_one_key(lab: VaultLab) -> None:
    headers = {"authorization": f"Bearer {lab.token()}"}
    body = json.dumps({**EXPORTABLE, "kty": "RSA-HSM"}).encode()
    query = (("api-version", "7.4"),)
    request = Request("POST", "https", "v.vault.azure.net", "/keys/app/create", query, headers, body)

    async def both() -> list[int]:
        return [r.status for r, _f in await asyncio.gather(lab.app.handle(request), lab.app.handle(request))]

    assert asyncio.run(both()) == [200, 200]
    assert len(lab("GET", "/keys/app/versions").document["value"]) == 2
