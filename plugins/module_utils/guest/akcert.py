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
from . import certificates, crypto, der

RENEWAL_DAYS = 90  # Microsoft's clients renew from here on
UNVERIFIED = "unverified issuer"
_MAX_PATH = 5


@dataclasses.dataclass(frozen=True)
class AkCertificate:
    """The certificate, trimmed to its DER length, and its dates (Unix seconds)."""

    der: bytes
    subject: str
    issuer: str
    not_before: float
    not_after: float
    modulus: int

    @property
    def renewal_due(self) -> bool:
        return self.days_left() <= RENEWAL_DAYS

    def warning(self) -> t.Optional[str]:
        """A sentence where renewal is due."""
        days = self.days_left()
        if days > RENEWAL_DAYS:
            return None
        return (
            f"The AK certificate of this VM has {days} days left (until {iso(self.not_after)}). The platform renews it; "
            "where it does not, set renew_ak_certificate to when_due, or redeploy the VM."
        )

    def facts(self, now: t.Optional[float] = None) -> t.Dict[str, t.Any]:
        """Public facts. The issuer is only named: its authority is checked where somebody gives it."""
        return {
            "ak_cert_subject": self.subject,
            "ak_cert_issuer": self.issuer,
            "ak_cert_issuer_status": UNVERIFIED,
            "ak_cert_not_after": iso(self.not_after),
            "ak_cert_days_left": self.days_left(now),
            "ak_cert_renewal_due": self.days_left(now) <= RENEWAL_DAYS,
        }

    def days_left(self, now: t.Optional[float] = None) -> int:
        return int((self.not_after - (time.time() if now is None else now)) // 86400)


def parse(content: bytes, ak_modulus: int, now: t.Optional[float] = None) -> AkCertificate:
    """Read the NV content (padded with zeros behind the certificate) and check it against the attestation key.

    Raises SkrFailure ``ak_cert_invalid`` or ``ak_cert_expired``.
    """
    found = read(content, ak_modulus)
    check_dates(found, now)
    return found


def read(content: bytes, ak_modulus: t.Optional[int]) -> AkCertificate:
    """The certificate whatever its dates; for any key where ``ak_modulus`` is None. Raises ``ak_cert_invalid``."""
    try:
        certificate = der.certificate(content)
        key = crypto.load_der_public_key(certificate.public_key)
    except (der.DerError, ValueError, crypto.UnsupportedAlgorithm) as error:
        raise SkrFailure("ak_cert_invalid", f"The AK certificate cannot be read: {error}.") from error
    modulus = key.public_numbers().n if isinstance(key, crypto.rsa.RSAPublicKey) else 0
    if not modulus or ak_modulus not in (None, modulus):
        raise SkrFailure("ak_cert_invalid", "The AK certificate is not for the attestation key at 0x81000003.")
    return AkCertificate(
        certificate.der,
        certificate.common_name(),
        certificate.common_name("issuer"),
        certificate.not_before,
        certificate.not_after,
        modulus,
    )


def check_dates(found: AkCertificate, now: t.Optional[float] = None) -> None:
    """Raises SkrFailure ``ak_cert_expired``, or ``ak_cert_invalid`` where it is not valid yet."""
    now = time.time() if now is None else now
    facts = {"not_before": iso(found.not_before), "not_after": iso(found.not_after), "vm_clock": iso(now)}
    if now > found.not_after:
        raise SkrFailure("ak_cert_expired", f"The AK certificate expired at {iso(found.not_after)}.", facts)
    if now < found.not_before:
        raise SkrFailure("ak_cert_invalid", f"The AK certificate is valid from {iso(found.not_before)} only.", facts)


def check_issuer(found: AkCertificate, roots_pem: str, now: t.Optional[float] = None) -> t.List[str]:
    """The certificate was issued by one of ``roots_pem``, directly or through authorities that are among them too.

    Every certificate that is given is trusted, so the authority alone is enough. Returns the names on the way, the
    trusted one last. With ``now`` they must be in date. Raises SkrFailure ``ak_cert_issuer`` or ``invalid_input``.
    """
    try:
        given = [der.certificate(block) for block in der.pem_certificates(roots_pem)]
    except (der.DerError, ValueError) as error:
        raise SkrFailure(
            "invalid_input",
            f"ak_roots_path does not hold PEM certificates ({error}).",
            {"option": "ak_roots_path"},
        ) from error
    if not given:
        raise SkrFailure("invalid_input", "ak_roots_path holds no certificate.", {"option": "ak_roots_path"})
    if now is not None:
        outdated = certificates.out_of_date(given, now)
        given = [one for one in given if one not in outdated]
    subject = der.certificate(found.der)
    names: t.List[str] = []
    for below in range(_MAX_PATH):
        issuer = next((one for one in given if _issued(subject, one, below)), None)
        if issuer is None:
            break
        names.append(issuer.common_name())
        if issuer.subject == issuer.issuer:
            break
        subject = issuer
    if not names:
        raise SkrFailure(
            "ak_cert_issuer",
            f"The AK certificate was issued by {found.issuer!r}, which is none of the given authorities.",
            {"issuer": found.issuer, "given": [one.common_name() for one in given]},
        )
    return names


def _issued(subject: der.Certificate, issuer: der.Certificate, below: int) -> bool:
    try:
        return certificates.issued(subject, issuer, below)
    except (ValueError, IndexError):
        return False  # an authority that this reader cannot read is one that is not used


def iso(seconds: float) -> str:
    """Unix seconds as text in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
