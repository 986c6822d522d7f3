# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What in a token commonly makes policies fail, for the case that the policy itself cannot be read."""

from __future__ import annotations

import typing as t

from . import vocabulary as words
from .evaluate import show
from .near import MISSING, Index


class Remark(t.NamedTuple):
    """A claim, what the token holds (None: nothing) and why that is worth a look."""

    claim: str
    found: t.Any
    message: str

    def as_dict(self) -> t.Dict[str, t.Any]:
        return {"claim": self.claim, "found": self.found, "message": self.message}


def remarks(claims: t.Mapping[str, t.Any]) -> t.List[Remark]:
    """Claims whose values policies usually do not allow, gravest first; an empty list for an unremarkable VM."""
    index = Index(claims)
    found: t.List[Remark] = []

    def look(path: str, usual: t.Any, message: str) -> None:
        value = index.lookup(path)
        if value is not MISSING and value != usual:
            found.append(
                Remark(path, value, f"{message}: {path} is {show(value)}, policies usually want {show(usual)}")
            )

    if index.lookup(words.ISOLATION) is MISSING:
        found.append(Remark(words.ISOLATION, None, "the token speaks of no hardware TEE: this is no confidential VM"))
    for path in (*words.DEBUG.values(), f"{words.ISOLATION}.tdx_is_debuggable"):
        look(path, False, "the host may debug this VM")
    look(words.COMPLIANCE, words.COMPLIANT, "Azure does not call this VM compliant")
    look(words.SECURE_BOOT, True, "secure boot is off")
    for name in ("dbvalidated", "dbxvalidated", "debuggersdisabled", "default_securebootkeysvalidated"):
        path, meaning = words.LOG_BOOLEANS[name]
        look(path, True, f"the boot log does not show {meaning}")
    return found
