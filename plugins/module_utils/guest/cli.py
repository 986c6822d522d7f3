# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guest agent ``azure-skr``: its commands, options and exit statuses.

    azure-skr explain --token FILE|--attest URL  --policy FILE|--vault-uri URL|--hsm-uri URL --key-name NAME  [--json]

Exit status: 0 the policy is met, 1 it is not, 2 the command could not do its work (the reason is told).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import typing as t

from ..policy.failure import SkrFailure
from . import explain

PROGRAM = "azure-skr"


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog=PROGRAM, description="Secure Key Release on an Azure confidential VM.")
    commands = made.add_subparsers(dest="command", required=True)
    one = commands.add_parser(
        "explain",
        help="would this VM get the key, and why not",
        description="Evaluates a release policy over an attestation token as the vault does, and tells the result.",
    )
    token = one.add_mutually_exclusive_group(required=True)
    token.add_argument(
        "--token", metavar="FILE", help="a file with a token (JWT) or its claims (JSON); - reads standard input"
    )
    token.add_argument("--attest", metavar="URL", help="attest this VM now by the attestation provider of this URL")
    policy = one.add_mutually_exclusive_group(required=True)
    policy.add_argument("--policy", metavar="FILE", help="a file with the release policy (JSON)")
    policy.add_argument("--vault-uri", metavar="URL", help="read the live policy of --key-name from this vault")
    policy.add_argument("--hsm-uri", metavar="URL", help="the same from this managed HSM")
    one.add_argument("--key-name", metavar="NAME", help="the key, with --vault-uri or --hsm-uri")
    one.add_argument("--identity-client-id", metavar="ID", help="which managed identity reads the live policy")
    one.add_argument("--json", action="store_true", help="print the verdict as JSON")
    for name, meaning in (
        ("--tpm-device", "the TPM (default /dev/tpmrm0)"),
        ("--imds-endpoint", "the metadata service"),
        ("--https-proxy", "proxy for vault and attestation provider"),
        ("--ca-path", "CA bundle"),
        ("--report-roots-path", "further roots of hardware reports"),
        ("--event-log-path", "the measured boot log"),
        ("--cache-dir", "folder for public signing keys"),
    ):
        one.add_argument(name, metavar="VALUE", help=meaning)
    return made


def main(arguments: t.Optional[t.Sequence[str]] = None) -> int:
    """Run a command; no traceback reaches a user."""
    options = parser().parse_args(arguments)
    try:
        met, text = explain.run(vars(options), _colours())
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()  # a reader that has gone is noticed here and not at the interpreter's end
        return 0 if met else 1
    except SkrFailure as failure:
        result = failure.as_result()
        _complain(json.dumps(result, indent=2) if options.json else f"{PROGRAM}: {result['msg']}")
    except KeyboardInterrupt:
        _complain(f"{PROGRAM}: interrupted")
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    except Exception as error:  # the outermost layer: its text might quote what must not be seen
        _complain(f"{PROGRAM}: unforeseen {type(error).__name__} [internal_error]")
    return 2


def _complain(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _colours() -> bool:
    """Whether to mark words by colour: on a terminal, unless NO_COLOR is set (https://no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
