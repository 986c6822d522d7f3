# SPDX-License-Identifier: GPL-3.0-or-later
"""A throw-away authority with a certificate for signing attestation policies, and the tokens it makes."""

from __future__ import annotations

import base64
import datetime
import json
import typing as t

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID


def b64u(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def token(header: t.Any, payload: bytes, signature: bytes = b"") -> str:
    return ".".join((b64u(json.dumps(header).encode()), b64u(payload), b64u(signature)))


def payload(text: str) -> bytes:
    return json.dumps({"AttestationPolicy": b64u(text.encode())}).encode()


def unsecured(text: str | None) -> str:
    """``None``: for a reset."""
    return token({"alg": "none"}, b"" if text is None else payload(text))


class Signer:
    """``authority=False``: the root lacks the mark of a CA."""

    def __init__(self, authority: bool = True) -> None:
        self._root, self.key = (rsa.generate_private_key(65537, 2048) for _unused in range(2))
        self.ca = self._certificate("SIMULATED policy CA", self._root, "SIMULATED policy CA", authority)
        self.leaf = self._certificate("SIMULATED policy signer", self.key, "SIMULATED policy CA", False)
        self.ca_der = self.ca.public_bytes(serialization.Encoding.DER)

    def _certificate(self, name: str, key: rsa.RSAPrivateKey, issuer: str, authority: bool) -> x509.Certificate:
        now = datetime.datetime.now(datetime.timezone.utc)
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=30))
            .add_extension(x509.BasicConstraints(authority, None), critical=True)
            .sign(self._root, hashes.SHA256())
        )

    def sign(self, text: str | None, *, chain: t.Sequence[x509.Certificate] | None = None, spoil: bool = False) -> str:
        certificates = [self.leaf, self.ca] if chain is None else chain
        x5c = [base64.b64encode(one.public_bytes(serialization.Encoding.DER)).decode() for one in certificates]
        header, body = {"alg": "RS256", "x5c": x5c}, b"" if text is None else payload(text)
        signed = token(header, body).rpartition(".")[0]
        signature = bytearray(self.key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))
        signature[9] ^= spoil
        return token(header, body, bytes(signature))

    def pem(self, certificate: x509.Certificate) -> str:
        return certificate.public_bytes(serialization.Encoding.PEM).decode()

    def key_pem(self, password: str | None = None) -> str:
        how = serialization.BestAvailableEncryption(password.encode()) if password else serialization.NoEncryption()
        return self.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how).decode()
