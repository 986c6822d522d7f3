# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The certificate of the vTPM's attestation key."""

from __future__ import annotations

import dataclasses
import time
import typing as t

from ..policy.failure import SkrFailure
from . import crypto, der


@dataclasses.dataclass(frozen=True)
class AkCertificate:
    """The certificate, trimmed to its DER length, and its dates (Unix seconds)."""

    der: bytes
    subject: str
    issuer: str
    not_before: float
    not_after: float

    def days_left(self, now: t.Optional[float] = None) -> int:
        return int((self.not_after - (time.time() if now is None else now)) // 86400)


def parse(content: bytes, ak_modulus: int, now: t.Optional[float] = None) -> AkCertificate:
    """Read the NV content (padded with zeros behind the certificate) and check it against the attestation key.

    Raises SkrFailure ``ak_cert_invalid`` or ``ak_cert_expired``.
    """
    now = time.time() if now is None else now
    try:
        certificate = der.certificate(content)
        key = crypto.load_der_public_key(certificate.public_key)
    except (der.DerError, ValueError, crypto.UnsupportedAlgorithm) as error:
        raise SkrFailure("ak_cert_invalid", f"The AK certificate cannot be read: {error}.") from error
    if not isinstance(key, crypto.rsa.RSAPublicKey) or key.public_numbers().n != ak_modulus:
        raise SkrFailure("ak_cert_invalid", "The AK certificate is not for the attestation key at 0x81000003.")
    found = AkCertificate(
        certificate.der,
        certificate.common_name(),
        certificate.common_name("issuer"),
        certificate.not_before,
        certificate.not_after,
    )
    facts = {"not_before": iso(found.not_before), "not_after": iso(found.not_after), "vm_clock": iso(now)}
    if now > found.not_after:
        raise SkrFailure("ak_cert_expired", f"The AK certificate expired at {iso(found.not_after)}.", facts)
    if now < found.not_before:
        raise SkrFailure("ak_cert_invalid", f"The AK certificate is valid from {iso(found.not_before)} only.", facts)
    return found


def iso(seconds: float) -> str:
    """Unix seconds as text in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
