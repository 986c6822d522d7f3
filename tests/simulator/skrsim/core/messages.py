# SPDX-License-Identifier: GPL-3.0-or-later
"""What a service gets and what it gives back, whatever door the call came through."""

from __future__ import annotations

import dataclasses
import json
import typing as t


@dataclasses.dataclass(frozen=True)
class Request:
    """One HTTP request.

    ``path`` is as sent, percent-decoded but never normalised: ``//`` and a trailing slash are kept,
    because unmodified clients send them. ``vm`` is the VM whose network the call came from, decided
    by the door (source address, proxy user or loopback port), None for the controller.
    """

    method: str
    scheme: str
    host: str  # lower case, without port
    path: str
    query: tuple[tuple[str, str], ...] = ()
    headers: t.Mapping[str, str] = dataclasses.field(default_factory=dict)  # lower-case names
    body: bytes = b""
    vm: str | None = None
    client_address: str = "127.0.0.1"
    port: int = 443
    connection: int = 0  # which connection it came over, numbered through

    def param(self, name: str) -> str | None:
        """The first value of a query parameter."""
        return next((v for k, v in self.query if k == name), None)

    def json(self) -> t.Any:
        """The body as JSON; None when empty. Raises ValueError on malformed JSON."""
        return json.loads(self.body) if self.body else None

    @property
    def base_url(self) -> str:
        default = 443 if self.scheme == "https" else 80
        return f"{self.scheme}://{self.host}" + ("" if self.port == default else f":{self.port}")


@dataclasses.dataclass
class Response:
    """One HTTP response and what the audit log shall say about it.

    ``audit`` takes: operation, principal, decision, clause, write (state was changed), and facts.
    """

    status: int
    body: bytes = b""
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    audit: dict[str, t.Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, document: t.Any, status: int = 200, headers: dict[str, str] | None = None, **audit: t.Any) -> Response:
        """A JSON response."""
        return cls(
            status,
            json.dumps(document, separators=(",", ":")).encode(),
            {"Content-Type": "application/json; charset=utf-8", **(headers or {})},
            audit,
        )

    def json(self) -> t.Any:
        return json.loads(self.body) if self.body else None


class Refusal(Exception):
    """A service says no. ``document`` is the whole JSON error body in that service's own shape."""

    def __init__(
        self,
        status: int,
        document: t.Any,
        headers: dict[str, str] | None = None,
        clause: str = "",
        **audit: t.Any,
    ) -> None:
        super().__init__(f"{status} {clause or document}")
        self.response = Response.of(document, status, headers, decision="refused", clause=clause, **audit)


class Service(t.Protocol):
    """One simulated service. ``operation`` names the call for faults and audit before it runs."""

    name: str

    def serves(self, host: str) -> bool: ...

    def operation(self, request: Request) -> str: ...

    async def handle(self, request: Request) -> Response: ...
