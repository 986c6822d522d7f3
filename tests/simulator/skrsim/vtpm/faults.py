# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes wrong with a TPM, by the fault table: service "tpm", the operation is the command's name or "open"."""

from __future__ import annotations

import errno
import time
import typing as t

from ..core.world import World
from . import wire

CODES = {"retry": 0x922, "lockout": 0x921, "object_memory": 0x902, "session_memory": 0x903}
AT_OPEN = frozenset({"busy", "lost", "delay"})
ACTIONS = frozenset({"rc", "delay", "busy", "lost", "pcr_changed", *CODES})


def at_open(world: World, vm: str) -> None:
    """Raise OSError when the device cannot be opened: EBUSY, or ENODEV once it is lost."""
    fault = world.faults.fire("tpm", "open", vm, AT_OPEN)
    if fault is not None:
        _carry_out(fault.action, fault.parameters, errno.ENODEV)


def at_command(world: World, vm: str, code: int, extend: t.Callable[[int], None] | None) -> bytes | None:
    """What a fault answers in the TPM's place; None lets the command through, perhaps late or after a PCR has changed.

    Raises OSError where it is the device that fails, not the TPM.
    """
    fault = world.faults.fire("tpm", wire.NAMES.get(code, hex(code)), vm, ACTIONS)
    if fault is None:
        return None
    if fault.action in CODES:
        return wire.error(CODES[fault.action])
    if fault.action == "rc":
        return wire.error(int(str(fault.parameters.get("code", "0x922")), 0))
    if fault.action == "pcr_changed":
        if extend is not None:
            extend(int(fault.parameters.get("pcr", 4)))
        return None
    _carry_out(fault.action, fault.parameters, errno.EIO)
    return None


def _carry_out(action: str, parameters: dict[str, t.Any], lost: int) -> None:
    if action == "delay":
        time.sleep(float(parameters.get("seconds", 1)))
    else:
        number = errno.EBUSY if action == "busy" else lost
        raise OSError(number, f"the fault table says {action}")
