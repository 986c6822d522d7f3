# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bundle as the report sees it: plain data of any completeness, read by helpers that take nothing for granted.

Whatever a bundle lacks, or has in another shape than its schema, is shown as unknown. A report about hosts whose
records are damaged is needed most of all, so nothing here raises.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import typing as t

from ...policy.failure import SkrFailure
from . import judgements
from .judgements import Finding
from .plain import Doc, at, flag, mapping, moment, number, plain, rows, show, text, texts

__all__ = ["Doc", "at", "flag", "mapping", "moment", "number", "plain", "rows", "show", "text", "texts"]


class BundleLike(t.Protocol):
    """What is read of a bundle, as attributes or as members of a mapping; each may be missing.

    ``records`` {host: [record]}, ``keys``, ``access``, ``vms``, ``hosts`` lists of control/*.json and hosts.json,
    ``metrics`` {host: text}, ``manifest`` the document, ``name`` of the archive, ``sha256`` of it in hex, ``signature``
    {"state": valid | invalid | absent | unchecked, "key": whose}.
    """

    records: t.Any
    keys: t.Any
    access: t.Any
    vms: t.Any
    hosts: t.Any
    metrics: t.Any
    manifest: t.Any


def address(uri: str) -> str:
    """Host part of a vault's URI, in lower case, to compare by."""
    return uri.partition("://")[2].partition("/")[0].lower() if "://" in uri else uri.strip("/").lower()


KeyId = t.Tuple[str, str]  # host of the vault, name of the key, both in lower case


@dataclasses.dataclass(frozen=True)
class Record:
    """One try of a release, as one host told it."""

    host: str
    raw: Doc
    findings: t.Tuple[Finding, ...] = ()

    @property
    def id(self) -> str:
        return text(self.raw, "id")

    @property
    def outcome(self) -> str:
        return text(self.raw, "outcome")

    @property
    def released(self) -> bool:
        return self.outcome == "released"

    @property
    def left_vault(self) -> bool:
        """Whether the vault gave the key out, also where it was refused or lost on the VM afterwards."""
        return self.released or bool(text(self.raw, "key", "kid"))

    @property
    def reason(self) -> str:
        return "released" if self.released else text(self.raw, "reason") or "unknown"

    @property
    def security_event(self) -> bool:
        return flag(self.raw, "security_event") is True

    @property
    def time(self) -> t.Optional[datetime.datetime]:
        times = mapping(self.raw, "times")
        return next((found for found in map(moment, (times.get("started"), times.get("ended"))) if found), None)

    @property
    def key(self) -> KeyId:
        request, kid = mapping(self.raw, "request"), text(self.raw, "key", "kid")
        name = text(request, "key_name") or kid.partition("/keys/")[2].partition("/")[0]
        return address(text(request, "vault_uri") or text(request, "hsm_uri") or kid), name.lower()

    @property
    def version(self) -> str:
        kid = text(self.raw, "key", "kid")
        named = kid.partition("/keys/")[2].partition("/")[2]
        return text(self.raw, "key", "version") or named or text(self.raw, "request", "key_version")

    @property
    def claims(self) -> Doc:
        return mapping(self.raw, "attestation", "claims")

    @property
    def checked(self) -> t.Optional[bool]:
        """Whether verification found it good; None when nobody verified it."""
        if any(finding.ok is False for finding in self.findings):
            return False
        return True if any(finding.ok for finding in self.findings) else None

    @property
    def order(self) -> t.Tuple[str, str]:
        return (self.time.isoformat() if self.time else "", self.id)


@dataclasses.dataclass(frozen=True)
class View:
    """All of a bundle, in an order of its own making."""

    manifest: Doc
    name: str
    sha256: str
    signature: Doc
    records: t.Dict[str, t.List[Record]]
    keys: t.List[Doc]
    access: t.List[Doc]
    vms: t.List[Doc]
    hosts: t.List[Doc]
    metrics: t.Dict[str, str]
    gaps: t.List[str]
    findings: t.List[Finding]
    verified: bool

    @property
    def all_records(self) -> t.List[Record]:
        return [record for host in sorted(self.records) for record in self.records[host]]


def view(bundle: t.Any, findings: t.Any) -> View:
    """Read a bundle; ``findings`` None means that nobody verified it (its forms: :mod:`judgements`)."""
    manifest = plain(_member(bundle, "manifest"))
    hosts = rows(_member(bundle, "hosts"))
    folders = {text(entry, "folder"): text(entry, "host") for entry in hosts if text(entry, "folder")}
    told, signature, silence = judgements.read(findings, folders)
    good = (Finding("", "", True, "verified", ""),) if silence else ()
    by_record: t.Dict[t.Tuple[str, str], t.List[Finding]] = {}
    for one in told:
        by_record.setdefault((one.host, one.record_id), []).append(one)
    records: t.Dict[str, t.List[Record]] = {}
    for folder, found in _records(bundle).items():
        host = folders.get(folder, folder)
        made = (Record(host, raw, tuple(by_record.get((host, text(raw, "id")), good))) for raw in rows(found))
        records[host] = sorted(made, key=lambda record: record.order)
    return View(
        manifest=manifest,
        name=text({"name": _member(bundle, "name")}, "name"),
        sha256=text({"sha256": _member(bundle, "sha256")}, "sha256"),
        signature=plain(_member(bundle, "signature")) or signature,
        records=records,
        keys=sorted(rows(_member(bundle, "keys")), key=lambda key: (text(key, "key_name"), text(key, "kid"))),
        access=sorted(rows(_member(bundle, "access")), key=lambda row: json.dumps(row, sort_keys=True, default=str)),
        vms=sorted(rows(_member(bundle, "vms")), key=lambda vm: (text(vm, "name"), text(vm, "id"))),
        hosts=hosts,
        metrics={
            folders.get(host, host): show(found) for host, found in sorted(plain(_member(bundle, "metrics")).items())
        },
        gaps=texts(manifest, "gaps"),
        findings=told,
        verified=findings is not None,
    )


def _member(bundle: t.Any, name: str) -> t.Any:
    """A member of a bundle; None where the bundle holds nothing of it that can be read."""
    try:
        return bundle.get(name) if isinstance(bundle, t.Mapping) else getattr(bundle, name, None)
    except (SkrFailure, ValueError, TypeError, KeyError):
        return None


def _records(bundle: t.Any) -> Doc:
    """Records by host. Where one of them keeps the bundle from reading any, those that are JSON objects at all."""
    found = plain(_member(bundle, "records"))
    files = _member(bundle, "files")
    if found or not isinstance(files, t.Mapping):
        return found
    for path in sorted(map(str, files)):
        parts = path.split("/")
        if len(parts) == 3 and parts[0] == "records":
            try:
                found.setdefault(parts[1], []).append(json.loads(files[path]))
            except (ValueError, TypeError, RecursionError):  # verification tells of it
                continue
    return found
