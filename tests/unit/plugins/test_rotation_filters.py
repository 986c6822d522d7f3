# SPDX-License-Identifier: GPL-3.0-or-later
"""The filters of rotations and planned updates: documented examples run, and bad input is a readable error."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import yaml
from unit.plugins.test_filters import PLUGINS, play

EXPECTED: dict[str, Any] = {
    "policy_overlap": lambda told: len(told["anyOf"]) == 2,
    "policy_contract": lambda told: told["anyOf"][0]["allOf"][0]["equals"] == "0b" * 48,
    "policy_standing": lambda told: told["branch"] == "none" and told["failing"][0]["found"] is None,
    "policy_golden": lambda told: told["anyOf"][0]["allOf"][0]["equals"] == "0b" * 48,
    "rotation_versions": lambda told: told == ["fedcba9876543210" * 2],
    "rotation_resumed": lambda told: told == "0123456789abcdef" * 2,
    "rotation_decision": lambda told: told["finish"] is True and told["moved"] == ["web-1"],
}


def test_documented_examples_run(tmp_path: Path) -> None:
    tasks = [
        task
        for name in EXPECTED
        for task in yaml.safe_load(importlib.import_module(f"{PLUGINS}.filter.{name}").EXAMPLES)
    ]
    status, text, messages = play(tmp_path, tasks)
    assert status == 0 and len(messages) == len(EXPECTED), text
    for (name, check), told in zip(EXPECTED.items(), messages, strict=True):
        assert check(told), (name, told)


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("{} | confidential.azure_skr.policy_overlap({})", "the live policy"),
        ("policy | confidential.azure_skr.policy_overlap({})", "the target"),
        ("policy | confidential.azure_skr.policy_contract(other)", "overlap_missing"),
        ("policy | confidential.azure_skr.policy_golden([])", "wanted a dictionary of claims"),
        ("[] | confidential.azure_skr.policy_standing(policy, policy)", "wanted a dictionary"),
        ("{} | confidential.azure_skr.rotation_versions", "wanted the result of exportable_key"),
        ("['{'] | confidential.azure_skr.rotation_resumed", "skr_resume names a file"),
        (
            "[] | confidential.azure_skr.rotation_decision([], share=101)",
            "skr_rotate_share is 101, wanted a percentage",
        ),
        ("[] | confidential.azure_skr.rotation_decision([], slices='x')", "skr_slices is 'x'"),
    ],
)
def test_bad_input_is_named(tmp_path: Path, expression: str, words: str) -> None:
    def policy(value: str) -> dict[str, Any]:
        condition = {"claim": "secureboot", "equals": value}
        return {"version": "1.0.0", "anyOf": [{"authority": "https://a.weu.attest.azure.net", "allOf": [condition]}]}

    task = {"ansible.builtin.debug": {"msg": "{{ " + expression + " }}"}}
    status, text, _messages = play(tmp_path, [task], policy=policy("a"), other=policy("b"))
    assert status != 0 and words in text.replace("\n", " ") and "Traceback" not in text, text
