# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may have a token: secrets, certificates, federated tokens and users' passwords, each as strictly as Entra takes it.

Requests: RFC 6749 (client credentials, password, refresh), RFC 7521 and 7523 (assertions), OpenID Connect Discovery
for the issuers of federated tokens; Microsoft Learn, "Certificate credentials", "Workload identity federation".
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import secrets
import time
import typing as t

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from ..core import clouds
from ..core.messages import Refusal, Request
from ..core.world import Principal, World
from .entra_errors import error

# Form fields that azure-identity, MSAL and az send; anything else is refused.
FIELDS = {
    "client_id", "client_secret", "grant_type", "scope", "resource", "client_info", "claims", "client_assertion",
    "client_assertion_type", "username", "password", "refresh_token",
}  # fmt: skip
JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
EXCHANGE = "api://AzureADTokenExchange"
# Microsoft's own command line: a public client that every tenant has without registering it.
CLI_CLIENT = "04b07795-8ddb-461a-bbee-02f9e1bf7b46"
_SKEW = 300


@dataclasses.dataclass
class Granted:
    """Who gets the token, through which application, and why."""

    principal: Principal
    client: str
    clause: str


class Assertion(t.NamedTuple):
    """A JSON Web Token as it came, not verified."""

    header: dict[str, t.Any]
    claims: dict[str, t.Any]
    signed: bytes
    signature: bytes

    def verifies(self, key: t.Any) -> bool:
        scheme: padding.AsymmetricPadding = padding.PKCS1v15()
        if self.header.get("alg") == "PS256":
            scheme = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=hashes.SHA256.digest_size)
        try:
            key.verify(self.signature, self.signed, scheme, hashes.SHA256())
        except InvalidSignature:
            return False
        return isinstance(key, rsa.RSAPublicKey)


class Grants:
    def __init__(self, world: World) -> None:
        self.world = world
        self._refresh: dict[str, tuple[Principal, str]] = {}

    def user(self, name: str) -> Principal | None:
        return next(
            (one for one in self.world.principals.values() if one.kind == "user" and one.name.lower() == name.lower()),
            None,
        )

    def refresh_token(self, user: Principal, client: str) -> str:
        made = secrets.token_urlsafe(32)
        self._refresh[made] = (user, client)
        return made

    async def check(self, form: dict[str, str], cloud: clouds.Cloud, request: Request) -> Granted:
        """Raises Refusal."""
        unknown = set(form) - FIELDS
        if unknown:
            raise error(400, "invalid_request", 900144, f"The request body has unknown parameters: {sorted(unknown)}.")
        grant, client = form.get("grant_type"), form.get("client_id", "")
        if grant not in ("client_credentials", "password", "refresh_token"):
            raise error(400, "unsupported_grant_type", 70003, f"The grant type '{grant}' is not supported here.")
        application = next((one for one in self.world.principals.values() if one.app_id == client), None)
        if (application is None or application.kind != "application") and client != CLI_CLIENT:
            text = f"Application with identifier '{client}' was not found in the directory '{self.world.tenant_id}'."
            raise error(400, "unauthorized_client", 700016, text)
        if grant == "client_credentials":
            clause = await self._client(form, application, cloud, request)
            assert application is not None  # the public client has no credential
            return Granted(application, client, clause)
        if client != CLI_CLIENT and not (application and application.public):
            await self._client(form, application, cloud, request)
        if grant == "refresh_token":
            found = self._refresh.get(form.get("refresh_token", ""))
            if found is None or found[1] != client:
                raise error(400, "invalid_grant", 70000, "Provided grant is invalid or malformed.")
            return Granted(found[0], client, "refresh token")
        return Granted(self._password(form), client, "password")

    # --- applications

    async def _client(
        self, form: dict[str, str], application: Principal | None, cloud: clouds.Cloud, request: Request
    ) -> str:
        """What the application proves itself with."""
        if application is None or not (form.get("client_secret") or form.get("client_assertion")):
            raise error(
                401,
                "invalid_client",
                7000218,
                "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
            )
        if "client_assertion" not in form:
            if application.secret is None or form["client_secret"] != application.secret:
                raise error(
                    401,
                    "invalid_client",
                    7000215,
                    "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, "
                    f"not the client secret ID, for a secret added to app '{application.app_id}'.",
                )
            return "secret"
        assertion = _parsed(form["client_assertion"])
        if form.get("client_assertion_type") != JWT_BEARER or assertion is None:
            raise error(400, "invalid_request", 50027, "JWT token is invalid or malformed.")
        if assertion.claims.get("iss") != application.app_id:
            return await self._federated(assertion, application)
        return self._certificate(assertion, application, cloud, request)

    def _certificate(self, assertion: Assertion, application: Principal, cloud: clouds.Cloud, request: Request) -> str:
        """A token that the application has signed itself, with a key whose certificate is registered."""
        certificate, thumbprint = _registered(assertion, application)
        if certificate is None:
            raise _unsigned(
                "The certificate with identifier used to sign the client assertion is not registered on application.",
                "The key was not found.",
                thumbprint,
            )
        now = time.time()  # certificates are dated around real time
        if not certificate.not_valid_before_utc.timestamp() <= now <= certificate.not_valid_after_utc.timestamp():
            raise _unsigned("Client assertion failed signature validation.", "The key used is expired.", thumbprint)
        if not assertion.verifies(certificate.public_key()):
            reason = "The key was found, but use of the key to verify the signature failed."
            raise _unsigned("Client assertion failed signature validation.", reason, thumbprint)
        claims = assertion.claims
        if claims.get("sub") != application.app_id:
            text = "Client assertion application identifier doesn't match 'client_id' parameter."
            raise error(401, "invalid_client", 700021, text)
        here = {f"https://{host}{request.path}" for host in cloud.logins}
        here |= {self.world.services["entra"].issuer(version, cloud) for version in (1, 2)}
        if claims.get("aud") not in here:
            text = "Client assertion audience claim does not match Realm issuer."
            raise error(401, "invalid_client", 700023, text)
        self._in_time(claims)
        return f"certificate {thumbprint}"

    async def _federated(self, assertion: Assertion, application: Principal) -> str:
        """A token of another issuer that the application trusts for one subject."""
        claims = assertion.claims
        found = list(application.federated)
        for number, member in ((700211, "issuer"), (700212, "audience"), (700213, "subject")):
            value = claims.get({"issuer": "iss", "audience": "aud", "subject": "sub"}[member])
            found = [one for one in found if getattr(one, member) == value]
            if not found:
                raise error(
                    401,
                    "invalid_client",
                    number,
                    f"No matching federated identity record found for presented assertion {member} '{value}'. Check your "
                    "federated identity credential Subject, Audience and Issuer against the presented assertion.",
                )
        keys = await self._foreign_keys(found[0].issuer)
        entry = next((one for one in keys if one.get("kid") == assertion.header.get("kid")), None)
        if assertion.header.get("alg") != "RS256" or entry is None or not assertion.verifies(_public(entry)):
            raise error(
                401, "invalid_client", 50013, "Assertion failed signature validation. [Reason - The key was not found.]"
            )
        self._in_time(claims)
        return f"federated {found[0].subject}"

    async def _foreign_keys(self, issuer: str) -> list[dict[str, t.Any]]:
        """The issuer's keys, fetched over the network as OpenID Connect Discovery says."""
        fetch = self.world.services["fetch"]
        try:
            document = (await fetch(f"{issuer.rstrip('/')}/.well-known/openid-configuration")).json()
            if document["issuer"] != issuer:
                raise ValueError("the document is another issuer's")
            keys: list[dict[str, t.Any]] = (await fetch(document["jwks_uri"])).json()["keys"]
        except (OSError, ValueError, KeyError, TypeError):
            raise error(400, "invalid_request", 50166, "Request to External OIDC endpoint failed.") from None
        return keys

    def _in_time(self, claims: dict[str, t.Any]) -> None:
        now = self.world.clock.now()
        starts, ends = claims.get("nbf", claims.get("iat", 0)), claims.get("exp", 0)
        if not starts - _SKEW <= now <= ends:
            raise error(401, "invalid_client", 700024, "Client assertion is not within its valid time range.")

    # --- users

    def _password(self, form: dict[str, str]) -> Principal:
        for name in ("username", "password"):
            if not form.get(name):
                text = f"The required field '{name}' is missing from the credential."
                raise error(400, "invalid_request", 90014, text)
        user = self.user(form["username"])
        if user is None:
            text = f"The user account {{EmailHidden}} does not exist in the {self.world.tenant_id} directory."
            raise error(400, "invalid_grant", 50034, text)
        if user.secret is None or form["password"] != user.secret:
            text = "Error validating credentials due to invalid username or password."
            raise error(400, "invalid_grant", 50126, text)
        if user.mfa:
            raise error(
                400,
                "invalid_grant",
                50076,
                "Due to a configuration change made by your administrator, or because you moved to a new location, you must "
                "use multi-factor authentication to access the resource.",
            )
        return user


def _unsigned(text: str, reason: str, thumbprint: str) -> Refusal:
    return error(
        401, "invalid_client", 700027, f"{text} [Reason - {reason}, Thumbprint of key used by client: '{thumbprint}']"
    )


def _parsed(text: str) -> Assertion | None:
    try:
        header, body, signature = text.split(".")
        parts = [json.loads(_unb64u(part)) for part in (header, body)]
        if not all(isinstance(part, dict) for part in parts):
            return None
        return Assertion(parts[0], parts[1], f"{header}.{body}".encode(), _unb64u(signature))
    except ValueError:
        return None


def _registered(assertion: Assertion, application: Principal) -> tuple[x509.Certificate | None, str]:
    """The certificate that the header names, and its name; RS256 goes with SHA-1, PS256 with SHA-256."""
    member, algorithm = {"RS256": ("x5t", hashlib.sha1), "PS256": ("x5t#S256", hashlib.sha256)}.get(
        str(assertion.header.get("alg")), ("", hashlib.sha256)
    )
    try:
        wanted = _unb64u(str(assertion.header.get(member, "")))
    except ValueError:
        wanted = b""
    for certificate in application.certificates:
        if wanted and algorithm(certificate.public_bytes(serialization.Encoding.DER)).digest() == wanted:
            return certificate, wanted.hex().upper()
    return None, wanted.hex().upper()


def _public(entry: dict[str, t.Any]) -> rsa.RSAPublicKey:
    n, e = (int.from_bytes(_unb64u(str(entry[member])), "big") for member in ("n", "e"))
    return rsa.RSAPublicNumbers(e, n).public_key()


def _unb64u(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
