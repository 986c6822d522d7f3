# SPDX-License-Identifier: GPL-3.0-or-later
"""All services behind one call: dispatch by host, the fault table, and one audit record per request."""

from __future__ import annotations

import asyncio
import sys
import time
import traceback
import typing as t
from pathlib import Path

from .ca import LabCA
from .faults import TRANSPORT_ACTIONS, Fault
from .messages import Refusal, Request, Response, Service
from .world import World


class App:
    """The simulated cloud. ``addresses`` maps source addresses to VM names (ssh door)."""

    def __init__(self, world: World, services: t.Sequence[Service]) -> None:
        self.world = world
        self.services = list(services)
        self.addresses: dict[str, str] = {}
        self.lock = asyncio.Lock()

    def serves(self, host: str) -> bool:
        """Whether a name resolves in the simulated network."""
        return any(service.serves(host) for service in self.services)

    async def handle(self, request: Request) -> tuple[Response, Fault | None]:
        """Answer one request; the fault, if any, is a transport fault that the door has to carry out."""
        service = next((service for service in self.services if service.serves(request.host)), None)
        if service is None:
            response = Response.of({"error": {"code": "NoSuchHost", "message": request.host}}, 421)
            self._record("none", "unknown_host", request, response, None)
            return response, None
        start = time.perf_counter()
        operation = service.operation(request)
        fault = self.world.faults.fire(service.name, operation, request.vm, TRANSPORT_ACTIONS)
        if fault is not None and fault.action in ("status", "html", "redirect"):
            response = _instead(fault)
        else:
            response = await self._answer(service, request)
        self._record(service.name, operation, request, response, fault, time.perf_counter() - start)
        return response, fault

    async def _answer(self, service: Service, request: Request) -> Response:
        try:
            return await service.handle(request)
        except Refusal as refusal:
            return refusal.response
        except Exception:  # a defect of the simulator must show as one, and must not end the lab
            traceback.print_exc(file=sys.stderr)
            return Response.of({"error": {"code": "SimulatorDefect", "message": "see the lab's log"}}, 500)

    def _record(
        self,
        service: str,
        operation: str,
        request: Request,
        response: Response,
        fault: Fault | None,
        seconds: float = 0.0,
    ) -> None:
        facts: dict[str, t.Any] = {"write": False, "decision": "allowed" if response.status < 400 else "refused"}
        facts.update(response.audit)
        self.world.audit.record(
            time=round(self.world.clock.now(), 3),
            service=service,
            operation=operation,
            method=request.method,
            host=request.host,
            path=request.path,
            vm=request.vm,
            agent=request.headers.get("user-agent"),
            status=response.status,
            connection=request.connection,
            seconds=round(seconds, 6),
            fault=fault.action if fault else facts.pop("fault", None),
            **facts,
        )


def _instead(fault: Fault) -> Response:
    """The answer that a fault gives in the service's place."""
    parameters = fault.parameters
    if fault.action == "html":
        page = b"<html><body><h1>Proxy authentication required</h1></body></html>"
        return Response(int(parameters.get("code", 200)), page, {"Content-Type": "text/html"})
    if fault.action == "redirect":
        return Response(307, b"", {"Location": str(parameters.get("location", "https://elsewhere.invalid/"))})
    code = int(parameters.get("code", 503))
    headers = {"Retry-After": str(parameters["retry_after"])} if "retry_after" in parameters else {}
    document = parameters.get("body") or {"error": {"code": "Injected", "message": f"injected {code}"}}
    return Response.of(document, code, headers)


def build(world: World, directory: Path) -> App:
    """Every service of the lab, wired together. ``directory`` keeps the lab CA's files."""
    from ..services import arm, entra, graph, imds, issuer, keyvault, maa

    world.services.setdefault("ca", LabCA(directory / "ca"))
    world.services["entra"] = entra.Entra(world)
    return App(
        world,
        [
            entra.EntraService(world),
            arm.service(world),
            keyvault.service(world),
            maa.service(world),
            imds.ImdsService(world),
            issuer.IssuerService(world),
            graph.GraphService(world),
        ],
    )
