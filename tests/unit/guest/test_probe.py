# SPDX-License-Identifier: GPL-3.0-or-later
"""The probe: which identity is refused and why, how long it goes on, and that what is released stays wrapped."""

from __future__ import annotations

import contextlib
import typing as t

import pytest

from ansible_collections.confidential.azure_skr.plugins.module_utils.guest import attest, keyvault, probe, release
from ansible_collections.confidential.azure_skr.plugins.module_utils.guest.imds import Identity
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.failure import SkrFailure

GUEST = attest.Guest("https://sharedweu.weu.attest.azure.net")
WANTED = release.Wanted(vault_uri="https://myvault.vault.azure.net", key_name="app")
KID = "https://myvault.vault.azure.net/keys/app/0123456789abcdef0123456789abcdef"
Answer = t.Union[str, SkrFailure]


class Vault:
    """What the vault answers each identity, in order; the last answer for ever. Nothing may be unwrapped."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **answers: t.List[Answer]) -> None:
        self.answers, self.asked, self.attested, self.slept = answers, t.cast("t.List[str]", []), 0, 0.0
        self.now = 0.0
        outer = self

        class Job:
            def attest(self, payload: t.Any) -> t.Any:
                outer.attested += 1
                return type("Attestation", (), {"token": "attestation"})()

        @contextlib.contextmanager
        def session(guest: t.Any) -> t.Iterator[Job]:
            yield Job()

        def token(source: Identity, audience: str, imds: t.Any, http: t.Any) -> str:
            name = source.client_id or "default"
            if name not in outer.answers:
                raise SkrFailure("identity_ambiguous", "several")
            return name

        def ask(http: t.Any, key: keyvault.KeyId, access: str, attestation: str, algorithm: str, nonce: str) -> str:
            outer.asked.append(access)
            assert attestation == "attestation"
            known = outer.answers[access]
            answer = known.pop(0) if len(known) > 1 else known[0]
            if isinstance(answer, SkrFailure):
                raise answer
            return answer

        def verify(token: str, *_rest: t.Any) -> t.Any:
            if token == "forged":
                raise SkrFailure("response_signature_invalid", "forged")
            return type("Answer", (), {"kid": KID})()

        def sleep(seconds: float) -> None:
            outer.now += seconds

        monkeypatch.setattr(attest, "session", session)
        monkeypatch.setattr(attest, "clients", lambda guest: (None, None))
        monkeypatch.setattr(probe.sign_in, "token", token)
        monkeypatch.setattr(probe.keyvault, "release", ask)
        monkeypatch.setattr(probe.jws, "verify", verify)
        monkeypatch.setattr(probe, "ca_bundle", lambda path: "bundle")
        monkeypatch.setattr(probe.time, "sleep", sleep)
        monkeypatch.setattr(probe.time, "monotonic", lambda: outer.now)
        monkeypatch.setattr(release.unwrap, "unwrap", lambda *_all: pytest.fail("a probe opens nothing"))


def no(reason: str) -> SkrFailure:
    return SkrFailure(reason, f"told {reason}")


def run(
    client_ids: t.Sequence[str] = (), wait: float = 0, expected: t.Sequence[str] = ("permission_missing",)
) -> t.Any:
    return probe.probe(GUEST, WANTED, client_ids, probe.known_reasons(expected), wait)


def test_refused_as_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    vault = Vault(monkeypatch, default=[no("permission_missing")])
    found = run(wait=600)
    assert (found["verdict"], found["settled"], found["pending"], found["attempts_made"]) == ("refused", True, False, 1)
    assert found["reason_found"] == "permission_missing" and vault.asked == ["default"] and vault.attested == 1
    assert not found["changed"]


def test_a_lingering_grant_is_waited_for_with_one_attestation(monkeypatch: pytest.MonkeyPatch) -> None:
    vault = Vault(monkeypatch, default=["key", "key", "key", no("permission_missing")])
    found = run(wait=600)
    assert found["settled"] and found["attempts_made"] == 4 and found["waited_s"] == 7.0 and vault.attested == 1


def test_the_wait_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    Vault(monkeypatch, default=["key"])
    found = run(wait=45)
    assert (found["verdict"], found["settled"], found["pending"], found["waited_s"]) == ("released", False, True, 45.0)
    assert KID in found["message"] and "wrapped" not in str(found)


def test_every_identity_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """AC-30's attacker uses whichever of the VM's identities still may."""
    vault = Vault(monkeypatch, default=[no("permission_missing")], second=["key"])
    found = run(["second", "second", ""])
    assert found["verdict"] == "released" and "second" in found["message"] and vault.asked == ["default", "second"]
    assert [one["verdict"] for one in found["identities"]] == ["refused", "released"]


def test_without_a_default_identity_those_with_a_name_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    Vault(monkeypatch, first=[no("permission_missing")], second=[no("permission_missing")])
    found = run(["first", "second"])
    assert found["settled"] and len(found["identities"]) == 2
    alone = run()
    assert (alone["verdict"], alone["reason_found"], alone["settled"]) == ("not_asked", "identity_ambiguous", False)


@pytest.mark.parametrize(
    ("reason", "verdict", "waited"),
    [
        ("vault_firewall", "refused", 0.0),
        ("key_disabled", "refused", 0.0),
        ("attestation_not_verified", "refused", 20.0),
        ("network_unreachable", "not_asked", 20.0),
        ("throttled", "not_asked", 20.0),
        ("tls_untrusted", "not_asked", 0.0),
    ],
)
def test_only_what_may_pass_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, reason: str, verdict: str, waited: float
) -> None:
    Vault(monkeypatch, default=[no(reason)])
    found = run(wait=20)
    assert (found["verdict"], found["reason_found"], found["settled"]) == (verdict, reason, False)
    assert found["waited_s"] == waited


def test_an_answer_that_does_not_verify_is_no_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    Vault(monkeypatch, default=["forged"])
    found = run()
    assert (found["verdict"], found["reason_found"]) == ("released", "response_signature_invalid")


def test_a_misspelt_expectation_is_refused() -> None:
    with pytest.raises(SkrFailure) as info:
        probe.known_reasons(["permission_mising"])
    assert info.value.reason == "invalid_input" and "permission_missing" in info.value.message
