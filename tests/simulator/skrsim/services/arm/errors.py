# SPDX-License-Identifier: GPL-3.0-or-later
"""Azure Resource Manager's error bodies."""

from __future__ import annotations

import typing as t

from ...core.messages import Refusal


def refuse(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> Refusal:
    return Refusal(status, {"error": {"code": code, "message": message}}, headers, clause=f"arm.{code}")


def known(members: t.Any, allowed: t.Container[str], where: str) -> dict[str, t.Any]:
    """An object whose members are all known; anything else is refused."""
    if not isinstance(members, dict):
        raise refuse(400, "InvalidRequestContent", f"{where} must be an object.")
    unknown = [name for name in members if name not in allowed]
    if unknown:
        raise refuse(400, "InvalidRequestContent", f"Could not find member '{unknown[0]}' on object of type {where}.")
    return members
