# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls a simulated vault in process, with a stand-in attestation authority whose tokens a test can forge at will."""

from __future__ import annotations

import asyncio
import base64
import copy
import datetime
import functools
import json
import typing as t
from urllib.parse import parse_qsl, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap_with_padding
from cryptography.x509.oid import NameOID

from skrsim.core.app import App
from skrsim.core.messages import Request, Response
from skrsim.core.world import AccessPolicy, Key, KeyVersion, Principal, Vault, World
from skrsim.services.arm import seed
from skrsim.services.keyvault import policy as vault_policy

AUTHORITY = "authority.example"
API = "2025-07-01"
HASHES: dict[str, type[hashes.HashAlgorithm]] = {
    "CKM_RSA_AES_KEY_WRAP": hashes.SHA1,
    "RSA_AES_KEY_WRAP_256": hashes.SHA256,
    "RSA_AES_KEY_WRAP_384": hashes.SHA384,
}
TEE = "x-ms-isolation-tee"
POLICY: dict[str, t.Any] = {
    "anyOf": [
        {
            "allOf": [
                {"claim": f"{TEE}.x-ms-attestation-type", "equals": "sevsnpvm"},
                {"claim": f"{TEE}.x-ms-compliance-status", "equals": "azure-compliant-cvm"},
                {"claim": f"{TEE}.x-ms-sevsnpvm-is-debuggable", "equals": False},
                {"claim": "secureboot", "equals": True},
            ],
            "authority": f"https://{AUTHORITY}/",
        }
    ],
    "version": "1.0.0",
}


def b64u(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64u(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def encoded(document: t.Any) -> str:
    return b64u(json.dumps(document).encode())


def release_policy(document: t.Any = None, **members: t.Any) -> dict[str, t.Any]:
    """The ``release_policy`` member of a key."""
    return {"data": encoded(POLICY if document is None else document), **members}


@functools.cache
def rsa_key(label: str) -> rsa.RSAPrivateKey:
    """One key a name, made once for all tests."""
    assert label
    return rsa.generate_private_key(65537, 2048)


@functools.cache
def ec_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def certificate(key: rsa.RSAPrivateKey) -> bytes:
    """A self-signed certificate, as attestation providers publish their keys (DER)."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"SIMULATED {AUTHORITY}")])
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now - datetime.timedelta(days=1))
    return (
        builder.not_valid_after(now + datetime.timedelta(days=9))
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.DER)
    )


def public_jwk(key: rsa.RSAPrivateKey, kid: str | None, **members: t.Any) -> dict[str, t.Any]:
    numbers = key.public_key().public_numbers()
    found = {"kty": "RSA", "n": b64u(numbers.n.to_bytes(256, "big")), "e": "AQAB", **members}
    return found | ({"kid": kid} if kid else {})


class Authority:
    """An attestation provider as a vault sees it: an OpenID document and keys. ``entries`` and ``pages`` can be spoilt."""

    name = "authority"

    def __init__(self, world: World, host: str = AUTHORITY) -> None:
        self.world, self.host, self.url = world, host, f"https://{host}"
        self.key, self.kid = rsa_key("authority"), "signing-key-1"
        x5c = [base64.b64encode(certificate(self.key)).decode()]
        self.entries: t.Any = [{"kty": "RSA", "kid": self.kid, "x5c": x5c}]
        self.pages: dict[str, Response] = {}  # operation -> answer instead of the right one

    def serves(self, host: str) -> bool:
        return host == self.host

    def operation(self, request: Request) -> str:
        return "openid" if request.path.endswith("/.well-known/openid-configuration") else "certs"

    async def handle(self, request: Request) -> Response:
        operation = self.operation(request)
        if operation in self.pages:
            return self.pages[operation]
        document = {"issuer": self.url, "jwks_uri": f"{self.url}/certs"}
        return Response.of(document if operation == "openid" else {"keys": self.entries})

    def claims(self) -> dict[str, t.Any]:
        """What a compliant SNP guest's token says."""
        now = int(self.world.clock.now())
        return {
            "iss": self.url,
            "iat": now,
            "nbf": now,
            "exp": now + 28800,
            "secureboot": True,
            "x-ms-attestation-type": "azurevm",
            TEE: {
                "x-ms-attestation-type": "sevsnpvm",
                "x-ms-compliance-status": "azure-compliant-cvm",
                "x-ms-sevsnpvm-is-debuggable": False,
                "x-ms-runtime": {"keys": [public_jwk(rsa_key("hcl"), "HCLAkPub", key_ops=["encrypt"])]},
            },
            "x-ms-runtime": {
                "keys": [public_jwk(rsa_key("tpm"), "TpmEphemeralEncryptionKey", key_ops=["encrypt"])],
            },
        }

    def sign(
        self,
        claims: t.Any,
        key: rsa.RSAPrivateKey | None = None,
        algorithm: hashes.HashAlgorithm | None = None,
        **header: t.Any,
    ) -> str:
        head = {"alg": "RS256", "kid": self.kid, "typ": "JWT", **header}
        signed = f"{encoded(head)}.{encoded(claims)}"
        signature = (key or self.key).sign(signed.encode(), padding.PKCS1v15(), algorithm or hashes.SHA256())
        return f"{signed}.{b64u(signature)}"

    def token(self, **changes: t.Any) -> str:
        """A good token but for ``changes``: claim paths, with ``__`` between the parts, None to leave one out."""
        claims = copy.deepcopy(self.claims())
        for path, value in changes.items():
            *outer, last = path.replace("isolation_tee", TEE).split("__")
            where = claims
            for part in outer:
                where = where[part]
            if value is None:
                del where[last]
            else:
                where[last] = value
        return self.sign(claims)


class Answer(t.NamedTuple):
    status: int
    document: t.Any
    headers: dict[str, str]
    audit: dict[str, t.Any]

    @property
    def message(self) -> str:
        return str(self.document["error"]["message"])

    @property
    def inner(self) -> str:
        return str(self.document["error"].get("innererror", {}).get("code", ""))

    @property
    def clause(self) -> str:
        return str(self.audit["clause"])


class VaultLab:
    """A Premium vault in RBAC mode, an officer who may do everything in it, and the stand-in authority."""

    def __init__(self, app: App, sockets: bool = False) -> None:
        """``sockets``: the vault reaches the authority through the running listener, not in process."""
        self.app, self.world = app, app.world
        seed.resource_group(self.world, "rg-test", "westeurope")
        self.vault = self.add_vault("v", rbac=True)
        self.officer = seed.application(
            self.world, "officer", "s", [("Key Vault Administrator", self.vault.id), ("Reader", self.vault.id)]
        )
        self.authority = Authority(self.world)
        app.services.append(self.authority)
        if not sockets:
            self.world.services["fetch"] = self._fetch

    def add_vault(self, name: str, **members: t.Any) -> Vault:
        world = self.world
        vault = Vault(name, world.subscription_id, "rg-test", "westeurope", world.tenant_id, **members)
        world.vaults[name.lower()] = vault
        return vault

    async def _fetch(self, url: str) -> Response:
        """The simulated network without sockets."""
        parts = urlsplit(url)
        host = parts.hostname or ""
        if parts.scheme != "https" or parts.port or not self.app.serves(host):
            raise OSError(f"{host}: no such host")
        return (await self.app.handle(Request("GET", "https", host, parts.path)))[0]

    def application(self, name: str, *granted: str | tuple[str, str]) -> Principal:
        return seed.application(self.world, name, "s", granted)

    def permit(self, principal: Principal, *permissions: str, vault: Vault | None = None) -> None:
        """An access policy entry for keys."""
        entry = AccessPolicy(self.world.tenant_id, principal.object_id, {"keys": list(permissions)})
        (vault or self.vault).access_policies.append(entry)

    def token(
        self, principal: Principal | None = None, audience: str = "https://vault.azure.net", **more: t.Any
    ) -> str:
        return str(self.world.services["entra"].issue(principal or self.officer, audience, **more))

    def __call__(
        self,
        method: str,
        target: str,
        body: t.Any = None,
        *,
        by: Principal | None = None,
        api: str | None = API,
        authorization: str | None = None,
        vault: str = "v",
        vm: str | None = None,
        address: str = "127.0.0.1",
    ) -> Answer:
        path, _mark, query = target.partition("?")
        pairs = ([("api-version", api)] if api is not None else []) + parse_qsl(query, keep_blank_values=True)
        headers = {"authorization": f"Bearer {self.token(by)}" if authorization is None else authorization}
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        host = f"{vault}.vault.azure.net"
        request = Request(method, "https", host, path, tuple(pairs), headers, data, vm, address)
        response, _fault = asyncio.run(self.app.handle(request))
        audit = self.world.audit.records()[-1]
        return Answer(response.status, response.json(), response.headers, audit)

    def key(
        self, name: str = "app", exportable: bool = True, versions: int = 1, private: t.Any = None, **members: t.Any
    ) -> Key:
        """A key that is there already."""
        now = int(self.world.clock.now())
        stored = vault_policy.stored_form(encoded(members.pop("policy", POLICY))) if exportable else None
        made = Key(name, "v", exportable=exportable, release_policy=stored, **members)
        for number in range(versions):
            material = private or rsa_key(f"{name}-{number}")
            kind, curve = ("EC-HSM", "P-256") if isinstance(material, ec.EllipticCurvePrivateKey) else ("RSA-HSM", None)
            made.versions.append(
                KeyVersion(
                    self.world.hex(32), kind, material, ["sign", "verify"], now + number, now + number, curve=curve
                )
            )
        self.world.keys["v", name.lower()] = made
        return made

    def paged(self, target: str) -> tuple[list[dict[str, t.Any]], list[int]]:
        """All items of a list, and how many each page had."""
        found: list[dict[str, t.Any]] = []
        sizes = []
        api: str | None = API
        while target:
            document = self("GET", target, api=api).document
            found += document["value"]
            sizes.append(len(document["value"]))
            target, api = (document["nextLink"] or "").removeprefix("https://v.vault.azure.net"), None
        return found, sizes

    def release(
        self, path: str = "/keys/app/release", token: str | None = None, *, body: t.Any = None, **more: t.Any
    ) -> Answer:
        document = {"target": self.authority.token() if token is None else token, "enc": "RSA_AES_KEY_WRAP_256"}
        return self("POST", path, document | (body or {}), **more)


def opened(answer: Answer) -> tuple[dict[str, t.Any], dict[str, t.Any], dict[str, t.Any]]:
    """Header, payload and ``key_hsm`` of a release, none of them verified."""
    assert answer.status == 200, answer.document
    header, payload, _signature = (unb64u(part) for part in answer.document["value"].split("."))
    document = json.loads(payload)
    return json.loads(header), document, json.loads(unb64u(document["response"]["key"]["key"]["key_hsm"]))


def unwrapped(hsm: t.Mapping[str, t.Any], kek: rsa.RSAPrivateKey | None = None) -> t.Any:
    """The released private key. Raises ValueError or InvalidUnwrap."""
    ciphertext = unb64u(hsm["ciphertext"])
    digest = HASHES[hsm["header"]["enc"]]
    oaep = padding.OAEP(padding.MGF1(digest()), digest(), None)
    inner = (kek or rsa_key("tpm")).decrypt(ciphertext[:256], oaep)
    assert len(inner) == 32
    return serialization.load_der_private_key(aes_key_unwrap_with_padding(inner, ciphertext[256:]), None)
