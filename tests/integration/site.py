# SPDX-License-Identifier: GPL-3.0-or-later
"""A small site in the lab, made through the modules: vault, identities, key, grants; and releases from it."""

from __future__ import annotations

import itertools
from typing import Any

from labkit import Lab

from skrsim.lab.inventory import release_policy
from skrsim.lab.plan import AUTHORITY, LOCATION, RESOURCE_GROUP

_numbers = itertools.count(1)


def vault_name() -> str:
    """A name that no other test uses."""
    return f"kv-skr-t{next(_numbers)}"


class Site:
    """One vault with one key that the given VMs may release."""

    def __init__(self, lab: Lab, vms: tuple[str, ...] = ("cvm-01",), rbac: bool = False, **key: Any) -> None:
        self.lab, self.vault = lab, vault_name()
        self.uri = f"https://{self.vault}.vault.azure.net"
        self.policy = key.pop("release_policy", release_policy())
        self.group = RESOURCE_GROUP
        made = lab.module(
            "key_vault",
            **lab.azure(),
            name=self.vault,
            resource_group=RESOURCE_GROUP,
            location=LOCATION,
            enable_rbac_authorization=rbac,
            key_managers=["self"],
        )
        assert made["changed"], made
        self.key = self.ensure_key(**key)
        assert self.key["changed"], self.key
        self.identities = lab.module("cvm_identity", **lab.azure(), resource_group=RESOURCE_GROUP, vms=list(vms))
        self.principals = [vm["principal_id"] for vm in self.identities["vms"]]

    def ensure_key(self, check: bool = False, **options: Any) -> dict[str, Any]:
        wanted = {"key_size": 2048, "release_policy": self.policy} | options
        if str(wanted.get("key_type", "")).startswith("EC"):
            wanted.pop("key_size")
        return self.lab.module(
            "exportable_key", check=check, **self.lab.azure(), vault_uri=self.uri, key_name="app", **wanted
        )

    def grant(self, **options: Any) -> dict[str, Any]:
        wanted = {"principals": self.principals, "vault_name": self.vault, "resource_group": self.group} | options
        return self.lab.module("release_access", **self.lab.azure(), **wanted)

    def destination(self, vm: str) -> str:
        return str(self.lab.hosts[vm]["skr_dest"]).replace("app.pem", f"{self.vault}.pem")

    def release(self, vm: str = "cvm-01", check: bool = False, **options: Any) -> dict[str, Any]:
        wanted = {
            "attestation_url": AUTHORITY,
            "vault_uri": self.uri,
            "key_name": "app",
            "dest": self.destination(vm),
            "release_policy": self.policy,
        }
        return self.lab.module("key_release", check=check, **(self.lab.guest(vm) | wanted | options))


def ready(lab: Lab, **options: Any) -> Site:
    """A site whose VMs hold the grant."""
    site = Site(lab, **options)
    assert site.grant()["changed"]
    return site
