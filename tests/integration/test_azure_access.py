# SPDX-License-Identifier: GPL-3.0-or-later
"""The module release_access against the services, in both permission models."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from integration.site import Site, vault_name
from labkit import Lab

from skrsim.lab.inventory import release_policy
from skrsim.lab.plan import LOCATION, RESOURCE_GROUP


def vault(lab: Lab, rbac: bool) -> str:
    name = vault_name()
    made = lab.module(
        "key_vault",
        **lab.azure(),
        name=name,
        resource_group=RESOURCE_GROUP,
        location=LOCATION,
        enable_rbac_authorization=rbac,
        key_managers=["self"],
    )
    assert made["changed"], made
    return name


def principals(lab: Lab, *vms: str) -> list[str]:
    made = lab.module("cvm_identity", **lab.azure(), resource_group=RESOURCE_GROUP, vms=list(vms))
    return [vm["principal_id"] for vm in made["vms"]]


def ensure(lab: Lab, name: str, ids: list[str], check: bool = False, **options: Any) -> dict[str, Any]:
    wanted = {"vault_name": name, "resource_group": RESOURCE_GROUP, "principals": ids} | options
    return lab.module("release_access", check=check, diff=True, **(lab.azure() | wanted))


@pytest.fixture
def ids(local_lab: Lab) -> Iterator[list[str]]:
    yield principals(local_lab, "cvm-01", "cvm-02")


@pytest.mark.parametrize(("rbac", "writes"), [(False, 1), (True, 2)])
def test_grant_again_and_revoke(local_lab: Lab, ids: list[str], rbac: bool, writes: int) -> None:
    name = vault(local_lab, rbac)
    mark = local_lab.mark
    planned = ensure(local_lab, name, ids, check=True)
    assert planned["changed"] and planned["diff"]["after"]["release"] == sorted(ids) and local_lab.writes(mark) == []
    made = ensure(local_lab, name, ids)
    assert made["changed"] and made["grant_model"] == ("rbac" if rbac else "access_policy")
    assert [(one["principal_id"], one["granted"], one["changed"]) for one in made["principals"]] == [
        (one, True, True) for one in ids
    ]
    # With access policies one write carries all principals; parallel ones would conflict.
    assert len(local_lab.writes(mark)) == writes
    mark = local_lab.mark
    again = ensure(local_lab, name, [ids[1].upper(), ids[0]])
    assert not again["changed"] and "diff" not in again and local_lab.writes(mark) == []
    revoked = ensure(local_lab, name, ids[:1], state="absent")
    assert (
        revoked["changed"]
        and revoked["diff"]["before"]["release"] == ids[:1]
        and revoked["diff"]["after"]["release"] == []
    )
    assert ensure(local_lab, name, ids[:1], check=True)["changed"]
    assert not ensure(local_lab, name, ids[1:], check=True)["changed"]
    assert not ensure(local_lab, name, ids[:1], state="absent")["changed"]


def test_entries_of_others_stay(local_lab: Lab, ids: list[str]) -> None:
    name = vault(local_lab, False)
    ensure(local_lab, name, ids[:1])
    ensure(local_lab, name, ids[1:])
    ensure(local_lab, name, ids[1:], state="absent")
    shown = local_lab.module("key_vault", **local_lab.azure(), name=name, resource_group=RESOURCE_GROUP)
    assert not shown["changed"] and len(shown["vault"]["key_managers"]) == 1
    assert not ensure(local_lab, name, ids[:1], check=True)["changed"]


def test_new_identity_is_waited_for(local_lab: Lab) -> None:
    """Roles are refused until the directory knows the principal; the wait ends when it does."""
    name = vault(local_lab, True)
    local_lab.call("vm_identities", name="cvm-05", count=0)
    local_lab.call("delays", values={"principal_visible": 3})
    try:
        new = principals(local_lab, "cvm-05")
    finally:
        local_lab.call("delays", values={"principal_visible": 0})
    mark = local_lab.mark
    made = ensure(local_lab, name, new)
    assert made["changed"] and 0 < made["waited_s"] < 30, made
    refused = [one for one in local_lab.audit(mark, service="arm") if one["decision"] == "refused"]
    assert refused and len(local_lab.writes(mark)) == 1


def test_unknown_principal_is_given_up_in_time(local_lab: Lab) -> None:
    name = vault(local_lab, True)
    unknown = "99999999-9999-4999-8999-999999999999"
    mark = local_lab.mark
    result = ensure(local_lab, name, [unknown], wait_timeout=3)
    assert result["reason"] == "principal_not_found" and unknown.replace("-", "") in result["msg"].replace("-", "")
    assert local_lab.writes(mark) == []


@pytest.mark.parametrize(
    ("rbac", "options", "reason"),
    [
        (True, {"grant_model": "access_policy"}, "grant_model_mismatch"),
        (False, {"grant_model": "rbac"}, "grant_model_mismatch"),
        (False, {"scope": "key", "key_name": "app"}, "grant_model_mismatch"),
        (True, {"scope": "key"}, "invalid_input"),
        (True, {"principals": ["cvm-01"]}, "invalid_input"),
        (True, {"vault_name": "kv-skr-nowhere"}, "resource_not_found"),
    ],
)
def test_refusals_write_nothing(
    local_lab: Lab, ids: list[str], rbac: bool, options: dict[str, Any], reason: str
) -> None:
    name = vault(local_lab, rbac)
    mark = local_lab.mark
    result = ensure(local_lab, options.pop("vault_name", name), options.pop("principals", ids), **options)
    assert result["failed"] and result["reason"] == reason, result
    assert local_lab.writes(mark) == []


def test_grant_at_one_key_is_no_grant_at_the_vault(local_lab: Lab, ids: list[str]) -> None:
    name = vault(local_lab, True)
    absent = ensure(local_lab, name, ids, scope="key", key_name="app")
    assert absent["failed"] and absent["reason"] == "resource_not_found", absent
    for key in ("app", "other"):
        wanted = {"vault_uri": f"https://{name}.vault.azure.net", "key_name": key, "key_size": 2048}
        local_lab.module("exportable_key", **local_lab.azure(), **wanted, release_policy=release_policy())
    made = ensure(local_lab, name, ids, scope="key", key_name="app")
    assert made["changed"] and made["scope"].endswith(f"/vaults/{name}/keys/app")
    assert ensure(local_lab, name, ids, check=True)["changed"]
    # A grant for the vault holds for its keys too.
    ensure(local_lab, name, ids)
    assert not ensure(local_lab, name, ids, check=True, scope="key", key_name="other")["changed"]


def test_check_mode_before_the_vault_is_made(local_lab: Lab, ids: list[str]) -> None:
    mark = local_lab.mark
    planned = ensure(local_lab, "kv-skr-later", ids, check=True)
    assert planned["changed"] and planned["diff"]["after"]["release"] == sorted(ids), planned
    assert "kv-skr-later" in str(planned["warnings"]) and local_lab.writes(mark) == []
    assert ensure(local_lab, "kv-skr-later", ids)["reason"] == "resource_not_found"


@pytest.mark.parametrize("rbac", [False, True])
def test_exclusive_takes_it_from_everybody_else(local_lab: Lab, ids: list[str], rbac: bool) -> None:
    name = vault(local_lab, rbac)
    ensure(local_lab, name, ids)
    mark = local_lab.mark
    planned = ensure(local_lab, name, ids[:1], check=True, exclusive=True)
    assert planned["changed"] and planned["revoked"] == ids[1:] and local_lab.writes(mark) == []
    assert planned["diff"]["before"]["release"] == sorted(ids) and planned["diff"]["after"]["release"] == ids[:1]
    done = ensure(local_lab, name, ids[:1], exclusive=True)
    assert done["changed"] and done["revoked"] == ids[1:] and len(local_lab.writes(mark)) == 1
    mark = local_lab.mark
    again = ensure(local_lab, name, ids[:1], exclusive=True)
    assert not again["changed"] and again["revoked"] == [] and local_lab.writes(mark) == []
    # The administrator's own entry, which has other permissions, is still there.
    assert ensure(local_lab, name, ids)["changed"]
    key = {"vault_uri": f"https://{name}.vault.azure.net", "key_name": "still", "release_policy": release_policy()}
    assert local_lab.module("exportable_key", **local_lab.azure(), **key)["changed"]


def test_vms_by_name_mean_their_identities(local_lab: Lab, ids: list[str]) -> None:
    name = vault(local_lab, False)
    made = ensure(local_lab, name, [], vms=["cvm-01", "cvm-02"])
    assert made["changed"] and [one["principal_id"] for one in made["principals"]] == ids
    assert not ensure(local_lab, name, ids, vms=["cvm-02"])["changed"]
    gone = ensure(local_lab, name, [], vms=["cvm-02"], state="absent")
    assert gone["changed"] and [one["principal_id"] for one in gone["principals"]] == ids[1:]


def test_vms_that_cannot_be_meant(local_lab: Lab) -> None:
    name = vault(local_lab, False)
    local_lab.call("vm_identities", name="cvm-06", count=0)
    mark = local_lab.mark
    assert ensure(local_lab, name, [], vms=["cvm-06"])["reason"] == "identity_missing"
    assert ensure(local_lab, name, [], vms=["cvm-99"])["reason"] == "resource_not_found"
    nobody = ensure(local_lab, name, [], exclusive=True)
    assert nobody["reason"] == "invalid_input" and "exclusive" in nobody["msg"] and local_lab.writes(mark) == []


def test_principals_by_identity_and_by_scale_set(local_lab: Lab) -> None:
    site = Site(local_lab, vms=("cvm-01",), rbac=True)
    local_lab.call("resource", kind="scale_set", name="granted", capacity=1)
    given = local_lab.module(
        "cvm_identity", **local_lab.azure(), resource_group=RESOURCE_GROUP, location=LOCATION, vms=["cvm-01"],
        scale_sets=["granted"], system_assigned=True, user_assigned=["id-granted"],
    )  # fmt: skip
    of_set = next(one["principal_id"] for one in given["vms"] if one["kind"] == "scale_set")
    both = site.grant(principals=[], identities=["id-granted"], scale_sets=["granted"])
    assert both["changed"] and len(both["principals"]) == 2, both  # the set has that identity too, which counts once
    assert of_set in [one["principal_id"] for one in both["principals"]]
    mark = local_lab.mark
    again = site.grant(principals=[], identities=["id-granted"])
    assert not again["changed"] and len(again["principals"]) == 1 and local_lab.writes(mark) == []
    missing = site.grant(principals=[], identities=["id-nowhere"])
    assert missing["reason"] == "resource_not_found" and "id-nowhere" in missing["msg"]
    bad = site.grant(principals=[], identities=["/x"])
    assert (bad["reason"], bad["facts"]["option"]) == ("invalid_input", "identities")
