# SPDX-License-Identifier: GPL-3.0-or-later
"""One release from options to file, against a vault that speaks the documented protocol and can misbehave."""

from __future__ import annotations

import base64
import contextlib
import copy
import dataclasses
import json
import os
import typing as t
from pathlib import Path

import pytest
import requests
from unit.guest import release_fakes as fakes
from unit.guest.release_fakes import ISSUER, KID, VAULT, VERSION, Cloud, answer, ec_key, refused, rsa_key

from ansible_collections.confidential.azure_skr.plugins.module_utils.guest import attest, deliver, release, unwrap
from ansible_collections.confidential.azure_skr.plugins.module_utils.guest.http import Http
from ansible_collections.confidential.azure_skr.plugins.module_utils.guest.imds import Identity

NOW = 1_800_000_000.0
TEE = "x-ms-isolation-tee"
DEBUG = f"{TEE}.x-ms-sevsnpvm-is-debuggable"
COMPLIANT = {"claim": f"{TEE}.x-ms-compliance-status", "equals": "azure-compliant-cvm"}
UNMET = "Target environment attestation does not meet key release policy requirements."
UNVERIFIED = "Target environment attestation statement cannot be verified."
NO_ROLE = "Caller is not authorized to perform action on resource.\r\nCaller: appid=a;oid=0a1b2c3d-0000-4000-8000-00000000beef;iss=x"
BUFFERS: t.List[bytearray] = []


def policy(*conditions: t.Dict[str, t.Any], authority: str = ISSUER) -> t.Dict[str, t.Any]:
    return {"version": "1.0.0", "anyOf": [{"authority": authority, "allOf": list(conditions or (COMPLIANT,))}]}


def denial(message: str, inner: str = "AccessDenied", status: int = 403) -> fakes.Answer:
    return answer({"error": {"code": "Forbidden", "message": message, "innererror": {"code": inner}}}, status)


class Clock:
    """Stands for the module time: nobody waits in a test."""

    def __init__(self) -> None:
        self.elapsed = 0.0
        self.pauses: t.List[float] = []

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.elapsed += seconds

    def monotonic(self) -> float:
        return self.elapsed

    def time(self) -> float:
        return NOW + self.elapsed


class Evidence:
    """Stands for the evidence and its ephemeral key."""

    modulus = rsa_key("ephemeral").public_key().public_numbers().n

    def decrypt_oaep(self, cipher: bytes, hash_name: str) -> bytes:
        return fakes.oaep(cipher, hash_name)

    def facts(self) -> t.Dict[str, t.Any]:
        return {"tee": "snp"}


class Job:
    """Stands for a session: a TPM, a metadata service, and a vault behind a real HTTP client."""

    def __init__(self, bundle: str) -> None:
        self.guest = attest.Guest(ISSUER, ca_path=bundle)
        self.clock = Clock()
        self.key: t.Any = ec_key("released")
        self.version = VERSION
        self.claims = fakes.guest_claims("n", NOW)
        self.members: t.Dict[str, t.Any] = {}  # of fakes.payload
        self.signing: t.Dict[str, t.Any] = {}  # of fakes.signed_answer
        self.change: t.Callable[[t.Dict[str, t.Any]], None] = lambda document: None
        self.denials: t.List[fakes.Answer] = []
        self.live: t.Optional[t.Dict[str, t.Any]] = None  # the policy, where the identity may read it
        self.reads = 0  # of the policy; vault.asked holds the releases
        self.opened = self.attested = 0
        self.dropped: t.List[t.Any] = []
        self.tokens: t.List[t.Tuple[str, Identity]] = []
        self.vault = Cloud(self._vault)
        self.http = Http(bundle, sleep=self.clock.sleep)
        self.http.ready().mount("https://", self.vault)
        self.imds = self

    def token(self, resource: str, identity: Identity) -> str:
        self.tokens.append((resource, identity))
        return f"sentinel-access-{len(self.tokens)}"

    def attest(self, payload: t.Optional[t.Mapping[str, str]] = None) -> attest.Attestation:
        self.attested += 1
        token = f"sentinel-target-{self.attested}"
        return attest.Attestation(token, copy.deepcopy(self.claims), t.cast(t.Any, Evidence()), ISSUER)

    def drop(self, evidence: t.Any) -> None:
        self.dropped.append(evidence)

    def counts(self) -> t.Dict[str, int]:
        return {"http_requests": self.http.count}

    @contextlib.contextmanager
    def session(self, guest: attest.Guest) -> t.Iterator[Job]:
        self.opened += 1
        yield self

    def _vault(self, request: requests.PreparedRequest) -> fakes.Answer:
        assert str(request.url).startswith(f"{VAULT}/keys/app")
        if request.method == "GET":
            self.vault.asked.pop()
            self.reads += 1
            return self._read()
        if self.denials:
            return self.denials.pop(0)
        body = json.loads(t.cast(bytes, request.body))
        kid = f"{VAULT}/keys/app/{self.version}"
        members = {
            "kid": kid,
            "asked": str(request.url).partition("/release")[0],
            "nonce": body["nonce"],
            **self.members,
        }
        document = fakes.payload(self.key, body["enc"], **members)
        self.change(document)
        return answer({"value": fakes.signed_answer(document, **self.signing)})

    def _read(self) -> fakes.Answer:
        if self.live is None:
            return denial("Caller is not authorized to perform action on resource.", "ForbiddenByRbac")
        data = base64.urlsafe_b64encode(json.dumps(self.live).encode()).rstrip(b"=").decode()
        return answer({"key": {"kid": f"{VAULT}/keys/app/{self.version}"}, "release_policy": {"data": data}})


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    (tmp_path / "ca.pem").write_bytes(fakes.pem(fakes.chain()[-1]))
    made = Job(str(tmp_path / "ca.pem"))
    monkeypatch.setattr(release, "time", made.clock)
    monkeypatch.setattr(release.attest, "session", made.session)
    monkeypatch.setattr(release.jws.time, "time", _real_now)
    BUFFERS.clear()
    real = unwrap.wipe

    def wipe(*buffers: bytearray) -> None:
        real(*buffers)
        BUFFERS.extend(buffers)

    monkeypatch.setattr(unwrap, "wipe", wipe)
    return made


def _real_now() -> float:
    """The throw-away certificates are dated around real time, the claims and keys around NOW."""
    certificate = fakes.chain()[0]
    begin = getattr(certificate, "not_valid_before_utc", None) or certificate.not_valid_before
    return begin.replace(tzinfo=fakes.datetime.timezone.utc).timestamp() + 2 * 86400


def run(job: Job, tmp_path: Path, check_mode: bool = False, **changes: t.Any) -> t.Dict[str, t.Any]:
    target = deliver.Target(str(tmp_path / "app.pem"), memory_backed=False)
    wanted = dataclasses.replace(release.Wanted(VAULT, "app", target), **changes)
    return release.release(job.guest, wanted, check_mode)


def delivered(tmp_path: Path) -> t.Optional[bytes]:
    path = tmp_path / "app.pem"
    return path.read_bytes() if path.exists() else None


# --- AC-11: it works


@pytest.mark.parametrize("key", [ec_key("released"), rsa_key("released")])
@pytest.mark.parametrize("algorithm", sorted(fakes.HASHES))
def test_a_key_is_released_and_delivered(job: Job, tmp_path: Path, key: t.Any, algorithm: str) -> None:
    job.key = key
    result = run(job, tmp_path, wrap_algorithm=algorithm)
    assert delivered(tmp_path) == unwrap.pem(key)
    assert (tmp_path / "app.pem").stat().st_mode & 0o777 == 0o400
    assert (result["changed"], result["kid"], result["key_version"]) == (True, KID, VERSION)
    assert result["key_type"] == fakes.jwk(key)["kty"] and result["dest"] == str(tmp_path / "app.pem")
    assert result["public_key_sha256"] == unwrap.public_facts(key)["public_key_sha256"]
    assert (result["waited_s"], result["authority"], result["preflight"]) == (0.0, ISSUER, {"source": "unreadable"})
    assert result["evidence"] == {"tee": "snp"} and result["counts"] == {"http_requests": 2}
    assert result["warnings"] == []


@pytest.mark.parametrize("algorithm", sorted(fakes.HASHES))
@pytest.mark.parametrize("size", [16, 24, 32])
def test_a_symmetric_key_is_released_byte_by_byte(job: Job, tmp_path: Path, size: int, algorithm: str) -> None:
    job.key = b"\0\n" + os.urandom(size - 4) + b"\n\0"
    result = run(job, tmp_path, wrap_algorithm=algorithm)
    assert delivered(tmp_path) == job.key and result["key_type"] == "oct-HSM"
    assert not {"public_key_pem", "public_key_sha256"} & set(result)
    assert result["diff"]["after"]["content"] == "the secret" and result["delivered"]["deliver_to"] == "file"
    assert run(job, tmp_path, wrap_algorithm=algorithm)["changed"] is False
    job.key = os.urandom(size)
    rotated = run(job, tmp_path)
    assert rotated["changed"] and rotated["diff"]["before"]["content"] == "another" and delivered(tmp_path) == job.key


@pytest.mark.parametrize(
    ("key", "form", "wanted"),
    [
        (b"k" * 32, "pem_pkcs8", "raw or base64 or jwk"),
        (b"k" * 32, "der", "raw or base64 or jwk"),
        (ec_key("released"), "pem_pkcs1", "pem_pkcs8 or der or jwk"),
        (ec_key("released"), "raw", "pem_pkcs8 or der or jwk"),
        (rsa_key("released"), "base64", "pem_pkcs8 or pem_pkcs1 or der or jwk"),
    ],
)
def test_a_format_that_makes_no_sense(job: Job, tmp_path: Path, key: t.Any, form: str, wanted: str) -> None:
    job.key = key
    (tmp_path / "app.pem").write_bytes(b"old")
    target = deliver.Target(str(tmp_path / "app.pem"), memory_backed=False, format=form)
    with refused("invalid_input") as info:
        run(job, tmp_path, target=target)
    assert f"'{form}'" in info.value.message and wanted in info.value.message and delivered(tmp_path) == b"old"
    assert not any(any(buffer) for buffer in BUFFERS)


def test_the_request_carries_the_tokens_and_a_fresh_nonce(job: Job, tmp_path: Path) -> None:
    identity = Identity(client_id="c-1")
    run(job, tmp_path, identity=identity)
    run(job, tmp_path, key_version=VERSION)
    first, second = job.vault.asked
    bodies = [json.loads(t.cast(bytes, asked.body)) for asked in (first, second)]
    assert job.tokens == [("https://vault.azure.net", identity), ("https://vault.azure.net", Identity())]
    assert first.headers["Authorization"] == "Bearer sentinel-access-1"
    assert first.url == f"{VAULT}/keys/app/release?api-version=7.4"
    assert second.url == f"{KID}/release?api-version=7.4"
    assert bodies[0]["target"] == "sentinel-target-1" and bodies[0]["enc"] == "RSA_AES_KEY_WRAP_256"
    assert bodies[0]["nonce"] != bodies[1]["nonce"] and min(len(body["nonce"]) for body in bodies) >= 22


def test_a_second_run_changes_nothing_and_a_rotation_does(job: Job, tmp_path: Path) -> None:
    assert run(job, tmp_path)["changed"] is True
    again = run(job, tmp_path)
    assert again["changed"] is False and again["diff"]["before"] == again["diff"]["after"]
    job.key, job.version = ec_key("rotated"), "f" * 32
    rotated = run(job, tmp_path)
    assert rotated["changed"] is True and rotated["key_version"] == "f" * 32
    assert delivered(tmp_path) == unwrap.pem(ec_key("rotated"))


def test_check_mode_writes_nothing_and_foretells(job: Job, tmp_path: Path) -> None:
    foretold = run(job, tmp_path, check_mode=True)
    assert foretold["changed"] is True and delivered(tmp_path) is None
    result = run(job, tmp_path)
    assert (result["diff"], result["public_key_sha256"]) == (foretold["diff"], foretold["public_key_sha256"])
    assert run(job, tmp_path, check_mode=True)["changed"] is False


def test_no_secret_in_the_result_and_none_left_in_our_buffers(job: Job, tmp_path: Path) -> None:
    shown = json.dumps(run(job, tmp_path))
    for line in unwrap.pem(job.key).decode().splitlines()[1:-1]:
        assert line not in shown
    assert "sentinel" not in shown and "key_hsm" not in shown and "ciphertext" not in shown
    held = [buffer for buffer in BUFFERS if buffer]
    assert len(held) == 2 and not any(any(buffer) for buffer in held)  # as it was unwrapped, and as it was written


# --- options come first


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"vault_uri": "http://myvault.vault.azure.net"}, "invalid_input"),
        ({"key_name": "a/b"}, "invalid_input"),
        ({"key_version": "latest"}, "invalid_input"),
        ({"release_policy": {"version": "1.0.0"}}, "policy_invalid"),
        ({"target": deliver.Target("relative")}, "invalid_input"),
        ({"target": deliver.Target("/proc/app.pem")}, "not_memory_backed"),
    ],
)
def test_nobody_is_asked_when_an_option_cannot_work(
    job: Job, tmp_path: Path, changes: t.Dict[str, t.Any], reason: str
) -> None:
    with refused(reason):
        run(job, tmp_path, **changes)
    assert not job.opened and not job.vault.asked


# --- AC-12 to AC-15: policies


def test_a_policy_that_is_met(job: Job, tmp_path: Path) -> None:
    result = run(job, tmp_path, release_policy=policy())
    assert result["preflight"]["satisfied"] is True and result["preflight"]["failing"] == []


def test_a_debuggable_vm_is_refused_before_the_vault_is_asked(job: Job, tmp_path: Path) -> None:
    job.claims[TEE]["x-ms-sevsnpvm-is-debuggable"] = True
    with refused("policy_not_met") as info:
        run(job, tmp_path, release_policy=policy(COMPLIANT, {"claim": DEBUG, "equals": False}))
    failure = info.value
    assert f"claim {DEBUG} wanted false, found true" in failure.message
    (failing,) = failure.facts["failing"]
    assert (failing["claim"], failing["operator"], failing["wanted"], failing["found"]) == (
        DEBUG,
        "equals",
        False,
        True,
    )
    assert failure.facts["security_event"] is True
    assert not job.vault.asked and not job.clock.pauses
    assert delivered(tmp_path) is None


def test_another_authority_is_named_with_the_setting_to_change(job: Job, tmp_path: Path) -> None:
    other = "https://sharedeus2.eus2.attest.azure.net"
    with refused("authority_mismatch") as info:
        run(job, tmp_path, release_policy=policy(authority=other))
    assert other in info.value.message and ISSUER in info.value.message
    assert "attestation_url" in info.value.next_step and other in info.value.next_step
    assert info.value.facts["security_event"] is False and not job.vault.asked


@pytest.mark.parametrize("mode", ["advise", "off"])
def test_the_services_refusal_of_another_authority_has_the_same_reason(job: Job, tmp_path: Path, mode: str) -> None:
    job.denials = [denial(UNMET)]
    with refused("authority_mismatch") as info:
        run(job, tmp_path, preflight=mode, release_policy=policy(authority="https://sharedeus2.eus2.attest.azure.net"))
    assert info.value.facts["status"] == 403 and len(job.vault.asked) == 1


def test_near_misses_are_hinted_at(job: Job, tmp_path: Path) -> None:
    wanted = policy(
        {"claim": "secureboot", "equals": "true"},
        {"claim": "x-ms-compliance-status", "equals": "azure-compliant-cvm"},
    )
    with refused("policy_not_met") as info:
        run(job, tmp_path, release_policy=wanted)
    hints = {miss["claim"]: miss["hint"] for miss in info.value.facts["near_misses"]}
    assert hints == {
        "secureboot": "type_differs",
        "x-ms-compliance-status": f"found_at:{TEE}.x-ms-compliance-status",
    }
    assert f"found_at:{TEE}.x-ms-compliance-status" in info.value.message
    assert not job.vault.asked


def test_only_the_changed_claims_are_listed(job: Job, tmp_path: Path) -> None:
    wanted = policy(
        COMPLIANT,
        {"claim": "secureboot", "equals": True},
        {"claim": f"{TEE}.x-ms-runtime.vm-configuration.vmUniqueId", "equals": "EF-GH"},
    )
    with refused("policy_not_met") as info:
        run(job, tmp_path, release_policy=wanted)
    assert [one["found"] for one in info.value.facts["failing"]] == ["AB-CD"]


def test_advice_is_given_and_the_vault_asked(job: Job, tmp_path: Path) -> None:
    result = run(job, tmp_path, preflight="advise", release_policy=policy({"claim": "secureboot", "equals": False}))
    assert result["changed"] is True and result["preflight"]["satisfied"] is False
    assert result["preflight"]["reason"] == "policy_not_met"


def test_without_preflight_nothing_is_evaluated(job: Job, tmp_path: Path) -> None:
    result = run(job, tmp_path, preflight="off", release_policy=policy({"claim": "secureboot", "equals": False}))
    assert result["preflight"] is None


@pytest.mark.parametrize("mode", ["advise", "off"])
def test_the_services_refusal_is_explained_and_never_repeated(job: Job, tmp_path: Path, mode: str) -> None:
    job.denials = [denial(UNMET)]
    with refused("policy_not_met") as info:
        run(
            job,
            tmp_path,
            preflight=mode,
            wait_for_grant=600.0,
            release_policy=policy({"claim": "secureboot", "equals": False}),
        )
    assert "claim secureboot wanted false, found true" in info.value.message
    assert info.value.facts["security_event"] is True and info.value.facts["status"] == 403
    assert len(job.vault.asked) == job.attested == 1 and not job.clock.pauses


def test_the_services_refusal_without_a_policy_to_explain_it(job: Job, tmp_path: Path) -> None:
    job.denials = [denial(UNMET)]
    with refused("policy_not_met") as info:
        run(job, tmp_path, wait_for_grant=600.0)
    assert info.value.facts["security_event"] is True and len(job.vault.asked) == 1


def test_the_service_refuses_although_the_policy_given_is_met(job: Job, tmp_path: Path) -> None:
    """The live policy is another one than the user believes."""
    job.denials = [denial(UNMET)]
    with refused("policy_not_met") as info:
        run(job, tmp_path, release_policy=policy())
    assert UNMET in info.value.message


# --- AC-07: waiting for a grant


def test_a_missing_permission_is_final_by_default(job: Job, tmp_path: Path) -> None:
    job.denials = [denial(NO_ROLE, "ForbiddenByRbac")]
    with refused("permission_missing") as info:
        run(job, tmp_path)
    assert len(job.vault.asked) == 1 and not job.clock.pauses
    assert "0a1b2c3d-0000-4000-8000-00000000beef" in info.value.message and "waited_s" not in info.value.facts


def test_a_grant_is_waited_for_by_trial(job: Job, tmp_path: Path) -> None:
    effective = 90.0
    real = job._vault

    def later(request: requests.PreparedRequest) -> fakes.Answer:
        return real(request) if job.clock.elapsed >= effective else denial(NO_ROLE, "ForbiddenByRbac")

    job.vault.function = later
    result = run(job, tmp_path, wait_for_grant=600.0)
    assert result["changed"] is True and effective <= result["waited_s"] <= effective + 10
    assert job.clock.pauses[:4] == [1, 2, 4, 8] and max(job.clock.pauses) == 10
    assert job.attested == 1


def test_waiting_ends_when_the_time_is_up(job: Job, tmp_path: Path) -> None:
    job.denials = [denial(NO_ROLE, "ForbiddenByRbac") for _number in range(100)]
    with refused("permission_missing") as info:
        run(job, tmp_path, wait_for_grant=25.0)
    assert job.clock.elapsed == pytest.approx(25.0)
    assert info.value.facts["waited_s"] == 25.0 and "stayed so for 25 seconds" in info.value.message


# --- refusals that pass


def test_an_attestation_that_cannot_be_verified_is_made_anew_once(job: Job, tmp_path: Path) -> None:
    job.denials = [denial(UNVERIFIED)]
    assert run(job, tmp_path)["changed"] is True
    assert job.attested == 2 and len(job.dropped) == 1 and len(job.clock.pauses) == 1
    assert json.loads(t.cast(bytes, job.vault.asked[1].body))["target"] == "sentinel-target-2"


def test_an_attestation_that_cannot_be_verified_twice(job: Job, tmp_path: Path) -> None:
    job.denials = [denial(UNVERIFIED), denial(UNVERIFIED)]
    with refused("attestation_not_verified") as info:
        run(job, tmp_path)
    assert job.attested == len(job.vault.asked) == 2
    assert info.value.facts["issuer"] == ISSUER
    assert {"expires", "vm_clock"} <= set(info.value.facts)


def test_a_rejected_access_token_is_fetched_anew_once(job: Job, tmp_path: Path) -> None:
    job.denials = [denial("AKV10046: expired", status=401)]
    assert run(job, tmp_path)["changed"] is True
    assert [asked.headers["Authorization"][-1] for asked in job.vault.asked] == ["1", "2"]
    job.denials = [denial("AKV10022: Invalid audience.", status=401) for _number in range(3)]
    with refused("vault_token_rejected"):
        run(job, tmp_path)
    assert len(job.vault.asked) == 4


@pytest.mark.parametrize(
    ("refusal", "reason"),
    [
        (denial("Client address is not authorized", "ForbiddenByFirewall"), "vault_firewall"),
        (denial("Operation release is not allowed on a disabled key.", "KeyDisabled"), "key_disabled"),
        (denial("A key with (name/id) app was not found", "KeyNotFound", 404), "key_not_found"),
        (denial("bad", "BadParameter", 400), "release_bad_request"),
    ],
)
def test_other_refusals_are_final(job: Job, tmp_path: Path, refusal: fakes.Answer, reason: str) -> None:
    job.denials = [refusal]
    with refused(reason) as info:
        run(job, tmp_path, wait_for_grant=600.0)
    assert len(job.vault.asked) == job.attested == 1
    assert "sentinel" not in json.dumps(info.value.as_result())


# --- AC-16: dates


DAY = 86400
LATE, EARLY = {"exp": int(NOW) - 10}, {"nbf": int(NOW) + 1000}


@pytest.mark.parametrize(("attributes", "reason"), [(LATE, "key_expired"), (EARLY, "key_not_yet_valid")])
def test_a_key_outside_its_dates(job: Job, tmp_path: Path, attributes: t.Dict[str, int], reason: str) -> None:
    job.members["attributes"] = attributes
    with refused(reason) as info:
        run(job, tmp_path)
    assert delivered(tmp_path) is None
    assert info.value.facts["vm_clock"] == "2027-01-15T08:00:00Z" and info.value.facts["vm_clock"] in info.value.message
    assert info.value.facts["expires_on" if attributes is LATE else "not_before"]
    assert any(BUFFERS) and not any(any(buffer) for buffer in BUFFERS)
    warned = run(job, tmp_path, outside_validity="warn")
    assert warned["changed"] is True and len(warned["warnings"]) == 1 and KID in warned["warnings"][0]
    assert run(job, tmp_path, outside_validity="accept")["warnings"] == []


@pytest.mark.parametrize(("days", "warns"), [(29, True), (31, False)])
def test_a_key_about_to_expire_is_warned_of(job: Job, tmp_path: Path, days: int, warns: bool) -> None:
    job.members["attributes"] = {"exp": int(NOW) + days * DAY, "nbf": int(NOW) - DAY}
    assert bool(run(job, tmp_path)["warnings"]) is warns
    assert run(job, tmp_path, expiry_warning_days=0)["warnings"] == []


def test_the_moment_of_expiry_is_outside(job: Job, tmp_path: Path) -> None:
    job.members["attributes"] = {"exp": int(NOW)}
    with refused("key_expired"):
        run(job, tmp_path)


# --- AC-17: a vault that misbehaves


def _tamper(job: Job) -> None:
    real = job._vault

    def altered(request: requests.PreparedRequest) -> fakes.Answer:
        status, headers, content = real(request)
        if request.method == "GET":
            return status, headers, content
        header, payload, signature = json.loads(content)["value"].split(".")
        return answer(
            {"value": f"{header}.{payload[:40]}{'A' if payload[40] != 'A' else 'B'}{payload[41:]}.{signature}"}
        )

    job.vault.function = altered


def _other_chain(job: Job) -> None:
    root = rsa_key("false root")
    leaf = fakes.certificate("leaf", rsa_key("leaf"), "false root", root, ["*.vault.azure.net"])
    job.signing["certificates"] = [leaf, fakes.certificate("false root", root, "false root", root)]


def _other_name(job: Job) -> None:
    leaf = fakes.certificate("leaf", rsa_key("leaf"), "middle", ec_key("middle"), ["*.example.com"])
    job.signing["certificates"] = [leaf, *fakes.chain()[1:]]


def _broken_wrap(job: Job) -> None:
    def change(document: t.Dict[str, t.Any]) -> None:
        key = document["response"]["key"]["key"]
        wrapped = json.loads(release.jws.jwt.decode(key["key_hsm"]))
        cipher = bytearray(release.jws.jwt.decode(wrapped["ciphertext"]))
        cipher[-1] ^= 1
        key["key_hsm"] = fakes.b64u(fakes.compact({**wrapped, "ciphertext": fakes.b64u(bytes(cipher))}))

    job.change = change


def _public_half(job: Job) -> None:
    job.change = lambda document: document["response"]["key"]["key"].update(fakes.jwk(ec_key("other")))


def _set(**members: t.Any) -> t.Callable[[Job], None]:
    return lambda job: job.members.update(members)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        pytest.param(_tamper, "response_signature_invalid", id="one byte altered"),
        pytest.param(lambda job: job.signing.update(alg="none"), "response_signature_invalid", id="unsigned"),
        pytest.param(_other_chain, "response_chain_untrusted", id="another chain"),
        pytest.param(_other_name, "response_chain_untrusted", id="another name"),
        pytest.param(_set(kid=f"{VAULT}/keys/other/{VERSION}"), "response_key_mismatch", id="another key"),
        pytest.param(_set(nonce="another"), "response_nonce_mismatch", id="another request"),
        pytest.param(_set(inner={"enc": "CKM_RSA_AES_KEY_WRAP"}), "wrap_algorithm_mismatch", id="another algorithm"),
        pytest.param(_set(inner={"kid": "HCLAkPub"}), "response_key_mismatch", id="wrapped to another key"),
        pytest.param(_broken_wrap, "unwrap_failed", id="broken key wrap"),
        pytest.param(_public_half, "response_key_mismatch", id="another public half"),
        pytest.param(_set(material=b"\x01" * 32), "unwrap_failed", id="symmetric key"),
        pytest.param(_set(material=b"\x01" * 65), "unwrap_failed", id="symmetric key of unexpected length"),
    ],
)
def test_nothing_is_delivered_from_an_answer_that_is_wrong(
    job: Job, tmp_path: Path, spoil: t.Callable[[Job], None], reason: str
) -> None:
    (tmp_path / "app.pem").write_bytes(b"the old one")
    spoil(job)
    with refused(reason) as info:
        run(job, tmp_path, wait_for_grant=600.0)
    assert delivered(tmp_path) == b"the old one" and sorted(os.listdir(tmp_path)) == ["app.pem", "ca.pem"]
    assert len(job.vault.asked) == 1 and not job.clock.pauses
    assert "sentinel" not in json.dumps(info.value.as_result())
    assert not any(any(buffer) for buffer in BUFFERS)


def test_a_page_or_a_redirect_in_the_vaults_place(job: Job, tmp_path: Path) -> None:
    job.denials = [(200, {"Content-Type": "text/html"}, b"<html>")]
    with refused("response_malformed"):
        run(job, tmp_path)
    job.denials = [(302, {"Location": "https://elsewhere.invalid/"}, b"")]
    with refused("redirect_refused"):
        run(job, tmp_path)
    assert len(job.vault.asked) == 2
