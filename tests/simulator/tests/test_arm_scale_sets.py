# SPDX-License-Identifier: GPL-3.0-or-later
"""Scale sets of confidential VMs are made, grown and upgraded as the service does it, by the unmodified SDK too."""

from __future__ import annotations

import copy
import typing as t

import pytest
from arm_caller import COMPUTE, Caller
from azure.core.exceptions import HttpResponseError
from azure.identity import ClientSecretCredential
from azure.mgmt.compute import ComputeManagementClient

from skrsim.core.app import App
from skrsim.core.running import Running
from skrsim.core.world import Principal, World

NETWORK = "2024-07-01"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEHm"
Change = t.Callable[[dict[str, t.Any]], t.Any]


@pytest.fixture
def arm(app: App, operator: Principal) -> Caller:
    return Caller(app, operator)


@pytest.fixture
def subnet(arm: Caller) -> str:
    where = f"{arm.subscription}/resourceGroups/rg-test/providers/Microsoft.Network/virtualNetworks/vnet"
    space = {"addressSpace": {"addressPrefixes": ["10.0.0.0/16"]}}
    inside = {"subnets": [{"name": "default", "properties": {"addressPrefix": "10.0.0.0/24"}}]}
    assert arm("PUT", where, {"location": "westeurope", "properties": {**space, **inside}}, NETWORK).status == 201
    return f"{where}/subnets/default"


def path(arm: Caller, name: str) -> str:
    return f"{arm.subscription}/resourceGroups/rg-test/providers/Microsoft.Compute/virtualMachineScaleSets/{name}"


def body(subnet: str) -> dict[str, t.Any]:
    address = {"name": "a", "properties": {"subnet": {"id": subnet}}}
    image = {"publisher": "Canonical", "offer": "ubuntu-24_04-lts", "sku": "cvm", "version": "latest"}
    keys = [{"path": "/home/azureuser/.ssh/authorized_keys", "keyData": KEY}]
    return {
        "location": "westeurope",
        "sku": {"name": "Standard_DC2as_v5", "tier": "Standard", "capacity": 2},
        "properties": {
            "orchestrationMode": "Uniform",
            "upgradePolicy": {"mode": "Manual"},
            "virtualMachineProfile": {
                "securityProfile": {
                    "securityType": "ConfidentialVM",
                    "uefiSettings": {"secureBootEnabled": True, "vTpmEnabled": True},
                },
                "storageProfile": {
                    "imageReference": image,
                    "osDisk": {
                        "createOption": "FromImage",
                        "managedDisk": {
                            "storageAccountType": "Premium_LRS",
                            "securityProfile": {"securityEncryptionType": "VMGuestStateOnly"},
                        },
                    },
                },
                "osProfile": {
                    "computerNamePrefix": "web-",
                    "adminUsername": "azureuser",
                    "linuxConfiguration": {"disablePasswordAuthentication": True, "ssh": {"publicKeys": keys}},
                },
                "networkProfile": {
                    "networkInterfaceConfigurations": [
                        {"name": "nic", "properties": {"primary": True, "ipConfigurations": [address]}}
                    ]
                },
            },
        },
    }


def profile(document: dict[str, t.Any]) -> dict[str, t.Any]:
    return t.cast(dict[str, t.Any], document["properties"]["virtualMachineProfile"])


def interfaces(document: dict[str, t.Any]) -> list[dict[str, t.Any]]:
    found = profile(document)["networkProfile"]["networkInterfaceConfigurations"]
    return t.cast(list[dict[str, t.Any]], found)


REFUSED: list[tuple[Change, str]] = [
    (lambda d: d.pop("location"), "location"),
    (lambda d: d["sku"].update(name="Standard_D2s_v5"), "security type"),
    (lambda d: d["sku"].update(name="Standard_X1"), "not available"),
    (lambda d: d["sku"].update(capacity=1001), "capacity"),
    (lambda d: d["properties"].update(orchestrationMode="Flexible"), "Uniform"),
    (lambda d: d["properties"]["upgradePolicy"].update(mode="Sometimes"), "upgrade mode"),
    (lambda d: d.update(zones=["9"]), "zones"),
    (lambda d: profile(d).pop("securityProfile"), "security type"),
    (lambda d: profile(d)["securityProfile"]["uefiSettings"].update(vTpmEnabled=False), "vTpmEnabled"),
    (lambda d: profile(d)["storageProfile"]["osDisk"]["managedDisk"].pop("securityProfile"), "securityEncryptionType"),
    (lambda d: profile(d)["storageProfile"]["osDisk"].update(encryptionSettings={}), "encryptionSettings"),
    (lambda d: profile(d)["storageProfile"]["imageReference"].update(sku="server"), "image"),
    (lambda d: profile(d)["osProfile"].update(computerName="web"), "computerName"),
    (lambda d: profile(d)["osProfile"].pop("computerNamePrefix"), "computerNamePrefix"),
    (lambda d: profile(d)["osProfile"].update(adminUsername="root"), "not allowed"),
    (lambda d: profile(d)["networkProfile"].update(networkInterfaceConfigurations=[]), "primary"),
    (lambda d: interfaces(d)[0]["properties"].update(ipConfigurations=[]), "IP configuration"),
    (lambda d: interfaces(d)[0]["properties"]["ipConfigurations"][0]["properties"].update(subnet={"id": "/x"}),
     "not found"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "text"), REFUSED)
def test_what_cannot_be_made(arm: Caller, world: World, subnet: str, change: Change, text: str) -> None:
    wanted = body(subnet)
    change(wanted)
    refused = arm("PUT", path(arm, "web"), wanted)
    assert refused.status in (400, 404, 409) and text in refused.message, refused
    assert world.scale_sets == {}


def test_instances_are_added_and_what_is_fixed_stays(arm: Caller, world: World, subnet: str) -> None:
    made = arm("PUT", path(arm, "web"), body(subnet))
    assert made.status == 201 and made.document["properties"]["provisioningState"] == "Creating"
    while arm.follow(made.headers["Azure-AsyncOperation"]).document["status"] != "Succeeded":
        pass
    grown = arm("PATCH", path(arm, "web"), {"sku": {"name": "Standard_DC2as_v5", "capacity": 4}})
    assert grown.status == 200 and grown.audit["write"] is True and grown.document["sku"]["capacity"] == 4
    again = arm("PATCH", path(arm, "web"), {"sku": {"capacity": 4}})
    assert again.audit["write"] is False
    assert world.scale_sets[path(arm, "web").lower()].latest == {"0", "1", "2", "3"}
    for change in ({"sku": {"name": "Standard_DC4as_v5"}}, {"zones": ["1"]}, {"properties": {"overprovision": True}}):
        assert arm("PATCH", path(arm, "web"), change).code == "OperationNotAllowed"
    assert arm("DELETE", path(arm, "web")).status == 200 and arm("DELETE", path(arm, "web")).status == 204


def test_identities_are_taken_and_instances_follow(
    app: App, running: Running, operator: Principal, subnet: str
) -> None:
    world = app.world
    door: dict[str, t.Any] = {"proxies": {"https": running.proxy_url()}, "connection_verify": str(running.bundle)}
    credential = ClientSecretCredential(world.tenant_id, operator.app_id, str(operator.secret), **door)
    sets = ComputeManagementClient(credential, world.subscription_id, **door).virtual_machine_scale_sets
    wanted = body(subnet)
    sets.begin_create_or_update("rg-test", "fleet", wanted, polling_interval=0).result()
    with pytest.raises(HttpResponseError):
        sets.begin_create_or_update(
            "rg-test",
            "odd",
            {**copy.deepcopy(wanted), "sku": {"name": "Standard_D2s_v5", "capacity": 1}},
            polling_interval=0,
        ).result()
    changed = sets.begin_update(
        "rg-test", "fleet", {"identity": {"type": "SystemAssigned"}}, polling_interval=0
    ).result()
    assert changed.identity.principal_id in world.principals
    (found,) = world.scale_sets.values()
    assert found.latest == set()
    sets.begin_update_instances("rg-test", "fleet", {"instanceIds": ["*"]}, polling_interval=0).result()
    assert found.latest == {"0", "1"}
    assert COMPUTE and [one.name for one in sets.list("rg-test")] == ["fleet"]
