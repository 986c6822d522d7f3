# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``azure-skr remove-copies``: end delivered copies whose time is over, or that were to live as long as the service."""

from __future__ import annotations

import argparse
import json
import typing as t

from ..deliver import lifetime

NAME = "remove-copies"
HELP = "remove delivered copies whose time is over"


def add(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Removes copies that were delivered with ttl when it has passed. For timers and for ExecStop of the service."
    )
    parser.add_argument("--stopping", action="store_true", help="also those delivered with remove_on_stop")
    parser.add_argument("--json", action="store_true", help="print what was removed as JSON")


def run(options: t.Dict[str, t.Any]) -> t.Tuple[int, str]:
    """Exit status and what was removed. Raises SkrFailure."""
    done = [facts for facts, _diff in lifetime.remove_due(stopping=bool(options.get("stopping")))]
    if options.get("json"):
        return 0, json.dumps({"removed": done}, indent=2)
    lines = [", ".join(f"{name} {value}" for name, value in facts.items()) for facts in done]
    return 0, "\n".join(f"removed: {line}" for line in lines) or "nothing to remove"
