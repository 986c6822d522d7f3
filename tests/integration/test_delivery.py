# SPDX-License-Identifier: GPL-3.0-or-later
"""From the vault to the consumer in the lab: formats, kinds of keys, keyring, LUKS, command, removal, application secrets."""

from __future__ import annotations

import base64
import ctypes
import hashlib
import json
import os
import platform
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import labkit
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from integration.site import Site, ready
from labkit import Lab
from sentinel import CommandLines, Sentinel

from skrsim.lab.inventory import release_policy
from skrsim.lab.plan import AUTHORITY, LOCATION, RESOURCE_GROUP

GUEST = "ansible_collections.confidential.azure_skr.plugins.module_utils.guest"
CRYPTO_USER = "21dbd100-6940-42c2-9190-5d6cb909625b"
SBIN = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"
CRYPTSETUP = shutil.which("cryptsetup", path=SBIN)
ALGORITHMS = ["CKM_RSA_AES_KEY_WRAP", "RSA_AES_KEY_WRAP_256", "RSA_AES_KEY_WRAP_384"]


class Hsm:
    """A managed HSM whose keys one VM may release."""

    def __init__(self, lab: Lab) -> None:
        self.lab, name = lab, "hsm-skr-delivery"
        place = {"resource_group": RESOURCE_GROUP, "location": LOCATION}
        made = lab.module("managed_hsm", **lab.azure(), **place, name=name, soft_delete_retention_days=7)
        assert made["changed"], made
        lab.call("hsm_activate", name=name)
        lab.call("hsm_role", name=name, role=CRYPTO_USER)
        self.uri = f"https://{name}.managedhsm.azure.net"
        lab.module("cvm_identity", **lab.azure(), resource_group=RESOURCE_GROUP, vms=["cvm-01"])
        grant = {"vms": ["cvm-01"], "vm_resource_group": RESOURCE_GROUP}
        given = lab.module("release_access", **lab.azure(), hsm_uri=self.uri, **grant)
        assert given["changed"], given

    def key(self, name: str, octets: bytes | None = None, **options: Any) -> dict[str, Any]:
        """An exportable symmetric key; of these bytes, if they are given."""
        wanted = {
            "hsm_uri": self.uri,
            "key_name": name,
            "key_type": "oct-HSM",
            "release_policy": release_policy(),
            **options,
        }
        if octets is not None:
            wanted["import_material"] = base64.b64encode(octets).decode()
        made = self.lab.module("exportable_key", **self.lab.azure(), **wanted)
        assert not made.get("failed"), made
        return made

    def release(self, name: str, check: bool = False, **options: Any) -> dict[str, Any]:
        wanted = {"attestation_url": AUTHORITY, "hsm_uri": self.uri, "key_name": name}
        return self.lab.module("key_release", check=check, **(self.lab.guest("cvm-01") | wanted | options))


@pytest.fixture(scope="module")
def hsm(shared_lab: Lab) -> Hsm:
    return Hsm(shared_lab)


@pytest.fixture(scope="module")
def site(shared_lab: Lab) -> Site:
    return ready(shared_lab)


def fingerprint(key: Any) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return hashlib.sha256(key.public_key().public_bytes(serialization.Encoding.DER, form)).hexdigest()


def folder(lab: Lab) -> Path:
    return Path(str(lab.hosts["cvm-01"]["skr_dest"])).parent


# --- kinds, formats, wrap algorithms


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("size", [128, 192, 256])
def test_symmetric_keys(local_lab: Lab, hsm: Hsm, size: int, algorithm: str) -> None:
    name = f"sym-{size}"
    hsm.key(name, key_size=size)
    dest = folder(local_lab) / f"{name}.{algorithm}"
    result = hsm.release(name, dest=str(dest), wrap_algorithm=algorithm)
    assert result.get("changed"), result
    key = dest.read_bytes()
    assert len(key) == size // 8 and result["key_type"] in ("oct", "oct-HSM") and "public_key_sha256" not in result
    assert hsm.release(name, dest=str(dest), wrap_algorithm=algorithm)["changed"] is False
    formats: list[tuple[str, bytes | None]] = [("base64", base64.b64encode(key)), ("jwk", None)]
    for form, content in formats if algorithm == ALGORITHMS[1] else []:
        told = hsm.release(name, dest=f"{dest}.{form}", wrap_algorithm=algorithm, format=form)
        assert told["changed"], told
        found = Path(f"{dest}.{form}").read_bytes()
        assert found == content if content else base64.urlsafe_b64decode(json.loads(found)["k"] + "==") == key
    for hidden in (key.hex(), base64.b64encode(key).decode()):
        assert hidden not in json.dumps(result)


@pytest.mark.parametrize("curve", ["P-256", "P-256K", "P-384", "P-521"])
def test_elliptic_keys(local_lab: Lab, curve: str) -> None:
    site = ready(local_lab, key_type="EC-HSM", curve=curve)
    for algorithm, form in zip(ALGORITHMS, ("auto", "der", "jwk"), strict=True):
        dest = f"{site.destination('cvm-01')}.{form}"
        result = site.release(dest=dest, format=form, wrap_algorithm=algorithm)
        assert result.get("changed") and result["public_key_sha256"] == site.key["public_key_sha256"], result
        content = Path(dest).read_bytes()
        if form == "jwk":
            assert json.loads(content)["crv"] == ("secp256k1" if curve == "P-256K" else curve)
        else:
            load = serialization.load_der_private_key if form == "der" else serialization.load_pem_private_key
            assert fingerprint(load(content, None)) == site.key["public_key_sha256"]
        assert not site.release(dest=dest, format=form)["changed"]


@pytest.mark.parametrize("size", [2048, 3072, 4096])
def test_rsa_keys(local_lab: Lab, size: int) -> None:
    site = ready(local_lab, key_size=size)
    for algorithm, form in zip((*ALGORITHMS, ALGORITHMS[0]), ("auto", "pem_pkcs1", "der", "jwk"), strict=True):
        dest = f"{site.destination('cvm-01')}.{form}"
        result = site.release(dest=dest, format=form, wrap_algorithm=algorithm)
        assert result.get("changed") and result["public_key_sha256"] == site.key["public_key_sha256"], result
        assert result["diff"]["after"]["public_key_sha256"] == result["public_key_sha256"]
        assert not site.release(dest=dest, format=form)["changed"]
    assert Path(f"{site.destination('cvm-01')}.pem_pkcs1").read_bytes().startswith(b"-----BEGIN RSA PRIVATE KEY")


def test_formats_that_make_no_sense(local_lab: Lab, hsm: Hsm, site: Site) -> None:
    hsm.key("sym-format")
    dest = folder(local_lab) / "no-sense"
    for result in (
        hsm.release("sym-format", dest=str(dest), format="pem_pkcs8"),
        site.release(dest=str(dest), format="raw"),
    ):
        assert result["reason"] == "invalid_input" and result["facts"]["option"] == "format" and not dest.exists()


# --- keyring


def in_keyring(name: str) -> bytes | None:
    """What another process finds that searches the user keyring."""
    libc, number = ctypes.CDLL(None, use_errno=True), {"x86_64": 250, "aarch64": 219}[platform.machine()]
    libc.syscall.restype = ctypes.c_long
    key = libc.syscall(
        ctypes.c_long(number), ctypes.c_long(10), ctypes.c_long(-4), b"user", name.encode(), ctypes.c_long(0)
    )
    if key < 0:
        return None
    space = ctypes.create_string_buffer(65536)
    size = libc.syscall(ctypes.c_long(number), ctypes.c_long(11), ctypes.c_long(key), space, ctypes.c_long(65536))
    return space.raw[:size] if size >= 0 else None


@pytest.fixture
def description() -> Iterator[str]:
    if not Path("/proc/keys").exists():
        pytest.skip("this kernel has no keyrings")
    yield f"skr-test:{secrets.token_hex(8)}"


def test_a_keyring(local_lab: Lab, hsm: Hsm, description: str) -> None:
    hsm.key("sym-keyring", secrets.token_bytes(32))
    place = {"deliver_to": "keyring", "keyring_description": description}
    try:
        assert hsm.release("sym-keyring", check=True, **place)["changed"] and in_keyring(description) is None
        result = hsm.release("sym-keyring", **place)
        if result.get("reason") == "keyring_unavailable":
            pytest.skip("this kernel or container refuses keyrings")
        first = in_keyring(description)
        assert result["changed"] and first and len(first) == 32, result
        assert result["delivered"]["keyring"] == "user" and "dest" not in result
        assert not hsm.release("sym-keyring", **place)["changed"]
        hsm.key("sym-keyring", rotate=True)
        assert hsm.release("sym-keyring", **place)["changed"] and in_keyring(description) not in (None, first)
    finally:
        removed = local_lab.module("key_removal", **place)
    assert removed["changed"] and in_keyring(description) is None
    assert not local_lab.module("key_removal", **place)["changed"]


# --- LUKS


@pytest.mark.skipif(CRYPTSETUP is None, reason="cryptsetup is not installed")
@pytest.mark.parametrize("version", [1, 2])
def test_a_luks_volume(local_lab: Lab, hsm: Hsm, version: int, tmp_path: Path) -> None:
    """AC-23: the slot is added idempotently, others stay, and what the volume holds can be had again."""
    name, memory = f"sym-luks{version}", folder(local_lab)
    hsm.key(name)
    volume, existing = tmp_path / "volume", memory / f"existing-{version}"
    with volume.open("wb") as stream:
        stream.truncate(20 << 20)
    existing.write_bytes(b"the recovery passphrase")
    fast = ("--pbkdf=pbkdf2", "--pbkdf-force-iterations=1000")

    def cryptsetup(*words: str, given: bytes = b"") -> int:
        return subprocess.run([str(CRYPTSETUP), *words], input=given, capture_output=True, check=False).returncode

    def opens(passphrase: bytes, slot: int) -> bool:
        return not cryptsetup(
            "open", "--test-passphrase", "--key-file=-", f"--key-slot={slot}", str(volume), given=passphrase
        )

    assert (
        cryptsetup("luksFormat", "-q", f"--type=luks{version}", *fast, str(volume), "-", given=existing.read_bytes())
        == 0
    )
    options = {
        "deliver_to": "luks",
        "luks_device": str(volume),
        "luks_slot": 3,
        "luks_existing_key_file": str(existing),
    }
    assert hsm.release(name, check=True, **options)["changed"] and not opens(existing.read_bytes(), 3)
    added = hsm.release(name, **options)
    assert added["changed"] and added["delivered"]["luks_slot"] == 3, added
    dest = memory / f"luks-{version}"
    assert hsm.release(name, dest=str(dest))["changed"]
    assert opens(dest.read_bytes(), 3) and opens(existing.read_bytes(), 0)
    again = hsm.release(name, **options)
    assert not again["changed"] and again["diff"]["before"] == again["diff"]["after"]
    hsm.key(name, rotate=True)
    assert hsm.release(name, **options)["reason"] == "luks_slot_taken"
    assert hsm.release(name, **options, luks_replace=True)["changed"] and not opens(dest.read_bytes(), 3)
    assert hsm.release(name, dest=str(dest))["changed"] and opens(dest.read_bytes(), 3)
    place = {"deliver_to": "luks", "luks_device": str(volume)}
    assert local_lab.module("key_removal", **place, luks_slot=3)["changed"] and not opens(dest.read_bytes(), 3)
    assert not local_lab.module("key_removal", **place, luks_slot=3)["changed"]
    assert local_lab.module("key_removal", **place, luks_slot=0)["reason"] == "luks_last_slot"


# --- command


def test_a_command(local_lab: Lab, site: Site, tmp_path: Path) -> None:
    program = tmp_path / "take"
    program.write_text(f"#!/bin/sh\necho run >>{tmp_path}/runs\ncat >{tmp_path}/given\necho out; echo err >&2\n")
    program.chmod(0o755)
    options: dict[str, Any] = {
        "dest": None,
        "deliver_to": "command",
        "command": [str(program)],
        "fingerprint_file": str(tmp_path / "note"),
    }
    assert site.release(check=True, **options)["changed"] and not (tmp_path / "runs").exists()
    first = site.release(**options)
    assert first["changed"] and first["delivered"]["program"] == str(program), first
    key = serialization.load_pem_private_key((tmp_path / "given").read_bytes(), None)
    assert fingerprint(key) == site.key["public_key_sha256"]
    assert not site.release(**options)["changed"] and (tmp_path / "runs").read_text() == "run\n"
    assert site.ensure_key(rotate=True)["changed"]
    assert site.release(**options)["changed"] and (tmp_path / "runs").read_text() == "run\nrun\n"


def test_a_playbook(local_lab: Lab, hsm: Hsm, tmp_path: Path) -> None:
    """The inventory's variables lead to any place; the file of the inventory is not touched then."""
    hsm.key("sym-playbook")
    program = tmp_path / "take"
    program.write_text(f"#!/bin/sh\ncat >{tmp_path}/given\n")
    program.chmod(0o755)
    variables: dict[str, Any] = {
        "skr_hsm_uri": hsm.uri,
        "skr_key_name": "sym-playbook",
        "skr_deliver_to": "command",
        "skr_command": [str(program)],
        "skr_fingerprint_file": str(tmp_path / "note"),
        "skr_format": "base64",
    }
    for changes in ("changed=1", "changed=0"):
        done = local_lab.playbook("release", "--limit", "cvm-01", variables=variables)
        assert done.returncode == 0 and changes in done.stdout, done.stdout
    assert len(base64.b64decode((tmp_path / "given").read_bytes(), validate=True)) == 32


# --- tampering


@pytest.mark.parametrize("fault", ["tamper", "swap_key", "untrusted_chain"])
def test_a_tampered_answer_reaches_no_consumer(
    local_lab: Lab, site: Site, fault: str, description: str, tmp_path: Path
) -> None:
    """AC-17, for consumers other than files."""
    program = tmp_path / "take"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/run\n")
    program.chmod(0o755)
    places: list[dict[str, Any]] = [
        {"deliver_to": "keyring", "keyring_description": description},
        {"deliver_to": "command", "command": [str(program)]},
    ]
    for place in places:
        with local_lab.fault(fault, service="keyvault", operation="key_release"):
            result = site.release(dest=None, **place)
        assert result["failed"] and result["reason"].startswith("response_"), result
    assert in_keyring(description) is None and not (tmp_path / "run").exists()


# --- application secrets


def public_half(site: Site) -> str:
    return str(site.key["public_key_pem"])


def unwrap(site: Site, entries: list[dict[str, Any]], check: bool = False, **options: Any) -> dict[str, Any]:
    wanted = {"attestation_url": AUTHORITY, "vault_uri": site.uri, "key_name": "app", "secrets": entries}
    return site.lab.module("secret_unwrap", check=check, **(site.lab.guest("cvm-01") | wanted | options))


def test_application_secrets(local_lab: Lab, tmp_path: Path) -> None:
    site = ready(local_lab)
    memory, wrapped = folder(local_lab), tmp_path / "database.jwe"
    made = local_lab.module(
        "secret_wrap",
        public_key=public_half(site),
        secret="the database's password",
        name="database",
        dest=str(wrapped),
    )
    assert made["changed"] and made["public_key_sha256"] == site.key["public_key_sha256"], made
    entries = [
        {"envelope_file": str(wrapped), "name": "database", "dest": str(memory / "database"), "mode": "0440"},
        {"envelope": made["envelope"], "dest": str(memory / "database.b64"), "format": "base64"},
    ]
    planned = unwrap(site, entries, check=True)
    assert planned["changed"] and not (memory / "database").exists()
    mark = local_lab.mark
    result = unwrap(site, entries)
    assert result["changed"] and result["kid"] == site.key["kid"], result
    assert len(local_lab.audit(mark, service="keyvault", operation="key_release")) == 1
    assert (memory / "database").read_bytes() == b"the database's password"
    assert base64.b64decode((memory / "database.b64").read_bytes()) == b"the database's password"
    assert not unwrap(site, entries)["changed"] and "password" not in json.dumps(result)
    rotated = site.ensure_key(rotate=True)
    refused = unwrap(site, entries)
    assert refused["reason"] == "secret_envelope_key" and rotated["public_key_sha256"] in refused["msg"]
    assert not unwrap(site, entries, key_version=result["key_version"])["changed"]
    (memory / "database").unlink()
    envelope = json.loads(wrapped.read_text())
    envelope["tag"] = "A" * 22
    broken = unwrap(
        site, [{**entries[0], "envelope_file": None, "envelope": envelope}], key_version=result["key_version"]
    )
    assert broken["reason"] == "secret_envelope_invalid" and not (memory / "database").exists()


def test_elliptic_keys_cannot_open_secrets(local_lab: Lab, site: Site) -> None:
    elliptic = ready(local_lab, key_type="EC-HSM")
    refused = local_lab.module("secret_wrap", public_key=public_half(elliptic), secret="some secret")
    assert refused["reason"] == "key_cannot_wrap" and "RSA-HSM" in refused["next_step"]
    made = local_lab.module("secret_wrap", public_key=public_half(site), secret="some secret")
    released = unwrap(elliptic, [{"envelope": made["envelope"], "dest": str(folder(local_lab) / "never")}])
    assert released["reason"] == "key_cannot_wrap" and not (folder(local_lab) / "never").exists()


# --- nothing shows


class Octets(Sentinel):
    """The forms in which bytes could show."""

    def __init__(self, octets: bytes) -> None:
        self.needles = {"raw": octets, "hex": octets.hex().encode(), "HEX": octets.hex().upper().encode()}
        self.needles["escaped"] = repr(octets)[2:-1].encode()
        for shift in range(3):
            piece = base64.b64encode(octets[shift : shift + 30])
            self.needles[f"base64 {shift}"], self.needles[f"base64url {shift}"] = (
                piece,
                piece.translate(bytes.maketrans(b"+/", b"-_")),
            )


def play(lab: Lab, home: Path, tasks: list[dict[str, Any]]) -> subprocess.CompletedProcess[bytes]:
    """Run tasks with everything switched on that could show a value."""
    book = home / "book.yml"
    hosts = {"name": "Guest", "hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks}
    hosts["module_defaults"] = {
        "group/confidential.azure_skr.guest": {**lab.guest("cvm-01"), "attestation_url": AUTHORITY}
    }
    hosts["vars"] = {"ansible_pipelining": True, "ansible_python_interpreter": sys.executable}
    book.write_text(json.dumps([hosts]))
    environment = labkit.environment() | {
        "HOME": str(home),
        "TMPDIR": str(home),
        "ANSIBLE_LOG_PATH": str(home / "ansible.log"),
    }
    command = ["ansible-playbook", "-vvvv", "--diff", "-i", "localhost,", str(book)]
    return subprocess.run(command, capture_output=True, env=environment, cwd=home, check=False)


@pytest.mark.skipif(CRYPTSETUP is None, reason="cryptsetup is not installed")
def test_a_known_symmetric_key_shows_nowhere_but_where_it_belongs(
    local_lab: Lab, hsm: Hsm, tmp_path: Path, description: str
) -> None:
    key, memory = secrets.token_bytes(32), folder(local_lab)
    hsm.key("sym-sentinel", key)
    sentinel, since = Octets(key), time.time() - 1
    volume, existing, given = tmp_path / "volume", memory / "existing", memory / "given"
    program, spies = tmp_path / "take", tmp_path / "spies"
    spies.mkdir()
    program.write_text(f"#!/bin/sh\ncat /proc/self/environ /proc/$$/cmdline >{spies}/$$\ncat >{given}\n")
    program.chmod(0o755)
    existing.write_bytes(b"the recovery passphrase")
    with volume.open("wb") as stream:
        stream.truncate(20 << 20)
    fast = ("--pbkdf=pbkdf2", "--pbkdf-force-iterations=1000")
    subprocess.run([str(CRYPTSETUP), "luksFormat", "-q", *fast, str(volume), str(existing)], check=True)
    where: list[dict[str, Any]] = [
        {"dest": str(memory / "sentinel")},
        {"deliver_to": "keyring", "keyring_description": description},
        {"deliver_to": "luks", "luks_device": str(volume), "luks_existing_key_file": str(existing)},
        {"deliver_to": "command", "command": [str(program)], "fingerprint_file": str(tmp_path / "note")},
        {"deliver_to": "systemd_credential", "credential_name": "sentinel", "credential_store": str(memory)},
    ]
    where[4]["credential_name"] = "sentinel.credential"
    tasks: list[dict[str, Any]] = []
    for place in where:
        task = {"confidential.azure_skr.key_release": {"hsm_uri": hsm.uri, "key_name": "sym-sentinel", **place}}
        tasks += [task, task]
    # A failure quotes what it was given elsewhere.
    wrong = {"hsm_uri": hsm.uri, "key_name": "sym-sentinel", "dest": str(memory / "wrong"), "format": "der"}
    tasks.append({"confidential.azure_skr.key_release": wrong, "ignore_errors": True})
    watch = CommandLines(sentinel)
    watch.start()
    done = play(local_lab, tmp_path, tasks)
    lines = watch.finish()
    local_lab.module("key_removal", **where[1])
    assert done.returncode == 0, done.stdout.decode()[-3000:]
    assert b"changed=5" in done.stdout and b"ignored=1" in done.stdout and b"format is 'der'" in done.stdout
    assert (
        given.read_bytes() == (memory / "sentinel").read_bytes() == (memory / "sentinel.credential").read_bytes() == key
    )
    assert watch.samples > 20 and lines == [] and sentinel.found_in(done.stdout + done.stderr) == []
    delivered = {str(memory / name) for name in ("sentinel", "sentinel.credential", "given")}
    roots = [tmp_path, local_lab.directory, local_lab.plan.runtime, Path("/dev/shm"), Path("/run")]
    assert sentinel.files([root for root in roots if root.exists()], delivered, since) == []
    assert sentinel.files([memory], set(), since)  # it would have found it


def test_an_application_secret_and_its_key_show_nowhere(local_lab: Lab, tmp_path: Path) -> None:
    key, secret = rsa.generate_private_key(65537, 2048), secrets.token_hex(32).encode()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    site = ready(local_lab, import_material=pem.decode())
    (tmp_path / "key.pem").write_text(public_half(site))
    since, memory = time.time() - 1, folder(local_lab)
    script = (
        f"import sys; from {GUEST}.commands import wrap_secret\n"
        "print(wrap_secret.run({'public_key': sys.argv[1], 'secret_name': 'one'})[1])"
    )
    wrapped = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "key.pem")],
        input=secret,
        capture_output=True,
        env=labkit.environment(),
        check=True,
    )
    entry = {"envelope": wrapped.stdout.decode(), "name": "one", "dest": str(memory / "one")}
    task = {"confidential.azure_skr.secret_unwrap": {"vault_uri": site.uri, "key_name": "app", "secrets": [entry]}}
    sentinels = [Sentinel(key), Octets(secret)]
    watches = [CommandLines(sentinel) for sentinel in sentinels]
    for watch in watches:
        watch.start()
    done = play(local_lab, tmp_path, [task, task])
    lines = [watch.finish() for watch in watches]
    assert done.returncode == 0 and b"changed=1" in done.stdout, done.stdout.decode()[-3000:]
    assert (memory / "one").read_bytes() == secret and lines == [[], []]
    for sentinel in sentinels:
        assert sentinel.found_in(done.stdout + done.stderr + wrapped.stdout + wrapped.stderr) == []
        roots = [tmp_path, local_lab.directory, local_lab.plan.runtime, Path("/dev/shm")]
        assert sentinel.files(roots, {str(memory / "one")}, since) == []
    assert os.stat(memory / "one").st_mode & 0o777 == 0o400
