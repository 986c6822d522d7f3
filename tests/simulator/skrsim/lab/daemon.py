# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's one process: services, virtual TPMs, hosts and the control channel. Started by ``skrsim up``.

Prints its progress on standard output, a line READY at the end, and then only logs. Ends on SIGTERM, taking down
everything it made.
"""

from __future__ import annotations

import contextlib
import functools
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
import typing as t
from pathlib import Path

from ..core.app import build
from ..core.audit import Audit
from ..core.running import Running
from ..core.world import LocalAssignment, ScaleSet, World
from ..services.arm import seed
from ..services.arm.router import ArmService
from ..services.keyvault import throttle
from ..tee.platform import Platform
from ..vtpm.vm import VirtualTpm
from . import control, directory, dns, fault_rows, forward, host, inventory, leftovers, netns, vms
from .plan import LOCATION, OPERATOR, RESOURCE_GROUP, Plan

OPERATOR_ROLES = ("Contributor", "User Access Administrator", "Key Vault Crypto Officer")


def progress(text: str) -> None:
    print(text, flush=True)


class Lab:
    """Everything that is up; ``close`` takes it down in reverse order."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.closing = contextlib.ExitStack()
        self.world = World.new(plan.seed, Audit(plan.directory / "audit.jsonl"))
        self.world.delays.late = dict(plan.late)
        self.tpms: dict[str, VirtualTpm] = {}
        self.hosts: dict[str, dict[str, t.Any]] = {}
        self._running_hosts: list[host.Host] = []
        self._roots = plan.directory / "hardware-roots.pem"
        self._files = plan.runtime  # local door: where VMs have their files that live in memory

    def up(self) -> None:
        plan = self.plan
        seed.resource_group(self.world, RESOURCE_GROUP, LOCATION)
        for name in plan.names:
            security, size = plan.security(name)
            seed.vm(
                self.world, name, RESOURCE_GROUP, LOCATION, name in plan.debug, name not in plan.no_secure_boot,
                size, security,
            )  # fmt: skip
        secret = secrets.token_urlsafe(32)
        operator = seed.application(self.world, OPERATOR, secret, OPERATOR_ROLES)
        progress("services: Entra, Resource Manager, Key Vault, Azure Attestation, metadata")
        self.platform = Platform(self.world, plan.cache or plan.directory / "silicon")
        for name in plan.names:
            self.platform.option(name).product = plan.product(name)
        self.running = Running(build(self.world, plan.runtime), plan.directory)
        self.running.start()
        self.closing.callback(self.running.stop)
        self._tpms()
        self._roots.write_text(self.platform.root_pem)
        if plan.door == "ssh":
            common = self._ssh_door()
        else:
            common = self._local_door()
        proxy = self.running.proxy_url()
        who = inventory.Operator(
            self.world.subscription_id,
            self.world.tenant_id,
            operator.app_id,
            secret,
            proxy,
            self.running.bundle,
            operator.object_id,
        )
        inventory.write(plan.directory / "inventory.yml", inventory.document(who, self.hosts, common, plan))
        self.control = control.serve(plan.control, self._commands())
        self.closing.callback(self.control.shutdown)

    def _tpms(self) -> None:
        for name in self.plan.names:
            tpm = VirtualTpm(self.world, name, self.platform, self.plan.runtime / name)
            tpm.log_changed = functools.partial(self._log_changed, name)
            tpm.start()
            self.closing.callback(tpm.stop)
            self.tpms[name] = tpm
        progress(f"{len(self.tpms)} virtual TPMs, attestation keys certified, boots measured")

    # --- the local door

    def _local_door(self) -> dict[str, t.Any]:
        """VMs are told apart by proxy user and by port; their files live in memory."""
        memory = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else self.plan.runtime
        files = self._files = memory / self.plan.runtime.name
        files.mkdir(mode=0o700, exist_ok=True)
        self.closing.callback(lambda: subprocess.run(["rm", "-rf", str(files)], check=False))
        for name, tpm in self.tpms.items():
            self.hosts[name] = {
                "skr_tpm_device": f"unix:{tpm.socket_path}",
                "skr_imds_endpoint": f"http://127.0.0.1:{self.running.imds(name)}",
                "skr_guest_https_proxy": self.running.proxy_url(name),
                "skr_event_log_path": str(self._event_log(name)),
                "skr_cache_dir": str(files / name / "cache"),
                "skr_evidence_dir": str(files / name / "evidence"),
                "skr_dest": str(files / name / "app.pem"),
            }
        progress("door: local (loopback, no root needed)")
        return {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "skr_become": False,
            "skr_guest_ca_path": str(self.running.bundle),
            "skr_report_roots_path": str(self._roots),
        }

    def _event_log(self, name: str) -> Path:
        path = self.plan.runtime / name / "event_log"
        path.write_bytes(self.tpms[name].event_log)
        return path

    # --- what a boot changes outside the TPM

    def _log_changed(self, name: str) -> None:
        """The kernel shows the event log of this boot; before the doors are open nobody can see it."""
        made = next((one for one in self._running_hosts if one.name == name), None)
        if made is not None:
            made.show_event_log(self.tpms[name].event_log)
        elif name in self.hosts:
            self._event_log(name)

    def _power_cycle(self, name: str) -> None:
        """What a VM kept in memory is gone."""
        made = next((one for one in self._running_hosts if one.name == name), None)
        if made is not None:
            made.empty_memory()
        elif self.plan.door == "local":
            host.empty(self._files / name)

    # --- the ssh door

    def _ssh_door(self) -> dict[str, t.Any]:
        """VMs are hosts of their own, with real names, addresses, devices and certificates."""
        network = netns.Network(self.plan.run_id)
        self.closing.callback(network.close)
        network.up()
        tls = netns.listener(network.core, "0.0.0.0", 443)
        metadata = netns.listener(network.core, netns.METADATA_ADDRESS, 80)
        self.running.listen_by_address(tls, metadata)
        self._resolver(network.core)
        ssh = self._ssh_keys()
        python, visible = host.interpreter()
        ports = {}
        for number, name in enumerate(self.plan.names, 1):
            ports[name] = self._host(network, number, name, ssh, visible)
        self._ssh_config(ssh, ports)
        self._await_ssh(ports)
        progress(f"door: ssh ({len(ports)} hosts with sshd, /dev/tpmrm0 and 169.254.169.254)")
        return {
            "ansible_user": "root",
            "ansible_ssh_private_key_file": str(ssh / "id"),
            "ansible_ssh_common_args": f"-F {ssh / 'config'}",
            "ansible_ssh_pipelining": True,
            "ansible_python_interpreter": python,
            "skr_report_roots_path": "/etc/ssl/skrsim-hardware-roots.pem",
            "skr_dest": "/run/app/app.pem",
            "skr_owner": "app",
        }

    def _resolver(self, namespace: str) -> None:
        def bound() -> socket.socket:
            made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            made.bind((netns.CORE_ADDRESS, 53))
            made.setblocking(False)
            return made

        made = netns.inside(namespace, bound)

        async def start() -> None:
            await self.running.loop.create_datagram_endpoint(
                lambda: dns.Resolver(self.running.app.serves, netns.CORE_ADDRESS), sock=made
            )

        self.running.call(start())

    def _ssh_keys(self) -> Path:
        ssh = self.plan.directory / "ssh"
        ssh.mkdir(mode=0o700, exist_ok=True)
        for old in ("id", "id.pub"):
            (ssh / old).unlink(missing_ok=True)
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "skrsim", "-f", str(ssh / "id")], check=True
        )
        return ssh

    def _host(self, network: netns.Network, number: int, name: str, ssh: Path, visible: list[str]) -> int:
        namespace, address = network.add_host(number)
        self.running.app.addresses[address] = name
        devices = self.plan.runtime / name / "dev"
        devices.mkdir()
        tpm = self.tpms[name]
        tpm.mount(devices / "tpmrm0")
        tpm.mount(devices / "tpm0", exclusive=True)
        made = host.Host(name, number, self.plan.runtime / name, devices)
        made.prepare(address, tpm.event_log, (ssh / "id.pub").read_text(), self.platform.root_pem)
        hidden = [self.plan.directory, self.plan.runtime]
        made.start(namespace, self.running.bundle, self.running.authority, hidden, visible)
        self.closing.callback(made.stop)
        leftovers.note_host(self.plan.runtime, made.pid)
        self._running_hosts.append(made)
        server, port = self.running.call(forward.forward(network.core, address, 22))
        self.closing.callback(lambda: self.running.loop.call_soon_threadsafe(server.close))
        self.hosts[name] = {"ansible_host": "127.0.0.1", "ansible_port": port}
        return port

    def _ssh_config(self, ssh: Path, ports: dict[str, int]) -> None:
        known = [f"[127.0.0.1]:{ports[made.name]} {made.host_key}" for made in self._running_hosts]
        (ssh / "known_hosts").write_text("\n".join(known) + "\n")
        lines = []
        for name, port in ports.items():
            lines += [f"Host {name}", "  HostName 127.0.0.1", f"  Port {port}"]
        lines += ["Host *", "  User root", f"  IdentityFile {ssh / 'id'}", "  IdentitiesOnly yes"]
        lines += [f"  UserKnownHostsFile {ssh / 'known_hosts'}", "  StrictHostKeyChecking yes", "  LogLevel ERROR"]
        (ssh / "config").write_text("\n".join(lines) + "\n")

    def _await_ssh(self, ports: dict[str, int]) -> None:
        """Wait until every sshd shows its banner."""
        deadline = time.monotonic() + 60
        for made in self._running_hosts:
            while not _banner(ports[made.name]):
                problem = made.failure()
                if problem or time.monotonic() > deadline:
                    raise RuntimeError(f"host {made.name} did not come up: {problem or 'no answer in 60 s'}")
                time.sleep(0.05)

    # --- control

    def _commands(self) -> dict[str, control.Handler]:
        return {
            "status": self._status,
            "audit": lambda request: self.world.audit.records(int(request.get("since", 0))),
            "fault_add": lambda request: self.world.faults.add(fault_rows.checked(request["row"])),
            "fault_list": lambda request: [vars(row) for row in self.world.faults.rows()],
            "fault_clear": lambda request: self.world.faults.remove(request.get("id")),
            "clock": lambda request: self.world.clock.advance(float(request.get("seconds", 0))),
            "delays": self._delays,
            "throttling": self._throttling,
            "key": self._key,
            "vault": self._vault,
            "hsm_role": self._hsm_role,
            "hsm_activate": lambda request: setattr(self.world.hsms[request["name"].lower()], "activated", True),
            "vault_delete": self._vault_delete,
            "private_endpoint": lambda request: self.world.vaults[request["vault"].lower()].private_endpoints.update(
                {request["name"]: {"id": request["id"], "status": "Pending", "text": "please"}}
            ),
            "principals": lambda request: [
                self.world.new_managed_identity(f"identity-{number}", "").object_id
                for number in range(request["count"])
            ],
            "resource": self._resource,
            **directory.commands(self.world),
            **vms.VmCommands(self.world, self.platform, self.tpms, self._power_cycle).commands(),
        }

    def _status(self, _request: dict[str, t.Any]) -> dict[str, t.Any]:
        return {
            "pid": os.getpid(),
            "door": self.plan.door,
            "tenant": self.world.tenant_id,
            "subscription": self.world.subscription_id,
            "proxy": self.running.proxy_url(),
            "ca_bundle": str(self.running.bundle),
            "audit": self.world.audit.last,
            "vms": {
                name: {
                    "tpm_commands": tpm.relay.commands,
                    "tpm_opens": tpm.relay.opens,
                    "tpm_seconds": round(tpm.relay.seconds, 6),
                    "tpm_openers": tpm.relay.openers,
                    "tpm_left": tpm.relay.left,
                    "tpm_names": dict(tpm.relay.names),
                    "principal": self.world.vms[name].system_principal,
                }
                for name, tpm in self.tpms.items()
            },
        }

    def _delays(self, request: dict[str, t.Any]) -> None:
        for name, value in request["values"].items():
            if not hasattr(self.world.delays, name):
                raise ValueError(f"there is no delay {name}")
            setattr(self.world.delays, name, value)

    def _throttling(self, request: dict[str, t.Any]) -> None:
        """Count requests or stop counting. ``limits`` scales those of vaults (``{"RSA-2048": 25}``) until the next call,
        ``retry_after`` says whether a vault's refusal tells when to come again.
        """
        limits = request.get("limits") or {}
        for name, value in limits.items():
            if name not in throttle.LIMITS or not isinstance(value, int) or value < 1:
                kinds = ", ".join(throttle.LIMITS)
                raise ValueError(f"limits wants numbers from 1 for some of {kinds}, found {name}={value}")
        self.world.limits = limits
        self.world.throttling_tells = bool(request.get("retry_after", True))
        self.world.throttling = bool(request["on"])

    def _key(self, request: dict[str, t.Any]) -> t.Any:
        """Look into a vault's key as only the simulator can: its versions' public fingerprints."""
        key = self.world.keys[(request["vault"].lower(), request["key"].lower())]
        return {"versions": [version.version for version in key.versions], "policy": key.release_policy}

    def _vault(self, request: dict[str, t.Any]) -> None:
        """Change what the portal would change behind a playbook's back."""
        vault = self.world.vaults[request["name"].lower()]
        for member, value in request["values"].items():
            if member not in ("sku", "network_acls", "public_network_access"):
                raise ValueError(f"{member} cannot be changed")
            setattr(vault, member, value)

    def _vault_delete(self, request: dict[str, t.Any]) -> None:
        """Delete a vault as somebody else would."""
        arm = next(service for service in self.running.app.services if isinstance(service, ArmService))
        arm.deleted.delete(self.world, self.world.vaults[request["name"].lower()])

    def _hsm_role(self, request: dict[str, t.Any]) -> None:
        """Give the operator a local role, as an administrator of the HSM would by hand."""
        hsm = self.world.hsms[request["name"].lower()]
        operator = next(one for one in self.world.principals.values() if one.name == OPERATOR)
        made = LocalAssignment(self.world.guid(), "/", request["role"], operator.object_id)
        hsm.local_assignments[made.name] = made

    def _resource(self, request: dict[str, t.Any]) -> None:
        """Make what others would have made: a network interface beside its network, VMs, or a scale set."""
        if request["kind"] == "interface":
            group = request["id"].partition("/providers/")[0]
            subnet = f"{group}/providers/Microsoft.Network/virtualNetworks/cvm-network/subnets/default"
            self.world.resources[request["id"].lower()] = {
                "id": request["id"], "name": request["id"].rpartition("/")[2], "location": LOCATION, "tags": {},
                "type": "Microsoft.Network/networkInterfaces",
                "properties": {"ipConfigurations": [{"name": "a", "properties": {"subnet": {"id": subnet}}}]},
            }  # fmt: skip
            return
        if request["kind"] == "vms":  # control plane alone: no guest, no vTPM
            for number in range(int(request["count"])):
                seed.vm(self.world, f"{request['prefix']}-{number:04d}", request["group"], LOCATION)
            return
        made = ScaleSet(
            request["name"], self.world.subscription_id, RESOURCE_GROUP, LOCATION, "Standard_DC2as_v5",
            int(request["capacity"]),
        )  # fmt: skip
        self.world.scale_sets[made.id.lower()] = made

    def close(self) -> None:
        self.closing.close()


def _banner(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 2) as connection:
        connection.settimeout(2)
        return connection.recv(4) == b"SSH-"
    return False


def main(state: str) -> int:
    plan = Plan.load(Path(state))
    leftovers.note_lab(plan.runtime)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_arguments: stop.set())
    lab = Lab(plan)
    try:
        lab.up()
        progress("READY")
        # Whoever started the lab closes its end of the pipe now; nothing may be written there any more.
        sys.stdout.close()
        os.close(1)
        os.open(os.devnull, os.O_WRONLY)
        while not stop.wait(3600):
            pass
    finally:
        lab.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
