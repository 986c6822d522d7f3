# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What keys there are in a vault, and who could get one: attributes, versions, release policy with its explanation."""

from __future__ import annotations

import base64
import typing as t

from ..policy import canonical, explain, lint, model
from ..policy.failure import SkrFailure
from . import key, key_facts
from .clients import Connection, errors
from .key_target import Target
from .public_key import public_key


def info(
    connection: Connection, at: Target, name: t.Optional[str], deleted: bool, attestation: bool = False
) -> t.Dict[str, t.Any]:
    """One key in full, or all exportable keys of the vault in short; with ``deleted`` also the deleted ones' names.

    Raises SkrFailure; a key that does not exist is no failure but an empty list.
    """
    with key.place(connection, at):
        return _info(connection, at, name, deleted, attestation)


def _info(
    connection: Connection, at: Target, name: t.Optional[str], deleted: bool, attestation: bool
) -> t.Dict[str, t.Any]:
    client = connection.keys(at.uri)
    result: t.Dict[str, t.Any] = {"changed": False, at.option: at.uri}
    names = [name] if name else _exportable(client, at.uri)
    found = (_one(client, entry, whole=name is not None) for entry in names)
    result["keys"] = [entry for entry in found if entry]
    if attestation:
        for entry in result["keys"]:
            entry["attestation"] = _attestation(client, str(entry["name"]), at)
    if deleted:
        with errors(f"the deleted keys of {at.uri}"):
            entries = list(client.list_deleted_keys())
        result["deleted"] = [
            {
                "name": entry.name,
                "deleted_on": key_facts.seconds(entry.deleted_date),
                "purge_on": key_facts.seconds(entry.scheduled_purge_date),
            }
            for entry in entries
            if name is None or entry.name.lower() == name.lower()
        ]
    return result


def _exportable(client: t.Any, vault_uri: str) -> t.List[str]:
    with errors(f"the keys of {vault_uri}"):
        return sorted(str(entry.name) for entry in client.list_properties_of_keys() if entry.exportable)


def _one(client: t.Any, name: str, whole: bool) -> t.Optional[t.Dict[str, t.Any]]:
    from azure.core.exceptions import ResourceNotFoundError

    with errors(f"key {name}"):
        try:
            found = client.get_key(name)
        except ResourceNotFoundError:
            return None
    shown: t.Dict[str, t.Any] = {"name": found.name, "kid": found.id, **key_facts.describe(found)}
    shown.update(_policy(shown["release_policy"]))
    if whole:
        shown["versions"] = key_facts.versions(client, name)
        shown.update(public_key(found.key))
    return shown


def _attestation(client: t.Any, name: str, at: Target) -> t.Optional[t.Dict[str, t.Any]]:
    """What the HSM states about the key, for its own verification tool; None in a vault, which states nothing."""
    if not at.is_hsm:
        return None
    with errors(f"the attestation of key {name}"):
        stated = client.get_key_attestation(name).properties.attestation
    if stated is None:
        return None
    return {
        "certificate_pem": bytes(stated.certificate_pem_file or b"").decode("ascii", "replace"),
        "private_key_attestation": _base64(stated.private_key_attestation),
        "public_key_attestation": _base64(stated.public_key_attestation),
        "version": stated.version,
    }


def _base64(data: t.Optional[bytes]) -> t.Optional[str]:
    return base64.b64encode(data).decode("ascii") if data else None


def _policy(document: t.Any) -> t.Dict[str, t.Any]:
    """The policy's digest, what is wrong with it, and the plain words; nothing of these for one beyond our grammar."""
    try:
        policy = model.parse(document)
    except SkrFailure:
        return {"policy_sha256": None, "lint": [], "explanation": None}
    return {
        "policy_sha256": canonical.digest(policy),
        "lint": [finding.as_dict() for finding in lint.lint(policy)],
        "explanation": explain.explain(policy),
    }
