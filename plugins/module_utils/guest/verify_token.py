# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of an attestation token with signing keys that somebody kept: each cause has a reason of its own."""

from __future__ import annotations

import typing as t

from ..policy.authority import key as authority_key
from ..policy.failure import SkrFailure
from . import hcl, jwt
from .akcert import iso
from .tee import b64
from .verify import Run

_SIGNED = "token is signed by the authority"


def add(run: Run) -> None:
    token, key_set = run.material.token, run.material.key_set
    if token is None:
        return
    if key_set is None:
        run.skip("token_signature", _SIGNED, "no signing keys (JWKS) were given", gap=True)
        return
    claims: t.Dict[str, t.Any] = {}

    def signature() -> None:
        claims.update(jwt.signed_claims(token, jwt.KeySet(key_set), None))

    if not run.check("token_signature", _SIGNED, signature):
        return
    run.facts["claims"] = claims
    wanted, nonce = run.wanted.issuer, run.wanted.token_nonce
    title = "token was issued by the authority wanted"
    if wanted is None:
        run.skip("token_issuer", title, f"no authority was named; the token says {claims.get('iss')!r}")
    else:
        issuer = wanted
        run.check("token_issuer", title, lambda: _check_issuer(claims, issuer))
    run.check("token_time", "token is in date", lambda: _check_time(claims, run.now))
    title = "token carries the nonce wanted"
    if nonce is None:
        run.skip("token_nonce", title, "no nonce was given")
    else:
        text = nonce
        run.check("token_nonce", title, lambda: _check_nonce(claims, text))
    if run.material.hcl_report is not None and run.succeeded("hcl_layout"):
        report = hcl.parse(run.material.hcl_report)
        run.check("token_vm", "token is of the VM of the report", lambda: _check_vm(claims, report))


def _check_issuer(claims: t.Mapping[str, t.Any], wanted: str) -> str:
    found = str(claims.get("iss", ""))
    if authority_key(found) != authority_key(wanted):
        raise SkrFailure(
            "token_issuer", f"The attestation token was issued by {found!r}, wanted {wanted}.", {"found": found}
        )
    return found


def _check_time(claims: t.Mapping[str, t.Any], now: float) -> str:
    jwt.check_time(claims, now)
    return f"until {iso(claims['exp'])}"


def _check_nonce(claims: t.Mapping[str, t.Any], nonce: str) -> None:
    """A platform token has it as a claim, a guest token in the client payload, in base64."""
    if claims.get("nonce") != nonce:
        jwt.check_nonce(claims, b64(nonce.encode()))


def _check_vm(claims: t.Mapping[str, t.Any], report: hcl.HclReport) -> None:
    wanted = report.key_modulus("HCLAkPub")
    isolation = claims.get("x-ms-isolation-tee")
    places = [claims, isolation if isinstance(isolation, dict) else {}]
    if wanted not in [modulus for place in places for modulus in jwt.moduli(place, "HCLAkPub")]:
        raise SkrFailure("token_binding", "The attestation token does not name the attestation key of the report.")
