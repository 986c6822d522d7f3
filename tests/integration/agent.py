# SPDX-License-Identifier: GPL-3.0-or-later
"""The packed guest agent on a VM of the local door, as systemd or a user would run it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from integration.site import Site
from labkit import Lab

from ansible_collections.confidential.azure_skr.plugins.module_utils import agent_archive
from skrsim.lab.plan import AUTHORITY


class Agent:
    """One instance: its configuration, its program, what it left."""

    def __init__(self, lab: Lab, site: Site, vm: str = "cvm-01", name: str = "app", **options: Any) -> None:
        self.lab, self.site, self.vm, self.name = lab, site, vm, name
        self.folder = Path(lab.hosts[vm]["skr_dest"]).parent / f"agent-{site.vault}"  # in memory, as /run is
        self.folder.mkdir(parents=True, exist_ok=True)
        self.program = self.folder / "azure-skr"
        agent_archive.write(str(self.program))
        guest = lab.guest(vm)
        self.proxy = guest.pop("https_proxy")  # its URL holds a password, which no configuration may
        self.dest = self.folder / "run" / f"{name}.pem"
        self.options: dict[str, Any] = {
            **guest,
            "attestation_url": AUTHORITY,
            "vault_uri": site.uri,
            "key_name": "app",
            "release_policy": site.policy,
            "dest": str(self.dest),
            "state_dir": str(self.folder / "status"),
            "metrics_path": str(self.folder / "metrics" / f"azure_skr_{name}.prom"),
            **options,
        }
        self.config = self.folder / f"{name}.json"
        self.configure()

    def configure(self, **options: Any) -> None:
        self.options.update(options)
        self.config.write_text(json.dumps(self.options))
        self.config.chmod(0o644)

    def environment(self, **more: str) -> dict[str, str]:
        return {"PATH": "/usr/bin:/bin", "HTTPS_PROXY": self.proxy, **more}

    def command(self, *words: str) -> list[str]:
        return [sys.executable, str(self.program), *words]

    def run(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.command(*words), capture_output=True, text=True, check=False, env=self.environment(**more)
        )
        assert "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr
        return done

    def release(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        return self.run("release", "--config", str(self.config), *words, **more)

    def start(self, *words: str, **more: str) -> subprocess.Popen[str]:
        """The same, without waiting for its end."""
        command = self.command("release", "--config", str(self.config), *words)
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, text=True, env=self.environment(**more), **pipes)  # type: ignore[call-overload,no-any-return]

    @property
    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "status" / f"{self.name}.json").read_text())
        return found

    @property
    def metrics(self) -> str:
        return Path(self.options["metrics_path"]).read_text()

    def ask_status(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.run("status", self.name, "--state-dir", self.options["state_dir"], *words)

    def forget(self) -> None:
        """What a reboot does to files in memory."""
        for path in (self.dest, self.folder / "status" / f"{self.name}.json"):
            if os.path.lexists(path):
                path.unlink()
