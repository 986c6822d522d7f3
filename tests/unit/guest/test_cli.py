# SPDX-License-Identifier: GPL-3.0-or-later
"""The agent's front door: which commands there are, what is imported for one, and how failures end."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.confidential.azure_skr.plugins.module_utils import agent_archive
from ansible_collections.confidential.azure_skr.plugins.module_utils.guest import cli, commands
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.failure import SkrFailure


def command(outcome: Any, **members: Any) -> types.ModuleType:
    """A command whose work has this outcome."""
    made = types.ModuleType("made")

    def run(_options: dict[str, Any]) -> tuple[int, str]:
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome  # type: ignore[no-any-return]

    def add(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true")

    made.__dict__.update(NAME="made", HELP="of a test", add=add, run=run, **members)
    return made


@pytest.mark.parametrize(
    ("outcome", "members", "status", "out", "error"),
    [
        ((0, "fine"), {}, 0, "fine\n", ""),
        ((1, ""), {}, 1, "", ""),
        (SkrFailure("tpm_busy", "Held."), {}, 2, "", "azure-skr: Held. [tpm_busy]"),
        (SkrFailure("tpm_busy", "Held."), {"exit_status": lambda failure: 75}, 75, "", "[tpm_busy]"),
        (ModuleNotFoundError("x", name="requests.sessions"), {}, 2, "", "package requests is not installed"),
        (ValueError("secret"), {}, 2, "", "unforeseen ValueError [internal_error]"),
        (KeyboardInterrupt(), {}, 2, "", "interrupted"),
    ],
)
def test_outcomes(
    outcome: Any,
    members: dict[str, Any],
    status: int,
    out: str,
    error: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(commands, "load", lambda name: command(outcome, **members) if name == "made" else None)
    assert cli.main(["made"]) == status
    said = capsys.readouterr()
    assert said.out == out and error in said.err and "secret" not in said.err


def test_failure_for_a_program(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(commands, "load", lambda name: command(SkrFailure("tpm_busy", "Held.", {"device": "/dev/x"})))
    assert cli.main(["made", "--json"]) == 2
    told = json.loads(capsys.readouterr().err)
    assert told["reason"] == "tpm_busy" and told["facts"] == {"device": "/dev/x"} and told["next_step"]


def test_every_command_that_has_a_file_is_offered(capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path(commands.__file__).parent
    there = {name for name, module in commands.MODULES.items() if (folder / f"{module}.py").exists()}
    assert {made.NAME for made in commands.every()} == there and "explain" in there
    with pytest.raises(SystemExit) as ended:
        cli.main(["--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert all(f"    {name}" in said for name in there)


def test_absent_command_is_refused_as_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    for typed in ("nonesuch", "common", "__init__"):
        with pytest.raises(SystemExit) as ended:
            cli.main([typed])
        assert ended.value.code == 2 and "invalid choice" in capsys.readouterr().err


def test_command_whose_own_import_fails_is_not_taken_for_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_name: str) -> types.ModuleType:
        raise ModuleNotFoundError("x", name="requests")

    monkeypatch.setattr(commands.importlib, "import_module", broken)
    with pytest.raises(ModuleNotFoundError, match="x"):
        commands.load("explain")


def test_one_command_imports_no_other(tmp_path: Path) -> None:
    """Start-up is measured: neither the other commands nor the libraries are imported to read the options of one."""
    program = tmp_path / "azure-skr"
    agent_archive.write(str(program))
    code = (
        f"import sys; sys.path.insert(0, {str(program)!r})\n"
        "from azure_skr.guest import cli, commands\n"
        "for name in commands.MODULES:\n"
        "    one = commands.load(name)\n"
        "    if one: cli.parser([one])\n"
        "    break\n"
        "print(*sorted(name for name in sys.modules if name.split('.')[0] in ('azure_skr', 'requests', 'cryptography')))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    assert not [name for name in loaded if name.startswith(("requests", "cryptography"))]
    others = {f"azure_skr.guest.commands.{module}" for module in list(commands.MODULES.values())[1:]}
    assert not others & set(loaded)
