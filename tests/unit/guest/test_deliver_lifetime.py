# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies that end, consumers that are told, and the options that lead to a consumer."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import typing as t
from pathlib import Path

import pytest
from unit.guest.program_fakes import Programs
from unit.guest.release_fakes import ec_key, refused

from ansible_collections.confidential.azure_skr.plugins.module_utils.guest import arguments, deliver, material
from ansible_collections.confidential.azure_skr.plugins.module_utils.guest.commands import remove_copies
from ansible_collections.confidential.azure_skr.plugins.module_utils.guest.deliver import files, lifetime

ONE, TWO = (material.Material("EC", private=ec_key(name)) for name in ("one", "two"))
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root sets timers")


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    """A machine that systemd runs, with programs that only note how they were called."""
    monkeypatch.setattr(lifetime, "FOLDER", str(tmp_path / "copies"))
    monkeypatch.setattr(lifetime, "_SYSTEMD", str(tmp_path))
    made = Programs(tmp_path)
    monkeypatch.setenv("PATH", f"{made.folder}:/usr/bin:/bin")
    for name in ("systemd-run", "systemctl"):
        made.write(name, "exit 0")
    return made


def target(folder: Path, **changes: t.Any) -> deliver.Target:
    return deliver.Target(str(folder / "app.pem"), **{"memory_backed": False, **changes})


def run(place: deliver.Target, made: material.Material = ONE, check_mode: bool = False) -> bool:
    return deliver.check(place).deliver(made, check_mode)[0]


def notes(folder: Path) -> t.List[str]:
    return sorted(os.listdir(folder / "copies")) if (folder / "copies").exists() else []


# --- a time limit


@needs_root
def test_the_timer_is_set_before_the_copy_is_there(programs: Programs, tmp_path: Path) -> None:
    programs.write("systemd-run", f"[ -e {tmp_path}/app.pem ] && exit 1; exit 0")
    assert run(target(tmp_path, ttl=90))
    (line,) = [line for line in programs.lines() if "--quiet" in line]
    (note,) = notes(tmp_path)
    unit = f"azure-skr-remove-{note[:-5]}"
    assert line[:4] == ["--quiet", f"--unit={unit}", "--on-active=90s", "--timer-property=AccuracySec=1s"]
    assert line[line.index("--") + 1].endswith("/shred")
    assert line[-2:] == [str(tmp_path / "app.pem"), str(tmp_path / "copies" / note)]
    # What the timer will run does what it is to do.
    subprocess.run(line[line.index("--") + 1 :], check=True)
    assert not (tmp_path / "app.pem").exists() and notes(tmp_path) == []


@needs_root
def test_a_second_release_renews_the_timer_and_is_no_change(programs: Programs, tmp_path: Path) -> None:
    assert run(target(tmp_path, ttl=90)) and not run(target(tmp_path, ttl=90))
    verbs = [line[0] for line in programs.lines()]
    assert verbs == ["stop", "reset-failed", "--quiet"] * 2
    assert not run(target(tmp_path)) and programs.lines()[-2][0] == "stop" and notes(tmp_path) == []


@needs_root
def test_nothing_is_delivered_where_the_timer_cannot_be_set(programs: Programs, tmp_path: Path) -> None:
    programs.write("systemd-run", "exit 1")
    with refused("removal_unscheduled"):
        run(target(tmp_path, ttl=90))
    assert not (tmp_path / "app.pem").exists()


def test_check_mode_sets_no_timer(programs: Programs, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        assert run(target(tmp_path, ttl=90), check_mode=True)
        assert programs.lines() == [] and notes(tmp_path) == []


def test_a_machine_without_systemd_is_told_before_anything(
    programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifetime, "_SYSTEMD", str(tmp_path / "nothing"))
    with refused("removal_unscheduled") as info:
        deliver.check(target(tmp_path, ttl=90))
    assert "keyring" in info.value.next_step
    monkeypatch.setattr(lifetime, "_SYSTEMD", str(tmp_path))
    monkeypatch.setattr(lifetime.os, "geteuid", lambda: 1000)
    with refused("removal_unscheduled"):
        deliver.check(target(tmp_path, ttl=90))


@pytest.mark.parametrize("ttl", [0, -1, 31 * 86400 + 1])
def test_times_that_cannot_be(programs: Programs, tmp_path: Path, ttl: int) -> None:
    with refused("invalid_input") as info:
        deliver.check(target(tmp_path, ttl=ttl))
    assert info.value.facts == {"option": "ttl"}


# --- notes


def test_a_copy_for_as_long_as_the_service_runs(programs: Programs, tmp_path: Path) -> None:
    assert run(target(tmp_path, remove_on_stop=True))
    (note,) = notes(tmp_path)
    path = tmp_path / "copies" / note
    assert path.stat().st_mode & 0o777 == 0o600 and path.parent.stat().st_mode & 0o777 == 0o700
    assert "PRIVATE" not in path.read_text() and json.loads(path.read_text())["target"]["dest"] == str(
        tmp_path / "app.pem"
    )
    assert lifetime.remove_due() == [] and (tmp_path / "app.pem").exists()
    assert remove_copies.run({"stopping": False}) == (0, "nothing to remove")
    status, text = remove_copies.run({"stopping": True})
    assert status == 0 and str(tmp_path / "app.pem") in text and not (tmp_path / "app.pem").exists()
    assert notes(tmp_path) == [] and json.loads(remove_copies.run({"stopping": True, "json": True})[1]) == {
        "removed": []
    }


@needs_root
def test_a_copy_whose_time_is_over(programs: Programs, tmp_path: Path) -> None:
    run(target(tmp_path, ttl=60))
    run(dataclasses.replace(target(tmp_path, remove_on_stop=True), dest=str(tmp_path / "other.pem")))
    now = lifetime.time.time()
    assert lifetime.remove_due(now + 50) == []
    ((facts, diff),) = lifetime.remove_due(now + 61)
    assert facts["dest"] == str(tmp_path / "app.pem") and diff["after"]["exists"] is False
    assert (tmp_path / "other.pem").exists() and lifetime.remove_due(now + 61) == []


def test_a_copy_that_is_gone_already_is_forgotten(programs: Programs, tmp_path: Path) -> None:
    run(target(tmp_path, remove_on_stop=True))
    (tmp_path / "app.pem").unlink()
    assert lifetime.remove_due(stopping=True) == [] and notes(tmp_path) == []


def test_one_that_cannot_be_removed_does_not_keep_the_others(programs: Programs, tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        run(dataclasses.replace(target(tmp_path, remove_on_stop=True), dest=str(tmp_path / name)))
    (tmp_path / "b").unlink()
    (tmp_path / "b").mkdir()
    with refused("invalid_input") as info:
        lifetime.remove_due(stopping=True)
    assert info.value.changed and not (tmp_path / "a").exists() and not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b"\xff", b'{"version":2,"target":{}}', b'{"version":1,"target":[]}']
)
def test_damaged_notes_are_left_alone(programs: Programs, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "copies").mkdir()
    (tmp_path / "copies" / "x.json").write_bytes(content)
    assert lifetime.remove_due(stopping=True) == []


@needs_root
def test_a_note_of_another_user_is_not_followed(programs: Programs, tmp_path: Path) -> None:
    run(target(tmp_path, remove_on_stop=True))
    os.chown(tmp_path / "copies" / notes(tmp_path)[0], 4711, -1)
    assert lifetime.remove_due(stopping=True) == [] and (tmp_path / "app.pem").exists()


# --- removal of files


def test_a_removed_file_was_overwritten(tmp_path: Path, programs: Programs) -> None:
    run(target(tmp_path))
    with (tmp_path / "app.pem").open("rb") as reader:
        size = len(reader.read())
        changed, diff = deliver.check(target(tmp_path), removal=True).remove()
        reader.seek(0)
        assert reader.read() == bytes(size)
    assert changed and diff["before"]["public_key_sha256"] == ONE.public_key_sha256
    assert not deliver.check(target(tmp_path), removal=True).remove()[0]


def test_a_file_on_a_disk_may_always_be_removed(
    tmp_path: Path, programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(target(tmp_path))
    monkeypatch.setattr(files, "file_system", lambda _path: ("ext4", "/"))
    assert deliver.check(target(tmp_path, memory_backed=True), removal=True).remove()[0]


def test_a_file_that_cannot_be_removed_is_told(
    tmp_path: Path, programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(target(tmp_path))

    def fail(*_words: t.Any) -> t.NoReturn:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(files.os, "unlink", fail)
    with refused("delivery_failed") as info:
        deliver.check(target(tmp_path), removal=True).remove()
    assert "Operation not permitted" in info.value.message


# --- consumers that are told


def test_only_a_change_is_told_and_nothing_of_the_key(programs: Programs, tmp_path: Path) -> None:
    place = target(tmp_path, on_change=(programs.write("reload", f"cat >{tmp_path}/given"), "reload", "web"))
    assert run(place) and not run(place) and programs.lines() == [["reload", "web"]]
    assert (tmp_path / "given").read_bytes() == b"" and b"PRIVATE" not in programs.shown()
    assert run(place, TWO, check_mode=True) and len(programs.lines()) == 1
    assert run(place, TWO) and len(programs.lines()) == 2


def test_a_reload_that_failed_is_tried_again(programs: Programs, tmp_path: Path) -> None:
    place = target(tmp_path, on_change=(programs.write("reload", f"[ -e {tmp_path}/good ]"),))
    with refused("command_failed") as info:
        run(place)
    assert info.value.changed and "on_change" in info.value.message and (tmp_path / "app.pem").exists()
    with refused("command_failed") as info:
        run(place)
    assert not info.value.changed
    (tmp_path / "good").touch()
    assert not run(place) and len(programs.lines()) == 3
    assert not run(place) and len(programs.lines()) == 3


def test_what_to_tell_must_be_a_program(programs: Programs, tmp_path: Path) -> None:
    for words in ((), ("systemctl", "reload"), ("/no/such/program",)):
        with refused("invalid_input") as info:
            deliver.check(target(tmp_path, on_change=words))
        assert info.value.facts["option"] == "on_change"


# --- options


def test_options_become_a_target() -> None:
    spec = arguments.delivery_argument_spec()
    assert {field.name for field in dataclasses.fields(deliver.Target)} == {*spec, "on_change"}
    defaults = {name: option.get("default") for name, option in spec.items()}
    assert deliver.target(defaults) == deliver.Target() == deliver.target({})
    full = {
        "deliver_to": "command",
        "command": ["/bin/cat", "-"],
        "command_timeout": 5,
        "other": 1,
        "on_change": ["/bin/true"],
    }
    made = deliver.target(full)
    assert (made.command, made.command_timeout, made.on_change) == (("/bin/cat", "-"), 5, ("/bin/true",))
    assert deliver.target(made.given()) == made and deliver.target(json.loads(json.dumps(made.given()))) == made
    assert spec["deliver_to"]["choices"] == list(deliver.TARGETS)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("dest", 5), ("dest", ["/a"]), ("deliver_to", True), ("luks_slot", "1"), ("luks_slot", True), ("luks_slot", 1.5), ("memory_backed", "yes"),
        ("memory_backed", 1), ("command", "/bin/cat"), ("command", [1]), ("command_timeout", "60"), ("ttl", 1.5), ("on_change", "/bin/true"),
    ],
)  # fmt: skip
def test_values_of_another_type(name: str, value: t.Any) -> None:
    """In a module Ansible sees to it; a configuration file has nobody."""
    with refused("invalid_input") as info:
        deliver.target({name: value})
    assert info.value.facts == {"option": name} and repr(value) in info.value.message


@pytest.mark.parametrize(("name", "value"), [("deliver_to", "pigeon"), ("format", "pem")])
def test_choices_that_there_are_not(name: str, value: str) -> None:
    with refused("invalid_input") as info:
        deliver.check(deliver.target({name: value, "dest": "/run/app.pem"}))
    assert info.value.facts == {"option": name}


def test_the_file_is_the_default_and_needs_a_place() -> None:
    with refused("invalid_input") as info:
        deliver.check(deliver.Target())
    assert info.value.facts == {"option": "dest"}
