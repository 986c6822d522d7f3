# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of what the services answer: attestation provider, the way into the vault, the key and its policy."""

from __future__ import annotations

import base64
import re
import time
import typing as t
from urllib.parse import urlsplit

from ...policy import authority as authorities
from ...policy import model
from ...policy.failure import SkrFailure
from .. import keyvault
from ..akcert import iso
from ..http import Http
from . import findings
from .findings import Finding
from .metadata import Tokens
from .patient import Notes, Wanted

_VAULTS_VERSION = "2023-07-01"
_EXPIRY_WARNING = 30 * 86400
_CHALLENGE = re.compile(r'(authorization|authorization_uri|resource)\s*=\s*"([^"]+)"', re.IGNORECASE)


def attestation_provider(url: str, http: Http) -> t.List[Finding]:
    """The OpenID document says that this is the authority, and there are keys to check its tokens with."""
    what, host = "the attestation service", urlsplit(url).hostname or ""
    reply = http.request(what, "GET", f"{url}/.well-known/openid-configuration")
    document = reply.json()
    if reply.status != 200 or not isinstance(document.get("issuer"), str):
        kind = "attestation_unavailable" if reply.status >= 500 else "attestation_protocol"
        raise SkrFailure(kind, f"{url} gave no OpenID document ({reply.status}).", {"status": reply.status})
    issuer = document["issuer"]
    if authorities.key(issuer) != authorities.key(url):
        raise SkrFailure("token_issuer", f"{url} says that its tokens are of {issuer}.", {"issuer": issuer})
    reply = http.request(what, "GET", f"{url}/certs")
    keys = reply.json().get("keys")
    if reply.status != 200 or not isinstance(keys, list) or not keys:
        raise SkrFailure("attestation_unavailable", f"{url} gave no signing keys ({reply.status}).")
    text = f"{issuer} answers, {len(keys)} signing keys."
    return [findings.ok("attestation_provider", text, host, issuer=issuer, keys=len(keys))]


def vault_network(key: keyvault.KeyId, http: Http, notes: Notes) -> t.List[Finding]:
    """A request without a token: the demand for one means that the network rules let this VM in."""
    reply = http.request("the vault", "GET", f"{key.vault}/keys", params={"api-version": keyvault.API_VERSION})
    if reply.status == 401:
        told = {name.lower(): value for name, value in _CHALLENGE.findall(reply.headers.get("www-authenticate", ""))}
        sign_in = told.get("authorization") or told.get("authorization_uri")
        if not sign_in:
            raise SkrFailure("response_malformed", f"{key.host} demands a token, but does not say of whom.")
        notes.vault_open = True
        notes.tenant = urlsplit(sign_in).path.strip("/").lower()
        text = f"{key.host} demands a token of tenant {notes.tenant}."
        return [findings.ok("vault_network", text, key.host, tenant=notes.tenant, authority=sign_in)]
    failure = keyvault.refusal(reply, key)
    if failure.reason == "vault_firewall":
        raise failure
    if reply.status == 429:
        raise SkrFailure("throttled", f"{key.host} is throttling.", failure.facts)
    raise SkrFailure(
        "response_malformed", f"{key.host} answered {reply.status} to a request without a token.", failure.facts
    )


# --- the key


def key(wanted: Wanted, one: keyvault.KeyId, http: Http, token: str) -> t.List[Finding]:
    """Attributes, versions and policy, as far as this identity may read them."""
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
    params = {"api-version": keyvault.API_VERSION}
    reply = http.request("the vault", "GET", one.kid, headers=headers, params=params)
    if reply.status != 200:
        failure = keyvault.refusal(reply, one)
        if failure.reason != "permission_missing":
            raise failure
        text = f"{failure.facts.get('principal_id', 'The identity')} may not read {one.kid}."
        unread = findings.skipped("key_policy", "The key cannot be read.", one.kid)
        return [
            findings.found("info", "key", "key_unreadable", text, one.kid, model=failure.facts.get("model")),
            unread,
        ]
    document = reply.json()
    versions = _versions(one, http, headers)
    return [_state(one, document, versions), *_policy(wanted, one, document)]


def _versions(one: keyvault.KeyId, http: Http, headers: t.Mapping[str, str]) -> t.Optional[int]:
    """How many versions there are (of the first page), or None where the identity may not list them."""
    params = {"api-version": keyvault.API_VERSION, "maxresults": "25"}
    reply = http.request("the vault", "GET", f"{one.vault}/keys/{one.name}/versions", headers=headers, params=params)
    found = reply.json().get("value")
    return len(found) if reply.status == 200 and isinstance(found, list) else None


def _state(one: keyvault.KeyId, document: t.Mapping[str, t.Any], versions: t.Optional[int]) -> Finding:
    attributes = document.get("attributes")
    attributes = attributes if isinstance(attributes, dict) else {}
    jwk = document.get("key")
    jwk = jwk if isinstance(jwk, dict) else {}
    begin, end, now = attributes.get("nbf"), attributes.get("exp"), time.time()
    facts = {"kid": jwk.get("kid"), "key_type": jwk.get("kty"), "attributes": attributes, "versions": versions}
    what = str(jwk.get("kid") or one.kid)

    def bad(code: str, text: str, severity: str = "failed") -> Finding:
        return findings.found(severity, "key", code, f"{what} {text}.", one.kid, **facts)

    if not attributes.get("exportable"):
        return bad("key_not_exportable", "is not exportable")
    if attributes.get("enabled") is False:
        return bad("key_disabled", "is disabled")
    if isinstance(end, (int, float)) and now >= end:
        return bad("key_expired", f"expired at {iso(end)}")
    if isinstance(begin, (int, float)) and now < begin:
        return bad("key_not_yet_valid", f"is valid from {iso(begin)}")
    if isinstance(end, (int, float)) and now >= end - _EXPIRY_WARNING:
        return bad("key_expiring", f"expires at {iso(end)}", "warning")
    count = f", {versions} version{'' if versions == 1 else 's'}" if versions is not None else ""
    return findings.ok("key", f"{what}, {jwk.get('kty')}{count}; enabled and exportable.", one.kid, **facts)


def _policy(wanted: Wanted, one: keyvault.KeyId, document: t.Mapping[str, t.Any]) -> t.List[Finding]:
    stored = document.get("release_policy")
    data = stored.get("data") if isinstance(stored, dict) else None
    if not isinstance(data, str):
        return [findings.skipped("key_policy", "The key has no release policy.", one.kid)]
    try:
        policy = model.parse(base64.urlsafe_b64decode(data + "=" * (-len(data) % 4)))
    except (SkrFailure, ValueError) as error:
        text = error.message if isinstance(error, SkrFailure) else "it is not base64url."
        return [findings.found("failed", "key_policy", "policy_invalid", f"The live policy: {text}", one.kid)]
    named = [rule.authority for rule in policy.rules]
    facts = {"authorities": named}
    url = wanted.authority()
    if url is None:
        text = f"The policy names {', '.join(named)}; attestation_url is not given."
        return [findings.ok("key_policy", text, one.kid, **facts)]
    if authorities.key(url) not in {authorities.key(one_) for one_ in named}:
        text = f"The policy trusts {', '.join(named)}, attestation_url is {url}."
        return [findings.found("failed", "key_policy", "authority_mismatch", text, one.kid, **facts)]
    return [findings.ok("key_policy", f"The policy trusts {url}.", one.kid, **facts)]


# --- the vault's own properties


def vault_properties(wanted: Wanted, one: keyvault.KeyId, http: Http, tokens: Tokens, notes: Notes) -> t.List[Finding]:
    """SKU and permission model, by the resource manager; a VM's identity seldom may read them, and needs not."""
    if one.is_hsm:
        return [
            findings.skipped(
                "vault_properties", "A managed HSM has neither a choice of SKU nor of permission model.", one.host
            )
        ]
    unread = [findings.skipped("vault_properties", "The identity may not read them, which no release needs.", one.host)]
    subscription = notes.compute.get("subscriptionId")
    if not isinstance(subscription, str) or not subscription:
        return [findings.skipped("vault_properties", "The VM's subscription is not known.", one.host)]
    arm = wanted.cloud().resource_manager
    try:
        token = tokens.get(arm)
        reply = http.request(
            "Azure Resource Manager",
            "GET",
            f"{arm}/subscriptions/{subscription}/providers/Microsoft.KeyVault/vaults",
            headers={"Authorization": f"Bearer {token}"},
            params={"api-version": _VAULTS_VERSION},
        )
    except SkrFailure:
        return unread
    listed = reply.json().get("value")
    name = one.host.partition(".")[0]
    for entry in listed if isinstance(listed, list) and reply.status == 200 else []:
        properties = entry.get("properties") if isinstance(entry, dict) else None
        if isinstance(properties, dict) and str(entry.get("name", "")).lower() == name:
            return [_properties(one, properties)]
    return unread


def _properties(one: keyvault.KeyId, properties: t.Mapping[str, t.Any]) -> Finding:
    sku = properties.get("sku")
    level = str(sku.get("name", "")).lower() if isinstance(sku, dict) else ""
    rbac = bool(properties.get("enableRbacAuthorization"))
    facts = {
        "sku": level,
        "permission_model": "rbac" if rbac else "access_policy",
        "public_network_access": properties.get("publicNetworkAccess"),
    }
    decides = "Azure RBAC decides" if rbac else "access policies decide"
    if level and level != "premium":
        return findings.found("failed", "vault_properties", "vault_sku", f"SKU {level}; {decides}.", one.host, **facts)
    return findings.ok("vault_properties", f"SKU {level or 'not told'}; {decides}.", one.host, **facts)
