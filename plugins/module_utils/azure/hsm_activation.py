# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The activation of a managed HSM: its security domain is downloaded under a quorum of certificates, once."""

from __future__ import annotations

import os
import time
import typing as t

from ..policy.failure import SkrFailure
from . import hsm, security_domain
from .clients import SAFE_TO_REPEAT, Connection, errors
from .plan import Plan

API_VERSION = "2025-07-01"
_POLL = 5.0
_DONE = ("success", "succeeded")


class Wanted(t.NamedTuple):
    """``certificates`` are paths, or with ``keys_dir`` and ``key_count`` keys are made there."""

    name: str
    resource_group: str
    file: str
    quorum: int
    certificates: t.Tuple[str, ...] = ()
    keys_dir: t.Optional[str] = None
    key_count: int = 3
    passphrase: t.Optional[str] = None
    download_again: bool = False
    wait_timeout: float = 600.0


def ensure(connection: Connection, wanted: Wanted, check_mode: bool) -> t.Dict[str, t.Any]:
    """Activate the HSM unless it is active; returns the module's result. Raises SkrFailure."""
    count = wanted.key_count if wanted.keys_dir else len(wanted.certificates)
    check(wanted, count)
    found = hsm.get(connection, wanted.resource_group, wanted.name)
    if found is None:
        absent = f"There is no managed HSM {wanted.name} in resource group {wanted.resource_group}."
        raise SkrFailure("resource_not_found", absent)
    shown = hsm.describe(found)
    status, there = shown["activation_status"], os.path.lexists(wanted.file)
    if shown["provisioning_state"] not in ("Succeeded", "Activated"):
        raise SkrFailure(
            "conflict",
            f"The managed HSM {wanted.name} is not ready: its provisioning state is {shown['provisioning_state']}.",
            {"provisioning_state": shown["provisioning_state"]},
            next_step="Wait for it with the module managed_hsm.",
        )
    active = status == "Active"
    wants_file = not there and (not active or wanted.download_again)
    before = {"activation_status": status, "security_domain_file": there}
    after = {"activation_status": "Active", "security_domain_file": there or wants_file}
    plan = Plan("none" if before == after else "activate", before, after)
    result: t.Dict[str, t.Any] = {
        **plan.result(),
        "hsm_uri": shown["hsm_uri"],
        "activation_status": after["activation_status"],
        "security_domain_file": wanted.file if after["security_domain_file"] else None,
        "certificates": list(wanted.certificates),
        "quorum": wanted.quorum,
        "warnings": [],
    }
    if active and not after["security_domain_file"]:
        result["warnings"] = [
            f"{wanted.name} is active, but {wanted.file} is not there: make sure the security domain is kept somewhere, or set "
            "download_again."
        ]
    if not plan.changed or check_mode:
        return result
    # Without the file's name being free nothing is asked for; with the file there an earlier run has asked already.
    if wants_file:
        result["certificates"] = _download(connection, wanted, str(shown["hsm_uri"]))
    _await(connection, wanted, str(shown["hsm_uri"]), asked_before=not wants_file)
    return result


def check(wanted: Wanted, count: int) -> None:
    """Refuse what cannot work before anything is asked or written."""
    if wanted.keys_dir:
        if not security_domain.LEAST <= wanted.key_count <= security_domain.MOST:
            raise _invalid("security_domain_key_count", wanted.key_count, "a number from 3 to 10")
    else:
        security_domain.certificates(wanted.certificates)
    if not 2 <= wanted.quorum <= count:
        raise _invalid("security_domain_quorum", wanted.quorum, f"a number from 2 to {count}, the number of keys")
    folder = os.path.dirname(wanted.file) or "."
    if not os.path.isdir(folder):
        raise _invalid("security_domain_file", wanted.file, "a path in a folder that exists")


def _invalid(option: str, found: t.Any, wanted: str) -> SkrFailure:
    return SkrFailure("invalid_input", f"{option} is {found!r}, wanted {wanted}.", {"option": option})


def _download(connection: Connection, wanted: Wanted, uri: str) -> t.List[str]:
    """Ask for the domain and keep it; returns the paths of the certificates used."""
    descriptor, temporary = security_domain.reserve(wanted.file)
    try:
        paths = list(wanted.certificates)
        if wanted.keys_dir:
            paths = security_domain.generate(wanted.keys_dir, wanted.key_count, wanted.passphrase)
        keys = [security_domain.jwk(one) for one in security_domain.certificates(paths)]
        body = {"certificates": keys, "required": wanted.quorum}
        answer = _send(connection, uri, "POST", "/securitydomain/download", body)
        value = answer.get("value")
        if not isinstance(value, str) or not value:
            raise SkrFailure(
                "security_domain", f"{uri} answered without a security domain.", {"members": sorted(answer)}
            )
        security_domain.keep(descriptor, temporary, wanted.file, value.encode())
        return paths
    finally:
        security_domain.drop(temporary)


def _send(connection: Connection, uri: str, method: str, path: str, body: t.Any = None) -> t.Dict[str, t.Any]:
    """One request to the HSM, for which the package on the index is a beta; challenge and token as the key client does."""
    client = connection.keys(uri)
    what = f"the security domain of {uri}"
    with errors(what):
        from azure.core.exceptions import HttpResponseError
        from azure.core.rest import HttpRequest

        request = HttpRequest(method, f"{uri}{path}", params={"api-version": API_VERSION}, json=body)
        # A second download is another copy of the same domain, so it may be repeated.
        response = client.send_request(request, **SAFE_TO_REPEAT)
        if response.status_code not in (200, 202):
            raise HttpResponseError(response=response)
        return t.cast(t.Dict[str, t.Any], response.json())


def _await(connection: Connection, wanted: Wanted, uri: str, asked_before: bool) -> None:
    """See the activation to its end; the word for success differs from that of other operations."""
    deadline = time.monotonic() + wanted.wait_timeout
    while True:
        try:
            answer = _send(connection, uri, "GET", "/securitydomain/download/pending")
        except SkrFailure as failure:
            if asked_before and failure.facts.get("status") == 404:
                raise SkrFailure(
                    "security_domain",
                    f"{wanted.file} is there already, but {wanted.name} was never asked for its security domain.",
                    {"path": wanted.file},
                    next_step="Move the file away, it belongs to something else, and run the task again.",
                ) from failure
            raise
        status = str(answer.get("status", "")).lower()
        if status in _DONE:
            return
        if status in ("failed", "canceled"):
            told = str(answer.get("status_details") or "no detail given")[:300]
            raise SkrFailure("operation_failed", f"The activation of {wanted.name} failed: {told}", {"status": status})
        if time.monotonic() + _POLL > deadline:
            raise SkrFailure(
                "wait_timeout",
                f"After {wanted.wait_timeout:.0f} seconds {wanted.name} is still being activated; {wanted.file} is kept.",
                {"option": "wait_timeout"},
                next_step="Run the task again: it goes on waiting.",
            )
        time.sleep(_POLL)
