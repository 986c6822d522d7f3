# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The form of a bundle: a tar archive (POSIX.1-1988, "ustar") in gzip, the same bytes for the same files.

Read strictly: a header must be the very bytes that packing would write, so that there are no links, no folders, no paths
that lead elsewhere, no sparse files and no second way to write anything; and all within limits, whatever gzip would make of it.
"""

from __future__ import annotations

import gzip
import io
import re
import tarfile
import typing as t
import zlib

from ..policy.failure import SkrFailure

MOST_BYTES = 1 << 30  # of all files together
MOST_FILES = 200_000
MOST_FILE = 64 << 20
_BLOCK = 512
_PART = r"[A-Za-z0-9][A-Za-z0-9._:@%+=-]*"
_PATH = re.compile(rf"{_PART}(/{_PART}){{0,3}}")


def pack(files: t.Mapping[str, bytes]) -> bytes:
    """The archive. Raises SkrFailure ``invalid_input`` for a path that cannot be in one."""
    plain = io.BytesIO()
    for path in sorted(files):
        header = _header(path, len(files[path]))
        if header is None:
            raise SkrFailure("invalid_input", f"{path!r} cannot be a file of a bundle.", {"path": path})
        plain.write(header)
        plain.write(files[path])
        plain.write(bytes(-len(files[path]) % _BLOCK))
    plain.write(bytes(2 * _BLOCK))
    packed = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=packed, mtime=0) as stream:
        stream.write(plain.getbuffer())
    return packed.getvalue()


def _header(path: str, size: int) -> t.Optional[bytes]:
    if not _PATH.fullmatch(path) or size > MOST_FILE:
        return None
    entry = tarfile.TarInfo(path)
    entry.size, entry.mode = size, 0o644
    try:
        return entry.tobuf(tarfile.USTAR_FORMAT, "ascii", "strict")
    except (ValueError, UnicodeError):  # a name that does not fit
        return None


def fits(path: str) -> bool:
    """Whether a file of this path can be packed."""
    return _header(path, 0) is not None


def unpack(content: bytes) -> t.Dict[str, bytes]:
    """The files by path. Raises SkrFailure ``bundle_invalid``."""
    plain = memoryview(_inflated(content))
    files: t.Dict[str, bytes] = {}
    at = 0
    while True:
        header = bytes(plain[at : at + _BLOCK])
        if len(header) < _BLOCK:
            raise _invalid("it ends in the middle")
        if not any(header):
            break
        path, size = _named(header)
        if _header(path, size) != header:
            raise _invalid(f"it holds something else than plain files with plain names ({path[:80]!r})")
        end = at + _BLOCK + size
        padded = end + -size % _BLOCK
        if len(plain) < padded or any(plain[end:padded]):
            raise _invalid(f"{path!r} ends in the middle")
        if path in files or len(files) >= MOST_FILES:
            raise _invalid(f"it holds {path!r} twice" if path in files else f"it holds more than {MOST_FILES} files")
        files[path] = bytes(plain[at + _BLOCK : end])
        at = padded
    if len(plain) != at + 2 * _BLOCK or any(plain[at:]):
        raise _invalid("something follows its end")
    return files


def _named(header: bytes) -> t.Tuple[str, int]:
    """Path and size as a header states them; whether the header is sound is seen by making it again."""
    try:
        name, prefix = (header[a:b].rstrip(b"\0").decode("ascii") for a, b in ((0, 100), (345, 500)))
        return (f"{prefix}/{name}" if prefix else name), int(header[124:135], 8)
    except ValueError:
        raise _invalid("it is no archive of plain files") from None


def _inflated(content: bytes) -> bytes:
    decoder = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        plain = decoder.decompress(content, MOST_BYTES + 1)
    except zlib.error:
        raise _invalid("it is not compressed by gzip, or damaged") from None
    if len(plain) > MOST_BYTES:
        raise _invalid(f"it holds more than {MOST_BYTES >> 20} MiB")
    if not decoder.eof or decoder.unused_data:
        raise _invalid("it is cut" if not decoder.eof else "something follows its end")
    return plain


def _invalid(why: str) -> SkrFailure:
    return SkrFailure("bundle_invalid", f"The bundle cannot be read: {why}.")
