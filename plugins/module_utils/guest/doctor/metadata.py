# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of the metadata service and what it gives: instance data, the host's certificate chain, identities' tokens."""

from __future__ import annotations

import functools
import typing as t

from ...policy.failure import SkrFailure
from .. import clouds, imds, jwt, sign_in, snp, snp_verify
from ..http import Http
from . import findings
from .findings import Finding
from .patient import Notes, Once, Wanted, bounded, guarded, need_cryptography

_API_VERSION = "2021-02-01"


def examine(wanted: Wanted, notes: Notes) -> t.List[Finding]:
    """Instance data and, where anybody answers at all, the certificate chain."""
    made = guarded("metadata", lambda: bounded(lambda: [_instance(wanted, notes)], reason="imds_unreachable"))
    if not notes.metadata_answers:
        return [*made, findings.skipped("certificate_chain", "The metadata service does not answer.")]
    fetch = functools.partial(bounded, functools.partial(_fetch, wanted, notes), reason="thim_error")
    return made + guarded("certificate_chain", fetch)


def service(wanted: Wanted, notes: Notes) -> imds.Imds:
    """The metadata service, asked once and directly."""
    return imds.Imds(Once(notes, None, None, local=True), wanted.guest.imds_endpoint)


def _instance(wanted: Wanted, notes: Notes) -> Finding:
    endpoint = wanted.guest.imds_endpoint
    http = Once(notes, None, None, local=True)
    url = f"{endpoint.rstrip('/')}/metadata/instance/compute"
    try:
        reply = http.request(
            "the metadata service", "GET", url, headers={"Metadata": "true"}, params={"api-version": _API_VERSION}
        )
    except SkrFailure as failure:
        if failure.reason != "network_unreachable":
            raise
        text = f"The metadata service at {endpoint} cannot be reached: {failure.facts.get('error', 'no answer')}."
        raise SkrFailure("imds_unreachable", text, {"endpoint": endpoint}) from failure
    compute = reply.json()
    if not compute:
        text = f"At {endpoint} something answered ({reply.status}) that is not the metadata service: no JSON."
        raise SkrFailure("imds_unreachable", text, {"endpoint": endpoint, "status": reply.status})
    notes.metadata_answers = True
    if reply.status != 200:
        raise SkrFailure("imds_error", f"The metadata service answered {reply.status}.", {"status": reply.status})
    notes.compute = compute
    profile = compute.get("securityProfile")
    kind = profile.get("securityType") if isinstance(profile, dict) else None
    facts: t.Dict[str, t.Any] = {
        name: compute.get(name) for name in ("name", "location", "vmId", "resourceId", "azEnvironment", "vmSize")
    }
    text = f"VM {compute.get('name')} in {compute.get('location')}, security type {kind or 'not told'}."
    return findings.ok("metadata", text, security_type=kind, **facts)


# --- the host's certificates


def _fetch(wanted: Wanted, notes: Notes) -> t.List[Finding]:
    """The chain is only fetched here; whether this VM needs it, and it is the report's, is seen when both are there."""
    try:
        notes.chain_pem = service(wanted, notes).vcek_chain()
    except SkrFailure as failure:
        notes.no_chain = failure
    return []


def chain(wanted: Wanted, notes: Notes) -> t.List[Finding]:
    """Whether the chain that was fetched verifies the hardware report; only SNP has one."""
    kind = notes.report.tee if notes.report else "none" if notes.no_report else ""
    if notes.metadata_answers and kind not in ("", "snp"):
        what = "a VM without an HCL report" if kind == "none" else f"a VM of type {kind}"
        return [findings.skipped("certificate_chain", f"There is none for {what}.")]
    if notes.no_chain:
        raise notes.no_chain
    if not notes.chain_pem:
        return []
    need_cryptography()
    parsed = snp_verify.parse_chain(notes.chain_pem)
    if notes.report is None or notes.report.tee != "snp":
        what = "not compared with a report, because there is none of SNP"
        return [findings.ok("certificate_chain", f"VCEK chain of product {parsed.product}; {what}.")]
    report = snp.parse(notes.report.hardware_report)
    snp_verify.verify(report, parsed, wanted.guest.extra_roots())
    text = f"VCEK chain of product {parsed.product}, which verifies the hardware report."
    return [findings.ok("certificate_chain", text, product=parsed.product)]


# --- identities


class Tokens:
    """The identity's access tokens; they are kept here and nowhere else."""

    def __init__(self, wanted: Wanted, notes: Notes, http: t.Optional[Http]) -> None:
        self._wanted, self._notes, self._http = wanted, notes, http
        self._source: t.Optional[sign_in.Source] = None
        self.token: t.Optional[str] = None  # for the vault

    def examine(self) -> t.List[Finding]:
        source = self._source = self._wanted.identity()
        managed = isinstance(source, imds.Identity)
        if managed and not self._notes.metadata_answers:
            return [findings.skipped("identity", "The metadata service does not answer.")]
        key = self._wanted.key()
        audience = key.audience if key else self._cloud().vault_audience
        try:
            token = self.get(audience)
        except SkrFailure as failure:
            if failure.reason == "identity_ambiguous" and isinstance(source, imds.Identity) and source.known:
                raise self._usable(failure, source, audience) from failure
            raise
        self.token = token
        made = [self._described(source, token, audience)]
        if isinstance(source, sign_in.Application) and self._differs(source):
            text = f"The vault is of tenant {self._notes.tenant}, the application signs in to {source.tenant}."
            made.append(findings.found("warning", "identity", "tenant_differs", text, "tenant"))
        return made

    def get(self, audience: str) -> str:
        """A token for an audience. Raises SkrFailure."""
        source = self._source
        if source is None:
            raise SkrFailure("identity_not_found", "No identity was chosen.")
        managed = isinstance(source, imds.Identity)
        reason = "imds_unreachable" if managed else "network_unreachable"
        return bounded(lambda: self._get(source, audience), reason=reason)

    def _get(self, source: sign_in.Source, audience: str) -> str:
        service_ = service(self._wanted, self._notes)
        if isinstance(source, imds.Identity):
            return service_.token(audience, source)
        if self._http is None:
            raise SkrFailure("network_unreachable", "There is no way to the sign-in service.")
        return sign_in.token(source, audience, service_, self._http)

    def _cloud(self) -> clouds.Cloud:
        told = clouds.by_metadata(str(self._notes.compute.get("azEnvironment", "")))
        return told or self._wanted.cloud()

    def _differs(self, source: sign_in.Application) -> bool:
        """Only ids can be compared: a domain name is of one tenant too."""
        vault = self._notes.tenant
        return bool(vault) and vault.count("-") == source.tenant.count("-") == 4 and vault != source.tenant.lower()

    def _usable(self, failure: SkrFailure, source: imds.Identity, audience: str) -> SkrFailure:
        """Which of the known identities get a token, so that one can be chosen."""
        usable = []
        for client in source.known:
            try:
                bounded(lambda one=client: self._get(imds.Identity(one), audience))  # type: ignore[misc]
                usable.append(client)
            except SkrFailure:
                continue
        told = f"Usable: {', '.join(usable)}." if usable else "None of them gets a token."
        return SkrFailure(failure.reason, f"{failure.message} {told}", {**failure.facts, "usable": usable})

    @staticmethod
    def _described(source: sign_in.Source, token: str, audience: str) -> Finding:
        """Who the token is for, by its claims; they are public facts, and the vault alone judges the token."""
        try:
            claims = jwt.split(token)[1]
        except ValueError:
            claims = {}
        client, principal = claims.get("appid") or claims.get("azp"), claims.get("oid")
        facts: t.Dict[str, t.Any] = {
            "client_id": client,
            "principal_id": principal,
            "tenant": claims.get("tid"),
            "audience": audience,
        }
        if isinstance(source, sign_in.Application):
            kind = f"Application ({source.source})"
        elif "userassignedidentities" in str(claims.get("xms_mirid", "")).lower():
            kind = "User-assigned identity"
        else:
            kind = "System-assigned identity"
        return findings.ok("identity", f"{kind} {client or source} gets a token for {audience}.", **facts)
