# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks that the AWX kit brings besides those for everybody: explain, finalize; and what release tells a workflow."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import labkit
import pytest
from integration.site import Site, ready
from labkit import Lab


@pytest.fixture(scope="module")
def site(shared_lab: Lab) -> Site:
    return ready(shared_lab, vms=("cvm-01", "cvm-03"))


def play(lab: Lab, name: str, *words: str, **variables: Any) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    """Run a playbook; what it told, and its artifacts as AWX takes them: the last word of the run."""
    command = ["ansible-playbook", "-i", str(lab.inventory), f"confidential.azure_skr.{name}", *words]
    command += ["-e", json.dumps(variables)]
    environment = labkit.environment() | {
        "ANSIBLE_SHOW_CUSTOM_STATS": "true", "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
    }  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=lab.directory, check=False)
    assert "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr
    _before, found, after = done.stdout.partition("RUN: ")
    return done, json.JSONDecoder().raw_decode(after.strip())[0] if found else {}


def of(site: Site, **more: Any) -> dict[str, Any]:
    return {"skr_vault_name": site.vault, "skr_key_name": "app", "skr_hosts": "cvm-01,cvm-03", **more}


def test_explain_a_policy_and_a_denial(local_lab: Lab, site: Site) -> None:
    mark = local_lab.mark
    done, told = play(local_lab, "explain", **of(site, skr_explain_hosts="cvm-03,cvm-01"))
    assert done.returncode == 0, done.stdout
    explained = told["azure_skr_explain"]
    assert explained["key"] == site.key["kid"] and explained["source"] == "live" and not explained["immutable"]
    assert "Branch 1" in " ".join(explained["explanation"])
    assert "satisfied_by_any_tenant" in {finding["code"] for finding in explained["findings"]}
    verdicts = {host: (one["would_be"], one["reason"]) for host, one in explained["hosts"].items()}
    assert verdicts == {"cvm-01": ("released", "policy_satisfied"), "cvm-03": ("refused", "policy_not_met")}
    assert "cvm-03: would be refused [policy_not_met]" in done.stdout
    assert local_lab.writes(mark) == [] and local_lab.audit(mark, operation="key_release") == []


def test_explain_the_inventory_s_policy_without_azure(local_lab: Lab, site: Site) -> None:
    mark = local_lab.mark
    policy = {**site.policy, "anyOf": [{"authority": "https://other.weu.attest.azure.net", "allOf": site.policy["anyOf"][0]["allOf"]}]}  # fmt: skip
    wanted = of(site, skr_release_policy=policy, skr_explain_source="variable", skr_explain_hosts=["cvm-01"])
    done, told = play(local_lab, "explain", **wanted)
    assert done.returncode == 0, done.stdout
    assert told["azure_skr_explain"]["hosts"]["cvm-01"]["reason"] == "authority_mismatch"
    assert {record["service"] for record in local_lab.audit(mark)} <= {"maa", "imds", "proxy", "tpm", "thim"}
    done, told = play(local_lab, "explain", **of(site, skr_release_policy=policy))
    assert told["azure_skr_explain"]["differs"] is True and told["azure_skr_explain"]["hosts"] == {}


def test_explain_where_a_vm_cannot_answer(local_lab: Lab, site: Site) -> None:
    """Its trouble is an explanation too."""
    with local_lab.fault("busy", service="tpm", operation="open", vm="cvm-01"):
        done, told = play(local_lab, "explain", **of(site, skr_explain_hosts="cvm-01"))
    one = told["azure_skr_explain"]["hosts"]["cvm-01"]
    assert done.returncode == 0 and one["reason"] == "tpm_busy" and one["next_step"]


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"skr_explain_source": "both"}, "invalid_input: skr_explain_source is both, wanted live, or variable"),
        (
            {"skr_explain_hosts": "nobody"},
            "invalid_input: skr_explain_hosts is nobody, wanted names, groups or patterns",
        ),
        ({"skr_key_name": "none"}, "The vault has no exportable key none. [key_not_found]"),
        ({"skr_key_name": "a_b"}, "key_name is 'a_b', wanted 1 to 127 letters, digits and hyphens. [invalid_input]"),
    ],
)
def test_explain_says_what_is_wrong(local_lab: Lab, site: Site, variables: dict[str, Any], told: str) -> None:
    done, _told = play(local_lab, "explain", **(of(site) | variables))
    assert done.returncode == 2 and told in done.stdout, done.stdout


def test_release_tells_why_also_when_all_hosts_failed(local_lab: Lab, site: Site) -> None:
    """A version that is none is the operator's mistake, told before anybody is asked."""
    done, told = play(local_lab, "release", **of(site, skr_key_version="latest"))
    assert done.returncode == 2
    assert told["azure_skr_summary"]["by_reason"] == {"invalid_input": ["cvm-01", "cvm-03"]}
    assert told["azure_skr_open"] == ["cvm-01", "cvm-03"]
    assert "key_version is 'latest', wanted 32 hex digits." in done.stdout
    _done, told = play(local_lab, "release", **of(site, skr_key_version=""))  # nobody answered
    assert told["azure_skr_summary"]["released"] == ["cvm-01"]


def test_finalize(local_lab: Lab) -> None:
    """Both need a second word; both are safe to run again; check mode writes nothing."""
    site = Site(local_lab, vms=("cvm-02",), rbac=True)
    mark = local_lab.mark
    for wrong in ({"skr_final_action": "purge"}, {"skr_final_action": "delete", "skr_final_key": "app"}):
        done, told = play(local_lab, "finalize", **of(site), **wrong)
        assert done.returncode == 2 and "invalid_input: skr_final_" in done.stdout and told == {}
    done, _told = play(local_lab, "finalize", "--check", **of(site, skr_final_action="purge", skr_final_key="app"))
    assert done.returncode == 0 and "changed=1" in done.stdout, done.stdout
    assert local_lab.writes(mark) == []
    for action in ("immutable", "purge"):
        wanted = of(site, skr_final_action=action, skr_final_key="app")
        done, told = play(local_lab, "finalize", **wanted)
        assert done.returncode == 0, done.stdout
        assert told["azure_skr_finalize"] == {"action": action, "changed": True, "key": "app"}
        if action == "immutable":
            shown = local_lab.module("exportable_key_info", **local_lab.azure(), vault_uri=site.uri, key_name="app")
            assert shown["keys"][0]["immutable"]
        mark = local_lab.mark
        done, told = play(local_lab, "finalize", **wanted)
        assert told["azure_skr_finalize"]["changed"] is False and local_lab.writes(mark) == []
    shown = local_lab.module(
        "exportable_key_info", **local_lab.azure(), vault_uri=site.uri, key_name="app", deleted=True
    )
    assert shown["keys"] == [] and shown["deleted"] == []
