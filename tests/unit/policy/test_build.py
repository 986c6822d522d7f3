# SPDX-License-Identifier: GPL-3.0-or-later
"""The builder: what it makes is met by the VMs meant and by no other, and bad parameters are named."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from unit.policy import tokens
from unit.policy.tokens import ISSUER, TEE, VM

from ansible_collections.confidential.azure_skr.plugins.module_utils.policy import (
    build,
    canonical,
    evaluate,
    lint,
    model,
)
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.failure import SkrFailure

MEASUREMENT = f"{TEE}.x-ms-sevsnpvm-launchmeasurement"
EAST = "https://sharedeus2.eus2.attest.azure.net"


def made(**parameters: Any) -> dict[str, Any]:
    return build.release_policy({"authority": ISSUER, **parameters})


def met(policy: dict[str, Any], claims: dict[str, Any]) -> bool:
    return evaluate.evaluate(model.parse(policy), claims).satisfied


def put(claims: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(claims)
    node = changed
    *way, last = path.split(".")
    for name in way:
        node = node[name]
    node[last] = value
    return changed


def test_the_default_is_a_compliant_snp_vm_that_cannot_be_debugged() -> None:
    policy = made()
    assert met(policy, tokens.snp())
    assert not met(policy, tokens.tdx()) and not met(policy, tokens.trusted_launch())
    assert not met(policy, tokens.snp(**{"x-ms-sevsnpvm-is-debuggable": True}))
    assert not met(policy, tokens.snp(**{"x-ms-compliance-status": "other"}))
    assert not met(policy, {**tokens.snp(), "iss": EAST})
    assert policy == canonical.as_dict(model.parse(policy))


def test_a_mixed_fleet_has_one_branch_per_tee_and_authority() -> None:
    """AC-09, the policy's part: ids in the case each TEE's token uses, both kinds qualify. TDX ids have two spellings."""
    policy = build.release_policy(
        {
            "vm_unique_ids": [VM.upper()],
            "branches": [
                {"tee_type": "sevsnpvm", "authority": [ISSUER, EAST]},
                {"tee_type": "tdxvm", "authority": ISSUER + "/"},
            ],
        }
    )
    assert len(policy["anyOf"]) == 4
    upper = json.loads(json.dumps(tokens.tdx()).replace(VM, VM.upper()))
    assert upper != tokens.tdx() and met(policy, upper)
    assert met(policy, tokens.snp()) and met(policy, tokens.tdx()) and met(policy, {**tokens.snp(), "iss": EAST})
    assert not met(policy, {**tokens.tdx(), "iss": EAST})
    text = canonical.dump(model.parse(policy))
    assert text.count(VM.upper()) == 3 and text.count(VM) == 1
    assert lint.lint(model.parse(policy)) == []


def test_trusted_launch_is_labelled_and_needs_secure_boot() -> None:
    policy = made(tee_type="trusted_launch", vm_unique_ids=[VM])
    assert met(policy, tokens.trusted_launch()) and not met(policy, tokens.trusted_launch(secureboot=False))
    assert [one.code for one in lint.lint(model.parse(policy))] == ["satisfied_without_tee"]


@pytest.mark.parametrize(
    ("parameters", "path", "other"),
    [
        ({"vm_unique_ids": [VM]}, f"{TEE}.x-ms-runtime.vm-configuration.vmUniqueId", VM.upper()[:-1] + "0"),
        ({"host_data": ["00" * 32]}, f"{TEE}.x-ms-sevsnpvm-hostdata", "01" * 32),
        ({"launch_measurements": ["0A" * 48]}, MEASUREMENT, "0b" * 48),
        ({"id_key_digests": "57" * 48}, f"{TEE}.x-ms-sevsnpvm-idkeydigest", "58" * 48),
        ({"minimum_svns": {"snpfw": 8, "microcode": 100}}, f"{TEE}.x-ms-sevsnpvm-snpfw-svn", 7),
        ({"secure_boot": True}, "secureboot", False),
        ({"log_booleans": {"dbvalidated": True, "testsigning_enabled": False}}, "x-ms-azurevm-dbvalidated", False),
        ({"claims": {"x-ms-azurevm-ostype": "Linux"}}, "x-ms-azurevm-ostype", "Windows"),
        ({"pin": ["launch_measurement", "svns"], "golden_claims": tokens.snp()}, MEASUREMENT, "0b" * 48),
        ({"pin": ["log_booleans"], "golden_claims": tokens.snp()}, "x-ms-azurevm-signingdisabled", False),
        ({"pin": ["secureboot"], "golden_claims": tokens.snp()}, "secureboot", False),
    ],
)
def test_a_bound_value_binds(parameters: dict[str, Any], path: str, other: Any) -> None:
    policy = made(**parameters)
    assert met(policy, tokens.snp())
    verdict = evaluate.evaluate(model.parse(policy), put(tokens.snp(), path, other))
    assert not verdict.satisfied and [one.path for one in verdict.failing] == [path]


def test_values_multiply_into_flat_branches_or_nest_on_request() -> None:
    other = "11111111-2222-3333-4444-555555555555"
    parameters = {"vm_unique_ids": [VM, other], "launch_measurements": ["0a" * 48, "0b" * 48]}
    flat, nested = made(**parameters), made(**parameters, nested=True)
    assert len(flat["anyOf"]) == 4 and len(nested["anyOf"]) == 1
    assert not any(one.code == "nesting_not_portable" for one in lint.lint(model.parse(flat)))
    for claims in (
        tokens.snp(),
        put(tokens.snp(), MEASUREMENT, "0b" * 48),
        put(tokens.snp(), MEASUREMENT, "0c" * 48),
        put(tokens.snp(), f"{TEE}.x-ms-runtime.vm-configuration.vmUniqueId", other),
        put(tokens.snp(), f"{TEE}.x-ms-runtime.vm-configuration.vmUniqueId", other[:-1] + "6"),
    ):
        assert met(flat, claims) == met(nested, claims)


def test_a_planned_change_overlaps_and_then_contracts() -> None:
    """AC-14: old and new are accepted before the change, the new alone after all VMs have reported."""
    old, new = tokens.snp(), put(tokens.snp(), MEASUREMENT, "0b" * 48)
    pinned = {"pin": ["launch_measurement", "id_key_digest"], "golden_claims": old}
    change = {"planned_change": {MEASUREMENT: "0b" * 48}}
    before, overlap = made(**pinned), made(**pinned, **change)
    after = made(**pinned, **change, planned_stage="contract")
    assert (met(before, old), met(before, new)) == (True, False)
    assert (met(overlap, old), met(overlap, new)) == (True, True) and len(overlap["anyOf"]) == 2
    assert (met(after, old), met(after, new)) == (False, True) and len(after["anyOf"]) == 1


@pytest.mark.parametrize(
    ("parameters", "option", "told"),
    [
        ("text", "the parameters", "a dictionary"),
        ({}, "authority", "the attestation authority"),
        ({"authority": "http://x.attest.azure.net"}, "authority[0]", "an https URL"),
        ({"authority": [5]}, "authority[0]", "a text"),
        ({"authority": ISSUER, "tee": "snp"}, "tee", "one of the parameters"),
        ({"authority": ISSUER, "tee_type": "snp"}, "tee_type", "sevsnpvm"),
        ({"authority": ISSUER, "allow_debug": "no"}, "allow_debug", "true or false"),
        ({"authority": ISSUER, "vm_unique_ids": ["web-01"]}, "vm_unique_ids[0]", "a VM id"),
        ({"authority": ISSUER, "host_data": ["ab"]}, "host_data[0]", "64 hex digits"),
        ({"authority": ISSUER, "tee_type": "tdxvm", "host_data": ["ab" * 32]}, "host_data[0]", "96 hex digits"),
        (
            {"authority": ISSUER, "tee_type": "tdxvm", "id_key_digests": ["ab" * 48]},
            "id_key_digests[0]",
            "no such claim",
        ),
        ({"authority": ISSUER, "tee_type": "trusted_launch", "host_data": ["ab"]}, "host_data[0]", "no such claim"),
        ({"authority": ISSUER, "minimum_svns": {"seam": 1}}, "minimum_svns.seam", "bootloader"),
        ({"authority": ISSUER, "minimum_svns": {"tee": True}}, "minimum_svns.tee", "a whole number"),
        ({"authority": ISSUER, "log_booleans": {"pcr7": True}}, "log_booleans.pcr7", "dbvalidated"),
        ({"authority": ISSUER, "claims": {"x": [1]}}, "claims.x", "a text, a number or a boolean"),
        ({"authority": ISSUER, "branches": []}, "branches", "at least one branch"),
        ({"authority": ISSUER, "branches": [{"tee_type": 1}]}, "branches[0].tee_type", "sevsnpvm"),
        ({"authority": ISSUER, "pin": ["secure_boot"]}, "golden_claims", "golden VM"),
        ({"authority": ISSUER, "planned_change": {"secureboot": True}}, "pin", "what is pinned"),
        ({"authority": ISSUER, "pin": ["pcrs.7"], "golden_claims": tokens.snp()}, "pin", "PCR values are no claims"),
        ({"authority": ISSUER, "pin": ["nothing"], "golden_claims": tokens.snp()}, "pin", "nothing there"),
        ({"authority": ISSUER, "pin": [TEE], "golden_claims": tokens.snp()}, "pin", "cannot be compared"),
        (
            {"authority": ISSUER, "pin": ["secure_boot"], "golden_claims": tokens.snp(), "planned_change": {"x": 1}},
            "planned_change",
            "one of the pinned claims",
        ),
        ({"authority": ISSUER, "planned_stage": "later"}, "planned_stage", "overlap"),
        ({"authority": ISSUER, "claims": {"a..b": 1}}, "", "a dotted path"),
        (
            {"authority": ISSUER, "vm_unique_ids": [f"{n:08x}{VM[8:]}" for n in range(65)]},
            "vm_unique_ids",
            "65 branches",
        ),
    ],
)
def test_bad_parameters_are_named(parameters: Any, option: str, told: str) -> None:
    with pytest.raises(SkrFailure) as caught:
        build.release_policy(parameters)
    failure = caught.value
    assert failure.reason in ("invalid_input", "policy_invalid") and told in failure.message
    assert failure.facts.get("option", "") == option or failure.reason == "policy_invalid"
