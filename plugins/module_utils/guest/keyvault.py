# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The release call to Key Vault, and what its refusals mean.

Errors: Key Vault REST documentation, "Authentication, requests and responses" and "REST API error codes"; texts of
release refusals as published in issue reports. Texts are only read where the service gives no code.
"""

from __future__ import annotations

import base64
import re
import typing as t
from urllib.parse import urlsplit

from ..policy import messages, model
from ..policy.failure import SkrFailure
from .http import SERVER_ERRORS, Http, Reply, Retry, retry_after, service_address

API_VERSION = "7.4"
_RETRY = Retry(SERVER_ERRORS | {429}, (1.0, 2.0, 4.0, 8.0))
_KEY_NAME = re.compile(r"[0-9a-zA-Z-]{1,127}")
_VERSION = re.compile(r"[0-9a-f]{32}")
RBAC_ROLE = "Key Vault Crypto Service Release User"
LOCAL_ROLE = "Managed HSM Crypto Service Release User"


class KeyId(t.NamedTuple):
    """A key of a vault or managed HSM: its https address without a final slash, name, and version if pinned."""

    vault: str
    name: str
    version: t.Optional[str]
    is_hsm: bool = False

    @property
    def host(self) -> str:
        return urlsplit(self.vault).hostname or ""

    @property
    def audience(self) -> str:
        """The resource a token must be for: the vault's domain, whatever the cloud."""
        return f"https://{self.host.partition('.')[2]}"

    @property
    def kid(self) -> str:
        return f"{self.vault}/keys/{self.name}" + (f"/{self.version}" if self.version else "")


def key_id(vault_uri: t.Optional[str], hsm_uri: t.Optional[str], name: str, version: t.Optional[str]) -> KeyId:
    """Check the options, of which one address is given, and put them together. Raises SkrFailure ``invalid_input``."""
    option, kind, other = ("hsm_uri", "managedhsm", ".vault.") if hsm_uri else ("vault_uri", "vault", ".managedhsm.")
    given, example = str(hsm_uri or vault_uri), f"https://my{kind}.{kind}.azure.net"
    vault = service_address(option, given, example)
    if vault.count(".") < 2 or other in vault.lower():
        raise SkrFailure(
            "invalid_input", f"{option} is {given!r}, wanted an https URL such as {example}.", {"option": option}
        )
    if not _KEY_NAME.fullmatch(name):
        raise SkrFailure(
            "invalid_input",
            f"key_name is {name!r}, wanted 1 to 127 letters, digits and hyphens.",
            {"option": "key_name"},
        )
    if version and not _VERSION.fullmatch(version):
        raise SkrFailure(
            "invalid_input", f"key_version is {version!r}, wanted 32 hex digits.", {"option": "key_version"}
        )
    return KeyId(vault, name, version or None, bool(hsm_uri))


def release(
    http: Http,
    key: KeyId,
    access_token: str,
    attestation_token: str,
    algorithm: str,
    nonce: str,
    heard: t.Optional[t.Callable[[str], None]] = None,
) -> str:
    """Ask for the key; returns the signed answer (a compact JWS), not verified yet. Raises SkrFailure.

    ``heard`` is told the vault's id of the request, whatever the answer.
    """
    reply = http.request(
        "the vault",
        "POST",
        f"{key.kid}/release",
        _RETRY,
        headers={"Authorization": f"Bearer {access_token}", "Accept": "application/json"},
        params={"api-version": API_VERSION},
        document={"target": attestation_token, "enc": algorithm, "nonce": nonce},
    )
    if heard is not None:
        heard(reply.request_id)
    if reply.status != 200:
        raise refusal(reply, key)
    value = reply.json().get("value")
    if not isinstance(value, str) or value.count(".") != 2:
        raise SkrFailure("response_malformed", f"{key.host} answered without a signed key.", {"status": reply.status})
    return value


def live_policy(http: Http, key: KeyId, access_token: str) -> t.Optional[model.Policy]:
    """The key's release policy as it is; None where this identity may release the key but not read it.

    Raises SkrFailure as for a release; ``policy_invalid`` where the live policy is beyond our grammar.
    """
    reply = http.request(
        "the vault",
        "GET",
        f"{key.vault}/keys/{key.name}",
        _RETRY,
        headers={"Authorization": f"Bearer {access_token}", "Accept": "application/json"},
        params={"api-version": API_VERSION},
    )
    if reply.status != 200:
        failure = refusal(reply, key)
        if failure.reason == "permission_missing":
            return None
        raise failure
    stored = reply.json().get("release_policy")
    data = stored.get("data") if isinstance(stored, dict) else None
    if not isinstance(data, str):
        raise SkrFailure(
            "key_not_exportable", f"{key.kid} has no release policy, so it is not exportable.", {"kid": key.kid}
        )
    try:
        text = base64.urlsafe_b64decode(data + "=" * (-len(data) % 4))
    except ValueError as error:
        raise SkrFailure("policy_invalid", f"The live release policy of {key.kid} is not base64url.") from error
    return model.parse(text)


def refusal(reply: Reply, key: KeyId) -> SkrFailure:
    """The failure that stands for an error answer of the vault: reason by the decoder's table, words by us."""
    error = reply.json().get("error")
    error = error if isinstance(error, dict) else {}
    inner = error.get("innererror")
    code, inner_code = str(error.get("code", "")), str(inner.get("code", "")) if isinstance(inner, dict) else ""
    text = str(error.get("message", ""))[:1000]
    decoded = messages.decode(text, "vault", reply.status, [one for one in (code, inner_code) if one])
    fallback = {400: "release_bad_request", 401: "vault_token_rejected", 404: "key_not_found"}
    reason = decoded.reason if decoded else fallback.get(reply.status, "service_error")
    facts = {
        **(decoded.facts if decoded else {}),
        "status": reply.status,
        "code": code,
        "inner_code": inner_code,
        "message": text,
        "request_id": reply.request_id,
        "kid": key.kid,
    }
    if reply.status in _RETRY.statuses:
        facts["retry_after"] = retry_after(reply)
    if reason == "permission_missing":
        return _no_permission(inner_code, facts, key)
    if reason == "policy_not_met":
        facts["security_event"] = True
    if reason == "vault_firewall":
        facts.setdefault("address", "not told")
    sentences = {
        "key_not_exportable": f"{key.kid} is not exportable.",
        "vault_token_rejected": f"{key.host} refused the access token: {text}",
        "key_not_found": f"{key.kid} does not exist: {text}",
        "throttled": f"{key.host} is throttling, also on repetition: {text}",
        "release_bad_request": f"{key.host} refused the request as malformed: {text}",
        "policy_not_met": f"{key.host} says: {text}",
        "attestation_not_verified": f"{key.host} could not verify the attestation token.",
        "vault_firewall": f"The network rules of {key.host} refuse this VM (address {facts.get('address')}).",
        "key_disabled": f"{key.kid} is disabled.",
        "service_error": f"{key.host} answered {reply.status}: {text}",
    }
    return SkrFailure(reason, sentences.get(reason, f"{key.host} refused: {text}"), facts)


def _no_permission(inner_code: str, facts: t.Dict[str, t.Any], key: KeyId) -> SkrFailure:
    who = str(facts.setdefault("principal_id", "the VM's identity"))
    if key.is_hsm:
        return SkrFailure(
            "permission_missing",
            f"Principal {who} lacks the local role '{LOCAL_ROLE}' on {key.kid}; an Azure role has no effect there.",
            {**facts, "role": LOCAL_ROLE, "model": "hsm_local"},
        )
    if inner_code == "ForbiddenByRbac":
        return SkrFailure(
            "permission_missing",
            f"Principal {who} lacks the role '{RBAC_ROLE}' on {key.kid}, or the assignment is not effective yet.",
            {**facts, "role": RBAC_ROLE, "model": "rbac"},
        )
    return SkrFailure(
        "permission_missing",
        f"Principal {who} lacks the key permission 'release' in the access policies of {key.host}.",
        {**facts, "permission": "release", "model": "access_policy"},
    )
