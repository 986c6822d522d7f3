# SPDX-License-Identifier: GPL-3.0-or-later
"""An issuer of tokens outside of Azure, such as a Kubernetes cluster or a CI system: what workload identities come from.

It serves its keys as OpenID Connect Discovery says; Entra fetches them over the network.
"""

from __future__ import annotations

import json
import typing as t

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from ..core.messages import Request, Response
from ..core.world import World
from .entra import b64u
from .entra_grants import EXCHANGE

HOST = "oidc.workload.sim"
ISSUER = f"https://{HOST}/cluster-1"


class IssuerService:
    name = "issuer"

    def __init__(self, world: World) -> None:
        self.world = world
        self._key = rsa.generate_private_key(65537, 2048)
        world.services["issuer"] = self

    def serves(self, host: str) -> bool:
        return host == HOST

    def operation(self, request: Request) -> str:
        names = {"/cluster-1/.well-known/openid-configuration": "discovery", "/cluster-1/keys": "keys"}
        return names.get(request.path, "unknown")

    async def handle(self, request: Request) -> Response:
        operation = self.operation(request)
        if operation == "unknown" or request.method != "GET":
            return Response.of({"error": "not_found"}, 404)
        if operation == "keys":
            numbers = self._key.public_key().public_numbers()
            n = b64u(numbers.n.to_bytes(256, "big"))
            return Response.of(
                {"keys": [{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "1", "n": n, "e": "AQAB"}]}
            )
        return Response.of(
            {
                "issuer": ISSUER,
                "jwks_uri": f"{ISSUER}/keys",
                "response_types_supported": ["id_token"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["RS256"],
            }
        )

    def token(self, subject: str, audience: str = EXCHANGE, lifetime: int = 3600, **changes: t.Any) -> str:
        """A token about a workload; ``changes`` are claims that differ, and ``kid`` the header's key id."""
        now = int(self.world.clock.now())
        header = {"alg": "RS256", "typ": "JWT", "kid": changes.pop("kid", "1")}
        claims = {
            "iss": ISSUER,
            "sub": subject,
            "aud": audience,
            "iat": now,
            "nbf": now,
            "exp": now + lifetime,
            **changes,
        }
        signed = ".".join(b64u(json.dumps(part).encode()) for part in (header, claims))
        return f"{signed}.{b64u(self._key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"
