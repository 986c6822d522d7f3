# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan for a key: what may change, what never can, and how the public half is told."""

from __future__ import annotations

import base64
import copy
import dataclasses
import datetime
import hashlib
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from unit.azure.fakes import Model, answer, key, login, vault

from ansible_collections.confidential.azure_skr.plugins.module_utils.azure import key as keys
from ansible_collections.confidential.azure_skr.plugins.module_utils.azure import key_apply
from ansible_collections.confidential.azure_skr.plugins.module_utils.azure.clients import Connection
from ansible_collections.confidential.azure_skr.plugins.module_utils.azure.key_target import Target, target
from ansible_collections.confidential.azure_skr.plugins.module_utils.azure.plan import Plan
from ansible_collections.confidential.azure_skr.plugins.module_utils.azure.public_key import public_key
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy import canonical, model
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.failure import SkrFailure

POLICY: dict[str, Any] = {
    "version": "1.0.0",
    "anyOf": [
        {
            "authority": "https://sharedweu.weu.attest.azure.net",
            "allOf": [{"claim": "secureboot", "equals": True}, {"claim": "tee", "equals": "sevsnpvm"}],
        }
    ],
}
WANTED = keys.Wanted(Target("https://kv.vault.azure.net", "app"), POLICY, lint=keys.key_policy.Lint("never"))


def plan(found: Any = None, recovered: bool = False, **wanted: Any) -> Plan:
    asked = dataclasses.replace(WANTED, **wanted)
    return keys.plan_key(asked, keys.check(asked), found, recovered)


# --- creation


def test_creation_shows_attributes_and_decoded_policy() -> None:
    made = plan()
    assert made.action == "create" and made.before == {}
    assert made.after["key_type"] == "RSA-HSM" and made.after["key_size"] == 3072 and made.after["curve"] is None
    assert made.after["exportable"] is True and made.after["enabled"] is True
    assert made.after["release_policy"] == POLICY
    curve = plan(key_type="EC-HSM")
    assert curve.after["curve"] == "P-256" and curve.after["key_size"] is None


def test_creation_needs_a_policy() -> None:
    with pytest.raises(SkrFailure) as caught:
        plan(release_policy=None)
    assert caught.value.reason == "policy_missing" and "release_policy" in caught.value.message


# --- a key that is there


def respelled() -> bytes:
    """The same policy as a vault may give it back."""
    document = copy.deepcopy(POLICY)
    document["anyOf"][0]["authority"] += "/"
    document["anyOf"][0]["allOf"] = [POLICY["anyOf"][0]["allOf"][1], {"equals": "true", "claim": "secureboot"}]
    return json.dumps(document, indent=2).encode()


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"release_policy": None},
        {"key_size": 3072, "enabled": True},
        {"key_ops": ("verify", "sign")},
        {"tags": {}},
        {"not_before": 1800000000, "expires_on": 1900000000},
    ],
)
def test_nothing_to_do(wanted: dict[str, Any]) -> None:
    times = {
        "not_before": datetime.datetime.fromtimestamp(1800000000, datetime.timezone.utc),
        "expires_on": datetime.datetime.fromtimestamp(1900000000, datetime.timezone.utc),
    }
    made = plan(key(respelled(), **times), **wanted)
    assert not made.changed and made.body is None and made.result() == {"changed": False}


def test_policy_in_other_base64_or_spelling_is_immutable_without_complaint() -> None:
    assert not plan(key(respelled(), immutable=True)).changed


@pytest.mark.parametrize(
    ("wanted", "body"),
    [
        ({"enabled": False}, {"enabled": False}),
        ({"tags": {"a": "b"}}, {"tags": {"a": "b"}}),
        ({"not_before": 1800000000}, {"not_before": 1800000000}),
        ({"expires_on": 1900000000}, {"expires_on": 1900000000}),
        ({"key_ops": ("sign",)}, {"key_operations": ["sign"]}),
        ({"key_ops": ()}, {"key_operations": []}),
    ],
)
def test_update_sends_the_difference(wanted: dict[str, Any], body: dict[str, Any]) -> None:
    made = plan(key(POLICY), **wanted)
    assert made.action == "update" and made.body == body
    assert made.result()["diff"]["before"] != made.result()["diff"]["after"]


def test_other_policy_is_sent_in_canonical_form_and_shown_decoded() -> None:
    other = copy.deepcopy(POLICY)
    other["anyOf"][0]["allOf"].insert(0, {"claim": "debug", "equals": False})
    made = plan(key(POLICY), release_policy=other)
    assert made.body == {"release_policy": canonical.dump(model.parse(other))}
    assert made.before["release_policy"] == POLICY and made.after["release_policy"] == other


def test_immutable_policy_that_differs_is_refused_with_the_difference() -> None:
    other = copy.deepcopy(POLICY)
    other["anyOf"][0]["allOf"][1]["equals"] = "tdxvm"
    with pytest.raises(SkrFailure) as caught:
        plan(key(POLICY, immutable=True), release_policy=other)
    assert caught.value.reason == "policy_immutable" and "new key" in caught.value.next_step
    assert "sevsnpvm" in caught.value.message and "tdxvm" in caught.value.message
    (change,) = caught.value.facts["changes"]
    assert (change["kind"], change["claim"]) == ("changed", "tee")


def test_immutable_policy_with_regrouped_rules_still_names_a_difference() -> None:
    rule = POLICY["anyOf"][0]
    split = {**POLICY, "anyOf": [{**rule, "allOf": [condition]} for condition in rule["allOf"]]}
    with pytest.raises(SkrFailure) as caught:
        plan(key(POLICY, immutable=True), release_policy=split)
    assert caught.value.facts["changes"]


@pytest.mark.parametrize("live", [b'{"version":"1.0.0","allOf":[]}', b"no json", b"\xff\xfe"])
def test_live_policy_outside_our_grammar_is_replaced_and_not_blamed_on_the_option(live: bytes) -> None:
    made = plan(key(live))
    assert made.body == {"release_policy": canonical.dump(model.parse(POLICY))}
    assert isinstance(made.before["release_policy"], str)
    assert not plan(key(live), release_policy=None).changed
    with pytest.raises(SkrFailure) as caught:
        plan(key(live, immutable=True))
    assert caught.value.reason == "policy_immutable"


@pytest.mark.parametrize("exportable", [False, None])
def test_key_that_is_not_exportable(exportable: bool | None) -> None:
    with pytest.raises(SkrFailure) as caught:
        plan(key(None, exportable=exportable))
    assert caught.value.reason == "key_not_exportable" and caught.value.facts["kid"].endswith("0123456789abcdef")


@pytest.mark.parametrize(
    ("wanted", "option"),
    [
        ({"key_size": 2048}, "key_size"),
        ({"key_type": "EC-HSM"}, "key_type"),
        ({"key_type": "EC-HSM", "curve": "P-256"}, "key_type"),
    ],
)
def test_type_and_size_are_fixed(wanted: dict[str, Any], option: str) -> None:
    with pytest.raises(SkrFailure) as caught:
        plan(key(POLICY), **wanted)
    assert caught.value.reason == "key_type_fixed" and caught.value.facts["option"] == option


def test_rotation_makes_a_version_also_when_nothing_else_changes() -> None:
    made = plan(key(POLICY), rotate=True)
    assert made.action == "rotate" and made.body == {} and made.after["version"] != made.before["version"]
    assert plan(key(POLICY), rotate=True, enabled=False).body == {"enabled": False}


def test_recovery_in_check_mode_is_shown() -> None:
    made = plan(None, recovered=True)
    assert made.before == {"state": "deleted"} and made.after == {"state": "recovered"}


# --- input


@pytest.mark.parametrize(
    ("vault_uri", "hsm_uri", "name", "option"),
    [
        ("kv", None, "app", "vault_uri"),
        ("http://kv.vault.azure.net", None, "app", "vault_uri"),
        ("https://kv.vault.azure.net/keys/app", None, "app", "vault_uri"),
        ("https://user@kv.vault.azure.net", None, "app", "vault_uri"),
        ("https://kv.managedhsm.azure.net", None, "app", "vault_uri"),
        (None, "https://kv.vault.azure.net", "app", "hsm_uri"),
        (None, "hsm", "app", "hsm_uri"),
        ("https://kv.vault.azure.net", None, "my_key", "key_name"),
        ("https://kv.vault.azure.net", None, "", "key_name"),
        (None, "https://h.managedhsm.azure.net", "a" * 128, "key_name"),
    ],
)
def test_bad_target(vault_uri: str | None, hsm_uri: str | None, name: str, option: str) -> None:
    with pytest.raises(SkrFailure) as caught:
        target(vault_uri, hsm_uri, name)
    assert caught.value.reason == "invalid_input" and caught.value.facts["option"] == option


@pytest.mark.parametrize(
    ("wanted", "option"),
    [
        ({"curve": "P-256"}, "curve"),
        ({"key_type": "EC-HSM", "key_size": 2048}, "key_size"),
        ({"key_type": "oct-HSM"}, "key_type"),
        ({"key_size": 1024}, "key_size"),
        ({"not_before": 2, "expires_on": 1}, "expires_on"),
        ({"version": "0" * 32, "rotate": True}, "key_version"),
    ],
)
def test_bad_input(wanted: dict[str, Any], option: str) -> None:
    with pytest.raises(SkrFailure) as caught:
        keys.check(dataclasses.replace(WANTED, **wanted))
    assert caught.value.reason == "invalid_input" and caught.value.facts["option"] == option


def test_bad_policy_is_refused_with_its_position() -> None:
    with pytest.raises(SkrFailure) as caught:
        keys.check(dataclasses.replace(WANTED, release_policy={"version": "1.0.0", "anyOf": []}))
    assert caught.value.reason == "policy_invalid" and caught.value.facts["position"] == "anyOf"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None),
        ("", None),
        ("1800000000", 1800000000),
        ("2027-01-15T08:00:00Z", 1800000000),
        ("2027-01-15T09:00:00+01:00", 1800000000),
        ("2027-01-15 08:00:00.9+00:00", 1800000000),
    ],
)
def test_times(text: str | None, seconds: int | None) -> None:
    assert keys.parse_time("expires_on", text) == seconds


@pytest.mark.parametrize("text", ["tomorrow", "2027-01-15", "2027-01-15T08:00:00", "-5", "²", "9" * 30, "1e9"])
def test_times_that_are_none(text: str) -> None:
    with pytest.raises(SkrFailure) as caught:
        keys.parse_time("expires_on", text)
    assert caught.value.reason == "invalid_input" and caught.value.facts["option"] == "expires_on"


# --- the public half


def integer(number: int, length: int) -> bytes:
    return number.to_bytes(length, "big")


def test_public_rsa_key_is_told_as_the_library_writes_it() -> None:
    public = rsa.generate_private_key(65537, 2048).public_key()
    numbers = public.public_numbers()
    jwk = type("Jwk", (), {"n": b"\0" + integer(numbers.n, 256), "e": b"\1\0\1"})
    check_public(public, jwk)


@pytest.mark.parametrize(
    ("name", "curve", "length"),
    [
        ("P-256", ec.SECP256R1, 32),
        ("P-256K", ec.SECP256K1, 32),
        ("P-384", ec.SECP384R1, 48),
        ("P-521", ec.SECP521R1, 66),
    ],
)
def test_public_ec_key(name: str, curve: Any, length: int) -> None:
    public = ec.generate_private_key(curve()).public_key()
    numbers = public.public_numbers()
    members = {"n": None, "crv": name, "x": integer(numbers.x, length), "y": integer(numbers.y, length)}
    check_public(public, type("Jwk", (), members))


def check_public(public: Any, jwk: Any) -> None:
    told = public_key(jwk)
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    assert told["public_key_pem"] == public.public_bytes(serialization.Encoding.PEM, form).decode()
    der = public.public_bytes(serialization.Encoding.DER, form)
    assert told["public_key_sha256"] == hashlib.sha256(der).hexdigest()
    assert base64.b64decode("".join(told["public_key_pem"].splitlines()[1:-1])) == der


# --- the calls


class Client:
    """Stand-in of the key client; ``held`` is the key or None, ``deleted`` whether the name is held."""

    def __init__(self, held: Any = None, deleted: bool = False, **errors: Any) -> None:
        self.held, self.deleted, self.errors = held, deleted, errors
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def _call(self, name: str, options: dict[str, Any]) -> None:
        self.calls.append((name, options))
        waiting = self.errors.get(name)
        if waiting:
            raise waiting.pop(0)

    @property
    def writes(self) -> list[str]:
        return [name for name, _options in self.calls if not name.startswith(("get", "list"))]

    def get_key(self, name: str, version: str | None = None, **options: Any) -> Any:
        self._call("get_key", {})
        if self.held is None:
            raise answer(404, "KeyNotFound")
        return self.held

    def get_deleted_key(self, name: str) -> Any:
        self._call("get_deleted_key", {})
        if not self.deleted:
            raise answer(404, "KeyNotFound")

    def create_key(self, name: str, kind: str, **options: Any) -> Any:
        self._call("create_key", options)
        self.held = key(POLICY)
        return self.held

    def update_key_properties(self, name: str, version: str | None = None, **options: Any) -> None:
        self._call("update_key_properties", options)

    def rotate_key(self, name: str, **options: Any) -> None:
        self._call("rotate_key", options)

    def purge_deleted_key(self, name: str, **options: Any) -> None:
        self._call("purge_deleted_key", options)
        self.deleted = False

    def begin_recover_deleted_key(self, name: str) -> Any:
        self._call("begin_recover_deleted_key", {})
        self.held, self.deleted = key(POLICY), False
        return type("Poller", (), {"wait": lambda _self: None})()

    def list_properties_of_key_versions(self, name: str) -> list[Any]:
        moments = [datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc) for seconds in (100, 300, 200)]
        return [
            type(
                "Item",
                (),
                {
                    "id": f"kid{n}",
                    "version": f"v{n}",
                    "enabled": True,
                    "created_on": at,
                    "not_before": None,
                    "expires_on": None,
                },
            )
            for n, at in enumerate(moments)
        ]


class Vaults:
    def __init__(self, sku: str = "premium", name: str = "kv", error: Exception | None = None) -> None:
        self.vaults, self.error = self, error
        self.held = {**vault(sku={"family": "A", "name": sku}), "name": name}

    def list_by_subscription(self) -> list[Model]:
        if self.error:
            raise self.error
        return [Model(self.held)]


def ensure(client: Client, vaults: Vaults | None = None, check_mode: bool = False, **wanted: Any) -> dict[str, Any]:
    cache = {"keys https://kv.vault.azure.net": client, "azure-mgmt-keyvault": vaults or Vaults()}
    return keys.ensure(Connection(login(), _cache=cache), dataclasses.replace(WANTED, **wanted), check_mode)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now, slept = [0.0], []

    def sleep(seconds: float) -> None:
        now[0] += seconds
        slept.append(seconds)

    monkeypatch.setattr(key_apply.time, "sleep", sleep)
    monkeypatch.setattr(key_apply.time, "monotonic", lambda: now[0])
    return slept


def test_creation_is_sent_once_and_with_canonical_policy() -> None:
    client = Client()
    result = ensure(client, tags={"n": 1}, expires_on=1900000000)
    assert client.writes == ["create_key"] and result["changed"]
    options = client.calls[-1][1]
    assert options["retry_total"] == 0  # repeated after a lost answer it would make a second version
    assert options["exportable"] is True and options["size"] == 3072 and options["tags"] == {"n": "1"}
    assert options["release_policy"].encoded_policy == canonical.dump(model.parse(POLICY)).encode()
    assert options["release_policy"].immutable is None
    assert options["expires_on"].timestamp() == 1900000000
    assert result["public_key_sha256"] and result["key_version"]


def test_unchanged_key_needs_no_resource_manager_and_no_write() -> None:
    client = Client(key(POLICY))
    result = ensure(client, Vaults(error=AssertionError("Resource Manager was asked")))
    assert not result["changed"] and client.writes == [] and "diff" not in result


def test_versions_come_newest_first() -> None:
    assert [one["created"] for one in ensure(Client(key(POLICY)))["versions"]] == [300, 200, 100]


def test_update_and_rotation_are_two_calls() -> None:
    client = Client(key(POLICY))
    ensure(client, enabled=False, rotate=True)
    assert client.writes == ["update_key_properties", "rotate_key"]
    assert client.calls[1][1]["enabled"] is False and "PATCH" in client.calls[1][1]["retry_on_methods"]
    assert client.calls[2][1]["retry_total"] == 0


def test_standard_vault_is_refused_before_any_write() -> None:
    client = Client()
    with pytest.raises(SkrFailure) as caught:
        ensure(client, Vaults("standard"))
    assert caught.value.reason == "vault_sku" and client.writes == []
    assert caught.value.facts == {"found": "standard", "wanted": "premium", "vault": "kv"}


@pytest.mark.parametrize("vaults", [Vaults(name="another"), Vaults(error=answer(403, "AuthorizationFailed"))])
def test_vault_that_resource_manager_does_not_show_is_left_to_the_service(vaults: Vaults) -> None:
    """Whoever may manage keys but not read the vault, or has it in another subscription, can still make a key."""
    client = Client()
    assert ensure(client, vaults)["changed"] and client.writes == ["create_key"]
    deleted = Client(deleted=True)
    assert ensure(deleted, vaults, deleted_action="recover")["changed"]
    assert deleted.writes == ["begin_recover_deleted_key"]


@pytest.mark.parametrize(
    ("action", "writes"),
    [("recover", ["begin_recover_deleted_key"]), ("purge", ["purge_deleted_key", "create_key"])],
)
def test_soft_deleted_name(action: str, writes: list[str]) -> None:
    client = Client(deleted=True)
    result = ensure(client, deleted_action=action)
    assert result["changed"] and client.writes == writes and result["diff"]
    dry = Client(deleted=True)
    assert ensure(dry, check_mode=True, deleted_action=action)["changed"] and dry.writes == []


def test_soft_deleted_name_fails_by_default() -> None:
    client = Client(deleted=True)
    with pytest.raises(SkrFailure) as caught:
        ensure(client)
    assert caught.value.reason == "deleted_recoverable" and client.writes == []
    assert "deleted_action" in caught.value.next_step


def test_recovered_key_is_reconciled() -> None:
    client = Client(deleted=True)
    result = ensure(client, deleted_action="recover", enabled=False)
    assert client.writes == ["begin_recover_deleted_key", "update_key_properties"] and result["changed"]


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ('Operation "purge" is not allowed because purge protection is enabled for this vault.', "purge_refused"),
        (
            "The user, group or application 'x' does not have keys purge permission on key vault 'kv'.",
            "permission_missing",
        ),
    ],
)
def test_purge_that_is_forbidden(message: str, reason: str) -> None:
    client = Client(deleted=True, purge_deleted_key=[answer(403, "Forbidden", message, "ForbiddenByPolicy")])
    with pytest.raises(SkrFailure) as caught:
        ensure(client, deleted_action="purge")
    assert caught.value.reason == reason and client.writes == ["purge_deleted_key"]


def test_creation_waits_for_a_purge_under_way(no_waiting: list[float]) -> None:
    busy = [answer(409, "Conflict", "is being deleted", "ObjectIsBeingDeleted") for _unused in range(3)]
    assert ensure(Client(create_key=busy))["changed"] and len(no_waiting) == 3
    forever = Client(create_key=[answer(409, "Conflict", "x", "ObjectIsBeingDeleted") for _unused in range(100)])
    with pytest.raises(SkrFailure) as caught:
        ensure(forever)
    assert caught.value.reason == "conflict" and sum(no_waiting) < 90


def test_deleted_name_that_only_the_creation_can_see() -> None:
    """Without the right to look among deleted keys, the creation tells."""
    client = Client(
        get_deleted_key=[answer(403, "Forbidden", "no", "AccessDenied")],
        create_key=[answer(409, "Conflict", "deleted but recoverable", "ObjectIsDeletedButRecoverable")],
    )
    with pytest.raises(SkrFailure) as caught:
        ensure(client)
    assert caught.value.reason == "deleted_recoverable"
