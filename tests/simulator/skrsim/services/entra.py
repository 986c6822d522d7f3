# SPDX-License-Identifier: GPL-3.0-or-later
"""Microsoft Entra ID: discovery, signing keys, tokens of v1 and v2, and token checks for the services.

The same directory stands behind the sign-in hosts of all clouds; a token is for one cloud's services. In the cloud
that has AD FS, it answers under AD FS's paths and with its words.
"""

from __future__ import annotations

import base64
import hashlib
import json
import typing as t
from urllib.parse import parse_qsl, urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from ..core import clouds
from ..core.messages import Refusal, Request, Response
from ..core.world import Principal, World
from .entra_errors import adfs_error, error
from .entra_grants import Grants

MINIMUM_LIFETIME = 3599


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

    def issuer(self, version: int, cloud: clouds.Cloud = clouds.PUBLIC) -> str:
        tenant = self.world.tenant_id
        if cloud.adfs:
            return f"https://{cloud.login}/adfs"
        return f"https://{cloud.sts}/{tenant}/" if version == 1 else f"https://{cloud.login}/{tenant}/v2.0"

    def issue(
        self, principal: Principal, audience: str, version: int = 1, lifetime: int = 86399, client: str | None = None
    ) -> str:
        """An access token (RFC 7519) for a principal; ``client`` is the application through which a user signs in."""
        now = int(self.world.clock.now())
        claims: dict[str, t.Any] = {
            "aud": audience,
            "iss": self.issuer(version, clouds.by_audience(audience)),
            "iat": now,
            "nbf": now,
            "exp": now + lifetime,
            "oid": principal.object_id,
            "sub": principal.object_id,
            "tid": self.world.tenant_id,
            "appid" if version == 1 else "azp": client or principal.app_id,
            "idtyp": "user" if principal.kind == "user" else "app",
            "ver": f"{version}.0",
            "uti": self.world.hex(22),
        }
        if principal.kind == "user":
            claims |= {"upn": principal.name, "scp": "user_impersonation"}
        if principal.resource_id:
            claims["xms_mirid"] = principal.resource_id
        return self.sign(claims)

    def identity_token(self, principal: Principal, client: str, cloud: clouds.Cloud) -> str:
        """What tells an application who the user is (OpenID Connect)."""
        now = int(self.world.clock.now())
        return self.sign(
            {
                "aud": client,
                "iss": self.issuer(2, cloud),
                "iat": now,
                "nbf": now,
                "exp": now + MINIMUM_LIFETIME,
                "oid": principal.object_id,
                "sub": principal.object_id,
                "tid": self.world.tenant_id,
                "preferred_username": principal.name,
                "ver": "2.0",
            }
        )

    def sign(self, claims: dict[str, t.Any]) -> str:
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
        cloud = clouds.by_audience(claims["aud"])
        if claims["tid"] != self.world.tenant_id or claims["iss"] not in (self.issuer(1, cloud), self.issuer(2, cloud)):
            raise TokenError("issuer", str(claims["iss"]))
        if claims["aud"].rstrip("/") not in {audience.rstrip("/") for audience in audiences}:
            raise TokenError("audience", str(claims["aud"]))
        if not claims["nbf"] - 300 <= self.world.clock.now() <= claims["exp"]:
            raise TokenError("expired", str(claims["exp"]))
        return claims


class EntraService:
    """The HTTP face."""

    name = "entra"

    def __init__(self, world: World) -> None:
        self.world = world
        self._grants = Grants(world)

    def serves(self, host: str) -> bool:
        return clouds.by_login(host) is not None

    def operation(self, request: Request) -> str:
        path = request.path.rstrip("/")
        if "/userrealm/" in path:
            return "user_realm"
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
        cloud = clouds.by_login(request.host) or clouds.PUBLIC
        operation = self.operation(request)
        tenant = request.path.split("/")[1]
        if operation == "unknown" or cloud.adfs and (tenant.lower() != "adfs" or operation == "token_v2"):
            return Response.of({"error": "invalid_request"}, 404)
        if operation == "instance_discovery":
            return Response.of(self._instance(request))
        if operation == "user_realm":
            return Response.of(self._realm(request.path.rstrip("/").rpartition("/")[2]))
        if not cloud.adfs and tenant.lower() not in (self.world.tenant_id, "common", "organizations"):
            raise error(400, "invalid_tenant", 90002, f"Tenant '{tenant}' not found.")
        if operation == "discovery":
            return Response.of(self._discovery(cloud, tenant, 2 if "/v2.0/" in request.path else 1))
        if operation == "keys":
            return Response.of(entra.jwks())
        if request.method != "POST":
            return Response.of({"error": "invalid_request"}, 405)
        return await self._token(request, entra, cloud, 2 if operation == "token_v2" else 1)

    def _instance(self, request: Request) -> dict[str, t.Any]:
        """The list of Microsoft's own authorities; it does not know others."""
        asked = urlsplit(request.param("authorization_endpoint") or "").hostname
        known = [cloud for cloud in clouds.CLOUDS.values() if not cloud.name.endswith("Sim")]
        if asked and not any(asked in cloud.logins for cloud in known):
            raise error(400, "invalid_instance", 50049, "Unknown or invalid instance.")
        hosts = ["login.microsoftonline.com", "login.windows.net", "login.microsoft.com", "sts.windows.net"]
        entries = [{"preferred_network": hosts[0], "preferred_cache": "login.windows.net", "aliases": hosts}]
        entries += [
            {"preferred_network": cloud.login, "preferred_cache": cloud.login, "aliases": [cloud.login]}
            for cloud in known
            if cloud is not clouds.PUBLIC
        ]
        return {
            "tenant_discovery_endpoint": f"https://{asked or hosts[0]}/{self.world.tenant_id}/v2.0/.well-known/openid-configuration",
            "api-version": "1.1",
            "metadata": entries,
        }

    def _realm(self, user: str) -> dict[str, t.Any]:
        """Whether a user's password is checked here or by a federation server; here are only users of the first kind."""
        found = self._grants.user(user) is not None
        return {
            "ver": "1.0",
            "account_type": "Managed" if found else "Unknown",
            "domain_name": user.rpartition("@")[2],
            "cloud_instance_name": "microsoftonline.com",
            "cloud_audience_urn": "urn:federation:MicrosoftOnline",
        }

    def _discovery(self, cloud: clouds.Cloud, tenant: str, version: int) -> dict[str, t.Any]:
        entra: Entra = self.world.services["entra"]
        base = f"https://{cloud.login}/{tenant}"
        middle = "/oauth2/v2.0" if version == 2 else "/oauth2"
        return {
            "issuer": entra.issuer(version, cloud),
            "authorization_endpoint": f"{base}{middle}/authorize",
            "token_endpoint": f"{base}{middle}/token",
            "device_authorization_endpoint": f"{base}{middle}/devicecode",
            "jwks_uri": f"{base}/discovery/{'v2.0/' if version == 2 else ''}keys",
            "response_types_supported": ["code", "id_token"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
            "tenant_region_scope": "EU",
            "cloud_instance_name": cloud.login.partition(".")[2],
        }

    async def _token(self, request: Request, entra: Entra, cloud: clouds.Cloud, version: int) -> Response:
        # Microsoft's C++ client encodes nothing and has a blank behind "scope=": forgiven, as the real service does.
        form = {
            name: value.strip()
            for name, value in parse_qsl(request.body.decode("utf-8", "replace"), keep_blank_values=True)
        }
        try:
            granted = await self._grants.check(form, cloud, request)
            # AD FS takes scopes at its only endpoint; Entra's first version takes resources.
            wanted, oidc = _wanted(form, 2 if cloud.adfs else version)
            if wanted.rstrip("/") not in cloud.resources:
                raise error(
                    400,
                    "invalid_resource",
                    500011,
                    f"The resource principal named {wanted} was not found in the tenant.",
                )
        except Refusal as refusal:
            raise adfs_error(refusal) if cloud.adfs else refusal from None
        now = int(self.world.clock.now())
        numeric = version == 2 or cloud.adfs
        document: dict[str, t.Any] = {
            "token_type": "Bearer",
            "expires_in": MINIMUM_LIFETIME if numeric else str(MINIMUM_LIFETIME),
            "ext_expires_in": MINIMUM_LIFETIME if numeric else str(MINIMUM_LIFETIME),
            "access_token": entra.issue(granted.principal, wanted, version, MINIMUM_LIFETIME, granted.client),
        }
        if not numeric:
            document |= {"expires_on": str(now + MINIMUM_LIFETIME), "not_before": str(now), "resource": wanted}
        if granted.principal.kind == "user":
            document |= self._user_members(entra, granted.principal, granted.client, cloud, oidc)
        return Response.of(
            document,
            headers={"Cache-Control": "no-store"},
            principal=granted.principal.object_id,
            clause=granted.clause,
        )

    def _user_members(
        self, entra: Entra, user: Principal, client: str, cloud: clouds.Cloud, oidc: set[str]
    ) -> dict[str, t.Any]:
        who = json.dumps({"uid": user.object_id, "utid": self.world.tenant_id}).encode()
        made: dict[str, t.Any] = {"client_info": b64u(who), "scope": " ".join(sorted(oidc))}
        if "openid" in oidc:
            made["id_token"] = entra.identity_token(user, client, cloud)
        if "offline_access" in oidc:
            made["refresh_token"] = self._grants.refresh_token(user, client)
        return made


def _wanted(form: dict[str, str], version: int) -> tuple[str, set[str]]:
    """The resource that the token shall be for, and the scopes of OpenID Connect beside it."""
    if version == 1:
        return form.get("resource", ""), set()
    asked = form.get("scope", "").split()
    oidc = {"openid", "profile", "offline_access", "email"} & set(asked)
    rest = [scope for scope in asked if scope not in oidc]
    if len(rest) != 1:
        raise error(
            400, "invalid_scope", 70011, f"The provided value for the input parameter 'scope' is not valid: {asked}."
        )
    return rest[0].removesuffix("/.default"), oidc
