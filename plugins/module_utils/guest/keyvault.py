# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The release call to Key Vault, and what its refusals mean.

Errors: Key Vault REST documentation, "Authentication, requests and responses" and "REST API error codes"; texts of
release refusals as published in issue reports. Texts are only read where the service gives no code.
"""

from __future__ import annotations

import re
import typing as t
from urllib.parse import urlsplit

from ..policy.failure import SkrFailure
from .http import SERVER_ERRORS, Http, Reply, Retry, service_address

API_VERSION = "7.4"
_RETRY = Retry(SERVER_ERRORS | {429}, (1.0, 2.0, 4.0, 8.0))
_KEY_NAME = re.compile(r"[0-9a-zA-Z-]{1,127}")
_VERSION = re.compile(r"[0-9a-f]{32}")
RBAC_ROLE = "Key Vault Crypto Service Release User"


class KeyId(t.NamedTuple):
    """A key of a vault: https address of the vault without a final slash, name, and version if pinned."""

    vault: str
    name: str
    version: t.Optional[str]

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


def key_id(vault_uri: str, name: str, version: t.Optional[str]) -> KeyId:
    """Check the three options and put them together. Raises SkrFailure ``invalid_input``."""
    vault = service_address("vault_uri", vault_uri, "https://myvault.vault.azure.net")
    if vault.count(".") < 2:
        raise SkrFailure(
            "invalid_input",
            f"vault_uri is {vault_uri!r}, wanted an https URL such as https://myvault.vault.azure.net.",
            {"option": "vault_uri"},
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
    return KeyId(vault, name, version or None)


def release(http: Http, key: KeyId, access_token: str, attestation_token: str, algorithm: str, nonce: str) -> str:
    """Ask for the key; returns the signed answer (a compact JWS), not verified yet. Raises SkrFailure."""
    reply = http.request(
        "the vault",
        "POST",
        f"{key.kid}/release",
        _RETRY,
        headers={"Authorization": f"Bearer {access_token}", "Accept": "application/json"},
        params={"api-version": API_VERSION},
        document={"target": attestation_token, "enc": algorithm, "nonce": nonce},
    )
    if reply.status != 200:
        raise refusal(reply, key)
    value = reply.json().get("value")
    if not isinstance(value, str) or value.count(".") != 2:
        raise SkrFailure("response_malformed", f"{key.host} answered without a signed key.", {"status": reply.status})
    return value


def refusal(reply: Reply, key: KeyId) -> SkrFailure:
    """The failure that stands for an error answer of the vault."""
    error = reply.json().get("error")
    error = error if isinstance(error, dict) else {}
    inner = error.get("innererror")
    code = str(inner.get("code", "")) if isinstance(inner, dict) else ""
    text = str(error.get("message", ""))[:1000]
    facts = {
        "status": reply.status,
        "code": str(error.get("code", "")),
        "inner_code": code,
        "message": text,
        "request_id": reply.request_id,
        "kid": key.kid,
    }
    if "non-exportable" in text.lower():  # met with 400 and, by analogy with a disabled key, with 403
        return SkrFailure("key_not_exportable", f"{key.kid} is not exportable.", facts)
    if reply.status == 403:
        return _forbidden(code, text, facts, key)
    if reply.status == 401:
        return SkrFailure("vault_token_rejected", f"{key.host} refused the access token: {text}", facts)
    if reply.status == 404:
        return SkrFailure("key_not_found", f"{key.kid} does not exist: {text}", facts)
    if reply.status == 429:
        return SkrFailure("throttled", f"{key.host} is throttling, also on repetition: {text}", facts)
    if reply.status == 400:
        return SkrFailure("release_bad_request", f"{key.host} refused the request as malformed: {text}", facts)
    return SkrFailure("service_error", f"{key.host} answered {reply.status}: {text}", facts)


def _forbidden(code: str, text: str, facts: t.Dict[str, t.Any], key: KeyId) -> SkrFailure:
    lower = text.lower()
    if "does not meet key release policy" in lower:
        return SkrFailure("policy_not_met", f"{key.host} says: {text}", {**facts, "security_event": True})
    if "attestation statement cannot be verified" in lower:
        return SkrFailure("attestation_not_verified", f"{key.host} could not verify the attestation token.", facts)
    if code in ("ForbiddenByFirewall", "ForbiddenByConnection") or "client address is not authorized" in lower:
        address = re.search(r"Client address: (\S+)", text)
        found = address.group(1) if address else "not told"
        return SkrFailure(
            "vault_firewall",
            f"The network rules of {key.host} refuse this VM (address {found}).",
            {**facts, "address": found},
        )
    if code == "ForbiddenByRbac":
        principal = re.search(r"oid=([0-9a-fA-F-]{36})", text)
        who = principal.group(1) if principal else "the VM's identity"
        return SkrFailure(
            "permission_missing",
            f"Principal {who} lacks the role '{RBAC_ROLE}' on {key.kid}, or the assignment is not effective yet.",
            {**facts, "principal_id": who, "role": RBAC_ROLE, "model": "rbac"},
        )
    if "does not have keys release permission" in lower:
        principal = re.search(r"oid=([0-9a-fA-F-]{36})", text)
        who = principal.group(1) if principal else "the VM's identity"
        return SkrFailure(
            "permission_missing",
            f"Principal {who} lacks the key permission 'release' in the access policies of {key.host}.",
            {**facts, "principal_id": who, "permission": "release", "model": "access_policy"},
        )
    if code == "KeyDisabled" or "disabled key" in lower:
        return SkrFailure("key_disabled", f"{key.kid} is disabled.", facts)
    return SkrFailure("service_error", f"{key.host} refused: {text}", facts)
