# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Delivery to the kernel's keyrings: user-keyring(7), session-keyring(7), persistent-keyring(7).

Whoever *possesses* a key - reaches it by links from its own keyrings - has other rights than the same user without
such a link. A service that systemd starts and a login have session keyrings of their own, often without a link to the
user's keyring, so the right to read is given to the user as well. Here the keyring is linked into this process's own
before anything is done with it; for another user that is done in a child that has become this user.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import pwd
import typing as t

from ...policy.failure import SkrFailure
from .. import material as forms
from .. import unwrap
from . import files, keyctl
from .common import Diff, invalid

KEYRINGS = ("user", "session", "persistent")
PERMISSIONS = "0x3f0b0000"  # the possessor all, the user view, read and search, nobody else anything
_OTHERS = 0xFF
_LONGEST = 4095
Work = t.Callable[[keyctl.Keys, int], t.Dict[str, t.Any]]


@dataclasses.dataclass(frozen=True)
class Keyring:
    """A key in one keyring; ``uid`` None is the user who runs this."""

    ring: str
    description: str
    uid: t.Optional[int]
    permissions: int
    ttl: t.Optional[int]
    form: str

    def facts(self) -> t.Dict[str, t.Any]:
        uid = os.geteuid() if self.uid is None else self.uid
        return {"keyring": self.ring, "keyring_description": self.description, "uid": uid}

    def deliver(self, material: forms.Material, check_mode: bool) -> t.Tuple[bool, Diff]:
        content = material.encode(self.form)
        try:
            if not 0 < len(content) <= keyctl.LARGEST:
                raise SkrFailure(
                    "delivery_failed",
                    f"The secret has {len(content)} bytes; a key in a keyring has 1 to {keyctl.LARGEST}.",
                    {"bytes": len(content)},
                )
            found = self._within(functools.partial(self._bring, content, check_mode))
        finally:
            unwrap.wipe(content)
        wanted = {"exists": True, "permissions": f"0x{self.permissions:08x}", "content": "the secret"}
        before, after = {**self.facts(), **found["before"]}, {**self.facts(), **wanted}
        return before != after, {"before": before, "after": after}

    def _bring(self, content: bytearray, check_mode: bool, keys: keyctl.Keys, ring: int) -> t.Dict[str, t.Any]:
        """The lifetime is counted anew by each delivery, which is no change."""
        before, key, same = self._look(keys, ring, content)
        if check_mode:
            return {"before": before}
        made = key if same and key is not None else keys.add(self.description, content, ring)
        if before.get("permissions") != f"0x{self.permissions:08x}":
            keys.permit(made, self.permissions)
        keys.expire(made, self.ttl or 0)
        return {"before": before}

    def _look(
        self, keys: keyctl.Keys, ring: int, content: bytearray
    ) -> t.Tuple[t.Dict[str, t.Any], t.Optional[int], bool]:
        key = keys.find(self.description, ring)
        described = keys.describe(key) if key is not None else None
        if key is None or described is None:
            return {"exists": False}, None, False
        payload = keys.payload(key)
        if payload is None:  # expired or revoked: the name is there, the secret is not
            return {"exists": False}, None, False
        same = payload == content
        unwrap.wipe(payload)
        told = {"exists": True, "permissions": f"0x{described.permissions:08x}"}
        return {**told, "content": "the secret" if same else "another"}, key, same

    def remove(self, check_mode: bool) -> t.Tuple[bool, Diff]:
        def work(keys: keyctl.Keys, ring: int) -> t.Dict[str, t.Any]:
            key = keys.find(self.description, ring)
            if key is not None and not check_mode:
                keys.revoke(key)
                keys.unlink(key, ring)
            return {"existed": key is not None}

        existed = bool(self._within(work)["existed"])
        after = {**self.facts(), "exists": False}
        return existed, {"before": {**self.facts(), "exists": existed}, "after": after}

    def _within(self, work: Work) -> t.Dict[str, t.Any]:
        return within(self.ring, self.uid, work)


def check(
    ring: str,
    description: t.Optional[str],
    owner: t.Optional[str],
    permissions: str,
    ttl: t.Optional[int],
    form: str,
) -> Keyring:
    """Raises SkrFailure ``invalid_input`` or ``keyring_unavailable``."""
    if ring not in KEYRINGS:
        raise invalid("keyring", ring, " or ".join(KEYRINGS))
    if not description or len(description.encode("utf-8", "replace")) > _LONGEST or not description.isprintable():
        raise invalid("keyring_description", description, "a name such as 'app:tls-key'")
    if description.startswith("."):
        raise invalid("keyring_description", description, "a name without a leading dot, which is the kernel's own")
    try:
        bits = int(permissions, 16)
    except ValueError:
        bits = -1
    if not 0 <= bits <= 0x3F3F3F3F or bits & 0xC0C0C0C0:
        raise invalid("keyring_permissions", permissions, f"eight hex digits such as '{PERMISSIONS}'")
    if bits & _OTHERS:
        raise invalid("keyring_permissions", permissions, "no rights for others on a private key")
    uid = files.lookup("owner", owner, lambda name: pwd.getpwnam(name).pw_uid)
    if uid == os.geteuid():
        uid = None
    if uid is not None and ring == "session":
        raise invalid("owner", owner, "nobody: a session keyring is that of the process that runs this")
    if uid is not None and os.geteuid() != 0:
        raise invalid("owner", owner, "the user who runs this; only root may give to others")
    keyctl.Keys().probe()
    return Keyring(ring, description, uid, bits, ttl, form)


def read(description: str) -> bytearray:
    """The payload of a key in the keyring of the user who runs this. Raises SkrFailure ``invalid_input``."""
    keys, ring = _possess("user")
    key = keys.find(description, ring)
    found = None if key is None else keys.payload(key)
    if found is None:
        raise invalid("luks_existing_keyring", description, "the description of a key in the user keyring")
    return found


def within(ring: str, uid: t.Optional[int], work: Work) -> t.Dict[str, t.Any]:
    """Do work on a keyring, as its user.

    From a child, what the work returns or raises comes through a pipe, so no secret may be in it.
    """
    if uid is None:
        return work(*_possess(ring))
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reader)
            message = json.dumps(_as_user(ring, uid, work)).encode()
            os.write(writer, message)  # short enough for a pipe
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        content = stream.read()
    os.waitpid(child, 0)
    answer = json.loads(content or b'{"reason": "internal_error", "message": "The child ended early.", "facts": {}}')
    if "reason" in answer:
        raise SkrFailure(answer["reason"], answer["message"], answer["facts"])
    return t.cast("t.Dict[str, t.Any]", answer["result"])


def _possess(ring: str) -> t.Tuple[keyctl.Keys, int]:
    keys = keyctl.Keys()
    if ring == "persistent":
        return keys, keys.persistent()
    place = keys.keyring(keyctl.SESSION if ring == "session" else keyctl.USER)
    if ring == "user":
        keys.link(place, keyctl.PROCESS)
    return keys, place


def _as_user(ring: str, uid: int, work: Work) -> t.Dict[str, t.Any]:
    """In the child: become the user, then do the work."""
    try:
        try:
            group = pwd.getpwuid(uid).pw_gid
        except KeyError:
            group = uid
        os.setgroups([])
        os.setresgid(group, group, group)
        os.setresuid(uid, uid, uid)
        return {"result": work(*_possess(ring))}
    except SkrFailure as failure:
        return {"reason": failure.reason, "message": failure.message, "facts": failure.facts}
    except Exception as error:  # its text might quote what must not be seen
        return {"reason": "internal_error", "message": f"Unforeseen {type(error).__name__}.", "facts": {}}
