# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which confidential VMs there are, of which kind, and whether each is fit for Secure Key Release.

The service has no filter on the security type, so VMs are listed page by page and chosen here.
"""

from __future__ import annotations

import re
import typing as t

from .clients import Connection, errors, wire

# Sizes by family (Microsoft's list of confidential VM sizes): the letter after the number of cores tells the processor.
_SIZE = re.compile(r"standard_(?P<family>[de]c)(?P<cores>\d+)(?P<letters>[a-z]*)_(?P<generation>v\d+)", re.IGNORECASE)


def tee_type(size: str) -> t.Optional[str]:
    """The TEE of a VM size: sevsnpvm (letter a), tdxvm (letter e), or None where the size is of no known family."""
    found = _SIZE.fullmatch(size)
    letters = found["letters"].lower() if found else ""
    return "sevsnpvm" if letters.startswith("a") else "tdxvm" if letters.startswith("e") else None


def info(connection: Connection, groups: t.Sequence[str], everything: bool) -> t.Dict[str, t.Any]:
    """The VMs of the subscription, or of the groups; with ``everything`` also those that are not confidential.

    Raises SkrFailure.
    """
    found: t.List[t.Dict[str, t.Any]] = []
    machines = connection.compute.virtual_machines
    for group in dict.fromkeys(group.lower() for group in groups):
        with errors(f"the VMs of resource group {group}"):
            found += [wire(vm) for vm in machines.list(group)]
    if not groups:
        with errors("the VMs of the subscription"):
            found += [wire(vm) for vm in machines.list_all()]
    shown = [describe(vm) for vm in found]
    return {
        "changed": False,
        "vms": sorted((vm for vm in shown if everything or vm["confidential"]), key=lambda vm: str(vm["id"]).lower()),
    }


def describe(vm: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    """One VM in our terms, with ``problems``: why it cannot use Secure Key Release as it is."""
    properties = vm.get("properties") or {}
    security = properties.get("securityProfile") or {}
    firmware = security.get("uefiSettings") or {}
    identity = vm.get("identity") or {}
    users = identity.get("userAssignedIdentities") or {}
    disk = ((properties.get("storageProfile") or {}).get("osDisk") or {}).get("managedDisk") or {}
    encryption = disk.get("securityProfile") or {}
    size = str((properties.get("hardwareProfile") or {}).get("vmSize") or "")
    kind = security.get("securityType") or "Standard"
    shown: t.Dict[str, t.Any] = {
        "name": vm.get("name"),
        "id": vm.get("id"),
        "resource_group": str(vm.get("id") or "////").split("/")[4],
        "location": vm.get("location"),
        "vm_id": properties.get("vmId"),
        "vm_size": size,
        "security_type": kind,
        "confidential": kind == "ConfidentialVM",
        "tee_type": tee_type(size) if kind == "ConfidentialVM" else None,
        "secure_boot_enabled": bool(firmware.get("secureBootEnabled")),
        "v_tpm_enabled": bool(firmware.get("vTpmEnabled")),
        "security_encryption_type": encryption.get("securityEncryptionType"),
        "disk_encryption_set_id": (encryption.get("diskEncryptionSet") or {}).get("id"),
        "principal_id": identity.get("principalId"),
        "user_assigned": [
            {"id": key, "client_id": (value or {}).get("clientId"), "principal_id": (value or {}).get("principalId")}
            for key, value in sorted(users.items())
        ],
        "provisioning_state": properties.get("provisioningState"),
        "tags": vm.get("tags") or {},
    }
    shown["problems"] = problems(shown)
    return shown


def problems(vm: t.Mapping[str, t.Any]) -> t.List[str]:
    """In words what keeps the VM from releasing keys; an empty list when nothing is seen from outside."""
    found = []
    if not vm["confidential"]:
        weaker = " (a policy for Trusted Launch VMs is weaker)" if vm["security_type"] == "TrustedLaunch" else ""
        found.append(f"security type is {vm['security_type']}, wanted ConfidentialVM; it is fixed at creation{weaker}")
    elif vm["tee_type"] is None:
        found.append(f"size {vm['vm_size']} is of no known confidential family, so the kind of TEE is not known")
    if not vm["v_tpm_enabled"]:
        found.append("the vTPM is off, and without it there is no guest attestation")
    if not vm["secure_boot_enabled"]:
        found.append("secure boot is off, so policies and attestation providers that require it refuse the VM")
    if not vm["principal_id"] and not vm["user_assigned"]:
        found.append("it has no managed identity; module cvm_identity gives it one")
    return found
