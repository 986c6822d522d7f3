# SPDX-License-Identifier: GPL-3.0-or-later
"""Secure Key Release: verify the token, evaluate the policy, wrap the key, sign the answer."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import typing as t

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding

from ...core.faults import Fault
from ...core.messages import Response
from ...core.world import Key, KeyVersion
from . import bundle, policy
from .call import Call
from .errors import bad, refuse
from .keys import known, version_of
from .target import claims_of, encryption_key, unverified

ALGORITHMS: dict[str, t.Callable[[], hashes.HashAlgorithm]] = {
    "CKM_RSA_AES_KEY_WRAP": hashes.SHA1,
    "RSA_AES_KEY_WRAP_256": hashes.SHA256,
    "RSA_AES_KEY_WRAP_384": hashes.SHA384,
}
FAULTS = frozenset(
    {
        "tamper",
        "swap_key",
        "untrusted_chain",
        "wrong_nonce",
        "wrong_enc",
        "broken_kwp",
        "unsigned",
        "unverifiable",
        "wrong_name",
    }
)


async def release(call: Call, clause: str) -> Response:
    """The decision and the answer. ``clause`` is what allowed the caller to ask."""
    key = call.key()
    version = version_of(call, key, call.version)
    body = known(call.body(), ("target", "enc", "nonce"))
    token, algorithm = body.get("target"), body.get("enc", "CKM_RSA_AES_KEY_WRAP")
    if not isinstance(token, str) or not token:
        raise bad("The property 'target' is required.")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise bad(f"The algorithm '{algorithm}' is not valid.")
    if not isinstance(body.get("nonce", ""), str):
        raise bad("The property 'nonce' must be text.")
    if not key.exportable or key.release_policy is None:
        raise bad("Operation release is not allowed on a non-exportable key.", "vault.KeyNotExportable")
    if not version.enabled:
        raise refuse(403, "Forbidden", "Operation release is not allowed on a disabled key.", "KeyDisabled")
    fault = call.world.faults.fire("keyvault", "key_release", call.request.vm, FAULTS)
    if fault and fault.action == "unverifiable":
        raise unverified("injected")
    claims = await claims_of(call.world, key, token)
    satisfied, why = policy.decide(key.release_policy, claims)
    if not satisfied:
        raise refuse(
            403,
            "Forbidden",
            "Target environment attestation does not meet key release policy requirements.",
            "AccessDenied",
            clause=f"release.policy: {why}",
            principal=call.principal.object_id,
        )
    kid, public = encryption_key(claims)
    answer = await asyncio.to_thread(_answer, call, key, version, algorithm, body.get("nonce"), kid, public, fault)
    return Response.of(
        {"value": answer},
        clause=f"{clause}; {why}",
        principal=call.principal.object_id,
        key=key.name,
        version=version.version,
    )


def _answer(
    call: Call,
    key: Key,
    version: KeyVersion,
    algorithm: str,
    nonce: t.Any,
    kid: str,
    public: rsa.RSAPublicKey,
    fault: Fault | None,
) -> str:
    action = fault.action if fault else ""
    shown = version
    if action == "swap_key":
        other = Key("another-key", key.vault, [version], True, key.release_policy)
        key, shown = other, version
    enc = next(name for name in ALGORITHMS if (name == algorithm) != (action == "wrong_enc"))
    wrapped = wrap(version.private, enc, public, broken=action == "broken_kwp")
    hsm = {
        "schema_version": "1.0",
        "header": {"kid": kid, "alg": "dir", "enc": enc},
        "ciphertext": bundle.b64u(wrapped),
    }
    base = f"{bundle.base_url(call.vault)}/keys/{key.name}"
    request: dict[str, t.Any] = {
        "api-version": call.request.param("api-version"),
        "enc": enc,
        "kid": f"{base}/{call.version}" if call.version else base,
    }
    if nonce is not None:
        request["nonce"] = "another" if action == "wrong_nonce" else nonce
    whole = bundle.policy_member(key)
    # A vault leaves the content type out here; an HSM tells it, and sorts every member.
    released = whole if call.vault.is_hsm else {name: whole[name] for name in whole if name != "contentType"}
    jwk = {**bundle.jwk(call.vault, key, shown), "key_hsm": bundle.b64u(_json(hsm))}
    inner = {
        "key": jwk,
        "attributes": bundle.attributes(call.vault, key, shown),
        "tags": shown.tags,
        "release_policy": released,
    }
    if call.vault.is_hsm:
        jwk["kty"] = shown.kty.removesuffix("-HSM")
        jwk["key_hsm"] = bundle.b64u(json.dumps(hsm, separators=(",", ":"), sort_keys=True).encode())
    return _sign(call, {"request": request, "response": {"key": inner}}, action)


def wrap(private: t.Any, algorithm: str, public: rsa.RSAPublicKey, broken: bool = False) -> bytes:
    """PKCS#11 CKM_RSA_AES_KEY_WRAP: OAEP of a fresh AES key, then RFC 5649 of the PKCS#8 key or the oct key's bytes."""
    kek = os.urandom(32)
    digest = ALGORITHMS[algorithm]
    sealed = public.encrypt(kek, padding.OAEP(mgf=padding.MGF1(digest()), algorithm=digest(), label=None))
    if isinstance(private, bytes):  # an oct key is wrapped as it is
        der = private
    else:
        der = private.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    body = bytearray(aes_key_wrap_with_padding(kek, der))
    if broken:
        body[-1] ^= 1
    return sealed + bytes(body)


def _sign(call: Call, payload: dict[str, t.Any], action: str) -> str:
    ca = call.world.services["ca"]
    hsm = call.vault.is_hsm
    private, chain = ca.signing(call.vault.service)
    if action in ("untrusted_chain", "wrong_name"):
        private, chain = call.world.services["foreign_signing"](action)
    ders = [certificate.public_bytes(serialization.Encoding.DER) for certificate in chain]
    sha1 = hashlib.sha1(ders[0]).digest()
    header = {
        "alg": "none" if action == "unsigned" else "RS256",
        "kid": sha1.hex().upper(),
        "x5t": bundle.b64u(sha1),
        "typ": "JWT",
        "x5t#S256": bundle.b64u(hashlib.sha256(ders[0]).digest()),
        "x5c": [base64.b64encode(der).decode() for der in ders],
    }
    if hsm:
        header = {name: header[name] for name in ("alg", "kid", "x5c", "x5t#S256")}
    body = json.dumps(payload, separators=(",", ":"), sort_keys=hsm).encode()
    signed = f"{bundle.b64u(_json(header))}.{bundle.b64u(body)}"
    signature = b"" if action == "unsigned" else private.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    if action == "tamper":
        altered = dict(payload, request=dict(payload["request"], tampered=True))
        signed = f"{signed.partition('.')[0]}.{bundle.b64u(_json(altered))}"
    return f"{signed}.{bundle.b64u(signature)}"


def _json(document: t.Any) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()
