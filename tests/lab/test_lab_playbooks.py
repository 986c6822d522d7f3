# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's own playbooks: up, the demonstration with its report, down; each safe to repeat."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path

import labkit


def playbook(name: str, directory: Path, *words: str) -> str:
    """Run a playbook; cvm-02 is refused in the demonstration, so its exit status is 2."""
    command = ["ansible-playbook", *words, f"confidential.azure_skr.{name}"]
    done = subprocess.run(
        command, capture_output=True, text=True, env=labkit.environment() | {"SKRSIM_DIR": str(directory)}, check=False
    )
    assert done.returncode in (0, 2), done.stdout + done.stderr
    return done.stdout


def test_up_demo_down() -> None:
    directory = Path(tempfile.mkdtemp(prefix="skr-books-"))
    local = ["-i", "localhost,", "-c", "local", "-e", f"ansible_python_interpreter={labkit.sys.executable}"]
    lab = ["-e", json.dumps({"skr_lab_vms": 2, "skr_lab_door": "local", "skr_lab_arguments": ["--debug", "cvm-02"]})]
    try:
        assert "changed=1" in playbook("lab_up", directory, *local, *lab)
        assert "changed=0" in playbook("lab_up", directory, *local, *lab)
        report = directory / "report.json"
        playbook("lab_demo", directory, "-i", str(directory / "inventory.yml"), "-e", f"skr_demo_report={report}")
        hosts = {host["name"]: host for host in json.loads(report.read_text())["hosts"]}
        assert hosts["cvm-01"]["verdict"] == "released" and hosts["cvm-01"]["proved"] and hosts["cvm-01"]["kid"]
        assert hosts["cvm-02"]["verdict"] == "refused" and hosts["cvm-02"]["reason"] == "policy_not_met"
    finally:
        assert "changed=1" in playbook("lab_down", directory, *local)
    assert "changed=0" in playbook("lab_down", directory, *local)
    subprocess.run(["rm", "-rf", str(directory)], check=True)
