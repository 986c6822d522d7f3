# SPDX-License-Identifier: GPL-3.0-or-later
"""Expanding and contracting policies: nobody who was let in is refused in between, and nothing old is left in the end."""

from __future__ import annotations

import copy
import itertools
import random
from typing import Any

import pytest

from ansible_collections.confidential.azure_skr.plugins.module_utils.policy import (
    build,
    canonical,
    compare,
    evaluate,
    model,
    overlap,
)
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy import vocabulary as words
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.failure import SkrFailure

WEU, NEU = "https://sharedweu.weu.attest.azure.net", "https://sharedneu.neu.attest.azure.net"
OLD, NEW = "0a" * 48, "0b" * 48
MEASUREMENT = words.LAUNCH_MEASUREMENT[words.SNP]


def claims(measurement: str = OLD, **more: Any) -> dict[str, Any]:
    tee = {
        "x-ms-attestation-type": "sevsnpvm",
        "x-ms-compliance-status": "azure-compliant-cvm",
        "x-ms-sevsnpvm-is-debuggable": False,
        "x-ms-sevsnpvm-launchmeasurement": measurement,
    }
    return {"iss": WEU, "secureboot": True, words.ISOLATION: {**tee, **more.pop("tee", {})}, **more}


def policy(*measurements: str, authority: str = WEU, **parameters: Any) -> model.Policy:
    made = {"authority": authority, "launch_measurements": list(measurements), "secure_boot": True} | parameters
    return model.parse(build.release_policy(made))


def tdx() -> model.Policy:
    return model.parse(build.release_policy({"authority": WEU, "tee_type": "tdxvm"}))


def accepts(one: model.Policy, token: dict[str, Any]) -> bool:
    return evaluate.evaluate(one, token).satisfied


def random_policy(seed: int) -> model.Policy:
    """Some branches over a few values, in any order, some twice."""
    chance = random.Random(seed)
    rules: list[Any] = []
    for _ in range(chance.randint(1, 5)):
        rules += policy(chance.choice("abcd") * 96, authority=chance.choice([WEU, NEU])).rules
    rules += chance.sample(rules, 1)
    chance.shuffle(rules)
    return model.Policy("1.0.0", tuple(rules))


TOKENS = [claims(letter * 96, iss=issuer) for letter, issuer in itertools.product("abcde", (WEU, NEU, "https://other"))]


@pytest.mark.parametrize("seed", range(40))
def test_properties_of_expansion_and_contraction(seed: int) -> None:
    live, target = random_policy(seed), random_policy(seed + 1000)
    both = overlap.union(live, target)
    for token in TOKENS:
        assert accepts(both, token) == (accepts(live, token) or accepts(target, token))
    assert compare.equal(overlap.union(both, target), both)
    assert len(both.rules) == len({canonical.digest(model.Policy("1.0.0", (rule,))) for rule in both.rules})
    contracted = overlap.contract(both, target)
    assert compare.equal(contracted, target) and compare.equal(overlap.contract(contracted, target), target)
    parts = overlap.branches(live, target)
    assert len(parts["old"]) + len(parts["kept"]) + len(parts["new"]) == len(both.rules)
    # As a vault gives it back, the answer is the same.
    spelt = model.parse(canonical.dump(both))
    assert compare.equal(overlap.contract(spelt, target), target)


@pytest.mark.parametrize("seed", range(20))
def test_standing_agrees_with_the_evaluation(seed: int) -> None:
    """new: the contracted policy lets the VM in. old: only what will go does. none: nothing does."""
    live, target = random_policy(seed), random_policy(seed + 500)
    both = overlap.union(live, target)
    for token in TOKENS:
        found = overlap.standing(both, target, evaluate.evaluate(both, token).as_dict())
        wanted = "new" if accepts(target, token) else "old" if accepts(live, token) else "none"
        assert found["branch"] == wanted and bool(found["failing"]) == (wanted != "new")


def test_standing_names_just_the_changed_claim() -> None:
    both = overlap.union(policy(OLD), policy(NEW))
    verdict = evaluate.evaluate(both, claims(OLD)).as_dict()
    found = overlap.standing(both, policy(NEW), verdict)
    assert found["branch"] == "old"
    assert found["failing"] == [{"claim": MEASUREMENT, "operator": "equals", "wanted": NEW, "found": OLD}]
    with pytest.raises(SkrFailure, match="wanted the 2") as caught:
        overlap.standing(both, policy(NEW), {**verdict, "trace": verdict["trace"][:1]})
    assert caught.value.reason == "invalid_input"


def test_standing_names_another_authority() -> None:
    both = overlap.union(policy(OLD), policy(OLD, authority=NEU))
    found = overlap.standing(both, policy(OLD, authority=NEU), evaluate.evaluate(both, claims(OLD)).as_dict())
    assert found["branch"] == "old"
    assert found["failing"] == [{"claim": "iss", "operator": "equals", "wanted": NEU, "found": WEU}]


def test_contraction_wants_the_expansion_first() -> None:
    with pytest.raises(SkrFailure, match=NEW) as caught:
        overlap.contract(policy(OLD), policy(NEW))
    assert caught.value.reason == "overlap_missing" and "expand" in caught.value.next_step


def test_what_a_vault_gives_back_is_spelt_as_a_user_would() -> None:
    """Booleans come back as text; sent again as such, every expansion would be warned of."""
    text = canonical.dump(policy(OLD)).replace("true", '"true"').replace("false", '"false"')
    both = overlap.union(model.parse(text), policy(NEW))
    assert canonical.as_dict(both) == canonical.as_dict(overlap.union(policy(OLD), policy(NEW)))
    assert overlap.contract(both, policy(NEW)) == policy(NEW)


def test_other_kinds_of_vm_are_left_alone() -> None:
    live = model.Policy("1.0.0", policy(OLD).rules + tdx().rules)
    target = overlap.from_golden(live, claims(NEW))
    assert compare.equal(target, model.Policy("1.0.0", policy(NEW).rules + tdx().rules))
    # Once expanded, the same golden VM leads to the same target.
    assert compare.equal(overlap.from_golden(overlap.union(live, target), claims(NEW)), target)
    assert compare.equal(overlap.from_golden(target, claims(NEW)), target)


@pytest.mark.parametrize("nested", [False, True])
def test_vm_ids_stay(nested: bool) -> None:
    ids = [f"0000000{number}-0000-4000-8000-000000000000" for number in range(3)]
    live = policy(OLD, vm_unique_ids=ids, nested=nested)
    target = overlap.from_golden(live, claims(NEW))
    assert compare.equal(target, policy(NEW, vm_unique_ids=ids, nested=nested))


def test_alternatives_in_a_group_become_the_golden_value() -> None:
    target = overlap.from_golden(policy(OLD, "0c" * 48, nested=True), claims(NEW))
    assert compare.equal(target, policy(NEW))
    assert compare.equal(overlap.from_golden(policy(OLD, NEW, nested=True), claims(NEW)), policy(OLD, NEW, nested=True))


@pytest.mark.parametrize(
    ("golden", "claim", "may"),
    [
        (claims(NEW, tee={"x-ms-sevsnpvm-is-debuggable": True}), words.DEBUG[words.SNP], []),
        (claims(NEW, tee={"x-ms-compliance-status": "none"}), words.COMPLIANCE, []),
        (claims(NEW, secureboot=False), "secureboot", ["secureboot"]),
    ],
)
def test_a_golden_vm_weakens_nothing_by_itself(golden: dict[str, Any], claim: str, may: list[str]) -> None:
    with pytest.raises(SkrFailure, match="golden VM differs") as caught:
        overlap.from_golden(policy(OLD), golden)
    assert caught.value.reason == "golden_unfit" and caught.value.facts["may_be_named"] == may
    assert [one["claim"] for one in caught.value.facts["failing"]] == [claim]


def test_secure_boot_changes_when_it_is_named() -> None:
    hardened = overlap.from_golden(policy(OLD, secure_boot=False), claims(NEW))
    assert compare.equal(hardened, policy(NEW))
    target = overlap.from_golden(policy(OLD), claims(NEW, secureboot=False), ["secureboot"])
    assert compare.equal(target, policy(NEW, secure_boot=False))


def test_a_missing_claim_and_a_lower_version_are_unfit() -> None:
    live = policy(OLD, minimum_svns={"tee": 3}, claims={"our-claim": "yes"})
    golden = claims(NEW, tee={"x-ms-sevsnpvm-tee-svn": 2})
    with pytest.raises(SkrFailure) as caught:
        overlap.from_golden(live, golden)
    assert [one["claim"] for one in caught.value.facts["failing"]] == ["our-claim", words.SVNS[words.SNP]["tee"]]
    fit = overlap.from_golden(live, claims(NEW, tee={"x-ms-sevsnpvm-tee-svn": 4}, **{"our-claim": "other"}))
    assert compare.equal(fit, policy(NEW, minimum_svns={"tee": 3}, claims={"our-claim": "other"}))


def test_a_golden_vm_of_another_kind() -> None:
    with pytest.raises(SkrFailure, match="No branch of the policy is for VMs like the golden one") as caught:
        overlap.from_golden(policy(OLD, authority=NEU), claims(NEW))
    assert caught.value.reason == "golden_unfit"
    with pytest.raises(SkrFailure):
        overlap.from_golden(tdx(), claims(NEW))


def test_a_broken_policy_is_named() -> None:
    with pytest.raises(SkrFailure, match="the target: .*not valid") as caught:
        overlap.parse("the target", {"version": "1.0.0", "anyOf": []})
    assert caught.value.reason == "policy_invalid"
    document = canonical.as_dict(policy(OLD))
    before = copy.deepcopy(document)
    overlap.union(overlap.parse("one", document), policy(NEW))
    assert document == before
