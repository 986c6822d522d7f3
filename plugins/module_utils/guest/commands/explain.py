# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Evaluates a release policy over an attestation token as the vault does, and tells the result.

Exit status: 0 the policy is met, 1 it is not, 2 the command could not do its work (the reason is told).
"""

from __future__ import annotations

import argparse
import base64
import json
import sys
import typing as t

from ...policy import evaluate, lint, model, notable
from ...policy import explain as plain
from ...policy.failure import SkrFailure
from . import common

if t.TYPE_CHECKING:
    from .. import keyvault

NAME = "explain"
HELP = "would this VM get the key, and why not"
_MAX_FILE = 1 << 20


def add(parser: argparse.ArgumentParser) -> None:
    token = parser.add_mutually_exclusive_group(required=True)
    token.add_argument(
        "--token", metavar="FILE", help="a file with a token (JWT) or its claims (JSON); - reads standard input"
    )
    token.add_argument("--attest", metavar="URL", help="attest this VM now by the attestation provider of this URL")
    policy = parser.add_mutually_exclusive_group(required=True)
    policy.add_argument("--policy", metavar="FILE", help="a file with the release policy (JSON)")
    policy.add_argument("--vault-uri", metavar="URL", help="read the live policy of --key-name from this vault")
    policy.add_argument("--hsm-uri", metavar="URL", help="the same from this managed HSM")
    parser.add_argument("--key-name", metavar="NAME", help="the key, with --vault-uri or --hsm-uri")
    common.add_identity(parser, "reads the live policy")
    common.add_json(parser, "the verdict")
    common.add_guest(parser)


def run(options: t.Dict[str, t.Any]) -> t.Tuple[int, str]:
    """Status 0 if the policy is met, and the text to print. Raises SkrFailure."""
    met, told = _explain(options, common.colours())
    return 0 if met else 1, told


def _explain(options: t.Mapping[str, t.Any], colours: bool) -> t.Tuple[bool, str]:
    policy = model.parse(_read("--policy", options["policy"])) if options["policy"] else None
    key = None
    if policy is None:
        if not options["key_name"]:
            raise SkrFailure(
                "invalid_input",
                "--key-name is missing, wanted the key of --vault-uri or --hsm-uri.",
                {"option": "--key-name"},
            )
        from .. import keyvault

        key = keyvault.key_id(options["vault_uri"], options["hsm_uri"], options["key_name"], None)
    claims = claims_of(_read("--token", options["token"])) if options["token"] else None
    if claims is None or key is not None:
        claims, policy = _ask(options, claims, key, policy)
    if policy is None:
        return False, _unreadable(claims, key, options["json"])
    verdict = evaluate.evaluate(policy, claims)
    findings = lint.lint(policy)
    if options["json"]:
        document = {**verdict.as_dict(), "findings": [one.as_dict() for one in findings]}
        return verdict.satisfied, json.dumps(document, indent=2)
    return verdict.satisfied, text(policy, verdict, findings, colours)


def _ask(
    options: t.Mapping[str, t.Any],
    claims: t.Optional[t.Dict[str, t.Any]],
    key: t.Optional[keyvault.KeyId],
    policy: t.Optional[model.Policy],
) -> t.Tuple[t.Dict[str, t.Any], t.Optional[model.Policy]]:
    """Get what is missing: a fresh token's claims, the live policy (None where it may not be read)."""
    from .. import attest, keyvault

    guest = common.guest(options, options["attest"] or "https://unused.attest.azure.net")
    identity = common.identity(options)
    if claims is None:
        with attest.session(guest) as job:
            claims = job.attest().claims
            if key is not None:
                policy = keyvault.live_policy(job.http, key, job.imds.token(key.audience, identity))
        return claims, policy
    http, imds = attest.clients(guest)
    if key is None:
        return claims, policy
    return claims, keyvault.live_policy(http, key, imds.token(key.audience, identity))


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
