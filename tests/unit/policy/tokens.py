# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole guest tokens' claims, as the attestation service issues them, with made-up values."""

from __future__ import annotations

from typing import Any

ISSUER = "https://sharedweu.weu.attest.azure.net"
VM = "0f3b1a52-6c1c-4d8b-9b6e-0a1b2c3d4e5f"
TEE = "x-ms-isolation-tee"
S, T, V = "x-ms-sevsnpvm-", "tdx_", "x-ms-azurevm-"


def _common() -> dict[str, Any]:
    return {
        "iss": ISSUER, "iat": 1800000000, "nbf": 1800000000, "exp": 1800028800, "jti": "ab" * 32,
        "secureboot": True, "x-ms-attestation-type": "azurevm", "x-ms-policy-hash": "x", "x-ms-ver": "1.0",
        f"{V}attestation-protocol-ver": "2.0", f"{V}attested-pcrs": [0, 1, 2, 3, 4, 5, 6, 7],
        f"{V}bootdebug-enabled": False, f"{V}elam-enabled": False, f"{V}flightsigning-enabled": False,
        f"{V}hypervisordebug-enabled": False, f"{V}is-windows": False, f"{V}kerneldebug-enabled": False,
        f"{V}testsigning-enabled": False, f"{V}dbvalidated": True, f"{V}dbxvalidated": True,
        f"{V}debuggersdisabled": True, f"{V}default-securebootkeysvalidated": True, f"{V}signingdisabled": True,
        f"{V}hvci-policy": 0, f"{V}osbuild": "NotApplication", f"{V}osdistro": "Ubuntu", f"{V}ostype": "Linux",
        f"{V}osversion-major": 22, f"{V}osversion-minor": 4, f"{V}vmid": VM.upper(),
        "x-ms-runtime": {
            "client-payload": {"nonce": "QURFMDEwMQ=="},
            "keys": [{"e": "AQAB", "key_ops": ["encrypt"], "kid": "TpmEphemeralEncryptionKey", "kty": "RSA", "n": "A"}],
        },
    }  # fmt: skip


def _runtime(vm: str) -> dict[str, Any]:
    return {
        "keys": [{"e": "AQAB", "key_ops": ["sign"], "kid": "HCLAkPub", "kty": "RSA", "n": "A"}],
        "user-data": "00" * 64,
        "vm-configuration": {"console-enabled": True, "secure-boot": True, "tpm-enabled": True, "vmUniqueId": vm},
    }


def snp(**members: Any) -> dict[str, Any]:
    """Claims of an SNP VM; members replace those of the hardware part."""
    part = {
        "x-ms-attestation-type": "sevsnpvm", "x-ms-compliance-status": "azure-compliant-cvm",
        "x-ms-runtime": _runtime(VM.upper()), f"{S}authorkeydigest": "00" * 48, f"{S}bootloader-svn": 3,
        f"{S}familyId": "01" + "00" * 15, f"{S}guestsvn": 8, f"{S}hostdata": "00" * 32, f"{S}idkeydigest": "57" * 48,
        f"{S}imageId": "02" + "00" * 15, f"{S}is-debuggable": False, f"{S}launchmeasurement": "0a" * 48,
        f"{S}microcode-svn": 115, f"{S}migration-allowed": False, f"{S}reportdata": "0b" * 64,
        f"{S}reportid": "0c" * 32, f"{S}smt-allowed": True, f"{S}snpfw-svn": 8, f"{S}tee-svn": 0, f"{S}vmpl": 0,
    }  # fmt: skip
    return {**_common(), TEE: {**part, **members}}


def tdx(**members: Any) -> dict[str, Any]:
    """Claims of a TDX VM."""
    part = {
        "x-ms-attestation-type": "tdxvm", "x-ms-compliance-status": "azure-compliant-cvm",
        "x-ms-runtime": _runtime(VM), f"{T}mrtd": "0d" * 48, f"{T}mrconfigid": "00" * 48, f"{T}seamsvn": 269,
        f"{T}is_debuggable": False, f"{T}td_attributes_debug": False, "attester_tcb_status": "UpToDate",
    }  # fmt: skip
    return {**_common(), TEE: {**part, **members}}


def trusted_launch(**members: Any) -> dict[str, Any]:
    """Claims of a VM without hardware TEE."""
    return {**_common(), **members}
