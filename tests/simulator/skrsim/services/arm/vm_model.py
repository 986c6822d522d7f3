# SPDX-License-Identifier: GPL-3.0-or-later
"""What a VM may be made of: the body of PUT, checked as the service checks confidential VMs, and kept."""

from __future__ import annotations

import re
import typing as t

from ...core.world import VirtualMachine
from . import skus
from .call import Call
from .disk_encryption_sets import CONFIDENTIAL
from .errors import known, objects, refuse

_NAME = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9.-]{0,62}[a-zA-Z0-9])?")
_ENCRYPTION = ("VMGuestStateOnly", "DiskWithVMGuestState", "NonPersistedTPM")
_DISKS = ("Standard_LRS", "StandardSSD_LRS", "Premium_LRS", "StandardSSD_ZRS", "Premium_ZRS", "PremiumV2_LRS")
_KEY = re.compile(r"(ssh-rsa|ssh-ed25519|ecdsa-sha2-nistp\d+) [A-Za-z0-9+/=]+( .*)?")


def bad(message: str, code: str = "InvalidParameter") -> Exception:
    return refuse(400, code, message)


def made(call: Call, body: dict[str, t.Any], existing: VirtualMachine | None) -> VirtualMachine:
    """A VM as the body says, not stored yet. ``existing`` is the one of that name, which some things cannot change of."""
    name, location = call.groups["vm"], str(body.get("location") or "").replace(" ", "").lower()
    if not _NAME.fullmatch(name):
        raise bad(f"The VM name '{name}' is invalid.")
    if not location:
        raise refuse(400, "LocationRequired", "The location property is required for this definition.")
    properties = known(body.get("properties") or {}, "VirtualMachineProperties")
    size = str(known(properties.get("hardwareProfile") or {}, "HardwareProfile").get("vmSize") or "")
    try:
        kind = skus.kind_of(size, location)
    except KeyError:
        message = f"The requested VM size '{size}' is not available in the current region '{location}'."
        raise refuse(409, "SkuNotAvailable", message) from None
    found = VirtualMachine(
        name, call.world.subscription_id, call.group_id().rpartition("/")[2], location, call.world.guid(), size=size
    )
    security(properties, kind, found)
    storage(call, properties, found)
    _network(call, properties, found, existing)
    _login(properties)
    zones = body.get("zones") or []
    if not isinstance(zones, list) or not all(zone in ("1", "2", "3") for zone in zones) or len(zones) > 1:
        raise bad(f"The zones {zones!r} are not valid.")
    found.zones = list(zones)
    keep = ("storageProfile", "osProfile", "networkProfile", "diagnosticsProfile", "priority", "licenseType")
    found.profile = {member: properties[member] for member in keep if member in properties}
    if existing is not None:
        _unchanged(existing, found)
    return found


def security(properties: dict[str, t.Any], kind: str | None, vm: VirtualMachine) -> None:
    profile = known(properties.get("securityProfile") or {}, "SecurityProfile")
    firmware = known(profile.get("uefiSettings") or {}, "UefiSettings")
    vm.security_type = str(profile.get("securityType") or "Standard")
    vm.secure_boot, vm.v_tpm = bool(firmware.get("secureBootEnabled")), bool(firmware.get("vTpmEnabled"))
    if vm.security_type not in ("Standard", "TrustedLaunch", "ConfidentialVM"):
        raise bad(f"The value '{vm.security_type}' of securityType is invalid.")
    if (vm.security_type == "ConfidentialVM") != (kind is not None):
        text = f"The VM size '{vm.size}' is not supported for creation of VMs with '{vm.security_type}' security type."
        raise bad(text, "BadRequest")
    if vm.security_type == "ConfidentialVM" and not vm.v_tpm:
        raise bad("vTpmEnabled must be true for VMs with security type 'ConfidentialVM'.", "BadRequest")


def storage(call: Call, properties: dict[str, t.Any], vm: VirtualMachine, of_set: bool = False) -> None:
    """The models of a scale set have names of their own."""
    one = "VirtualMachineScaleSet" if of_set else ""
    profile = known(properties.get("storageProfile") or {}, f"{one}StorageProfile")
    image = known(profile.get("imageReference") or {}, "ImageReference")
    if not image.get("id") and not all(image.get(part) for part in ("publisher", "offer", "sku", "version")):
        raise bad("Required parameter 'imageReference' is missing (null).")
    sku = str(image.get("sku") or "").lower()
    if vm.security_type == "ConfidentialVM" and sku and "cvm" not in f"{sku} {image.get('offer', '')}".lower():
        raise bad(
            f"The image '{image.get('offer')}/{sku}' does not support security type 'ConfidentialVM'.", "BadRequest"
        )
    disk = known(profile.get("osDisk") or {}, f"{one}OSDisk")
    if disk.get("createOption") != "FromImage":
        raise bad("The OS disk's createOption must be FromImage.")
    managed = known(disk.get("managedDisk") or {}, f"{one}ManagedDiskParameters")
    account = managed.get("storageAccountType")
    if account is not None and account not in _DISKS:
        raise bad(f"The value '{account}' of storageAccountType is invalid.")
    security = known(managed.get("securityProfile") or {}, "VMDiskSecurityProfile")
    vm.encryption = security.get("securityEncryptionType")
    if (vm.security_type == "ConfidentialVM") != (vm.encryption in _ENCRYPTION):
        raise bad("securityEncryptionType is required for ConfidentialVM, and for nothing else.", "BadRequest")
    if vm.encryption == "DiskWithVMGuestState" and not (vm.secure_boot and vm.v_tpm):
        raise bad("DiskWithVMGuestState needs secureBootEnabled and vTpmEnabled.", "BadRequest")
    own = known(security.get("diskEncryptionSet") or {}, "DiskEncryptionSetParameters").get("id")
    if own:
        vm.disk_encryption_set = _encryption_set(call, str(own), vm)
    if known(properties.get("securityProfile") or {}, "SecurityProfile").get("encryptionAtHost") and (
        vm.encryption == "DiskWithVMGuestState"
    ):
        raise bad("encryptionAtHost cannot be combined with DiskWithVMGuestState.", "BadRequest")


def _encryption_set(call: Call, identifier: str, vm: VirtualMachine) -> str:
    found = call.world.resources.get(identifier.lower())
    if found is None or "/diskencryptionsets/" not in identifier.lower():
        raise refuse(404, "NotFound", f"The disk encryption set {identifier} was not found.")
    if found["properties"]["encryptionType"] != CONFIDENTIAL or vm.encryption != "DiskWithVMGuestState":
        raise bad(f"The OS disk's security profile needs a disk encryption set of type {CONFIDENTIAL}.", "BadRequest")
    if found["location"] != vm.location:
        raise bad(f"The disk encryption set is in '{found['location']}', the VM in '{vm.location}'.", "BadRequest")
    return str(found["id"])


def _network(call: Call, properties: dict[str, t.Any], vm: VirtualMachine, existing: VirtualMachine | None) -> None:
    profile = known(properties.get("networkProfile") or {}, "NetworkProfile")
    references = objects(profile.get("networkInterfaces"), "NetworkInterfaceReference")
    if not references:
        raise bad("The VM must have at least one network interface.")
    for reference in references:
        known(reference.get("properties") or {}, "NetworkInterfaceReferenceProperties")
        identifier = str(reference.get("id"))
        found = call.world.resources.get(identifier.lower())
        if found is None:
            raise refuse(400, "InvalidResourceReference", f"Resource {identifier} referenced by the VM was not found.")
        if found["location"] != vm.location:
            raise bad(f"The network interface is in '{found['location']}', the VM in '{vm.location}'.", "BadRequest")
        user = next(
            (one for one in call.world.vms.values() if identifier.lower() in (nic.lower() for nic in one.interfaces)),
            None,
        )
        if user is not None and user is not existing:
            raise refuse(409, "NicInUse", f"Network interface {identifier} is used by existing resource {user.id}.")
        vm.interfaces.append(str(found["id"]))


def _login(properties: dict[str, t.Any]) -> None:
    profile = known(properties.get("osProfile") or {}, "OSProfile")
    if not profile.get("computerName"):
        raise bad("Required parameter 'osProfile.computerName' is missing (null).")
    login(profile)


def login(profile: dict[str, t.Any]) -> None:
    """Of a VM's or a scale set's osProfile: the first user and how that user logs in."""
    if not profile.get("adminUsername"):
        raise bad("Required parameter 'osProfile.adminUsername' is missing (null).")
    if str(profile["adminUsername"]).lower() in ("root", "admin", "administrator"):
        raise bad("The Admin Username specified is not allowed.")
    linux = known(profile.get("linuxConfiguration") or {}, "LinuxConfiguration")
    keys = objects(known(linux.get("ssh") or {}, "SshConfiguration").get("publicKeys"), "SshPublicKey")
    for key in keys:
        if not _KEY.fullmatch(str(key.get("keyData") or "").strip()):
            raise bad("The value of parameter linuxConfiguration.ssh.publicKeys.keyData is invalid.")
        if key.get("path") != f"/home/{profile['adminUsername']}/.ssh/authorized_keys":
            raise bad("Destination path for SSH public keys is limited to the authorized_keys of the admin user.")
    if not keys and not profile.get("adminPassword"):
        raise bad("Authentication using either SSH or by user name and password must be enabled in Linux profile.")


def _unchanged(existing: VirtualMachine, wanted: VirtualMachine) -> None:
    for member, name in (
        ("security_type", "securityProfile.securityType"),
        ("encryption", "storageProfile.osDisk.managedDisk.securityProfile.securityEncryptionType"),
        ("disk_encryption_set", "storageProfile.osDisk.managedDisk.securityProfile.diskEncryptionSet.id"),
        ("zones", "zones"),
        ("location", "location"),
    ):
        if getattr(existing, member) != getattr(wanted, member):
            raise refuse(409, "PropertyChangeNotAllowed", f"Changing property '{name}' is not allowed.")
    if existing.profile and existing.profile.get("storageProfile") != wanted.profile.get("storageProfile"):
        raise refuse(409, "PropertyChangeNotAllowed", "Changing property 'storageProfile' is not allowed.")


def shown(vm: VirtualMachine) -> dict[str, t.Any]:
    """The properties that came with PUT, as a read gives them: no secret, and the operating system's kind."""
    storage = {**vm.profile["storageProfile"]}
    storage["osDisk"] = {"osType": "Linux", "name": f"{vm.name}_OsDisk_1", **storage["osDisk"]}
    login = {
        name: value for name, value in vm.profile["osProfile"].items() if name not in ("adminPassword", "customData")
    }
    return {**vm.profile, "storageProfile": storage, "osProfile": login}
