# SPDX-License-Identifier: GPL-3.0-or-later
"""Error answers of the sign-in services (Microsoft Learn, "Microsoft Entra authentication and authorization error codes")."""

from __future__ import annotations

import typing as t

from ..core.messages import Refusal


def error(status: int, code: str, number: int, text: str) -> Refusal:
    """Entra's: ``error`` is OAuth's word, the number Entra's own."""
    document: dict[str, t.Any] = {
        "error": code,
        "error_description": f"AADSTS{number}: {text} Trace ID: 00000000-0000-0000-0000-000000000000 "
        "Correlation ID: 00000000-0000-0000-0000-000000000000",
        "error_codes": [number],
        "trace_id": "00000000-0000-0000-0000-000000000000",
    }
    if number in (50072, 50074, 50076, 50079):
        document["suberror"] = "basic_action"
    return Refusal(status, document, clause=f"entra.AADSTS{number}")


def adfs_error(refusal: Refusal) -> Refusal:
    """AD FS's, in place of Entra's: it tells less."""
    number = refusal.response.json()["error_codes"][0]
    if number == 500011:
        text = (
            "MSIS9602: The received 'resource' parameter is invalid. The authorization server can not find a registered "
            "resource with the specified identifier."
        )
        return Refusal(400, {"error": "invalid_resource", "error_description": text}, clause="adfs.MSIS9602")
    text = (
        "MSIS9623: Received invalid Client credentials. The OAuth client is not configured or the client credentials "
        "are incorrect."
    )
    return Refusal(400, {"error": "invalid_client", "error_description": text}, clause="adfs.MSIS9623")
