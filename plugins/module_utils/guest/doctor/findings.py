# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Findings of the doctor: what each check looks for, and the stable codes of what it finds."""

from __future__ import annotations

import dataclasses
import typing as t

from ...policy.failure import SkrFailure
from ...policy.reasons import REASONS

SEVERITIES = ("failed", "warning", "info", "ok", "skipped")  # worst first


class Check(t.NamedTuple):
    """A check's title, and what it wants to find."""

    title: str
    wanted: str


CHECKS: t.Dict[str, Check] = {
    "python": Check("Python", "Python 3.9 or later"),
    "libraries": Check("Python libraries", "cryptography 3.4 or later and requests 2.25 or later"),
    "tpm_device": Check("TPM device", "a TPM that this user may open and that nobody else holds"),
    "vm_type": Check("Kind of VM", "a confidential VM, whose TPM has an HCL report"),
    "ak": Check("Attestation key", "a restricted signing key at 0x81000003 that the HCL report names"),
    "ak_certificate": Check("AK certificate", "a certificate of the attestation key with more than 90 days left"),
    "pcr_bank": Check("Boot registers", "SHA-256 values in PCRs 0 to 7"),
    "boot_log": Check("Measured boot log", "a readable log that leads to the PCRs and shows secure boot"),
    "certificate_chain": Check("Hardware certificates", "the host's VCEK chain, which verifies this VM's report"),
    "metadata": Check("Metadata service", "an answer of the metadata service, without a proxy"),
    "proxies": Check("Proxy variables", "none, or 169.254.169.254 in no_proxy"),
    "identity": Check("Identity", "an access token for the vault's audience"),
    "clock": Check("Clock", "at most 60 seconds from the services' clocks"),
    "name_resolution": Check("Name resolution", "an address of the host"),
    "connection": Check("Connection", "a TLS connection whose certificate verifies"),
    "attestation_provider": Check("Attestation provider", "its OpenID document and signing keys"),
    "vault_network": Check("Way into the vault", "a demand for a token, so that no network rule is in the way"),
    "vault_properties": Check("Vault", "SKU Premium; the permission model is told where it can be read"),
    "key": Check("Key", "an exportable key that is enabled and within its dates"),
    "key_policy": Check("Release policy", "attestation_url among the authorities of the key's policy"),
    "destination": Check("Destination", "a memory-backed file system"),
}
# Codes besides those of policy.reasons: what each means, and the next step.
CODES: t.Dict[str, t.Tuple[str, str]] = {
    "ok": ("The check found what it wants.", ""),
    "skipped": ("The check could not be made; the finding says why.", ""),
    "python_old": (
        "The interpreter is older than the guest code allows.",
        "Set ansible_python_interpreter to Python 3.9 or later.",
    ),
    "library_old": (
        "A Python library is older than the guest code allows.",
        "Update the package that the finding names.",
    ),
    "vm_debuggable": (
        "The VM's hardware policy allows the host to debug it.",
        "Make the VM anew without debugging; release policies refuse such VMs.",
    ),
    "ak_cert_expiring": (
        "The AK certificate expires within 90 days.",
        "The platform renews it by itself, at a reboot or when the TPM is read a day after the last renewal; look again tomorrow. "
        "If it stays so, reboot, then redeploy the VM before it expires.",
    ),
    "pcr_bank_missing": (
        "The TPM has no SHA-256 bank of boot registers.",
        "Check that the VM's firmware measures with SHA-256; Azure's does.",
    ),
    "nothing_measured": (
        "All boot registers are zero: nothing was measured.",
        "Check that the VM boots with UEFI and its vTPM.",
    ),
    "boot_log_missing": (
        "There is no measured boot log, so the attestation provider cannot see that the VM booted securely.",
        "Mount securityfs at /sys/kernel/security, or give event_log_path.",
    ),
    "boot_log_unreadable": (
        "This user may not read the measured boot log, so the attestation provider will not see it.",
        "Run with become.",
    ),
    "boot_log_damaged": (
        "The measured boot log cannot be read.",
        "Report it; the attestation provider will refuse it too.",
    ),
    "boot_log_differs": (
        "The measured boot log does not lead to the boot registers.",
        "Reboot; if it stays so, find out what extends PCRs 0 to 7.",
    ),
    "secure_boot_off": (
        "The VM did not boot securely; most release policies want it to.",
        "Enable secure boot on the VM, or make it anew with it.",
    ),
    "clock_skew": (
        "This VM's clock differs from the services' clocks.",
        "Correct the clock (chrony with the host's PTP clock).",
    ),
    "proxy_variables": (
        "Proxy variables are set; other programs may send even the metadata service's requests there.",
        "Add 169.254.169.254 to no_proxy. This collection asks the metadata service directly all the same.",
    ),
    "name_not_resolved": (
        "The name of a host does not resolve.",
        "Check the name, the VM's resolver, and the private DNS zone where there is a private endpoint.",
    ),
    "private_address": (
        "The name resolves to a private address: a private endpoint, or a resolver of your own.",
        "Nothing, if a private endpoint is meant; else check the private DNS zones linked to the VM's network.",
    ),
    "host_unreachable": (
        "No connection to the host could be made.",
        "Allow port 443 to the host in network security groups, firewall and routes, or give https_proxy.",
    ),
    "proxy_unreachable": ("The proxy does not answer.", "Check https_proxy or the proxy variables."),
    "proxy_refused": (
        "The proxy refuses to connect to the host.",
        "Allow the host in the proxy; on status 407 give user and password in https_proxy.",
    ),
    "tls_expired": ("The host's certificate has expired.", "Check this VM's clock, and who answers at the address."),
    "tls_not_yet_valid": ("The host's certificate is not valid yet.", "Check this VM's clock."),
    "tls_name_mismatch": (
        "The host's certificate is for another name.",
        "Check the address, and whether name resolution leads to the right host.",
    ),
    "tls_intercepted": (
        "A certificate of an authority that Azure does not use was shown for an Azure name: something on the way opens TLS.",
        "Except the host from inspection, or give a bundle with the inspecting proxy's authority with ca_path.",
    ),
    "tenant_differs": (
        "The vault belongs to another tenant than the one signed in to.",
        "Set tenant to the vault's tenant, where the application must be admitted.",
    ),
    "key_unreadable": (
        "The identity may not read the key, which no release needs.",
        "Nothing; to have the key and its policy checked here, grant the permission get for keys.",
    ),
    "key_expiring": ("The key expires within 30 days.", "Rotate the key."),
}


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing found. ``subject`` tells findings of the same check apart, such as by host."""

    check: str
    severity: str
    code: str
    found: str
    subject: str = ""
    next_step: str = ""
    facts: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)

    def as_dict(self) -> t.Dict[str, t.Any]:
        check = CHECKS[self.check]
        return {
            "check": self.check,
            "title": check.title,
            "subject": self.subject,
            "severity": self.severity,
            "code": self.code,
            "found": self.found,
            "wanted": check.wanted,
            "next_step": self.next_step,
            "facts": dict(self.facts),
        }


def ok(check: str, found: str, subject: str = "", /, **facts: t.Any) -> Finding:
    return Finding(check, "ok", "ok", found, subject, "", facts)


def skipped(check: str, why: str, subject: str = "") -> Finding:
    return Finding(check, "skipped", "skipped", why, subject)


def found(severity: str, check: str, code: str, text: str, subject: str = "", /, **facts: t.Any) -> Finding:
    """A finding with its code's next step."""
    step = CODES[code][1] if code in CODES else REASONS[code].next_step
    return Finding(check, severity, code, text, subject, step, facts)


def of_failure(check: str, failure: SkrFailure, subject: str = "", severity: str = "failed") -> Finding:
    """A failure of the guest's rooms as a finding; its reason is the code."""
    step = CODES[failure.reason][1] if failure.reason in CODES else failure.next_step
    return Finding(check, severity, failure.reason, failure.message, subject, step, failure.facts)


def order(findings: t.Iterable[Finding]) -> t.List[Finding]:
    """Worst first, then in the order of the checks."""
    checks = list(CHECKS)
    return sorted(findings, key=lambda one: (SEVERITIES.index(one.severity), checks.index(one.check), one.subject))


def counts(findings: t.Iterable[Finding]) -> t.Dict[str, int]:
    numbers = dict.fromkeys(SEVERITIES, 0)
    for one in findings:
        numbers[one.severity] += 1
    return numbers
