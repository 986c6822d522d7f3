# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules cvm and disk_encryption_set, and identities of scale sets, against the services."""

from __future__ import annotations

from typing import Any

import pytest
from labkit import Lab

from skrsim.lab.inventory import release_policy
from skrsim.lab.plan import LOCATION, RESOURCE_GROUP

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEHmTestTestTestTestTestTestTestTestTest ops@example"


def cvm(lab: Lab, name: str, check: bool = False, **options: Any) -> dict[str, Any]:
    wanted = {"resource_group": RESOURCE_GROUP, "location": LOCATION, "ssh_public_keys": [KEY], **options}
    given = {option: value for option, value in wanted.items() if value is not None}
    return lab.module("cvm", check=check, diff=True, **lab.azure(), name=name, **given)


def test_made_in_a_simple_network_and_not_again(local_lab: Lab) -> None:
    mark = local_lab.mark
    planned = cvm(local_lab, "made-01", check=True)
    assert planned["changed"] and local_lab.writes(mark) == []
    assert planned["diff"]["after"]["security_type"] == "ConfidentialVM" and planned["vm"]["tee_type"] == "sevsnpvm"
    made = cvm(local_lab, "made-01", tags={"n": 1})
    assert made["changed"] and made["network_made"][-1] == "interface", made
    vm = made["vm"]
    assert vm["problems"] == [] and vm["principal_id"] and vm["vm_id"] and vm["tags"] == {"n": "1"}
    assert vm["secure_boot_enabled"] and vm["v_tpm_enabled"] and vm["security_encryption_type"] == "VMGuestStateOnly"
    mark = local_lab.mark
    again = cvm(local_lab, "made-01", tags={"n": 1}, size="standard_dc2as_v5", secure_boot_enabled=True)
    assert not again["changed"] and local_lab.writes(mark) == []
    assert [one["operation"] for one in local_lab.audit(mark, service="arm")] == ["vm_get"]
    mark = local_lab.mark
    changed = cvm(local_lab, "made-01", tags={})
    assert changed["changed"] and changed["vm"]["tags"] == {} and changed["vm"]["principal_id"] == vm["principal_id"]
    assert [one["operation"] for one in local_lab.writes(mark)] == ["vm_patch"]
    second = cvm(local_lab, "made-02")
    assert second["network_made"] == ["interface"]
    for name in ("made-01", "made-02"):
        mark = local_lab.mark
        assert cvm(local_lab, name, check=True, state="absent")["changed"] and local_lab.writes(mark) == []
        assert cvm(local_lab, name, state="absent")["changed"]
        mark = local_lab.mark
        assert not cvm(local_lab, name, state="absent")["changed"] and local_lab.writes(mark) == []
    assert cvm(local_lab, "made-01")["network_made"] == ["interface"]  # it went with the VM, the network stays


def test_tdx_on_a_given_interface_with_an_identity(local_lab: Lab) -> None:
    first = cvm(local_lab, "nic-owner")
    local_lab.module("cvm_identity", **local_lab.azure(), resource_group=RESOURCE_GROUP, vms=["nic-owner"],
                     user_assigned=["id-cvm"], location=LOCATION)  # fmt: skip
    cvm(local_lab, "nic-owner", state="absent")
    interface = (
        first["vm"]["id"].split("/providers/")[0] + "/providers/Microsoft.Network/networkInterfaces/nic-owner-nic"
    )
    missing = cvm(local_lab, "tdx-01", network_interface_id=interface)
    assert missing["reason"] in ("resource_not_found", "service_error", "invalid_request"), missing
    local_lab.call("resource", kind="interface", id=interface)
    made = cvm(local_lab, "tdx-01", size="Standard_DC2es_v5", network_interface_id=interface, user_assigned=["id-cvm"],
               zone="2", security_encryption_type="NonPersistedTPM")  # fmt: skip
    assert made["changed"] and made["vm"]["tee_type"] == "tdxvm" and made["network_made"] == [], made
    assert [one["id"].rpartition("/")[2] for one in made["vm"]["user_assigned"]] == ["id-cvm"]
    for options, option in (
        ({"size": "Standard_DC4es_v5"}, "size"),
        ({"security_encryption_type": "VMGuestStateOnly"}, "security_encryption_type"),
        ({"secure_boot_enabled": False}, "secure_boot_enabled"),
        ({"zone": "1"}, "zone"),
        ({"location": "northeurope"}, "location"),
    ):
        mark = local_lab.mark
        refused = cvm(local_lab, "tdx-01", **options)
        assert (refused["reason"], refused["facts"]["option"]) == ("vm_fixed", option), refused
        assert local_lab.writes(mark) == []


@pytest.mark.parametrize(
    ("options", "reason", "option"),
    [
        ({"size": "Standard_D2s_v5"}, "size_not_confidential", "size"),
        ({"size": "Standard_DC2es_v5", "location": "northeurope"}, "size_not_confidential", "size"),
        ({"location": None}, "invalid_input", "location"),
        ({"ssh_public_keys": []}, "invalid_input", "ssh_public_keys"),
        ({"ssh_public_keys": ["-----BEGIN OPENSSH PRIVATE KEY----- SENTINEL"]}, "invalid_input", "ssh_public_keys"),
        ({"admin_username": "root"}, "invalid_input", "admin_username"),
        ({"zone": "4"}, "invalid_input", "zone"),
        ({"disk_encryption_set_id": "/x"}, "invalid_input", "security_encryption_type"),
        (
            {"security_encryption_type": "DiskWithVMGuestState", "secure_boot_enabled": False},
            "invalid_input",
            "secure_boot_enabled",
        ),
        ({"image": {"publisher": "Canonical"}}, "invalid_input", "image"),
    ],
)
def test_what_cannot_be_made(local_lab: Lab, options: dict[str, Any], reason: str, option: str) -> None:
    mark = local_lab.mark
    refused = cvm(local_lab, "never", **options)
    assert (refused["reason"], refused["facts"]["option"]) == (reason, option), refused
    assert "SENTINEL" not in refused["msg"] and local_lab.writes(mark) == []


def test_what_was_made_before_a_failure_is_told_and_used_again(local_lab: Lab) -> None:
    with local_lab.fault("status", service="arm", operation="vm_put", code=409, body={
            "error": {"code": "QuotaExceeded", "message": "Operation could not be completed as it results in exceeding "
                                                          "approved Total Regional Cores quota."}}):  # fmt: skip
        failed = cvm(local_lab, "quota-01")
    assert failed["failed"] and failed["changed"] is True and "interface" in failed["facts"]["network_made"]
    assert "quota" in failed["msg"]
    done = cvm(local_lab, "quota-01")
    assert done["changed"] and done["network_made"] == []


def test_os_disk_with_a_customer_key(local_lab: Lab) -> None:
    azure, group = local_lab.azure(), {"resource_group": RESOURCE_GROUP, "location": LOCATION}
    vault = local_lab.module("key_vault", **azure, **group, name="kv-skr-disk", purge_protection=True)
    key = local_lab.module("exportable_key", **azure, vault_uri=vault["vault_uri"], key_name="disk",
                           key_size=2048, release_policy=release_policy())  # fmt: skip
    wanted = {**group, "name": "des-01", "key_url": key["kid"], "vault_id": vault["vault"]["id"]}
    mark = local_lab.mark
    assert local_lab.module("disk_encryption_set", check=True, **azure, **wanted)["changed"]
    assert local_lab.writes(mark) == []
    made = local_lab.module("disk_encryption_set", **azure, **wanted)
    assert made["changed"] and made["disk_encryption_set"]["principal_id"], made
    mark = local_lab.mark
    assert not local_lab.module("disk_encryption_set", **azure, **wanted)["changed"] and local_lab.writes(mark) == []
    vm = cvm(local_lab, "disk-01", security_encryption_type="DiskWithVMGuestState",
             disk_encryption_set_id=made["disk_encryption_set"]["id"])  # fmt: skip
    assert vm["vm"]["disk_encryption_set_id"] == made["disk_encryption_set"]["id"]
    used = local_lab.module(
        "disk_encryption_set", **azure, name="des-01", resource_group=RESOURCE_GROUP, state="absent"
    )
    assert used["reason"] == "conflict" and "in use" in used["msg"]
    bad = local_lab.module("disk_encryption_set", **azure, **{**wanted, "key_url": "https://kv/keys/a"})
    assert (bad["reason"], bad["facts"]["option"]) == ("invalid_input", "key_url")
    cvm(local_lab, "disk-01", state="absent")
    gone = {**azure, "name": "des-01", "resource_group": RESOURCE_GROUP, "state": "absent"}
    assert local_lab.module("disk_encryption_set", **gone)["changed"]
    mark = local_lab.mark
    assert not local_lab.module("disk_encryption_set", **gone)["changed"] and local_lab.writes(mark) == []


def test_identities_of_a_scale_set(local_lab: Lab) -> None:
    local_lab.call("resource", kind="scale_set", name="fleet", capacity=3)
    azure, group = local_lab.azure(), {"resource_group": RESOURCE_GROUP}
    mark = local_lab.mark
    planned = local_lab.module("cvm_identity", check=True, diff=True, **azure, **group, scale_sets=["fleet"])
    assert planned["changed"] and local_lab.writes(mark) == []
    made = local_lab.module("cvm_identity", **azure, **group, scale_sets=["fleet"], vms=["cvm-01"])
    kinds = {one["name"]: one for one in made["vms"]}
    assert kinds["fleet"]["kind"] == "scale_set" and kinds["fleet"]["principal_id"]
    assert "next upgrade" in str(made["warnings"])
    mark = local_lab.mark
    again = local_lab.module("cvm_identity", **azure, **group, scale_sets=["fleet"])
    assert not again["changed"] and local_lab.writes(mark) == []
    mark = local_lab.mark
    taken = local_lab.module("cvm_identity", **azure, **group, scale_sets=["fleet"], state="absent",
                             upgrade_instances=True)  # fmt: skip
    assert taken["changed"] and "next upgrade" not in str(taken.get("warnings"))
    assert [one["operation"] for one in local_lab.writes(mark)] == ["scale_set_patch", "scale_set_upgrade"]
    missing = local_lab.module("cvm_identity", **azure, **group, scale_sets=["none"])
    assert missing["reason"] == "resource_not_found" and "scale set none" in missing["msg"]


def scale_set(lab: Lab, name: str, check: bool = False, **options: Any) -> dict[str, Any]:
    wanted = {"resource_group": RESOURCE_GROUP, "location": LOCATION, "ssh_public_keys": [KEY], **options}
    return lab.module("cvm_scale_set", check=check, diff=True, **lab.azure(), name=name, **wanted)


def test_a_scale_set_is_made_grown_and_deleted(local_lab: Lab) -> None:
    mark = local_lab.mark
    planned = scale_set(local_lab, "web", check=True, capacity=2)
    assert planned["changed"] and local_lab.writes(mark) == [] and planned["diff"]["after"]["capacity"] == 2
    made = scale_set(local_lab, "web", capacity=2, zones=["1", "2"], upgrade_mode="Rolling", tags={"n": 1})
    found = made["scale_set"]
    assert made["changed"] and found["problems"] == [] and found["principal_id"] and found["capacity"] == 2, made
    assert found["tee_type"] == "sevsnpvm" and found["security_encryption_type"] == "VMGuestStateOnly"
    assert found["subnet_id"].endswith("/virtualNetworks/cvm-network/subnets/default")
    mark = local_lab.mark
    again = scale_set(local_lab, "web", capacity=2, zones=["2", "1"], size="standard_dc2as_v5", tags={"n": 1})
    assert not again["changed"] and local_lab.writes(mark) == []
    mark = local_lab.mark
    grown = scale_set(local_lab, "web", capacity=5, tags={})
    assert grown["changed"] and grown["scale_set"]["capacity"] == 5 and grown["scale_set"]["tags"] == {}
    assert grown["scale_set"]["principal_id"] == found["principal_id"]
    assert [one["operation"] for one in local_lab.writes(mark)] == ["scale_set_patch"]
    for options, option in (
        ({"size": "Standard_DC4as_v5"}, "size"),
        ({"upgrade_mode": "Manual"}, "upgrade_mode"),
        ({"zones": ["3"]}, "zones"),
        ({"secure_boot_enabled": False}, "secure_boot_enabled"),
        ({"subnet_id": found["subnet_id"] + "2"}, "subnet_id"),
        ({"location": "northeurope"}, "location"),
    ):
        mark = local_lab.mark
        refused = scale_set(local_lab, "web", **options)
        assert (refused["reason"], refused["facts"]["option"]) == ("vm_fixed", option), refused
        assert local_lab.writes(mark) == []
    local_lab.module("key_vault", **local_lab.azure(), name="kv-skr-set", resource_group=RESOURCE_GROUP,
                     location=LOCATION)  # fmt: skip
    granted = local_lab.module("release_access", **local_lab.azure(), vault_name="kv-skr-set",
                               resource_group=RESOURCE_GROUP, scale_sets=["web"])  # fmt: skip
    assert granted["changed"] and granted["principals"][0]["principal_id"] == found["principal_id"]
    assert scale_set(local_lab, "web", state="absent")["changed"]
    mark = local_lab.mark
    assert not scale_set(local_lab, "web", state="absent")["changed"] and local_lab.writes(mark) == []


@pytest.mark.parametrize(
    ("options", "reason", "option"),
    [
        ({"capacity": 1001}, "invalid_input", "capacity"),
        ({"zones": ["4"]}, "invalid_input", "zones"),
        ({"subnet_id": "default"}, "invalid_input", "subnet_id"),
        ({"name": "-web"}, "invalid_input", "name"),
        ({"ssh_public_keys": []}, "invalid_input", "ssh_public_keys"),
        ({"security_encryption_type": "DiskWithVMGuestState", "secure_boot_enabled": False}, "invalid_input",
         "secure_boot_enabled"),
        ({"size": "Standard_D2s_v5"}, "size_not_confidential", "size"),
    ],
)  # fmt: skip
def test_a_scale_set_that_cannot_be(local_lab: Lab, options: dict[str, Any], reason: str, option: str) -> None:
    mark = local_lab.mark
    refused = scale_set(local_lab, **{"name": "not-made", **options})
    assert (refused["reason"], refused["facts"]["option"]) == (reason, option), refused
    assert local_lab.writes(mark) == []
