# SPDX-License-Identifier: GPL-3.0-or-later
"""The attestation token of a release request: verified with keys fetched from its authority over the network."""

from __future__ import annotations

import base64
import binascii
import json
import typing as t

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from ...core.messages import Refusal
from ...core.world import Key, World
from .errors import refuse
from .policy import same_authority

UNVERIFIED = "Target environment attestation statement cannot be verified."


def unverified(clause: str) -> Refusal:
    return refuse(403, "Forbidden", UNVERIFIED, "AccessDenied", clause=f"release.{clause}")


def unb64u(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


async def claims_of(world: World, key: Key, token: str) -> dict[str, t.Any]:
    """The verified claims of ``target``. Raises Refusal with the service's one text; the clause tells which check."""
    parts = token.split(".")
    if len(parts) != 3:
        raise unverified("malformed")
    try:
        header, claims = (json.loads(unb64u(part)) for part in parts[:2])
        signature = unb64u(parts[2])
        algorithm, kid, issuer = header["alg"], header["kid"], claims["iss"]
        begin, end = float(claims["nbf"]), float(claims["exp"])
    except (ValueError, KeyError, TypeError):
        raise unverified("malformed") from None
    assert key.release_policy is not None
    authority = next(
        (rule["authority"] for rule in key.release_policy["anyOf"] if same_authority(rule["authority"], str(issuer))),
        None,
    )
    if authority is None:
        # Which of the two known texts the service has here is not published.
        raise refuse(
            403, "Forbidden", "Target environment attestation does not meet key release policy requirements.", "AccessDenied",
            clause="release.authority",
        )  # fmt: skip
    if algorithm != "RS256":
        raise unverified("algorithm")
    public = await _signing_key(world, authority.rstrip("/"), str(kid))
    try:
        public.verify(signature, f"{parts[0]}.{parts[1]}".encode(), padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        raise unverified("signature") from None
    if not begin - 300 <= world.clock.now() <= end:
        raise unverified("time")
    return dict(claims)


async def _signing_key(world: World, authority: str, kid: str) -> rsa.RSAPublicKey:
    """OpenID document, then JWKS; only entries with x5c count."""
    fetch = world.services["fetch"]
    try:
        found = await fetch(f"{authority}/.well-known/openid-configuration")
        if found.status != 200:
            raise unverified("discovery")
        keys = await fetch(str(found.json()["jwks_uri"]))
        entries = keys.json()["keys"]
    except (OSError, ValueError, KeyError, TypeError):
        raise unverified("authority_unreachable") from None
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, dict) and entry.get("kid") == kid and entry.get("x5c"):
            try:
                certificate = x509.load_der_x509_certificate(base64.b64decode(entry["x5c"][0]))
            except (ValueError, TypeError, KeyError, binascii.Error):
                raise unverified("x5c") from None
            public = certificate.public_key()
            if isinstance(public, rsa.RSAPublicKey):
                return public
    raise unverified("unknown_kid")


def encryption_key(claims: dict[str, t.Any]) -> tuple[str, rsa.RSAPublicKey]:
    """The first RSA key in top-level ``x-ms-runtime.keys`` with a kid that is meant for encryption."""
    runtime = claims.get("x-ms-runtime")
    keys = runtime.get("keys") if isinstance(runtime, dict) else None
    for entry in keys if isinstance(keys, list) else []:
        if not isinstance(entry, dict):
            continue
        usable = entry.get("key_use") == "enc" or entry.get("use") == "enc" or "encrypt" in (entry.get("key_ops") or [])
        if entry.get("kty") == "RSA" and entry.get("kid") and usable:
            try:
                numbers = rsa.RSAPublicNumbers(
                    int.from_bytes(unb64u(entry["e"]), "big"), int.from_bytes(unb64u(entry["n"]), "big")
                )
                return str(entry["kid"]), numbers.public_key()
            except (ValueError, TypeError, KeyError):
                raise unverified("encryption_key_malformed") from None
    raise unverified("no_encryption_key")
