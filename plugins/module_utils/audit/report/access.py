# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who could get a key: the release permission on one side, the release policy on the other, and who has both."""

from __future__ import annotations

import dataclasses
import functools
import typing as t

from ...policy import canonical, evaluate, explain, lint
from ...policy import model as grammar
from ...policy.failure import SkrFailure
from . import facts, model
from .facts import Host
from .model import Doc, KeyId, View

VIA = {
    "rbac": "role assignment (Azure RBAC)",
    "access_policy": "access policy of the vault",
    "hsm_local": "local role of the managed HSM",
}
# What a VM's own permission and the policy make of it, in the order of reading.
BOTH, POLICY, PERMISSION, NEITHER = "both", "policy", "permission", "neither"
STANDINGS = {
    BOTH: "Has both: could get the key",
    PERMISSION: "Holds the permission; policy not met or not known",
    POLICY: "Meets the policy; no permission",
    NEITHER: "Neither, or not known",
}


@dataclasses.dataclass(frozen=True)
class Principal:
    """One holder of the release permission on a key. ``hosts`` are those whose VM carries this identity."""

    id: str
    kind: str
    via: str
    scope: str
    vms: t.List[str]
    hosts: t.List[Host]

    @property
    def stranger(self) -> bool:
        """Whether it is no VM of the inventory."""
        return not self.hosts


@dataclasses.dataclass(frozen=True)
class Standing:
    """How one host stands to the key; ``meets`` is None where nobody can tell, ``basis`` says from what it is known."""

    host: Host
    permission: bool
    meets: t.Optional[bool]
    basis: str

    @property
    def kind(self) -> str:
        if self.meets:
            return BOTH if self.permission else POLICY
        return PERMISSION if self.permission else NEITHER


@dataclasses.dataclass(frozen=True)
class Key:
    """A key of control/keys.json, or one that only records speak of (``listed`` false)."""

    id: KeyId
    anchor: str
    raw: Doc
    listed: bool
    access: t.List[Principal]
    hosts: t.List[Host]

    @property
    def name(self) -> str:
        return model.text(self.raw, "key_name") or self.id[1] or "not known"

    @functools.cached_property
    def policy(self) -> t.Optional[grammar.Policy]:
        """The release policy where it follows the grammar."""
        try:
            return grammar.parse(self.raw.get("release_policy"))
        except (SkrFailure, RecursionError):
            return None

    @property
    def sha256(self) -> str:
        """Digest of the policy's meaning, computed here; as the bundle tells it where the policy cannot be read."""
        return canonical.digest(self.policy) if self.policy else model.text(self.raw, "policy_sha256")

    @property
    def explained(self) -> t.List[str]:
        if self.policy:
            return explain.explain(self.policy).splitlines()
        return model.texts(self.raw, "explained")

    @functools.cached_property
    def lint(self) -> t.List[lint.Finding]:
        return lint.lint(self.policy) if self.policy else []

    @property
    def accepted(self) -> t.Dict[str, str]:
        """Justification by the finding's code."""
        given = model.at(self.raw, "accepted_findings")
        if isinstance(given, t.Mapping):
            return {str(code): model.show(why) for code, why in sorted(given.items())}
        listed = model.rows(given)
        return {model.text(one, "code"): model.text(one, "justification") for one in listed if model.text(one, "code")}

    @property
    def immutable(self) -> t.Optional[bool]:
        return model.flag(self.raw, "immutable")

    @property
    def versions(self) -> t.List[Doc]:
        return model.rows(self.raw, "versions")

    @property
    def strangers(self) -> t.List[Principal]:
        return [principal for principal in self.access if principal.stranger]

    @functools.cached_property
    def standings(self) -> t.List[Standing]:
        """How every host stands to the key."""
        allowed = {host.name for principal in self.access for host in principal.hosts}
        return [Standing(host, host.name in allowed, *self._meets(host)) for host in self.hosts]

    def _meets(self, host: Host) -> t.Tuple[t.Optional[bool], str]:
        """The policy as it is now over the claims last told; else what the host's last record says."""
        record = host.latest.get(self.id)
        if host.claims and self.policy:
            return evaluate.evaluate(self.policy, host.claims).satisfied, "claims"
        if record is not None:
            told = model.flag(record.raw, "policy", "satisfied")
            return (True if record.released and told is None else told), "record"
        return None, "nothing"


def keys(view: View, hosts: t.List[Host]) -> t.List[Key]:
    """Keys that are listed, then those that are only told of by records."""
    listed = {_key_id(raw): raw for raw in view.keys}
    told: t.Dict[KeyId, Doc] = {}
    for record in view.all_records:
        if record.key[1] and record.key not in listed:
            told.setdefault(record.key, {"release_policy": model.at(record.raw, "policy", "document")})
    owners = facts.principals(view.vms)
    by_vm = facts.vm_ids(hosts)
    named: t.Dict[str, t.List[Host]] = {}
    for host in hosts:
        for name in {host.name.lower(), model.text(host.vm, "name").lower(), model.text(host.vm, "id").lower()} - {""}:
            named.setdefault(name, []).append(host)
    made = []
    for number, (ident, raw) in enumerate([*listed.items(), *sorted(told.items())], 1):
        access = [_principal(row, owners, by_vm, named) for row in view.access if _applies(row, ident)]
        made.append(Key(ident, f"key-{number}", raw, ident in listed, access, hosts))
    return made


def _key_id(raw: Doc) -> KeyId:
    kid = model.text(raw, "kid")
    name = model.text(raw, "key_name") or kid.partition("/keys/")[2].partition("/")[0]
    return model.address(model.text(raw, "vault_uri") or model.text(raw, "hsm_uri") or kid), name.lower()


def _principal(
    row: Doc, owners: t.Dict[str, t.List[Doc]], by_vm: t.Dict[str, Host], named: t.Dict[str, t.List[Host]]
) -> Principal:
    ident = model.text(row, "principal_id")
    vms = owners.get(ident.lower(), [])
    names = [model.text(vm, "name") for vm in vms] or [name for name in [model.text(row, "vm")] if name]
    hosts = [by_vm[key] for key in (model.text(vm, "id").lower() for vm in vms) if key in by_vm]
    if not vms and names:
        hosts = named.get(names[0].lower(), [])
    kind, via, scope = (model.text(row, name) for name in ("principal_type", "via", "scope"))
    return Principal(ident, kind, via, scope, names, hosts)


def _applies(row: Doc, ident: KeyId) -> bool:
    """Whether a permission reaches a key. In doubt it does: nobody who could get a key shall be missing."""
    host, name = ident
    told = model.address(model.text(row, "vault_uri") or model.text(row, "hsm_uri"))
    if told and told != host:
        return False
    parts = [part.lower() for part in model.text(row, "scope").split("/")]
    for kind in ("vaults", "managedhsms"):
        if kind in parts[:-1] and parts[parts.index(kind) + 1] != host.partition(".")[0]:
            return False
    if "keys" in parts[:-1] and parts[parts.index("keys") + 1] not in ("", name):
        return False
    is_hsm = ".managedhsm." in host
    return (model.text(row, "via") == "hsm_local") <= is_hsm
