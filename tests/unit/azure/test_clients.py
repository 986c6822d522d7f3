# SPDX-License-Identifier: GPL-3.0-or-later
"""From the SDK's exceptions to reasons, from its models to wire names, from options to a transport."""

from __future__ import annotations

import json
from typing import Any

import pytest
from azure.core import exceptions
from unit.azure.fakes import SUBSCRIPTION, Model, answer, login

from ansible_collections.confidential.azure_skr.plugins.module_utils.azure import clients, settings
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.failure import SkrFailure


def failure(error: Exception) -> SkrFailure:
    with pytest.raises(SkrFailure) as caught, clients.errors("vault kv"):
        raise error
    return caught.value


@pytest.mark.parametrize(
    ("status", "code", "message", "inner", "reason"),
    [
        # Key Vault tells the rule of secure key release in the message alone.
        (400, "BadParameter", "AKV.SKR.1001: The exportable attribute is only supported with …", None, "vault_sku"),
        (400, "BadParameter", "AKV.SKR.1003: …", None, "key_not_exportable"),
        (400, "BadParameter", "AKV.SKR.1004: Exportable keys must have release policy.", None, "policy_missing"),
        (400, "BadParameter", "AKV.SKR.1005: …", None, "policy_on_plain_key"),
        (400, "BadParameter", "AKV.SKR.1006: …", None, "key_type_software"),
        (400, "BadParameter", "AKV.SKR.1020: …", None, "policy_immutable"),
        (400, "BadParameter", "something else", None, "service_error"),
        (403, "Forbidden", "does not have keys create permission", "AccessDenied", "permission_missing"),
        (403, "Forbidden", "does not have keys get permission", "ForbiddenByPolicy", "permission_missing"),
        (403, "Forbidden", "Assignment: (not found)", "ForbiddenByRbac", "permission_missing"),
        (403, "Forbidden", "Client address is not authorized", "ForbiddenByFirewall", "vault_firewall"),
        (403, "Forbidden", "Public network access is disabled", "ForbiddenByConnection", "vault_firewall"),
        (409, "Conflict", "deleted but recoverable", "ObjectIsDeletedButRecoverable", "deleted_recoverable"),
        (409, "Conflict", "being deleted", "ObjectIsBeingDeleted", "conflict"),
        # Resource Manager
        (403, "AuthorizationFailed", "does not have authorization", None, "authorization_failed"),
        (403, "LinkedAuthorizationFailed", "linked scope", None, "authorization_failed"),
        (400, "PrincipalNotFound", "does not exist in the directory", None, "principal_not_found"),
        (409, "VaultAlreadyExists", "The vault name 'kv' is already in use", None, "vault_name_taken"),
        (409, "ConflictError", "A vault with the same name already exists in deleted state.", None, "vault_name_taken"),
        (409, "ConflictError", "A conflict occurred that prevented the operation", None, "conflict"),
        (404, "ResourceGroupNotFound", "Resource group 'rg' could not be found.", None, "resource_not_found"),
        (404, "SubscriptionNotFound", "The subscription could not be found.", None, "resource_not_found"),
        (412, "PreconditionFailed", "etag", None, "conflict"),
        (429, "TooManyRequests", "slow down", None, "throttled"),
        (500, "InternalServerError", "sorry", None, "service_error"),
        # a long-running operation that failed is an error with status 200
        (200, "OperationFailed", "the platform gave up", None, "operation_failed"),
    ],
)
def test_table(status: int, code: str, message: str, inner: str | None, reason: str) -> None:
    found = failure(answer(status, code, message, inner))
    assert found.reason == reason
    assert found.message.startswith("vault kv: ") and message[:100] in found.message
    assert (
        found.facts["status"] == status and found.facts["code"] == code and found.facts["inner_code"] == (inner or "")
    )
    assert found.facts["request_id"] == "request-7"
    assert json.dumps(found.as_result())


def test_callers_missing_permission_is_not_told_as_the_vms() -> None:
    found = failure(answer(403, "Forbidden", "does not have keys create permission", "AccessDenied"))
    assert "calling identity" in found.cause and "key_managers" in found.next_step


@pytest.mark.parametrize(
    "error",
    [
        exceptions.ServiceRequestError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed"),
        exceptions.ServiceResponseError("certificate verify failed"),
        exceptions.ClientAuthenticationError(message="HTTPSConnectionPool: certificate verify failed"),
    ],
)
def test_untrusted_certificate(error: Exception) -> None:
    assert failure(error).reason == "tls_untrusted"


def test_unreachable_host() -> None:
    found = failure(exceptions.ServiceRequestError("Name or service not known http://user:word@proxy"))
    assert found.reason == "network_unreachable"
    assert "word" not in str(found.as_result())


@pytest.mark.parametrize("error", [json.JSONDecodeError("Expecting value", "<html>", 0), exceptions.DecodeError("x")])
def test_answer_that_is_not_json(error: Exception) -> None:
    found = failure(error)
    assert found.reason in ("service_error", "network_unreachable") and "<html>" not in str(found.as_result())


def test_failures_and_defects_pass_through() -> None:
    own = SkrFailure("conflict", "x")
    assert failure(own) is own
    with pytest.raises(KeyError), clients.errors("x"):
        raise KeyError("a defect")


def test_wire_reads_both_generations() -> None:
    class Old:
        def serialize(self, keep_readonly: bool) -> dict[str, Any]:
            return {"vaultUri": "x"} if keep_readonly else {}

        def as_dict(self) -> dict[str, Any]:
            return {"vault_uri": "x"}

    assert clients.wire(Old()) == clients.wire(Model({"vaultUri": "x"})) == {"vaultUri": "x"}


def test_wire_of_real_models() -> None:
    """The installed SDK's models, in the service's own spelling and nested as it nests."""
    from azure.mgmt.compute.models import VirtualMachine
    from azure.mgmt.keyvault.models import Vault

    document = {"location": "l", "properties": {"tenantId": SUBSCRIPTION, "sku": {"family": "A", "name": "premium"}}}
    read = clients.wire(Vault(document) if hasattr(Vault, "as_dict") and not hasattr(Vault, "serialize") else Vault())
    assert read["properties"]["tenantId"] == SUBSCRIPTION
    machine = clients.wire(VirtualMachine({"location": "l", "identity": {"type": "None"}, "properties": {"vmId": "v"}}))
    assert machine["identity"]["type"] == "None" and machine["properties"]["vmId"] == "v"


def test_subscription_is_asked_for_only_where_it_is_needed() -> None:
    made = clients.Connection(login(subscription_id=None))
    assert made.keys("https://kv.vault.azure.net") is made.keys("https://kv.vault.azure.net")
    with pytest.raises(SkrFailure) as caught:
        _unused = made.vaults
    assert caught.value.reason == "invalid_input" and "AZURE_SUBSCRIPTION_ID" in caught.value.message


class Listed:
    """A connection whose resource manager lists these subscriptions."""

    def __init__(self, *subscriptions: str) -> None:
        self.asked = 0
        self._found = subscriptions

    def send_request(self, request: Any, **_options: Any) -> Any:
        self.asked += 1
        assert request.url == "https://management.azure.com/subscriptions?api-version=2022-12-01"
        value = [{"subscriptionId": one} for one in self._found]
        return type("Response", (), {"status_code": 200, "json": lambda _self: {"value": value}})()


def test_managed_identity_that_sees_one_subscription_needs_no_name_of_it() -> None:
    arm = Listed(SUBSCRIPTION)
    made = clients.Connection(login(way="msi", subscription_id=None), _cache={"resource manager": arm})
    assert made.subscription_id == made.subscription_id == SUBSCRIPTION and arm.asked == 1


@pytest.mark.parametrize("found", [(), ("s-1", "s-2")])
def test_no_subscription_is_chosen_by_chance(found: tuple[str, ...]) -> None:
    made = clients.Connection(login(way="msi", subscription_id=None), _cache={"resource manager": Listed(*found)})
    with pytest.raises(SkrFailure) as caught:
        _unused = made.subscription_id
    assert caught.value.reason == "invalid_input" and caught.value.facts["found"] == list(found)


def test_clients_are_of_the_cloud() -> None:
    from ansible_collections.confidential.azure_skr.plugins.module_utils.azure.cloud import CLOUDS

    made = clients.Connection(login(cloud=CLOUDS["AzureChinaCloud"]))
    assert made.compute._config.credential_scopes == ["https://management.chinacloudapi.cn/.default"]
    assert made.compute._config.base_url == "https://management.chinacloudapi.cn"
    assert made.compute is made.compute


def test_caller_is_read_from_the_own_token() -> None:
    import base64

    class Credential:
        asked: list[str] = []

        def get_token(self, scope: str) -> Any:
            self.asked.append(scope)
            body = base64.urlsafe_b64encode(json.dumps({"oid": "me", "tid": "here", "name": "x"}).encode()).rstrip(b"=")
            return type("Token", (), {"token": f"e30.{body.decode()}.sig"})

    made = clients.Connection(login(), _cache={"credential": Credential()})
    assert made.caller() == made.caller() == {"oid": "me", "tid": "here"}
    assert Credential.asked == ["https://management.azure.com/.default"]


def test_spec_hides_the_secret_and_has_the_known_names() -> None:
    from ansible_collections.confidential.azure_skr.plugins.module_utils.azure.arguments import azure_argument_spec

    spec = azure_argument_spec()
    assert spec["secret"]["no_log"] is True
    assert set(settings.SETTINGS) < set(spec)
    assert spec["auth_source"]["choices"] == ["auto", "cli", "env", "credential_file", "msi"]
    assert not any("default" in option for option in spec.values())  # it would hide the environment
