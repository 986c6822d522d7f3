# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks the rules of the house that no general tool knows: who may import whom, sizes, and verified TLS everywhere."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MODULE_LINES = 200
FILE_LINES = 450


def imports(path: Path) -> Iterator[tuple[int, str, bool]]:
    """Line, dotted name and whether it stands at top level, of every import (relative ones with leading dots)."""
    tree = ast.parse(path.read_text())
    top = set(map(id, tree.body))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name, id(node) in top
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, "." * node.level + (node.module or ""), id(node) in top


def forbidden(path: Path, name: str, top: bool) -> str | None:
    """Why this file may not import this name."""
    place = path.relative_to(ROOT).as_posix()
    first = name.split(".")[0]
    if place.startswith("plugins/module_utils/policy/") and first not in (*sys.stdlib_module_names, ""):
        return "policy code is standard library only"
    if place.startswith("plugins/module_utils/field/"):
        if first not in (*sys.stdlib_module_names, "") or name.startswith(("..azure", "..guest")):
            return "the field check's judgement is standard library and policy only"
    if place.startswith("plugins/module_utils/guest/"):
        if first not in (*sys.stdlib_module_names, "", "cryptography", "requests"):
            return "guest code may use the standard library, cryptography and requests"
        if name.startswith("...audit") and place != "plugins/module_utils/guest/commands/verify_evidence.py":
            return "of the guest only the auditor's command knows the audit room"
        if name.startswith("..azure") or name.startswith("..skin"):
            return "guest code knows neither the controller's rooms nor the modules' skin"
    if place.startswith("plugins/module_utils/audit/"):
        if first not in (*sys.stdlib_module_names, "", "cryptography"):
            return "audit code may use the standard library and cryptography"
        if re.match(r"\.{2,}(azure|skin|fleet|agent_archive)", name):
            return "audit code knows the rooms of policy and guest alone"
    if place.startswith("plugins/module_utils/azure/"):
        if first == "ansible" or name.startswith("..guest"):
            return "controller code knows neither Ansible nor the guest"
        if top and first in ("azure", "msal", "cryptography", "requests"):
            return "third-party packages are imported where they are used"
    if place.startswith("plugins/") and first == "skrsim":
        return "the plugins know no simulator"
    if place.startswith("tests/simulator/skrsim/") and first in ("ansible_collections", "ansible", "plugins"):
        return "the simulator shares no code with the plugins"
    return None


def code_lines(path: Path) -> int:
    """Lines of a module besides its documentation strings, blank lines and comments."""
    lines = path.read_text().splitlines()
    tree = ast.parse("\n".join(lines))
    documentation: set[int] = set()
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            documentation.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return sum(
        1
        for number, line in enumerate(lines, 1)
        if number not in documentation and line.strip() and not line.strip().startswith("#")
    )


def main() -> int:
    problems = []
    files = [*ROOT.glob("plugins/**/*.py"), *ROOT.glob("tests/simulator/skrsim/**/*.py")]
    for path in sorted(files):
        place = path.relative_to(ROOT)
        for line, name, top in imports(path):
            reason = forbidden(path, name, top)
            if reason:
                problems.append(f"{place}:{line}: imports {name}: {reason}")
        text = path.read_text()
        if re.search(r"verify\s*=\s*False|CERT_NONE|_create_unverified_context|check_hostname\s*=\s*False", text):
            problems.append(f"{place}: switches TLS verification off")
        length = len(text.splitlines())
        if "modules" in place.parts and code_lines(path) > MODULE_LINES:
            problems.append(f"{place}: {code_lines(path)} lines of code, at most {MODULE_LINES}")
        if "modules" not in place.parts and length > FILE_LINES:
            problems.append(f"{place}: {length} lines, at most {FILE_LINES}")
    print("\n".join(problems) or f"{len(files)} files keep the rules of the house")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
