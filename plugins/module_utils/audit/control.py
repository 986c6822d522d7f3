# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the control plane says, in the form of a bundle: from the results of the modules that asked it."""

from __future__ import annotations

import typing as t

Row = t.Dict[str, t.Any]
_VERSION = ("version", "enabled", "created", "not_before", "expires_on")


def keys(found: t.Sequence[t.Mapping[str, t.Any]], place: str, accepted: t.Mapping[str, t.Any]) -> t.List[Row]:
    """Rows of ``control/keys.json`` from those of exportable_key_info. ``accepted`` are findings that somebody accepted,
    with the justification; each says whether the live policy still gives reason to it."""
    return [
        {
            "kid": one.get("kid"),
            "key_name": one.get("name"),
            "vault_uri": place.rstrip("/"),
            "key_type": one.get("key_type"),
            "enabled": one.get("enabled"),
            "versions": [{name: version.get(name) for name in _VERSION} for version in one.get("versions") or []],
            "release_policy": one.get("release_policy"),
            "policy_sha256": one.get("policy_sha256"),
            "immutable": one.get("immutable"),
            "explained": str(one.get("explanation") or "").splitlines(),
            "findings": list(one.get("lint") or []),
            "accepted_findings": [
                {
                    "code": code,
                    "justification": text,
                    "found": code in {row.get("code") for row in one.get("lint") or []},
                }
                for code, text in sorted(accepted.items())
            ],
        }
        for one in found
    ]


def access(found: t.Sequence[t.Mapping[str, t.Any]], vms: t.Sequence[t.Mapping[str, t.Any]]) -> t.List[Row]:
    """Rows of ``control/access.json`` from those of release_access_info, with the VM that has the identity; one row for
    each VM that shares one."""
    owners: t.Dict[str, t.List[str]] = {}
    for vm in vms:
        identities = [vm.get("principal_id"), *(one.get("principal_id") for one in vm.get("user_assigned") or [])]
        for principal in identities:
            if principal:
                owners.setdefault(str(principal).lower(), []).append(str(vm.get("name")))
    return [{**row, "vm": vm} for row in found for vm in owners.get(str(row.get("principal_id")).lower(), [None])]
