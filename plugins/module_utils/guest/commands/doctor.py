# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks at all that a release needs on this VM, and tells what is wrong and what to do. Changes nothing.

Exit status: 0 nothing failed, 1 something did, 2 an option cannot work.
"""

from __future__ import annotations

import argparse
import os
import sys
import typing as t

from .. import arguments

NAME = "doctor"
HELP = "what is wrong with this VM"
_HELP = {
    "attestation_url": "the attestation provider that this VM asks",
    "vault_uri": "the vault",
    "hsm_uri": "the managed HSM, instead of a vault",
    "key_name": "the key, looked at where the identity may read it",
    "key_version": "a version of the key (default the latest)",
    "dest": "where the key is to go",
    "tpm_device": "the TPM",
    "tpm_timeout": "seconds to wait while another process holds the TPM",
    "imds_endpoint": "the metadata service",
    "https_proxy": "proxy for vault and attestation provider",
    "ca_path": "CA bundle",
    "report_roots_path": "further roots of hardware reports",
    "event_log_path": "the measured boot log",
    "cache_dir": "folder for public signing keys",
    "identity_source": "who asks for the access token",
    "identity_client_id": "which managed identity, by client id",
    "identity_object_id": "the same, by object id",
    "identity_resource_id": "the same, by resource id",
    "known_client_ids": "client ids to try where the identity is ambiguous (may be repeated)",
    "tenant": "tenant of the application",
    "client_id": "id of the application",
    "client_secret_file": "file with the application's secret",
    "client_certificate_file": "PEM file with the application's certificate and key",
    "federated_token_file": "file with another issuer's token",
    "authority_host": "the sign-in host",
}


def add(parser: argparse.ArgumentParser) -> None:
    """The module's options under the same names."""
    exclusive: t.Dict[str, t.Any] = {}
    for names in (*arguments.IDENTITY_EXCLUSIVE, ["vault_uri", "hsm_uri"]):
        exclusive.update(dict.fromkeys(names, parser.add_mutually_exclusive_group()))
    for name, option in arguments.doctor_argument_spec().items():
        default = option.get("default")
        told = f" (default {default})" if default else ""
        words: t.Dict[str, t.Any] = {"default": default, "help": f"{_HELP[name]}{told}"}
        if "choices" in option:
            words["choices"] = option["choices"]
        else:
            words["metavar"] = "VALUE"
        if option["type"] == "float":
            words["type"] = float
        if option["type"] == "list":
            words.update(action="append", default=[])
        exclusive.get(name, parser).add_argument(f"--{name.replace('_', '-')}", **words)
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")


def run(options: t.Dict[str, t.Any]) -> t.Tuple[int, str]:
    """Status and text to print. Raises SkrFailure."""
    from ..doctor import examination, report

    result = examination.examine(arguments.patient(options))
    status = 1 if result["counts"]["failed"] else 0
    if options["json"]:
        import json

        return status, json.dumps(result, indent=2)
    return status, report.text(result, _colours())


def _colours() -> bool:
    """Whether to mark words by colour: on a terminal, unless NO_COLOR is set (https://no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
