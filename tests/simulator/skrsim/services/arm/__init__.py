# SPDX-License-Identifier: GPL-3.0-or-later
"""Azure Resource Manager: groups, VMs, identities, vaults, role assignments, as far as the job goes."""

from __future__ import annotations

from ...core.world import World
from .router import HOST, ArmService


def service(world: World) -> ArmService:
    return ArmService(world)


__all__ = ["HOST", "ArmService", "service"]
