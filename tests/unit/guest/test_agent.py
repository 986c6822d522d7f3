# SPDX-License-Identifier: GPL-3.0-or-later
"""The agent's patience and its signs of life; what status and metrics tell."""

from __future__ import annotations

import json
import re
import socket
import stat
import time
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.confidential.azure_skr.plugins.module_utils.guest import (
    agent,
    config,
    http,
    metrics,
    notify,
    release,
    status,
)
from ansible_collections.confidential.azure_skr.plugins.module_utils.guest.commands import release as command
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy import passing
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.failure import SkrFailure
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.reasons import REASONS

KID = "https://kv.vault.azure.net/keys/app/" + "a" * 32
RESULT: dict[str, Any] = {
    "changed": True,
    "dest": "/dev/null",
    "kid": KID,
    "key_version": "a" * 32,
    "public_key_sha256": "00",
    "counts": {"http_requests": 3, "tpm_commands": 20},
    "evidence": {"ak_cert_days_left": 300},
    "warnings": [],
}


def failure(reason: str, **facts: Any) -> SkrFailure:
    return SkrFailure(reason, "It failed.", facts)


@pytest.fixture(autouse=True)
def _lean_for_this_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """The agent chooses the lean client for its process, which here is that of other tests too."""
    monkeypatch.setattr(http.Http, "lean", False)


# --- what may pass


def test_table_names_reasons_and_never_a_decision() -> None:
    assert set(passing.PASSING) <= set(REASONS)
    final = {"policy_not_met", "authority_mismatch", "key_disabled", "key_expired", "vault_firewall", "invalid_input",
             "response_signature_invalid", "response_chain_untrusted", "response_key_mismatch", "not_a_cvm",
             "tls_untrusted", "attestation_refused", "not_memory_backed", "ak_cert_expired"}  # fmt: skip
    assert not final & set(passing.PASSING)
    assert {"network_unreachable", "throttled", "permission_missing", "tpm_busy"} <= set(passing.PASSING)
    assert all(row.why.endswith(".") for row in passing.PASSING.values())


@pytest.mark.parametrize(
    ("reason", "facts", "waited", "expected"),
    [
        ("throttled", {}, 1e6, True),
        ("permission_missing", {}, 60, True),
        ("permission_missing", {}, 3600, False),  # no propagation takes that long
        ("service_error", {"status": 503}, 0, True),
        ("service_error", {"status": 400}, 0, False),
        ("service_error", {}, 0, False),
        ("policy_not_met", {}, 0, False),
    ],
)
def test_what_passes(reason: str, facts: dict[str, Any], waited: float, expected: bool) -> None:
    assert passing.passes(failure(reason, **facts), waited) is expected


# --- patience


def pauses(host: str, count: int = 8, budget: float = 1e6) -> list[float | None]:
    patient = agent.Patience(budget, host, clock=lambda: 0.0)
    return [patient.pause(failure("throttled")) for _round in range(count)]


def test_pauses_differ_by_host_and_repeat_for_one() -> None:
    assert pauses("vm-1") == pauses("vm-1") != pauses("vm-2")
    drawn = [pause for number in range(300) for pause in pauses(f"vm-{number}") if pause is not None]
    assert min(drawn) >= 0.5 and max(drawn) <= 60
    last = [pause for number in range(300) for pause in pauses(f"vm-{number}")[-1:] if pause is not None]
    assert min(last) < 6 and max(last) > 54 and 25 < sum(last) / len(last) < 35  # spread over the whole span


def test_service_that_asks_for_a_pause_gets_it() -> None:
    patient = agent.Patience(1000, "vm", clock=lambda: 0.0)
    assert patient.pause(failure("throttled", retry_after=42)) == 42


def test_budget_and_time_of_propagation_are_bounds() -> None:
    now = [0.0]
    patient = agent.Patience(10000, "vm", clock=lambda: now[0])
    assert patient.pause(failure("permission_missing")) is not None
    now[0] = 3000.0
    assert patient.pause(failure("permission_missing")) is None
    assert patient.pause(failure("throttled")) is not None
    assert patient.pause(failure("throttled", retry_after=9000)) is None
    assert agent.Patience(0, "vm").pause(failure("throttled")) is None


# --- a run


@pytest.fixture
def instance(tmp_path: Path) -> config.Configuration:
    document = {"vault_uri": "https://kv.vault.azure.net", "key_name": "app", "dest": "/run/x",
                "attestation_url": "https://a.weu.attest.azure.net", "state_dir": str(tmp_path / "status"),
                "metrics_path": str(tmp_path / "m.prom")}  # fmt: skip
    return config.Configuration("app", "", config.check(document))


class Outcomes:
    """A release with these outcomes, one after the other."""

    def __init__(self, *outcomes: Any) -> None:
        self.left, self.seen = list(outcomes), 0

    def __call__(self, _guest: Any, _wanted: Any) -> Any:
        self.seen += 1
        outcome = self.left.pop(0)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


def test_run_tells_where_it_is(instance: config.Configuration, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    told: list[str] = []
    waiting: list[status.Status] = []

    def sleep(_seconds: float) -> None:
        waiting.append(status.read(str(tmp_path / "status"), "app"))
        clock[0] += 20

    clock = [0.0]
    monkeypatch.setattr(release, "release", Outcomes(failure("throttled"), failure("tpm_busy"), RESULT))
    monkeypatch.setattr(notify, "notify", lambda *lines: told.extend(lines) or True)
    monkeypatch.setattr(agent.time, "sleep", sleep)
    monkeypatch.setattr(agent.time, "monotonic", lambda: clock[0])
    found, complaints = agent.release(instance, 600)
    assert complaints == [] and found["attempts"] == 3 and found["outcomes"] == {"released": 1}
    assert [(one["outcome"], one["reason"]) for one in waiting] == [("waiting", "throttled"), ("waiting", "tpm_busy")]
    assert all(one["next_try"] > time.time() - 5 for one in waiting)
    assert told[-2:] == ["READY=1", f"STATUS=released {KID}"] and "WATCHDOG=1" in told
    assert any(line.startswith("STATUS=throttled; attempt 2 in") for line in told)
    assert found == status.read(str(tmp_path / "status"), "app")
    assert stat.S_IMODE((tmp_path / "status" / "app.json").stat().st_mode) == 0o644


def test_failure_is_counted_and_keeps_what_is_known(
    instance: config.Configuration, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    outcomes = Outcomes(RESULT, failure("policy_not_met"), ValueError("secret"), ImportError("x", name="requests.api"))
    monkeypatch.setattr(release, "release", outcomes)
    agent.release(instance, 0)
    for reason in ("policy_not_met", "internal_error", "library_missing"):
        with pytest.raises(SkrFailure) as caught:
            agent.release(instance, 600)
        assert caught.value.reason == reason and "secret" not in str(caught.value)
    told = status.read(str(tmp_path / "status"), "app")
    assert told["outcomes"] == {"released": 1, "policy_not_met": 1, "internal_error": 1, "library_missing": 1}
    assert told["kid"] == KID and told["last_success"] > 0 and told["outcome"] == "failed"
    assert 'reason="policy_not_met"} 1' in (tmp_path / "m.prom").read_text()


@pytest.mark.parametrize(
    ("reason", "expected"), [("tpm_busy", 75), ("policy_not_met", 1), ("invalid_input", 2), ("library_missing", 2)]
)
def test_exit_status(reason: str, expected: int) -> None:
    assert command.exit_status(failure(reason)) == expected


# --- status


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({}, (2, "unknown")),
        ({"outcome": "released", "last_success": 100.0}, (0, "ok")),
        ({"outcome": "released", "last_success": 100.0, "stale_after": 50}, (1, "stale")),
        ({"outcome": "released", "last_success": 100.0, "stale_after": 500}, (0, "ok")),
        ({"outcome": "released", "last_success": 100.0, "dest": "/nonexistent/key"}, (1, "gone")),
        ({"outcome": "failed", "reason": "tpm_busy"}, (1, "failed")),
        ({"outcome": "waiting", "reason": "tpm_busy"}, (1, "waiting")),
    ],
)
def test_status_is_judged(found: status.Status, expected: tuple[int, str]) -> None:
    assert status.judge(found, 200.0) == expected
    assert status.text("app", found, 200.0).startswith(f"app: {expected[1]}")


def test_unreadable_status_is_unknown(tmp_path: Path) -> None:
    (tmp_path / "app.json").write_text("{")
    (tmp_path / "list.json").write_text("[]")
    assert status.read(str(tmp_path), "app") == status.read(str(tmp_path), "list") == {}
    assert status.names(str(tmp_path)) == ["app", "list"] and status.names(str(tmp_path / "none")) == []


# --- metrics

SAMPLE = re.compile(r'(azure_skr_[a-z_]+)\{((?:[a-z]+="(?:[^"\\\n]|\\["\\n])*",?)+)\} (-?[0-9.]+)')


def test_metrics_follow_the_text_format() -> None:
    found = {**status.released({}, RESULT), "time": 5.0, "duration_s": 1.25, "attempts": 2, "last_success": 2.5}
    lines = metrics.text('a"b\\c\nd', found).rstrip("\n").split("\n")
    metric, kind, seen = "", "", set()
    for line in lines:
        if line.startswith("# HELP "):
            metric = line.split(" ")[2]
            assert metric not in seen and line.endswith(".")
            seen.add(metric)
        elif line.startswith("# TYPE "):
            assert line.split(" ")[2] == metric
            kind = line.split(" ")[3]
            assert kind == ("counter" if metric.endswith("_total") else "gauge")
        else:
            sample = SAMPLE.fullmatch(line)
            assert sample and sample[1] == metric and kind, line
            assert 'name="a\\"b\\\\c\\nd"' in sample[2]
    assert {"azure_skr_key_info", "azure_skr_outcomes_total", "azure_skr_ak_certificate_days_left"} <= seen
    assert [line.split(" ")[-1] for line in lines if line.startswith("azure_skr_last_success_age")] == ["2.500"]


def test_unknown_values_are_left_out() -> None:
    told = metrics.text("app", status.failed({}, failure("tpm_busy")))
    assert "key_info" not in told and "days_left" not in told and 'reason="tpm_busy"} 1' in told


# --- the service manager


@pytest.mark.parametrize("abstract", [False, True])
def test_service_manager_is_told(abstract: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    address = f"@azure-skr-test-{tmp_path.name}-{time.time()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{address[1:]}" if abstract else address)
        manager.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        assert notify.alive("waiting", 40)
        assert manager.recv(4096) == b"STATUS=waiting\nWATCHDOG=1\nEXTEND_TIMEOUT_USEC=40000000"


@pytest.mark.parametrize("address", ["", "relative", "/nonexistent/notify"])
def test_nobody_to_be_told(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    assert notify.notify("READY=1") is False


def test_status_is_json_for_programs(tmp_path: Path) -> None:
    status.write(str(tmp_path), "app", {"outcome": "released"})
    assert json.loads((tmp_path / "app.json").read_text()) == {"outcome": "released"}
    assert [path.name for path in tmp_path.iterdir()] == ["app.json"]
