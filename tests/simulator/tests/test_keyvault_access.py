# SPDX-License-Identifier: GPL-3.0-or-later
"""Who gets into a vault: firewall, challenge, token, access policies, Azure RBAC."""

from __future__ import annotations

import typing as t

import pytest
from vault_caller import VaultLab, b64u, rsa_key

from skrsim.core.app import App
from skrsim.core.world import World
from skrsim.services.arm import seed

ROLE = "Key Vault Crypto Service Release User"
AKV10000 = {"error": {"code": "Unauthorized", "message": "AKV10000: Request is missing a Bearer or PoP token."}}


@pytest.fixture
def lab(app: App) -> VaultLab:
    return VaultLab(app)


def test_a_vault_that_does_not_exist_has_no_name(lab: VaultLab, app: App) -> None:
    assert app.serves("v.vault.azure.net")
    assert not app.serves("w.vault.azure.net")
    assert not app.serves("v.vault.azure.net.example")
    del lab.world.vaults["v"]
    assert not app.serves("v.vault.azure.net")


@pytest.mark.parametrize("authorization", ["", "Basic abc", "Bearer", "Bearer "])
def test_the_first_answer_is_the_challenge(lab: VaultLab, authorization: str) -> None:
    answer = lab("GET", "/keys/app/", authorization=authorization)
    assert answer.status == 401
    assert answer.document == AKV10000
    assert answer.headers["WWW-Authenticate"] == (
        f'Bearer authorization="https://login.windows.net/{lab.world.tenant_id}", resource="https://vault.azure.net"'
    )
    assert answer.clause == "vault.challenge"
    assert "Retry-After" not in answer.headers


def test_the_challenge_comes_before_everything_that_the_request_could_be_blamed_for(lab: VaultLab) -> None:
    assert lab("GET", "/nonsense", api="1.0", authorization="").document == AKV10000


def test_every_answer_carries_the_service_headers(lab: VaultLab) -> None:
    headers = lab("GET", "/keys", authorization="").headers
    assert headers["x-ms-keyvault-region"] == "westeurope"
    assert headers["x-ms-keyvault-network-info"] == "conn_type=Ipv4;addr=127.0.0.1;act_addr_fam=InterNetwork;"
    assert {"x-ms-request-id", "x-ms-keyvault-service-version"} <= set(headers)


@pytest.mark.parametrize("audience", ["https://managedhsm.azure.net", "https://management.azure.com/"])
def test_a_token_for_another_plane_is_refused(lab: VaultLab, audience: str) -> None:
    answer = lab("GET", "/keys", authorization=f"Bearer {lab.token(audience=audience)}")
    assert answer.status == 401
    assert answer.message == f"AKV10022: Invalid audience. Expected https://vault.azure.net, found: {audience}."
    assert answer.clause == "vault.token.audience"
    assert "WWW-Authenticate" in answer.headers


@pytest.mark.parametrize("version", [1, 2])
def test_both_token_versions_and_a_final_slash_of_the_audience_are_accepted(lab: VaultLab, version: int) -> None:
    token = lab.token(audience="https://vault.azure.net/", version=version)
    assert lab("GET", "/keys", authorization=f"Bearer {token}").status == 200


def test_a_token_of_another_tenant_is_refused(lab: VaultLab, monkeypatch: pytest.MonkeyPatch) -> None:
    other = "https://sts.windows.net/00000000-1111-2222-3333-444444444444/"
    monkeypatch.setattr(lab.world.services["entra"], "issuer", lambda _version, _cloud: other)
    token = lab.token()
    monkeypatch.undo()
    answer = lab("GET", "/keys", authorization=f"Bearer {token}")
    assert answer.status == 401
    assert answer.message == (
        f"AKV10032: Invalid issuer. Expected one of https://sts.windows.net/{lab.world.tenant_id}/, found {other}."
    )


def test_expired_forged_and_malformed_tokens_are_refused_for_their_own_reasons(lab: VaultLab) -> None:
    good = lab.token(lifetime=60)
    head, body, _signature = good.split(".")
    forged = f"{head}.{body}.{b64u(bytes(256))}"
    assert lab("GET", "/keys", authorization=f"Bearer {forged}").clause == "vault.token.signature"
    assert lab("GET", "/keys", authorization="Bearer not-a-token").clause == "vault.token.malformed"
    assert lab("GET", "/keys", authorization=f"Bearer {good}").status == 200
    lab.world.clock.advance(61)
    late = lab("GET", "/keys", authorization=f"Bearer {good}")
    assert (late.status, late.clause) == (401, "vault.token.expired")
    assert late.message.startswith("AKV100")


# --- network rules


def test_the_firewall_answers_before_the_challenge_and_names_the_address(lab: VaultLab) -> None:
    lab.vault.network_acls = {"defaultAction": "Deny", "ipRules": [{"value": "203.0.113.0/24"}]}
    for authorization in ("", f"Bearer {lab.token()}"):
        answer = lab("GET", "/keys", authorization=authorization, address="198.51.100.7")
        assert (answer.status, answer.inner) == (403, "ForbiddenByFirewall")
        first, second, *_rest = answer.message.splitlines()
        assert first == "Client address is not authorized and caller is not a trusted service."
        assert second == "Client address: 198.51.100.7"
        assert "WWW-Authenticate" not in answer.headers
    assert lab("GET", "/keys", authorization="", address="203.0.113.9").status == 401
    assert lab("GET", "/keys", address="203.0.113.9").status == 200


def test_a_rule_for_one_address_admits_only_that(lab: VaultLab) -> None:
    lab.vault.network_acls = {"defaultAction": "Deny", "ipRules": [{"value": "203.0.113.4"}]}
    assert lab("GET", "/keys", address="203.0.113.4").status == 200
    assert lab("GET", "/keys", address="203.0.113.5").status == 403


def test_a_vault_without_public_access_refuses_every_address(lab: VaultLab) -> None:
    lab.vault.public_network_access = "Disabled"
    lab.vault.network_acls = {"defaultAction": "Allow"}
    answer = lab("GET", "/keys", authorization="")
    assert (answer.status, answer.inner) == (403, "ForbiddenByConnection")


# --- permissions: one table for both models

OPERATIONS = [
    ("POST", "/keys/app/create", "create", "keys/create/action"),
    ("POST", "/keys/app/release", "release", "keys/release/action"),
    ("POST", "/keys/app/rotate", "rotate", "keys/rotate/action"),
    ("GET", "/keys/app/versions", "list", "keys/read"),
    ("GET", "/keys/app/rotationpolicy", "getrotationpolicy", "keyrotationpolicies/read"),
    ("PUT", "/keys/app/rotationpolicy", "setrotationpolicy", "keyrotationpolicies/write"),
    ("GET", "/keys/app/", "get", "keys/read"),
    ("PATCH", "/keys/app/", "update", "keys/update/action"),
    ("PUT", "/keys/app", "import", "keys/import/action"),
    ("DELETE", "/keys/app", "delete", "keys/delete"),
    ("GET", "/keys", "list", "keys/read"),
    ("POST", "/deletedkeys/app/recover", "recover", "keys/recover/action"),
    ("GET", "/deletedkeys/app", "get", "keys/read"),
    ("DELETE", "/deletedkeys/app", "purge", "keys/purge/action"),
    ("GET", "/deletedkeys", "list", "keys/read"),
]
ALL = sorted({permission for _method, _path, permission, _action in OPERATIONS})


@pytest.mark.parametrize(("method", "path", "permission", "action"), OPERATIONS)
def test_access_policies_decide_each_operation_by_its_own_permission(
    lab: VaultLab, method: str, path: str, permission: str, action: str
) -> None:
    assert action
    lab.vault.rbac = False
    without, only = lab.application("without"), lab.application("only")
    lab.permit(without, *(name for name in ALL if name != permission))
    lab.permit(only, permission)
    refused = lab(method, path, by=without)
    assert (refused.status, refused.inner) == (403, "AccessDenied")
    assert refused.message.startswith(
        f"The user, group or application 'appid={without.app_id};oid={without.object_id};"
        f"iss=https://sts.windows.net/{lab.world.tenant_id}/' does not have keys {permission} permission on key vault "
        "'v;location=westeurope'."
    )
    assert refused.audit["principal"] == without.object_id
    assert refused.clause == "vault.access_policy"
    allowed = lab(method, path, by=only)
    assert allowed.status != 403
    assert allowed.audit["principal"] == only.object_id


@pytest.mark.parametrize(("method", "path", "permission", "action"), OPERATIONS)
def test_rbac_decides_each_operation_by_its_own_data_action(
    lab: VaultLab, method: str, path: str, permission: str, action: str
) -> None:
    assert permission
    nobody = lab.application("nobody")
    answer = lab(method, path, by=nobody)
    assert (answer.status, answer.inner) == (403, "ForbiddenByRbac")
    lines = answer.message.split("\r\n")
    scope = (lab.vault.id + ("/keys/app" if "app" in path else "")).lower()
    assert lines[0] == "Caller is not authorized to perform action on resource."
    assert lines[2:] == [
        f"Caller: appid={nobody.app_id};oid={nobody.object_id};iss=https://sts.windows.net/{lab.world.tenant_id}/",
        f"Action: 'Microsoft.KeyVault/vaults/{action}'",
        f"Resource: '{scope}'",
        "Assignment: (not found)",
        "DenyAssignmentId: null",
        "DecisionReason: null",
        "Vault: v;location=westeurope",
    ]
    assert answer.audit["principal"] == nobody.object_id
    assert lab(method, path).status != 403


def test_an_access_policy_counts_only_in_its_own_model_and_for_its_own_principal(lab: VaultLab) -> None:
    lab.key()
    one, two = lab.application("one"), lab.application("two", (ROLE, lab.vault.id))
    lab.permit(one, "release")
    assert lab.release(by=one).inner == "ForbiddenByRbac"
    assert lab.release(by=two).status == 200
    lab.vault.rbac = False
    assert lab.release(by=one).status == 200
    assert lab.release(by=two).inner == "AccessDenied"
    lab.vault.access_policies[-1].application_id = one.app_id  # an entry for a compound identity
    assert lab.release(by=one).inner == "AccessDenied"


def test_a_permission_of_an_access_policy_is_missing_until_it_takes_effect(lab: VaultLab) -> None:
    lab.key()
    lab.vault.rbac = False
    late = lab.application("late")
    lab.permit(late, "get", "release")
    lab.vault.access_policies[-1].effective = {"keys/release": lab.world.clock.now() + 90}
    assert lab("GET", "/keys/app", by=late).status == 200
    assert lab.release(by=late).inner == "AccessDenied"
    lab.world.clock.advance(91)
    assert lab.release(by=late).status == 200


def test_a_removed_permission_is_honoured_for_a_while(lab: VaultLab) -> None:
    lab.key()
    lab.vault.rbac = False
    caller = lab.application("caller")
    assert lab.release(by=caller).inner == "AccessDenied"
    lab.vault.removed_permissions[(caller.object_id, "release")] = lab.world.clock.now()
    assert lab.release(by=caller).inner == "AccessDenied"
    lab.world.delays.lingering = {caller.object_id: 90}
    assert lab.release(by=caller).status == 200
    lab.world.clock.advance(91)
    assert lab.release(by=caller).inner == "AccessDenied"


def test_a_role_assignment_is_missing_until_it_takes_effect(lab: VaultLab) -> None:
    lab.key()
    late = lab.application("late")
    assignment = seed.role(lab.world, late.object_id, ROLE, lab.vault.id)
    assignment.effective_at = lab.world.clock.now() + 90
    assert lab.release(by=late).inner == "ForbiddenByRbac"
    lab.world.clock.advance(91)
    answer = lab.release(by=late)
    assert answer.status == 200
    assert assignment.name in answer.clause
    assert answer.headers["x-ms-keyvault-rbac-assignment-id"] == assignment.name


def test_a_role_at_one_key_is_good_for_that_key_alone(lab: VaultLab) -> None:
    lab.key("app")
    lab.key("app2", private=rsa_key("app-0"))
    narrow = lab.application("narrow", (ROLE, f"{lab.vault.id}/keys/APP"))
    assert lab.release("/keys/app/release", by=narrow).status == 200
    assert lab.release("/keys/App/release", by=narrow).status == 200
    assert lab.release("/keys/app2/release", by=narrow).inner == "ForbiddenByRbac"
    assert lab("GET", "/keys/app", by=narrow).inner == "ForbiddenByRbac"


@pytest.mark.parametrize("role", ["Key Vault Crypto User", "Key Vault Crypto Service Encryption User", "Contributor"])
def test_other_roles_do_not_release(lab: VaultLab, role: str) -> None:
    lab.key()
    assert lab.release(by=lab.application("other", (role, lab.vault.id))).inner == "ForbiddenByRbac"


def test_a_grant_in_another_vault_is_worth_nothing_here(lab: VaultLab, world: World) -> None:
    other: t.Any = lab.add_vault("v2", rbac=True)
    guest = lab.application("guest", (ROLE, other.id))
    lab.key()
    assert lab.release(by=guest).inner == "ForbiddenByRbac"
    assert lab.release(by=guest, vault="v2").status == 404
    assert ("v2", "app") not in world.keys
