# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``azure-skr unwrap-secret``: release the key into this VM, open one envelope, deliver the secret."""

from __future__ import annotations

import argparse
import json
import sys
import typing as t

from .. import application_secrets, arguments, envelope
from ..deliver.common import invalid
from . import options as shared

NAME = "unwrap-secret"
HELP = "open an application secret with a released key, and deliver it"


def add(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "The secret is delivered and never printed. Exit status: 0 delivered, changed or not; 2 failed."
    )
    parser.add_argument("--envelope-file", metavar="FILE", required=True, help="the envelope; - reads standard input")
    parser.add_argument("--secret-name", metavar="NAME", help="refuse the envelope of another name")
    parser.add_argument("--check", action="store_true", help="tell what would change, and deliver nothing")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    for title, spec in _specs().items():
        shared.add(parser, title, spec)


def _specs() -> t.Dict[str, shared.Spec]:
    release = arguments.release_argument_spec()
    return {
        "this machine": {**arguments.guest_argument_spec(), **arguments.identity_argument_spec()},
        "the key": release,
        "where the secret goes": arguments.delivery_argument_spec(),
    }


def run(options: t.Dict[str, t.Any]) -> t.Tuple[int, str]:
    """Exit status and what to print: public facts alone. Raises SkrFailure."""
    values: t.Dict[str, t.Any] = {}
    for spec in _specs().values():
        values.update(shared.read(options, spec, (*arguments.IDENTITY_EXCLUSIVE, *arguments.RELEASE_EXCLUSIVE)))
    if not values["vault_uri"] and not values["hsm_uri"]:
        raise invalid("vault_uri", None, "the address of the vault, or hsm_uri")
    entry = {**values, "name": options.get("secret_name")}
    if options["envelope_file"] == "-":
        entry["envelope"] = sys.stdin.buffer.read(envelope.LARGEST_ENVELOPE + 1)
    else:
        entry["envelope_file"] = options["envelope_file"]
    entries = application_secrets.secrets([entry])
    result = application_secrets.unwrap(
        arguments.guest(values), arguments.wanted(values, door="agent"), entries, bool(options.get("check"))
    )
    if options.get("json"):
        return 0, json.dumps({name: value for name, value in result.items() if name != "diff"}, indent=2)
    return 0, "\n".join(_line(one, bool(options.get("check"))) for one in result["secrets"])


def _line(one: t.Mapping[str, t.Any], check: bool) -> str:
    place = ", ".join(f"{name} {value}" for name, value in one["delivered"].items() if value is not None)
    done = ("would be delivered" if check else "delivered") if one["changed"] else "unchanged"
    return f"{one['name'] or 'secret'}: {done} ({place})"
