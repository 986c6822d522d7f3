# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory plugin: hosts, variables and groups as ansible-inventory shows them, and what it costs."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from labkit import Lab, environment

from skrsim.lab.plan import LOCATION, RESOURCE_GROUP


def show(lab: Lab, folder: Path, **options: Any) -> subprocess.CompletedProcess[str]:
    path = folder / "azure_cvm.yml"
    path.touch(mode=0o600)
    path.write_text(json.dumps({"plugin": "confidential.azure_skr.cvm", **lab.azure(), **options}))
    return subprocess.run(
        ["ansible-inventory", "-i", str(path), "--list"], capture_output=True, text=True, env=environment(), check=False
    )


def inventory(lab: Lab, folder: Path, **options: Any) -> dict[str, Any]:
    done = show(lab, folder, **options)
    assert done.returncode == 0 and "WARNING" not in done.stderr, done.stderr
    # What comes from Azure is no template: Ansible marks it so.
    found: dict[str, Any] = json.loads(done.stdout, object_hook=lambda one: one.get("__ansible_unsafe", one))
    return found


def test_hosts_variables_and_groups(local_lab: Lab, tmp_path: Path) -> None:
    local_lab.module("cvm_identity", **local_lab.azure(), resource_group=RESOURCE_GROUP, vms=["cvm-01"])
    local_lab.module("cvm", **local_lab.azure(), resource_group=RESOURCE_GROUP, name="listed", location=LOCATION,
                     ssh_public_keys=["ssh-ed25519 AAAA"], tags={"role": "web"})  # fmt: skip
    mark = local_lab.mark
    found = inventory(
        local_lab, tmp_path,
        keyed_groups=[{"prefix": "tee", "key": "tee_type"}, {"prefix": "role", "key": "azure_tags.role | default('')"}],
        conditional_groups={"fit": "problems | length == 0"}, groups={"lab": "true"},
        compose={"skr_attestation_url": "authority"}, hostvar_expressions={"place": "resource_group ~ '/' ~ location"},
    )  # fmt: skip
    requests = local_lab.audit(mark, service="arm")
    assert sorted(one["operation"] for one in requests) == ["default_providers", "graph_query", "graph_query"]
    assert not [one for one in requests if one["write"]]
    assert set(local_lab.hosts) <= set(found["cvm"]["hosts"]) and "listed" in found["cvm"]["hosts"]
    assert set(found["tee_sevsnpvm"]["hosts"]) >= set(local_lab.hosts) and found["role_web"]["hosts"] == ["listed"]
    fit = set(found["fit"]["hosts"]) & {*local_lab.hosts, "listed"}  # other tests leave VMs of their own
    assert fit == {"cvm-01", "listed"} and set(found["lab"]["hosts"]) >= set(local_lab.hosts)
    variables = found["_meta"]["hostvars"]
    one, made = variables["cvm-01"], variables["listed"]
    assert one["principal_id"] and one["vm_id"] == one["vm_id"].lower() and one["powerstate"] == "running"
    assert one["place"] == f"{RESOURCE_GROUP}/{LOCATION}" and one["security_type"] == "ConfidentialVM"
    assert one["skr_attestation_url"] == one["authority"] == local_lab.variables["skr_attestation_url"]
    assert made["ansible_host"] == made["private_ipv4_addresses"][0] and made["azure_tags"] == {"role": "web"}
    assert made["problems"] == [] and "skr_vm_name" not in made


def test_filters_names_and_other_vms(local_lab: Lab, tmp_path: Path) -> None:
    running = inventory(local_lab, tmp_path, exclude_host_filters=["azure_name == 'cvm-02'", "powerstate != 'running'"])
    assert "cvm-02" not in running["cvm"]["hosts"] and "cvm-03" in running["cvm"]["hosts"]
    named = inventory(local_lab, tmp_path, plain_host_names=False, include_vm_resource_groups=[RESOURCE_GROUP])
    (first,) = [host for host in named["cvm"]["hosts"] if host.startswith("cvm-01_")]
    assert len(first) == len("cvm-01_") + 4 and named["_meta"]["hostvars"][first]["skr_vm_name"] == "cvm-01"
    assert "cvm" not in inventory(local_lab, tmp_path, include_vm_resource_groups=["rg-elsewhere"])


def test_what_was_kept_is_not_asked_again(local_lab: Lab, tmp_path: Path) -> None:
    keep = {"cache": True, "cache_plugin": "ansible.builtin.jsonfile", "cache_connection": str(tmp_path / "kept")}
    first = inventory(local_lab, tmp_path, **keep)
    mark = local_lab.mark
    assert inventory(local_lab, tmp_path, **keep) == first and local_lab.audit(mark, service="arm") == []
    kept = "".join(path.read_text() for path in (tmp_path / "kept").iterdir())
    assert str(local_lab.azure()["secret"]) not in kept


@pytest.mark.parametrize(
    ("options", "texts"),
    [
        ({"include_vm_resource_groups": ["a'b"]}, ["include_vm_resource_groups", "a'b"]),
        ({"secret": "wrong"}, ["AADSTS7000215"]),
        ({"strict": True, "compose": {"x": "nothing_there"}}, ["nothing_there"]),
        ({"strict": True, "exclude_host_filters": ["nothing_there == 1"]}, ["nothing_there"]),
    ],
)
def test_what_is_wrong_is_told(local_lab: Lab, tmp_path: Path, options: dict[str, Any], texts: list[str]) -> None:
    done = show(local_lab, tmp_path, **options)
    assert all(text in done.stderr for text in texts), done.stderr
    assert "Traceback" not in done.stderr and str(local_lab.azure()["secret"]) not in done.stderr + done.stdout


def test_credentials_from_the_environment(local_lab: Lab, tmp_path: Path) -> None:
    given = local_lab.azure()
    names = {"subscription_id": "AZURE_SUBSCRIPTION_ID", "tenant": "AZURE_TENANT", "client_id": "AZURE_CLIENT_ID",
             "secret": "AZURE_SECRET"}  # fmt: skip
    path = tmp_path / "cvm.yml"
    path.write_text(json.dumps({"plugin": "confidential.azure_skr.cvm", "ca_path": given["ca_path"],
                                "https_proxy": given["https_proxy"]}))  # fmt: skip
    env = environment() | {variable: given[option] for option, variable in names.items()}
    done = subprocess.run(["ansible-inventory", "-i", str(path), "--list"], capture_output=True, text=True, env=env,
                          check=False)  # fmt: skip
    assert done.returncode == 0 and "cvm-01" in json.loads(done.stdout)["cvm"]["hosts"], done.stderr
    assert os.environ.get("AZURE_SECRET") is None
