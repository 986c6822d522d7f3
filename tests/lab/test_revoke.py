# SPDX-License-Identifier: GPL-3.0-or-later
"""AC-30 over ssh: three suspects of which one does not answer; grant gone, copy gone, unit masked, refusal proved, all of it stated."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import labkit
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from lab.conftest import NO_SSH_DOOR
from lab.test_ssh_site import changes, on
from labkit import Lab
from sentinel import Sentinel

from skrsim.lab.plan import RESOURCE_GROUP

SUSPECTS = ("--limit", "cvm-01,cvm-02,cvm-03")
UNIT = "/etc/systemd/system/azure-skr@app-key.service"
TIMER = "/etc/systemd/system/azure-skr-renew@app-key.timer"


@pytest.fixture(scope="module")
def enrolled() -> Iterator[Lab]:
    """A lab of its own, as it ends revoked: four VMs hold the key and release it at boot."""
    if NO_SSH_DOOR:
        pytest.skip("the ssh door needs root, openssh-server and iproute2")
    with labkit.lab("--vms", "4", "--door", "ssh") as lab:
        for playbook in ("site", "boot_release"):
            done = lab.playbook(playbook, variables={"skr_boot_renew": "12h"})
            assert done.returncode == 0, done.stdout
        yield lab


@pytest.fixture(scope="module")
def away(enrolled: Lab, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An inventory beside the lab's, in which nobody listens where cvm-03 was."""
    path = tmp_path_factory.mktemp("away") / "away.yml"
    path.write_text(json.dumps({"all": {"hosts": {"cvm-03": {"ansible_port": 9}}}}))
    return path


def exists(lab: Lab, host: str, path: str) -> bool:
    return "yes" in on(lab, host, f"test -e {path} && echo yes || true")


def test_the_button(enrolled: Lab, away: Path, tmp_path: Path) -> None:
    lab = enrolled
    private = serialization.load_pem_private_key(on(lab, "cvm-01", "cat /run/app/app.pem").encode(), None)
    assert isinstance(private, rsa.RSAPrivateKey)
    sentinel = Sentinel(private)
    lab.call("delays", values={"lingering": {"cvm-02": 3600}})
    mark = lab.mark
    lab.forget_after_a_release(mark, 5)
    variables = {"skr_revoke_dest": str(tmp_path / "statements"), "skr_revoke_wait": 120}
    done = lab.playbook("revoke", "-i", str(away), *SUSPECTS, variables=variables)
    # Unreachable hosts make it end failed, after all else is done.
    assert done.returncode not in (0, 1), done.stdout

    # The grant is gone, for the suspects and for nobody else; the one that does not answer is among them.
    vms = lab.module("cvm_identity", check=True, **lab.azure(), resource_group=RESOURCE_GROUP, vms=list(lab.hosts))
    principals = [vm["principal_id"] for vm in vms["vms"]]
    grant = {"vault_name": lab.variables["skr_vault_name"], "resource_group": RESOURCE_GROUP, "principals": principals}
    shown = lab.module("release_access", check=True, **lab.azure(), **grant)
    assert [one["changed"] for one in shown["principals"]] == [True, True, True, False]
    writes = lab.writes(mark)
    assert len(writes) == 3 and {record["operation"] for record in writes} == {"role_delete"}

    # The control plane came first, before any host was touched.
    first_try = lab.audit(mark, operation="key_release")[0]["seq"]
    assert max(record["seq"] for record in writes) < first_try

    # The expected denial, waited for where the grant lingered; the vault never gave an answer that was used.
    (path,) = (tmp_path / "statements").glob("*.json")
    said = json.loads(path.read_text())
    verdicts = {one["host"]: one for one in said["hosts"]}
    assert {host: one["verdict"] for host, one in verdicts.items()} == {
        "cvm-01": "proved", "cvm-02": "proved", "cvm-03": "unreachable",
    }  # fmt: skip
    assert verdicts["cvm-02"]["found"] == "permission_missing" and verdicts["cvm-02"]["waited_s"] > 3
    for host in ("cvm-01", "cvm-02"):
        assert lab.audit(mark, operation="key_release", vm=host)[-1]["decision"] == "refused"

    # Local copy removed, unit and timer masked, the agent's configuration left.
    for host in ("cvm-01", "cvm-02"):
        assert not exists(lab, host, "/run/app/app.pem")
        assert on(lab, host, f"readlink {UNIT} {TIMER}").split() == ["/dev/null", "/dev/null"]
        assert exists(lab, host, "/etc/azure-skr/app-key.json")
    assert exists(lab, "cvm-03", "/run/app/app.pem") and exists(lab, "cvm-04", "/run/app/app.pem")

    # The statement: plain, with what cannot be recalled and who was not reached, printed after everything else.
    told = " ".join(done.stdout.split())
    for words in ("Hosts not reached:", "cvm-03: none of its identities", "released before", "Rotate the key"):
        assert words in told, words
    assert said["unreachable"] == ["cvm-03"] and said["next_steps"][0].startswith("Reach cvm-03")
    assert done.stdout.index("What cannot be recalled") > done.stdout.index("A release is tried")
    assert "suspect_unreachable" in done.stdout.rpartition("No proof, or not cleaned up")[2]
    everything = (done.stdout + done.stderr).encode() + path.read_bytes() + path.with_suffix(".md").read_bytes()
    assert sentinel.found_in(everything) == []


def test_again_nothing_changes_and_the_missing_host_is_done_when_it_answers(enrolled: Lab, tmp_path: Path) -> None:
    lab, mark = enrolled, enrolled.mark
    done = lab.playbook("revoke", *SUSPECTS, variables={"skr_revoke_dest": str(tmp_path)})
    assert done.returncode == 0, done.stdout
    assert changes(done.stdout) == {"cvm-01": 0, "cvm-02": 0, "cvm-03": 2}
    assert lab.writes(mark) == [] and not exists(lab, "cvm-03", "/run/app/app.pem")
    (path,) = tmp_path.glob("*.json")
    assert json.loads(path.read_text())["proved"]


def test_a_boot_releases_no_more_and_others_still_do(enrolled: Lab) -> None:
    """The agent as its unit would call it, had somebody unmasked it: refused; the VM that is no suspect releases."""
    command = "/usr/bin/env python3 -I /usr/local/libexec/azure-skr/azure-skr release app-key"
    refused = on(enrolled, "cvm-01", f"{command} || echo ended $?", check=False)
    assert "ended 75" in refused and "permission_missing" in refused, refused
    assert not exists(enrolled, "cvm-01", "/run/app/app.pem")
    on(enrolled, "cvm-04", f"rm /run/app/app.pem; {command}")
    assert exists(enrolled, "cvm-04", "/run/app/app.pem")
