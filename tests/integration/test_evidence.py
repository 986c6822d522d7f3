# SPDX-License-Identifier: GPL-3.0-or-later
"""Evidence from three VMs of the local door, one of which is refused, up to an auditor who has no network."""

from __future__ import annotations

import gzip
import importlib.util
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from integration.agent import Agent
from integration.site import Site, ready
from labkit import MODULES, Lab, environment, lab
from sentinel import TOKEN

from ansible_collections.confidential.azure_skr.plugins.module_utils.audit import archive, bundle

HOSTS = ("cvm-01", "cvm-02", "cvm-03")
# Another room's; where it is there, the audit makes the report.
REPORT = importlib.util.find_spec(f"{MODULES.rpartition('.')[0]}.module_utils.audit.report") is not None
# Runs a program in a process that has no network: a namespace of its own where that is allowed, else sockets that refuse.
BLOCKED = (
    "import runpy, socket, sys\n"
    "def refuse(*_words, **_options): raise OSError('no network here')\n"
    "class Socket(socket.socket):\n"
    "    def __init__(self, *_words, **_options): refuse()\n"
    "socket.socket = Socket\n"
    "socket.create_connection = socket.getaddrinfo = refuse\n"
    "sys.argv = sys.argv[1:]\n"
    "runpy.run_path(sys.argv[0], run_name='__main__')\n"
)


def no_network() -> list[str]:
    unshare = shutil.which("unshare")
    for words in (["-n"], ["-r", "-n"]) if unshare else ():
        if subprocess.run([str(unshare), *words, "true"], capture_output=True, check=False).returncode == 0:
            return [str(unshare), *words, sys.executable, "-I"]
    return [sys.executable, "-I", "-c", BLOCKED]


class Audited(NamedTuple):
    lab: Lab
    folder: Path
    output: str

    @property
    def bundle(self) -> Path:
        return self.folder / "first.tar.gz"

    @property
    def public(self) -> Path:
        return self.folder / "auditor.pub"

    def verify(self, path: Path, *words: str) -> subprocess.CompletedProcess[str]:
        """On a machine with no network, with nothing but the agent's file and an interpreter with cryptography."""
        program = self.folder / "azure-skr"
        if not program.exists():
            packer = f"{MODULES.rpartition('.')[0]}.module_utils.agent_archive"
            subprocess.run([sys.executable, "-m", packer, "--portable", str(program)], check=True, env=environment())
        command = [*no_network(), str(program), "verify-evidence", str(path), *words]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env={"PATH": "/usr/bin:/bin"}, cwd="/"
        )
        assert "Traceback" not in done.stdout + done.stderr, done.stderr
        return done


def variables(folder: Path, **more: Any) -> dict[str, Any]:
    return {"skr_audit_dest": str(folder), "skr_audit_name": "first", "skr_audit_key": str(folder / "auditor.pem"),
            "skr_audit_metrics": str(folder / "fleet.prom"), "skr_audit_report": REPORT, **more}  # fmt: skip


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Audited]:
    folder = tmp_path_factory.mktemp("audit")
    openssl = shutil.which("openssl")
    assert openssl, "openssl makes the auditor's key"
    subprocess.run(
        [
            openssl,
            "genpkey",
            "-algorithm",
            "EC",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-out",
            str(folder / "auditor.pem"),
        ],
        check=True,
    )
    subprocess.run(
        [openssl, "pkey", "-in", str(folder / "auditor.pem"), "-pubout", "-out", str(folder / "auditor.pub")],
        check=True,
    )
    with lab("--vms", "3", "--door", "local", "--debug", "cvm-03") as made:
        assert made.playbook("provision").returncode == 0
        assert made.playbook("release").returncode == 2  # cvm-03 is refused, as it must be
        mark = made.mark
        done = made.playbook("audit", "-vvvv", variables=variables(folder))
        assert done.returncode == 0, done.stdout
        assert made.writes(mark) == []
        yield Audited(made, folder, done.stdout + done.stderr)


def test_ac29_evidence(audited: Audited) -> None:
    """AC-29. Given a finished release on three hosts, when the evidence play runs, then the verifier on another machine with no network:
    bundle re-verifies: token signature against stored keys, policy hash, per-condition result, key version; altered bundle is rejected; no
    secret inside."""
    done = audited.verify(audited.bundle, "--public-key", str(audited.public), "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["verified"] and found["counts"] == {
        "records": 3,
        "verified": 3,
        "failed": 0,
        "incomplete": 0,
        "security_events": 1,
    }
    for one in found["records"]:
        states = {check["name"]: check["state"] for check in one["checks"]}
        wanted = {
            "token_signature",
            "token_issuer",
            "token_time",
            "claims",
            "policy_sha256",
            "policy_verdict",
            "outcome",
        }
        wanted |= {"key", "key_version"} if one["outcome"] == "released" else set()
        assert {name for name, state in states.items() if state == "ok"} >= wanted, one
    content = audited.bundle.read_bytes()
    for place in range(20, len(content), len(content) // 7):
        altered = audited.folder / "altered" / "first.tar.gz"
        altered.parent.mkdir(exist_ok=True)
        altered.write_bytes(content[:place] + bytes([content[place] ^ 0x10]) + content[place + 1 :])
        shutil.copy(f"{audited.bundle}.sig", f"{altered}.sig")
        done = audited.verify(altered, "--public-key", str(audited.public))
        assert done.returncode == 1 and "REJECTED" in done.stdout and "[bundle_signature_invalid]" in done.stdout
    assert_no_secret(audited.lab, gzip.decompress(content))


def assert_no_secret(made: Lab, data: bytes) -> None:
    """Neither a delivered key nor the operator's secret nor a token that could be sent anywhere."""
    assert not TOKEN.search(data) and b"PRIVATE KEY" not in data
    assert made.variables["skr_secret"].encode() not in data
    for host in ("cvm-01", "cvm-02"):
        pem = Path(made.hosts[host]["skr_dest"]).read_bytes()
        for line in pem.splitlines()[8:-1]:  # what comes before is public
            assert line not in data
        proxy = str(made.hosts[host]["skr_guest_https_proxy"]).encode()
        assert proxy not in data


def test_who_verifies_has_no_network() -> None:
    """The test above means what it says: in such a process nothing can be reached, not even this machine."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        probe = f"import socket\ntry: socket.create_connection(('127.0.0.1', {port}), 2); print('reached')\nexcept OSError: print('nobody')\n"
        path = Path(f"/tmp/skr-probe-{os.getpid()}.py")
        path.write_text(probe)
        try:
            done = subprocess.run([*no_network(), str(path)], capture_output=True, text=True, check=False)
        finally:
            path.unlink()
    assert done.stdout.strip() == "nobody", done.stderr


@pytest.mark.parametrize(
    "kind",
    [
        "records/cvm-01",
        "records/cvm-03",
        "jwks",
        "control/keys",
        "control/access",
        "control/vms",
        "hosts",
        "metrics",
        "manifest",
    ],
)
def test_flipped_bytes_in_each_kind_of_file_are_found(audited: Audited, kind: str, tmp_path: Path) -> None:
    """Also by somebody without the signer's public key, from the manifest alone, after the archive was packed again."""
    files = archive.unpack(audited.bundle.read_bytes())
    files.setdefault("metrics/none.prom", b"")
    path = next(path for path in sorted(files) if path.startswith(kind))
    content = files[path] or b"x"
    at = len(content) // 2
    altered = archive.pack({**files, path: content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]})
    (tmp_path / "b.tar.gz").write_bytes(altered)
    done = audited.verify(tmp_path / "b.tar.gz")
    assert done.returncode == 1 and re.search(r"\[bundle_(altered|invalid)\]", done.stdout), done.stdout


def test_what_is_in_it(audited: Audited) -> None:
    found = bundle.load(audited.bundle.read_bytes())
    assert list(found.records) == list(HOSTS) and found.gaps == []
    refused = found.records["cvm-03"][0]
    assert (refused["outcome"], refused["reason"], refused["security_event"]) == (
        "refused",
        "policy_not_met",
        True,
    )  # AC-13
    assert ("x-ms-isolation-tee.x-ms-sevsnpvm-is-debuggable", False, True) in [
        (one["claim"], one["wanted"], one["found"]) for one in refused["policy"]["failing"]
    ]
    released = found.records["cvm-01"][0]
    assert released["request_id"] and released["times"]["answered"]
    (key,) = found.keys
    assert key["policy_sha256"] == released["policy"]["sha256"] and key["explained"] and not key["immutable"]
    assert key["versions"][0]["version"] == released["key"]["version"]
    (accepted,) = key["accepted_findings"]  # AC-10
    assert (
        accepted["code"] == "satisfied_by_any_tenant"
        and accepted["found"]
        and "release permission alone" in accepted["justification"]
    )
    assert {row["vm"] for row in found.access if row["role"] == "release" or "Release" in row["role"]} == set(HOSTS)
    assert {row["name"] for row in found.vms} == set(HOSTS)
    assert list(found.jwks) == ["sharedweu.weu.attest.azure.net"]
    for host in HOSTS:
        assert [row["reachable"] for row in found.hosts if row["host"] == host] == [True]


def test_nothing_of_the_records_is_in_the_output(audited: Audited) -> None:
    """Not even at the highest verbosity: the file is moved by the connection, not through a task's result."""
    found = bundle.load(audited.bundle.read_bytes())
    for records in found.records.values():
        for record in records:
            for part in ("payload", "signature"):
                text = record["attestation"]["token"][part]
                assert text[:60] not in audited.output and text[200:260] not in audited.output
            assert record["attestation"]["signing_key"]["x5c"][0][:60] not in audited.output
    assert not TOKEN.search(audited.output.encode())
    assert "VERIFIED: 3 records of 3 hosts" in audited.output and "azure_skr_audit" in audited.output


def test_nothing_is_left_behind(audited: Audited) -> None:
    assert {path.name for path in audited.folder.iterdir()} - {"altered", "azure-skr", "first.html"} == {
        "auditor.pem", "auditor.pub", "first.tar.gz", "first.tar.gz.sig", "first.tar.gz.sha256", "fleet.prom",
    }  # fmt: skip
    folders = re.findall(r'"?(?:folder|path)"?: "?(/tmp/azure-skr\.[a-z0-9_]+)', audited.output)
    assert folders and not [folder for folder in folders if Path(folder).exists()]


def test_again_changes_nothing_and_check_mode_writes_nothing(audited: Audited) -> None:
    before = {path: path.read_bytes() for path in audited.folder.iterdir() if path.is_file()}
    mark = audited.lab.mark
    again = audited.lab.playbook("audit", variables=variables(audited.folder))
    assert again.returncode == 0 and set(re.findall(r"changed=(\d+)", again.stdout)) == {"0"}, again.stdout
    predicted = audited.lab.playbook("audit", variables=variables(audited.folder, skr_audit_name="second"), check=True)
    assert predicted.returncode == 0, predicted.stdout
    assert before == {path: path.read_bytes() for path in audited.folder.iterdir() if path.is_file()}
    assert audited.lab.writes(mark) == []


@pytest.mark.parametrize(
    ("change", "wanted"),
    [({"skr_secret": "wrong"}, "control plane: "), ({"skr_audit_control": False}, "control plane: not asked")],
)
def test_without_azure_the_vms_own_evidence_is_there(
    audited: Audited, tmp_path: Path, change: dict[str, Any], wanted: str
) -> None:
    done = audited.lab.playbook(
        "audit", variables=variables(audited.folder, skr_audit_dest=str(tmp_path), skr_audit_metrics="", **change)
    )
    assert done.returncode == 0, done.stdout
    found = bundle.load((tmp_path / "first.tar.gz").read_bytes())
    assert list(found.records) == list(HOSTS) and found.gaps and {gap[: len(wanted)] for gap in found.gaps} == {wanted}
    assert (found.keys, found.access, found.vms) == ([], [], [])


@pytest.mark.skipif(not REPORT, reason="the room of the report is not there")
def test_the_report_is_made(audited: Audited) -> None:
    text = (audited.folder / "first.html").read_text()
    assert "cvm-03" in text and "policy_not_met" in text and "<script src" not in text
    assert_no_secret(audited.lab, text.encode())


# --- the modules


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_bytes()) for path in sorted(folder.glob("2*.json"))]


def test_a_release_by_module_and_by_agent(local_lab: Lab, tmp_path: Path) -> None:
    site = ready(local_lab)
    assert site.release(evidence_dir=str(tmp_path / "m"), check=True)["changed"] and not (tmp_path / "m").exists()
    result = site.release(evidence_dir=str(tmp_path / "m"))
    (found,) = records(tmp_path / "m")
    assert found["tool"]["door"] == "module" and found["key"]["kid"] == result["kid"] and found["request_id"]
    assert found["counts"] == result["counts"] and "evidence_dir" not in json.dumps({**result, "invocation": None})
    agent = Agent(local_lab, site, evidence_dir=str(tmp_path / "a"))
    assert agent.release().returncode == 0
    (found,) = records(tmp_path / "a")
    assert found["tool"]["door"] == "agent" and found["outcome"] == "released"


def test_evidence_costs_no_request_and_no_command(local_lab: Lab, tmp_path: Path) -> None:
    site = ready(local_lab)
    site.release()
    bare = site.release()["counts"]
    assert site.release(evidence_dir=str(tmp_path))["counts"] == bare


def test_a_folder_that_cannot_be_written_costs_no_release(local_lab: Lab) -> None:
    result = ready(local_lab).release(evidence_dir="/dev/full/evidence")
    assert result["changed"] and "evidence_dir is" in str(result["warnings"])


@pytest.mark.parametrize("rbac", [False, True])
def test_who_may_release(local_lab: Lab, rbac: bool) -> None:
    site = Site(local_lab, vms=("cvm-01", "cvm-02"), rbac=rbac)
    where = {**local_lab.azure(), "vault_name": site.vault, "resource_group": site.group}
    before = local_lab.module("release_access_info", **where)
    assert before["grant_model"] == ("rbac" if rbac else "access_policy")
    # Who manages keys by "all" or by a role that holds every action of keys may release too.
    administrators = {row["principal_id"] for row in before["access"]}
    assert not administrators & set(site.principals)
    site.grant()
    mark = local_lab.mark
    found = local_lab.module("release_access_info", **where)
    assert {row["principal_id"] for row in found["access"]} == administrators | set(site.principals)
    mine = [row for row in found["access"] if row["principal_id"] in site.principals]
    assert {row["role"] for row in mine} == ({"Key Vault Crypto Service Release User"} if rbac else {"release"})
    assert (
        {row["via"] for row in mine} == {found["grant_model"]} and not found["changed"] and local_lab.writes(mark) == []
    )


def test_who_may_release_one_key(local_lab: Lab) -> None:
    site = Site(local_lab, vms=("cvm-01", "cvm-02"), rbac=True)
    site.grant(principals=site.principals[:1], scope="key", key_name="app")
    where = {**local_lab.azure(), "vault_name": site.vault, "resource_group": site.group}

    def holders(**options: str) -> set[str]:
        return {
            row["principal_id"] for row in local_lab.module("release_access_info", **where, **options)["access"]
        } & set(site.principals)

    assert holders() == holders(key_name="app") == {site.principals[0]} and holders(key_name="other") == set()


def test_who_may_release_from_a_managed_hsm(local_lab: Lab) -> None:
    from integration.cases import active_hsm

    uri = active_hsm(local_lab)
    made = local_lab.module("cvm_identity", **local_lab.azure(), resource_group="rg-skr-lab", vms=["cvm-01"])
    principal = made["vms"][0]["principal_id"]
    granted = local_lab.module("release_access", **local_lab.azure(), hsm_uri=uri, principals=[principal])
    assert not granted.get("failed"), granted
    found = local_lab.module("release_access_info", **local_lab.azure(), hsm_uri=uri)
    assert [row["role"] for row in found["access"] if row["principal_id"] == principal] == [
        "Managed HSM Crypto Service Release User"
    ]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"vault_name": "kv-none", "resource_group": "rg-none"}, "resource_not_found"),
        ({"hsm_uri": "https://x.vault.azure.net"}, "invalid_input"),
    ],
)
def test_bad_input_of_the_list(local_lab: Lab, options: dict[str, str], reason: str) -> None:
    found = local_lab.module("release_access_info", **local_lab.azure(), **options)
    assert found["failed"] and found["reason"] == reason and found["next_step"]


def test_bad_input_of_the_modules(local_lab: Lab, tmp_path: Path) -> None:
    for name, options, reason in (
        ("evidence_collect", {"host": "a", "since": "soon"}, "invalid_input"),
        ("evidence_bundle", {"source": str(tmp_path), "dest": "/tmp/x.zip", "hosts": []}, "invalid_input"),
        ("evidence_verify", {"bundle": "/nowhere"}, "invalid_input"),
        ("evidence_verify", {"bundle": __file__, "public_key": "-----BEGIN PUBLIC KEY-----"}, "bundle_key_invalid"),
    ):
        found = local_lab.module(name, **options)
        assert found["failed"] and found["reason"] == reason and found["next_step"], found
    found = local_lab.module("evidence_verify", bundle=__file__)
    assert not found.get("failed") and found["verdict"] == "failed" and found["reasons"] == ["bundle_invalid"]
