# SPDX-License-Identifier: GPL-3.0-or-later
"""Delivery to a command: on standard input alone, in bounded time, and not again without need."""

from __future__ import annotations

import base64
import errno
import json
import os
import secrets
import time
import typing as t
from pathlib import Path

import pytest
from unit.guest.program_fakes import Programs
from unit.guest.release_fakes import ec_key, refused

from ansible_collections.confidential.azure_skr.plugins.module_utils.guest import deliver, material, unwrap
from ansible_collections.confidential.azure_skr.plugins.module_utils.guest.deliver import command, common, files

ONE, TWO = (material.Material("EC", private=ec_key(name)) for name in ("one", "two"))


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    monkeypatch.setattr(command, "FOLDER", str(tmp_path / "fingerprints"))
    return Programs(tmp_path)


def target(*words: str, **changes: t.Any) -> deliver.Target:
    return deliver.Target(deliver_to="command", command=words, **changes)


def run(place: deliver.Target, made: material.Material, check_mode: bool = False) -> t.Tuple[bool, t.Any]:
    return deliver.check(place).deliver(made, check_mode)


def test_the_key_comes_on_standard_input_and_once(programs: Programs, tmp_path: Path) -> None:
    wanted = target(
        programs.write("take", f'cat >{tmp_path}/given; echo "$1" >{tmp_path}/word'), "a word; echo no shell"
    )
    changed, diff = run(wanted, ONE)
    assert changed and (tmp_path / "given").read_bytes() == unwrap.pem(ec_key("one"))
    assert (tmp_path / "word").read_text() == "a word; echo no shell\n"
    assert diff["before"]["public_key_sha256"] is None and diff["after"]["public_key_sha256"] == ONE.public_key_sha256
    again, diff = run(wanted, ONE)
    assert not again and diff["before"] == diff["after"] and len(programs.lines()) == 1
    changed, diff = run(wanted, TWO)
    assert changed and diff["before"]["content"] == "another" and len(programs.lines()) == 2
    assert diff["before"]["public_key_sha256"] == ONE.public_key_sha256


@pytest.mark.parametrize("kind", ["oct", "secret"])
def test_a_symmetric_key_is_remembered_by_a_salted_mac(programs: Programs, tmp_path: Path, kind: str) -> None:
    key = secrets.token_bytes(32)
    wanted = target(programs.write("take", "cat >/dev/null"), fingerprint_file=str(tmp_path / "note"))
    for other in (key, secrets.token_bytes(32)):
        assert run(wanted, material.Material(kind, other))[0]
        assert not run(wanted, material.Material(kind, other))[0]
    first = (tmp_path / "note").read_text()
    assert run(wanted, material.Material(kind, key))[0]
    assert json.loads(first)["salt"] != json.loads((tmp_path / "note").read_text())["salt"]
    assert (tmp_path / "note").stat().st_mode & 0o777 == 0o600
    import hashlib

    for form in (key, hashlib.sha256(key).digest()):
        for text in (form.hex(), base64.b64encode(form).decode()):
            assert text not in (tmp_path / "note").read_text()


def test_another_command_or_format_runs_again(programs: Programs, tmp_path: Path) -> None:
    path, note = programs.write("take", "cat >/dev/null"), str(tmp_path / "note")
    for words, changes in (((path,), {}), ((path, "--force"), {}), ((path, "--force"), {"format": "der"})):
        assert run(target(*words, fingerprint_file=note, **changes), ONE)[0]
        assert not run(target(*words, fingerprint_file=note, **changes), ONE)[0]
    assert len(programs.lines()) == 3


def test_check_mode_foretells_and_runs_nothing(programs: Programs, tmp_path: Path) -> None:
    wanted = target(programs.write("take", "cat >/dev/null"))
    foretold = run(wanted, ONE, check_mode=True)
    assert foretold[0] and programs.lines() == [] and not (tmp_path / "fingerprints").exists()
    assert run(wanted, ONE) == foretold and not run(wanted, ONE, check_mode=True)[0]


def test_the_environment_is_bare(programs: Programs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AZURE_SECRET", "sentinel")
    key = secrets.token_hex(16).encode()
    run(target(programs.write("take", f"pwd >{tmp_path}/where; cat >/dev/null")), material.secret(key))
    shown = programs.shown()
    assert b"sentinel" not in shown and key not in shown and key.hex().encode() not in shown
    assert b"PATH=" in shown and (tmp_path / "where").read_text() == "/\n"


@pytest.mark.parametrize("text", ["exit 3", "cat; cat >&2; exit 3", "kill -9 $$"])
def test_a_command_that_fails_is_told_by_its_status_alone(
    programs: Programs, text: str, capfd: pytest.CaptureFixture[str]
) -> None:
    key = b"sentinel-" + secrets.token_hex(8).encode()
    wanted = target(programs.write("take", text))
    with refused("command_failed") as info:
        run(wanted, material.secret(key))
    assert info.value.facts["status"] == (-9 if "kill" in text else 3) and not info.value.changed
    assert "sentinel" not in json.dumps(info.value.as_result()) + "".join(capfd.readouterr())
    with refused("command_failed"):  # it did not have the key, so it is run again
        run(wanted, material.secret(key))


def test_a_command_that_does_not_read(programs: Programs) -> None:
    assert run(target(programs.write("take", "exec <&-; exit 0")), material.secret(b"x" * 500_000))[0]


def test_a_command_that_does_not_end_is_ended_with_its_children(programs: Programs, tmp_path: Path) -> None:
    wanted = target(programs.write("take", f"sleep 600 & echo $! >{tmp_path}/child; wait"), command_timeout=1.0)
    start = time.monotonic()
    with refused("command_failed") as info:
        run(wanted, ONE)
    assert time.monotonic() - start < 10 and "1 seconds" in info.value.message
    child = int((tmp_path / "child").read_text())
    for _try in range(50):
        if not Path(f"/proc/{child}").exists() or "Z" in Path(f"/proc/{child}/stat").read_text().split()[2]:
            break
        time.sleep(0.1)
    else:
        pytest.fail("the child goes on")


def test_a_failure_forgets_what_was_before(programs: Programs, tmp_path: Path) -> None:
    """A command that failed may have thrown the old key away."""
    path = programs.write("take", f"cat >/dev/null; [ ! -e {tmp_path}/bad ]")
    run(target(path), ONE)
    (tmp_path / "bad").touch()
    with refused("command_failed"):
        run(target(path), TWO)
    (tmp_path / "bad").unlink()
    assert run(target(path), ONE)[0]


def test_a_full_disk_is_told_as_a_change(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_words: t.Any) -> t.NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files, "replace", full)
    with refused("delivery_failed") as info:
        run(target(programs.write("take", "cat >/dev/null")), ONE)
    assert info.value.changed and "No space left" in info.value.message


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b"\xff", b'{"version":1}', b'{"version":1,"command_sha256":"x"}']
)
def test_a_damaged_note_means_again(programs: Programs, tmp_path: Path, content: bytes) -> None:
    note = tmp_path / "note"
    note.write_bytes(content)
    wanted = target(programs.write("take", "cat >/dev/null"), fingerprint_file=str(note))
    assert run(wanted, ONE)[0] and not run(wanted, ONE)[0]


def test_removal_forgets(programs: Programs) -> None:
    wanted = target(programs.write("take", "cat >/dev/null"))
    run(wanted, ONE)
    place = deliver.check(wanted, removal=True)
    assert place.remove(check_mode=True)[0] and place.remove()[0] and not place.remove()[0]
    assert run(wanted, ONE)[0]


@pytest.mark.parametrize(
    ("changes", "option"),
    [
        ({"command": None}, "command"),
        ({"command": ()}, "command"),
        ({"command": ("cat",)}, "command"),
        ({"command": ("/no/such/program",)}, "command"),
        ({"command": ("/etc/passwd",)}, "command"),
        ({"command": ("/usr",)}, "command"),
        ({"command": ("/bin/cat", "a\0b")}, "command"),
        ({"command_timeout": 0.0}, "command_timeout"),
        ({"command_timeout": 1e9}, "command_timeout"),
        ({"fingerprint_file": "note"}, "fingerprint_file"),
        ({"fingerprint_file": "/proc"}, "fingerprint_file"),
        ({"ttl": 5}, "ttl"),
        ({"owner": "root"}, "owner"),
    ],
)
def test_options_that_cannot_work(changes: t.Dict[str, t.Any], option: str) -> None:
    with refused("invalid_input") as info:
        deliver.check(deliver.Target(**{"deliver_to": "command", "command": ("/bin/cat",), **changes}))
    assert info.value.facts["option"] == option


# --- running programs


def test_a_program_that_went_away(tmp_path: Path) -> None:
    with refused("program_missing"):
        common.run([str(tmp_path / "gone")])
    (tmp_path / "noise").write_bytes(b"\0\1\2")
    (tmp_path / "noise").chmod(0o755)
    with refused("command_failed") as info:
        common.run([str(tmp_path / "noise")])
    assert "cannot be started" in info.value.message


def test_an_interrupt_ends_the_program(programs: Programs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def interrupt(self: t.Any, *_words: t.Any) -> t.NoReturn:
        started.append(self)
        raise KeyboardInterrupt

    started: t.List[t.Any] = []
    monkeypatch.setattr(common.subprocess.Popen, "communicate", interrupt)
    with pytest.raises(KeyboardInterrupt):
        common.run([programs.write("take", "sleep 600")], b"key")
    assert started[0].returncode is not None and started[0].returncode < 0


def test_a_pipe_takes_more_than_it_holds() -> None:
    with common.pipe_with(b"x" * 300_000) as reader:
        done = common.run(["/bin/cat", f"/proc/self/fd/{reader}"], keep_output=True, pass_fds=(reader,))
    assert done.output == b"x" * 300_000
    with common.pipe_with(b"x" * 300_000):
        pass  # nobody reads; nothing hangs
