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


# --- network rules


SUBNET = "/subscriptions/x/resourceGroups/rg/providers/Microsoft.Network/virtualNetworks/net/subnets/vms"


def test_network_rules(local_lab: Lab) -> None:
    """A new firewall, the same again in another spelling, one member changed; switching it off needs a word."""
    name = vault_name()
    rules: dict[str, Any] = {"default_action": "deny", "ip_rules": ["20.50.1.7"], "subnet_ids": [SUBNET]}
    ensure(local_lab, name)
    mark = local_lab.mark
    planned = ensure(local_lab, name, check=True, network_acls=rules)
    assert planned["changed"] and planned["diff"]["before"]["network_acls"]["default_action"] == "Allow"
    assert planned["diff"]["after"]["network_acls"]["ip_rules"] == ["20.50.1.7/32"] and local_lab.writes(mark) == []
    made = ensure(local_lab, name, network_acls=rules)
    assert made["changed"] and made["vault"]["network_acls"]["default_action"] == "Deny"
    mark = local_lab.mark
    subnet = SUBNET.replace("resourceGroups", "RESOURCEGROUPS") + "/"
    spelt = {"default_action": "deny", "ip_rules": ["20.50.1.7/32"], "subnet_ids": [subnet]}
    assert not ensure(local_lab, name, network_acls=spelt)["changed"] and local_lab.writes(mark) == []
    more = ensure(local_lab, name, network_acls={"ip_rules": ["20.50.1.7", "20.50.2.0/24"]})
    assert more["changed"] and more["vault"]["network_acls"]["subnet_ids"] == [SUBNET.lower()]
    assert ensure(local_lab, name, public_network_access="disabled")["vault"]["public_network_access"] == "disabled"
    mark = local_lab.mark
    for weaker in ({"network_acls": {"default_action": "allow"}}, {"public_network_access": "enabled"}):
        refused = ensure(local_lab, name, **weaker)
        assert refused["failed"] and refused["reason"] == "vault_weakening_refused"
        assert "accept_weakening" in refused["next_step"] and local_lab.writes(mark) == []
    opened = ensure(local_lab, name, public_network_access="enabled", accept_weakening=True)
    assert opened["changed"] and opened["vault"]["public_network_access"] == "enabled"


@pytest.mark.parametrize(
    ("rules", "word"),
    [
        ({"ip_rules": ["20.50.1.7/24"]}, "ip_rules"),
        ({"ip_rules": ["10.0.0.0/8"]}, "ip_rules"),
        ({"ip_rules": ["web-01"]}, "ip_rules"),
        ({"subnet_ids": ["vms"]}, "subnet_ids"),
    ],
)
def test_bad_network_rules(local_lab: Lab, rules: dict[str, Any], word: str) -> None:
    mark = local_lab.mark
    result = ensure(local_lab, vault_name(), network_acls=rules)
    assert result["reason"] == "invalid_input" and word in result["msg"] and local_lab.audit(mark) == []


def test_a_vault_is_born_with_its_firewall(local_lab: Lab) -> None:
    name = vault_name()
    made = ensure(local_lab, name, network_acls={"default_action": "deny", "bypass": "none"})
    assert made["vault"]["network_acls"] == {
        "default_action": "Deny",
        "bypass": "None",
        "ip_rules": [],
        "subnet_ids": [],
    }
    assert not ensure(local_lab, name, network_acls={"default_action": "deny", "bypass": "none"})["changed"]


# --- names of deleted vaults


def delete(lab: Lab, name: str) -> None:
    from ansible_collections.confidential.azure_skr.plugins.module_utils.azure.clients import connection

    connection(lab.azure(), {}).vaults.delete(RESOURCE_GROUP, name)


def test_a_deleted_vault_is_recovered_and_reconciled(local_lab: Lab) -> None:
    name = vault_name()
    made = ensure(local_lab, name, tags={"team": "web"})
    delete(local_lab, name)
    mark = local_lab.mark
    taken = ensure(local_lab, name)
    assert taken["failed"] and taken["reason"] == "vault_name_taken" and local_lab.writes(mark) == []
    planned = ensure(local_lab, name, check=True, deleted_action="recover")
    assert planned["changed"] and planned["diff"]["after"] == {"state": "recovered"} and local_lab.writes(mark) == []
    back = ensure(local_lab, name, deleted_action="recover", purge_protection=True)
    assert back["changed"] and back["vault"]["id"] == made["vault"]["id"] and back["vault"]["purge_protection"] is True
    mark = local_lab.mark
    again = ensure(local_lab, name, deleted_action="recover", purge_protection=True)
    assert not again["changed"] and local_lab.writes(mark) == []
    delete(local_lab, name)
    refused = ensure(local_lab, name, deleted_action="purge")
    assert refused["failed"] and refused["reason"] == "purge_refused"


def test_a_deleted_vault_is_purged_for_a_new_one(local_lab: Lab) -> None:
    name = vault_name()
    ensure(local_lab, name, tags={"old": "1"})
    delete(local_lab, name)
    mark = local_lab.mark
    assert ensure(local_lab, name, check=True, deleted_action="purge")["changed"] and local_lab.writes(mark) == []
    made = ensure(local_lab, name, deleted_action="purge")
    assert made["changed"] and made["vault"]["tags"] == {}


def test_private_endpoints_are_approved_and_rejected_by_name(local_lab: Lab) -> None:
    name = vault_name()
    options = {**local_lab.azure(), "name": name, "resource_group": RESOURCE_GROUP, "location": LOCATION}
    made = local_lab.module("key_vault", **options)
    assert made["changed"] and made["private_endpoint_connections"] == []
    group = made["vault"]["id"].partition("/providers/")[0]
    ids = [f"{group}/providers/Microsoft.Network/privateEndpoints/pe-{letter}" for letter in "abc"]
    for letter, identifier in zip("abc", ids, strict=True):
        local_lab.call("private_endpoint", vault=name, name=f"{name}-{letter}", id=identifier)
    wanted = {**options, "approve_private_endpoints": [ids[0].upper()], "reject_private_endpoints": [ids[1]]}
    mark = local_lab.mark
    planned = local_lab.module("key_vault", check=True, diff=True, **wanted)
    assert planned["changed"] and local_lab.writes(mark) == []
    done = local_lab.module("key_vault", diff=True, **wanted)
    assert done["changed"] and [one["status"] for one in done["private_endpoint_connections"]] == [
        "Approved", "Rejected", "Pending",
    ]  # fmt: skip
    assert done["diff"]["after"]["private_endpoint_connections"] == {f"{name}-a": "Approved", f"{name}-b": "Rejected"}
    mark = local_lab.mark
    again = local_lab.module("key_vault", diff=True, **wanted)
    assert not again["changed"] and local_lab.writes(mark) == []
    early = local_lab.module("key_vault", **options, approve_private_endpoints=[ids[0] + "-later"])
    assert not early["changed"] and "has been asked for" in str(early["warnings"])
    bad = local_lab.module("key_vault", **options, approve_private_endpoints=["pe-a"])
    assert (bad["reason"], bad["facts"]["option"]) == ("invalid_input", "approve_private_endpoints")
