# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of one release as plain data, and how they become what :mod:`release` wants.

Module ``key_release`` and the agent's configuration have the same options, so both take them from here. Nothing here
needs a library at import.
"""

from __future__ import annotations

import typing as t

from . import arguments

if t.TYPE_CHECKING:
    from .deliver import Target
    from .release import Wanted

_WHAT = (
    "vault_uri", "hsm_uri", "key_name", "key_version", "wrap_algorithm", "release_policy", "preflight", "client_payload",
    "wait_for_grant", "outside_validity", "expiry_warning_days",
)  # fmt: skip
EXCLUSIVE = [*arguments.IDENTITY_EXCLUSIVE, ["vault_uri", "hsm_uri"]]
ONE_OF = [["vault_uri", "hsm_uri"]]


def argument_spec() -> t.Dict[str, t.Any]:
    """Every option of a release, in the form of an Ansible argument spec."""
    return {
        **arguments.guest_argument_spec(),
        **arguments.identity_argument_spec(),
        "vault_uri": {"type": "str"},
        "hsm_uri": {"type": "str"},
        "key_name": {"type": "str", "required": True, "no_log": False},
        "key_version": {"type": "str", "no_log": False},
        "wrap_algorithm": {
            "type": "str",
            "choices": ["CKM_RSA_AES_KEY_WRAP", "RSA_AES_KEY_WRAP_256", "RSA_AES_KEY_WRAP_384"],
            "default": "RSA_AES_KEY_WRAP_256",
            "aliases": ["enc"],
        },
        "release_policy": {"type": "dict"},
        "preflight": {"type": "str", "choices": ["required", "advise", "off"], "default": "required"},
        "client_payload": {"type": "dict"},
        "wait_for_grant": {"type": "float", "default": 0},
        "outside_validity": {"type": "str", "choices": ["refuse", "warn", "accept"], "default": "refuse"},
        "expiry_warning_days": {"type": "int", "default": 30},
        **delivery_argument_spec(),
    }


def delivery_argument_spec() -> t.Dict[str, t.Any]:
    """Options that say where the key goes."""
    return {
        "dest": {"type": "path", "required": True},
        "owner": {"type": "str"},
        "group": {"type": "str"},
        "mode": {"type": "str", "default": "0400"},
        "memory_backed": {"type": "bool", "default": True},
    }


def wanted(options: t.Mapping[str, t.Any]) -> Wanted:
    """What is to be released and how, from checked options with their defaults."""
    from .release import Wanted

    return Wanted(
        target=_target(options),
        identity=arguments.identity(options),
        **{name: options[name] for name in _WHAT},
    )


def _target(options: t.Mapping[str, t.Any]) -> Target:
    from .deliver import Target

    return Target(**{name: options[name] for name in delivery_argument_spec()})
