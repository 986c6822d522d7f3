# SPDX-License-Identifier: GPL-3.0-or-later
"""One authorized call to a vault."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ...core.messages import Request, Response
from ...core.world import Key, Principal, Vault, World
from .errors import bad, key_not_found

NAME = re.compile(r"[0-9a-zA-Z-]{1,127}")
VERSIONS = ("2016-10-01", "7.0", "7.1", "7.2", "7.3", "7.4", "7.5", "7.6-preview.2", "7.6", "2025-07-01", "2026-04-01")


@dataclasses.dataclass
class Call:
    """A request to one vault; ``name`` and ``version`` come from the path and may be empty."""

    world: World
    request: Request
    vault: Vault
    principal: Principal
    name: str = ""
    version: str = ""
    groups: dict[str, str] = dataclasses.field(default_factory=dict)  # the named parts of the path

    @property
    def now(self) -> float:
        return self.world.clock.now()

    def slot(self, name: str) -> tuple[str, str]:
        return self.vault.slot, name.lower()

    def key(self) -> Key:
        found = self.world.keys.get(self.slot(self.name))
        if found is None:
            raise key_not_found(self.name)
        return found

    def key_name(self) -> str:
        if not NAME.fullmatch(self.name):
            raise bad(f"The key name '{self.name}' is not valid.")
        return self.name

    def body(self) -> t.Any:
        try:
            return self.request.json() or {}
        except ValueError:
            raise bad("The request body is not JSON.") from None

    def exportable_asked(self) -> bool:
        attributes = self.body().get("attributes")
        return isinstance(attributes, dict) and bool(attributes.get("exportable"))

    def version_at_least(self, wanted: str) -> bool:
        return VERSIONS.index(str(self.request.param("api-version"))) >= VERSIONS.index(wanted)

    def _number(self, name: str, default: int, least: int, most: int) -> int:
        text = self.request.param(name)
        if text is None:
            return default
        if not (text.isascii() and text.isdigit()) or not least <= int(text) <= most:
            raise bad(f"The query parameter '{name}' must be a number from {least} to {most}.")
        return int(text)

    def page(self, items: list[t.Any]) -> Response:
        size, start = self._number("maxresults", 25, 1, 25), self._number("$skiptoken", 0, 0, len(items))
        document: dict[str, t.Any] = {"value": items[start : start + size], "nextLink": None}
        if start + size < len(items):
            version = self.request.param("api-version")
            url = f"{self.request.base_url}{self.request.path}"
            document["nextLink"] = f"{url}?api-version={version}&$skiptoken={start + size}&maxresults={size}"
        return Response.of(document)
