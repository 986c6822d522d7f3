# SPDX-License-Identifier: GPL-3.0-or-later
"""`make bench`: what the collection costs, counted by the simulator and not by the code under measurement.

Prints a table, writes .bench/results.json, and ends with 1 when a limit does not hold.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / ".collections")]
from benchmarks.agent import agent_costs  # noqa: E402  # found through the line above
from benchmarks.fleet import control_costs, fleet_costs  # noqa: E402
from benchmarks.rollouts import resume  # noqa: E402
from benchmarks.ssh_fleet import HOSTS, ssh_costs  # noqa: E402
from labkit import Lab, environment, lab  # noqa: E402

OUTPUT = ROOT / ".bench"
ROUNDS = 7
VAULT = {"skr_vault_name": "kv-skr-bench-6", "skr_enable_rbac_authorization": False}


def measure(name: str, value: float, unit: str, limit: float) -> dict[str, Any]:
    return {"name": name, "value": value, "unit": unit, "limit": limit, "holds": value <= limit}


def provision(made: Lab, vms: list[str], vault: str) -> int:
    """Provision a vault with access policies for these VMs; returns the writes of grants."""
    mark = made.mark
    variables = {"skr_vault_name": vault, "skr_enable_rbac_authorization": False}
    done = made.playbook("provision", "--limit", ",".join(vms), variables=variables)
    assert done.returncode == 0, done.stdout
    return len(made.audit(mark, operation="access_policy", write=True))


def release_costs(made: Lab) -> list[dict[str, Any]]:
    """A release on a VM that has released before (it knows the authority's public keys), and the first one."""
    vm, vault = "cvm-01", "kv-skr-bench-6"
    options = made.guest(vm) | {
        "attestation_url": made.variables["skr_attestation_url"],
        "vault_uri": f"https://{vault}.vault.azure.net",
        "key_name": made.variables["skr_key_name"],
        "dest": made.hosts[vm]["skr_dest"],
        "release_policy": made.variables["skr_release_policy"],
    }
    requests = []
    shutil.rmtree(made.hosts[vm]["skr_cache_dir"])  # as on a VM that has never released
    # The first, one that knows the authority's keys and the host's chain, and one that has to look the policy up.
    for round_options in (options, options, {**options, "release_policy": None}):
        mark, before = made.mark, made.call("status")["vms"][vm]
        result = made.module("key_release", **round_options)
        assert not result.get("failed"), result
        requests.append(len(made.audit(mark, vm=vm)))
        after = made.call("status")["vms"][vm]
    created = after["tpm_names"].get("CreatePrimary", 0) - before["tpm_names"].get("CreatePrimary", 0)
    return [
        measure("release.create_primary", created, "TPM keys", 1),
        measure("release.tpm_commands", after["tpm_commands"] - before["tpm_commands"], "commands", 30),
        measure("release.device_opens", after["tpm_opens"] - before["tpm_opens"], "opens", 2),
        measure("release.http_requests", requests[1], "requests", 4),
        measure("release.http_requests_live_policy", requests[2], "requests", 4),
        measure("release.http_requests_first", requests[0], "requests", 5),
    ]


def site_costs(made: Lab) -> list[dict[str, Any]]:
    few = provision(made, ["cvm-01", "cvm-02"], "kv-skr-bench-2")
    many = provision(made, list(made.hosts), "kv-skr-bench-6")
    mark = made.mark
    made.playbook("site", variables=VAULT)
    mark = made.mark
    second = made.playbook("site", variables=VAULT)
    assert second.returncode == 0, second.stdout
    return [
        measure("site.grant_writes", max(few, many), f"writes for {len(made.hosts)} VMs", 2),
        measure("site.second_run_writes", len(made.writes(mark)), "writes", 0),
    ]


def module_start(made: Lab) -> list[dict[str, Any]]:
    """An exportable_key task without change over a ping task, in the same run; median of the pairs."""
    options = made.azure() | {
        "vault_uri": "https://kv-skr-bench-6.vault.azure.net",
        "key_name": made.variables["skr_key_name"],
        "release_policy": made.variables["skr_release_policy"],
        "accepted_findings": made.variables["skr_accepted_findings"],
    }
    pair = [
        {"name": "ping", "ansible.builtin.ping": {}},
        {"name": "key", "confidential.azure_skr.exportable_key": options},
    ]
    play: dict[str, Any] = {"name": "Pairs", "hosts": "localhost", "connection": "local", "gather_facts": False}
    play |= {"vars": {"ansible_python_interpreter": sys.executable}, "tasks": pair * (ROUNDS + 1)}
    book, durations = made.directory / "pairs.yml", made.directory / "durations.jsonl"
    book.touch(mode=0o600)
    book.write_text(json.dumps([play]))
    variables = {
        "SKR_DURATIONS": str(durations),
        "ANSIBLE_CALLBACK_PLUGINS": str(Path(__file__).with_name("callback_plugins")),
        "ANSIBLE_CALLBACKS_ENABLED": "durations",
    }
    command = ["ansible-playbook", "-i", "localhost,", str(book)]
    subprocess.run(command, check=True, capture_output=True, env=environment() | variables)
    taken = [json.loads(line)["seconds"] for line in durations.read_text().splitlines()][2:]  # the first pair warms up
    ratios = [key / ping for ping, key in zip(taken[::2], taken[1::2], strict=True)]
    return [measure("module_start.ratio_to_ping", round(statistics.median(ratios), 2), "ratio", 4)]


POLICY = """\
import json, sys, time
from azure_skr.policy import evaluate, model
from unit.policy import tokens
claim = lambda path, value: {"claim": path, "equals": value}
tee = "x-ms-isolation-tee"
near = [claim("x-ms-compliance-status", "azure-compliant-cvm"), claim("SecureBoot", True), claim(f"{tee}.vmuniqueid", "x")]
good = [claim(f"{tee}.x-ms-attestation-type", "sevsnpvm"), claim(f"{tee}.x-ms-sevsnpvm-is-debuggable", False)]
rules = [{"authority": tokens.ISSUER, "allOf": [*good, *near, claim("jti", str(n))]} for n in range(10)]
policy, claims = model.parse({"version": "1.0.0", "anyOf": rules}), tokens.snp()
times = []
for _round in range(300):
    start = time.perf_counter()
    evaluate.evaluate(policy, claims).as_dict()
    times.append(time.perf_counter() - start)
print(sorted(times)[len(times) // 2] * 1000)
"""


def policy_costs() -> list[dict[str, Any]]:
    """Evaluation with trace (ten branches, none met, every one with near misses); and the import of the rooms that a
    release needs, and of all.
    """
    OUTPUT.mkdir(exist_ok=True)
    package = OUTPUT / "azure_skr"
    package.unlink(missing_ok=True)
    package.symlink_to(ROOT / "plugins" / "module_utils")
    env = environment() | {"PYTHONPATH": f"{OUTPUT}:{ROOT / 'tests'}"}
    # Users' machines keep compiled code, and so does every round but the first.
    env.pop("PYTHONDONTWRITEBYTECODE", None)

    def run(*words: str) -> str:
        done = subprocess.run([sys.executable, *words], check=True, capture_output=True, text=True, env=env)
        return done.stdout

    def seconds(code: str) -> float:
        start = time.perf_counter()
        run("-c", code)
        return time.perf_counter() - start

    def more(rooms: str) -> float:
        """Milliseconds over an empty interpreter, the best of pairs in turn: the rest is the machine's own business."""
        pairs = [(seconds("pass"), seconds(f"from azure_skr.policy import {rooms}")) for _round in range(15)][1:]
        empty, whole = (min(times) for times in zip(*pairs, strict=True))
        return round((whole - empty) * 1000, 1)

    needed = "canonical, compare, evaluate, failure, messages, model, notable, reasons"
    imports = [
        measure("policy.import_ms", more(needed), "ms over an empty interpreter", 15),
        measure("policy.import_all_ms", more(f"{needed}, build, explain, lint"), "ms over an empty interpreter", 30),
    ]
    evaluated = float(run("-c", POLICY))
    package.unlink()
    return [
        measure("policy.evaluate_ms", round(evaluated, 3), "ms, 10 branches", 1),
        *imports,
    ]


def main() -> int:
    with lab("--vms", "6", "--door", "local") as made:
        results = [*site_costs(made), *release_costs(made), *module_start(made), *policy_costs()]
        results += [measure(*row) for row in (*agent_costs(made), *control_costs(made), *fleet_costs(made))]
        results += [measure(*row) for row in resume(made, VAULT, each=1)]
    if os.geteuid() == 0:
        with lab("--vms", str(HOSTS), "--door", "ssh") as made:
            results += [measure(*row) for row in ssh_costs(made)]
    else:
        print("the rows fleet.* need root: ssh hosts have network namespaces and mounts of their own")
    order = [
        "release.",
        "agent.",
        "site.",
        "module_start.",
        "control.",
        "policy.",
        "identity500.",
        "grants500.",
        "inventory500.",
        "fleet500.",
        "fleet.",
        "resume.",
    ]
    results.sort(key=lambda row: next(place for place, start in enumerate(order) if row["name"].startswith(start)))
    OUTPUT.mkdir(exist_ok=True)
    (OUTPUT / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    print(f"{'cost':<32}{'value':>8}{'limit':>8}  unit")
    for row in results:
        print(
            f"{row['name']:<32}{row['value']:>8}{row['limit']:>8}  {row['unit']}{'' if row['holds'] else '   DOES NOT HOLD'}"
        )
    return 0 if all(row["holds"] for row in results) else 1


if __name__ == "__main__":
    sys.exit(main())
