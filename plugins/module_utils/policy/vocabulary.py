# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The claims of Azure's guest tokens: path, kind of value, the TEEs whose tokens carry them, and what they mean.

Source: tokens of Microsoft Azure Attestation's AzureGuest endpoint and Microsoft's documentation of its claim sets. A
private attestation provider may issue further claims by its own policy.
"""

from __future__ import annotations

import re
import typing as t

ISOLATION = "x-ms-isolation-tee"
TYPE = f"{ISOLATION}.x-ms-attestation-type"
COMPLIANCE = f"{ISOLATION}.x-ms-compliance-status"
COMPLIANT = "azure-compliant-cvm"
CONFIGURATION = f"{ISOLATION}.x-ms-runtime.vm-configuration"
VM_UNIQUE_ID = f"{CONFIGURATION}.vmUniqueId"
VM_ID = "x-ms-azurevm-vmid"
OUTER_TYPE = "x-ms-attestation-type"
OUTER_VALUE = "azurevm"
SECURE_BOOT = "secureboot"
CLIENT_PAYLOAD = "x-ms-runtime.client-payload"

SNP, TDX, TRUSTED_LAUNCH = "sevsnpvm", "tdxvm", "trusted_launch"
TEES = (SNP, TDX, TRUSTED_LAUNCH)
TEE_NAMES = {
    SNP: "AMD SEV-SNP confidential VM",
    TDX: "Intel TDX confidential VM",
    TRUSTED_LAUNCH: "Trusted Launch VM (no hardware TEE: weaker, the cloud operator is trusted)",
}


class Claim(t.NamedTuple):
    """One claim: ``kind`` is boolean, number, text, object or list; ``digits`` the number of hex digits of a text."""

    kind: str
    tees: t.Tuple[str, ...]
    words: str
    digits: int = 0


def _snp(kind: str, words: str, digits: int = 0) -> Claim:
    return Claim(kind, (SNP,), words, digits)


def _tdx(kind: str, words: str, digits: int = 0) -> Claim:
    return Claim(kind, (TDX,), words, digits)


_CVM = (SNP, TDX)
_V = "x-ms-azurevm-"
_S = f"{ISOLATION}.x-ms-sevsnpvm-"
_T = f"{ISOLATION}.tdx_"

# Booleans that the attestation service derives from the measured boot log: short name -> (claim, meaning).
LOG_BOOLEANS: t.Dict[str, t.Tuple[str, str]] = {
    "bootdebug_enabled": (f"{_V}bootdebug-enabled", "boot debugging"),
    "dbvalidated": (f"{_V}dbvalidated", "validation of the signature database (db)"),
    "dbxvalidated": (f"{_V}dbxvalidated", "validation of the revocation list (dbx)"),
    "debuggersdisabled": (f"{_V}debuggersdisabled", "disabled boot debuggers"),
    "default_securebootkeysvalidated": (
        f"{_V}default-securebootkeysvalidated",
        "validation of the default secure boot keys",
    ),
    "elam_enabled": (f"{_V}elam-enabled", "early launch anti-malware"),
    "flightsigning_enabled": (f"{_V}flightsigning-enabled", "flight signing"),
    "hypervisordebug_enabled": (f"{_V}hypervisordebug-enabled", "hypervisor debugging"),
    "kerneldebug_enabled": (f"{_V}kerneldebug-enabled", "kernel debugging"),
    "signingdisabled": (f"{_V}signingdisabled", "disabled test signing"),
    "testsigning_enabled": (f"{_V}testsigning-enabled", "test signing"),
}

SVNS = {
    SNP: {
        "bootloader": f"{_S}bootloader-svn",
        "guest": f"{_S}guestsvn",
        "microcode": f"{_S}microcode-svn",
        "snpfw": f"{_S}snpfw-svn",
        "tee": f"{_S}tee-svn",
    },
    TDX: {"seam": f"{_T}seamsvn"},
}
DEBUG = {SNP: f"{_S}is-debuggable", TDX: f"{_T}td_attributes_debug"}
LAUNCH_MEASUREMENT = {SNP: f"{_S}launchmeasurement", TDX: f"{_T}mrtd"}
HOST_DATA = {SNP: f"{_S}hostdata", TDX: f"{_T}mrconfigid"}
ID_KEY_DIGEST = {SNP: f"{_S}idkeydigest"}

CLAIMS: t.Dict[str, Claim] = {
    "iss": Claim("text", TEES, "the attestation authority"),
    "iat": Claim("number", TEES, "the time of issue"),
    "nbf": Claim("number", TEES, "the time from which the token is valid"),
    "exp": Claim("number", TEES, "the time at which the token expires"),
    "jti": Claim("text", TEES, "the token's own number"),
    SECURE_BOOT: Claim("boolean", TEES, "secure boot"),
    OUTER_TYPE: Claim("text", TEES, "the outer kind of attestation"),
    "x-ms-policy-hash": Claim("text", TEES, "the hash of the attestation provider's policy"),
    "x-ms-ver": Claim("text", TEES, "the version of the token's schema"),
    f"{_V}attestation-protocol-ver": Claim("text", TEES, "the version of the attestation protocol"),
    f"{_V}attested-pcrs": Claim("list", TEES, "the list of quoted PCRs"),
    f"{_V}is-windows": Claim("boolean", TEES, "whether the guest is Windows"),
    f"{_V}hvci-policy": Claim("number", TEES, "the HVCI policy"),
    f"{_V}osbuild": Claim("text", TEES, "the build of the guest's operating system (told by the guest)"),
    f"{_V}osdistro": Claim("text", TEES, "the distribution (told by the guest)"),
    f"{_V}ostype": Claim("text", TEES, "the kind of operating system (told by the guest)"),
    f"{_V}os-provisioning": Claim("text", TEES, "how the operating system was provisioned"),
    f"{_V}osversion-major": Claim("number", TEES, "the operating system's major version (told by the guest)"),
    f"{_V}osversion-minor": Claim("number", TEES, "the operating system's minor version (told by the guest)"),
    VM_ID: Claim("text", TEES, "the VM id"),
    **{path: Claim("boolean", TEES, words) for path, words in LOG_BOOLEANS.values()},
    "x-ms-runtime": Claim("object", TEES, "the guest's runtime data"),
    CLIENT_PAYLOAD: Claim("object", TEES, "the payload chosen by the guest"),
    "x-ms-runtime.keys": Claim("list", TEES, "the guest's ephemeral key"),
    ISOLATION: Claim("object", _CVM, "everything about the hardware TEE"),
    TYPE: Claim("text", _CVM, "the kind of hardware TEE"),
    COMPLIANCE: Claim("text", _CVM, "Azure's compliance verdict"),
    f"{ISOLATION}.x-ms-runtime": Claim("object", _CVM, "the runtime data the hardware report is bound to"),
    f"{ISOLATION}.x-ms-runtime.keys": Claim("list", _CVM, "the keys of the vTPM"),
    f"{ISOLATION}.x-ms-runtime.user-data": Claim("text", _CVM, "the user data (chosen by the guest)", 128),
    CONFIGURATION: Claim("object", _CVM, "the VM's configuration"),
    VM_UNIQUE_ID: Claim("text", _CVM, "the VM id"),
    f"{CONFIGURATION}.console-enabled": Claim("boolean", _CVM, "the console"),
    f"{CONFIGURATION}.current-time": Claim("number", _CVM, "the time of the report"),
    f"{CONFIGURATION}.filtered-vpci-devices-allowed": Claim("boolean", _CVM, "filtered virtual PCI devices"),
    f"{CONFIGURATION}.root-cert-thumbprint": Claim("text", _CVM, "the thumbprint of the root certificate"),
    f"{CONFIGURATION}.secure-boot": Claim("boolean", _CVM, "secure boot in the VM's configuration"),
    f"{CONFIGURATION}.tpm-enabled": Claim("boolean", _CVM, "the vTPM"),
    f"{CONFIGURATION}.tpm-persisted": Claim("boolean", _CVM, "persistence of the vTPM"),
    f"{_S}authorkeydigest": _snp("text", "the digest of the author key", 96),
    f"{_S}bootloader-svn": _snp("number", "the security version of the boot loader"),
    f"{_S}familyId": _snp("text", "the family id", 32),
    f"{_S}guestsvn": _snp("number", "the guest's security version"),
    f"{_S}hostdata": _snp("text", "the host data", 64),
    f"{_S}idkeydigest": _snp("text", "the digest of the id key", 96),
    f"{_S}imageId": _snp("text", "the image id", 32),
    f"{_S}is-debuggable": _snp("boolean", "debugging of the VM by the host"),
    f"{_S}launchmeasurement": _snp("text", "the launch measurement (of the firmware, not of the workload)", 96),
    f"{_S}microcode-svn": _snp("number", "the security version of the microcode"),
    f"{_S}migration-allowed": _snp("boolean", "migration"),
    f"{_S}reportdata": _snp("text", "the report data", 128),
    f"{_S}reportid": _snp("text", "the report id (changes at every start)", 64),
    f"{_S}smt-allowed": _snp("boolean", "simultaneous multithreading"),
    f"{_S}snpfw-svn": _snp("number", "the security version of the SNP firmware"),
    f"{_S}tee-svn": _snp("number", "the security version of the TEE"),
    f"{_S}vmpl": _snp("number", "the privilege level of the report"),
    **{
        f"{_T}{name}": _tdx("text", f"the TDX register {name.upper()}", 96)
        for name in (
            "mrtd",
            "mrseam",
            "mrsignerseam",
            "mrconfigid",
            "mrowner",
            "mrownerconfig",
            "rtmr0",
            "rtmr1",
            "rtmr2",
            "rtmr3",
        )
    },
    f"{_T}report_data": _tdx("text", "the report data", 128),
    f"{_T}xfam": _tdx("text", "the extended features", 16),
    f"{_T}td_attributes": _tdx("text", "the TD's attributes", 16),
    f"{_T}seam_attributes": _tdx("text", "the TDX module's attributes", 16),
    f"{_T}tee_tcb_svn": _tdx("text", "the vector of security versions", 32),
    f"{_T}seamsvn": _tdx("number", "the security version of the TDX module"),
    f"{_T}is_debuggable": _tdx("boolean", "debugging of the VM by the host"),
    f"{_T}td_attributes_debug": _tdx("boolean", "debugging of the VM by the host"),
    f"{_T}td_attributes_key_locker": _tdx("boolean", "key locker"),
    f"{_T}td_attributes_perfmon": _tdx("boolean", "performance monitoring"),
    f"{_T}td_attributes_protection_keys": _tdx("boolean", "protection keys"),
    f"{_T}td_attributes_septve_disable": _tdx("boolean", "disabled virtualisation exceptions"),
    f"{ISOLATION}.attester_tcb_status": _tdx("text", "the state of the platform's security updates"),
    f"{ISOLATION}.attester_tcb_date": _tdx("text", "the date of the platform's security updates"),
    f"{ISOLATION}.attester_advisory_ids": _tdx("list", "the platform's open advisories"),
    f"{ISOLATION}.attester_hwmodel": _tdx("text", "the platform's model"),
    f"{ISOLATION}.dbgstat": _tdx("text", "the debug state"),
    f"{ISOLATION}.eat_profile": _tdx("text", "the profile of the claims"),
    f"{ISOLATION}.intuse": _tdx("text", "the intended use"),
}

# Equality with one of these binds a branch to a VM or to what its owner decides, not to Azure's hardware in general.
# Launch measurement and id-key digest are those of Azure's own firmware: every customer's VM has them.
BINDING = (VM_UNIQUE_ID, VM_ID, HOST_DATA[SNP], HOST_DATA[TDX], f"{_T}mrowner", f"{_T}mrownerconfig")

_BY_NAME: t.Dict[str, t.List[str]] = {}
for _path in CLAIMS:
    _BY_NAME.setdefault(_path.rpartition(".")[2].lower(), []).append(_path)

_PCR = r"(?i)(^|[-_])pcrs?([-_]?\d+)?($|[-_])"


def find(path: str) -> t.Optional[Claim]:
    """What is known of a claim, or None. Members of the client payload are text."""
    if path.startswith(f"{CLIENT_PAYLOAD}."):
        return Claim("text", TEES, "a value chosen by the guest")
    return CLAIMS.get(path)


def elsewhere(path: str) -> t.List[str]:
    """Known paths that end in the same name, whatever its case, other than the path itself."""
    return [known for known in _BY_NAME.get(path.rpartition(".")[2].lower(), []) if known != path]


def names_pcr(path: str) -> bool:
    """Whether a path speaks of a PCR, which no guest token holds."""
    return any(re.search(_PCR, part) for part in path.split("."))
