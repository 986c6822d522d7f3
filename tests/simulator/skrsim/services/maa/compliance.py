# SPDX-License-Identifier: GPL-3.0-or-later
"""Check 14: which genuine platforms are Azure's own, recent enough and closed to debuggers."""

from __future__ import annotations

from ...core.world import World
from . import snp, tdx


def of_snp(world: World, report: snp.Snp) -> bool:
    platform = world.services["platform"]
    least = platform.minimum_tcb(report.product)
    levels = {"bootloader": least.boot_loader, "tee": least.tee, "snpfw": least.snp, "microcode": least.microcode}
    new_enough = all(report.svn[name] >= level for name, level in levels.items())
    return not report.debug and new_enough and report.id_key_digest in platform.approved_id_key_digests


def current_tdx(world: World, td: tdx.Td) -> bool:
    """Whether each component of the TDX module's level is at least the one wanted."""
    least: bytes = world.services["platform"].minimum_tee_tcb_svn
    return all(found >= wanted for found, wanted in zip(td.tee_tcb_svn, least, strict=False))


def of_tdx(world: World, td: tdx.Td) -> bool:
    return not td.debug and current_tdx(world, td) and td.mrtd in world.services["platform"].approved_mrtds
