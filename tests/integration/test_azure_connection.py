# SPDX-License-Identifier: GPL-3.0-or-later
"""What every controller-side module meets on its way to Azure: credentials, proxies, certificates, pages."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import labkit
import pytest
from labkit import Lab

from skrsim.lab.plan import RESOURCE_GROUP


def ask(lab: Lab, **changes: Any) -> dict[str, Any]:
    """One reading call, with connection options changed; None takes an option out."""
    options = {name: value for name, value in (lab.azure() | changes).items() if value is not None}
    result = lab.module("cvm_identity", check=True, **options, vms=["cvm-01"], resource_group=RESOURCE_GROUP)
    for secret in (lab.azure()["secret"], "not-the-secret"):
        assert secret not in str(result)
    return result


def test_wrong_secret(local_lab: Lab) -> None:
    result = ask(local_lab, secret="not-the-secret")
    assert result["failed"] and result["reason"] == "authentication_failed" and "AADSTS" in result["msg"], result


def test_other_tenant(local_lab: Lab) -> None:
    result = ask(local_lab, tenant="33333333-3333-4333-8333-333333333333")
    assert result["failed"] and result["reason"] == "authentication_failed", result


def test_no_credential_at_all(local_lab: Lab) -> None:
    result = ask(local_lab, client_id=None, secret=None, tenant=None, auth_source="env")
    assert result["failed"] and result["reason"] == "credentials_missing"


def test_environment_as_awx_injects_it(local_lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    azure = local_lab.azure()
    given = {
        "AZURE_SUBSCRIPTION_ID": azure["subscription_id"],
        "AZURE_CLIENT_ID": azure["client_id"],
        "AZURE_TENANT": azure["tenant"],
        "AZURE_SECRET": azure["secret"],
        "AZURE_AD_USER": "",
        "AZURE_PASSWORD": "",
        "AZURE_CLOUD_ENVIRONMENT": "",
    }
    clean = labkit.environment()
    monkeypatch.setattr(labkit, "environment", lambda: clean | given)
    result = ask(local_lab, client_id=None, secret=None, tenant=None, subscription_id=None)
    assert not result.get("failed"), result
    assert result["vms"][0]["name"] == "cvm-01"


def test_bundle_from_the_environment(local_lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    clean = labkit.environment()
    bundle = local_lab.azure()["ca_path"]
    monkeypatch.setattr(labkit, "environment", lambda: clean | {"REQUESTS_CA_BUNDLE": bundle})
    assert not ask(local_lab, ca_path=None).get("failed")


def test_untrusted_certificate(local_lab: Lab) -> None:
    """Verification is never off: without the lab's CA nothing is sent but a handshake."""
    mark = local_lab.mark
    result = ask(local_lab, ca_path=None)
    assert result["failed"] and result["reason"] == "tls_untrusted" and "ca_path" in result["msg"], result
    assert local_lab.audit(mark) == []


def test_unreadable_bundle(local_lab: Lab) -> None:
    result = ask(local_lab, ca_path="/nowhere/ca.pem")
    assert result["reason"] == "invalid_input" and "/nowhere/ca.pem" in result["msg"]


def test_proxy_that_is_not_there(local_lab: Lab) -> None:
    result = ask(local_lab, https_proxy="http://someone:hidden@127.0.0.1:9")
    assert result["failed"] and result["reason"] in ("network_unreachable", "authentication_failed"), result
    assert "hidden" not in result["msg"] + str(result["facts"])


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"cloud_environment": "AzureGermanCloud"}, "2021"),
        ({"subscription_id": None}, "AZURE_SUBSCRIPTION_ID"),
    ],
)
def test_bad_connection_options(local_lab: Lab, options: dict[str, Any], word: str) -> None:
    result = ask(local_lab, **options)
    assert result["failed"] and result["reason"] == "invalid_input" and word in result["msg"]


def test_unknown_subscription(local_lab: Lab) -> None:
    result = ask(local_lab, subscription_id="33333333-3333-4333-8333-333333333333")
    assert result["failed"] and result["reason"] == "resource_not_found" and "subscription" in result["msg"]


@pytest.mark.parametrize(
    ("fault", "parameters", "reason"),
    [
        ("html", {}, "service_error"),
        ("truncate_json", {}, "service_error"),
        ("reset_mid_body", {}, "network_unreachable"),
        (
            "status",
            {"code": 403, "body": {"error": {"code": "AuthorizationFailed", "message": "no"}}},
            "authorization_failed",
        ),
    ],
)
def test_answers_that_go_wrong(local_lab: Lab, fault: str, parameters: dict[str, Any], reason: str) -> None:
    with local_lab.fault(fault, service="arm", operation="vm_list", **parameters):
        result = ask(local_lab)
    assert result["failed"] and result["reason"] == reason, result
    assert "<html" not in str(result)


@pytest.mark.parametrize("module", ["key_vault", "cvm_identity", "release_access", "exportable_key"])
def test_documentation_is_complete(module: str) -> None:
    """Every option of the spec is documented and the other way round; ansible-doc reads it."""
    binaries = Path(sys.executable).parent
    done = subprocess.run(
        [str(binaries / "ansible-doc"), "--json", f"confidential.azure_skr.{module}"],
        capture_output=True,
        text=True,
        env=labkit.environment(),
        check=False,
    )
    assert done.returncode == 0 and '"examples"' in done.stdout, done.stderr
    shown = json.loads(done.stdout)[f"confidential.azure_skr.{module}"]
    assert shown["return"] and "reason" in shown["return"] and shown["doc"]["version_added"] == "0.1.0"
    for name in ("secret", "ca_path", "https_proxy", "auth_source"):
        assert shown["doc"]["options"][name]["description"]
    assert any("link" in entry for entry in shown["doc"]["seealso"])


def test_module_runs_through_ansible(local_lab: Lab) -> None:
    """The whole way once: the command line, Ansible's own packing of the module, its result."""
    binaries = Path(sys.executable).parent
    words = " ".join(f"{name}={value}" for name, value in local_lab.azure().items())
    done = subprocess.run(
        [
            str(binaries / "ansible"),
            "localhost",
            "-i",
            "localhost,",
            "-c",
            "local",
            "-m",
            "confidential.azure_skr.cvm_identity",
            "-a",
            f"{words} vms=cvm-01,cvm-02 resource_group={RESOURCE_GROUP}",
            "--check",
            "--diff",
        ],
        capture_output=True,
        text=True,
        env=labkit.environment() | {"ANSIBLE_PYTHON_INTERPRETER": sys.executable},
        check=False,
    )
    assert done.returncode == 0 and "principal_id" in done.stdout, done.stdout + done.stderr
    assert local_lab.azure()["secret"] not in done.stdout + done.stderr
