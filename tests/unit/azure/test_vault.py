# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan for a vault: what is sent, what is shown, and what is refused."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from unit.azure.fakes import ALICE, BOB, TENANT, Model, answer, login, vault

from ansible_collections.confidential.azure_skr.plugins.module_utils.azure import vault as vaults
from ansible_collections.confidential.azure_skr.plugins.module_utils.azure.clients import Connection
from ansible_collections.confidential.azure_skr.plugins.module_utils.azure.plan import Plan, same_location, text_tags
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.failure import SkrFailure

WANTED = vaults.Wanted("kv-web", "rg")


def plan(found: dict[str, Any] | None = None, **wanted: Any) -> Plan:
    return vaults.plan_vault(dataclasses.replace(WANTED, **wanted), found, TENANT)


def policy(object_id: str, *keys: str) -> dict[str, Any]:
    return {"tenantId": TENANT, "objectId": object_id, "permissions": {"keys": list(keys), "secrets": ["get"]}}


def test_creation_sends_what_defaults_would_leave_to_the_api_version() -> None:
    made = plan(location="westeurope")
    assert made.action == "create" and made.body is not None and made.before == {}
    properties = made.body["properties"]
    assert properties["enableRbacAuthorization"] is True and properties["accessPolicies"] == []
    assert properties["sku"] == {"family": "A", "name": "premium"} and properties["tenantId"] == TENANT
    assert properties["enableSoftDelete"] is True and properties["softDeleteRetentionInDays"] == 90
    assert "enablePurgeProtection" not in properties  # false would be refused by the service
    assert made.after["sku"] == "premium" and made.after["enable_rbac_authorization"] is True


def test_creation_with_everything() -> None:
    made = plan(
        location="l",
        enable_rbac_authorization=False,
        purge_protection=True,
        soft_delete_retention_days=7,
        key_managers=(BOB.upper(), ALICE),
        tags={"a": "b"},
    )
    assert made.body is not None
    properties = made.body["properties"]
    assert properties["enablePurgeProtection"] is True and properties["softDeleteRetentionInDays"] == 7
    assert sorted(entry["objectId"] for entry in properties["accessPolicies"]) == [ALICE, BOB]
    granted = set(properties["accessPolicies"][0]["permissions"]["keys"])
    assert {"create", "update", "rotate", "recover"} <= granted
    assert not granted & {"release", "purge", "sign", "decrypt", "unwrapKey", "all"}  # management, not use
    assert made.after["key_managers"] == [ALICE, BOB] and made.body["tags"] == {"a": "b"}


def test_creation_needs_a_location() -> None:
    with pytest.raises(SkrFailure) as caught:
        plan()
    assert caught.value.reason == "invalid_input" and "location" in caught.value.message


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        ({}, {}),
        ({"enableRbacAuthorization": None}, {"enable_rbac_authorization": False}),
        ({"enableRbacAuthorization": True}, {}),
        ({}, {"location": "West Europe"}),
        ({"softDeleteRetentionInDays": 30}, {"soft_delete_retention_days": 30}),
        ({}, {"soft_delete_retention_days": 90}),
        ({"enablePurgeProtection": True}, {"purge_protection": True}),
        ({}, {"purge_protection": False}),
        ({}, {"tags": {}}),
        ({"accessPolicies": [policy(ALICE.upper(), "All")]}, {"key_managers": (ALICE,)}),
        (
            {"accessPolicies": [policy(ALICE, *(name.upper() for name in vaults.MANAGER_PERMISSIONS))]},
            {"key_managers": (ALICE.upper(),)},
        ),
        ({"enableRbacAuthorization": True}, {"key_managers": (ALICE,)}),
    ],
)
def test_nothing_to_do(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    made = plan(vault(**found), **wanted)
    assert not made.changed and made.body is None and made.before == made.after
    assert made.result() == {"changed": False}


@pytest.mark.parametrize(
    ("found", "wanted", "body"),
    [
        ({"sku": {"family": "A", "name": "standard"}}, {}, {"properties": {"sku": {"family": "A", "name": "premium"}}}),
        ({}, {"purge_protection": True}, {"properties": {"enablePurgeProtection": True}}),
        ({}, {"enable_rbac_authorization": True}, {"properties": {"enableRbacAuthorization": True}}),
        (
            {"enableRbacAuthorization": True},
            {"enable_rbac_authorization": False},
            {"properties": {"enableRbacAuthorization": False}},
        ),
        ({}, {"tags": {"a": "b"}}, {"tags": {"a": "b"}}),
    ],
)
def test_update_sends_the_difference_and_no_access_policies(
    found: dict[str, Any], wanted: dict[str, Any], body: dict[str, Any]
) -> None:
    """A PATCH that held accessPolicies would replace everybody's."""
    made = plan(vault(accessPolicies=[policy(BOB, "get")], **found), **wanted)
    assert made.action == "update" and made.body == body
    assert made.result()["diff"]["before"] != made.result()["diff"]["after"]


def test_new_manager_is_added_beside_the_others() -> None:
    made = plan(vault(accessPolicies=[policy(ALICE, "all"), policy(BOB, "get")]), key_managers=(ALICE, BOB))
    assert made.body is not None
    assert [entry["objectId"] for entry in made.body["_managers"]] == [BOB] and set(made.body) == {"_managers"}
    assert made.before["key_managers"] == [ALICE] and made.after["key_managers"] == [ALICE, BOB]


@pytest.mark.parametrize(
    ("found", "wanted", "reason", "word"),
    [
        ({}, {"sku": "standard"}, "vault_weakening_refused", "premium"),
        ({"enablePurgeProtection": True}, {"purge_protection": False}, "purge_protection_irreversible", "purge"),
        ({}, {"location": "northeurope"}, "invalid_input", "westeurope"),
        ({"softDeleteRetentionInDays": 7}, {"soft_delete_retention_days": 90}, "invalid_input", "7"),
    ],
)
def test_what_cannot_or_must_not_change(found: dict[str, Any], wanted: dict[str, Any], reason: str, word: str) -> None:
    with pytest.raises(SkrFailure) as caught:
        plan(vault(**found), **wanted)
    assert caught.value.reason == reason and word in caught.value.message


@pytest.mark.parametrize(
    ("wanted", "option"),
    [
        ({"name": "ab"}, "name"),
        ({"name": "1abc"}, "name"),
        ({"name": "a--b"}, "name"),
        ({"name": "abc-"}, "name"),
        ({"name": "a" * 25}, "name"),
        ({"name": "a_b"}, "name"),
        ({"soft_delete_retention_days": 6}, "soft_delete_retention_days"),
        ({"soft_delete_retention_days": 91}, "soft_delete_retention_days"),
        ({"soft_delete_retention_days": 0}, "soft_delete_retention_days"),
        ({"key_managers": ("me",)}, "key_managers"),
    ],
)
def test_bad_input(wanted: dict[str, Any], option: str) -> None:
    with pytest.raises(SkrFailure) as caught:
        vaults.check(dataclasses.replace(WANTED, **wanted))
    assert caught.value.reason == "invalid_input" and caught.value.facts["option"] == option


@pytest.mark.parametrize("name", ["abc", "a" * 24, "kv-Web-01"])
def test_good_names(name: str) -> None:
    vaults.check(dataclasses.replace(WANTED, name=name, key_managers=("self", ALICE)))


def test_tags_are_texts() -> None:
    assert text_tags({"a": 1, "b": True, 3: "c", "d": None}) == {"a": "1", "b": "True", "3": "c", "d": ""}
    assert text_tags({}) == {} and text_tags(None) is None


def test_regions_compare_without_blanks_and_case() -> None:
    assert same_location("West Europe", "westeurope") and not same_location("westeurope", "westus")


class _Vaults:
    """Stand-in of the vaults' client: holds one vault or none, and notes what is called."""

    def __init__(self, held: dict[str, Any] | None, error: Exception | None = None) -> None:
        self.held, self.error = held, error
        self.calls: list[tuple[str, Any]] = []
        self.vaults = self

    def get(self, group: str, name: str) -> Model:
        if self.held is None:
            raise self.error or answer(404, "ResourceNotFound")
        return Model(self.held)

    def update(self, group: str, name: str, body: Any, **options: Any) -> None:
        self.calls.append(("update", body))

    def update_access_policy(self, group: str, name: str, operation: str, body: Any, **options: Any) -> None:
        self.calls.append((operation, body))

    def begin_create_or_update(self, group: str, name: str, body: Any, **options: Any) -> Any:
        self.calls.append(("create", body))
        self.held = vault(**body["properties"])
        return type("Poller", (), {"result": lambda _self: None})()


def ensure(client: _Vaults, check_mode: bool = False, tenant: str = TENANT, **wanted: Any) -> dict[str, Any]:
    connection = Connection(
        login(tenant=tenant), _cache={"azure-mgmt-keyvault": client, "caller": {"oid": ALICE, "tid": TENANT}}
    )
    return vaults.ensure(connection, dataclasses.replace(WANTED, **wanted), check_mode)


def test_check_mode_reads_only() -> None:
    client = _Vaults(None)
    result = ensure(client, check_mode=True, location="l", key_managers=("self",), enable_rbac_authorization=False)
    assert result["changed"] and client.calls == []
    assert result["vault"]["key_managers"] == [ALICE] and result["vault_uri"] == "https://kv-web.vault.azure.net"


def test_tenant_given_as_a_domain_is_sent_as_its_id() -> None:
    client = _Vaults(None)
    ensure(client, tenant="example.onmicrosoft.com", location="l")
    assert client.calls[0][1]["properties"]["tenantId"] == TENANT


def test_numbers_as_tags_do_not_change_on_every_run() -> None:
    client = _Vaults({**vault(), "tags": {"cost": "42"}})
    assert not ensure(client, tags={"cost": 42})["changed"]


def test_update_patches_and_adds() -> None:
    client = _Vaults(vault())
    ensure(client, purge_protection=True, key_managers=("self",))
    assert [call for call, _body in client.calls] == ["update", "add"]
    assert client.calls[0][1] == {"properties": {"enablePurgeProtection": True}}
    (entry,) = client.calls[1][1]["properties"]["accessPolicies"]
    assert entry["objectId"] == ALICE and entry["tenantId"] == TENANT


def test_missing_resource_group_is_not_taken_for_a_missing_vault() -> None:
    with pytest.raises(SkrFailure) as caught:
        ensure(_Vaults(None, answer(404, "ResourceGroupNotFound")), location="l")
    assert caught.value.reason == "resource_not_found"
