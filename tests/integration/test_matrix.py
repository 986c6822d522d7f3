# SPDX-License-Identifier: GPL-3.0-or-later
"""Every control-plane module in every state: check mode writes nothing and shows the plan, a second run changes nothing."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import yaml
from integration.cases import CASES, READERS, Case, Options
from labkit import MODULES, ROOT, Lab

GROUPS = yaml.safe_load((ROOT / "meta/runtime.yml").read_text())["action_groups"]
GROUP = GROUPS["azure"]
# They work on this machine alone, with tests of their own.
OF_NO_GROUP = {
    "key_removal", "secret_wrap", "evidence_collect", "evidence_bundle", "evidence_verify", "evidence_report",
}  # fmt: skip


def documentation(module: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(importlib.import_module(f"{MODULES}.{module}").DOCUMENTATION)
    return found


def test_no_module_and_no_state_is_left_out() -> None:
    modules = {path.stem for path in Path(ROOT / "plugins/modules").glob("*.py")} - set(GROUPS["guest"]) - OF_NO_GROUP
    assert modules == set(GROUP)
    wanted = {
        (module, state)
        for module in GROUP
        for state in documentation(module)["options"].get("state", {}).get("choices", ["present"])
        if module not in {name for name, _prepare in READERS}
    }
    assert {(case.module, case.state) for case in CASES} == wanted
    assert {name for name, _prepare in READERS} == {name for name in GROUP if name.endswith("_info")}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_plan_then_change_then_nothing(local_lab: Lab, case: Case) -> None:
    options = case.fresh(local_lab)
    mark = local_lab.mark
    planned = local_lab.quick(case.module, check=True, diff=True, **options)
    assert not planned.get("failed") and planned["changed"], planned
    assert planned["diff"]["before"] != planned["diff"]["after"]
    assert local_lab.writes(mark) == []
    made = local_lab.quick(case.module, diff=True, **options)
    assert not made.get("failed") and made["changed"], made
    assert local_lab.writes(mark) != []
    mark = local_lab.mark
    # What was asked for once and is done by then is not asked for again.
    for check in (True, False):
        again = local_lab.quick(case.module, check=check, diff=True, **options)
        assert not again.get("failed") and not again["changed"], again
        assert "diff" not in again
    assert local_lab.writes(mark) == []


@pytest.mark.parametrize(("module", "prepare"), READERS, ids=[name for name, _prepare in READERS])
def test_readers_only_read(local_lab: Lab, module: str, prepare: Any) -> None:
    options: Options = prepare(local_lab, f"r{module.replace('_', '')[:6]}")
    mark = local_lab.mark
    for check in (True, False):
        found = local_lab.quick(module, check=check, **options)
        assert not found.get("failed") and not found["changed"], found
    assert local_lab.writes(mark) == []
