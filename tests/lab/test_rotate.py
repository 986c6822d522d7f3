# SPDX-License-Identifier: GPL-3.0-or-later
"""Playbook rotate over ssh: two hosts move and reload, the debuggable one is missed, the old version goes by a share alone."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from lab.test_ssh_site import changes, on
from labkit import Lab


def key(lab: Lab) -> dict[str, Any]:
    uri = f"https://{lab.variables['skr_vault_name']}.vault.azure.net"
    found = lab.module("exportable_key_info", **lab.azure(), vault_uri=uri, key_name="app-key")
    return dict(found["keys"][0])


def test_rotation(ssh_lab: Lab, tmp_path: Path) -> None:
    """AC-27 over ssh. What the vault answers is on the hosts, byte for byte of the new version's public half."""
    assert ssh_lab.playbook("site").returncode == 2  # cvm-03 is refused, as it must be
    before = key(ssh_lab)
    reloads = "/run/rotate-reloads"
    on(ssh_lab, "cvm-01", f"rm -f {reloads}")
    given: dict[str, Any] = {
        "skr_run_dir": str(tmp_path),
        "skr_max_failure_share": 100,
        "skr_rotate_if_older_than": "PT1S",
        "skr_reload_command": ["/bin/sh", "-c", f"echo x >> {reloads}"],
        "skr_canary": 3,
    }
    first = ssh_lab.playbook("rotate", variables={**given, "skr_run": "first"})
    after = key(ssh_lab)
    assert first.returncode == 2 and "[rotation_incomplete]" in first.stdout, first.stdout
    assert "missed: cvm-03: policy_not_met" in re.sub(r"\s+", " ", first.stdout)
    new = after["versions"][0]["version"]
    assert new != before["versions"][0]["version"] and all(one["enabled"] for one in after["versions"][:2])
    for host in ("cvm-01", "cvm-02"):
        public = on(ssh_lab, host, "openssl pkey -in /run/app/app.pem -pubout")
        assert public.strip() == after["public_key_pem"].strip()
        assert on(ssh_lab, host, f"wc -l < {reloads}").strip() == "1"
    assert on(ssh_lab, "cvm-03", f"test -e {reloads} || echo none").strip() == "none"

    mark = ssh_lab.mark
    given |= {"skr_rotate_version": new, "skr_rotate_share": 60, "skr_run": "second"}
    second = ssh_lab.playbook("rotate", variables=given)
    assert second.returncode == 2 and "2 of 3 hosts have moved" in second.stdout, second.stdout
    found = changes(second.stdout)
    assert found["cvm-02"] == 0 and on(ssh_lab, "cvm-02", f"wc -l < {reloads}").strip() == "1"
    enabled = {one["version"]: one["enabled"] for one in key(ssh_lab)["versions"]}
    assert enabled.pop(new) is True and not any(enabled.values())
    assert {row["operation"] for row in ssh_lab.writes(mark)} == {"key_update"}
