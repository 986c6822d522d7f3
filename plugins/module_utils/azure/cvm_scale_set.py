# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A scale set of confidential VMs (Uniform): its instances share the set's identity, so one grant covers them all."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ..policy.failure import SkrFailure
from . import cvm_body, cvm_info, cvm_network, identity
from .clients import SAFE_TO_REPEAT, Connection, errors, wire
from .plan import Plan, same_location, text_tags

UPGRADE_MODES = ("Manual", "Automatic", "Rolling")
MOST = 1000
_NAME = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,62}[a-zA-Z0-9])?")
_SUBNET = re.compile(r"/subscriptions/[^/]+/resourceGroups/.+/virtualNetworks/[^/]+/subnets/[^/]+", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Wanted(cvm_body.Machine):
    """The set as it shall be; None means: leave as it is (on creation: a default)."""

    capacity: t.Optional[int] = None
    upgrade_mode: t.Optional[str] = None
    zones: t.Tuple[str, ...] = ()
    subnet_id: t.Optional[str] = None


def ensure(connection: Connection, wanted: Wanted, check_mode: bool) -> t.Dict[str, t.Any]:
    """Make, update or delete the set; returns the module's result. Raises SkrFailure."""
    wanted = dataclasses.replace(wanted, tags=text_tags(wanted.tags))
    check(wanted)
    found = get(connection, wanted.resource_group, wanted.name)
    if not wanted.present:
        return _remove(connection, wanted, found, check_mode)
    if found is None:
        return _make(connection, wanted, check_mode)
    plan = plan_update(wanted, found)
    warnings = []
    if plan.changed and not check_mode:
        found = identity.patch(
            connection,
            identity.Vm(wanted.resource_group, wanted.name, scale_set=True),
            found,
            lambda document: plan_update(wanted, document),
        )
    if "identity" in (plan.body or {}) and describe(found)["upgrade_mode"] == "Manual":
        warnings.append(
            f"The instances of {wanted.name} get the identity with their next upgrade; its upgrade mode is manual."
        )
    return {**plan.result(), "scale_set": describe(found), "network_made": [], "warnings": warnings}


def check(wanted: Wanted) -> None:
    """Refuse what cannot work before anything is asked."""
    if not _NAME.fullmatch(wanted.name):
        raise cvm_body.invalid("name", wanted.name, "1 to 64 letters, digits and hyphens, no hyphen at an end")
    if wanted.capacity is not None and not 0 <= wanted.capacity <= MOST:
        raise cvm_body.invalid("capacity", wanted.capacity, f"a number from 0 to {MOST}")
    if not set(wanted.zones) <= {"1", "2", "3"}:
        raise cvm_body.invalid("zones", list(wanted.zones), "of 1, 2 and 3")
    if wanted.subnet_id and not _SUBNET.fullmatch(wanted.subnet_id.rstrip("/")):
        raise cvm_body.invalid("subnet_id", wanted.subnet_id, "the resource id of a subnet")
    cvm_body.check(wanted)


def get(connection: Connection, resource_group: str, name: str) -> t.Optional[t.Dict[str, t.Any]]:
    """The set in the service's own names; None when it does not exist."""
    machines = connection.compute.virtual_machine_scale_sets
    return cvm_body.fetch(machines, resource_group, name, f"scale set {name}")


def describe(found: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    """The set in our terms; what it has in common with a VM has the names that a VM's facts have."""
    properties = found.get("properties") or {}
    profile = properties.get("virtualMachineProfile") or {}
    sku = found.get("sku") or {}
    inner = {"vmId": None, "hardwareProfile": {"vmSize": sku.get("name")}}
    shown = cvm_info.describe({**found, "properties": {**properties, **profile, **inner}})
    shown.pop("vm_id")
    return {
        **shown,
        "capacity": sku.get("capacity"),
        "orchestration_mode": properties.get("orchestrationMode"),
        "upgrade_mode": (properties.get("upgradePolicy") or {}).get("mode"),
        "zones": list(found.get("zones") or []),
        "subnet_id": _subnet(profile),
    }


def _subnet(profile: t.Mapping[str, t.Any]) -> t.Optional[str]:
    interfaces = (profile.get("networkProfile") or {}).get("networkInterfaceConfigurations") or []
    addresses = ((interfaces[0].get("properties") or {}).get("ipConfigurations") or []) if interfaces else []
    subnet = ((addresses[0].get("properties") or {}).get("subnet") or {}) if addresses else {}
    return t.cast(t.Optional[str], subnet.get("id"))


# --- making


def _make(connection: Connection, wanted: Wanted, check_mode: bool) -> t.Dict[str, t.Any]:
    what = f"scale set {wanted.name}"
    cvm_body.check_new(wanted, what)
    size = wanted.size or cvm_body.DEFAULT_SIZE
    kind = cvm_body.kind(connection, str(wanted.location), size)
    network = None
    if not wanted.subnet_id:
        network = cvm_network.look(connection, wanted.resource_group, str(wanted.location), None)
    body = creation(wanted, size, network.subnet if network else str(wanted.subnet_id).rstrip("/"))
    after = describe({"name": wanted.name, **body})
    for member in ("id", "resource_group", "principal_id", "provisioning_state", "problems"):
        after.pop(member)
    after["tee_type"] = after["tee_type"] or {"SNP": "sevsnpvm", "TDX": "tdxvm"}.get(kind)
    missing = list(network.missing) if network else []
    plan = Plan("create", {}, {**after, **({"network": missing} if missing else {})}, body)
    if check_mode:
        return {**plan.result(), "scale_set": after, "network_made": missing, "warnings": []}
    made: t.List[str] = []
    try:
        if network is not None:
            made = cvm_network.make(connection, network)
        with errors(what):
            sets = connection.compute.virtual_machine_scale_sets
            sets.begin_create_or_update(
                wanted.resource_group, wanted.name, body, polling_interval=cvm_body.POLL, **SAFE_TO_REPEAT
            ).result()
            found = wire(sets.get(wanted.resource_group, wanted.name))
    except SkrFailure as failure:
        failure.facts["network_made"] = made
        raise
    return {**plan.result(), "scale_set": describe(found), "network_made": made, "warnings": []}


def creation(wanted: Wanted, size: str, subnet: str) -> t.Dict[str, t.Any]:
    """The body of PUT. No instance has a public address."""
    address = {"name": "primary", "properties": {"subnet": {"id": subnet}}}
    interface = {"name": "primary", "properties": {"primary": True, "ipConfigurations": [address]}}
    profile = {
        "securityProfile": cvm_body.security_profile(wanted),
        "storageProfile": cvm_body.storage_profile(wanted),
        "osProfile": {"computerNamePrefix": f"{wanted.name[:50]}-", **cvm_body.login_profile(wanted)},
        "networkProfile": {"networkInterfaceConfigurations": [interface]},
    }
    capacity = 1 if wanted.capacity is None else wanted.capacity
    body: t.Dict[str, t.Any] = {
        "location": wanted.location,
        "tags": wanted.tags or {},
        "sku": {"name": size, "tier": "Standard", "capacity": capacity},
        "properties": {
            "orchestrationMode": "Uniform",
            "overprovision": False,  # instances that are made to be deleted would attest and release, too
            "upgradePolicy": {"mode": wanted.upgrade_mode or "Manual"},
            "virtualMachineProfile": profile,
        },
    }
    first = identity.plan_identity({}, wanted.identities)
    if first.body:
        body.update(first.body)
    if wanted.zones:
        body["zones"] = list(wanted.zones)
    return body


# --- changing


def plan_update(wanted: Wanted, found: t.Dict[str, t.Any]) -> Plan:
    """Identities are added, tags and capacity set; all else is fixed. Raises SkrFailure ``vm_fixed``."""
    now, what = describe(found), f"scale set {wanted.name}"
    if now["security_type"] != "ConfidentialVM":
        raise cvm_body.fixed(what, "security_type", now["security_type"], "ConfidentialVM")
    if wanted.location and not same_location(wanted.location, str(now["location"])):
        raise cvm_body.fixed(what, "location", now["location"], wanted.location)
    if wanted.zones and set(wanted.zones) != set(now["zones"]):
        raise cvm_body.fixed(what, "zones", now["zones"], list(wanted.zones))
    fixed = {
        "size": (now["vm_size"], wanted.size),
        "security_encryption_type": (now["security_encryption_type"], wanted.security_encryption_type),
        "secure_boot_enabled": (now["secure_boot_enabled"], wanted.secure_boot_enabled),
        "disk_encryption_set_id": (now["disk_encryption_set_id"], wanted.disk_encryption_set_id),
        "upgrade_mode": (now["upgrade_mode"], wanted.upgrade_mode),
        "subnet_id": (now["subnet_id"], wanted.subnet_id and wanted.subnet_id.rstrip("/")),
    }
    for option, (there, asked) in fixed.items():
        if asked is not None and str(asked).lower() != str(there).lower():
            raise cvm_body.fixed(what, option, there, asked)
    of_identity = identity.plan_identity(found, wanted.identities)
    before: t.Dict[str, t.Any] = {"identity": of_identity.before}
    after: t.Dict[str, t.Any] = {"identity": of_identity.after}
    body: t.Dict[str, t.Any] = dict(of_identity.body or {})
    if wanted.tags is not None and wanted.tags != now["tags"]:
        body["tags"] = wanted.tags
        before["tags"], after["tags"] = now["tags"], wanted.tags
    if wanted.capacity is not None and wanted.capacity != now["capacity"]:
        body["sku"] = {**(found.get("sku") or {}), "capacity": wanted.capacity}
        before["capacity"], after["capacity"] = now["capacity"], wanted.capacity
    return Plan("update" if body else "none", before, after, body or None)


def _remove(
    connection: Connection, wanted: Wanted, found: t.Optional[t.Dict[str, t.Any]], check_mode: bool
) -> t.Dict[str, t.Any]:
    machines = connection.compute.virtual_machine_scale_sets
    plan = cvm_body.remove(machines, wanted, f"scale set {wanted.name}", found, check_mode)
    shown = {"name": wanted.name, "state": "absent"}
    return {**plan.result(), "scale_set": shown, "network_made": [], "warnings": []}
