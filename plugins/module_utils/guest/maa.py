# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Microsoft Azure Attestation (MAA): guest and platform attestation, and opening the sealed token."""

from __future__ import annotations

import base64
import binascii
import typing as t

from ..policy.failure import SkrFailure
from . import crypto, documents
from .evidence import Evidence
from .http import SERVER_ERRORS, Http, Reply, Retry, service_address

API_VERSION = "2020-10-01"
PLATFORM_VERSIONS = {"SevSnpVm": "2022-08-01", "TdxVm": "2023-04-01-preview"}
_RETRY = Retry(SERVER_ERRORS | {408, 429}, (5.0, 10.0, 20.0))
_ADDITIONAL_DATA = b"Transport Key"


def authority(attestation_url: str) -> str:
    """The issuer that belongs to an attestation URL: scheme and host, as tokens name it.

    Raises SkrFailure ``invalid_input``.
    """
    return service_address("attestation_url", attestation_url, "https://sharedweu.weu.attest.azure.net")


def attest(http: Http, authority_url: str, evidence: Evidence, payload: t.Mapping[str, str]) -> str:
    """Send the evidence; returns the attestation token (a compact JWT), not validated yet. Raises SkrFailure."""
    sealed = _post(http, authority_url, "AzureGuest", API_VERSION, evidence.request(payload))
    return open_envelope(sealed, evidence.decrypt_rsaes)


def attest_platform(http: Http, authority_url: str, evidence: Evidence, nonce: str) -> str:
    """Send the hardware's report alone; returns the attestation token, not validated yet. Raises SkrFailure."""
    operation, request = evidence.tee.platform()
    return _post(http, authority_url, operation, PLATFORM_VERSIONS[operation], {**request, "nonce": nonce})


def _post(http: Http, authority_url: str, operation: str, version: str, document: t.Mapping[str, t.Any]) -> str:
    reply = http.request(
        "the attestation service",
        "POST",
        f"{authority_url}/attest/{operation}",
        _RETRY,
        params={"api-version": version},
        document=document,
    )
    if reply.status != 200:
        raise _refusal(reply, authority_url)
    token = reply.json().get("token")
    if not isinstance(token, str) or not token:
        raise SkrFailure("attestation_protocol", f"{authority_url} answered without a token.", {"status": reply.status})
    return token


def _refusal(reply: Reply, authority_url: str) -> SkrFailure:
    error = reply.json().get("error")
    error = error if isinstance(error, dict) else {}
    code, text = str(error.get("code", "")), str(error.get("message", ""))[:500]
    facts = {
        "status": reply.status,
        "code": code,
        "message": text,
        "request_id": reply.request_id,
        "authority": authority_url,
    }
    if reply.status == 400 and code == "PolicyEvaluationError":
        return SkrFailure("attestation_policy_denied", f"The policy of {authority_url} denies this VM: {text}", facts)
    if reply.status in (400, 401, 403):
        return SkrFailure(
            "attestation_refused", f"{authority_url} refused the evidence ({reply.status} {code}): {text}", facts
        )
    if reply.status not in _RETRY.statuses:
        return SkrFailure("attestation_protocol", f"{authority_url} answered {reply.status} {code}: {text}", facts)
    return SkrFailure("attestation_unavailable", f"{authority_url} answered {reply.status}, also on repetition.", facts)


def open_envelope(sealed: str, decrypt: t.Callable[[bytes], bytes]) -> str:
    """Open the sealed token: an AES-256-GCM text whose key is encrypted to the ephemeral key.

    Raises SkrFailure: ``attestation_protocol`` for a bare JWT, ``envelope_invalid`` for anything that does not open.
    """
    if sealed.count(".") == 2:
        raise SkrFailure(
            "attestation_protocol", "The attestation service answered with an unsealed token; guest tokens are sealed."
        )
    try:
        document = documents.loads(_base64(sealed))
        parameters = document["EncryptionParams"]
        kind = (parameters["BlockMode"], parameters["Cipher"], parameters["KeySizeInBits"])
        iv, tag = _base64(parameters["Iv"]), _base64(document["AuthenticationData"])
        text, inner = _base64(document["Jwt"]), _base64(document["EncryptedInnerKey"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SkrFailure("envelope_invalid", "The sealed token does not have the documented members.") from error
    if kind != ("ChainingModeGCM", "AES", 256) or (len(iv), len(tag), len(inner)) != (12, 16, 256):
        raise SkrFailure(
            "envelope_invalid",
            f"The sealed token uses {kind} with sizes {len(iv)}, {len(tag)}, {len(inner)}, "
            "wanted AES-256-GCM with 12, 16 and 256 bytes.",
        )
    try:
        key = decrypt(inner)
    except SkrFailure as error:
        if error.reason == "tpm_error":
            raise SkrFailure(
                "envelope_invalid", "The sealed token's key is not encrypted to this VM's ephemeral key."
            ) from error
        raise
    if len(key) != 32:
        raise SkrFailure("envelope_invalid", f"The sealed token's key has {len(key)} bytes, wanted 32.")
    try:
        return crypto.AESGCM(key).decrypt(iv, text + tag, _ADDITIONAL_DATA).decode("ascii")
    except (crypto.InvalidTag, UnicodeDecodeError) as error:
        raise SkrFailure(
            "envelope_invalid", "The sealed token was altered: its authentication tag does not fit."
        ) from error


def _base64(text: str) -> bytes:
    """Base64 of either alphabet, padded or not. Raises ValueError."""
    text = text.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except binascii.Error as error:
        raise ValueError("not base64") from error
