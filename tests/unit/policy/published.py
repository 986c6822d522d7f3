# SPDX-License-Identifier: GPL-3.0-or-later
"""Policies that Microsoft publishes, written out anew from their documented meaning."""

from __future__ import annotations

from typing import Any

TEE = "x-ms-isolation-tee"
WEU, EUS = "https://sharedweu.weu.attest.azure.net", "https://sharedeus.eus.attest.azure.net"


def rules(*authorities: str, **group: Any) -> dict[str, Any]:
    return {"version": "1.0.0", "anyOf": [{"authority": authority, **group} for authority in authorities]}


def equals(path: str, value: Any) -> dict[str, Any]:
    return {"claim": path, "equals": value}


# The guide for confidential VMs: an SNP VM that Azure calls compliant, of two regions.
CVM = rules(
    WEU,
    EUS,
    allOf=[
        equals(f"{TEE}.x-ms-attestation-type", "sevsnpvm"),
        equals(f"{TEE}.x-ms-compliance-status", "azure-compliant-cvm"),
    ],
)

# What the command line writes for --default-cvm-policy: the claim stands at the top level.
DEFAULT_CVM = rules(
    WEU + "/",
    EUS + "/",
    allOf=[equals("x-ms-attestation-type", "sevsnpvm"), equals("x-ms-compliance-status", "azure-compliant-cvm")],
)

# What it writes for --default-data-disk-policy: nested claims, the TEE by a group within the group.
DATA_DISK = rules(
    WEU + "/",
    allOf=[
        equals(f"{TEE}.x-ms-compliance-status", "azure-compliant-cvm"),
        {
            "anyOf": [
                equals(f"{TEE}.x-ms-attestation-type", "sevsnpvm"),
                equals(f"{TEE}.x-ms-attestation-type", "tdxvm"),
            ]
        },
    ],
)

# The article on Trusted Launch: the outer type, secure boot and one VM.
TRUSTED_LAUNCH = rules(
    WEU,
    allOf=[
        equals("x-ms-attestation-type", "azurevm"),
        equals("secureboot", True),
        equals("x-ms-azurevm-vmid", "0F3B1A52-6C1C-4D8B-9B6E-0A1B2C3D4E5F"),
    ],
)
