# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Delivery to a file: owner, mode, atomic replacement, and never onto a disk unless the user says so."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import grp
import os
import pwd
import stat
import tempfile
import typing as t

from ..policy.failure import SkrFailure
from . import unwrap

MEMORY = frozenset({"tmpfs", "ramfs"})
_NOBODY = 0xFFFFFFFF  # (uid_t)-1 stands for "leave it" in chown(2)


@dataclasses.dataclass(frozen=True)
class Target:
    """Where the key goes. ``mode`` is octal text; ``owner`` and ``group`` are names or numbers, None leaves them alone."""

    dest: str
    owner: t.Optional[str] = None
    group: t.Optional[str] = None
    mode: str = "0400"
    memory_backed: bool = True


@dataclasses.dataclass(frozen=True)
class Checked:
    """A target whose options have been looked up and found possible."""

    dest: str
    uid: t.Optional[int]
    gid: t.Optional[int]
    mode: int


def check(target: Target) -> Checked:
    """Refuse what cannot work before anything is asked of anybody.

    Raises SkrFailure: invalid_input, not_memory_backed, delivery_failed.
    """
    if not os.path.isabs(target.dest) or target.dest.endswith("/"):
        raise _invalid("dest", target.dest, "an absolute path of a file")
    try:
        mode = int(str(target.mode), 8)
    except ValueError:
        mode = -1
    if not 0 <= mode <= 0o777:
        raise _invalid("mode", target.mode, "octal digits such as '0400'")
    if mode & 0o007:
        raise _invalid("mode", target.mode, "no rights for others on a private key")
    uid = _lookup("owner", target.owner, lambda name: pwd.getpwnam(name).pw_uid)
    gid = _lookup("group", target.group, lambda name: grp.getgrnam(name).gr_gid)
    folder = os.path.realpath(os.path.dirname(target.dest))
    if os.path.islink(target.dest) or (os.path.exists(target.dest) and not os.path.isfile(target.dest)):
        raise _invalid("dest", target.dest, "a regular file or nothing at that place")
    if target.memory_backed:
        kind, mount = file_system(folder)
        if kind not in MEMORY:
            raise SkrFailure(
                "not_memory_backed",
                f"dest {target.dest} is on {mount} ({kind}), wanted tmpfs or ramfs.",
                {"dest": target.dest, "mount": mount, "file_system": kind},
            )
    return Checked(os.path.join(folder, os.path.basename(target.dest)), uid, gid, mode)


def _invalid(option: str, found: t.Any, wanted: str) -> SkrFailure:
    return SkrFailure("invalid_input", f"{option} is {found!r}, wanted {wanted}.", {"option": option})


def _lookup(option: str, name: t.Optional[str], find: t.Callable[[str], int]) -> t.Optional[int]:
    if name is None:
        return None
    if name.isdecimal() and int(name) < _NOBODY:
        return int(name)
    try:
        return find(name)
    except (KeyError, ValueError):
        raise _invalid(
            option, name, f"an existing {'user' if option == 'owner' else 'group'} of this machine"
        ) from None


def file_system(path: str, table: str = "/proc/self/mountinfo") -> t.Tuple[str, str]:
    """Type and mount point of the file system that a path is (or would be) on; see proc(5)."""
    best, kind = "", "unknown"
    with open(table, "rb") as stream:
        for line in stream.read().decode("latin-1").split("\n")[:-1]:
            fields, _dash, tail = line.partition(" - ")
            # Blanks and the like are octal escapes, all else are the bytes of the name.
            point = os.fsdecode(fields.split(" ")[4].encode("latin-1").decode("unicode_escape").encode("latin-1"))
            below = path == point or path.startswith(point.rstrip("/") + "/")
            if below and len(point) >= len(best):  # later lines are mounted over earlier ones
                best, kind = point, tail.split(" ")[0]
    return kind, best


def state(dest: str) -> t.Dict[str, t.Any]:
    """What is at the place now, for the diff: owner, group, mode and public fingerprint, never bytes."""
    try:
        found = os.lstat(dest)
        with open(dest, "rb") as stream:
            fingerprint = unwrap.fingerprint_of_pem(stream.read())
    except FileNotFoundError:
        return {"dest": dest, "exists": False}
    except OSError as error:
        raise SkrFailure("delivery_failed", f"{dest} cannot be read: {error.strerror}.", {"dest": dest}) from error
    return {
        "dest": dest,
        "exists": True,
        "mode": f"{stat.S_IMODE(found.st_mode):04o}",
        "uid": found.st_uid,
        "gid": found.st_gid,
        "public_key_sha256": fingerprint,
    }


def deliver(
    target: Checked, content: bytearray, fingerprint: str, check_mode: bool
) -> t.Tuple[bool, t.Dict[str, t.Any]]:
    """Bring the file to the wanted content, owner and mode; returns whether that changes anything, and the diff.

    The same bytes are not written again; owner and mode are then put right in place. In check mode nothing is touched.
    """
    before = state(target.dest)
    after = {
        "dest": target.dest,
        "exists": True,
        "mode": f"{target.mode:04o}",
        "uid": before.get("uid", os.geteuid()) if target.uid is None else target.uid,
        "gid": before.get("gid", os.getegid()) if target.gid is None else target.gid,
        "public_key_sha256": fingerprint,
    }
    same_bytes = before["exists"] and _same(target.dest, content)
    changed = before != after or not same_bytes
    if changed and not check_mode:
        try:
            if same_bytes:
                _reconcile(target, after)
            else:
                _replace(target, content, after)
        except OSError as error:
            raise SkrFailure(
                "delivery_failed", f"{target.dest} cannot be written: {error.strerror}.", {"dest": target.dest}
            ) from error
    return changed, {"before": before, "after": after}


def _same(dest: str, content: bytearray) -> bool:
    with open(dest, "rb") as stream:
        return stream.read() == bytes(content)


def _reconcile(target: Checked, after: t.Mapping[str, t.Any]) -> None:
    descriptor = os.open(target.dest, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        # The owner first: a wider mode must not meet the group that was there before.
        os.fchown(descriptor, after["uid"], after["gid"])
        os.fchmod(descriptor, target.mode)
    finally:
        os.close(descriptor)


def _replace(target: Checked, content: bytearray, after: t.Mapping[str, t.Any]) -> None:
    """Write beside the place with no rights for anybody else, then rename over it."""
    folder = os.path.dirname(target.dest)
    os.makedirs(folder, mode=0o755, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(prefix=".", dir=folder)
    try:
        with os.fdopen(descriptor, "wb", buffering=0) as stream:
            if stream.write(content) != len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fchown(descriptor, after["uid"], after["gid"])
            os.fchmod(descriptor, target.mode)
            os.fsync(descriptor)
        os.rename(temporary, target.dest)
    except BaseException:  # whatever ends this, an interrupt too, must not leave key bytes behind
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
