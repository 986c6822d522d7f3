# SPDX-License-Identifier: GPL-3.0-or-later
"""The doctor as a whole: independence of checks, order, time, the machine's own checks, report, command and module."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import threading
import time
import types
import typing as t
from pathlib import Path

import pytest
from unit.guest.doctor_fakes import alone, told, wanted
from unit.guest.release_fakes import refused

from ansible_collections.confidential.azure_skr.plugins.module_utils.guest import arguments, http
from ansible_collections.confidential.azure_skr.plugins.module_utils.guest.commands import doctor as command
from ansible_collections.confidential.azure_skr.plugins.module_utils.guest.commands import options as shared
from ansible_collections.confidential.azure_skr.plugins.module_utils.guest.deliver import files
from ansible_collections.confidential.azure_skr.plugins.module_utils.guest.doctor import (
    examination,
    findings,
    machine,
    patient,
    report,
)
from ansible_collections.confidential.azure_skr.plugins.module_utils.guest.doctor.findings import Finding
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.failure import SkrFailure
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.reasons import REASONS


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in http.PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


# --- findings


def test_codes_are_declared_once_and_have_a_next_step() -> None:
    assert not set(findings.CODES) & set(REASONS)
    assert all(meaning for meaning, _step in findings.CODES.values())
    assert all(step for code, (_meaning, step) in findings.CODES.items() if code not in ("ok", "skipped"))
    with pytest.raises(KeyError):
        findings.found("failed", "clock", "no_such_code", "x")


def test_worst_first_then_in_the_order_of_the_checks() -> None:
    made = [
        findings.ok("python", "x"), findings.skipped("tpm_device", "x"), findings.ok("ak", "x"),
        findings.found("warning", "clock", "clock_skew", "x"), findings.found("failed", "key", "key_disabled", "x"),
        findings.found("info", "proxies", "proxy_variables", "x"), findings.found("failed", "ak", "ak_missing", "x"),
    ]  # fmt: skip
    checks = [one.check for one in findings.order(made)]
    assert checks == ["ak", "key", "clock", "proxies", "python", "ak", "tpm_device"]
    assert findings.counts(made) == {"failed": 2, "warning": 1, "info": 1, "ok": 2, "skipped": 1}


# --- each check by itself


def _raises(error: BaseException) -> t.Callable[[], t.List[Finding]]:
    def function() -> t.List[Finding]:
        raise error

    return function


@pytest.mark.parametrize(
    ("error", "severity", "code"),
    [
        (SkrFailure("tpm_busy", "held"), "failed", "tpm_busy"),
        (SkrFailure("library_missing", "none", {"package": "requests"}), "skipped", "skipped"),
        (ImportError("x", name="cryptography.x509"), "skipped", "skipped"),
        (patient.Slow("host_unreachable", "slow"), "failed", "host_unreachable"),
        (patient.Told(findings.ok("ak", "x")), "ok", "ok"),
        (ValueError("sentinel"), "failed", "internal_error"),
    ],
)
def test_whatever_happens_to_a_check_is_a_finding(error: BaseException, severity: str, code: str) -> None:
    found = alone(patient.guarded("ak", _raises(error)))
    assert (found.severity, found.code) == (severity, code) and "sentinel" not in str(found.as_dict())


def test_findings_before_a_failure_are_not_lost_to_others() -> None:
    made = patient.parallel(
        lambda: [findings.ok("python", "x")],
        lambda: patient.guarded("ak", _raises(SkrFailure("ak_missing", "none"))),
        lambda: [findings.ok("clock", "x")],
    )
    assert told(made) == [("python", "ok", "ok"), ("ak", "failed", "ak_missing"), ("clock", "ok", "ok")]


def test_functions_run_at_the_same_time() -> None:
    barrier = threading.Barrier(3, timeout=10)

    def together() -> t.List[Finding]:
        barrier.wait()
        return [findings.ok("python", "x")]

    assert len(patient.parallel(together, together, together)) == 3


def test_nothing_is_waited_for_longer_than_allowed() -> None:
    release = threading.Event()
    start = time.monotonic()
    with pytest.raises(patient.Slow) as info:
        patient.bounded(lambda: release.wait(30), 0.1, "thim_error")
    assert info.value.code == "thim_error" and time.monotonic() - start < 5
    release.set()
    assert patient.bounded(lambda: 7) == 7
    with refused("ak_missing"):
        patient.bounded(_raises(SkrFailure("ak_missing", "none")))


def test_one_request_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    once = patient.Once(patient.Notes(), None, None, local=True)
    with refused("network_unreachable"):
        once.request("x", "GET", "http://127.0.0.1:9/", http.Retry(frozenset({503}), (1.0, 2.0)))
    assert once.count == 1


# --- the machine


def test_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    assert told(machine.python()) == [("python", "ok", "ok")]
    monkeypatch.setattr(sys, "version_info", (3, 8, 10, "final", 0))
    assert alone(machine.python()).code == "python_old"


def test_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    assert told(machine.libraries()) == [("libraries", "ok", "ok")]
    versions = {"cryptography": "3.3.2", "requests": "2.25.1"}

    def load(name: str) -> types.ModuleType:
        if versions[name] is None:
            raise ImportError(name)
        made = types.ModuleType(name)
        made.__version__ = versions[name]  # type: ignore[attr-defined]
        return made

    monkeypatch.setattr(importlib, "import_module", load)
    assert told(machine.libraries()) == [("libraries", "failed", "library_old")]
    versions["cryptography"] = "3.4.8"
    assert told(machine.libraries()) == [("libraries", "ok", "ok")]
    versions["requests"] = t.cast(str, None)
    found = alone(machine.libraries())
    assert found.code == "library_missing" and sys.executable in found.found


def test_proxy_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    assert alone(machine.proxies(wanted())).severity == "ok"
    monkeypatch.setenv("HTTPS_PROXY", "http://jo:hunter2@proxy.example:3128")
    found = alone(machine.proxies(wanted(https_proxy="http://jo:hunter2@other.example:1")))
    assert (found.severity, found.code) == ("info", "proxy_variables") and "hunter2" not in str(found)
    assert "HTTPS_PROXY is set" in found.found and "other.example:1" in found.found
    monkeypatch.setenv("NO_PROXY", "169.254.169.254")
    assert alone(machine.proxies(wanted())).severity == "ok"


def test_destination(monkeypatch: pytest.MonkeyPatch) -> None:
    assert alone(machine.destination(wanted())).severity == "skipped"
    assert alone(machine.destination(wanted(dest="x"))).code == "invalid_input"
    for kind, severity in (("tmpfs", "ok"), ("ext4", "failed")):
        monkeypatch.setattr(files, "file_system", lambda _folder, kind=kind: (kind, "/"))
        assert alone(machine.destination(wanted(dest="/x/y"))).severity == severity


# --- the whole


@pytest.mark.parametrize(
    ("skews", "severity", "words"),
    [
        ({}, "skipped", "No answer"),
        ({"a": 3.0, "b": -60.0}, "ok", "2 services"),
        ({"a": 61.0}, "warning", "61 seconds behind that of a"),
        ({"a": 2.0, "b": -299.0}, "warning", "ahead of that of b"),
        ({"a": -301.0}, "failed", "ahead of"),
    ],
)
def test_clock(skews: t.Dict[str, float], severity: str, words: str) -> None:
    found = alone(examination._clock(patient.Notes(skews=skews)))
    assert found.severity == severity and words in found.found


def nowhere(**options: t.Any) -> t.Any:
    """A patient without anything, whose examination needs no network."""
    return wanted(
        tpm_device="/nowhere/tpm", tpm_timeout=0.1, imds_endpoint="http://127.0.0.1:9", event_log_path="/nowhere",
        https_proxy="http://127.0.0.1:9", **options,
    )  # fmt: skip


def test_a_machine_that_has_nothing() -> None:
    """Every check has its say all the same."""
    result = examination.examine(
        nowhere(vault_uri="https://kv.vault.azure.net", attestation_url="https://a.attest.azure.net", key_name="k", dest="/dev/shm/k")
    )  # fmt: skip
    assert {one["check"] for one in result["findings"]} == set(findings.CHECKS)
    failed = {(one["check"], one["code"]) for one in result["findings"] if one["severity"] == "failed"}
    assert failed == {
        ("tpm_device", "tpm_missing"),
        ("metadata", "imds_unreachable"),
        ("connection", "proxy_unreachable"),
    }
    assert result["worst"] == "failed" and result["counts"]["failed"] == 4
    severities = [one["severity"] for one in result["findings"]]
    assert severities == sorted(severities, key=findings.SEVERITIES.index)


def test_an_identity_that_cannot_be_used_is_a_finding() -> None:
    def identity() -> t.Any:
        raise SkrFailure("invalid_input", "tenant is missing.", {"option": "tenant"})

    result = examination.examine(nowhere(identity=identity))
    assert [one["code"] for one in result["findings"] if one["check"] == "identity"] == ["invalid_input"]


def test_a_bundle_that_cannot_be_read_is_a_finding() -> None:
    result = examination.examine(nowhere(vault_uri="https://kv.vault.azure.net", ca_path="/nowhere.pem"))
    codes = {one["code"] for one in result["findings"] if one["check"] == "connection"}
    assert codes == {"invalid_input"}


@pytest.mark.parametrize(
    "options",
    [{"vault_uri": "http://x"}, {"attestation_url": "x"}, {"vault_uri": "https://a.vault.azure.net", "key_name": "/"}],
)
def test_addresses_that_are_none(options: t.Dict[str, str]) -> None:
    with refused("invalid_input"):
        examination.examine(nowhere(**options))


def test_the_sign_in_host_is_no_fault_of_a_managed_identity() -> None:
    found = [one for one in examination.examine(nowhere())["findings"] if one["check"] == "connection"]
    assert [(one["severity"], one["subject"]) for one in found] == [("info", "login.microsoftonline.com")]
    assert found[0]["next_step"].startswith("Nothing")


def example() -> t.Dict[str, t.Any]:
    made = findings.order(
        [findings.found("failed", "ak", "ak_missing", "There is no key. " * 12), findings.ok("python", "Python."),
         findings.found("warning", "clock", "clock_skew", "Late."), findings.skipped("key", "key_name is not given.")]
    )  # fmt: skip
    return {"findings": [one.as_dict() for one in made], "counts": findings.counts(made), "worst": "failed"}


def test_report() -> None:
    text = report.text(example())
    lines = text.splitlines()
    assert lines[0] == "1 failed, 1 warning, 0 notes, 1 ok, 1 skipped"
    assert lines[2].startswith("FAILED   Attestation key") and "[ak_missing] wanted:" in text
    assert lines[-1].startswith("skipped  Key ") and max(map(len, lines)) <= 110
    assert text.count("next: ") == 2
    assert "\033[31mFAILED" in report.text(example(), colours=True)


@pytest.mark.parametrize(("fail_on", "fails"), [("never", False), ("failed", True), ("warning", True)])
def test_what_makes_the_module_fail(fail_on: str, fails: bool) -> None:
    result = examination.judged(example(), fail_on)
    assert bool(result.get("failed")) == fails and result["changed"] is False
    if fails:
        wanted_codes = ["ak_missing"] if fail_on == "failed" else ["ak_missing", "clock_skew"]
        assert result["facts"]["codes"] == wanted_codes and result["reason"] == "doctor_findings"


# --- the command


def test_the_command_has_the_modules_options(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    command.add(parser)
    spec = arguments.doctor_argument_spec()
    values = shared.read(vars(parser.parse_args([])), spec)
    assert values == {name: option.get("default") for name, option in spec.items()}
    words = ["--known-client-ids", "a", "--known-client-ids", "b", "--tpm-timeout", "2", "--pcrs", "7"]
    given = shared.read(vars(parser.parse_args(words)), spec)
    assert (given["known_client_ids"], given["tpm_timeout"], given["pcrs"]) == (["a", "b"], 2.0, [7])
    with pytest.raises(SkrFailure, match="hsm_uri is given"):
        command.run(vars(parser.parse_args(["--vault-uri", "a", "--hsm-uri", "b"])))
    with pytest.raises(SystemExit):
        parser.parse_args(["--identity-source", "x"])
    capsys.readouterr()
    assert "what is wrong" in command.HELP and command.NAME == "doctor"


def test_exit_status_and_json(monkeypatch: pytest.MonkeyPatch) -> None:
    parser = argparse.ArgumentParser()
    command.add(parser)
    made = example()
    monkeypatch.setattr(examination, "examine", lambda _wanted: made)
    status, text = command.run(vars(parser.parse_args(["--json"])))
    assert status == 1 and json.loads(text) == made
    made["counts"]["failed"] = 0
    status, text = command.run(vars(parser.parse_args([])))
    assert status == 0 and text.startswith("0 failed")


def test_a_missing_library_is_a_finding_of_the_module(tmp_path: Path) -> None:
    from unit.guest import test_release_modules as modules

    for package in ("cryptography", "requests"):
        test = {**modules.OPTIONS, "guest_doctor": {"tpm_device": "/nowhere", "imds_endpoint": "http://127.0.0.1:9"}}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(modules, "OPTIONS", test)
            result = modules.run("guest_doctor", package, https_proxy="http://127.0.0.1:9")
        codes = {(one["check"], one["code"]) for one in result["findings"] if one["severity"] == "failed"}
        assert ("libraries", "library_missing") in codes and ("tpm_device", "tpm_missing") in codes
        assert "internal_error" not in {code for _check, code in codes}, result["findings"]
