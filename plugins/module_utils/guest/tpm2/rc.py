# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""TPM return codes: how to read them (TCG TPM 2.0 Library, Part 2, 6.6) and which reason a user is given."""

from __future__ import annotations

import typing as t

from ...policy.failure import SkrFailure

_FORMAT_ONE = 0x080
_WARNING = 0x900

# Codes met in this flow. Format-one codes are listed without their handle, session or parameter number.
NAMES: t.Dict[int, str] = {
    0x100: "TPM_RC_INITIALIZE",
    0x101: "TPM_RC_FAILURE",
    0x120: "TPM_RC_DISABLED",
    0x128: "TPM_RC_PCR_CHANGED",
    0x12F: "TPM_RC_AUTH_UNAVAILABLE",
    0x146: "TPM_RC_NV_RANGE",
    0x148: "TPM_RC_NV_LOCKED",
    0x149: "TPM_RC_NV_AUTHORIZATION",
    0x14A: "TPM_RC_NV_UNINITIALIZED",
    0x14B: "TPM_RC_NV_SPACE",
    0x14C: "TPM_RC_NV_DEFINED",
    0x902: "TPM_RC_OBJECT_MEMORY",
    0x903: "TPM_RC_SESSION_MEMORY",
    0x905: "TPM_RC_SESSION_HANDLES",
    0x908: "TPM_RC_YIELDED",
    0x909: "TPM_RC_CANCELED",
    0x90A: "TPM_RC_TESTING",
    0x920: "TPM_RC_NV_RATE",
    0x921: "TPM_RC_LOCKOUT",
    0x922: "TPM_RC_RETRY",
    0x923: "TPM_RC_NV_UNAVAILABLE",
    0x082: "TPM_RC_ATTRIBUTES",
    0x083: "TPM_RC_HASH",
    0x084: "TPM_RC_VALUE",
    0x085: "TPM_RC_HIERARCHY",
    0x08B: "TPM_RC_HANDLE",
    0x08E: "TPM_RC_AUTH_FAIL",
    0x092: "TPM_RC_SCHEME",
    0x095: "TPM_RC_SIZE",
    0x09D: "TPM_RC_POLICY_FAIL",
    0x0A2: "TPM_RC_BAD_AUTH",
}
RETRY = frozenset({0x908, 0x90A, 0x920, 0x922})
PCR_CHANGED = 0x128
POLICY_FAIL = 0x09D
HANDLE = 0x08B
NV_UNINITIALIZED = 0x14A
MEMORY = frozenset({0x902, 0x903})
LOCKOUT = 0x921


def base(code: int) -> int:
    """A return code without the number of the handle, session or parameter it speaks of."""
    return code & 0x0BF if code & _FORMAT_ONE else code


def failure(command: str, code: int, device: str) -> SkrFailure:
    """The failure a user is given for a return code."""
    kind = base(code)
    name = NAMES.get(kind, "unknown code")
    facts = {"command": command, "code": f"0x{code:03x}", "name": name, "device": device}
    text = f"The TPM at {device} answered {command} with 0x{code:03x} ({name})"
    if kind in MEMORY:
        return SkrFailure("tpm_busy", f"{text}: it has no room for another key or session.", facts)
    if kind in RETRY:
        return SkrFailure("tpm_busy", f"{text}, also on repetition.", facts)
    if kind == LOCKOUT:
        return SkrFailure("tpm_lockout", f"{text}.", facts)
    if kind in (PCR_CHANGED, POLICY_FAIL):
        return SkrFailure("pcr_changed", f"{text}: the PCRs are not those that were attested.", facts)
    return SkrFailure("tpm_error", f"{text}.", facts)


def is_code(error: SkrFailure, *kinds: int) -> bool:
    """Whether a failure stands for one of these return codes."""
    return base(int(str(error.facts.get("code", "0")), 16)) in kinds
