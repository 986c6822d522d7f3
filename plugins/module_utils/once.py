# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Imports from the zip in which Ansible sends a module, compiling each file once.

Python's own importer compiles a source file in a zip twice: to say where the module comes from, and to run it. A release
imports some seventy files of this collection, so that the second time is a tenth of its processor time.
"""

from __future__ import annotations

import importlib.machinery
import os
import sys
import types
import typing as t
import zipimport

_PACKAGE = __name__.rpartition(".")[0]


def install() -> None:
    """From now on; without effect where this file is not in a zip, as in tests and in the guest agent."""
    loader = globals().get("__loader__")
    if isinstance(loader, zipimport.zipimporter) and not any(isinstance(one, _Finder) for one in sys.meta_path):
        sys.meta_path.insert(0, _Finder(zipimport.zipimporter(loader.archive)))


class _Finder:
    """Finds this package's modules, and is their loader."""

    def __init__(self, archive: zipimport.zipimporter) -> None:
        self._archive = archive
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
        exec(compile(source, module.__file__ or "", "exec", dont_inherit=True), module.__dict__)
