# SPDX-License-Identifier: GPL-3.0-or-later
"""Policies in plain words: who qualifies, per authority; the same words for what a vault gives back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from unit.policy import published
from unit.policy.tokens import ISSUER, TEE, VM

from ansible_collections.confidential.azure_skr.plugins.module_utils.policy import build, explain, model


def told(policy: Any) -> str:
    return explain.explain(model.parse(policy))


def test_who_qualifies_is_said_per_authority() -> None:
    text = told(published.CVM)
    assert "the shared attestation provider of West Europe" in text and "of East US)" in text
    assert text.count("it is an AMD SEV-SNP confidential VM") == 2
    assert (
        text.count("any AMD SEV-SNP confidential VM of any Azure customer, if it also has the release permission") == 2
    )


def test_bound_vms_are_named() -> None:
    text = told(build.release_policy({"authority": ISSUER, "vm_unique_ids": [VM]}))
    assert f"its VM id is {VM.upper()}" in text and "one of those named above" in text
    assert "the host cannot debug it" in text and "any Azure customer" not in text


def test_weak_and_impossible_policies_are_called_so() -> None:
    assert "nobody with a guest token" in told(published.DEFAULT_CVM)
    assert "Azure VM (with or without a hardware TEE) that is one of those named" in told(published.TRUSTED_LAUNCH)
    assert "says nothing about a hardware TEE" in told(published.TRUSTED_LAUNCH)
    both = [{"claim": "secureboot", "equals": value} for value in (True, False)]
    assert "nobody; two conditions exclude each other" in told(published.rules(ISSUER, allOf=both))


def test_groups_and_every_operator_are_words() -> None:
    operators = ("equals", "notEquals", "less", "lessOrEquals", "greater", "greaterOrEquals")
    members: list[dict[str, Any]] = [{"claim": "level", name: 3} for name in operators]
    members += [
        {"claim": "a", "exists": True},
        {"claim": "b", "exists": False},
        {"claim": "x-ms-runtime.client-payload.c", "equals": "1"},
    ]
    text = told(published.rules(ISSUER, anyOf=[*members, {"allOf": members[:2]}]))
    for words in (
        "at least one of these holds", "all of these hold", "is 3", "is not 3", "is less than 3", "is at most 3",
        "is greater than 3", "is at least 3", "claim a is present", "claim b is absent", "proves nothing",
    ):  # fmt: skip
        assert words in text


@pytest.mark.parametrize("name", ["CVM", "DATA_DISK", "TRUSTED_LAUNCH", "DEFAULT_CVM"])
def test_the_live_policy_reads_the_same(name: str) -> None:
    """X-03: a vault gives booleans back as text, in its own order, with or without a slash."""
    policy = getattr(published, name)

    def stored(node: Any) -> Any:
        if isinstance(node, list):
            return [stored(item) for item in reversed(node)]
        if isinstance(node, dict):
            return {key: stored(node[key]) for key in sorted(node)}
        return json.dumps(node) if isinstance(node, bool) else node

    live = stored(policy)
    for rule in live["anyOf"]:
        rule["authority"] = rule["authority"].rstrip("/")
    assert told(live) == told(policy)


def test_the_data_disk_policy_makes_sense() -> None:
    text = told(published.DATA_DISK)
    assert "Azure calls it a compliant confidential VM" in text and "at least one of these holds" in text
    assert "any confidential VM of any Azure customer" in text and TEE not in text
