# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Detached signatures of a bundle with a key the user gives, and the hash list, both in forms that other tools check.

RSA (PKCS #1 v1.5) and EC (ECDSA, DER) with SHA-256: ``openssl dgst -sha256 -verify PUBLIC.pem -signature FILE.sig FILE``.
Ed25519: ``openssl pkeyutl -verify -pubin -inkey PUBLIC.pem -rawin -in FILE -sigfile FILE.sig``. Hash: ``sha256sum -c FILE.sha256``.
"""

from __future__ import annotations

import hashlib
import re
import typing as t

from ..guest import crypto
from ..policy.failure import SkrFailure

if t.TYPE_CHECKING:
    Private = t.Union[crypto.rsa.RSAPrivateKey, crypto.ec.EllipticCurvePrivateKey, crypto.ed25519.Ed25519PrivateKey]
    Public = t.Union[crypto.rsa.RSAPublicKey, crypto.ec.EllipticCurvePublicKey, crypto.ed25519.Ed25519PublicKey]
_RSA_BITS = 2048
_LINE = re.compile(r"([0-9A-Fa-f]{64}) [ *](.+)")


def private(pem: bytes, passphrase: t.Optional[str]) -> Private:
    """A private key. Raises SkrFailure ``bundle_key_invalid``, which quotes nothing of it."""
    try:
        key = crypto.serialization.load_pem_private_key(pem, passphrase.encode() if passphrase else None)
    except TypeError:
        wanted = "none, because the key has none" if passphrase else "one, because the key has one"
        raise _unusable("signing", f"wanted the passphrase to be {wanted}") from None
    except (ValueError, crypto.UnsupportedAlgorithm):
        raise _unusable("signing", "it is no private key in PEM, or the passphrase is another") from None
    if isinstance(key, (crypto.rsa.RSAPrivateKey, crypto.ec.EllipticCurvePrivateKey, crypto.ed25519.Ed25519PrivateKey)):
        _strong(key.public_key(), "signing")
        return key
    raise _unusable("signing", f"it is a {type(key).__name__}, wanted RSA, EC or Ed25519")


def public(pem: bytes) -> Public:
    """A public key, or that of a certificate. Raises SkrFailure ``bundle_key_invalid``."""
    try:
        if b"-----BEGIN CERTIFICATE-----" in pem:
            from cryptography import x509

            key: t.Any = x509.load_pem_x509_certificate(pem).public_key()
        else:
            key = crypto.serialization.load_pem_public_key(pem)
    except (ValueError, crypto.UnsupportedAlgorithm):
        raise _unusable("checking", "it is neither a public key nor a certificate in PEM") from None
    if isinstance(key, (crypto.rsa.RSAPublicKey, crypto.ec.EllipticCurvePublicKey, crypto.ed25519.Ed25519PublicKey)):
        _strong(key, "checking")
        return key
    raise _unusable("checking", f"it is a {type(key).__name__}, wanted RSA, EC or Ed25519")


def _strong(key: Public, purpose: str) -> None:
    if isinstance(key, crypto.rsa.RSAPublicKey) and key.key_size < _RSA_BITS:
        raise _unusable(purpose, f"it has {key.key_size} bits, wanted {_RSA_BITS} at least")


def sign(key: Private, content: bytes) -> bytes:
    if isinstance(key, crypto.rsa.RSAPrivateKey):
        return key.sign(content, crypto.padding.PKCS1v15(), crypto.hashes.SHA256())
    if isinstance(key, crypto.ec.EllipticCurvePrivateKey):
        return key.sign(content, crypto.ec.ECDSA(crypto.hashes.SHA256()))
    return key.sign(content)


def signed(key: Public, content: bytes, signature: bytes) -> bool:
    """Whether the signature is of this content by this key."""
    try:
        if isinstance(key, crypto.rsa.RSAPublicKey):
            key.verify(signature, content, crypto.padding.PKCS1v15(), crypto.hashes.SHA256())
        elif isinstance(key, crypto.ec.EllipticCurvePublicKey):
            key.verify(signature, content, crypto.ec.ECDSA(crypto.hashes.SHA256()))
        else:
            key.verify(signature, content)
    except crypto.InvalidSignature:
        return False
    return True


def name(key: Public) -> str:
    """By which a person tells one public key from another: its kind and the SHA-256 of its DER."""
    der = key.public_bytes(crypto.serialization.Encoding.DER, crypto.serialization.PublicFormat.SubjectPublicKeyInfo)
    kinds = (
        (crypto.rsa.RSAPublicKey, "RSA"),
        (crypto.ec.EllipticCurvePublicKey, "EC"),
        (crypto.ed25519.Ed25519PublicKey, "Ed25519"),
    )
    kind = next(word for one, word in kinds if isinstance(key, one))
    return f"{kind} key SHA256:{hashlib.sha256(der).hexdigest()}"


def pem(key: Public) -> str:
    info = crypto.serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(crypto.serialization.Encoding.PEM, info).decode("ascii")


def hash_line(content: bytes, file_name: str) -> str:
    return f"{hashlib.sha256(content).hexdigest()}  {file_name}\n"


def listed(text: str, file_name: str) -> t.Optional[str]:
    """The hash, in lower case, that a list has for a file of this name, or for the only file that it lists."""
    rows = [found.groups() for found in map(_LINE.fullmatch, text.splitlines()) if found]
    named = [digest for digest, path in rows if path.replace("\\", "/").rpartition("/")[2] == file_name]
    if not named and len(rows) == 1:
        named = [rows[0][0]]
    return named[0].lower() if named else None


def _unusable(purpose: str, why: str) -> SkrFailure:
    return SkrFailure(
        "bundle_key_invalid", f"The key for {purpose} the bundle cannot be used: {why}.", {"key": purpose}
    )
