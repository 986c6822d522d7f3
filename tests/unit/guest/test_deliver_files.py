# SPDX-License-Identifier: GPL-3.0-or-later
"""Delivery to a file: memory-backed, owner and mode, atomic, unchanged where nothing differs, and nothing left behind."""

from __future__ import annotations

import dataclasses
import errno
import grp
import json
import os
import pwd
import stat
import subprocess
import typing as t
from pathlib import Path

import pytest
from unit.guest.release_fakes import ec_key, refused

from ansible_collections.confidential.azure_skr.plugins.module_utils.guest import deliver, material, unwrap
from ansible_collections.confidential.azure_skr.plugins.module_utils.guest.deliver import files

ONE, TWO = ec_key("one"), ec_key("two")
SHARED = Path("/dev/shm")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "keys"
    found.mkdir()
    return found


def target(folder: Path, **changes: t.Any) -> deliver.Target:
    return deliver.Target(str(folder / "app.pem"), **{"memory_backed": False, **changes})


def run(wanted: deliver.Target, key: t.Any = ONE, check_mode: bool = False) -> t.Tuple[bool, t.Dict[str, t.Any]]:
    return deliver.check(wanted).deliver(material.Material("EC", private=key), check_mode)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# --- options


@pytest.mark.parametrize(
    ("changes", "option"),
    [
        ({"dest": "app.pem"}, "dest"),
        ({"dest": "/run/keys/"}, "dest"),
        ({"dest": ""}, "dest"),
        ({"mode": "u=r"}, "mode"),
        ({"mode": "0888"}, "mode"),
        ({"mode": "-1"}, "mode"),
        ({"mode": "10400"}, "mode"),
        ({"mode": "4400"}, "mode"),
        ({"mode": "0404"}, "mode"),
        ({"mode": "0401"}, "mode"),
        ({"mode": "0666"}, "mode"),
        ({"mode": "256"}, "mode"),
        ({"owner": "no-such-user"}, "owner"),
        ({"owner": ""}, "owner"),
        ({"owner": "\u00b2"}, "owner"),
        ({"owner": "-1"}, "owner"),
        ({"owner": "4294967295"}, "owner"),
        ({"owner": "99999999999999999999"}, "owner"),
        ({"group": "no-such-group"}, "group"),
        ({"group": "a\0b"}, "group"),
    ],
)
def test_options_that_cannot_work(folder: Path, changes: t.Dict[str, str], option: str) -> None:
    with refused("invalid_input") as info:
        deliver.check(dataclasses.replace(target(folder), **changes))
    assert info.value.facts == {"option": option} and option in info.value.message
    assert not list(folder.iterdir())


def test_owner_and_group_by_name_or_number(folder: Path) -> None:
    user, group = pwd.getpwuid(0), grp.getgrgid(0)
    by_name = deliver.check(target(folder, owner=user.pw_name, group=group.gr_name)).consumer
    by_number = deliver.check(target(folder, owner="0", group="0")).consumer
    assert (by_name.uid, by_name.gid) == (by_number.uid, by_number.gid) == (0, 0)
    unsaid = deliver.check(target(folder)).consumer
    assert (unsaid.uid, unsaid.gid, unsaid.mode) == (None, None, 0o400)


@pytest.mark.parametrize("kind", ["link", "dangling", "folder", "fifo"])
def test_what_is_no_file_is_not_replaced(folder: Path, kind: str) -> None:
    dest = folder / "app.pem"
    if kind == "link":
        (folder / "elsewhere").write_text("untouched")
        dest.symlink_to(folder / "elsewhere")
    elif kind == "dangling":
        dest.symlink_to(folder / "nowhere")
    elif kind == "folder":
        dest.mkdir()
    else:
        os.mkfifo(dest)
    with refused("invalid_input") as info:
        deliver.check(target(folder))
    assert info.value.facts == {"option": "dest"}


def test_the_folder_may_be_a_link_and_is_followed_once(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder)
    checked = deliver.check(deliver.Target(str(tmp_path / "link" / "app.pem"), memory_backed=False)).consumer
    assert checked.dest == str(folder / "app.pem")


# --- memory-backed


TABLE = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
23 22 0:22 / /run rw,nosuid shared:5 - tmpfs tmpfs rw,size=1k
24 23 8:2 / /run/media rw - ext4 /dev/sdb rw
25 22 0:30 / /mnt/a\\040b rw - ramfs none rw
26 23 8:3 / /run/m\u00fcll rw - ext4 /dev/sdc rw
27 22 0:31 / /mnt/covered rw master:1 - tmpfs t rw
28 22 8:4 / /mnt/covered rw - xfs /dev/sdd rw
29 22 0:32 / /mnt/back\\134slash rw - tmpfs t rw
"""


@pytest.mark.parametrize(
    ("path", "kind", "point"),
    [
        ("/etc", "ext4", "/"),
        ("/run", "tmpfs", "/run"),
        ("/run/keys/deep", "tmpfs", "/run"),
        ("/running", "ext4", "/"),
        ("/run/media/keys", "ext4", "/run/media"),
        ("/mnt/a b", "ramfs", "/mnt/a b"),
        ("/run/m\u00fcll/keys", "ext4", "/run/m\u00fcll"),
        ("/mnt/covered/x", "xfs", "/mnt/covered"),
        ("/mnt/back\\slash/x", "tmpfs", "/mnt/back\\slash"),
    ],
)
def test_the_mount_table_is_read_as_the_kernel_writes_it(tmp_path: Path, path: str, kind: str, point: str) -> None:
    table = tmp_path / "mountinfo"
    table.write_bytes(TABLE.encode())
    assert files.file_system(path, str(table)) == (kind, point)


def test_this_machines_own_table() -> None:
    found = {path: files.file_system(path)[0] for path in ("/proc", "/sys", "/")}
    assert found["/proc"] == "proc" and found["/sys"] == "sysfs" and found["/"] != "unknown"


@pytest.mark.skipif(not SHARED.is_dir() or files.file_system("/dev/shm")[0] != "tmpfs", reason="no tmpfs at /dev/shm")
def test_a_disk_is_refused_and_memory_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert deliver.check(deliver.Target("/dev/shm/no-such-folder/app.pem")).dest == "/dev/shm/no-such-folder/app.pem"
    monkeypatch.setattr(files, "file_system", lambda _path: ("ext4", "/"))
    with refused("not_memory_backed") as info:
        deliver.check(deliver.Target("/dev/shm/app.pem"))
    assert info.value.facts == {"dest": "/dev/shm/app.pem", "mount": "/", "file_system": "ext4"}
    assert deliver.check(deliver.Target("/dev/shm/app.pem", memory_backed=False))


def test_a_link_out_of_memory_is_seen_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    asked = []
    monkeypatch.setattr(files, "file_system", lambda path: asked.append(path) or ("tmpfs", "/"))
    deliver.check(deliver.Target(str(tmp_path / "link" / "app.pem")))
    assert asked == [str(tmp_path / "disk")]


# --- delivery


def test_a_new_file(folder: Path) -> None:
    changed, diff = run(target(folder))
    dest = folder / "app.pem"
    assert changed and dest.read_bytes() == unwrap.pem(ONE) and mode(dest) == 0o400
    assert diff["before"] == {"dest": str(dest), "exists": False}
    assert diff["after"]["exists"] is True and diff["after"]["mode"] == "0400"
    assert os.listdir(folder) == ["app.pem"]


def test_missing_folders_are_made(folder: Path) -> None:
    assert run(target(folder / "a" / "b"))[0]
    assert (folder / "a" / "b" / "app.pem").exists() and mode(folder / "a") == 0o755


def test_again_changes_nothing_and_touches_nothing(folder: Path) -> None:
    run(target(folder))
    before = (folder / "app.pem").stat()
    changed, diff = run(target(folder))
    after = (folder / "app.pem").stat()
    assert not changed and diff["before"] == diff["after"]
    assert (before.st_ino, before.st_mtime_ns, before.st_ctime_ns) == (
        after.st_ino,
        after.st_mtime_ns,
        after.st_ctime_ns,
    )


def test_another_key_replaces_the_file_at_once(folder: Path) -> None:
    run(target(folder))
    dest = folder / "app.pem"
    with dest.open("rb") as reader:
        changed, diff = run(target(folder), TWO)
        assert reader.read() == unwrap.pem(ONE)  # whoever has the old file open keeps a whole one
    assert changed and dest.read_bytes() == unwrap.pem(TWO)
    assert diff["before"]["public_key_sha256"] != diff["after"]["public_key_sha256"]


def test_another_mode_is_put_right_in_place(folder: Path) -> None:
    run(target(folder))
    inode = (folder / "app.pem").stat().st_ino
    changed, diff = run(target(folder, mode="0440"))
    assert changed and mode(folder / "app.pem") == 0o440 and (folder / "app.pem").stat().st_ino == inode
    assert (diff["before"]["mode"], diff["after"]["mode"]) == ("0400", "0440")


@needs_root
def test_owner_and_group(folder: Path) -> None:
    changed, diff = run(target(folder, owner="4711", group="4712"))
    found = (folder / "app.pem").stat()
    assert changed and (found.st_uid, found.st_gid, mode(folder / "app.pem")) == (4711, 4712, 0o400)
    assert not run(target(folder, owner="4711", group="4712"))[0]
    assert not run(target(folder))[0]  # what is not asked for is left alone
    assert run(target(folder, owner="0"))[0] and (folder / "app.pem").stat().st_uid == 0
    assert (folder / "app.pem").stat().st_gid == 4712
    # A new key keeps owner and group where none is asked for.
    assert run(target(folder), TWO)[0] and (folder / "app.pem").stat().st_gid == 4712


@needs_root
def test_owner_is_set_before_the_mode_opens_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(target(folder))
    done: t.List[str] = []
    for name in ("fchown", "fchmod"):
        real = getattr(os, name)
        monkeypatch.setattr(files.os, name, lambda *words, real=real, name=name: done.append(name) or real(*words))
    run(target(folder, mode="0440", group="4712"))
    run(target(folder, mode="0440", group="4713"), TWO)
    assert done == ["fchown", "fchmod"] * 2


def test_the_same_key_in_other_words_is_written_again(folder: Path) -> None:
    dest = folder / "app.pem"
    dest.write_bytes(b"# a comment\n" + bytes(unwrap.pem(ONE)))
    dest.chmod(0o400)
    assert run(target(folder))[0] and dest.read_bytes() == unwrap.pem(ONE)


def test_a_file_that_is_no_key_is_replaced(folder: Path) -> None:
    (folder / "app.pem").write_bytes(b"\xff\x00 rubbish")
    changed, diff = run(target(folder))
    assert changed and diff["before"]["public_key_sha256"] is None


@pytest.mark.parametrize("there", [False, True])
def test_check_mode_foretells_and_touches_nothing(folder: Path, there: bool) -> None:
    wanted = target(folder / "below", mode="0440")
    if there:
        run(target(folder / "below"), TWO)
    foretold = run(wanted, check_mode=True)
    if there:
        assert (folder / "below" / "app.pem").read_bytes() == unwrap.pem(TWO)
        assert mode(folder / "below" / "app.pem") == 0o400
    else:
        assert not (folder / "below").exists()
    assert run(wanted) == foretold
    assert run(wanted, check_mode=True)[0] is False


def test_the_diff_never_holds_key_bytes(folder: Path) -> None:
    run(target(folder))
    _changed, diff = run(target(folder), TWO)
    shown = json.dumps(diff)
    for key in (ONE, TWO):
        for line in unwrap.pem(key).decode().splitlines()[1:-1]:
            assert line not in shown
    assert set(diff["after"]) == {"dest", "exists", "mode", "uid", "gid", "public_key_sha256"}


# --- failures


def test_a_folder_that_cannot_be_made(folder: Path) -> None:
    (folder / "file").write_text("")
    with refused("delivery_failed") as info:
        run(target(folder / "file"))
    assert "Not a directory" in info.value.message


@pytest.mark.parametrize("call", ["fchown", "fchmod", "fsync", "rename"])
@pytest.mark.parametrize(
    ("error", "reason"), [(OSError(errno.EIO, os.strerror(errno.EIO)), "delivery_failed"), (KeyboardInterrupt(), "")]
)
def test_whatever_ends_it_leaves_the_old_file_and_no_other(
    folder: Path, monkeypatch: pytest.MonkeyPatch, call: str, error: BaseException, reason: str
) -> None:
    run(target(folder))

    def fail(*_words: t.Any) -> t.NoReturn:
        raise error

    monkeypatch.setattr(files.os, call, fail)
    if reason:
        with refused(reason) as info:
            run(target(folder), TWO)
        assert "Input/output error" in info.value.message
    else:
        with pytest.raises(KeyboardInterrupt):
            run(target(folder), TWO)
    assert (folder / "app.pem").read_bytes() == unwrap.pem(ONE)
    assert os.listdir(folder) == ["app.pem"]


@needs_root
def test_a_full_file_system_leaves_the_old_file(tmp_path: Path) -> None:
    mount = tmp_path / "small"
    mount.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4k,nr_inodes=8", "none", str(mount)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("this machine does not let root mount a tmpfs")
    try:
        run(target(mount))
        assert files.file_system(str(mount))[0] == "tmpfs"
        with refused("delivery_failed") as info:
            run(target(mount), TWO)
        assert "No space left on device" in info.value.message
        assert os.listdir(mount) == ["app.pem"] and (mount / "app.pem").read_bytes() == unwrap.pem(ONE)
    finally:
        subprocess.run(["umount", str(mount)], check=True)


def test_the_new_file_is_never_readable_for_others(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: t.List[int] = []
    real = os.fchown

    def watch(descriptor: int, *words: int) -> None:
        seen.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        real(descriptor, *words)

    monkeypatch.setattr(files.os, "fchown", watch)
    old = os.umask(0)
    try:
        run(target(folder, mode="0440"))
    finally:
        os.umask(old)
    assert seen == [0o600]
