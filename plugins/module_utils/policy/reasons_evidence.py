# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reason codes of evidence and its verification: cause and next step of each; a part of :data:`reasons.REASONS`."""

from __future__ import annotations

import typing as t

TEXTS: t.Dict[str, t.Tuple[str, str]] = {
    "vcek_kind": (
        "The certificate is of another kind of key than the one that signed the report: VCEK of a chip, VLEK of a provider.",
        "Give the certificate of the kind that the report names; the host's certificate service gives it.",
    ),
    "product_unknown": (
        "The report or its certificate is of a processor that this collection does not know.",
        "Update the collection; if it is current, report the family and model in the facts.",
    ),
    "report_debug": (
        "The host may look into this VM's memory: debugging is allowed by the launch policy.",
        "Do not give this VM secrets; make one without debugging.",
    ),
    "report_vmpl": (
        "The report was asked for at another privilege level (VMPL) than wanted.",
        "Find out which software asked for the report; on Azure the paravisor does, at level 0.",
    ),
    "report_migration": (
        "The VM may be moved by a migration agent, which then answers for its secrets.",
        "Use a VM without a migration agent, or accept it where the option says so.",
    ),
    "td_quote_malformed": (
        "The TD quote does not have the documented layout.",
        "Report it with the sizes in the facts.",
    ),
    "td_quote_kind": (
        "The TD quote is not one of Intel TDX in version 4 or 5, or names another quoting enclave's vendor.",
        "Give a TD quote of this VM; for a new kind of quote update the collection.",
    ),
    "pck_chain": (
        "The platform's certificate (PCK) in the TD quote does not chain to Intel's root.",
        "The quote is not to be trusted.",
    ),
    "td_quote_qe": (
        "The quoting enclave's report is not signed by the platform's key.",
        "The quote is not to be trusted.",
    ),
    "td_quote_key": (
        "The quoting enclave did not vouch for the key that signed the TD quote.",
        "The quote is not to be trusted.",
    ),
    "td_quote_signature": (
        "The TD quote's signature does not verify.",
        "The quote is not to be trusted.",
    ),
    "td_quote_binding": (
        "The TD quote belongs to another TD report.",
        "Run again; if it stays so, the host answers with quotes of other VMs.",
    ),
    "td_quote_unavailable": (
        "The host did not make a quote of the TD report.",
        "Run again later.",
    ),
    "ak_cert_issuer": (
        "The AK certificate was not issued by any of the given authorities.",
        "Give the certificate of the authority that the message names, from Microsoft; without one the issuer stays unverified.",
    ),
    "ak_renewal": (
        "The host's certificate service did not give a new AK certificate that is of use.",
        "Reboot the VM, or deallocate and start it: the platform then renews the certificate itself.",
    ),
    "tee_mismatch": (
        "The VM is isolated by another technology than the one insisted on.",
        "Run on a VM of the wanted kind, or change require_tee.",
    ),
    "certificate_dates": (
        "A certificate has expired or is not valid yet.",
        "Check the clock of the machine that verifies; an expired certificate is renewed by the vendor.",
    ),
    "eventlog_mismatch": (
        "The measured-boot log does not lead to the values that the PCRs have.",
        "Find out what extended the PCRs named in the facts after the log was written, or who altered the log.",
    ),
    "user_data_mismatch": (
        "The report carries other user data than wanted.",
        "Read the report again after the user data were written; if it stays so, it is another VM's report.",
    ),
    "quote_nonce": (
        "The TPM quote was not made for this nonce, so it may be an old one.",
        "Have a new quote made with the wanted nonce.",
    ),
}
