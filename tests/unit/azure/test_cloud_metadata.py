# SPDX-License-Identifier: GPL-3.0-or-later
"""What the metadata of a cloud become, and which are refused."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from azure.core import exceptions
from unit.azure.fakes import login

from ansible_collections.confidential.azure_skr.plugins.module_utils.azure import clients, cloud, cloud_metadata
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.failure import SkrFailure

URL = "https://management.example"
TRANSPORT = {"user_agent": "x", "user_agent_use_env": False}


def document(**changes: Any) -> dict[str, Any]:
    """As Azure answers since 2022-09-01, with members changed by dotted name ("__"); None takes one out."""
    made: dict[str, Any] = {
        "name": "Example",
        "resourceManager": "https://Management.example/",
        "authentication": {
            "loginEndpoint": "https://login.example/",
            "audiences": ["https://management.core.example/", "https://management.example/"],
            "tenant": "common",
            "identityProvider": "AAD",
        },
        "suffixes": {"keyVaultDns": ".vault.Example", "mhsmDns": "managedhsm.example", "attestationEndpoint": "attest.example"},
    }  # fmt: skip
    for name, value in changes.items():
        place, _dot, member = name.rpartition("__")
        holder = made[place] if place else made
        if value is None:
            del holder[member]
        else:
            holder[member] = value
    return made


EXAMPLE = cloud.Cloud(
    URL, "https://login.example", URL, "https://management.core.example//.default",
    "vault.example", "managedhsm.example", "attest.example", "AAD",
)  # fmt: skip


@pytest.mark.parametrize(
    ("told", "changes"),
    [
        (document(), {}),
        # the list of older versions: the entry whose resource manager was asked, else the first
        ([document()], {}),
        ([document(resourceManager="https://other", suffixes__keyVaultDns="x.y"), document()], {}),
        ([document(resourceManager="https://other")], {"resource_manager": "https://other"}),
        (document(resourceManager=None), {}),
        (document(authentication__identityProvider=None), {}),
        (
            document(authentication__identityProvider="ADFS", authentication__loginEndpoint="https://a.example/adfs/"),
            {"identity_provider": "ADFS", "authority": "https://a.example/adfs"},
        ),
        (
            document(authentication__audiences=["https://management.stack.onmicrosoft.com/4de1"]),
            {"scope": "https://management.stack.onmicrosoft.com/4de1/.default"},
        ),
        (
            document(suffixes__mhsmDns=None, suffixes__attestationEndpoint=None),
            {"hsm_suffix": "", "attestation_suffix": ""},
        ),
    ],
)
def test_documents(told: Any, changes: dict[str, Any]) -> None:
    assert cloud_metadata.read(URL, told) == EXAMPLE._replace(**changes)


@pytest.mark.parametrize(
    ("told", "word"),
    [
        ([], "neither an object nor a list"),
        ("text", "neither an object nor a list"),
        ([1], "neither an object nor a list"),
        ({}, "authentication.loginEndpoint, authentication.audiences, suffixes.keyVaultDns missing"),
        (document(authentication__loginEndpoint=None), "authentication.loginEndpoint missing"),
        (document(authentication__audiences=[]), "authentication.audiences missing"),
        (document(authentication__audiences="https://x"), "authentication.audiences missing"),
        (document(authentication=[]), "authentication.audiences"),
        (document(suffixes__keyVaultDns=None), "suffixes.keyVaultDns missing"),
        (document(suffixes=None), "suffixes.keyVaultDns missing"),
        (document(suffixes__keyVaultDns="evil.example/path"), "no DNS name"),
        (document(suffixes__mhsmDns="a b"), "no DNS name"),
        (document(resourceManager="http://management.example"), "no https URL"),
        (document(authentication__loginEndpoint="login.example"), "no https URL"),
    ],
)
def test_unusable_documents(told: Any, word: str) -> None:
    with pytest.raises(SkrFailure) as caught:
        cloud_metadata.read(URL, told)
    assert caught.value.reason == "cloud_metadata" and word in caught.value.message
    assert "cloud_environment" in caught.value.next_step and json.dumps(caught.value.as_result())


class Client:
    """In place of azure-core's: answers or raises."""

    def __init__(self, status: int = 200, text: str = "", error: Exception | None = None) -> None:
        self.asked: list[str] = []
        self._answer = type("Response", (), {"status_code": status, "text": lambda _self: text})()
        self._error = error

    def __call__(self, url: str, policies: list[Any], **_transport: Any) -> Client:
        assert not any("Authentication" in type(one).__name__ or "Redirect" in type(one).__name__ for one in policies)
        return self

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_error: Any) -> None:
        return None

    def send_request(self, request: Any) -> Any:
        self.asked.append(request.url)
        if self._error:
            raise self._error
        return self._answer


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cloud_metadata, "_known", {})


def test_asked_once_and_only_when_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client(text=json.dumps(document()))
    monkeypatch.setattr("azure.core.PipelineClient", client)
    made = clients.connection({"client_id": "c", "secret": "s", "tenant": "t", "cloud_environment": URL}, {})
    assert client.asked == [] and "never" not in repr(made)
    assert made.login.cloud == EXAMPLE and made.login.client_id == "c"
    assert clients.Connection(dataclasses.replace(login(), cloud=cloud.find(URL))).login.cloud == EXAMPLE
    assert client.asked == [f"{URL}/metadata/endpoints?api-version=2022-09-01"]


@pytest.mark.parametrize(
    ("client", "reason", "word"),
    [
        (Client(text="<html>"), "cloud_metadata", "not JSON"),
        (Client(404, "{}"), "cloud_metadata", "status 404"),
        (Client(307, ""), "cloud_metadata", "status 307"),
        (Client(error=exceptions.ServiceRequestError("Name not known")), "network_unreachable", "cannot be reached"),
        (Client(error=exceptions.ServiceRequestError("certificate verify failed")), "tls_untrusted", URL),
        (Client(error=exceptions.HttpResponseError("5xx")), "service_error", URL),
    ],
)
def test_failures(client: Client, reason: str, word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("azure.core.PipelineClient", client)
    with pytest.raises(SkrFailure) as caught:
        cloud_metadata.discover(URL, TRANSPORT)
    assert caught.value.reason == reason and word in caught.value.message
    if reason in ("cloud_metadata", "network_unreachable"):
        assert "cloud_environment" in caught.value.next_step
    assert cloud_metadata._known == {}
