# SPDX-License-Identifier: GPL-3.0-or-later
"""The vault knows the members and parameters that the SDK's models know, and refuses all others."""

from __future__ import annotations

import typing as t

import pytest
from azure.keyvault.keys import ApiVersion
from azure.keyvault.keys._generated import models
from vault_caller import VaultLab, release_policy

from skrsim.core.app import App
from skrsim.services.keyvault import call, keys

TABLES: list[tuple[t.Any, t.Sequence[str]]] = [
    (models.KeyCreateParameters, keys.CREATE),
    (models.KeyImportParameters, keys.IMPORT),
    (models.KeyUpdateParameters, keys.UPDATE),
    (models.KeyAttributes, keys.ATTRIBUTES),
    (models.KeyReleasePolicy, keys.POLICY),
    (models.JsonWebKey, keys.JWK),
    (models.KeyRotationPolicy, keys.ROTATION),
]


@pytest.fixture
def lab(app: App) -> VaultLab:
    made = VaultLab(app)
    made.key()
    return made


def wire_names(model: t.Any) -> set[str]:
    """The JSON names of a generated model's members."""
    model()  # the table is made with the first instance
    return {field._rest_name for field in model._attr_to_rest_field.values()}


@pytest.mark.parametrize(("model", "table"), TABLES, ids=lambda value: getattr(value, "__name__", ""))
def test_the_member_tables_are_those_of_the_installed_sdk(model: t.Any, table: t.Sequence[str]) -> None:
    assert len(table) == len(set(table))
    assert set(table) == wire_names(model)


def test_release_takes_the_members_of_the_sdk(lab: VaultLab) -> None:
    assert wire_names(models.KeyReleaseParameters) == {"target", "nonce", "enc"}
    body = {"nonce": "n", "enc": "RSA_AES_KEY_WRAP_384"}
    assert lab.release(body=body).status == 200
    assert lab.release(body={**body, "env": "x"}).status == 400


def test_every_api_version_of_the_sdk_is_known(lab: VaultLab) -> None:
    assert {version.value for version in ApiVersion} <= set(call.VERSIONS)
    for version in ApiVersion:
        assert lab("GET", "/keys", api=version.value).status == 200


@pytest.mark.parametrize("api", ["", None, "7", "7.7", "2025-07-02", "7.4 ", "2026-05-15"])
def test_other_api_versions_are_refused(lab: VaultLab, api: str | None) -> None:
    answer = lab("GET", "/keys", api=api)
    assert (answer.status, answer.document["error"]["code"]) == (400, "BadParameter")
    assert "api-version" in answer.message


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/keys?top=5"),
        ("GET", "/keys?maxResults=5"),
        ("GET", "/keys/app/?maxresults=5"),
        ("GET", "/keys/app/versions?version=1"),
        ("POST", "/keys/app/release?enc=x"),
        ("POST", "/keys/app/create?exportable=true"),
        ("DELETE", "/keys/app?purge=true"),
        ("DELETE", "/deletedkeys/app?force=1"),
    ],
)
def test_unknown_query_parameters_are_refused(lab: VaultLab, method: str, target: str) -> None:
    answer = lab(method, target, {} if method == "POST" else None)
    assert (answer.status, answer.document["error"]["code"]) == (400, "BadParameter")
    assert f"'{target.partition('?')[2].partition('=')[0]}'" in answer.message
    assert answer.audit["write"] is False


@pytest.mark.parametrize("value", ["0", "26", "-1", "x", "", "1.5", "²"])
def test_page_sizes_outside_one_to_twenty_five_are_refused(lab: VaultLab, value: str) -> None:
    assert lab("GET", f"/keys?maxresults={value}").status == 400


def test_a_made_up_continuation_is_refused(lab: VaultLab) -> None:
    assert lab("GET", "/keys?$skiptoken=x").status == 400
    assert lab("GET", "/keys?$skiptoken=99").status == 400


UNKNOWN = [
    ("POST", "/keys/new/create", {"kty": "RSA-HSM", "hsmPlatform": "2"}, "hsmPlatform"),
    ("POST", "/keys/new/create", {"kty": "RSA-HSM", "keySize": 2048}, "keySize"),
    ("POST", "/keys/new/create", {"kty": "RSA-HSM", "attributes": {"Exportable": True}}, "Exportable"),
    ("POST", "/keys/new/create", {"kty": "RSA-HSM", "attributes": {"expires": 5}}, "expires"),
    (
        "POST",
        "/keys/new/create",
        {"kty": "RSA-HSM", "attributes": {"exportable": True}, "release_policy": {"encoded_policy": "e30"}},
        "encoded_policy",
    ),
    ("POST", "/keys/new/create", {"kty": "RSA-HSM", "releasePolicy": {}}, "releasePolicy"),
    ("PUT", "/keys/new", {"hsm": True, "key": {}}, "hsm"),
    ("PUT", "/keys/new", {"key": {"kty": "RSA", "alg": "x"}}, "alg"),
    ("PATCH", "/keys/app", {"kty": "EC"}, "kty"),
    ("PATCH", "/keys/app", {"attributes": {"created": 1, "age": 2}}, "age"),
    ("PATCH", "/keys/app", {"release_policy": {**release_policy(), "version": "1"}}, "version"),
    ("PUT", "/keys/app/rotationpolicy", {"lifetimeAction": []}, "lifetimeAction"),
    ("PUT", "/keys/app/rotationpolicy", {"attributes": {"expiry": "P1Y"}}, "expiry"),
    (
        "PUT",
        "/keys/app/rotationpolicy",
        {"lifetimeActions": [{"trigger": {"timeBefore": "P1D"}, "action": {"type": "Notify"}}]},
        "timeBefore",
    ),
]


@pytest.mark.parametrize(("method", "path", "body", "member"), UNKNOWN)
def test_unknown_members_are_refused_by_name(lab: VaultLab, method: str, path: str, body: t.Any, member: str) -> None:
    before = lab.world.audit.last
    answer = lab(method, path, body)
    assert (answer.status, answer.document["error"]["code"]) == (400, "BadParameter")
    assert answer.message == f"Unknown member '{member}' in the request body."
    assert lab.world.audit.writes(before) == []
    assert list(lab.world.keys) == [("v", "app")]


WRONG: list[tuple[str, str, t.Any]] = [
    ("POST", "/keys/new/create", b"{"),
    ("POST", "/keys/new/create", b"\xff"),
    ("POST", "/keys/new/create", [1]),
    ("POST", "/keys/new/create", "text"),
    ("POST", "/keys/new/create", None),
    ("POST", "/keys/new/create", {"kty": ["RSA"]}),
    ("POST", "/keys/new/create", {"kty": "RSA", "attributes": [1]}),
    ("POST", "/keys/new/create", {"kty": "RSA", "attributes": {"enabled": "yes"}}),
    ("POST", "/keys/new/create", {"kty": "RSA", "attributes": {"exportable": "true"}}),
    ("POST", "/keys/new/create", {"kty": "RSA", "attributes": {"exp": "2030-01-01"}}),
    ("POST", "/keys/new/create", {"kty": "RSA", "attributes": {"nbf": True}}),
    ("POST", "/keys/new/create", {"kty": "RSA", "tags": ["a"]}),
    ("POST", "/keys/new/create", {"kty": "RSA", "tags": {"a": 1}}),
    ("POST", "/keys/new/create", {"kty": "RSA", "key_ops": "sign"}),
    ("POST", "/keys/new/create", {"kty": "RSA", "key_ops": [["sign"]]}),
    ("POST", "/keys/new/create", {"kty": "RSA", "key_ops": ["sing"]}),
    ("POST", "/keys/new/create", {"kty": "RSA-HSM", "attributes": {"exportable": True}, "release_policy": "e30"}),
    ("POST", "/keys/new/create", {"kty": "RSA-HSM", "attributes": {"exportable": True}, "release_policy": {"data": 5}}),
    ("PUT", "/keys/new", {"key": None}),
    ("PUT", "/keys/new", {"key": "jwk"}),
    ("PUT", "/keys/new", {"key": {"kty": "RSA", "n": 5}}),
    ("PUT", "/keys/new", {"key": {"kty": "EC", "crv": "P-1", "x": "AA", "y": "AA", "d": "AA"}}),
    ("PUT", "/keys/new", {"key": {"kty": "oct", "k": "AAAA"}}),
    ("PATCH", "/keys/app", {"tags": "a"}),
    ("PATCH", "/keys/app", {"key_ops": {"sign": 1}}),
    ("PATCH", "/keys/app", {"release_policy": [1]}),
    ("PUT", "/keys/app/rotationpolicy", {"lifetimeActions": {"trigger": {}}}),
    ("PUT", "/keys/app/rotationpolicy", {"lifetimeActions": ["x"]}),
    ("PUT", "/keys/app/rotationpolicy", {"lifetimeActions": [{"trigger": {}, "action": {"type": "Notify"}}]}),
    (
        "PUT",
        "/keys/app/rotationpolicy",
        {"lifetimeActions": [{"trigger": {"timeAfterCreate": "P1D"}, "action": {"type": "Delete"}}]},
    ),
]


@pytest.mark.parametrize(("method", "path", "body"), WRONG)
def test_wrong_types_are_the_callers_fault_and_change_nothing(
    lab: VaultLab, method: str, path: str, body: t.Any
) -> None:
    before = lab.world.audit.last
    answer = lab(method, path, body)
    assert (answer.status, answer.document["error"]["code"]) == (400, "BadParameter"), answer.document
    assert lab.world.audit.writes(before) == []
    assert list(lab.world.keys) == [("v", "app")]
    shown = lab("GET", "/keys/app").document
    assert (shown["tags"], shown["key"]["key_ops"]) == ({}, ["sign", "verify"])


@pytest.mark.parametrize("name", ["under_score", "dot.ted", "a" * 128, "ümlaut", "sp ace"])
@pytest.mark.parametrize("verb", ["create", "import"])
def test_key_names_follow_the_rule(lab: VaultLab, name: str, verb: str) -> None:
    method, path = ("POST", f"/keys/{name}/create") if verb == "create" else ("PUT", f"/keys/{name}")
    assert lab(method, path, {"kty": "RSA"}).status == 400


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/secrets/app"),
        ("POST", "/keys/app/sign/x"),
        ("GET", "/keys/app/release"),
        ("PUT", "/keys"),
    ],
)
def test_what_is_no_operation_of_a_key_is_not_found(lab: VaultLab, method: str, path: str) -> None:
    answer = lab(method, path)
    assert answer.status == 404
    assert answer.audit["operation"] == "unknown"
