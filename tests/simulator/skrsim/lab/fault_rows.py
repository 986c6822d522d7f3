# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows of the fault table as the control channel takes them: a word that no part of the lab knows is an error."""

from __future__ import annotations

import typing as t

from ..core.faults import TRANSPORT_ACTIONS, Fault
from ..tee import thim
from ..vtpm import faults as tpm
from ..vtpm import wire

PARAVISOR = {"hcl_report": frozenset({"fail", "torn", "other_ak", "altered"}), "ak_certificate": frozenset({"fail"})}
THIM = {"certification": thim.CHAIN_FAULTS, "td_quote": thim.QUOTE_FAULTS}
# Services below HTTP, whose actions are all known here: operation -> actions.
_TPM = {"open": tpm.AT_OPEN, **dict.fromkeys(wire.NAMES.values(), tpm.ACTIONS)}
OWN: dict[str, dict[str, frozenset[str]]] = {"tpm": _TPM, "thim": THIM, "paravisor": PARAVISOR}


def checked(row: dict[str, t.Any]) -> Fault:
    """The fault of a row. Raises ValueError."""
    made = Fault(**row)
    if made.service not in OWN:
        return made
    operations = OWN[made.service]
    if made.operation is not None and made.operation not in operations:
        raise ValueError(f"{made.service} has no operation {made.operation}; it has {', '.join(sorted(operations))}")
    known = frozenset().union(*operations.values()) if made.operation is None else operations[made.operation]
    if made.action not in known:
        where = made.service if made.operation is None else f"{made.service} {made.operation}"
        hint = " (this one belongs to imds, on the wire)" if made.action in TRANSPORT_ACTIONS else ""
        raise ValueError(f"{where} has no fault {made.action}{hint}; it has {', '.join(sorted(known))}")
    return made
