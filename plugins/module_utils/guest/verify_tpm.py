# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of what the TPM says: its attestation key's certificate, a quote under that key, and the measured-boot log."""

from __future__ import annotations

import typing as t

from ..policy.failure import SkrFailure
from . import akcert, eventlog, hcl, quote
from .tpm2 import wire
from .verify import Material, Run, TpmQuote

_SIGNED = "TPM quote is signed by the attestation key"


def add(run: Run) -> None:
    material = run.material
    bare = material.hcl_report is None and (material.snp_report is not None or material.td_quote is not None)
    if bare and (material.tpm_quote is not None or material.ak_certificate is not None):
        why = "no HCL report was given, which alone binds the two"
        run.skip("hcl_key", "hardware vouches for the TPM's attestation key", why, gap=True)
    modulus, whose = _attestation_key(run.material)
    certificate = _certificate(run, modulus)
    if modulus is None and certificate is not None:
        modulus, whose = certificate.modulus, "of the AK certificate"
    found = run.material.tpm_quote
    if found is not None:
        _quote(run, found, modulus, whose)
    if run.material.event_log is not None:
        _event_log(run, run.material.event_log, found)


def _attestation_key(material: Material) -> t.Tuple[t.Optional[int], str]:
    """The key that the hardware vouches for, else the TPM's own."""
    if material.hcl_report is not None:
        try:
            modulus = hcl.parse(material.hcl_report).key_modulus("HCLAkPub")
            if modulus is not None:
                return modulus, "that the HCL report names"
        except SkrFailure:
            pass  # told by the check of its layout
    return material.ak_modulus, "of this TPM"


# --- the certificate


def _certificate(run: Run, modulus: t.Optional[int]) -> t.Optional[akcert.AkCertificate]:
    material = run.material
    title = "AK certificate is for the attestation key"
    failure = material.missing.get("ak_certificate")
    if failure is not None:
        run.check("ak_certificate", title, lambda: _fail(failure))
        return None
    if material.ak_certificate is None:
        return None
    content, found = material.ak_certificate, []

    def read() -> str:
        found.append(akcert.read(content, modulus))
        told = f"{found[0].subject}, issued by {found[0].issuer}"
        return told if modulus is not None else f"{told}; there is no other evidence of the key to compare"

    if not run.check("ak_certificate", title, read):
        return None
    certificate = found[0]
    run.facts.update(certificate.facts(run.now))

    def dates() -> str:
        akcert.check_dates(certificate, run.now)
        return f"{certificate.days_left(run.now)} days left"

    run.check("ak_dates", "AK certificate is in date", dates)
    title = "AK certificate was issued by a trusted authority"
    if not run.wanted.ak_roots_pem:
        # With a hardware report it is the report that vouches for the key; else there is nothing but this certificate.
        why = f"{akcert.UNVERIFIED} {certificate.issuer!r}: no authority was given"
        run.skip("ak_issuer", title, why, gap=material.hcl_report is None)
        return certificate

    def issuer() -> str:
        names = akcert.check_issuer(certificate, run.wanted.ak_roots_pem, run.now)
        run.facts["ak_cert_issuer_status"] = "verified"
        return " <- ".join(names)

    if not run.check("ak_issuer", title, issuer):
        run.facts["ak_cert_issuer_status"] = "refused"
    return certificate


def _fail(failure: SkrFailure) -> None:
    raise failure


# --- the quote


def _quote(run: Run, found: TpmQuote, modulus: t.Optional[int], whose: str) -> None:
    if modulus is None:
        run.skip("quote_signature", _SIGNED, "no key was given: an HCL report or an AK certificate has it", gap=True)
    else:
        key = modulus

        def signature() -> str:
            quote.verify_signature(found.message, found.signature, key, 65537, "quote")
            return f"the key {whose}"

        run.check("quote_signature", _SIGNED, signature)
    covered: t.List[int] = []

    def values() -> str:
        covered.extend(_covered(found))
        quote.check_quote(found.message, covered, [found.pcrs[pcr] for pcr in covered])
        return f"PCRs {', '.join(str(pcr) for pcr in covered)}"

    if run.check("quote_pcrs", "TPM quote covers the PCR values given", values):
        run.facts["pcrs"] = {str(pcr): found.pcrs[pcr].hex() for pcr in covered}
    title = "TPM quote is fresh"
    nonce = run.wanted.quote_nonce
    if nonce is None:
        run.skip("quote_nonce", title, "no nonce was given, so the quote may be of any time")
    else:
        wanted = nonce
        run.check("quote_nonce", title, lambda: _check_nonce(found, wanted))


def _covered(found: TpmQuote) -> t.List[int]:
    """The PCRs of the quote's selection, which is of one SHA-256 bank. Raises SkrFailure ``quote_invalid``."""
    selection = quote.parse(found.message).selection
    bits = int.from_bytes(selection[7:], "little")
    covered = [pcr for pcr in range(24) if bits >> pcr & 1]
    missing = [pcr for pcr in covered if pcr not in found.pcrs]
    if missing or wire.selection(covered) != selection:
        raise SkrFailure(
            "quote_invalid",
            f"The quote covers PCRs whose values were not given: {', '.join(str(pcr) for pcr in missing)}."
            if missing
            else "The quote is not of one bank of SHA-256 PCRs.",
            {"missing": missing},
        )
    return covered


def _check_nonce(found: TpmQuote, wanted: bytes) -> None:
    extra = quote.parse(found.message).extra_data
    if extra != wanted:
        raise SkrFailure(
            "quote_nonce",
            f"The quote carries the nonce {extra.hex() or 'nothing'}, wanted {wanted.hex()}.",
            {"found": extra.hex(), "wanted": wanted.hex()},
        )


# --- the log


def _event_log(run: Run, log: bytes, found: t.Optional[TpmQuote]) -> None:
    events: t.List[eventlog.Event] = []

    def decode() -> str:
        events.extend(eventlog.decode(log))
        return f"{len(events)} events"

    if not run.check("event_log", "event log can be read", decode):
        run.facts["event_log"] = {"present": True}
        return
    title = "event log leads to the PCR values"
    values = found.pcrs if found is not None else {}
    run.facts["event_log"] = eventlog.summary(log, values)
    replayed = eventlog.replay(events)
    firmware = {pcr: value for pcr, value in values.items() if pcr < eventlog.FIRMWARE}
    if not values:
        run.skip("event_log_pcrs", title, "no PCR values were given", gap=True)
        run.facts["event_log"]["replayed"] = {str(pcr): value.hex() for pcr, value in sorted(replayed.items())}
    elif not firmware:
        run.skip("event_log_pcrs", title, "none of the values is of a PCR that firmware alone extends (0 to 7)")
    else:
        run.check("event_log_pcrs", title, lambda: _check_log(replayed, firmware))


def _check_log(replayed: t.Mapping[int, bytes], firmware: t.Mapping[int, bytes]) -> str:
    differing = eventlog.compare(replayed, firmware)
    if differing:
        raise SkrFailure(
            "eventlog_mismatch",
            f"The event log does not lead to the value of PCR {', '.join(str(pcr) for pcr in differing)}.",
            {
                "pcrs": {
                    str(pcr): {"log": replayed.get(pcr, bytes(32)).hex(), "tpm": firmware[pcr].hex()}
                    for pcr in differing
                }
            },
        )
    return f"PCRs {', '.join(str(pcr) for pcr in sorted(firmware))}"
