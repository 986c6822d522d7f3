# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks 5 to 14 of :mod:`verify`: one record, with the keys of its authority and the control plane's list of keys."""

from __future__ import annotations

import json
import typing as t

from ..guest import jwt
from ..guest.record import REFUSALS, REFUSED, RELEASED
from ..guest.verify import FAILED, NOT_CHECKED, OK, Check
from ..policy import canonical, evaluate, model
from ..policy.authority import key as authority_key
from ..policy.failure import SkrFailure
from . import bundle as bundles
from . import record as records

Record = records.Record
_DECIDED = frozenset({"policy_not_met", "authority_mismatch"})


class Known(t.NamedTuple):
    """Key sets by authority's file name, and rows of ``control/keys.json``."""

    key_sets: t.Mapping[str, t.Mapping[str, t.Any]]
    keys: t.Sequence[t.Mapping[str, t.Any]]


# Every check has its number for good, whichever others there are: people quote it.
_ORDER = (
    "signature", "archive", "manifest", "documents", "layout", "token_signature", "token_issuer", "token_time", "claims",
    "policy_sha256", "policy_verdict", "key", "key_version", "outcome",
)  # fmt: skip
NUMBERS = {"hash": 1, **{name: number for number, name in enumerate(_ORDER, 1)}}


class Steps:
    """Numbered checks, added in order."""

    def __init__(self) -> None:
        self.made: t.List[Check] = []

    def check(self, name: str, title: str, function: t.Callable[[], t.Optional[str]]) -> bool:
        """Run a check; what it returns is told of a success. Whether it succeeded."""
        try:
            told = function()
        except SkrFailure as error:
            self.made.append(
                Check(NUMBERS[name], name, title, FAILED, error.message, error.reason, error.next_step, error.facts)
            )
            return False
        self.made.append(Check(NUMBERS[name], name, title, OK, told or ""))
        return True

    def skip(self, name: str, title: str, why: str, gap: bool = False) -> None:
        self.made.append(Check(NUMBERS[name], name, title, NOT_CHECKED, why, gap=gap))

    @property
    def failed(self) -> bool:
        return any(check.state == FAILED for check in self.made)


def verdict(checks: t.Sequence[Check]) -> str:
    if any(check.state == FAILED for check in checks):
        return "failed"
    return "incomplete" if not checks or any(check.gap for check in checks) else "verified"


def examine(content: bytes, path: str, host: str, known: Known) -> t.Dict[str, t.Any]:
    """One record with its checks: host, id, outcome, reason, kid, verdict and more for a list."""
    steps, opened = Steps(), t.cast(t.List[Record], [])

    # 5
    def layout() -> None:
        found = records.read(content, path)
        if path.rpartition("/")[2] != f"{found['id']}.json":
            raise SkrFailure("record_invalid", f"{path} holds the record {found['id']}.", {"file": path})
        opened.append(found)

    if steps.check("layout", "record has the documented members", layout):
        _token(steps, opened[0], known)
        _policy(steps, opened[0])
        _key(steps, opened[0], known)
        steps.check("outcome", "outcome, key and decision go together", lambda: _consistent(opened[0]))
    found = opened[0] if opened else {}
    return {
        "host": host,
        "id": found.get("id") or path.rpartition("/")[2].partition(".")[0],
        "file": path,
        **{name: found.get(name) for name in ("outcome", "reason", "message", "next_step", "request_id")},
        "security_event": bool(found.get("security_event")),
        "ended": (found.get("times") or {}).get("ended"),
        "kid": (found.get("key") or {}).get("kid"),
        "policy_sha256": (found.get("policy") or {}).get("sha256"),
        "verdict": verdict(steps.made),
        "checks": steps.made,
    }


def _token(steps: Steps, record: Record, known: Known) -> None:
    """6 to 9."""
    title = "token is signed by the authority"
    attestation = record["attestation"]
    if attestation is None:
        steps.skip("token_signature", title, "this VM was not attested")
        return
    token = records.token(record)
    key_set = known.key_sets.get(bundles.authority_name(attestation["authority"]))
    if token is None or key_set is None:
        why = "the record has no token" if token is None else f"there are no signing keys of {attestation['authority']}"
        steps.skip("token_signature", title, why, gap=True)
        return
    claims: t.Dict[str, t.Any] = {}
    # 6
    if not steps.check(
        "token_signature", title, lambda: claims.update(_signed(token, key_set, attestation["authority"]))
    ):
        return
    # 7
    steps.check(
        "token_issuer", "token was issued by the authority named", lambda: _issuer(claims, attestation["authority"])
    )
    # 8
    steps.check("token_time", "token was valid when the VM got it", lambda: _time(claims, record))
    # 9
    steps.check("claims", "claims are those of the token", lambda: _claims(claims, attestation["claims"]))


def _signed(token: str, key_set: t.Mapping[str, t.Any], authority: str) -> t.Dict[str, t.Any]:
    """The claims. A set may hold two keys of one kid, where one authority was told of differently: each is tried."""
    entries = key_set.get("keys")
    failure = None
    for entry in entries if isinstance(entries, list) and entries else [None]:
        try:
            return jwt.signed_claims(token, jwt.KeySet({"keys": [entry]}), authority)
        except SkrFailure as error:
            if failure is None or "no signing key" in failure.message:
                failure = error
    raise t.cast(SkrFailure, failure)


def _issuer(claims: t.Mapping[str, t.Any], authority: str) -> str:
    found = str(claims.get("iss", ""))
    if authority_key(found) != authority_key(authority):
        raise SkrFailure(
            "token_issuer", f"The token was issued by {found!r}, the record says {authority!r}.", {"found": found}
        )
    return found


def _time(claims: t.Mapping[str, t.Any], record: Record) -> str:
    told = record["times"].get("attested")
    at = records.seconds(told)
    if at is None:
        raise SkrFailure("record_invalid", "The record does not say when the VM was attested.")
    jwt.check_time(claims, at)
    return str(told)


def _claims(signed: t.Mapping[str, t.Any], told: t.Mapping[str, t.Any]) -> None:
    if _text(signed) != _text(told):
        differ = sorted(name for name in {*signed, *told} if _text(signed.get(name)) != _text(told.get(name)))
        text = f"The claims are not those of the token; different are {', '.join(differ)[:300]}."
        raise SkrFailure("record_claims_differ", text, {"claims": differ})


def _policy(steps: Steps, record: Record) -> None:
    """10 and 11."""
    title, policy = "policy has the digest named", record["policy"]
    if policy is None or policy["document"] is None:
        steps.skip("policy_sha256", title, "the VM knew no policy; it may release the key but not read it")
        return
    parsed: t.List[model.Policy] = []

    def digest() -> str:
        parsed.append(model.parse(policy["document"]))
        found = canonical.digest(parsed[0])
        if found != policy["sha256"]:
            raise SkrFailure(
                "record_policy_hash", f"The policy has the digest {found}, the record says {policy['sha256']}."
            )
        return found

    # 10
    if not steps.check("policy_sha256", title, digest):
        return
    # 11
    title = "policy evaluated again gives the recorded decision"
    if record["attestation"] is None:
        steps.skip("policy_verdict", title, "this VM was not attested")
    else:
        steps.check("policy_verdict", title, lambda: _again(parsed[0], record))


def _again(policy: model.Policy, record: Record) -> str:
    told = record["policy"]
    found = evaluate.evaluate(policy, record["attestation"]["claims"]).as_dict()
    if found["satisfied"] != told["satisfied"]:
        text = f"The policy is {'met' if found['satisfied'] else 'not met'} by the claims, the record says otherwise."
        raise SkrFailure("record_verdict_differs", text)
    for name in ("trace", "failing"):
        if _text(found[name]) != _text(told[name]):
            raise SkrFailure(
                "record_verdict_differs", f"The {name} recorded is not that of the policy over the claims."
            )
    conditions = sum(len(branch["conditions"]) for branch in found["trace"])
    return f"{'met' if found['satisfied'] else 'not met'}, {conditions} conditions"


def _key(steps: Steps, record: Record, known: Known) -> None:
    """12 and 13."""
    key = record["key"]
    if key is None:
        steps.skip("key", "key is the one asked for", "no key was released")
        return
    # 12
    if not steps.check("key", "key is the one asked for", lambda: _asked(key, record["request"])):
        return
    # 13
    title, base = "vault knows this version of the key", str(key["kid"]).rpartition("/")[0].lower()
    row = next((one for one in known.keys if str(one.get("kid", "")).lower().startswith(f"{base}/")), None)
    versions = [str(one.get("version")) for one in (row or {}).get("versions") or [] if isinstance(one, dict)]
    if not versions:
        steps.skip("key_version", title, "the bundle has no control-plane facts of this key")
        return

    def version() -> str:
        if key["version"] not in versions:
            raise SkrFailure(
                "record_key_mismatch", f"The vault has no version {key['version']} of {base}.", {"found": versions}
            )
        return str(key["version"])

    steps.check("key_version", title, version)


def _asked(key: t.Mapping[str, t.Any], request: t.Mapping[str, t.Any]) -> str:
    place = str(request["hsm_uri"] or request["vault_uri"] or "").rstrip("/")
    wanted = f"{place}/keys/{request['key_name']}/"
    version = request["key_version"]
    kid = str(key["kid"])
    fits = kid.lower().startswith(wanted.lower()) and kid[len(wanted) :] == key["version"] and "/" not in key["version"]
    if not fits or (version and version != key["version"]):
        raise SkrFailure(
            "record_key_mismatch", f"The key is {kid}, asked for was {wanted}{version or ''}.", {"kid": kid}
        )
    return kid


def _consistent(record: Record) -> str:
    """14. A policy that was given is not the vault's, so that a release against it is no contradiction."""
    outcome, reason, key, policy = record["outcome"], record["reason"], record["key"], record["policy"] or {}
    problem = None
    if (outcome == RELEASED) != (reason == RELEASED):
        problem = f"the outcome is {outcome}, its reason {reason}"
    elif (outcome == REFUSED) != (reason in REFUSALS):
        problem = f"{reason} is recorded as {outcome}"
    elif outcome == RELEASED and (key is None or record["attestation"] is None):
        problem = "a key was released that the record does not name, or to a VM that was not attested"
    elif outcome == RELEASED and policy.get("source") == "live" and policy.get("satisfied") is False:
        problem = "the vault released the key although its policy is not met by the claims"
    elif reason in _DECIDED and key is not None:
        problem = "the key was released although the policy is recorded as not met"
    elif reason == "policy_not_met" and not record["security_event"]:
        problem = "the policy was not met, but that is not marked as a security event"
    if problem:
        raise SkrFailure(
            "record_inconsistent", f"The record contradicts itself: {problem}.", {"outcome": outcome, "reason": reason}
        )
    return str(outcome)


def _text(document: t.Any) -> str:
    return json.dumps(document, sort_keys=True)
