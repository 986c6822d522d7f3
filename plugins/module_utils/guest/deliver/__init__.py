# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a released key goes: one interface, a consumer in each of the other files.

    place = deliver.check(deliver.target(options))   # refuses what cannot work, before anybody is asked
    changed, diff = place.deliver(material, check_mode)
    changed, diff = place.remove(check_mode)

Facts, diffs and failures are public; the secret is in the material alone.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ...policy.failure import SkrFailure
from .. import material as forms
from ..arguments import delivery_argument_spec
from . import files, lifetime
from .common import Consumer, Diff, invalid

TARGETS = ("file", "keyring", "systemd_credential", "luks", "command")
# Options that are not for every consumer; one given for another would do nothing, and that is told.
_OWN: t.Dict[str, t.Tuple[str, ...]] = {
    "dest": ("file",),
    "owner": ("file", "keyring"),
    "group": ("file",),
    "keyring": ("keyring",),
    "keyring_description": ("keyring",),
    "keyring_permissions": ("keyring",),
    "credential_name": ("systemd_credential",),
    "credential_store": ("systemd_credential",),
    "credential_encryption": ("systemd_credential",),
    "luks_device": ("luks",),
    "luks_header": ("luks",),
    "luks_slot": ("luks",),
    "luks_replace": ("luks",),
    "luks_existing_key_file": ("luks",),
    "luks_existing_keyring": ("luks",),
    "luks_name": ("luks",),
    "command": ("command",),
    "command_timeout": ("command",),
    "fingerprint_file": ("command",),
    "ttl": ("file", "keyring", "systemd_credential"),
    "remove_on_stop": ("file", "keyring", "systemd_credential", "luks"),
}
_TYPES: t.Dict[str, t.Tuple[t.Tuple[type, ...], str]] = {
    "str": ((str,), "text"),
    "path": ((str,), "a path"),
    "int": ((int,), "a whole number"),
    "float": ((int, float), "a number"),
    "bool": ((bool,), "true or false"),
    "list": ((list, tuple), "a list of texts"),
}


@dataclasses.dataclass(frozen=True)
class Target:
    """The options as they are given; doc fragment ``delivery`` explains each."""

    dest: t.Optional[str] = None
    deliver_to: str = "file"
    format: str = forms.AUTO
    owner: t.Optional[str] = None
    group: t.Optional[str] = None
    mode: str = "0400"
    memory_backed: bool = True
    keyring: t.Optional[str] = None
    keyring_description: t.Optional[str] = None
    keyring_permissions: t.Optional[str] = None
    credential_name: t.Optional[str] = None
    credential_store: t.Optional[str] = None
    credential_encryption: t.Optional[str] = None
    luks_device: t.Optional[str] = None
    luks_header: t.Optional[str] = None
    luks_slot: t.Optional[int] = None
    luks_replace: bool = False
    luks_existing_key_file: t.Optional[str] = None
    luks_existing_keyring: t.Optional[str] = None
    luks_name: t.Optional[str] = None
    command: t.Optional[t.Tuple[str, ...]] = None
    command_timeout: t.Optional[float] = None
    fingerprint_file: t.Optional[str] = None
    ttl: t.Optional[int] = None
    remove_on_stop: bool = False
    on_change: t.Optional[t.Tuple[str, ...]] = None

    def given(self) -> t.Dict[str, t.Any]:
        """The options that differ from their defaults: what another process needs to find the place again."""
        return {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if getattr(self, field.name) != field.default
        }


def target(options: t.Mapping[str, t.Any]) -> Target:
    """From a module's or the agent's options, of which there may be others too. Raises SkrFailure ``invalid_input``."""
    found: t.Dict[str, t.Any] = {}
    for name, option in {**delivery_argument_spec(), **_AGENT}.items():
        value = options.get(name)
        if value is None:
            continue
        kinds, wanted = _TYPES[option["type"]]
        if not isinstance(value, kinds) or (isinstance(value, bool) and option["type"] != "bool"):
            raise invalid(name, value, wanted)
        if isinstance(value, (list, tuple)):
            if not all(isinstance(word, str) for word in value):
                raise invalid(name, value, wanted)
            value = tuple(value)
        found[name] = value
    return Target(**found)


# In Ansible a handler reloads the consumer; the agent has none.
_AGENT = {"on_change": {"type": "list"}}


@dataclasses.dataclass(frozen=True)
class Place:
    """A consumer, and what goes with every one: the time limit, and who is to hear of a change."""

    target: Target
    consumer: Consumer

    @property
    def dest(self) -> t.Optional[str]:
        """The path, for consumers that are files."""
        return self.consumer.facts().get("dest")

    def facts(self) -> t.Dict[str, t.Any]:
        return {"deliver_to": self.target.deliver_to, **self.consumer.facts()}

    def told(self, diff: Diff) -> t.Dict[str, t.Any]:
        """The facts with the slot of a LUKS volume, which only the delivery knows."""
        after = diff["after"]
        return {**self.facts(), **({"luks_slot": after["luks_slot"]} if "luks_slot" in after else {})}

    def deliver(self, material: forms.Material, check_mode: bool = False) -> t.Tuple[bool, Diff]:
        """Bring the consumer to hold the material; returns whether that changes anything, and the diff.

        The end of a limited copy is arranged before there is one. Raises SkrFailure.
        """
        if check_mode:
            return self.consumer.deliver(material, True)
        lifetime.arrange(self.target, self.facts())
        changed, diff = self.consumer.deliver(material, False)
        if self.target.on_change:
            from . import luks

            with luks.changed_before(changed):
                lifetime.tell(self.target.on_change, self.facts(), changed)
        return changed, diff

    def remove(self, check_mode: bool = False) -> t.Tuple[bool, Diff]:
        """Take the delivered copy away; nothing happens where it is gone already."""
        changed, diff = self.consumer.remove(check_mode)
        if not check_mode:
            lifetime.forget(self.facts())
        return changed, diff


def check(target: Target, removal: bool = False) -> Place:
    """Refuse what cannot work before anything is asked of anybody. For a removal less has to be given.

    Raises SkrFailure: invalid_input, not_memory_backed, keyring_unavailable, program_missing, removal_unscheduled.
    """
    if target.deliver_to not in TARGETS:
        raise invalid("deliver_to", target.deliver_to, " or ".join(TARGETS))
    if target.format not in forms.NAMES:
        raise invalid("format", target.format, " or ".join(forms.NAMES))
    given = target.given()
    for name, fitting in _OWN.items():
        if name in given and target.deliver_to not in fitting:
            raise SkrFailure(
                "invalid_input",
                f"{name} is {given[name]!r} with deliver_to {target.deliver_to!r}, wanted with {' or '.join(fitting)} only.",
                {"option": name},
            )
    if target.ttl is not None and not removal:
        lifetime.check(target.ttl, target.deliver_to)
    if target.on_change is not None:
        from . import command

        command.argv("on_change", target.on_change)
    return Place(target, _consumer(target, removal))


def _consumer(target: Target, removal: bool) -> Consumer:
    """One consumer is used and the others are not imported, because Ansible sends them as source: compiling takes time."""
    if target.deliver_to == "file":
        if removal:
            return files.File(files.settle(target.dest))
        return files.check(target.dest, target.owner, target.group, target.mode, target.memory_backed, target.format)
    if target.deliver_to == "keyring":
        from . import keyring

        permissions = target.keyring_permissions or keyring.PERMISSIONS
        ring = target.keyring or keyring.KEYRINGS[0]
        return keyring.check(ring, target.keyring_description, target.owner, permissions, target.ttl, target.format)
    if target.deliver_to == "systemd_credential":
        from . import credential

        encryption = target.credential_encryption or credential.PLAIN
        return credential.check(target.credential_name, target.credential_store, encryption, target.format, removal)
    if target.deliver_to == "luks":
        from . import luks

        return luks.check(
            target.luks_device,
            target.luks_header,
            target.luks_slot,
            target.luks_replace,
            (target.luks_existing_key_file, target.luks_existing_keyring),
            target.luks_name,
            target.memory_backed,
            target.format,
            removal,
        )
    from . import command

    return command.check(
        target.command,
        60.0 if target.command_timeout is None else target.command_timeout,
        target.fingerprint_file,
        target.format,
    )
