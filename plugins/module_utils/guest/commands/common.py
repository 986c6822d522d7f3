# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that several commands have, with the names of the modules' options, and how they become settings."""

from __future__ import annotations

import os
import sys
import typing as t

if t.TYPE_CHECKING:
    import argparse

    from ..attest import Guest
    from ..imds import Identity

_GUEST = {
    "tpm_device": "the TPM (default /dev/tpmrm0)",
    "imds_endpoint": "the metadata service",
    "https_proxy": "proxy for vault and attestation provider",
    "ca_path": "CA bundle",
    "report_roots_path": "further roots of hardware reports",
    "event_log_path": "the measured boot log",
    "cache_dir": "folder for public signing keys and the host's certificate chain",
}


def add_guest(parser: argparse.ArgumentParser) -> None:
    """How this VM reaches its TPM, its metadata service and the network."""
    for name, meaning in _GUEST.items():
        parser.add_argument(f"--{name.replace('_', '-')}", metavar="VALUE", help=meaning)


def add_identity(parser: argparse.ArgumentParser, purpose: str) -> None:
    """Which managed identity to use."""
    parser.add_argument("--identity-client-id", metavar="ID", help=f"which managed identity {purpose}")


def add_json(parser: argparse.ArgumentParser, what: str) -> None:
    """Output for a program; a failure is told as JSON then too."""
    parser.add_argument("--json", action="store_true", help=f"print {what} as JSON")


def guest(options: t.Mapping[str, t.Any], attestation_url: str, **more: t.Any) -> Guest:
    """Settings from the options of :func:`add_guest` and ``more``; those not given keep their defaults."""
    from ..attest import Guest

    given = {name: options[name] for name in _GUEST if options.get(name) is not None}
    return Guest(attestation_url, **given, **more)


def identity(options: t.Mapping[str, t.Any]) -> Identity:
    from ..imds import Identity

    return Identity(options["identity_client_id"])


def colours() -> bool:
    """Whether to mark words by colour: on a terminal, unless NO_COLOR is set (https://no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
