# SPDX-License-Identifier: GPL-3.0-or-later
"""The guest attestation request: decoding, with the tolerance for clients' differences that the service has."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import json
import typing as t

from .errors import invalid

ISOLATION = ("SevSnp", "Tdx", "TrustedLaunch")


def unbase64(value: t.Any, member: str) -> bytes:
    """Either alphabet, padded or not."""
    if not isinstance(value, str):
        raise invalid("1.types", f"{member} must be text.")
    plain = value.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except binascii.Error:
        raise invalid("1.base64", f"{member} is not base64.") from None


@dataclasses.dataclass
class GuestRequest:
    """The decoded members; everything is bytes as sent, nothing is verified yet."""

    os_type: str
    os_distro: str
    os_build: str
    os_major: int
    os_minor: int
    log: bytes
    payload: t.Any
    ak_certificate: bytes
    ak_public: bytes
    quote: bytes
    quote_signature: bytes
    pcr_set: list[int]
    pcrs: dict[int, bytes]
    key_public: bytes
    certification: bytes
    certification_signature: bytes
    isolation: str
    report: bytes = b""
    chain: str = ""
    td_quote: bytes = b""
    runtime: bytes = b""


def decode(body: t.Any) -> GuestRequest:
    """Check 1: every member present with the right type. Raises Refusal."""
    outer = _object(body, "The request")
    sealed = outer.get("AttestationInfo", outer.get("attestationInfo"))
    try:
        inner = _object(json.loads(unbase64(sealed, "AttestationInfo")), "AttestationInfo")
    except ValueError:
        raise invalid("1.json", "AttestationInfo is not base64url of JSON.") from None
    if inner.get("AttestationProtocolVersion") != "2.0":
        raise invalid("1.version", "AttestationProtocolVersion must be '2.0'.")
    tpm = _object(inner.get("TpmInfo"), "TpmInfo")
    isolation = _object(inner.get("IsolationInfo"), "IsolationInfo")
    kind = isolation.get("Type")
    if kind not in ISOLATION:
        raise invalid("9.isolation_type", f"IsolationInfo.Type '{kind}' is not known.")
    made = GuestRequest(
        os_type=_text(inner, "OSType"),
        os_distro=_text(inner, "OSDistro"),
        os_build=_text(inner, "OSBuild"),
        os_major=_version(inner, "OSVersionMajor"),
        os_minor=_version(inner, "OSVersionMinor"),
        log=unbase64(inner.get("TcgLogs", ""), "TcgLogs"),
        payload=_object(inner.get("ClientPayload", {}), "ClientPayload"),
        ak_certificate=unbase64(tpm.get("AikCert"), "AikCert"),
        ak_public=unbase64(tpm.get("AikPub"), "AikPub"),
        quote=unbase64(tpm.get("PcrQuote"), "PcrQuote"),
        quote_signature=unbase64(tpm.get("PcrSignature"), "PcrSignature"),
        pcr_set=_pcr_set(tpm.get("PcrSet")),
        pcrs=_pcrs(tpm.get("PCRs")),
        key_public=unbase64(tpm.get("EncKeyPub"), "EncKeyPub"),
        certification=unbase64(tpm.get("EncKeyCertifyInfo"), "EncKeyCertifyInfo"),
        certification_signature=unbase64(tpm.get("EncKeyCertifyInfoSignature"), "EncKeyCertifyInfoSignature"),
        isolation=str(kind),
    )
    _evidence(made, isolation)
    return made


def _evidence(made: GuestRequest, isolation: dict[str, t.Any]) -> None:
    evidence = isolation.get("Evidence")
    if made.isolation == "TrustedLaunch":
        if evidence is not None:
            raise invalid("9.evidence", "TrustedLaunch takes no evidence.")
        return
    evidence = _object(evidence, "Evidence")
    made.runtime = unbase64(evidence.get("RunTimeData"), "RunTimeData")
    proof = unbase64(evidence.get("Proof"), "Proof")
    if made.isolation == "SevSnp":
        made.report, made.chain = snp_proof(proof)
    else:
        made.td_quote = proof


def snp_proof(proof: bytes) -> tuple[bytes, str]:
    """Report and PEM chain of the JSON that both SNP endpoints take."""
    try:
        document = _object(json.loads(proof), "Proof")
    except ValueError:
        raise invalid("10.proof", "Proof is not JSON.") from None
    report = unbase64(document.get("SnpReport"), "SnpReport")
    return report, unbase64(document.get("VcekCertChain"), "VcekCertChain").decode("ascii", "replace")


def _object(value: t.Any, name: str) -> dict[str, t.Any]:
    if not isinstance(value, dict):
        raise invalid("1.members", f"{name} must be an object.")
    return value


def _text(inner: dict[str, t.Any], name: str) -> str:
    return unbase64(inner.get(name), name).decode("utf-8", "replace")


def _version(inner: dict[str, t.Any], name: str) -> int:
    value = inner.get(name)
    if isinstance(value, str) and value.isdigit():
        return int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise invalid("1.types", f"{name} must be a number.")
    return value


def _pcr_set(value: t.Any) -> list[int]:
    if not isinstance(value, list) or not all(isinstance(pcr, int) and 0 <= pcr < 24 for pcr in value):
        raise invalid("1.types", "PcrSet must be a list of PCR numbers.")
    return value


def _pcrs(value: t.Any) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    for entry in value if isinstance(value, list) else []:
        entry = _object(entry, "PCRs")
        index = entry.get("Index")
        if not isinstance(index, int) or index in found:
            raise invalid("1.types", "PCRs must have an Index each, once.")
        found[index] = unbase64(entry.get("Digest"), "Digest")
    if not found:
        raise invalid("1.members", "PCRs must be a list of digests.")
    return found
