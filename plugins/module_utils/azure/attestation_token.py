# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tokens to and from an attestation provider: the wrapping of a policy, its signature, and the proof of an answer.

A policy travels as a JWS (RFC 7515) with the payload ``{"AttestationPolicy": base64url(text)}``: unsecured, or RS256
with the certificates in ``x5c``. Source: Microsoft Learn, "How to author an attestation policy"; Azure REST reference,
Attestation, Policy.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import hashlib
import json
import os
import time
import typing as t

from ..policy.failure import SkrFailure

SKEW = 300  # seconds by which two clocks may differ


def b64u(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64u(text: str) -> bytes:
    """Base64url without padding. Raises ValueError."""
    return base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), b"-_", validate=True)


def policy_hash(text: str) -> str:
    """The claim ``x-ms-policy-hash`` of tokens issued under a policy: SHA-256 of the base64url form of its text."""
    return b64u(hashlib.sha256(b64u(text.encode()).encode()).digest())


def text_of(token: str) -> str:
    """The policy text in a policy's JWS, whose signature is not looked at; empty where none is set."""
    try:
        payload = token.split(".")[1]
        return unb64u(json.loads(unb64u(payload))["AttestationPolicy"]).decode("utf-8") if payload else ""
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise _unbelieved("its policy is not wrapped as documented") from error


@dataclasses.dataclass(frozen=True)
class Signer:
    """A private key with its certificates (DER, its own first). Neither is ever shown."""

    key: t.Any = dataclasses.field(repr=False)
    certificates: t.Tuple[bytes, ...] = dataclasses.field(repr=False)


def load_signer(key_path: str, certificate_path: str, passphrase: t.Optional[str] = None) -> Signer:
    """The policy signer of two PEM files. Raises SkrFailure ``invalid_input``; the key's content is in no message."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    content = _read(key_path, "policy_signer_key")
    try:
        key = serialization.load_pem_private_key(content, passphrase.encode() if passphrase else None)
    except (ValueError, TypeError) as error:
        wanted = "an unencrypted PEM private key, or the right policy_signer_passphrase"
        raise _invalid("policy_signer_key", key_path, wanted) from error
    if not isinstance(key, rsa.RSAPrivateKey):
        raise _invalid("policy_signer_key", key_path, "an RSA key: the service takes RS256 alone")
    found = certificates(certificate_path, "policy_signer_certificate")
    if found[0].public_key() != key.public_key():
        raise _invalid(
            "policy_signer_certificate", certificate_path, "the certificate of policy_signer_key in first place"
        )
    return Signer(key, tuple(one.public_bytes(serialization.Encoding.DER) for one in found))


def certificates(path: str, option: str) -> t.List[t.Any]:
    """The certificates of a PEM file; a file that holds a private key is refused. Raises SkrFailure."""
    from cryptography import x509

    content = _read(path, option)
    if b"PRIVATE KEY" in content:
        raise _invalid(option, path, "a file of certificates alone; it holds a private key")
    try:
        return list(x509.load_pem_x509_certificates(content))
    except ValueError as error:
        raise _invalid(option, path, "a file of PEM certificates") from error


def _read(path: str, option: str) -> bytes:
    try:
        with open(os.path.expanduser(path), "rb") as stream:
            return stream.read()
    except OSError as error:
        raise _invalid(option, path, f"a readable file ({error.strerror})") from error


def _invalid(option: str, found: str, wanted: str) -> SkrFailure:
    return SkrFailure("invalid_input", f"{option} is {found!r}, wanted {wanted}.", {"option": option})


def wrapped(text: t.Optional[str], signer: t.Optional[Signer]) -> str:
    """The JWS for a policy; None gives the empty one that resets."""
    header: t.Dict[str, t.Any] = {"alg": "none"}
    if signer:
        header = {"alg": "RS256", "x5c": [base64.b64encode(one).decode() for one in signer.certificates]}
    body = b"" if text is None else _json({"AttestationPolicy": b64u(text.encode())})
    signed = f"{b64u(_json(header))}.{b64u(body)}"
    if signer is None:
        return f"{signed}."
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    return f"{signed}.{b64u(signer.key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def _json(document: t.Any) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def verified(
    answer: t.Mapping[str, t.Any],
    keys: t.Callable[[], t.Mapping[str, t.Any]],
    issuer: str,
    now: t.Optional[float] = None,
) -> t.Dict[str, t.Any]:
    """The claims of an answer's token, once they are proven.

    1. Three parts; RS256.
    2. ``kid`` names one of the provider's keys (``keys`` gives its ``/certs`` document, asked over verified TLS), and
       the signature verifies under that key's certificate.
    3. The provider itself is the issuer.
    4. It is valid now, give or take five minutes.

    Raises SkrFailure ``attestation_policy_unverified``.
    """
    # 1
    try:
        token = answer["token"]
        head, body, last = token.split(".")
        header, claims = json.loads(unb64u(head)), json.loads(unb64u(body))
        signature, algorithm, kid = unb64u(last), header["alg"], header["kid"]
        found, begins, ends = claims["iss"], claims.get("nbf", 0), claims["exp"]
        times = [float(begins), float(ends)]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _unbelieved("the answer is no token") from error
    if algorithm != "RS256":
        raise _unbelieved(f"the token uses algorithm {algorithm!r}, wanted 'RS256'")
    # 2
    _check_signature(keys(), kid, f"{head}.{body}".encode(), signature)
    # 3
    if str(found).rstrip("/").lower() != issuer.lower():
        raise _unbelieved(f"the token was issued by {found}, wanted {issuer}")
    # 4
    moment = time.time() if now is None else now
    if not times[0] - SKEW <= moment <= times[1] + SKEW:
        raise _unbelieved("the token is expired or not yet valid")
    return t.cast(t.Dict[str, t.Any], claims)


def _check_signature(keys: t.Mapping[str, t.Any], kid: t.Any, signed: bytes, signature: bytes) -> None:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding, rsa

    try:
        key = next(one for one in keys["keys"] if one.get("kid") == kid)
        public = x509.load_der_x509_certificate(base64.b64decode(key["x5c"][0])).public_key()
    except StopIteration:
        raise _unbelieved("the token is signed with a key that the provider does not list") from None
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, binascii.Error) as error:
        raise _unbelieved("the provider's list of keys is not as documented") from error
    try:
        if not isinstance(public, rsa.RSAPublicKey):
            raise InvalidSignature
        public.verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        raise _unbelieved("the token's signature does not verify") from None


def _unbelieved(what: str) -> SkrFailure:
    return SkrFailure("attestation_policy_unverified", f"The attestation provider's answer does not verify: {what}.")
