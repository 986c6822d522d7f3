# SPDX-License-Identifier: GPL-3.0-or-later
"""How the vault shows a key: JSON Web Key, attributes, release policy."""

from __future__ import annotations

import base64
import typing as t

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from ...core.world import Key, KeyVersion, Vault
from . import policy

CURVES: dict[str, type[ec.EllipticCurve]] = {
    "P-256": ec.SECP256R1,
    "P-256K": ec.SECP256K1,
    "P-384": ec.SECP384R1,
    "P-521": ec.SECP521R1,
}


def b64u(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def base_url(vault: Vault) -> str:
    return f"https://{vault.host}"


def kid(vault: Vault, key: Key, version: KeyVersion) -> str:
    return f"{base_url(vault)}/keys/{key.name}/{version.version}"


def jwk(vault: Vault, key: Key, version: KeyVersion) -> dict[str, t.Any]:
    found: dict[str, t.Any] = {"kid": kid(vault, key, version), "kty": version.kty, "key_ops": list(version.key_ops)}
    if isinstance(version.private, bytes):  # an oct key has no public half
        return found
    public = version.private.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        numbers = public.public_numbers()
        # A leading zero byte in the exponent is how vaults write it; HSMs do not.
        return found | {
            "n": b64u(numbers.n.to_bytes(public.key_size // 8, "big")),
            "e": b64u(numbers.e.to_bytes(3 if vault.is_hsm else 4, "big")),
        }
    point = public.public_numbers()
    size = (public.curve.key_size + 7) // 8
    return found | {
        "crv": version.curve,
        "x": b64u(point.x.to_bytes(size, "big")),
        "y": b64u(point.y.to_bytes(size, "big")),
    }


def attributes(vault: Vault, key: Key, version: KeyVersion) -> dict[str, t.Any]:
    # The level's name tells whether somebody chose less than the full 90 days.
    level = "Recoverable" if vault.retention_days >= 90 else "CustomizedRecoverable"
    found: dict[str, t.Any] = {
        "enabled": version.enabled,
        "created": version.created,
        "updated": version.updated,
        "recoveryLevel": level if vault.purge_protection else f"{level}+Purgeable",
        "recoverableDays": vault.retention_days,
    }
    for name in ("nbf", "exp"):
        if getattr(version, name) is not None:
            found[name] = getattr(version, name)
    if key.exportable:
        found["exportable"] = True
    return found


def policy_member(key: Key) -> dict[str, t.Any]:
    assert key.release_policy is not None
    return {
        "contentType": key.policy_content_type,
        "data": policy.encoded(key.release_policy),
        "immutable": key.policy_immutable,
    }


def whole(vault: Vault, key: Key, version: KeyVersion) -> dict[str, t.Any]:
    found: dict[str, t.Any] = {
        "key": jwk(vault, key, version),
        "attributes": attributes(vault, key, version),
        "tags": version.tags,
    }
    if key.release_policy is not None:
        found["release_policy"] = policy_member(key)
    return found


def item(vault: Vault, key: Key, version: KeyVersion, versioned: bool) -> dict[str, t.Any]:
    """An entry of a list; lists carry neither policy nor operations."""
    name = kid(vault, key, version) if versioned else f"{base_url(vault)}/keys/{key.name}"
    return {"kid": name, "attributes": attributes(vault, key, version), "tags": version.tags}
