# SPDX-License-Identifier: GPL-3.0-or-later
"""Long-running operations: status documents that say InProgress a number of times, then how it ended.

An operation ends after so many looks at it, or by the clock when nobody looks.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import typing as t

from ...core.messages import Response
from ...core.world import World
from . import versions
from .call import Call, Route, route
from .errors import refuse

RETRY_AFTER = {"Retry-After": "1"}
_SECONDS_UNWATCHED = 10.0  # how long a step takes when nobody polls


def stamp(seconds: float) -> str:
    """A point in time as ARM writes it."""
    return dt.datetime.fromtimestamp(seconds, dt.timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclasses.dataclass
class Operation:
    """``finish`` runs when it succeeds, ``fail`` when it fails; neither when a newer operation takes its place."""

    name: str
    started: float
    polls_left: int
    due: float
    finish: t.Callable[[], None]
    fail: t.Callable[[], None]
    error: dict[str, str] | None = None
    status: str = "InProgress"
    ended: float = 0.0


class Operations:
    def __init__(self, world: World) -> None:
        self._world = world
        self._all: dict[str, Operation] = {}
        self._active: dict[str, Operation] = {}

    def routes(self) -> list[Route]:
        where = "/subscriptions/{sub}/providers/{namespace}/locations/{location}"
        takes = {*versions.COMPUTE, *versions.DISKS, *versions.KEYVAULT}
        group = "/subscriptions/{sub}/operationresults/{operation}"
        return [
            route("operation_status", "GET", f"{where}/operations/{{operation}}", takes, self._status),
            route("operation_result", "GET", f"{where}/operationResults/{{operation}}", takes, self._result),
            route("operation_result", "GET", group, versions.RESOURCES, self._result),
        ]

    def begin(
        self, operation: str, target: str, finish: t.Callable[[], None], fail: t.Callable[[], None] = lambda: None
    ) -> Operation:
        """Start what ``operation`` (the call's name) asked for on ``target`` (a resource's name).

        Faults of these two: ``lro_failed`` (parameters code, message) and ``lro_slow`` (parameter polls).
        """
        world = self._world
        fault = world.faults.fire("arm", operation, target, {"lro_failed", "lro_slow"})
        polls = world.delays.operation_polls
        if fault and fault.action == "lro_slow":
            polls = int(fault.parameters.get("polls", polls + 5))
        due = world.clock.now() + _SECONDS_UNWATCHED * (polls + 1)
        made = Operation(world.guid(), world.clock.now(), polls, due, finish, fail)
        if fault and fault.action == "lro_failed":
            made.error = {
                "code": str(fault.parameters.get("code", "InternalExecutionError")),
                "message": str(fault.parameters.get("message", "An internal execution error occurred.")),
            }
        self._all[made.name] = self._active[made.name] = made
        if polls == 0:
            self._conclude(made)
        return made

    def poll(self, operation: Operation) -> None:
        """Somebody looks at an operation."""
        if operation.status == "InProgress" and operation.polls_left == 0:
            self._conclude(operation)
        operation.polls_left = max(0, operation.polls_left - 1)

    def settle(self) -> None:
        """End what is due by the clock."""
        now = self._world.clock.now()
        for operation in list(self._active.values()):
            if now >= operation.due:
                self._conclude(operation)

    def preempt(self, operation: Operation | None) -> None:
        """A newer request for the same resource takes the place of this one."""
        if operation is not None and operation.status == "InProgress":
            del self._active[operation.name]
            operation.status, operation.ended = "Canceled", self._world.clock.now()
            operation.error = {
                "code": "OperationPreempted",
                "message": "Operation execution has been preempted by a more recent operation.",
            }

    def _conclude(self, operation: Operation) -> None:
        del self._active[operation.name]
        operation.status = "Failed" if operation.error else "Succeeded"
        operation.ended = self._world.clock.now()
        (operation.fail if operation.error else operation.finish)()

    # --- the two ways to follow one

    def status_headers(self, call: Call, operation: Operation, namespace: str, location: str) -> dict[str, str]:
        where = f"{call.subscription}/providers/{namespace}/locations/{location}/operations/{operation.name}"
        url = f"{call.request.base_url}{where}?api-version={call.version}"
        return {"Azure-AsyncOperation": url, **RETRY_AFTER}

    def result_headers(self, call: Call, operation: Operation, where: str) -> dict[str, str]:
        """``where``: the path below the subscription in front of the operation's name."""
        url = f"{call.request.base_url}{call.subscription}/{where}/{operation.name}?api-version={call.version}"
        return {"Location": url, **RETRY_AFTER}

    def _find(self, call: Call) -> Operation:
        operation = self._all.get(call.groups["operation"])
        if operation is None:
            raise refuse(404, "NotFound", f"The operation '{call.groups['operation']}' was not found.")
        self.poll(operation)
        return operation

    def _status(self, call: Call) -> Response:
        operation = self._find(call)
        document: dict[str, t.Any] = {"name": operation.name, "startTime": stamp(operation.started)}
        document["status"] = operation.status
        if operation.status == "InProgress":
            return Response.of(document, headers=RETRY_AFTER)
        document["endTime"] = stamp(operation.ended)
        if operation.error:
            document["error"] = operation.error
        return Response.of(document)

    def _result(self, call: Call) -> Response:
        operation = self._find(call)
        if operation.status == "InProgress":
            return Response(
                202,
                headers={
                    "Location": f"{call.request.base_url}{call.request.path}?api-version={call.version}",
                    **RETRY_AFTER,
                },
            )
        if operation.error:
            raise refuse(409, operation.error["code"], operation.error["message"])
        return Response(200)
