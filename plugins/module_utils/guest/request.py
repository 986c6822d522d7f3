# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of one release by the agent, and how they become what :mod:`release` wants: those of module ``key_release``.

Nothing here needs a library at import.
"""

from __future__ import annotations

import typing as t

from . import arguments

if t.TYPE_CHECKING:
    from .release import Wanted

EXCLUSIVE = [*arguments.IDENTITY_EXCLUSIVE, *arguments.RELEASE_EXCLUSIVE]
ONE_OF = [["vault_uri", "hsm_uri"]]


def argument_spec() -> t.Dict[str, t.Any]:
    """Every option of a release, in the form of an Ansible argument spec."""
    return {
        **arguments.guest_argument_spec(),
        **arguments.identity_argument_spec(),
        **arguments.release_argument_spec(),
        **arguments.delivery_argument_spec(),
        # In Ansible a handler reloads the consumer; the agent has none.
        "on_change": {"type": "list", "elements": "str"},
    }


def wanted(options: t.Mapping[str, t.Any]) -> Wanted:
    """What is to be released and how, from checked options with their defaults. Raises SkrFailure ``invalid_input``."""
    from . import deliver

    return arguments.wanted(options, target=deliver.target(options), door="agent")
