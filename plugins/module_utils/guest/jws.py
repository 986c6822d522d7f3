# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Verification of the vault's signed answer: signature, certificate chain, host name, and binding to the request."""

from __future__ import annotations

import base64
import hashlib
import time
import typing as t

from ..policy.failure import SkrFailure
from . import certificates, crypto, der, documents, jwt
from .keyvault import KeyId

_SAN = "2.5.29.17"
_DNS_NAME = 0x82


class Answer(t.NamedTuple):
    """The verified answer: the key bundle (JWK with ``key_hsm``), its attributes, and the wrapped key."""

    kid: str
    jwk: t.Dict[str, t.Any]
    attributes: t.Dict[str, t.Any]
    ciphertext: bytes


def verify(token: str, key: KeyId, algorithm: str, nonce: str, bundle: str, now: t.Optional[float] = None) -> Answer:
    """Verify the signed answer to one release request.

    1. Three parts; RS256; thumbprints in the header are those of the first certificate.
    2. The signature verifies under that certificate.
    3. The certificates chain to the CA bundle and are valid now.
    4. The first certificate names the vault's host.
    5. The answer is for the key that was asked, and for this request: key id, algorithm, nonce.
    6. The wrapped key says it was wrapped with that algorithm to the ephemeral key.

    Raises SkrFailure: response_malformed, response_signature_invalid, response_chain_untrusted,
    response_key_mismatch, response_nonce_mismatch, wrap_algorithm_mismatch.
    """
    # 1
    try:
        header, payload, signed, signature = jwt.split(token)
        chain = [der.certificate(base64.b64decode(entry)) for entry in header["x5c"]]
        leaf = chain[0]
    except (ValueError, KeyError, TypeError, IndexError) as error:
        # A tampered header is as untrustworthy as a tampered payload, but there is nothing left to verify it with.
        raise SkrFailure("response_signature_invalid", "The release answer has no readable signature.") from error
    if header.get("alg") != "RS256":
        raise SkrFailure(
            "response_signature_invalid", f"The release answer uses algorithm {header.get('alg')!r}, wanted 'RS256'."
        )
    _check_thumbprints(header, leaf)
    # 2
    public = certificates.public_key(leaf)
    if not isinstance(public, crypto.rsa.RSAPublicKey):
        raise SkrFailure("response_signature_invalid", "The release answer is not signed with an RSA key.")
    try:
        public.verify(signature, signed, crypto.padding.PKCS1v15(), crypto.hashes.SHA256())
    except crypto.InvalidSignature:
        raise SkrFailure(
            "response_signature_invalid", "The release answer's signature does not verify.", {"kid": key.kid}
        ) from None
    # 3, 4
    try:
        check_chain(chain, bundle, time.time() if now is None else now)
        check_name(leaf, key.host)
    except (ValueError, IndexError) as error:
        raise _untrusted("a certificate in it cannot be read") from error
    # 5, 6
    return _check_request(payload, key, algorithm, nonce)


def _check_thumbprints(header: t.Mapping[str, t.Any], leaf: der.Certificate) -> None:
    for member, digest in (("x5t", hashlib.sha1), ("x5t#S256", hashlib.sha256)):
        if member in header:
            try:
                same = jwt.decode(str(header[member])) == digest(leaf.der).digest()
            except ValueError:
                same = False
            if not same:
                raise SkrFailure(
                    "response_signature_invalid", f"{member} of the release answer is not that of its certificate."
                )


def check_chain(chain: t.Sequence[der.Certificate], bundle: str, now: float) -> None:
    """RFC 5280, as far as TLS server chains need it. Raises SkrFailure ``response_chain_untrusted``."""
    for certificate in chain:
        if not certificate.not_before <= now <= certificate.not_after:
            raise _untrusted(f"certificate {certificate.common_name()!r} is not valid now")
    for below, (subject, issuer) in enumerate(zip(chain, chain[1:])):
        if not certificates.issued(subject, issuer, below):
            raise _untrusted(f"{subject.common_name()!r} was not issued by {issuer.common_name()!r}")
    last = chain[-1]
    for anchor in _anchors(bundle, last):
        if anchor.der == last.der and (len(chain) > 1 or certificates.is_ca(last)):
            return
        if anchor.not_before <= now <= anchor.not_after and certificates.issued(last, anchor, len(chain) - 1):
            return
    raise _untrusted(f"it ends at {last.common_name()!r}, which the CA bundle {bundle} does not know")


def _anchors(bundle: str, last: der.Certificate) -> t.Iterator[der.Certificate]:
    """The bundle's certificates that are the last one or could have issued it."""
    try:
        with open(bundle, encoding="ascii", errors="replace") as stream:
            blocks = der.pem_certificates(stream.read())
    except (OSError, der.DerError) as error:
        raise _untrusted(f"the CA bundle {bundle} cannot be read") from error
    for block in blocks:
        if last.issuer not in block:
            continue  # before it is taken apart: bundles have some 150 certificates
        try:
            anchor = der.certificate(block)
        except (ValueError, IndexError):
            continue  # a root that this reader cannot read is a root that is not used
        if anchor.subject in (last.issuer, last.subject):
            yield anchor


def check_name(leaf: der.Certificate, host: str) -> None:
    """A DNS name of the certificate covers the host; ``*`` stands for one leftmost label (RFC 6125)."""
    content = leaf.extensions.get(_SAN)
    names = [] if content is None else der.children(der.expect(content, der.SEQUENCE).content)
    dns = [name.content.decode("ascii", "replace").lower() for name in names if name.tag == _DNS_NAME]
    if host not in dns and f"*.{host.partition('.')[2]}" not in dns:
        raise _untrusted(f"its certificate is for {', '.join(dns) or 'no host'}, wanted {host}")


def _check_request(payload: t.Mapping[str, t.Any], key: KeyId, algorithm: str, nonce: str) -> Answer:
    try:
        asked, bundle = payload["request"], payload["response"]["key"]
        jwk = dict(bundle["key"])
        found = str(jwk["kid"])
        wrapped = documents.loads(jwt.decode(jwk.pop("key_hsm")))
        inner, ciphertext = wrapped["header"], jwt.decode(wrapped["ciphertext"])
        attributes = dict(bundle.get("attributes") or {})
        asked_kid, asked_enc, asked_nonce = str(asked["kid"]), asked.get("enc"), asked.get("nonce")
        inner_kid, inner_enc = inner["kid"], inner["enc"]
        for name in ("nbf", "exp"):
            if attributes.get(name) is not None and documents.seconds(attributes[name]) is None:
                raise ValueError(f"{name} is no date")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SkrFailure("response_malformed", "The release answer does not have the documented members.") from error
    base = f"{key.vault}/keys/{key.name}"
    wanted = {base.lower(), key.kid.lower()}
    version_fits = found.lower().startswith(f"{base.lower()}/") and (
        not key.version or found.lower() == key.kid.lower()
    )
    if asked_kid.rstrip("/").lower() not in wanted or not version_fits:
        raise SkrFailure(
            "response_key_mismatch",
            f"The release answer is for {found}, wanted {key.kid}.",
            {"found": found, "wanted": key.kid, "request_kid": asked_kid},
        )
    if asked_nonce != nonce:
        raise SkrFailure(
            "response_nonce_mismatch", "The release answer carries another nonce than this request.", {"kid": found}
        )
    if asked_enc != algorithm or inner_enc != algorithm:
        raise SkrFailure(
            "wrap_algorithm_mismatch",
            f"The key is wrapped with {inner_enc!r}, wanted {algorithm!r}.",
            {"found": inner_enc},
        )
    if inner_kid != jwt.KEY_KID:
        raise SkrFailure(
            "response_key_mismatch",
            f"The key is wrapped to {inner_kid!r}, wanted {jwt.KEY_KID!r}.",
            {"found": inner_kid},
        )
    return Answer(found, jwk, attributes, ciphertext)


def _untrusted(why: str) -> SkrFailure:
    return SkrFailure("response_chain_untrusted", f"The release answer's certificate chain is not trusted: {why}.")
