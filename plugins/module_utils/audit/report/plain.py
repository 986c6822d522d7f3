# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Readers of plain data that take nothing for granted: what is missing or of another shape is empty, never an error."""

from __future__ import annotations

import dataclasses
import datetime
import json
import math
import typing as t

Doc = t.Dict[str, t.Any]


def plain(value: t.Any) -> Doc:
    """A document of a mapping, dataclass or named tuple; an empty one of anything else."""
    if isinstance(value, t.Mapping):
        return {str(name): item for name, item in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return dict(value._asdict())
    return {}


def at(document: t.Any, *path: str) -> t.Any:
    """The value at a path of members, or None."""
    for name in path:
        if not isinstance(document, t.Mapping):
            return None
        document = document.get(name)
    return document


def text(document: t.Any, *path: str) -> str:
    """Text or a number as text; empty for anything else."""
    value = at(document, *path)
    if isinstance(value, str):
        return value
    return str(value) if number(value) is not None else ""


def number(document: t.Any, *path: str) -> t.Optional[float]:
    """A finite number that fits into a float; None for anything else, a boolean among it."""
    value = at(document, *path) if path else document
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return value if math.isfinite(value) else None
    except OverflowError:
        return None


def flag(document: t.Any, *path: str) -> t.Optional[bool]:
    value = at(document, *path)
    return value if isinstance(value, bool) else None


def mapping(document: t.Any, *path: str) -> Doc:
    return plain(at(document, *path))


def rows(document: t.Any, *path: str) -> t.List[Doc]:
    """The documents of a list; what is none is left out."""
    value = at(document, *path) if path else document
    if not isinstance(value, (list, tuple)):
        return []
    return [found for found in map(plain, value) if found]


def texts(document: t.Any, *path: str) -> t.List[str]:
    value = at(document, *path)
    if isinstance(value, str):
        return value.splitlines()
    return [str(item) for item in value] if isinstance(value, (list, tuple)) else []


def show(value: t.Any) -> str:
    """A JSON value as a person reads it; ``not known`` for null."""
    if value is None:
        return "not known"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    if number(value) is not None:
        return str(value)
    try:
        return json.dumps(value, sort_keys=True, ensure_ascii=False)[:400]
    except (TypeError, ValueError, RecursionError):
        return f"a {type(value).__name__} that cannot be shown"


def moment(value: t.Any) -> t.Optional[datetime.datetime]:
    """UTC time of ISO 8601 text (without a zone: UTC) or of seconds since 1970."""
    try:
        if isinstance(value, str):
            found = datetime.datetime.fromisoformat(value.strip().replace("Z", "+00:00"))
            if found.tzinfo is None:
                found = found.replace(tzinfo=datetime.timezone.utc)
            return found.astimezone(datetime.timezone.utc)
        seconds = number(value)
        return None if seconds is None else datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    except (ValueError, OverflowError, OSError):
        return None
