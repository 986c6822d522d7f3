# SPDX-License-Identifier: GPL-3.0-or-later
"""Set-up scenarios through the playbook: first set-up, check mode, Standard vault, late grants."""

from __future__ import annotations

import re

from integration.site import Site, vault_name
from labkit import Lab

from skrsim.lab.inventory import release_policy
from skrsim.lab.plan import LOCATION, RESOURCE_GROUP


def changes(output: str) -> int:
    return sum(int(number) for number in re.findall(r"changed=(\d+)", output))


def test_first_set_up_then_no_change(local_lab: Lab) -> None:
    """AC-01: Premium vault, exportable HSM key with the policy, grants; the second run changes and writes nothing."""
    vault = vault_name()
    variables = {"skr_vault_name": vault}
    first = local_lab.playbook("provision", "--limit", "cvm-01,cvm-02", variables=variables)
    assert first.returncode == 0, first.stdout
    assert changes(first.stdout) >= 3
    mark = local_lab.mark
    second = local_lab.playbook("provision", "--limit", "cvm-01,cvm-02", variables=variables)
    assert second.returncode == 0, second.stdout
    assert changes(second.stdout) == 0
    assert local_lab.writes(mark) == []
    key = local_lab.module(
        "exportable_key",
        **local_lab.azure(),
        vault_uri=f"https://{vault}.vault.azure.net",
        key_name="app-key",
        key_size=2048,
    )
    assert key["key"]["exportable"] and key["key"]["key_type"] == "RSA-HSM"
    stored = local_lab.call("key", vault=vault, key="app-key")["policy"]
    # The vault keeps booleans as text; read back through the module it equals the wanted policy by meaning.
    again = local_lab.module(
        "exportable_key",
        **local_lab.azure(),
        vault_uri=f"https://{vault}.vault.azure.net",
        key_name="app-key",
        release_policy=release_policy(),
    )
    assert stored["anyOf"][0]["allOf"][3]["equals"] == "false" and not again["changed"]


def test_check_mode_writes_nothing_and_shows_the_plan(local_lab: Lab) -> None:
    """AC-02: no write; the difference shows key, attributes and decoded policy."""
    mark = local_lab.mark
    done = local_lab.playbook("site", "--limit", "cvm-05", variables={"skr_vault_name": vault_name()}, check=True)
    assert done.returncode == 0, done.stdout
    assert local_lab.writes(mark) == []
    assert changes(done.stdout) >= 2
    for shown in (
        "premium",
        "RSA-HSM",
        "exportable",
        "x-ms-isolation-tee.x-ms-sevsnpvm-is-debuggable",
        "azure-compliant-cvm",
    ):
        assert shown in done.stdout


def test_standard_vault_is_refused_before_any_write(local_lab: Lab) -> None:
    """AC-03: vault_sku, naming the SKU found and wanted."""
    name = vault_name()
    made = local_lab.module(
        "key_vault",
        **local_lab.azure(),
        name=name,
        resource_group=RESOURCE_GROUP,
        location=LOCATION,
        sku="standard",
        enable_rbac_authorization=False,
        key_managers=["self"],
    )
    assert made["changed"]
    mark = local_lab.mark
    result = local_lab.module(
        "exportable_key",
        **local_lab.azure(),
        vault_uri=f"https://{name}.vault.azure.net",
        key_name="app",
        release_policy=release_policy(),
    )
    assert result["failed"] and result["reason"] == "vault_sku"
    assert "standard" in result["msg"] and "premium" in result["msg"]
    assert local_lab.writes(mark) == []


def test_grant_keeps_other_entries_and_release_waits_by_trying(local_lab: Lab) -> None:
    """AC-07: without the grant the release fails with permission_missing; a late grant is waited for by observation."""
    site = Site(local_lab, vms=("cvm-01", "cvm-02"))
    refused = site.release("cvm-01")
    assert refused["failed"] and refused["reason"] == "permission_missing"
    assert refused["facts"]["principal_id"] == site.principals[0] and "release" in refused["msg"]
    assert site.grant(principals=site.principals[:1])["changed"]
    local_lab.call("delays", values={"late": {site.principals[1]: 4}})
    assert site.grant(principals=site.principals[1:])["changed"]
    first = site.release("cvm-01")
    assert not first.get("failed") and first["waited_s"] == 0, first
    late = site.release("cvm-02", wait_for_grant=60)
    assert not late.get("failed"), late
    assert 0 < late["waited_s"] < 15
    # The wait ended on the first effective trial: refused releases, then an allowed one, and no attestation in between.
    tries = [r["decision"] for r in local_lab.audit(service="keyvault", operation="key_release", vm="cvm-02")]
    assert tries[-1] == "allowed" and tries[-2] == "refused"


def test_role_grant_at_key_scope(local_lab: Lab) -> None:
    """AC-07 with Azure RBAC: the failure names the role; the grant is for one key."""
    site = Site(local_lab, vms=("cvm-02",), rbac=True)
    refused = site.release("cvm-02")
    assert refused["reason"] == "permission_missing" and "Key Vault Crypto Service Release User" in refused["msg"]
    granted = site.grant(scope="key", key_name="app")
    assert granted["changed"] and granted["grant_model"] == "rbac" and granted["scope"].endswith("/keys/app")
    mark = local_lab.mark
    again = site.grant(scope="key", key_name="app")
    assert not again["changed"] and local_lab.writes(mark) == []
    assert not site.release("cvm-02").get("failed")
    wrong = site.grant(grant_model="access_policy")
    assert wrong["reason"] == "grant_model_mismatch"
