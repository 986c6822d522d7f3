# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory of a running lab, in the variables that the collection's playbooks read.

Written as JSON, which is YAML too. The file holds the simulated operator's secret: mode 0600.
"""

from __future__ import annotations

import dataclasses
import json
import os
import typing as t
from pathlib import Path

from .plan import AUTHORITY, LOCATION, RESOURCE_GROUP, Plan


@dataclasses.dataclass
class Operator:
    """How the controller reaches the simulated cloud."""

    subscription: str
    tenant: str
    client_id: str
    secret: str
    proxy: str
    bundle: Path
    object_id: str


# The lab's policy names no VM, so that one policy serves any number of them.
ACCEPTED = "In the lab the release permission alone tells the VMs apart."


def release_policy(vault_authority: str = AUTHORITY, tdx: bool = False) -> dict[str, t.Any]:
    """What the lab's key asks of a VM: one that Azure calls compliant, booted securely, not debuggable.

    An SNP VM; in a lab that has TDX VMs also one of these. A Trusted Launch VM never.
    """
    tee = "x-ms-isolation-tee"

    def rule(kind: str, debuggable: str) -> dict[str, t.Any]:
        conditions: list[dict[str, t.Any]] = [
            {"claim": "secureboot", "equals": True},
            {"claim": f"{tee}.x-ms-attestation-type", "equals": kind},
            {"claim": f"{tee}.x-ms-compliance-status", "equals": "azure-compliant-cvm"},
            {"claim": f"{tee}.{debuggable}", "equals": False},
        ]
        return {"authority": vault_authority, "allOf": conditions}

    rules = [rule("sevsnpvm", "x-ms-sevsnpvm-is-debuggable")]
    if tdx:
        rules.append(rule("tdxvm", "tdx_is_debuggable"))
    return {"version": "1.0.0", "anyOf": rules}


def document(
    operator: Operator, hosts: dict[str, dict[str, t.Any]], common: dict[str, t.Any], plan: Plan
) -> dict[str, t.Any]:
    """The whole inventory: ``hosts`` and ``common`` carry what the door adds; a group per kind tells what a VM is."""
    variables = {
        "skr_subscription_id": operator.subscription,
        "skr_tenant": operator.tenant,
        "skr_client_id": operator.client_id,
        "skr_secret": operator.secret,
        "skr_azure_https_proxy": operator.proxy,
        "skr_azure_ca_path": str(operator.bundle),
        "skr_resource_group": RESOURCE_GROUP,
        "skr_location": LOCATION,
        "skr_vault_name": f"kv-skr-{operator.subscription[:8]}",
        "skr_key_name": "app-key",
        "skr_key_type": "RSA-HSM",
        "skr_key_size": 2048,
        "skr_attestation_url": AUTHORITY,
        "skr_release_policy": release_policy(tdx=bool(plan.tdx)),
        "skr_accepted_findings": {"satisfied_by_any_tenant": ACCEPTED},
        **common,
    }
    kinds: dict[str, dict[str, t.Any]] = {kind: {"hosts": {}} for kind in ("snp", "tdx", "trusted_launch")}
    for name in hosts:
        kinds[plan.group(name)]["hosts"][name] = {}
    named = {kind: group for kind, group in kinds.items() if group["hosts"]}
    return {"all": {"children": {"cvm": {"hosts": hosts, "vars": variables}, **named}}}


def write(path: Path, inventory: dict[str, t.Any]) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        json.dump(inventory, stream, indent=2)
        stream.write("\n")
