# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands of the guest agent, a file each. A command's module has

``NAME``, ``HELP``
    what is typed, and a line about it;
``add(parser)``
    which gives an argparse parser the command's options (those that several have are in :mod:`common`);
``run(options) -> (exit status, text for standard output)``
    which does the work, or raises SkrFailure;
``exit_status(failure) -> int``
    only where a failure is to end with another status than 2.

Only the module of the command that was typed is imported, because start-up counts: at a boot every VM does it. For the
same reason a module imports at its top what its options need, and in ``run`` what its work needs.
"""

from __future__ import annotations

import importlib
import types
import typing as t

# What is typed, and the module it is in. A command whose file is not there is not offered.
MODULES = {
    "release": "release",
    "status": "status",
    "attest": "attest",
    "verify": "verify",
    "verify-evidence": "verify_evidence",
    "explain": "explain",
    "doctor": "doctor",
    "wrap-secret": "wrap_secret",
    "unwrap-secret": "unwrap_secret",
    "remove": "remove",
    "remove-copies": "remove_copies",
    "install": "install",
}


def load(name: str) -> t.Optional[types.ModuleType]:
    """The module of a command; None when there is no such command."""
    if name not in MODULES:
        return None
    wanted = f"{__name__}.{MODULES[name]}"
    try:
        return importlib.import_module(wanted)
    except ModuleNotFoundError as error:
        if error.name != wanted:  # something that the command needs is missing, which is another matter
            raise
        return None


def every() -> t.List[types.ModuleType]:
    """All commands that there are, in the order of the table."""
    return [module for module in map(load, MODULES) if module is not None]
