# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What VMs and scale sets of confidential VMs have in common when they are made: size, firmware, disk, image, login."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ..policy.failure import SkrFailure
from . import cvm_info, identity, user_identity
from .clients import SAFE_TO_REPEAT, Connection, errors, wire
from .plan import Plan

DEFAULT_IMAGE = {"publisher": "Canonical", "offer": "ubuntu-24_04-lts", "sku": "cvm", "version": "latest"}
POLL = 5
DEFAULT_SIZE = "Standard_DC2as_v5"
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_KEY = re.compile(r"(ssh-rsa|ssh-ed25519|ecdsa-sha2-nistp\d+) [A-Za-z0-9+/=]+( .*)?")


@dataclasses.dataclass(frozen=True)
class Machine:
    """What shall be made; None means: leave as it is (on creation: a default)."""

    name: str = ""
    resource_group: str = ""
    location: t.Optional[str] = None
    size: t.Optional[str] = None
    image: t.Optional[t.Mapping[str, str]] = None
    admin_username: str = "azureuser"
    ssh_public_keys: t.Tuple[str, ...] = ()
    security_encryption_type: t.Optional[str] = None
    secure_boot_enabled: t.Optional[bool] = None
    disk_encryption_set_id: t.Optional[str] = None
    os_disk_type: str = "Premium_LRS"
    os_disk_size_gb: t.Optional[int] = None
    identities: identity.Wanted = identity.SYSTEM_ALONE
    tags: t.Optional[t.Dict[str, str]] = None
    present: bool = True


def machine(options: t.Mapping[str, t.Any], subscription: str) -> t.Dict[str, t.Any]:
    """Arguments of Machine, or of a dataclass that extends it, from a module's options. Raises SkrFailure."""
    group, users = options["resource_group"], options["user_assigned"]
    ids = user_identity.resource_ids(users, group, subscription) if users else []
    names = (
        *("name", "resource_group", "location", "size", "image", "admin_username", "tags", "security_encryption_type"),
        *("secure_boot_enabled", "disk_encryption_set_id", "os_disk_type", "os_disk_size_gb"),
    )
    return {
        **{name: options[name] for name in names},
        "ssh_public_keys": tuple(options["ssh_public_keys"]),
        "identities": identity.Wanted(options["system_assigned"], tuple(ids)),
        "present": options["state"] == "present",
    }


def check(wanted: Machine) -> None:
    """Refuse what cannot work before anything is asked."""
    if not _USER.fullmatch(wanted.admin_username) or wanted.admin_username in ("root", "admin", "administrator"):
        raise invalid("admin_username", wanted.admin_username, "a user name that is not reserved, such as azureuser")
    for key in wanted.ssh_public_keys:
        if not _KEY.fullmatch(key.strip()):
            # Not quoted: somebody may have given the private half.
            raise SkrFailure(
                "invalid_input",
                "ssh_public_keys has an entry that is no OpenSSH public key, wanted such as ssh-ed25519 AAAA...",
                {"option": "ssh_public_keys"},
            )
    whole = wanted.security_encryption_type == "DiskWithVMGuestState"
    if wanted.disk_encryption_set_id and not whole:
        raise invalid(
            "security_encryption_type",
            wanted.security_encryption_type,
            "DiskWithVMGuestState, because disk_encryption_set_id is set",
        )
    if whole and wanted.secure_boot_enabled is False:
        raise invalid("secure_boot_enabled", False, "true, which DiskWithVMGuestState needs")
    if wanted.os_disk_size_gb is not None and not 1 <= wanted.os_disk_size_gb <= 4095:
        raise invalid("os_disk_size_gb", wanted.os_disk_size_gb, "a number from 1 to 4095")
    image = wanted.image
    if image is not None and not image.get("id") and not all(image.get(part) for part in ("publisher", "offer", "sku")):
        raise invalid(
            "image", sorted(part for part, value in image.items() if value), "id, or publisher, offer and sku"
        )


def check_new(wanted: Machine, what: str) -> None:
    """Refuse what is missing for making it; ``what`` is such as "VM web-01"."""
    if not wanted.location:
        raise invalid("location", wanted.location, f"an Azure region, because the {what} has to be made")
    if not wanted.ssh_public_keys:
        raise invalid("ssh_public_keys", [], f"at least one key, because the {what} has to be made")


def invalid(option: str, found: t.Any, wanted: str) -> SkrFailure:
    return SkrFailure("invalid_input", f"{option} is {found!r}, wanted {wanted}.", {"option": option})


def fixed(what: str, option: str, found: t.Any, asked: t.Any) -> SkrFailure:
    """The failure where something would have to be made anew; ``what`` is such as "VM web-01"."""
    return SkrFailure(
        "vm_fixed",
        f"{option} is {asked!r}, but the {what} has {found!r}.",
        {"option": option, "found": found, "wanted": asked},
    )


def kind(connection: Connection, location: str, size: str) -> str:
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


def security_profile(wanted: Machine) -> t.Dict[str, t.Any]:
    return {
        "securityType": "ConfidentialVM",
        "uefiSettings": {"secureBootEnabled": wanted.secure_boot_enabled is not False, "vTpmEnabled": True},
    }


def storage_profile(wanted: Machine) -> t.Dict[str, t.Any]:
    """Image and OS disk, without what becomes of the disk when the VM goes."""
    security: t.Dict[str, t.Any] = {"securityEncryptionType": wanted.security_encryption_type or "VMGuestStateOnly"}
    if wanted.disk_encryption_set_id:
        security["diskEncryptionSet"] = {"id": wanted.disk_encryption_set_id}
    disk: t.Dict[str, t.Any] = {
        "createOption": "FromImage",
        "caching": "ReadOnly",
        "managedDisk": {"storageAccountType": wanted.os_disk_type, "securityProfile": security},
    }
    if wanted.os_disk_size_gb:
        disk["diskSizeGB"] = wanted.os_disk_size_gb
    image = {part: value for part, value in (wanted.image or DEFAULT_IMAGE).items() if value}
    if "id" not in image:
        image.setdefault("version", "latest")
    return {"imageReference": image, "osDisk": disk}


def login_profile(wanted: Machine) -> t.Dict[str, t.Any]:
    """The first user, with keys and without a password."""
    home = f"/home/{wanted.admin_username}/.ssh/authorized_keys"
    return {
        "adminUsername": wanted.admin_username,
        "linuxConfiguration": {
            "disablePasswordAuthentication": True,
            "ssh": {"publicKeys": [{"path": home, "keyData": key.strip()} for key in wanted.ssh_public_keys]},
        },
    }


def fetch(machines: t.Any, group: str, name: str, what: str) -> t.Optional[t.Dict[str, t.Any]]:
    """One VM or scale set in the service's own names; None when it does not exist."""
    from azure.core.exceptions import ResourceNotFoundError

    with errors(what):
        try:
            return wire(machines.get(group, name))
        except ResourceNotFoundError as error:
            if getattr(error.error, "code", "") == "ResourceGroupNotFound":
                raise
            return None


def remove(
    machines: t.Any, wanted: Machine, what: str, found: t.Optional[t.Dict[str, t.Any]], check_mode: bool
) -> Plan:
    """Delete it if it is there."""
    plan = Plan("delete" if found else "none", {"state": "present" if found else "absent"}, {"state": "absent"})
    if found and not check_mode:
        with errors(what):
            machines.begin_delete(wanted.resource_group, wanted.name, polling_interval=POLL, **SAFE_TO_REPEAT).result()
    return plan
