# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Key material that is brought along: read, checked against what is wanted, and given to the service once.

It comes from a file or a variable on the controller and is shown nowhere: no message, result or log quotes any of it.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import typing as t

from ..policy.failure import SkrFailure
from .key_target import invalid

_CURVES = {"secp256r1": "P-256", "secp256k1": "P-256K", "secp384r1": "P-384", "secp521r1": "P-521"}


@dataclasses.dataclass(frozen=True)
class Material:
    """A private key object of cryptography, or the bytes of an oct key; ``option`` names where it came from."""

    option: str
    key: t.Any = dataclasses.field(repr=False)
    replace: bool = False  # whether other material than the latest version's makes a new version


def read(options: t.Mapping[str, t.Any]) -> t.Optional[Material]:
    """The material of the options ``import_*``; None without. Raises SkrFailure ``invalid_input``.

    A file holds PEM, or for an oct key its bytes; a variable holds PEM, or for an oct key its bytes in base64.
    """
    path, text = options["import_file"], options["import_material"]
    if path is None and text is None:
        return None
    option, oct_key = ("import_file" if path else "import_material"), options["key_type"] == "oct-HSM"
    try:
        if path is not None:
            with open(path, "rb") as stream:
                content = stream.read()
        else:
            content = base64.b64decode(str(text), validate=True) if oct_key else str(text).encode()
    except (OSError, binascii.Error, ValueError):
        wanted = "a readable file" if path else "the key's bytes in base64"
        shown = repr(path) if path else "not what it should be"
        raise SkrFailure("invalid_input", f"{option} is {shown}, wanted {wanted}.", {"option": option}) from None
    key = content if oct_key else _private(content, options["import_passphrase"], option)
    return Material(option, key, options["import_replace"])


def _private(content: bytes, passphrase: t.Optional[str], option: str) -> t.Any:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    try:
        return serialization.load_pem_private_key(content, passphrase.encode() if passphrase else None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # The library's own text may quote the input.
        raise SkrFailure(
            "invalid_input",
            f"{option} is not a private key in PEM that import_passphrase opens, wanted PKCS#8, PKCS#1 or SEC 1.",
            {"option": option},
        ) from None


def check(material: Material, key_type: str, size: t.Optional[int], curve: t.Optional[str]) -> None:
    """Whether the material is of the kind that is asked for. Raises SkrFailure ``invalid_input``."""
    kind, found_size, found_curve = shape(material)
    if kind != key_type:
        raise invalid("key_type", key_type, f"{kind}, because that is what {material.option} holds")
    if size is not None and size != found_size:
        raise invalid("key_size", size, f"{found_size}, because that is what {material.option} holds")
    if curve is not None and curve != found_curve:
        raise invalid("curve", curve, f"{found_curve}, because that is what {material.option} holds")
    good = {"RSA-HSM": (2048, 3072, 4096), "oct-HSM": (128, 192, 256)}.get(kind)
    if good and found_size not in good or kind == "EC-HSM" and found_curve is None:
        raise SkrFailure(
            "invalid_input",
            f"{material.option} holds a key of {found_size} bits, which the service does not take.",
            {"option": material.option, "found": found_size, "wanted": good},
        )


def shape(material: Material) -> t.Tuple[str, t.Optional[int], t.Optional[str]]:
    """Key type, size in bits and curve; of an unknown kind the type is empty."""
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    key = material.key
    if isinstance(key, bytes):
        return "oct-HSM", 8 * len(key), None
    if isinstance(key, rsa.RSAPrivateKey):
        return "RSA-HSM", key.key_size, None
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return "EC-HSM", key.curve.key_size, _CURVES.get(key.curve.name)
    return "neither RSA nor EC", None, None


def differs(material: Material, found: t.Any, name: str) -> bool:
    """Whether a new version is to be imported over the latest one, by the public halves.

    Raises SkrFailure ``key_material_differs`` where nobody asked for that. An oct key has no public half: what is
    there is taken for the same, unless a new version is asked for.
    """
    if isinstance(material.key, bytes):
        return material.replace
    if _public(material.key) == _public_of(found.key):
        return False
    if not material.replace:
        raise SkrFailure(
            "key_material_differs",
            f"The latest version of {name} has another public key than {material.option}.",
            {"option": material.option, "kid": found.id},
        )
    return True


def _public(key: t.Any) -> t.Tuple[int, ...]:
    numbers = key.public_key().public_numbers()
    return (numbers.n, numbers.e) if hasattr(numbers, "n") else (numbers.x, numbers.y)


def _public_of(jwk_found: t.Any) -> t.Tuple[int, ...]:
    parts = (jwk_found.n, jwk_found.e) if jwk_found.n else (jwk_found.x, jwk_found.y)
    return tuple(int.from_bytes(part or b"", "big") for part in parts)


def jwk(material: Material, key_type: str, key_ops: t.Optional[t.Sequence[str]]) -> t.Any:
    """The JSON Web Key (RFC 7518, section 6) of the material as the SDK takes it."""
    from azure.keyvault.keys import JsonWebKey

    key = material.key
    operations = {} if key_ops is None else {"key_ops": list(key_ops)}
    if isinstance(key, bytes):
        return JsonWebKey(kty=key_type, k=key, **operations)
    numbers = key.private_numbers()
    if key_type == "RSA-HSM":
        public = numbers.public_numbers
        parts = {"n": public.n, "e": public.e, "d": numbers.d, "p": numbers.p, "q": numbers.q,
                 "dp": numbers.dmp1, "dq": numbers.dmq1, "qi": numbers.iqmp}  # fmt: skip
        encoded = {name: value.to_bytes((value.bit_length() + 7) // 8, "big") for name, value in parts.items()}
        return JsonWebKey(kty=key_type, **encoded, **operations)
    public, size = numbers.public_numbers, (key.curve.key_size + 7) // 8
    points = {"x": public.x, "y": public.y, "d": numbers.private_value}
    fixed = {name: value.to_bytes(size, "big") for name, value in points.items()}
    return JsonWebKey(kty=key_type, crv=_CURVES[key.curve.name], **fixed, **operations)
