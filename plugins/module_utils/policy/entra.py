# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Microsoft Entra ID's error codes (AADSTS) speak of, as a table that controller and guest read.

Each side has its own words for a kind, because its options have other names. Codes: Microsoft Learn, "Microsoft Entra
authentication and authorization error codes". An unknown code is shown as it is.
"""

from __future__ import annotations

import re
import typing as t

KINDS: t.Dict[str, str] = {
    "7000215": "secret",
    "7000222": "secret_expired",
    **dict.fromkeys(("700027", "50012", "700030"), "certificate"),
    **dict.fromkeys(("70021", "700211", "700212", "700213", "700214", "50013"), "federation"),
    "700016": "application",
    "700021": "foreign_assertion",
    "700024": "assertion_time",
    **dict.fromkeys(("90002", "900023"), "tenant"),
    "500011": "audience",
    **dict.fromkeys(("53003", "530003"), "blocked"),
}
_CODE = r"(AADSTS|MSIS)(\d+)[^\n\r]*"  # Entra ID's codes, and those of AD FS


class Said(t.NamedTuple):
    """A code as it is written, its kind (empty: unknown), and the first sentence of the service's own words."""

    code: str
    kind: str
    detail: str


def read(text: str) -> t.Optional[Said]:
    """The code in an error's text, or None. What follows the first sentence are ids and links."""
    found = re.search(_CODE, text)
    if found is None:
        return None
    detail = re.split(r"\.(?:\s|$)|\sTrace ID", found.group(0), maxsplit=1)[0].strip().rstrip(".")[:300]
    kind = KINDS.get(found.group(2), "") if found.group(1) == "AADSTS" else ""
    return Said(found.group(1) + found.group(2), kind, detail)
