# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook revoke at the local door: three actions in three planes of permissions, and what must not count as proof."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import uuid
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from integration.site import Site, ready
from labkit import Lab
from sentinel import Sentinel

from ansible_collections.confidential.azure_skr.plugins.filter.release_policy import release_policy
from ansible_collections.confidential.azure_skr.plugins.module_utils.azure.clients import connection
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.reasons import REASONS
from skrsim.lab.plan import AUTHORITY, LOCATION, RESOURCE_GROUP

UNITS = ("azure-skr@app.service", "azure-skr-renew@app.service", "azure-skr-renew@app.timer")
CRYPTO_USER = "21dbd100-6940-42c2-9190-5d6cb909625b"
ADMINISTRATOR = "00482a5a-887f-4fb3-b363-3b7fe8e74483"


@dataclasses.dataclass
class Button:
    """The playbook against one site, and the statement that it leaves."""

    lab: Lab
    where: dict[str, Any]
    folder: Path

    def __post_init__(self) -> None:
        self.units = self.folder / "units"
        self.units.mkdir(exist_ok=True)

    def press(
        self, *suspects: str, check: bool = False, words: tuple[str, ...] = (), **variables: Any
    ) -> subprocess.CompletedProcess[str]:
        given = {
            "skr_key_name": "app", "boot_release_unit_dir": str(self.units), "skr_revoke_wait": 0,
            "skr_revoke_dest": str(self.folder / "statements"), **self.where, **variables,
        }  # fmt: skip
        for old in (self.folder / "statements").glob("*"):
            old.unlink()
        limit = ("--limit", ",".join(suspects)) if suspects else ()
        return self.lab.playbook("revoke", *limit, *words, variables=given, check=check)

    @property
    def statement(self) -> dict[str, Any]:
        (path,) = (self.folder / "statements").glob("*.json")
        assert path.with_suffix(".md").read_text().startswith("# Revocation")
        assert path.stat().st_mode & 0o777 == 0o600
        found: dict[str, Any] = json.loads(path.read_text())
        assert {one["reason"] for one in found["hosts"]} <= {None, *REASONS}
        return found

    def verdicts(self) -> dict[str, str]:
        return {one["host"]: one["verdict"] for one in self.statement["hosts"]}


def button(site: Site, folder: Path) -> Button:
    policy = {"skr_vault_name": site.vault, "skr_resource_group": RESOURCE_GROUP, "skr_release_policy": site.policy}
    return Button(site.lab, policy, folder)


def delivered(site: Site, vm: str) -> tuple[Path, Sentinel]:
    """The key where the inventory says, and what to look for wherever it must not be."""
    place = Path(site.lab.hosts[vm]["skr_dest"])
    assert site.release(vm, dest=str(place))["public_key_sha256"] == site.key["public_key_sha256"]
    key = serialization.load_pem_private_key(place.read_bytes(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return place, Sentinel(key)


def by_id(*vm_ids: str) -> dict[str, Any]:
    parameters = {"authority": AUTHORITY, "vm_unique_ids": list(vm_ids)}
    return dict(release_policy(parameters))


def vm_id(lab: Lab, vm: str) -> str:
    found = lab.module("cvm_identity", check=True, **lab.azure(), resource_group=RESOURCE_GROUP, vms=[vm])
    return str(found["vms"][0]["vm_id"])


# --- ungrant


@pytest.mark.parametrize("rbac", [False, True], ids=["access_policy", "rbac"])
def test_ungrant(local_lab: Lab, tmp_path: Path, rbac: bool) -> None:
    site = Site(local_lab, vms=("cvm-01", "cvm-02"), rbac=rbac)
    if rbac:  # at the key too: both have to go
        assert site.grant(scope="key", key_name="app")["changed"]
    assert site.grant()["changed"]
    place, sentinel = delivered(site, "cvm-01")
    pressed, mark = button(site, tmp_path), local_lab.mark
    planned = pressed.press("cvm-01", check=True)
    assert planned.returncode == 0, planned.stdout
    assert "PLANNED" in planned.stdout and "release: []" in planned.stdout and "to be removed" in planned.stdout
    assert local_lab.writes(mark) == [] and place.exists() and not list(pressed.units.iterdir())
    assert local_lab.audit(mark, operation="key_release") == []
    mark = local_lab.mark
    done = pressed.press("cvm-01", words=("-vvv",))
    assert done.returncode == 0, done.stdout
    assert pressed.verdicts() == {"cvm-01": "proved"}
    assert len(local_lab.writes(mark)) == (2 if rbac else 1)
    said = pressed.statement
    assert said["changed"] and said["proved"] and said["hosts"][0]["found"] == "permission_missing"
    assert len(said["stopped"]) == (2 if rbac else 1) and "cvm-01" in said["stopped"][0]
    assert not place.exists()
    assert {one.name: os.readlink(one) for one in pressed.units.iterdir()} == dict.fromkeys(UNITS, "/dev/null")
    assert sentinel.found_in((done.stdout + done.stderr).encode()) == []
    assert sentinel.files([tmp_path], set(), 0) == []
    assert site.release("cvm-01")["reason"] == "permission_missing"
    assert "kid" in site.release("cvm-02"), "another VM keeps its permission"
    mark = local_lab.mark
    again = pressed.press("cvm-01")
    assert again.returncode == 0 and "changed=0" in again.stdout, again.stdout
    assert local_lab.writes(mark) == [] and not pressed.statement["changed"] and pressed.statement["proved"]


def test_ungrant_in_a_managed_hsm(local_lab: Lab, tmp_path: Path) -> None:
    azure, name = local_lab.azure(), "hsm-skr-revoke"
    place = {"resource_group": RESOURCE_GROUP, "name": name}
    local_lab.module("managed_hsm", **azure, **place, location=LOCATION, soft_delete_retention_days=7)
    local_lab.call("hsm_activate", name=name)
    local_lab.call("hsm_role", name=name, role=CRYPTO_USER)
    uri = f"https://{name}.managedhsm.azure.net"
    policy = local_lab.variables["skr_release_policy"]
    local_lab.module("exportable_key", **azure, hsm_uri=uri, key_name="app", key_size=2048, release_policy=policy)
    local_lab.module("cvm_identity", **azure, resource_group=RESOURCE_GROUP, vms=["cvm-01"])
    grant = {"hsm_uri": uri, "vms": ["cvm-01"], "vm_resource_group": RESOURCE_GROUP}
    assert local_lab.module("release_access", **azure, **grant, scope="key", key_name="other")["changed"]
    assert local_lab.module("release_access", **azure, **grant)["changed"]
    pressed = Button(local_lab, {"skr_hsm_uri": uri}, tmp_path)
    done = pressed.press("cvm-01")
    assert done.returncode == 0 and pressed.verdicts() == {"cvm-01": "proved"}, done.stdout
    assert [one["scope"] for one in pressed.statement["elsewhere"]] == ["/keys/other"]
    mark = local_lab.mark
    assert pressed.press("cvm-01").returncode == 0 and local_lab.writes(mark) == []


def test_permission_that_vanishes_late_is_waited_for(local_lab: Lab, tmp_path: Path) -> None:
    site = ready(local_lab, rbac=True)
    delivered(site, "cvm-01")
    local_lab.call("delays", values={"lingering": {"cvm-01": 3600}})
    mark = local_lab.mark
    local_lab.forget_after_a_release(mark, 5)
    done = button(site, tmp_path).press("cvm-01", skr_revoke_wait=90)
    assert done.returncode == 0, done.stdout
    (host,) = button(site, tmp_path).statement["hosts"]
    assert host["verdict"] == "proved" and host["waited_s"] > 3
    asked = local_lab.audit(mark, operation="key_release")
    decided = [record["decision"] for record in asked]
    assert "allowed" in decided and decided[-1] == "refused"
    assert not Path(local_lab.hosts["cvm-01"]["skr_dest"]).exists(), "what the probe was given is delivered nowhere"


def test_one_that_is_still_released_fails_loudly(local_lab: Lab, tmp_path: Path) -> None:
    site = ready(local_lab)
    local_lab.call("delays", values={"lingering": {"cvm-01": 3600}})
    done = button(site, tmp_path).press("cvm-01", skr_revoke_wait=3)
    assert done.returncode == 2 and "STILL RELEASED" in done.stdout and "AT ONCE" in done.stdout
    assert "revocation_not_effective" in done.stdout.rpartition("No proof, or not cleaned up")[2]
    (host,) = button(site, tmp_path).statement["hosts"]
    assert (host["verdict"], host["by_state"]["holds"]) == ("not_effective", True) and host["waited_s"] >= 3


def test_refusal_for_another_reason_is_no_proof(local_lab: Lab, tmp_path: Path) -> None:
    site = ready(local_lab)
    deny = {"defaultAction": "Deny", "bypass": "None", "ipRules": [], "virtualNetworkRules": []}
    local_lab.call("vault", name=site.vault, values={"network_acls": deny})
    done = button(site, tmp_path).press("cvm-01", skr_revoke_wait=60)
    assert done.returncode == 2 and "vault_firewall and not permission_missing" in done.stdout.replace(
        "\n        ", " "
    )
    (host,) = button(site, tmp_path).statement["hosts"]
    assert (host["verdict"], host["found"], host["by_state"]["holds"]) == ("not_proved", "vault_firewall", True)
    assert host["waited_s"] < 5, "a refusal that does not pass is not waited for"


def test_wider_role_remains_and_is_told(local_lab: Lab, tmp_path: Path) -> None:
    site = ready(local_lab, rbac=True)
    azure = connection({**local_lab.azure(), "auth_source": "auto"}, {})
    scope = f"/subscriptions/{azure.subscription_id}/resourceGroups/{RESOURCE_GROUP}"
    definition = f"{scope}/providers/Microsoft.Authorization/roleDefinitions/{ADMINISTRATOR}"
    properties = {
        "roleDefinitionId": definition,
        "principalId": site.principals[0],
        "principalType": "ServicePrincipal",
    }
    path = f"{scope}/providers/Microsoft.Authorization/roleAssignments/{uuid.uuid4()}"
    azure.put(path, "2022-04-01", {"properties": properties}, "a role")
    try:
        done = button(site, tmp_path).press("cvm-01")
        assert done.returncode == 2 and "Key Vault Administrator" in done.stdout
        said = button(site, tmp_path).statement
        assert said["hosts"][0]["verdict"] == "not_effective" and not said["hosts"][0]["by_state"]["holds"]
        assert [one["role"] for one in said["remaining"]] == ["Key Vault Administrator"]
        assert "above the vault" in said["remaining"][0]["why"]
    finally:
        azure.delete(path, "2022-04-01", "a role")


def test_shared_identity_needs_a_word(local_lab: Lab, tmp_path: Path) -> None:
    azure = local_lab.azure()
    place = {"resource_group": RESOURCE_GROUP, "location": LOCATION, "user_assigned": ["id-revoke"]}
    local_lab.module("cvm_identity", **azure, **place, vms=["cvm-04", "cvm-05"])
    site = Site(local_lab, vms=("cvm-01",))
    assert site.grant(principals=[], identities=["id-revoke"])["changed"]
    mark = local_lab.mark
    refused = button(site, tmp_path).press("cvm-04")
    assert refused.returncode == 2 and "id-revoke is also that of cvm-05" in refused.stdout, refused.stdout
    assert "skr_revoke_shared: true" in refused.stdout and local_lab.writes(mark) == []
    both = button(site, tmp_path).press("cvm-04", "cvm-05", check=True)
    assert both.returncode == 0, "nobody else has it when all that have it are suspects"
    done = button(site, tmp_path).press("cvm-04", skr_revoke_shared=True)
    assert done.returncode == 0 and button(site, tmp_path).verdicts() == {"cvm-04": "proved"}, done.stdout
    assert "cvm-05" in button(site, tmp_path).statement["stopped"][0]
    (tried,) = button(site, tmp_path).statement["hosts"][0]["identities"][-1:]
    assert tried["reason"] == "permission_missing"


# --- disable


def test_disable_all_versions_and_one(local_lab: Lab, tmp_path: Path) -> None:
    site = ready(local_lab, vms=("cvm-01", "cvm-02"))
    first = site.key["key_version"]
    second = site.ensure_key(rotate=True)["key_version"]
    pressed, mark = button(site, tmp_path), local_lab.mark
    one = pressed.press("cvm-01", skr_revoke_action="disable", skr_key_version=first)
    assert one.returncode == 0 and len(local_lab.writes(mark)) == 1, one.stdout
    said = pressed.statement
    assert said["stopped"] == [f"disabled: version {first}"] and said["hosts"][0]["found"] == "key_disabled"
    assert site.release("cvm-02")["key_version"] == second
    mark = local_lab.mark
    planned = pressed.press("cvm-01", skr_revoke_action="disable", check=True)
    assert planned.returncode == 0 and second in planned.stdout and local_lab.writes(mark) == []
    done = pressed.press("cvm-01", skr_revoke_action="disable", skr_revoke_cleanup=False)
    assert done.returncode == 0 and "EVERYBODY is refused" in done.stdout, done.stdout
    assert "left in place as evidence" in done.stdout
    assert site.release("cvm-02")["reason"] == "key_disabled"
    mark = local_lab.mark
    again = pressed.press("cvm-01", skr_revoke_action="disable")
    assert again.returncode == 0 and local_lab.writes(mark) == [] and "changed=0" in again.stdout
    assert pressed.verdicts() == {"cvm-01": "proved"}


# --- narrow


def test_narrow_by_vm_id(local_lab: Lab, tmp_path: Path) -> None:
    ids = [vm_id(local_lab, vm) for vm in ("cvm-01", "cvm-02")]
    site = ready(local_lab, vms=("cvm-01", "cvm-02"), release_policy=by_id(*ids))
    delivered(site, "cvm-01")
    pressed, mark = button(site, tmp_path), local_lab.mark
    planned = pressed.press("cvm-01", skr_revoke_action="narrow", check=True)
    assert planned.returncode == 0 and local_lab.writes(mark) == [], planned.stdout
    assert f"-{' ' * 24}equals: {ids[0].upper()}" in planned.stdout or ids[0].upper() in planned.stdout
    mark = local_lab.mark
    done = pressed.press("cvm-01", skr_revoke_action="narrow")
    assert done.returncode == 0 and len(local_lab.writes(mark)) == 1, done.stdout
    said = pressed.statement
    assert said["hosts"][0]["found"] == "policy_not_met" and said["hosts"][0]["by_state"]["holds"]
    assert ids[0] in said["stopped"][0]
    # The policy given is the old one, and kept from being asked: only the vault's own refusal counts.
    refused = local_lab.audit(mark, operation="key_release", vm="cvm-01")
    assert [record["decision"] for record in refused] == ["refused"]
    assert "kid" in site.release("cvm-02", release_policy=by_id(ids[1]))
    mark = local_lab.mark
    again = pressed.press("cvm-01", skr_revoke_action="narrow")
    assert again.returncode == 0 and local_lab.writes(mark) == [] and "changed=0" in again.stdout


def test_narrow_is_refused_where_it_would_keep_nobody_away(local_lab: Lab, tmp_path: Path) -> None:
    site = ready(local_lab)
    pressed, mark = button(site, tmp_path), local_lab.mark
    unbound = pressed.press("cvm-01", skr_revoke_action="narrow")
    assert unbound.returncode == 2 and "policy_binds_no_vm" in unbound.stdout and "skr_revoke_policy" in unbound.stdout
    wider = {"version": "1.0.0", "anyOf": [{"authority": AUTHORITY, "allOf": [{"claim": "x", "equals": 1}]}]}
    refused = pressed.press("cvm-01", skr_revoke_action="narrow", skr_revoke_policy=wider)
    assert refused.returncode == 2 and "policy_not_narrower" in refused.stdout
    assert local_lab.writes(mark) == [] and not list(pressed.units.iterdir()), "no suspect was touched"
    # A narrower policy that names no VM: by the state it cannot be told, the probe alone proves it.
    narrower = json.loads(json.dumps(site.policy))
    narrower["anyOf"][0]["allOf"].append({"claim": "x-ms-azurevm-osversion-major", "greater": 1000})
    done = pressed.press("cvm-01", skr_revoke_action="narrow", skr_revoke_policy=narrower)
    assert done.returncode == 0 and pressed.statement["hosts"][0]["by_state"]["holds"] is None, done.stdout


def test_narrow_is_refused_for_an_immutable_policy(local_lab: Lab, tmp_path: Path) -> None:
    ids = [vm_id(local_lab, vm) for vm in ("cvm-01", "cvm-02")]
    site = ready(local_lab, release_policy=by_id(*ids), immutable=True, confirm_immutable=True)
    mark = local_lab.mark
    done = button(site, tmp_path).press("cvm-01", skr_revoke_action="narrow")
    assert done.returncode == 2 and "policy_immutable" in done.stdout and "ungrant or disable" in done.stdout
    assert local_lab.writes(mark) == []


# --- who is asked


def test_nobody_named_is_refused(local_lab: Lab, tmp_path: Path) -> None:
    mark = local_lab.mark
    done = Button(local_lab, {}, tmp_path).press()
    assert done.returncode == 2 and "all 6 hosts of the group cvm would be suspects" in done.stdout
    assert local_lab.audit(mark) == []


def test_it_works_when_no_suspect_answers(local_lab: Lab, tmp_path: Path) -> None:
    site = ready(local_lab, vms=("cvm-01", "cvm-02"))
    away = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 9}
    inventory = tmp_path / "away.yml"
    inventory.write_text(json.dumps({"all": {"hosts": {"cvm-01": away, "cvm-02": away}}}))
    mark = local_lab.mark
    done = button(site, tmp_path).press("cvm-01", "cvm-02", words=("-i", str(inventory)))
    assert done.returncode not in (0, 1), done.stdout
    assert len(local_lab.writes(mark)) == 1 and site.release("cvm-01")["reason"] == "permission_missing"
    said = button(site, tmp_path).statement
    assert said["unreachable"] == ["cvm-01", "cvm-02"] and "Reach cvm-01, cvm-02" in said["next_steps"][0]
    assert all("not probed" in one["message"] and one["by_state"]["holds"] for one in said["hosts"])
