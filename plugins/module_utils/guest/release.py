# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One release: attest, check the policy, ask the vault, verify, unwrap, deliver.

The steps, in order; each is a room of its own:

1. Check every option and the destination, before anybody is asked; then wait for this host's turn, if it has one.
2. Attest this VM.
3. Get an access token from the metadata service, or by signing in.
4. Pre-flight: evaluate the release policy, given or live, over the token's claims.
5. Ask the vault; wait while a new grant takes effect, if the caller wants to.
6. Verify the signed answer and its binding to this request.
7. Unwrap the key in the TPM and compare it with the public key in the answer.
8. Check the key's validity dates.
9. Deliver.
"""

from __future__ import annotations

import dataclasses
import os
import time
import typing as t

from ..policy import model
from ..policy.failure import SkrFailure
from . import attest, deliver, jws, keyvault, preflight, record, sign_in, unwrap
from . import material as forms
from .ahead import Ahead
from .akcert import iso
from .http import ca_bundle
from .imds import Identity
from .tee import b64u


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What is to be released, and how."""

    vault_uri: t.Optional[str]
    key_name: str
    target: deliver.Target = deliver.Target()
    hsm_uri: t.Optional[str] = None
    key_version: t.Optional[str] = None
    wrap_algorithm: str = "RSA_AES_KEY_WRAP_256"
    release_policy: t.Optional[t.Dict[str, t.Any]] = None
    preflight: str = "required"
    identity: sign_in.Source = Identity()
    client_payload: t.Optional[t.Dict[str, str]] = None
    wait_for_grant: float = 0.0
    start_delay: float = 0.0
    outside_validity: str = "refuse"
    expiry_warning_days: int = 30
    evidence_dir: t.Optional[str] = None
    door: str = "module"  # or agent: who asks, for the evidence


HandOver = t.Callable[[forms.Material], t.Dict[str, t.Any]]


def release(guest: attest.Guest, wanted: Wanted, check_mode: bool = False) -> t.Dict[str, t.Any]:
    """Do it all; returns the module's result: public facts, counts, warnings and the diff. Raises SkrFailure."""

    def prepare() -> HandOver:
        place = deliver.check(wanted.target)

        def hand_over(material: forms.Material) -> t.Dict[str, t.Any]:
            changed, diff = place.deliver(material, check_mode)
            dest = {} if place.dest is None else {"dest": place.dest}
            return {"changed": changed, "diff": diff, **dest, "delivered": place.told(diff)}

        return hand_over

    return perform(guest, wanted if not check_mode else dataclasses.replace(wanted, evidence_dir=None), prepare)


def perform(guest: attest.Guest, wanted: Wanted, prepare: t.Callable[[], HandOver]) -> t.Dict[str, t.Any]:
    """The steps around what is done with the key: ``prepare`` belongs to step 1, what it returns is step 9.

    The key is wiped when it has been handed over. Evidence of the try is kept where a folder is named. Raises SkrFailure.
    """
    with record.kept(guest, wanted) as notes:
        notes.result = _perform(guest, wanted, prepare, notes)
    return notes.result


def _perform(
    guest: attest.Guest, wanted: Wanted, prepare: t.Callable[[], HandOver], notes: record.Notes
) -> t.Dict[str, t.Any]:
    # 1
    key = keyvault.key_id(wanted.vault_uri, wanted.hsm_uri, wanted.key_name, wanted.key_version)
    policy = model.parse(wanted.release_policy) if wanted.release_policy else None
    hand_over = prepare()
    delay = turn(wanted.start_delay)
    if delay:
        time.sleep(delay)
    with attest.session(guest) as job:
        # 3 begins here, and what every server needs: neither needs anything of 2, which waits for the TPM
        Ahead(job.http.ready)
        token = Ahead(lambda: sign_in.token(wanted.identity, key.audience, job.imds, job.http))
        # 2
        attestation = job.attest(wanted.client_payload)
        notes.attests(attestation)
        known = notes.known = preflight.Known(policy, "given" if policy else None)
        if policy is not None and wanted.preflight != "off":
            known.check(attestation.claims, attestation.authority, wanted.preflight)
        # 3
        access_token = token.result()
        # 4
        if policy is None and wanted.preflight != "off":
            known.read(job.http, key, access_token)
            known.check(attestation.claims, attestation.authority, wanted.preflight)
        # 5, 6
        exchange = _Exchange(job, wanted, key, known, attestation, access_token, notes)
        answer = notes.answer = exchange.run()
        # 7
        material = bytearray(
            unwrap.unwrap(answer.ciphertext, wanted.wrap_algorithm, exchange.attestation.evidence.decrypt_oaep)
        )
        counts = job.counts()
        evidence_facts = exchange.attestation.evidence.facts()
    released = None
    try:
        released = forms.load(bytes(material), answer.jwk)
        # 8
        warnings = check_validity(answer, wanted, time.time())
        # 9
        handed = hand_over(released)
    finally:
        unwrap.wipe(material)
        if released is not None:
            released.wipe()
    return {
        **handed,
        "kid": answer.kid,
        "key_version": answer.kid.rpartition("/")[2],
        "key_type": answer.jwk.get("kty"),
        "attributes": answer.attributes,
        **released.public,
        "waited_s": round(exchange.waited, 1),
        "authority": exchange.attestation.authority,
        "preflight": known.result(),
        "evidence": evidence_facts,
        "counts": counts,
        "warnings": warnings,
    }


def turn(seconds: float) -> float:
    """Seconds until this host's turn. Raises SkrFailure ``invalid_input`` for what is no waiting time."""
    if not 0 <= seconds <= 3600:
        raise SkrFailure(
            "invalid_input",
            f"start_delay is {seconds:g}, wanted seconds from 0 to 3600.",
            {"option": "start_delay", "found": seconds},
        )
    return seconds


@dataclasses.dataclass
class _Exchange:
    """Steps 5 and 6 with their repetitions."""

    job: attest.Session
    wanted: Wanted
    key: keyvault.KeyId
    known: preflight.Known
    attestation: attest.Attestation
    access_token: str
    notes: record.Notes
    waited: float = 0.0

    def run(self) -> jws.Answer:
        """Ask until the vault answers or refuses for good.

        A missing permission is asked again while ``wait_for_grant`` allows: the only proof that a grant has taken
        effect is a release. An attestation that "cannot be verified" is made anew once, because that refusal is
        known to pass; an access token that is refused is fetched anew once. Nothing else is repeated here.
        """
        start = time.monotonic()
        pause, fresh, renewed = 1.0, False, False
        while True:
            try:
                answer = self._ask()
            except SkrFailure as error:
                left = start + self.wanted.wait_for_grant - time.monotonic()
                if error.reason == "permission_missing" and left > 0:
                    time.sleep(min(pause, left))
                    pause = min(pause * 2, 10.0)
                    self.waited = time.monotonic() - start
                    continue
                if error.reason == "attestation_not_verified" and not fresh:
                    fresh = True
                    self._attest_again()
                    continue
                if error.reason == "vault_token_rejected" and not renewed:
                    renewed = True
                    self.access_token = sign_in.token(
                        self.wanted.identity, self.key.audience, self.job.imds, self.job.http
                    )
                    continue
                raise self._explained(error) from error
            return answer

    def _ask(self) -> jws.Answer:
        nonce = b64u(os.urandom(24))
        algorithm = self.wanted.wrap_algorithm
        target, heard = self.attestation.token, self.notes.heard
        token = keyvault.release(self.job.http, self.key, self.access_token, target, algorithm, nonce, heard)
        return jws.verify(token, self.key, algorithm, nonce, ca_bundle(self.job.guest.ca_path))

    def _attest_again(self) -> None:
        time.sleep(2.0)
        self.job.drop(self.attestation.evidence)
        self.attestation = self.job.attest(self.wanted.client_payload)
        self.notes.attests(self.attestation)

    def _explained(self, error: SkrFailure) -> SkrFailure:
        """A refusal in the light of what this VM knows: its claims, the policy, how long it waited."""
        if error.reason in ("policy_not_met", "attestation_not_verified"):
            claims, authority = self.attestation.claims, self.attestation.authority
            told = self.known.explain(error, claims, authority, self.job.http, self.key, self.access_token)
            if told is not error:
                return told
        if error.reason == "attestation_not_verified":
            claims = self.attestation.claims
            error.facts.update(issuer=claims.get("iss"), expires=iso(claims["exp"]), vm_clock=iso(time.time()))
        if error.reason == "permission_missing" and self.wanted.wait_for_grant:
            error.message += f" It stayed so for {self.waited:.0f} seconds."
            error.facts["waited_s"] = round(self.waited, 1)
        return error


def check_validity(answer: jws.Answer, wanted: Wanted, now: float) -> t.List[str]:
    """Refuse or warn of a key outside its dates; the service releases it all the same.

    Returns warnings. Raises SkrFailure ``key_expired`` or ``key_not_yet_valid``.
    """
    begin, end = answer.attributes.get("nbf"), answer.attributes.get("exp")
    warnings = []
    facts = {
        "kid": answer.kid,
        "not_before": iso(begin) if begin else None,
        "expires_on": iso(end) if end else None,
        "vm_clock": iso(now),
    }
    problem = None
    if end and now >= end:
        problem = ("key_expired", f"The key {answer.kid} expired at {iso(end)}; this VM's clock says {iso(now)}.")
    elif begin and now < begin:
        problem = (
            "key_not_yet_valid",
            f"The key {answer.kid} is valid from {iso(begin)}; this VM's clock says {iso(now)}.",
        )
    elif end and now >= end - 86400 * wanted.expiry_warning_days:
        warnings.append(f"The key {answer.kid} expires at {iso(end)}.")
    if problem and wanted.outside_validity == "refuse":
        raise SkrFailure(*problem, facts)
    if problem and wanted.outside_validity == "warn":
        warnings.append(problem[1])
    return warnings
