# SPDX-License-Identifier: GPL-3.0-or-later
"""The security domain of a managed HSM: its download under a quorum of certificates is what activates the HSM."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import typing as t

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from ...core.messages import Response
from ...core.world import ManagedHsm
from .bundle import b64u
from .call import Call
from .errors import bad, refuse

_MEMBERS = {"kid", "kty", "key_ops", "n", "e", "x5c", "use", "x5t", "x5t#S256", "alg"}


async def download(call: Call) -> Response:
    """Checked: three to ten different RSA certificates whose parts agree, and a quorum from two to their number."""
    hsm = call.vault
    assert isinstance(hsm, ManagedHsm)
    body = call.body()
    if not isinstance(body, dict) or set(body) != {"certificates", "required"}:
        raise bad("The body must have the members certificates and required.")
    entries, required = body["certificates"], body["required"]
    if not isinstance(entries, list) or not 3 <= len(entries) <= 10:
        raise bad("The number of certificates must be from 3 to 10.")
    if isinstance(required, bool) or not isinstance(required, int) or not 2 <= required <= len(entries):
        raise bad("The quorum 'required' must be from 2 to the number of certificates.")
    keys = [_certificate(entry) for entry in entries]
    if len({key.public_numbers().n for key in keys}) != len(keys):
        raise bad("The certificates must be different.")
    if hsm.provisioning_state != "Succeeded":
        raise refuse(409, "Conflict", "The managed HSM is not provisioned.")
    if not hsm.activated and hsm.activation_polls is None:
        hsm.activation_polls = call.world.delays.operation_polls
    shares = [
        {
            "x5t_256": str(entry["x5t#S256"]),
            "enc_key": b64u(
                key.encrypt(os.urandom(32), padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None))
            ),
        }
        for key, entry in zip(keys, entries, strict=True)
    ]
    blob = {
        "EncData": {"data": [{"compact_jwe": b64u(os.urandom(96)), "tag": "SIMULATED"}], "kdf": "sp108_kdf"},
        "SharedKeys": {"enc_shares": shares, "key_algorithm": "xor_split", "required": required, "total": len(keys)},
    }
    url = f"{call.request.base_url}/securitydomain/download/pending"
    headers = {"Azure-AsyncOperation": f"{url}?api-version={call.request.param('api-version')}"}
    response = Response.of({"value": json.dumps(blob)}, 202, headers, write=True)
    return response


def _certificate(entry: t.Any) -> rsa.RSAPublicKey:
    if not isinstance(entry, dict) or not {"kty", "n", "e", "x5c", "x5t#S256", "alg"} <= set(entry) <= _MEMBERS:
        raise bad("A certificate must be a JSON Web Key with n, e, x5c, x5t#S256 and alg.")
    if entry["kty"] != "RSA" or entry["alg"] not in ("RSA-OAEP-256", "RSA-OAEP"):
        raise bad("A certificate must hold an RSA key for RSA-OAEP-256.")
    try:
        der = base64.b64decode(entry["x5c"][0], validate=True)
        public = x509.load_der_x509_certificate(der).public_key()
    except (ValueError, TypeError, IndexError):
        raise bad("The member x5c of a certificate cannot be read.") from None
    if not isinstance(public, rsa.RSAPublicKey) or public.key_size < 2048:
        raise bad("A certificate must hold an RSA key of at least 2048 bits.")
    if entry["x5t#S256"].rstrip("=") != b64u(hashlib.sha256(der).digest()):
        raise bad("The thumbprint x5t#S256 does not belong to the certificate.")
    numbers = public.public_numbers()
    for name, value in (("n", numbers.n), ("e", numbers.e)):
        text = str(entry[name])
        try:
            found = int.from_bytes(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), "big")
        except ValueError:
            found = -1
        if found != value:
            raise bad(f"The member '{name}' does not belong to the certificate.")
    return public


async def pending(call: Call) -> Response:
    """The terminal word of this service is Success, not Succeeded."""
    hsm = call.vault
    assert isinstance(hsm, ManagedHsm)
    if hsm.activation_polls is None and not hsm.activated:
        raise refuse(404, "NotFound", "No download of the security domain is pending.")
    if hsm.activation_polls is not None:
        if hsm.activation_polls > 0:
            hsm.activation_polls -= 1
            return Response.of({"status": "InProgress", "status_details": "The HSM is being activated."})
        hsm.activation_polls, hsm.activated = None, True
        return Response.of({"status": "Success", "status_details": "The HSM is activated."}, write=True)
    return Response.of({"status": "Success", "status_details": "The HSM is activated."})
