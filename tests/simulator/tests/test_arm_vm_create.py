# SPDX-License-Identifier: GPL-3.0-or-later
"""VMs, disk encryption sets and networks are made as the service makes them, and what it refuses is refused."""

from __future__ import annotations

import copy
import typing as t

import pytest
from arm_caller import VAULT, Caller, vault_body, vault_path, vm_path

from skrsim.core.app import App
from skrsim.core.world import Key, KeyVersion, Principal, World

NETWORK, DISKS = "2024-07-01", "2026-03-02"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEHm"
Change = t.Callable[[dict[str, t.Any]], None]


@pytest.fixture
def arm(app: App, operator: Principal) -> Caller:
    return Caller(app, operator)


def network(world: World, kind: str, name: str) -> str:
    base = f"/subscriptions/{world.subscription_id}/resourceGroups/rg-test/providers/Microsoft.Network"
    return f"{base}/{kind}/{name}"


@pytest.fixture
def interface(arm: Caller, world: World) -> str:
    where = network(world, "virtualNetworks", "vnet")
    body = {
        "location": "westeurope",
        "properties": {
            "addressSpace": {"addressPrefixes": ["10.0.0.0/16"]},
            "subnets": [{"name": "default", "properties": {"addressPrefix": "10.0.0.0/24"}}],
        },
    }
    assert arm("PUT", where, body, NETWORK).status == 201
    nic = network(world, "networkInterfaces", "nic")
    inner = {"ipConfigurations": [{"name": "a", "properties": {"subnet": {"id": f"{where}/subnets/default"}}}]}
    assert arm("PUT", nic, {"location": "westeurope", "properties": inner}, NETWORK).status == 201
    return nic


def body(nic: str, size: str = "Standard_DC2as_v5") -> dict[str, t.Any]:
    return {
        "location": "westeurope",
        "identity": {"type": "SystemAssigned"},
        "properties": {
            "hardwareProfile": {"vmSize": size},
            "securityProfile": {
                "securityType": "ConfidentialVM",
                "uefiSettings": {"secureBootEnabled": True, "vTpmEnabled": True},
            },
            "storageProfile": {
                "imageReference": {
                    "publisher": "Canonical", "offer": "ubuntu-24_04-lts", "sku": "cvm", "version": "latest",
                },
                "osDisk": {
                    "createOption": "FromImage",
                    "managedDisk": {
                        "storageAccountType": "Premium_LRS",
                        "securityProfile": {"securityEncryptionType": "VMGuestStateOnly"},
                    },
                },
            },
            "osProfile": {
                "computerName": "made",
                "adminUsername": "azureuser",
                "linuxConfiguration": {
                    "disablePasswordAuthentication": True,
                    "ssh": {"publicKeys": [{"path": "/home/azureuser/.ssh/authorized_keys", "keyData": KEY}]},
                },
            },
            "networkProfile": {"networkInterfaces": [{"id": nic, "properties": {"deleteOption": "Delete"}}]},
        },
    }  # fmt: skip


def test_a_vm_is_made_listed_and_deleted_with_its_interface(arm: Caller, world: World, interface: str) -> None:
    made = arm("PUT", vm_path(world, "made"), body(interface))
    assert made.status == 201 and made.document["properties"]["provisioningState"] == "Creating"
    assert "identity" not in made.document and made.audit["write"] is True
    while arm.follow(made.headers["Azure-AsyncOperation"]).document["status"] != "Succeeded":
        pass
    found = arm("GET", vm_path(world, "made")).document
    assert found["identity"]["principalId"] in world.principals
    assert found["properties"]["storageProfile"]["osDisk"]["osType"] == "Linux"
    assert found["properties"]["vmId"] != world.vms["cvm-01"].vm_id
    again = arm("PUT", vm_path(world, "made"), body(interface))
    assert again.status == 200 and again.audit["write"] is False
    nic = arm("GET", interface, version=NETWORK).document
    assert nic["properties"]["virtualMachine"]["id"] == found["id"]
    assert arm("DELETE", interface, version=NETWORK).code == "NicInUse"
    gone = arm("DELETE", vm_path(world, "made"))
    assert gone.status == 202
    while arm.follow(gone.headers["Azure-AsyncOperation"]).document["status"] != "Succeeded":
        pass
    assert arm("GET", vm_path(world, "made")).status == 404
    assert arm("GET", interface, version=NETWORK).status == 404
    assert arm("DELETE", vm_path(world, "made")).status == 204


def security(document: dict[str, t.Any]) -> dict[str, t.Any]:
    return t.cast(dict[str, t.Any], document["properties"]["securityProfile"])


def disk(document: dict[str, t.Any]) -> dict[str, t.Any]:
    return t.cast(dict[str, t.Any], document["properties"]["storageProfile"]["osDisk"]["managedDisk"])


REFUSED: list[tuple[Change, str]] = [
    (lambda d: security(d)["uefiSettings"].update(vTpmEnabled=False), "vTpmEnabled"),
    (lambda d: security(d).update(securityType="TrustedLaunch"), "security type"),
    (lambda d: disk(d).pop("securityProfile"), "securityEncryptionType"),
    (lambda d: d["properties"]["hardwareProfile"].update(vmSize="Standard_D2s_v5"), "security type"),
    (lambda d: d["properties"]["hardwareProfile"].update(vmSize="Standard_X1"), "not available"),
    (lambda d: d["properties"]["networkProfile"].update(networkInterfaces=[]), "network interface"),
    (lambda d: d["properties"]["networkProfile"]["networkInterfaces"][0].update(id="/x"), "not found"),
    (lambda d: d["properties"]["osProfile"].update(adminUsername="root"), "not allowed"),
    (lambda d: d["properties"]["osProfile"].pop("linuxConfiguration"), "SSH"),
    (lambda d: d["properties"]["storageProfile"]["imageReference"].update(sku="server"), "image"),
    (lambda d: d["properties"]["storageProfile"]["osDisk"].pop("createOption"), "createOption"),
    (lambda d: d["properties"].update(vmSize="x"), "vmSize"),
    (lambda d: d.update(zones=["9"]), "zones"),
    (lambda d: disk(d)["securityProfile"].update(securityEncryptionType="DiskWithVMGuestState")
        or security(d)["uefiSettings"].update(secureBootEnabled=False), "secureBootEnabled"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "text"), REFUSED)
def test_what_cannot_be_made(arm: Caller, world: World, interface: str, change: Change, text: str) -> None:
    wanted = body(interface)
    change(wanted)
    refused = arm("PUT", vm_path(world, "made"), wanted)
    assert refused.status in (400, 404, 409) and text in refused.message, refused
    assert "made" not in world.vms


def test_what_cannot_be_changed(arm: Caller, world: World, interface: str) -> None:
    made = arm("PUT", vm_path(world, "made"), body(interface))
    arm.follow(made.headers["Azure-AsyncOperation"])
    other = body(interface)
    disk(other)["securityProfile"]["securityEncryptionType"] = "NonPersistedTPM"
    assert arm("PUT", vm_path(world, "made"), other).code == "PropertyChangeNotAllowed"
    bigger = body(interface, "Standard_DC4as_v5")
    assert arm("PUT", vm_path(world, "made"), bigger).code == "OperationNotAllowed"
    second = body(interface)
    assert arm("PUT", vm_path(world, "second"), second).code == "NicInUse"


def test_sizes_by_region(arm: Caller, world: World) -> None:
    where = f"{arm.subscription}/providers/Microsoft.Compute/skus"
    listed = arm.every(arm("GET", where, version="2021-07-01", query={"$filter": "location eq 'northeurope'"}))
    kinds = {one["name"]: one["capabilities"][-1]["value"] for one in listed}
    assert kinds["Standard_DC2as_v5"] == "SNP" and "Standard_DC2es_v5" not in kinds


def test_networks(arm: Caller, world: World, interface: str) -> None:
    where = network(world, "virtualNetworks", "vnet")
    assert arm("DELETE", where, version=NETWORK).code == "InUseCannotBeDeleted"
    bad = {"location": "westeurope", "properties": {"addressSpace": {"addressPrefixes": ["nowhere"]}}}
    assert arm("PUT", network(world, "virtualNetworks", "v2"), bad, NETWORK).code == "InvalidAddressPrefixFormat"
    inner = {"ipConfigurations": [{"name": "a", "properties": {"subnet": {"id": f"{where}/subnets/none"}}}]}
    lost = arm(
        "PUT", network(world, "networkInterfaces", "n2"), {"location": "westeurope", "properties": inner}, NETWORK
    )
    assert lost.code == "InvalidResourceReference"
    assert arm("GET", network(world, "networkSecurityGroups", "g"), version=NETWORK).status == 404
    group = {"location": "westeurope", "properties": {"securityRules": []}}
    assert arm("PUT", network(world, "networkSecurityGroups", "g"), group, NETWORK).status == 201
    assert len(arm.every(arm("GET", network(world, "networkSecurityGroups", "")[:-1], version=NETWORK))) == 1


def test_disk_encryption_sets_need_a_key_in_a_protected_vault(arm: Caller, world: World, interface: str) -> None:
    assert arm("PUT", vault_path(world), vault_body(world), VAULT).status == 201
    version = "ab" * 16
    world.keys[("kv-test", "disk")] = Key("disk", "kv-test", [KeyVersion(version, "RSA-HSM", None, [], 0, 0)])
    where = f"/subscriptions/{world.subscription_id}/resourceGroups/rg-test/providers/Microsoft.Compute/diskEncryptionSets/d"
    wanted: dict[str, t.Any] = {
        "location": "westeurope",
        "identity": {"type": "SystemAssigned"},
        "properties": {
            "encryptionType": "ConfidentialVmEncryptedWithCustomerKey",
            "activeKey": {
                "keyUrl": f"https://kv-test.vault.azure.net/keys/disk/{version}",
                "sourceVault": {"id": world.vaults["kv-test"].id},
            },
        },
    }
    assert arm("PUT", where, wanted, DISKS).code == "KeyVaultNotPurgeProtected"
    world.vaults["kv-test"].purge_protection = True
    lost = copy.deepcopy(wanted)
    lost["properties"]["activeKey"]["keyUrl"] = "https://kv-test.vault.azure.net/keys/disk/" + "00" * 16
    assert arm("PUT", where, lost, DISKS).code == "KeyVaultKeyNotFound"
    made = arm("PUT", where, wanted, DISKS)
    assert made.status == 200 and made.document["identity"]["principalId"] in world.principals
    again = arm("PUT", where, wanted, DISKS)
    assert again.audit["write"] is False and again.document["identity"] == made.document["identity"]
    vm = body(interface)
    disk(vm)["securityProfile"] = {
        "securityEncryptionType": "DiskWithVMGuestState", "diskEncryptionSet": {"id": made.document["id"]},
    }  # fmt: skip
    assert arm("PUT", vm_path(world, "made"), vm).status == 201
    assert arm("DELETE", where, version=DISKS).code == "OperationNotAllowed"
