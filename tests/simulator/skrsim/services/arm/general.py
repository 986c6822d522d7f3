# SPDX-License-Identifier: GPL-3.0-or-later
"""What other services take from here."""

from __future__ import annotations

from .attestation import REGIONS

__all__ = ["REGIONS"]
