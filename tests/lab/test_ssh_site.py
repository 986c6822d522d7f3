# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks over ssh, on hosts with a real-looking TPM device, metadata address, names and certificates."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives import serialization
from lab.conftest import NO_SSH_DOOR
from labkit import MODULES, Lab, environment, lab


def on(lab: Lab, host: str, command: str, check: bool = True) -> str:
    """Run a shell command on a host."""
    done = subprocess.run(
        ["ssh", "-F", str(lab.directory / "ssh/config"), host, command], capture_output=True, text=True, check=False
    )
    assert not check or done.returncode == 0, done.stderr
    return done.stdout + ("" if check else done.stderr)


def changes(output: str) -> dict[str, int]:
    return {
        host: int(number) for host, number in re.findall(r"^(\S+)\s+: ok=\d+\s+changed=(\d+)", output, re.MULTILINE)
    }


@pytest.fixture(scope="module")
def ssh_lab() -> Iterator[Lab]:
    """A lab of this file's own: it tells of the first run of all, with a grant that takes a while."""
    if NO_SSH_DOOR:
        pytest.skip("the ssh door needs root, openssh-server and iproute2")
    with lab("--vms", "3", "--door", "ssh", "--debug", "cvm-03", "--late", "cvm-02=15") as made:
        yield made


@pytest.fixture(scope="module")
def first_run(ssh_lab: Lab) -> str:
    done = ssh_lab.playbook("site")
    assert done.returncode == 2, done.stdout  # cvm-03 is refused, as it must be
    return done.stdout


def test_two_hold_the_key_and_one_is_refused(ssh_lab: Lab, first_run: str) -> None:
    """AC-11 and AC-13 over ssh: owner, mode, memory-backed, the vault's key; the debug bit named."""
    vault = ssh_lab.variables["skr_vault_name"]
    key = ssh_lab.module(
        "exportable_key",
        **ssh_lab.azure(),
        vault_uri=f"https://{vault}.vault.azure.net",
        key_name="app-key",
        key_size=2048,
    )
    for host in ("cvm-01", "cvm-02"):
        assert on(ssh_lab, host, "stat -c '%a %U %G' /run/app/app.pem").strip().startswith("400 app")
        assert on(ssh_lab, host, "stat -f -c %T /run/app/app.pem").strip() == "tmpfs"
        private = serialization.load_pem_private_key(on(ssh_lab, host, "cat /run/app/app.pem").encode(), None)
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        public = private.public_key().public_bytes(serialization.Encoding.DER, form)
        assert hashlib.sha256(public).hexdigest() == key["public_key_sha256"]
        assert on(ssh_lab, host, "ls -A /run/app").split() == ["app.pem"]
    assert "absent" in on(ssh_lab, "cvm-03", "test -e /run/app/app.pem || echo absent")
    assert "is-debuggable wanted false, found true" in first_run
    assert ssh_lab.audit(service="keyvault", operation="key_release", vm="cvm-03") == []


def test_the_late_grant_was_waited_for(ssh_lab: Lab, first_run: str) -> None:
    decisions = [r["decision"] for r in ssh_lab.audit(service="keyvault", operation="key_release", vm="cvm-02")]
    assert decisions.count("allowed") == 1 and decisions[-1] == "allowed" and "refused" in decisions


def test_second_run_changes_and_writes_nothing(ssh_lab: Lab, first_run: str) -> None:
    mark = ssh_lab.mark
    again = ssh_lab.playbook("site")
    assert set(changes(again.stdout).values()) == {0}
    assert ssh_lab.writes(mark) == []


def test_check_mode_of_the_release(ssh_lab: Lab, first_run: str) -> None:
    on(ssh_lab, "cvm-01", "rm /run/app/app.pem")
    predicted = ssh_lab.playbook("release", "--limit", "cvm-01", check=True)
    assert changes(predicted.stdout) == {"cvm-01": 1}
    assert "absent" in on(ssh_lab, "cvm-01", "test -e /run/app/app.pem || echo absent")
    assert changes(ssh_lab.playbook("release", "--limit", "cvm-01").stdout) == {"cvm-01": 1}


@pytest.mark.parametrize(
    ("lines", "name", "major", "minor"),
    [
        ('NAME="Red Hat Enterprise Linux"\nVERSION_ID="9.4"\n', "Red Hat Enterprise Linux", 9, 4),
        ('NAME="Microsoft Azure Linux"\nVERSION_ID="3.0"\n', "Microsoft Azure Linux", 3, 0),
        ("NAME=SLES\nVERSION_ID='15.6'\n", "SLES", 15, 6),
    ],
)
def test_other_distributions(
    ssh_lab: Lab, first_run: str, agent: str, lines: str, name: str, major: int, minor: int
) -> None:
    """X-01: the agent needs an interpreter and the TPM's node, no program and no library of a distribution's own."""
    on(ssh_lab, "cvm-01", f"cp -n /etc/os-release /run/os-release; printf %s {shlex.quote(lines)} > /etc/os-release")
    try:
        url = ssh_lab.variables["skr_attestation_url"]
        roots = ssh_lab.variables["skr_report_roots_path"]
        command = f"attest --attestation-url {url} --report-roots-path {roots} --json"
        told = on(ssh_lab, "cvm-01", f"env -i PATH=/nowhere /usr/bin/python3 {agent} {command}")
    finally:
        on(ssh_lab, "cvm-01", "cp /run/os-release /etc/os-release")
    claims = json.loads(told)["claims"]
    assert claims["x-ms-azurevm-osdistro"] == name
    assert (claims["x-ms-azurevm-osversion-major"], claims["x-ms-azurevm-osversion-minor"]) == (major, minor)


@pytest.fixture(scope="module")
def agent(ssh_lab: Lab) -> str:
    """The packed agent on cvm-01."""
    packed = ssh_lab.directory / "azure-skr"
    packer = f"{MODULES.rpartition('.')[0]}.module_utils.agent_archive"
    subprocess.run([sys.executable, "-m", packer, str(packed)], check=True, env=environment())
    with packed.open("rb") as stream:
        command = ["ssh", "-F", str(ssh_lab.directory / "ssh/config"), "cvm-01", "cat > /opt/azure-skr"]
        subprocess.run(command, stdin=stream, check=True)
    return "/opt/azure-skr"


def test_the_device_is_not_for_everybody(ssh_lab: Lab, first_run: str) -> None:
    """AC-18: a user without the right gets tpm_permission, which is neither busy nor missing."""
    script = (
        "import json,sys; sys.path.insert(0, '/opt/skr'); "
        "from ansible_collections.confidential.azure_skr.plugins.module_utils.guest.tpm2 import open_tpm\n"
        "from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.failure import SkrFailure\n"
        "for path in ('/dev/tpmrm0', '/dev/tpm9'):\n"
        "    try: open_tpm(path)\n"
        "    except SkrFailure as failure: print(failure.reason, failure.message)\n"
    )
    _copy_collection(ssh_lab, "cvm-01")
    told = on(
        ssh_lab,
        "cvm-01",
        f"setpriv --reuid=4242 --regid=4242 --clear-groups /usr/bin/env python3 -c {json.dumps(script)!s}".replace(
            "\\n", "\n"
        ),
        check=False,
    )
    assert "tpm_permission User id 4242 may not open the TPM at /dev/tpmrm0." in told, told
    assert "tpm_missing" in told


def _copy_collection(lab: Lab, host: str) -> None:
    target = "/opt/skr/ansible_collections/confidential/azure_skr/plugins"
    subprocess.run(
        f"tar -C plugins -cf - module_utils | ssh -F {lab.directory}/ssh/config {host} 'mkdir -p {target} && tar -C {target} -xf -'",
        shell=True,
        check=True,
        cwd=__file__.rpartition("/tests/")[0],
    )


def test_real_names_resolve_and_verify(ssh_lab: Lab, first_run: str) -> None:
    """Names as on Azure, on port 443, with certificates that the host's own CA bundle trusts; others do not exist."""
    probe = (
        "import ssl,socket,sys\nwith socket.create_connection((sys.argv[1], 443), 5) as s:\n"
        "  ssl.create_default_context().wrap_socket(s, server_hostname=sys.argv[1]); print('verified')"
    )
    for name in ("management.azure.com", "login.microsoftonline.com", "sharedweu.weu.attest.azure.net"):
        assert "verified" in on(ssh_lab, "cvm-01", f"python3 -c {json.dumps(probe)} {name}".replace("\\n", "\n"))
    missing = on(ssh_lab, "cvm-01", "getent hosts nobody.vault.azure.net || echo unknown")
    assert missing.strip() == "unknown"
    region = on(
        ssh_lab,
        "cvm-02",
        "python3 -c \"import urllib.request as u; print(u.urlopen(u.Request('http://169.254.169.254/metadata/instance/compute/name"
        "?api-version=2021-02-01&format=text', headers={'Metadata': 'true'})).read().decode())\"",
    )
    assert region.strip() == "cvm-02"
