# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the collection importable by its full name from a plain checkout."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
LINK = ROOT / ".collections" / "ansible_collections" / "confidential" / "azure_skr"

if not LINK.exists():
    LINK.parent.mkdir(parents=True, exist_ok=True)
    LINK.symlink_to(Path("../../.."))
sys.path.insert(0, str(ROOT / ".collections"))
