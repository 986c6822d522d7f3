# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Access tokens of an application of Entra ID, where a VM has or wants no managed identity.

Three proofs: a secret, a certificate's key (client assertion, RFC 7523), and a token of another issuer that the
application trusts (workload identity federation). The application may be at home in another tenant than the vault; the
token is for the tenant that is named. Requests: Microsoft Learn, "OAuth 2.0 client credentials flow" (version 2).

What a proof consists of stays in this room: no message, fact or exception text has it. Whether a token is good for its
audience is the vault's to say.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import stat
import time
import typing as t
import uuid
from urllib.parse import urlsplit

from ..policy import entra
from ..policy.failure import SkrFailure
from . import clouds, crypto, der
from .http import SERVER_ERRORS, Http, Reply, Retry, service_address
from .imds import Identity, Imds
from .tee import b64u

SOURCES = ("managed", "service_principal", "workload_identity")
JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_RETRY = Retry(SERVER_ERRORS | {408, 429}, (1.0, 2.0, 4.0))
_LIFETIME = 600  # seconds that an assertion of ours is good for
_MAX_FILE = 1 << 16
_GUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_TENANT = re.compile(r"[0-9A-Za-z](?:[0-9A-Za-z.-]*[0-9A-Za-z])?")
_PRIVATE_KEY = re.compile(rb"-----BEGIN ([A-Z ]*PRIVATE KEY)-----.+?-----END \1-----", re.DOTALL)
# Names that azure-identity and AKS's webhook set, then those of azure.azcollection.
_VARIABLES = {
    "tenant": ("AZURE_TENANT_ID", "AZURE_TENANT"),
    "client_id": ("AZURE_CLIENT_ID",),
    "authority_host": ("AZURE_AUTHORITY_HOST",),
    "client_certificate_file": ("AZURE_CLIENT_CERTIFICATE_PATH",),
    "federated_token_file": ("AZURE_FEDERATED_TOKEN_FILE",),
}
SECRET_VARIABLES = ("AZURE_CLIENT_SECRET", "AZURE_SECRET")
OPTIONS = (
    "tenant",
    "client_id",
    "client_secret_file",
    "client_certificate_file",
    "federated_token_file",
    "authority_host",
)
_PROOFS = ("client_secret_file", "client_certificate_file")
# Kind of Entra's code -> our reason.
_REASONS = {
    "secret": "client_secret_refused",
    "secret_expired": "client_secret_expired",
    "certificate": "client_certificate_refused",
    "federation": "federation_refused",
    "application": "application_unknown",
    "foreign_assertion": "federation_refused",
    "assertion_time": "assertion_time",
    "tenant": "tenant_unknown",
    "audience": "audience_unknown",
    "blocked": "sign_in_blocked",
}


@dataclasses.dataclass(frozen=True)
class Application:
    """Who signs in and by what; names of files and variables, never what is in them."""

    source: str
    tenant: str
    client_id: str
    proof: str  # the option, or "environment" for a secret that a variable holds
    place: str  # the file or the variable
    authority_host: t.Optional[str] = None


Source = t.Union[Identity, Application]


def choose(options: t.Mapping[str, t.Any], environ: t.Mapping[str, str], managed: Identity) -> Source:
    """The identity that the options ask for; an application's files are looked at, so that nobody is asked in vain.

    Raises SkrFailure ``invalid_input``, also for an option that would be ignored.
    """
    source = options["identity_source"]
    if source == "managed":
        ignored = next((name for name in OPTIONS if options[name]), None)
        if ignored:
            hint = "; a managed identity is named with identity_client_id" if ignored == "client_id" else ""
            raise _invalid(ignored, f"{ignored} is given, but identity_source is managed{hint}.")
        return managed
    if managed.parameters():
        name = next(name for name in ("client_id", "object_id", "resource_id") if getattr(managed, name))
        raise _invalid(
            f"identity_{name}", f"identity_{name} names a managed identity, but identity_source is {source}."
        )
    proof, place = _proof(options, environ, source)
    made = Application(
        source,
        _wanted("tenant", options, environ, _TENANT, "a tenant's id or domain name"),
        _wanted(
            "client_id", options, environ, _GUID, "the application's id, such as 0f3b1a52-6c1c-4d8b-9b6e-0a1b2c3d4e5f"
        ),
        proof,
        place,
        _authority(options, environ),
    )
    _form(made, "https://unused.invalid", environ)
    return made


def token(source: Source, audience: str, imds: Imds, http: Http) -> str:
    """An access token for an audience such as https://vault.azure.net. Raises SkrFailure."""
    if isinstance(source, Identity):
        return imds.token(audience, source)
    return _signed_in(source, audience, http)


def endpoint(application: Application, audience: str) -> str:
    """Where the token is asked for: the host named, or that of the audience's cloud. Raises SkrFailure."""
    host = application.authority_host
    if host is None:
        cloud = clouds.by_host(urlsplit(audience).hostname or "")
        if cloud is None:
            raise _invalid(
                "authority_host",
                f"authority_host is not set, wanted the sign-in host of the cloud of {audience}, which is none of the known ones.",
            )
        host = cloud.login
    return f"{host}/{application.tenant}/oauth2/v2.0/token"


def _signed_in(application: Application, audience: str, http: Http) -> str:
    url = endpoint(application, audience)
    form = _form(application, url, os.environ)
    form["scope"] = f"{audience}/.default"
    reply = http.request("the sign-in service", "POST", url, _RETRY, form=form)
    document = reply.json()
    found = document.get("access_token")
    if reply.status == 200 and isinstance(found, str) and found:
        return found
    raise _refusal(reply, application, url, [form.get("client_secret"), form.get("client_assertion")])


def _refusal(reply: Reply, application: Application, url: str, hidden: t.Sequence[t.Optional[str]]) -> SkrFailure:
    host = urlsplit(url).hostname or ""
    document = reply.json()
    text = str(document.get("error_description", ""))
    for secret in hidden:  # no service repeats one; whoever stands in its place might
        text = text.replace(secret, "***") if secret else text
    facts: t.Dict[str, t.Any] = {
        "host": host, "status": reply.status, "tenant": application.tenant, "client_id": application.client_id,
        "proof": application.proof, "place": application.place,
    }  # fmt: skip
    said = entra.read(text)
    if said is not None:
        facts.update(code=said.code, detail=said.detail)
        return SkrFailure(
            _REASONS.get(said.kind, "authentication_failed"),
            f"{host} refused application {application.client_id} of tenant {application.tenant}: {said.detail}.",
            facts,
            next_step=None if said.kind in _REASONS else f"Look {said.code} up in Microsoft's list of sign-in errors.",
        )
    if reply.status == 429:
        return SkrFailure("throttled", f"{host} is throttling sign-ins, also on repetition.", facts)
    if not isinstance(document.get("error"), str):
        return SkrFailure(
            "service_error",
            f"{host} answered {reply.status} and nothing that a sign-in service says.",
            facts,
            next_step="Check authority_host, and whether a proxy answered in its place.",
        )
    facts["error"] = document["error"][:100]
    return SkrFailure("authentication_failed", f"{host} refused the sign-in ({reply.status} {facts['error']}).", facts)


# --- options


def _setting(name: str, options: t.Mapping[str, t.Any], environ: t.Mapping[str, str]) -> t.Optional[str]:
    """The option, else the first variable that is set; an empty text counts as not set."""
    found = [options[name], *(environ.get(variable) for variable in _VARIABLES.get(name, ()))]
    return next((str(value) for value in found if value), None)


def _wanted(
    name: str, options: t.Mapping[str, t.Any], environ: t.Mapping[str, str], form: t.Pattern[str], wanted: str
) -> str:
    value = _setting(name, options, environ)
    if value is None:
        raise _invalid(name, f"{name} is missing, wanted {wanted} (or {_VARIABLES[name][0]} in the environment).")
    if not form.fullmatch(value):
        raise _invalid(name, f"{name} is {value!r}, wanted {wanted}.")
    return value


def _authority(options: t.Mapping[str, t.Any], environ: t.Mapping[str, str]) -> t.Optional[str]:
    value = _setting("authority_host", options, environ)
    if value is None:
        return None
    address = value if "://" in value else f"https://{value}"
    return service_address("authority_host", address, "https://login.microsoftonline.us")


def _proof(options: t.Mapping[str, t.Any], environ: t.Mapping[str, str], source: str) -> t.Tuple[str, str]:
    """Which option or variable the proof comes from, and its place."""
    if source == "workload_identity":
        _refuse_others(options, _PROOFS, source)
        path = _setting("federated_token_file", options, environ)
        if path is None:
            raise _invalid(
                "federated_token_file",
                "federated_token_file is missing, wanted the file with the workload's token (or AZURE_FEDERATED_TOKEN_FILE "
                "in the environment).",
            )
        return "federated_token_file", path
    _refuse_others(options, ("federated_token_file",), source)
    given = [name for name in _PROOFS if options[name]]
    if len(given) > 1:
        raise _invalid(given[1], f"{given[1]} is given beside {given[0]}, wanted one of them.")
    if given:
        return given[0], str(options[given[0]])
    certificate = _setting("client_certificate_file", options, environ)
    if certificate:
        return "client_certificate_file", certificate
    variable = next((name for name in SECRET_VARIABLES if environ.get(name)), None)
    if variable is None:
        raise _invalid(
            "client_secret_file",
            f"client_secret_file is missing, wanted it or client_certificate_file (or {SECRET_VARIABLES[0]} in the environment).",
        )
    return "environment", variable


def _refuse_others(options: t.Mapping[str, t.Any], names: t.Sequence[str], source: str) -> None:
    for name in names:
        if options[name]:
            raise _invalid(name, f"{name} is given, but identity_source is {source}, which has no use for it.")


# --- proofs


def _form(application: Application, url: str, environ: t.Mapping[str, str]) -> t.Dict[str, str]:
    """The request's fields but the scope. Raises SkrFailure ``invalid_input``."""
    fields = {"grant_type": "client_credentials", "client_id": application.client_id}
    option, place = application.proof, application.place
    if option == "environment":
        return {**fields, "client_secret": environ.get(place, "")}
    content = _read(option, place, secret=option != "federated_token_file")
    if option == "client_secret_file":
        return {**fields, "client_secret": _text(option, place, content)}
    if option == "federated_token_file":
        assertion = _text(option, place, content)
        if assertion.count(".") != 2:
            raise _invalid(option, f"{option} is {place!r}, which holds no token (JWT).")
    else:
        assertion = _assertion(application, content, url)
    return {**fields, "client_assertion_type": JWT_BEARER, "client_assertion": assertion}


def _read(option: str, path: str, secret: bool) -> bytes:
    """The file; one with a secret must not be open to others."""
    try:
        with open(path, "rb") as stream:
            found = os.fstat(stream.fileno())
            content = stream.read(_MAX_FILE)
    except OSError as error:
        raise _invalid(option, f"{option} is {path!r}, wanted a readable file: {error.strerror}.") from error
    mode = stat.S_IMODE(found.st_mode)
    if secret and mode & 0o007:
        raise _invalid(
            option, f"{option} is {path!r} with mode {mode:04o}, wanted no rights for others: chmod o= {path}"
        )
    if not content.strip():
        raise _invalid(option, f"{option} is {path!r}, which is empty.")
    return content


def _text(option: str, path: str, content: bytes) -> str:
    try:
        return content.decode("utf-8").strip()
    except UnicodeDecodeError:
        raise _invalid(option, f"{option} is {path!r}, wanted a text file in UTF-8.") from None


def _assertion(application: Application, pem: bytes, url: str) -> str:
    """A token that the application signs itself, RS256, naming its certificate by thumbprint (Microsoft Learn,
    "Microsoft identity platform application authentication certificate credentials")."""
    key, certificate = _certified(application.place, pem)
    # Not a matter of trust: the thumbprint only names which of the registered certificates is meant.
    thumbprint = hashlib.new("sha1", certificate, usedforsecurity=False).digest()
    now = int(time.time())
    header = {"alg": "RS256", "typ": "JWT", "x5t": b64u(thumbprint)}
    claims = {
        "aud": url, "iss": application.client_id, "sub": application.client_id, "jti": str(uuid.uuid4()),
        "iat": now, "nbf": now, "exp": now + _LIFETIME,
    }  # fmt: skip
    signed = ".".join(b64u(json.dumps(part, separators=(",", ":")).encode()) for part in (header, claims))
    signature = key.sign(signed.encode("ascii"), crypto.padding.PKCS1v15(), crypto.hashes.SHA256())
    return f"{signed}.{b64u(signature)}"


def _certified(path: str, pem: bytes) -> t.Tuple[crypto.rsa.RSAPrivateKey, bytes]:
    """The private key of a PEM file and the certificate (DER) that belongs to it."""
    option = "client_certificate_file"
    found = _PRIVATE_KEY.search(pem)
    if found is None:
        raise _invalid(option, f"{option} is {path!r}, which has no private key in PEM.")
    try:
        key = crypto.serialization.load_pem_private_key(found.group(0) + b"\n", None)
    except (ValueError, TypeError, crypto.UnsupportedAlgorithm) as error:
        kind = "an encrypted" if isinstance(error, TypeError) else "an unreadable"
        raise _invalid(option, f"{option} is {path!r}, which has {kind} private key, wanted a plain RSA one.") from None
    if not isinstance(key, crypto.rsa.RSAPrivateKey):
        raise _invalid(option, f"{option} is {path!r}, which has no RSA key.")
    encoding, form = crypto.serialization.Encoding.DER, crypto.serialization.PublicFormat.SubjectPublicKeyInfo
    public = key.public_key().public_bytes(encoding, form)
    try:
        for certificate in der.pem_certificates(pem.decode("ascii", "replace")):
            if der.certificate(certificate).public_key == public:
                return key, certificate
    except der.DerError:
        pass  # told as one that is missing
    raise _invalid(option, f"{option} is {path!r}, which has no certificate of its private key.")


def _invalid(option: str, message: str) -> SkrFailure:
    return SkrFailure("invalid_input", message, {"option": option})
