# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules' options as options of a command, so that both have the same names, choices and defaults."""

from __future__ import annotations

import argparse
import json
import typing as t

from ...policy.failure import SkrFailure

_PREFIX = "option_"  # the parser has names of its own
_KINDS: t.Dict[str, t.Any] = {"str": str, "path": str, "int": int, "float": float}
Spec = t.Mapping[str, t.Mapping[str, t.Any]]
# Of the options that several commands have.
_HELP = {
    "require_tee": "what this VM has to be",
    "pcrs": "a PCR to attest (may be repeated)",
    "renew_ak_certificate": "whether to have the AK certificate renewed",
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


def add(parser: argparse.ArgumentParser, title: str, spec: Spec) -> None:
    """One option for each of the argument spec; what the rarer ones mean the modules' documentation tells."""
    group = parser.add_argument_group(title)
    for name, option in spec.items():
        flag, default = f"--{name.replace('_', '-')}", option.get("default")
        told = "" if default in (None, [], "", False) else f"default {default}"
        meaning = _HELP.get(name, "")
        words: t.Dict[str, t.Any] = {
            "dest": _PREFIX + name,
            "help": f"{meaning} ({told})" if meaning and told else meaning or told,
        }
        if option["type"] == "bool":
            words.update(action=argparse.BooleanOptionalAction, default=default)
        elif option["type"] == "list":
            words.update(action="append", metavar="VALUE", type=_KINDS[option.get("elements", "str")])
        elif option["type"] == "dict":
            words.update(metavar="FILE", help=meaning or "a file with JSON")
        else:
            words.update(type=_KINDS[option["type"]], required=option.get("required", False))
            words.update({"choices": option["choices"]} if "choices" in option else {"metavar": "VALUE"})
        group.add_argument(flag, **words)


def read(options: t.Mapping[str, t.Any], spec: Spec, exclusive: t.Iterable[t.Sequence[str]] = ()) -> t.Dict[str, t.Any]:
    """The values as a module would have them; of a group of ``exclusive`` one alone. Raises SkrFailure ``invalid_input``."""
    found: t.Dict[str, t.Any] = {}
    for group in exclusive:
        given = [name for name in group if options.get(_PREFIX + name) is not None]
        if len(given) > 1:
            raise SkrFailure(
                "invalid_input", f"{given[1]} is given, wanted nothing beside {given[0]}.", {"option": given[1]}
            )
    for name, option in spec.items():
        value = options.get(_PREFIX + name)
        if value is None:
            value = option.get("default")
        elif option["type"] == "dict":
            value = _document(name, value)
        found[name] = value
    return found


def _document(name: str, path: str) -> t.Dict[str, t.Any]:
    try:
        with open(path, encoding="utf-8") as stream:
            document = json.load(stream)
    except (OSError, ValueError):
        document = None
    if not isinstance(document, dict):
        raise SkrFailure("invalid_input", f"{name} is {path!r}, wanted a file with a JSON object.", {"option": name})
    return document
