# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reason codes as data: what each means and what to do next. Codes are stable; texts may improve."""

from __future__ import annotations

import typing as t

from . import reasons_audit, reasons_delivery, reasons_evidence, reasons_fleet, reasons_revocation, reasons_rotation


class Reason(t.NamedTuple):
    """Default cause and next step of one reason code, in a user's words."""

    cause: str
    next_step: str


REASONS: t.Dict[str, Reason] = {
    # --- input and environment
    "invalid_input": Reason(
        "An option has a value that cannot work.",
        "Correct the option named in the message.",
    ),
    "library_missing": Reason(
        "A Python library is not installed for the interpreter that ran the module.",
        "Install the named package for the named interpreter.",
    ),
    "internal_error": Reason(
        "The collection met a situation it does not handle; this is a defect.",
        "Report it with the message and the collection's version.",
    ),
    "network_unreachable": Reason(
        "The host could not be reached: name resolution, routing, firewall or proxy.",
        "Check that this machine resolves and reaches the named host on port 443, directly or through the proxy option.",
    ),
    "tls_untrusted": Reason(
        "The server's certificate does not verify against the CA bundle in use.",
        "Give the CA bundle of your network with the option ca_path; verification is never switched off.",
    ),
    "tls_verification_required": Reason(
        "Certificate verification was asked to be switched off; this collection never does that.",
        "Take cert_validation_mode: ignore out, and give the CA bundle of your network with the option ca_path or REQUESTS_CA_BUNDLE.",
    ),
    "service_error": Reason(
        "The service answered with an error this collection does not know.",
        "Read the service's own text and request id in the facts.",
    ),
    "throttled": Reason(
        "The service refused because of too many requests, also after the retries allowed.",
        "Run again later, or spread the hosts over more time.",
    ),
    # --- credentials and control plane
    "credentials_missing": Reason(
        "No usable Azure credential was found in the options or the environment.",
        "Set client_id, secret and tenant (or AZURE_CLIENT_ID, AZURE_SECRET, AZURE_TENANT), or choose another auth_source.",
    ),
    "cloud_metadata": Reason(
        "The metadata of the cloud that cloud_environment names cannot be used.",
        "Check that cloud_environment is the URL of the cloud's resource manager, and that /metadata/endpoints answers there.",
    ),
    "authentication_failed": Reason(
        "Microsoft Entra ID refused the credential.",
        "Check tenant, client id and secret, and whether the secret has expired.",
    ),
    "authorization_failed": Reason(
        "The calling identity may not do this in Azure Resource Manager.",
        "Give it the role named in the message at the scope named in the message.",
    ),
    "resource_not_found": Reason(
        "A resource named in the options does not exist.",
        "Check the subscription, the resource group and the name.",
    ),
    "operation_failed": Reason(
        "A long-running Azure operation ended unsuccessfully.",
        "Read the service's error in the facts.",
    ),
    "wait_timeout": Reason(
        "What was waited for did not happen within the time allowed.",
        "Run again, or allow more time with wait_timeout.",
    ),
    "conflict": Reason(
        "Somebody else changed the resource at the same time, also on repetition.",
        "Run again when no other job works on the same resource.",
    ),
    "vault_name_taken": Reason(
        "The vault name is used by somebody else, or by a deleted vault; names are global.",
        "Choose another name, or recover or purge the deleted vault.",
    ),
    "purge_protection_irreversible": Reason(
        "Purge protection cannot be switched off once it is on.",
        "Leave purge_protection out, or use a new vault.",
    ),
    "vault_sku": Reason(
        "Exportable keys need the Premium SKU.",
        "Raise the vault to Premium (module key_vault with sku premium) or use a Premium vault.",
    ),
    "vault_weakening_refused": Reason(
        "The change would weaken an existing vault.",
        "Make the change by hand if it is really wanted.",
    ),
    "vm_fixed": Reason(
        "This property of a VM is fixed when the VM is made, or cannot be changed while it runs.",
        "Leave the option out or make it what the VM has; for another value make another VM.",
    ),
    "size_not_confidential": Reason(
        "The region has no confidential VM of this size.",
        "Choose a size of the families DCas, DCads, ECas or ECads (SNP), or DCes, DCeds, ECes or ECeds (TDX) that the region offers.",
    ),
    "hsm_not_activated": Reason(
        "The managed HSM has been made, but it is of no use before its security domain is downloaded.",
        "Activate it with the module managed_hsm_activation, and keep the security domain and its keys apart and safe.",
    ),
    "hsm_fixed": Reason(
        "This property of a managed HSM is fixed when it is made.",
        "Leave the option out or make it what the HSM has; for another value make another HSM.",
    ),
    "security_domain": Reason(
        "The security domain cannot be downloaded or kept as asked.",
        "Correct what the message names; nothing was overwritten, and the download can be repeated.",
    ),
    "grant_model_mismatch": Reason(
        "The vault uses the other permission model, so this grant would have no effect.",
        "Use grant_model auto, or change the vault's permission model deliberately.",
    ),
    "principal_not_found": Reason(
        "Microsoft Entra ID does not know the principal (yet).",
        "If the identity was just made, run again; otherwise check the object id.",
    ),
    "identity_missing": Reason(
        "The VM has no managed identity to grant anything to.",
        "Run the module cvm_identity for this VM first.",
    ),
    # --- keys
    "deleted_recoverable": Reason(
        "The name is held by a soft-deleted key.",
        "Choose deleted_action recover or purge, or another name.",
    ),
    "purge_refused": Reason(
        "Purge protection forbids purging before the retention period ends.",
        "Recover the key instead, or use another name.",
    ),
    "policy_missing": Reason(
        "An exportable key needs a release policy.",
        "Give release_policy or release_policy_file.",
    ),
    "policy_invalid": Reason(
        "The release policy does not follow the grammar.",
        "Correct the policy at the position named in the message.",
    ),
    "policy_lint": Reason(
        "The release policy has findings that are not accepted.",
        "Correct the policy, or accept a finding by name with a justification in accepted_findings.",
    ),
    "policy_encoding": Reason(
        "The service could not read the release policy: wrong encoding, line ends, or version not in first place.",
        "Upload the canonical form (filter release_policy or module exportable_key), not a file as it is.",
    ),
    "policy_refused": Reason(
        "The service does not accept the release policy.",
        "Read its text in the facts, and run the policy through the filter policy_lint.",
    ),
    "policy_on_version": Reason(
        "The release policy belongs to the key, not to one of its versions.",
        "Address the key without a version, as module exportable_key does.",
    ),
    "immutable_without_confirmation": Reason(
        "An immutable release policy can never be changed again, so making it so needs a second word.",
        "Set confirm_immutable to true as well, or leave immutable out.",
    ),
    "policy_immutable": Reason(
        "The live release policy is immutable and differs from the wanted one.",
        "Make a new key with the wanted policy; an immutable policy can never change.",
    ),
    "policy_on_plain_key": Reason(
        "A release policy was given for a key that is not exportable.",
        "Make the key exportable (a new key), or leave the policy out.",
    ),
    "key_not_exportable": Reason(
        "The key exists and is not exportable; that can never be changed.",
        "Make a new key, or delete and purge this one first.",
    ),
    "key_type_fixed": Reason(
        "The key exists with another type, size or curve; those cannot be changed.",
        "Make a new key under another name.",
    ),
    "key_material_differs": Reason(
        "The key is there already, with other material than the one to import.",
        "Leave the import options out, or set import_replace to import the material as a new version.",
    ),
    "key_type_software": Reason(
        "Exportable keys must be HSM keys.",
        "Use RSA-HSM or EC-HSM as key_type.",
    ),
    "key_not_found": Reason(
        "The vault has no key of this name or version.",
        "Check vault_uri, key_name and key_version; the key may be deleted.",
    ),
    "key_disabled": Reason(
        "The key version is disabled.",
        "Enable it, or release another version.",
    ),
    "key_expired": Reason(
        "The key's expiry date has passed; the service releases it all the same, this client does not.",
        "Rotate the key, or accept it with outside_validity.",
    ),
    "key_not_yet_valid": Reason(
        "The key's not-before date is in the future; the service releases it all the same, this client does not.",
        "Wait, correct the VM's clock, or accept it with outside_validity.",
    ),
    # --- TPM and evidence
    "tpm_missing": Reason(
        "There is no TPM device.",
        "Check that the VM has a vTPM and that the device path is right.",
    ),
    "tpm_permission": Reason(
        "This user may not open the TPM device.",
        "Run with become, or add the user to the group that owns the device (often tss).",
    ),
    "tpm_busy": Reason(
        "Another process holds the TPM device.",
        "Find and stop that process, or use the resource manager device /dev/tpmrm0.",
    ),
    "tpm_error": Reason(
        "The TPM refused a command.",
        "Read the command and return code in the facts.",
    ),
    "tpm_lockout": Reason(
        "The TPM is in dictionary-attack lockout.",
        "Wait for the lockout to pass.",
    ),
    "pcr_changed": Reason(
        "A measured boot register (PCR) changed during the release, also on repetition.",
        "Find out what extends PCRs 0 to 7 on this running VM.",
    ),
    "not_a_cvm": Reason(
        "The vTPM has no HCL report: this is not a confidential VM.",
        "Run on a VM of security type ConfidentialVM, or set require_tee to any to accept a Trusted Launch VM.",
    ),
    "ak_missing": Reason(
        "The vTPM has no attestation key at 0x81000003.",
        "Check that this VM is an Azure VM with vTPM.",
    ),
    "ak_cert_missing": Reason("The vTPM holds no AK certificate.", "Re-provision the VM or ask Azure support."),
    "ak_cert_invalid": Reason("The AK certificate is damaged or is for another key.", "Re-provision the VM."),
    "ak_cert_expired": Reason(
        "The AK certificate has expired.",
        "Renew it: set renew_ak_certificate to when_due, or reboot the VM, or deallocate and start it; then run again.",
    ),
    "hcl_malformed": Reason(
        "The HCL report does not have the documented layout.", "Report it with the sizes in the facts."
    ),
    "hcl_binding": Reason(
        "The HCL report's runtime data do not hash to the report data, or name another attestation key.",
        "Run again; if it stays so, the vTPM's report is not to be trusted.",
    ),
    "report_stale": Reason(
        "The HCL report was not renewed in time.", "Run again; another process may read the report often."
    ),
    "report_signature": Reason(
        "The hardware report's signature does not verify.", "The report is not to be trusted; redeploy the VM."
    ),
    "report_malformed": Reason("The hardware report does not have the documented layout.", "Report it with the facts."),
    "vcek_chain": Reason(
        "The VCEK certificate does not chain to the pinned AMD root.", "The host's certificates are not to be trusted."
    ),
    "vcek_chip": Reason(
        "The VCEK certificate belongs to another chip than the report.",
        "Run again; the VM may just have moved to another host.",
    ),
    "vcek_tcb": Reason(
        "The VCEK certificate is for another firmware level (TCB) than the report.",
        "Run again later; the host's firmware was just updated. The facts tell whether the certificate is lower or higher.",
    ),
    "quote_invalid": Reason("The TPM quote does not verify.", "The TPM's evidence is not to be trusted."),
    "tee_unsupported": Reason(
        "This kind of hardware report is not supported yet.", "See the README for the supported TEEs."
    ),
    # --- the doctor
    "doctor_findings": Reason(
        "The doctor found what fail_on does not accept.",
        "Read the findings, worst first; each has its next step.",
    ),
    # --- metadata service
    "imds_unreachable": Reason(
        "The instance metadata service did not answer.",
        "Check that 169.254.169.254 is reachable from the VM and not sent through a proxy.",
    ),
    "imds_error": Reason("The instance metadata service refused the request.", "Read its text in the facts."),
    "identity_ambiguous": Reason(
        "The VM has several identities and none was named.",
        "Name one with identity_client_id, identity_object_id or identity_resource_id.",
    ),
    "identity_not_found": Reason(
        "The VM does not have the identity asked for, or none at all (yet).",
        "Assign it with cvm_identity; a new identity needs up to some minutes.",
    ),
    "thim_error": Reason("The host's certificate service (THIM) did not give the VCEK chain.", "Run again later."),
    # --- signing in as an application, on the VM
    "client_secret_refused": Reason(
        "Microsoft Entra ID does not know this secret of the application.",
        "Check that the file holds the secret's value (not its id), and that the secret belongs to client_id.",
    ),
    "client_secret_expired": Reason(
        "The application's secret has expired.",
        "Make a new secret for the application and put its value into the file.",
    ),
    "client_certificate_refused": Reason(
        "Microsoft Entra ID does not accept the certificate, or what was signed by its key.",
        "Register the certificate in client_certificate_file with the application client_id, and check that it has not expired.",
    ),
    "federation_refused": Reason(
        "The application trusts no such token as the one in federated_token_file.",
        "Compare issuer, subject and audience of the token with the application's federated credentials; a new one needs up to "
        "some minutes.",
    ),
    "assertion_time": Reason(
        "What the application proves itself with is outside its time: the federated token has expired, or a clock is wrong.",
        "Check that federated_token_file is renewed, and this VM's clock.",
    ),
    "application_unknown": Reason(
        "The tenant has no such application.",
        "Check client_id and tenant; an application of another tenant must first be admitted to this one.",
    ),
    "tenant_unknown": Reason(
        "The cloud has no such tenant.",
        "Check tenant, and authority_host where the cloud is not the public one.",
    ),
    "audience_unknown": Reason(
        "The tenant does not know the service that the token is to be for.",
        "Check the vault's address and authority_host: they may be of different clouds.",
    ),
    "sign_in_blocked": Reason(
        "A Conditional Access policy of the tenant blocks this sign-in.",
        "Ask who keeps the tenant's policies.",
    ),
    # --- attestation
    "attestation_refused": Reason(
        "The attestation service does not accept this VM's evidence.",
        "Read its text in the facts.",
    ),
    "attestation_policy_denied": Reason(
        "The attestation provider's own policy denies this VM.",
        "Check secure boot and the provider's policy.",
    ),
    "attestation_policy_refused": Reason(
        "The attestation service does not accept the attestation policy.",
        "Read its text in the facts, and correct the policy or the certificates it is signed with.",
    ),
    "attestation_policy_unsigned": Reason(
        "The attestation provider takes signed policies only.",
        "Give policy_signer_key and policy_signer_certificate; the certificate must lead to one the provider was made with.",
    ),
    "attestation_policy_unverified": Reason(
        "What the attestation provider says of its policy does not verify.",
        "Nothing it said is believed; find out who answers at the address, then run again.",
    ),
    "attestation_type_fixed": Reason(
        "The attestation service does not let the policy of this attestation type be changed at this provider.",
        "Leave the type out, or use a provider in a region that offers it.",
    ),
    "attestation_trust_model_fixed": Reason(
        "Whether policies must be signed, and under which certificates, is fixed when the provider is made.",
        "Leave policy_signing_certificates as it was, or make a new provider.",
    ),
    "attestation_name_taken": Reason(
        "The name is used by another attestation provider.",
        "Choose another name, or the location and resource group where the provider is.",
    ),
    "attestation_unavailable": Reason(
        "The attestation service did not answer properly, also on repetition.", "Run again later."
    ),
    "attestation_protocol": Reason("The attestation service answered in an unexpected form.", "Check attestation_url."),
    "envelope_invalid": Reason(
        "The sealed attestation token could not be opened.", "Run again; if it stays so, report it."
    ),
    "token_signature": Reason(
        "The attestation token's signature does not verify.", "Check attestation_url and who answers there."
    ),
    "token_issuer": Reason(
        "The attestation token was issued by another authority than asked.", "Check attestation_url."
    ),
    "token_time": Reason("The attestation token is expired or not yet valid.", "Check this VM's clock."),
    "token_nonce": Reason(
        "The attestation token does not carry this request's nonce.",
        "Run again; the answer belongs to another request.",
    ),
    "token_binding": Reason(
        "The attestation token is not bound to this request's TPM key.",
        "Run again; the answer belongs to another request.",
    ),
    # --- release
    "authority_mismatch": Reason(
        "The release policy trusts another attestation authority than the one this VM asked.",
        "Set attestation_url to the policy's authority, or change the authority in the policy.",
    ),
    "policy_not_met": Reason(
        "A condition of the release policy is not fulfilled by this VM.",
        "Compare wanted and found value of the failing claim.",
    ),
    "attestation_not_verified": Reason(
        "The vault could not verify the attestation token.",
        "Check that the vault can reach the authority and that the clock is right; run again.",
    ),
    "permission_missing": Reason(
        "The VM's identity lacks the release permission on the key, or the grant is not effective yet.",
        "Grant it with release_access; a new grant needs up to ten minutes.",
    ),
    "vault_firewall": Reason(
        "The vault's network rules refuse this address.", "Allow the address or use a private endpoint."
    ),
    "vault_token_rejected": Reason("The vault refused the access token.", "Check tenant, cloud and clock."),
    "release_bad_request": Reason("The vault refused the release request as malformed.", "Read its text in the facts."),
    "response_malformed": Reason(
        "The release answer does not have the documented form.", "Check vault_uri and who answers there."
    ),
    "response_signature_invalid": Reason(
        "The release answer's signature does not verify.", "Nothing was delivered; find out who altered the answer."
    ),
    "response_chain_untrusted": Reason(
        "The release answer is signed under a certificate chain that is not trusted.",
        "Nothing was delivered; give the right CA bundle or find out who answers.",
    ),
    "response_key_mismatch": Reason(
        "The release answer is for another key or another request.", "Nothing was delivered; find out who answers."
    ),
    "response_nonce_mismatch": Reason(
        "The release answer does not carry this request's nonce.", "Nothing was delivered; run again."
    ),
    "wrap_algorithm_mismatch": Reason(
        "The key was wrapped with another algorithm than asked.", "Nothing was delivered; check wrap_algorithm."
    ),
    "unwrap_failed": Reason("The released key could not be unwrapped.", "Nothing was delivered; run again."),
    "redirect_refused": Reason(
        "A service answered with a redirect; none is ever followed.", "Check the URL and who answers there."
    ),
}
for _room in (reasons_audit, reasons_delivery, reasons_evidence, reasons_fleet, reasons_revocation, reasons_rotation):
    REASONS.update({code: Reason(*texts) for code, texts in _room.TEXTS.items()})
