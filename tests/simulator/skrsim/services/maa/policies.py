# SPDX-License-Identifier: GPL-3.0-or-later
"""The attestation policies of a provider: read, set, reset; and the certificates that policies are signed under.

Azure REST reference, Attestation, Policy and Policy Certificates (2020-10-01, 2022-08-01, 2025-06-01). Every answer is
``{"token": JWT}``, signed by the provider's own key, whose claims tell what was done.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import typing as t

from ...core.faults import Fault
from ...core.messages import Request, Response
from ...core.world import AttestationProvider, World
from ..arm import roles
from ..entra import TokenError
from . import jws, rules
from . import token as tokens
from .errors import invalid, not_offered, not_parsed, unacceptable, unauthorized

AUDIENCE = "https://attest.azure.net"
VERSIONS = ("2020-10-01", "2022-08-01", "2025-06-01")
PATH = re.compile(r"/policies/(?P<type>[A-Za-z]+)(?P<reset>:reset)?/?")
CERTIFICATES = "/certificates"
FAULTS = frozenset({"bad_signature", "wrong_issuer", "expired_token", "wrong_hash", "wrong_result", "other_policy"})
TYPES = ("AzureGuest", "SevSnpVm", "TdxVm", "SgxEnclave", "OpenEnclave", "Tpm")
# The one refusal of this kind that is known from a recording (a comment in Terraform's provider for Azure).
_MISSING = {("uksouth", "Tpm")}
_ACTION = "Microsoft.Attestation/attestationProviders/attestation"
_PERMIT = "version= 1.0; authorizationrules{=> permit();}; issuancerules{};"
# The policy of type AzureGuest that a new private provider has.
_GUEST = (
    "version= 1.0;\nauthorizationrules\n{\n"
    + "".join(
        f'    [type=="{claim}", value==false] => deny();\n'
        for claim in (
            "x-ms-azurevm-default-securebootkeysvalidated",
            "x-ms-azurevm-debuggersdisabled",
            "secureboot",
            "x-ms-azurevm-signingdisabled",
            "x-ms-azurevm-dbvalidated",
            "x-ms-azurevm-dbxvalidated",
        )
    )
    + "    => permit();\n};\nissuancerules\n{\n};"
)


def unsecured(text: str) -> str:
    """The JWS of a policy that nobody signed; with the empty text its payload is empty."""
    body = (
        json.dumps({"AttestationPolicy": tokens.b64u(text.encode())}, separators=(",", ":")).encode() if text else b""
    )
    return ".".join((tokens.b64u(b'{"alg":"none"}'), tokens.b64u(body), ""))


DEFAULTS = {
    kind: unsecured({"AzureGuest": _GUEST, "Tpm": ""}.get(kind, _PERMIT))  # TPM and VBS have no default policy
    for kind in TYPES
}


def text_of(stored: str) -> str:
    """The policy text in a stored JWS; empty when there is none."""
    payload = jws.unb64u(stored.split(".")[1])
    return jws.unb64u(json.loads(payload)["AttestationPolicy"]).decode() if payload else ""


def text_for(provider: AttestationProvider, kind: str) -> str:
    """The policy that an attestation of this type is held against."""
    return text_of(provider.policies.get(kind, DEFAULTS[kind]))


def operation(request: Request) -> str:
    found = PATH.fullmatch(request.path)
    if found is None:
        known = request.path.rstrip("/") == CERTIFICATES and request.method == "GET"
        return "policy_certificates" if known else ""
    wanted = {("GET", False): "policy_get", ("PUT", False): "policy_set", ("POST", True): "policy_reset"}
    return wanted.get((request.method, found["reset"] is not None), "")


class Policies:
    """``provider`` is None for a shared provider: its policies can be read by everybody and set by nobody."""

    def __init__(self, world: World, keys: tokens.Keys) -> None:
        self._world, self._keys = world, keys

    def handle(self, name: str, request: Request, provider: AttestationProvider | None) -> Response:
        """In this order: the token, the permission, api-version and type, then what was sent."""
        principal = self._authenticate(request)
        verb = {"policy_set": "write", "policy_reset": "delete"}.get(name, "read")
        clause = self._authorize(principal, verb, provider)
        version = request.param("api-version")
        if [one for one, _value in request.query] != ["api-version"] or version not in VERSIONS:
            raise invalid("api_version", f"api-version '{version}' or another query parameter is not supported.")
        if name == "policy_certificates":
            response = self._certificates(request, provider)
        else:
            found = PATH.fullmatch(request.path)
            assert found is not None
            kind = _kind(found["type"], version, provider)
            fault = self._world.faults.fire("maa", name, None, FAULTS)
            response = self._policy(name, request, kind, provider, fault)
        response.audit |= {"principal": principal, "clause": clause}
        return response

    def _authenticate(self, request: Request) -> str:
        scheme, _space, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise unauthorized("The request has no bearer token.", "token")
        try:
            return str(self._world.services["entra"].verify(token, (AUDIENCE,))["oid"])
        except TokenError as error:
            raise unauthorized(f"The bearer token is not accepted: {error.code}.", "token") from error

    def _authorize(self, principal: str, verb: str, provider: AttestationProvider | None) -> str:
        if provider is None:
            if verb == "read":
                return "shared provider"
            raise unauthorized("The policies of a shared provider cannot be changed.", "role")
        now = self._world.clock.now()
        given = roles.allows(self._world, principal, provider.id, f"{_ACTION}/{verb}", False, now, delayed=True)
        if given is None:
            message = f"The caller does not have the permission {_ACTION}/{verb} on {provider.id}."
            raise unauthorized(message, "role")
        return f"role assignment {given.name}"

    # --- policies

    def _policy(
        self, name: str, request: Request, kind: str, provider: AttestationProvider | None, fault: Fault | None
    ) -> Response:
        action = fault.action if fault else ""
        if provider is None or name == "policy_get":
            stored = provider.policies.get(kind, DEFAULTS[kind]) if provider else unsecured(_PERMIT)
            if action == "other_policy":
                stored = unsecured(_PERMIT + " // another policy")
            return self._answer(request, {"x-ms-policy": stored}, action)
        text = request.body.decode("ascii", "replace").strip()
        sent = jws.opened(text, provider.signers)
        before = provider.policies.get(kind)
        if name == "policy_reset":
            if sent.payload:
                raise unacceptable("reset", "A reset takes a token with an empty body.")
            provider.policies.pop(kind, None)
        else:
            _check(sent.payload)
            provider.policies[kind] = text
        result = "Removed" if name == "policy_reset" else "Updated"
        if action == "wrong_result":
            result = "Removed" if result == "Updated" else "Updated"
        digest = hashlib.sha256(b"another" if action == "wrong_hash" else text.encode()).digest()
        claims: dict[str, t.Any] = {"x-ms-policy-result": result, "x-ms-policy-token-hash": tokens.b64u(digest)}
        if sent.signer:
            claims["x-ms-policy-signer"] = {"kty": "RSA", "x5c": sent.signer}
        response = self._answer(request, claims, action)
        response.audit["write"] = provider.policies.get(kind) != before
        return response

    def _certificates(self, request: Request, provider: AttestationProvider | None) -> Response:
        signers = provider.signers if provider else []
        keys = [{"kty": "RSA", "x5c": [base64.b64encode(der).decode()]} for der in signers]
        return self._answer(request, {"x-ms-policy-certificates": {"keys": keys}}, "")

    def _answer(self, request: Request, claims: dict[str, t.Any], action: str) -> Response:
        issuer, now = f"https://{request.host}", int(self._world.clock.now())
        if action == "expired_token":
            now -= 2 * tokens.LIFETIME
        signed_by = "https://sharedneu.neu.attest.azure.net" if action == "wrong_issuer" else issuer
        body = {"iss": signed_by, "iat": now, "nbf": now, "exp": now + tokens.LIFETIME, "x-ms-ver": "1.0", **claims}
        return Response.of({"token": tokens.sign(body, self._keys.of(issuer)[0], action == "bad_signature")})


def _kind(given: str, version: str, provider: AttestationProvider | None) -> str:
    """The attestation type in its own spelling."""
    kind = next((one for one in TYPES if one.lower() == given.lower()), None)
    if kind is None or (kind == "TdxVm" and version != "2025-06-01"):
        raise invalid("attestation_type", f"The attestation type '{given}' is not known.")
    if provider and (provider.location, kind) in _MISSING:
        raise not_offered(f"{kind} attestation is not supported in the '{provider.location}' region")
    return kind


def _check(payload: bytes) -> None:
    """The payload holds a policy that parses."""
    try:
        document = json.loads(payload)
        encoded = document["AttestationPolicy"]
        text = jws.unb64u(encoded).decode("utf-8")
    except (ValueError, KeyError, TypeError, AttributeError):
        message = 'Could not find "AttestationPolicy" claim in policy token, or it is not base64url of UTF-8.'
        raise unacceptable("claim", message) from None
    try:
        rules.parse(text)
    except rules.GrammarError as error:
        raise not_parsed(str(error)) from None
