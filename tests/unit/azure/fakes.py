# SPDX-License-Identifier: GPL-3.0-or-later
"""Stand-ins for what the SDKs give: error answers, resources in wire names, keys."""

from __future__ import annotations

import dataclasses
import datetime
import json
from typing import Any

from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
    map_error,
)
from azure.core.pipeline.transport import HttpRequest

from ansible_collections.confidential.azure_skr.plugins.module_utils.azure.clients import Connection
from ansible_collections.confidential.azure_skr.plugins.module_utils.azure.cloud import CLOUDS
from ansible_collections.confidential.azure_skr.plugins.module_utils.azure.credentials import Login

SUBSCRIPTION = "11111111-1111-4111-8111-111111111111"
TENANT = "22222222-2222-4222-8222-222222222222"
ALICE = "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa"
BOB = "bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb"


def login(**changes: Any) -> Login:
    given: dict[str, Any] = {"way": "secret", "cloud": CLOUDS["AzureCloud"], "subscription_id": SUBSCRIPTION}
    return Login(**(given | {"tenant": TENANT, "client_id": ALICE, "secret": "never-shown"} | changes))


def connection(**cache: Any) -> Connection:
    """A connection whose clients (by package name) are stand-ins."""
    return Connection(login(), _cache={name.replace("_", "-"): client for name, client in cache.items()})


class _Response:
    """As much of a response as the SDK's exceptions read."""

    def __init__(self, status: int, document: Any) -> None:
        self.status_code, self.reason = status, "Refused"
        self.headers = {"x-ms-request-id": "request-7", "Content-Type": "application/json"}
        self.request = HttpRequest("GET", "https://management.azure.com/")
        self._text = json.dumps(document)

    def text(self, encoding: str | None = None) -> str:
        return self._text

    def body(self) -> bytes:
        return self._text.encode()


def answer(status: int, code: str, message: str = "why", inner: str | None = None) -> HttpResponseError:
    """The exception that a client raises for an error answer of this status and body."""
    error: dict[str, Any] = {"code": code, "message": message}
    if inner:
        error["innererror"] = {"code": inner}
    response: Any = _Response(status, {"error": error})
    kinds = {
        401: ClientAuthenticationError,
        404: ResourceNotFoundError,
        409: ResourceExistsError,
        412: ResourceModifiedError,
    }
    try:
        map_error(status, response, kinds)
    except HttpResponseError as mapped:
        return mapped
    return HttpResponseError(response=response)


class Model:
    """An SDK model of the newer generation: ``as_dict`` gives wire names."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document
        self.name = document.get("name")

    def as_dict(self) -> dict[str, Any]:
        return self._document


def vault(**properties: Any) -> dict[str, Any]:
    """A vault as the service tells it."""
    members = {"tenantId": TENANT, "sku": {"family": "A", "name": "premium"}, "accessPolicies": []} | properties
    identifier = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg/providers/Microsoft.KeyVault/vaults/kv"
    return {"id": identifier, "name": "kv", "location": "westeurope", "tags": {}, "properties": members}


@dataclasses.dataclass
class _Policy:
    encoded_policy: bytes
    immutable: bool | None = None


@dataclasses.dataclass
class _Jwk:
    n: bytes | None = None
    e: bytes | None = None
    crv: Any = None
    x: bytes | None = None
    y: bytes | None = None


@dataclasses.dataclass
class _Properties:
    version: str
    exportable: bool | None
    release_policy: _Policy | None
    enabled: bool = True
    not_before: datetime.datetime | None = None
    expires_on: datetime.datetime | None = None
    tags: dict[str, str] | None = None


@dataclasses.dataclass
class Key:
    """As much of azure.keyvault.keys' KeyVaultKey as is read."""

    properties: _Properties
    key: _Jwk
    key_type: str = "RSA-HSM"
    key_operations: tuple[str, ...] = ("sign", "verify")
    id: str = "https://kv.vault.azure.net/keys/app/0123456789abcdef0123456789abcdef"


def key(
    policy: Any = None, exportable: bool | None = True, immutable: bool = False, bits: int = 3072, **properties: Any
) -> Key:
    """An exportable RSA key; ``policy`` is a document or raw bytes."""
    text = policy if isinstance(policy, bytes) else json.dumps(policy).encode()
    held = _Policy(text, immutable) if policy is not None else None
    version = properties.pop("version", "0123456789abcdef0123456789abcdef")
    modulus = (1 << (bits - 1) | 1).to_bytes(bits // 8, "big")
    return Key(_Properties(version, exportable, held, **properties), _Jwk(modulus, b"\1\0\1"))
