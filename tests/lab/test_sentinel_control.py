# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets of the control plane at the highest verbosity: imported keys, the security domain and its keys, client secrets."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import labkit
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from labkit import Lab
from sentinel import CommandLines, Sentinel

from skrsim.lab.plan import LOCATION, RESOURCE_GROUP

PASSPHRASE = "correct-horse-battery-staple-sentinel"


@pytest.fixture(scope="module")
def made() -> Any:
    with labkit.lab("--vms", "1", "--door", "local") as found:
        yield found


def play(lab: Lab, home: Path, tasks: list[dict[str, Any]], material: str) -> subprocess.CompletedProcess[bytes]:
    """Run tasks on the controller with everything switched on that could show a value."""
    book = home / "book.yml"
    defaults = {"group/confidential.azure_skr.azure": lab.azure()}
    hosts: dict[str, Any] = {"name": "Control", "hosts": "localhost", "connection": "local", "gather_facts": False}
    hosts |= {
        "module_defaults": defaults,
        "tasks": tasks,
        "vars": {"ansible_pipelining": True, "ansible_python_interpreter": sys.executable},
    }
    book.touch(mode=0o600)
    book.write_text(json.dumps([hosts]))
    environment = labkit.environment() | {
        "HOME": str(home),
        "TMPDIR": str(home),
        "ANSIBLE_LOG_PATH": str(home / "ansible.log"),
        "MATERIAL": material,
        "PASSPHRASE": PASSPHRASE,
    }
    return subprocess.run(
        ["ansible-playbook", "-vvvv", "--diff", "-i", "localhost,", str(book)],
        capture_output=True,
        env=environment,
        cwd=home,
        check=False,
    )


def test_imported_material_shows_nowhere(made: Lab, tmp_path: Path) -> None:
    key = rsa.generate_private_key(65537, 2048)
    sentinel = Sentinel(key)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    place = {"resource_group": RESOURCE_GROUP, "location": LOCATION}
    wanted = {
        "vault_uri": "https://kv-skr-sentinel.vault.azure.net",
        "key_name": "mine",
        "key_size": 2048,
        "release_policy": made.variables["skr_release_policy"],
        "accepted_findings": made.variables["skr_accepted_findings"],
        "import_material": "{{ lookup('ansible.builtin.env', 'MATERIAL') }}",
    }
    module = "confidential.azure_skr.exportable_key"
    tasks: list[dict[str, Any]] = [
        {"confidential.azure_skr.key_vault": {"name": "kv-skr-sentinel", **place, "enable_rbac_authorization": True}},
        {module: wanted},
        {module: wanted},
        # A failure quotes what it was given elsewhere.
        {module: {**wanted, "key_size": 3072}, "ignore_errors": True},
    ]
    watch, since = CommandLines(sentinel), time.time() - 1
    watch.start()
    done = play(made, tmp_path, tasks, pem)
    lines = watch.finish()
    assert done.returncode == 0, done.stdout.decode()[-3000:]
    told = done.stdout + done.stderr
    assert b"key_size is 3072" in told and b"changed=2" in told
    assert watch.samples > 20 and lines == [] and sentinel.found_in(told) == []
    assert made.azure()["secret"].encode() not in told
    assert sentinel.files([tmp_path, made.directory, made.plan.runtime], set(), since) == []


def test_the_security_domain_and_its_keys_show_nowhere_else(made: Lab, tmp_path: Path) -> None:
    ceremony = tmp_path / "ceremony"
    ceremony.mkdir(mode=0o700)
    place = {"resource_group": RESOURCE_GROUP, "name": "hsm-skr-sentinel"}
    activation = {
        **place,
        "security_domain_file": str(ceremony / "domain.json"),
        "security_domain_keys_dir": str(ceremony),
        "security_domain_passphrase": "{{ lookup('ansible.builtin.env', 'PASSPHRASE') }}",
    }
    tasks = [
        {"confidential.azure_skr.managed_hsm": {**place, "location": LOCATION}},
        {"confidential.azure_skr.managed_hsm_activation": activation},
        {"confidential.azure_skr.managed_hsm_activation": activation},
    ]
    done = play(made, tmp_path, tasks, "")
    assert done.returncode == 0, done.stdout.decode()[-3000:]
    told, log = done.stdout + done.stderr, (tmp_path / "ansible.log").read_bytes()
    assert b"changed=2" in told
    blob = json.loads((ceremony / "domain.json").read_text())
    secrets = [blob["EncData"]["data"][0]["compact_jwe"], *(one["enc_key"] for one in blob["SharedKeys"]["enc_shares"])]
    for path in sorted(ceremony.glob("*.key")):
        assert path.stat().st_mode & 0o777 == 0o600
        private = serialization.load_pem_private_key(path.read_bytes(), PASSPHRASE.encode())
        assert isinstance(private, rsa.RSAPrivateKey)
        assert Sentinel(private).found_in(told + log) == []
        secrets += path.read_text().splitlines()[1:-1]
    for secret in (*secrets, PASSPHRASE, made.azure()["secret"]):
        assert secret.encode() not in told + log
    elsewhere = [path for path in tmp_path.rglob("*") if path.is_file() and ceremony not in path.parents]
    for path in elsewhere:
        content = path.read_bytes()
        assert not any(secret.encode() in content for secret in (*secrets, PASSPHRASE)), path
