# SPDX-License-Identifier: GPL-3.0-or-later
"""The command that attests: its options become settings, its text tells claims and never the token."""

from __future__ import annotations

import argparse
import json
import typing as t
import warnings

import pytest
from unit.guest.release_fakes import refused

from ansible_collections.confidential.azure_skr.plugins.module_utils.guest import attest
from ansible_collections.confidential.azure_skr.plugins.module_utils.guest.commands import attest as command
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.failure import SkrWarning

URL = "https://sharedweu.weu.attest.azure.net"
FOUND: t.Dict[str, t.Any] = {
    "authority": URL,
    "claims": {"iss": URL, "secureboot": True},
    "tee_type": "tdxvm",
    "compliance_status": "azure-compliant-cvm",
    "secure_boot": True,
    "expires_at": 1756150000,
    "evidence": {
        "tee": "tdx",
        "vm_unique_id": "AB-CD",
        "debuggable": True,
        "event_log": {"present": True, "differing_pcrs": {"4": {}, "7": {}}},
        "ak_cert_days_left": 20,
    },
}


class Asked:
    """What ``attest.info`` was given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.words: t.Tuple[t.Any, ...] = ()
        self.warning = ""
        monkeypatch.setattr(attest, "info", self)

    def __call__(self, *words: t.Any) -> t.Dict[str, t.Any]:
        self.words = words
        if self.warning:
            warnings.warn(SkrWarning(self.warning), stacklevel=2)
        return FOUND


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    return Asked(monkeypatch)


def run(*words: str) -> t.Tuple[int, str]:
    parser = argparse.ArgumentParser()
    command.add(parser)
    return command.run(vars(parser.parse_args(["--attestation-url", URL, *words])))


def test_defaults(asked: Asked) -> None:
    assert run()[0] == 0
    assert asked.words == (attest.Guest(URL), {}, None, None, "guest")


def test_options_become_settings(asked: Asked) -> None:
    run(
        "--nonce", "n", "--user-data", "ab", "--client-payload", "a=b=c", "--client-payload", "d=", "--pcrs", "0,7",
        "--require-tee", "snp", "--attestation-type", "platform", "--renew-ak-certificate", "when_due",
        "--tpm-device", "unix:/x", "--ca-path", "/ca",
    )  # fmt: skip
    guest = attest.Guest(URL, "unix:/x", ca_path="/ca", require_tee="snp", pcrs=(0, 7), renew_ak_certificate="when_due")
    assert asked.words == (guest, {"a": "b=c", "d": ""}, "n", "ab", "platform")


def test_the_text(asked: Asked) -> None:
    asked.warning = "It ages."
    _status, text = run()
    lines = text.split("\n")
    assert lines[0] == f"ATTESTED by {URL}: isolated by Intel TDX."
    assert "  debuggable         YES" in lines and "  note: It ages." in lines
    assert any("does not lead to the values of PCR 4, 7" in line for line in lines)
    assert json.loads(text.partition("Claims:\n")[2]) == FOUND["claims"]


def test_for_a_program(asked: Asked) -> None:
    asked.warning = "It ages."
    assert json.loads(run("--json")[1]) == {**FOUND, "warnings": ["It ages."]}


@pytest.mark.parametrize("log", [{"present": False}, {"present": True, "error": "damaged"}, {"present": True}])
def test_states_of_the_log(log: t.Dict[str, t.Any]) -> None:
    told = command.text({**FOUND, "evidence": {**FOUND["evidence"], "event_log": log}})
    assert ("not there" in told, "damaged" in told, "leads to the PCR values" in told).count(True) == 1


@pytest.mark.parametrize(
    ("option", "value"),
    [("--pcrs", "a"), ("--pcrs", ""), ("--client-payload", "a"), ("--client-payload", "=b"), ("--user-data", "zz")],
)
def test_bad_input(asked: Asked, option: str, value: str) -> None:
    with refused("invalid_input") as info:
        run(option, value)
    assert info.value.facts == {"option": option} and asked.words == ()
