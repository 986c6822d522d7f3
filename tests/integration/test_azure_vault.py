# SPDX-License-Identifier: GPL-3.0-or-later
"""The module key_vault against the services: create, again, check mode, update, refusals."""

from __future__ import annotations

from typing import Any

import pytest
from integration.site import vault_name
from labkit import Lab

from skrsim.lab.plan import LOCATION, RESOURCE_GROUP


def ensure(lab: Lab, name: str, check: bool = False, **options: Any) -> dict[str, Any]:
    wanted = {"resource_group": RESOURCE_GROUP, "location": LOCATION} | options
    return lab.module("key_vault", check=check, diff=True, **(lab.azure() | {"name": name} | wanted))


def test_create_then_no_change(local_lab: Lab) -> None:
    name = vault_name()
    mark = local_lab.mark
    planned = ensure(local_lab, name, check=True)
    assert planned["changed"] and planned["vault"]["sku"] == "premium" and local_lab.writes(mark) == []
    made = ensure(local_lab, name)
    assert made["changed"] and made["diff"]["before"] == {} and made["diff"]["after"]["sku"] == "premium"
    assert made["vault"]["enable_rbac_authorization"] is True and made["vault"]["soft_delete_retention_days"] == 90
    assert made["vault_uri"] == f"https://{name}.vault.azure.net"
    assert {one["operation"] for one in local_lab.writes(mark)} == {"vault_put"}
    mark = local_lab.mark
    again = ensure(local_lab, name)
    assert not again["changed"] and "diff" not in again and again["vault"] == made["vault"]
    assert local_lab.writes(mark) == []
    assert [one["operation"] for one in local_lab.audit(mark, service="arm")] == ["vault_get"]


def test_update_keeps_the_access_policies(local_lab: Lab) -> None:
    name = vault_name()
    first = ensure(local_lab, name, enable_rbac_authorization=False, key_managers=["self"], sku="standard")
    (own,) = first["vault"]["key_managers"]
    other = "99999999-9999-4999-8999-999999999999"
    mark = local_lab.mark
    changed = ensure(
        local_lab, name, sku="premium", purge_protection=True, tags={"cost": 42}, key_managers=["self", other]
    )
    assert changed["changed"] and changed["vault"]["key_managers"] == sorted([own, other])
    assert changed["vault"]["purge_protection"] is True and changed["vault"]["tags"] == {"cost": "42"}
    assert changed["vault"]["enable_rbac_authorization"] is False
    assert [one["method"] for one in local_lab.writes(mark)] == ["PATCH", "PUT"]
    assert local_lab.writes(mark)[1]["path"].endswith("/accessPolicies/add")
    mark = local_lab.mark
    again = ensure(local_lab, name, purge_protection=True, tags={"cost": 42}, key_managers=[other])
    assert not again["changed"] and local_lab.writes(mark) == []
    check = ensure(local_lab, name, check=True, enable_rbac_authorization=True)
    assert check["changed"] and check["diff"]["before"]["enable_rbac_authorization"] is False
    assert local_lab.writes(mark) == []


@pytest.mark.parametrize(
    ("options", "reason", "word"),
    [
        ({"sku": "standard"}, "vault_weakening_refused", "premium"),
        ({"purge_protection": False}, "purge_protection_irreversible", "purge_protection"),
        ({"location": "eastus"}, "invalid_input", LOCATION),
        ({"soft_delete_retention_days": 7}, "invalid_input", "90"),
        ({"soft_delete_retention_days": 6}, "invalid_input", "7 to 90"),
        ({"name": "no_such_name"}, "invalid_input", "hyphens"),
        ({"resource_group": "rg-nowhere"}, "resource_not_found", "rg-nowhere"),
    ],
)
def test_refusals_write_nothing(local_lab: Lab, options: dict[str, Any], reason: str, word: str) -> None:
    name = "kv-skr-refusals"
    ensure(local_lab, name, purge_protection=True)
    mark = local_lab.mark
    result = ensure(local_lab, options.pop("name", name), **options)
    assert result["failed"] and result["reason"] == reason and word in result["msg"], result
    assert result["cause"] and result["next_step"] and local_lab.writes(mark) == []


def test_location_is_needed_for_a_new_vault(local_lab: Lab) -> None:
    result = ensure(local_lab, vault_name(), location=None)
    assert result["failed"] and result["reason"] == "invalid_input" and "location" in result["msg"]


def test_throttled_calls_are_repeated(local_lab: Lab) -> None:
    """A 429 without Retry-After, which the SDK alone would not repeat on PATCH."""
    name = vault_name()
    ensure(local_lab, name)
    with local_lab.fault("status", service="arm", operation="vault_patch", times=1, code=429):
        result = ensure(local_lab, name, tags={"a": "b"})
    assert result["changed"] and result["vault"]["tags"] == {"a": "b"}, result


def test_secret_is_in_no_output(local_lab: Lab) -> None:
    result = ensure(local_lab, vault_name())
    assert local_lab.azure()["secret"] not in str(result)
