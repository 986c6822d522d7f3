# SPDX-License-Identifier: GPL-3.0-or-later
"""Every reader of bytes that come from outside, with good specimens to damage. A further one is a line in ``TARGETS``.

A reader takes one input and may refuse it with a typed failure; whatever else it raises is a defect. What stands
around it (keys, a vault, a TPM) are the fakes of the unit tests.
"""

from __future__ import annotations

import dataclasses
import json
import typing as t

from unit.audit import audit_fakes
from unit.guest import release_fakes, tdx_fakes, test_quote
from unit.policy import published

from ansible_collections.confidential.azure_skr.plugins.module_utils.guest import der

from . import evidence, mutate, proofs, services, vm


@dataclasses.dataclass(frozen=True)
class Target:
    """``share`` is its part of all inputs in relation to the others; ``errors`` are typed errors besides SkrFailure."""

    name: str
    read: t.Callable[[bytes], None]
    specimens: t.Callable[[], t.Sequence[bytes]]
    share: int = 4
    mutate: mutate.Mutator = mutate.anything
    errors: t.Tuple[t.Type[BaseException], ...] = ()


_POLICIES = (published.CVM, published.DATA_DISK, published.TRUSTED_LAUNCH)
TARGETS: t.Tuple[Target, ...] = (
    Target("HCL report", vm.read_hcl, vm.hcl_specimens, 10, vm.hcl_damage),
    Target("SNP report", vm.read_snp, lambda: [vm.host_of().report(version=number) for number in (2, 3, 5)], 4),
    Target(
        "VCEK chain", vm.read_chain, lambda: [vm.host_of().chain().encode(), vm.host_of("Turin").chain().encode()], 6
    ),
    Target("TD report", vm.read_td_report, lambda: [tdx_fakes.td_report()], 4, mutate.octets),
    Target("TD quote", vm.read_td_quote, vm.td_quotes, 4),
    Target("saved evidence", vm.read_evidence, vm.saved_evidence, 3),
    Target("certificate", vm.read_certificate, vm.certificates, 10),
    Target("DER", vm.read_der, vm.certificates, 10, errors=(der.DerError,)),
    Target("event log", vm.read_event_log, vm.event_logs, 12),
    Target(
        "quote", vm.read_statement, lambda: [test_quote.quoted() + bytes(256), test_quote.CERTIFIED + bytes(256)], 10
    ),
    Target("TPM answer", vm.read_answer, vm.answers, 10, mutate.tpm_answer),
    Target("TPM conversation", vm.read_conversation, vm.answers, 2, mutate.tpm_answer),
    Target("TPM stream", vm.read_stream, lambda: [answer for _code, answer in vm.conversation()], 8),
    Target("TD quote, verified", proofs.read_quote, proofs.quotes, 2),
    Target("HCL report, verified", proofs.read_hcl, proofs.hcl_reports, 2, vm.hcl_damage),
    Target("VCEK, verified", proofs.read_vcek, proofs.vceks, 2),
    Target("AK certificate, verified", proofs.read_ak, proofs.ak_certificates, 2),
    Target("TPM quote, verified", proofs.read_statement, proofs.statements, 2),
    Target("event log, verified", proofs.read_log, proofs.logs, 2),
    Target("token, verified", proofs.read_token, proofs.tokens, 2, services.signed_again("authority")),
    Target(
        "attestation token",
        services.read_token,
        lambda: [services.guest_token().encode()],
        8,
        services.signed_again("authority"),
    ),
    Target("signing keys", services.read_key_set, lambda: [json.dumps(services.key_set()).encode()], 6),
    Target("sealed token", services.read_envelope, lambda: [release_fakes.seal(services.guest_token()).encode()], 6),
    Target(
        "claims",
        services.read_claims,
        lambda: [json.dumps(release_fakes.guest_claims("nonce", services.NOW)).encode()],
        6,
    ),
    Target("signed key", services.read_signed_key, services.signed_keys, 3, services.signed_again("leaf")),
    Target("key material", services.read_key_material, services.key_material, 1),
    Target("vault's answer", services.read_vault, services.chosen(*services.VAULT_DOCUMENTS), 8, mutate.behind_first),
    Target(
        "metadata answer", services.read_metadata, services.chosen(*services.METADATA_DOCUMENTS), 6, mutate.behind_first
    ),
    Target(
        "authority's answer",
        services.read_authority,
        services.chosen(*services.AUTHORITY_DOCUMENTS),
        4,
        mutate.behind_first,
    ),
    Target("HTTP answer", services.read_http, services.http_specimens, 3, services.http_damage),
    Target("record of evidence", evidence.read_record, lambda: [audit_fakes.octets(audit_fakes.made())], 4),
    Target("bundle", evidence.read_bundle, evidence.bundles, 4, evidence.packed_again),
    Target("collected evidence", evidence.read_collected, evidence.collected, 2, evidence.compressed_again),
    Target("release policy", services.read_policy, lambda: [json.dumps(one).encode() for one in _POLICIES], 8),
)
