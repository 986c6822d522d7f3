# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the chains of certificates have in common: who may issue, and whether a signature of an issuer verifies.

Certificates are read by ``der``; RFC 5280 is followed as far as chains of a few certificates need it.
"""

from __future__ import annotations

import typing as t

from . import crypto, der

_RSA = {
    "1.2.840.113549.1.1.11": "SHA256",
    "1.2.840.113549.1.1.12": "SHA384",
    "1.2.840.113549.1.1.13": "SHA512",
}
_ECDSA = {
    "1.2.840.10045.4.3.2": "SHA256",
    "1.2.840.10045.4.3.3": "SHA384",
    "1.2.840.10045.4.3.4": "SHA512",
}
_BASIC_CONSTRAINTS = "2.5.29.19"
_KEY_USAGE, _NAME_CONSTRAINTS = "2.5.29.15", "2.5.29.30"
_KEY_CERT_SIGN = 0x04  # bit 5 of KeyUsage


def is_ca(certificate: der.Certificate, below: int = 0) -> bool:
    """Whether it may issue certificates, with so many authorities between it and the leaf (RFC 5280, 4.2.1.3 and .9).

    Name constraints (4.2.1.10) are not evaluated here, so an authority that has them counts as none.
    """
    content = certificate.extensions.get(_BASIC_CONSTRAINTS)
    if content is None or _NAME_CONSTRAINTS in certificate.extensions:
        return False
    fields = der.children(der.expect(content, der.SEQUENCE).content)
    if not fields or fields[0].whole != b"\x01\x01\xff":
        return False
    if len(fields) > 1 and int.from_bytes(fields[1].content, "big") < below:
        return False
    usage = certificate.extensions.get(_KEY_USAGE)
    return usage is None or bool(der.expect(usage, der.BITS).content[1] & _KEY_CERT_SIGN)


def public_key(certificate: der.Certificate) -> t.Any:
    """The key of a certificate; None when it is of a kind that nobody here can verify with."""
    try:
        return crypto.load_der_public_key(certificate.public_key)
    except (ValueError, crypto.UnsupportedAlgorithm):
        return None


def issued(subject: der.Certificate, issuer: der.Certificate, below: int) -> bool:
    """Whether ``issuer``, with so many authorities below it, signed ``subject`` and was allowed to."""
    if subject.issuer != issuer.subject or not is_ca(issuer, below):
        return False
    key = public_key(issuer)
    algorithm = subject.signature_algorithm
    try:
        if isinstance(key, crypto.rsa.RSAPublicKey) and algorithm in _RSA:
            key.verify(
                subject.signature, subject.tbs, crypto.padding.PKCS1v15(), getattr(crypto.hashes, _RSA[algorithm])()
            )
        elif isinstance(key, crypto.ec.EllipticCurvePublicKey) and algorithm in _ECDSA:
            key.verify(subject.signature, subject.tbs, crypto.ec.ECDSA(getattr(crypto.hashes, _ECDSA[algorithm])()))
        else:
            return False
    except crypto.InvalidSignature:
        return False
    return True


def out_of_date(chain: t.Iterable[der.Certificate], now: float) -> t.List[der.Certificate]:
    """Those that have expired or are not valid yet."""
    return [one for one in chain if not one.not_before <= now <= one.not_after]
