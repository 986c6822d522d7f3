# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who judges the evidence. A verifier turns it into a token and says whether the token is genuine, fresh and of this VM.

Another verifier is another class with these two members, and an entry in ``VERIFIERS``.
"""

from __future__ import annotations

import typing as t

from ..policy.failure import SkrFailure
from . import jwt, maa
from .evidence import Evidence
from .http import Http
from .tee import b64
from .tpm2 import wire

NONCE_NAME = "nonce"


class Verifier(t.Protocol):
    """``payload`` are the caller's values and the nonce; text."""

    def attest(self, http: Http, authority: str, evidence: Evidence, payload: t.Mapping[str, str]) -> str:
        """A token, not validated yet. Raises SkrFailure."""

    def validate(
        self, token: str, keys: jwt.Keys, authority: str, evidence: Evidence, payload: t.Mapping[str, str]
    ) -> t.Dict[str, t.Any]:
        """The claims of a token that is what was asked for. Raises SkrFailure."""


class Guest:
    """Guest attestation: TPM and hardware; the token is sealed to a key that a vault can wrap another key to."""

    def attest(self, http: Http, authority: str, evidence: Evidence, payload: t.Mapping[str, str]) -> str:
        return maa.attest(http, authority, evidence, payload)

    def validate(
        self, token: str, keys: jwt.Keys, authority: str, evidence: Evidence, payload: t.Mapping[str, str]
    ) -> t.Dict[str, t.Any]:
        nonce = b64(payload[NONCE_NAME].encode())
        return jwt.validate(token, keys, authority, nonce, evidence.modulus)


class Platform:
    """Platform attestation: the hardware's report alone. No vault releases a key to such a token on this VM."""

    def attest(self, http: Http, authority: str, evidence: Evidence, payload: t.Mapping[str, str]) -> str:
        others = sorted(set(payload) - {NONCE_NAME})
        if others:
            raise SkrFailure(
                "invalid_input",
                f"client_payload has {', '.join(others)}, wanted none: platform attestation carries a nonce only.",
                {"option": "client_payload"},
            )
        return maa.attest_platform(http, authority, evidence, payload[NONCE_NAME])

    def validate(
        self, token: str, keys: jwt.Keys, authority: str, evidence: Evidence, payload: t.Mapping[str, str]
    ) -> t.Dict[str, t.Any]:
        modulus = wire.rsa_public(evidence.ak_public).modulus
        return jwt.validate_platform(token, keys, authority, payload[NONCE_NAME], modulus)


VERIFIERS: t.Dict[str, t.Type[Verifier]] = {"guest": Guest, "platform": Platform}
