# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Removes what one configuration delivers; nothing happens where it is gone already. For the unit's end.

Exit status: 0 it is not there (any more), 2 it could not be removed.
"""

from __future__ import annotations

import argparse
import typing as t

from .. import config

NAME = "remove"
HELP = "remove what a configuration delivered"


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", metavar="NAME", help=f"the configuration {config.FOLDER}/NAME.json")
    parser.add_argument("--config", metavar="FILE", help="a configuration elsewhere")


def run(options: t.Dict[str, t.Any]) -> t.Tuple[int, str]:
    configuration = config.load(options["name"], options["config"])
    from .. import deliver

    place = deliver.check(deliver.target(configuration.options), removal=True)
    changed, _diff = place.remove()
    where = ", ".join(f"{name} {value}" for name, value in place.facts().items() if value is not None)
    return 0, f"{'removed' if changed else 'was not there'}: {where}"
