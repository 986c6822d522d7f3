# SPDX-License-Identifier: GPL-3.0-or-later
"""A made-up fleet with its bundle of evidence, of any size: the same number gives the same fleet.

The verdicts are those of the policy room over made-up claims, so traces and results go together.
"""

from __future__ import annotations

import datetime
import hashlib
import random
from typing import Any

from ansible_collections.confidential.azure_skr.plugins.module_utils.policy import canonical, evaluate, explain, model

Doc = dict[str, Any]
AUTHORITY = "https://sharedweu.weu.attest.azure.net"
SUBSCRIPTION = "/subscriptions/7b0c1c1e-52a4-4a35-9a3c-6e2f5d1f9a10"
VAULT = "https://kv-web-prod.vault.azure.net"
HSM = "https://hsm-ledger.managedhsm.azure.net"
MADE = datetime.datetime(2026, 11, 20, 6, 30, tzinfo=datetime.timezone.utc)
TEE, S, T = "x-ms-isolation-tee", "x-ms-sevsnpvm-", "tdx_"
REACHED = "Failed to connect to the host via ssh: connect to host 10.4.1.17 port 22: Connection timed out"
JUSTIFIED = "Every VM of this subscription may have the key; the permission is given to this fleet's identities only."


def digest(*parts: Any, length: int = 64) -> str:
    text = "".join(hashlib.sha256(f"{parts}{number}".encode()).hexdigest() for number in range(2))
    return text[:length]


def guid(*parts: Any) -> str:
    text = digest(*parts)
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:32]}"


def stamp(when: datetime.datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


POLICIES: dict[str, Doc] = {
    "tls-key": {
        "version": "1.0.0",
        "anyOf": [
            {
                "authority": AUTHORITY,
                "allOf": [
                    {"claim": f"{TEE}.x-ms-attestation-type", "equals": "sevsnpvm"},
                    {"claim": f"{TEE}.x-ms-compliance-status", "equals": "azure-compliant-cvm"},
                    {"claim": f"{TEE}.{S}is-debuggable", "equals": False},
                    {"claim": "secureboot", "equals": True},
                ],
            },
            {
                "authority": AUTHORITY,
                "allOf": [
                    {"claim": f"{TEE}.x-ms-attestation-type", "equals": "tdxvm"},
                    {"claim": f"{TEE}.x-ms-compliance-status", "equals": "azure-compliant-cvm"},
                    {"claim": f"{TEE}.{T}td_attributes_debug", "equals": False},
                    {"claim": "secureboot", "equals": True},
                ],
            },
        ],
    },
    "ledger-signing": {
        "version": "1.0.0",
        "anyOf": [
            {
                "authority": AUTHORITY,
                "allOf": [
                    {"claim": f"{TEE}.x-ms-attestation-type", "equals": "sevsnpvm"},
                    {"claim": f"{TEE}.{S}is-debuggable", "equals": False},
                    {"claim": f"{TEE}.{S}hostdata", "equals": digest("ledger image")},
                ],
            }
        ],
    },
}
VERSIONS = {
    "tls-key": [digest("tls", number, length=32) for number in (3, 2, 1)],
    "ledger-signing": [digest("led", length=32)],
}


class Machine:
    """One VM, with a role in the fleet that decides what went wrong on it."""

    def __init__(self, number: int, role: str) -> None:
        self.number, self.role = number, role
        self.name = f"{'ledger' if role == 'ledger' else 'web'}-{number:03d}"
        self.random = random.Random(f"fleet {number}")
        self.tdx = role != "ledger" and number % 4 == 3
        self.vm_id = guid("vm", number)
        self.principal = guid("principal", number)
        self.days = {"old_certificate": 12, "expired": -3}.get(role, 40 + self.random.randrange(320))
        self.microcode = 206 if role == "old_firmware" else 213

    def claims(self, at: datetime.datetime) -> Doc:
        common = {
            "iss": AUTHORITY, "iat": int(at.timestamp()), "exp": int(at.timestamp()) + 28800,
            "secureboot": self.role != "no_secure_boot", "x-ms-attestation-type": "azurevm",
            "x-ms-azurevm-vmid": self.vm_id.upper(), "x-ms-azurevm-dbvalidated": True, "x-ms-azurevm-dbxvalidated": True,
        }  # fmt: skip
        runtime = {"vm-configuration": {"vmUniqueId": self.vm_id.upper(), "secure-boot": True}}
        if self.role == "trusted_launch":
            return common
        part: Doc = {"x-ms-compliance-status": "azure-compliant-cvm", "x-ms-runtime": runtime}
        if self.tdx:
            part.update({"x-ms-attestation-type": "tdxvm", f"{T}td_attributes_debug": False, f"{T}is_debuggable": False,
                         f"{T}mrtd": digest("mrtd", length=96), f"{T}tee_tcb_svn": "07010300" + "0" * 24,
                         f"{T}seamsvn": 269, "attester_tcb_status": "UpToDate", "attester_tcb_date": "2026-05-13"})  # fmt: skip
        else:
            data = digest("ledger image") if self.role == "ledger" else "0" * 64
            part.update({"x-ms-attestation-type": "sevsnpvm", f"{S}is-debuggable": self.role == "debug",
                         f"{S}launchmeasurement": digest("launch", length=96), f"{S}hostdata": data, f"{S}guestsvn": 9,
                         f"{S}bootloader-svn": 4, f"{S}tee-svn": 0, f"{S}snpfw-svn": 22,
                         f"{S}microcode-svn": self.microcode})  # fmt: skip
        return {**common, TEE: part}

    def evidence(self) -> Doc:
        tee: Doc = {"tee": "none", "isolation": "TrustedLaunch"}
        if self.tdx:
            tee = {"tee": "tdx", "isolation": "Tdx", "tee_tcb_svn": "07010300" + "0" * 24, "debuggable": False}
        elif self.role != "trusted_launch":
            level = {"boot_loader": 4, "tee": 0, "snp": 22, "microcode": self.microcode, "fmc": None}
            tee = {"tee": "snp", "isolation": "SevSnp", "product": "Milan", "reported_tcb": level, "guest_svn": 9,
                   "debuggable": self.role == "debug", "measurement": digest("launch", length=96)}  # fmt: skip
        end = MADE + datetime.timedelta(days=self.days)
        return {
            **tee,
            "secure_boot": self.role != "no_secure_boot",
            "event_log": {"present": True, "events": 96, "secure_boot": self.role != "no_secure_boot", "matches_pcrs": True},
            "ak_cert_subject": f"CN={self.vm_id}.Confidential.Azure", "ak_cert_issuer": "CN=Global Virtual TPM CA - 03",
            "ak_cert_not_after": stamp(end), "ak_cert_days_left": self.days,
        }  # fmt: skip

    def vm(self) -> Doc:
        kind = "TrustedLaunch" if self.role == "trusted_launch" else "ConfidentialVM"
        group = f"{SUBSCRIPTION}/resourceGroups/rg-web/providers/Microsoft.Compute/virtualMachines"
        return {
            "name": self.name, "id": f"{group}/{self.name}", "resource_group": "rg-web", "location": "westeurope",
            "vm_id": self.vm_id, "vm_size": "Standard_DC4es_v5" if self.tdx else "Standard_DC4as_v5", "security_type": kind,
            "confidential": kind == "ConfidentialVM", "secure_boot_enabled": self.role != "no_secure_boot",
            "tee_type": "tdxvm" if self.tdx else "sevsnpvm", "principal_id": self.principal, "user_assigned": [], "tags": {},
            "problems": ["security type is TrustedLaunch, wanted ConfidentialVM"] if kind != "ConfidentialVM" else [],
        }  # fmt: skip

    def records(self, count: int) -> list[Doc]:
        name = "ledger-signing" if self.role == "ledger" else "tls-key"
        found = []
        for turn in range(count):
            at = MADE - datetime.timedelta(
                hours=20 * (count - turn) - self.number % 17, seconds=self.random.randrange(3000)
            )
            found.append(self.record(name, at, last=turn == count - 1))
        return found

    def record(self, name: str, at: datetime.datetime, last: bool) -> Doc:
        claims, policy = self.claims(at), model.parse(POLICIES[name])
        verdict = evaluate.evaluate(policy, claims)
        reason, message, step = "released", None, None
        if not verdict.satisfied:
            reason, message, step = (
                "policy_not_met",
                verdict.sentence(),
                "Compare the VM with the policy; do not try again.",
            )
        elif self.role == "no_grant" and last:
            reason = "permission_missing"
            message = f"The vault kv-web-prod says that {self.principal} may not release {name}. It stayed so for 600 seconds."
            step = "Grant the permission with release_access, or wait until the grant has taken effect."
        elif self.role == "throttled" and last:
            reason, message = (
                "throttled",
                "The vault kv-web-prod refused because of too many requests, also after 5 retries.",
            )
            step = "Run again later, or spread the hosts over more time."
        version = (
            VERSIONS[name][1 if self.role == "old_version" or not last else 0]
            if name == "tls-key"
            else VERSIONS[name][0]
        )
        outcome = "released" if reason == "released" else "failed" if reason == "throttled" else "refused"
        seconds = round(self.random.lognormvariate(0.75, 0.35), 3)
        uri = HSM if name == "ledger-signing" else VAULT
        told = verdict.as_dict()
        return {
            "schema": "azure-skr/evidence-record/1",
            "id": f"{at:%Y%m%dT%H%M%SZ}-{digest(self.number, at, length=6)}",
            "times": {"started": stamp(at), "attested": stamp(at + datetime.timedelta(seconds=1)),
                      "answered": stamp(at + datetime.timedelta(seconds=2)), "ended": stamp(at + datetime.timedelta(seconds=2))},
            "duration_s": seconds,
            "host": {"name": self.name, "vm_id": self.vm_id.upper()},
            "tool": {"collection": "confidential.azure_skr", "version": "0.3.0", "door": "agent"},
            "request": {"vault_uri": None if uri == HSM else uri, "hsm_uri": uri if uri == HSM else None, "key_name": name,
                        "key_version": None, "attestation_url": AUTHORITY, "wrap_algorithm": "RSA_AES_KEY_WRAP_256",
                        "deliver_to": "file", "dest": "/run/web/tls.pem", "identity": {"kind": "managed"}},
            "outcome": outcome, "reason": reason, "message": message, "next_step": step, "facts": {},
            "security_event": reason == "policy_not_met",
            "key": {"kid": f"{uri}/keys/{name}/{version}", "version": version, "type": "RSA-HSM",
                    "public_key_sha256": digest(version)} if outcome == "released" else None,
            "request_id": guid("request", self.number, at),
            "policy": {"source": "live", "sha256": canonical.digest(policy), "document": canonical.as_dict(policy),
                       "satisfied": verdict.satisfied, "trace": told["trace"], "failing": told["failing"]},
            "attestation": {"authority": AUTHORITY, "token": {"protected": "e30", "payload": "e30", "signature": "AA"},
                            "claims": claims},
            "evidence": self.evidence(), "delivered": {"deliver_to": "file", "dest": "/run/web/tls.pem"},
            "changed": outcome == "released" and not last, "counts": {"http_requests": 4, "tpm_commands": 31},
            "warnings": [f"The AK certificate expires in {self.days} days."] if self.days < 30 else [],
        }  # fmt: skip


ROLES = (
    "", "", "", "old_firmware", "debug", "", "no_grant", "", "unreachable", "ledger", "", "old_certificate", "ledger",
    "old_version", "", "no_secure_boot", "throttled", "", "silent", "trusted_launch",
)  # fmt: skip


def machines(count: int) -> list[Machine]:
    """The first twenty have every role once; of the others one in twenty has one that is not the usual."""
    made = []
    for number in range(count):
        usual = number >= len(ROLES) and number % 20 != 7
        role = "" if usual else ROLES[number if number < len(ROLES) else (number // 20 + 2) % len(ROLES)]
        made.append(Machine(number + 1, role))
    return made


def keys() -> list[Doc]:
    found = []
    for name, document in POLICIES.items():
        policy, uri = model.parse(document), HSM if name == "ledger-signing" else VAULT
        versions = [
            {"version": version, "enabled": number < 2, "created": int((MADE - datetime.timedelta(days=9 + 90 * number)).timestamp()),
             "not_before": None, "expires_on": int((MADE + datetime.timedelta(days=356 - 90 * number)).timestamp())}
            for number, version in enumerate(VERSIONS[name])
        ]  # fmt: skip
        found.append({
            "kid": f"{uri}/keys/{name}/{VERSIONS[name][0]}", "key_name": name, "vault_uri": uri, "key_type": "RSA-HSM",
            "versions": versions, "release_policy": canonical.as_dict(policy), "policy_sha256": canonical.digest(policy),
            "immutable": name == "ledger-signing", "explained": explain.explain(policy).splitlines(),
            "accepted_findings": {"satisfied_by_any_tenant": JUSTIFIED} if name == "tls-key" else {},
        })  # fmt: skip
    return found


def access(fleet: list[Machine]) -> list[Doc]:
    vault = f"{SUBSCRIPTION}/resourceGroups/rg-web/providers/Microsoft.KeyVault/vaults/kv-web-prod"
    found: list[Doc] = [
        {"principal_id": one.principal, "principal_type": "ServicePrincipal", "vm": one.name,
         "via": "hsm_local" if one.role == "ledger" else "rbac",
         "scope": "/keys/ledger-signing" if one.role == "ledger" else f"{vault}/keys/tls-key"}
        for one in fleet if one.role not in ("no_grant", "trusted_launch")
    ]  # fmt: skip
    found.append(
        {"principal_id": guid("contractor"), "principal_type": "User", "vm": None, "via": "rbac", "scope": vault}
    )
    found.append({"principal_id": guid("group"), "principal_type": "Group", "vm": None, "via": "rbac", "scope": vault})
    return found


def metrics(one: Machine) -> str:
    good = (
        "" if one.role in ("debug", "no_secure_boot") else 'azure_skr_outcomes_total{name="web",reason="released"} 3\n'
    )
    bad = 'azure_skr_outcomes_total{name="web",reason="policy_not_met"} 3\n' if not good else ""
    head = "# HELP azure_skr_outcomes_total Releases since this machine started, by reason.\n# TYPE azure_skr_outcomes_total counter\n"
    return f"{head}{good}{bad}"


def status(one: Machine, last: Doc) -> Doc:
    fine = last["outcome"] == "released"
    at = datetime.datetime.fromisoformat(last["times"]["ended"].replace("Z", "+00:00")).timestamp()
    return {
        "web": {
            "name": "web", "outcome": "released" if fine else "failed", "state": "ok" if fine else "failed", "time": at,
            "last_success": at if fine else None, "attempts": 1, "reason": last["reason"], "message": last["message"],
            "key_version": (last["key"] or {}).get("version"), "ak_cert_days_left": one.days,
        }
    }  # fmt: skip


def bundle(count: int = 20, tries: int = 3) -> Doc:
    """A bundle as plain data, of ``count`` hosts with ``tries`` records each."""
    fleet = machines(count)
    records = {one.name: one.records(tries) for one in fleet if one.role not in ("unreachable", "silent")}
    hosts: list[Doc] = []
    for one in fleet:
        reached = one.role != "unreachable"
        told = status(one, records[one.name][-1]) if one.name in records else {}
        hosts.append({"host": one.name, "reachable": reached, "reason": None if reached else REACHED, "status": told})
    files = {
        f"records/{name}/{one['id']}.json": {"sha256": digest(one["id"]), "size": 9000}
        for name in records
        for one in records[name]
    }
    return {
        "name": "evidence-2026-11-20.tar.gz", "sha256": digest("bundle", count, tries),
        "signature": {"state": "valid", "key": "audit@example.com"},
        "manifest": {"schema": "azure-skr/evidence-bundle/1", "created": stamp(MADE), "files": files, "gaps": [],
                     "tool": {"collection": "confidential.azure_skr", "version": "0.3.0"}},
        "records": records, "keys": keys(), "access": access(fleet), "vms": [one.vm() for one in fleet], "hosts": hosts,
        "metrics": {one.name: metrics(one) for one in fleet if one.role != "unreachable"},
    }  # fmt: skip


def findings(made: Doc, altered: int = 0) -> list[Doc]:
    """What verification says of each record; the first ``altered`` do not verify."""
    found = []
    for host, records in made["records"].items():
        for record in records:
            ok = len(found) >= altered
            message = "" if ok else "The claims are not those of the token; different are secureboot."
            found.append({"host": host, "record_id": record["id"], "ok": ok, "message": message,
                          "reason": "verified" if ok else "record_claims_differ"})  # fmt: skip
    return found
