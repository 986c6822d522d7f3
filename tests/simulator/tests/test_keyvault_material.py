# SPDX-License-Identifier: GPL-3.0-or-later
"""Imported key material; deletion, recovery and purge of keys."""

from __future__ import annotations

import copy
import typing as t

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from vault_caller import Answer, VaultLab, b64u, ec_key, release_policy, rsa_key

from skrsim.core.app import App

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


# --- import


def _jwk(key: rsa.RSAPrivateKey, **members: t.Any) -> dict[str, t.Any]:
    private = key.private_numbers()
    public = private.public_numbers
    numbers = {"n": public.n, "e": public.e, "d": private.d, "p": private.p, "q": private.q}
    numbers |= {"dp": private.dmp1, "dq": private.dmq1, "qi": private.iqmp}
    shown = {name: b64u(value.to_bytes((value.bit_length() + 7) // 8, "big")) for name, value in numbers.items()}
    return {"kty": "RSA", **shown, **members}


def test_imported_material_is_the_material_that_is_released(lab: VaultLab) -> None:
    body = {
        "Hsm": True,
        "key": _jwk(rsa_key("mine"), key_ops=["sign"]),
        "attributes": {"exportable": True},
        "release_policy": release_policy(),
    }
    answer = lab("PUT", "/keys/app", body)
    assert answer.status == 200
    assert (answer.document["key"]["kty"], answer.document["key"]["key_ops"]) == ("RSA-HSM", ["sign"])
    assert lab.world.keys["v", "app"].versions[0].private.private_numbers() == rsa_key("mine").private_numbers()
    assert not {"d", "p", "q", "dp", "dq", "qi"} & set(answer.document["key"])


def test_import_follows_the_rules_of_exportable_keys(lab: VaultLab) -> None:
    good = {
        "Hsm": True,
        "key": _jwk(rsa_key("mine")),
        "attributes": {"exportable": True},
        "release_policy": release_policy(),
    }
    says(lab("PUT", "/keys/app", {**good, "Hsm": False}), 1006, "The exportable attribute requires an HSM key type.")
    says(lab("PUT", "/keys/app", {**good, "release_policy": None}), 1004, "Exportable keys must have release policy.")
    says(lab("PUT", "/keys/app", {**good, "attributes": {}}), 1005, "Non-exportable keys must not have release policy.")
    lab.vault.sku = "standard"
    assert lab("PUT", "/keys/app", good).message.startswith("AKV.SKR.1001: ")
    assert lab("PUT", "/keys/soft", {"key": good["key"]}).document["key"]["kty"] == "RSA"


def test_an_elliptic_key_can_be_imported(lab: VaultLab) -> None:
    private = ec_key().private_numbers()
    numbers = {"x": private.public_numbers.x, "y": private.public_numbers.y, "d": private.private_value}
    jwk = {"kty": "EC-HSM", "crv": "P-256", **{name: b64u(v.to_bytes(32, "big")) for name, v in numbers.items()}}
    answer = lab("PUT", "/keys/curve", {"key": jwk})
    assert (answer.status, answer.document["key"]["kty"], answer.document["key"]["crv"]) == (200, "EC-HSM", "P-256")


def test_material_that_does_not_fit_together_is_refused(lab: VaultLab) -> None:
    public_only = {name: value for name, value in _jwk(rsa_key("mine")).items() if name in ("kty", "n", "e")}
    small = rsa.generate_private_key(65537, 1024)
    for jwk in (public_only, {**_jwk(rsa_key("mine")), "d": "AQAB"}, {"kty": "oct", "k": "AA"}, _jwk(small)):
        assert lab("PUT", "/keys/app", {"Hsm": True, "key": jwk}).status == 400
    assert lab.world.keys == {}


# --- deletion


def test_a_deleted_key_is_gone_but_recoverable_and_blocks_its_name(lab: VaultLab) -> None:
    before = create(lab, tags={"a": "1"}).document
    lab.vault.retention_days = 90
    answer = lab("DELETE", "/keys/app")
    at = answer.document["deletedDate"]
    assert answer.document == {
        **before,
        "recoveryId": "https://v.vault.azure.net/deletedkeys/app",
        "deletedDate": at,
        "scheduledPurgeDate": at + 90 * 86400,
    }
    for method, path in (("GET", "/keys/app/"), ("DELETE", "/keys/app"), ("POST", "/keys/app/rotate")):
        missing = lab(method, path)
        assert (missing.status, missing.document["error"]["code"]) == (404, "KeyNotFound")
        assert "If you recently deleted this key you may be able to recover it" in missing.message
    assert lab.release().status == 404
    for blocked in (create(lab), create(lab, name="APP"), lab("PUT", "/keys/app", {"key": _jwk(rsa_key("mine"))})):
        assert (blocked.status, blocked.document["error"]["code"]) == (409, "Conflict")
        assert blocked.inner == "ObjectIsDeletedButRecoverable"
        assert "Retry-After" not in blocked.headers
    assert lab("GET", "/deletedkeys/app").document == answer.document
    assert lab("POST", "/deletedkeys/app/recover").document == before
    assert lab("GET", "/keys/app").document == before
    assert lab("GET", "/deletedkeys/app").status == 404
    assert lab.release(token="x").clause == "release.malformed"


def test_deleted_keys_are_listed_as_items(lab: VaultLab) -> None:
    for name in ("one", "two"):
        create(lab, name=name)
        lab("DELETE", f"/keys/{name}")
    found, _sizes = lab.paged("/deletedkeys")
    assert [item["kid"] for item in found] == [f"https://v.vault.azure.net/keys/{name}" for name in ("one", "two")]
    assert set(found[0]) == {"kid", "attributes", "tags", "recoveryId", "deletedDate", "scheduledPurgeDate"}


def test_a_purge_frees_the_name(lab: VaultLab) -> None:
    create(lab)
    assert lab("DELETE", "/deletedkeys/app").status == 404
    lab("DELETE", "/keys/app")
    answer = lab("DELETE", "/deletedkeys/app")
    assert (answer.status, answer.document, answer.audit["write"]) == (204, None, True)
    assert lab("POST", "/deletedkeys/app/recover").status == 404
    assert lab("POST", "/keys/app/create", {"kty": "EC"}).status == 200


def test_purge_protection_forbids_the_purge_to_everybody(lab: VaultLab) -> None:
    create(lab)
    lab("DELETE", "/keys/app")
    lab.vault.purge_protection = True
    answer = lab("DELETE", "/deletedkeys/app")
    assert (answer.status, answer.inner, answer.audit["write"]) == (403, "ForbiddenByPolicy", False)
    assert lab("GET", "/deletedkeys/app").status == 200


def test_two_vaults_share_no_keys(lab: VaultLab) -> None:
    other = lab.add_vault("v2", rbac=False)
    lab.permit(lab.officer, "get", "list", "create", vault=other)
    create(lab)
    assert lab("GET", "/keys/app", vault="v2").status == 404
    assert lab("POST", "/keys/app/create", {"kty": "EC"}, vault="v2").status == 200
    assert lab("GET", "/keys/app", vault="v2").document["key"]["kid"].startswith("https://v2.vault.azure.net/keys/app/")
    assert "exportable" in lab("GET", "/keys/app").document["attributes"]
