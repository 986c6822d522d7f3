# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Verification as a list of numbered checks, on the VM or on any other machine, of whatever evidence there is.

A check is ok, failed or not checked, and says why. Evidence is *verified* when nothing failed and nothing that was given
is without proof; *incomplete* when something that was given cannot be checked with what came along; else *failed*.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ..policy.failure import SkrFailure

OK, FAILED, NOT_CHECKED = "ok", "failed", "not checked"


class Check(t.NamedTuple):
    """``gap`` marks what was given and has no proof for want of something else."""

    number: int
    name: str
    title: str
    state: str
    message: str = ""
    reason: t.Optional[str] = None
    next_step: t.Optional[str] = None
    facts: t.Dict[str, t.Any] = {}
    gap: bool = False

    def as_dict(self) -> t.Dict[str, t.Any]:
        found = self._asdict()
        return {name: value for name, value in found.items() if value not in (None, "", {})}


@dataclasses.dataclass
class TpmQuote:
    """A quote: TPMS_ATTEST without size, bare RSASSA signature, and PCR values by number."""

    message: bytes
    signature: bytes
    pcrs: t.Dict[int, bytes]


@dataclasses.dataclass
class Material:
    """The evidence there is. ``missing`` holds the failures of what could not be got, by the member's name."""

    hcl_report: t.Optional[bytes] = None
    snp_report: t.Optional[bytes] = None  # a bare one, without what the paravisor adds
    td_quote: t.Optional[bytes] = None
    certificates: t.Optional[t.List[bytes]] = None  # VCEK or VLEK and its issuers, in DER and any order
    ak_modulus: t.Optional[int] = None  # of the TPM itself, on the VM
    ak_certificate: t.Optional[bytes] = None
    tpm_quote: t.Optional[TpmQuote] = None
    event_log: t.Optional[bytes] = None
    token: t.Optional[str] = None
    key_set: t.Optional[t.Dict[str, t.Any]] = None
    missing: t.Dict[str, SkrFailure] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What the evidence must show beyond being genuine."""

    roots_pem: str = ""
    ak_roots_pem: str = ""
    require_tee: str = "any"
    allow_debug: bool = False
    allow_migration: bool = False
    vmpl: int = 0
    user_data: t.Optional[bytes] = None
    quote_nonce: t.Optional[bytes] = None
    issuer: t.Optional[str] = None
    token_nonce: t.Optional[str] = None


@dataclasses.dataclass
class Run:
    """One verification: checks are added in order, facts as they become known."""

    material: Material
    wanted: Wanted
    now: float
    checks: t.List[Check] = dataclasses.field(default_factory=list)
    facts: t.Dict[str, t.Any] = dataclasses.field(default_factory=dict)

    def check(self, name: str, title: str, function: t.Callable[[], t.Optional[str]]) -> bool:
        """Run a check; what it returns is told of a success. Whether it succeeded."""
        number = len(self.checks) + 1
        try:
            told = function()
        except SkrFailure as error:
            made = Check(number, name, title, FAILED, error.message, error.reason, error.next_step, error.facts)
            self.checks.append(made)
            return False
        self.checks.append(Check(number, name, title, OK, told or ""))
        return True

    def skip(self, name: str, title: str, why: str, gap: bool = False) -> None:
        self.checks.append(Check(len(self.checks) + 1, name, title, NOT_CHECKED, why, gap=gap))

    def succeeded(self, name: str) -> bool:
        return any(check.name == name and check.state == OK for check in self.checks)

    @property
    def verdict(self) -> str:
        states = [check.state for check in self.checks]
        if FAILED in states:
            return "failed"
        if OK not in states or any(check.gap for check in self.checks):
            return "incomplete"
        return "verified"

    def result(self) -> t.Dict[str, t.Any]:
        """For a program: verdict, checks, facts."""
        failed = [check for check in self.checks if check.state == FAILED]
        return {
            "verified": self.verdict == "verified",
            "verdict": self.verdict,
            "summary": self.summary(),
            "reasons": [check.reason for check in failed],
            "checks": [check.as_dict() for check in self.checks],
            "evidence": self.facts,
        }

    def summary(self) -> str:
        """The verdict in plain words."""
        failed = [check for check in self.checks if check.state == FAILED]
        gaps = [check for check in self.checks if check.gap]
        what = _subject(self.facts)
        if failed:
            others = f" {len(failed) - 1} more failed." if len(failed) > 1 else ""
            return f"FAILED: do not trust this. {failed[0].message}{others}"
        if gaps:
            return f"INCOMPLETE: nothing failed, but there is no proof that the {gaps[0].title}: {gaps[0].message.rstrip('.')}."
        if not any(check.state == OK for check in self.checks):
            return "INCOMPLETE: there was nothing to check."
        return f"VERIFIED: {what}, and nothing is wrong with it."

    def text(self) -> str:
        """For a person: the verdict, then every check."""
        lines = [self.summary(), ""]
        for check in self.checks:
            told = f": {check.message}" if check.message else ""
            reason = f" [{check.reason}]" if check.reason else ""
            lines.append(f"{check.number:2}. {check.state:<11}  {check.title}{told}{reason}")
            if check.next_step and check.state == FAILED:
                lines.append(f"                  {check.next_step}")
        return "\n".join(lines)


def _subject(facts: t.Mapping[str, t.Any]) -> str:
    kinds = {"snp": "a genuine AMD SEV-SNP report", "tdx": "a genuine Intel TDX quote"}
    tee = str(facts.get("tee", ""))
    if tee in kinds:
        product = f" of a {facts['product']} processor" if facts.get("product") else ""
        vm = f" for VM {facts['vm_unique_id']}" if facts.get("vm_unique_id") else ""
        return kinds[tee] + product + vm
    if tee == "none":
        return "a Trusted Launch VM, whose host can read its memory"
    return "what was given is genuine"


def verify(material: Material, wanted: Wanted, now: float) -> Run:
    """All checks that the material allows, in the order hardware, TPM, token."""
    from . import verify_hardware, verify_token, verify_tpm  # each of them uses this room's classes

    run = Run(material, wanted, now)
    verify_hardware.add(run)
    verify_tpm.add(run)
    verify_token.add(run)
    _unheard(run)
    return run


def _unheard(run: Run) -> None:
    """What was wanted of evidence that is not there is a gap: no wish may pass by silently."""
    names = {check.name for check in run.checks}
    for wish, name, title, what in (
        (run.wanted.user_data, "user_data", "report carries the user data wanted", "hardware report"),
        (run.wanted.quote_nonce, "quote_nonce", "TPM quote is fresh", "TPM quote"),
        (run.wanted.issuer, "token_issuer", "token was issued by the authority wanted", "token that could be read"),
        (run.wanted.token_nonce, "token_nonce", "token carries the nonce wanted", "token that could be read"),
    ):
        if wish is not None and name not in names:
            run.skip(name, title, f"there is no {what}", gap=True)
