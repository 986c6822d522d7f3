# SPDX-License-Identifier: GPL-3.0-or-later
"""What one release by the guest agent costs its VM: counted by the lab, and timed against what cannot be avoided."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from labkit import MODULES, Lab, environment

ROUNDS = 9
IMPORTS = "import requests, cryptography.x509"
Measured = tuple[str, float, str, float]


class Spent(NamedTuple):
    """What one process took: wall and user seconds, peak memory in MB."""

    wall: float
    user: float
    memory: float


def run(command: list[str], env: dict[str, str]) -> Spent:
    """Run a program to its end; it must succeed."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env)
    assert process.stdout and process.stderr
    told = process.stdout.read() + process.stderr.read()
    _pid, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, told
    return Spent(wall, used.ru_utime, used.ru_maxrss / 1024)


def configure(made: Lab, vm: str, vault: str) -> tuple[list[str], dict[str, str]]:
    """Install the agent for a VM of the local door; returns its command and its environment."""
    folder = Path(made.hosts[vm]["skr_dest"]).parent / "agent"
    folder.mkdir(parents=True, exist_ok=True)
    program, configuration = folder / "azure-skr", folder / "app.json"
    packer = f"{MODULES.rpartition('.')[0]}.module_utils.agent_archive"
    subprocess.run([sys.executable, "-m", packer, str(program)], check=True, env=environment())
    guest = made.guest(vm)
    proxy = guest.pop("https_proxy")  # its URL holds a password, which no configuration may
    options: dict[str, Any] = guest | {
        "attestation_url": made.variables["skr_attestation_url"],
        "vault_uri": f"https://{vault}.vault.azure.net",
        "key_name": made.variables["skr_key_name"],
        "release_policy": made.variables["skr_release_policy"],
        "dest": str(folder / "key" / "app.pem"),
        "state_dir": str(folder / "status"),
        "metrics_path": str(folder / "azure_skr_app.prom"),
    }
    configuration.write_text(json.dumps(options))
    configuration.chmod(0o644)
    command = [sys.executable, str(program), "release", "--config", str(configuration)]
    return command, {"PATH": "/usr/bin:/bin", "HTTPS_PROXY": proxy}


def agent_costs(made: Lab, vm: str = "cvm-01", vault: str = "kv-skr-bench-6") -> list[Measured]:
    """Counts of a release that follows others, and medians of rounds in which agent and imports take turns."""
    command, env = configure(made, vm, vault)
    imports = [sys.executable, "-c", IMPORTS]
    run(command, env)  # the first fetches the authority's keys and the host's chain
    run(imports, env)
    walls, users, memory = [], [], []
    counted: list[dict[str, float]] = []
    for _round in range(ROUNDS):
        bare = run(imports, env)
        mark, before = made.mark, made.call("status")["vms"][vm]
        spent = run(command, env)
        asked, after = made.audit(mark, vm=vm), made.call("status")["vms"][vm]
        tpm = after["tpm_seconds"] - before["tpm_seconds"]
        servers = sum(record["seconds"] for record in asked)
        walls.append(spent.wall / (tpm + servers + bare.wall))
        users.append(spent.user / bare.user)
        memory.append(spent.memory)
        counted.append(
            {
                "created": after["tpm_names"].get("CreatePrimary", 0) - before["tpm_names"].get("CreatePrimary", 0),
                "commands": after["tpm_commands"] - before["tpm_commands"],
                "opens": after["tpm_opens"] - before["tpm_opens"],
                "requests": len(asked),
                "connections": len({record["connection"] for record in asked}),
            }
        )
    most = {name: max(one[name] for one in counted) for name in counted[0]}
    return [
        ("agent.create_primary", most["created"], "TPM keys", 1),
        ("agent.tpm_commands", most["commands"], "commands", 25),
        ("agent.device_opens", most["opens"], "opens", 1),
        ("agent.http_requests", most["requests"], "requests", 4),
        ("agent.connections", most["connections"], "connections", 4),
        ("agent.peak_rss_mb", round(max(memory)), "MB", 45),
        ("agent.wall_over_floor", round(statistics.median(walls), 2), "ratio to TPM, servers and imports", 1.3),
        ("agent.cpu_over_imports", round(statistics.median(users), 2), "ratio to imports, user time", 1.6),
    ]
