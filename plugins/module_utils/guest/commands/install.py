# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes this program to a place, compiled for the interpreter that runs it, which shortens its start by half.

Exit status: 0 it is there (the text says whether anything changed), 2 it could not be written.
"""

from __future__ import annotations

import argparse
import sys
import typing as t
import zipfile

from ...policy.failure import SkrFailure
from .. import packing

NAME = "install"
HELP = "install this program, compiled for this machine's Python"


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("destination", metavar="FILE", help="where to, such as /usr/local/libexec/azure-skr/azure-skr")
    parser.add_argument("--check", action="store_true", help="only tell whether that would change anything")


def run(options: t.Dict[str, t.Any]) -> t.Tuple[int, str]:
    destination = options["destination"]
    try:
        content = packing.pack(packing.sources(sys.argv[0]), compiled=True)
        changed = packing.write(destination, content, dry=options["check"])
    except (OSError, zipfile.BadZipFile) as error:
        words = getattr(error, "strerror", None) or "this is not the packed program"
        raise SkrFailure(
            "invalid_input", f"FILE is {destination!r}, wanted a place to write the program to: {words}.",
            {"option": "FILE"},
        ) from error  # fmt: skip
    return 0, f"{destination}: {'changed' if changed else 'unchanged'}"
