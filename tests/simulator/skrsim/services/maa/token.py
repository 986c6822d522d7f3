# SPDX-License-Identifier: GPL-3.0-or-later
"""Tokens: claims, signing keys per authority, and the sealed envelope."""

from __future__ import annotations

import base64
import datetime
import hashlib
import json
import os
import threading
import typing as t

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.x509.oid import NameOID

from ...core.world import World
from .request import GuestRequest
from .snp import Snp
from .tpm import Public

COMPLIANT = "azure-compliant-cvm"
# What the service says of a platform that is not compliant is not published; it is only known not to be the above.
NOT_COMPLIANT = "azure-noncompliant-cvm"
LIFETIME = 28800


def b64u(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class SigningKey:
    """A key of one authority with its self-signed certificate."""

    def __init__(self, authority: str) -> None:
        self.private = rsa.generate_private_key(65537, 2048)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"SIMULATED {authority}"[:64])])
        now = datetime.datetime.now(datetime.timezone.utc)
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self.private.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=365))
            .sign(self.private, hashes.SHA256())
        )
        self.der = self.certificate.public_bytes(serialization.Encoding.DER)
        self.kid = base64.b64encode(hashlib.sha256(self.der).digest()).decode()

    def entry(self) -> dict[str, t.Any]:
        return {"x5c": [base64.b64encode(self.der).decode()], "kid": self.kid, "kty": "RSA"}


class Keys:
    """Signing keys of every authority: the newest signs, older ones stay listed until a rotation drops them."""

    def __init__(self) -> None:
        self._all: dict[str, list[SigningKey]] = {}
        self._lock = threading.Lock()  # the first two requests of an authority may come at once

    def of(self, authority: str) -> list[SigningKey]:
        with self._lock:
            if authority not in self._all:
                self._all[authority] = [SigningKey(authority)]
            return self._all[authority]

    def rotate(self, authority: str) -> None:
        self._all[authority] = [SigningKey(authority)]


def sign(claims: dict[str, t.Any], key: SigningKey, corrupt: bool = False) -> str:
    header = {"alg": "RS256", "jku": f"{claims['iss']}/certs", "kid": key.kid, "typ": "JWT"}
    signed = ".".join(b64u(_json(part)) for part in (header, claims))
    signature = bytearray(key.private.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))
    if corrupt:
        signature[10] ^= 1
    return f"{signed}.{b64u(bytes(signature))}"


def unsigned(claims: dict[str, t.Any]) -> str:
    """A token that nobody vouches for, as a draft policy gives it."""
    return ".".join((b64u(_json({"alg": "none", "typ": "JWT"})), b64u(_json(claims)), ""))


def _json(document: t.Any) -> bytes:
    """JSON whose base64url holds neither - nor _: Microsoft's C++ client decodes with the standard alphabet."""
    text = json.dumps(document, separators=(",", ":"), sort_keys=True)
    for character in (">", "?", "~"):
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text.encode()


def policy_hash(text: str) -> str:
    """Of the base64url form of the policy's text."""
    return b64u(hashlib.sha256(b64u(text.encode()).encode()).digest())


def base_claims(world: World, issuer: str) -> dict[str, t.Any]:
    now = int(world.clock.now())
    return {
        "iss": issuer,
        "iat": now,
        "nbf": now,
        "exp": now + LIFETIME,
        "jti": hashlib.sha256(os.urandom(32)).hexdigest(),
        "x-ms-policy-hash": policy_hash("version= 1.0; authorizationrules{=> permit();}; issuancerules{};"),
        "x-ms-ver": "1.0",
    }


def guest_claims(request: GuestRequest, key: Public, secure_boot: bool | None) -> dict[str, t.Any]:
    """The claims that do not depend on the TEE."""
    booted = bool(secure_boot)
    a = "x-ms-azurevm-"
    flags = ("bootdebug", "elam", "flightsigning", "hypervisordebug", "kerneldebug", "testsigning")
    fine = ("dbvalidated", "dbxvalidated", "debuggersdisabled", "default-securebootkeysvalidated", "signingdisabled")
    n = b64u(key.modulus.to_bytes(256, "big"))
    return {
        "secureboot": booted,
        "x-ms-attestation-type": "azurevm",
        f"{a}attestation-protocol-ver": "2.0",
        f"{a}attested-pcrs": sorted(request.pcr_set),
        f"{a}hvci-policy": 0,
        f"{a}osbuild": request.os_build,
        f"{a}osdistro": request.os_distro,
        f"{a}ostype": request.os_type,
        f"{a}osversion-major": request.os_major,
        f"{a}osversion-minor": request.os_minor,
        f"{a}is-windows": False,
        **{f"{a}{name}-enabled": False for name in flags},
        **{f"{a}{name}": booted for name in fine},
        "x-ms-runtime": {
            "client-payload": request.payload,
            "keys": [{"e": "AQAB", "key_ops": ["encrypt"], "kid": "TpmEphemeralEncryptionKey", "kty": "RSA", "n": n}],
        },
    }


def snp_claims(snp: Snp, compliant: bool) -> dict[str, t.Any]:
    """The claims of the SNP report; nested for guest tokens, at top level for platform tokens."""
    raw, s = snp.raw, "x-ms-sevsnpvm-"
    return {
        "x-ms-attestation-type": "sevsnpvm",
        "x-ms-compliance-status": COMPLIANT if compliant else NOT_COMPLIANT,
        f"{s}authorkeydigest": raw[0x110:0x140].hex(),
        f"{s}bootloader-svn": snp.svn["bootloader"],
        f"{s}familyId": raw[0x10:0x20].hex(),
        f"{s}guestsvn": int.from_bytes(raw[4:8], "little"),
        f"{s}hostdata": raw[0xC0:0xE0].hex(),
        f"{s}idkeydigest": raw[0xE0:0x110].hex(),
        f"{s}imageId": raw[0x20:0x30].hex(),
        f"{s}is-debuggable": snp.debug,
        f"{s}launchmeasurement": raw[0x90:0xC0].hex(),
        f"{s}microcode-svn": snp.svn["microcode"],
        f"{s}migration-allowed": bool(snp.policy >> 18 & 1),
        f"{s}reportdata": raw[0x50:0x90].hex(),
        f"{s}reportid": raw[0x140:0x160].hex(),
        f"{s}smt-allowed": bool(snp.policy >> 16 & 1),
        f"{s}snpfw-svn": snp.svn["snpfw"],
        f"{s}tee-svn": snp.svn["tee"],
        f"{s}vmpl": 0,
    }


SEAL_FAULTS = frozenset({"bad_tag", "wrong_aad", "short_iv", "foreign_envelope"})


def seal(token: str, key: Public, fault: str = "") -> str:
    """The envelope of a guest token: AES-256-GCM, its key by RSAES to the ephemeral key; or one spoilt by a fault."""
    aes, iv = os.urandom(32), os.urandom(8 if fault == "short_iv" else 12)
    additional = b"Another Key" if fault == "wrong_aad" else b"Transport Key"
    sealed = AESGCM(aes).encrypt(iv, token.encode(), additional)
    tag = bytearray(sealed[-16:])
    if fault == "bad_tag":
        tag[0] ^= 1
    recipient = SigningKey("another VM").private.public_key() if fault == "foreign_envelope" else key.key
    inner = recipient.encrypt(aes, padding.PKCS1v15())

    def std(data: bytes) -> str:
        return base64.b64encode(data).decode()

    document = {
        "Jwt": std(sealed[:-16]),
        "EncryptedInnerKey": std(inner),
        "EncryptionParams": {
            "BlockMode": "ChainingModeGCM",
            "BlockPadding": "PKCS7",
            "Cipher": "AES",
            "KeySizeInBits": 256,
            "Iv": std(iv),
        },
        "AuthenticationData": std(bytes(tag)),
    }
    return b64u(json.dumps(document, separators=(",", ":")).encode())
