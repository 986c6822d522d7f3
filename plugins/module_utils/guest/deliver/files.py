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

from ...policy.failure import SkrFailure
from .. import material as forms
from .. import unwrap
from .common import Diff, invalid

MEMORY = frozenset({"tmpfs", "ramfs"})
_NOBODY = 0xFFFFFFFF  # (uid_t)-1 stands for "leave it" in chown(2)
_LARGEST = 1 << 20  # of a file that is looked into for the diff


@dataclasses.dataclass(frozen=True)
class File:
    """A file whose options have been looked up. Owner and group None leave them as they are."""

    dest: str
    uid: t.Optional[int] = None
    gid: t.Optional[int] = None
    mode: int = 0o400
    form: str = forms.AUTO

    def facts(self) -> t.Dict[str, t.Any]:
        return {"dest": self.dest}

    def deliver(self, material: forms.Material, check_mode: bool) -> t.Tuple[bool, Diff]:
        content = material.encode(self.form)
        try:
            return bring(self, content, material.public_key_sha256, check_mode)
        finally:
            unwrap.wipe(content)

    def remove(self, check_mode: bool) -> t.Tuple[bool, Diff]:
        return remove(self.dest, check_mode)


def check(
    dest: t.Optional[str], owner: t.Optional[str], group: t.Optional[str], mode: str, memory_backed: bool, form: str
) -> File:
    """Refuse what cannot work before anything is asked of anybody.

    Raises SkrFailure: invalid_input, not_memory_backed.
    """
    bits = rights("mode", mode)
    uid = lookup("owner", owner, lambda name: pwd.getpwnam(name).pw_uid)
    gid = lookup("group", group, lambda name: grp.getgrnam(name).gr_gid)
    place = settle(dest)
    if memory_backed:
        require_memory("dest", place)
    return File(place, uid, gid, bits, form)


def settle(dest: t.Optional[str]) -> str:
    """The path with its folder's links followed; at the place itself may be a file or nothing."""
    if not dest or not os.path.isabs(dest) or dest.endswith("/"):
        raise invalid("dest", dest, "an absolute path of a file")
    if os.path.islink(dest) or (os.path.exists(dest) and not os.path.isfile(dest)):
        raise invalid("dest", dest, "a regular file or nothing at that place")
    return os.path.join(os.path.realpath(os.path.dirname(dest)), os.path.basename(dest))


def rights(option: str, mode: str) -> int:
    """Octal text as a mode without any rights for others."""
    try:
        bits = int(str(mode), 8)
    except ValueError:
        bits = -1
    if not 0 <= bits <= 0o777:
        raise invalid(option, mode, "octal digits such as '0400'")
    if bits & 0o007:
        raise invalid(option, mode, "no rights for others on a private key")
    return bits


def lookup(option: str, name: t.Optional[str], find: t.Callable[[str], int]) -> t.Optional[int]:
    if name is None:
        return None
    if name.isdecimal() and int(name) < _NOBODY:
        return int(name)
    try:
        return find(name)
    except (KeyError, ValueError):
        raise invalid(option, name, f"an existing {'group' if option == 'group' else 'user'} of this machine") from None


def require_memory(option: str, path: str) -> None:
    """Raises SkrFailure ``not_memory_backed``; the file itself counts only by the folder it is in."""
    kind, mount = file_system(os.path.realpath(os.path.dirname(path)))
    if kind not in MEMORY:
        raise SkrFailure(
            "not_memory_backed",
            f"{option} {path} is on {mount} ({kind}), wanted tmpfs or ramfs.",
            {option: path, "mount": mount, "file_system": kind},
        )


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


def state(dest: str, known: bytes = b"", fingerprint: t.Optional[str] = None) -> Diff:
    """What is at the place now, for the diff: owner, group, mode and public fingerprint, never bytes.

    ``fingerprint`` is that of the ``known`` bytes: libraries before cryptography 39 take a tenth of a release to read them.
    """
    try:
        found = os.lstat(dest)
        with open(dest, "rb") as stream:
            content = stream.read(_LARGEST)
        if fingerprint is None or content != known:
            fingerprint = forms.fingerprint_of(content)
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


def bring(
    target: File,
    content: bytearray,
    fingerprint: t.Optional[str],
    check_mode: bool,
    same: t.Optional[t.Callable[[], bool]] = None,
) -> t.Tuple[bool, Diff]:
    """Bring the file to the wanted content, owner and mode; returns whether that changes anything, and the diff.

    The same bytes are not written again; owner and mode are then put right in place. In check mode nothing is touched.
    ``same`` compares where equal secrets need not be equal bytes.
    """
    before = state(target.dest, bytes(content), fingerprint)
    after = {
        "dest": target.dest,
        "exists": True,
        "mode": f"{target.mode:04o}",
        "uid": before.get("uid", os.geteuid()) if target.uid is None else target.uid,
        "gid": before.get("gid", os.getegid()) if target.gid is None else target.gid,
        "public_key_sha256": fingerprint,
    }
    same_bytes = before["exists"] and (_same(target.dest, content) if same is None else same())
    if fingerprint is None:  # without a public half the diff can only tell whether it is another secret
        after["content"] = "the secret"
        if before["exists"]:
            before["content"], before["public_key_sha256"] = "the secret" if same_bytes else "another", None
    changed = before != after or not same_bytes
    if changed and not check_mode:
        with writing(target.dest):
            if same_bytes:
                _reconcile(target, after)
            else:
                replace(target, content, after)
    return changed, {"before": before, "after": after}


@contextlib.contextmanager
def writing(dest: str) -> t.Iterator[None]:
    """Turns what the system refuses into a failure that names the file."""
    try:
        yield
    except OSError as error:
        raise SkrFailure("delivery_failed", f"{dest} cannot be written: {error.strerror}.", {"dest": dest}) from error


def _same(dest: str, content: bytearray) -> bool:
    with open(dest, "rb") as stream:
        return stream.read(len(content) + 1) == bytes(content)


def _reconcile(target: File, after: Diff) -> None:
    descriptor = os.open(target.dest, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        # The owner first: a wider mode must not meet the group that was there before.
        os.fchown(descriptor, after["uid"], after["gid"])
        os.fchmod(descriptor, target.mode)
    finally:
        os.close(descriptor)


def replace(target: File, content: t.Union[bytes, bytearray], after: Diff) -> None:
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


def remove(dest: str, check_mode: bool) -> t.Tuple[bool, Diff]:
    """Overwrite the file with zeros, then unlink it. Raises SkrFailure ``delivery_failed``."""
    before, after = state(dest), {"dest": dest, "exists": False}
    if before["exists"] and not check_mode:
        try:
            _zero(dest)
            os.unlink(dest)
        except OSError as error:
            raise SkrFailure(
                "delivery_failed", f"{dest} cannot be removed: {error.strerror}.", {"dest": dest}
            ) from error
    return before["exists"], {"before": before, "after": after}


def _zero(dest: str) -> None:
    """On memory the bytes are gone then; on a disk with copy-on-write or wear levelling nobody can promise that."""
    looked = os.open(dest, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fchmod(looked, 0o600)  # its mode may forbid writing, to its owner too
    finally:
        os.close(looked)
    descriptor = os.open(dest, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "wb", buffering=0) as stream:
        rest = os.fstat(descriptor).st_size
        while rest:
            rest -= stream.write(bytes(min(rest, _LARGEST)))
        os.fsync(descriptor)
