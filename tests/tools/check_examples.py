# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks that every example in README.md, CONTRIBUTING.md and docs/*.md is real.

YAML and JSON parse; modules, their options and choices, roles, filters, playbooks, inventory variables, commands and make
targets that are named exist.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
COLLECTION = "confidential.azure_skr"
KEYWORDS = {
    "name", "register", "delegate_to", "run_once", "when", "vars", "loop", "loop_control", "notify", "become", "become_user",
    "tags", "failed_when", "changed_when", "until", "retries", "delay", "block", "rescue", "always", "listen", "no_log",
    "ignore_errors", "ignore_unreachable", "module_defaults", "environment", "check_mode", "diff", "args",
}  # fmt: skip
PLAY = {
    "hosts",
    "gather_facts",
    "tasks",
    "roles",
    "pre_tasks",
    "post_tasks",
    "handlers",
    "serial",
    "strategy",
    "vars_files",
}
PLAY |= {"order", "max_fail_percentage", "any_errors_fatal"}


class Loader(yaml.SafeLoader):
    """YAML as Ansible reads it: with its tags, and without a member that stands twice."""


def _mapping(loader: Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    names = [loader.construct_object(key) for key, _value in node.value]  # type: ignore[no-untyped-call]
    twice = {str(name) for name in names if names.count(name) > 1}
    if twice:
        raise yaml.constructor.ConstructorError(None, None, f"{', '.join(twice)} stands twice", node.start_mark)
    return dict(loader.construct_mapping(node, deep=True))


Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)
for tag in ("!vault", "!unsafe"):
    Loader.add_constructor(tag, lambda loader, node: loader.construct_scalar(node))


def blocks(text: str) -> Iterator[tuple[int, str, str]]:
    """Line, language and content of each block of code, fenced or indented by four blanks."""
    lines = text.splitlines()
    number = 0
    while number < len(lines):
        fence = re.match(r"( *)(```+)\s*(\S*)", lines[number])
        if fence:
            indent, marks, language = fence.groups()
            begin = number = number + 1
            while number < len(lines) and not lines[number].strip().startswith(marks):
                number += 1
            body = [line[len(indent) :] if line.startswith(indent) else line for line in lines[begin:number]]
            yield begin, language, "\n".join(body)
        elif lines[number].startswith("    ") and (number == 0 or not lines[number - 1].strip()):
            begin = number
            while number < len(lines) and (lines[number].startswith("    ") or not lines[number].strip()):
                number += 1
            yield begin + 1, "", "\n".join(line[4:] for line in lines[begin:number])
            continue
        number += 1


class Known:
    """What there is: from ansible-doc, the argument specs of the roles, the playbooks, and the agent's own parser."""

    def __init__(self) -> None:
        done = subprocess.run(
            ["ansible-doc", "--metadata-dump", "--no-fail-on-errors"], capture_output=True, text=True, check=True
        )
        self.plugins: dict[str, dict[str, Any]] = json.loads(done.stdout)["all"]
        self.playbooks = {path.stem for path in ROOT.glob("playbooks/*.yml")}
        self.roles = {
            path.parents[1].name: yaml.safe_load(path.read_text())["argument_specs"]
            for path in ROOT.glob("roles/*/meta/argument_specs.yml")
        }
        runtime = yaml.safe_load((ROOT / "meta/runtime.yml").read_text())
        self.groups: dict[str, list[str]] = runtime["action_groups"]
        text = "\n".join(path.read_text() for name in ("playbooks", "roles") for path in ROOT.glob(f"{name}/**/*.yml"))
        self.variables = set(re.findall(r"\bskr_[a-z_0-9]+", text))
        self.targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
        sys.path.insert(0, str(ROOT / ".collections"))
        sys.path.insert(0, str(ROOT / "tests" / "simulator"))
        from ansible_collections.confidential.azure_skr.plugins.module_utils.guest import cli, commands
        from skrsim.lab import cli as lab

        self.lab = lab.parser()
        self.agent = _options_by_command(cli.parser(commands.every()))
        folders = ("plugins", "roles", "playbooks", "tests/simulator/skrsim", "tests/tools")
        files = [
            path
            for folder in folders
            for path in ROOT.glob(f"{folder}/**/*")
            if path.suffix in (".py", ".yml", ".sh", ".j2")
        ]
        files += [ROOT / "tests/labkit.py", ROOT / "tests/demo/ansible.cfg"]
        self.words = set(re.findall(r"\w+", "\n".join(path.read_text() for path in files))) | {
            path.stem for path in files
        }


def _options_by_command(parser: argparse.ArgumentParser) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, one in action.choices.items():
                found[name] = {word for option in one._actions for word in option.option_strings}
    return found


class Check:
    """Problems of one page, each with its line."""

    def __init__(self, known: Known, path: Path) -> None:
        self.known, self.path, self.line = known, path, 0
        self.problems: list[str] = []
        self.blocks = 0

    def say(self, text: str) -> None:
        self.problems.append(f"{self.path.relative_to(ROOT)}:{self.line}: {text}")

    def exists(self, kind: str, name: str, there: Any) -> bool:
        if name in there:
            return True
        self.say(f"there is no {kind} {name}")
        return False

    def page(self) -> None:
        text = self.path.read_text()
        for number, language, body in blocks(text):
            self.line, self.blocks = number, self.blocks + 1
            if language in ("yaml", "yml", "json"):
                self.document(body, language)
            self.words(body)
        self.line = 0
        for name in re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.S)):
            self.words(name)
            for word in re.findall(r"^[a-z]+(?:_[a-z0-9]+)+$", name):
                self.exists("word in the code:", word, self.known.words)

    def words(self, text: str) -> None:
        """Names anywhere in a text."""
        for name in re.findall(r"\b(skr_[a-z_0-9]*[a-z0-9])\b(?![*_])", text):
            if not re.search(rf"{name}_\*", text):
                self.exists("variable", name, self.known.variables)
        for name in re.findall(rf"ansible-playbook [^\n]*?{COLLECTION}\.([a-z_]+)", text):
            self.exists("playbook", name, self.known.playbooks)
        for name in re.findall(rf"\|\s*{COLLECTION}\.([a-z_]+)", text):
            self.exists("filter", f"{COLLECTION}.{name}", self.known.plugins["filter"])
        for kind, name in re.findall(rf"ansible-doc -t ([a-z]+) {COLLECTION}\.([a-z_]+)", text):
            self.exists(kind, f"{COLLECTION}.{name}", self.known.plugins[kind])
        for name in re.findall(rf"-m {COLLECTION}\.([a-z_]+)", text):
            self.exists("module", f"{COLLECTION}.{name}", self.known.plugins["module"])
        for name in re.findall(r"(?:^|[`;&]\s*)make ([a-z]+)", text, re.M):
            self.exists("make target", name, self.known.targets)
        for rest in re.findall(r"^skrsim (\S[^|#\n]*)", text, re.M):
            if rest.split()[0] == "fault" and len(rest.split()) == 1:
                continue  # the command's name alone
            told = io.StringIO()
            try:
                with contextlib.redirect_stderr(told), contextlib.redirect_stdout(told):
                    self.known.lab.parse_args(shlex.split(rest))
            except SystemExit as end:
                if end.code:
                    self.say(f"skrsim {rest.strip()}: {told.getvalue().strip().splitlines()[-1]}")
        for command, rest in re.findall(r"(?:^|\s|/)azure-skr ([a-z-]+)((?: [^\n]*(?:\\\n[^\n]*)*)?)", text):
            if self.exists("command", command, self.known.agent):
                for option in re.findall(r"(?<=\s)(--[a-z-]+)", rest.split(" #")[0]):
                    self.exists(f"option of azure-skr {command}:", option, self.known.agent[command])

    def document(self, body: str, language: str) -> None:
        try:
            found = list(yaml.load_all(body, Loader))
        except yaml.YAMLError as error:
            self.say(f"{language} does not parse: {' '.join(str(error).split())}")
            return
        for one in found:
            if isinstance(one, list) and all(isinstance(item, dict) for item in one):
                for item in one:
                    self.play_or_task(item)
            elif isinstance(one, dict) and str(one.get("plugin", "")).startswith(COLLECTION):
                self.options("inventory", one["plugin"], one)
            elif isinstance(one, dict):
                self.defaults(one.get("module_defaults"))

    def play_or_task(self, item: dict[str, Any]) -> None:
        self.defaults(item.get("module_defaults"))
        book = item.get("ansible.builtin.import_playbook", item.get("import_playbook"))
        if book is not None:
            self.exists("playbook", str(book).removeprefix(f"{COLLECTION}."), self.known.playbooks)
            return
        if "hosts" in item:
            for name in set(item) - PLAY - KEYWORDS:
                self.say(f"{name} is no keyword of a play")
            for role in item.get("roles", []):
                self.role(
                    role.get("role", role.get("name")) if isinstance(role, dict) else role, item | dict(role or {})
                )
        inner = [
            name
            for name in ("tasks", "pre_tasks", "post_tasks", "handlers", "block", "rescue", "always")
            if name in item
        ]
        for name in inner:
            for task in item[name]:
                self.play_or_task(task)
        if inner or "hosts" in item:
            return
        modules = [name for name in item if "." in str(name)]
        if len(modules) != 1:
            if not any(name in item for name in ("claim", "authority", "prefix")):  # a list of other things
                if "name" in item and len(item) > 1 and set(item) & KEYWORDS - {"name", "tags", "vars"}:
                    self.say(f"a task with {len(modules)} modules: {sorted(map(str, item))}")
            return
        for name in set(item) - KEYWORDS - set(modules):
            self.say(f"{name} is no keyword of a task")
        name, options = modules[0], item[modules[0]] or {}
        if name.rpartition(".")[2] in ("include_role", "import_role") and isinstance(options, dict):
            self.role(options.get("name"), item.get("vars", {}), str(options.get("tasks_from", "main")))
        elif isinstance(options, dict):
            self.options("module", name, options)

    def role(self, name: Any, variables: dict[str, Any], entry: str = "main") -> None:
        short = str(name).removeprefix(f"{COLLECTION}.")
        if self.exists("role", short, self.known.roles):
            offered = self.known.roles[short].get(entry, {}).get("options", {})
            for variable in variables:
                if variable.startswith(f"{short}_"):
                    self.exists(f"variable of role {short}:", variable, offered)

    def defaults(self, given: Any) -> None:
        for name, options in (given or {}).items() if isinstance(given, dict) else ():
            if name.startswith("group/"):
                group = name.removeprefix(f"group/{COLLECTION}.")
                if self.exists("action group", group, self.known.groups):
                    offered = {o for m in self.known.groups[group] for o in self.spec("module", f"{COLLECTION}.{m}")}
                    for option in options:
                        self.exists(f"option of group {group}:", option, offered)
            else:
                self.options("module", name, options, complete=False)

    def spec(self, kind: str, name: str) -> dict[str, Any]:
        options: dict[str, Any] = self.known.plugins[kind][name]["doc"].get("options") or {}
        aliases = {alias: option for option in options.values() for alias in option.get("aliases", [])}
        return aliases | options

    def options(self, kind: str, name: str, given: dict[str, Any], complete: bool = True) -> None:
        if not self.exists(kind, name, self.known.plugins[kind]):
            return
        offered = self.spec(kind, name)
        if name == "ansible.builtin.set_fact":
            return
        self.values(name, offered, given, complete)

    def values(self, name: str, offered: dict[str, Any], given: dict[str, Any], complete: bool = True) -> None:
        for option, value in given.items():
            if not self.exists(f"option of {name}:", option, offered):
                continue
            spec = offered[option]
            templated = isinstance(value, str) and "{{" in value
            if spec.get("choices") and not templated:
                for one in value if isinstance(value, list) else [value]:
                    if one not in spec["choices"]:
                        self.say(f"{name}: {option} is {one!r}, wanted one of {spec['choices']}")
            wanted = {"int": int, "dict": dict, "bool": bool, "list": (list, str)}.get(spec.get("type", "str"))
            if wanted and not templated and not isinstance(value, wanted):
                self.say(f"{name}: {option} is of type {type(value).__name__}, wanted {spec['type']}")
            if spec.get("suboptions"):
                for one in value if isinstance(value, list) else [value]:
                    if isinstance(one, dict):
                        self.values(f"{name}.{option}", spec["suboptions"], one)
        for option, spec in offered.items() if complete else ():
            # attestation_url is often a default of the action group; an alias stands in the table beside its option.
            if spec.get("required") and option != "attestation_url" and option not in spec.get("aliases", []):
                if not {option, *spec.get("aliases", [])} & set(given):
                    self.say(f"{name}: {option} is missing")


def complete(known: Known) -> list[str]:
    """What the README does not name, although there is such a playbook, module, role, filter or test."""
    named = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`\n]+)`", (ROOT / "README.md").read_text()))))
    found = {("playbook", name) for name in known.playbooks} | {("role", name) for name in known.roles}
    for kind in ("module", "filter", "test", "inventory"):
        found |= {(kind, name.rpartition(".")[2]) for name in known.plugins[kind] if name.startswith(f"{COLLECTION}.")}
    return [f"README.md: does not name the {kind} {name}" for kind, name in sorted(found) if name not in named]


def main() -> int:
    known = Known()
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md"))]
    checks = [Check(known, path) for path in pages]
    for check in checks:
        check.page()
    problems = [problem for check in checks for problem in check.problems] + complete(known)
    print("\n".join(problems) or "every name in every example exists")
    print(f"{len(pages)} pages, {sum(check.blocks for check in checks)} blocks of code")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
