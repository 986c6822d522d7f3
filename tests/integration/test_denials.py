# SPDX-License-Identifier: GPL-3.0-or-later
"""Every message of the decoder's table, answered by the lab's services in their place, reaches a user as its reason code.

The refusals that the simulator decides itself are tested with the scenarios they belong to; here each text is forced.
"""

from __future__ import annotations

from typing import Any

import pytest
from integration.site import Site, ready
from labkit import Lab

from ansible_collections.confidential.azure_skr.plugins.module_utils.policy import messages
from skrsim.lab.plan import LOCATION

POLICY = "version=1.0; authorizationrules{ => permit(); => deny(); }; issuancerules{};"
# Where each service's message is forced: service and operation of the simulator.
PLACES = {
    "vault": ("keyvault", "key_release"),
    "attestation": ("maa", "attest_azureguest"),
    "metadata": ("imds", "imds_token"),
    "arm": ("arm", "vault_get"),
    "attestation_policy": ("maa", "policy_set"),
}
ROWS = [row for row in messages.MESSAGES if row.service in PLACES and row.reason != "imds_unreachable"]
# The TPM's return codes and the unreachable metadata service are forced by test_acceptance_guest.py.
ELSEWHERE = {"not_a_cvm", "tpm_permission", "pcr_changed", "imds_unreachable"}


@pytest.fixture(scope="module")
def site(shared_lab: Lab) -> Site:
    return ready(shared_lab, vms=("cvm-01",))


def answer(row: messages.Message) -> dict[str, Any]:
    """The service's answer with this message, in the shape that service gives its errors."""
    status = row.status[0] if row.status else 400
    code = (
        row.codes[0]
        if row.codes
        else {401: "Unauthorized", 403: "Forbidden", 429: "Throttled"}.get(status, "BadParameter")
    )
    if row.service == "metadata":
        return {"code": status, "body": {"error": "invalid_request", "error_description": row.example}}
    error: dict[str, Any] = {"code": code, "message": row.example}
    if row.service == "vault" and status == 403:
        error = {
            "code": "Forbidden",
            "message": row.example,
            "innererror": {"code": row.codes[0] if row.codes else "AccessDenied"},
        }
    return {"code": status, "body": {"error": error}}


def ask(lab: Lab, site: Site, row: messages.Message) -> dict[str, Any]:
    if row.service == "attestation_policy":
        options = {"resource_group": site.group, "location": LOCATION, "policies": {"AzureGuest": POLICY}}
        return lab.module("attestation_provider", **lab.azure(), name="maaskrdenials", **options)
    if row.service == "arm":
        return lab.module("key_vault", **lab.azure(), name=site.vault, resource_group=site.group)
    return site.release(preflight="off")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.service}-{row.reason}-{row.example[:24]}")
def test_forced_message(local_lab: Lab, site: Site, row: messages.Message) -> None:
    service, operation = PLACES[row.service]
    with local_lab.fault("status", service=service, operation=operation, **answer(row)):
        result = ask(local_lab, site, row)
    assert result["failed"] and result["reason"] == row.reason, result
    assert result["cause"] and result["next_step"] and result["facts"]["status"]


def test_every_row_is_forced_somewhere() -> None:
    assert {row.reason for row in messages.MESSAGES} - {row.reason for row in ROWS} <= ELSEWHERE


def test_an_unknown_message_keeps_its_text(local_lab: Lab, site: Site) -> None:
    body = {"error": {"code": "Forbidden", "message": "Something nobody has met."}}
    with local_lab.fault("status", service="keyvault", operation="key_release", code=403, body=body):
        result = site.release(preflight="off")
    assert result["reason"] == "service_error" and "Something nobody has met." in result["msg"]
    assert result["facts"]["message"] == "Something nobody has met." and "request_id" in result["facts"]
    with local_lab.fault("status", service="keyvault", operation="key_create", code=400, body=body):
        options = {"vault_uri": site.uri, "key_name": "unknown", "release_policy": site.policy}
        made = local_lab.module("exportable_key", **local_lab.azure(), **options)
    assert made["reason"] == "service_error" and "Something nobody has met." in made["msg"]


@pytest.mark.parametrize("row", [row for row in ROWS if "AKV.SKR" in row.pattern or "Key Release" in row.pattern])
def test_the_controller_reads_the_same_table(local_lab: Lab, site: Site, row: messages.Message) -> None:
    options = {"vault_uri": site.uri, "key_name": "never", "release_policy": site.policy}
    with local_lab.fault("status", service="keyvault", operation="key_create", **answer(row)):
        result = local_lab.module("exportable_key", **local_lab.azure(), **options)
    assert result["failed"] and result["reason"] == row.reason and row.example[:20] in result["msg"], result
