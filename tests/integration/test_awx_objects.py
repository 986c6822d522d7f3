# SPDX-License-Identifier: GPL-3.0-or-later
"""The AWX objects, made by the real modules of awx.awx, whose argument specifications judge every task, in a controller's stand-in."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import labkit
import pytest
from integration.awx_controller import Controller, controller
from integration.awx_rules import credential_type_problems, inject, survey_problems

ROOT = labkit.ROOT
AWX = ROOT / ".build/awx"
TEMPLATE = {"name": "SKR explain", "description": "", "playbook": "explain.yml", "ask": ["skr_key_name"], "needs": []}
WORKFLOW = {"name": "W", "description": "", "ask": ["skr_key_name"],
            "nodes": [{"identifier": "explain", "job_template": "SKR explain"}]}  # fmt: skip
VARIABLES = {
    "skr_awx_credentials": {"machine": "ssh", "azure": "cloud", "signing": "signer"},
    "skr_awx_image": "registry.example/azure-skr-ee:latest",
    "skr_awx_slices": 3,
    "skr_awx_run_dir": "/var/lib/awx/skr",
    "skr_awx_variables": {"skr_vault_name": "kv-web-prod"},
    "skr_awx_operators": ["Operators"],
    "skr_awx_approvers": ["Security"],
}


def apply(
    place: Controller, *words: str, collections: Path | None = AWX, **variables: Any
) -> subprocess.CompletedProcess[str]:
    environment = labkit.environment() | {"CONTROLLER_HOST": place.url, "CONTROLLER_OAUTH_TOKEN": place.token}
    environment["ANSIBLE_PIPELINING"] = "true"  # fifty modules a run
    if collections:
        environment["ANSIBLE_COLLECTIONS_PATH"] += f":{collections}"
    command = ["ansible-playbook", "-i", "localhost,", "confidential.azure_skr.awx_objects", *words]
    command += ["-e", json.dumps(VARIABLES | variables)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert "Traceback" not in done.stdout + done.stderr and place.token not in done.stdout + done.stderr
    return done


def given() -> Iterator[Controller]:
    """A controller with what its administrator made before."""
    with controller() as place:
        organization = place.add("organizations", name="Confidential VMs")
        for name in ("ssh", "cloud", "signer"):
            place.add("credentials", name=name)
        for name in ("Operators", "Security"):
            place.add("teams", name=name, organization=organization["id"])
        yield place


@dataclass
class Applied:
    place: Controller
    first: str
    second: str
    writes: int


@pytest.fixture(scope="module")
def applied() -> Iterator[Applied]:
    assert AWX.exists(), "tests/tools/awx_collection.sh has not run"
    for place in given():
        first = apply(place)
        assert first.returncode == 0, first.stdout + first.stderr
        writes = len(place.writes)
        second = apply(place, "-vv")
        assert second.returncode == 0, second.stdout + second.stderr
        yield Applied(place, first.stdout, second.stdout, writes)


def test_the_second_run_changes_and_writes_nothing(applied: Applied) -> None:
    assert re.search(r"changed=[1-9].*failed=0", applied.first)
    assert re.search(r"changed=0 .*failed=0", applied.second), applied.second
    assert applied.place.writes[applied.writes :] == []


def test_job_templates(applied: Applied) -> None:
    place = applied.place
    templates = {row["name"]: row for row in place.all("job_templates")}
    wanted = "provision release rollout rotate update revoke audit doctor explain".split()
    assert {f"SKR {word}" for word in wanted} <= set(templates)
    sliced = {name for name, row in templates.items() if row["job_slice_count"] > 1}
    assert sliced == {"SKR release", "SKR rollout", "SKR doctor", "SKR rotate, slices"}
    for name in sliced & {
        "SKR rollout",
        "SKR rotate, slices",
    }:  # those who share the vault's limits know how many they are
        assert json.loads(templates[name]["extra_vars"])["skr_slices"] == templates[name]["job_slice_count"] == 3
    numbers = {row["id"]: row["name"] for row in place.all("credentials")}

    def credentials(name: str) -> set[str]:
        return {numbers[number] for number in place.linked.get(templates[name]["url"] + "credentials/", [])}

    assert credentials("SKR release") == {"ssh"}  # who releases needs no right in Azure
    assert credentials("SKR provision") == {"cloud"}  # and who provisions none on the VMs
    assert credentials("SKR audit") == {"ssh", "cloud", "signer"}
    for row in templates.values():
        assert row["survey_enabled"] and not row["ask_variables_on_launch"]


def test_inventory_source(applied: Applied) -> None:
    """The file it names is there, is one for the plugin, and the project is the one with the playbooks."""
    (source,) = applied.place.all("inventory_sources")
    assert source["source_project"] == applied.place.named("projects", "SKR playbooks")["id"]
    assert source["source_path"].endswith("cvm.yml")
    assert "plugin: confidential.azure_skr.cvm" in (ROOT / source["source_path"]).read_text()


def names() -> list[str]:
    text = (ROOT / "playbooks/vars/awx/job_templates.yml").read_text()
    return re.findall(r"^    playbook: (\S+)$", text, re.MULTILINE)


@pytest.mark.parametrize("playbook", sorted(set(names())))
def test_the_playbook_reads_what_its_survey_asks(applied: Applied, playbook: str) -> None:
    path = ROOT / "playbooks" / playbook
    text = path.read_text()
    # AWX lists a file as playbook only if it looks like one.
    assert re.search(r"^\s*?-?\s*?(?:hosts|(ansible\.builtin\.)?import_playbook):", text, re.MULTILINE)
    for name in re.findall(r"vars/\w+\.yml", text):
        text += (ROOT / "playbooks" / name).read_text()
    templates = [row for row in applied.place.all("job_templates") if row["playbook"] == f"playbooks/{playbook}"]
    for row in templates:
        for question in applied.place.surveys[row["id"]]["spec"]:
            assert re.search(rf"\b{question['variable']}\b", text), f"{question['variable']} in {playbook}"
        for variable in json.loads(row["extra_vars"]):
            assert re.search(rf"\b{variable}\b", text), f"{variable} in {playbook}"


def test_surveys(applied: Applied) -> None:
    """Each is one that AWX takes, and asks as narrowly as it can."""
    place = applied.place
    owners = place.all("job_templates") + place.all("workflow_job_templates")
    assert len(owners) == len(place.surveys)
    for survey in place.surveys.values():
        assert survey_problems(survey) == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"type": "number"}, "no type of question"),
        ({"variable": 7}, "variable is no str"),
        ({"required": "yes"}, "required is no bool"),
        ({"default": "1"}, "the default is of another type"),
        ({"default": 9}, "the default is out of range"),
        ({"min": "1"}, "min is no integer"),
        ({"max": None}, "a number without limits"),
        ({"type": "multiplechoice"}, "choices are no list of texts"),
        ({"type": "multiplechoice", "choices": ["a"], "default": "b"}, "the default is none of the choices"),
        ({"type": "multiplechoice", "choices": ["a"], "default": "a", "required": False}, "left open"),
        ({"type": "text", "default": "", "min": 3, "required": False}, "empty text is shorter than min"),
        ({"type": "text", "default": "", "min": 0}, "empty text is an answer"),
    ],
)
def test_the_rules_find_bad_surveys(change: dict[str, Any], problem: str) -> None:
    good = {
        "type": "integer",
        "question_name": "?",
        "variable": "v",
        "required": True,
        "min": 1,
        "max": 5,
        "default": 2,
    }
    survey = {"name": "", "description": "", "spec": [good]}
    assert survey_problems(survey) == []
    (found, *_more) = survey_problems({**survey, "spec": [{**good, **change}]})
    assert problem in found
    assert survey_problems({**survey, "spec": [good, good]}) == ["v: asked twice"]


def test_credential_types(applied: Applied) -> None:
    """What a job gets of each, also where fields are left open."""
    types = {row["name"]: row for row in applied.place.all("credential_types")}
    for row in types.values():
        assert credential_type_problems(row["inputs"], row["injectors"]) == []
    fields = {"subscription": "s", "tenant": "t", "client": "c", "certificate": "-----BEGIN"}
    got = inject(types["SKR Azure certificate"]["injectors"], fields)
    assert got["file"] == {"template": "-----BEGIN"}
    assert got["env"] == {
        "AZURE_SUBSCRIPTION_ID": "s", "AZURE_TENANT": "t", "AZURE_CLIENT_ID": "c", "AZURE_CLOUD_ENVIRONMENT": "",
        "AZURE_X509_CERTIFICATE_PATH": "/runner/env/tmpfile", "AZURE_CLIENT_CERTIFICATE_PASSWORD": "",
    }  # fmt: skip
    network = types["SKR network"]["injectors"]
    assert inject(network, {"https_proxy": "http://p"})["env"] == {"HTTPS_PROXY": "http://p", "NO_PROXY": "", "REQUESTS_CA_BUNDLE": ""}  # fmt: skip
    assert inject(network, {"ca_bundle": "x"})["env"]["REQUESTS_CA_BUNDLE"] == "/runner/env/tmpfile"
    guest = inject(
        types["SKR guest certificate"]["injectors"], {"tenant": "t", "application": "a", "path": "/etc/x.pem"}
    )
    assert guest["extra_vars"]["skr_identity_certificate_file"] == "/etc/x.pem"
    released = (ROOT / "playbooks/vars/release.yml").read_text()
    assert all(name in released for name in guest["extra_vars"])
    secrets = {field["id"] for row in types.values() for field in row["inputs"]["fields"] if field.get("secret")}
    assert secrets == {"certificate", "password", "key", "passphrase"}


def test_the_rules_find_bad_credential_types() -> None:
    inputs = {"fields": [{"id": "a", "label": "A", "type": "string"}]}
    assert "ANSIBLE_X is not allowed in the environment" in credential_type_problems(
        inputs, {"env": {"ANSIBLE_X": "1"}}
    )
    assert "undefined" in credential_type_problems(inputs, {"env": {"X": "{{ b }}"}})[0]
    assert "no attribute" in credential_type_problems(inputs, {"env": {"X": "{{ tower.filename }}"}})[0]
    assert credential_type_problems({**inputs, "required": ["b"]}, {}) == ["b is required and no field"]


# --- workflows


def paths(nodes: dict[int, dict[str, Any]], children: dict[int, list[int]]) -> list[list[int]]:
    """All ways through a workflow, as lists of nodes."""
    roots = set(nodes) - {child for found in children.values() for child in found}

    def on(node: int) -> list[list[int]]:
        return [[node, *rest] for child in children[node] for rest in on(child)] or [[node]]

    return [path for root in roots for path in on(root)]


def test_approval_stands_before_what_is_dangerous(applied: Applied) -> None:
    """On every path; and nobody but administrators may start the dangerous jobs otherwise."""
    place = applied.place
    templates = {row["id"]: row for row in place.all("job_templates")}
    approvals = {row["id"] for row in place.all("workflow_approval_templates")}
    dangerous = {place.named("job_templates", name)["id"] for name in ("SKR revoke", "SKR finalize")}
    reached = set()
    for workflow in place.all("workflow_job_templates"):
        nodes = {
            row["id"]: row for row in place.all("workflow_job_template_nodes")
            if row["workflow_job_template"] == workflow["id"]
        }  # fmt: skip
        children = {
            number: [child for word in ("success", "always", "failure")
                     for child in place.linked.get(f"{row['url']}{word}_nodes/", [])]
            for number, row in nodes.items()
        }  # fmt: skip
        asked = {question["variable"] for question in place.surveys[workflow["id"]]["spec"]}
        for path in paths(nodes, children):
            approved = False
            for number in path:
                template = nodes[number]["unified_job_template"]
                approved = approved or template in approvals
                assert approved or template not in dangerous, workflow["name"]
                reached.add(template)
                if template in templates:  # what the job needs is asked by the workflow, or has a default
                    for question in place.surveys[template]["spec"]:
                        assert question["variable"] in asked or "default" in question or not question["required"]
    assert dangerous <= reached
    granted = {
        number for row in place.all("job_templates")
        if place.linked.get(f"/api/v2/roles/{row['summary_fields']['object_roles']['execute_role']['id']}/teams/")
        for number in [row["id"]]
    }  # fmt: skip
    assert granted == set(templates) - dangerous
    security = place.named("teams", "Security")["id"]
    for workflow in place.all("workflow_job_templates"):
        role = workflow["summary_fields"]["object_roles"]["approval_role"]["id"]
        assert place.linked[f"/api/v2/roles/{role}/teams/"] == [security]


# --- what goes wrong


def test_check_mode_on_an_empty_controller() -> None:
    few = {"awx_objects_job_templates": [TEMPLATE], "awx_objects_workflows": [WORKFLOW]}
    with controller() as place:
        done = apply(place, "--check", **few)
        assert done.returncode == 0, done.stdout
        assert "changed=" in done.stdout and place.writes == []


def test_without_the_collection(applied: Applied) -> None:
    done = apply(applied.place, collections=None)
    assert done.returncode == 2
    assert "ansible-galaxy collection install 'awx.awx:>=24.0.0'" in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"skr_awx_slices": "many"}, "skr_awx_slices is many, wanted a whole number from 1 to 999"),
        ({"skr_awx_forks": 0}, "skr_awx_forks is 0, wanted a whole number from 1 to 999"),
        ({"skr_awx_credentials": {"cloud": "x"}}, "skr_awx_credentials is cloud, wanted names by azure, guest"),
    ],
)
def test_bad_variables(applied: Applied, variables: dict[str, Any], told: str) -> None:
    done = apply(applied.place, **variables)
    assert done.returncode == 2 and f"invalid_input: {told}" in " ".join(done.stdout.split()), done.stdout


def test_keys_to_choose_from(tmp_path: Path) -> None:
    play = {"hosts": "localhost", "gather_facts": False, "vars_files": [str(ROOT / "playbooks/vars/awx/questions.yml")],
            "tasks": [{"ansible.builtin.debug": {"var": "awx_objects_questions.skr_key_name"}}]}  # fmt: skip
    (tmp_path / "play.yml").write_text(json.dumps([play]))
    command = [
        "ansible-playbook",
        "-i",
        "localhost,",
        "-e",
        '{"skr_awx_key_names": ["app-key", "disk-key"]}',
        "play.yml",
    ]
    environment = labkit.environment() | {"ANSIBLE_CALLBACK_RESULT_FORMAT": "json"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)
    told, _end = json.JSONDecoder().raw_decode(done.stdout.split("=> ")[1])
    question = told["awx_objects_questions.skr_key_name"]
    assert question["type"] == "multiplechoice" and question["choices"] == ["app-key", "disk-key"]
    assert survey_problems({"name": "", "description": "", "spec": [question]}) == []
