# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``azure-skr wrap-secret``: an envelope from a secret on standard input. Works anywhere; no VM, no TPM, no network."""

from __future__ import annotations

import argparse
import sys
import typing as t

from .. import arguments, envelope
from ..deliver.common import invalid

NAME = "wrap-secret"
HELP = "wrap a secret from standard input for the holder of a key"
_LARGEST_PEM = 1 << 16


def add(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Reads the secret from standard input, byte by byte, and prints its envelope (docs/envelope.md)."
    )
    parser.add_argument("--public-key", metavar="FILE", required=True, help="the key's public half in PEM")
    parser.add_argument("--secret-name", metavar="NAME", help="what the secret is called; public")
    parser.add_argument("--strip-newline", action="store_true", help="leave one final newline out")
    parser.add_argument("--json", action="store_true", help="print a failure as JSON; an envelope is JSON anyway")


def run(options: t.Dict[str, t.Any]) -> t.Tuple[int, str]:
    """Exit status and the envelope. Raises SkrFailure."""
    arguments.require_libraries((arguments.CRYPTOGRAPHY,))
    try:
        with open(options["public_key"], "rb") as stream:
            pem = stream.read(_LARGEST_PEM)
    except OSError:
        raise invalid("public_key", options["public_key"], "a file that can be read") from None
    envelope.public_key(pem)  # before a user types the secret in vain
    secret = sys.stdin.buffer.read(envelope.LARGEST_SECRET + 2)
    if options.get("strip_newline"):
        secret = secret[:-2] if secret.endswith(b"\r\n") else secret[:-1] if secret.endswith(b"\n") else secret
    return 0, envelope.wrap(pem, secret, options.get("secret_name"))
