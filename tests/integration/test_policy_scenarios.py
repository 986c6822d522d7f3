# SPDX-License-Identifier: GPL-3.0-or-later
"""Release policies through modules in the lab: review before upload, pre-flight, planned changes, explanations."""

from __future__ import annotations

import base64
import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from integration.site import Site, ready, vault_name
from labkit import Lab, environment

from ansible_collections.confidential.azure_skr.plugins.module_utils import agent_archive
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy import build, explain, model
from skrsim.lab.inventory import release_policy
from skrsim.lab.plan import AUTHORITY, LOCATION

MEASUREMENT = "x-ms-isolation-tee.x-ms-sevsnpvm-launchmeasurement"


@pytest.fixture(scope="module")
def site(shared_lab: Lab) -> Site:
    return ready(shared_lab, vms=("cvm-01", "cvm-02"))


def claims(lab: Lab, vm: str = "cvm-01") -> dict[str, Any]:
    found = lab.module("attestation_info", **lab.guest(vm), attestation_url=AUTHORITY)
    assert not found.get("failed"), found
    return dict(found["claims"])


def releases(lab: Lab, since: int) -> int:
    return sum(1 for row in lab.call("audit", since=since) if row.get("operation") == "key_release")


def with_conditions(*conditions: dict[str, Any]) -> dict[str, Any]:
    policy = release_policy()
    policy["anyOf"][0]["allOf"] += conditions
    return policy


# --- before the upload


def test_equivalent_and_duplicate_branches(local_lab: Lab, site: Site) -> None:
    """AC-05: another spelling is no change; the same branch twice is a finding, and one branch is uploaded."""
    spelt = json.loads(json.dumps(site.policy))
    rule = spelt["anyOf"][0]
    rule["allOf"], rule["authority"] = [*reversed(rule["allOf"])], rule["authority"] + "/"
    mark = local_lab.mark
    same = site.ensure_key(release_policy=spelt)
    assert not same["changed"] and local_lab.writes(mark) == []
    twice = {**site.policy, "anyOf": [*site.policy["anyOf"], copy.deepcopy(rule)]}
    doubled = site.ensure_key(release_policy=twice)
    assert not doubled["changed"] and "duplicate_branch" in [one["code"] for one in doubled["lint"]]
    made = local_lab.module(
        "exportable_key", **local_lab.azure(), vault_uri=site.uri, key_name="twice", key_size=2048, release_policy=twice
    )
    assert made["changed"] and len(made["key"]["release_policy"]["anyOf"]) == 1
    assert "duplicate_branch" in str(made["warnings"])


def test_immutable_policy(local_lab: Lab, site: Site) -> None:
    """AC-06: immutability needs a second word and warns; afterwards a differing policy is refused with the difference."""
    options = {"key_name": "frozen", "vault_uri": site.uri, "key_size": 2048, "release_policy": site.policy}
    mark = local_lab.mark
    alone = local_lab.module("exportable_key", **local_lab.azure(), **options, immutable=True)
    assert (
        alone["failed"] and alone["reason"] == "immutable_without_confirmation" and "confirm_immutable" in alone["msg"]
    )
    assert local_lab.writes(mark) == []
    made = local_lab.module("exportable_key", **local_lab.azure(), **options)
    assert made["key"]["immutable"] is False
    frozen = local_lab.module(
        "exportable_key", **local_lab.azure(), **options, immutable=True, confirm_immutable=True, diff=True
    )
    assert frozen["changed"] and frozen["key"]["immutable"] is True and frozen["kid"] == made["kid"]
    assert frozen["diff"]["before"]["immutable"] is False and "nobody, not even Microsoft" in str(frozen["warnings"])
    mark = local_lab.mark
    again = local_lab.module("exportable_key", **local_lab.azure(), **options, immutable=True, confirm_immutable=True)
    assert not again["changed"]
    other = with_conditions({"claim": "x-ms-azurevm-dbvalidated", "equals": True})
    refused = local_lab.module("exportable_key", **local_lab.azure(), **{**options, "release_policy": other})
    assert refused["failed"] and refused["reason"] == "policy_immutable" and "new key" in refused["next_step"]
    (change,) = refused["facts"]["changes"]
    assert (change["kind"], change["claim"]) == ("added", "x-ms-azurevm-dbvalidated")
    back = local_lab.module("exportable_key", **local_lab.azure(), **options, immutable=False)
    assert back["failed"] and back["reason"] == "policy_immutable" and local_lab.writes(mark) == []


def test_broad_policy_needs_a_name_and_a_justification(local_lab: Lab, site: Site) -> None:
    """AC-10: refused before any write; accepted by name, the justification stands in the result."""
    options = {"key_name": "broad", "vault_uri": site.uri, "key_size": 2048, "release_policy": site.policy}
    mark = local_lab.mark
    refused = local_lab.module("exportable_key", **local_lab.azure(), **options, accepted_findings={})
    assert refused["failed"] and refused["reason"] == "policy_lint" and "satisfied_by_any_tenant" in refused["msg"]
    for accepted in ({"no_such_code": "because we say so"}, {"satisfied_by_any_tenant": "ok"}):
        bad = local_lab.module("exportable_key", **local_lab.azure(), **options, accepted_findings=accepted)
        assert bad["failed"] and bad["reason"] == "invalid_input" and "accepted_findings" in bad["msg"]
    assert local_lab.writes(mark) == []
    why = "Only our own VMs hold the grant."
    made = local_lab.module(
        "exportable_key", **local_lab.azure(), **options, accepted_findings={"satisfied_by_any_tenant": why}
    )
    (finding,) = [one for one in made["lint"] if one["code"] == "satisfied_by_any_tenant"]
    assert (
        made["changed"] and finding["accepted"] and finding["justification"] == why and finding["severity"] == "error"
    )


def test_a_policy_that_names_a_pcr_is_refused_with_the_ways_out(local_lab: Lab, site: Site) -> None:
    mark = local_lab.mark
    refused = site.ensure_key(release_policy=with_conditions({"claim": "x-ms-azurevm-pcr7", "equals": "ab"}))
    assert refused["failed"] and refused["reason"] == "policy_lint" and "pcr_is_not_a_claim" in refused["msg"]
    assert "secureboot" in refused["msg"] and "own attestation provider" in refused["msg"]
    assert local_lab.writes(mark) == []


# --- pre-flight


def test_wrong_regional_authority(local_lab: Lab, site: Site) -> None:
    """AC-12: pre-flight names both hosts and the setting; the forced release's refusal has the same reason."""
    east = "https://sharedeus2.eus2.attest.azure.net"
    mark = local_lab.mark
    first = site.release(attestation_url=east)
    assert first["failed"] and first["reason"] == "authority_mismatch" and releases(local_lab, mark) == 0
    assert east in first["msg"] and AUTHORITY in first["msg"] and "attestation_url" in first["next_step"]
    forced = site.release(attestation_url=east, preflight="off", release_policy=None)
    assert forced["failed"] and forced["reason"] in ("authority_mismatch", "policy_not_met")
    known = site.release(attestation_url=east, preflight="advise")
    assert known["failed"] and known["reason"] == "authority_mismatch" and releases(local_lab, mark) == 2


def test_near_misses_and_nothing_sent(local_lab: Lab, site: Site) -> None:
    """AC-15: text for boolean and a claim at top level."""
    mark = local_lab.mark
    wanted = with_conditions(
        {"claim": "x-ms-compliance-status", "equals": "azure-compliant-cvm"},
        {"claim": "x-ms-azurevm-dbvalidated", "equals": "true"},
    )
    result = site.release(release_policy=wanted)
    assert result["failed"] and result["reason"] == "policy_not_met" and releases(local_lab, mark) == 0
    hints = {one["claim"]: (one["hint"], one["finding"]) for one in result["facts"]["near_misses"]}
    assert hints == {
        "x-ms-compliance-status": ("found_at:x-ms-isolation-tee.x-ms-compliance-status", "claim_at_wrong_level"),
        "x-ms-azurevm-dbvalidated": ("type_differs", "boolean_as_text"),
    }


def test_the_live_policy_is_read_where_it_may_be(local_lab: Lab) -> None:
    """Without a given policy: get permission shows the live one, release permission alone must do without."""
    place = Site(local_lab, vms=("cvm-06",))
    assert place.grant()["changed"]
    blind = place.release("cvm-06", release_policy=None)
    assert not blind.get("failed") and blind["preflight"] == {"source": "unreadable"}
    allow_reading(local_lab, place)
    seen = place.release("cvm-06", release_policy=None)
    assert seen["preflight"]["source"] == "live" and seen["preflight"]["satisfied"] and seen["preflight"]["trace"]
    # The live policy is narrowed behind the given one's back: the refusal is explained by the live one.
    narrowed = with_conditions({"claim": "x-ms-azurevm-osversion-major", "equals": 1})
    assert place.ensure_key(release_policy=narrowed)["changed"]
    live = place.release("cvm-06", release_policy=None)
    assert live["failed"] and live["reason"] == "policy_not_met" and live["facts"]["preflight"] is True
    stale = place.release("cvm-06")
    assert stale["failed"] and stale["reason"] == "policy_not_met" and "osversion-major" in stale["msg"]
    (change,) = stale["facts"]["differs_from_given"]
    assert change["claim"] == "x-ms-azurevm-osversion-major" and "not the one that was given" in stale["msg"]


def allow_reading(lab: Lab, place: Site) -> None:
    """What an operator does who lets VMs read their policy: the key permission get besides release."""
    from ansible_collections.confidential.azure_skr.plugins.module_utils.azure.clients import connection

    tenant = lab.azure()["tenant"]
    entries = [{"tenantId": tenant, "objectId": one, "permissions": {"keys": ["get"]}} for one in place.principals]
    parameters: Any = {"properties": {"accessPolicies": entries}}
    connection(lab.azure(), {}).vaults.update_access_policy(place.group, place.vault, "add", parameters)


def test_a_debuggable_vm_whose_policy_cannot_be_read(local_lab: Lab) -> None:
    """AC-13 with the release permission alone: the claims tell what is remarkable about this VM."""
    place = Site(local_lab, vms=("cvm-03",))
    assert place.grant()["changed"]
    result = place.release("cvm-03", release_policy=None)
    assert result["failed"] and result["reason"] == "policy_not_met" and result["facts"]["security_event"] is True
    remarkable = [one["claim"] for one in result["facts"]["remarks"]]
    assert "x-ms-isolation-tee.x-ms-sevsnpvm-is-debuggable" in remarkable and "may debug this VM" in result["msg"]


def test_planned_change_of_a_pinned_claim(local_lab: Lab, site: Site) -> None:
    """AC-14: only the changed claim is listed; with the overlap the release works; the contraction drops the old."""
    golden = claims(local_lab)
    new = golden["x-ms-isolation-tee"]["x-ms-sevsnpvm-launchmeasurement"]
    old = copy.deepcopy(golden)
    old["x-ms-isolation-tee"]["x-ms-sevsnpvm-launchmeasurement"] = "0e" * 48
    pins: dict[str, Any] = {
        "authority": AUTHORITY,
        "golden_claims": old,
        "pin": ["launch_measurement", "id_key_digest", "secure_boot"],
    }
    place = ready(local_lab, vms=("cvm-01",), release_policy=build.release_policy(pins))
    before = place.release(release_policy=None, preflight="advise")
    assert before["failed"] and before["reason"] == "policy_not_met"
    told = place.release(preflight="required")
    assert [one["claim"] for one in told["facts"]["failing"]] == [MEASUREMENT]
    change = {**pins, "planned_change": {MEASUREMENT: new}}
    overlap = place.ensure_key(release_policy=build.release_policy(change))
    assert overlap["changed"] and len(overlap["key"]["release_policy"]["anyOf"]) == 2
    place.policy = build.release_policy(change)
    assert not place.release().get("failed")
    contracted = place.ensure_key(release_policy=build.release_policy({**change, "planned_stage": "contract"}))
    assert contracted["changed"] and len(contracted["key"]["release_policy"]["anyOf"]) == 1
    place.policy = build.release_policy({**change, "planned_stage": "contract"})
    assert not place.release().get("failed")


def test_the_default_cvm_policy_does_not_fit_a_guest(local_lab: Lab) -> None:
    """What the Azure CLI writes by default is found out against a real guest token, with the nested path."""
    from unit.policy.published import DEFAULT_CVM

    verdict = json.loads(run_agent(local_lab, "cvm-01", DEFAULT_CVM, "--json")[1])
    (miss,) = [one for one in verdict["failing"] if one["claim"] == "x-ms-compliance-status"]
    assert miss["finding"] == "claim_at_wrong_level"
    assert miss["hint"] == "found_at:x-ms-isolation-tee.x-ms-compliance-status"


# --- explain


def run_agent(lab: Lab, vm: str, policy: Any, *words: str) -> tuple[int, str]:
    """The packed agent on a VM of the local door, as a user would run it."""
    program, given = lab.directory / "azure-skr", lab.directory / "policy.json"
    agent_archive.write(str(program))
    guest = lab.guest(vm)
    command = [sys.executable, str(program), "explain", "--attest", AUTHORITY, *words]
    if policy is not None:
        given.write_text(json.dumps(policy))
        command += ["--policy", str(given)]
    for name, value in guest.items():
        command += [f"--{name.replace('_', '-')}", str(value)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={"PATH": "/usr/bin:/bin"})
    assert "Traceback" not in done.stderr and done.stderr == "", done.stderr
    return done.returncode, done.stdout


def test_agent_explains_a_fresh_token(local_lab: Lab) -> None:
    status, text = run_agent(local_lab, "cvm-01", release_policy())
    assert status == 0 and text.startswith("GRANTED") and "it is an AMD SEV-SNP confidential VM" in text
    status, text = run_agent(local_lab, "cvm-03", release_policy())
    assert status == 1 and text.startswith("REFUSED [policy_not_met]")
    assert "x-ms-isolation-tee.x-ms-sevsnpvm-is-debuggable: wanted false, found true" in text


def test_agent_explains_the_keys_policy(local_lab: Lab) -> None:
    """X-03: the same words for the file and for the live key's policy; without the permission to read it says so."""
    place = Site(local_lab, vms=("cvm-05",))
    assert place.grant()["changed"]
    words = ("--vault-uri", place.uri, "--key-name", "app")
    status, text = run_agent(local_lab, "cvm-05", None, *words)
    assert status == 1 and text.startswith("UNKNOWN") and "--policy" in text
    allow_reading(local_lab, place)
    status, text = run_agent(local_lab, "cvm-05", None, *words)
    assert status == 0 and explain.explain(model.parse(place.policy)) in text
    assert explain.explain(model.parse(place.policy)) in run_agent(local_lab, "cvm-05", place.policy)[1]


def test_token_from_a_file(tmp_path: Path) -> None:
    body = base64.urlsafe_b64encode(json.dumps({"iss": AUTHORITY, "secureboot": False}).encode()).rstrip(b"=").decode()
    (tmp_path / "token").write_text(f"e30.{body}.c2ln\n")
    (tmp_path / "policy").write_text(json.dumps(release_policy()))
    agent_archive.write(str(tmp_path / "azure-skr"))
    command = [sys.executable, str(tmp_path / "azure-skr"), "explain", "--policy", str(tmp_path / "policy")]
    done = subprocess.run([*command, "--token", str(tmp_path / "token")], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "secureboot: wanted true, found false" in done.stdout
    for option, value in (("--token", "/nonexistent"), ("--token", str(tmp_path / "azure-skr"))):
        bad = subprocess.run([*command, option, value], capture_output=True, text=True, check=False)
        assert bad.returncode == 2 and "[invalid_input]" in bad.stderr and "--token" in bad.stderr


# --- the authority of a region


def test_authority_of_a_region_is_asked_for_and_cached(local_lab: Lab, tmp_path: Path) -> None:
    options = {**local_lab.azure(), "cache_dir": str(tmp_path / "cache")}
    mark = local_lab.mark
    found = local_lab.module("attestation_provider_info", **options, location="West Europe")
    assert found["authority"] == AUTHORITY and found["cached"] is False and not found["changed"]
    asked = [row for row in local_lab.call("audit", since=mark) if row.get("operation") == "default_provider"]
    again = local_lab.module("attestation_provider_info", **options, location=LOCATION)
    rows = [row for row in local_lab.call("audit", since=mark) if row.get("operation") == "default_provider"]
    assert again["authority"] == AUTHORITY and again["cached"] is True and len(rows) == len(asked) == 1
    assert local_lab.module("attestation_provider_info", **options, location=LOCATION, refresh=True)["cached"] is False
    everywhere = local_lab.module("attestation_provider_info", **options)
    assert {"location": LOCATION, "authority": AUTHORITY} in everywhere["providers"] and len(
        everywhere["providers"]
    ) > 40


@pytest.mark.parametrize(("location", "reason"), [("atlantis", "resource_not_found"), ("west/europe", "invalid_input")])
def test_authority_is_never_made_up(local_lab: Lab, tmp_path: Path, location: str, reason: str) -> None:
    options = {**local_lab.azure(), "cache_dir": str(tmp_path), "location": location}
    result = local_lab.module("attestation_provider_info", **options)
    assert result["failed"] and result["reason"] == reason and location in result["msg"]


def test_authority_is_found_and_the_policy_built_by_the_playbook(local_lab: Lab) -> None:
    """Inventory variables without authority and policy: the region's provider is asked for, the policy built."""
    name = vault_name()
    inventory = json.loads(local_lab.inventory.read_text())
    variables = inventory["all"]["children"]["cvm"]["vars"]
    for member in ("skr_attestation_url", "skr_release_policy"):
        del variables[member]
    variables |= {"skr_vault_name": name, "skr_policy_parameters": {"tee_type": "sevsnpvm", "secure_boot": True}}
    path = local_lab.directory / "built.json"
    path.write_text(json.dumps(inventory))
    command = ["ansible-playbook", "-i", str(path), "confidential.azure_skr.site", "--limit", "cvm-02"]
    env = environment() | {"XDG_CACHE_HOME": str(local_lab.directory / "cache")}
    done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=local_lab.directory, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    stored = local_lab.call("key", vault=name, key="app-key")["policy"]
    assert stored["anyOf"][0]["authority"] == AUTHORITY and "secureboot" in json.dumps(stored)
