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
from . import cvm_info, cvm_network, identity
from .clients import SAFE_TO_REPEAT, Connection, errors, wire
from .plan import Plan, same_location, text_tags

ENCRYPTION = ("VMGuestStateOnly", "DiskWithVMGuestState", "NonPersistedTPM")
DEFAULT_IMAGE = {"publisher": "Canonical", "offer": "ubuntu-24_04-lts", "sku": "cvm", "version": "latest"}
_NAME = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9.-]{0,62}[a-zA-Z0-9])?")
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_KEY = re.compile(r"(ssh-rsa|ssh-ed25519|ecdsa-sha2-nistp\d+) [A-Za-z0-9+/=]+( .*)?")
_POLL = 5


@dataclasses.dataclass(frozen=True)
class Wanted:
    """The VM as it shall be; None means: leave as it is (on creation: a default)."""

    name: str
    resource_group: str
    location: t.Optional[str] = None
    size: t.Optional[str] = None
    zone: t.Optional[str] = None
    image: t.Optional[t.Mapping[str, str]] = None
    admin_username: str = "azureuser"
    ssh_public_keys: t.Tuple[str, ...] = ()
    security_encryption_type: t.Optional[str] = None
    secure_boot_enabled: t.Optional[bool] = None
    disk_encryption_set_id: t.Optional[str] = None
    os_disk_type: str = "Premium_LRS"
    os_disk_size_gb: t.Optional[int] = None
    network_interface_id: t.Optional[str] = None
    identities: identity.Wanted = identity.SYSTEM_ALONE
    tags: t.Optional[t.Dict[str, str]] = None
    present: bool = True


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
        raise _invalid("name", wanted.name, "1 to 64 letters, digits, hyphens and dots, a letter or digit at both ends")
    if not _USER.fullmatch(wanted.admin_username) or wanted.admin_username in ("root", "admin", "administrator"):
        raise _invalid("admin_username", wanted.admin_username, "a user name that is not reserved, such as azureuser")
    for key in wanted.ssh_public_keys:
        if not _KEY.fullmatch(key.strip()):
            # Not quoted: somebody may have given the private half.
            raise SkrFailure(
                "invalid_input",
                "ssh_public_keys has an entry that is no OpenSSH public key, wanted such as ssh-ed25519 AAAA...",
                {"option": "ssh_public_keys"},
            )
    if wanted.zone not in (None, "1", "2", "3"):
        raise _invalid("zone", wanted.zone, "1, 2 or 3")
    whole = wanted.security_encryption_type == "DiskWithVMGuestState"
    if wanted.disk_encryption_set_id and not whole:
        raise _invalid(
            "security_encryption_type",
            wanted.security_encryption_type,
            "DiskWithVMGuestState, because disk_encryption_set_id is set",
        )
    if whole and wanted.secure_boot_enabled is False:
        raise _invalid("secure_boot_enabled", False, "true, which DiskWithVMGuestState needs")
    if wanted.os_disk_size_gb is not None and not 1 <= wanted.os_disk_size_gb <= 4095:
        raise _invalid("os_disk_size_gb", wanted.os_disk_size_gb, "a number from 1 to 4095")
    image = wanted.image
    if image is not None and not image.get("id") and not all(image.get(part) for part in ("publisher", "offer", "sku")):
        raise _invalid(
            "image", sorted(part for part, value in image.items() if value), "id, or publisher, offer and sku"
        )


def _invalid(option: str, found: t.Any, wanted: str) -> SkrFailure:
    return SkrFailure("invalid_input", f"{option} is {found!r}, wanted {wanted}.", {"option": option})


def get(connection: Connection, resource_group: str, name: str) -> t.Optional[t.Dict[str, t.Any]]:
    """The VM in the service's own names; None when it does not exist."""
    from azure.core.exceptions import ResourceNotFoundError

    with errors(f"VM {name}"):
        try:
            return wire(connection.compute.virtual_machines.get(resource_group, name))
        except ResourceNotFoundError as error:
            if getattr(error.error, "code", "") == "ResourceGroupNotFound":
                raise
            return None


# --- making


def _make(connection: Connection, wanted: Wanted, check_mode: bool) -> t.Dict[str, t.Any]:
    if not wanted.location:
        raise _invalid("location", wanted.location, f"an Azure region, because the VM {wanted.name} has to be made")
    if not wanted.ssh_public_keys:
        raise _invalid("ssh_public_keys", [], f"at least one key, because the VM {wanted.name} has to be made")
    size = wanted.size or "Standard_DC2as_v5"
    kind = _kind(connection, wanted.location, size)
    network = None
    if not wanted.network_interface_id:
        network = cvm_network.look(connection, wanted.resource_group, wanted.location, wanted.name)
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
                wanted.resource_group, wanted.name, body, polling_interval=_POLL, **SAFE_TO_REPEAT
            ).result()
            found = wire(machines.get(wanted.resource_group, wanted.name))
    except SkrFailure as failure:
        failure.facts["network_made"] = made
        raise
    return {**plan.result(), "vm": cvm_info.describe(found), "network_made": made}


def _kind(connection: Connection, location: str, size: str) -> str:
    """``SNP`` or ``TDX``. Raises SkrFailure ``size_not_confidential``; who may not list sizes leaves it to the service."""
    with_kind: t.Dict[str, str] = {}
    region = location.replace(" ", "").lower()
    try:
        with errors(f"the VM sizes of {region}"):
            for sku in connection.compute.resource_skus.list(filter=f"location eq '{region}'"):
                if sku.resource_type != "virtualMachines":
                    continue
                for capability in sku.capabilities or []:
                    if capability.name == "ConfidentialComputingType":
                        with_kind[str(sku.name).lower()] = str(capability.value)
    except SkrFailure as failure:
        if failure.reason != "authorization_failed":
            raise
        return "SNP" if cvm_info.tee_type(size) == "sevsnpvm" else "TDX"
    if size.lower() not in with_kind:
        offered = sorted(set(with_kind.values()))
        raise SkrFailure(
            "size_not_confidential",
            f"size is {size}, which is no confidential size of {region}; that region has {len(with_kind)} "
            f"({', '.join(offered) or 'none'}).",
            {"option": "size", "found": size, "offered": sorted(with_kind)[:50]},
        )
    return with_kind[size.lower()]


def creation(wanted: Wanted, size: str, interface: str, own_interface: bool) -> t.Dict[str, t.Any]:
    """The body of PUT. An interface that we made goes with the VM, one that was given stays."""
    security: t.Dict[str, t.Any] = {"securityEncryptionType": wanted.security_encryption_type or "VMGuestStateOnly"}
    if wanted.disk_encryption_set_id:
        security["diskEncryptionSet"] = {"id": wanted.disk_encryption_set_id}
    disk: t.Dict[str, t.Any] = {
        "createOption": "FromImage",
        "caching": "ReadOnly",
        "deleteOption": "Delete",
        "managedDisk": {"storageAccountType": wanted.os_disk_type, "securityProfile": security},
    }
    if wanted.os_disk_size_gb:
        disk["diskSizeGB"] = wanted.os_disk_size_gb
    image = {part: value for part, value in (wanted.image or DEFAULT_IMAGE).items() if value}
    if "id" not in image:
        image.setdefault("version", "latest")
    home = f"/home/{wanted.admin_username}/.ssh/authorized_keys"
    properties: t.Dict[str, t.Any] = {
        "hardwareProfile": {"vmSize": size},
        "securityProfile": {
            "securityType": "ConfidentialVM",
            "uefiSettings": {"secureBootEnabled": wanted.secure_boot_enabled is not False, "vTpmEnabled": True},
        },
        "storageProfile": {"imageReference": image, "osDisk": disk},
        "osProfile": {
            "computerName": wanted.name,
            "adminUsername": wanted.admin_username,
            "linuxConfiguration": {
                "disablePasswordAuthentication": True,
                "ssh": {"publicKeys": [{"path": home, "keyData": key.strip()} for key in wanted.ssh_public_keys]},
            },
        },
        "networkProfile": {
            "networkInterfaces": [
                {"id": interface, "properties": {"deleteOption": "Delete" if own_interface else "Detach"}}
            ]
        },
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
    now = cvm_info.describe(found)
    if now["security_type"] != "ConfidentialVM":
        raise _fixed(wanted, "security_type", now["security_type"], "ConfidentialVM")
    if wanted.location and not same_location(wanted.location, str(now["location"])):
        raise _fixed(wanted, "location", now["location"], wanted.location)
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
            raise _fixed(wanted, option, there, asked)
    of_identity = identity.plan_identity(found, wanted.identities)
    before, after = {"identity": of_identity.before}, {"identity": of_identity.after}
    body: t.Dict[str, t.Any] = dict(of_identity.body or {})
    if wanted.tags is not None and wanted.tags != now["tags"]:
        body["tags"] = wanted.tags
        before["tags"], after["tags"] = now["tags"], wanted.tags
    return Plan("update" if body else "none", before, after, body or None)


def _fixed(wanted: Wanted, option: str, found: t.Any, asked: t.Any) -> SkrFailure:
    return SkrFailure(
        "vm_fixed",
        f"{option} is {asked!r}, but the VM {wanted.name} has {found!r}.",
        {"option": option, "found": found, "wanted": asked},
    )


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
    before = {"state": "present" if found else "absent"}
    plan = Plan("delete" if found else "none", before, {"state": "absent"})
    if found and not check_mode:
        with errors(f"VM {wanted.name}"):
            connection.compute.virtual_machines.begin_delete(
                wanted.resource_group, wanted.name, polling_interval=_POLL, **SAFE_TO_REPEAT
            ).result()
    shown = {"name": wanted.name, "state": "absent"}
    return {**plan.result(), "vm": shown, "network_made": []}
