# SPDX-License-Identifier: GPL-3.0-or-later
"""The denial decoder: every message people meet has its reason code, alone as text and with status and code."""

from __future__ import annotations

import pytest

from ansible_collections.confidential.azure_skr.plugins.module_utils.policy import messages
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.reasons import REASONS

# As met in the field: text, HTTP status, codes, reason.
MET = [
    (
        "AKV.SKR.1001: The exportable attribute is only supported with premium vaults",
        400,
        ["BadParameter"],
        "vault_sku",
    ),
    ("AKV.SKR.1003: The exportable attribute cannot be changed.", 400, ["BadParameter"], "key_not_exportable"),
    ("AKV.SKR.1004: Exportable keys must have release policy.", 400, ["BadParameter"], "policy_missing"),
    ("Exportable keys must have release policy", None, [], "policy_missing"),
    ("AKV.SKR.1005: Non-exportable keys must not have release policy.", 400, ["BadParameter"], "policy_on_plain_key"),
    ("AKV.SKR.1006: Exportable keys must be HSM keys.", 400, ["BadParameter"], "key_type_software"),
    ("AKV.SKR.1016: Key Release Policy can only be set on versionless key", 400, [], "policy_on_version"),
    ("AKV.SKR.1020: Immutable Key Release Policy cannot be modified.", 400, ["BadParameter"], "policy_immutable"),
    ("Key Release Policy: missing 'version' property.", 400, ["BadParameter"], "policy_encoding"),
    ("Operation release is not allowed on a non-exportable key.", 403, ["Forbidden"], "key_not_exportable"),
    (
        "Target environment attestation statement cannot be verified.",
        403,
        ["Forbidden", "AccessDenied"],
        "attestation_not_verified",
    ),
    (
        "Target environment attestation does not meet key release policy requirements.",
        403,
        ["Forbidden", "AccessDenied"],
        "policy_not_met",
    ),
    (
        "The user, group or application 'appid=a;oid=11111111-2222-3333-4444-555555555555;iss=x' does not have keys release "
        "permission on key vault 'v;location=westeurope'.",
        403,
        ["Forbidden", "AccessDenied"],
        "permission_missing",
    ),
    (
        "Caller is not authorized to perform action on resource.\nCaller: appid=a;oid=11111111-2222-3333-4444-555555555555\n"
        "Action: 'Microsoft.KeyVault/vaults/keys/release/action'\nAssignment: (not found)\nVault: v",
        403,
        ["Forbidden", "ForbiddenByRbac"],
        "permission_missing",
    ),
    (
        "Client address is not authorized and caller is not a trusted service.\nClient address: 203.0.113.7\nCaller: x",
        403,
        ["Forbidden", "ForbiddenByFirewall"],
        "vault_firewall",
    ),
    ("Public network access is disabled", 403, ["Forbidden", "ForbiddenByConnection"], "vault_firewall"),
    ("Operation release is not allowed on a disabled key.", 403, ["Forbidden", "KeyDisabled"], "key_disabled"),
    ("A key with (name/id) tls was not found in this key vault.", 404, ["KeyNotFound"], "key_not_found"),
    (
        "Key tls is currently in a deleted but recoverable state",
        409,
        ["ObjectIsDeletedButRecoverable"],
        "deleted_recoverable",
    ),
    ("Request was not processed because too many requests were received.", 429, ["Throttled"], "throttled"),
    ("AKV10022: Invalid audience.", 401, ["Unauthorized"], "vault_token_rejected"),
    ("TPM error 0x18b", None, [], "not_a_cvm"),
    ("Tpm2NvReadPublic: tpm:handle(1):the handle is not correct (0x0000018b)", None, [], "not_a_cvm"),
    ("Failed to read from TPM NV RAM, code=330", None, [], "tpm_permission"),
    ("TPM2_Unseal failed: 0x99d", None, [], "pcr_changed"),
    ("secure boot is disabled", 400, ["PolicyEvaluationError"], "attestation_policy_denied"),
    (
        "Multiple user assigned identities exist, please specify the clientId / resourceId of the identity",
        400,
        ["invalid_request"],
        "identity_ambiguous",
    ),
    ("connect: Connection refused (169.254.169.254)", None, [], "imds_unreachable"),
]


@pytest.mark.parametrize(("text", "status", "codes", "reason"), MET)
def test_met_message(text: str, status: int | None, codes: list[str], reason: str) -> None:
    found = messages.decode(text, status=status, codes=codes)
    assert found is not None and found.reason == reason


@pytest.mark.parametrize("row", messages.MESSAGES, ids=lambda row: f"{row.reason}-{row.example[:20]}")
def test_every_row_matches_its_own_example(row: messages.Message) -> None:
    assert row.reason in REASONS
    status = row.status[0] if row.status else None
    found = messages.decode(row.example, row.service, status, row.codes[:1])
    assert found is not None and found.reason == row.reason


def test_facts_are_taken_from_the_text() -> None:
    by_text = {text: messages.decode(text, status=status, codes=codes) for text, status, codes, _reason in MET}
    facts = {found.reason + text[:6]: found.facts for text, found in by_text.items() if found}
    assert facts["vault_firewallClient"] == {"address": "203.0.113.7"}
    assert facts["permission_missingCaller"] == {
        "principal_id": "11111111-2222-3333-4444-555555555555",
        "action": "Microsoft.KeyVault/vaults/keys/release/action",
        "assignment": "(not found)",
    }
    assert facts["permission_missingThe us"]["permission"] == "release"
    assert facts["permission_missingThe us"]["principal_id"] == "11111111-2222-3333-4444-555555555555"
    assert facts["key_not_foundA key "] == {"key": "tls"}


@pytest.mark.parametrize("text", ["", "nothing that anybody knows", "Forbidden"])
def test_unknown_messages_stay_unknown(text: str) -> None:
    assert messages.decode(text, "vault", 418) is None and messages.decode(text) is None
