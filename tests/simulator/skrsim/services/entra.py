# SPDX-License-Identifier: GPL-3.0-or-later
"""Microsoft Entra ID: discovery, signing keys, client-credential tokens of v1 and v2, and token checks for the services."""

from __future__ import annotations

import base64
import hashlib
import json
import typing as t
from urllib.parse import parse_qsl

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from ..core.messages import Refusal, Request, Response
from ..core.world import Principal, World

HOSTS = ("login.microsoftonline.com", "login.windows.net", "sts.windows.net")
AUDIENCES = (
    "https://management.azure.com",
    "https://management.core.windows.net",
    "https://vault.azure.net",
    "https://managedhsm.azure.net",
    "https://attest.azure.net",
    "https://graph.microsoft.com",
)
# Form fields that azure-identity, MSAL and az send; anything else is refused.
FIELDS = {
    "client_id",
    "client_secret",
    "grant_type",
    "scope",
    "resource",
    "client_info",
    "claims",
    "client_assertion",
    "client_assertion_type",
}


class TokenError(Exception):
    """Why an access token is not accepted: missing, malformed, signature, audience, issuer or expired."""

    def __init__(self, code: str, found: str = "") -> None:
        super().__init__(f"{code} {found}")
        self.code, self.found = code, found


def b64u(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64u(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Entra:
    """The token issuer; other services reach it as ``world.services["entra"]``."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._key = rsa.generate_private_key(65537, 2048)
        self.kid = b64u(hashlib.sha256(str(self._key.public_key().public_numbers().n).encode()).digest()[:20])

    def jwks(self) -> dict[str, t.Any]:
        numbers = self._key.public_key().public_numbers()
        n = b64u(numbers.n.to_bytes(256, "big"))
        return {"keys": [{"kty": "RSA", "use": "sig", "kid": self.kid, "x5t": self.kid, "n": n, "e": "AQAB"}]}

    def issuer(self, version: int) -> str:
        tenant = self.world.tenant_id
        return (
            f"https://sts.windows.net/{tenant}/" if version == 1 else f"https://login.microsoftonline.com/{tenant}/v2.0"
        )

    def issue(self, principal: Principal, audience: str, version: int = 1, lifetime: int = 86399) -> str:
        """An access token (RFC 7519) for a principal."""
        now = int(self.world.clock.now())
        claims: dict[str, t.Any] = {
            "aud": audience,
            "iss": self.issuer(version),
            "iat": now,
            "nbf": now,
            "exp": now + lifetime,
            "oid": principal.object_id,
            "sub": principal.object_id,
            "tid": self.world.tenant_id,
            "appid" if version == 1 else "azp": principal.app_id,
            "idtyp": "app",
            "ver": f"{version}.0",
            "uti": self.world.hex(22),
        }
        if principal.resource_id:
            claims["xms_mirid"] = principal.resource_id
        header = {"typ": "JWT", "alg": "RS256", "kid": self.kid, "x5t": self.kid}
        signed = ".".join(b64u(json.dumps(part, separators=(",", ":")).encode()) for part in (header, claims))
        return f"{signed}.{b64u(self._key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"

    def verify(self, token: str, audiences: t.Iterable[str]) -> dict[str, t.Any]:
        """Claims of a valid token for one of the audiences. Raises TokenError."""
        try:
            header, body, signature = token.split(".")
            parsed = json.loads(unb64u(header))
            claims: dict[str, t.Any] = json.loads(unb64u(body))
            raw = unb64u(signature)
        except ValueError as error:
            raise TokenError("malformed") from error
        if not isinstance(parsed, dict) or not isinstance(claims, dict):
            raise TokenError("malformed")
        if parsed.get("alg") != "RS256" or parsed.get("kid") != self.kid:
            raise TokenError("signature")
        try:
            self._key.public_key().verify(raw, f"{header}.{body}".encode(), padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature as error:
            raise TokenError("signature") from error
        if claims["tid"] != self.world.tenant_id or claims["iss"] not in (self.issuer(1), self.issuer(2)):
            raise TokenError("issuer", str(claims["iss"]))
        if claims["aud"].rstrip("/") not in {audience.rstrip("/") for audience in audiences}:
            raise TokenError("audience", str(claims["aud"]))
        if not claims["nbf"] - 300 <= self.world.clock.now() <= claims["exp"]:
            raise TokenError("expired", str(claims["exp"]))
        return claims


def _error(status: int, code: str, number: int, text: str) -> Refusal:
    document = {
        "error": code,
        "error_description": f"AADSTS{number}: {text}",
        "error_codes": [number],
        "trace_id": "00000000-0000-0000-0000-000000000000",
    }
    return Refusal(status, document, clause=f"entra.AADSTS{number}")


class EntraService:
    """The HTTP face."""

    name = "entra"

    def __init__(self, world: World) -> None:
        self.world = world

    def serves(self, host: str) -> bool:
        return host in HOSTS

    def operation(self, request: Request) -> str:
        path = request.path.rstrip("/")
        for end, name in (
            ("/oauth2/v2.0/token", "token_v2"),
            ("/oauth2/token", "token_v1"),
            ("/.well-known/openid-configuration", "discovery"),
            ("/keys", "keys"),
            ("/discovery/instance", "instance_discovery"),
        ):
            if path.endswith(end):
                return name
        return "unknown"

    async def handle(self, request: Request) -> Response:
        entra: Entra = self.world.services["entra"]
        operation = self.operation(request)
        tenant = request.path.split("/")[1]
        if operation == "instance_discovery":
            return Response.of(self._instance())
        if operation == "unknown":
            return Response.of({"error": "invalid_request"}, 404)
        if tenant.lower() not in (self.world.tenant_id, "common", "organizations"):
            raise _error(400, "invalid_tenant", 90002, f"Tenant '{tenant}' not found.")
        if operation == "discovery":
            return Response.of(self._discovery(tenant, 2 if "/v2.0/" in request.path else 1))
        if operation == "keys":
            return Response.of(entra.jwks())
        if request.method != "POST":
            return Response.of({"error": "invalid_request"}, 405)
        return self._token(request, entra, 2 if operation == "token_v2" else 1)

    def _instance(self) -> dict[str, t.Any]:
        hosts = ["login.microsoftonline.com", "login.windows.net", "login.microsoft.com", "sts.windows.net"]
        return {
            "tenant_discovery_endpoint": f"https://{hosts[0]}/{self.world.tenant_id}/v2.0/.well-known/openid-configuration",
            "api-version": "1.1",
            "metadata": [{"preferred_network": hosts[0], "preferred_cache": "login.windows.net", "aliases": hosts}],
        }

    def _discovery(self, tenant: str, version: int) -> dict[str, t.Any]:
        entra: Entra = self.world.services["entra"]
        base = f"https://login.microsoftonline.com/{tenant}"
        middle = "/oauth2/v2.0" if version == 2 else "/oauth2"
        return {
            "issuer": entra.issuer(version),
            "authorization_endpoint": f"{base}{middle}/authorize",
            "token_endpoint": f"{base}{middle}/token",
            "device_authorization_endpoint": f"{base}{middle}/devicecode",
            "jwks_uri": f"{base}/discovery/{'v2.0/' if version == 2 else ''}keys",
            "response_types_supported": ["code", "id_token"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
            "tenant_region_scope": "EU",
            "cloud_instance_name": "microsoftonline.com",
        }

    def _token(self, request: Request, entra: Entra, version: int) -> Response:
        # Microsoft's C++ client encodes nothing and has a blank behind "scope=": forgiven, as the real service does.
        form = {
            name: value.strip()
            for name, value in parse_qsl(request.body.decode("utf-8", "replace"), keep_blank_values=True)
        }
        unknown = set(form) - FIELDS
        if unknown:
            raise _error(400, "invalid_request", 900144, f"The request body has unknown parameters: {sorted(unknown)}.")
        if form.get("grant_type") != "client_credentials":
            raise _error(
                400,
                "unsupported_grant_type",
                70003,
                f"The grant type '{form.get('grant_type')}' is not supported here.",
            )
        principal = next((p for p in self.world.principals.values() if p.app_id == form.get("client_id")), None)
        if principal is None or principal.kind != "application":
            raise _error(
                400,
                "unauthorized_client",
                700016,
                f"Application with identifier '{form.get('client_id')}' was not found.",
            )
        if principal.secret is None or form.get("client_secret") != principal.secret:
            raise _error(401, "invalid_client", 7000215, "Invalid client secret provided.")
        wanted = form.get("scope", "").removesuffix("/.default") if version == 2 else form.get("resource", "")
        if wanted.rstrip("/") not in AUDIENCES:
            raise _error(
                400, "invalid_resource", 500011, f"The resource principal named {wanted} was not found in the tenant."
            )
        lifetime = 3599
        now = int(self.world.clock.now())
        document: dict[str, t.Any] = {
            "token_type": "Bearer",
            "expires_in": lifetime if version == 2 else str(lifetime),
            "ext_expires_in": lifetime if version == 2 else str(lifetime),
            "access_token": entra.issue(principal, wanted, version, lifetime),
        }
        if version == 1:
            document |= {"expires_on": str(now + lifetime), "not_before": str(now), "resource": wanted}
        return Response.of(document, headers={"Cache-Control": "no-store"}, principal=principal.object_id)
