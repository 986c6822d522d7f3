# SPDX-License-Identifier: GPL-3.0-or-later
"""Attestation policies of a provider: read, set, reset.

Limit of this simulation: a policy that was set is checked for its three segments and read for whether its
authorization rules contain a ``permit()``; its claim rules are not evaluated, and its issuance rules add no claim.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import typing as t

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from ...core.messages import Refusal, Request, Response
from ...core.world import World
from ..arm import roles
from ..entra import TokenError
from . import token as tokens
from .errors import invalid

AUDIENCE = "https://attest.azure.net"
VERSIONS = ("2020-10-01", "2022-08-01", "2025-06-01")
# Types whose policy can be set, as Microsoft's command line documents them, and the guest's.
TYPES = ("SgxEnclave", "OpenEnclave", "SevSnpVm", "Tpm", "AzureGuest")
DEFAULT = "version= 1.0;authorizationrules{=> permit();};issuancerules{};"
_FORM = re.compile(
    r"\s*version\s*=\s*1\.[0-2]\s*;(?P<configuration>\s*configurationrules\s*\{.*?\}\s*;)?"
    r"\s*authorizationrules\s*\{(?P<rules>.*?)\}\s*;\s*issuancerules\s*\{.*\}\s*;?\s*",
    re.DOTALL,
)
_ACTIONS = {"policy_get": "read", "policy_put": "write", "policy_reset": "delete"}


def handle(
    world: World, request: Request, provider: dict[str, t.Any] | None, operation: str, key: tokens.SigningKey
) -> Response:
    principal = _authorize(world, request, provider, operation)
    if request.param("api-version") not in VERSIONS or len(request.query) != 1:
        raise invalid("policies.version", f"api-version '{request.param('api-version')}' is not supported.")
    kind, _colon, action = request.path.removeprefix("/policies/").partition(":")
    if kind not in TYPES or (action != ("reset" if operation == "policy_reset" else "")):
        raise invalid("policies.type", f"The attestation type '{kind}' does not support policies.")
    issuer = f"https://{request.host}"
    if operation == "policy_get":
        stored = provider["policies"].get(kind) if provider else None
        claims: dict[str, t.Any] = {"x-ms-policy": stored or unsecured(DEFAULT)}
        return Response.of({"token": _signed(world, claims, issuer, key)}, principal=principal)
    assert provider is not None
    jws = request.body.decode("ascii", "replace").strip().strip('"')
    payload = _verified(provider, jws)
    before = provider["policies"].get(kind)
    if operation == "policy_reset":
        provider["policies"].pop(kind, None)
        result = {"x-ms-policy-result": "Removed"}
        return Response.of(
            {"token": _signed(world, result, issuer, key)}, write=before is not None, principal=principal
        )
    _text(payload)
    provider["policies"][kind] = jws
    result = {
        "x-ms-policy-result": "Updated",
        "x-ms-policy-token-hash": tokens.b64u(hashlib.sha256(jws.encode()).digest()),
    }
    return Response.of({"token": _signed(world, result, issuer, key)}, write=before != jws, principal=principal)


def _signed(world: World, claims: dict[str, t.Any], issuer: str, key: tokens.SigningKey) -> str:
    now = int(world.clock.now())
    return tokens.sign({"iss": issuer, "iat": now, "nbf": now, "exp": now + 3600, **claims}, key)


def _authorize(world: World, request: Request, provider: dict[str, t.Any] | None, operation: str) -> str:
    """Reading a shared provider's policy is for everybody; all else by Azure roles on the provider."""
    if provider is None and operation == "policy_get":
        return ""
    scheme, _space, token = request.headers.get("authorization", "").partition(" ")
    challenge = {"WWW-Authenticate": f'Bearer resource="{AUDIENCE}"'}

    def unauthorized(text: str, clause: str) -> Refusal:
        return Refusal(401, {"error": {"code": "Unauthorized", "message": text}}, challenge, clause=clause)

    if scheme.lower() != "bearer" or not token:
        raise unauthorized("Authentication is required.", "maa.policies.token")
    try:
        principal = str(world.services["entra"].verify(token, (AUDIENCE,))["oid"])
    except TokenError as error:
        raise unauthorized(f"The token is not valid: {error.code}.", f"maa.policies.token.{error.code}") from error
    action = f"Microsoft.Attestation/attestationProviders/attestation/{_ACTIONS.get(operation, 'read')}"
    now = world.clock.now()
    if provider is None or roles.allows(world, principal, str(provider["id"]), action, False, now) is None:
        raise Refusal(
            403,
            {"error": {"code": "Forbidden", "message": f"The caller has no permission for {action}."}},
            clause="maa.policies.role",
            principal=principal,
        )
    return principal


def unsecured(text: str) -> str:
    """A policy as an unsecured JWS (RFC 7515, appendix A.5)."""
    body = tokens.b64u(json.dumps({"AttestationPolicy": tokens.b64u(text.encode())}).encode())
    return f"{tokens.b64u(json.dumps({'alg': 'none'}).encode())}.{body}."


def _verified(provider: dict[str, t.Any], jws: str) -> t.Any:
    """The payload; a provider with policy signers takes nothing that none of them signed."""
    parts = jws.split(".")
    try:
        header, signature = json.loads(_decode(parts[0])), _decode(parts[2])
        payload = json.loads(_decode(parts[1])) if parts[1] else {}
    except (IndexError, ValueError):
        raise invalid("policies.jws", "The policy is not a JSON Web Signature.") from None
    if not provider["signers"]:
        if header.get("alg") != "none" and not header.get("x5c"):
            raise invalid("policies.jws", "The policy's signature names no certificate.")
        if header.get("alg") == "none":
            return payload
    try:
        der = base64.b64decode(header["x5c"][0])
        public: t.Any = x509.load_der_x509_certificate(der).public_key()
        signed = f"{parts[0]}.{parts[1]}".encode()
        public.verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, InvalidSignature):
        raise invalid("policies.signature", "The policy's signature cannot be verified.") from None
    if provider["signers"] and der not in provider["signers"]:
        raise invalid("policies.signer", "The policy is signed by none of the provider's policy signers.")
    return payload


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _text(payload: t.Any) -> str:
    encoded = payload.get("AttestationPolicy") if isinstance(payload, dict) else None
    try:
        text = _decode(str(encoded)).decode()
    except ValueError:
        text = ""
    if not _FORM.fullmatch(text):
        raise invalid("policies.grammar", "The attestation policy does not follow the grammar.")
    return text


def permits(provider: dict[str, t.Any], kind: str) -> bool | None:
    """Whether the policy that was set has a permit rule; None where none was set."""
    stored = provider["policies"].get(kind)
    if stored is None:
        return None
    found = _FORM.fullmatch(_text(json.loads(_decode(stored.split(".")[1]))))
    return bool(found and re.search(r"permit\s*\(\s*\)", found["rules"]))
