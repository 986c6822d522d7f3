# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Attests this VM and prints the validated claims, never the token.

    azure-skr attest --attestation-url https://sharedweu.weu.attest.azure.net --require-tee confidential --json

Exit status: 0 attested, 2 it was not (the reason is told).
"""

from __future__ import annotations

import argparse
import json
import typing as t

from ...policy.failure import SkrFailure, SkrWarning
from . import common

NAME = "attest"
HELP = "attest this VM and print the validated claims"


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--attestation-url", metavar="URL", required=True, help="the attestation provider")
    parser.add_argument(
        "--attestation-type",
        choices=["guest", "platform"],
        default="guest",
        help="TPM and hardware, or the hardware's report alone",
    )
    parser.add_argument("--nonce", metavar="TEXT", help="carried in the token instead of a random one")
    parser.add_argument("--user-data", metavar="HEX", help="up to 64 bytes that the hardware signs for")
    parser.add_argument(
        "--client-payload",
        metavar="NAME=TEXT",
        action="append",
        help="a value carried in the token; may be given again",
    )
    parser.add_argument(
        "--require-tee", choices=["any", "confidential", "snp", "tdx"], default="any", help="what must isolate the VM"
    )
    parser.add_argument("--pcrs", metavar="LIST", help="the PCRs to quote, such as 0,4,7 (default 0 to 7)")
    parser.add_argument(
        "--renew-ak-certificate",
        choices=["never", "when_due"],
        default="never",
        help="ask the host for a new AK certificate when it has 90 days left or less",
    )
    common.add_guest(parser)
    common.add_json(parser, "claims and facts")


def run(options: t.Dict[str, t.Any]) -> t.Tuple[int, str]:
    """Status 0 and the text to print. Raises SkrFailure."""
    import warnings

    from .. import attest

    guest = common.guest(
        options,
        options["attestation_url"],
        require_tee=options.get("require_tee") or "any",
        renew_ak_certificate=options.get("renew_ak_certificate") or "never",
        **({} if options.get("pcrs") is None else {"pcrs": _pcrs(options["pcrs"])}),
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", SkrWarning)
        found = attest.info(
            guest,
            _payload(options.get("client_payload") or []),
            options.get("nonce"),
            _user_data(options.get("user_data")),
            options.get("attestation_type") or "guest",
        )
    told = [str(one.message) for one in caught if isinstance(one.message, SkrWarning)]
    if options.get("json"):
        return 0, json.dumps({**found, "warnings": list(dict.fromkeys(told))}, indent=2)
    return 0, text(found, told)


def _user_data(user_data: t.Optional[str]) -> t.Optional[str]:
    """Checked under the name that was typed. Raises SkrFailure ``invalid_input``."""
    from .. import attest

    attest.user_data_bytes(user_data, "--user-data")
    return user_data


def text(found: t.Mapping[str, t.Any], warnings: t.Sequence[str] = ()) -> str:
    """For a person: the result in a sentence, then what it rests on, then every claim."""
    from ..akcert import iso
    from ..tee import NAMES

    facts = found["evidence"]
    lines = [f"ATTESTED by {found['authority']}: isolated by {NAMES.get(facts['tee'], facts['tee'])}.", ""]
    rows = {
        "VM": facts.get("vm_unique_id"),
        "compliance": found["compliance_status"],
        "secure boot": {True: "yes", False: "no"}.get(found["secure_boot"]),
        "debuggable": {True: "YES", False: "no"}.get(facts.get("debuggable")),
        "event log": _log(facts.get("event_log", {})),
        "AK certificate": f"{facts.get('ak_cert_days_left')} days left",
        "token valid until": iso(found["expires_at"]) if found["expires_at"] else None,
    }
    lines += [f"  {name:<18} {value}" for name, value in rows.items() if value]
    lines += [f"  note: {warning}" for warning in dict.fromkeys(warnings)]
    return "\n".join([*lines, "", "Claims:", json.dumps(found["claims"], indent=2, sort_keys=True)])


def _log(found: t.Mapping[str, t.Any]) -> str:
    if not found.get("present"):
        return "not there"
    if "error" in found:
        return str(found["error"])
    differing = found.get("differing_pcrs")
    return f"does not lead to the values of PCR {', '.join(differing)}" if differing else "leads to the PCR values"


def _pcrs(words: str) -> t.Tuple[int, ...]:
    try:
        return tuple(int(word) for word in words.split(","))
    except ValueError:
        raise SkrFailure(
            "invalid_input", f"--pcrs is {words!r}, wanted numbers such as 0,4,7.", {"option": "--pcrs"}
        ) from None


def _payload(words: t.Sequence[str]) -> t.Dict[str, str]:
    found = {}
    for word in words:
        name, mark, value = word.partition("=")
        if not mark or not name:
            raise SkrFailure(
                "invalid_input", f"--client-payload is {word!r}, wanted NAME=TEXT.", {"option": "--client-payload"}
            )
        found[name] = value
    return found
