# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Attestation policies of a provider: read back, compared as text, sent as a JSON Web Signature, and the answer verified.

An attestation policy says what the provider attests at all; a key's release policy says to whom a key is released.
Protocol: Azure Attestation REST reference, Policy (Get, Set, Reset); RFC 7515 for the signatures.
"""

from __future__ import annotations

import base64
import hashlib
import json
import typing as t
from urllib.parse import urlsplit

from ..policy.failure import SkrFailure
from .clients import Connection

API_VERSION = "2022-08-01"
# What Microsoft's command line documents, and the type of guest attestation, which it does not.
TYPES = ("SgxEnclave", "OpenEnclave", "SevSnpVm", "Tpm", "AzureGuest")
_SET = ("Updated", "Success")
_UNSECURED = "eyJhbGciOiJub25lIn0"  # {"alg":"none"}


class Signer(t.NamedTuple):
    """Who signs policies for a provider with policy signers: a private key object and its certificate."""

    key: t.Any
    certificate: t.Any

    def __repr__(self) -> str:
        return "Signer(...)"


def signer(key_path: t.Optional[str], certificate_path: t.Optional[str]) -> t.Optional[Signer]:
    """Read both files. Raises SkrFailure ``invalid_input``; no content of a file is quoted."""
    if not key_path or not certificate_path:
        return None
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    try:
        with open(key_path, "rb") as stream:
            key = serialization.load_pem_private_key(stream.read(), None)
    except (OSError, ValueError, TypeError):
        key = None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise _invalid("policy_signing_key", key_path, "a readable file with an RSA private key in PEM")
    found = certificate("policy_signing_certificate", certificate_path)
    if found.public_key() != key.public_key():
        raise _invalid("policy_signing_certificate", certificate_path, "the certificate of policy_signing_key")
    return Signer(key, found)


def certificate(option: str, path: str) -> t.Any:
    """A certificate in PEM. Raises SkrFailure ``invalid_input``."""
    from cryptography import x509

    try:
        with open(path, "rb") as stream:
            return x509.load_pem_x509_certificate(stream.read())
    except (OSError, ValueError):
        raise _invalid(option, path, "a readable file with a certificate in PEM") from None


def der(found: t.Any) -> str:
    """A certificate as ``x5c`` holds it."""
    from cryptography.hazmat.primitives import serialization

    return base64.b64encode(found.public_bytes(serialization.Encoding.DER)).decode("ascii")


def _invalid(option: str, found: t.Any, wanted: str) -> SkrFailure:
    return SkrFailure("invalid_input", f"{option} is {found!r}, wanted {wanted}.", {"option": option})


def plain(text: str) -> str:
    """A policy's text for comparing: line ends and blanks at the ends of lines mean nothing."""
    return "\n".join(line.rstrip() for line in text.replace("\r\n", "\n").strip().split("\n"))


def digest(text: str) -> str:
    """SHA-256 of the text, in hex."""
    return hashlib.sha256(plain(text).encode()).hexdigest()


class Policies:
    """The policies of one provider."""

    def __init__(self, connection: Connection, url: str, signing: t.Optional[Signer] = None) -> None:
        self._connection, self._url, self._signing = connection, url.rstrip("/"), signing
        self._keys: t.Optional[t.Dict[str, t.Any]] = None

    def get(self, kind: str) -> str:
        """The policy as it is. Raises SkrFailure."""
        what = f"the {kind} policy of {self._url}"
        claims = self._verified(self._send("GET", kind, None, what), what)
        stored = claims.get("x-ms-policy")
        try:
            payload = _payload(str(stored))
            return _decode(str(payload["AttestationPolicy"])).decode()
        except (KeyError, TypeError, ValueError) as error:
            raise SkrFailure("attestation_protocol", f"{what} is not a JSON Web Signature with a policy.") from error

    def put(self, kind: str, text: str) -> None:
        """Set a policy, and believe it only when the signed answer names the hash of what was sent."""
        what = f"the {kind} policy of {self._url}"
        jws = self._jws({"AttestationPolicy": _b64u(text.encode())})
        claims = self._verified(self._send("PUT", kind, jws, what), what)
        hashed = str(claims.get("x-ms-policy-token-hash", "")).rstrip("=")
        expected = _b64u(hashlib.sha256(jws.encode()).digest())
        if claims.get("x-ms-policy-result") not in _SET or hashed != expected:
            raise SkrFailure(
                "attestation_policy_refused",
                f"{what} was not set: the answer is {claims.get('x-ms-policy-result')!r} for another hash.",
                {"result": claims.get("x-ms-policy-result"), "hash": hashed, "wanted": expected},
            )

    def reset(self, kind: str) -> None:
        """Go back to the provider's default policy."""
        what = f"the {kind} policy of {self._url}"
        claims = self._verified(self._send("POST", kind, self._jws(None), what), what)
        if claims.get("x-ms-policy-result") != "Removed":
            raise SkrFailure(
                "attestation_policy_refused",
                f"{what} was not reset: the answer is {claims.get('x-ms-policy-result')!r}.",
                {"result": claims.get("x-ms-policy-result")},
            )

    # --- requests

    def _send(self, method: str, kind: str, jws: t.Optional[str], what: str) -> t.Dict[str, t.Any]:
        domain = (urlsplit(self._url).hostname or "").partition(".attest.")[2]
        scope = f"https://attest.{domain}/.default"
        path = f"{self._url}/policies/{kind}" + (":reset" if method == "POST" else "")
        try:
            return self._connection.data(scope, method, path, API_VERSION, jws, what)
        except SkrFailure as failure:
            if failure.reason in ("authorization_failed", "permission_missing"):
                role = "Attestation Reader" if method == "GET" else "Attestation Contributor"
                raise SkrFailure(
                    "authorization_failed",
                    f"The calling identity may not do this with {what}.",
                    failure.facts,
                    next_step=f"Give it the role {role} on the provider.",
                ) from failure
            if failure.facts.get("status") == 400:
                raise SkrFailure(
                    "attestation_policy_refused",
                    f"{what} was refused: {failure.facts.get('message') or failure.message}",
                    failure.facts,
                ) from failure
            raise

    def _jws(self, payload: t.Optional[t.Dict[str, str]]) -> str:
        body = _b64u(json.dumps(payload, separators=(",", ":")).encode()) if payload is not None else ""
        if self._signing is None:  # unsecured, RFC 7515 appendix A.5: the access token says who sends it
            return f"{_UNSECURED}.{body}."
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import padding

        header = {"alg": "RS256", "x5c": [der(self._signing.certificate)]}
        signed = f"{_b64u(json.dumps(header, separators=(',', ':')).encode())}.{body}"
        signature = self._signing.key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{_b64u(signature)}"

    def _verified(self, answer: t.Mapping[str, t.Any], what: str) -> t.Dict[str, t.Any]:
        """The claims of the answer's token, signed by one of the provider's published keys."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import padding

        token = str(answer.get("token", ""))
        parts = token.split(".")
        try:
            header, claims = json.loads(_decode(parts[0])), _payload(token)
            signature = _decode(parts[2])
        except (IndexError, ValueError) as error:
            raise SkrFailure("attestation_protocol", f"{what}: the answer holds no token.") from error
        public = self._signing_keys().get(str(header.get("kid")))
        if header.get("alg") != "RS256" or public is None:
            raise SkrFailure("token_signature", f"{what}: the answer is signed by no key that the provider publishes.")
        try:
            public.verify(signature, f"{parts[0]}.{parts[1]}".encode(), padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature as error:
            raise SkrFailure("token_signature", f"{what}: the signature of the answer does not verify.") from error
        if str(claims.get("iss", "")).rstrip("/") != self._url:
            raise SkrFailure("token_issuer", f"{what}: the answer's issuer is {claims.get('iss')!r}.")
        return claims

    def _signing_keys(self) -> t.Dict[str, t.Any]:
        """The provider's published keys by ``kid``; only RSA certificates count."""
        from cryptography import x509
        from cryptography.hazmat.primitives.asymmetric import rsa

        if self._keys is None:
            found: t.Dict[str, t.Any] = {}
            document = self._connection.data(None, "GET", f"{self._url}/certs", None, None, f"the keys of {self._url}")
            for entry in document.get("keys") or []:
                try:
                    public = x509.load_der_x509_certificate(base64.b64decode(entry["x5c"][0])).public_key()
                except (KeyError, IndexError, TypeError, ValueError):
                    continue
                if isinstance(public, rsa.RSAPublicKey):
                    found[str(entry.get("kid"))] = public
            self._keys = found
        return self._keys


def _payload(jws: str) -> t.Dict[str, t.Any]:
    found = json.loads(_decode(jws.split(".")[1]))
    if not isinstance(found, dict):
        raise ValueError("no object")
    return found


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _b64u(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
