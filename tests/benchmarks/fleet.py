# SPDX-License-Identifier: GPL-3.0-or-later
"""What five hundred VMs cost Resource Manager, and what a module without anything to do costs this machine."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from typing import Any

from labkit import MODULES, Lab, environment

from skrsim.lab.plan import LOCATION, RESOURCE_GROUP

VMS, PAGE = 500, 150
Measured = tuple[str, float, str, float]


def control(made: Lab, module: str, /, **options: Any) -> tuple[float, float, dict[str, Any]]:
    """A module as a process of its own: seconds of processor time, peak memory in MB, result."""
    arguments = {"ANSIBLE_MODULE_ARGS": {**made.azure(), **options}}
    process = subprocess.Popen(
        [sys.executable, "-m", f"{MODULES}.{module}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment()
    )
    assert process.stdin and process.stdout
    process.stdin.write(json.dumps(arguments).encode())
    process.stdin.close()
    result: dict[str, Any] = json.loads(process.stdout.read())
    _pid, _status, used = os.wait4(process.pid, 0)
    process.returncode = 0  # waited for already
    assert not result.get("failed"), result
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, result


def control_costs(made: Lab) -> list[Measured]:
    """The dearest of the modules that keep a site as it is, when there is nothing to do; of each the best of three."""
    vault = {"vault_name": "kv-skr-bench-6", "resource_group": RESOURCE_GROUP}
    uri = "https://kv-skr-bench-6.vault.azure.net"
    key = {"vault_uri": uri, "key_name": made.variables["skr_key_name"],
           "release_policy": made.variables["skr_release_policy"],
           "accepted_findings": made.variables["skr_accepted_findings"]}  # fmt: skip
    calls: list[tuple[str, dict[str, Any]]] = [
        ("key_vault", {"name": vault["vault_name"], "resource_group": RESOURCE_GROUP}),
        ("cvm_identity", {"vms": ["cvm-01", "cvm-02"], "resource_group": RESOURCE_GROUP}),
        ("exportable_key", key),
        ("release_access", {**vault, "vms": ["cvm-01", "cvm-02"]}),
    ]
    seconds, memory = [], []
    for name, options in calls:
        runs = [control(made, name, **options) for _round in range(3)]
        assert not any(result["changed"] for _seconds, _memory, result in runs), name
        seconds.append(min(run[0] for run in runs))
        memory.append(min(run[1] for run in runs))
    return [
        ("control.cpu_s", round(max(seconds), 2), "s, nothing to change", 0.6),
        ("control.peak_rss_mb", round(max(memory)), "MB, nothing to change", 70),
    ]


def inventory_requests(made: Lab) -> int:
    """What the inventory plugin asks Resource Manager for the fleet."""
    path = made.directory / "azure_cvm.yml"
    path.touch(mode=0o600)
    path.write_text(json.dumps({"plugin": "confidential.azure_skr.cvm", **made.azure()}))
    mark = made.mark
    done = subprocess.run(
        ["ansible-inventory", "-i", str(path), "--list"], capture_output=True, text=True, check=True, env=environment()
    )
    assert len(json.loads(done.stdout)["cvm"]["hosts"]) >= VMS, done.stderr
    return len(made.audit(mark, service="arm"))


def fleet_costs(made: Lab) -> list[Measured]:
    """Identities and grants for 500 VMs while Resource Manager counts requests and throttles."""
    made.call("resource", kind="vms", count=VMS, prefix="web", group=RESOURCE_GROUP)
    made.call("throttling", on=True)
    vms = [f"web-{number:04d}" for number in range(VMS)]
    identities = {"resource_group": RESOURCE_GROUP, "vms": vms}
    start = made.mark
    first = control(made, "cvm_identity", **identities)[2]
    assert sum(vm["changed"] for vm in first["vms"]) == VMS
    reads = [len(made.audit(start, operation="vm_list"))]
    patches = made.audit(start, operation="vm_patch", write=True)
    assert len(patches) == VMS, len(patches)
    mark = made.mark
    again = control(made, "cvm_identity", **identities)[2]
    assert not again["changed"]
    reads.append(len(made.audit(mark, service="arm")))
    unchanged = len(made.writes(mark))
    principals = [vm["principal_id"] for vm in again["vms"]]
    writes = []
    for rbac in (False, True):
        vault = f"kv-skr-fleet-{'rbac' if rbac else 'policy'}"
        control(made, "key_vault", **{"name": vault}, resource_group=RESOURCE_GROUP, location=LOCATION,
                enable_rbac_authorization=rbac)  # fmt: skip
        mark = made.mark
        control(made, "release_access", vault_name=vault, resource_group=RESOURCE_GROUP, principals=principals)
        writes.append(len(made.writes(mark)))
    listed = inventory_requests(made)
    asked = made.audit(start, service="arm")
    refused = [one for one in asked if one["status"] == 429]
    made.call("throttling", on=False)
    most = math.ceil(VMS / PAGE) + 1
    return [
        ("identity500.reads", max(reads), "requests, polls apart", most),
        ("identity500.writes_unchanged", unchanged, "requests", 0),
        ("grants500.vault_writes", writes[0], "requests, access policy", 1),
        ("grants500.role_writes", writes[1], "requests, one per VM", VMS),
        ("inventory500.requests", listed, "requests", 6),
        ("fleet500.http_429_share", round(len(refused) / len(asked), 4), f"of {len(asked)} requests", 0.02),
    ]
