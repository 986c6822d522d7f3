# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of the hardware's report: is it genuine, bound to what the paravisor says, and of a VM as it is wanted."""

from __future__ import annotations

import typing as t

from ..policy.failure import SkrFailure
from . import certificates, der, hcl, snp, snp_verify, tdx, tdx_verify, tee
from .akcert import iso
from .verify import Run

_CRL = "revocation lists are not looked at"


def add(run: Run) -> None:
    material = run.material
    report = _hcl(run)
    if report is not None and report.tee == "tdx":
        _tdx(run, report)
    elif report is not None and report.tee == "snp":
        _snp(run, report.hardware_report, report)
    elif material.snp_report is not None:
        _snp(run, material.snp_report, None)
    elif material.td_quote is not None:
        _tdx(run, None)
    require = run.wanted.require_tee
    if require != "any":
        found = str(run.facts.get("tee", "none"))
        title = "VM is isolated by the technology wanted"
        run.check("tee", title, lambda: tee.check_required(found, require))


def _hcl(run: Run) -> t.Optional[hcl.HclReport]:
    blob = run.material.hcl_report
    if blob is None:
        return None
    found: t.List[hcl.HclReport] = []

    def layout() -> str:
        found.append(hcl.parse(blob))
        return f"type {found[0].tee}, {len(found[0].runtime_data)} bytes of runtime data"

    if not run.check("hcl_layout", "HCL report has the documented layout", layout):
        return None
    report = found[0]
    run.facts.update(tee=report.tee, **tee.hcl_facts(report))
    run.check("hcl_binding", "runtime data are those the hardware signed for", lambda: hcl.check_runtime(report))
    modulus = run.material.ak_modulus
    if modulus is not None:
        run.check("hcl_key", "runtime data name this TPM's attestation key", lambda: hcl.check_key(report, modulus))
    wanted = run.wanted.user_data
    if wanted is not None:
        run.check(
            "user_data", "report carries the user data wanted", lambda: _check_user_data(report.user_data, wanted)
        )
    return report


def _bare(run: Run, report_data: bytes) -> None:
    """Without a paravisor's runtime data, the user data are the report data themselves."""
    wanted = run.wanted.user_data
    if wanted is not None and run.material.hcl_report is None:
        run.check("user_data", "report carries the user data wanted", lambda: _check_user_data(report_data, wanted))


def _check_user_data(found: t.Optional[bytes], wanted: bytes) -> None:
    if found != wanted:
        raise SkrFailure(
            "user_data_mismatch",
            f"The report carries the user data {found.hex() if found else 'nothing'}, wanted {wanted.hex()}.",
            {"found": found.hex() if found else None, "wanted": wanted.hex()},
        )


# --- AMD


def _snp(run: Run, raw: bytes, report: t.Optional[hcl.HclReport]) -> None:
    parsed: t.List[snp.SnpReport] = []

    def layout() -> str:
        parsed.append(snp.parse(raw))
        return f"version {parsed[0].version}, signed by a {parsed[0].signing_key}"

    if not run.check("report_layout", "SNP report has the documented layout", layout):
        return
    hardware = parsed[0]
    chain = _snp_chain(run)
    run.facts.update(tee="snp")
    if chain is not None:
        checked: t.List[t.Tuple[str, str, t.Callable[[], t.Optional[str]]]] = [
            ("chain", "certificates lead to AMD's root", lambda: _snp_names(chain, run.wanted.roots_pem)),
            ("signer", "report names the kind of key that the certificate is of",
             lambda: snp_verify.check_signer(hardware, chain)),
            ("belongs", "certificate is of this chip and firmware level", lambda: _belongs(hardware, chain)),
            ("signature", "report is signed by the certificate's key",
             lambda: snp_verify.check_signature(hardware, chain)),
            ("product", "processor is one that is known", lambda: snp_verify.check_product(hardware)),
            ("dates", "certificates are in date", lambda: check_dates([chain.vcek, chain.ask, chain.ark], run.now)),
        ]  # fmt: skip
        for name, title, function in checked:
            run.check(name, title, function)
    _bare(run, hardware.report_data)
    run.facts.update(tee.snp_facts(hardware, chain if run.succeeded("chain") and run.succeeded("belongs") else None))
    run.skip("revocation", "certificates are not revoked", _CRL)
    _wanted(run, hardware.debuggable, lambda: snp_verify.check_debug(hardware))
    run.check(
        "vmpl", "report was asked for at the wanted level", lambda: snp_verify.check_vmpl(hardware, run.wanted.vmpl)
    )
    if run.wanted.allow_migration:
        run.skip("migration", "no migration agent", "allowed by the options")
    else:
        run.check("migration", "no migration agent", lambda: snp_verify.check_migration(hardware))


def _snp_chain(run: Run) -> t.Optional[snp_verify.Chain]:
    material = run.material
    title = "report is signed by the certificate's key"
    if not material.certificates:
        failure = material.missing.get("certificates")
        why = failure.message if failure else "no certificate (VCEK) was given"
        run.skip("signature", title, why, gap=True)
        return None
    found: t.List[snp_verify.Chain] = []
    blocks = material.certificates
    extra = _extra(run.wanted.roots_pem)

    def read() -> str:
        found.append(snp_verify.assemble(blocks, extra))
        return f"{found[0].kind} issued by {found[0].vcek.common_name('issuer')}"

    try:
        snp_verify.assemble(blocks, extra)
    except SkrFailure as error:
        if "missing" in error.facts:
            run.skip("signature", title, error.message, gap=True)
            return None
    return found[0] if run.check("certificates", "certificates can be read", read) else None


def _extra(pem: str) -> t.List[bytes]:
    try:
        return der.pem_certificates(pem)
    except ValueError:
        return []  # told by the check of the chain


def _snp_names(chain: snp_verify.Chain, roots_pem: str) -> str:
    snp_verify.check_chain(chain, roots_pem)
    return " <- ".join(one.common_name() for one in (chain.vcek, chain.ask, chain.ark))


def _belongs(hardware: snp.SnpReport, chain: snp_verify.Chain) -> str:
    snp_verify.belongs(hardware, chain)
    level = hardware.tcb(chain.product).text()
    if chain.kind == "VLEK":
        return f"of the provider {chain.provider}, no chip; {level}"
    masked = "" if any(hardware.chip_id) else ", chip id masked by the host"
    return f"{level}{masked}"


# --- Intel


def _tdx(run: Run, report: t.Optional[hcl.HclReport]) -> None:
    run.facts.update(tee="tdx")
    reported: t.List[tdx.TdReport] = []
    if report is not None:

        def td_report() -> None:
            reported.append(tdx.parse_report(report.hardware_report))

        run.check("report_layout", "TD report has the documented layout", td_report)
        if reported:
            run.facts.update(reported[0].measurements.facts())
    if run.material.td_quote is None:
        failure = run.material.missing.get("td_quote")
        why = failure.message if failure else "only the processor can check a TD report; no quote of it was given"
        run.skip("signature", "quote is signed", why, gap=True)
    else:
        _quote(run, run.material.td_quote, reported[0] if reported else None, report is not None)
    if "debuggable" in run.facts:
        debug = bool(run.facts["debuggable"])
        _wanted(run, debug, lambda: _check_td_debug(run.facts))


def _quote(run: Run, raw: bytes, report: t.Optional[tdx.TdReport], wanted: bool) -> None:
    parsed: t.List[tdx.Quote] = []
    chain: t.List[der.Certificate] = []

    def layout() -> str:
        parsed.append(tdx.parse_quote(raw))
        return f"version {parsed[0].version}"

    def names() -> str:
        chain.extend(tdx_verify.check_chain(parsed[0], run.wanted.roots_pem))
        return " <- ".join(one.common_name() for one in chain)

    if not run.check("quote_layout", "TD quote has the documented layout", layout):
        return
    quote = parsed[0]
    run.facts.update(quote.facts())
    run.check("quote_kind", "quote is of Intel's quoting enclave for TDX", lambda: tdx_verify.check_kind(quote))
    if run.check("chain", "certificates lead to Intel's root", names):
        fmspc = tdx_verify.fmspc(chain[0])
        if fmspc:
            run.facts["fmspc"] = fmspc
        run.check(
            "enclave", "quoting enclave's report is signed by the platform's key",
            lambda: tdx_verify.check_enclave(quote, chain[0]),
        )  # fmt: skip
        run.check("dates", "certificates are in date", lambda: check_dates(chain, run.now))
    run.check("quote_key", "quoting enclave vouches for the signing key", lambda: tdx_verify.check_key(quote))
    run.check("signature", "quote is signed by that key", lambda: tdx_verify.check_signature(quote))
    title = "quote was made of this TD report"
    if report is not None:
        run.check("quote_binding", title, lambda: tdx_verify.check_report_data(quote, report.report_data))
    elif not wanted:
        run.skip("quote_binding", title, "no HCL report was given")
        _bare(run, quote.report_data)
    run.skip("collateral", "platform is up to date", f"not looked at: {tdx_verify.NOT_CHECKED}")


def _check_td_debug(facts: t.Mapping[str, t.Any]) -> None:
    if facts["debuggable"]:
        raise SkrFailure(
            "report_debug",
            f"The TD's attributes {facts['attributes']} have the debug bit: the host may read this VM's memory.",
            {"attributes": facts["attributes"]},
        )


# --- both


def _wanted(run: Run, debuggable: bool, function: t.Callable[[], None]) -> None:
    title = "debugging is forbidden"
    if debuggable and run.wanted.allow_debug:
        run.skip("debug", title, "the VM can be debugged, which the options allow")
    else:
        run.check("debug", title, function)


def check_dates(chain: t.Sequence[der.Certificate], now: float) -> str:
    """Raises SkrFailure ``certificate_dates``."""
    for one in certificates.out_of_date(chain, now):
        raise SkrFailure(
            "certificate_dates",
            f"The certificate {one.common_name()!r} is valid from {iso(one.not_before)} to {iso(one.not_after)}; "
            f"it is {iso(now)}.",
            {"not_before": iso(one.not_before), "not_after": iso(one.not_after), "now": iso(now)},
        )
    return f"until {iso(min(one.not_after for one in chain))}"
