# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command ``explain``: a token and a policy, and the verdict as a person or a program wants to read it."""

from __future__ import annotations

import base64
import json
import sys
import typing as t

from ..policy import evaluate, lint, model, notable
from ..policy import explain as plain
from ..policy.failure import SkrFailure
from . import attest, keyvault
from .imds import Identity

_MAX_FILE = 1 << 20


def run(options: t.Mapping[str, t.Any], colours: bool = False) -> t.Tuple[bool, str]:
    """Whether the policy is met, and the text to print. Raises SkrFailure."""
    policy = model.parse(_read("--policy", options["policy"])) if options["policy"] else None
    key = None
    if policy is None:
        if not options["key_name"]:
            raise SkrFailure(
                "invalid_input",
                "--key-name is missing, wanted the key of --vault-uri or --hsm-uri.",
                {"option": "--key-name"},
            )
        key = keyvault.key_id(options["vault_uri"], options["hsm_uri"], options["key_name"], None)
    guest = attest.Guest(
        options["attest"] or "https://unused.attest.azure.net",
        **{name: options[name] for name in _GUEST if options.get(name) is not None},
    )
    claims = claims_of(_read("--token", options["token"])) if options["token"] else None
    if claims is None or key is not None:
        claims, policy = _ask(guest, claims, key, policy, options["identity_client_id"])
    if policy is None:
        return False, _unreadable(claims, key, options["json"])
    verdict = evaluate.evaluate(policy, claims)
    findings = lint.lint(policy)
    if options["json"]:
        document = {**verdict.as_dict(), "findings": [one.as_dict() for one in findings]}
        return verdict.satisfied, json.dumps(document, indent=2)
    return verdict.satisfied, text(policy, verdict, findings, colours)


_GUEST = ("tpm_device", "imds_endpoint", "https_proxy", "ca_path", "report_roots_path", "event_log_path", "cache_dir")


def _ask(
    guest: attest.Guest,
    claims: t.Optional[t.Dict[str, t.Any]],
    key: t.Optional[keyvault.KeyId],
    policy: t.Optional[model.Policy],
    client_id: t.Optional[str],
) -> t.Tuple[t.Dict[str, t.Any], t.Optional[model.Policy]]:
    """Get what is missing: a fresh token's claims, the live policy (None where it may not be read)."""
    if claims is None:
        with attest.session(guest) as job:
            claims = job.attest().claims
            if key is not None:
                policy = keyvault.live_policy(job.http, key, job.imds.token(key.audience, Identity(client_id)))
        return claims, policy
    http, imds = attest.clients(guest)
    if key is None:
        return claims, policy
    return claims, keyvault.live_policy(http, key, imds.token(key.audience, Identity(client_id)))


def _read(option: str, path: str) -> bytes:
    try:
        if path == "-":
            return sys.stdin.buffer.read(_MAX_FILE)
        with open(path, "rb") as stream:
            return stream.read(_MAX_FILE)
    except OSError as error:
        raise SkrFailure(
            "invalid_input", f"{option} is {path!r}, wanted a readable file: {error.strerror}.", {"option": option}
        ) from error


def claims_of(content: bytes) -> t.Dict[str, t.Any]:
    """The claims of a JWT, or a JSON object of claims. The signature is not looked at: this is for explaining."""
    found = content.strip()
    parts = found.split(b".")
    try:
        if len(parts) == 3 and not found.startswith(b"{"):
            found = base64.urlsafe_b64decode(parts[1] + b"=" * (-len(parts[1]) % 4))
        claims = json.loads(found)
    except (ValueError, RecursionError):
        claims = None
    if not isinstance(claims, dict):
        raise SkrFailure(
            "invalid_input", "--token holds neither a token (JWT) nor a JSON object of claims.", {"option": "--token"}
        )
    return claims


def text(
    policy: model.Policy, verdict: evaluate.Verdict, findings: t.Sequence[lint.Finding], colours: bool = False
) -> str:
    """The verdict for a terminal: the answer first, then why, then what else is worth knowing."""
    good, bad, off = ("\033[32m", "\033[31m", "\033[0m") if colours else ("", "", "")
    lines = [
        f"{good}GRANTED{off}: this VM meets the policy."
        if verdict.satisfied
        else f"{bad}REFUSED{off} [{verdict.reason}]"
    ]
    lines += ["", f"Attested by  {verdict.issuer or 'nobody (the token names no issuer)'}"]
    for branch in verdict.trace:
        state = "met" if branch.satisfied else "not met" if branch.authority_matches else "for another authority"
        lines += ["", f"Branch {branch.position}  {branch.authority}  {state}"]
        if branch.hint:
            lines.append(f"    note: {branch.hint}")
        for outcome in branch.outcomes if branch.authority_matches else ():
            mark = f"{good}ok {off}" if outcome.satisfied else f"{bad}NO {off}"
            found = "nothing" if outcome.found_type == "missing" else evaluate.show(outcome.found)
            relation = "" if outcome.operator == "equals" else f"{outcome.operator} "
            line = f"  {mark} {outcome.path}: wanted {relation}{evaluate.show(outcome.wanted)}"
            lines.append(line if outcome.satisfied else f"{line}, found {found}")
            if outcome.hint and outcome.hint != "missing":
                lines.append(f"       near miss: {outcome.hint}")
    if not verdict.satisfied:
        lines += ["", f"Why: {verdict.sentence()}"]
    grave = [one for one in findings if one.severity != "info"]
    if grave:
        lines += ["", "About the policy itself:"]
        lines += [f"  {one.severity} {one.code} at {one.path}: {one.message}" for one in grave]
    return "\n".join(lines + ["", plain.explain(policy)])


def _unreadable(claims: t.Mapping[str, t.Any], key: t.Optional[keyvault.KeyId], as_json: bool) -> str:
    found = notable.remarks(claims)
    kid = key.kid if key else ""
    if as_json:
        remarks = [one.as_dict() for one in found]
        document = {"satisfied": None, "reason": "permission_missing", "kid": kid, "remarks": remarks}
        return json.dumps(document, indent=2)
    lines = [f"UNKNOWN: this VM's identity may not read the policy of {kid} (a release needs no such permission)."]
    lines += ["", "Give the policy with --policy to have it evaluated."]
    if found:
        lines += ["", "Of this VM's claims these often make policies fail:"] + [f"  {one.message}" for one in found]
    return "\n".join(lines)
