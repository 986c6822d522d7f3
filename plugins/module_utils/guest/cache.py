# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small public files kept between runs: an authority's signing keys, the host's certificate chain.

What is read from here is verified as if it had just been fetched. Only files of this very user are read, because whoever
writes here chooses what is believed.
"""

from __future__ import annotations

import os
import tempfile
import time
import typing as t


class Cache:
    """A folder of such files; without a folder nothing is kept."""

    def __init__(self, folder: t.Optional[str]) -> None:
        self._folder = folder

    def load(self, name: str, age: float) -> t.Optional[bytes]:
        """The content of a file that is not older than ``age`` seconds, or None."""
        if not self._folder:
            return None
        try:
            with open(os.path.join(self._folder, name), "rb") as stream:
                found = os.fstat(stream.fileno())
                if found.st_uid != os.geteuid() or not 0 <= time.time() - found.st_mtime <= age:
                    return None
                return stream.read(1 << 20)
        except OSError:
            return None

    def save(self, name: str, content: bytes) -> None:
        """Keep a file, by atomic replacement; that it cannot be done costs one request next time and nothing else."""
        if not self._folder:
            return
        try:
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
            descriptor, temporary = tempfile.mkstemp(dir=self._folder)
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(content)
            os.replace(temporary, os.path.join(self._folder, name))
        except OSError:
            pass
