# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packs the guest agent ``azure-skr``: guest, policy and audit code as one file that runs on any Python 3.9 or later.

As a program: ``python -m ...agent_archive DESTINATION`` writes it compiled for the interpreter that runs this, with
``--portable`` without byte code (which ``azure-skr install`` adds on the machine that is to run it).
"""

from __future__ import annotations

import sys
import typing as t
from pathlib import Path

from .guest import packing

PACKAGE = "azure_skr"
ROOMS = ("guest", "policy", "audit")
LEFT_OUT = ("audit/report",)  # pages for people are made on the controller
_MAIN = """\
import sys

if sys.version_info < (3, 9):
    sys.exit("azure-skr needs Python 3.9 or later, this is %d.%d" % sys.version_info[:2])
import gc

gc.disable()  # a short run makes little garbage, and looking for it again and again costs a tenth of the start
from azure_skr.guest.cli import main

sys.exit(main())
"""


def archive(compiled: bool = False) -> bytes:
    """The program's bytes; the same bytes for the same code, so that a copy task sees no change."""
    return packing.pack(dict(_members()), compiled)


def _members() -> t.Iterator[t.Tuple[str, bytes]]:
    yield "__main__.py", _MAIN.encode()
    yield f"{PACKAGE}/__init__.py", b""
    here = Path(__file__).resolve().parent
    for room in ROOMS:
        for path in sorted((here / room).rglob("*.py")):
            place = path.relative_to(here).as_posix()
            if not place.startswith(tuple(f"{one}/" for one in LEFT_OUT)):
                yield f"{PACKAGE}/{place}", path.read_bytes()


def write(destination: str, compiled: bool = True) -> bool:
    """Write the program, executable, by atomic replacement; whether that changes anything."""
    return packing.write(destination, archive(compiled))


if __name__ == "__main__":
    write(sys.argv[-1], "--portable" not in sys.argv[1:-1])
