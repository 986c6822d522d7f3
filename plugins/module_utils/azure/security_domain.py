# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The security domain of a managed HSM: certificates, keys and the file it is kept in. All files are of mode 0600.

The domain is everything the HSM is, encrypted so that a quorum of private keys is needed to open it. Who loses it
loses the HSM's keys with the HSM; who has it and a quorum of keys has the HSM. Nothing of it leaves these files.
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import os
import tempfile
import typing as t

from ..policy.failure import SkrFailure

LEAST, MOST = 3, 10
_MODE = 0o600
_KEY_SIZE = 4096
_DAYS = 3650


def certificates(paths: t.Sequence[str]) -> t.List[t.Any]:
    """The certificates of PEM or DER files. Raises SkrFailure ``invalid_input``."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import rsa

    if not LEAST <= len(paths) <= MOST:
        raise _wrong("security_domain_certificates", len(paths), f"{LEAST} to {MOST} files")
    found, moduli = [], set()
    for path in paths:
        try:
            with open(path, "rb") as stream:
                content = stream.read()
            pem = b"-----BEGIN" in content
            made = x509.load_pem_x509_certificate(content) if pem else x509.load_der_x509_certificate(content)
        except (OSError, ValueError) as error:
            raise _wrong("security_domain_certificates", path, "a readable certificate in PEM or DER") from error
        key = made.public_key()
        if not isinstance(key, rsa.RSAPublicKey) or key.key_size < 2048:
            raise _wrong("security_domain_certificates", path, "the certificate of an RSA key of 2048 bits or more")
        found.append(made)
        moduli.add(key.public_numbers().n)
    if len(moduli) != len(found):
        raise _wrong("security_domain_certificates", "one key twice", "certificates of different keys")
    return found


def _wrong(option: str, found: t.Any, wanted: str) -> SkrFailure:
    return SkrFailure("invalid_input", f"{option} is {found!r}, wanted {wanted}.", {"option": option})


def jwk(certificate: t.Any) -> t.Dict[str, t.Any]:
    """A certificate as the service takes it (RFC 7517, with x5c and both thumbprints)."""
    from cryptography.hazmat.primitives import hashes, serialization

    numbers = certificate.public_key().public_numbers()
    thumbprint = _b64u(certificate.fingerprint(hashes.SHA256()))
    return {
        "kid": thumbprint,
        "kty": "RSA",
        "key_ops": ["verify", "encrypt", "wrapKey"],
        "n": _b64u(numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8, "big")),
        "e": _b64u(numbers.e.to_bytes((numbers.e.bit_length() + 7) // 8, "big")),
        "x5c": [base64.b64encode(certificate.public_bytes(serialization.Encoding.DER)).decode("ascii")],
        "use": "enc",
        "x5t": _b64u(certificate.fingerprint(hashes.SHA1())),  # noqa: S303 - the field is defined so
        "x5t#S256": thumbprint,
        "alg": "RSA-OAEP-256",
    }


def _b64u(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


# --- keys made here


def planned(directory: str, count: int) -> t.List[t.Tuple[str, str]]:
    """The files that ``generate`` makes: of each key its private file and its certificate."""
    names = [os.path.join(directory, f"security-domain-{number}") for number in range(1, count + 1)]
    return [(f"{name}.key", f"{name}.pem") for name in names]


def generate(directory: str, count: int, passphrase: t.Optional[str]) -> t.List[str]:
    """Make so many keys with self-signed certificates; returns the paths of the certificates.

    A file that is there is never overwritten: keys of an earlier run that came to nothing are used again.
    """
    if not os.path.isdir(directory):
        raise _wrong("security_domain_keys_dir", directory, "a folder that exists")
    pairs = planned(directory, count)
    for private, certificate in pairs:
        there = [path for path in (private, certificate) if os.path.lexists(path)]
        if len(there) == 1:
            raise SkrFailure(
                "security_domain", f"{there[0]} is there without its other half; it is not touched.", {"path": there[0]}
            )
        if not there:
            _generate(private, certificate, passphrase)
    return [certificate for _private, certificate in pairs]


def _generate(private: str, certificate: str, passphrase: t.Optional[str]) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=_KEY_SIZE)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, os.path.basename(certificate)[: -len(".pem")])])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=_DAYS))
        .sign(key, hashes.SHA256())
    )
    protection: t.Any = serialization.NoEncryption()
    if passphrase:
        protection = serialization.BestAvailableEncryption(passphrase.encode())
    pem = serialization.Encoding.PEM
    write_new(private, key.private_bytes(pem, serialization.PrivateFormat.PKCS8, protection))
    write_new(certificate, made.public_bytes(pem))


# --- files


def reserve(path: str) -> t.Tuple[int, str]:
    """A file beside the place, open and of no use to others, made before the domain is asked for.

    So a full disk or a missing right is found while nothing has been done. Raises SkrFailure ``security_domain``.
    """
    if os.path.lexists(path):
        raise SkrFailure("security_domain", f"{path} is there already and is not overwritten.", {"path": path})
    try:
        return tempfile.mkstemp(prefix=".security-domain-", dir=os.path.dirname(path) or ".")
    except OSError as error:
        raise SkrFailure("security_domain", f"{path} cannot be written: {error.strerror}.", {"path": path}) from error


def keep(descriptor: int, temporary: str, path: str, content: bytes) -> None:
    """Fill the reserved file and give it its name, which nobody may have taken meanwhile."""
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            os.fchmod(stream.fileno(), _MODE)
            stream.flush()
            os.fsync(stream.fileno())
        os.link(temporary, path)
    except OSError as error:
        raise SkrFailure("security_domain", f"{path} cannot be written: {error.strerror}.", {"path": path}) from error
    finally:
        drop(temporary)


def drop(temporary: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)


def write_new(path: str, content: bytes) -> None:
    descriptor, temporary = reserve(path)
    keep(descriptor, temporary, path, content)
