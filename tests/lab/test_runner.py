# SPDX-License-Identifier: GPL-3.0-or-later
"""What AWX would run, run as it runs it: ansible-runner on a private data directory, with AWX's inventory, variables and slices.

A known key goes through all of it, and is searched for in everything that a runner leaves.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import labkit
import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import rsa
from lab.conftest import NO_SSH_DOOR
from lab.test_sentinel import import_key
from lab.test_ssh_site import on
from labkit import Lab
from sentinel import Sentinel

# The operator's credential is no part of an inventory in AWX, but of a credential, which becomes the environment.
CREDENTIAL = {
    "skr_subscription_id": "AZURE_SUBSCRIPTION_ID", "skr_tenant": "AZURE_TENANT", "skr_client_id": "AZURE_CLIENT_ID",
    "skr_secret": "AZURE_SECRET",
}  # fmt: skip
# All digits would be read as a number: AWX writes !unsafe before it, which leaves the type open.
UNKNOWN = "0123456789abcdef" * 2
RUN = "import json, sys, ansible_runner; sys.exit(ansible_runner.run(**json.loads(sys.argv[1])).rc)"


class _Answers(yaml.SafeDumper):
    """Writes texts as AWX does: as answers, in which nothing is a template."""


_Answers.add_representer(str, lambda dumper, text: dumper.represent_scalar("!unsafe", text))


@dataclass
class Job:
    """A job of AWX: its private data directory, and what it left."""

    directory: Path
    number: int

    @property
    def artifacts(self) -> Path:
        return self.directory / "artifacts" / str(self.number)

    def events(self, kind: str) -> list[dict[str, Any]]:
        files = (self.artifacts / "job_events").glob("*.json")
        found = [json.loads(path.read_text()) for path in files if "partial" not in path.name]
        return [event["event_data"] for event in found if event["event"] == kind]

    @property
    def stats(self) -> dict[str, Any]:
        (event,) = self.events("playbook_on_stats")
        return event

    @property
    def told(self) -> dict[str, Any]:
        """The artifacts of the job, as AWX shows them and gives them to the next one."""
        artifacts: dict[str, Any] = self.stats["artifact_data"]
        return artifacts

    @property
    def arguments(self) -> dict[str, Any]:
        return {
            "private_data_dir": str(self.directory), "playbook": self.playbook, "ident": str(self.number),
            "suppress_env_files": True, "fact_cache_type": "jsonfile", "quiet": True, "verbosity": 4,
        }  # fmt: skip

    playbook: str = ""


class Awx:
    """As much of AWX as stands around a job."""

    def __init__(self, lab: Lab, folder: Path, sentinel: Sentinel) -> None:
        self.lab, self.folder, self.sentinel, self.jobs = lab, folder, sentinel, 0

    def inventory(self, number: int, count: int) -> dict[str, Any]:
        """Every count-th host from the given one on, in the order of their names; groups have these hosts alone."""
        hosts = sorted(self.lab.hosts)[number - 1 :: count]
        variables = {name: value for name, value in self.lab.variables.items() if name not in CREDENTIAL}
        told = {"remote_tower_enabled": "true", "remote_tower_id": 1}
        return {
            "all": {"hosts": [], "children": ["cvm"]},
            "cvm": {"hosts": hosts, "vars": variables},
            "_meta": {"hostvars": {host: {**self.lab.hosts[host], **told} for host in hosts}},
        }

    def job(self, playbook: str, answers: dict[str, Any] | None = None, part: int = 1, parts: int = 1) -> Job:
        self.jobs += 1
        job = Job(self.folder / f"job-{self.jobs}", 100 + self.jobs, f"playbooks/{playbook}.yml")
        for name in ("env", "inventory"):
            (job.directory / name).mkdir(parents=True)
        shutil.copytree(labkit.ROOT / "playbooks", job.directory / "project/playbooks")
        script = job.directory / "inventory/hosts"
        text = json.dumps(self.inventory(part, parts))
        script.write_text(f"#! /usr/bin/env python3\n# -*- coding: utf-8 -*-\nprint({text!r})\n")
        script.chmod(0o700)
        # No variable tells a slice that it is one.
        meta = {f"{word}_job_id": job.number for word in ("awx", "tower")} | {"awx_job_launch_type": "manual"}
        (job.directory / "env/extravars").write_text(yaml.dump({**(answers or {}), **meta}, Dumper=_Answers))
        azure = {word: str(self.lab.variables[name]) for name, word in CREDENTIAL.items()}
        given = azure | {"ANSIBLE_HOST_KEY_CHECKING": "True", "AWX_PRIVATE_DATA_DIR": str(job.directory)}
        (job.directory / "env/envvars").write_text(json.dumps(given))
        return job

    def start(self, job: Job) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", RUN, json.dumps(job.arguments)]
        return subprocess.Popen(command, env=self.environment(), cwd=self.folder, start_new_session=True)

    def run(self, job: Job) -> int:
        return self.start(job).wait(300)

    def remote(self, *jobs: Job) -> None:
        """Run jobs at the same time, each elsewhere: transmit | worker | process, with a directory for the worker alone."""
        started = []
        for job in jobs:
            worker = self.folder / f"worker-{job.number}"
            worker.mkdir()
            transmit = {**job.arguments, "streamer": "transmit"}
            steps: list[dict[str, Any]] = [
                transmit,
                {"streamer": "worker", "private_data_dir": str(worker)},
                {
                    "streamer": "process",
                    "private_data_dir": str(job.directory),
                    "ident": str(job.number),
                    "quiet": True,
                },
            ]
            before = None
            for step in steps:
                end = None if step is steps[-1] else subprocess.PIPE
                command = [sys.executable, "-c", RUN.replace(".rc", ".rc or 0"), json.dumps(step)]  # None until the end
                after = subprocess.Popen(command, stdin=before, stdout=end, env=self.environment(), cwd=self.folder)
                if before:
                    before.close()
                before = after.stdout
                started.append(after)
        for process in started:
            process.wait(300)

    def environment(self) -> dict[str, str]:
        return labkit.environment() | {"HOME": str(self.folder), "TMPDIR": str(self.folder / "tmp")}

    def clean(self, since: float) -> None:
        """Neither key nor token in anything that runners wrote. The operator's secret was given to them, as the environment of
        the job: it may be there, and in the file where ansible-runner itself notes that environment, but nowhere else."""
        assert self.sentinel.files([self.folder], set(), since) == []
        secret = str(self.lab.variables["skr_secret"]).encode()
        for path in self.folder.rglob("*"):
            if path.is_file() and path.parent.name != "env" and path.name != "command":
                assert secret not in path.read_bytes(), path


@pytest.fixture(scope="module")
def awx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Awx]:
    if NO_SSH_DOOR:
        pytest.skip("the ssh door needs root, openssh-server and iproute2")
    folder = Path("/tmp") / f"skr-awx-{os.getpid()}"  # short: ssh's control sockets lie below it
    (folder / "tmp").mkdir(parents=True)
    key = rsa.generate_private_key(65537, 2048)
    with labkit.lab("--vms", "3", "--door", "ssh", "--debug", "cvm-03") as lab:
        made = lab.playbook("provision", variables={"skr_key_name": "other"})
        assert made.returncode == 0, made.stdout
        import_key(lab, key)
        yield Awx(lab, folder, Sentinel(key))
    shutil.rmtree(folder)


def take_away(awx: Awx, *hosts: str) -> None:
    for host in hosts or tuple(awx.lab.hosts):
        on(awx.lab, host, "rm -f /run/app/app.pem")


def holds(awx: Awx, host: str) -> bool:
    """Whether a host has the whole key; nothing else may lie beside it."""
    found = on(awx.lab, host, "ls -A /run/app; cat /run/app/app.pem 2>/dev/null || true")
    names, _newline, text = found.partition("-----BEGIN")
    assert names.split() in ([], ["app.pem"]), found
    assert not text or awx.sentinel.found_in(text.encode()), "the key is not whole"
    return bool(text)


def test_release(awx: Awx) -> None:
    """AC-28: the survey's answers in, job events and artifacts out, with the reasons and without the key."""
    since = time.time() - 1
    job = awx.job("release", {"skr_key_name": "app-key", "skr_key_version": ""})
    assert awx.run(job) == 2
    assert (job.artifacts / "status").read_text() == "failed"
    assert job.told["azure_skr_summary"] == {
        "by_reason": {"policy_not_met": ["cvm-03"], "released": ["cvm-01", "cvm-02"]},
        "released": ["cvm-01", "cvm-02"],
        "open": ["cvm-03"],
    }
    assert job.told["azure_skr_open"] == ["cvm-03"]
    assert set(job.stats["failures"]) == {"cvm-03"} and job.stats["dark"] == {}
    refusals = [event for event in job.events("runner_on_failed") if event["res"].get("reason")]
    assert {(event["host"], event["res"]["reason"]) for event in refusals} == {("cvm-03", "policy_not_met")}
    assert [holds(awx, host) for host in sorted(awx.lab.hosts)] == [True, True, False]
    awx.clean(since)
    again = awx.job("release", {"skr_key_name": "app-key"})
    assert awx.run(again) == 2 and set(again.stats["changed"]) == set()


def test_the_search_covers_what_a_runner_leaves(awx: Awx) -> None:
    """A search that finds nothing proves something only if it looked: planted in each kind of file, the key is found."""
    job = Job(awx.folder / "job-1", 101)
    written = {path.parent.name for path in job.directory.rglob("*") if path.is_file()}
    assert {"job_events", "fact_cache"} & written and (job.artifacts / "stdout").stat().st_size > 1000
    planted = job.artifacts / "job_events/planted.json"
    planted.write_bytes(b'"' + awx.sentinel.needles["d hex"] + b'"')
    assert awx.sentinel.files([awx.folder], set(), 0)
    planted.unlink()


def test_explain_a_denial(awx: Awx) -> None:
    since = time.time() - 1
    mark = awx.lab.mark
    answers = {"skr_key_name": "app-key", "skr_explain_source": "live", "skr_explain_hosts": "cvm-03,cvm-01"}
    job = awx.job("explain", answers)
    assert awx.run(job) == 0
    told = job.told["azure_skr_explain"]
    assert told["reason"] == "explained" and told["differs"] is False
    assert any("it is an AMD SEV-SNP confidential VM" in line for line in told["explanation"])
    assert set(told["hosts"]) == {"cvm-01", "cvm-03"}
    assert told["hosts"]["cvm-01"]["would_be"] == "released"
    refused = told["hosts"]["cvm-03"]
    assert (refused["would_be"], refused["reason"]) == ("refused", "policy_not_met") and refused["next_step"]
    assert "x-ms-isolation-tee.x-ms-sevsnpvm-is-debuggable" in {one["claim"] for one in refused["failing"]}
    assert awx.lab.writes(mark) == [] and awx.lab.audit(mark, operation="key_release") == []
    awx.clean(since)


def test_answers_are_no_templates(awx: Awx) -> None:
    """What an operator types is a value, whatever it looks like."""
    job = awx.job("explain", {"skr_key_name": "{{ lookup('pipe', 'id') }}", "skr_explain_source": "live"})
    assert awx.run(job) == 2
    assert job.told["azure_skr_explain"]["reason"] == "invalid_input"
    assert "uid=0" not in (job.artifacts / "stdout").read_text()


def test_a_step_goes_on_with_the_version_of_the_one_before(awx: Awx) -> None:
    """The artifacts of a step are variables of the next; a template of the job template's own reads them."""
    text = (labkit.ROOT / "playbooks/vars/awx/job_templates.yml").read_text()
    template = re.search(r"^awx_objects_version_before: !unsafe (.+)$", text, re.MULTILINE)
    assert template
    job = awx.job("release", {"skr_key_name": "app-key", "azure_skr_rotate": {"version": UNKNOWN}})
    with (job.directory / "env/extravars").open("a") as stream:
        stream.write(f"skr_key_version: {template.group(1)}\n")
    assert awx.run(job) == 2
    refusals = [event["res"] for event in job.events("runner_on_failed") if event["res"].get("reason")]
    assert refusals and all(result["invocation"]["module_args"]["key_version"] == UNKNOWN for result in refusals)
    assert job.told["azure_skr_summary"]["released"] == []


def test_an_unreachable_host_is_in_the_summary(awx: Awx) -> None:
    job = awx.job("release", {"skr_key_name": "app-key"})
    script = job.directory / "inventory/hosts"
    broken = json.dumps(
        {"ansible_host": "192.0.2.1", "ansible_ssh_extra_args": "-o ConnectTimeout=1 -o HostName=192.0.2.1"}
    )
    data = json.loads(subprocess.run([str(script)], capture_output=True, text=True, check=True).stdout)
    data["_meta"]["hostvars"]["cvm-02"] |= json.loads(broken)
    script.write_text(f"#! /usr/bin/env python3\nprint({json.dumps(data)!r})\n")
    awx.run(job)
    assert job.told["azure_skr_summary"]["by_reason"] == {
        "policy_not_met": ["cvm-03"], "released": ["cvm-01"], "vm_unreachable": ["cvm-02"],
    }  # fmt: skip
    assert job.told["azure_skr_open"] == ["cvm-02", "cvm-03"] and set(job.stats["dark"]) == {"cvm-02"}


def test_slices_elsewhere_at_the_same_time(awx: Awx) -> None:
    """Two workers with directories of their own, each with its slice: every host is somebody's, and nobody's twice."""
    since = time.time() - 1
    take_away(awx)
    jobs = [awx.job("release", {"skr_key_name": "app-key"}, part, 2) for part in (1, 2)]
    awx.remote(*jobs)
    hosts = [set(job.stats["processed"]) for job in jobs]
    assert hosts == [{"cvm-01", "cvm-03"}, {"cvm-02"}]
    assert [job.told["azure_skr_open"] for job in jobs] == [["cvm-03"], []]
    assert [(job.artifacts / "status").read_text() for job in jobs] == ["failed", "successful"]
    assert [holds(awx, host) for host in sorted(awx.lab.hosts)] == [True, True, False]
    awx.clean(since)


def test_slices_provision_at_the_same_time(awx: Awx) -> None:
    """Control-plane tasks run once in each slice, and neither fails for the other: there is one vault and one key, and nothing
    is written the next time. Azure makes a version each time it is told to make a key, so two at the same moment make two.
    """
    answers = {"skr_key_name": "sliced", "skr_key_type": "RSA-HSM"}
    for wave in (1, 2):
        mark = awx.lab.mark
        jobs = [awx.job("provision", answers, part, 2) for part in (1, 2)]
        running = [awx.start(job) for job in jobs]
        assert [process.wait(300) for process in running] == [0, 0], (jobs[0].artifacts / "stdout").read_text()
        if wave == 2:
            assert awx.lab.writes(mark) == []
    uri = f"https://{awx.lab.variables['skr_vault_name']}.vault.azure.net"
    shown = awx.lab.module("exportable_key_info", **awx.lab.azure(), vault_uri=uri, key_name="sliced")
    assert len(shown["keys"]) == 1 and len(shown["keys"][0]["versions"]) in (1, 2)


def test_a_slice_is_killed(awx: Awx) -> None:
    """kill -9 in the middle of a release: no host has half a key, nor a file too many; another run does the rest."""
    take_away(awx)
    since, mark = time.time() - 1, awx.lab.mark
    job = awx.job("release", {"skr_key_name": "app-key"})
    with awx.lab.fault("delay", service="keyvault", operation="key_release", seconds=4):
        process = awx.start(job)
        until = time.time() + 60
        while not awx.lab.audit(mark, operation="key_release") and not asked(awx, mark):
            assert time.time() < until and process.poll() is None
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGKILL)
        kill_below(awx, job)
        process.wait(10)
        time.sleep(6)  # what was under way on the hosts comes to its end, or not
    before = [holds(awx, host) for host in sorted(awx.lab.hosts)]
    assert before[2] is False
    for host in awx.lab.hosts:
        assert on(awx.lab, host, "pgrep -f '[A]nsiballZ' || true") == ""
    rest = awx.job("release", {"skr_key_name": "app-key"})
    assert awx.run(rest) == 2
    assert rest.told["azure_skr_summary"]["released"] == ["cvm-01", "cvm-02"]
    assert [holds(awx, host) for host in sorted(awx.lab.hosts)] == [True, True, False]
    assert awx.sentinel.files([awx.folder], set(), since) == []


def asked(awx: Awx, mark: int) -> bool:
    """Whether somebody attested: the release is the next that follows."""
    return bool(awx.lab.audit(mark, service="maa"))


def kill_below(awx: Awx, job: Job) -> None:
    """ansible-runner gives the play a session of its own, which the death of the runner does not end."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "environ").read_bytes()
        except OSError:
            continue
        if f"AWX_PRIVATE_DATA_DIR={job.directory}".encode() in words and re.fullmatch(r"\d+", path.name):
            os.kill(int(path.name), signal.SIGKILL)
