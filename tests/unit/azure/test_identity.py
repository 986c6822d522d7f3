# SPDX-License-Identifier: GPL-3.0-or-later
"""Identities of many VMs: the union of what is there and what is wanted, races, and one VM's failure."""

from __future__ import annotations

from typing import Any

import pytest
from unit.azure.fakes import SUBSCRIPTION, TENANT, Model, answer, login

from ansible_collections.confidential.azure_skr.plugins.module_utils.azure import identity
from ansible_collections.confidential.azure_skr.plugins.module_utils.azure.clients import Connection, errors, wire
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.failure import SkrFailure

USER = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg/providers/Microsoft.ManagedIdentity/userAssignedIdentities/u"


def machine_id(name: str, group: str = "rg", subscription: str = SUBSCRIPTION) -> str:
    return f"/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Compute/virtualMachines/{name}"


def users(*names: str) -> dict[str, Any]:
    return {USER + name: {"principalId": "p", "clientId": "c" + name} for name in names}


@pytest.mark.parametrize(
    ("found", "body"),
    [
        (None, {"type": "SystemAssigned"}),
        ({"type": "None"}, {"type": "SystemAssigned"}),
        (
            {"type": "UserAssigned", "userAssignedIdentities": users("1", "2")},
            {"type": "SystemAssigned, UserAssigned", "userAssignedIdentities": {USER + "1": {}, USER + "2": {}}},
        ),
        # A list may leave the map out; the type alone must then keep the users.
        ({"type": "UserAssigned"}, {"type": "SystemAssigned, UserAssigned"}),
    ],
)
def test_union_never_drops_a_user_identity(found: dict[str, Any] | None, body: dict[str, Any]) -> None:
    plan = identity.plan_identity({"identity": found} if found else {})
    assert plan.action == "update" and plan.body == {"identity": body}
    assert plan.after["type"] == body["type"]


@pytest.mark.parametrize("kind", ["SystemAssigned", "SystemAssigned, UserAssigned", "SystemAssigned,UserAssigned"])
def test_system_identity_that_is_there(kind: str) -> None:
    plan = identity.plan_identity({"identity": {"type": kind, "principalId": "p"}})
    assert not plan.changed and plan.body is None


def test_names_and_ids_each_once() -> None:
    found = identity.locate(["a", machine_id("b", "Other"), "A", machine_id("a", "RG") + "/"], "rg", SUBSCRIPTION)
    assert found == [identity.Vm("rg", "a"), identity.Vm("Other", "b")]
    assert identity.locate([], None) == []


@pytest.mark.parametrize(
    ("entry", "group", "word"),
    [
        ("a", None, "resource_group"),
        ("a/b", "rg", "resource id"),
        (USER, "rg", "resource id"),
        (machine_id("a") + "/instanceView", "rg", "resource id"),
        (machine_id("a", subscription="33333333-3333-4333-8333-333333333333"), "rg", SUBSCRIPTION),
    ],
)
def test_entries_that_name_no_vm(entry: str, group: str | None, word: str) -> None:
    with pytest.raises(SkrFailure) as caught:
        identity.locate([entry], group, SUBSCRIPTION)
    assert caught.value.reason == "invalid_input" and caught.value.facts["option"] == "vms"
    assert word in caught.value.message and entry in caught.value.message


class _Machines:
    """Stand-in of the compute client: VMs by name; ``trouble`` maps a name to what happens at its update."""

    def __init__(self, *names: str, **trouble: Any) -> None:
        self.virtual_machines = self
        self.trouble = trouble
        self.calls: list[tuple[str, str]] = []
        self.held = {name: self._document(name, None) for name in names}

    @staticmethod
    def _document(name: str, principal: str | None, etag: str = '"1"') -> dict[str, Any]:
        made: dict[str, Any] = {
            "id": machine_id(name),
            "name": name,
            "etag": etag,
            "properties": {"vmId": f"id-{name}"},
        }
        if principal:
            made["identity"] = {"type": "SystemAssigned", "principalId": principal, "tenantId": TENANT}
        return made

    def list(self, group: str) -> Any:
        self.calls.append(("list", group))
        return (Model(document) for document in self.held.values())

    def get(self, group: str, name: str) -> Model:
        self.calls.append(("get", name))
        return Model(self.held[name])

    def begin_update(self, group: str, name: str, body: Any, **options: Any) -> Any:
        self.calls.append(("update", name))
        assert body is not None and options["etag"] == self.held[name]["etag"], "an update must not go out blindly"
        happens = self.trouble.get(name)
        if callable(happens):
            happens = happens(self)
        if isinstance(happens, Exception):
            raise happens
        self.held[name] = self._document(name, f"principal-{name}", '"2"')
        held = Model(self.held[name])
        return type("Poller", (), {"result": lambda _self: held})()


class _Connection(Connection):
    """Reads lists from the stand-in, too."""

    def list(self, path: str, api_version: str, what: str, **query: str) -> Any:
        with errors(what):
            yield from (wire(one) for one in self._cache["azure-mgmt-compute"].list(path.split("/")[4]))


def ensure(machines: _Machines, *names: str, check_mode: bool = False) -> dict[str, Any]:
    connection = _Connection(login(), _cache={"azure-mgmt-compute": machines})
    return identity.ensure(connection, identity.locate(names, "rg"), check_mode)


def test_only_what_is_missing_is_written() -> None:
    machines = _Machines("a", "b")
    machines.held["b"] = machines._document("b", "principal-b")
    result = ensure(machines, "a", "B")
    assert [call for call in machines.calls if call[0] == "update"] == [("update", "a")]
    assert machines.calls.count(("list", "rg")) == 1
    assert [(vm["name"], vm["principal_id"], vm["changed"]) for vm in result["vms"]] == [
        ("a", "principal-a", True),
        ("B", "principal-b", False),
    ]
    assert result["vms"][0]["vm_id"] == "id-a" and result["vms"][0]["tenant_id"] == TENANT
    assert result["diff"] == {"before": {"a": {"type": "None"}}, "after": {"a": {"type": "SystemAssigned"}}}
    again = ensure(machines, "a", "b")
    assert not again["changed"] and "diff" not in again and len([c for c in machines.calls if c[0] == "update"]) == 1


def test_check_mode_reads_only() -> None:
    machines = _Machines("a")
    result = ensure(machines, "a", check_mode=True)
    assert result["changed"] and result["vms"][0]["changed"] and machines.calls == [("list", "rg")]


def test_lost_race_is_planned_again() -> None:
    """Somebody else changed the VM between reading and writing; the second attempt has the new tag."""
    seen: list[int] = []

    def once(machines: _Machines) -> Exception | None:
        seen.append(1)
        if len(seen) > 1:
            return None
        machines.held["a"]["etag"] = '"9"'
        return answer(412, "PreconditionFailed")

    machines = _Machines("a", a=once)
    result = ensure(machines, "a")
    assert result["changed"] and result["vms"][0]["principal_id"] == "principal-a"
    assert machines.calls.count(("update", "a")) == 2


def test_race_that_somebody_else_won_is_no_change() -> None:
    def other(machines: _Machines) -> Exception:
        machines.held["a"] = machines._document("a", "principal-of-the-other", '"2"')
        return answer(412, "PreconditionFailed")

    machines = _Machines("a", a=other)
    result = ensure(machines, "a")
    assert machines.calls.count(("update", "a")) == 1
    assert result["vms"][0]["principal_id"] == "principal-of-the-other" and not result["vms"][0]["changed"]
    assert not result["changed"]


def test_race_that_never_ends() -> None:
    def always(machines: _Machines) -> Exception:
        machines.held["a"]["etag"] = f'"{len(machines.calls)}"'
        return answer(412, "PreconditionFailed")

    machines = _Machines("a", a=always)
    with pytest.raises(SkrFailure) as caught:
        ensure(machines, "a")
    assert caught.value.reason == "conflict" and machines.calls.count(("update", "a")) == 3


def test_failure_of_one_does_not_stop_the_others() -> None:
    machines = _Machines("a", "b", "c", b=answer(403, "AuthorizationFailed", "no"))
    with pytest.raises(SkrFailure) as caught:
        ensure(machines, "a", "b", "c", "absent")
    failure = caught.value
    assert failure.reason == "authorization_failed" and "2 of 4" in failure.message and "b, absent" in failure.message
    told = {vm["name"]: vm for vm in failure.facts["vms"]}
    assert told["a"]["changed"] and told["c"]["principal_id"] == "principal-c"
    assert told["b"]["reason"] == "authorization_failed" and not told["b"]["changed"]
    assert told["absent"]["reason"] == "resource_not_found" and told["absent"]["id"] is None


def test_resource_group_that_cannot_be_read_fails_its_own_vms_only() -> None:
    class Groups(_Machines):
        def list(self, group: str) -> Any:
            if group == "gone":
                raise answer(404, "ResourceGroupNotFound", "no such group")
            return super().list(group)

    machines = Groups("a")
    with pytest.raises(SkrFailure) as caught:
        connection = _Connection(login(), _cache={"azure-mgmt-compute": machines})
        identity.ensure(connection, [identity.Vm("gone", "x"), identity.Vm("rg", "a")], False)
    told = {vm["name"]: vm for vm in caught.value.facts["vms"]}
    assert told["a"]["changed"] and told["x"]["reason"] == "resource_not_found"


A, B = (
    "/subscriptions/s/resourceGroups/rg/providers/Microsoft.ManagedIdentity/userAssignedIdentities/" + n for n in "ab"
)


@pytest.mark.parametrize(
    ("found", "wanted", "body"),
    [
        ({}, identity.Wanted(False, (A,)), {"type": "UserAssigned", "userAssignedIdentities": {A: {}}}),
        (
            {"type": "SystemAssigned"},
            identity.Wanted(False, (A,)),
            {"type": "SystemAssigned, UserAssigned", "userAssignedIdentities": {A: {}}},
        ),
        (
            {"type": "UserAssigned", "userAssignedIdentities": {A: {}}},
            identity.Wanted(True, (B,)),
            {"type": "SystemAssigned, UserAssigned", "userAssignedIdentities": {A: {}, B: {}}},
        ),
        (
            {"type": "UserAssigned", "userAssignedIdentities": {A: {}, B: {}}},
            identity.Wanted(False, (B,), False),
            {"type": "UserAssigned", "userAssignedIdentities": {A: {}, B: None}},
        ),
        (
            {"type": "SystemAssigned, UserAssigned", "userAssignedIdentities": {A: {}}},
            identity.Wanted(False, (A,), False),
            {"type": "SystemAssigned"},
        ),
        (
            {"type": "UserAssigned", "userAssignedIdentities": {A: {}}},
            identity.Wanted(False, (A,), False),
            {"type": "None"},
        ),
        ({"type": "SystemAssigned"}, identity.Wanted(True, (), False), {"type": "None"}),
        ({"type": "UserAssigned", "userAssignedIdentities": {A.upper(): {}}}, identity.Wanted(False, (A,)), None),
        ({"type": "SystemAssigned"}, identity.Wanted(False, (A,), False), None),
        ({}, identity.Wanted(True, (A,), False), None),
    ],
)
def test_named_identities_come_and_go_and_others_stay(
    found: dict[str, Any], wanted: identity.Wanted, body: dict[str, Any] | None
) -> None:
    plan = identity.plan_identity({"identity": found} if found else {}, wanted)
    assert plan.body == ({"identity": body} if body else None) and plan.changed == (body is not None)
