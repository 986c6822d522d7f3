# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The release permission as an Azure role, assigned at the vault or at one of its keys."""

from __future__ import annotations

import time
import typing as t
import uuid

from ..policy.failure import SkrFailure
from . import budget
from .clients import Connection

if t.TYPE_CHECKING:
    from .access import Wanted

ROLE = "Key Vault Crypto Service Release User"
ROLE_ID = "08bbd89e-9f13-488c-ac41-acfcb10c90ab"
API_VERSION = "2022-04-01"
_ASSIGNMENTS = "providers/Microsoft.Authorization/roleAssignments"
# Names of our assignments: the same grant has the same name everywhere, so that two runs at once make one.
_NAMESPACE = uuid.UUID("6f1d7c8e-6f0b-4b52-9d43-2f6a2f0c5a11")
_POLL = 2.0


class Roles:
    """One assignment per principal, see ``access._Room``; names are derived, so a repetition is no second assignment."""

    def __init__(self, connection: Connection, wanted: Wanted, found: t.Mapping[str, t.Any]) -> None:
        self._connection, self._wanted = connection, wanted
        self.where = str(found["id"]) + (f"/keys/{wanted.key_name}" if wanted.scope == "key" else "")
        self._names: t.Dict[str, t.List[t.Tuple[str, str]]] = {}

    def held(self) -> t.Set[str]:
        """Principals with the role at the scope or above it; one list."""
        self._names = {}
        what = f"the role assignments of {self.where}"
        for found in self._connection.list(f"{self.where}/{_ASSIGNMENTS}", API_VERSION, what, filter="atScope()"):
            inner = found.get("properties") or {}
            if str(inner.get("roleDefinitionId", "")).rstrip("/").rpartition("/")[2].lower() == ROLE_ID:
                place = (str(inner.get("scope", "")), str(found.get("name", "")))
                self._names.setdefault(str(inner.get("principalId", "")).lower(), []).append(place)
        return set(self._names)

    def removable(self) -> t.Set[str]:
        """Principals with the role at the scope itself; as of the last ``held``."""
        here = self.where.lower()
        return {who for who, places in self._names.items() if any(scope.lower() == here for scope, _name in places)}

    def apply(self, principals: t.Sequence[str], grant: bool) -> None:
        """All of them, also after one that fails. Raises SkrFailure that tells which failed and which are done."""
        failures = budget.each(principals, self._grant if grant else self._revoke)
        if not failures:
            return
        failed = {principals[index]: failure for index, failure in sorted(failures.items())}
        first = next(iter(failed.values()))
        if len(principals) == 1:
            raise first
        raise SkrFailure(
            first.reason,
            f"{len(failed)} of {len(principals)} principals failed ({', '.join(failed)}), the others are done: {first.message}",
            {
                **first.facts,
                "failed": {who: {"reason": one.reason, "message": one.message} for who, one in failed.items()},
                "done": [who for who in principals if who not in failed],
            },
        )

    def _grant(self, principal: str) -> None:
        name = str(uuid.uuid5(_NAMESPACE, f"{self.where.lower()}|{principal}|{ROLE_ID}"))
        subscription = self._connection.subscription_id
        definition = f"/subscriptions/{subscription}/providers/Microsoft.Authorization/roleDefinitions/{ROLE_ID}"
        properties = {"roleDefinitionId": definition, "principalId": principal, "principalType": "ServicePrincipal"}
        path, what = f"{self.where}/{_ASSIGNMENTS}/{name}", f"the role '{ROLE}' for {principal}"
        deadline = time.monotonic() + self._wanted.wait_timeout
        while True:
            try:
                self._connection.put(path, API_VERSION, {"properties": properties}, what)
                return
            except SkrFailure as failure:
                if failure.facts.get("code") == "RoleAssignmentExists":
                    return  # the same grant under another name
                # A new identity reaches the directory's replicas one after the other.
                if failure.reason != "principal_not_found" or time.monotonic() + _POLL > deadline:
                    raise
            time.sleep(_POLL)

    def _revoke(self, principal: str) -> None:
        for scope, name in self._names.get(principal, []):
            if scope.lower() != self.where.lower():
                if self._wanted.exclusive or self._wanted.everyone:
                    continue  # what is granted above this scope is not this scope's to take away
                raise SkrFailure(
                    "conflict",
                    f"Principal {principal} has the role '{ROLE}' at {scope}, above {self.where}; it is not taken away here.",
                )
            what = f"the role '{ROLE}' of {principal}"
            self._connection.delete(f"{scope}/{_ASSIGNMENTS}/{name}", API_VERSION, what)
