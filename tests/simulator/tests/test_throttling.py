# SPDX-License-Identifier: GPL-3.0-or-later
"""Token buckets of Resource Manager, Compute and vaults, which count only when they are switched on."""

from __future__ import annotations

import types
import typing as t

import pytest
from arm_caller import Caller, vm_path
from vault_caller import VaultLab

from skrsim.core import clock
from skrsim.core.app import App
from skrsim.core.messages import Refusal
from skrsim.core.world import Key, Principal, World
from skrsim.services.imds import ImdsService
from skrsim.services.keyvault.throttle import Throttle


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


@pytest.fixture
def vault(app: App, monkeypatch: pytest.MonkeyPatch) -> VaultLab:
    """Throttling on, and a clock that moves only when it is moved: a slow machine must not run into the next window."""
    monkeypatch.setattr(clock, "time", types.SimpleNamespace(time=lambda: 1_800_000_000.5))
    lab = VaultLab(app)
    lab.world.throttling = True
    return lab


def made(lab: VaultLab, name: str, **key: t.Any) -> None:
    lab.world.throttling = False
    assert lab("POST", f"/keys/{name}/create", key).status == 200
    lab.world.throttling = True


def statuses(lab: VaultLab, name: str, count: int) -> list[int]:
    return [lab("GET", f"/keys/{name}").status for _index in range(count)]


def test_ten_keys_are_created_in_a_window(vault: VaultLab) -> None:
    answers = [vault("POST", f"/keys/k{index:02d}/create", {"kty": "EC"}) for index in range(11)]
    assert [one.status for one in answers] == [200] * 10 + [429]
    assert answers[-1].document["error"]["code"] == "Throttled"
    assert "VaultRequestTypeLimitReached" in answers[-1].document["error"]["message"]
    assert vault("GET", "/keys/k00").status == 200  # other requests have a limit of their own
    vault.world.clock.advance(10)
    assert vault("POST", "/keys/later/create", {"kty": "EC"}).status == 200


def test_the_time_to_wait_is_told_unless_the_lab_is_not_to(vault: VaultLab) -> None:
    made(vault, "app", kty="EC-HSM")
    vault.world.limits = {"EC": 2}
    statuses(vault, "app", 2)
    told = vault("GET", "/keys/app")
    assert told.status == 429 and 8 <= int(told.headers["Retry-After"]) <= 10
    vault.world.clock.advance(float(told.headers["Retry-After"]))
    assert vault("GET", "/keys/app").status == 200
    statuses(vault, "app", 2)
    vault.world.throttling_tells = False
    assert "Retry-After" not in vault("GET", "/keys/app").headers


def allowed(counted: Throttle, key: Key | None, most: int = 5000) -> int:
    """How many requests of a key pass until one is refused."""
    for number in range(most):
        try:
            counted.spend("vault", "key_release", key)
        except Refusal:
            return number
    return most


def test_large_keys_are_dear_and_all_are_weights_of_one_sum(vault: VaultLab) -> None:
    made(vault, "ec", kty="EC-HSM")
    for size in (2048, 3072, 4096):
        made(vault, f"k{size}", kty="RSA-HSM", key_size=size)
    found = {key.name: allowed(Throttle(vault.world), key) for key in vault.world.keys.values()}
    assert found == {"ec": 2000, "k2048": 2000, "k3072": 500, "k4096": 250}
    keys = {key.name: key for key in vault.world.keys.values()}
    counted = Throttle(vault.world)
    for _request in range(125):
        counted.spend("vault", "key_release", keys["k4096"])
    assert allowed(counted, keys["k2048"]) == 1000


def test_a_subscription_has_five_vaults_worth() -> None:
    world = World.new(1)
    world.throttling, world.limits = True, {"RSA-2048": 4}
    world.clock.advance(10 - world.clock.now() % 10)
    counted = Throttle(world)
    for number in range(5):
        for _request in range(4):
            counted.spend(f"vault-{number}", "key_get", None)
    with pytest.raises(Refusal) as found:
        counted.spend("vault-5", "key_get", None)
    assert b"SubscriptionLimitReached" in found.value.response.body


def test_a_vm_asks_the_metadata_service_a_few_times_a_second(world: World) -> None:
    world.throttling = True
    world.clock.advance(1 - world.clock.now() % 1 + 0.1)
    service, vm = ImdsService(world), next(iter(world.vms.values()))
    for _index in range(5):
        service._count(vm, "imds_instance")
    service._count(vm, "imds_token")
    with pytest.raises(Refusal) as found:
        service._count(vm, "imds_instance")
    assert found.value.response.status == 429 and found.value.response.headers["Retry-After"] == "1"
    world.clock.advance(1)
    service._count(vm, "imds_instance")
