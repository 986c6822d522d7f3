# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Validation of an attestation token (RFC 7515, RFC 7519) against what this VM asked for."""

from __future__ import annotations

import base64
import binascii
import json
import time
import typing as t

from ..policy.authority import key as authority_key
from ..policy.failure import SkrFailure
from . import crypto, der, documents
from .akcert import iso
from .cache import Cache
from .http import SERVER_ERRORS, Http, Retry

CLOCK_SKEW = 300  # seconds
KEY_KID = "TpmEphemeralEncryptionKey"
_RETRY = Retry(SERVER_ERRORS | {408, 429}, (1.0, 3.0))
_CACHE_AGE = 86400.0  # seconds; a key that the authority has withdrawn is believed no longer than that


def split(token: str) -> t.Tuple[t.Dict[str, t.Any], t.Dict[str, t.Any], bytes, bytes]:
    """Header, claims, signed bytes and signature of a compact JWS. Raises ValueError."""
    parts = token.split(".")
    if len(parts) != 3:
        raise ValueError(f"{len(parts)} parts, wanted 3")
    decoded = [decode(part) for part in parts]
    header, claims = documents.loads(decoded[0]), documents.loads(decoded[1])
    if not isinstance(header, dict) or not isinstance(claims, dict):
        raise ValueError("header or claims are not JSON objects")
    return header, claims, f"{parts[0]}.{parts[1]}".encode("ascii"), decoded[2]


def decode(text: str) -> bytes:
    """Base64url without padding, strictly. Raises ValueError, also where a document has something else than text."""
    if not isinstance(text, str) or set(text) & set("+/="):
        raise ValueError("not base64url")
    try:
        return base64.b64decode(text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4), validate=True)
    except binascii.Error as error:
        raise ValueError("not base64url") from error


class Authority:
    """The signing keys of an attestation authority, by kid; kept in a small public file between runs."""

    def __init__(self, http: Http, url: str, cache_dir: t.Optional[str]) -> None:
        self._http, self._url = http, url
        name = "".join(character if character.isalnum() else "-" for character in url)
        self._name = f"signing-keys-{name}.json"
        self._cache = Cache(cache_dir)
        self.used: t.Optional[t.Dict[str, t.Any]] = None  # kid and x5c of the key that was asked for last

    def key(self, kid: str) -> t.Optional[crypto.rsa.RSAPublicKey]:
        """The key of a kid; keys are fetched when the remembered ones do not have it."""
        known = self._load()
        found = _certified_key(known.get(kid))
        if found is None:
            known = self._fetch()
            self._save(known)
            found = _certified_key(known.get(kid))
        self.used = {"kid": kid, "x5c": [known[kid]]} if found is not None else None
        return found

    def _fetch(self) -> t.Dict[str, str]:
        reply = self._http.request("the attestation service", "GET", f"{self._url}/certs", _RETRY)
        entries = reply.json().get("keys")
        if reply.status != 200 or not isinstance(entries, list):
            raise SkrFailure("attestation_unavailable", f"{self._url} did not give its signing keys ({reply.status}).")
        return certified_keys(entries)

    def _load(self) -> t.Dict[str, str]:
        try:
            keys = documents.loads(self._cache.load(self._name, _CACHE_AGE) or b"{}")
        except ValueError:
            return {}
        return {str(kid): str(value) for kid, value in keys.items()} if isinstance(keys, dict) else {}

    def _save(self, keys: t.Dict[str, str]) -> None:
        self._cache.save(self._name, json.dumps(keys).encode("ascii"))


def certified_keys(entries: t.Any) -> t.Dict[str, str]:
    """Of each entry of a JWKS its kid and its first certificate, in base64 DER."""
    keys = {}
    for entry in entries if isinstance(entries, list) else []:
        if (
            isinstance(entry, dict)
            and isinstance(entry.get("kid"), str)
            and isinstance(entry.get("x5c"), list)
            and entry["x5c"]
        ):
            keys[entry["kid"]] = str(entry["x5c"][0])
    return keys


def _certified_key(encoded: t.Optional[str]) -> t.Optional[crypto.rsa.RSAPublicKey]:
    """The RSA key of a certificate in base64 DER; None when it is no such thing."""
    try:
        key = crypto.load_der_public_key(der.certificate(base64.b64decode(encoded or "")).public_key)
    except (ValueError, IndexError, crypto.UnsupportedAlgorithm):
        return None
    return key if isinstance(key, crypto.rsa.RSAPublicKey) else None


class Keys(t.Protocol):
    """Whoever knows an authority's signing keys."""

    def key(self, kid: str) -> t.Optional[crypto.rsa.RSAPublicKey]: ...


class KeySet:
    """The signing keys of an authority as a document (JWKS) that somebody kept."""

    def __init__(self, document: t.Mapping[str, t.Any]) -> None:
        self._keys = certified_keys(document.get("keys"))

    def key(self, kid: str) -> t.Optional[crypto.rsa.RSAPublicKey]:
        return _certified_key(self._keys.get(kid))


def validate(
    token: str,
    authority: Keys,
    issuer: str,
    nonce: str,
    modulus: int,
    now: t.Optional[float] = None,
) -> t.Dict[str, t.Any]:
    """Check a guest token and return its claims.

    1. Three parts; the algorithm is RS256 and nothing else.
    2. The kid is one of the authority's keys, and the signature verifies.
    3. The issuer is the authority that was asked.
    4. It is valid now, give or take the skew.
    5. It carries the nonce of this request.
    6. It is bound to this request's ephemeral key.

    ``nonce`` is the base64 text as sent. Raises SkrFailure: token_signature, token_issuer, token_time, token_nonce,
    token_binding.
    """
    # 1 to 4
    claims = genuine(token, authority, issuer, now)
    # 5
    check_nonce(claims, nonce)
    # 6
    if modulus not in moduli(claims, KEY_KID):
        raise SkrFailure("token_binding", "The attestation token does not name this VM's ephemeral key.")
    return claims


def validate_platform(
    token: str,
    authority: Keys,
    issuer: str,
    nonce: str,
    modulus: int,
    now: t.Optional[float] = None,
) -> t.Dict[str, t.Any]:
    """The same of a platform token: its nonce is a claim of its own, and it is bound to the attestation key."""
    claims = genuine(token, authority, issuer, now)
    if claims.get("nonce") != nonce:
        raise SkrFailure("token_nonce", "The attestation token does not carry the nonce of this request.")
    if modulus not in moduli(claims, "HCLAkPub"):
        raise SkrFailure("token_binding", "The attestation token does not name this VM's attestation key.")
    return claims


def genuine(token: str, authority: Keys, issuer: t.Optional[str], now: t.Optional[float] = None) -> t.Dict[str, t.Any]:
    """Steps 1 to 4; without ``issuer`` any is taken. Returns the claims. Raises SkrFailure."""
    claims = signed_claims(token, authority, issuer)
    # 3
    found = str(claims.get("iss", ""))
    if issuer is not None and authority_key(found) != authority_key(issuer):
        raise SkrFailure(
            "token_issuer", f"The attestation token was issued by {found!r}, wanted {issuer}.", {"found": found}
        )
    # 4
    check_time(claims, time.time() if now is None else now)
    return claims


def signed_claims(token: str, authority: Keys, issuer: t.Optional[str]) -> t.Dict[str, t.Any]:
    """Steps 1 and 2. Raises SkrFailure ``token_signature``."""
    # 1
    try:
        header, claims, signed, signature = split(token)
    except (ValueError, RecursionError) as error:
        raise SkrFailure("token_signature", f"The attestation token is malformed: {error}.") from error
    if header.get("alg") != "RS256":
        raise SkrFailure(
            "token_signature", f"The attestation token uses algorithm {header.get('alg')!r}, wanted 'RS256'."
        )
    # 2
    kid = str(header.get("kid", ""))
    key = authority.key(kid)
    if key is None:
        raise SkrFailure("token_signature", f"{issuer or 'The key set'} has no signing key {kid!r}.", {"kid": kid})
    try:
        key.verify(signature, signed, crypto.padding.PKCS1v15(), crypto.hashes.SHA256())
    except crypto.InvalidSignature:
        raise SkrFailure(
            "token_signature", "The attestation token's signature does not verify.", {"kid": kid}
        ) from None
    return claims


def check_nonce(claims: t.Mapping[str, t.Any], nonce: str) -> None:
    """Step 5; ``nonce`` is base64 text. Raises SkrFailure ``token_nonce``."""
    payload = _runtime(claims).get("client-payload")
    if not isinstance(payload, dict) or payload.get("nonce") != nonce:
        raise SkrFailure("token_nonce", "The attestation token does not carry the nonce of this request.")


def _runtime(claims: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    runtime = claims.get("x-ms-runtime")
    return runtime if isinstance(runtime, dict) else {}


def check_time(claims: t.Mapping[str, t.Any], now: float) -> None:
    """Step 4. Raises SkrFailure ``token_time``."""
    begin, end = documents.seconds(claims.get("nbf")), documents.seconds(claims.get("exp"))
    if begin is None or end is None:
        raise SkrFailure("token_time", "The attestation token has no dates.")
    facts = {"not_before": iso(begin), "expires": iso(end), "vm_clock": iso(now)}
    if now > end + CLOCK_SKEW:
        raise SkrFailure(
            "token_time", f"The attestation token expired at {iso(end)}; this VM's clock says {iso(now)}.", facts
        )
    if now < begin - CLOCK_SKEW:
        raise SkrFailure(
            "token_time", f"The attestation token is valid from {iso(begin)}; this VM's clock says {iso(now)}.", facts
        )


def moduli(claims: t.Mapping[str, t.Any], kid: str) -> t.List[int]:
    """The RSA moduli of the keys of this id among the runtime claims."""
    keys, found = _runtime(claims).get("keys"), []
    for key in keys if isinstance(keys, list) else []:
        if isinstance(key, dict) and key.get("kid") == kid and isinstance(key.get("n"), str):
            try:
                found.append(int.from_bytes(decode(key["n"]), "big"))
            except ValueError:
                continue
    return found
