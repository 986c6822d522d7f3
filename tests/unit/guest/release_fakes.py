# SPDX-License-Identifier: GPL-3.0-or-later
"""What the release rooms talk to, in small: an HTTP site, a certificate authority, an attestation authority, a vault.

Written from the documented protocol, without a look into the code under test.
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import functools
import hashlib
import http.server
import io
import json
import os
import threading
import typing as t

import pytest
import requests
import urllib3
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding
from cryptography.x509.oid import NameOID

from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.failure import SkrFailure

VAULT_HOST = "myvault.vault.azure.net"
VAULT = f"https://{VAULT_HOST}"
VERSION = "0123456789abcdef0123456789abcdef"
KID = f"{VAULT}/keys/app/{VERSION}"
ISSUER = "https://sharedweu.weu.attest.azure.net"
HASHES: t.Dict[str, t.Callable[[], hashes.HashAlgorithm]] = {
    "CKM_RSA_AES_KEY_WRAP": hashes.SHA1,
    "RSA_AES_KEY_WRAP_256": hashes.SHA256,
    "RSA_AES_KEY_WRAP_384": hashes.SHA384,
}


@contextlib.contextmanager
def refused(reason: str) -> t.Iterator[t.Any]:
    """The block must fail with this reason code."""
    with pytest.raises(SkrFailure) as info:
        yield info
    assert info.value.reason == reason, f"{info.value.reason}: {info.value.message}"


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def b64u(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def compact(document: t.Any) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def integer(value: int) -> str:
    return b64u(value.to_bytes((value.bit_length() + 7) // 8, "big"))


@functools.cache
def rsa_key(name: str) -> rsa.RSAPrivateKey:
    """A throw-away key, made once for each name."""
    return rsa.generate_private_key(65537, 2048)


@functools.cache
def ec_key(name: str, curve: str = "secp256r1") -> ec.EllipticCurvePrivateKey:
    curves = {
        "secp256r1": ec.SECP256R1,
        "secp256k1": ec.SECP256K1,
        "secp384r1": ec.SECP384R1,
        "secp521r1": ec.SECP521R1,
    }
    return ec.generate_private_key(curves[curve]())


# --- HTTP


class Asked(t.NamedTuple):
    """One request that reached a site."""

    method: str
    path: str
    headers: t.Mapping[str, str]
    body: bytes


Answer = t.Tuple[int, t.Dict[str, str], bytes]


def answer(document: t.Any, status: int = 200, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return status, {"Content-Type": "application/json", **named}, compact(document)


class Site:
    """A server on loopback. Answers are used up in order, the last one for ever; requests are kept."""

    def __init__(self, *answers: Answer, tls: t.Any = None) -> None:
        self.answers, self.asked = list(answers), t.cast("t.List[Asked]", [])
        site = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                site.asked.append(Asked(self.command, self.path, headers, body))
                status, extra, content = site.answers.pop(0) if len(site.answers) > 1 else site.answers[0]
                self.send_response(status)
                for name, value in {"Content-Length": str(len(content)), "Connection": "close", **extra}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)
                self.close_connection = True

            do_GET = do_POST = do_CONNECT = _serve

            def log_message(self, *_words: t.Any) -> None:
                """Quiet."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._server.handle_error = lambda *_words: None  # type: ignore[method-assign]  # refused handshakes are wanted
        self.port = self._server.server_address[1]
        self.scheme = "http" if tls is None else "https"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def __enter__(self) -> Site:
        return self

    def __exit__(self, *_exc: t.Any) -> None:
        self._server.shutdown()
        self._server.server_close()


class Cloud(requests.adapters.BaseAdapter):
    """A transport for requests: a function answers instead of a network. Mount it on a session."""

    def __init__(self, function: t.Callable[[requests.PreparedRequest], Answer]) -> None:
        super().__init__()
        self.function = function
        self.asked: t.List[requests.PreparedRequest] = []

    def send(self, request: requests.PreparedRequest, *_args: t.Any, **_options: t.Any) -> requests.Response:  # type: ignore[override]
        self.asked.append(request)
        status, headers, content = self.function(request)
        response = requests.Response()
        response.status_code, response.url, response.request = status, str(request.url), request
        response.headers.update(headers)
        response.raw = urllib3.HTTPResponse(io.BytesIO(content), headers, status, preload_content=False)
        return response

    def close(self) -> None:
        """Nothing is open."""


# --- certificates


def name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


# An authority's key signs certificates and lists of revoked ones; Python 3.13 and later wants it said.
SIGNS = [(x509.KeyUsage(*(number in (5, 6) for number in range(9))), True)]


def certificate(
    subject: str,
    key: t.Any,
    issuer: str,
    issuer_key: t.Any,
    hosts: t.Sequence[str] = (),
    days: t.Tuple[int, int] = (-1, 90),
    ca: t.Optional[bool] = None,
    extra: t.Sequence[t.Tuple[x509.ExtensionType, bool]] = (),
) -> x509.Certificate:
    """A certificate; ``ca`` is set by default where there are no host names."""
    now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + datetime.timedelta(days=days[0]))
        .not_valid_after(now + datetime.timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(not hosts if ca is None else ca, None), critical=True)
        # Without these, Python 3.13 and later does not verify a chain.
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if hosts:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts]), critical=False
        )
    for extension, critical in extra:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(issuer_key, hashes.SHA256())


def der(found: x509.Certificate) -> bytes:
    return found.public_bytes(serialization.Encoding.DER)


def pem(*found: x509.Certificate) -> bytes:
    return b"".join(one.public_bytes(serialization.Encoding.PEM) for one in found)


def private_pem(key: t.Any) -> bytes:
    return bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


@functools.cache
def chain(*hosts: str) -> t.Tuple[x509.Certificate, ...]:
    """Leaf (key ``leaf``), intermediate (EC) and root of one throw-away authority."""
    root, middle = rsa_key("root"), ec_key("middle")
    return (
        certificate("leaf", rsa_key("leaf"), "middle", middle, hosts or ("*.vault.azure.net", "vault.azure.net")),
        certificate("middle", middle, "root", root, extra=SIGNS),
        certificate("root", root, "root", root, extra=SIGNS),
    )


# --- JWS, JWT


def sign(header: t.Any, payload: t.Any, key: rsa.RSAPrivateKey) -> str:
    signed = f"{b64u(compact(header))}.{b64u(compact(payload))}"
    return f"{signed}.{b64u(key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def key_set(**keys: rsa.RSAPrivateKey) -> t.Dict[str, t.Any]:
    """A JWKS as attestation authorities serve it: kid and self-signed x5c, no n or e."""
    entries = []
    for kid, key in keys.items():
        entries.append({"kid": kid, "kty": "RSA", "x5c": [b64(der(certificate(kid, key, kid, key)))]})
    return {"keys": entries}


def guest_claims(nonce: str, now: float, **changes: t.Any) -> t.Dict[str, t.Any]:
    """Claims of a guest token that is bound to the key ``ephemeral``; ``nonce`` is the text before base64."""
    numbers = rsa_key("ephemeral").public_key().public_numbers()
    key = {
        "e": "AQAB",
        "key_ops": ["encrypt"],
        "kid": "TpmEphemeralEncryptionKey",
        "kty": "RSA",
        "n": integer(numbers.n),
    }
    claims: t.Dict[str, t.Any] = {
        "iss": ISSUER,
        "iat": int(now),
        "nbf": int(now),
        "exp": int(now) + 28800,
        "secureboot": True,
        "x-ms-attestation-type": "azurevm",
        "x-ms-runtime": {"client-payload": {"nonce": b64(nonce.encode())}, "keys": [key]},
        "x-ms-isolation-tee": {
            "x-ms-attestation-type": "sevsnpvm",
            "x-ms-compliance-status": "azure-compliant-cvm",
            "x-ms-sevsnpvm-is-debuggable": False,
            "x-ms-runtime": {"keys": [], "vm-configuration": {"secure-boot": True, "vmUniqueId": "AB-CD"}},
        },
        "x-ms-ver": "1.0",
    }
    return {**claims, **changes}


def seal(
    token: str,
    key: t.Optional[rsa.RSAPublicKey] = None,
    additional: bytes = b"Transport Key",
    changes: t.Optional[t.Dict[str, t.Any]] = None,
    parameters: t.Optional[t.Dict[str, t.Any]] = None,
    sizes: t.Tuple[int, int] = (32, 12),
) -> str:
    """The sealed token of POST /attest/AzureGuest, for the key ``ephemeral``; ``sizes`` are those of key and IV."""
    secret, iv = (os.urandom(size) for size in sizes)
    sealed = AESGCM(secret).encrypt(iv, token.encode(), additional)
    wrapped = (key or rsa_key("ephemeral").public_key()).encrypt(secret, padding.PKCS1v15())
    document = {
        "Jwt": b64(sealed[:-16]),
        "EncryptedInnerKey": b64(wrapped),
        "EncryptionParams": {
            "BlockMode": "ChainingModeGCM",
            "BlockPadding": "PKCS7",
            "Cipher": "AES",
            "KeySizeInBits": 256,
            "Iv": b64(iv),
            **(parameters or {}),
        },
        "AuthenticationData": b64(sealed[-16:]),
        **(changes or {}),
    }
    return b64u(compact(document))


# --- the vault


def pkcs8(key: t.Any) -> bytes:
    return (
        key
        if isinstance(key, bytes)
        else bytes(
            key.private_bytes(
                serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
    )


def jwk(key: t.Any) -> t.Dict[str, t.Any]:
    """The public half, with the exponent as Key Vault writes it; a symmetric key (bytes) has none."""
    if isinstance(key, bytes):
        return {"kty": "oct-HSM"}
    numbers = key.public_key().public_numbers()
    if isinstance(key, rsa.RSAPrivateKey):
        return {"kty": "RSA-HSM", "n": integer(numbers.n), "e": "AAEAAQ"}
    curve, size = {
        "secp256r1": ("P-256", 32),
        "secp256k1": ("P-256K", 32),
        "secp384r1": ("P-384", 48),
        "secp521r1": ("P-521", 66),
    }[key.curve.name]
    point = {member: b64u(getattr(numbers, member).to_bytes(size, "big")) for member in ("x", "y")}
    return {"kty": "EC-HSM", "crv": curve, **point}


def wrap(material: bytes, algorithm: str, kek_size: int = 32) -> bytes:
    """CKM_RSA_AES_KEY_WRAP of the vault: OAEP of an AES key for ``ephemeral``, then RFC 5649."""
    kek, digest = os.urandom(kek_size), HASHES[algorithm]
    sealed = rsa_key("ephemeral").public_key().encrypt(kek, padding.OAEP(padding.MGF1(digest()), digest(), None))
    return sealed + aes_key_wrap_with_padding(kek, material)


def oaep(cipher: bytes, hash_name: str) -> bytes:
    """What the TPM does with the ephemeral key; a wrong padding is its error."""
    digest = {"sha1": hashes.SHA1, "sha256": hashes.SHA256, "sha384": hashes.SHA384}[hash_name]
    try:
        return rsa_key("ephemeral").decrypt(cipher, padding.OAEP(padding.MGF1(digest()), digest(), None))
    except ValueError as error:
        raise SkrFailure("tpm_error", "RSA_Decrypt answered 0x084", {"code": "0x084"}) from error


def rsaes(cipher: bytes) -> bytes:
    try:
        return rsa_key("ephemeral").decrypt(cipher, padding.PKCS1v15())
    except ValueError as error:
        raise SkrFailure("tpm_error", "RSA_Decrypt answered 0x084", {"code": "0x084"}) from error


def payload(
    key: t.Any,
    algorithm: str = "RSA_AES_KEY_WRAP_256",
    nonce: str = "nonce",
    kid: str = KID,
    asked: t.Optional[str] = None,
    attributes: t.Optional[t.Dict[str, t.Any]] = None,
    inner: t.Optional[t.Dict[str, t.Any]] = None,
    material: t.Optional[bytes] = None,
) -> t.Dict[str, t.Any]:
    """The payload of a release answer."""
    wrapped = wrap(pkcs8(key) if material is None else material, algorithm)
    header = {"kid": "TpmEphemeralEncryptionKey", "alg": "dir", "enc": algorithm, **(inner or {})}
    key_hsm = {"schema_version": "1.0", "header": header, "ciphertext": b64u(wrapped)}
    bundle = {
        "key": {"kid": kid, "key_ops": ["sign"], **jwk(key), "key_hsm": b64u(compact(key_hsm))},
        "attributes": {"enabled": True, "exportable": True, **(attributes or {})},
        "tags": {},
        "release_policy": {"data": b64u(b"{}"), "immutable": False},
    }
    request = {"api-version": "7.4", "enc": algorithm, "kid": asked or kid, "nonce": nonce}
    return {"request": request, "response": {"key": bundle}}


def signed_answer(
    document: t.Any,
    certificates: t.Optional[t.Sequence[t.Union[x509.Certificate, bytes]]] = None,
    key: t.Optional[rsa.RSAPrivateKey] = None,
    **header: t.Any,
) -> str:
    """The JWS of a release answer, signed by the leaf of ``chain()`` unless told otherwise."""
    shown = [one if isinstance(one, bytes) else der(one) for one in (chain() if certificates is None else certificates)]
    sha1 = hashlib.sha1(shown[0]).digest()
    full = {
        "alg": "RS256",
        "kid": sha1.hex().upper(),
        "x5t": b64u(sha1),
        "typ": "JWT",
        "x5t#S256": b64u(hashlib.sha256(shown[0]).digest()),
        "x5c": [b64(one) for one in shown],
        **header,
    }
    return sign(full, document, key or rsa_key("leaf"))
