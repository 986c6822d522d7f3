# SPDX-License-Identifier: GPL-3.0-or-later
"""Readers of what services answer: the metadata service, the attestation authority, the vault; with good specimens."""

from __future__ import annotations

import contextlib
import functools
import json
import random
import socket
import tempfile
import typing as t
from unittest import mock

from unit.guest import release_fakes
from unit.policy import published

from ansible_collections.confidential.azure_skr.plugins.module_utils.guest import (
    http,
    imds,
    jws,
    jwt,
    keyvault,
    maa,
    preflight,
    release,
    unwrap,
)
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy import canonical, lint, model
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.failure import SkrFailure

from . import mutate

NOW = 1_800_000_000.0
NONCE, KID = "bm9uY2U=", "k-1"
ALGORITHM = "RSA_AES_KEY_WRAP_256"


@functools.cache
def _authority() -> jwt.Authority:
    return jwt.Authority(t.cast(t.Any, Replies(200, {}, json.dumps(key_set()).encode())), release_fakes.ISSUER, None)


@functools.cache
def key_set() -> t.Dict[str, t.Any]:
    return release_fakes.key_set(**{KID: release_fakes.rsa_key("authority")})


class _Keys:
    """Stands for an authority whose keys are known: taking the key set apart is another target."""

    def key(self, kid: str) -> t.Any:
        return release_fakes.rsa_key("authority").public_key() if kid == KID else None


def _modulus() -> int:
    return int(release_fakes.rsa_key("ephemeral").public_key().public_numbers().n)


def guest_token() -> str:
    claims = release_fakes.guest_claims("nonce", NOW)
    return release_fakes.sign({"alg": "RS256", "kid": KID, "typ": "JWT"}, claims, release_fakes.rsa_key("authority"))


def signed_again(key: str) -> mutate.Mutator:
    """A third of the tokens get a good signature, so that what is read behind it is reached."""

    def change(data: bytes, rng: random.Random) -> bytes:
        data = mutate.anything(data, rng)
        if data.count(b".") == 2 and rng.random() < 0.33 and len(data) < mutate.LARGE:
            signed = data.rpartition(b".")[0]
            made = release_fakes.rsa_key(key).sign(
                signed, release_fakes.padding.PKCS1v15(), release_fakes.hashes.SHA256()
            )
            data = signed + b"." + release_fakes.b64u(made).encode()
        return data

    return change


def read_token(data: bytes) -> None:
    keys = t.cast(jwt.Authority, _Keys())
    claims = jwt.validate(data.decode("utf-8", "replace"), keys, release_fakes.ISSUER, NONCE, _modulus(), NOW)
    read_claims(json.dumps(claims).encode())


def read_key_set(data: bytes) -> None:
    jwt.Authority(t.cast(t.Any, Replies(200, {}, data)), release_fakes.ISSUER, None).key(KID)


def read_claims(data: bytes) -> None:
    """A policy over arbitrary claims; only objects get that far."""
    try:
        claims = json.loads(data)
    except (ValueError, RecursionError):
        return
    if isinstance(claims, dict):
        known = preflight.Known(_policy(), "given")
        known.check(claims, release_fakes.ISSUER, "advise")
        json.dumps(known.result())
        nothing = preflight.Known(None, "unreadable")
        nothing.check(claims, release_fakes.ISSUER, "advise")
        json.dumps(nothing.result())
        known.check(claims, release_fakes.ISSUER, "required")


@functools.cache
def _policy() -> model.Policy:
    return model.parse(published.CVM)


def read_envelope(data: bytes) -> None:
    maa.open_envelope(data.decode("utf-8", "replace"), release_fakes.rsaes)


# --- the vault


@functools.cache
def _bundle() -> str:
    with tempfile.NamedTemporaryFile("wb", suffix=".pem", delete=False) as stream:
        stream.write(release_fakes.pem(release_fakes.chain()[-1]))
    return stream.name


_KEY = keyvault.KeyId(release_fakes.VAULT, "app", None)


def signed_keys() -> t.List[bytes]:
    found = []
    for key in (release_fakes.ec_key("released"), release_fakes.rsa_key("released")):
        document = release_fakes.payload(key, asked=_KEY.kid, attributes={"nbf": int(NOW) - 9, "exp": int(NOW) + 9})
        found.append(release_fakes.signed_answer(document).encode())
    return found


def read_signed_key(data: bytes) -> None:
    answer = jws.verify(data.decode("utf-8", "replace"), _KEY, ALGORITHM, "nonce", _bundle())
    material = unwrap.unwrap(answer.ciphertext, ALGORITHM, release_fakes.oaep)
    key = unwrap.load(material, answer.jwk)
    unwrap.public_facts(key)
    wanted = release.Wanted(release_fakes.VAULT, "app", t.cast(t.Any, None), outside_validity="warn")
    release.check_validity(answer, wanted, NOW)
    json.dumps([answer.kid, answer.attributes])


def key_material() -> t.List[bytes]:
    keys = [release_fakes.ec_key("released"), release_fakes.rsa_key("released")]
    return [release_fakes.pkcs8(key) for key in keys]


def read_key_material(data: bytes) -> None:
    """What the wrapping held, and the wrapping itself when it is damaged."""
    key = release_fakes.ec_key("released")
    with contextlib.suppress(SkrFailure):
        unwrap.unwrap(data, ALGORITHM, lambda cipher, _hash: cipher[:32])
    unwrap.pem(unwrap.load(data, release_fakes.jwk(key)))


# --- what services answer


class Replies:
    """Stands for the HTTP client: one answer to whatever is asked."""

    def __init__(self, status: int, headers: t.Mapping[str, str], body: bytes) -> None:
        self._reply = http.Reply(status, headers, body)
        self.count = 0

    def request(self, *_words: t.Any, **_options: t.Any) -> http.Reply:
        return self._reply


STATUSES = (200, 400, 401, 403, 404, 410, 429, 500, 503)


def chosen(*documents: t.Any) -> t.Callable[[], t.List[bytes]]:
    """Each document with each status; the first byte is the number of the status."""
    return lambda: [bytes([number]) + json.dumps(one).encode() for one in documents for number in range(len(STATUSES))]


def _replies(data: bytes) -> t.Any:
    return Replies(STATUSES[data[0] % len(STATUSES)] if data else 200, {}, data[1:])


def read_vault(data: bytes) -> None:
    site = _replies(data)
    with contextlib.suppress(SkrFailure):
        keyvault.release(site, _KEY, "token", "target", ALGORITHM, "nonce")
    policy = keyvault.live_policy(site, _KEY, "token")
    assert policy is None or canonical.dump(policy)


VAULT_DOCUMENTS = (
    {"value": "eyJhbGciOiJub25lIn0.e30.AA"},
    {"key": {"kid": "x"}, "release_policy": {"data": release_fakes.b64u(json.dumps(published.CVM).encode())}},
    {"error": {"code": "Forbidden", "message": "Caller is not authorized.", "innererror": {"code": "ForbiddenByRbac"}}},
    {"error": {"code": "Forbidden", "message": "Target environment attestation does not meet key release policy."}},
    {"error": {"code": "Throttled", "message": "oid=0a1b2c3d-0000-4000-8000-00000000beef;iss=https://x/"}},
)


def read_metadata(data: bytes) -> None:
    service = imds.Imds(_replies(data))
    with contextlib.suppress(SkrFailure):
        chain = service.vcek_chain()
        assert chain.isascii(), "it is sent to the attestation service"
    token = service.token("https://vault.azure.net", imds.Identity())
    assert token.isascii() and token.isprintable() and " " not in token, "it becomes a header"


METADATA_DOCUMENTS = (
    {"access_token": "eyJhbGciOiJub25lIn0.e30.AA", "expires_in": "86399", "token_type": "Bearer"},
    {
        "vcekCert": "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n",
        "certificateChain": "x",
        "tcbm": "D3",
    },
    {"error": "invalid_request", "error_description": "Multiple user assigned identities exist"},
)


class _Evidence:
    """Stands for the evidence where only the authority's answer matters."""

    def request(self, _payload: t.Any) -> t.Dict[str, t.Any]:
        return {}

    def decrypt_rsaes(self, cipher: bytes) -> bytes:
        return release_fakes.rsaes(cipher)


def read_authority(data: bytes) -> None:
    maa.attest(_replies(data), release_fakes.ISSUER, t.cast(t.Any, _Evidence()), {})


AUTHORITY_DOCUMENTS = (
    {"token": release_fakes.seal("eyJhbGciOiJSUzI1NiJ9.e30.AA")},
    {"error": {"code": "PolicyEvaluationError", "message": "A Deny claim was issued, authorization failed."}},
    {"error": {"code": "InvalidParameter", "message": "x"}},
)


def read_http(data: bytes) -> None:
    """A server that has answered before it was asked, and has hung up."""
    import urllib3.util.connection

    with contextlib.ExitStack() as stack:

        def connect(*_words: t.Any, **_options: t.Any) -> socket.socket:
            ours, theirs = socket.socketpair()
            stack.enter_context(ours), stack.enter_context(theirs)
            theirs.sendall(data[:60000])
            theirs.shutdown(socket.SHUT_WR)
            return ours

        stack.enter_context(mock.patch.object(urllib3.util.connection, "create_connection", connect))
        site = http.Http(local=True, sleep=lambda _seconds: None)
        again = http.Retry(frozenset({429, 503}), (1.0,))
        reply = site.request("the service", "GET", "http://169.254.169.254/x", again)
    json.dumps([reply.json(), reply.request_id, len(reply.body)])


def http_specimens() -> t.List[bytes]:
    body = b'{"access_token": "x"}'
    heads = [
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d" % len(body),
        b"HTTP/1.1 429 Too Many\r\nRetry-After: 7\r\nContent-Length: %d" % len(body),
        b"HTTP/1.1 307 Moved\r\nLocation: https://elsewhere.example/[x]\r\nContent-Length: %d" % len(body),
        b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b; Expires=Thu, 01 Jan 1970 00:00:00 GMT\r\nX-Ms-Request-Id: \xb2",
        b"HTTP/1.1 503 Busy\r\nContent-Encoding: gzip\r\nContent-Length: \xb2",
    ]
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n15\r\n" + body + b"\r\n0\r\n\r\n"
    return [head + b"\r\n\r\n" + body for head in heads] + [chunked]


def http_damage(data: bytes, rng: random.Random) -> bytes:
    words = [
        b"\xb2",
        b"9" * 5000,
        b"-1",
        b"\r\n",
        b"\xff\xfe",
        b"https://[",
        b"//",
        b"chunked",
        b"gzip",
        b"deflate",
        b":",
        b"\0",
    ]
    if rng.random() < 0.5:
        return mutate.octets(data, rng)
    at = rng.choice([index for index, byte in enumerate(data) if byte in b" :\r/="] or [0])
    return data[: at + 1] + rng.choice(words) + data[at + rng.choice((1, 1, 3, 8)) :]


# --- policies


def read_policy(data: bytes) -> None:
    policy = model.parse(data)
    text = canonical.dump(policy)
    assert canonical.dump(model.parse(text)) == text
    lint.lint(policy)
