# SPDX-License-Identifier: GPL-3.0-or-later
"""Key Vault's error bodies, with the texts the service is known to use."""

from __future__ import annotations

import typing as t

from ...core.messages import Refusal


def refuse(
    status: int,
    code: str,
    message: str,
    inner: str = "",
    headers: dict[str, str] | None = None,
    clause: str = "",
    **audit: t.Any,
) -> Refusal:
    error: dict[str, t.Any] = {"code": code, "message": message}
    if inner:
        error["innererror"] = {"code": inner}
    return Refusal(status, {"error": error}, headers, clause=clause or f"vault.{inner or code}", **audit)


SKR = {
    1001: "The exportable attribute is only supported with premium vaults and API version >= '7.3-preview'.",
    1003: "The exportable attribute of an existing key cannot be changed.",
    1004: "Exportable keys must have release policy.",
    1005: "Non-exportable keys must not have release policy.",
    1006: "The exportable attribute requires an HSM key type.",
    1016: "Key Release Policy can only be set on versionless key",
    1020: "Immutable Key Release Policy cannot be modified.",
}


def skr(number: int) -> Refusal:
    return refuse(400, "BadParameter", f"AKV.SKR.{number}: {SKR[number]}", clause=f"vault.AKV.SKR.{number}")


def bad(message: str, clause: str = "") -> Refusal:
    return refuse(400, "BadParameter", message, clause=clause)


def key_not_found(name: str) -> Refusal:
    return refuse(
        404,
        "KeyNotFound",
        f"A key with (name/id) {name} was not found in this key vault. If you recently deleted this key you may be able to recover it "
        "using the correct recovery command. For help resolving this issue, please see https://go.microsoft.com/fwlink/?linkid=2125182",
    )
