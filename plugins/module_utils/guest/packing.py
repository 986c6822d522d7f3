# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The agent as one file: a zip of its sources behind a ``#!`` line (PEP 441), portable or compiled for one interpreter.

Compiled, every module is there twice: as byte code, which this very Python version takes without looking at the source,
and as source, which every other version takes. Nothing is compressed then, because start-up is what is to be short. The
same sources and interpreter give the same bytes.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import marshal
import os
import stat
import sys
import tempfile
import typing as t
import zipfile

_PORTABLE = "/usr/bin/env python3"
_UNCHECKED = (0b01).to_bytes(4, "little")  # PEP 552: byte code that names its source's hash, which is not compared
Members = t.Mapping[str, bytes]


def pack(members: Members, compiled: bool) -> bytes:
    """The program's bytes; ``members`` are source files by their name in the archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as target:
        for name, source in members.items():
            if compiled and name != "__main__.py":
                _add(target, f"{name}c", _byte_code(name, source), zipfile.ZIP_STORED)
            _add(target, name, source, zipfile.ZIP_STORED if compiled else zipfile.ZIP_DEFLATED)
    interpreter = f"{sys.executable} -I" if compiled and sys.executable else _PORTABLE
    return f"#!{interpreter}\n".encode() + buffer.getvalue()


def _add(target: zipfile.ZipFile, name: str, content: bytes, method: int) -> None:
    entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    entry.external_attr = (stat.S_IFREG | 0o644) << 16
    entry.compress_type = method
    target.writestr(entry, content)


def _byte_code(name: str, source: bytes) -> bytes:
    code = compile(source, f"<azure-skr>/{name}", "exec", dont_inherit=True, optimize=0)
    digest = hashlib.sha256(source).digest()[:8]
    return importlib.util.MAGIC_NUMBER + _UNCHECKED + digest + marshal.dumps(code)


def sources(archive: str) -> t.Dict[str, bytes]:
    """The source files of a packed program."""
    with zipfile.ZipFile(archive) as packed:
        return {name: packed.read(name) for name in packed.namelist() if name.endswith(".py")}


def write(destination: str, content: bytes, dry: bool = False) -> bool:
    """Write a program, executable, by atomic replacement; whether that changes anything (``dry``: would)."""
    try:
        with open(destination, "rb") as stream:
            if stream.read() == content and stat.S_IMODE(os.fstat(stream.fileno()).st_mode) == 0o755:
                return False
    except OSError:
        pass
    if dry:
        return True
    folder = os.path.dirname(os.path.abspath(destination))
    os.makedirs(folder, mode=0o755, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(prefix=".", dir=folder)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            os.fchmod(descriptor, 0o755)
        os.replace(temporary, destination)
    except BaseException:
        os.unlink(temporary)
        raise
    return True
