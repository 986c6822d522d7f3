# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the wrapped key to a usable one: OAEP in the TPM, AES key wrap with padding (RFC 5649), PKCS#8."""

from __future__ import annotations

import contextlib
import hashlib
import typing as t

from ..policy.failure import SkrFailure
from . import crypto, jwt

OAEP_HASH = {"CKM_RSA_AES_KEY_WRAP": "sha1", "RSA_AES_KEY_WRAP_256": "sha256", "RSA_AES_KEY_WRAP_384": "sha384"}
_KEK_SIZE = 256
_CURVES = {"P-256": "secp256r1", "P-256K": "secp256k1", "P-384": "secp384r1", "P-521": "secp521r1"}

if t.TYPE_CHECKING:
    PrivateKey = t.Union[crypto.rsa.RSAPrivateKey, crypto.ec.EllipticCurvePrivateKey]


def unwrap(ciphertext: bytes, algorithm: str, decrypt: t.Callable[[bytes, str], bytes]) -> bytes:
    """The wrapped bytes: ``decrypt(cipher, hash_name)`` is OAEP by the ephemeral key. Raises SkrFailure ``unwrap_failed``."""
    if len(ciphertext) < _KEK_SIZE + 16 or (len(ciphertext) - _KEK_SIZE) % 8:
        raise SkrFailure("unwrap_failed", f"The wrapped key has an impossible length of {len(ciphertext)} bytes.")
    try:
        kek = decrypt(ciphertext[:_KEK_SIZE], OAEP_HASH[algorithm])
    except SkrFailure as error:
        if error.reason == "tpm_error":
            raise SkrFailure(
                "unwrap_failed", "The key was not wrapped to this VM's ephemeral key with the algorithm asked."
            ) from error
        raise
    if len(kek) != 32:
        raise SkrFailure("unwrap_failed", f"The wrapping AES key has {len(kek)} bytes, wanted 32.")
    try:
        return crypto.aes_key_unwrap_with_padding(kek, ciphertext[_KEK_SIZE:])
    except (crypto.InvalidUnwrap, ValueError) as error:
        raise SkrFailure("unwrap_failed", "The key wrap is broken: its integrity check failed.") from error


def load(material: bytes, jwk: t.Mapping[str, t.Any]) -> PrivateKey:
    """The private key (PKCS#8, or PKCS#1 and SEC 1), which must fit the public half in the answer.

    Raises SkrFailure ``unwrap_failed`` or ``response_key_mismatch``.
    """
    try:
        key = _parsed(crypto.serialization.load_der_private_key, material)
    except (ValueError, TypeError, crypto.UnsupportedAlgorithm) as error:
        raise SkrFailure("unwrap_failed", f"The released {jwk.get('kty')} key cannot be read.") from error
    if isinstance(key, crypto.rsa.RSAPrivateKey) and not _consistent(key):
        raise SkrFailure("unwrap_failed", "The released RSA key is not whole: its numbers do not fit together.")
    if not isinstance(key, (crypto.rsa.RSAPrivateKey, crypto.ec.EllipticCurvePrivateKey)) or not _fits(key, jwk):
        raise SkrFailure(
            "response_key_mismatch", "The released private key does not belong to the public key in the answer."
        )
    return key


def _parsed(loader: t.Callable[..., t.Any], content: bytes) -> t.Any:
    """The key, without the library's search for primes, where it can be left out: that takes longer than all else here.

    What comes from a vault is protected against change on its way, and :func:`_consistent` looks at it instead.
    """
    try:
        return loader(content, None, unsafe_skip_rsa_key_validation=True)
    except TypeError:  # cryptography before 39, or a key with a password, which the second call tells
        with _unsearched():
            return loader(content, None)


@contextlib.contextmanager
def _unsearched() -> t.Iterator[None]:
    """What ``unsafe_skip_rsa_key_validation`` became was a switch of the library's backend until 38; else all is checked."""
    switched: t.Any = None
    with contextlib.suppress(ImportError):
        from cryptography.hazmat.backends.openssl.backend import backend as switched
    if not hasattr(switched, "_rsa_skip_check_key"):
        yield
        return
    before, switched._rsa_skip_check_key = switched._rsa_skip_check_key, True
    try:
        yield
    finally:
        switched._rsa_skip_check_key = before


def _consistent(key: crypto.rsa.RSAPrivateKey) -> bool:
    """Whether the numbers of an RSA key belong together (RFC 8017, 3.2); not whether its primes are prime."""
    one = key.private_numbers()
    n, e, p, q = one.public_numbers.n, one.public_numbers.e, one.p, one.q
    return (
        p > 1
        and q > 1
        and p * q == n
        and one.iqmp * q % p == 1
        and (one.dmp1, one.dmq1) == (one.d % (p - 1), one.d % (q - 1))
        and e * one.dmp1 % (p - 1) == 1
        and e * one.dmq1 % (q - 1) == 1
    )


def _fits(key: PrivateKey, jwk: t.Mapping[str, t.Any]) -> bool:
    try:
        if isinstance(key, crypto.rsa.RSAPrivateKey):
            numbers = key.public_key().public_numbers()
            return (numbers.n, numbers.e) == (_integer(jwk["n"]), _integer(jwk["e"]))
        # Computed anew: the DER states the public point too, and older libraries believe it.
        number = key.private_numbers().private_value
        point = crypto.ec.derive_private_key(number, key.curve).public_key().public_numbers()
        return (point.x, point.y) == (_integer(jwk["x"]), _integer(jwk["y"])) and key.curve.name == _CURVES.get(
            jwk["crv"]
        )
    except (KeyError, TypeError, ValueError):
        return False


def _integer(text: str) -> int:
    return int.from_bytes(jwt.decode(text), "big")


def pem(key: PrivateKey) -> bytearray:
    """PKCS#8 PEM, without a password: the file's mode and its memory-backed place protect it."""
    return bytearray(
        key.private_bytes(
            crypto.serialization.Encoding.PEM,
            crypto.serialization.PrivateFormat.PKCS8,
            crypto.serialization.NoEncryption(),
        )
    )


def public_facts(key: PrivateKey) -> t.Dict[str, str]:
    """PEM of the public half, and the SHA-256 of its DER (SubjectPublicKeyInfo) in hex."""
    public = key.public_key()
    info = crypto.serialization.PublicFormat.SubjectPublicKeyInfo
    return {
        "public_key_pem": public.public_bytes(crypto.serialization.Encoding.PEM, info).decode("ascii"),
        "public_key_sha256": hashlib.sha256(public.public_bytes(crypto.serialization.Encoding.DER, info)).hexdigest(),
    }


def fingerprint_of_pem(content: bytes) -> t.Optional[str]:
    """The public fingerprint of a private key file; None when it is no such file."""
    try:
        key = _parsed(crypto.serialization.load_pem_private_key, content)
    except (ValueError, TypeError, crypto.UnsupportedAlgorithm):
        return None
    return (
        public_facts(key)["public_key_sha256"]
        if isinstance(key, (crypto.rsa.RSAPrivateKey, crypto.ec.EllipticCurvePrivateKey))
        else None
    )


def wipe(*buffers: bytearray) -> None:
    """Overwrite key material as far as Python lets us; copies inside libraries are out of reach."""
    for buffer in buffers:
        buffer[:] = bytes(len(buffer))
