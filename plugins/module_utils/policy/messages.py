# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The denial decoder: what services say, as a table from message to reason code.

The rows are data: code, guest agent and documentation all read this table. A message that no row knows stays the
service's own text, with its request id.

Texts: Key Vault REST documentation, recordings and issue reports; TPM 2.0 Library Part 2, 6.6 for return codes.
"""

from __future__ import annotations

import re
import typing as t


class Message(t.NamedTuple):
    """One message. Empty members match anything; ``pattern`` is searched in the text, case-insensitively.

    Named groups of the pattern become facts. ``example`` is the message as people meet it.
    """

    service: str
    reason: str
    example: str
    pattern: str = ""
    status: t.Tuple[int, ...] = ()
    codes: t.Tuple[str, ...] = ()


class Decoded(t.NamedTuple):
    """A reason code of :mod:`reasons` and the facts found in the text."""

    reason: str
    facts: t.Dict[str, str]


_OID = r"^(?:.*?oid=(?P<principal_id>[0-9a-fA-F-]{36}))?"

# The first row that matches decides.
MESSAGES: t.Tuple[Message, ...] = (
    # --- Key Vault and managed HSM: keys and their policy
    Message(
        "vault",
        "vault_sku",
        "AKV.SKR.1001: The exportable attribute is only supported with premium vaults and API version >= '7.3-preview'.",
        r"AKV\.SKR\.1001",
    ),
    Message(
        "vault", "key_not_exportable", "AKV.SKR.1003 (exportable of an existing key changed)", r"AKV\.SKR\.10(03|14)"
    ),
    Message(
        "vault",
        "policy_missing",
        "AKV.SKR.1004: Exportable keys must have release policy.",
        r"AKV\.SKR\.1004|Exportable keys must have release policy",
    ),
    Message(
        "vault",
        "policy_on_plain_key",
        "AKV.SKR.1005: Non-exportable keys must not have release policy.",
        r"AKV\.SKR\.1005",
    ),
    Message("vault", "key_type_software", "AKV.SKR.1006 (software key)", r"AKV\.SKR\.1006"),
    Message(
        "vault",
        "policy_on_version",
        "AKV.SKR.1016: Key Release Policy can only be set on versionless key",
        r"AKV\.SKR\.1016",
    ),
    Message(
        "vault",
        "policy_immutable",
        "AKV.SKR.1020: Immutable Key Release Policy cannot be modified.",
        r"AKV\.SKR\.1020",
    ),
    Message(
        "vault",
        "policy_encoding",
        "Key Release Policy: missing 'version' property.",
        r"Key Release Policy: missing '(?P<property>[^']+)' property",
    ),
    Message("vault", "policy_refused", "Key Release Policy: ...", r"Key Release Policy:"),
    Message(
        "vault",
        "key_not_exportable",
        "Operation release is not allowed on a non-exportable key.",
        r"non-exportable key",
    ),
    Message(
        "vault",
        "hsm_not_activated",
        "The managed HSM ... is not activated.",
        r"HSM\b.{0,60}\bnot (yet )?(been )?activated",
    ),
    # --- Key Vault and managed HSM: refusals of a release
    Message(
        "vault",
        "attestation_not_verified",
        "Target environment attestation statement cannot be verified.",
        r"attestation statement cannot be verified",
        (403,),
    ),
    Message(
        "vault",
        "policy_not_met",
        "Target environment attestation does not meet key release policy requirements.",
        r"does not meet key release policy",
        (403,),
    ),
    Message(
        "vault",
        "vault_firewall",
        "ForbiddenByFirewall: Client address is not authorized and caller is not a trusted service.",
        r"Client address is not authorized(?:.*?Client address: (?P<address>\S+))?",
        (403,),
    ),
    Message(
        "vault",
        "vault_firewall",
        "ForbiddenByConnection: Public network access is disabled and request is not from a trusted service nor via an "
        "approved private link.",
        "",
        (403,),
        ("ForbiddenByFirewall", "ForbiddenByConnection"),
    ),
    Message(
        "vault",
        "key_disabled",
        "Operation release is not allowed on a disabled key.",
        r"disabled key",
        (403,),
    ),
    Message("vault", "key_disabled", "KeyDisabled", "", (403,), ("KeyDisabled",)),
    Message(
        "vault",
        "permission_missing",
        "The user, group or application 'appid=...;oid=...' does not have keys release permission on key vault '...'.",
        _OID + r".*?does not have keys (?P<permission>\w+) permission",
        (403,),
    ),
    Message(
        "vault",
        "permission_missing",
        "ForbiddenByRbac: Caller is not authorized to perform action on resource. ... Assignment: (not found)",
        _OID + r"(?:.*?Action: '(?P<action>[^']+)')?(?:.*?Assignment: (?P<assignment>[^\n]+))?",
        (403,),
        ("ForbiddenByRbac",),
    ),
    Message("vault", "permission_missing", "AccessDenied", "", (403,), ("AccessDenied", "ForbiddenByPolicy")),
    Message(
        "vault",
        "key_not_found",
        "A key with (name/id) ... was not found in this key vault. If you recently deleted this key you may be able to recover it",
        r"A key with \(name/id\) (?P<key>\S+) was not found",
        (404,),
    ),
    Message("vault", "key_not_found", "KeyNotFound", "", (404,), ("KeyNotFound",)),
    Message(
        "vault",
        "deleted_recoverable",
        "ObjectIsDeletedButRecoverable: Key ... is currently in a deleted but recoverable state, and its name cannot be reused",
        "",
        (409,),
        ("ObjectIsDeletedButRecoverable",),
    ),
    Message("vault", "vault_token_rejected", "AKV10022: Invalid audience.", r"AKV100\d\d", (401,)),
    Message("vault", "throttled", "Throttled / VaultRequestTypeLimitReached", "", (429,)),
    # --- Azure Resource Manager
    Message(
        "arm",
        "authorization_failed",
        "AuthorizationFailed: The client '...' does not have authorization to perform action '...' over scope '...'",
        r"(?:perform action '(?P<action>[^']+)'.*?scope '(?P<scope>[^']+)')?",
        (403,),
        ("AuthorizationFailed", "LinkedAuthorizationFailed"),
    ),
    Message("arm", "principal_not_found", "PrincipalNotFound", "", (), ("PrincipalNotFound",)),
    Message("arm", "vault_name_taken", "VaultAlreadyExists", "", (), ("VaultAlreadyExists",)),
    Message(
        "arm",
        "vault_name_taken",
        "ConflictError: A vault with the same name already exists in deleted state.",
        r"already exists in deleted state",
        (409,),
    ),
    Message("arm", "throttled", "TooManyRequests", "", (429,)),
    # --- attestation
    Message(
        "attestation",
        "attestation_policy_denied",
        "PolicyEvaluationError: the provider's policy denies, for instance because secure boot is off",
        "",
        (400,),
        ("PolicyEvaluationError",),
    ),
    # --- attestation policies (Microsoft Learn, "Azure Attestation troubleshooting guide")
    Message(
        "attestation_policy",
        "attestation_policy_refused",
        "PolicyParsingError: Invalid policy was specified Msg:[Policy Parser Exception Thrown: Offending symbol: '[' Line: '2' ...",
        r"^(?:.*?Offending\s+symbol: '(?P<symbol>[^']*)'\s+Line: '(?P<line>\d+)')?",
        (400,),
        ("PolicyParsingError",),
    ),
    Message(
        "attestation_policy",
        "attestation_policy_refused",
        "InvalidParameter: The requested item is not found Msg:[Unable to find issuer certificate CN=...]",
        r"Unable to find issuer certificate",
        (400,),
    ),
    Message(
        "attestation_policy",
        "attestation_type_fixed",
        "Bad request: Tpm attestation is not supported in the 'UKSouth' region",
        r"attestation is not supported",
        (400,),
    ),
    Message(
        "attestation_policy",
        "attestation_policy_unsigned",
        "InvalidOperation: an unsigned policy where policy signing is required",
        r"unsigned policy|policy signing is required",
        (400,),
    ),
    Message("attestation_policy", "attestation_policy_refused", "InvalidOperation", "", (400,), ("InvalidOperation",)),
    # --- metadata service
    Message(
        "metadata",
        "identity_ambiguous",
        "Multiple user assigned identities exist, please specify the clientId / resourceId of the identity in the token request",
        r"multiple .*identit",
        (400,),
    ),
    Message("metadata", "identity_not_found", "Identity not found", r"identity not found", (400, 404)),
    Message("metadata", "imds_unreachable", "Connection refused, or a proxy's page", r"connection refused|<html"),
    # --- TPM, also as other tools print it
    Message("tpm", "not_a_cvm", "TPM 0x18b (TPM_RC_HANDLE): the NV index is absent", r"\b0x0*18b\b"),
    Message("tpm", "tpm_permission", "Failed to read from TPM NV RAM, code=330", r"NV RAM.*code=\s*330"),
    Message(
        "tpm",
        "pcr_changed",
        "TPM 0x99d (TPM_RC_POLICY_FAIL): an object bound to PCRs, and the PCRs have moved",
        r"\b0x0*99d\b",
    ),
)


def decode(
    text: str, service: str = "", status: t.Optional[int] = None, codes: t.Sequence[str] = ()
) -> t.Optional[Decoded]:
    """The reason behind a message, or None where no row knows it.

    ``codes`` are the error code and inner codes the service gave. What the caller does not know is left out: a text
    alone, copied from a log, is decoded as far as it goes.
    """
    for row in MESSAGES:
        if service and row.service != service:
            continue
        if status is not None and row.status and status not in row.status:
            continue
        if row.codes and not any(code in (codes or text) for code in row.codes):
            continue
        if not row.codes and not row.pattern and (status is None or status not in row.status):
            continue
        found = re.search(row.pattern, text, re.IGNORECASE | re.DOTALL)
        if found is not None:
            return Decoded(row.reason, {name: value.strip() for name, value in found.groupdict().items() if value})
    return None
