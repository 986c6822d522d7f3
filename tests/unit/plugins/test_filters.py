# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters and the test as a playbook meets them: every documented example runs, and bad input is a readable error."""

from __future__ import annotations

import importlib
import json
import subprocess
from pathlib import Path
from typing import Any

import labkit
import pytest
import yaml
from unit.policy import published, tokens

FILTERS = ("release_policy", "policy_lint", "policy_explain", "policy_diff", "policy_verdict")
PLUGINS = "ansible_collections.confidential.azure_skr.plugins"


def play(directory: Path, tasks: list[dict[str, Any]], **variables: Any) -> tuple[int, str, list[Any]]:
    """Exit status, output, and the messages of the debug tasks."""
    path = directory / "play.yml"
    path.write_text(yaml.safe_dump([{"hosts": "localhost", "gather_facts": False, "vars": variables, "tasks": tasks}]))
    env = {**labkit.environment(), "ANSIBLE_CALLBACK_RESULT_FORMAT": "json"}
    command = ["ansible-playbook", "-i", "localhost,", "-c", "local", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    messages = []
    decoder = json.JSONDecoder()
    for part in done.stdout.split("=> ")[1:]:
        document, _end = decoder.raw_decode(part)
        messages.append(document.get("msg"))
    return done.returncode, done.stdout + done.stderr, messages


@pytest.mark.parametrize("name", [*(f"filter.{name}" for name in FILTERS), "test.satisfied_by"])
def test_documented_examples_run(tmp_path: Path, name: str) -> None:
    module = importlib.import_module(f"{PLUGINS}.{name}")
    status, text, messages = play(tmp_path, yaml.safe_load(module.EXAMPLES))
    assert status == 0 and messages and all(messages), text


def test_results_have_the_documented_shape(tmp_path: Path) -> None:
    def shown(expression: str) -> dict[str, Any]:
        return {"ansible.builtin.debug": {"msg": "{{ " + expression + " }}"}}

    c = "confidential.azure_skr"
    status, text, messages = play(
        tmp_path,
        [
            shown(f"{{'authority': authority}} | {c}.release_policy"),
            shown(f"policy | {c}.policy_lint"),
            shown(f"policy | {c}.policy_explain"),
            shown(f"policy | {c}.policy_diff(policy)"),
            shown(f"policy | {c}.policy_verdict(claims)"),
            shown(
                f"((policy | to_json) | {c}.policy_verdict(claims)).message == (policy | {c}.policy_verdict(claims)).message"
            ),
            shown(f"[claims is {c}.satisfied_by(policy), claims is not {c}.satisfied_by(policy)]"),
        ],
        authority=tokens.ISSUER,
        policy=published.DEFAULT_CVM,
        claims=tokens.snp(),
    )
    assert status == 0, text
    built, findings, told, diff, verdict, same, tested = messages
    assert set(built) == {"version", "anyOf"}
    assert all(set(one) == {"code", "severity", "path", "message"} for one in findings)
    assert told.startswith("The key is released to")
    assert diff == {"equal": True, "changes": []}
    assert {"satisfied", "reason", "trace", "near_misses"} <= set(verdict) and verdict["satisfied"] is False
    assert same is True and tested == [False, True]


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("{'authority': 'x'} | c.release_policy", "authority[0] is 'x'"),
        ("5 | c.policy_lint", "found a number (5), wanted an object. [policy_invalid]"),
        ("'{' | c.policy_explain", "line 1, column 2"),
        ("policy | c.policy_diff({'version': '2'})", "version: found '2'"),
        ("policy | c.policy_verdict('token')", "wanted a dictionary of claims"),
        ("{'version': '1.0.0', 'anyOf': []} | c.policy_verdict({})", "anyOf: found a list without elements"),
        ("5 is c.satisfied_by(policy)", "wanted a dictionary"),
    ],
)
def test_bad_input_is_named(tmp_path: Path, expression: str, told: str) -> None:
    text = "{{ " + expression.replace("c.", "confidential.azure_skr.") + " }}"
    status, output, _messages = play(tmp_path, [{"ansible.builtin.debug": {"msg": text}}], policy=published.CVM)
    assert status != 0 and told in " ".join(output.split()) and "Traceback" not in output
