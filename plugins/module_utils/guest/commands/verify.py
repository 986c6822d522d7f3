# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Verifies saved evidence or an attestation token, on any machine: no TPM and no network is needed.

What each file is, is seen from its content. The result is a numbered list of checks, each ok, failed or not checked.

    azure-skr verify --report hcl-report.bin --chain vcek-chain.pem
    azure-skr verify --evidence evidence.json --roots lab-roots.pem --ak-roots vtpm-ca.pem
    azure-skr verify --token token.jwt --jwks certs.json --issuer https://sharedweu.weu.attest.azure.net --nonce TEXT

Exit status: 0 verified, 1 something failed or what was given could not be checked, 2 the command could not do its work.
"""

from __future__ import annotations

import argparse
import json
import time
import typing as t

from ...policy.failure import SkrFailure

NAME = "verify"
HELP = "verify saved reports, quotes, certificates, event logs or tokens off line"


def add(parser: argparse.ArgumentParser) -> None:
    for name, meaning in (
        ("--report", "an HCL report, a bare SNP report, a TD quote, or a document of evidence"),
        ("--evidence", "a JSON document of evidence, as the module hardware_report_info returns it"),
        ("--td-quote", "the TD quote that belongs to the HCL report"),
        ("--ak-cert", "the certificate of the TPM's attestation key, PEM or DER"),
        ("--tpm-quote", "a TPM quote: JSON with message, signature and pcrs"),
        ("--event-log", "the measured-boot log (binary_bios_measurements)"),
        ("--roots", "PEM file of roots to accept for reports, besides AMD's and Intel's"),
        ("--ak-roots", "PEM file of authorities to trust for the AK certificate"),
        ("--token", "an attestation token (JWT)"),
        ("--jwks", "the signing keys of the token's authority (its /certs document)"),
    ):
        parser.add_argument(name, metavar="FILE", help=meaning)
    parser.add_argument(
        "--chain",
        metavar="FILE",
        action="append",
        help="certificates of the processor's key (VCEK or VLEK) and its issuers, PEM or DER; may be given again",
    )
    for name, word, meaning in (
        ("--issuer", "URL", "the authority that the token must be of"),
        ("--nonce", "TEXT", "the nonce that the token must carry"),
        ("--quote-nonce", "HEX", "the nonce that the TPM quote must carry"),
        ("--user-data", "HEX", "the user data that the report must carry"),
        ("--at", "TIME", "judge dates as of this time (2026-11-25T12:00:00Z) instead of now"),
    ):
        parser.add_argument(name, metavar=word, help=meaning)
    parser.add_argument(
        "--require-tee", choices=["any", "confidential", "snp", "tdx"], default="any", help="what must isolate the VM"
    )
    parser.add_argument(
        "--vmpl", type=int, default=0, metavar="N", help="the privilege level an SNP report must be of (default 0)"
    )
    parser.add_argument("--allow-debug", action="store_true", help="accept a VM that the host may debug")
    parser.add_argument("--allow-migration", action="store_true", help="accept a VM with a migration agent")
    parser.add_argument("--json", action="store_true", help="print verdict, checks and all facts as JSON")


def run(options: t.Dict[str, t.Any]) -> t.Tuple[int, str]:
    """Exit status and text. Raises SkrFailure for an option or file that cannot be used."""
    from .. import verify

    material = _material(options)
    if material == verify.Material():
        raise SkrFailure(
            "invalid_input", "Nothing to verify was given, wanted at least --report, --evidence or --token."
        )
    done = verify.verify(material, _wanted(options), _time(options.get("at")))
    told = json.dumps(done.result(), indent=2) if options.get("json") else done.text()
    return 0 if done.verdict == "verified" else 1, told


def _material(options: t.Mapping[str, t.Any]) -> t.Any:
    from .. import verify, verify_files

    found = verify.Material()

    def given(name: str) -> t.Optional[str]:
        path = options.get(name)
        return None if path is None else str(path)

    if path := given("report"):
        verify_files.add_report(found, "--report", path)
    if path := given("evidence"):
        verify_files.add_evidence(found, "--evidence", path)
    if path := given("td_quote"):
        found.td_quote = verify_files.read("--td-quote", path)
    for path in options.get("chain") or []:
        verify_files.add_certificates(found, "--chain", path)
    if path := given("ak_cert"):
        found.ak_certificate = verify_files.certificate("--ak-cert", path)
    if path := given("tpm_quote"):
        document = verify_files.document("--tpm-quote", path)
        found.tpm_quote = verify_files.tpm_quote("--tpm-quote", document.get("tpm_quote", document))
    if path := given("event_log"):
        found.event_log = verify_files.read("--event-log", path)
    if path := given("token"):
        found.token = verify_files.text("--token", path)
    if path := given("jwks"):
        found.key_set = verify_files.document("--jwks", path)
    return found


def _wanted(options: t.Mapping[str, t.Any]) -> t.Any:
    from .. import attest, verify, verify_files

    roots, ak_roots = options.get("roots"), options.get("ak_roots")
    return verify.Wanted(
        roots_pem=verify_files.text("--roots", roots) if roots else "",
        ak_roots_pem=verify_files.text("--ak-roots", ak_roots) if ak_roots else "",
        require_tee=options.get("require_tee") or "any",
        allow_debug=bool(options.get("allow_debug")),
        allow_migration=bool(options.get("allow_migration")),
        vmpl=options.get("vmpl") or 0,
        user_data=attest.user_data_bytes(options.get("user_data"), "--user-data"),
        quote_nonce=attest.hex_option("--quote-nonce", options.get("quote_nonce"), 64),
        issuer=options.get("issuer"),
        token_nonce=options.get("nonce"),
    )


def _time(found: t.Optional[str]) -> float:
    if found is None:
        return time.time()
    import calendar

    try:
        return float(calendar.timegm(time.strptime(found, "%Y-%m-%dT%H:%M:%SZ")))
    except ValueError:
        raise SkrFailure(
            "invalid_input", f"--at is {found!r}, wanted a time such as 2026-11-25T12:00:00Z.", {"option": "--at"}
        ) from None
