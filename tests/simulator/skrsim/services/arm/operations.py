# SPDX-License-Identifier: GPL-3.0-or-later
"""Long-running operations: status documents that answer InProgress a number of times, then how it ended."""

from __future__ import annotations

import dataclasses
import typing as t

from ...core.messages import Response
from ...core.world import World
from .call import Call
from .errors import refuse


@dataclasses.dataclass
class Operation:
    polls_left: int
    finish: t.Callable[[], None]
    error: dict[str, str] | None = None
    done: bool = False


class Operations:
    def __init__(self, world: World) -> None:
        self._world = world
        self._all: dict[str, Operation] = {}

    def start(self, call: Call, service: str, finish: t.Callable[[], None]) -> dict[str, str]:
        """Begin an operation; returns the headers of the first answer. ``finish`` runs at its success."""
        fault = self._world.faults.fire("arm", "operation", None, {"lro_failed", "lro_slow"})
        operation = Operation(self._world.delays.operation_polls, finish)
        if fault and fault.action == "lro_failed":
            operation.error = {"code": str(fault.parameters.get("code", "InternalExecutionError")), "message": "injected failure"}
        if fault and fault.action == "lro_slow":
            operation.polls_left = int(fault.parameters.get("polls", 5))
        name = self._world.guid()
        self._all[name] = operation
        if operation.polls_left == 0:
            self._step(operation)
        url = f"{call.request.base_url}/subscriptions/{self._world.subscription_id}/providers/{service}/operations/{name}"
        version = call.request.param("api-version")
        return {"Azure-AsyncOperation": f"{url}?api-version={version}", "Retry-After": "1"}

    def status(self, call: Call) -> Response:
        operation = self._all.get(call.groups["operation"])
        if operation is None:
            raise refuse(404, "NotFound", "The operation was not found.")
        if operation.polls_left > 0:
            operation.polls_left -= 1
            return Response.of({"name": call.groups["operation"], "status": "InProgress"}, headers={"Retry-After": "1"})
        self._step(operation)
        document: dict[str, t.Any] = {"name": call.groups["operation"], "status": "Failed" if operation.error else "Succeeded"}
        if operation.error:
            document["error"] = operation.error
        return Response.of(document)

    @staticmethod
    def _step(operation: Operation) -> None:
        if not operation.done and not operation.error:
            operation.finish()
        operation.done = True
