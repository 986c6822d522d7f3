# SPDX-License-Identifier: GPL-3.0-or-later
"""The module exportable_key against the services: the whole life of a key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from integration.site import vault_name
from labkit import Lab

from skrsim.lab.inventory import release_policy
from skrsim.lab.plan import LOCATION, RESOURCE_GROUP


def ensure(lab: Lab, vault: str, name: str, check: bool = False, **options: Any) -> dict[str, Any]:
    wanted = {"vault_uri": f"https://{vault}.vault.azure.net", "key_name": name} | options
    return lab.module("exportable_key", check=check, diff=True, **(lab.azure() | wanted))


def make_vault(lab: Lab, **options: Any) -> str:
    name = vault_name()
    wanted = {"name": name, "resource_group": RESOURCE_GROUP, "location": LOCATION, "enable_rbac_authorization": True}
    made = lab.module("key_vault", **(lab.azure() | wanted | options))
    assert made["changed"], made
    return name


@pytest.fixture(scope="module")
def vault(shared_lab: Lab) -> str:
    return make_vault(shared_lab)


def test_create_then_no_change(local_lab: Lab, vault: str) -> None:
    policy = release_policy()
    mark = local_lab.mark
    planned = ensure(local_lab, vault, "first", check=True, release_policy=policy, key_size=2048)
    assert planned["changed"] and local_lab.writes(mark) == []
    shown = planned["diff"]["after"]
    assert shown["exportable"] is True and shown["key_type"] == "RSA-HSM" and shown["release_policy"] == policy
    made = ensure(local_lab, vault, "first", release_policy=policy, key_size=2048, tags={"n": 1})
    assert made["changed"] and made["key"]["exportable"] and made["key"]["tags"] == {"n": "1"}
    assert made["kid"].endswith(made["key_version"]) and len(made["versions"]) == 1
    assert made["public_key_pem"].startswith("-----BEGIN PUBLIC KEY-----") and len(made["public_key_sha256"]) == 64
    assert [one["operation"] for one in local_lab.writes(mark)] == ["key_create"]
    mark = local_lab.mark
    again = ensure(local_lab, vault, "first", release_policy=policy, key_size=2048, tags={"n": 1})
    assert not again["changed"] and "diff" not in again and again["kid"] == made["kid"]
    # Without a change: sign-in, key, versions; Resource Manager is not asked. (A new process is challenged first.)
    assert local_lab.writes(mark) == [] and local_lab.audit(mark, service="arm") == []
    asked = [one["operation"] for one in local_lab.audit(mark, service="keyvault") if one["status"] != 401]
    assert asked == ["key_get", "key_versions"]


def test_policy_in_other_words_is_no_change(local_lab: Lab, vault: str, tmp_path: Path) -> None:
    policy = release_policy()
    ensure(local_lab, vault, "words", release_policy=policy, key_size=2048)
    rule = policy["anyOf"][0]
    other = {
        "anyOf": [{"allOf": [*reversed(rule["allOf"]), rule["allOf"][0]], "authority": rule["authority"].upper().replace("HTTPS", "https") + "/"}] * 2,
        "version": "1.0.0",
    }  # fmt: skip
    for condition in other["anyOf"][0]["allOf"]:  # type: ignore[index]
        condition["equals"] = {True: "true", False: "false"}.get(condition["equals"], condition["equals"])
    path = tmp_path / "policy.json"
    path.write_text(json.dumps(other, indent=4).replace("\n", "\r\n"))
    mark = local_lab.mark
    result = ensure(local_lab, vault, "words", release_policy_file=str(path))
    assert not result.get("failed") and not result["changed"], result
    assert local_lab.writes(mark) == []


def test_policy_change_goes_to_the_key_and_not_to_a_version(local_lab: Lab, vault: str) -> None:
    policy = release_policy()
    made = ensure(local_lab, vault, "narrow", release_policy=policy, key_size=2048)
    policy["anyOf"][0]["allOf"].append({"claim": "x-ms-azurevm-vmid", "equals": "0F3B0000-AAAA-4BBB-8CCC-DDDDEEEEFFFF"})
    mark = local_lab.mark
    check = ensure(local_lab, vault, "narrow", check=True, release_policy=policy)
    assert check["changed"] and local_lab.writes(mark) == []
    changed = ensure(local_lab, vault, "narrow", release_policy=policy)
    assert changed["changed"] and changed["kid"] == made["kid"]
    (write,) = local_lab.writes(mark)
    assert write["operation"] == "key_update" and made["key_version"] not in write["path"]
    assert len(changed["diff"]["after"]["release_policy"]["anyOf"][0]["allOf"]) == 5
    assert not ensure(local_lab, vault, "narrow", release_policy=policy)["changed"]
    # What the option leaves out stays.
    assert not ensure(local_lab, vault, "narrow")["changed"]


def test_duplicate_branch_is_uploaded_once(local_lab: Lab, vault: str) -> None:
    policy = release_policy()
    policy["anyOf"] *= 2
    ensure(local_lab, vault, "twice", release_policy=policy, key_size=2048)
    assert len(local_lab.call("key", vault=vault, key="twice")["policy"]["anyOf"]) == 1


def test_attributes(local_lab: Lab, vault: str) -> None:
    policy = release_policy()
    first: dict[str, Any] = {
        "not_before": "2027-01-15T08:00:00Z",
        "expires_on": "1900000000",
        "key_ops": ["sign", "verify"],
    }
    made = ensure(local_lab, vault, "times", release_policy=policy, key_size=2048, **first)
    assert made["key"]["not_before"] == 1800000000 and made["key"]["expires_on"] == 1900000000
    assert made["key"]["key_ops"] == ["sign", "verify"] and made["versions"][0]["expires_on"] == 1900000000
    assert not ensure(local_lab, vault, "times", **first)["changed"]
    changed = ensure(local_lab, vault, "times", enabled=False, tags={"a": "b"}, expires_on="2030-03-17T17:46:41+00:00")
    assert changed["changed"] and changed["key"]["enabled"] is False and changed["key"]["expires_on"] == 1900000001
    assert changed["diff"]["before"]["enabled"] is True and changed["diff"]["after"]["enabled"] is False
    cleared = ensure(local_lab, vault, "times", tags={})
    assert cleared["changed"] and cleared["key"]["tags"] == {}


def test_rotation_keeps_policy_and_lists_versions(local_lab: Lab, vault: str) -> None:
    first = ensure(local_lab, vault, "turn", release_policy=release_policy(), key_size=2048)
    mark = local_lab.mark
    assert ensure(local_lab, vault, "turn", check=True, rotate=True)["changed"] and local_lab.writes(mark) == []
    second = ensure(local_lab, vault, "turn", rotate=True)
    assert second["changed"] and second["kid"] != first["kid"]
    assert second["public_key_sha256"] != first["public_key_sha256"]
    assert second["key"]["release_policy"] == first["key"]["release_policy"] and second["key"]["exportable"]
    assert sorted(one["version"] for one in second["versions"]) == sorted([first["key_version"], second["key_version"]])
    assert len(local_lab.call("key", vault=vault, key="turn")["versions"]) == 2


@pytest.mark.parametrize("curve", ["P-256", "P-384", "P-521"])
def test_elliptic_curve(local_lab: Lab, vault: str, curve: str) -> None:
    name = f"ec-{curve}"
    made = ensure(local_lab, vault, name, key_type="EC-HSM", curve=curve, release_policy=release_policy())
    assert made["changed"] and made["key"]["curve"] == curve and "PUBLIC KEY" in made["public_key_pem"], made
    assert not ensure(local_lab, vault, name, key_type="EC-HSM")["changed"]


# --- soft-deleted names


def delete(lab: Lab, vault: str, name: str) -> None:
    """Delete a key with the service's own SDK, as somebody else would."""
    from ansible_collections.confidential.azure_skr.plugins.module_utils.azure.clients import connection

    connection(lab.azure(), {}).keys(f"https://{vault}.vault.azure.net").begin_delete_key(name).wait()


def test_soft_deleted_name(local_lab: Lab, vault: str) -> None:
    policy = release_policy()
    made = ensure(local_lab, vault, "gone", release_policy=policy, key_size=2048)
    delete(local_lab, vault, "gone")
    mark = local_lab.mark
    failed = ensure(local_lab, vault, "gone", release_policy=policy)
    assert failed["failed"] and failed["reason"] == "deleted_recoverable" and local_lab.writes(mark) == []
    check = ensure(local_lab, vault, "gone", check=True, release_policy=policy, deleted_action="recover")
    assert check["changed"] and local_lab.writes(mark) == []
    back = ensure(local_lab, vault, "gone", release_policy=policy, deleted_action="recover", tags={"again": "yes"})
    assert back["changed"] and back["kid"] == made["kid"] and back["key"]["tags"] == {"again": "yes"}
    assert [one["operation"] for one in local_lab.writes(mark)] == ["deleted_key_recover", "key_update"]
    delete(local_lab, vault, "gone")
    mark = local_lab.mark
    fresh = ensure(local_lab, vault, "gone", release_policy=policy, key_size=2048, deleted_action="purge")
    assert fresh["changed"] and fresh["kid"] != made["kid"] and len(fresh["versions"]) == 1
    assert [one["operation"] for one in local_lab.writes(mark)] == ["deleted_key_purge", "key_create"]


def test_purge_protection_refuses_the_purge(local_lab: Lab) -> None:
    protected = make_vault(local_lab, purge_protection=True)
    ensure(local_lab, protected, "gone", release_policy=release_policy(), key_size=2048)
    delete(local_lab, protected, "gone")
    mark = local_lab.mark
    result = ensure(local_lab, protected, "gone", release_policy=release_policy(), deleted_action="purge")
    assert result["failed"] and result["reason"] == "purge_refused" and local_lab.writes(mark) == []


def test_missing_purge_permission_is_not_told_as_purge_protection(local_lab: Lab) -> None:
    """Key managers by access policy may delete and recover, not purge."""
    plain = make_vault(local_lab, enable_rbac_authorization=False, key_managers=["self"])
    ensure(local_lab, plain, "gone", release_policy=release_policy(), key_size=2048)
    delete(local_lab, plain, "gone")
    result = ensure(local_lab, plain, "gone", release_policy=release_policy(), deleted_action="purge")
    assert result["failed"] and result["reason"] == "permission_missing" and "purge" in result["msg"], result


# --- refusals


@pytest.mark.parametrize(
    ("options", "reason", "word"),
    [
        ({"key_name": "absent"}, "policy_missing", "release_policy"),
        ({"key_size": 4096}, "key_type_fixed", "2048"),
        ({"key_type": "EC-HSM"}, "key_type_fixed", "RSA-HSM"),
        ({"key_size": 1000}, "invalid_input", "key_size"),
        ({"key_name": "under_score"}, "invalid_input", "key_name"),
        ({"vault_uri": "kv.vault.azure.net"}, "invalid_input", "vault_uri"),
        ({"expires_on": "soon"}, "invalid_input", "expires_on"),
        (
            {"release_policy": {"version": "1.0.0", "anyOf": [{"authority": "x"}]}},
            "policy_invalid",
            "anyOf[0].authority",
        ),
        ({"release_policy_file": "/nowhere/policy.json"}, "invalid_input", "/nowhere/policy.json"),
    ],
)
def test_refusals_write_nothing(local_lab: Lab, vault: str, options: dict[str, Any], reason: str, word: str) -> None:
    ensure(local_lab, vault, "fixed", release_policy=release_policy(), key_size=2048)
    mark = local_lab.mark
    result = ensure(local_lab, vault, options.pop("key_name", "fixed"), **options)
    assert result["failed"] and result["reason"] == reason and word in result["msg"], result
    assert local_lab.writes(mark) == []


def test_both_policy_options_at_once(local_lab: Lab, vault: str) -> None:
    result = ensure(local_lab, vault, "x", release_policy=release_policy(), release_policy_file="/etc/hostname")
    assert result["failed"] and "mutually exclusive" in result["msg"]


def test_plain_key_can_never_become_exportable(local_lab: Lab, vault: str) -> None:
    from ansible_collections.confidential.azure_skr.plugins.module_utils.azure.clients import connection

    connection(local_lab.azure(), {}).keys(f"https://{vault}.vault.azure.net").create_key("plain", "RSA", size=2048)
    mark = local_lab.mark
    result = ensure(local_lab, vault, "plain", release_policy=release_policy())
    assert result["failed"] and result["reason"] == "key_not_exportable" and local_lab.writes(mark) == []


def test_immutable_policy(local_lab: Lab, vault: str) -> None:
    from azure.keyvault.keys import KeyReleasePolicy

    from ansible_collections.confidential.azure_skr.plugins.module_utils.azure.clients import connection

    policy = release_policy()
    frozen = KeyReleasePolicy(json.dumps(policy, indent=1).encode(), immutable=True)
    client = connection(local_lab.azure(), {}).keys(f"https://{vault}.vault.azure.net")
    client.create_rsa_key("frozen", size=2048, hardware_protected=True, exportable=True, release_policy=frozen)
    mark = local_lab.mark
    assert not ensure(local_lab, vault, "frozen", release_policy=policy)["changed"]
    policy["anyOf"][0]["allOf"].pop()
    result = ensure(local_lab, vault, "frozen", release_policy=policy)
    assert result["failed"] and result["reason"] == "policy_immutable" and "is-debuggable" in result["msg"]
    assert result["facts"]["changes"] and local_lab.writes(mark) == []


def test_without_subscription_the_service_tells_the_sku(local_lab: Lab) -> None:
    standard = make_vault(local_lab, sku="standard")
    mark = local_lab.mark
    options = {name: value for name, value in local_lab.azure().items() if name != "subscription_id"}
    result = local_lab.module(
        "exportable_key",
        **options,
        vault_uri=f"https://{standard}.vault.azure.net",
        key_name="app",
        release_policy=release_policy(),
    )
    assert result["failed"] and result["reason"] == "vault_sku" and "AKV.SKR.1001" in result["msg"]
    assert local_lab.writes(mark) == []


def test_missing_permission_names_the_way_out(local_lab: Lab) -> None:
    unmanaged = make_vault(local_lab, enable_rbac_authorization=False)
    result = ensure(local_lab, unmanaged, "app", release_policy=release_policy())
    assert result["failed"] and result["reason"] == "permission_missing" and "key_managers" in result["next_step"]


def test_firewall_is_told_apart(local_lab: Lab) -> None:
    closed = make_vault(local_lab)
    local_lab.call("vault", name=closed, values={"network_acls": {"defaultAction": "Deny", "ipRules": []}})
    result = ensure(local_lab, closed, "app", release_policy=release_policy())
    assert result["failed"] and result["reason"] == "vault_firewall" and "Client address" in result["msg"]


# --- faults


def versions_of(lab: Lab, vault: str, name: str) -> int:
    return len(lab.call("key", vault=vault, key=name)["versions"])


def test_creation_that_the_service_keeps_refusing_fails_with_a_reason(local_lab: Lab, vault: str) -> None:
    with local_lab.fault("status", service="keyvault", operation="key_create", code=503):
        result = ensure(local_lab, vault, "once", release_policy=release_policy(), key_size=2048)
    assert result["failed"] and result["reason"] == "service_error" and result["facts"]["status"] == 503
    assert result["changed"] is False


@pytest.mark.parametrize("action", ["reset", "reset_mid_body", "truncate_json"])
def test_creation_whose_answer_got_lost_is_one_version(local_lab: Lab, vault: str, action: str) -> None:
    name = f"lost-{action.replace('_', '-')}"
    with local_lab.fault(action, service="keyvault", operation="key_create", first=2, times=1):
        made = ensure(local_lab, vault, name, release_policy=release_policy(), key_size=2048)
    assert made["changed"] and made["key_version"], made
    assert versions_of(local_lab, vault, name) == 1
    with local_lab.fault(action, service="keyvault", operation="key_rotate", times=1):
        turned = ensure(local_lab, vault, name, rotate=True)
    assert turned["changed"] and turned["key_version"] != made["key_version"], turned
    assert versions_of(local_lab, vault, name) == 2


@pytest.mark.parametrize("code", [429, 503])
def test_creation_refused_once_is_sent_again(local_lab: Lab, vault: str, code: int) -> None:
    with local_lab.fault("status", service="keyvault", operation="key_create", first=2, times=1, code=code):
        made = ensure(local_lab, vault, f"again-{code}", release_policy=release_policy(), key_size=2048)
    assert made["changed"], made
    assert versions_of(local_lab, vault, f"again-{code}") == 1


def test_throttled_update_is_repeated(local_lab: Lab, vault: str) -> None:
    ensure(local_lab, vault, "slow", release_policy=release_policy(), key_size=2048)
    with local_lab.fault("status", service="keyvault", operation="key_update", times=1, code=429):
        result = ensure(local_lab, vault, "slow", tags={"a": "b"})
    assert result["changed"] and result["key"]["tags"] == {"a": "b"}, result


# --- rotation policy and removal


def test_rotation_policy(local_lab: Lab, vault: str) -> None:
    policy = release_policy()
    ensure(local_lab, vault, "turning", release_policy=policy, key_size=2048)
    mark = local_lab.mark
    wanted = {"rotate_after_create": "p18m", "notify_before_expiry": "P30D", "expires_in": "P2Y"}
    planned = ensure(local_lab, vault, "turning", check=True, rotation_policy=wanted)
    assert planned["changed"] and planned["diff"]["after"]["rotation_policy"]["after_create"] == "P18M"
    assert local_lab.writes(mark) == []
    assert ensure(local_lab, vault, "turning", rotation_policy=wanted)["changed"]
    mark = local_lab.mark
    again = ensure(local_lab, vault, "turning", rotation_policy=wanted)
    assert not again["changed"] and local_lab.writes(mark) == []
    assert ensure(local_lab, vault, "turning", rotation_policy={})["changed"]
    assert not ensure(local_lab, vault, "turning", rotation_policy={})["changed"]
    made = ensure(
        local_lab, vault, "born-turning", release_policy=policy, rotation_policy={"rotate_after_create": "P1Y"}
    )
    assert made["changed"] and made["rotation_policy"]["after_create"] == "P1Y" and len(made["versions"]) == 1


@pytest.mark.parametrize(
    ("rotation", "word"),
    [
        ({"rotate_after_create": "18 months"}, "rotate_after_create"),
        ({"rotate_after_create": "P"}, "rotate_after_create"),
        ({"rotate_after_create": "P1Y", "rotate_before_expiry": "P30D"}, "rotate_before_expiry"),
        ({"notify_before_expiry": "P30D"}, "expires_in"),
    ],
)
def test_bad_rotation_policy(local_lab: Lab, vault: str, rotation: dict[str, str], word: str) -> None:
    mark = local_lab.mark
    result = ensure(local_lab, vault, "turning", rotation_policy=rotation)
    assert result["reason"] == "invalid_input" and word in result["msg"] and local_lab.writes(mark) == []


def test_deleted_recovered_and_purged(local_lab: Lab, vault: str) -> None:
    policy = release_policy()
    made = ensure(local_lab, vault, "passing", release_policy=policy, key_size=2048)
    mark = local_lab.mark
    assert ensure(local_lab, vault, "passing", check=True, state="absent")["changed"] and local_lab.writes(mark) == []
    gone = ensure(local_lab, vault, "passing", state="absent")
    assert gone["changed"] and gone["diff"] == {"before": {"state": "present"}, "after": {"state": "deleted"}}
    mark = local_lab.mark
    assert not ensure(local_lab, vault, "passing", state="absent")["changed"] and local_lab.writes(mark) == []
    back = ensure(local_lab, vault, "passing", release_policy=policy, deleted_action="recover")
    assert back["changed"] and back["kid"] == made["kid"]
    assert ensure(local_lab, vault, "passing", state="purged")["diff"]["after"] == {"state": "absent"}
    mark = local_lab.mark
    assert not ensure(local_lab, vault, "passing", state="purged")["changed"] and local_lab.writes(mark) == []
    fresh = ensure(local_lab, vault, "passing", release_policy=policy, key_size=2048)
    assert fresh["changed"] and fresh["kid"] != made["kid"]
