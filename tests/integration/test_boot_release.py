# SPDX-License-Identifier: GPL-3.0-or-later
"""The role boot_release on a VM of the local door: what it installs, that it stays so, and what systemd says of its units."""

from __future__ import annotations

import configparser
import json
import os
import re
import shutil
import socket
import stat
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from integration.site import Site, ready
from labkit import Lab, environment
from sentinel import Sentinel

from skrsim.lab.plan import AUTHORITY

ANALYZE = shutil.which("systemd-analyze")


class Installed:
    """The role run on this machine for one VM of the lab, everything below one folder."""

    def __init__(self, lab: Lab, site: Site, vm: str = "cvm-01", **instance: Any) -> None:
        self.lab, self.vm = lab, vm
        self.root = lab.directory / f"boot-{site.vault}"  # stands for the disk; the VM's memory is emptied by a reboot
        self.root.mkdir(parents=True, exist_ok=True)
        guest = lab.guest(vm)
        self.proxy, self.guest = guest.pop("https_proxy"), guest
        self.metrics = self.root / "metrics" / "azure_skr_tls.prom"
        self.dest = Path(lab.hosts[vm]["skr_dest"]).parent / "web" / "tls.pem"
        self.variables: dict[str, Any] = {
            "boot_release_options": {
                **guest,
                "attestation_url": AUTHORITY,
                "state_dir": str(self.root / "status"),
                "metrics_path": str(self.metrics),
            },
            "boot_release_instances": [
                {
                    "name": "tls",
                    "options": {"vault_uri": site.uri, "key_name": "app", "dest": str(self.dest), "owner": "root"},
                    "consumers": ["skr-web.service", "skr-api.service"],
                    "remove_on_stop": True,
                    "renew": "12h",
                    **instance,
                }
            ],
            "boot_release_https_proxy": self.proxy,
            "boot_release_evidence_dir": str(self.root / "evidence"),
            "boot_release_program": str(self.root / "libexec" / "azure-skr"),
            "boot_release_link": str(self.root / "sbin-azure-skr"),
            "boot_release_config_dir": str(self.root / "etc"),
            "boot_release_unit_dir": str(self.root / "units"),
            "boot_release_tmpfiles_dir": str(self.root),
        }
        (self.root / "units").mkdir(exist_ok=True)

    def role(self, *words: str, **variables: Any) -> subprocess.CompletedProcess[str]:
        play = {
            "hosts": self.vm,
            "gather_facts": False,
            "roles": ["confidential.azure_skr.boot_release"],
            "vars": {**self.variables, **variables},
        }
        book = self.root / "play.yml"
        book.write_text(json.dumps([play]))
        command = ["ansible-playbook", "-i", str(self.lab.inventory), "--diff", str(book), *words]
        return subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)

    def unit(self, name: str) -> configparser.RawConfigParser:
        found = configparser.RawConfigParser(strict=False, delimiters=("=",), comment_prefixes=("#",))
        found.optionxform = str  # type: ignore[assignment,method-assign]  # systemd's names have upper case
        found.read(self.root / "units" / name)
        return found


def changed(done: subprocess.CompletedProcess[str]) -> int:
    assert done.returncode == 0 and "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr
    found = re.search(r"changed=(\d+)", done.stdout)
    assert found
    return int(found[1])


@pytest.fixture(scope="module")
def site(shared_lab: Lab) -> Site:
    return ready(shared_lab, vms=("cvm-01", "cvm-02"))


@pytest.fixture(scope="module")
def installed(shared_lab: Lab, site: Site) -> Installed:
    made = Installed(shared_lab, site)
    foretold = changed(made.role("--check"))
    assert foretold > 5 and list((made.root / "units").iterdir()) == []
    first = made.role()
    assert changed(first) >= foretold
    assert made.proxy not in first.stdout
    if not os.path.exists("/run/systemd/system"):
        assert "NOTHING RELEASES THE KEY AT BOOT" in first.stdout
    return made


def test_second_run_changes_nothing(installed: Installed) -> None:
    assert changed(installed.role()) == 0


def test_installed_agent_releases(local_lab: Lab, installed: Installed) -> None:
    """As the unit calls it: the same command line, the environment file, no PATH to speak of."""
    words = installed.unit("azure-skr@.service")["Service"]["ExecStart"].replace("%i", "tls").split()
    variables = dict([(installed.root / "etc" / "tls.env").read_text().strip().split("=", 1)])
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=variables)
    assert done.returncode == 0, done.stderr
    assert stat.S_IMODE(os.stat(installed.dest).st_mode) == 0o400
    link = str(installed.root / "sbin-azure-skr")
    asked = subprocess.run(
        [link, "status", "tls", "--state-dir", str(installed.root / "status")],
        capture_output=True, text=True, check=False, env={},
    )  # fmt: skip
    assert asked.returncode == 0 and asked.stdout.startswith("tls: ok"), asked.stderr


def test_files_are_those_of_root(installed: Installed) -> None:
    modes = {"etc/tls.json": 0o644, "etc/tls.env": 0o600, "libexec/azure-skr": 0o755, "azure-skr.conf": 0o644}
    for name, mode in modes.items():
        assert stat.S_IMODE(os.stat(installed.root / name).st_mode) == mode, name
    assert "lab@" not in (installed.root / "etc/tls.json").read_text()


def test_consumers_wait_and_the_unit_comes_before_them(installed: Installed) -> None:
    for consumer in ("skr-web", "skr-api"):
        added = installed.unit(f"{consumer}.service.d/azure-skr-tls.conf")["Unit"]
        assert added["Requires"] == added["After"] == "azure-skr@tls.service"
    instance = installed.unit("azure-skr@tls.service.d/instance.conf")
    assert instance["Unit"]["Before"] == "skr-web.service skr-api.service"
    ended = instance["Service"]["ExecStopPost"]
    assert ended.startswith("-/") and ended.endswith(f" remove %i --config {installed.root}/etc/%i.json")
    renewal = installed.unit("azure-skr-renew@tls.service.d/instance.conf")
    assert not renewal.has_section("Unit") and "ExecStopPost" not in renewal["Service"]
    assert installed.unit("azure-skr-renew@tls.timer.d/instance.conf")["Timer"]["OnUnitInactiveSec"] == "12h"


def test_unit_is_confined(installed: Installed) -> None:
    service = installed.unit("azure-skr@.service")["Service"]
    assert service["Type"] == "notify" and service["RemainAfterExit"] == "yes" and service["DevicePolicy"] == "closed"
    assert service["ProtectSystem"] == "strict" and service["Restart"] == "on-failure"
    text = (installed.root / "units/azure-skr@tls.service.d/instance.conf").read_text()
    assert f"DeviceAllow={installed.lab.guest('cvm-01')['tpm_device']} rw" in text
    assert "CapabilityBoundingSet=CAP_DAC_OVERRIDE CAP_CHOWN CAP_FOWNER\n" in text
    assert f"ReadWritePaths={installed.dest.parent}\n" in text


def test_folder_of_the_key_is_made_at_boot(installed: Installed) -> None:
    lines = (installed.root / "azure-skr.conf").read_text().splitlines()
    assert f"d {installed.dest.parent} 0755 root root -" in lines
    assert "d /run/azure-skr/status 0755 root root -" in lines


def test_option_the_agent_does_not_know_is_refused_before_it_is_placed(installed: Installed) -> None:
    before = (installed.root / "etc/tls.json").read_text()
    wrong = [{**installed.variables["boot_release_instances"][0], "options": {"key_nam": "app", "dest": "/run/x"}}]
    done = installed.role(boot_release_instances=wrong)
    assert done.returncode == 2 and "key_nam is no option" in done.stdout
    assert (installed.root / "etc/tls.json").read_text() == before


def test_playbook_maps_the_inventory(local_lab: Lab) -> None:
    done = local_lab.playbook("boot_release", "--limit", "cvm-02", check=True)
    assert changed(done) > 5
    vault, key = local_lab.variables["skr_vault_name"], local_lab.variables["skr_key_name"]
    assert f'+    "vault_uri": "https://{vault}.vault.azure.net"' in done.stdout
    assert f"/etc/azure-skr/{key}.json" in done.stdout and ":lab@" not in done.stdout


# --- AC-22


class Supervisor:
    """What systemd does with the unit, as far as a reboot needs it: start, wait for READY=1, and only then the consumer."""

    def __init__(self, installed: Installed) -> None:
        self.installed = installed
        service = installed.unit("azure-skr@.service")["Service"]
        assert service["Type"] == "notify"
        self.words = service["ExecStart"].replace("%i", "tls").split()
        self.told: list[str] = []
        self.consumer: bytes | None = None
        self.seen: list[
            tuple[str, list[str]]
        ] = []  # while it waited: the outcome told, and the files in the key's folder

    def boot(self, deadline: float = 120.0) -> None:
        """Memory is empty, the TPM is new, the unit is started; returns when the consumer has read the key."""
        root = self.installed.root
        for folder in (self.installed.dest.parent, root / "status", Path(self.installed.guest["cache_dir"])):
            shutil.rmtree(folder, ignore_errors=True)
        self.installed.lab.call("vm_reboot", name=self.installed.vm)
        self.installed.dest.parent.mkdir(parents=True)  # by systemd-tmpfiles
        name, value = (root / "etc" / "tls.env").read_text().strip().split("=", 1)
        address = root / "notify"
        address.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.bind(str(address))
            channel.settimeout(0.5)
            env = {name: value, "NOTIFY_SOCKET": str(address)}
            with subprocess.Popen(self.words, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
                self._until_ready(channel, process, time.monotonic() + deadline)
                self.consumer = self.installed.dest.read_bytes()  # the consumer starts here
                assert process.stdout
                self.journal = process.stdout.read()
            assert process.returncode == 0, self.journal

    def _until_ready(self, channel: socket.socket, process: subprocess.Popen[bytes], deadline: float) -> None:
        while "READY=1" not in self.told:
            assert time.monotonic() < deadline and process.poll() in (None, 0), self.told
            try:
                self.told += channel.recv(4096).decode().split("\n")
            except TimeoutError:
                pass
            path = self.installed.root / "status" / "tls.json"
            outcome = json.loads(path.read_text())["outcome"] if path.exists() else "none"
            self.seen.append((outcome, os.listdir(self.installed.dest.parent)))


def test_key_is_back_after_a_reboot(local_lab: Lab, installed: Installed) -> None:
    """AC-22, first reboot: the key is there before the consumer starts."""
    supervised = Supervisor(installed)
    supervised.boot()
    key = serialization.load_pem_private_key(supervised.consumer or b"", None)
    assert isinstance(key, rsa.RSAPrivateKey)
    status, metrics = (installed.root / "status" / "tls.json").read_bytes(), installed.metrics.read_bytes()
    assert json.loads(status)["outcome"] == "released"
    sentinel = Sentinel(key)
    command = " ".join(supervised.words).encode()
    for place in (status, metrics, supervised.journal, command, "\n".join(supervised.told).encode()):
        assert sentinel.found_in(place) == []


def test_end_of_the_unit_takes_the_copy_away(local_lab: Lab, installed: Installed) -> None:
    Supervisor(installed).boot()
    assert installed.dest.exists()
    words = installed.unit("azure-skr@tls.service.d/instance.conf")["Service"]["ExecStopPost"]
    command = words.lstrip("-").replace("%i", "tls").split()
    for told in ("removed", "was not there"):
        done = subprocess.run(command, capture_output=True, text=True, check=False, env={})
        assert done.returncode == 0 and done.stdout.startswith(f"{told}: "), done.stderr
        assert not installed.dest.exists()


def test_vault_that_is_down_is_waited_for(local_lab: Lab, installed: Installed) -> None:
    """AC-22, second reboot: the unit asks again with jitter, the consumer waits, no half-written file, status readable."""
    number = local_lab.call(
        "fault_add", row={"action": "reset", "service": "keyvault", "vm": installed.vm, "parameters": {}}
    )
    local_lab.later(22, "fault_clear", id=number)
    supervised = Supervisor(installed)
    supervised.boot()
    waiting = [files for outcome, files in supervised.seen if outcome == "waiting"]
    assert waiting and all(files == [] for files in waiting)
    assert any(line.startswith("STATUS=network_unreachable; attempt 2 in") for line in supervised.told)
    assert "WATCHDOG=1" in supervised.told and any(line.startswith("EXTEND_TIMEOUT_USEC=") for line in supervised.told)
    status = json.loads((installed.root / "status" / "tls.json").read_text())
    assert status["outcome"] == "released" and status["attempts"] > 1 and status["duration_s"] > 15
    assert supervised.consumer and supervised.consumer.startswith(b"-----BEGIN PRIVATE KEY")
    assert os.listdir(installed.dest.parent) == [installed.dest.name]


# --- systemd's own judgement


@pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed")
def test_systemd_accepts_the_units(installed: Installed, tmp_path: Path) -> None:
    """The units as rendered, for a usual TPM device, with consumers that exist."""
    assert ANALYZE
    folder = tmp_path / "units"
    shutil.copytree(installed.root / "units", folder)
    for consumer in ("skr-web", "skr-api"):
        (folder / f"{consumer}.service").write_text(f"[Service]\nExecStart={shutil.which('true')}\n")
    for added in folder.glob("azure-skr*.d/instance.conf"):
        added.write_text(re.sub(r"DeviceAllow=\S+", "DeviceAllow=/dev/tpmrm0", added.read_text()))
    env = {**os.environ, "SYSTEMD_UNIT_PATH": f"{folder}:"}
    names = ["azure-skr@tls.service", "azure-skr-renew@tls.service", "azure-skr-renew@tls.timer", "skr-web.service"]
    command = [ANALYZE, "verify", "--man=no", *(str(folder / name) for name in names)]
    for name in names[:3]:
        template = re.sub("@tls", "@", name)
        shutil.copy(folder / template, folder / name)
    verified = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    said = [
        line for line in (verified.stdout + verified.stderr).splitlines() if str(folder) in line or "azure-skr" in line
    ]
    assert verified.returncode == 0 and said == [], verified.stdout + verified.stderr


@pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed")
def test_systemd_finds_little_exposure(installed: Installed, tmp_path: Path) -> None:
    """systemd-analyze security rates from 0 (confined) to 10; root with the network and a TPM cannot come much below 3."""
    assert ANALYZE
    unit = tmp_path / "azure-skr.service"
    text = (installed.root / "units/azure-skr@.service").read_text().replace("%i", "tls")
    added = (installed.root / "units/azure-skr@tls.service.d/instance.conf").read_text().partition("[Service]")[2]
    added = re.sub(r"DeviceAllow=\S+", "DeviceAllow=/dev/tpmrm0", added)
    unit.write_text(text.replace("[Install]", f"{added}\n[Install]"))
    done = subprocess.run(
        [ANALYZE, "security", "--offline=yes", "--threshold=30", "--no-pager", str(unit)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
