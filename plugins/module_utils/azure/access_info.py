# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may release the keys of a vault or managed HSM: everybody, however the permission was given, and administrators too."""

from __future__ import annotations

import re
import typing as t

from ..policy.failure import SkrFailure
from . import hsm, key_target, role_access
from . import vault as vaults
from .clients import Connection, errors

ACTION = "Microsoft.KeyVault/vaults/keys/release/action"
LOCAL_ACTION = "Microsoft.KeyVault/managedHsm/keys/release/action"
_AUTHORIZATION = "providers/Microsoft.Authorization"
Row = t.Dict[str, t.Any]


def info(
    connection: Connection,
    vault_name: t.Optional[str],
    resource_group: t.Optional[str],
    hsm_uri: t.Optional[str],
    key_name: t.Optional[str],
) -> Row:
    """Rows of principal_id, principal_type, via (rbac, access_policy, hsm_local), scope, role and condition.

    Of one key, or of the whole vault with the grants at single keys. Raises SkrFailure.
    """
    if hsm_uri:
        key_target.target(None, hsm_uri, key_name or "any")
        rows, model = _local(connection, hsm_uri.rstrip("/"), key_name), "hsm_local"
    else:
        found = vaults.get(connection, str(resource_group), str(vault_name))
        if found is None:
            raise SkrFailure(
                "resource_not_found", f"There is no vault {vault_name} in resource group {resource_group}."
            )
        if found["properties"].get("enableRbacAuthorization"):
            rows, model = _roles(connection, str(found["id"]), key_name), "rbac"
        else:
            rows, model = _policies(found), "access_policy"
    rows.sort(key=lambda row: (str(row["principal_id"]), str(row["scope"]).lower(), str(row["role"])))
    return {"changed": False, "grant_model": model, "access": rows}


def _policies(found: t.Mapping[str, t.Any]) -> t.List[Row]:
    rows = []
    for entry in found["properties"].get("accessPolicies") or []:
        permissions = {str(name).lower() for name in (entry.get("permissions") or {}).get("keys") or []}
        if permissions & {"release", "all"}:
            role = "release" if "release" in permissions else "all"
            rows.append(_row(entry.get("objectId"), None, "access_policy", found["id"], role))
    return rows


def _roles(connection: Connection, vault_id: str, key_name: t.Optional[str]) -> t.List[Row]:
    """Two lists: the roles' definitions, custom ones among them, and the assignments at, above and below the vault."""
    what = f"the role definitions at {vault_id}"
    named: t.Dict[str, str] = {}
    for one in connection.list(f"{vault_id}/{_AUTHORIZATION}/roleDefinitions", role_access.API_VERSION, what):
        properties = one.get("properties") or {}
        if any(allows(block, "dataActions", "notDataActions", ACTION) for block in properties.get("permissions") or []):
            named[_tail(one.get("id"))] = str(properties.get("roleName"))
    rows = []
    what = f"the role assignments of {vault_id}"
    for one in connection.list(f"{vault_id}/{_AUTHORIZATION}/roleAssignments", role_access.API_VERSION, what):
        inner = one.get("properties") or {}
        role, scope = _tail(inner.get("roleDefinitionId")), str(inner.get("scope", ""))
        if role in named and _reaches(scope, vault_id, key_name):
            row = _row(inner.get("principalId"), inner.get("principalType"), "rbac", scope, named[role])
            rows.append({**row, "condition": inner.get("condition")})
    return rows


def _reaches(scope: str, vault_id: str, key_name: t.Optional[str]) -> bool:
    """At or above the vault, or at one of its keys: the one wanted, or any."""
    scope, here = scope.rstrip("/").lower(), vault_id.lower()
    if not scope.startswith(f"{here}/"):
        return True
    keys = f"{here}/keys/"
    return scope.startswith(keys) and (key_name is None or scope == f"{keys}{key_name.lower()}")


def _local(connection: Connection, uri: str, key_name: t.Optional[str]) -> t.List[Row]:
    rows = []
    with hsm.activation_told(connection, uri), errors(f"the local roles of {uri}"):
        client = connection.local_roles(uri)
        named = {
            str(one.name).lower(): str(one.role_name)
            for one in client.list_role_definitions("/")
            if any(_allows_locally(block) for block in one.permissions or [])
        }
        for one in client.list_role_assignments("/"):
            properties = one.properties
            scope = str(getattr(properties.scope, "value", properties.scope))
            role = _tail(properties.role_definition_id)
            reaches = key_name is None or scope.lower() in ("/", "/keys", f"/keys/{key_name.lower()}")
            if role in named and reaches:
                rows.append(_row(properties.principal_id, None, "hsm_local", f"{uri}{scope}", named[role]))
    return rows


def _allows_locally(block: t.Any) -> bool:
    actions = {
        "dataActions": [str(getattr(one, "value", one)) for one in block.data_actions or []],
        "notDataActions": [str(getattr(one, "value", one)) for one in block.not_data_actions or []],
    }
    return allows(actions, "dataActions", "notDataActions", LOCAL_ACTION)


def allows(block: t.Mapping[str, t.Any], with_name: str, without_name: str, action: str) -> bool:
    """Whether a permission block of a role definition holds the action; ``*`` in it stands for anything."""

    def named(member: str) -> bool:
        patterns = (re.escape(str(one)).replace(r"\*", ".*") for one in block.get(member) or [])
        return any(re.fullmatch(pattern, action, re.IGNORECASE) for pattern in patterns)

    return named(with_name) and not named(without_name)


def _tail(path: t.Any) -> str:
    return str(path or "").rstrip("/").rpartition("/")[2].lower()


def _row(principal: t.Any, kind: t.Any, via: str, scope: t.Any, role: str) -> Row:
    return {
        "principal_id": str(principal or "").lower(),
        "principal_type": kind,
        "via": via,
        "scope": str(scope),
        "role": role,
        "condition": None,
    }
