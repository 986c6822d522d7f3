# SPDX-License-Identifier: GPL-3.0-or-later
"""Token buckets of Resource Manager, Compute and vaults, which count only when they are switched on."""

from __future__ import annotations

import pytest
from arm_caller import Caller, vm_path
from vault_caller import VaultLab

from skrsim.core.app import App
from skrsim.core.world import Principal, World


@pytest.fixture
def arm(app: App, operator: Principal) -> Caller:
    return Caller(app, operator)


def test_reads_are_counted_told_and_refill(arm: Caller, world: World) -> None:
    assert "x-ms-ratelimit-remaining-subscription-reads" not in arm("GET", vm_path(world)).headers
    world.throttling = True
    where = f"{arm.subscription}/resourceGroups/rg-test/providers/Microsoft.Compute/virtualMachines"
    first = arm("GET", where)
    assert int(first.headers["x-ms-ratelimit-remaining-subscription-reads"]) >= 248
    answers = [arm("GET", where) for _index in range(400)]
    refused = [one for one in answers if one.status == 429]
    assert (
        refused and refused[0].code == "SubscriptionRequestsThrottled" and int(refused[0].headers["Retry-After"]) >= 1
    )
    world.clock.advance(60)
    assert arm("GET", where).status == 200


def test_one_vm_is_not_patched_without_end(arm: Caller, world: World) -> None:
    world.throttling = True
    answers = [arm("PATCH", vm_path(world), {"tags": {"n": str(index)}}) for index in range(14)]
    assert [one.status for one in answers].count(200) == 12 and answers[-1].status == 429
    assert answers[-1].audit["write"] is False
    assert arm("PATCH", vm_path(world, "cvm-02"), {"tags": {}}).status == 200
    world.clock.advance(16)
    assert arm("PATCH", vm_path(world), {"tags": {}}).status == 200


def test_a_vault_throttles_without_promising_when(app: App) -> None:
    lab = VaultLab(app)
    lab.world.throttling = True
    answers = [lab("POST", f"/keys/k{index:02d}/create", {"kty": "EC"}) for index in range(21)]
    assert answers[0].status == 200 and answers[-1].status == 429
    assert answers[-1].document["error"]["code"] == "Throttled" and "Retry-After" not in answers[-1].headers
    lab.world.clock.advance(10)
    assert lab("POST", "/keys/later/create", {"kty": "EC"}).status == 200
