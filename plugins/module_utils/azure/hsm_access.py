# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The release permission on a managed HSM: a local role at ``/keys`` or at one key. Azure roles mean nothing there."""

from __future__ import annotations

import typing as t
import uuid

from ..policy.failure import SkrFailure
from . import hsm
from .clients import SAFE_TO_REPEAT, Connection, errors

ROLE = "Managed HSM Crypto Service Release User"
ROLE_ID = "21dbd100-6940-42c2-9190-5d6cb909625c"
_DEFINITION = f"Microsoft.KeyVault/providers/Microsoft.Authorization/roleDefinitions/{ROLE_ID}"
# Names of our assignments: the same grant has the same name everywhere, so that two runs at once make one.
_NAMESPACE = uuid.UUID("0b7a52ab-3c14-4f0e-9d0f-52a7a3a3f7c6")


class LocalRoles:
    """The assignments of one HSM; see ``access._Room``."""

    def __init__(
        self, connection: Connection, uri: str, scope: str, key_name: t.Optional[str], exclusive: bool = False
    ) -> None:
        self._connection, self._uri, self._exclusive = connection, uri.rstrip("/"), exclusive
        self._scope = f"/keys/{key_name}" if scope == "key" else "/keys"
        self.where = f"{self._uri}{self._scope}"
        self._found: t.Dict[str, t.List[t.Tuple[str, str]]] = {}  # principal -> scope and name of each assignment

    def held(self) -> t.Set[str]:
        """Principals with the role at the scope or above it."""
        self._found = {}
        here = self._scope.lower()
        with hsm.activation_told(self._connection, self._uri), errors(f"the local roles of {self._uri}"):
            client = self._connection.local_roles(self._uri)
            for assignment in client.list_role_assignments(self._scope):
                properties = assignment.properties
                scope = str(getattr(properties.scope, "value", properties.scope))
                role = str(properties.role_definition_id).rstrip("/").rpartition("/")[2].lower()
                reaches = scope == "/" or here == scope.lower() or here.startswith(scope.lower() + "/")
                if role == ROLE_ID and reaches:
                    places = self._found.setdefault(str(properties.principal_id).lower(), [])
                    places.append((scope, str(assignment.name)))
        return set(self._found)

    def removable(self) -> t.Set[str]:
        """Principals with the role at the scope itself; as of the last ``held``."""
        here = self._scope.lower()
        return {who for who, places in self._found.items() if any(scope.lower() == here for scope, _name in places)}

    def apply(self, principals: t.Sequence[str], grant: bool) -> None:
        for entry in principals:
            if grant:
                self._grant(entry)
            else:
                self._revoke(entry)

    def _grant(self, principal: str) -> None:
        from azure.core.exceptions import ResourceExistsError

        name = uuid.uuid5(_NAMESPACE, f"{self.where.lower()}|{principal}|{ROLE_ID}")
        with hsm.activation_told(self._connection, self._uri), errors(f"the local role '{ROLE}' for {principal}"):
            client = self._connection.local_roles(self._uri)
            try:
                client.create_role_assignment(self._scope, _DEFINITION, principal, name=name, **SAFE_TO_REPEAT)
            except ResourceExistsError as error:
                text = str(getattr(error, "message", error))
                if "already exists" not in text.lower():
                    raise  # under our name stands something else

    def _revoke(self, principal: str) -> None:
        places = self._found.get(principal, [])
        here = [name for scope, name in places if scope.lower() == self._scope.lower()]
        above = [scope for scope, _name in places if scope.lower() != self._scope.lower()]
        if above and not self._exclusive:  # else what is granted above is not this scope's to take away
            raise SkrFailure(
                "conflict",
                f"Principal {principal} has the local role '{ROLE}' at {above[0]}, above {self._scope}; it is not taken away here.",
                {"principal_id": principal, "scope": above[0]},
            )
        client = self._connection.local_roles(self._uri)
        for name in here:
            with errors(f"the local role '{ROLE}' of {principal}"):
                client.delete_role_assignment(self._scope, name, **SAFE_TO_REPEAT)
