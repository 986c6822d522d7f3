# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts that a VM shows without anything being changed: its token, its hardware report, its metadata, its network."""

from __future__ import annotations

import base64
import typing as t

from ..policy import regions
from .fact import Observation, Seen, Unseen, answer, at, fact, finding

TEE = "x-ms-isolation-tee"
LIFETIME = 8 * 3600


def _claims(vm: Observation, kind: str = "attestation") -> t.Mapping[str, t.Any]:
    claims = answer(vm, kind).get("claims")
    return claims if isinstance(claims, t.Mapping) else {}


def _kind(vm: Observation) -> str:
    """``snp``, ``tdx`` or ``none``, by the evidence."""
    for name in ("report", "attestation"):
        result = vm.get(name)
        if isinstance(result, t.Mapping) and at(result, "evidence", "tee"):
            return str(at(result, "evidence", "tee"))
    if at(vm.get("report"), "unreachable"):
        raise Unseen("the VM was not reached")
    raise Unseen("the VM's kind was not found out")


def _of(vm: Observation, *kinds: str) -> str:
    """The VM's kind where it is one of these. Raises Unseen."""
    kind = _kind(vm)
    if kind not in kinds:
        names = {"snp": "SEV-SNP", "tdx": "TDX", "none": "Trusted Launch"}
        raise Unseen(f"no {' or '.join(names[one] for one in kinds)} VM among the hosts")
    return kind


@fact("token_type", "guest token", "x-ms-attestation-type is azurevm at top level")
def token_type(vm: Observation) -> Seen:
    found = _claims(vm).get("x-ms-attestation-type")
    return Seen(str(found), found == "azurevm")


@fact("token_lifetime", "guest token", "a token lives 8 hours")
def token_lifetime(vm: Observation) -> Seen:
    result = answer(vm, "attestation")
    seconds = int(result["expires_at"]) - int(result["issued_at"])
    return Seen(f"{seconds / 3600:g} hours", seconds == LIFETIME)


@fact("token_issuer", "guest token", "iss is the provider's address as it was asked, without a slash at the end")
def token_issuer(vm: Observation) -> Seen:
    issuer, asked = str(_claims(vm).get("iss")), str(answer(vm, "attestation").get("authority"))
    if issuer == asked:
        return Seen("as asked", True)
    same = issuer.rstrip("/").lower() == asked.rstrip("/").lower()
    return Seen("differs in case or slash" if same else "another issuer", False)


@fact(
    "token_isolation", "guest token", f"claims of the hardware are below {TEE}; there are none on a Trusted Launch VM"
)
def token_isolation(vm: Observation) -> Seen:
    kind, nested = _kind(vm), at(_claims(vm), TEE)
    wanted = {"snp": "sevsnpvm", "tdx": "tdxvm", "none": None}[kind]
    found = at(nested, "x-ms-attestation-type")
    return Seen(f"{kind}: {found or 'none'}", found == wanted)


@fact("compliance_status", "guest token", "x-ms-compliance-status is azure-compliant-cvm on a confidential VM")
def compliance_status(vm: Observation) -> Seen:
    _of(vm, "snp", "tdx")
    found = at(_claims(vm), TEE, "x-ms-compliance-status")
    return Seen(str(found), found == "azure-compliant-cvm")


@fact("secure_boot_claim", "guest token", "secureboot is a boolean and says what the measured-boot log says")
def secure_boot_claim(vm: Observation) -> Seen:
    claim, log = _claims(vm).get("secureboot"), at(answer(vm, "attestation"), "evidence", "event_log", "secure_boot")
    if log is None:
        raise Unseen("there is no readable measured-boot log")
    return Seen(f"claim {claim!r}, log {log!r}", claim is log)


@fact("attested_pcrs", "guest token", "PCRs 0 to 7 are attested")
def attested_pcrs(vm: Observation) -> Seen:
    found = _claims(vm).get("x-ms-azurevm-attested-pcrs")
    return Seen(str(found), found == list(range(8)))


@fact(
    "payload_echo", "guest token", "values of the client payload come back in base64 below x-ms-runtime.client-payload"
)
def payload_echo(vm: Observation) -> Seen:
    found = at(_claims(vm), "x-ms-runtime", "client-payload", "nonce")
    if not isinstance(found, str):
        return Seen("no nonce in the client payload", False)
    try:
        base64.b64decode(found, validate=True)
    except ValueError:
        return Seen("not base64", False)
    return Seen("in base64", True)


@fact("vm_id_case", "guest token", "vmUniqueId has upper case letters, in SNP and in TDX tokens")
def vm_id_case(vm: Observation) -> Seen:
    kind = _of(vm, "snp", "tdx")
    found = str(at(_claims(vm), TEE, "x-ms-runtime", "vm-configuration", "vmUniqueId") or "")
    if found.upper() == found.lower():
        raise Unseen("the token's VM id has no letters")
    case = "upper" if found == found.upper() else "lower" if found == found.lower() else "mixed"
    return Seen(f"{kind}: {case} case", case == "upper")


@fact("vm_id_same", "guest token", "the token's VM id is the vmId of the metadata service, but for case")
def vm_id_same(vm: Observation) -> Seen:
    _of(vm, "snp", "tdx")
    token = at(_claims(vm), TEE, "x-ms-runtime", "vm-configuration", "vmUniqueId")
    there = at(finding(vm, "metadata"), "facts", "vmId")
    if not there:
        raise Unseen("the metadata service told no vmId")
    same = str(token).lower() == str(there).lower()
    return Seen("the same" if same else "another", same)


@fact(
    "debug_claim",
    "guest token",
    "debugging is told by x-ms-sevsnpvm-is-debuggable (SNP) and tdx_is_debuggable (TDX), booleans",
)
def debug_claim(vm: Observation) -> Seen:
    kind = _of(vm, "snp", "tdx")
    name = {"snp": "x-ms-sevsnpvm-is-debuggable", "tdx": "tdx_is_debuggable"}[kind]
    found = at(_claims(vm), TEE, name)
    return Seen(f"{name}: {found!r}", isinstance(found, bool))


@fact("svn_claims", "guest token", "the -svn claims are the reported TCB of the SNP report")
def svn_claims(vm: Observation) -> Seen:
    _of(vm, "snp")
    nested, tcb = at(_claims(vm), TEE) or {}, at(answer(vm, "attestation"), "evidence", "reported_tcb") or {}
    pairs = {"bootloader": "boot_loader", "tee": "tee", "snpfw": "snp", "microcode": "microcode"}
    other = [claim for claim, part in pairs.items() if nested.get(f"x-ms-sevsnpvm-{claim}-svn") != tcb.get(part)]
    return Seen(f"differ: {', '.join(other)}" if other else "the reported TCB", not other)


@fact("tdx_tcb_status", "guest token", "attester_tcb_status is UpToDate on an Azure host")
def tdx_tcb_status(vm: Observation) -> Seen:
    _of(vm, "tdx")
    found = at(_claims(vm), TEE, "attester_tcb_status")
    return Seen(str(found), found == "UpToDate")


@fact(
    "platform_nonce", "platform token", "the nonce of a platform attestation comes back as the claim nonce, unchanged"
)
def platform_nonce(vm: Observation) -> Seen:
    _of(vm, "snp", "tdx")
    found, sent = _claims(vm, "platform").get("nonce"), vm.get("nonce")
    if not sent:
        raise Unseen("no nonce was sent")
    return Seen("unchanged" if found == sent else "absent" if found is None else "changed", found == sent)


@fact("platform_runtime", "platform token", "runtime data sent as JSON come back below x-ms-runtime")
def platform_runtime(vm: Observation) -> Seen:
    _of(vm, "snp", "tdx")
    found = at(_claims(vm, "platform"), "x-ms-runtime", "vm-configuration")
    return Seen("they do" if found else "they do not", bool(found))


@fact(
    "platform_compliance",
    "platform token",
    "a platform attestation's claims stand at top level, the compliance status among them",
)
def platform_compliance(vm: Observation) -> Seen:
    _of(vm, "snp", "tdx")
    found = _claims(vm, "platform").get("x-ms-compliance-status")
    return Seen(str(found), found == "azure-compliant-cvm")


@fact("init_time_data", "platform token", "MRCONFIGID is zero, because Azure's hosts set none for a plain VM")
def init_time_data(vm: Observation) -> Seen:
    _of(vm, "tdx")
    found = str(at(answer(vm, "attestation"), "evidence", "mrconfigid") or "")
    if not found:
        raise Unseen("the evidence has no MRCONFIGID")
    zero = not found.strip("0")
    return Seen("zero" if zero else "not zero", zero)


@fact("hcl_report_size", "vTPM", "the HCL report's index has 2,048, 2,600 or 2,900 bytes")
def hcl_report_size(vm: Observation) -> Seen:
    _of(vm, "snp", "tdx")
    size = at(finding(vm, "vm_type"), "facts", "report_size")
    return Seen(f"{size} bytes", size in (2048, 2600, 2900))


@fact("snp_report_version", "hardware report", "SNP reports have version 2, 3 or 5")
def snp_report_version(vm: Observation) -> Seen:
    _of(vm, "snp")
    found = at(answer(vm, "report"), "evidence", "report_version")
    return Seen(f"version {found}, {at(answer(vm, 'report'), 'evidence', 'product')}", found in (2, 3, 5))


@fact(
    "snp_signing_key", "hardware report", "SNP reports are signed by the chip's own key (VCEK); the lab refuses a VLEK"
)
def snp_signing_key(vm: Observation) -> Seen:
    _of(vm, "snp")
    found = at(answer(vm, "report"), "evidence", "signing_key")
    return Seen(str(found), found == "VCEK")


@fact("tdx_quote_version", "hardware report", "the host gives TD quotes of version 4")
def tdx_quote_version(vm: Observation) -> Seen:
    _of(vm, "tdx")
    found = at(answer(vm, "report"), "evidence", "quote_version")
    return Seen(f"version {found}", found == 4)


@fact("hardware_chain", "hardware report", "the report verifies to the vendor's root with what the host gives")
def hardware_chain(vm: Observation) -> Seen:
    _of(vm, "snp", "tdx")
    result = answer(vm, "report")
    failed = [str(one.get("name")) for one in result.get("checks") or [] if one.get("state") == "failed"]
    return Seen(f"failed: {', '.join(failed)}" if failed else str(result.get("verdict")), bool(result.get("verified")))


@fact("ak_issuer", "vTPM", "the AK certificate's issuer is called Global Virtual TPM CA with a number")
def ak_issuer(vm: Observation) -> Seen:
    found = str(at(answer(vm, "report"), "evidence", "ak_cert_issuer"))
    return Seen(found, found.startswith("Global Virtual TPM CA - "))


@fact("ak_lifetime", "vTPM", "the platform keeps an AK certificate with more than 90 days left")
def ak_lifetime(vm: Observation) -> Seen:
    found = at(answer(vm, "report"), "evidence", "ak_cert_days_left")
    if not isinstance(found, (int, float)):
        raise Unseen("there is no AK certificate")
    return Seen("more than 90 days" if found > 90 else "90 days or fewer", found > 90)


@fact("event_log", "vTPM", "the measured-boot log leads to the PCRs")
def event_log(vm: Observation) -> Seen:
    found = at(answer(vm, "report"), "evidence", "event_log") or {}
    if not found.get("present"):
        raise Unseen("there is no readable measured-boot log")
    return Seen("it does" if found.get("matches_pcrs") else "it does not", bool(found.get("matches_pcrs")))


@fact("metadata_security_type", "metadata service", "the metadata service tells the security type")
def metadata_security_type(vm: Observation) -> Seen:
    found = at(finding(vm, "metadata"), "facts", "security_type")
    wanted = "TrustedLaunch" if _kind(vm) == "none" else "ConfidentialVM"
    return Seen(str(found or "not told"), found == wanted)


@fact("vault_challenge", "vault", "a request without a token is answered with a demand for one that names the tenant")
def vault_challenge(vm: Observation) -> Seen:
    one = finding(vm, "vault_network")
    if one.get("severity") != "ok":
        return Seen(str(one.get("code")), False)
    named = bool(at(one, "facts", "tenant"))
    return Seen("a demand that names the tenant" if named else "a demand without a tenant", named)


@fact("tls_authorities", "network", "the certificates of Azure's names are of authorities that the doctor knows")
def tls_authorities(vm: Observation) -> Seen:
    one = finding(vm, "connection")
    code = str(one.get("code"))
    if one.get("severity") != "ok" and not code.startswith("tls_"):
        raise Unseen(f"a host was not reached: {code}")
    return Seen("known" if one.get("severity") == "ok" else code, one.get("severity") == "ok")


@fact("date_headers", "network", "answers carry a Date header, which tells the doctor the time")
def date_headers(vm: Observation) -> Seen:
    for one in answer(vm, "doctor").get("findings") or []:
        if one.get("check") == "clock":
            if one.get("severity") == "skipped":
                raise Unseen("no answer told the time")
            return Seen("they do", True)
    raise Unseen("the doctor made no check clock")


@fact("arm_tee_type", "control plane", "the VM size tells the TEE that the VM then proves", "fleet")
def arm_tee_type(fleet: Observation) -> Seen:
    rows = {row.get("name"): row.get("tee_type") for row in answer(fleet, "vms").get("vms") or []}
    names = {"snp": "sevsnpvm", "tdx": "tdxvm"}
    compared, other = 0, []
    for vm in fleet.get("hosts") or []:
        try:
            kind = names.get(_kind(vm))
        except Unseen:
            continue
        if vm.get("vm_name") in rows and kind:
            compared += 1
            if rows[vm.get("vm_name")] != kind:
                other.append(f"{rows[vm.get('vm_name')]} proved {kind}")
    if not compared:
        raise Unseen("no VM of the inventory is among the confidential VMs listed")
    return Seen("; ".join(sorted(set(other))) or "the same", not other)


@fact("shared_authority", "control plane", "the region's shared provider has an address of the known form", "fleet")
def shared_authority(fleet: Observation) -> Seen:
    found = str(answer(fleet, "provider").get("authority"))
    known = regions.read(found.rpartition("//")[2].strip("/"))
    return Seen(known.region or "a region that is not known", bool(known.region))
