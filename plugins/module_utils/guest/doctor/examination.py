# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole examination: what runs at the same time, what waits for what, and the result."""

from __future__ import annotations

import dataclasses
import functools
import time
import typing as t
from urllib.parse import urlsplit

from ...policy.failure import SkrFailure
from .. import keyvault, sign_in
from ..http import Http
from . import findings, machine, metadata, network, services, tpm
from .findings import Finding
from .network import Place
from .patient import Notes, Once, Wanted, bounded, guarded, parallel

WARNING_SKEW, FAILED_SKEW = 60.0, 300.0
_TPM_LIMIT = 60.0  # seconds beyond the patience for a busy one


def examine(wanted: Wanted) -> t.Dict[str, t.Any]:
    """All findings, worst first, and how many there are of each severity.

    Raises SkrFailure ``invalid_input`` for addresses that are none; all else that is wrong is a finding.
    """
    start = time.monotonic()
    key, authority = wanted.key(), wanted.authority()
    notes = Notes()
    made = machine.python() + guarded("libraries", machine.libraries)
    made += guarded("proxies", lambda: machine.proxies(wanted))
    made += guarded("destination", lambda: machine.destination(wanted))
    http = _client(wanted, notes)
    made += parallel(
        lambda: _tpm(wanted, notes),
        lambda: metadata.examine(wanted, notes),
        *(functools.partial(section, wanted, key, authority, http, notes) for section in (_provider, _vault, _sign_in)),
    )
    made += guarded("certificate_chain", lambda: metadata.chain(wanted, notes))
    made += _with_token(wanted, key, http, notes)
    made += _clock(notes)
    ordered = findings.order(made)
    numbers = findings.counts(ordered)
    return {
        "findings": [one.as_dict() for one in ordered],
        "counts": numbers,
        "worst": next((name for name in findings.SEVERITIES if numbers[name] and name != "skipped"), "ok"),
        "duration_s": round(time.monotonic() - start, 1),
    }


def _client(wanted: Wanted, notes: Notes) -> t.Optional[Http]:
    """The client for services; None where it cannot be made, which the checks that need it tell."""
    try:
        return Once(notes, wanted.guest.ca_path, wanted.guest.https_proxy)
    except (SkrFailure, ImportError):
        return None


def _tpm(wanted: Wanted, notes: Notes) -> t.List[Finding]:
    limit = wanted.guest.tpm_timeout + _TPM_LIMIT
    return guarded("tpm_device", lambda: bounded(lambda: tpm.examine(wanted, notes), limit, "tpm_busy"))


# --- hosts, each in a thread


Key = t.Optional[keyvault.KeyId]


def _reach(wanted: Wanted, place: Place, notes: Notes) -> t.List[Finding]:
    """With a client of its own: requests' sessions are not made for several threads."""
    return guarded(
        "connection",
        lambda: network.examine(wanted, place, Once(notes, wanted.guest.ca_path, wanted.guest.https_proxy), notes),
        place.host,
    )


def _provider(
    wanted: Wanted, _key: Key, url: t.Optional[str], _http: t.Optional[Http], notes: Notes
) -> t.List[Finding]:
    if url is None:
        return [findings.skipped("attestation_provider", "attestation_url is not given.")]
    place = Place("the attestation provider", url)
    made = _reach(wanted, place, notes)
    if place.host not in notes.open:
        return [*made, findings.skipped("attestation_provider", "There is no connection to it.", place.host)]
    http = Once(notes, wanted.guest.ca_path, wanted.guest.https_proxy)
    return made + guarded(
        "attestation_provider", lambda: bounded(lambda: services.attestation_provider(url, http)), place.host
    )


def _vault(wanted: Wanted, key: Key, _url: t.Optional[str], _http: t.Optional[Http], notes: Notes) -> t.List[Finding]:
    if key is None:
        return [findings.skipped("vault_network", "Neither vault_uri nor hsm_uri is given.")]
    place = Place("the vault", key.vault)
    made = _reach(wanted, place, notes)
    if place.host not in notes.open:
        return [*made, findings.skipped("vault_network", "There is no connection to it.", place.host)]
    http = Once(notes, wanted.guest.ca_path, wanted.guest.https_proxy)
    return made + guarded(
        "vault_network", lambda: bounded(lambda: services.vault_network(key, http, notes)), place.host
    )


def _sign_in(wanted: Wanted, key: Key, _url: t.Optional[str], _http: t.Optional[Http], notes: Notes) -> t.List[Finding]:
    """A managed identity never signs in itself, but an application does, and the cloud's own tools do."""
    url, needed = wanted.cloud().login, False
    try:
        source = wanted.identity()
        if isinstance(source, sign_in.Application):
            parts = urlsplit(sign_in.endpoint(source, key.audience if key else wanted.cloud().vault_audience))
            url, needed = f"{parts.scheme}://{parts.netloc}", True
    except SkrFailure:
        pass  # the check of the identity tells
    made = _reach(wanted, Place("the sign-in service", url), notes)
    if needed:
        return made
    unneeded = "Nothing: a managed identity gets its token from the metadata service."
    return [
        dataclasses.replace(one, severity="info", next_step=unneeded) if one.severity == "failed" else one
        for one in made
    ]


# --- what needs a token


def _with_token(wanted: Wanted, key: Key, http: t.Optional[Http], notes: Notes) -> t.List[Finding]:
    tokens = metadata.Tokens(wanted, notes, http)
    made = guarded("identity", tokens.examine)
    if key is None:
        return made + [
            findings.skipped(check, "Neither vault_uri nor hsm_uri is given.")
            for check in ("key", "key_policy", "vault_properties")
        ]
    made += _key(wanted, key, http, tokens, notes)
    if tokens.token is None or http is None:
        return [*made, findings.skipped("vault_properties", "There is no access token.", key.host)]
    return made + guarded(
        "vault_properties",
        lambda: bounded(lambda: services.vault_properties(wanted, key, http, tokens, notes)),
        key.host,
    )


def _key(
    wanted: Wanted, key: keyvault.KeyId, http: t.Optional[Http], tokens: metadata.Tokens, notes: Notes
) -> t.List[Finding]:
    token, why = tokens.token, ""
    if not wanted.key_name:
        why = "key_name is not given."
    elif not notes.vault_open:
        why = "There is no way into the vault."
    elif token is None or http is None:
        why = "There is no access token."
    if why or token is None or http is None:
        return [findings.skipped(check, why, key.host) for check in ("key", "key_policy")]
    return guarded("key", lambda: bounded(lambda: services.key(wanted, key, http, token)), key.kid)


# --- the clock


def _clock(notes: Notes) -> t.List[Finding]:
    """Every service's clock by the Date of its answers; the largest difference decides."""
    skews = {host: round(skew, 1) for host, skew in sorted(notes.skews.items())}
    if not skews:
        return [findings.skipped("clock", "No answer told the time.")]
    host, most = max(skews.items(), key=lambda item: abs(item[1]))
    # The services' clock less this VM's: positive when this VM is slow.
    text = f"This VM's clock is {abs(most):.0f} seconds {'behind' if most > 0 else 'ahead of'} that of {host}."
    if abs(most) > WARNING_SKEW:
        severity = "failed" if abs(most) > FAILED_SKEW else "warning"
        return [findings.found(severity, "clock", "clock_skew", text, skews=skews)]
    return [findings.ok("clock", f"Within {max(abs(most), 1):.0f} seconds of {len(skews)} services.", skews=skews)]


def judged(result: t.Dict[str, t.Any], fail_on: str) -> t.Dict[str, t.Any]:
    """The module's result; ``fail_on`` is the mildest severity that makes it fail, or never."""
    grave = {"failed": ("failed",), "warning": ("failed", "warning")}.get(fail_on, ())
    bad = [one for one in result["findings"] if one["severity"] in grave]
    if not bad:
        return {"changed": False, **result}
    told = "; ".join(f"{one['title']}: {one['found'].rstrip('.')} [{one['code']}]" for one in bad)
    failure = SkrFailure("doctor_findings", f"{told}.", {"codes": sorted({one["code"] for one in bad})})
    return {"failed": True, **failure.as_result(), **result}
