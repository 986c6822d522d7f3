# SPDX-License-Identifier: GPL-3.0-or-later
"""A lab of every kind of VM: its inventory, what its services say of each, and what the command line can change."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import typing as t
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from cryptography import x509

from conftest import SILICON
from skrsim.lab import cli, control
from skrsim.lab.inventory import release_policy
from skrsim.lab.plan import Plan
from skrsim.vtpm import wire

WORDS = "--vms 6 --tdx cvm-04 --trusted-launch cvm-05 --turin cvm-06 --door local".split()
NAMES = [f"cvm-0{number}" for number in range(1, 7)]


def run(directory: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "skrsim.lab.cli", "--dir", str(directory), *words]
    environment = {**os.environ, "PYTHONPATH": str(Path(cli.__file__).resolve().parents[2])}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=170)


@pytest.fixture(scope="module")
def directory() -> t.Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="skr-kinds-"))
    done = run(made, "up", *WORDS, "--cache", str(SILICON))
    assert done.returncode == 0, done.stdout + done.stderr
    yield made
    run(made, "down")
    shutil.rmtree(made)


@pytest.fixture
def inventory(directory: Path) -> dict[str, t.Any]:
    found: dict[str, t.Any] = json.loads((directory / "inventory.yml").read_text())["all"]["children"]
    return found


def imds(inventory: dict[str, t.Any], vm: str, path: str, body: bytes | None = None) -> t.Any:
    url = inventory["cvm"]["hosts"][vm]["skr_imds_endpoint"] + path
    request = urllib.request.Request(url, body, {"Metadata": "true"})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
        return json.load(answer)


def test_inventory(directory: Path, inventory: dict[str, t.Any]) -> None:
    """All VMs in one group with all they need, and a group for each kind."""
    hosts, variables = inventory["cvm"]["hosts"], inventory["cvm"]["vars"]
    assert list(hosts) == NAMES
    kinds = {name: list(group["hosts"]) for name, group in inventory.items() if name != "cvm"}
    assert kinds == {"snp": ["cvm-01", "cvm-02", "cvm-03", "cvm-06"], "tdx": ["cvm-04"], "trusted_launch": ["cvm-05"]}
    for name, host in hosts.items():
        assert Path(host["skr_tpm_device"].removeprefix("unix:")).is_socket()
        assert Path(host["skr_event_log_path"]).read_bytes()[32:48] == b"Spec ID Event03\0"
        assert f"/{name}/" in host["skr_dest"] and f"//{name}:" in host["skr_guest_https_proxy"]
    assert len({host["skr_imds_endpoint"] for host in hosts.values()}) == 6
    assert variables["skr_release_policy"] == release_policy(tdx=True)
    kinds_of_rules = [rule["allOf"][1]["equals"] for rule in variables["skr_release_policy"]["anyOf"]]
    assert kinds_of_rules == ["sevsnpvm", "tdxvm"]
    assert (directory / "inventory.yml").stat().st_mode & 0o777 == 0o600


def test_roots(inventory: dict[str, t.Any]) -> None:
    """One file with the root of each vendor and product in the lab."""
    text = Path(inventory["cvm"]["vars"]["skr_report_roots_path"]).read_bytes()
    names = [one.subject.rfc4514_string() for one in x509.load_pem_x509_certificates(text)]
    commons = [next(part[3:] for part in name.split(",") if part.startswith("CN=")) for name in names]
    assert commons == ["ARK-Milan", "ARK-Turin", "Intel SGX Root CA"] and all("SIMULATED" in name for name in names)


def test_metadata(inventory: dict[str, t.Any]) -> None:
    kinds = {name: ("ConfidentialVM", "Standard_DC2as_v5") for name in NAMES}
    kinds |= {"cvm-04": ("ConfidentialVM", "Standard_DC2es_v5"), "cvm-05": ("TrustedLaunch", "Standard_D2s_v5")}
    for name, wanted in kinds.items():
        compute = imds(inventory, name, "/metadata/instance/compute?api-version=2021-02-01")
        assert (compute["securityProfile"]["securityType"], compute["vmSize"]) == wanted
    for name in ("cvm-04", "cvm-05"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            imds(inventory, name, "/metadata/THIM/amd/certification")
    milan, turin = (imds(inventory, name, "/metadata/THIM/amd/certification")["tcbm"] for name in ("cvm-01", "cvm-06"))
    assert milan == "DB18000000000004" and turin == "4B00000004010203"
    with pytest.raises(urllib.error.HTTPError, match="400"):
        imds(inventory, "cvm-04", "/acc/tdquote", json.dumps({"report": "AAAA"}).encode())
    with pytest.raises(urllib.error.HTTPError, match="404"):
        imds(inventory, "cvm-01", "/acc/tdquote", json.dumps({"report": "AAAA"}).encode())


def ask(inventory: dict[str, t.Any], vm: str, command: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(inventory["cvm"]["hosts"][vm]["skr_tpm_device"].removeprefix("unix:"))
        connection.sendall(command)
        return connection.recv(1 << 16)


def test_reports(inventory: dict[str, t.Any]) -> None:
    """The type is in the report: 2 under SNP, 4 under TDX, and no index without a TEE."""
    for name in NAMES:
        public = ask(inventory, name, wire.command(wire.NV_READ_PUBLIC, [0x01400001]))
        if name == "cvm-05":
            assert wire.code_of(public) == 0x18B
            continue
        parameters = (20).to_bytes(2, "big") + (1216).to_bytes(2, "big")
        answer = ask(inventory, name, wire.command(wire.NV_READ, [wire.OWNER, 0x01400001], wire.PASSWORD, parameters))
        assert answer[16 + 8] == (4 if name == "cvm-04" else 2), name


def test_reboot(directory: Path, inventory: dict[str, t.Any]) -> None:
    """The event log that the guest sees is the new boot's; what it kept in memory is gone, other VMs' is not."""
    files = {name: Path(inventory["cvm"]["hosts"][name]["skr_dest"]) for name in ("cvm-01", "cvm-02")}
    for path in files.values():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("a key")
        (path.parent / "cache").mkdir(exist_ok=True)
    log = Path(inventory["cvm"]["hosts"]["cvm-01"]["skr_event_log_path"])
    before = log.read_bytes()
    done = run(directory, "vm", "reboot", "cvm-01", "kernel=6.8.0-1099-azure", "secure_boot=false")
    assert done.returncode == 0 and "cvm-01 rebooted" in done.stdout, done.stderr
    assert not files["cvm-01"].exists() and not (files["cvm-01"].parent / "cache").exists()
    assert files["cvm-02"].exists()
    assert b"6.8.0-1099-azure" in log.read_bytes() and log.read_bytes() != before
    compute = imds(inventory, "cvm-01", "/metadata/instance/compute?api-version=2021-02-01")
    assert compute["securityProfile"]["secureBootEnabled"] == "false"
    assert run(directory, "vm", "reboot", "cvm-01", "secure_boot=true").returncode == 0


def test_a_late_measurement_is_in_the_log(directory: Path, inventory: dict[str, t.Any]) -> None:
    log = Path(inventory["cvm"]["hosts"]["cvm-02"]["skr_event_log_path"])
    before = log.read_bytes()
    control.call(Plan.load(directory / "lab.json").control, "vm_extend", name="cvm-02", pcr=4)
    assert log.read_bytes().startswith(before) and b"late measurement" in log.read_bytes()


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("vm", "set", "cvm-01", "vlek=true", "report_size=2900"), "cvm-01: vlek=True, report_size=2900"),
        (("vm", "set", "cvm-01", "vlek=false"), "cvm-01: vlek=False"),
        (("vm", "set", "cvm-04", "lower_vm_id=true", "quote_version=5"), "cvm-04: lower_vm_id=True, quote_version=5"),
        (("vm", "move", "cvm-06"), "cvm-06 runs on another host"),
        (("fault", "lost", "--service", "tpm", "--operation", "Quote", "--times", "1"), "fault"),
        (("fault", "pcr_changed", "pcr=7", "--service", "tpm", "--operation", "RSA_Decrypt"), "fault"),
        (("fault", "clear"), ""),
    ],
)
def test_changes(directory: Path, words: tuple[str, ...], text: str) -> None:
    done = run(directory, *words)
    assert done.returncode == 0 and text in done.stdout and not done.stderr, done.stderr


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("vm", "set", "cvm-05", "vlek=true"), "cvm-05 is a Trusted Launch VM"),
        (("vm", "set", "cvm-01", "colour=red"), "has no colour"),
        (("vm", "set", "cvm-01", "product=Turin"), "skrsim up --turin"),
        (("vm", "set", "cvm-01", "report_size=2048"), "the index has 2048"),
        (("vm", "reboot", "cvm-09"), "the lab has no VM cvm-09"),
        (("vm", "reboot", "cvm-01", "colour=red"), "takes kernel and secure_boot"),
        (("vm", "reboot", "cvm-01", "secure_boot=no"), "secure_boot must be true or false"),
        (("vm", "reboot", "cvm-01", "kernel"), "NAME=VALUE"),
        (("fault", "lost", "--service", "tpm", "--operation", "Qoute"), "no operation Qoute"),
    ],
)
def test_wrong_changes(directory: Path, words: tuple[str, ...], text: str) -> None:
    """Refused with a sentence; the VM is as it was."""
    done = run(directory, *words)
    assert done.returncode == 2 and text in done.stderr and "Traceback" not in done.stderr, done.stderr


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--tdx", "cvm-07"), "--tdx names cvm-07"),
        (("--trusted-launch", "x"), "--trusted-launch names x"),
        (("--turin", "cvm-01", "--tdx", "cvm-01"), "cvm-01 can be only one of"),
        (("--genoa", "cvm-01", "--turin", "cvm-01"), "cvm-01 can be only one of"),
        (("--trusted-launch", "cvm-01", "--debug", "cvm-01"), "which has no debug bit"),
    ],
)
def test_wrong_plans(tmp_path: Path, words: tuple[str, ...], text: str) -> None:
    done = run(tmp_path, "up", "--vms", "2", "--door", "local", *words)
    assert done.returncode == 2 and text in done.stderr
    assert not (tmp_path / "lab.json").exists()


def test_without_kinds_nothing_changes() -> None:
    """A lab of SNP VMs has the policy that it always had, and the plan survives being saved."""
    assert [rule["allOf"][1]["equals"] for rule in release_policy()["anyOf"]] == ["sevsnpvm"]
    options = cli.parser().parse_args(["up", "--tdx", "a", "--tdx", "b", "--genoa", "c"])
    assert options.tdx == ["a", "b"] and options.genoa == ["c"] and options.trusted_launch == []


def test_help_tells_of_the_kinds() -> None:
    text = subprocess.run(
        [sys.executable, "-m", "skrsim.lab.cli", "up", "--help"], capture_output=True, text=True, check=True
    ).stdout
    for option in ("--tdx", "--trusted-launch", "--turin", "--genoa", "--debug", "--no-secure-boot"):
        assert f"{option} VM" in text
    readme = (Path(cli.__file__).resolve().parents[2] / "README.md").read_text()
    for option in ("--tdx", "--trusted-launch", "--turin", "--genoa"):
        assert option in readme
