# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Delivery to a command, on its standard input: for consumers that nobody here knows.

A small file tells which secret the command had last, so that it runs again only when that changes. It holds the public
fingerprint of a private key; for a symmetric key or a secret an HMAC under a random salt, so that it cannot be compared
with that of another machine.
"""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import json
import os
import typing as t

from ...policy.failure import SkrFailure
from .. import material as forms
from .. import unwrap
from . import files
from .common import Diff, invalid, run

FOLDER = "/run/azure-skr/commands"  # in memory: after a boot the consumer has to be given the key anew
_LARGEST = 4096


@dataclasses.dataclass(frozen=True)
class Command:
    """A program with its arguments, run without a shell."""

    command: t.Tuple[str, ...]
    timeout: float
    fingerprint_file: str
    form: str

    def facts(self) -> t.Dict[str, t.Any]:
        return {"program": self.command[0], "fingerprint_file": self.fingerprint_file}

    def deliver(self, material: forms.Material, check_mode: bool) -> t.Tuple[bool, Diff]:
        content = material.encode(self.form)
        try:
            before = self._before(material)
            after = {**self.facts(), "content": "the secret", "public_key_sha256": material.public_key_sha256}
            if before != after and not check_mode:
                self._forget()  # whatever happens now, the consumer's state is not what the file says
                self._run(content)
                self._remember(material)
            return before != after, {"before": before, "after": after}
        finally:
            unwrap.wipe(content)

    def _before(self, material: forms.Material) -> Diff:
        told = {**self.facts(), "content": None, "public_key_sha256": None}
        try:
            with open(self.fingerprint_file, "rb") as stream:
                found = json.loads(stream.read(_LARGEST))
            if found["command_sha256"] != self._digest() or found["version"] != 1:
                return told
            public = found["public_key_sha256"]
            same = hmac.compare_digest(material.mark(bytes.fromhex(found["salt"])), str(public or found["hmac_sha256"]))
        except (OSError, ValueError, KeyError, TypeError):
            return told
        return {**told, "content": "the secret" if same else "another", "public_key_sha256": public}

    def _digest(self) -> str:
        """Another command or another format is another consumer."""
        return hashlib.sha256(json.dumps([*self.command, self.form]).encode()).hexdigest()

    def _run(self, content: bytearray) -> None:
        done = run(self.command, content, self.timeout)
        if done.status:
            raise SkrFailure(
                "command_failed",
                f"{self.command[0]} ended with status {done.status}; what it printed is not shown, as it may hold the key.",
                {"program": self.command[0], "status": done.status},
            )

    def _remember(self, material: forms.Material) -> None:
        salt = os.urandom(16)
        public = material.public_key_sha256
        document = {
            "version": 1,
            "command_sha256": self._digest(),
            "salt": salt.hex(),
            "public_key_sha256": public,
            "hmac_sha256": None if public else material.mark(salt),
        }
        try:
            with files.writing(self.fingerprint_file):
                place = files.File(self.fingerprint_file, mode=0o600)
                files.replace(place, json.dumps(document).encode(), {"uid": os.geteuid(), "gid": os.getegid()})
        except SkrFailure as failure:
            failure.changed = True  # the consumer has the key; only the note of it is missing
            raise

    def _forget(self) -> None:
        if os.path.lexists(self.fingerprint_file):
            with files.writing(self.fingerprint_file):
                os.unlink(self.fingerprint_file)

    def remove(self, check_mode: bool) -> t.Tuple[bool, Diff]:
        """Nobody but the command knows what it did with the key; here only the note of it can go."""
        existed = os.path.lexists(self.fingerprint_file)
        if existed and not check_mode:
            self._forget()
        return existed, {
            "before": {**self.facts(), "exists": existed},
            "after": {**self.facts(), "exists": False},
        }


def check(
    command: t.Optional[t.Sequence[str]], timeout: float, fingerprint_file: t.Optional[str], form: str
) -> Command:
    """Raises SkrFailure ``invalid_input``."""
    words = tuple(command or ())
    argv("command", words)
    if not 0 < timeout <= 3600:
        raise invalid("command_timeout", timeout, "more than 0 and at most 3600 seconds")
    if fingerprint_file is None:
        name = hashlib.sha256(json.dumps([*words, form]).encode()).hexdigest()[:32]
        fingerprint_file = os.path.join(FOLDER, f"{name}.json")
    try:
        place = files.settle(fingerprint_file)
    except SkrFailure:
        raise invalid("fingerprint_file", fingerprint_file, "the absolute path of a file") from None
    return Command(words, timeout, place, form)


def argv(option: str, words: t.Sequence[str]) -> None:
    """A program by its absolute path and its arguments. Raises SkrFailure ``invalid_input``."""
    if not words or not os.path.isabs(words[0]) or any("\0" in word for word in words):
        raise invalid(option, list(words), "a list of a program's absolute path and its arguments")
    if not os.access(words[0], os.X_OK) or os.path.isdir(words[0]):
        raise invalid(option, words[0], "a program that can be run")
