# SPDX-License-Identifier: GPL-3.0-or-later
"""`make fleet`: five hundred VMs of the control plane and fifty ssh hosts in one lab, in less than ten minutes on two cores.

Each scenario is a function that takes the lab and returns rows of costs, or raises AssertionError; ``SCENARIOS`` is their
order. Prints what it does, writes .bench/fleet.json, and ends with 1 when a scenario fails or a limit does not hold.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / ".collections")]
from benchmarks import rollouts, ssh_fleet  # noqa: E402  # found through the line above
from benchmarks.fleet import VMS, control  # noqa: E402
from labkit import Lab, lab  # noqa: E402

from skrsim.lab.plan import RESOURCE_GROUP  # noqa: E402

OUTPUT = ROOT / ".bench"
MINUTES, ROUNDS = 10, 2
Measured = tuple[str, float, str, float]


def say(text: str) -> None:
    print(text, flush=True)


def provision(made: Lab) -> list[Measured]:
    """Vault, key, identities and grants for the ssh hosts by the playbook, beside five hundred VMs of others."""
    made.call("resource", kind="vms", count=VMS, prefix="web", group=RESOURCE_GROUP)
    done = made.playbook("provision")
    assert done.returncode == 0, done.stdout[-3000:]
    return []


def others(made: Lab) -> list[Measured]:
    """Identities and grants for the VMs that are in the control plane alone; Resource Manager lets ten writes a second pass."""
    mark, names = made.mark, [f"web-{number:04d}" for number in range(VMS)]
    identities = control(made, "cvm_identity", resource_group=RESOURCE_GROUP, vms=names)[2]
    principals = [vm["principal_id"] for vm in identities["vms"]]
    vault = {"vault_name": made.variables["skr_vault_name"], "resource_group": RESOURCE_GROUP}
    control(made, "release_access", **vault, principals=principals)
    asked = made.audit(mark, service="arm")
    assert len(made.audit(mark, operation="vm_patch", write=True)) == VMS
    refused = sum(one["status"] == 429 for one in asked)
    return [("fleet500.http_429_share", round(refused / len(asked), 4), f"of {len(asked)} requests", 0.02)]


def release(made: Lab) -> list[Measured]:
    """Every ssh host holds the key; at the documented limits, and what it takes beside a ping."""
    mark, vault = made.mark, made.variables["skr_vault_name"]
    made.call("throttling", on=True)
    pairs = ssh_fleet.turns(made, ROUNDS, say)
    made.call("throttling", on=False)
    released = made.audit(mark, service="keyvault", operation="key_release", decision="allowed")
    assert {one["vm"] for one in released} == set(made.hosts)
    refused, asked = ssh_fleet.refused_share(made, mark)
    ratio = statistics.median(job.wall / echo.wall for echo, job in pairs)
    return [
        ("fleet.release_over_ping", round(ratio, 2), f"ratio, {ssh_fleet.HOSTS} ssh hosts, {ROUNDS} rounds", 2.0),
        ("fleet.http_429_share", round(refused, 4), f"of {asked} requests of VMs", 0.02),
        ("fleet.vault_peak_10s", made.peak(vault, since=mark), "requests of a vault", 2000),
    ]


def budget(made: Lab) -> list[Measured]:
    return rollouts.budget(made, say, meanwhile=others)


def storm(made: Lab) -> list[Measured]:
    return rollouts.storm(made, say)


def canary(made: Lab) -> list[Measured]:
    return rollouts.canary(made, say)


def resume(made: Lab) -> list[Measured]:
    return rollouts.resume(made, tell=say)


def rotation(made: Lab) -> list[Measured]:
    return rollouts.rotation(made, say)


def audit(made: Lab) -> list[Measured]:
    return rollouts.audit(made, say)


SCENARIOS: list[Callable[[Lab], list[Measured]]] = [provision, release, budget, storm, canary, resume, rotation, audit]


def main() -> int:
    if os.geteuid() != 0:
        say("make fleet needs root: its hosts have network namespaces and mounts of their own")
        return 2
    start, rows, failed = time.monotonic(), list[Measured](), list[str]()
    say(f"== a lab with {ssh_fleet.HOSTS} ssh hosts")
    with lab("--vms", str(ssh_fleet.HOSTS), "--door", "ssh") as made:
        say(f"   up in {time.monotonic() - start:.1f} s")
        for scenario in SCENARIOS:
            began = time.monotonic()
            about = scenario.__doc__ or getattr(rollouts, scenario.__name__).__doc__
            say(f"== {scenario.__name__}: {about.splitlines()[0]}")
            try:
                rows += scenario(made)
            except AssertionError:
                traceback.print_exc()
                failed.append(scenario.__name__)
            say(f"   {time.monotonic() - began:.1f} s")
    rows.append(("fleet.minutes", round((time.monotonic() - start) / 60, 1), "minutes, all of it", MINUTES))
    OUTPUT.mkdir(exist_ok=True)
    results = [
        {"name": name, "value": value, "unit": unit, "limit": limit, "holds": value <= limit}
        for name, value, unit, limit in rows
    ]
    (OUTPUT / "fleet.json").write_text(json.dumps(results, indent=2) + "\n")
    for row in results:
        say(
            f"{row['name']:<32}{row['value']:>8}{row['limit']:>8}  {row['unit']}{'' if row['holds'] else '   DOES NOT HOLD'}"
        )
    if failed:
        say(f"FAILED: {', '.join(failed)}")
    return 0 if not failed and all(row["holds"] for row in results) else 1


if __name__ == "__main__":
    sys.exit(main())
