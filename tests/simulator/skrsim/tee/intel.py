# SPDX-License-Identifier: GPL-3.0-or-later
"""A throw-away hierarchy after Intel's: root, platform CA, and the PCK certificates of hosts.

Format: Intel "SGX PCK Certificate and Certificate Revocation List Profile Specification".
"""

from __future__ import annotations

import os

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ObjectIdentifier

from .certificates import builder, integer, name, tlv

_SGX = "1.2.840.113741.1.13.1"
FMSPC = bytes.fromhex("00806f050000")


class Intel:
    """Made anew with every lab: keys on P-256 cost nothing."""

    def __init__(self) -> None:
        self._root_key, self._ca_key = (ec.generate_private_key(ec.SECP256R1()) for _number in range(2))
        root, authority = (name(common, "Intel") for common in ("Intel SGX Root CA", "Intel SGX PCK Platform CA"))
        self.root = self._sign(builder(root, root, self._root_key.public_key(), 9000), self._root_key, True)
        self.ca = self._sign(builder(authority, root, self._ca_key.public_key(), 5000), self._root_key, True)

    @staticmethod
    def _sign(draft: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey, authority: bool) -> x509.Certificate:
        draft = draft.serial_number(x509.random_serial_number())
        draft = draft.add_extension(x509.BasicConstraints(ca=authority, path_length=None), True)
        return draft.sign(key, hashes.SHA256())

    @property
    def root_pem(self) -> str:
        return _pem(self.root)

    def pck_chain(self, key: ec.EllipticCurvePublicKey, cpu_svn: bytes) -> str:
        """PEM text of a new PCK certificate and its chain, leaf first."""
        draft = builder(name("Intel SGX PCK Certificate", "Intel"), self.ca.subject, key, 2500)
        content = x509.UnrecognizedExtension(ObjectIdentifier(_SGX), _platform(cpu_svn))
        leaf = self._sign(draft.add_extension(content, False), self._ca_key, False)
        return _pem(leaf) + _pem(self.ca) + self.root_pem


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _object(identifier: str) -> bytes:
    parts = [int(part) for part in identifier.split(".")]
    content = bytes([40 * parts[0] + parts[1]])
    for part in parts[2:]:
        groups = [part & 0x7F]
        while part := part >> 7:
            groups.append(part & 0x7F | 0x80)
        content += bytes(reversed(groups))
    return tlv(0x06, content)


def _pair(identifier: str, value: bytes) -> bytes:
    return tlv(0x30, _object(identifier) + value)


def _platform(cpu_svn: bytes) -> bytes:
    """The extension that says which platform a PCK certificate is for (section 1.3.5 of the profile)."""
    components = [_pair(f"{_SGX}.2.{number}", integer(svn)) for number, svn in enumerate(cpu_svn, 1)]
    components += [_pair(f"{_SGX}.2.17", integer(13)), _pair(f"{_SGX}.2.18", tlv(0x04, cpu_svn))]
    return tlv(
        0x30,
        _pair(f"{_SGX}.1", tlv(0x04, os.urandom(16)))
        + _pair(f"{_SGX}.2", tlv(0x30, b"".join(components)))
        + _pair(f"{_SGX}.3", tlv(0x04, b"\0\0"))
        + _pair(f"{_SGX}.4", tlv(0x04, FMSPC))
        + _pair(f"{_SGX}.5", tlv(0x0A, b"\x01")),
    )
