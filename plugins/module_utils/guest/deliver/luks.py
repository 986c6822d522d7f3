# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Delivery to a LUKS volume (cryptsetup(8)): a key slot that the secret opens, and the volume open where that is asked for.

The program gets secrets on its standard input and by an inherited pipe, never by a file or an argument. Slots that
nobody asked to change are not touched, and no step leaves the volume with less than it could be opened with before.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import typing as t

from ...policy.failure import SkrFailure
from .. import material as forms
from .. import unwrap
from . import files, keyring
from .common import Diff, Done, invalid, pipe_with, program, run

_SLOTS = {1: 8, 2: 32}
_NAME = re.compile(r"[0-9A-Za-z_.-]{1,127}")
# LUKS1 lists every slot, LUKS2 the used ones; "(unbound)" and "reencrypt" slots open no volume.
_ACTIVE = re.compile(r"^Key Slot (\d+): ENABLED$|^  (\d+): luks2$", re.M)
_USED = re.compile(r"^Key Slot (\d+): ENABLED$|^  (\d+): (?:luks2|reencrypt)", re.M)
_UNLOCKED = re.compile(r"^Key slot (\d+) unlocked\.$", re.M)
# A token of the header, such as systemd's for the TPM, would open the volume whatever passphrase is tried.
_NO_TOKEN = "--token-type=none"
# A random key needs no stretching; what people make up does, and gets cryptsetup's defaults.
_PLAIN_KDF = ("--pbkdf=pbkdf2", "--pbkdf-force-iterations=1000")
_TIMEOUT = 300.0
_WHY = {
    1: "wrong parameters",
    2: "no slot opens with the passphrase",
    3: "out of memory",
    4: "wrong device",
    5: "in use",
}


@dataclasses.dataclass(frozen=True)
class Luks:
    """A volume, or a file that holds one, and what is wanted of it."""

    device: str
    header: t.Optional[str]
    slot: t.Optional[int]
    replace: bool
    existing_file: t.Optional[str]
    existing_keyring: t.Optional[str]
    name: t.Optional[str]
    form: str

    def facts(self) -> t.Dict[str, t.Any]:
        return {"luks_device": self.device, "luks_header": self.header}

    def deliver(self, material: forms.Material, check_mode: bool) -> t.Tuple[bool, Diff]:
        if material.kind not in ("oct", "secret"):
            raise SkrFailure(
                "invalid_input",
                f"deliver_to is 'luks' and the key is of kind {material.kind}, wanted a symmetric key (oct) or a secret.",
                {"option": "deliver_to", "kind": material.kind},
                next_step="Use an oct-HSM key, or wrap a passphrase for this key (secret_wrap) and open it with secret_unwrap.",
            )
        content = material.encode(self.form)
        try:
            return self._bring(content, () if material.kind == "secret" else _PLAIN_KDF, check_mode)
        finally:
            unwrap.wipe(content)

    def _bring(self, content: bytearray, kdf: t.Sequence[str], check_mode: bool) -> t.Tuple[bool, Diff]:
        slots = self._slots()
        slot = self._opened_by(content, self.slot)
        opened = self._is_open()
        before = {**self.facts(), "luks_slot": slot, "slots": sorted(slots.active), "open": opened}
        target = self._choose(slots) if slot is None else slot
        if slot is None:
            self._add_all(content, kdf, slots, target, check_mode)
        if self.name and not opened and not check_mode:
            with changed_before(slot is None):
                self._open(content)
        active = sorted(slots.active | {target})
        after = {**self.facts(), "luks_slot": target, "slots": active, "open": opened or bool(self.name)}
        return before != after, {"before": before, "after": after}

    # --- slots

    def _choose(self, slots: Slots) -> int:
        if self.slot is None:
            return slots.free()
        if self.slot >= _SLOTS[slots.version]:
            raise invalid("luks_slot", self.slot, f"a number below {_SLOTS[slots.version]} for LUKS{slots.version}")
        if self.slot in slots.used and not self.replace:
            raise SkrFailure(
                "luks_slot_taken",
                f"Slot {self.slot} of {self.device} holds another passphrase.",
                {"luks_device": self.device, "luks_slot": self.slot},
            )
        return self.slot

    def _add_all(self, content: bytearray, kdf: t.Sequence[str], slots: Slots, target: int, check_mode: bool) -> None:
        with self._existing() as existing:
            if self._opened_by(existing, None) is None:
                raise SkrFailure(
                    "luks_refused",
                    f"The existing passphrase opens no slot of {self.device}; a final newline in its file counts.",
                    {"luks_device": self.device},
                )
            if check_mode:
                return
            if target not in slots.used:
                self._add(existing, content, target, kdf)
                return
            # A slot is replaced by way of a free one: at every moment the old or the new secret opens the volume.
            spare = slots.free()
            self._add(existing, content, spare, kdf)
        try:
            self._kill(target)
            self._add(content, content, target, kdf)
            self._kill(spare)
        except SkrFailure as failure:
            failure.changed = True
            failure.message += f" The new secret is in slot {spare} meanwhile, which has to be removed later."
            failure.facts["spare_slot"] = spare
            raise

    @contextlib.contextmanager
    def _existing(self) -> t.Iterator[bytearray]:
        """A passphrase that opens the volume now."""
        if self.existing_keyring is not None:
            found = keyring.read(self.existing_keyring)
        elif self.existing_file is not None:
            try:
                with open(self.existing_file, "rb") as stream:
                    found = bytearray(stream.read())
            except OSError:
                raise invalid("luks_existing_key_file", self.existing_file, "a file that can be read") from None
        else:
            raise invalid("luks_existing_key_file", None, "a passphrase that opens the volume, to add another")
        try:
            yield found
        finally:
            unwrap.wipe(found)

    def _add(self, existing: bytearray, content: bytearray, slot: int, kdf: t.Sequence[str]) -> None:
        # The new one by the pipe: as a positional file, standard input would end at a newline.
        with pipe_with(content) as descriptor:
            words = ("luksAddKey", *kdf, f"--key-slot={slot}", "--key-file=-", self.device)
            path = f"/proc/self/fd/{descriptor}"
            done = self._cryptsetup(*words, path, given=existing, pass_fds=(descriptor,))
        self._succeeded(done, "add the key")
        with changed_before(True):
            if self._opened_by(content, slot) != slot:
                raise SkrFailure(
                    "luks_refused", f"Slot {slot} of {self.device} was written and does not open.", {"luks_slot": slot}
                )

    def _kill(self, slot: int) -> None:
        # Batch mode asks no passphrase, and would take away the last slot too.
        if not self._slots().active - {slot}:
            raise SkrFailure(
                "luks_last_slot",
                f"Slot {slot} is the last one that opens {self.device}.",
                {"luks_device": self.device, "luks_slot": slot},
            )
        self._succeeded(self._cryptsetup("luksKillSlot", "--batch-mode", self.device, str(slot)), "remove a slot")

    def _slots(self) -> Slots:
        done = self._cryptsetup("luksDump", self.device)
        text = done.output.decode("utf-8", "replace")
        version = re.search(r"^Version:\s+([12])\s*$", text, re.M)
        if done.status or version is None:
            raise SkrFailure(
                "luks_refused",
                f"{self.header or self.device} is no LUKS volume, or it cannot be read (status {done.status}).",
                {"luks_device": self.device, "status": done.status},
            )
        part = text.partition("\nTokens:")[0]
        return Slots(
            int(version.group(1)),
            frozenset(int(one or two) for one, two in _ACTIVE.findall(part)),
            frozenset(int(one or two) for one, two in _USED.findall(part)),
        )

    def _opened_by(self, content: bytearray, slot: t.Optional[int]) -> t.Optional[int]:
        """Which slot the passphrase opens, of all or of the one asked for."""
        words = ["open", "--verbose", "--test-passphrase", _NO_TOKEN, "--key-file=-"]
        if slot is not None:
            words.append(f"--key-slot={slot}")
        done = self._cryptsetup(*words, self.device, given=content)
        found = _UNLOCKED.search(done.output.decode("utf-8", "replace"))
        return int(found.group(1)) if done.status == 0 and found else None

    # --- the volume

    def _is_open(self) -> bool:
        if not self.name:
            return False
        done = self._cryptsetup("status", self.name)
        if done.status:
            return False
        text = done.output.decode("utf-8", "replace")
        below = {os.path.realpath(path) for path in re.findall(r"^\s+(?:device|loop):\s+(\S.*)$", text, re.M)}
        if os.path.realpath(self.device) not in below:
            raise SkrFailure(
                "luks_refused",
                f"luks_name {self.name!r} is in use for {' and '.join(sorted(below))}, wanted {self.device}.",
                {"luks_name": self.name},
            )
        return True

    def _open(self, content: bytearray) -> None:
        words = ("open", _NO_TOKEN, "--key-file=-")
        self._succeeded(self._cryptsetup(*words, self.device, str(self.name), given=content), "open the volume")

    def remove(self, check_mode: bool) -> t.Tuple[bool, Diff]:
        slots = self._slots()
        there = self.slot in slots.active
        before = {**self.facts(), "slots": sorted(slots.active)}
        if there and not check_mode:
            self._kill(t.cast(int, self.slot))
        elif there and not slots.active - {t.cast(int, self.slot)}:
            raise SkrFailure("luks_last_slot", f"Slot {self.slot} is the last one that opens {self.device}.")
        return there, {"before": before, "after": {**before, "slots": sorted(slots.active - {t.cast(int, self.slot)})}}

    # --- the program

    def _cryptsetup(
        self, action: str, *words: str, given: t.Union[bytes, bytearray] = b"", pass_fds: t.Sequence[int] = ()
    ) -> Done:
        header = (f"--header={self.header}",) if self.header and action != "status" else ()
        command = (_program(), action, *header, *words)
        return run(command, given, _TIMEOUT, keep_output=True, pass_fds=pass_fds)

    def _succeeded(self, done: Done, what: str) -> None:
        if done.status:
            raise SkrFailure(
                "luks_refused",
                f"cryptsetup could not {what} ({self.device}): {_WHY.get(done.status, 'unknown')} (status {done.status}).",
                {"luks_device": self.device, "status": done.status},
            )


class Slots(t.NamedTuple):
    """Slots that open the volume, and all that are not free."""

    version: int
    active: t.FrozenSet[int]
    used: t.FrozenSet[int]

    def free(self) -> int:
        for number in range(_SLOTS[self.version]):
            if number not in self.used:
                return number
        raise SkrFailure(
            "luks_slot_taken", f"All {_SLOTS[self.version]} slots are taken.", {"slots": sorted(self.used)}
        )


@contextlib.contextmanager
def changed_before(changed: bool) -> t.Iterator[None]:
    """A failure inside tells that something had been changed already."""
    try:
        yield
    except SkrFailure as failure:
        failure.changed = failure.changed or changed
        raise


def check(
    device: t.Optional[str],
    header: t.Optional[str],
    slot: t.Optional[int],
    replace: bool,
    existing: t.Tuple[t.Optional[str], t.Optional[str]],
    name: t.Optional[str],
    memory_backed: bool,
    form: str,
    removal: bool,
) -> Luks:
    """Raises SkrFailure: invalid_input, not_memory_backed, program_missing. ``existing`` is a file and a key in the keyring."""
    for option, path in (("luks_device", device), ("luks_header", header)):
        if (path or option == "luks_device") and not (path and os.path.isabs(path) and os.path.exists(path)):
            raise invalid(option, path, "the absolute path of a block device or of a file")
    if slot is not None and not 0 <= slot < _SLOTS[2]:
        raise invalid("luks_slot", slot, "a number from 0 to 31")
    if removal and slot is None:
        raise invalid("luks_slot", slot, "the number of the slot to remove, as key_release returned it")
    if replace and slot is None:
        raise invalid("luks_replace", replace, "luks_slot with it, the slot to replace")
    if name is not None and not _NAME.fullmatch(name):
        raise invalid("luks_name", name, "letters, digits, hyphens, underscores and dots")
    file, description = existing
    if file is not None and description is not None:
        raise invalid("luks_existing_keyring", description, "nothing, where luks_existing_key_file is given")
    if file is not None and not removal:
        if not os.path.isfile(file):
            raise invalid("luks_existing_key_file", file, "a file that can be read")
        if memory_backed:
            files.require_memory("luks_existing_key_file", file)
    _program()
    return Luks(t.cast(str, device), header, slot, replace, file, description, name, form)


def _program() -> str:
    return program("cryptsetup", "cryptsetup (version 2.4 or later)")
