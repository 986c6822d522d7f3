# SPDX-License-Identifier: GPL-3.0-or-later
"""Platform attestation: the bare hardware report for a token in clear, with the TEE's claims at top level.

Azure REST reference, Attestation, "Attest Sev Snp Vm" and "Attest Tdx Vm".
"""

from __future__ import annotations

import hashlib
import typing as t

from ...core.world import World
from . import compliance, runtime, snp, tdx
from . import token as tokens
from .errors import invalid
from .request import snp_proof, unbase64

SNP_VERSIONS = ("2020-10-01", "2022-08-01", "2023-04-01-preview", "2025-06-01")
TDX_VERSIONS = ("2023-04-01-preview", "2025-06-01")
KINDS = {"attest_sevsnpvm": "SevSnpVm", "attest_tdxvm": "TdxVm"}
_COMMON = frozenset({"runtimeData", "initTimeData", "nonce", "draftPolicyForAttestation"})


class Evidence(t.NamedTuple):
    """What a verified report says: claims, and the fields that data are bound to."""

    claims: dict[str, t.Any]
    report_data: bytes
    host_data: bytes
    init_hash: t.Callable[[bytes], bytes]


def attested(world: World, kind: str, body: t.Any) -> dict[str, t.Any]:
    """The claims of a request of this kind, issuer and times apart. Raises Refusal."""
    member = "report" if kind == "SevSnpVm" else "quote"
    if not isinstance(body, dict):
        raise invalid("1.members", "The request must be an object.")
    if unknown := set(body) - _COMMON - {member}:
        raise invalid("1.members", f"The request has unknown members: {', '.join(sorted(unknown))}.")
    sent = unbase64(body.get(member), member)
    evidence = _snp(world, sent) if kind == "SevSnpVm" else _tdx(world, sent)
    claims = dict(evidence.claims)
    data, as_json = _data(body, "runtimeData")
    if data:  # a request may come without: then nothing is bound, and nothing is claimed
        runtime.bound(data, evidence.report_data, "runtimeData")
        if as_json:
            claims["x-ms-runtime"] = runtime.parsed(data, "runtimeData")
    data, as_json = _data(body, "initTimeData")
    if data:
        if evidence.host_data != evidence.init_hash(data):
            raise invalid("12.init_time_hash", "initTimeData do not hash to what the report was launched with.")
        if as_json:
            claims["x-ms-inittime"] = runtime.parsed(data, "initTimeData")
    if "nonce" in body:
        if not isinstance(body["nonce"], str | int) or isinstance(body["nonce"], bool):
            raise invalid("1.types", "nonce must be text or a number.")
        claims["nonce"] = body["nonce"]
    return claims


def draft(body: dict[str, t.Any]) -> str | None:
    """The policy that the caller wants to try out; its token is not signed."""
    text = body.get("draftPolicyForAttestation")
    if text is not None and not isinstance(text, str):
        raise invalid("1.types", "draftPolicyForAttestation must be text.")
    return text


def _data(body: dict[str, t.Any], member: str) -> tuple[bytes, bool]:
    """The bytes, and whether they are to be parsed."""
    given = body.get(member)
    if given is None:
        return b"", False
    if not isinstance(given, dict) or set(given) - {"data", "dataType"}:
        raise invalid("1.members", f"{member} must be an object of data and dataType.")
    kind = given.get("dataType")
    if kind not in ("JSON", "Binary"):
        raise invalid("1.data_type", f"{member}.dataType must be JSON or Binary, found {kind!r}.")
    return unbase64(given.get("data"), f"{member}.data"), kind == "JSON"


def _snp(world: World, sent: bytes) -> Evidence:
    report, chain = snp_proof(sent)
    found = snp.check(report, chain, world.services["platform"].amd_roots)
    claims = tokens.snp_claims(found, compliance.of_snp(world, found))
    return Evidence(claims, found.report_data, found.raw[0xC0:0xE0], lambda data: hashlib.sha256(data).digest())


def _tdx(world: World, sent: bytes) -> Evidence:
    found = tdx.check(sent, world.services["platform"].intel_roots, world.clock.now())
    claims = tdx.claims(found, compliance.current_tdx(world, found), compliance.of_tdx(world, found))
    # MRCONFIGID has 48 bytes; which hash Azure puts there is not published.
    return Evidence(claims, found.report_data, found.config_id, lambda data: hashlib.sha384(data).digest())
