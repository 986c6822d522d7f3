# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases the key of one configuration and delivers it; asks again while that may help.

Exit status: 0 released, 1 refused for good, 2 the configuration cannot work, 75 what failed may pass by itself.
"""

from __future__ import annotations

import argparse
import sys
import typing as t

from ...policy import passing
from ...policy.failure import SkrFailure
from .. import config
from . import common

NAME = "release"
HELP = "release a configured key and deliver it"
_OURS = frozenset({"invalid_input", "library_missing", "internal_error"})
_TEMPORARY = 75  # EX_TEMPFAIL of sysexits.h


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", metavar="NAME", help=f"the configuration {config.FOLDER}/NAME.json")
    parser.add_argument(
        "--config", metavar="FILE", help="a configuration elsewhere; without NAME its file's name is it"
    )
    parser.add_argument("--check", action="store_true", help="only check the configuration")
    parser.add_argument(
        "--retry-for",
        type=_seconds,
        default=0.0,
        metavar="SECONDS",
        help="ask again for so long after a failure that may pass",
    )
    common.add_json(parser, "the status")


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value < 1e9:
        raise ValueError(text)
    return value


def run(options: t.Dict[str, t.Any]) -> t.Tuple[int, str]:
    configuration = config.load(options["name"], options["config"])
    if options["check"]:
        return 0, f"{configuration.path} is sound"
    from .. import agent  # not before the configuration is known to be sound

    status, complaints = agent.release(configuration, options["retry_for"])
    for complaint in [*complaints, *status["warnings"]]:
        sys.stderr.write(f"azure-skr: {complaint}\n")
    if options["json"]:
        import json

        return 0, json.dumps(status, indent=2)
    change = "written" if status["changed"] else "unchanged"
    place = status["dest"] or f"its place ({status['delivered']['deliver_to']})"
    return 0, f"{status['kid']} is at {place} ({change}; attempt {status['attempts']}, {status['duration_s']} s)"


def exit_status(failure: SkrFailure) -> int:
    """So that a service manager can tell what to repeat (see the module's description)."""
    if passing.passes(failure, 0):
        return _TEMPORARY
    return 2 if failure.reason in _OURS else 1
