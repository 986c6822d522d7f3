# SPDX-License-Identifier: GPL-3.0-or-later
"""Refusals of the attestation service. The clause names the check, for the audit log and for tests."""

from __future__ import annotations

from ...core.messages import Refusal


def invalid(check: str, message: str) -> Refusal:
    """400 InvalidParameter: bad input, signature or collateral. Never succeeds on repetition."""
    return Refusal(
        400,
        {"error": {"code": "InvalidParameter", "message": message}},
        {"x-ms-error-code": "InvalidParameter"},
        clause=f"maa.{check}",
    )


def policy_denied(rule: str) -> Refusal:
    text = f"Attestation policy evaluation failed for rule {rule}. A Deny claim was issued, authorization failed."
    return Refusal(
        400,
        {"error": {"code": "PolicyEvaluationError", "message": text}},
        {"x-ms-error-code": "PolicyEvaluationError"},
        clause="maa.15.policy",
    )


def unacceptable(check: str, message: str) -> Refusal:
    """400 InvalidOperation: what was sent is not what this provider takes."""
    return _management(400, "InvalidOperation", message, check)


def not_parsed(message: str) -> Refusal:
    """400 PolicyParsingError."""
    return _management(400, "PolicyParsingError", f"Invalid policy was specified Msg:[{message}]", "grammar")


def not_offered(message: str) -> Refusal:
    """400 with a code of two words, as met in a region without an attestation type."""
    return _management(400, "Bad request", message, "type")


def unauthorized(message: str, check: str) -> Refusal:
    """401, also for a caller without the role (troubleshooting guide, 1)."""
    where = 'Bearer authorization_uri="https://login.windows.net/common", resource="https://attest.azure.net"'
    return _management(401, "Unauthorized", message, check, {"WWW-Authenticate": where})


def limit(message: str) -> Refusal:
    """501: the simulator cannot do what the real service can. No answer of the service looks like this."""
    return _management(501, "SimulatorLimit", message, "limit")


def _management(status: int, code: str, message: str, check: str, headers: dict[str, str] | None = None) -> Refusal:
    document = {"error": {"code": code, "message": message}}
    return Refusal(status, document, {"x-ms-error-code": code, **(headers or {})}, clause=f"maa.policy.{check}")
