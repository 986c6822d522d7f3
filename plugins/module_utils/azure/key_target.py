# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a key is: in a vault or in a managed HSM, by address and name; and what Resource Manager knows of that place."""

from __future__ import annotations

import re
import typing as t

from ..policy.failure import SkrFailure
from . import hsm
from . import vault as vaults
from .clients import Connection, errors

_NAME = re.compile(r"[0-9a-zA-Z-]{1,127}")
_VERSION = re.compile(r"[0-9a-f]{32}")
_URI = re.compile(r"https://([0-9a-zA-Z-]+)\.[0-9a-zA-Z.-]+(:\d+)?/?")


class Target(t.NamedTuple):
    """A key's place. ``uri`` has no final slash; ``is_hsm`` tells a managed HSM from a vault."""

    uri: str
    name: str
    is_hsm: bool = False

    @property
    def option(self) -> str:
        return "hsm_uri" if self.is_hsm else "vault_uri"

    @property
    def service(self) -> str:
        """The first part of the address: the vault's or the HSM's name."""
        return self.uri.partition("://")[2].partition(".")[0]

    def result(self) -> t.Dict[str, str]:
        return {"key_name": self.name, self.option: self.uri}


def target(vault_uri: t.Optional[str], hsm_uri: t.Optional[str], name: str) -> Target:
    """The options as a target, checked. Raises SkrFailure ``invalid_input``."""
    made = Target(str(hsm_uri or vault_uri).rstrip("/"), name, bool(hsm_uri))
    kind = "managedhsm" if made.is_hsm else "vault"
    other = ".vault." if made.is_hsm else ".managedhsm."
    if not _URI.fullmatch(made.uri):
        raise invalid(made.option, made.uri, f"an https URL such as https://my{kind}.{kind}.azure.net")
    if other in made.uri.lower():
        instead = "vault_uri" if made.is_hsm else "hsm_uri"
        raise invalid(made.option, made.uri, f"the address of a {kind}; this one goes into {instead}")
    if not _NAME.fullmatch(name):
        raise invalid("key_name", name, "1 to 127 letters, digits and hyphens")
    return made


def check_version(version: t.Optional[str]) -> t.Optional[str]:
    """Raises SkrFailure ``invalid_input``."""
    if version and not _VERSION.fullmatch(version):
        raise invalid("key_version", version, "32 hex digits")
    return version or None


def invalid(option: str, found: t.Any, wanted: str) -> SkrFailure:
    return SkrFailure("invalid_input", f"{option} is {found!r}, wanted {wanted}.", {"option": option})


def get(
    client: t.Any, at: Target, connection: Connection, check_mode: bool, version: t.Optional[str] = None
) -> t.Optional[t.Any]:
    """The key, its latest version or the one asked for; None when there is none.

    In check mode a vault that does not exist yet counts as one without keys, because its name does not resolve.
    """
    from azure.core.exceptions import ResourceNotFoundError

    try:
        with errors(f"key {at.name}"):
            try:
                return client.get_key(at.name, version)
            except ResourceNotFoundError:
                return None
    except SkrFailure as failure:
        if failure.reason == "network_unreachable" and check_mode and connection.login.subscription_id:
            if _place(connection, at) is None:
                return None
        raise


def _place(connection: Connection, at: Target) -> t.Optional[t.Dict[str, t.Any]]:
    return hsm.find(connection, at.uri) if at.is_hsm else vaults.find(connection, at.service)


def can_hold(connection: Connection, at: Target) -> bool:
    """Before a key is made: whether its place is seen in the subscription; a vault must then be Premium.

    Where nothing can be looked up (no subscription id, no right to read in Resource Manager) the service itself
    will tell; and the place may be in another subscription.
    """
    if not connection.login.subscription_id:
        return True
    try:
        found = _place(connection, at)
    except SkrFailure as failure:
        if failure.reason != "authorization_failed":
            raise
        return True
    if found is not None and not at.is_hsm:
        sku = str(found["properties"]["sku"]["name"])
        if sku.lower() != "premium":
            facts = {"found": sku, "wanted": "premium", "vault": at.service}
            raise SkrFailure("vault_sku", f"The vault {at.service} has SKU {sku}, wanted premium.", facts)
    return found is not None
