# SPDX-License-Identifier: GPL-3.0-or-later
"""Managed HSMs through the modules: made, activated once, keys and local roles, and a release in a guest."""

from __future__ import annotations

import json
import os
import stat
import uuid
from pathlib import Path
from typing import Any

import pytest
from labkit import Lab

from skrsim.lab.inventory import release_policy
from skrsim.lab.plan import AUTHORITY, LOCATION, RESOURCE_GROUP

GROUP = {"resource_group": RESOURCE_GROUP}
CRYPTO_USER = "21dbd100-6940-42c2-9190-5d6cb909625b"


def made(lab: Lab, name: str, **options: Any) -> dict[str, Any]:
    wanted = {"name": name, "location": LOCATION, "soft_delete_retention_days": 7, **GROUP, **options}
    return lab.module("managed_hsm", diff=True, **lab.azure(), **wanted)


def activated(lab: Lab, name: str, folder: Path, **options: Any) -> dict[str, Any]:
    wanted = {"security_domain_file": str(folder / "domain.json"), "security_domain_keys_dir": str(folder), **options}
    given = {option: value for option, value in wanted.items() if value is not None}
    return lab.module("managed_hsm_activation", diff=True, **lab.azure(), **GROUP, name=name, **given)


@pytest.fixture(scope="module")
def hsm(shared_lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An active HSM, in which the operator may manage keys; that role is given as an administrator would by hand."""
    name = "hsm-skr-shared"
    made(shared_lab, name)
    activated(shared_lab, name, tmp_path_factory.mktemp("domain"))
    shared_lab.call("hsm_role", name=name, role=CRYPTO_USER)
    return f"https://{name}.managedhsm.azure.net"


def test_made_once_and_not_again(local_lab: Lab) -> None:
    mark = local_lab.mark
    planned = local_lab.module(
        "managed_hsm", check=True, diff=True, **local_lab.azure(), **GROUP, name="hsm-skr-one", location=LOCATION
    )
    assert planned["changed"] and local_lab.writes(mark) == [] and "activation_status" not in planned["hsm"]
    found = made(local_lab, "hsm-skr-one", tags={"n": 1})
    assert found["changed"] and found["hsm"]["provisioning_state"] == "Succeeded", found
    assert found["hsm"]["activation_status"] == "NotActivated"
    assert found["hsm_uri"] == "https://hsm-skr-one.managedhsm.azure.net"
    mark = local_lab.mark
    again = made(local_lab, "hsm-skr-one", tags={"n": 1}, administrators=["self"], sku="Standard_B1")
    assert not again["changed"] and local_lab.writes(mark) == []
    for options, option in (
        ({"sku": "Custom_B32"}, "sku"),
        ({"soft_delete_retention_days": 8}, "soft_delete_retention_days"),
        ({"administrators": [str(uuid.UUID(int=1))]}, "administrators"),
    ):
        refused = made(local_lab, "hsm-skr-one", **options)
        assert (refused["reason"], refused["facts"]["option"]) == ("hsm_fixed", option)
    changed = made(local_lab, "hsm-skr-one", tags={}, network_acls={"default_action": "deny"})
    assert changed["changed"] and changed["hsm"]["network_acls"]["default_action"] == "Deny"
    assert changed["hsm"]["tags"] == {}
    assert made(local_lab, "hsm-skr-one", network_acls={"default_action": "allow"})["reason"] == (
        "vault_weakening_refused"
    )


def test_one_in_the_making_is_waited_for(local_lab: Lab) -> None:
    with local_lab.fault("lro_slow", service="arm", operation="hsm_put", polls=30):
        started = made(local_lab, "hsm-skr-slow", wait=False)
    assert started["changed"] and started["hsm"]["provisioning_state"] == "Provisioning"
    mark = local_lab.mark
    looked = made(local_lab, "hsm-skr-slow", wait=False)
    assert not looked["changed"] and looked["hsm"]["provisioning_state"] == "Provisioning"
    early = made(local_lab, "hsm-skr-slow", wait_timeout=0.1)
    assert early["reason"] == "wait_timeout" and "no second one" in early["next_step"]
    assert local_lab.writes(mark) == []


def test_activation_writes_its_files_once_and_shows_none_of_it(local_lab: Lab, tmp_path: Path) -> None:
    name = "hsm-skr-act"
    made(local_lab, name)
    key = {"hsm_uri": f"https://{name}.managedhsm.azure.net", "key_name": "app", "release_policy": release_policy()}
    before = local_lab.module("exportable_key", **local_lab.azure(), **key)
    assert before["reason"] == "hsm_not_activated" and "managed_hsm_activation" in before["next_step"]
    mark = local_lab.mark
    planned = local_lab.module(
        "managed_hsm_activation", check=True, diff=True, **local_lab.azure(), **GROUP, name=name,
        security_domain_file=str(tmp_path / "domain.json"), security_domain_keys_dir=str(tmp_path),
    )  # fmt: skip
    assert planned["changed"] and local_lab.writes(mark) == [] and list(tmp_path.iterdir()) == []
    done = activated(local_lab, name, tmp_path, security_domain_passphrase="not to be seen")
    assert done["changed"] and done["activation_status"] == "Active", done
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["domain.json", *(f"security-domain-{n}.{end}" for n in (1, 2, 3) for end in ("key", "pem"))]
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert b"ENCRYPTED PRIVATE KEY" in (tmp_path / "security-domain-1.key").read_bytes()
    blob = json.loads((tmp_path / "domain.json").read_text())
    assert blob["SharedKeys"]["required"] == 2
    text = json.dumps(done)
    assert "EncData" not in text and "PRIVATE" not in text and "not to be seen" not in text
    mark = local_lab.mark
    again = activated(local_lab, name, tmp_path)
    assert not again["changed"] and local_lab.writes(mark) == []
    (tmp_path / "domain.json").unlink()
    without = activated(local_lab, name, tmp_path)
    assert not without["changed"] and "download_again" in str(without["warnings"])
    once_more = activated(local_lab, name, tmp_path, download_again=True)
    assert once_more["changed"] and (tmp_path / "domain.json").exists()


@pytest.mark.parametrize(
    ("options", "option"),
    [
        ({"security_domain_quorum": 1}, "security_domain_quorum"),
        ({"security_domain_quorum": 4}, "security_domain_quorum"),
        ({"security_domain_key_count": 2}, "security_domain_key_count"),
        ({"security_domain_file": "/nowhere/domain.json"}, "security_domain_file"),
        ({"security_domain_keys_dir": None, "security_domain_certificates": ["/a", "/b"]},
         "security_domain_certificates"),
        ({"security_domain_keys_dir": None, "security_domain_certificates": ["/a", "/b", "/c"]},
         "security_domain_certificates"),
    ],
)  # fmt: skip
def test_wrong_quorum_is_refused_before_anything(
    local_lab: Lab, tmp_path: Path, options: dict[str, Any], option: str
) -> None:
    mark = local_lab.mark
    refused = activated(local_lab, "hsm-skr-any", tmp_path, **options)
    assert (refused["reason"], refused["facts"]["option"]) == ("invalid_input", option)
    assert local_lab.audit(mark) == [] and list(tmp_path.iterdir()) == []


def test_a_foreign_file_is_never_overwritten(local_lab: Lab, tmp_path: Path) -> None:
    made(local_lab, "hsm-skr-foreign")
    (tmp_path / "domain.json").write_text("mine")
    refused = activated(local_lab, "hsm-skr-foreign", tmp_path)
    assert refused["reason"] == "security_domain" and (tmp_path / "domain.json").read_text() == "mine"


def test_the_whole_way_to_a_released_key(local_lab: Lab, hsm: str) -> None:
    azure = local_lab.azure()
    key = {"hsm_uri": hsm, "key_name": "app", "key_size": 2048, "release_policy": release_policy()}
    first = local_lab.module("exportable_key", diff=True, **azure, **key)
    assert first["changed"] and first["hsm_uri"] == hsm, first
    mark = local_lab.mark
    again = local_lab.module("exportable_key", diff=True, **azure, **key)
    assert not again["changed"] and local_lab.writes(mark) == []
    vms = local_lab.module("cvm_identity", **azure, **GROUP, vms=["cvm-01"])
    grant = {"hsm_uri": hsm, "scope": "key", "key_name": "app", "vms": ["cvm-01"], "vm_resource_group": RESOURCE_GROUP}
    mark = local_lab.mark
    planned = local_lab.module("release_access", check=True, diff=True, **azure, **grant)
    assert planned["changed"] and local_lab.writes(mark) == []
    granted = local_lab.module("release_access", diff=True, **azure, **grant)
    assert granted["changed"] and granted["grant_model"] == "hsm_local" and granted["scope"] == f"{hsm}/keys/app"
    (write,) = local_lab.writes(mark)
    assert write["operation"] == "local_role_put" and write["path"].startswith("/keys/app/providers/")
    mark = local_lab.mark
    assert not local_lab.module("release_access", diff=True, **azure, **grant)["changed"]
    assert local_lab.writes(mark) == []
    destination = str(local_lab.hosts["cvm-01"]["skr_dest"]).replace("app.pem", "hsm.pem")
    release = {"attestation_url": AUTHORITY, "hsm_uri": hsm, "key_name": "app", "dest": destination}
    for algorithm in ("CKM_RSA_AES_KEY_WRAP", "RSA_AES_KEY_WRAP_256"):
        done = local_lab.module("key_release", **local_lab.guest("cvm-01"), **release, wrap_algorithm=algorithm)
        assert done.get("public_key_sha256") == first["public_key_sha256"], done
    refused = local_lab.module("key_release", **local_lab.guest("cvm-02"), **release)
    assert refused["reason"] in ("permission_missing", "identity_not_found"), refused
    revoked = local_lab.module("release_access", **azure, **{**grant, "state": "absent"})
    assert revoked["changed"]
    denied = local_lab.module("key_release", **local_lab.guest("cvm-01"), **release)
    assert denied["reason"] == "permission_missing" and "Managed HSM Crypto Service Release User" in denied["msg"]
    assert vms["vms"][0]["principal_id"] in denied["msg"]


def test_grants_for_all_keys_exclusively_and_for_nobody(local_lab: Lab, hsm: str) -> None:
    azure, one, two = local_lab.azure(), str(uuid.UUID(int=11)), str(uuid.UUID(int=12))
    both = local_lab.module("release_access", **azure, hsm_uri=hsm, principals=[one, two])
    assert both["changed"] and both["scope"] == f"{hsm}/keys"
    alone = local_lab.module("release_access", **azure, hsm_uri=hsm, principals=[one], exclusive=True)
    assert alone["changed"] and alone["revoked"] == [two]
    below = local_lab.module("release_access", **azure, hsm_uri=hsm, principals=[one], scope="key", key_name="app",
                             state="absent")  # fmt: skip
    assert below["reason"] == "conflict" and "/keys" in below["msg"]
    nobody = local_lab.module("release_access", **azure, hsm_uri=hsm, everyone=True, state="absent")
    assert nobody["changed"] and [entry["principal_id"] for entry in nobody["principals"]] == [one]
    mark = local_lab.mark
    assert not local_lab.module("release_access", **azure, hsm_uri=hsm, everyone=True, state="absent")["changed"]
    assert local_lab.writes(mark) == []
    wrong = local_lab.module("release_access", **azure, hsm_uri=hsm, principals=[one], grant_model="rbac")
    assert wrong["reason"] == "grant_model_mismatch"


def test_oct_keys_and_attestation(local_lab: Lab, hsm: str) -> None:
    azure = local_lab.azure()
    wanted = {"hsm_uri": hsm, "key_name": "sym", "key_type": "oct-HSM", "release_policy": release_policy()}
    first = local_lab.module("exportable_key", **azure, **wanted)
    assert first["changed"] and first["key"]["key_type"] == "oct-HSM" and "public_key_pem" not in first
    assert not local_lab.module("exportable_key", **azure, **wanted)["changed"]
    told = local_lab.module("exportable_key_info", **azure, hsm_uri=hsm, key_name="sym", attestation=True)
    assert told["keys"][0]["attestation"]["certificate_pem"].startswith("-----BEGIN CERTIFICATE-----")
    elsewhere = {name: value for name, value in wanted.items() if name != "hsm_uri"}
    in_vault = local_lab.module("exportable_key", **azure, **elsewhere, vault_uri="https://kv-any.vault.azure.net")
    assert (in_vault["reason"], in_vault["facts"]["option"]) == ("invalid_input", "key_type")


def test_deleted_purged_recovered(local_lab: Lab) -> None:
    name, mark = "hsm-skr-gone", local_lab.mark
    made(local_lab, name)
    gone = made(local_lab, name, state="absent")
    assert gone["changed"] and gone["diff"]["after"] == {"state": "deleted"}
    assert not made(local_lab, name, state="absent")["changed"]
    assert made(local_lab, name)["reason"] == "vault_name_taken"
    back = made(local_lab, name, deleted_action="recover")
    assert back["changed"] and back["hsm"]["provisioning_state"] == "Succeeded"
    assert made(local_lab, name, state="purged")["changed"]
    mark = local_lab.mark
    assert not made(local_lab, name, state="purged")["changed"] and local_lab.writes(mark) == []
    assert made(local_lab, name, purge_protection=True)["changed"]
    protected = made(local_lab, name, state="purged")
    assert protected["reason"] == "purge_refused"
