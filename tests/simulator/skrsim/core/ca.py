# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's certificate authority: verified TLS everywhere, with names nobody can mistake for Azure's."""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
import ssl
import threading
import typing as t
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_SYSTEM_BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")


def name(common: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, common),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "SIMULATED, not Azure"),
        ]
    )


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


class LabCA:
    """A throw-away authority. Certificates are dated around real time, whatever the simulated clock says."""

    def __init__(self, directory: Path, label: str = "SIMULATED lab CA") -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self._certificate(name(label), self._key.public_key(), None, [])
        self.ca_pem = pem(self.certificate)
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._signing: dict[str, tuple[rsa.RSAPrivateKey, list[x509.Certificate]]] = {}
        self._lock = threading.Lock()

    def _certificate(
        self, subject: x509.Name, key: t.Any, issuer: x509.Name | None, names: t.Sequence[str]
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.timezone.utc)
        authority = not names
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer or subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=90))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        )
        if issuer is not None:
            builder = builder.add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
        usage = dict.fromkeys(
            [
                "content_commitment",
                "key_encipherment",
                "data_encipherment",
                "key_agreement",
                "encipher_only",
                "decipher_only",
            ],
            False,
        )
        builder = builder.add_extension(
            x509.KeyUsage(digital_signature=not authority, key_cert_sign=authority, crl_sign=authority, **usage),
            critical=True,
        )
        if names:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_general(entry) for entry in names]), critical=False
            )
            builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        return builder.sign(self._key, hashes.SHA256())

    def context(self, host: str) -> ssl.SSLContext:
        """A server context with a leaf for one host; made once per host."""
        with self._lock:
            if host not in self._contexts:
                key = ec.generate_private_key(ec.SECP256R1())
                leaf = self._certificate(name(host), key.public_key(), self.certificate.subject, [host])
                path = self.directory / f"leaf-{len(self._contexts)}.pem"
                private = key.private_bytes(
                    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
                )
                path.touch(mode=0o600)
                path.write_bytes(private + pem(leaf) + self.ca_pem)
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(path)
                context.set_alpn_protocols(["http/1.1"])
                self._contexts[host] = context
                path.unlink()
            return self._contexts[host]

    def signing(self, service: str = "vault.azure.net") -> tuple[rsa.RSAPrivateKey, list[x509.Certificate]]:
        """Key and chain with which a vault or HSM signs released keys: one RSA leaf for each service, leaf first."""
        with self._lock:
            if service not in self._signing:
                self._signing[service] = self.signing_for([f"*.{service}", service])
            return self._signing[service]

    def signing_for(self, names: list[str]) -> tuple[rsa.RSAPrivateKey, list[x509.Certificate]]:
        """A new RSA leaf for these names, with its chain."""
        key = rsa.generate_private_key(65537, 2048)
        leaf = self._certificate(name(names[-1]), key.public_key(), self.certificate.subject, names)
        return key, [leaf, self.certificate]

    def bundle(self, path: Path) -> Path:
        """Write the system's CA bundle and this authority into one file."""
        system = next((Path(found).read_bytes() for found in _SYSTEM_BUNDLES if Path(found).exists()), b"")
        path.write_bytes(system.rstrip(b"\n") + b"\n" + self.ca_pem)
        return path

    def hashed(self, directory: Path) -> Path:
        """Write this authority under the name by which OpenSSL finds it in a folder, as distributions do beside a bundle."""
        path = directory / f"{_name_hash(self.certificate.subject)}.0"
        path.write_bytes(self.ca_pem)
        return path


def _name_hash(subject: x509.Name) -> str:
    """OpenSSL's X509_NAME_hash of the names made here: ASCII, without spaces at the ends or two in a row."""
    oids = {NameOID.COMMON_NAME: b"\x55\x04\x03", NameOID.ORGANIZATION_NAME: b"\x55\x04\x0a"}
    canonical = b""
    for attribute in subject:
        text = str(attribute.value).lower().encode("ascii")
        pair = _tlv(0x06, oids[attribute.oid]) + _tlv(0x0C, text)
        canonical += _tlv(0x31, _tlv(0x30, pair))
    return hashlib.sha1(canonical, usedforsecurity=False).digest()[3::-1].hex()


def _tlv(tag: int, content: bytes) -> bytes:
    assert len(content) < 128
    return bytes([tag, len(content)]) + content


def _general(entry: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(entry))
    except ValueError:
        return x509.DNSName(entry)
