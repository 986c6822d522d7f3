# SPDX-License-Identifier: GPL-3.0-or-later
"""Microsoft Graph gives names to object ids, to who has a token for it."""

from __future__ import annotations

import asyncio
import json

from skrsim.core.app import App
from skrsim.core.messages import Request, Response
from skrsim.core.world import Principal, World


def ask(app: App, token: str, body: object, path: str = "/v1.0/directoryObjects/getByIds") -> Response:
    headers = {"authorization": f"Bearer {token}"}
    request = Request("POST", "https", "graph.microsoft.com", path, (), headers, json.dumps(body).encode())
    return asyncio.run(app.handle(request))[0]


def test_names_of_object_ids(app: App, world: World, operator: Principal) -> None:
    issue = world.services["entra"].issue
    token = issue(operator, "https://graph.microsoft.com")
    identity = world.new_managed_identity("cvm-01", "")
    found = ask(app, token, {"ids": [identity.object_id, "00000000-0000-0000-0000-000000000000"]}).json()["value"]
    assert [(one["id"], one["displayName"]) for one in found] == [(identity.object_id, "cvm-01")]
    assert ask(app, token, {}).status == 400
    assert ask(app, token, {"ids": []}, "/v1.0/users").status == 404
    assert ask(app, issue(operator, "https://vault.azure.net"), {"ids": []}).status == 401
