# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Verification of a bundle, off line: no network, no Azure, no TPM; nothing but the files and what the auditor brings.

Of the bundle:

1. It is signed by the key given, or has the hash given.
2. It is an archive of plain files, within limits.
3. Its files are those of its manifest.
4. What the control plane said and the list of hosts can be read.

Of every record:

5. It has the documented members, and is the one that its path names.
6. Its attestation token is signed by one of the authority's keys.
7. The token was issued by the authority that the record names.
8. The token was valid when the VM got it.
9. The claims are those of the token.
10. The policy has the digest that the record names.
11. The policy, evaluated again over the claims, gives the recorded result, condition by condition.
12. The key is the one that was asked for.
13. The vault knows this version of the key.
14. Outcome, key and decision go together.

A bundle is *verified* when nothing failed and nothing that needs proof is without; *incomplete* when nothing failed but
something could not be checked; else *failed*. After a failure of 1 to 4 nothing else is looked at.
"""

from __future__ import annotations

import dataclasses
import hashlib
import typing as t

from ..guest.verify import FAILED, NOT_CHECKED, OK, Check
from ..policy.failure import SkrFailure
from . import bundle as bundles
from . import record_checks, signature

Row = t.Dict[str, t.Any]


@dataclasses.dataclass(frozen=True)
class Trust:
    """What the auditor brings. ``hash_list`` is the text of a list in sha256sum's form; ``beside`` marks it as one that
    merely lay beside the bundle. ``key_sets`` are key sets (JWKS) by authority, or by ``""`` for the only one."""

    public_key: t.Optional[bytes] = None
    signature: t.Optional[bytes] = None
    hash_list: t.Optional[str] = None
    beside: bool = False
    key_sets: t.Mapping[str, Row] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Result:
    """``checks`` of the bundle; of each record host, id, outcome, reason, verdict and checks."""

    name: str
    sha256: str
    checks: t.List[Check] = dataclasses.field(default_factory=list)
    records: t.List[Row] = dataclasses.field(default_factory=list)
    bundle: t.Optional[bundles.Bundle] = None
    keys_from: str = ""

    @property
    def verdict(self) -> str:
        every = [*self.checks, *(check for one in self.records for check in one["checks"])]
        return record_checks.verdict(every)

    def counts(self) -> t.Dict[str, int]:
        found = {"records": len(self.records), "verified": 0, "failed": 0, "incomplete": 0, "security_events": 0}
        for one in self.records:
            found[one["verdict"]] += 1
            found["security_events"] += bool(one["security_event"])
        return found

    def findings(self) -> t.List[Row]:
        """What a reader must know, gravest first: severity (failed, warning, info), code, host, record, message, next_step."""
        found = [_finding(check, None, None) for check in self.checks]
        for one in self.records:
            found += [_finding(check, one["host"], one["id"]) for check in one["checks"]]
            if one["security_event"]:
                text = f"Security event: {one['message'] or one['reason']}"
                found.append(_row("warning", str(one["reason"]), one["host"], one["id"], text, one["next_step"]))
        for gap in self.bundle.gaps if self.bundle else ():
            found.append(_row("warning", "not_collected", None, None, gap, None))
        order = ("failed", "warning", "info")
        return sorted((one for one in found if one), key=lambda one: order.index(one["severity"]))

    def accepted(self) -> bundles.Bundle:
        """The bundle, unless it was rejected as a whole. Raises the SkrFailure of the check that rejected it."""
        failed = next((check for check in self.checks if check.state == FAILED), None)
        if self.bundle is None or failed is not None:
            if failed is None:  # verify() leaves the bundle out only after a check that failed
                raise SkrFailure("bundle_invalid", f"{self.name} was not read.")
            raise SkrFailure(failed.reason or "bundle_invalid", failed.message, failed.facts)
        return self.bundle

    def by_reason(self) -> t.Dict[str, t.List[str]]:
        """Hosts by the reason of their newest record."""
        newest = {one["host"]: str(one["reason"]) for one in sorted(self.records, key=lambda one: str(one["id"]))}
        return {
            reason: sorted(host for host in newest if newest[host] == reason) for reason in sorted(set(newest.values()))
        }

    def result(self) -> Row:
        """For a program."""
        failed = [check for check in self.checks if check.state == FAILED]
        failed += [check for one in self.records for check in one["checks"] if check.state == FAILED]
        manifest = self.bundle.manifest if self.bundle else {}
        return {
            "verified": self.verdict == "verified",
            "verdict": self.verdict,
            "summary": self.summary(),
            "reasons": sorted({str(check.reason) for check in failed}),
            "bundle": {"name": self.name, "sha256": self.sha256, "created": manifest.get("created"), "gaps": manifest.get("gaps", [])},
            "counts": self.counts(),
            "signing_keys_from": self.keys_from,
            "checks": [check.as_dict() for check in self.checks],
            "records": [{**one, "checks": [check.as_dict() for check in one["checks"]]} for one in self.records],
        }  # fmt: skip

    def summary(self) -> str:
        """The verdict in plain words."""
        counts = self.counts()
        first = next((check for check in self.checks if check.state == FAILED), None)
        if first is not None:
            return f"REJECTED: do not rely on this bundle. {first.message}"
        if counts["failed"]:
            return f"FAILED: {counts['failed']} of {counts['records']} records do not hold; see below."
        hosts = len({one["host"] for one in self.records})
        told = f"{counts['records']} records of {hosts} hosts"
        if self.verdict == "incomplete":
            gap = next(check for check in self._all() if check.gap)
            return f"INCOMPLETE: nothing failed in {told}, but there is no proof that the {gap.title}: {gap.message.rstrip('.')}."
        return f"VERIFIED: {told}, and nothing is wrong with them."

    def _all(self) -> t.List[Check]:
        return [*self.checks, *(check for one in self.records for check in one["checks"])]

    def text(self, whole: bool = False) -> str:
        """For a person: the verdict, the bundle's checks, a line for each record, and every check that did not succeed."""
        lines = [self.summary(), "", f"{self.name}  SHA-256 {self.sha256}"]
        lines += _lines(self.checks, "")
        if self.bundle:
            lines += ["", f"Made {self.bundle.manifest.get('created')}; signing keys of the tokens: {self.keys_from}"]
            lines += [f"Not collected: {gap}" for gap in self.bundle.gaps]
        for one in self.records:
            mark = " SECURITY EVENT" if one["security_event"] else ""
            what = one["kid"] or one["reason"]
            lines += ["", f"{one['host']}  {one['id']}  {one['outcome']}{mark}  {what}  {one['verdict']}"]
            shown = [check for check in one["checks"] if whole or check.state == FAILED or check.gap]
            lines += _lines(shown, "  ")
        return "\n".join(lines)


def verify(content: bytes, name: str, trust: Trust) -> Result:
    """All checks in the order of the module's description. Raises SkrFailure only for what the auditor brought."""
    result = Result(name, hashlib.sha256(content).hexdigest())
    checks = record_checks.Steps()
    result.checks = checks.made
    # 1
    _origin(checks, content, name, trust)
    if checks.failed:
        return result
    # 2
    opened: t.List[bundles.Bundle] = []
    if not checks.check(
        "archive", "archive holds plain files within limits", lambda: opened.append(bundles.load(content, name))
    ):
        return result
    found = opened[0]
    # 3
    if not checks.check("manifest", "files are those of the manifest", lambda: bundles.compare(found)):
        return result
    # 4
    if not checks.check("documents", "control-plane facts can be read", lambda: _readable(found)):
        return result
    result.bundle = found
    key_sets, result.keys_from = _key_sets(found, trust)
    known = record_checks.Known(key_sets, found.keys)
    # 5 to 14
    for path, host in found.record_paths():
        result.records.append(record_checks.examine(found.files[path], path, host, known))
    return result


def _origin(checks: record_checks.Steps, content: bytes, name: str, trust: Trust) -> None:
    """1. What the auditor gave is used, and nothing that lies beside instead of it."""
    if trust.public_key is not None:
        key = signature.public(trust.public_key)

        def by_key() -> str:
            if trust.signature is None:
                raise SkrFailure("bundle_signature_invalid", f"{name} has no signature beside it ({name}.sig).")
            if not signature.signed(key, content, trust.signature):
                raise SkrFailure(
                    "bundle_signature_invalid", f"The signature is not of {name} by the {signature.name(key)}."
                )
            return signature.name(key)

        checks.check("signature", "bundle is signed by the key given", by_key)
    elif trust.hash_list is not None:
        listed = trust.hash_list

        def by_hash() -> str:
            wanted, got = signature.listed(listed, name), hashlib.sha256(content).hexdigest()
            if wanted != got:
                raise SkrFailure(
                    "bundle_hash_mismatch", f"{name} has the SHA-256 {got}, the list says {wanted or 'nothing'}."
                )
            return "by the list that lies beside it, which proves nothing about who made it" if trust.beside else got

        checks.check("hash", "bundle has the hash listed", by_hash)
    else:
        checks.skip(
            "signature", "bundle is signed by the key given", "neither a public key nor a hash was given", gap=True
        )


def _readable(found: bundles.Bundle) -> str:
    return f"{len(found.hosts)} hosts, {len(found.keys)} keys, {len(found.access)} grants, {len(found.vms)} VMs, {len(found.jwks)} authorities"


def _key_sets(found: bundles.Bundle, trust: Trust) -> t.Tuple[t.Dict[str, Row], str]:
    """The key sets by authority's file name: the auditor's, or those that the hosts kept. Raises SkrFailure ``invalid_input``."""
    if not trust.key_sets:
        return found.jwks, "the bundle (each VM fetched them from the authority over TLS)"
    given = {bundles.authority_name(name) if name else "": one for name, one in trust.key_sets.items()}
    if "" in given:
        if len(found.jwks) > 1:
            names = ", ".join(found.jwks)
            text = f"jwks names no authority, wanted AUTHORITY=FILE, because the bundle has tokens of {names}."
            raise SkrFailure("invalid_input", text, {"option": "jwks"})
        given.update({name: given[""] for name in found.jwks})
    return given, "the auditor"


def _finding(check: Check, host: t.Optional[str], record: t.Optional[str]) -> t.Optional[Row]:
    if check.state == FAILED:
        return _row("failed", str(check.reason), host, record, check.message, check.next_step)
    if check.state == NOT_CHECKED:
        text = f"Not checked that the {check.title}: {check.message}"
        return _row("warning" if check.gap else "info", "not_checked", host, record, text, None)
    return None


def _row(
    severity: str, code: str, host: t.Optional[str], record: t.Optional[str], message: str, step: t.Optional[str]
) -> Row:
    return {"severity": severity, "code": code, "host": host, "record": record, "message": message, "next_step": step}


def _lines(checks: t.Sequence[Check], indent: str) -> t.List[str]:
    lines = []
    for check in checks:
        told = f": {check.message}" if check.message else ""
        reason = f" [{check.reason}]" if check.reason else ""
        lines.append(f"{indent}{check.number:2}. {check.state:<11}  {check.title}{told}{reason}")
        if check.next_step and check.state == FAILED:
            lines.append(f"{indent}                  {check.next_step}")
    return lines


__all__ = ["NOT_CHECKED", "OK", "Result", "Trust", "verify"]
