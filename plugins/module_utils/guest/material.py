# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has been released: a private key, the bytes of a symmetric key, or a secret opened with a key; and its formats.

Formats: PKCS#8 (RFC 5208, RFC 5958), PKCS#1 (RFC 8017, A.1.2), JWK (RFC 7517, RFC 7518, RFC 8812), PEM (RFC 7468).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import typing as t

from ..policy.failure import SkrFailure
from . import crypto, unwrap
from .tee import b64u

# What makes sense for each kind; the first is the one of format ``auto``.
FORMATS = {
    "RSA": ("pem_pkcs8", "pem_pkcs1", "der", "jwk"),
    "EC": ("pem_pkcs8", "der", "jwk"),
    "oct": ("raw", "base64", "jwk"),
    "secret": ("raw", "base64"),
}
AUTO = "auto"
NAMES = (AUTO, "pem_pkcs8", "pem_pkcs1", "der", "jwk", "raw", "base64")
# AES of 128, 192 and 256 bits; 384 and 512 for HMAC and for two keys of AES-256 in XTS.
_OCT_SIZES = (16, 24, 32, 48, 64)
_JOSE_CURVES = {"secp256r1": "P-256", "secp256k1": "secp256k1", "secp384r1": "P-384", "secp521r1": "P-521"}


class Material:
    """A secret in memory. Nothing of it shows in ``repr``; ``wipe`` overwrites what Python lets us overwrite."""

    def __init__(
        self,
        kind: str,
        octets: t.Union[bytes, bytearray] = b"",
        private: t.Optional[unwrap.PrivateKey] = None,
    ) -> None:
        self.kind = kind
        self._octets = bytearray(octets)
        self.private = private
        self.public: t.Dict[str, str] = {} if private is None else unwrap.public_facts(private)

    @property
    def public_key_sha256(self) -> t.Optional[str]:
        """SHA-256 of the public half in hex; None where there is none."""
        return self.public.get("public_key_sha256")

    def encode(self, form: str) -> bytearray:
        """The bytes in a format; always the same for the same material. Raises SkrFailure ``invalid_input``."""
        fitting = FORMATS[self.kind]
        if form == AUTO:
            form = fitting[0]
        if form not in fitting:
            raise SkrFailure(
                "invalid_input",
                f"format is {form!r}, wanted {' or '.join(fitting)} for {_WORDS[self.kind]}.",
                {"option": "format", "kind": self.kind},
            )
        if self.private is None:
            return self._encode_octets(form)
        if form == "jwk":
            return _compact(_private_jwk(self.private))
        serialization = crypto.serialization
        encoding = serialization.Encoding.DER if form == "der" else serialization.Encoding.PEM
        structure = serialization.PrivateFormat
        layout = structure.TraditionalOpenSSL if form == "pem_pkcs1" else structure.PKCS8
        return bytearray(self.private.private_bytes(encoding, layout, serialization.NoEncryption()))

    def _encode_octets(self, form: str) -> bytearray:
        if form == "base64":
            return bytearray(base64.b64encode(self._octets))
        return _compact({"k": b64u(bytes(self._octets)), "kty": "oct"}) if form == "jwk" else bytearray(self._octets)

    def mark(self, salt: bytes) -> str:
        """What may be kept beside a consumer to know this material again: the public fingerprint, or a salted HMAC.

        A bare digest of a secret would let everybody who reads it try guesses against it.
        """
        return self.public_key_sha256 or hmac.new(salt, bytes(self._octets), "sha256").hexdigest()

    def wipe(self) -> None:
        unwrap.wipe(self._octets)


_WORDS = {"RSA": "an RSA key", "EC": "an EC key", "oct": "a symmetric key", "secret": "a secret"}


def load(material: bytes, jwk: t.Mapping[str, t.Any]) -> Material:
    """What was released, which must fit what the answer says of it.

    Raises SkrFailure ``unwrap_failed`` or ``response_key_mismatch``.
    """
    kind = str(jwk.get("kty"))
    if kind in ("oct", "oct-HSM"):
        if len(material) not in _OCT_SIZES:
            raise SkrFailure(
                "unwrap_failed",
                f"The released {kind} key has {len(material)} bytes, wanted {', '.join(map(str, _OCT_SIZES))}.",
                {"bytes": len(material)},
            )
        return Material("oct", material)
    private = unwrap.load(material, jwk)
    return Material("RSA" if isinstance(private, crypto.rsa.RSAPrivateKey) else "EC", private=private)


def secret(octets: t.Union[bytes, bytearray]) -> Material:
    """An application secret, as it came out of its envelope."""
    return Material("secret", octets)


def _compact(document: t.Mapping[str, str]) -> bytearray:
    return bytearray(json.dumps(document, sort_keys=True, separators=(",", ":")).encode("ascii"))


def _private_jwk(key: unwrap.PrivateKey) -> t.Dict[str, str]:
    if isinstance(key, crypto.rsa.RSAPrivateKey):
        rsa = key.private_numbers()
        numbers = {
            "n": rsa.public_numbers.n,
            "e": rsa.public_numbers.e,
            "d": rsa.d,
            "p": rsa.p,
            "q": rsa.q,
            "dp": rsa.dmp1,
            "dq": rsa.dmq1,
            "qi": rsa.iqmp,
        }
        found = {name: b64u(value.to_bytes((value.bit_length() + 7) // 8, "big")) for name, value in numbers.items()}
        return {"kty": "RSA", **found}
    elliptic = key.private_numbers()
    size = (key.curve.key_size + 7) // 8  # RFC 7518, 6.2.1.2: coordinates have the length of the field
    point = elliptic.public_numbers
    numbers = {"x": point.x, "y": point.y, "d": elliptic.private_value}
    found = {name: b64u(value.to_bytes(size, "big")) for name, value in numbers.items()}
    return {"kty": "EC", "crv": _JOSE_CURVES[key.curve.name], **found}


def fingerprint_of(content: bytes) -> t.Optional[str]:
    """The public fingerprint of a private key in any of our formats; None where the bytes are no such key."""
    if content.startswith(b"{"):
        return _fingerprint_of_jwk(content)
    if b"-----BEGIN" in content:
        return unwrap.fingerprint_of_pem(content)
    try:
        key = crypto.serialization.load_der_private_key(content, None)
    except (ValueError, TypeError, crypto.UnsupportedAlgorithm):
        return None
    if isinstance(key, (crypto.rsa.RSAPrivateKey, crypto.ec.EllipticCurvePrivateKey)):
        return unwrap.public_facts(key)["public_key_sha256"]
    return None


def _fingerprint_of_jwk(content: bytes) -> t.Optional[str]:
    try:
        jwk = json.loads(content)
        number = {
            name: int.from_bytes(base64.urlsafe_b64decode(jwk[name] + "=="), "big") for name in jwk if name in "nexy"
        }
        if jwk["kty"] == "RSA":
            public: t.Any = crypto.rsa.RSAPublicNumbers(number["e"], number["n"]).public_key()
        else:
            curve = {name: own for own, name in _JOSE_CURVES.items()}[jwk["crv"]]
            kind = {
                "secp256r1": "SECP256R1",
                "secp256k1": "SECP256K1",
                "secp384r1": "SECP384R1",
                "secp521r1": "SECP521R1",
            }
            made = getattr(crypto.ec, kind[curve])()
            public = crypto.ec.EllipticCurvePublicNumbers(number["x"], number["y"], made).public_key()
    except (ValueError, KeyError, TypeError, AttributeError, crypto.UnsupportedAlgorithm):
        return None
    form = crypto.serialization.PublicFormat.SubjectPublicKeyInfo
    return hashlib.sha256(public.public_bytes(crypto.serialization.Encoding.DER, form)).hexdigest()
