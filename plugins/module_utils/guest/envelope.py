# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Envelopes of application secrets: wrapped anywhere with the public half of a key, opened where the key is released.

An envelope is a JSON Web Encryption in flattened JSON serialization (RFC 7516, 7.2.2) with RSA-OAEP-256 and A256GCM
(RFC 7518), so other JOSE libraries read and write it. docs/envelope.md has each byte. What is read here is read strictly:
one form, no unknown member, so that nothing outside of the associated data can mean anything.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import re
import typing as t

from ..policy.failure import SkrFailure
from . import crypto

TYPE = "azure-skr-secret+jwe;v=1"
LARGEST_SECRET = 1 << 20
LARGEST_ENVELOPE = 2 << 20
_MEMBERS = ("protected", "encrypted_key", "iv", "ciphertext", "tag")
_HEADER = {"alg": "RSA-OAEP-256", "enc": "A256GCM", "typ": TYPE}
_KEY, _IV, _TAG = 32, 12, 16
_SMALLEST_MODULUS = 2048
_SHOWN = 80  # characters of what somebody else wrote
_NAME = re.compile(r"[\x20-\x7e]{1,200}")
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")


class Envelope(t.NamedTuple):
    """One that has the right form. ``key_sha256`` is that of the public key, ``name`` what the wrapper called it."""

    key_sha256: str
    name: t.Optional[str]
    protected: str
    encrypted_key: bytes
    iv: bytes
    ciphertext: bytes
    tag: bytes


def wrap(public_pem: t.Union[str, bytes], secret: t.Union[bytes, bytearray], name: t.Optional[str] = None) -> str:
    """The envelope of a secret, as one line of JSON. Raises SkrFailure ``invalid_input`` or ``key_cannot_wrap``."""
    key = public_key(public_pem)
    if not 0 < len(secret) <= LARGEST_SECRET:
        raise SkrFailure(
            "invalid_input",
            f"secret has {len(secret)} bytes, wanted 1 to {LARGEST_SECRET}.",
            {"option": "secret", "bytes": len(secret)},
        )
    if name is not None and not _NAME.fullmatch(name):
        raise SkrFailure(
            "invalid_input", f"name is {name!r}, wanted 1 to 200 printable ASCII characters.", {"option": "name"}
        )
    header = {**_HEADER, "kid": fingerprint(key), **({} if name is None else {"name": name})}
    protected = _b64u(_compact(header).encode("ascii"))
    content_key, iv = os.urandom(_KEY), os.urandom(_IV)
    sealed = crypto.AESGCM(content_key).encrypt(iv, bytes(secret), protected.encode("ascii"))
    parts = (key.encrypt(content_key, _oaep()), iv, sealed[:-_TAG], sealed[-_TAG:])
    return _compact(dict(zip(_MEMBERS, (protected, *map(_b64u, parts)))))


def public_key(public_pem: t.Union[str, bytes]) -> crypto.rsa.RSAPublicKey:
    """The RSA key of a PEM. Raises SkrFailure ``invalid_input`` or ``key_cannot_wrap``."""
    content = public_pem.encode("utf-8") if isinstance(public_pem, str) else public_pem
    try:
        key = crypto.serialization.load_pem_public_key(content)
    except (ValueError, TypeError, crypto.UnsupportedAlgorithm):
        # Not shown: what is there may be a private key that somebody took for the public one.
        raise SkrFailure(
            "invalid_input",
            "public_key is no public key in PEM, wanted the public_key_pem that exportable_key returns.",
            {"option": "public_key"},
        ) from None
    if not isinstance(key, crypto.rsa.RSAPublicKey):
        raise SkrFailure("key_cannot_wrap", "public_key is no RSA key.", {"option": "public_key"})
    if key.key_size < _SMALLEST_MODULUS:
        raise SkrFailure(
            "invalid_input",
            f"public_key has {key.key_size} bits, wanted {_SMALLEST_MODULUS} or more.",
            {"option": "public_key"},
        )
    return key


def fingerprint(key: crypto.rsa.RSAPublicKey) -> str:
    """SHA-256 of the SubjectPublicKeyInfo in hex, as the modules return it as ``public_key_sha256``."""
    form = crypto.serialization.PublicFormat.SubjectPublicKeyInfo
    return hashlib.sha256(key.public_bytes(crypto.serialization.Encoding.DER, form)).hexdigest()


def parse(given: t.Union[str, bytes, t.Mapping[str, t.Any]], where: str = "the envelope") -> Envelope:
    """Check the form, without a key. Raises SkrFailure ``secret_envelope_invalid``; ``where`` is for its words."""
    document = _object(given, where) if isinstance(given, (str, bytes)) else dict(given)
    if set(document) != set(_MEMBERS):
        raise _invalid(where, f"it has the members {sorted(map(str, document))}, wanted {sorted(_MEMBERS)}")
    parts = {name: _decode(document[name], name, where) for name in _MEMBERS}
    header = _object(parts["protected"], where)
    wanted = {**_HEADER, "kid": header.get("kid"), **({"name": header["name"]} if "name" in header else {})}
    for name in sorted({*header, *wanted}):
        if header.get(name) != wanted.get(name) or name not in wanted:
            found = repr(header.get(name))[:_SHOWN]
            raise _invalid(where, f"its header member {name[:_SHOWN]!r} is {found}, wanted {wanted.get(name)!r}")
    kid, label = header.get("kid"), header.get("name")
    if not isinstance(kid, str) or not _FINGERPRINT.fullmatch(kid):
        raise _invalid(where, f"its header member kid is {repr(kid)[:_SHOWN]}, wanted a SHA-256 in 64 hex digits")
    if "name" in header and not (isinstance(label, str) and _NAME.fullmatch(label)):
        raise _invalid(where, "its header member name is not printable text")
    for name, size in (("iv", _IV), ("tag", _TAG)):
        if len(parts[name]) != size:
            raise _invalid(where, f"its member {name} has {len(parts[name])} bytes, wanted {size}")
    if not 0 < len(parts["ciphertext"]) <= LARGEST_SECRET:
        raise _invalid(where, f"its ciphertext has {len(parts['ciphertext'])} bytes, wanted 1 to {LARGEST_SECRET}")
    return Envelope(kid, label, document["protected"], *(parts[name] for name in _MEMBERS[1:]))


def unwrap(found: Envelope, key: crypto.rsa.RSAPrivateKey, where: str = "the envelope") -> bytearray:
    """The secret. Raises SkrFailure ``secret_envelope_key`` or ``secret_envelope_invalid``.

    1. The envelope was made for this key.
    2. The wrapped AES key opens, and has the right length.
    3. Header, ciphertext and tag belong together.
    """
    # 1
    mine = fingerprint(key.public_key())
    if found.key_sha256 != mine:
        raise SkrFailure(
            "secret_envelope_key",
            f"{where} was made for the key {found.key_sha256}, and the key released is {mine}.",
            {"wanted": found.key_sha256, "found": mine},
        )
    # 2
    try:
        content_key = key.decrypt(found.encrypted_key, _oaep())
    except ValueError:
        content_key = b""
    # 3
    if len(content_key) == _KEY:
        try:
            opened = crypto.AESGCM(content_key).decrypt(
                found.iv, found.ciphertext + found.tag, found.protected.encode("ascii")
            )
            return bytearray(opened)
        except crypto.InvalidTag:
            pass
    # One text for all, so that nobody learns by trying which step it was.
    raise _invalid(where, "it does not open")


def _b64u(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode("ascii")


def _oaep() -> crypto.padding.OAEP:
    digest = crypto.hashes.SHA256
    return crypto.padding.OAEP(crypto.padding.MGF1(digest()), digest(), None)


def _compact(document: t.Mapping[str, t.Any]) -> str:
    return json.dumps(document, separators=(",", ":"))


def _object(content: t.Union[str, bytes], where: str) -> t.Dict[str, t.Any]:
    """A JSON object in which no member comes twice."""
    if len(content) > LARGEST_ENVELOPE:
        raise _invalid(where, f"it has more than {LARGEST_ENVELOPE} bytes")
    try:
        found = json.loads(content, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise _invalid(where, "it is no JSON object with each member once")
    return found


def _once(pairs: t.List[t.Tuple[str, t.Any]]) -> t.Dict[str, t.Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a member comes twice")
    return found


def _decode(text: t.Any, name: str, where: str) -> bytes:
    """Base64url without padding, in its only form (RFC 7515, section 2)."""
    try:
        content = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (TypeError, ValueError, binascii.Error):
        content = b""
    if not content or _b64u(content) != text:
        raise _invalid(where, f"its member {name} is not base64url without padding")
    return content


def _invalid(where: str, why: str) -> SkrFailure:
    return SkrFailure("secret_envelope_invalid", f"{where} is refused: {why}.")
