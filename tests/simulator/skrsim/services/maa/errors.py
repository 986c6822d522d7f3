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
