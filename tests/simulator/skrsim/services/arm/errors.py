# SPDX-License-Identifier: GPL-3.0-or-later
"""Azure Resource Manager's error bodies, and the refusal of what a request body must not hold."""

from __future__ import annotations

import typing as t
import uuid

from ...core.messages import Refusal
from .members import MODELS, READ_ONLY


def refuse(status: int, code: str, message: str, headers: dict[str, str] | None = None, **facts: t.Any) -> Refusal:
    """``{"error": {"code", "message"}}``; the audit's clause is ``arm.`` and the code."""
    return Refusal(status, {"error": {"code": code, "message": message}}, headers, clause=f"arm.{code}", **facts)


def known(value: t.Any, model: str, read_only: bool = False) -> dict[str, t.Any]:
    """An object that has members of one model alone; ``read_only`` forgives those that a client sends back as read."""
    if not isinstance(value, dict):
        raise refuse(400, "InvalidRequestContent", f"The request content was invalid: '{model}' must be an object.")
    for name in value:
        if name not in MODELS[model] and not (read_only and name in READ_ONLY):
            raise refuse(
                400,
                "InvalidRequestContent",
                f"The request content was invalid and could not be deserialized: 'Could not find member '{name}' on "
                f"object of type '{model}'. Path '{name}'.'.",
            )
    return value


def objects(value: t.Any, model: str) -> list[dict[str, t.Any]]:
    """A list of such objects; absent and null are the empty list."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise refuse(400, "InvalidRequestContent", f"The request content was invalid: '{model}' must be a list.")
    return [known(item, model) for item in value]


def tags(body: dict[str, t.Any]) -> dict[str, str]:
    """The body's tags; at most 50, names and values are texts."""
    found = body.get("tags") or {}
    if not isinstance(found, dict) or not all(isinstance(text, str) for pair in found.items() for text in pair):
        raise refuse(400, "InvalidRequestContent", "The request content was invalid: tags are a map of texts.")
    if len(found) > 50:
        raise refuse(400, "InvalidTags", f"The number of tags '{len(found)}' exceeds the maximum of 50.")
    return dict(found)


def guid(text: t.Any, code: str, message: str) -> str:
    """A GUID in lower case."""
    try:
        return str(uuid.UUID(text)) if isinstance(text, str) else _raise()
    except ValueError:
        raise refuse(400, code, message) from None


def _raise() -> t.NoReturn:
    raise ValueError("not a text")
