# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Try a release to see whether it is refused. What is released is dropped as it came: wrapped, never opened, never delivered.

Nothing is checked beforehand: only the vault's own refusal proves anything. The policy is not evaluated here, and a
refusal is not explained.
"""

from __future__ import annotations

import os
import time
import typing as t

from ..policy import passing
from ..policy.failure import SkrFailure
from . import attest, jws, keyvault, sign_in
from .http import Http, ca_bundle
from .imds import Identity, Imds
from .release import Wanted
from .tee import b64u

# What only the vault says, having looked at the request. Anything else that fails did not get that far.
REFUSALS = frozenset(
    {
        "permission_missing", "key_disabled", "policy_not_met", "attestation_not_verified", "vault_firewall",
        "vault_token_rejected", "key_not_found", "key_not_exportable", "release_bad_request",
    }
)  # fmt: skip
_LONGEST_PAUSE = 10.0


class Tried(t.NamedTuple):
    """One identity's try: ``verdict`` is released, refused or not_asked."""

    identity: str
    verdict: str
    reason: str
    message: str
    facts: t.Dict[str, t.Any]

    def as_dict(self) -> t.Dict[str, t.Any]:
        return self._asdict()


_RANK = ("released", "not_asked", "refused")


def probe(
    guest: attest.Guest, wanted: Wanted, client_ids: t.Sequence[str], expected: t.Sequence[str], wait: float
) -> t.Dict[str, t.Any]:
    """Try with every identity until the vault refuses each for an expected reason, at most ``wait`` seconds.

    ``client_ids`` are managed identities besides the one that ``wanted`` names; ``expected`` empty: any refusal. With
    one attestation for all tries, as a token that was got before the revocation would serve an attacker. Returns public
    facts; raises SkrFailure only for bad options and where this VM cannot be attested at all.
    """
    key = keyvault.key_id(wanted.vault_uri, wanted.hsm_uri, wanted.key_name, wanted.key_version)
    sources = _sources(wanted.identity, client_ids)
    with attest.session(guest) as job:  # the TPM is free for others while this waits
        token = job.attest(wanted.client_payload).token
    http, imds = attest.clients(guest)
    request = _Request(http, imds, key, token, wanted.wrap_algorithm, ca_bundle(guest.ca_path))
    start, attempts, pause = time.monotonic(), 0, 1.0
    while True:
        attempts += 1
        tried = _judge([request.tried(source) for source in sources])
        settled = all(_refused(one, expected) for one in tried)
        pending = not settled and any(_may_change(one) for one in tried if not _refused(one, expected))
        left = start + wait - time.monotonic()
        if not pending or left <= 0:
            break
        time.sleep(min(pause, left))
        pause = min(pause * 2, _LONGEST_PAUSE)
    worst = min(tried, key=lambda one: (_RANK.index(one.verdict), _as_expected(one, expected)))
    return {
        "changed": False,
        "verdict": worst.verdict,
        "reason_found": worst.reason,
        "message": worst.message,
        "settled": settled,
        "pending": pending,
        "expected": list(expected),
        "identities": [one.as_dict() for one in tried],
        "attempts_made": attempts,
        "waited_s": round(time.monotonic() - start, 1),
        "kid": key.kid,
    }


def known_reasons(given: t.Sequence[str]) -> t.List[str]:
    """The option ``expected``, checked: a misspelt reason would never come. Raises SkrFailure ``invalid_input``."""
    for reason in given:
        if reason not in REFUSALS:
            wanted = ", ".join(sorted(REFUSALS))
            raise SkrFailure("invalid_input", f"expected has {reason!r}, wanted of {wanted}.", {"option": "expected"})
    return list(given)


def _refused(one: Tried, expected: t.Sequence[str]) -> bool:
    return one.verdict == "refused" and _as_expected(one, expected)


def _may_change(one: Tried) -> bool:
    """Whether asking again could end otherwise: a grant that was taken away vanishes, trouble on the way passes."""
    if one.verdict == "refused":
        return one.reason == "attestation_not_verified"
    return one.verdict == "released" or one.reason in passing.PASSING


def _as_expected(one: Tried, expected: t.Sequence[str]) -> bool:
    return not expected or one.reason in expected


def _judge(tried: t.List[Tried]) -> t.List[Tried]:
    """The VM without a name for its identity is no try where it has several: they are tried by name."""
    named = [one for one in tried if one.reason not in ("identity_ambiguous", "identity_not_found")]
    return named or tried


def _sources(first: sign_in.Source, client_ids: t.Sequence[str]) -> t.List[t.Tuple[str, sign_in.Source]]:
    found: t.List[t.Tuple[str, sign_in.Source]] = [(_name(first), first)]
    if isinstance(first, Identity):
        more = [one for one in dict.fromkeys(client_ids) if one and one != first.client_id]
        found += [(f"managed identity {one}", Identity(client_id=one)) for one in more]
    return found


def _name(source: sign_in.Source) -> str:
    if isinstance(source, Identity):
        named = " ".join(f"{name}={value}" for name, value in source.parameters().items())
        return f"managed identity {named}" if named else "the VM's managed identity"
    return f"application {source.client_id} of tenant {source.tenant}"


class _Request(t.NamedTuple):
    """What all tries share."""

    http: Http
    imds: Imds
    key: keyvault.KeyId
    attestation: str
    algorithm: str
    bundle: str

    def tried(self, source: t.Tuple[str, sign_in.Source]) -> Tried:
        name, identity = source
        nonce = b64u(os.urandom(24))
        try:
            access = sign_in.token(identity, self.key.audience, self.imds, self.http)
            answer = keyvault.release(self.http, self.key, access, self.attestation, self.algorithm, nonce)
        except SkrFailure as failure:
            verdict = "refused" if failure.reason in REFUSALS else "not_asked"
            return Tried(name, verdict, failure.reason, failure.message, failure.facts)
        try:
            kid = jws.verify(answer, self.key, self.algorithm, nonce, self.bundle).kid
        except SkrFailure as failure:
            # Somebody answered with a key; that is no refusal, whoever it was.
            message = f"{self.key.host} answered with a key, but the answer does not verify: {failure.message}"
            return Tried(name, "released", failure.reason, message, failure.facts)
        return Tried(name, "released", "released", f"{kid} is still released to {name}.", {"kid": kid})
