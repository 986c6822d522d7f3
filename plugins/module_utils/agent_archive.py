# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packs the guest agent ``azure-skr``: guest and policy code as one file that runs on any Python 3.9 or later (PEP 441).

As a program: ``python -m ...agent_archive DESTINATION``.
"""

from __future__ import annotations

import io
import os
import stat
import sys
import typing as t
import zipfile
from pathlib import Path

PACKAGE = "azure_skr"
ROOMS = ("guest", "policy")
_SHEBANG = b"#!/usr/bin/env python3\n"
_MAIN = """\
import sys

if sys.version_info < (3, 9):
    sys.exit("azure-skr needs Python 3.9 or later, this is %d.%d" % sys.version_info[:2])
from azure_skr.guest.cli import main

sys.exit(main())
"""


def archive() -> bytes:
    """The program's bytes; the same bytes for the same code, so that a copy task sees no change."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as target:
        for name, text in _members():
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            target.writestr(entry, text)
    return _SHEBANG + buffer.getvalue()


def _members() -> t.Iterator[t.Tuple[str, str]]:
    yield "__main__.py", _MAIN
    yield f"{PACKAGE}/__init__.py", ""
    here = Path(__file__).resolve().parent
    for room in ROOMS:
        for path in sorted((here / room).rglob("*.py")):
            yield f"{PACKAGE}/{path.relative_to(here).as_posix()}", path.read_text(encoding="utf-8")


def write(destination: str) -> None:
    """Write the program, executable, by atomic replacement."""
    path = Path(destination)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_bytes(archive())
    temporary.chmod(0o755)
    os.replace(temporary, path)


if __name__ == "__main__":
    write(sys.argv[1])
