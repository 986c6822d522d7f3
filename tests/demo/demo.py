# SPDX-License-Identifier: GPL-3.0-or-later
"""`make demo`: brings the lab up, runs the whole job, proves the result, runs it again, and prints a table."""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LAB = ROOT / ".lab"
OUTPUT = ROOT / ".demo"
INVENTORY = LAB / "inventory.yml"
REFUSED, LATE = "cvm-04", "cvm-05"
RECAP = re.compile(r"^(\S+)\s+: ok=\d+\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)")


def say(text: str) -> None:
    print(f"\n== {text}", flush=True)


def playbook(name: str, log: Path, *extra: str) -> dict[str, tuple[int, int, int]]:
    """Run a playbook of the collection with its output shown; returns changed, unreachable and failed per host."""
    command = ["ansible-playbook", "-i", str(INVENTORY), f"confidential.azure_skr.{name}", *extra]
    recap: dict[str, tuple[int, int, int]] = {}
    with log.open("w", encoding="utf-8") as stream:
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert process.stdout is not None
        for line in process.stdout:
            stream.write(line)
            print(line, end="", flush=True)
            found = RECAP.match(line)
            if found:
                recap[found[1]] = (int(found[2]), int(found[3]), int(found[4]))
        process.wait()
    return recap


def table(hosts: list[dict[str, Any]]) -> str:
    rows = [("VM", "verdict", "proof / reason", "waited")]
    for host in hosts:
        if host["verdict"] == "released":
            proof = "fingerprint equals the vault's public key" if host["proved"] else "NOT PROVED"
        else:
            failing = (host.get("facts") or {}).get("failing") or []
            proof = host["reason"] + "".join(
                f"\n{item['claim']}: wanted {json.dumps(item['wanted'])}, found {json.dumps(item['found'])}"
                for item in failing
            )
        waited = f"{host['waited_s']:.0f} s" if host["waited_s"] >= 1 else "-"
        for number, line in enumerate(proof.split("\n")):
            rows.append((host["name"], host["verdict"], line, waited) if number == 0 else ("", "", line, ""))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    rows.insert(1, tuple("-" * width for width in widths))  # type: ignore[arg-type]  # four columns, like every row
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows)


def judge(report: dict[str, Any]) -> list[str]:
    """What is not as the demo promises."""
    wrong = []
    for host in report["hosts"]:
        if host["name"] == REFUSED:
            claims = [item["claim"] for item in (host.get("facts") or {}).get("failing") or []]
            if host["verdict"] != "refused" or not any(claim.endswith("is-debuggable") for claim in claims):
                wrong.append(f"{REFUSED} must be refused for its debug bit")
        elif host["verdict"] != "released" or not host["proved"]:
            wrong.append(f"{host['name']} must hold the key: {host['message']}")
        elif host["name"] == LATE and host["waited_s"] < 1:
            wrong.append(f"{LATE} must have waited for its grant")
    if report["second_run_changed"]:
        wrong.append(f"the second run changed {report['second_run_changed']} things")
    return wrong


def main() -> int:
    options = argparse.ArgumentParser()
    options.add_argument("--keep", action="store_true", help="leave the lab up")
    options.add_argument("--door", choices=["auto", "ssh", "local"], default=os.environ.get("SKR_DOOR", "auto"))
    arguments = options.parse_args()
    started = time.monotonic()
    OUTPUT.mkdir(exist_ok=True)
    subprocess.run(["skrsim", "down"], check=True, stdout=subprocess.DEVNULL)
    say("Lab: a simulated Azure and five confidential VMs, each with its own TPM")
    subprocess.run(
        ["skrsim", "up", "--vms", "5", "--door", arguments.door, "--debug", REFUSED, "--late", f"{LATE}=20"], check=True
    )
    try:
        say(f"The whole job: vault, identities, key, grants, release ({LATE}'s grant takes effect 20 s late)")
        report_file = OUTPUT / "report.json"
        report_file.unlink(missing_ok=True)
        playbook("lab_demo", OUTPUT / "first-run.log", "-e", f"skr_demo_report={report_file}")
        if not report_file.exists():
            print("NOT AS PROMISED: the playbook did not get to its report; its output is in .demo/first-run.log")
            return 1
        report = json.loads(report_file.read_text())
        say("The same again: nothing may change")
        second = playbook("site", OUTPUT / "second-run.log")
        report["second_run_changed"] = sum(changed for changed, _unused, _unused in second.values())
        report_file.write_text(json.dumps(report, indent=2) + "\n")
    finally:
        if not arguments.keep:
            subprocess.run(["skrsim", "down"], check=False)
    say("Result")
    print(table(report["hosts"]))
    print(
        f"\nsecond run: {report['second_run_changed']} changes    report: .demo/report.json    {time.monotonic() - started:.0f} s"
    )
    wrong = judge(report)
    for line in wrong:
        print(f"NOT AS PROMISED: {line}")
    if arguments.keep:
        print(LOOK_AROUND)
    return 1 if wrong else 0


LOOK_AROUND = """
The lab is up. Look around:
  source .venv/bin/activate; export ANSIBLE_COLLECTIONS_PATH=$PWD/.collections
  ssh -F .lab/ssh/config cvm-01                                   a VM (with root: the ssh door)
  ansible-playbook -i .lab/inventory.yml confidential.azure_skr.site
  skrsim status | skrsim audit --writes | skrsim clock +90
  skrsim fault status --service keyvault --operation key_release code=503 --times 2
  make clean                                                      remove every trace
"""

if __name__ == "__main__":
    sys.exit(main())
