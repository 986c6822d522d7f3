# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""JSON documents from outside, which may be anything (RFC 8259)."""

from __future__ import annotations

import json
import typing as t

_DEPTH = 64  # what is nested deeper could not be evaluated, shown or handed on


def loads(text: t.Union[str, bytes]) -> t.Any:
    """Read a document. Raises ValueError for whatever is none: NaN, half of a surrogate pair and excessive nesting too."""
    try:
        document = json.loads(text, parse_constant=_no_number)
    except RecursionError:
        raise ValueError("nested too deep") from None
    level = [document]
    for _depth in range(_DEPTH):
        inner: t.List[t.Any] = []
        for node in level:
            if isinstance(node, dict):
                inner.extend(node)
                inner.extend(node.values())
            elif isinstance(node, list):
                inner.extend(node)
            elif isinstance(node, str) and not node.isascii():
                node.encode("utf-8")
        if not inner:
            return document
        level = inner
    raise ValueError("nested too deep")


def seconds(value: t.Any) -> t.Optional[float]:
    """A date in Unix seconds, as tokens and keys have it; None for anything that is no date of this calendar."""
    plausible = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 253402300800
    return float(value) if plausible else None  # until the year 9999


def _no_number(name: str) -> t.NoReturn:
    raise ValueError(f"{name} is not JSON")
