# SPDX-License-Identifier: GPL-3.0-or-later
"""Token buckets of Resource Manager and Compute. Off until they are switched on, as most tests are about something else.

Sizes and refill rates: Microsoft's pages "Understand how Azure Resource Manager throttles requests" and "Compute
throttling limits"; those of Resource Manager are for one principal in one subscription.
"""

from __future__ import annotations

import math
import re

from ...core.messages import Refusal, Request, Response
from ...core.world import World

# Capacity and refill in requests a second.
_ARM = {"reads": (250.0, 25.0), "writes": (200.0, 10.0), "deletes": (200.0, 10.0)}
_MINUTE = 60.0
_UPDATE_VM, _UPDATES = (12.0, 4.0 / _MINUTE), (1500.0, 500.0 / _MINUTE)
_GET_VM, _LIST = (36.0, 12.0 / _MINUTE), (900.0, 300.0 / _MINUTE)
_VM = re.compile(r".*/providers/Microsoft\.Compute/virtualMachines/([^/]+)", re.IGNORECASE)


class Bucket:
    def __init__(self, capacity: float, refill: float, now: float) -> None:
        self.capacity, self.refill = capacity, refill
        self.tokens, self.at = capacity, now

    def take(self, now: float) -> float:
        """Take one; 0, or the seconds until there will be one."""
        self.tokens = min(self.capacity, self.tokens + (now - self.at) * self.refill)
        self.at = now
        if self.tokens >= 1:
            self.tokens -= 1
            return 0.0
        return (1 - self.tokens) / self.refill


class Throttle:
    def __init__(self, world: World) -> None:
        self._world = world
        self._buckets: dict[tuple[str, ...], Bucket] = {}

    def check(self, request: Request, principal: str, operation: str) -> dict[str, str]:
        """Headers for the answer. Raises Refusal 429."""
        if not self._world.throttling:
            self._buckets.clear()
            return {}
        now = self._world.clock.now()
        kind = {"GET": "reads", "HEAD": "reads", "DELETE": "deletes"}.get(request.method, "writes")
        bucket = self._bucket(("arm", principal, kind), _ARM[kind], now)
        wait = bucket.take(now)
        headers = {f"x-ms-ratelimit-remaining-subscription-{kind}": str(int(bucket.tokens))}
        if wait:
            raise _refusal(
                "SubscriptionRequestsThrottled", f"Number of {kind} for subscription exceeded.", wait, headers
            )
        for key, size in self._compute(request, operation):
            wait = self._bucket(key, size, now).take(now)
            if wait:
                text = f"The request is being throttled as the limit of {key[1]} has been reached."
                raise _refusal("OperationNotAllowed", text, wait, headers)
        return headers

    def _bucket(self, key: tuple[str, ...], size: tuple[float, float], now: float) -> Bucket:
        if key not in self._buckets:
            self._buckets[key] = Bucket(*size, now)
        return self._buckets[key]

    @staticmethod
    def _compute(request: Request, operation: str) -> list[tuple[tuple[str, ...], tuple[float, float]]]:
        vm = _VM.match(request.path)
        if operation in ("vm_patch", "vm_put") and vm:
            return [
                (("compute", "UpdateVM", vm[1].lower()), _UPDATE_VM),
                (("compute", "UpdateVMSubscription"), _UPDATES),
            ]
        if operation in ("vm_get", "vm_instance_view") and vm:
            return [(("compute", "LowCostGet", vm[1].lower()), _GET_VM)]
        if operation in ("vm_list", "vm_list_all"):
            return [(("compute", "HighCostGet"), _LIST)]
        return []


def _refusal(code: str, text: str, wait: float, headers: dict[str, str]) -> Refusal:
    return Refusal(
        429,
        {"error": {"code": code, "message": text}},
        {**headers, "Retry-After": str(max(1, math.ceil(wait)))},
        clause="arm.throttled",
    )


def told(response: Response, headers: dict[str, str]) -> Response:
    response.headers = {**response.headers, **headers}
    return response
