# SPDX-License-Identifier: GPL-3.0-or-later
"""The module cvm_identity against the services. It leaves VMs with identities, as any play would."""

from __future__ import annotations

from typing import Any

from labkit import Lab

from skrsim.lab.plan import RESOURCE_GROUP


def ensure(lab: Lab, *vms: str, check: bool = False, **options: Any) -> dict[str, Any]:
    wanted = {"vms": list(vms), "resource_group": RESOURCE_GROUP} | options
    return lab.module("cvm_identity", check=check, diff=True, **(lab.azure() | wanted))


def principal(lab: Lab, vm: str) -> str | None:
    found: str | None = lab.call("status")["vms"][vm]["principal"]
    return found


def bare(lab: Lab, *vms: str, users: int = 0) -> list[str]:
    """Take the system identity from VMs; returns the client ids of the user identities that the last has."""
    found: list[str] = []
    for vm in vms:
        found = lab.call("vm_identities", name=vm, count=users)
    return found


def test_many_in_one_call_then_no_change(local_lab: Lab) -> None:
    vms = ("cvm-04", "cvm-05", "cvm-06")
    bare(local_lab, *vms)
    mark = local_lab.mark
    planned = ensure(local_lab, *vms, check=True)
    assert planned["changed"] and planned["diff"]["after"]["cvm-05"] == {"type": "SystemAssigned"}
    assert local_lab.writes(mark) == [] and principal(local_lab, "cvm-04") is None
    made = ensure(local_lab, *vms)
    assert [one["principal_id"] for one in made["vms"]] == [principal(local_lab, vm) for vm in vms]
    assert all(one["changed"] and one["tenant_id"] == local_lab.azure()["tenant"] for one in made["vms"])
    assert len(local_lab.writes(mark)) == 3
    mark = local_lab.mark
    again = ensure(local_lab, *vms)
    assert not again["changed"] and "diff" not in again
    assert [one["principal_id"] for one in again["vms"]] == [one["principal_id"] for one in made["vms"]]
    # One list request for them all, and nothing else.
    assert [one["operation"] for one in local_lab.audit(mark, service="arm")] == ["vm_list"]


def test_user_identities_stay(local_lab: Lab) -> None:
    clients = bare(local_lab, "cvm-04", users=2)
    made = ensure(local_lab, "cvm-04")
    (vm,) = made["vms"]
    assert made["changed"] and vm["principal_id"] == principal(local_lab, "cvm-04")
    assert sorted(one["client_id"] for one in vm["user_assigned"]) == sorted(clients)
    bare(local_lab, "cvm-04")


def test_ids_and_names_of_one_vm_are_one_vm(local_lab: Lab) -> None:
    bare(local_lab, "cvm-04")
    identifier = ensure(local_lab, "cvm-04", check=True)["vms"][0]["id"]
    mark = local_lab.mark
    made = ensure(
        local_lab, "cvm-04", identifier, identifier.upper().replace("CVM-04", "Cvm-04"), resource_group=RESOURCE_GROUP
    )
    assert made["changed"] and len(made["vms"]) == 1 and len(local_lab.writes(mark)) == 1


def test_failure_of_one_is_told_and_the_others_are_done(local_lab: Lab) -> None:
    bare(local_lab, "cvm-04", "cvm-05")
    result = ensure(local_lab, "cvm-04", "cvm-99", "cvm-05")
    assert result["failed"] and result["reason"] == "resource_not_found" and "cvm-99" in result["msg"]
    told = {one["name"]: one for one in result["facts"]["vms"]}
    assert told["cvm-04"]["principal_id"]
    assert told["cvm-04"]["principal_id"] == principal(local_lab, "cvm-04")
    assert told["cvm-05"]["changed"] and told["cvm-99"]["reason"] == "resource_not_found"


def test_id_of_another_subscription_changes_nothing_here(local_lab: Lab) -> None:
    identifier = ensure(local_lab, "cvm-04", check=True)["vms"][0]["id"]
    foreign = identifier.replace(local_lab.azure()["subscription_id"], "33333333-3333-4333-8333-333333333333")
    mark = local_lab.mark
    result = ensure(local_lab, foreign)
    assert result["reason"] == "invalid_input" and local_lab.audit(mark) == []


def test_bad_input_and_missing_group(local_lab: Lab) -> None:
    mark = local_lab.mark
    assert ensure(local_lab, "cvm-04", resource_group=None)["reason"] == "invalid_input"
    assert local_lab.audit(mark) == []
    gone = ensure(local_lab, "cvm-04", resource_group="rg-nowhere")
    assert gone["reason"] == "resource_not_found" and "rg-nowhere" in gone["msg"]


def test_throttled_update_is_repeated(local_lab: Lab) -> None:
    bare(local_lab, "cvm-04")
    with local_lab.fault("status", service="arm", operation="vm_patch", times=1, code=429):
        result = ensure(local_lab, "cvm-04")
    assert result["changed"] and not result.get("failed"), result


def test_update_that_got_lost_on_the_way_back_is_found_done(local_lab: Lab) -> None:
    """The service did it, the answer did not arrive: the repetition meets a changed tag, and reads what there is."""
    bare(local_lab, "cvm-04")
    with local_lab.fault("reset", service="arm", operation="vm_patch", times=1):
        result = ensure(local_lab, "cvm-04")
    assert not result.get("failed"), result
    assert result["vms"][0]["principal_id"] == principal(local_lab, "cvm-04")


# --- user-assigned identities


def test_one_identity_for_many_vms(local_lab: Lab) -> None:
    """Made where it is missing, attached to all, others stay; again is no change; taken away, it alone goes."""
    bare(local_lab, "cvm-05")
    others = bare(local_lab, "cvm-04", users=2)
    mark = local_lab.mark
    wanted: dict[str, Any] = {"user_assigned": ["id-fleet"], "location": "westeurope"}
    planned = ensure(local_lab, "cvm-04", "cvm-05", check=True, **wanted)
    assert planned["changed"] and len(planned["identities_made"]) == 1 and local_lab.writes(mark) == []
    assert planned["diff"]["after"]["cvm-05"] == {"type": "UserAssigned", "user_assigned": ["id-fleet"]}
    made = ensure(local_lab, "cvm-04", "cvm-05", **wanted)
    assert made["changed"] and made["identities_made"] == planned["identities_made"]
    four, five = made["vms"]
    assert len(four["user_assigned"]) == 3 and {one["client_id"] for one in four["user_assigned"]} > set(others)
    assert [one["id"].rpartition("/")[2] for one in five["user_assigned"]] == ["id-fleet"] and not five["principal_id"]
    mark = local_lab.mark
    again = ensure(local_lab, "cvm-04", "cvm-05", **wanted)
    assert not again["changed"] and again["identities_made"] == [] and local_lab.writes(mark) == []
    both = ensure(local_lab, "cvm-05", system_assigned=True, **wanted)
    assert both["changed"] and both["vms"][0]["principal_id"] and both["vms"][0]["user_assigned"]
    gone = ensure(local_lab, "cvm-04", "cvm-05", state="absent", user_assigned=["id-fleet"])
    assert gone["changed"] and {one["client_id"] for one in gone["vms"][0]["user_assigned"]} == set(others)
    assert gone["vms"][1]["principal_id"] and gone["vms"][1]["user_assigned"] == []
    mark = local_lab.mark
    assert not ensure(local_lab, "cvm-04", "cvm-05", state="absent", user_assigned=["id-fleet"])["changed"]
    assert local_lab.writes(mark) == []
    bare(local_lab, "cvm-04")


def test_the_system_identity_can_be_taken_away(local_lab: Lab) -> None:
    bare(local_lab, "cvm-04", users=1)
    ensure(local_lab, "cvm-04")
    gone = ensure(local_lab, "cvm-04", state="absent")
    assert gone["changed"] and principal(local_lab, "cvm-04") is None and len(gone["vms"][0]["user_assigned"]) == 1
    mark = local_lab.mark
    assert not ensure(local_lab, "cvm-04", state="absent")["changed"] and local_lab.writes(mark) == []
    bare(local_lab, "cvm-04")


def test_an_identity_that_is_missing_is_named(local_lab: Lab) -> None:
    mark = local_lab.mark
    result = ensure(local_lab, "cvm-04", user_assigned=["id-nobody"])
    assert result["failed"] and result["reason"] == "resource_not_found" and "id-nobody" in result["msg"]
    assert "location" in result["next_step"]
    bad = ensure(local_lab, "cvm-04", user_assigned=["/subscriptions/x"])
    assert bad["reason"] == "invalid_input" and "user_assigned" in bad["msg"] and local_lab.writes(mark) == []


# --- the list of confidential VMs


def test_confidential_vms_are_listed_with_what_is_wrong(local_lab: Lab) -> None:
    bare(local_lab, "cvm-04")
    mark = local_lab.mark
    found = local_lab.module("cvm_info", **local_lab.azure())
    by_name = {vm["name"]: vm for vm in found["vms"]}
    assert {f"cvm-0{number}" for number in range(1, 7)} <= set(by_name) and not found["changed"]
    assert by_name["cvm-05"]["tee_type"] == "sevsnpvm" and by_name["cvm-05"]["vm_id"]
    assert by_name["cvm-04"]["problems"] == ["it has no managed identity; module cvm_identity gives it one"]
    # Pages, never one request per VM; and nothing is written.
    assert [one["operation"] for one in local_lab.audit(mark, service="arm")] == ["vm_list_all"]
    one = local_lab.module("cvm_info", **local_lab.azure(), resource_groups=[RESOURCE_GROUP, RESOURCE_GROUP.upper()])
    assert [vm["id"] for vm in one["vms"]] == [vm["id"] for vm in found["vms"]]
    gone = local_lab.module("cvm_info", **local_lab.azure(), resource_groups=["rg-nowhere"])
    assert gone["failed"] and gone["reason"] == "resource_not_found"
