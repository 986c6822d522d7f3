# SPDX-License-Identifier: GPL-3.0-or-later
"""Control commands on the lab's directory: what an administrator of the tenant would do in its portal."""

from __future__ import annotations

import typing as t

from cryptography import x509

from ..core.world import Federated, World
from ..services.arm import seed
from ..services.issuer import ISSUER
from . import control
from .plan import OPERATOR


def commands(world: World) -> dict[str, control.Handler]:
    def operator_trusts(request: dict[str, t.Any]) -> None:
        """Register a certificate (PEM), or a subject of the lab's issuer of workload tokens, with the operator."""
        operator = next(one for one in world.principals.values() if one.name == OPERATOR)
        if "certificate" in request:
            operator.certificates = [x509.load_pem_x509_certificate(request["certificate"].encode())]
        if "subject" in request:
            operator.federated = [Federated(ISSUER, request["subject"])]

    def user(request: dict[str, t.Any]) -> str:
        """A new user with a password and roles; returns the object id."""
        made = seed.user(
            world, request["name"], request["password"], request.get("roles", ()), request.get("mfa", False)
        )
        return made.object_id

    def grant(request: dict[str, t.Any]) -> None:
        """Give a principal a role at the subscription, in effect at once."""
        seed.role(world, request["principal"], request["role"], f"/subscriptions/{world.subscription_id}")

    def workload_token(request: dict[str, t.Any]) -> str:
        """A token of the lab's issuer about this subject."""
        return str(world.services["issuer"].token(**request))

    return {"operator_trusts": operator_trusts, "user": user, "grant": grant, "workload_token": workload_token}
