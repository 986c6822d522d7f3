# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The public half of a key as PEM and fingerprint."""

from __future__ import annotations

import base64
import hashlib
import typing as t


def public_key(jwk: t.Any) -> t.Dict[str, str]:
    """PEM and fingerprint (SHA-256 of the DER SubjectPublicKeyInfo, hex) of a JSON Web Key; nothing of an oct key."""
    if not jwk.n and not jwk.x:
        return {}
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    key: t.Any
    if jwk.n:
        key = rsa.RSAPublicNumbers(int.from_bytes(jwk.e, "big"), int.from_bytes(jwk.n, "big")).public_key()
    else:
        curves: t.Dict[str, t.Callable[[], ec.EllipticCurve]] = {
            "P-256": ec.SECP256R1,
            "P-256K": ec.SECP256K1,
            "P-384": ec.SECP384R1,
            "P-521": ec.SECP521R1,
        }
        curve = curves[str(getattr(jwk.crv, "value", jwk.crv))]()
        key = ec.EllipticCurvePublicNumbers(
            int.from_bytes(jwk.x, "big"), int.from_bytes(jwk.y, "big"), curve
        ).public_key()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    der = key.public_bytes(serialization.Encoding.DER, form)
    text = base64.b64encode(der).decode("ascii")
    lines = "\n".join(text[start : start + 64] for start in range(0, len(text), 64))
    pem = f"-----BEGIN PUBLIC KEY-----\n{lines}\n-----END PUBLIC KEY-----\n"
    return {"public_key_pem": pem, "public_key_sha256": hashlib.sha256(der).hexdigest()}
