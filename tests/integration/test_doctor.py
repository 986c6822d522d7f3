# SPDX-License-Identifier: GPL-3.0-or-later
"""The doctor as module and as command: a healthy VM, and for each fault exactly its finding."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import shutil
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import labkit
import pytest
from integration.site import Site, ready
from labkit import MODULES, Lab
from unit.guest import release_fakes as fakes

from ansible_collections.confidential.azure_skr.plugins.module_utils.guest import cli
from skrsim.lab.inventory import release_policy
from skrsim.lab.plan import AUTHORITY
from skrsim.tee import eventlog

COMMAND = f"import sys; from {cli.__name__} import main; sys.exit(main(['doctor', *sys.argv[1:]]))"
Finding = dict[str, Any]


class Clinic:
    """A site whose VM cvm-01 may release the key and read it; and the doctor, asked about it."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.site = ready(lab, vms=("cvm-01",), rbac=True)
        for role in ("Key Vault Crypto Officer", "Reader"):
            lab.call("grant", principal=self.site.principals[0], role=role)

    def options(self, vm: str = "cvm-01", **changes: Any) -> dict[str, Any]:
        usual = {
            "attestation_url": AUTHORITY, "vault_uri": self.site.uri, "key_name": "app",
            "dest": self.site.destination(vm), "tpm_timeout": 1.0,
        }  # fmt: skip
        given = {**self.lab.guest(vm), **usual, **changes}
        return {name: value for name, value in given.items() if value is not None}

    def __call__(self, vm: str = "cvm-01", **changes: Any) -> dict[str, Any]:
        """The module's result; it changes nothing, releases nothing, and repeats no secret."""
        mark = self.lab.mark
        result = self.lab.module("guest_doctor", **self.options(vm, **changes))
        assert result["changed"] is False
        assert self.lab.writes(mark) == [] and self.lab.audit(mark, operation="key_release") == []
        assert "eyJ" not in json.dumps(result["findings"])  # how every token begins
        return result

    def command(self, *words: str, vm: str = "cvm-01", **changes: Any) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-c", COMMAND, *words]
        for name, value in self.options(vm, **changes).items():
            line += [f"--{name.replace('_', '-')}", str(value)]
        done = subprocess.run(line, capture_output=True, text=True, env=labkit.environment(), check=False)
        assert "Traceback" not in done.stderr + done.stdout, done.stderr
        return done


@pytest.fixture(scope="module")
def site_and_reader(shared_lab: Lab) -> Clinic:
    return Clinic(shared_lab)


@pytest.fixture
def clinic(local_lab: Lab, site_and_reader: Clinic) -> Clinic:
    return site_and_reader


def told(result: dict[str, Any], *severities: str) -> set[tuple[str, str, str]]:
    """Severity, check and code of every finding that tells of trouble."""
    wanted = severities or ("failed", "warning", "info")
    return {(one["severity"], one["check"], one["code"]) for one in result["findings"] if one["severity"] in wanted}


def one(result: dict[str, Any], check: str) -> Finding:
    (found,) = [one for one in result["findings"] if one["check"] == check]
    return found


def skipped(result: dict[str, Any]) -> set[str]:
    return {one["check"] for one in result["findings"] if one["severity"] == "skipped"}


@contextlib.contextmanager
def dated(endpoint: str, seconds: float = 0.0) -> Iterator[str]:
    """The metadata service behind a relay that tells the time as real services do, ahead by so many seconds."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            request = urllib.request.Request(endpoint + self.path, headers={"Metadata": "true"})
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(request, timeout=10) as answer:
                body = answer.read()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def date_time_string(self, timestamp: float | None = None) -> str:
            return formatdate(time.time() + seconds, usegmt=True)

        def log_message(self, *_words: Any) -> None:
            """Quiet."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


# --- healthy


def test_healthy(clinic: Clinic) -> None:
    """All is well; names are the proxy's to resolve. Neither TPM nor cloud is changed."""
    endpoint = clinic.lab.hosts["cvm-01"]["skr_imds_endpoint"]
    before = clinic.lab.call("status")["vms"]["cvm-01"]["tpm_names"]
    with dated(endpoint) as relay:
        result = clinic(imds_endpoint=relay)
    after = clinic.lab.call("status")["vms"]["cvm-01"]["tpm_names"]
    assert told(result) == set(), result["findings"]
    assert skipped(result) == {"name_resolution"} and result["worst"] == "ok"
    used = {name for name, count in after.items() if count > before.get(name, 0)}
    assert used == {"NV_ReadPublic", "NV_Read", "ReadPublic", "PCR_Read"}
    assert one(result, "vault_properties")["facts"]["permission_model"] == "rbac"
    assert one(result, "key")["facts"]["versions"] >= 1
    assert one(result, "identity")["facts"]["principal_id"] == clinic.site.principals[0]
    assert one(result, "metadata")["facts"]["name"] == "cvm-01"


def test_without_options(clinic: Clinic) -> None:
    """What is not given is skipped, and says so."""
    result = clinic(attestation_url=None, vault_uri=None, key_name=None, dest=None)
    assert told(result) == set()
    for check in ("attestation_provider", "vault_network", "key", "key_policy", "vault_properties", "destination"):
        assert "not given" in one(result, check)["found"] or "is given" in one(result, check)["found"]


def test_an_identity_that_may_only_release(clinic: Clinic) -> None:
    """Least privilege is no fault: the key is not readable, and that is a remark."""
    site = ready(clinic.lab, vms=("cvm-02",))
    result = clinic("cvm-02", vault_uri=site.uri)
    assert told(result) == {("info", "key", "key_unreadable")}
    assert {"key_policy", "vault_properties"} <= skipped(result)


def test_as_an_application(clinic: Clinic, tmp_path: Path) -> None:
    azure = clinic.lab.azure()
    secret = tmp_path / "secret"
    secret.touch(mode=0o600)
    secret.write_text(azure["secret"])
    words = {"identity_source": "service_principal", "tenant": azure["tenant"], "client_id": azure["client_id"]}
    result = clinic(**words, client_secret_file=str(secret))
    assert told(result) == set() and azure["client_id"] in one(result, "identity")["found"]
    assert azure["secret"] not in json.dumps(result)
    secret.write_text("sentinel-wrong")
    wrong = clinic(**words, client_secret_file=str(secret))
    assert told(wrong) == {("failed", "identity", "client_secret_refused")} and "sentinel" not in json.dumps(wrong)
    assert told(clinic(**words, client_secret_file="/nowhere")) == {("failed", "identity", "invalid_input")}


def test_command(clinic: Clinic) -> None:
    """A table for people, JSON for programs, and the exit status."""
    done = clinic.command()
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("0 failed, 0 warnings, 0 notes, ") and "Attestation provider" in done.stdout
    with clinic.lab.fault("busy", service="tpm", operation="open", vm="cvm-01"):
        done = clinic.command()
        as_json = clinic.command("--json")
    assert done.returncode == as_json.returncode == 1
    lines = done.stdout.splitlines()
    assert lines[2].startswith("FAILED   TPM device") and "[tpm_busy]" in done.stdout and "next: " in done.stdout
    assert told(json.loads(as_json.stdout)) == {("failed", "tpm_device", "tpm_busy")}
    assert clinic.command("--hsm-uri", "https://h.managedhsm.azure.net").returncode == 2  # not beside a vault


def test_fail_on(clinic: Clinic) -> None:
    local = clinic.lab
    with local.fault("busy", service="tpm", operation="open", vm="cvm-01"):
        result = clinic(fail_on="failed")
    assert result["failed"] and result["reason"] == "doctor_findings" and "[tpm_busy]" in result["msg"]
    assert result["facts"] == {"codes": ["tpm_busy"]} and result["counts"]["failed"] == 1
    local.call("vm_ak_certificate", name="cvm-01", days=20)
    try:
        assert not clinic(fail_on="failed").get("failed")
        assert clinic(fail_on="warning")["reason"] == "doctor_findings"
    finally:
        local.call("vm_ak_certificate", name="cvm-01", days=365)


def test_bad_addresses_are_told_at_once(clinic: Clinic) -> None:
    for changes in ({"vault_uri": "http://x"}, {"attestation_url": "sharedweu"}, {"key_name": "a/b"}):
        result = clinic.lab.module("guest_doctor", **clinic.options(**changes))
        assert result["failed"] and result["reason"] == "invalid_input", result


# --- the TPM


def test_busy_tpm(clinic: Clinic) -> None:
    with clinic.lab.fault("busy", service="tpm", operation="open", vm="cvm-01"):
        result = clinic()
    assert told(result) == {("failed", "tpm_device", "tpm_busy")}
    assert {"vm_type", "ak", "ak_certificate", "pcr_bank"} <= skipped(result)
    assert one(result, "certificate_chain")["severity"] == "ok"  # told apart from the report


def test_no_tpm(clinic: Clinic) -> None:
    result = clinic(tpm_device="/nowhere/tpmrm0")
    assert told(result) == {("failed", "tpm_device", "tpm_missing")}


def test_permission(clinic: Clinic, tmp_path: Path) -> None:
    """Without the right to open it; root is made to have none by taking its capability away."""
    device = tmp_path / "tpmrm0"
    device.touch(mode=0o600)
    line = [sys.executable, "-m", f"{MODULES}.guest_doctor"]
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("root may open everything, and there is no setpriv here")
        os.chown(device, 65534, 65534)
        line = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *line]
    else:
        device.chmod(0)
    arguments = {"ANSIBLE_MODULE_ARGS": clinic.options(tpm_device=str(device))}
    done = subprocess.run(
        line, input=json.dumps(arguments), capture_output=True, text=True, env=labkit.environment(), check=False
    )
    result = json.loads(done.stdout)
    assert told(result) == {("failed", "tpm_device", "tpm_permission")}
    found = one(result, "tpm_device")
    assert found["facts"]["mode"] in ("0600", "0000") and "this is user" in found["found"]


def test_no_confidential_vm(clinic: Clinic) -> None:
    with clinic.lab.fault("rc", service="tpm", operation="NV_ReadPublic", code="0x18b", times=1):
        result = clinic()
    assert told(result) == {("failed", "vm_type", "not_a_cvm")}
    assert one(result, "ak")["severity"] == "ok"


def test_no_attestation_key(clinic: Clinic) -> None:
    with clinic.lab.fault("rc", service="tpm", operation="ReadPublic", code="0x18b"):
        result = clinic()
    assert told(result) == {("failed", "ak", "ak_missing")} and "ak_certificate" in skipped(result)


@pytest.mark.parametrize(
    ("days", "finding"),
    [
        (20, ("warning", "ak_certificate", "ak_cert_expiring")),
        (-1, ("failed", "ak_certificate", "ak_cert_expired")),
    ],
)
def test_ak_certificate(clinic: Clinic, days: int, finding: tuple[str, str, str]) -> None:
    """X-02: a warning with the days left; a failure with the way out."""
    clinic.lab.call("vm_ak_certificate", name="cvm-01", days=days)
    try:
        result = clinic()
    finally:
        clinic.lab.call("vm_ak_certificate", name="cvm-01", days=365)
    assert told(result) == {finding}
    found = one(result, "ak_certificate")
    assert "renew" in found["next_step"].lower() and "reboot" in found["next_step"]
    assert days < 0 or found["facts"]["days_left"] in (19, 20)


def test_debuggable_vm(clinic: Clinic) -> None:
    assert ("warning", "vm_type", "vm_debuggable") in told(clinic("cvm-03"))


@pytest.mark.parametrize(
    ("severity", "code", "content"),
    [
        ("warning", "boot_log_missing", None),
        ("failed", "boot_log_damaged", b"no log"),
        ("warning", "boot_log_differs", eventlog.encode(eventlog.boot(False, "6.8.0-1021-azure"))),
    ],
)
def test_boot_log(clinic: Clinic, tmp_path: Path, severity: str, code: str, content: bytes | None) -> None:
    path = tmp_path / "log"
    if content is not None:
        path.write_bytes(content)
    assert told(clinic(event_log_path=str(path))) == {(severity, "boot_log", code)}


# --- metadata service and identities


def test_metadata_service_refuses(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    """AC-19: with the proxy variables by name, and no secret of theirs."""
    proxy = "http://user:hunter2@127.0.0.1:9"
    clean = {**labkit.environment(), "HTTP_PROXY": proxy, "http_proxy": proxy}
    monkeypatch.setattr(labkit, "environment", lambda: clean)
    result = clinic(imds_endpoint="http://127.0.0.1:9")
    assert told(result) == {("failed", "metadata", "imds_unreachable"), ("info", "proxies", "proxy_variables")}
    assert {"identity", "certificate_chain", "key"} <= skipped(result)
    assert "HTTP_PROXY" in one(result, "proxies")["found"] and "hunter2" not in json.dumps(result)


def test_metadata_service_is_bypassed_by_no_proxy(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    clean = {**labkit.environment(), "HTTP_PROXY": "http://127.0.0.1:9", "NO_PROXY": "169.254.169.254"}
    monkeypatch.setattr(labkit, "environment", lambda: clean)
    result = clinic()
    assert told(result) == set() and "excepted" in one(result, "proxies")["found"]


def test_a_proxy_answers_for_the_metadata_service(clinic: Clinic) -> None:
    with clinic.lab.fault("html", service="imds"):
        result = clinic()
    assert (
        told(result) == {("failed", "metadata", "imds_unreachable")} and "no JSON" in one(result, "metadata")["found"]
    )


def test_hardware_certificates(clinic: Clinic) -> None:
    for fault, code in (("stale_tcb", "vcek_tcb"), ("foreign_vcek", "vcek_chip")):
        with clinic.lab.fault(fault, service="thim"):
            assert told(clinic()) == {("failed", "certificate_chain", code)}
    with clinic.lab.fault("status", service="imds", operation="thim_certification", code=500):
        assert told(clinic()) == {("failed", "certificate_chain", "thim_error")}


def test_two_identities(clinic: Clinic) -> None:
    """AC-20: ambiguous, with those that work; and one that is named."""
    clients = clinic.lab.call("vm_identities", name="cvm-06", count=2)
    result = clinic("cvm-06", known_client_ids=[*clients, "00000000-0000-4000-8000-000000000000"])
    assert told(result) == {("failed", "identity", "identity_ambiguous")} and {"key", "key_policy"} <= skipped(result)
    assert one(result, "identity")["facts"]["usable"] == clients
    named = clinic("cvm-06", identity_client_id=clients[1])
    assert told(named, "failed", "warning") == set()
    assert clients[1] in one(named, "identity")["found"] and "User-assigned" in one(named, "identity")["found"]


def test_no_identity(clinic: Clinic) -> None:
    assert told(clinic("cvm-05")) == {("failed", "identity", "identity_not_found")}


# --- clock


@pytest.mark.parametrize(
    ("seconds", "severity"), [(30, None), (-120, "warning"), (120, "warning"), (1000, "failed"), (-1000, "failed")]
)
def test_clock(clinic: Clinic, seconds: float, severity: str | None) -> None:
    with dated(clinic.lab.hosts["cvm-01"]["skr_imds_endpoint"], seconds) as relay:
        result = clinic(imds_endpoint=relay)
    assert told(result) == ({(severity, "clock", "clock_skew")} if severity else set())
    if severity:
        assert ("behind" if seconds > 0 else "ahead of") in one(result, "clock")["found"]


# --- vault, key and policy


def test_firewall(clinic: Clinic) -> None:
    """With the caller's address as the vault told it, or a ban on public access."""
    for values, word in (
        ({"network_acls": {"defaultAction": "Deny"}}, "127.0.0.1"),
        ({"network_acls": {}, "public_network_access": "Disabled"}, "not told"),
    ):
        clinic.lab.call("vault", name=clinic.site.vault, values=values)
        try:
            result = clinic()
        finally:
            values = {"network_acls": {}, "public_network_access": "Enabled"}
            clinic.lab.call("vault", name=clinic.site.vault, values=values)
        assert told(result) == {("failed", "vault_network", "vault_firewall")}
        assert word in one(result, "vault_network")["found"] and {"key", "key_policy"} <= skipped(result)


def test_wrong_authority(clinic: Clinic) -> None:
    other = "https://sharedeus.eus.attest.azure.net"
    site = Site(clinic.lab, rbac=True, release_policy=release_policy(other))
    result = clinic(vault_uri=site.uri)
    assert told(result) == {("failed", "key_policy", "authority_mismatch")}
    assert other in one(result, "key_policy")["found"] and AUTHORITY in one(result, "key_policy")["found"]


def test_keys_that_no_release_would_give(clinic: Clinic) -> None:
    assert told(clinic(key_name="nobody")) == {("failed", "key", "key_not_found")}
    site = Site(clinic.lab, rbac=True)
    site.ensure_key(enabled=False)
    assert told(clinic(vault_uri=site.uri)) == {("failed", "key", "key_disabled")}
    clinic.lab.call("vault", name=site.vault, values={"sku": "standard"})
    assert ("failed", "vault_properties", "vault_sku") in told(clinic(vault_uri=site.uri))


# --- the network


def test_proxy_that_is_not_there_and_one_that_refuses(clinic: Clinic) -> None:
    result = clinic(https_proxy="http://user:hunter2@127.0.0.1:9")
    assert told(result, "failed") == {("failed", "connection", "proxy_unreachable")} and "hunter2" not in str(result)
    assert {"attestation_provider", "vault_network"} <= skipped(result)
    stranger = clinic.lab.hosts["cvm-01"]["skr_guest_https_proxy"].replace("cvm-01", "stranger")
    result = clinic(https_proxy=stranger)
    assert told(result, "failed") == {("failed", "connection", "proxy_refused")} and "407" in str(result["findings"])


def test_untrusted_authority(clinic: Clinic, tmp_path: Path) -> None:
    """For Azure's own names an authority that is not Azure's means inspection on the way."""
    foreign = tmp_path / "foreign.pem"
    foreign.write_bytes(fakes.pem(fakes.chain()[-1]))
    result = clinic(ca_path=str(foreign))
    assert told(result, "failed") == {("failed", "connection", "tls_intercepted")}
    assert "SIMULATED lab CA" in str(result["findings"]) and {"key", "vault_network"} <= skipped(result)


def test_vault_that_is_not_there(clinic: Clinic) -> None:
    result = clinic(vault_uri="https://kv-nobody.vault.azure.net")
    assert told(result) == {("failed", "connection", "proxy_refused")}
    result = clinic(https_proxy=None, attestation_url=None, vault_uri="https://kv.vault.invalid")
    # The metadata service has no tokens for a cloud that is none.
    assert told(result, "failed") == {
        ("failed", "name_resolution", "name_not_resolved"),
        ("failed", "identity", "imds_error"),
    }


@pytest.mark.parametrize(
    ("host", "days", "trusted", "code"),
    [
        ("localhost", (-1, 90), True, None),
        ("localhost", (-1, 90), False, "tls_untrusted"),
        ("elsewhere.example", (-1, 90), True, "tls_name_mismatch"),
        ("localhost", (-10, -1), True, "tls_expired"),
        ("localhost", (1, 10), True, "tls_not_yet_valid"),
    ],
)
def test_certificates(
    clinic: Clinic, tmp_path: Path, host: str, days: tuple[int, int], trusted: bool, code: str | None
) -> None:
    """A provider of one's own, reached directly; each thing that can be wrong is told apart."""
    key, root = fakes.rsa_key("doctor"), fakes.chain()[-1]
    leaf = fakes.certificate("doctor", key, "root", fakes.rsa_key("root"), (host,), days)
    (tmp_path / "server.pem").write_bytes(fakes.private_pem(key) + fakes.pem(leaf))
    other = fakes.certificate("other", fakes.rsa_key("other"), "other", fakes.rsa_key("other"))
    (tmp_path / "ca.pem").write_bytes(fakes.pem(root if trusted else other))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")
    with fakes.Site(fakes.answer({}), tls=context) as site:
        url = f"https://localhost:{site.port}"
        site.answers[:] = [fakes.answer({"issuer": url}), fakes.answer({"keys": [{}]})]
        result = clinic(
            attestation_url=url, https_proxy=None, ca_path=str(tmp_path / "ca.pem"), vault_uri=None, key_name=None
        )
    found = told(result, "failed", "warning")
    assert found == ({("failed", "connection", code)} if code else set()), result["findings"]
    if code:
        (connection,) = [one for one in result["findings"] if one["code"] == code]
        assert (connection["facts"]["subject"], connection["facts"]["issuer"]) == ("doctor", "root")


def test_attestation_provider_that_is_none(clinic: Clinic) -> None:
    for fault, operation, code in (
        ("html", "discovery", "attestation_protocol"),
        ("html", "certs", "attestation_unavailable"),
        ("redirect", "discovery", "redirect_refused"),
        ("reset", "discovery", "network_unreachable"),
    ):
        with clinic.lab.fault(fault, service="maa", operation=operation):
            assert told(clinic()) == {("failed", "attestation_provider", code)}, fault


def test_time_is_bounded(clinic: Clinic) -> None:
    """Every service hangs, and the examination still ends, with each telling so."""
    start = time.monotonic()
    with (
        clinic.lab.fault("delay", service="maa", seconds=60),
        clinic.lab.fault("delay", service="keyvault", seconds=60),
    ):
        result = clinic()
    assert time.monotonic() - start < 15
    assert told(result) == {
        ("failed", "attestation_provider", "network_unreachable"),
        ("failed", "vault_network", "network_unreachable"),
    }


def test_playbook(clinic: Clinic) -> None:
    """Findings over hosts; acceptable or not as asked."""
    variables = {"skr_vault_name": clinic.site.vault, "skr_key_name": "app"}
    with clinic.lab.fault("busy", service="tpm", operation="open", vm="cvm-04"):
        done = clinic.lab.playbook("doctor", "--limit", "cvm-01,cvm-04", variables=variables)
        assert done.returncode == 0, done.stdout
        assert "failed: tpm_busy on cvm-04" in done.stdout and "vm_debuggable" not in done.stdout
        assert "failed: identity_not_found on cvm-04" in done.stdout
        assert "2 VMs examined, 1 with something that failed" in done.stdout
        strict = {**variables, "skr_doctor_fail_on": "failed"}
        done = clinic.lab.playbook("doctor", "--limit", "cvm-01,cvm-04", variables=strict)
    assert done.returncode == 2 and "fatal: [cvm-04]" in done.stdout and "fatal: [cvm-01]" not in done.stdout
