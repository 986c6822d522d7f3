# SPDX-License-Identifier: GPL-3.0-or-later
"""Which grants let a principal release, which of them are taken away, and why the others are not."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.confidential.azure_skr.plugins.module_utils.azure import release_permissions, role_access
from ansible_collections.confidential.azure_skr.plugins.module_utils.azure.release_permissions import AzureRoles
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.failure import SkrFailure

SUBSCRIPTION = "00000000-0000-4000-8000-000000000001"
WHO, GROUP = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
BASE = f"/subscriptions/{SUBSCRIPTION}"
VAULT = f"{BASE}/resourceGroups/rg/providers/Microsoft.KeyVault/vaults/kv"
OFFICER, READER, HIDDEN = "officer", "reader", "hidden"
ROLES = {
    OFFICER: {"roleName": "Officer", "permissions": [{"dataActions": ["Microsoft.KeyVault/vaults/keys/*"]}]},
    READER: {"roleName": "Reader", "permissions": [{"dataActions": ["Microsoft.KeyVault/vaults/*/read"]}]},
}


class Fake:
    """A connection that knows assignments, roles and no other vault."""

    subscription_id = SUBSCRIPTION

    def __init__(self, *assignments: t.Dict[str, t.Any], refuse: t.Sequence[str] = ()) -> None:
        self._assignments, self._refuse = assignments, refuse
        self.deleted: t.List[str] = []
        self.asked: t.List[str] = []
        self.vaults = self

    def list(self, path: str, version: str, what: str, **query: str) -> t.Iterator[t.Dict[str, t.Any]]:
        self.asked.append(query["filter"])
        yield from self._assignments

    def list_by_subscription(self) -> t.List[t.Any]:
        return []

    def get(self, path: str, version: str, what: str) -> t.Dict[str, t.Any]:
        name = path.rpartition("/")[2]
        if name not in ROLES:
            raise SkrFailure("authorization_failed", "no")
        return {"properties": ROLES[name]}

    def delete(self, path: str, version: str, what: str) -> None:
        if any(one in path for one in self._refuse):
            raise SkrFailure("authorization_failed", "may not")
        self.deleted.append(path)


def assigned(scope: str, role: str = role_access.ROLE_ID, principal: str = WHO, name: str = "a") -> t.Dict[str, t.Any]:
    definition = f"{BASE}/providers/Microsoft.Authorization/roleDefinitions/{role}"
    properties = {"roleDefinitionId": definition, "principalId": principal, "scope": scope}
    return {"name": name, "properties": properties}


def held(*assignments: t.Dict[str, t.Any]) -> release_permissions.Held:
    return AzureRoles(t.cast(t.Any, Fake(*assignments)), VAULT, "app").held([WHO], elsewhere=True)


@pytest.mark.parametrize(
    ("assignment", "why"),
    [
        (assigned(VAULT), None),
        (assigned(VAULT.upper()), None),
        (assigned(f"{VAULT}/keys/app"), None),
        (assigned(BASE), "above the vault"),
        (assigned("/"), "above the vault"),
        (assigned(VAULT, OFFICER), "more than the release"),
        (assigned(VAULT, HIDDEN), "cannot be read"),
        (assigned(VAULT, principal=GROUP), "group"),
    ],
)
def test_what_is_ours_to_take_and_why_the_rest_is_not(assignment: t.Dict[str, t.Any], why: t.Optional[str]) -> None:
    (one,) = held(assignment).here
    assert one.principal_id == WHO and (one.kept is None if why is None else why in str(one.kept))


def test_a_role_without_the_release_is_nothing_and_another_key_is_elsewhere() -> None:
    found = held(assigned(VAULT, READER), assigned(f"{VAULT}/keys/app2"), assigned(f"{VAULT}2"))
    assert found.here == () and [one.scope for one in found.elsewhere or ()] == [f"{VAULT}/keys/app2", f"{VAULT}2"]


def test_one_that_cannot_be_deleted_does_not_stop_the_others() -> None:
    fake = Fake(assigned(VAULT, name="x"), assigned(f"{VAULT}/keys/app", name="y"), refuse=["/x"])
    room = AzureRoles(t.cast(t.Any, fake), VAULT, "app")
    with pytest.raises(SkrFailure) as info:
        room.take(room.held([WHO], elsewhere=False).here)
    assert info.value.reason == "authorization_failed" and info.value.facts["still_granted"] == [WHO]
    assert "1 of 2 grants are still there" in info.value.message
    assert [path.rpartition("/")[2] for path in fake.deleted] == ["y"]
    assert fake.asked == [f"assignedTo('{WHO}')"]
