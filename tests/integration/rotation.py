# SPDX-License-Identifier: GPL-3.0-or-later
"""Three hosts that share a key, with an inventory of their own, for the playbooks that work batch by batch."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

from integration.site import Site, ready
from labkit import Lab, environment

HOSTS = ("cvm-01", "cvm-02", "cvm-04")


def changes(output: str) -> dict[str, int]:
    return {
        host: int(number) for host, number in re.findall(r"^(\S+)\s+: ok=\d+\s+changed=(\d+)", output, re.MULTILINE)
    }


class Fleet:
    """Made through the modules; driven through the playbooks, in one batch unless a test says otherwise."""

    def __init__(self, lab: Lab, folder: Path, **key: Any) -> None:
        self.lab, self.folder = lab, folder
        self.site: Site = ready(lab, vms=HOSTS, **key)
        group = json.loads(lab.inventory.read_text())["all"]["children"]["cvm"]
        hosts = {name: {**group["hosts"][name], "skr_dest": self.site.destination(name)} for name in HOSTS}
        variables = group["vars"] | {
            "skr_vault_name": self.site.vault,
            "skr_key_name": "app",
            "skr_release_policy": self.site.policy,
            "skr_run_dir": str(folder / "runs"),
        }
        self.inventory = folder / "inventory.json"
        self.inventory.write_text(json.dumps({"all": {"children": {"cvm": {"hosts": hosts, "vars": variables}}}}))
        self.inventory.chmod(0o600)

    def release(self) -> None:
        for host in HOSTS:
            assert self.site.release(host)["changed"]

    def play(self, name: str, *words: str, check: bool = False, **variables: Any) -> subprocess.CompletedProcess[str]:
        given = {"skr_canary": 3, "skr_max_failure_share": 100, "skr_request_share": 0} | variables
        command = ["ansible-playbook", "-i", str(self.inventory), f"confidential.azure_skr.{name}", *words]
        command += ["-e", json.dumps(given)] + (["--check", "--diff"] if check else [])
        done = subprocess.run(command, capture_output=True, text=True, env=environment(), cwd=self.folder, check=False)
        assert "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr
        return done

    @property
    def key(self) -> dict[str, Any]:
        """What the vault says of the key."""
        found = self.lab.module("exportable_key_info", **self.lab.azure(), vault_uri=self.site.uri, key_name="app")
        return dict(found["keys"][0])

    @property
    def versions(self) -> list[str]:
        """Oldest first."""
        return [str(one["version"]) for one in reversed(self.key["versions"])]

    @property
    def enabled(self) -> list[bool]:
        return [bool(one["enabled"]) for one in reversed(self.key["versions"])]

    @property
    def newest(self) -> str:
        return self.versions[-1]

    @property
    def states(self) -> list[Path]:
        """State files of all runs, newest last."""
        return sorted((self.folder / "runs").glob("*.json"), key=lambda path: path.stat().st_mtime)

    def operations(self, since: int) -> list[str]:
        return [str(row["operation"]) for row in self.lab.writes(since)]
