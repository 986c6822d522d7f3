# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes wrong on the VM itself: TPM busy or forbidden, metadata service away, several identities, clock, network."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import labkit
import pytest
from integration.site import Site, ready
from labkit import Lab

from skrsim.lab.plan import AUTHORITY


@pytest.fixture(scope="module")
def site(shared_lab: Lab) -> Site:
    return ready(shared_lab, vms=("cvm-01", "cvm-04"))


def test_tpm_held_for_a_while(local_lab: Lab, site: Site) -> None:
    """AC-18: another process holds the TPM for 5 s: the release waits and succeeds."""
    start = time.monotonic()
    number = local_lab.call("fault_add", row={"action": "busy", "service": "tpm", "operation": "open", "vm": "cvm-01"})
    local_lab.later(5, "fault_clear", id=number)
    result = site.release()
    assert not result.get("failed"), result
    assert time.monotonic() - start >= 4.5


def test_tpm_held_for_ever(local_lab: Lab, site: Site) -> None:
    """AC-18: tpm_busy names the device, after the time allowed."""
    with local_lab.fault("busy", service="tpm", operation="open", vm="cvm-01"):
        result = site.release(tpm_timeout=1.5)
    assert result["reason"] == "tpm_busy" and local_lab.hosts["cvm-01"]["skr_tpm_device"] in result["msg"]


def test_retry_answers_are_repeated(local_lab: Lab, site: Site) -> None:
    with local_lab.fault("rc", service="tpm", operation="Quote", times=2, code="0x922"):
        assert not site.release().get("failed")
    with local_lab.fault("rc", service="tpm", operation="Quote", code="0x922"):
        assert site.release(tpm_timeout=1)["reason"] == "tpm_busy"


def test_other_refusals_of_the_tpm(local_lab: Lab, site: Site) -> None:
    for operation, code, reason in (
        ("CreatePrimary", "0x921", "tpm_lockout"),
        ("RSA_Decrypt", "0x99d", "pcr_changed"),
        ("RSA_Decrypt", "0x128", "pcr_changed"),
        ("Quote", "0x101", "tpm_error"),
        ("ReadPublic", "0x18b", "ak_missing"),
        ("NV_Read", "0x14a", "tpm_error"),
    ):
        with local_lab.fault("rc", service="tpm", operation=operation, code=code):
            result = site.release()
        assert result["reason"] == reason, (operation, code, result)
    with local_lab.fault("rc", service="tpm", operation="NV_ReadPublic", code="0x18b"):
        assert site.release(require_tee="confidential")["reason"] == "not_a_cvm"


def test_tpm_permission(local_lab: Lab, site: Site, tmp_path: Path) -> None:
    """AC-18: no right to open is another reason than busy and than no confidential VM."""
    if os.geteuid() == 0:
        pytest.skip("root may open everything; the lab tests over ssh try it as another user")
    device = tmp_path / "tpmrm0"
    device.touch(mode=0)
    assert site.release(tpm_device=str(device))["reason"] == "tpm_permission"


def test_metadata_service_refuses(local_lab: Lab, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """AC-19: imds_unreachable with the proxy variables seen; no proxy is asked, no credential is shown."""
    monkeypatch.setattr(labkit, "environment", _with_proxy(labkit.environment()))
    mark = local_lab.mark
    result = site.release(imds_endpoint="http://127.0.0.1:9", cache_dir=str(tmp_path))
    assert result["reason"] == "imds_unreachable", result
    assert "HTTP_PROXY" in result["msg"] and "hunter2" not in str(result)
    assert local_lab.mark == mark


def _with_proxy(environment: dict[str, str]) -> Any:
    return lambda: {
        **environment,
        "HTTP_PROXY": "http://user:hunter2@127.0.0.1:9",
        "http_proxy": "http://user:hunter2@127.0.0.1:9",
    }


def test_a_proxy_answers_for_the_metadata_service(local_lab: Lab, site: Site, tmp_path: Path) -> None:
    """AC-19: a page instead of the service's JSON is recognised."""
    for operation in ("thim_certification", "imds_token"):
        with local_lab.fault("html", service="imds", operation=operation):
            assert site.release(cache_dir=str(tmp_path))["reason"] == "imds_unreachable"


def test_two_identities(local_lab: Lab) -> None:
    """AC-20: identity_ambiguous lists the client ids; one named by client id, object id or resource id works."""
    clients = local_lab.call("vm_identities", name="cvm-06", count=2)
    site = ready(local_lab, vms=("cvm-01",))
    found = local_lab.call("identities", name="cvm-06")
    granted = site.grant(principals=[entry["principal_id"] for entry in found])
    assert granted["changed"], granted
    ambiguous = site.release("cvm-06", known_client_ids=clients)
    assert ambiguous["reason"] == "identity_ambiguous", ambiguous
    assert all(client in ambiguous["msg"] for client in clients)
    one = found[0]
    for option, value in (
        ("identity_client_id", one["client_id"]),
        ("identity_object_id", one["principal_id"]),
        ("identity_resource_id", one["id"]),
    ):
        result = site.release("cvm-06", **{option: value}, known_client_ids=clients)
        assert not result.get("failed"), (option, result)
    wrong = site.release("cvm-06", identity_client_id="00000000-0000-4000-8000-000000000000")
    assert wrong["reason"] == "identity_not_found"


def test_services_that_fail_for_a_moment(local_lab: Lab, site: Site, tmp_path: Path) -> None:
    """A 503 passes; a 429 with Retry-After is obeyed; what stays is told."""
    with local_lab.fault("status", service="keyvault", operation="key_release", times=1, code=429, retry_after=1):
        assert not site.release().get("failed")
    with local_lab.fault("reset", service="keyvault", operation="key_release", times=1):
        assert not site.release().get("failed")
    with local_lab.fault("reset_mid_body", service="keyvault", operation="key_release", times=1):
        assert not site.release().get("failed")
    with local_lab.fault("status", service="imds", operation="thim_certification", code=500):
        assert site.release(cache_dir=str(tmp_path))["reason"] == "thim_error"


def test_stale_collateral(local_lab: Lab, site: Site, tmp_path: Path) -> None:
    """A VCEK of another firmware level or chip is named as such, after asking again."""
    for fault, reason in (("stale_tcb", "vcek_tcb"), ("foreign_vcek", "vcek_chip")):
        with local_lab.fault(fault, service="thim"):
            assert site.release(cache_dir=str(tmp_path / fault))["reason"] == reason
        # What was kept of it is of no use and is replaced.
        with local_lab.fault(fault, service="thim", times=1):
            assert not site.release(cache_dir=str(tmp_path / fault)).get("failed")
        mark = local_lab.mark
        assert not site.release(cache_dir=str(tmp_path / fault)).get("failed")
        assert local_lab.audit(mark, operation="thim_certification") == []


def test_ak_certificate(local_lab: Lab, site: Site) -> None:
    local_lab.call("vm_ak_certificate", name="cvm-04", days=20)
    info = local_lab.module("attestation_info", **local_lab.guest("cvm-04"), attestation_url=AUTHORITY)
    assert info["evidence"]["ak_cert_days_left"] in (19, 20) and info["evidence"]["ak_cert_renewal_due"] is True
    assert "days left" in str(info["warnings"]), info
    local_lab.call("vm_ak_certificate", name="cvm-04", days=-1)
    info = local_lab.module("attestation_info", **local_lab.guest("cvm-04"), attestation_url=AUTHORITY)
    assert info["reason"] == "ak_cert_expired"
    local_lab.call("vm_ak_certificate", name="cvm-04", days=365)


def test_untrusted_network(local_lab: Lab, site: Site) -> None:
    """Without the lab's authority nothing is believed; an unknown host is unreachable."""
    system = "/etc/ssl/certs/ca-certificates.crt"
    if not os.path.exists(system):
        pytest.skip("this machine has no CA bundle at the usual place")
    assert site.release(ca_path=system)["reason"] == "tls_untrusted"
    assert (
        site.release(vault_uri="https://kv-nobody.vault.azure.net", preflight="off")["reason"] == "network_unreachable"
    )


def test_reboot_makes_another_ephemeral_key_and_releases_again(local_lab: Lab, site: Site) -> None:
    assert not site.release().get("failed")
    local_lab.call("vm_reboot", name="cvm-01")
    again = site.release()
    assert not again.get("failed") and again["changed"]  # the boot emptied the memory in which the key was
    assert not site.release()["changed"]
