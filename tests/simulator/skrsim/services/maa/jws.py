# SPDX-License-Identifier: GPL-3.0-or-later
"""What a policy is wrapped in on its way to the service: an unsecured or signed JWS (RFC 7515).

Microsoft Learn, "How to author an attestation policy" (algorithms none and RS256, certificates in ``x5c``) and the
troubleshooting guide (the root certificate must be one of a CA).
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import typing as t

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from .errors import invalid, unacceptable

_FORM = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*")


class Opened(t.NamedTuple):
    """``payload`` is empty for a reset; ``signer``: the certificates in the header, none when unsecured."""

    payload: bytes
    signer: list[str]


def unb64u(text: str) -> bytes:
    return base64.b64decode(text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4), validate=True)


def opened(text: str, signers: list[bytes]) -> Opened:
    """Verify a policy's JWS for a provider with these policy signers (none: trust model AAD). Raises Refusal."""
    if not _FORM.fullmatch(text):
        raise unacceptable("jws", "Malformed JWT: Could not find the periods in the token.")
    head, body, signature = text.split(".")
    try:
        header = json.loads(unb64u(head))
        payload, raw = unb64u(body), unb64u(signature)
    except (ValueError, binascii.Error):
        raise unacceptable("jws", "Bad message: Unknown base64 character, or the header is not JSON.") from None
    algorithm = header.get("alg") if isinstance(header, dict) else None
    if algorithm == "none":
        if signature:
            raise unacceptable("jws", "An unsecured token must not have a signature.")
        if signers:
            raise unacceptable("unsigned", "The attestation policy must be signed: policy signing is required.")
        return Opened(payload, [])
    if algorithm != "RS256":
        raise invalid("jws_algorithm", f"The signature algorithm '{algorithm}' is not supported.")
    chain = _chain(header)
    _signed(chain[0], f"{head}.{body}".encode(), raw)
    if signers:
        _known(chain, signers)
    return Opened(payload, list(header["x5c"]))


def _chain(header: dict[str, t.Any]) -> list[x509.Certificate]:
    try:
        found = [x509.load_der_x509_certificate(base64.b64decode(one, validate=True)) for one in header["x5c"]]
    except (ValueError, KeyError, TypeError):
        found = []
    if not found:
        raise invalid("jws_certificate", "The token has no readable x5c.")
    return found


def _signed(certificate: x509.Certificate, signed: bytes, signature: bytes) -> None:
    key = certificate.public_key()
    try:
        if not isinstance(key, rsa.RSAPublicKey):
            raise InvalidSignature
        key.verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        raise invalid("jws_signature", "The signature of the policy does not verify.") from None


def _known(chain: list[x509.Certificate], signers: list[bytes]) -> None:
    """The chain leads to a policy signer, which is a CA."""
    registered = [x509.load_der_x509_certificate(der) for der in signers]
    for number, certificate in enumerate(chain):
        for signer in registered:
            if _authority(signer) and (certificate == signer or _issued(certificate, signer)):
                return
        if number + 1 < len(chain) and not _issued(certificate, chain[number + 1]):
            break
    name = chain[0].issuer.rfc4514_string()
    raise invalid("jws_chain", f"The requested item is not found. Msg:[Unable to find issuer certificate {name}]")


def _authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
