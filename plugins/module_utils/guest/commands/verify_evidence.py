# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Verifies a bundle of evidence on any machine: no network, no Azure and no TPM is needed.

Checked are the bundle's signature or hash, its files, and of every record the attestation token's signature, the claims,
the policy and its decision condition by condition, and the key. docs/evidence.md says what this proves and what not.

    azure-skr verify-evidence audit-2026-11.tar.gz --public-key auditor.pem
    azure-skr verify-evidence audit-2026-11.tar.gz --sha256 audit-2026-11.tar.gz.sha256 --jwks certs.json

The signature is read from BUNDLE.sig. Without --public-key and --sha256 the hash list BUNDLE.sha256 is used, which proves
that the bundle is whole and not who made it. Without --jwks the signing keys in the bundle are used.

Exit status: 0 verified, 1 something failed or could not be checked, 2 the command could not do its work.
"""

from __future__ import annotations

import argparse
import json
import typing as t

from . import common

NAME = "verify-evidence"
HELP = "verify a bundle of evidence off line"
_NAMES = {"bundle": "BUNDLE", "public_key": "--public-key", "sha256": "--sha256", "jwks": "--jwks"}


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", metavar="BUNDLE", help="the bundle (.tar.gz)")
    origin = parser.add_mutually_exclusive_group()
    origin.add_argument("--public-key", metavar="PEM", help="public key or certificate of whoever signed the bundle")
    origin.add_argument("--sha256", metavar="FILE", help="a hash list that you got by another way than the bundle")
    parser.add_argument(
        "--jwks",
        metavar="[AUTHORITY=]FILE",
        action="append",
        help="the signing keys of the attestation authority (its /certs document) as you got them yourself; may be given again",
    )
    parser.add_argument("--verbose", action="store_true", help="list every check of every record")
    common.add_json(parser, "the result")


def run(options: t.Dict[str, t.Any]) -> t.Tuple[int, str]:
    """Exit status and text. Raises SkrFailure for what cannot be read or used."""
    from ...audit import files

    found = files.check(options["bundle"], options["public_key"], options["sha256"], options["jwks"] or [], _NAMES)
    told = json.dumps(found.result(), indent=2) if options["json"] else found.text(options["verbose"])
    return 0 if found.verdict == "verified" else 1, told
