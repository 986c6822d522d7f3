# SPDX-License-Identifier: GPL-3.0-or-later
"""The audit over ssh: three hosts, one of which cannot be reached meanwhile; the login user's file moved by sftp."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from integration.test_evidence import REPORT, no_network
from lab.test_ssh_site import on
from labkit import MODULES, Lab, environment
from sentinel import TOKEN

from ansible_collections.confidential.azure_skr.plugins.module_utils.audit import bundle

EVIDENCE = "/var/lib/azure-skr/evidence"


def test_audit_with_a_host_that_is_away(ssh_lab: Lab, tmp_path: Path) -> None:
    assert ssh_lab.playbook("site").returncode == 2  # cvm-03 is refused
    for host in ("cvm-01", "cvm-02", "cvm-03"):
        assert set(on(ssh_lab, host, f"stat -c '%a %U' {EVIDENCE}/*.json").split()) == {"600", "root"}
    away = tmp_path / "away.yml"
    away.write_text(json.dumps({"all": {"hosts": {"cvm-02": {"ansible_port": 1}}}}))
    variables = {
        "skr_audit_dest": str(tmp_path),
        "skr_audit_name": "a",
        "skr_audit_report": REPORT,
        "skr_audit_metrics": str(tmp_path / "f.prom"),
    }
    mark = ssh_lab.mark
    done = ssh_lab.playbook("audit", "-vvvv", "-i", str(away), variables=variables)
    assert done.returncode in (0, 4), done.stdout[-4000:] + done.stderr  # 4 where Ansible counts a host that was away
    assert "sftp> get" in done.stdout + done.stderr  # moved by the connection
    assert ssh_lab.writes(mark) == []
    found = bundle.load((tmp_path / "a.tar.gz").read_bytes())
    assert list(found.records) == ["cvm-01", "cvm-03"]
    assert [(row["host"], row["reachable"]) for row in found.hosts] == [
        ("cvm-01", True),
        ("cvm-02", False),
        ("cvm-03", True),
    ]
    (gap,) = found.gaps
    assert gap.startswith("cvm-02: ") and "not collected: cvm-02: " in done.stdout and len(gap) > 20
    assert 'azure_skr_fleet_hosts{reachable="no"} 1' in (tmp_path / "f.prom").read_text()

    output = done.stdout + done.stderr
    assert not TOKEN.search(output.encode())
    for records in found.records.values():
        for record in records:
            for part in ("payload", "signature"):
                assert record["attestation"]["token"][part][:60] not in output
    for host in ("cvm-01", "cvm-03"):
        assert on(ssh_lab, host, "ls -d /tmp/azure-skr.* 2>/dev/null || echo none").strip() == "none"
    assert re.search(r"VERIFIED: \d+ records of 2 hosts", output)

    program = tmp_path / "azure-skr"
    packer = f"{MODULES.rpartition('.')[0]}.module_utils.agent_archive"
    subprocess.run([sys.executable, "-m", packer, "--portable", str(program)], check=True, env=environment())
    command = [*no_network(), str(program), "verify-evidence", str(tmp_path / "a.tar.gz"), "--json"]
    told = subprocess.run(command, capture_output=True, text=True, check=False, env={"PATH": "/usr/bin:/bin"})
    assert told.returncode == 0 and json.loads(told.stdout)["bundle"]["gaps"] == [gap]


def test_an_audit_that_must_be_complete(ssh_lab: Lab, tmp_path: Path) -> None:
    away = tmp_path / "away.yml"
    away.write_text(json.dumps({"all": {"hosts": {"cvm-02": {"ansible_port": 1}}}}))
    variables = {
        "skr_audit_dest": str(tmp_path),
        "skr_audit_name": "b",
        "skr_audit_report": False,
        "skr_audit_require_all": True,
    }
    done = ssh_lab.playbook("audit", "-i", str(away), variables=variables)
    assert done.returncode == 2 and "Not collected: cvm-02" in re.sub(r"\s+", " ", done.stdout), done.stdout[-3000:]
    assert (tmp_path / "b.tar.gz").exists()
