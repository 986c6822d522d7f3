# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks at all that a release needs on this VM, and tells what is wrong and what to do. Changes nothing.

Exit status: 0 nothing failed, 1 something did, 2 an option cannot work.
"""

from __future__ import annotations

import argparse
import typing as t

from .. import arguments
from . import common
from . import options as shared

NAME = "doctor"
HELP = "what is wrong with this VM"


def add(parser: argparse.ArgumentParser) -> None:
    """The module's options under the same names."""
    shared.add(parser, "what to look at", arguments.doctor_argument_spec())
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")


def run(options: t.Dict[str, t.Any]) -> t.Tuple[int, str]:
    """Status and text to print. Raises SkrFailure."""
    from ..doctor import examination, report

    exclusive = (*arguments.IDENTITY_EXCLUSIVE, *arguments.RELEASE_EXCLUSIVE)
    values = shared.read(options, arguments.doctor_argument_spec(), exclusive)
    result = examination.examine(arguments.patient(values))
    status = 1 if result["counts"]["failed"] else 0
    if options["json"]:
        import json

        return status, json.dumps(result, indent=2)
    return status, report.text(result, common.colours())
