# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A confidential VM: what has to be right when it is made, because it can never be changed."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ..policy.failure import SkrFailure
from . import cvm_body, cvm_info, cvm_network, identity
from .clients import SAFE_TO_REPEAT, Connection, errors, wire
from .plan import Plan, same_location, text_tags

_NAME = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9.-]{0,62}[a-zA-Z0-9])?")


@dataclasses.dataclass(frozen=True)
class Wanted(cvm_body.Machine):
    """The VM as it shall be; None means: leave as it is (on creation: a default)."""

    zone: t.Optional[str] = None
    network_interface_id: t.Optional[str] = None


def ensure(connection: Connection, wanted: Wanted, check_mode: bool) -> t.Dict[str, t.Any]:
    """Make, update or delete the VM; returns the module's result. Raises SkrFailure."""
    wanted = dataclasses.replace(wanted, tags=text_tags(wanted.tags))
    check(wanted)
    found = get(connection, wanted.resource_group, wanted.name)
    if not wanted.present:
        return _remove(connection, wanted, found, check_mode)
    if found is None:
        return _make(connection, wanted, check_mode)
    plan = plan_update(wanted, found)
    if plan.changed and not check_mode:
        found = _update(connection, wanted, found)
    return {**plan.result(), "vm": cvm_info.describe(found), "network_made": []}


def check(wanted: Wanted) -> None:
    """Refuse what cannot work before anything is asked."""
    if not _NAME.fullmatch(wanted.name):
        raise cvm_body.invalid(
            "name", wanted.name, "1 to 64 letters, digits, hyphens and dots, a letter or digit at both ends"
        )
    if wanted.zone not in (None, "1", "2", "3"):
        raise cvm_body.invalid("zone", wanted.zone, "1, 2 or 3")
    cvm_body.check(wanted)


def get(connection: Connection, resource_group: str, name: str) -> t.Optional[t.Dict[str, t.Any]]:
    """The VM in the service's own names; None when it does not exist."""
    machines = connection.compute.virtual_machines
    return cvm_body.fetch(machines, resource_group, name, f"VM {name}")


# --- making


def _make(connection: Connection, wanted: Wanted, check_mode: bool) -> t.Dict[str, t.Any]:
    cvm_body.check_new(wanted, f"VM {wanted.name}")
    size = wanted.size or cvm_body.DEFAULT_SIZE
    kind = cvm_body.kind(connection, str(wanted.location), size)
    network = None
    if not wanted.network_interface_id:
        network = cvm_network.look(connection, wanted.resource_group, str(wanted.location), wanted.name)
    interface = str(wanted.network_interface_id or (network.interface if network else ""))
    body = creation(wanted, size, interface, own_interface=network is not None)
    after = cvm_info.describe({"name": wanted.name, **body})
    for member in ("id", "resource_group", "vm_id", "principal_id", "provisioning_state", "problems"):
        after.pop(member)
    after["tee_type"] = after["tee_type"] or {"SNP": "sevsnpvm", "TDX": "tdxvm"}.get(kind)
    missing = list(network.missing) if network else []
    plan = Plan("create", {}, {**after, **({"network": missing} if missing else {})}, body)
    if check_mode:
        return {**plan.result(), "vm": after, "network_made": missing}
    made: t.List[str] = []
    try:
        if network is not None:
            made = cvm_network.make(connection, network)
        with errors(f"VM {wanted.name}"):
            machines = connection.compute.virtual_machines
            machines.begin_create_or_update(
                wanted.resource_group, wanted.name, body, polling_interval=cvm_body.POLL, **SAFE_TO_REPEAT
            ).result()
            found = wire(machines.get(wanted.resource_group, wanted.name))
    except SkrFailure as failure:
        failure.facts["network_made"] = made
        raise
    return {**plan.result(), "vm": cvm_info.describe(found), "network_made": made}


def creation(wanted: Wanted, size: str, interface: str, own_interface: bool) -> t.Dict[str, t.Any]:
    """The body of PUT. An interface that we made goes with the VM, one that was given stays."""
    storage = cvm_body.storage_profile(wanted)
    storage["osDisk"]["deleteOption"] = "Delete"
    deletion = {"deleteOption": "Delete" if own_interface else "Detach"}
    properties: t.Dict[str, t.Any] = {
        "hardwareProfile": {"vmSize": size},
        "securityProfile": cvm_body.security_profile(wanted),
        "storageProfile": storage,
        "osProfile": {"computerName": wanted.name, **cvm_body.login_profile(wanted)},
        "networkProfile": {"networkInterfaces": [{"id": interface, "properties": deletion}]},
    }
    body: t.Dict[str, t.Any] = {"location": wanted.location, "tags": wanted.tags or {}, "properties": properties}
    first = identity.plan_identity({}, wanted.identities)
    if first.body:
        body.update(first.body)
    if wanted.zone:
        body["zones"] = [wanted.zone]
    return body


# --- changing


def plan_update(wanted: Wanted, found: t.Dict[str, t.Any]) -> Plan:
    """Identities are added and tags replaced; all else is fixed. Raises SkrFailure ``vm_fixed``."""
    now, what = cvm_info.describe(found), f"VM {wanted.name}"
    if now["security_type"] != "ConfidentialVM":
        raise cvm_body.fixed(what, "security_type", now["security_type"], "ConfidentialVM")
    if wanted.location and not same_location(wanted.location, str(now["location"])):
        raise cvm_body.fixed(what, "location", now["location"], wanted.location)
    zones = found.get("zones") or []
    interfaces = ((found["properties"].get("networkProfile") or {}).get("networkInterfaces")) or []
    fixed = {
        "size": (now["vm_size"], wanted.size),
        "security_encryption_type": (now["security_encryption_type"], wanted.security_encryption_type),
        "secure_boot_enabled": (now["secure_boot_enabled"], wanted.secure_boot_enabled),
        "disk_encryption_set_id": (now["disk_encryption_set_id"], wanted.disk_encryption_set_id),
        "zone": (zones[0] if zones else None, wanted.zone),
        "network_interface_id": (str(interfaces[0].get("id")) if interfaces else None, wanted.network_interface_id),
    }
    for option, (there, asked) in fixed.items():
        if asked is not None and str(asked).lower() != str(there).lower():
            raise cvm_body.fixed(what, option, there, asked)
    of_identity = identity.plan_identity(found, wanted.identities)
    before, after = {"identity": of_identity.before}, {"identity": of_identity.after}
    body: t.Dict[str, t.Any] = dict(of_identity.body or {})
    if wanted.tags is not None and wanted.tags != now["tags"]:
        body["tags"] = wanted.tags
        before["tags"], after["tags"] = now["tags"], wanted.tags
    return Plan("update" if body else "none", before, after, body or None)


def _update(connection: Connection, wanted: Wanted, found: t.Dict[str, t.Any]) -> t.Dict[str, t.Any]:
    return identity.patch(
        connection,
        identity.Vm(wanted.resource_group, wanted.name),
        found,
        lambda document: plan_update(wanted, document),
    )


def _remove(
    connection: Connection, wanted: Wanted, found: t.Optional[t.Dict[str, t.Any]], check_mode: bool
) -> t.Dict[str, t.Any]:
    machines = connection.compute.virtual_machines
    plan = cvm_body.remove(machines, wanted, f"VM {wanted.name}", found, check_mode)
    shown = {"name": wanted.name, "state": "absent"}
    return {**plan.result(), "vm": shown, "network_made": []}
