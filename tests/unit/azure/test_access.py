# SPDX-License-Identifier: GPL-3.0-or-later
"""Grants: the vault's model decides, everything in one write, nobody else's entries, names that two runs share."""

from __future__ import annotations

import dataclasses
import uuid
from typing import Any

import pytest
from unit.azure.fakes import ALICE, BOB, SUBSCRIPTION, TENANT, Model, answer, login, vault

from ansible_collections.confidential.azure_skr.plugins.module_utils.azure import access, role_access
from ansible_collections.confidential.azure_skr.plugins.module_utils.azure.clients import Connection, errors
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.failure import SkrFailure

VAULT = vault()["id"]
OTHER_ROLE = "12338af0-0e69-4776-bea7-57ae8d297424"


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Time that passes when somebody sleeps, and only then."""
    now, slept = [0.0], []

    def sleep(seconds: float) -> None:
        now[0] += seconds
        slept.append(seconds)

    monkeypatch.setattr(access.time, "sleep", sleep)
    monkeypatch.setattr(access.time, "monotonic", lambda: now[0])
    return slept


class _Connection(Connection):
    """Requests to Resource Manager by path, answered by the stand-in."""

    azure: Azure

    def list(self, path: str, api_version: str, what: str, **query: str) -> Any:
        assert path.endswith("/providers/Microsoft.Authorization/roleAssignments") and query == {"filter": "atScope()"}
        return iter(list(self.azure.assignments))

    def put(self, path: str, api_version: str, body: dict[str, Any], what: str) -> dict[str, Any]:
        scope, _middle, name = path.partition("/providers/Microsoft.Authorization/roleAssignments/")
        with errors(what):
            self.azure.create(scope, name, body)
        return {}

    def delete(self, path: str, api_version: str, what: str) -> None:
        scope, _middle, name = path.partition("/providers/Microsoft.Authorization/roleAssignments/")
        self.azure.delete(scope, name)


class Azure:
    """Stand-in of vault and authorization clients."""

    def __init__(self, rbac: bool, policies: list[dict[str, Any]] | None = None, lag: int = 0) -> None:
        self.rbac, self.policies, self.lag = rbac, policies or [], lag
        self.assignments: list[dict[str, Any]] = []
        self.writes: list[tuple[str, Any]] = []
        self.refusals: list[Exception] = []
        self.vaults = self

    def connection(self) -> Connection:
        made = _Connection(login(), _cache={"azure-mgmt-keyvault": self})
        made.azure = self
        return made

    def get(self, group: str, name: str) -> Model:
        return Model(vault(enableRbacAuthorization=self.rbac, accessPolicies=[dict(one) for one in self.policies]))

    def update_access_policy(self, group: str, name: str, operation: str, body: Any, **options: Any) -> None:
        entries = body["properties"]["accessPolicies"]
        self.writes.append((operation, entries))
        if self.lag:
            self.lag -= 1
            return
        ids = {entry["objectId"] for entry in entries}
        self.policies = [one for one in self.policies if one["objectId"] not in ids]
        if operation == "add":
            self.policies += entries

    def assign(self, principal: str, scope: str = VAULT, role: str = role_access.ROLE_ID, name: str = "x") -> None:
        definition = f"/providers/Microsoft.Authorization/roleDefinitions/{role.upper()}"
        inner = {"principalId": principal, "roleDefinitionId": definition, "scope": scope}
        self.assignments.append({"name": name, "properties": inner})

    def create(self, scope: str, name: str, body: Any, **options: Any) -> None:
        self.writes.append(("assign", (scope, name, body["properties"])))
        if self.refusals:
            raise self.refusals.pop(0)
        self.assign(body["properties"]["principalId"], scope, name=name)

    def delete(self, scope: str, name: str, **options: Any) -> None:
        self.writes.append(("delete", (scope, name)))
        self.assignments = [one for one in self.assignments if one["name"] != name]


def ensure(azure: Azure, *principals: str, check_mode: bool = False, **wanted: Any) -> dict[str, Any]:
    return access.ensure(azure.connection(), access.Wanted("kv", "rg", principals, **wanted), check_mode)


def entry(principal: str, *keys: str, **more: Any) -> dict[str, Any]:
    return {"tenantId": TENANT, "objectId": principal, "permissions": {"keys": list(keys)}, **more}


# --- access policies


def test_one_write_for_all_missing_principals() -> None:
    azure = Azure(False, [entry("99999999-9999-4999-8999-999999999999", "all")])
    result = ensure(azure, ALICE, BOB)
    ((operation, entries),) = azure.writes
    assert operation == "add" and [one["objectId"] for one in entries] == [ALICE, BOB]
    assert all(one["permissions"]["keys"] == ["release"] and one["tenantId"] == TENANT for one in entries)
    assert result["changed"] and result["grant_model"] == "access_policy" and result["scope"] == VAULT
    assert [(one["granted"], one["changed"]) for one in result["principals"]] == [(True, True)] * 2
    assert result["diff"]["before"]["release"] == [] and result["diff"]["after"]["release"] == [ALICE, BOB]
    again = ensure(azure, ALICE.upper(), BOB)
    assert not again["changed"] and len(azure.writes) == 1 and again["waited_s"] == 0


@pytest.mark.parametrize(
    ("held", "granted"),
    [
        (entry(ALICE, "Release"), True),
        (entry(ALICE.upper(), "all"), True),
        (entry(ALICE, "get", "decrypt"), False),
        (entry(ALICE), False),
        # an entry for a user through an application is another's
        (entry(ALICE, "release", applicationId=BOB), False),
    ],
)
def test_what_counts_as_granted(held: dict[str, Any], granted: bool) -> None:
    assert ensure(Azure(False, [held]), ALICE, check_mode=True)["changed"] is not granted


def test_revocation_takes_release_from_those_who_have_it() -> None:
    azure = Azure(False, [entry(ALICE, "release")])
    result = ensure(azure, ALICE, BOB, present=False)
    ((operation, entries),) = azure.writes
    assert operation == "remove" and [one["objectId"] for one in entries] == [ALICE]
    assert [(one["granted"], one["changed"]) for one in result["principals"]] == [(False, True), (False, False)]
    assert not ensure(azure, ALICE, present=False)["changed"]


def test_wait_ends_with_the_observation_or_with_the_time(no_waiting: list[float]) -> None:
    with pytest.raises(SkrFailure) as caught:
        ensure(Azure(False, lag=1), ALICE, wait_timeout=10.0)
    assert caught.value.reason == "wait_timeout" and caught.value.facts["principals"] == [ALICE]
    assert 0 < sum(no_waiting) <= 10
    no_waiting.clear()
    assert ensure(Azure(False, lag=1), ALICE, wait=False)["changed"] and not no_waiting
    assert ensure(Azure(False), ALICE)["waited_s"] == 0 and not no_waiting


# --- Azure RBAC


def test_role_is_assigned_by_a_name_that_two_runs_share() -> None:
    one, other = Azure(True), Azure(True)
    ensure(one, ALICE)
    ensure(other, ALICE.upper())
    assert one.writes == other.writes
    ((_write, (scope, name, properties)),) = one.writes
    assert uuid.UUID(name).version == 5 and scope == VAULT
    assert properties["principalType"] == "ServicePrincipal" and properties["principalId"] == ALICE
    assert properties["roleDefinitionId"] == (
        f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Authorization/roleDefinitions/"
        "08bbd89e-9f13-488c-ac41-acfcb10c90ab"
    )


def test_key_scope() -> None:
    azure = Azure(True)
    result = ensure(azure, ALICE, scope="key", key_name="app")
    assert result["scope"] == f"{VAULT}/keys/app" and azure.writes[0][1][0] == f"{VAULT}/keys/app"
    other = Azure(True)
    ensure(other, ALICE)
    assert other.writes[0][1][1] != azure.writes[0][1][1]


@pytest.mark.parametrize("scope", [VAULT, VAULT.upper(), f"/subscriptions/{SUBSCRIPTION}"])
def test_role_held_at_or_above_the_scope_is_enough(scope: str) -> None:
    azure = Azure(True)
    azure.assign(ALICE.upper(), scope)
    azure.assign(BOB, role=OTHER_ROLE)
    result = ensure(azure, ALICE, BOB)
    assert [one["changed"] for one in result["principals"]] == [False, True]
    assert len(azure.writes) == 1


def test_new_principal_is_waited_for(no_waiting: list[float]) -> None:
    azure = Azure(True)
    azure.refusals = [answer(400, "PrincipalNotFound"), answer(400, "PrincipalNotFound")]
    assert ensure(azure, ALICE)["changed"] and len(azure.writes) == 3 and len(no_waiting) == 2
    never = Azure(True)
    never.refusals = [answer(400, "PrincipalNotFound")] * 100
    with pytest.raises(SkrFailure) as caught:
        ensure(never, ALICE, wait_timeout=10.0)
    assert caught.value.reason == "principal_not_found" and len(never.writes) <= 6


def test_same_grant_under_another_name_is_no_failure() -> None:
    azure = Azure(True)
    azure.refusals = [answer(409, "RoleAssignmentExists")]
    assert ensure(azure, ALICE, wait=False)["changed"]


def test_other_refusal_is_told_at_once(no_waiting: list[float]) -> None:
    azure = Azure(True)
    azure.refusals = [answer(403, "AuthorizationFailed", "roleAssignments/write")]
    with pytest.raises(SkrFailure) as caught:
        ensure(azure, ALICE)
    assert caught.value.reason == "authorization_failed" and role_access.ROLE in caught.value.message and not no_waiting


def test_revocation_deletes_every_assignment_at_the_scope() -> None:
    azure = Azure(True)
    azure.assign(ALICE, name="one")
    azure.assign(BOB, name="two")
    ensure(azure, ALICE, present=False)
    assert azure.writes == [("delete", (VAULT, "one"))]


def test_inherited_role_is_not_taken_away() -> None:
    azure = Azure(True)
    azure.assign(ALICE, f"/subscriptions/{SUBSCRIPTION}")
    with pytest.raises(SkrFailure) as caught:
        ensure(azure, ALICE, present=False)
    assert caught.value.reason == "conflict" and "above" in caught.value.message and azure.writes == []


# --- both


@pytest.mark.parametrize("rbac", [True, False])
def test_check_mode_reads_only(rbac: bool) -> None:
    azure = Azure(rbac)
    result = ensure(azure, ALICE, check_mode=True)
    assert result["changed"] and azure.writes == [] and result["diff"]["after"]["release"] == [ALICE]


@pytest.mark.parametrize(("rbac", "model"), [(True, "access_policy"), (False, "rbac")])
def test_grant_without_effect_is_refused(rbac: bool, model: str) -> None:
    azure = Azure(rbac)
    with pytest.raises(SkrFailure) as caught:
        ensure(azure, ALICE, grant_model=model)
    assert caught.value.reason == "grant_model_mismatch" and model in caught.value.message and azure.writes == []


def test_key_scope_is_not_widened_to_the_vault() -> None:
    """Access policies know no key scope; granting for all keys would be more than was asked for."""
    azure = Azure(False)
    with pytest.raises(SkrFailure) as caught:
        ensure(azure, ALICE, scope="key", key_name="app")
    assert caught.value.reason == "grant_model_mismatch" and azure.writes == []


@pytest.mark.parametrize(
    ("changes", "option"),
    [
        ({"principals": ("me",)}, "principals"),
        ({"principals": (ALICE, "{" + BOB + "}")}, "principals"),
        ({"principals": (ALICE.replace("-", ""),)}, "principals"),
        ({"scope": "key"}, "key_name"),
        ({"scope": "key", "key_name": ""}, "key_name"),
    ],
)
def test_bad_input(changes: dict[str, Any], option: str) -> None:
    wanted = dataclasses.replace(access.Wanted("kv", "rg", (ALICE,)), **changes)
    with pytest.raises(SkrFailure) as caught:
        access.check(wanted)
    assert caught.value.reason == "invalid_input" and caught.value.facts["option"] == option


def test_missing_vault() -> None:
    azure = Azure(True)

    def absent(group: str, name: str) -> Model:
        raise answer(404, "ResourceNotFound")

    azure.get = absent  # type: ignore[method-assign]
    with pytest.raises(SkrFailure) as caught:
        ensure(azure, ALICE)
    assert caught.value.reason == "resource_not_found" and "kv" in caught.value.message
    with pytest.raises(SkrFailure):
        ensure(azure, ALICE, check_mode=True, present=False)
    # In check mode the task before this one would have made it.
    planned = ensure(azure, ALICE, check_mode=True, scope="key", key_name="app")
    assert planned["changed"] and planned["diff"]["after"]["release"] == [ALICE] and "kv" in planned["warnings"][0]
    assert planned["scope"] == f"{VAULT}/keys/app" and planned["principals"][0]["changed"] and azure.writes == []
