# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers of the vault that are wrong on purpose, each in one way."""

from __future__ import annotations

import base64
import copy
import dataclasses
import typing as t

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap
from vault_caller import (
    HASHES,
    VaultLab,
    opened,
    unb64u,
    unwrapped,
)

from skrsim.core.app import App
from skrsim.core.faults import Fault

UNVERIFIED = "Target environment attestation statement cannot be verified."


@pytest.fixture
def lab(app: App) -> VaultLab:
    made = VaultLab(app)
    made.key()
    return made


# --- faults


def _fault(lab: VaultLab, action: str, **row: t.Any) -> None:
    lab.world.faults.add(Fault(action, "keyvault", "key_release", times=1, **row))


def _signature_holds(answer: t.Any) -> bool:
    header, _payload, _hsm = opened(answer)
    signed, _dot, signature = answer.document["value"].rpartition(".")
    public: t.Any = x509.load_der_x509_certificate(base64.b64decode(header["x5c"][0])).public_key()
    try:
        public.verify(unb64u(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return False
    return True


@dataclasses.dataclass
class Seen:
    """What is right about a release, in the order in which a careful client looks."""

    signed: bool
    chain: bool
    name: bool
    key: bool
    nonce: bool
    enc: bool
    unwraps: bool

    @classmethod
    def of(cls, lab: VaultLab, answer: t.Any) -> Seen:
        header, payload, hsm = opened(answer)
        chain = [x509.load_der_x509_certificate(base64.b64decode(entry)) for entry in header["x5c"]]
        names = chain[0].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        try:
            unwrapped(hsm)
            unwraps = True
        except InvalidUnwrap:
            unwraps = False
        return cls(
            signed=_signature_holds(answer) and header["alg"] == "RS256",
            chain=chain[-1] == lab.world.services["ca"].certificate,
            name="*.vault.azure.net" in names.get_values_for_type(x509.DNSName),
            key=payload["request"]["kid"].endswith("/keys/app"),
            nonce=payload["request"]["nonce"] == "n",
            enc=payload["request"]["enc"] == hsm["header"]["enc"] == "RSA_AES_KEY_WRAP_256",
            unwraps=unwraps,
        )


ALL_RIGHT = Seen(True, True, True, True, True, True, True)


@pytest.mark.parametrize(
    ("action", "wrong"),
    [
        ("tamper", {"signed"}),
        ("unsigned", {"signed"}),
        ("untrusted_chain", {"chain"}),
        ("wrong_name", {"name"}),
        ("swap_key", {"key"}),
        ("wrong_nonce", {"nonce"}),
        ("wrong_enc", {"enc"}),
        ("broken_kwp", {"unwraps"}),
    ],
)
def test_a_spoilt_answer_is_wrong_in_one_way_once(lab: VaultLab, action: str, wrong: set[str]) -> None:
    _fault(lab, action)
    seen = Seen.of(lab, lab.release(body={"nonce": "n"}))
    assert seen == dataclasses.replace(ALL_RIGHT, **dict.fromkeys(wrong, False))
    assert Seen.of(lab, lab.release(body={"nonce": "n"})) == ALL_RIGHT


def test_a_wrong_algorithm_is_another_one_than_asked_whatever_was_asked(lab: VaultLab) -> None:
    for algorithm in HASHES:
        _fault(lab, "wrong_enc")
        _header, payload, hsm = opened(lab.release(body={"enc": algorithm}))
        assert payload["request"]["enc"] == hsm["header"]["enc"] != algorithm


def test_a_passing_failure_to_verify_passes(lab: VaultLab) -> None:
    _fault(lab, "unverifiable")
    refused = lab.release()
    assert (refused.status, refused.inner, refused.message) == (403, "AccessDenied", UNVERIFIED)
    assert lab.release().status == 200


def test_throttling_is_answered_with_and_without_a_time_to_wait(lab: VaultLab) -> None:
    text = "Request was not processed because too many requests were received. Reason: VaultRequestTypeLimitReached"
    body = {"error": {"code": "Throttled", "message": text}}
    _fault(lab, "status", parameters={"code": 429, "retry_after": 3, "body": body})
    _fault(lab, "status", parameters={"code": 429, "body": body})
    first, second = lab.release(), lab.release()
    assert (first.status, first.document, first.headers["Retry-After"]) == (429, body, "3")
    assert (second.status, second.document) == (429, body)
    assert "Retry-After" not in second.headers
    assert lab.release().status == 200


def test_a_fault_for_one_vm_leaves_the_others_alone(lab: VaultLab) -> None:
    _fault(lab, "unverifiable", vm="cvm-02")
    assert lab.release(vm="cvm-01").status == 200
    assert lab.release(vm="cvm-02").status == 403


def test_a_stored_policy_is_not_changed_by_releases(lab: VaultLab) -> None:
    before = copy.deepcopy(lab.world.keys["v", "app"].release_policy)
    lab.release()
    lab.release(token=lab.authority.token(secureboot=False))
    assert lab.world.keys["v", "app"].release_policy == before
