# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls Resource Manager in process, as a principal with a real token, and keeps what the audit log said."""

from __future__ import annotations

import asyncio
import json
import typing as t
from urllib.parse import parse_qsl, urlsplit

from skrsim.core.app import App
from skrsim.core.messages import Request
from skrsim.core.world import Principal, World

AUDIENCE = "https://management.azure.com/"
COMPUTE, VAULT, ROLE, IDENTITY = "2026-04-01", "2026-05-15", "2022-04-01", "2024-11-30"


class Answer(t.NamedTuple):
    status: int
    document: t.Any
    headers: dict[str, str]
    audit: dict[str, t.Any]

    @property
    def code(self) -> str:
        return str(self.document["error"]["code"])

    @property
    def message(self) -> str:
        return str(self.document["error"]["message"])


class Caller:
    """One principal at the door of ``management.azure.com``."""

    def __init__(self, app: App, principal: Principal) -> None:
        self.app, self.world, self.principal = app, app.world, principal
        self.token = app.world.services["entra"].issue(principal, AUDIENCE)

    @property
    def subscription(self) -> str:
        return f"/subscriptions/{self.world.subscription_id}"

    def __call__(
        self,
        method: str,
        path: str,
        body: t.Any = None,
        version: str | None = COMPUTE,
        query: t.Mapping[str, str] | None = None,
        headers: t.Mapping[str, str] | None = None,
    ) -> Answer:
        pairs = [("api-version", version)] if version else []
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        sent = {"authorization": f"Bearer {self.token}", "content-type": "application/json", **(headers or {})}
        request = Request(method, "https", "management.azure.com", path, (*pairs, *(query or {}).items()), sent, data)
        response, _fault = asyncio.run(self.app.handle(request))
        record = self.world.audit.records()[-1]
        return Answer(response.status, response.json(), response.headers, record)

    def follow(self, link: str) -> Answer:
        """GET an absolute link of an earlier answer."""
        parts = urlsplit(link)
        assert parts.scheme == "https" and parts.netloc == "management.azure.com"
        query = dict(parse_qsl(parts.query))
        return self("GET", parts.path, version=query.pop("api-version"), query=query)

    def every(self, answer: Answer) -> list[t.Any]:
        """All items of a paged list."""
        items = list(answer.document["value"])
        while link := answer.document.get("nextLink"):
            answer = self.follow(link)
            items += answer.document["value"]
        return items


def vm_path(world: World, name: str = "cvm-01", group: str = "rg-test") -> str:
    return f"/subscriptions/{world.subscription_id}/resourceGroups/{group}/providers/Microsoft.Compute/virtualMachines/{name}"


def vault_path(world: World, name: str = "kv-test", group: str = "rg-test") -> str:
    return f"/subscriptions/{world.subscription_id}/resourceGroups/{group}/providers/Microsoft.KeyVault/vaults/{name}"


def role_path(scope: str, name: str) -> str:
    return f"{scope}/providers/Microsoft.Authorization/roleAssignments/{name}"


def vault_body(world: World, **properties: t.Any) -> dict[str, t.Any]:
    """A vault as the documentation's example has it, with changes."""
    wanted = {
        "tenantId": world.tenant_id,
        "sku": {"family": "A", "name": "premium"},
        "enableRbacAuthorization": True,
        **properties,
    }
    return {"location": "westeurope", "properties": {name: value for name, value in wanted.items() if value is not ...}}
