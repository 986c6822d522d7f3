# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules' options as options of a command, so that both have the same names, choices and defaults."""

from __future__ import annotations

import argparse
import json
import typing as t

from ...policy.failure import SkrFailure

_PREFIX = "option_"  # the parser has names of its own
_KINDS: t.Dict[str, t.Any] = {"str": str, "path": str, "int": int, "float": float}
Spec = t.Mapping[str, t.Mapping[str, t.Any]]


def add(parser: argparse.ArgumentParser, title: str, spec: Spec) -> None:
    """One option for each of the argument spec; what they mean the modules' documentation tells."""
    group = parser.add_argument_group(title)
    for name, option in spec.items():
        flag, dest = f"--{name.replace('_', '-')}", _PREFIX + name
        default = "" if option.get("default") in (None, [], "", False) else f"default {option['default']}"
        if option["type"] == "bool":
            group.add_argument(flag, action=argparse.BooleanOptionalAction, default=option.get("default"), dest=dest)
        elif option["type"] == "list":
            group.add_argument(flag, action="append", metavar="WORD", help="may be given several times", dest=dest)
        elif option["type"] == "dict":
            group.add_argument(flag, metavar="FILE", help="a file with JSON", dest=dest)
        else:
            more: t.Dict[str, t.Any] = {"choices": option["choices"]} if "choices" in option else {"metavar": "VALUE"}
            group.add_argument(
                flag,
                type=_KINDS[option["type"]],
                required=option.get("required", False),
                help=default,
                dest=dest,
                **more,
            )


def read(options: t.Mapping[str, t.Any], spec: Spec) -> t.Dict[str, t.Any]:
    """The values as a module would have them. Raises SkrFailure ``invalid_input``."""
    found = {}
    for name, option in spec.items():
        value = options.get(_PREFIX + name)
        if value is None:
            value = option.get("default")
        elif option["type"] == "dict":
            value = _document(name, value)
        found[name] = value
    return found


def _document(name: str, path: str) -> t.Dict[str, t.Any]:
    try:
        with open(path, encoding="utf-8") as stream:
            document = json.load(stream)
    except (OSError, ValueError):
        document = None
    if not isinstance(document, dict):
        raise SkrFailure("invalid_input", f"{name} is {path!r}, wanted a file with a JSON object.", {"option": name})
    return document
