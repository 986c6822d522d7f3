# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Imports from the zip in which Ansible sends a module, compiling each file once: once in a run, and once on a host.

Python's own importer compiles a source file in a zip twice, to say where the module comes from and to run it, and keeps
nothing of it. A release imports some seventy files of this collection, which is a third of its processor time.

What is kept is what Python keeps in its ``__pycache__`` folders, by stricter rules: one file in the guest's cache folder,
whose codes belong to the SHA-256 of their source. Whoever can write it chooses what runs, so it is read only where it and
its folder are this user's own and nobody else can write them. Anything else about it means compiling again.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import importlib.machinery
import importlib.util
import marshal
import os
import stat
import sys
import tempfile
import types
import typing as t
import zipimport

_PACKAGE = __name__.rpartition(".")[0]
_NAME = f"code-{sys.implementation.cache_tag}-{sys.flags.optimize}"
_MOST = 16 << 20  # bytes of the file; a release's have some 600,000
_MOST_KEPT = 600  # codes; beyond that only those of the last run stay
Codes = t.Dict[bytes, bytes]  # SHA-256 of interpreter's format, name and source -> marshalled code


def install(folder: t.Optional[str] = None) -> None:
    """From now on; without effect where this file is not in a zip, as in tests and in the guest agent.

    Codes are kept in ``folder`` when the process ends; without one, or where they cannot be, nothing is kept.
    """
    loader = globals().get("__loader__")
    if isinstance(loader, zipimport.zipimporter) and not any(isinstance(one, _Finder) for one in sys.meta_path):
        kept = Kept(folder)
        sys.meta_path.insert(0, _Finder(zipimport.zipimporter(loader.archive), kept))
        atexit.register(kept.save)


class Kept:
    """The codes of earlier runs, and those that this run adds."""

    def __init__(self, folder: t.Optional[str]) -> None:
        self._folder = folder
        self._found = _load(folder) if folder else {}
        self._used: Codes = {}
        self._new = False

    def code(self, name: str, source: bytes, file: str) -> types.CodeType:
        """The code of a module, compiled only where it is not kept. Raises SyntaxError."""
        text = importlib.util.MAGIC_NUMBER + name.encode() + b"\0" + source
        key = hashlib.sha256(text).digest()
        if key in self._found:
            with contextlib.suppress(ValueError, EOFError, TypeError):
                code = marshal.loads(self._found[key])
                if isinstance(code, types.CodeType):
                    self._used[key] = self._found[key]
                    return code
        made: types.CodeType = compile(source, file, "exec", dont_inherit=True)
        self._used[key] = marshal.dumps(made)
        self._new = True
        return made

    def save(self) -> None:
        """Keep the codes, by atomic replacement; that it cannot be done costs time in the next run and nothing else."""
        if not self._new or not self._folder:
            return
        self._new = False
        codes = {**self._found, **self._used}
        body = marshal.dumps(self._used if len(codes) > _MOST_KEPT else codes)
        with contextlib.suppress(OSError):
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
            descriptor, temporary = tempfile.mkstemp(prefix=f".{_NAME}.", dir=self._folder)  # of mode 0600
            try:
                with os.fdopen(descriptor, "wb") as stream:
                    stream.write(hashlib.sha256(body).digest() + body)
                os.replace(temporary, os.path.join(self._folder, _NAME))
            except OSError:
                os.unlink(temporary)


def _load(folder: str) -> Codes:
    """What is kept there; nothing where somebody else could have written it, or where it is not whole."""
    try:
        with contextlib.ExitStack() as stack:
            place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            stack.callback(os.close, place)
            # Below the folder that is looked at, whatever its name stands for by now.
            file = os.open(_NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=place)
            stream = stack.enter_context(os.fdopen(file, "rb"))
            found = os.fstat(file)
            if not (_own(os.fstat(place)) and _own(found) and stat.S_ISREG(found.st_mode) and found.st_size <= _MOST):
                return {}
            content = stream.read(_MOST)
    except OSError:
        return {}
    digest, body = content[:32], content[32:]
    if hashlib.sha256(body).digest() != digest:  # marshal is not made for what is broken
        return {}
    codes: Codes = marshal.loads(body)
    return codes


def _own(found: os.stat_result) -> bool:
    return found.st_uid == os.geteuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


class _Finder:
    """Finds this package's modules, and is their loader."""

    def __init__(self, archive: zipimport.zipimporter, kept: Kept) -> None:
        self._archive, self._kept = archive, kept
        self._sources: t.Dict[str, bytes] = {}

    def find_spec(
        self, name: str, path: t.Any = None, target: t.Any = None
    ) -> t.Optional[importlib.machinery.ModuleSpec]:
        if not name.startswith(f"{_PACKAGE}."):
            return None
        place = os.path.join(self._archive.archive, *name.split("."))
        for file, package in ((f"{place}.py", False), (os.path.join(place, "__init__.py"), True)):
            try:
                self._sources[name] = self._archive.get_data(file)
            except OSError:
                continue
            spec = importlib.machinery.ModuleSpec(name, t.cast(t.Any, self), origin=file, is_package=package)
            spec.has_location = True  # the origin is the module's __file__
            if package:
                spec.submodule_search_locations = [place]
            return spec
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        """As usual."""

    def exec_module(self, module: types.ModuleType) -> None:
        source = self._sources.pop(module.__name__)
        exec(self._kept.code(module.__name__, source, module.__file__ or ""), module.__dict__)
