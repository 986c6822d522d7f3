# SPDX-License-Identifier: GPL-3.0-or-later
"""The guest agent without Ansible: the packed program releases, repeats, fails, and tells what became of it."""

from __future__ import annotations

import json
import os
import stat
import time
from pathlib import Path

import pytest
from integration.agent import Agent
from integration.site import Site, ready
from integration.test_acceptance_release import fingerprint
from labkit import Lab


@pytest.fixture(scope="module")
def site(shared_lab: Lab) -> Site:
    return ready(shared_lab, vms=("cvm-01", "cvm-02", "cvm-03", "cvm-04"))


def test_release_and_second_release(local_lab: Lab, site: Site) -> None:
    agent = Agent(local_lab, site)
    first = agent.release()
    assert first.returncode == 0 and first.stderr == "", first.stderr
    assert "written" in first.stdout and str(agent.dest) in first.stdout
    assert fingerprint(str(agent.dest)) == site.key["public_key_sha256"]
    assert stat.S_IMODE(os.stat(agent.dest).st_mode) == 0o400
    inode = os.stat(agent.dest).st_ino
    second = agent.release("--json")
    assert second.returncode == 0 and os.stat(agent.dest).st_ino == inode
    told = json.loads(second.stdout)
    assert told == agent.status and told["changed"] is False
    assert told["kid"] == site.key["kid"] and told["outcomes"] == {"released": 2} and told["attempts"] == 1
    assert told["counts"]["http_requests"] == 3 and told["ak_cert_days_left"] > 300
    assert stat.S_IMODE(os.stat(agent.folder / "status" / "app.json").st_mode) == 0o644
    asked = agent.ask_status()
    assert asked.returncode == 0 and asked.stdout.startswith("app: ok\n") and site.key["kid"] in asked.stdout
    assert json.loads(agent.ask_status("--json").stdout)["state"] == "ok"
    assert 'azure_skr_outcomes_total{name="app",reason="released"} 2' in agent.metrics
    assert (
        f'azure_skr_key_info{{name="app",kid="{site.key["kid"]}",version="{told["key_version"]}"}} 1' in agent.metrics
    )


def test_failure_keeps_the_old_file(local_lab: Lab, site: Site) -> None:
    agent = Agent(local_lab, site, "cvm-02")
    assert agent.release().returncode == 0
    before = (os.stat(agent.dest).st_ino, agent.dest.read_bytes())
    with local_lab.fault("tamper", service="keyvault"):
        failed = agent.release("--retry-for", "30")
    assert failed.returncode == 1 and "[response_signature_invalid]" in failed.stderr, failed.stderr
    assert (os.stat(agent.dest).st_ino, agent.dest.read_bytes()) == before
    assert list(agent.dest.parent.glob(".*")) == []
    status = agent.status
    assert status["outcome"] == "failed" and status["kid"] == site.key["kid"] and status["attempts"] == 1
    assert status["cause"] and status["next_step"] and status["outcomes"]["response_signature_invalid"] == 1
    asked = agent.ask_status()
    assert asked.returncode == 1 and "next step:" in asked.stdout
    assert 'azure_skr_last_run_success{name="app"} 0' in agent.metrics
    assert 'reason="response_signature_invalid"} 1' in agent.metrics


def test_refusal_for_good_is_not_repeated(local_lab: Lab, site: Site) -> None:
    agent = Agent(local_lab, site, "cvm-03")
    mark, start = local_lab.mark, time.monotonic()
    refused = agent.release("--retry-for", "60", "--json")
    assert refused.returncode == 1 and time.monotonic() - start < 30
    assert json.loads(refused.stderr)["reason"] == "policy_not_met"
    assert local_lab.audit(mark, operation="key_release") == [] and agent.status["attempts"] == 1
    assert not agent.dest.exists()


def test_missing_grant_is_waited_for(local_lab: Lab, site: Site) -> None:
    """The unit of a new VM may start before the play has given it the permission."""
    place = Site(local_lab, vms=("cvm-05",))
    agent = Agent(local_lab, place, "cvm-05")
    running = agent.start("--retry-for", "60")
    for _round in range(300):
        if Path(agent.options["state_dir"], "app.json").exists() and agent.status["outcome"] == "waiting":
            break
        time.sleep(0.1)
    assert agent.status["reason"] == "permission_missing" and agent.status["next_try"] > 0
    assert agent.ask_status().returncode == 1
    assert place.grant()["changed"]
    out, error = running.communicate(timeout=60)
    assert running.returncode == 0, error
    assert agent.dest.exists() and agent.status["attempts"] > 1 and "written" in out


def test_budget_ends_the_waiting(local_lab: Lab, site: Site) -> None:
    agent = Agent(local_lab, site, "cvm-04")
    with local_lab.fault("busy", service="tpm", operation="open", vm="cvm-04"):
        agent.configure(tpm_timeout=0.2)
        failed = agent.release("--retry-for", "3")
    assert failed.returncode == 75 and "[tpm_busy]" in failed.stderr
    assert agent.status["outcome"] == "failed" and agent.status["attempts"] > 1


def test_termination_leaves_nothing_half_done(local_lab: Lab, site: Site) -> None:
    agent = Agent(local_lab, site, "cvm-04", name="term")
    with local_lab.fault("busy", service="tpm", operation="open", vm="cvm-04"):
        agent.configure(tpm_timeout=0.2)
        running = agent.start("--retry-for", "60")
        for _round in range(300):
            if Path(agent.options["state_dir"], "term.json").exists():
                break
            time.sleep(0.1)
        running.terminate()
        _out, error = running.communicate(timeout=20)
    assert running.returncode == 2 and "interrupted" in error
    assert agent.status["outcome"] == "stopped" and not agent.dest.exists()


@pytest.mark.parametrize(
    ("document", "named"),
    [('{"key_name": "x", "colour": 1}', "colour is no option"), ("[]", "a JSON object"), ("{", "wanted JSON")],
)
def test_bad_configuration_is_told(local_lab: Lab, site: Site, document: str, named: str) -> None:
    agent = Agent(local_lab, site, name="bad")
    agent.config.write_text(document)
    bad = agent.release()
    assert bad.returncode == 2 and named in bad.stderr and "[invalid_input]" in bad.stderr


def test_place_for_status_that_cannot_be_does_not_cost_the_key(local_lab: Lab, site: Site) -> None:
    agent = Agent(local_lab, site, name="blocked")
    (agent.folder / "file").write_text("")
    agent.configure(state_dir=str(agent.folder / "file" / "status"))
    done = agent.release()
    assert done.returncode == 0 and agent.dest.exists() and "state_dir" in done.stderr
