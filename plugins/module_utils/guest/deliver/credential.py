# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Delivery as a systemd credential (systemd.exec(5), systemd-creds(1)): plain in memory, or encrypted on any file system.

A service gets it with ``LoadCredential=NAME`` or ``LoadCredentialEncrypted=NAME`` when it starts, not when it changes.
"""

from __future__ import annotations

import dataclasses
import os
import re
import typing as t

from ...policy.failure import SkrFailure
from .. import material as forms
from .. import unwrap
from . import files
from .common import Diff, invalid, program, run

PLAIN = "none"
ENCRYPTIONS = (PLAIN, "auto", "host", "tpm2")
_STORES = {False: "/run/credstore", True: "/run/credstore.encrypted"}
_NAME = re.compile(r"[0-9A-Za-z_-][0-9A-Za-z._-]{0,254}")
_LARGEST = 1 << 20  # of a credential; systemd.exec(5)
_MODE = 0o600


@dataclasses.dataclass(frozen=True)
class Credential:
    """One file of a credential store, of root alone."""

    name: str
    dest: str
    encryption: str
    form: str

    def facts(self) -> t.Dict[str, t.Any]:
        return {"dest": self.dest, "credential_name": self.name, "credential_encryption": self.encryption}

    def deliver(self, material: forms.Material, check_mode: bool) -> t.Tuple[bool, Diff]:
        content = material.encode(self.form)
        try:
            if len(content) > _LARGEST:
                raise SkrFailure(
                    "delivery_failed", f"The secret has {len(content)} bytes; a credential has 1 MiB at most."
                )
            place = files.File(self.dest, None, None, _MODE)
            if self.encryption == PLAIN:
                return files.bring(place, content, material.public_key_sha256, check_mode)
            return self._bring_sealed(place, content, material.public_key_sha256, check_mode)
        finally:
            unwrap.wipe(content)

    def _bring_sealed(
        self, place: files.File, content: bytearray, fingerprint: t.Optional[str], check_mode: bool
    ) -> t.Tuple[bool, Diff]:
        """Each encryption gives other bytes, so what is there is decrypted and compared."""
        same = os.path.exists(self.dest) and self._holds(content)
        sealed = bytearray() if same or check_mode else self._seal(content)
        changed, diff = files.bring(place, sealed, fingerprint, check_mode, lambda: same)
        if diff["before"]["exists"]:
            diff["before"]["content"] = "the secret" if same else "another"
            diff["before"]["public_key_sha256"] = fingerprint if same else None  # that of the sealed bytes says nothing
        diff["after"]["content"] = "the secret"
        return (changed and (not same or diff["before"] != diff["after"])), diff

    def _seal(self, content: bytearray) -> bytearray:
        command = [_systemd_creds(), "encrypt", f"--name={self.name}", f"--with-key={self.encryption}", "-", "-"]
        done = run(command, content, keep_output=True)
        if done.status or not done.output:
            raise SkrFailure(
                "command_failed",
                f"systemd-creds could not encrypt the credential with the key {self.encryption!r} (status {done.status}).",
                {"program": "systemd-creds", "status": done.status},
            )
        return done.output

    def _holds(self, content: bytearray) -> bool:
        """One that cannot be decrypted, by another host's key or a tampered one, is not the same."""
        done = run([_systemd_creds(), "decrypt", f"--name={self.name}", self.dest, "-"], keep_output=True)
        same = done.status == 0 and done.output == content
        unwrap.wipe(done.output)
        return same

    def remove(self, check_mode: bool) -> t.Tuple[bool, Diff]:
        return files.remove(self.dest, check_mode)


def check(name: t.Optional[str], store: t.Optional[str], encryption: str, form: str, removal: bool) -> Credential:
    """Raises SkrFailure: invalid_input, not_memory_backed, program_missing."""
    if not name or not _NAME.fullmatch(name):
        raise invalid("credential_name", name, "letters, digits, hyphens, underscores and dots, such as 'tls.key'")
    if encryption not in ENCRYPTIONS:
        raise invalid("credential_encryption", encryption, " or ".join(ENCRYPTIONS))
    folder = store or _STORES[encryption != PLAIN]
    if not os.path.isabs(folder):
        raise invalid("credential_store", folder, "the absolute path of a folder")
    dest = files.settle(os.path.join(folder, name))
    if not removal:
        if encryption == PLAIN:
            files.require_memory("credential_store", dest)
        else:
            _systemd_creds()
    return Credential(name, dest, encryption, form)


def _systemd_creds() -> str:
    return program("systemd-creds", "systemd (version 250 or later)")
