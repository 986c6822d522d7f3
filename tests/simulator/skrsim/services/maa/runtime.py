# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks 12 and 13: runtime data hash to the report data of the hardware report, and name the attestation key."""

from __future__ import annotations

import hashlib
import json
import typing as t

from .errors import invalid
from .request import unbase64


def bound(data: bytes, report_data: bytes, name: str = "RunTimeData") -> None:
    """Check 12. Raises Refusal."""
    if report_data != hashlib.sha256(data).digest().ljust(64, b"\0"):
        raise invalid("12.runtime_hash", f"{name} do not hash to the report data.")


def parsed(data: bytes, name: str = "RunTimeData") -> dict[str, t.Any]:
    """The claim ``x-ms-runtime``. Raises Refusal."""
    try:
        document = json.loads(data)
    except ValueError:
        raise invalid("13.runtime_json", f"{name} are not JSON.") from None
    if not isinstance(document, dict):
        raise invalid("13.runtime_json", f"{name} are not a JSON object.")
    return document


def check(data: bytes, report_data: bytes, ak_modulus: int) -> dict[str, t.Any]:
    """Checks 12 and 13 of a guest's evidence."""
    bound(data, report_data)
    document = parsed(data)
    try:
        moduli = [key["n"] for key in document["keys"] if key["kid"] == "HCLAkPub"]
    except (KeyError, TypeError):
        raise invalid("13.runtime_json", "RunTimeData are not the expected JSON.") from None
    if len(moduli) != 1 or int.from_bytes(unbase64(moduli[0], "HCLAkPub"), "big") != ak_modulus:
        raise invalid("13.ak", "HCLAkPub in RunTimeData is not AikPub.")
    return document
