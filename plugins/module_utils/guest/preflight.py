# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The release policy as this VM knows it, and what it says of this VM's claims: before the vault is asked, and after.

The policy is the one given by the user or, where the identity may read the key, the live one. The live one is also
read when a given policy is met but the vault refuses all the same: then the two differ.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ..policy import canonical, compare, evaluate, model, notable
from ..policy.failure import SkrFailure
from . import keyvault
from .http import Http

_FINAL = ("key_not_found", "vault_firewall", "network_unreachable", "tls_untrusted", "redirect_refused", "throttled")
Claims = t.Mapping[str, t.Any]


@dataclasses.dataclass
class Known:
    """``source`` is given, live, unreadable (the identity may not read the key) or None (nothing was looked up)."""

    policy: t.Optional[model.Policy]
    source: t.Optional[str]
    verdict: t.Optional[evaluate.Verdict] = None
    remarks: t.List[notable.Remark] = dataclasses.field(default_factory=list)

    def read(self, http: Http, key: keyvault.KeyId, access_token: str) -> None:
        """Look the live policy up. Raises SkrFailure only for what no release could get past either."""
        try:
            self.policy = keyvault.live_policy(http, key, access_token)
            self.source = "live" if self.policy else "unreadable"
        except SkrFailure as error:
            if error.reason in _FINAL:
                raise
            self.source = "unreadable"  # the release itself will tell, or work

    def check(self, claims: Claims, authority: str, mode: str) -> None:
        """Evaluate, and with mode ``required`` refuse where the policy is not met. Raises SkrFailure."""
        if self.policy is None:
            self.remarks = notable.remarks(claims)
            return
        self.verdict = evaluate.evaluate(self.policy, claims)
        if not self.verdict.satisfied and mode == "required":
            raise not_met(self.verdict, authority, {"preflight": True, "policy_source": self.source})

    def result(self) -> t.Optional[t.Dict[str, t.Any]]:
        """What the module returns: the verdict with its trace, and where the policy came from."""
        if self.verdict is None and self.source != "unreadable":
            return None
        found: t.Dict[str, t.Any] = {"source": self.source}
        if self.policy is not None:
            found["policy_sha256"] = canonical.digest(self.policy)
        if self.verdict is not None:
            found.update(self.verdict.as_dict())
        if self.remarks:
            found["remarks"] = [remark.as_dict() for remark in self.remarks]
        return found

    def explain(
        self, error: SkrFailure, claims: Claims, authority: str, http: Http, key: keyvault.KeyId, access_token: str
    ) -> SkrFailure:
        """The vault's refusal in the light of the policy, or of the claims alone where no policy can be read."""
        if self.policy is not None:
            verdict = evaluate.evaluate(self.policy, claims)
            if not verdict.satisfied:
                self.verdict = verdict
                return not_met(verdict, authority, {**error.facts, "policy_source": self.source})
        if self.source != "live":
            live = self._live(http, key, access_token)
            if live is not None:
                verdict = evaluate.evaluate(live, claims)
                if not verdict.satisfied:
                    facts: t.Dict[str, t.Any] = {**error.facts, "policy_source": "live"}
                    told = not_met(verdict, authority, facts)
                    if self.policy is not None:
                        changes = [change.as_dict() for change in compare.changes(self.policy, live)]
                        told.facts["differs_from_given"] = changes
                        told.message += " The live policy is not the one that was given."
                    self.policy, self.source, self.verdict = live, "live", verdict  # what was decided by
                    return told
        if error.reason == "policy_not_met":
            found = notable.remarks(claims)
            error.facts["remarks"] = [remark.as_dict() for remark in found]
            error.facts["issuer"] = claims.get("iss")
            if found:
                words = "; ".join(remark.message for remark in found)
                error.message += f" The policy cannot be read by this VM; of its claims these are remarkable: {words}."
        return error

    @staticmethod
    def _live(http: Http, key: keyvault.KeyId, access_token: str) -> t.Optional[model.Policy]:
        try:
            return keyvault.live_policy(http, key, access_token)
        except SkrFailure:  # the refusal itself is what the user must hear of
            return None


def not_met(verdict: evaluate.Verdict, authority: str, facts: t.Dict[str, t.Any]) -> SkrFailure:
    """The failure for a policy that is not met, with every failing claim; it is never tried again."""
    reason = verdict.reason or "policy_not_met"
    next_step = None
    if reason == "authority_mismatch":
        next_step = (
            f"Set attestation_url (now {authority}) to {verdict.authorities[0]}, "
            "or change the authority in the release policy."
        )
    return SkrFailure(
        reason,
        verdict.sentence(),
        {**facts, **verdict.as_dict(), "security_event": reason == "policy_not_met"},
        next_step=next_step,
    )
