# SPDX-License-Identifier: GPL-3.0-or-later
"""Roll-outs over a lab's hosts: within a vault's limit and against it, with failures, a canary, a rotation and an audit.

What is counted comes from the audit log of the simulated cloud. The vault's documented limits are scaled down to the size of
the fleet: fifty hosts are to a limit of 40 what five hundred are to one of 400. Throttling is switched off when a scenario ends.
"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

from labkit import Lab

from ansible_collections.confidential.azure_skr.plugins.module_utils.audit import bundle
from ansible_collections.confidential.azure_skr.plugins.module_utils.fleet import budget as fleet_budget

Measured = tuple[str, float, str, float]
LIMIT = 40  # requests in ten seconds: fifty hosts with two requests each break it unless they are held back
STORM_LIMIT = 25  # what RSA-4096 allows five hundred hosts, for fifty; met at the pace at which Ansible reaches them
FORKS = ("--forks", "25")
CANARY, EACH = 5, 4  # hosts of the first batch; hosts that fail for each of the three reasons


def _failures(done: subprocess.CompletedProcess[str]) -> str:
    """What failed in a playbook, without the recap of all hosts."""
    body = done.stdout.partition("PLAY RECAP")[0]
    fatal = [body[found.start() : found.start() + 1500] for found in re.finditer(r"^fatal: ", body, re.MULTILINE)]
    return "\n".join([f"ended with {done.returncode}", *(fatal[:3] or [body[-3000:]]), done.stderr[-2000:]])


def silent(_text: str) -> None:
    """For who prints nothing."""


class Rollouts:
    """Runs of one lab, each with a state file of its own."""

    def __init__(
        self,
        made: Lab,
        variables: dict[str, Any] | None = None,
        canary: int = CANARY,
        tell: Callable[[str], Any] = silent,
    ) -> None:
        self.lab, self.tell = made, tell
        self.folder = made.directory / "runs"
        self.vault = str((variables or {}).get("skr_vault_name", made.variables["skr_vault_name"]))
        self.variables = {
            "skr_run_dir": str(self.folder),
            "skr_canary": canary,
            "skr_serial": "100%",
            **(variables or {}),
        }

    def play(
        self, name: str, run: str, *words: str, ends: int = 0, **variables: Any
    ) -> subprocess.CompletedProcess[str]:
        """A playbook to its end, which must be this one; prints the lines of its summary."""
        given = {**self.variables, "skr_run": run, "skr_wait_for_grant": 0, **variables}
        done: subprocess.CompletedProcess[str] = self.lab.playbook(name, *FORKS, *words, variables=given)
        assert done.returncode == ends, _failures(done)
        for line in done.stdout.splitlines():
            if re.search(r"hosts hold the key|STOPPED|^\s+- '?(released|[a-z_]+): \d+ hosts?\b", line):
                self.tell(f"   {line.strip(' -')[:150]}")
        return done

    def state(self, run: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / f"{run}-1.json").read_text())
        return found

    def file(self, run: str) -> str:
        return str(self.folder / f"{run}-1.json")

    def touched(self, since: int) -> set[str]:
        """VMs that asked anybody for anything."""
        return {str(one["vm"]) for one in self.lab.audit(since) if one.get("vm")}

    def asked(self, since: int) -> list[dict[str, Any]]:
        """What the VMs asked of vaults, in the order of time."""
        return [one for one in self.lab.audit(since, service="keyvault") if one.get("vm")]

    @contextlib.contextmanager
    def limit(self, requests: int) -> Iterator[None]:
        """The vault's window for the length of a block."""
        self.lab.call("throttling", on=True, limits={"RSA-2048": requests})
        try:
            yield
        finally:
            self.lab.call("throttling", on=False)

    @contextlib.contextmanager
    def two_requests(self) -> Iterator[None]:
        """An inventory without the key's policy for the length of a block: each host reads the live one, and so asks twice."""
        before = self.lab.inventory
        inventory = json.loads(before.read_text())
        del inventory["all"]["children"]["cvm"]["vars"]["skr_release_policy"]
        path = self.lab.directory / "live.yml"
        path.touch(mode=0o600)
        path.write_text(json.dumps(inventory))
        self.lab.inventory = path
        try:
            yield
        finally:
            self.lab.inventory = before


def budget(
    made: Lab,
    tell: Callable[[str], Any] = silent,
    meanwhile: Callable[[Lab], list[Measured]] = lambda _made: [],
) -> list[Measured]:
    """AC-24 with a budget: a limit that all hosts together would break is kept, and nobody is refused.

    Most of that is waiting. ``meanwhile`` runs beside it, in a cloud that counts requests, and its rows come first.
    """
    runs = Rollouts(made, tell=tell)
    mark = made.mark
    with runs.limit(LIMIT), runs.two_requests(), futures.ThreadPoolExecutor(1) as pool:
        beside = pool.submit(meanwhile, made)
        runs.play("rollout", "budget", skr_request_limit=LIMIT)
        rows = beside.result()
    asked = runs.asked(mark)
    assert len(asked) >= 2 * len(made.hosts) > LIMIT, len(asked)
    assert runs.state("budget")["open"] == []
    refused = sum(one["status"] == 429 for one in asked)
    allowed = fleet_budget.allowed("RSA-HSM", 4096, 0.5)
    fleet = [f"web-{number:04d}" for number in range(500)]
    moments = sorted(fleet_budget.delay(host, fleet, allowed) for host in fleet)
    most = max(sum(begin <= one < begin + fleet_budget.WINDOW_S for one in moments) for begin in moments)
    return [
        *rows,
        (
            "rollout.vault_peak_10s",
            made.peak(runs.vault, since=mark),
            f"of {len(asked)} requests, with a budget",
            LIMIT,
        ),
        ("rollout.http_429_share", round(refused / len(asked), 4), f"of {len(asked)} requests", 0.02),
        ("rollout500.planned_peak_10s", most * fleet_budget.REQUESTS_A_RELEASE, "requests, RSA-4096, all moments", 250),
    ]


def too_early(asked: list[dict[str, Any]]) -> int:
    """How many requests came sooner after a refusal of the same VM's than the refusal's Retry-After said."""
    early, until = 0, dict[str, float]()
    for one in asked:
        early += one["time"] < until.get(one["vm"], 0.0)
        if one["status"] == 429:
            until[one["vm"]] = one["time"] + one["retry_after"]
    return early


def storm(made: Lab, tell: Callable[[str], Any] = silent) -> list[Measured]:
    """AC-24 without a budget: hosts are refused, come again no sooner than they were told, and all hold the key at the end."""
    runs = Rollouts(made, canary=len(made.hosts), tell=tell)
    mark = made.mark
    with runs.limit(STORM_LIMIT), runs.two_requests():
        runs.play("rollout", "storm", skr_request_share=0)
    asked = runs.asked(mark)
    refused = sum(one["status"] == 429 for one in asked)
    assert refused > 0, "nobody was refused: the limit is too high to show anything"
    assert runs.state("storm")["open"] == []
    tell(f"   {refused} of {len(asked)} requests were refused at a limit of {STORM_LIMIT} in ten seconds")
    return [("storm.retry_after_broken", too_early(asked), f"requests, after {refused} refusals", 0)]


def canary(made: Lab, tell: Callable[[str], Any] = silent) -> list[Measured]:
    """AC-26: two of the first five are refused where 20 percent may; nobody else is touched, nor the key or its policy."""
    runs = Rollouts(made, tell=tell)
    first = list(made.hosts)[:CANARY]
    bad = [first[1], first[3]]
    for host in bad:
        made.reboot(host, secure_boot=False)
    mark = made.mark
    runs.play("rollout", "canary", ends=2, skr_max_failure_share=20)
    touched, writes = runs.touched(mark), made.writes(mark)
    for host in bad:
        made.reboot(host, secure_boot=True)
    state = runs.state("canary")
    assert state["stopped"]["reason"] == "failure_share_exceeded", state["stopped"]
    assert state["open"] == sorted(set(made.hosts) - (set(first) - set(bad)))
    assert touched >= set(first)
    return [
        (
            "canary.hosts_beyond_it",
            len(touched - set(first)),
            f"hosts of {len(made.hosts)}, after 2 of {CANARY} failed",
            0,
        ),
        ("canary.control_plane_writes", len(writes), "requests", 0),
    ]


def touched_wrongly(touched: set[str], still_open: set[str]) -> int:
    """Hosts that had a turn though they were not open, and open ones that had none."""
    return len(touched ^ still_open)


def resume(
    made: Lab, variables: dict[str, Any] | None = None, each: int = EACH, tell: Callable[[str], Any] = silent
) -> list[Measured]:
    """AC-25: hosts fail for three reasons; two are mended, then the third; each run touches what is open and nothing else."""
    runs = Rollouts(
        made,
        {"skr_max_failure_share": 100, "skr_request_share": 0, **(variables or {})},
        canary=len(made.hosts),
        tell=tell,
    )
    hosts = list(made.hosts)
    # Spread over the fleet, so that no batch is of one kind.
    unsafe, nobody, away = (sorted(hosts[at :: len(hosts) // each][:each]) for at in (1, 2, len(hosts) // each - 1))
    broken = {*unsafe, *nobody, *away}
    assert len(broken) == 3 * each
    for host in unsafe:
        made.reboot(host, secure_boot=False)
    for host in nobody:
        made.call("vm_identities", name=host, count=0)
    path = made.directory / "away.yml"
    closed = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 9}
    path.write_text(json.dumps({"all": {"hosts": dict.fromkeys(away, closed)}}))

    mark = made.mark
    first = runs.play("rollout", "first", "-i", str(path), ends=2)
    state = runs.state("first")
    reasons = {"policy_not_met": unsafe, "identity_not_found": nobody, "vm_unreachable": away}
    assert state["open"] == sorted(broken)
    for host, one in state["hosts"].items():
        wanted = next((reason for reason, names in reasons.items() if host in names), "released")
        assert one["reason"] == wanted, (host, one)
    for reason, names in reasons.items():
        assert f"{reason}: {len(names)} host" in first.stdout, first.stdout[-3000:]
    assert runs.touched(mark) == set(hosts) - set(away)

    done = made.playbook("provision", "--limit", ",".join(nobody), variables=variables)
    assert done.returncode == 0, _failures(done)
    mark = made.mark
    runs.play("rollout", "second", ends=2, skr_resume=runs.file("first"))
    wrong = touched_wrongly(runs.touched(mark), broken)
    assert runs.state("second")["open"] == unsafe

    for host in unsafe:
        made.reboot(host, secure_boot=True)
    mark = made.mark
    # All lists of the folder together: what a later run has done is not open any more.
    runs.play("rollout", "third", skr_resume=str(runs.folder / "*-1.json"))
    wrong += touched_wrongly(runs.touched(mark), set(unsafe))
    assert runs.state("third")["open"] == []
    return [("resume.hosts_touched_wrongly", wrong, f"hosts, {len(broken)} and {each} of {len(hosts)} open", 0)]


def rotation(made: Lab, tell: Callable[[str], Any] = silent) -> list[Measured]:
    """AC-27: a new version, every host reports it, and only then the old one is disabled."""
    runs = Rollouts(made, tell=tell)
    mark = made.mark
    runs.play("rotate", "rotate", skr_rotate_if_older_than="PT1S", skr_request_share=0)
    uri = f"https://{runs.vault}.vault.azure.net"
    key = made.module("exportable_key_info", **made.azure(), vault_uri=uri, key_name=made.variables["skr_key_name"])
    new, *old = key["keys"][0]["versions"]
    assert new["enabled"] and old and not any(one["enabled"] for one in old)
    hosts = runs.state("rotate")["hosts"]
    reported = [host for host, one in hosts.items() if one["key_version"] == new["version"] and one["changed"]]
    log = made.audit(mark, service="keyvault")
    last = max(one["seq"] for one in log if one["operation"] == "key_release" and one["decision"] == "allowed")
    assert all(one["seq"] > last for one in log if one["operation"] == "key_update" and one["write"])
    return [("rotate.hosts_behind", len(set(made.hosts) - set(reported)), f"hosts of {len(made.hosts)}", 0)]


def audit(made: Lab, tell: Callable[[str], Any] = silent) -> list[Measured]:
    """AC-29: the releases of all hosts in one bundle, which verifies, and the report."""
    mark = made.mark
    given = {"skr_audit_dest": str(made.directory), "skr_audit_name": "fleet"}
    done = made.playbook("audit", *FORKS, variables=given)
    assert done.returncode == 0, _failures(done)
    told = re.search(r"VERIFIED: \d+ records of \d+ hosts", done.stdout)
    assert told, done.stdout[-4000:]
    path = made.directory / "fleet.tar.gz"
    found, report = bundle.load(path.read_bytes()), path.with_name("fleet.html")
    assert len(report.read_text()) > 10_000 and "cvm-01" in report.read_text()
    tell(f"   {told[0]}; bundle {path.stat().st_size >> 10} kB, report {report.stat().st_size >> 10} kB")
    return [
        ("audit.hosts_missing", len(set(made.hosts) - set(found.records)), f"hosts of {len(made.hosts)}", 0),
        ("audit.writes", len(made.writes(mark)), "requests", 0),
    ]
