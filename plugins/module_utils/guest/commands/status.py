# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tells what became of the last release of one configured key, or of all.

Exit status: 0 the key is in place, 1 the last release failed or is too long ago, 2 nothing is known.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import typing as t

from ...policy.failure import SkrFailure
from .. import config
from .. import status as states
from . import common

NAME = "status"
HELP = "what became of the last release"


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", metavar="NAME", help="one instance; all of them by default")
    parser.add_argument("--state-dir", metavar="FOLDER", help=f"where status is kept (default {config.STATE_DIR})")
    common.add_json(parser, "it")


def run(options: t.Dict[str, t.Any]) -> t.Tuple[int, str]:
    now, given = time.time(), options["state_dir"]
    names = [config.locate(options["name"], None)[0]] if options["name"] else _all(given or config.STATE_DIR)
    found = {name: states.read(given or _folder(name), name) for name in names}
    judged = [states.judge(status, now)[0] for status in found.values()] or [2]
    code = next(one for one in (1, 2, 0) if one in judged)
    if options["json"]:
        told = {name: {**status, "state": states.judge(status, now)[1]} for name, status in found.items()}
        return code, json.dumps(told[options["name"]] if options["name"] else told, indent=2, sort_keys=True)
    lines = [states.text(name, status, now) for name, status in found.items()]
    return code, "\n".join(lines) or "Nothing is configured, and nothing was released since this machine started."


def _all(folder: str) -> t.List[str]:
    """Instances that have a configuration or a status."""
    try:
        configured = [name[:-5] for name in os.listdir(config.FOLDER) if name.endswith(".json")]
    except OSError:
        configured = []
    return sorted({*configured, *states.names(folder)})


def _folder(name: str) -> str:
    """Where this instance keeps its status: as its configuration says, if that can be read."""
    try:
        return str(config.load(name).options["state_dir"])
    except SkrFailure:
        return config.STATE_DIR
