# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of each host, drawn from its records, its agents' status, the inventory and the verification."""

from __future__ import annotations

import dataclasses
import functools
import typing as t

from ...policy import near
from ...policy import vocabulary as words
from . import model
from .model import Doc, KeyId, Record, View

# Kinds of verdict in the order of reading, with what they are called.
KINDS: t.Dict[str, str] = {
    "bad": "Refused",
    "warn": "Failed",
    "lost": "Not reached",
    "empty": "No record",
    "ok": "Released",
}
STYLE = {"bad": "bad", "warn": "warn", "lost": "none", "empty": "none", "ok": "ok"}
TEES = {
    words.SNP: "AMD SEV-SNP",
    "snp": "AMD SEV-SNP",
    words.TDX: "Intel TDX",
    "tdx": "Intel TDX",
    "none": "none (Trusted Launch)",
}
SHORT_DAYS, DUE_DAYS = 30, 90  # AK certificate: soon useless; Microsoft's clients renew from here on
_TCB = ("fmc", "boot_loader", "tee", "snp", "microcode")


@dataclasses.dataclass(frozen=True)
class Host:
    """One host; ``anchor`` is its place in the report."""

    name: str
    anchor: str
    entry: Doc
    records: t.List[Record]
    vm: Doc
    metrics: str

    @property
    def reached(self) -> t.Optional[bool]:
        return model.flag(self.entry, "reachable")

    @functools.cached_property
    def latest(self) -> t.Dict[KeyId, Record]:
        """The last record of each key."""
        return {record.key: record for record in self.records}

    @functools.cached_property
    def kind(self) -> str:
        """The verdict: one of KINDS. The worst of its keys counts; what could not be looked at is not known."""
        if self.reached is False:
            return "lost"
        if not self.records:
            return "empty"
        kinds = {judge(record) for record in self.latest.values()}
        return next(kind for kind in ("bad", "warn", "ok") if kind in kinds)

    @property
    def reason(self) -> str:
        """The reason code behind the verdict."""
        if self.kind in ("lost", "empty"):
            return {"lost": "not_reached", "empty": "no_record"}[self.kind]
        return next(record.reason for record in self.latest.values() if judge(record) == self.kind)

    @functools.cached_property
    def attested(self) -> t.Optional[Record]:
        """The last record that tells something of the VM itself."""
        told = [record for record in self.records if record.claims or model.mapping(record.raw, "evidence")]
        return told[-1] if told else None

    @property
    def claims(self) -> Doc:
        return self.attested.claims if self.attested else {}

    @property
    def evidence(self) -> Doc:
        return model.mapping(self.attested.raw, "evidence") if self.attested else {}

    @functools.cached_property
    def instances(self) -> t.Dict[str, Doc]:
        """Status of each instance of the agent."""
        status = model.at(self.entry, "status")
        if isinstance(status, (list, tuple)):
            return {model.text(one, "name") or str(number): one for number, one in enumerate(model.rows(status), 1)}
        found = model.plain(status)
        if "outcome" in found:
            return {model.text(found, "name") or "default": found}
        return {name: model.plain(one) for name, one in sorted(found.items())}

    @functools.cached_property
    def tee(self) -> str:
        value = claim(self.claims, words.TYPE) or model.text(self.evidence, "tee")
        if value:
            return TEES.get(str(value), str(value))
        return "none (Trusted Launch)" if self.claims else ""

    @functools.cached_property
    def tcb(self) -> t.Tuple[str, t.Tuple[float, ...]]:
        """The platform's level in words, and its numbers to compare within one product; empty where not known."""
        evidence = self.evidence
        level = model.mapping(evidence, "reported_tcb") or model.mapping(evidence, "tcb")
        product = model.text(evidence, "product")
        if not level and claim(self.claims, words.TYPE) == words.SNP:
            names = (("boot_loader", "bootloader"), ("tee", "tee"), ("snp", "snpfw"), ("microcode", "microcode"))
            level = {name: claim(self.claims, words.SVNS[words.SNP][short]) for name, short in names}
        numbers = {name: model.number(level, name) for name in _TCB}
        known = {name: value for name, value in numbers.items() if value is not None}
        if known:
            told = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in known.items())
            return f"{product or self.tee}: {told}", tuple(known.values())
        vector = model.text(evidence, "tee_tcb_svn") or claim(self.claims, f"{words.ISOLATION}.tdx_tee_tcb_svn")
        seam = claim(self.claims, words.SVNS[words.TDX]["seam"])
        if isinstance(vector, str) and vector:
            return f"Intel TDX: {vector}", ()
        if model.number(seam) is not None:
            return f"Intel TDX: module {seam}", (float(seam),)
        other = model.text(evidence, "tcb")
        return (f"{self.tee or 'TEE not known'}: {other}", ()) if other else ("", ())

    @property
    def tcb_status(self) -> str:
        return model.show(claim(self.claims, f"{words.ISOLATION}.attester_tcb_status") or "")

    @property
    def secure_boot(self) -> t.Optional[bool]:
        """As attested, which is what counts; the setting of the VM is no proof."""
        value = claim(self.claims, words.SECURE_BOOT)
        told = value if isinstance(value, bool) else model.at(self.evidence, "event_log", "secure_boot")
        return told if isinstance(told, bool) else model.flag(self.evidence, "secure_boot")

    @property
    def debuggable(self) -> t.Optional[bool]:
        """Whether the host may read this VM's memory by debugging it."""
        paths = (*words.DEBUG.values(), f"{words.ISOLATION}.tdx_is_debuggable")
        told = [value for value in (claim(self.claims, path) for path in paths) if isinstance(value, bool)]
        return any(told) if told else model.flag(self.evidence, "debuggable")

    @functools.cached_property
    def days_left(self) -> t.Optional[int]:
        """Of the AK certificate, as last told by a record or by the agent."""
        found: t.List[t.Optional[float]] = [model.number(self.evidence, "ak_cert_days_left")]
        for record in reversed(self.records):
            found.append(model.number(record.raw, "evidence", "ak_cert_days_left"))
            found.append(model.number(record.raw, "facts", "ak_cert_days_left"))
        found += [model.number(one, "ak_cert_days_left") for one in self.instances.values()]
        known = [value for value in found if value is not None]
        return int(known[0]) if known else None

    @property
    def warnings(self) -> t.List[str]:
        """Of the last record of each key and of the agent, each once."""
        told = [warning for record in self.latest.values() for warning in model.texts(record.raw, "warnings")]
        told += [warning for one in self.instances.values() for warning in model.texts(one, "warnings")]
        told += [f"Inventory: {problem}." for problem in model.texts(self.vm, "problems")]
        return list(dict.fromkeys(told))


def judge(record: Record) -> str:
    """The kind of a record's verdict."""
    if record.released:
        return "ok"
    return "bad" if record.outcome == "refused" or record.security_event else "warn"


def claim(claims: t.Mapping[str, t.Any], path: str) -> t.Any:
    found = near.Index(claims).lookup(path)
    return None if found is near.MISSING else found


def hosts(view: View) -> t.List[Host]:
    """Every host that anything in the bundle speaks of, by name."""
    entries = {model.text(entry, "host"): entry for entry in view.hosts}
    names = sorted({*entries, *view.records, *view.metrics} - {""})
    by_id = {model.text(vm, "vm_id").lower(): vm for vm in view.vms if model.text(vm, "vm_id")}
    by_name = {model.text(vm, "name").lower(): vm for vm in view.vms}
    made = []
    for number, name in enumerate(names, 1):
        records = view.records.get(name, [])
        told = [model.text(record.raw, "host", "vm_id").lower() for record in records]
        told += [str(claim(record.claims, words.VM_ID) or "").lower() for record in records]
        vm = next((by_id[vm_id] for vm_id in reversed(told) if vm_id in by_id), by_name.get(name.lower(), {}))
        entry, metrics = entries.get(name, {}), view.metrics.get(name, "")
        made.append(Host(name, f"host-{number}", entry, records, vm, metrics))
    return made


def vm_ids(found: t.Iterable[Host]) -> t.Dict[str, Host]:
    """Hosts by the resource id of their VM."""
    return {model.text(host.vm, "id").lower(): host for host in found if model.text(host.vm, "id")}


def principals(vms: t.Iterable[Doc]) -> t.Dict[str, t.List[Doc]]:
    """The VMs of each identity's object id; a user-assigned identity may belong to several."""
    found: t.Dict[str, t.List[Doc]] = {}
    for vm in vms:
        ids = [model.text(vm, "principal_id")]
        ids += [model.text(identity, "principal_id") for identity in model.rows(vm, "user_assigned")]
        for identity in ids:
            if identity:
                found.setdefault(identity.lower(), []).append(vm)
    return found
