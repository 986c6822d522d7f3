# SPDX-License-Identifier: GPL-3.0-or-later
"""Imports from a zip such as Ansible sends, and what is kept of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ansible_collections.confidential.azure_skr.plugins.module_utils import once

PACKAGE = "ansible_collections.confidential.azure_skr.plugins.module_utils"
SCRIPT = """
import json, sys, zipimport
sys.path.insert(0, sys.argv[1])
compiled = []
usual = zipimport._compile_source
zipimport._compile_source = lambda path, source: compiled.append(path) or usual(path, source)
from {package} import once
once.install()
once.install()
before = len(compiled)
from {package}.room import inner
from {package} import room
print(json.dumps([before, len(compiled), inner.ANSWER, inner.__file__, room.__path__, sum(type(one).__name__ == "_Finder" for one in sys.meta_path)]))
try:
    from {package} import missing
except ImportError as error:
    print(json.dumps(str(error)))
"""


def test_each_file_is_compiled_once(tmp_path: Path) -> None:
    archive, place = tmp_path / "payload.zip", PACKAGE.replace(".", "/")
    with zipfile.ZipFile(archive, "w") as target:
        for depth in range(1, PACKAGE.count(".") + 2):
            target.writestr("/".join(place.split("/")[:depth]) + "/__init__.py", "")
        target.writestr(f"{place}/once.py", Path(once.__file__).read_bytes())
        target.writestr(f"{place}/room/__init__.py", "")
        target.writestr(f"{place}/room/inner.py", "from .other import ANSWER\n")
        target.writestr(f"{place}/room/other.py", "ANSWER = 42\n")
    script = SCRIPT.replace("{package}", PACKAGE)
    done = subprocess.run(
        [sys.executable, "-I", "-c", script, str(archive)], capture_output=True, text=True, check=True
    )
    first, second = done.stdout.splitlines()
    before, after, answer, file, path, finders = json.loads(first)
    assert before == after and answer == 42  # Python's importer compiled none of these
    assert file == f"{archive}/{place}/room/inner.py" and path == [f"{archive}/{place}/room"]
    assert finders == 1
    assert "missing" in second


def test_outside_of_a_zip_nothing_changes() -> None:
    before = list(sys.meta_path)
    once.install()
    assert sys.meta_path == before


# --- codes kept on the host

SOURCE = b"ANSWER = 42\n"


def answer(kept: once.Kept, source: bytes = SOURCE, name: str = "room") -> object:
    names: dict[str, object] = {}
    exec(kept.code(name, source, "/tmp/room.py"), names)
    return names["ANSWER"]


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The sources that were compiled."""
    seen: list[bytes] = []

    def counting(source: bytes, *words: object, **options: object) -> object:
        seen.append(source)
        return compile(source, *words, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(once, "compile", counting, raising=False)
    return seen


def folder_with_codes(tmp_path: Path) -> Path:
    folder = tmp_path / "cache"
    first = once.Kept(str(folder))
    assert answer(first) == 42
    first.save()
    return folder / once._NAME


def test_second_run_compiles_nothing(tmp_path: Path, compiled: list[bytes]) -> None:
    path = folder_with_codes(tmp_path)
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    before = path.stat()
    second = once.Kept(str(path.parent))
    assert answer(second) == 42 and compiled == [SOURCE]
    second.save()
    assert path.stat().st_mtime_ns == before.st_mtime_ns and path.stat().st_ino == before.st_ino  # nothing was new
    assert [one.name for one in path.parent.iterdir()] == [once._NAME]


def test_other_source_or_name_is_other_code(tmp_path: Path, compiled: list[bytes]) -> None:
    path = folder_with_codes(tmp_path)
    other = once.Kept(str(path.parent))
    assert answer(other, b"ANSWER = 43\n") == 43 and answer(other, name="room.inner") == 42
    assert compiled == [SOURCE, b"ANSWER = 43\n", SOURCE]
    other.save()
    third = once.Kept(str(path.parent))
    assert (answer(third), answer(third, b"ANSWER = 43\n"), len(compiled)) == (42, 43, 3)  # the first is still there


def test_old_codes_do_not_pile_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compiled: list[bytes]) -> None:
    path = folder_with_codes(tmp_path)
    monkeypatch.setattr(once, "_MOST_KEPT", 1)
    other = once.Kept(str(path.parent))
    assert answer(other, b"ANSWER = 43\n") == 43
    other.save()
    third = once.Kept(str(path.parent))
    assert answer(third, b"ANSWER = 43\n") == 43 and len(compiled) == 2
    assert answer(third) == 42 and len(compiled) == 3


def spoil_bytes(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def spoil_length(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:40])


def spoil_link(path: Path) -> None:
    path.rename(path.parent / "elsewhere")
    path.symlink_to("elsewhere")


def spoil_folder_link(path: Path) -> None:
    path.parent.rename(path.parent.parent / "elsewhere")
    path.parent.symlink_to("elsewhere")


def spoil_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


@pytest.mark.parametrize(
    "spoil",
    [
        spoil_bytes,
        spoil_length,
        spoil_link,
        spoil_folder_link,
        spoil_pipe,
        lambda path: path.write_bytes(b""),
        lambda path: path.chmod(0o620),
        lambda path: path.chmod(0o602),
        lambda path: path.parent.chmod(0o770),
        lambda path: path.parent.chmod(0o1777),
        lambda path: path.unlink(),
    ],
)
def test_what_somebody_else_could_have_written_is_not_run(
    spoil: Callable[[Path], object], tmp_path: Path, compiled: list[bytes]
) -> None:
    path = folder_with_codes(tmp_path)
    spoil(path)
    again = once.Kept(str(path.parent))
    assert answer(again) == 42 and compiled == [SOURCE, SOURCE]


def test_file_or_folder_of_another_user_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compiled: list[bytes]
) -> None:
    path = folder_with_codes(tmp_path)
    monkeypatch.setattr(once.os, "geteuid", lambda: os.getuid() + 1)
    assert answer(once.Kept(str(path.parent))) == 42 and compiled == [SOURCE, SOURCE]


def test_nothing_is_kept_where_it_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (None, "", str(tmp_path / "file"), str(tmp_path / "file" / "below")):
        kept = once.Kept(folder)
        assert answer(kept) == 42
        kept.save()
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder_with_codes(tmp_path)
    before = path.read_bytes()

    def full(*_words: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(once.os, "replace", full)
    other = once.Kept(str(path.parent))
    assert answer(other, b"ANSWER = 43\n") == 43
    other.save()
    assert path.read_bytes() == before and len(list(path.parent.iterdir())) == 1


def test_module_from_a_zip_keeps_its_codes_at_the_end(tmp_path: Path) -> None:
    archive, place, folder = tmp_path / "payload.zip", PACKAGE.replace(".", "/"), tmp_path / "cache"
    with zipfile.ZipFile(archive, "w") as target:
        for depth in range(1, PACKAGE.count(".") + 2):
            target.writestr("/".join(place.split("/")[:depth]) + "/__init__.py", "")
        target.writestr(f"{place}/once.py", Path(once.__file__).read_bytes())
        target.writestr(f"{place}/room.py", SOURCE)
    script = (
        f"import sys; sys.path.insert(0, sys.argv[1]); from {PACKAGE} import once; once.install(sys.argv[2]); seen = []\n"
        "once.compile = lambda *words, **options: seen.append(words) or compile(*words, **options)\n"
        f"from {PACKAGE} import room; print(room.ANSWER, len(seen))"
    )
    told = [
        subprocess.run(
            [sys.executable, "-I", "-c", script, str(archive), str(folder)], capture_output=True, text=True, check=True
        ).stdout
        for _round in range(2)
    ]
    assert told == ["42 1\n", "42 0\n"]
