# SPDX-License-Identifier: GPL-3.0-or-later
"""A patient for the doctor's tests."""

from __future__ import annotations

import typing as t

from ansible_collections.confidential.azure_skr.plugins.module_utils.guest import imds
from ansible_collections.confidential.azure_skr.plugins.module_utils.guest.attest import Guest
from ansible_collections.confidential.azure_skr.plugins.module_utils.guest.doctor.findings import Finding
from ansible_collections.confidential.azure_skr.plugins.module_utils.guest.doctor.patient import Wanted

AUTHORITY = "https://sharedweu.weu.attest.azure.net"


def wanted(identity: t.Any = None, **options: t.Any) -> Wanted:
    """Options of the VM by their names; ``identity`` is one, or a function that gives it."""
    targets = {name: options.pop(name, None) for name in ("vault_uri", "hsm_uri", "key_name", "key_version", "dest")}
    url = options.pop("attestation_url", "")
    chosen = identity if callable(identity) else lambda: identity or imds.Identity()
    return Wanted(Guest(url, **options), chosen, **targets)


def told(findings: t.Iterable[Finding]) -> t.List[t.Tuple[str, str, str]]:
    return [(one.check, one.severity, one.code) for one in findings]


def alone(findings: t.Iterable[Finding]) -> Finding:
    (found,) = findings
    return found
