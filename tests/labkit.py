# SPDX-License-Identifier: GPL-3.0-or-later
"""A lab for tests: started by the same command as a user's, driven through modules and playbooks."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from ansible.module_utils import _internal, basic
from ansible.module_utils.common import warnings

from skrsim.lab import control
from skrsim.lab.plan import Plan

ROOT = Path(__file__).resolve().parents[1]
MODULES = "ansible_collections.confidential.azure_skr.plugins.modules"
CONTROL = frozenset(
    {
        "attestation_provider", "attestation_provider_info", "cvm", "cvm_identity", "cvm_info", "cvm_scale_set", "disk_encryption_set",
        "exportable_key", "exportable_key_info", "key_vault", "managed_hsm", "managed_hsm_activation", "release_access",
        "release_access_info", "release_revocation",
    }
)  # fmt: skip
GUEST_VARIABLES = {
    "https_proxy": "skr_guest_https_proxy",
    "ca_path": "skr_guest_ca_path",
    "tpm_device": "skr_tpm_device",
    "imds_endpoint": "skr_imds_endpoint",
    "report_roots_path": "skr_report_roots_path",
    "cache_dir": "skr_cache_dir",
    "event_log_path": "skr_event_log_path",
}


def environment() -> dict[str, str]:
    """What a child process gets: the collection on the path, and no Azure, proxy or CA variable of this machine."""
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AZURE_", "ANSIBLE_", "IDENTITY_", "MSI_", "IMDS_"))
        and name.lower() not in ("http_proxy", "https_proxy", "no_proxy", "all_proxy")
        and name not in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
    }
    binaries = Path(sys.executable).parent
    return clean | {
        "PATH": f"{binaries}:{clean['PATH']}",
        "PYTHONPATH": f"{ROOT / '.collections'}:{ROOT / 'tests/simulator'}",
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".collections"),
        "ANSIBLE_CONFIG": str(ROOT / "tests/demo/ansible.cfg"),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_LOCAL_TEMP": tempfile.gettempdir() + "/ansible-local",
    }


class Lab:
    """A running lab."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.in_process = True  # control-plane modules run within this process, which spares them their imports
        self.plan = Plan.load(directory / "lab.json")
        self.inventory = directory / "inventory.yml"
        group = json.loads(self.inventory.read_text())["all"]["children"]["cvm"]
        self.hosts: dict[str, dict[str, Any]] = group["hosts"]
        self.variables: dict[str, Any] = group["vars"]

    # --- the lab itself

    def call(self, command: str, **parameters: Any) -> Any:
        return control.call(self.plan.control, command, **parameters)

    @property
    def mark(self) -> int:
        """Number of the newest audit record."""
        return int(self.call("status")["audit"])

    def audit(self, since: int = 0, **where: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.call("audit", since=since)
        return [record for record in found if all(record.get(name) == value for name, value in where.items())]

    def writes(self, since: int = 0) -> list[dict[str, Any]]:
        return self.audit(since, write=True)

    def peak(self, vault: str, seconds: float = 10, since: int = 0) -> int:
        """The most requests that a vault, or a managed HSM, got within so many seconds, whenever these began."""
        asked = self.audit(since, service="keyvault")
        times = sorted(one["time"] for one in asked if one["host"].partition(".")[0] == vault.lower())
        most = first = 0
        for last, time_of_last in enumerate(times):
            while time_of_last - times[first] >= seconds:
                first += 1
            most = max(most, last - first + 1)
        return most

    @contextlib.contextmanager
    def fault(self, action: str, **row: Any) -> Iterator[None]:
        """A fault for the length of a block: service, operation, vm, first, times; other words are its parameters."""
        members = {name: row.pop(name) for name in ("service", "operation", "vm", "first", "times") if name in row}
        number = self.call("fault_add", row={"action": action, "parameters": row, **members})
        try:
            yield
        finally:
            self.call("fault_clear", id=number)

    @contextlib.contextmanager
    def platform(self, host: str, **values: Any) -> Iterator[None]:
        """A VM's platform changed for the length of a block: generation, report_size, vlek, lower_vm_id ..."""
        before = self.call("vm_platform", name=host)
        self.call("vm_set", name=host, values=values)
        try:
            yield
        finally:
            self.call("vm_set", name=host, values={member: before[member] for member in values})

    def reboot(self, host: str, **values: Any) -> None:
        """Another boot of a VM; ``kernel`` and ``secure_boot`` make it a different one."""
        self.call("vm_reboot", name=host, values=values)

    def group(self, kind: str) -> list[str]:
        """The VMs of a kind: snp, tdx or trusted_launch."""
        children = json.loads(self.inventory.read_text())["all"]["children"]
        return list(children.get(kind, {"hosts": {}})["hosts"])

    def later(self, seconds: float, command: str, **parameters: Any) -> None:
        """Call the lab after a while, from a thread."""
        timer = threading.Timer(seconds, lambda: self.call(command, **parameters))
        timer.daemon = True
        timer.start()

    def forget_after_a_release(self, since: int, seconds: float) -> None:
        """Let removed permissions linger until that long after a release that they allowed, however busy the machine is."""

        def watch() -> None:
            deadline = time.monotonic() + 300
            while time.monotonic() < deadline:
                if self.audit(since, operation="key_release", decision="allowed"):
                    time.sleep(seconds)
                    break
                time.sleep(0.2)
            self.call("delays", values={"lingering": {}})

        threading.Thread(target=watch, daemon=True).start()

    # --- modules and playbooks

    def azure(self) -> dict[str, Any]:
        """Connection options of the controller-side modules."""
        names = ("subscription_id", "tenant", "client_id", "secret")
        options = {name: self.variables[f"skr_{name}"] for name in names}
        return options | {
            "https_proxy": self.variables["skr_azure_https_proxy"],
            "ca_path": self.variables["skr_azure_ca_path"],
        }

    def guest(self, host: str) -> dict[str, Any]:
        """Connection options of the guest modules for one VM (local door)."""
        variables = self.variables | self.hosts[host]
        return {option: variables[name] for option, name in GUEST_VARIABLES.items() if name in variables}

    def module(self, name: str, /, *, check: bool = False, diff: bool = False, **options: Any) -> dict[str, Any]:
        """Run a module as its own process and return its result (``failed`` is set when it failed).

        The lab's policies name no VM; unless a test says otherwise that finding is accepted, as its inventory does.
        """
        if name == "exportable_key":
            options.setdefault(
                "accepted_findings", {"satisfied_by_any_tenant": "Tests tell VMs apart by their grants."}
            )
        arguments = {**options, "_ansible_check_mode": check, "_ansible_diff": diff}
        if name in CONTROL and self.in_process:
            with _within(arguments, pause=1.0) as output, contextlib.suppress(SystemExit):
                importlib.import_module(f"{MODULES}.{name}").main()
            assert "Traceback" not in output.getvalue(), output.getvalue()
            answer: dict[str, Any] = json.loads(output.getvalue())
            return answer
        done = subprocess.run(
            [sys.executable, "-m", f"{MODULES}.{name}"],
            input=json.dumps({"ANSIBLE_MODULE_ARGS": arguments}),
            capture_output=True,
            text=True,
            env=environment(),
            cwd=self.directory,
            check=False,
        )
        assert "Traceback" not in done.stderr + done.stdout, done.stderr + done.stdout
        result: dict[str, Any] = json.loads(done.stdout)
        return result

    def quorum(self) -> list[str]:
        """Paths of three certificates with which managed HSMs are activated; made once."""
        folder = self.directory / "quorum"
        if not folder.exists():
            from ansible_collections.confidential.azure_skr.plugins.module_utils.azure import security_domain

            folder.mkdir()
            with mock.patch.object(security_domain, "_KEY_SIZE", 2048):
                security_domain.generate(str(folder), 3, None)
        return sorted(str(path) for path in folder.glob("*.pem"))

    def quick(self, name: str, /, *, check: bool = False, diff: bool = False, **options: Any) -> dict[str, Any]:
        """Run a module within this process, and without its pauses: for thousands of runs, none of which is about time."""
        if name == "exportable_key":
            options.setdefault(
                "accepted_findings", {"satisfied_by_any_tenant": "Tests tell VMs apart by their grants."}
            )
        connection = self.azure() if name in CONTROL else {}
        given = {**connection, **options, "_ansible_check_mode": check, "_ansible_diff": diff}
        with _within(given) as output, contextlib.suppress(SystemExit):
            importlib.import_module(f"{MODULES}.{name}").main()
        text = output.getvalue()
        assert "Traceback" not in text, text
        result: dict[str, Any] = json.loads(text)
        return result

    def playbook(
        self, name: str, *words: str, variables: dict[str, Any] | None = None, check: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """Run a playbook of the collection against the lab's inventory."""
        command = ["ansible-playbook", "-i", str(self.inventory), f"confidential.azure_skr.{name}", *words]
        if variables:
            command += ["-e", json.dumps(variables)]
        if check:
            command += ["--check", "--diff"]
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment(), cwd=self.directory, check=False
        )
        assert "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr
        return done


@contextlib.contextmanager
def _within(arguments: dict[str, Any], pause: float = 0.005) -> Iterator[io.StringIO]:
    """What an AnsibleModule finds when it is the process's own: its arguments, its standard output, this environment."""
    output, sleep = io.StringIO(), time.sleep
    warnings._global_warnings.clear()  # a process of its own would have none
    clean = environment()
    with contextlib.ExitStack() as stack:
        stack.enter_context(
            mock.patch.object(basic, "_ANSIBLE_ARGS", json.dumps({"ANSIBLE_MODULE_ARGS": arguments}).encode())
        )
        stack.enter_context(mock.patch.object(basic, "_ANSIBLE_PROFILE", "legacy", create=True))
        # A test that imports a filter makes this process a controller, which shows a module's warnings instead of returning them.
        stack.enter_context(mock.patch.object(_internal, "is_controller", False))
        stack.enter_context(mock.patch.object(time, "sleep", lambda seconds: sleep(min(seconds, pause))))
        stack.enter_context(mock.patch.dict(os.environ, clean, clear=True))
        stack.enter_context(contextlib.redirect_stdout(output))
        yield output


@contextlib.contextmanager
def lab(*words: str) -> Iterator[Lab]:
    """Bring a lab up (words are options of ``skrsim up``) and take it down again."""
    directory = Path(tempfile.mkdtemp(prefix="skr-test-"))
    cache = ROOT / ".build" / "silicon"
    command = [sys.executable, "-m", "skrsim.lab.cli", "--dir", str(directory)]
    try:
        done = subprocess.run(
            [*command, "up", "--cache", str(cache), *words],
            capture_output=True,
            text=True,
            env=environment(),
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        yield Lab(directory)
    finally:
        subprocess.run([*command, "down"], capture_output=True, check=False)
        shutil.rmtree(directory, ignore_errors=True)
