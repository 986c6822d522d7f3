# SPDX-License-Identifier: GPL-3.0-or-later
"""The authority that certifies the attestation keys of virtual TPMs, and what its certificates say."""

from __future__ import annotations

import datetime
import re

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID, ObjectIdentifier

from .certificates import builder, name

_SUFFIX = ".TrustedVM.Azure.Microsoft"
_USAGES = ("1.3.6.1.4.1.311.10.3.12", "2.23.133.8.3")


class VtpmAuthority:
    """Issues the certificates of attestation keys."""

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(65537, 2048)
        subject = name("Global Virtual TPM CA - 01", "Microsoft")
        self.certificate = (
            builder(subject, subject, self._key.public_key(), 3000)
            .serial_number(1)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
            .sign(self._key, hashes.SHA256())
        )

    def issue(self, modulus: int, label: str, now: float, days: int = 365) -> bytes:
        """DER of an AK certificate, valid from a day before ``now``."""
        at = datetime.datetime.fromtimestamp(now, datetime.timezone.utc)
        usages = x509.ExtendedKeyUsage([ObjectIdentifier(usage) for usage in _USAGES])
        made = (
            x509.CertificateBuilder()
            .subject_name(name(f"{label}{_SUFFIX}", "Microsoft"))
            .issuer_name(self.certificate.subject)
            .public_key(rsa.RSAPublicNumbers(65537, modulus).public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(at - datetime.timedelta(days=1))
            .not_valid_after(at + datetime.timedelta(days=days))
            .add_extension(usages, False)
            .sign(self._key, hashes.SHA256())
        )
        return made.public_bytes(serialization.Encoding.DER)

    def modulus_of(self, der: bytes) -> int:
        """The key that a certificate of this authority is for. Raises ValueError when it is none of its own."""
        certificate = x509.load_der_x509_certificate(der)
        try:
            certificate.verify_directly_issued_by(self.certificate)
        except (TypeError, InvalidSignature):
            raise ValueError("the certificate is of another authority") from None
        key = certificate.public_key()
        if not isinstance(key, rsa.RSAPublicKey):
            raise ValueError("the certificate is for no RSA key")
        return key.public_numbers().n


def vm_id(certificate: x509.Certificate) -> str:
    """The VM that an AK certificate names, as a GUID in upper case; empty when its name is another."""
    common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
    found = re.fullmatch(
        r"([0-9a-f]{8})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{12})", str(common).removesuffix(_SUFFIX)
    )
    return "-".join(found.groups()).upper() if found else ""
