# SPDX-License-Identifier: GPL-3.0-or-later
"""A known key goes through the whole job at the highest verbosity; afterwards it is where it belongs and nowhere else."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import labkit
import pytest
from azure.identity import ClientSecretCredential
from azure.keyvault.keys import JsonWebKey, KeyClient, KeyReleasePolicy
from cryptography.hazmat.primitives.asymmetric import rsa
from lab.conftest import NO_SSH_DOOR
from labkit import Lab
from sentinel import CommandLines, Sentinel


@pytest.fixture(params=["local", "ssh"])
def any_lab(request: pytest.FixtureRequest) -> Any:
    if request.param == "ssh" and NO_SSH_DOOR:
        pytest.skip("the ssh door needs root, openssh-server and iproute2")
    with labkit.lab("--vms", "2", "--door", request.param) as made:
        yield made


def import_key(lab: Lab, key: rsa.RSAPrivateKey) -> None:
    """Put the known key into the lab's vault with the unmodified SDK."""
    options = lab.azure()
    transport = {"connection_verify": options["ca_path"], "proxies": {"https": options["https_proxy"]}}
    credential = ClientSecretCredential(
        options["tenant"], options["client_id"], options["secret"], disable_instance_discovery=True, **transport
    )
    client = KeyClient(f"https://{lab.variables['skr_vault_name']}.vault.azure.net", credential, **transport)
    numbers = key.private_numbers()

    def octets(value: int) -> bytes:
        return value.to_bytes((value.bit_length() + 7) // 8, "big")

    jwk = JsonWebKey(
        kty="RSA-HSM",
        key_ops=["sign"],
        n=octets(numbers.public_numbers.n),
        e=octets(numbers.public_numbers.e),
        d=octets(numbers.d),
        p=octets(numbers.p),
        q=octets(numbers.q),
        dp=octets(numbers.dmp1),
        dq=octets(numbers.dmq1),
        qi=octets(numbers.iqmp),
    )
    policy = KeyReleasePolicy(json.dumps(lab.variables["skr_release_policy"]).encode())
    client.import_key("app-key", jwk, hardware_protected=True, exportable=True, release_policy=policy)


def scan_host(lab: Lab, host: str, sentinel: Sentinel, since: float) -> list[str]:
    """Search the host's own files, as the host sees them."""
    needles = [needle.hex() for needle in sentinel.needles.values() if len(needle) > 16]
    script = f"""
import os, re
needles = [bytes.fromhex(n) for n in {needles!r}]
token = re.compile(rb"eyJ[A-Za-z0-9_-]{{16,}}[.]eyJ[A-Za-z0-9_-]{{16,}}[.][A-Za-z0-9_-]{{16,}}")
for folder, folders, names in os.walk("/"):
    folders[:] = [f for f in folders if os.path.join(folder, f) not in ("/proc", "/sys", "/dev/pts")]
    for name in names:
        path = os.path.join(folder, name)
        try:
            state = os.lstat(path)
            if not os.path.isfile(path) or os.path.islink(path) or state.st_ctime < {since} or path == "/run/app/app.pem":
                continue
            data = open(path, "rb").read()
        except OSError:
            continue
        if any(n in data for n in needles) or token.search(data):
            print(path)
"""
    command = ["ssh", "-F", str(lab.directory / "ssh/config"), host, "python3", "-"]
    done = subprocess.run(command, input=script, capture_output=True, text=True, check=True)
    # The host's root lies over the machine's: a file that the machine has too was not written by the host.
    return [path for path in done.stdout.splitlines() if not Path(path).is_file()]


def test_the_key_shows_nowhere(any_lab: Lab) -> None:
    key = rsa.generate_private_key(65537, 2048)
    sentinel = Sentinel(key)
    assert any_lab.playbook("provision", variables={"skr_key_name": "other"}).returncode == 0
    import_key(any_lab, key)
    home = Path(tempfile.mkdtemp(prefix="skr-sentinel-"))
    environment = labkit.environment() | {
        "HOME": str(home),
        "TMPDIR": str(home),
        "ANSIBLE_LOG_PATH": str(home / "ansible.log"),
    }
    watch = CommandLines(sentinel)
    since = time.time() - 1
    watch.start()
    done = subprocess.run(
        ["ansible-playbook", "-vvvv", "-i", str(any_lab.inventory), "confidential.azure_skr.site"],
        capture_output=True,
        env=environment,
        cwd=home,
        check=False,
    )
    lines = watch.finish()
    assert done.returncode == 0, done.stdout.decode()[-3000:]
    # Delivered, so the sentinel was really at work.
    delivered = {str(variables.get("skr_dest", "")) for variables in any_lab.hosts.values()} - {""}
    for path in delivered:
        assert sentinel.found_in(Path(path).read_bytes())
    assert watch.samples > 50 and lines == []
    assert sentinel.found_in(done.stdout + done.stderr) == []
    secret = any_lab.azure()["secret"].encode()
    assert secret not in done.stdout + done.stderr
    roots = [home, any_lab.directory, any_lab.plan.runtime, Path("/dev/shm"), Path("/tmp")]
    assert sentinel.files(roots, delivered, since) == []
    if any_lab.plan.door == "ssh":
        for host in any_lab.hosts:
            assert scan_host(any_lab, host, sentinel, since) == []
    subprocess.run(["rm", "-rf", str(home)], check=True)
    assert not os.path.exists(home)


def test_the_sentinel_finds_what_it_looks_for(tmp_path: Path) -> None:
    """A search that finds nothing proves something only if it would have found."""
    key = rsa.generate_private_key(65537, 2048)
    sentinel = Sentinel(key)
    numbers = key.private_numbers()
    raw = numbers.d.to_bytes(256, "big")
    import base64

    for planted in (
        raw,
        raw.hex().encode(),
        base64.b64encode(b"x" + raw),
        base64.urlsafe_b64encode(b"xy" + raw),
        str(numbers.p).encode(),
    ):
        (tmp_path / "planted").write_bytes(b"before " + planted + b" after")
        assert sentinel.files([tmp_path], set(), 0), planted[:20]
    (tmp_path / "planted").write_bytes(b"eyJhbGciOiJSUzI1NiIsIn.eyJhbGciOiJSUzI1NiIsIn.c2lnbmF0dXJlc2lnbmF0dXJl")
    assert sentinel.files([tmp_path], set(), 0)
