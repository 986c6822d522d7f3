# SPDX-License-Identifier: GPL-3.0-or-later
"""The clouds' names and addresses (Microsoft Learn, "Azure Government compare", "Azure China endpoints")."""

from __future__ import annotations

import pytest

from ansible_collections.confidential.azure_skr.plugins.module_utils.azure import cloud
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.failure import SkrFailure

# name: authority, resource manager, scope, suffixes of vaults, managed HSMs and attestation providers
TABLE = {
    "AzureCloud": (
        "login.microsoftonline.com", "management.azure.com", "https://management.azure.com/.default",
        "vault.azure.net", "managedhsm.azure.net", "attest.azure.net",
    ),
    "AzureUSGovernment": (
        "login.microsoftonline.us", "management.usgovcloudapi.net",
        "https://management.core.usgovcloudapi.net/.default",
        "vault.usgovcloudapi.net", "managedhsm.usgovcloudapi.net", "attest.azure.us",
    ),
    "AzureChinaCloud": (
        "login.chinacloudapi.cn", "management.chinacloudapi.cn", "https://management.chinacloudapi.cn/.default",
        "vault.azure.cn", "managedhsm.azure.cn", "attest.azure.cn",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLE)
def test_table(name: str) -> None:
    found = cloud.find(name)
    authority, arm, scope, vault, hsm, attestation = TABLE[name]
    assert (found.authority, found.resource_manager) == (f"https://{authority}", f"https://{arm}")
    assert (found.scope, found.vault_suffix, found.hsm_suffix) == (scope, vault, hsm)
    assert (found.attestation_suffix, found.identity_provider) == (attestation, "AAD")
    assert found.known and cloud.by_authority(found.authority) is found
    assert found.vault_uri("Kv-1") == f"https://kv-1.{vault}" and found.hsm_uri("H") == f"https://h.{hsm}"


def test_table_agrees_with_the_sdk() -> None:
    from azure.core import AzureClouds
    from azure.identity import AzureAuthorityHosts
    from azure.mgmt.core.tools import get_arm_endpoints

    for name, enum, authority in (
        ("AzureCloud", AzureClouds.AZURE_PUBLIC_CLOUD, AzureAuthorityHosts.AZURE_PUBLIC_CLOUD),
        ("AzureUSGovernment", AzureClouds.AZURE_US_GOVERNMENT, AzureAuthorityHosts.AZURE_GOVERNMENT),
        ("AzureChinaCloud", AzureClouds.AZURE_CHINA_CLOUD, AzureAuthorityHosts.AZURE_CHINA),
    ):
        found, endpoints = cloud.find(name), get_arm_endpoints(enum)
        assert found.resource_manager == endpoints["resource_manager"].rstrip("/")
        assert [found.scope] == endpoints["credential_scopes"] and found.authority == f"https://{authority}"


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("azurecloud", "AzureCloud"),
        ("AzurePublicCloud", "AzureCloud"),
        ("AZURE_PUBLIC_CLOUD", "AzureCloud"),
        (" public ", "AzureCloud"),
        ("azureusgovernment", "AzureUSGovernment"),
        ("AzureUSGovernmentCloud", "AzureUSGovernment"),
        ("AZURE_US_GOVERNMENT", "AzureUSGovernment"),
        ("usgovernment", "AzureUSGovernment"),
        ("AZURECHINACLOUD", "AzureChinaCloud"),
        ("AZURE_CHINA_CLOUD", "AzureChinaCloud"),
        ("china", "AzureChinaCloud"),
    ],
)
def test_synonyms(name: str, wanted: str) -> None:
    assert cloud.find(name).name == wanted


@pytest.mark.parametrize(
    "name", ["AzureStack", "AzureGermanCloud", "azure_german_cloud", "germany", "management.example"]
)
def test_unknown_cloud_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(SkrFailure) as caught:
        cloud.find(name)
    assert caught.value.reason == "invalid_input" and caught.value.facts["option"] == "cloud_environment"
    assert "AzureUSGovernment" in caught.value.message and "https URL" in caught.value.message
    assert ("closed in 2021" in caught.value.message) is ("german" in name.lower())


def test_cloud_by_url_has_only_its_name_before_its_metadata_are_read() -> None:
    found = cloud.find("https://Management.Local.AzureStack.sim:443/")
    assert found.name == "https://management.local.azurestack.sim" and not found.known
    assert cloud.find("https://arm.example:8443/x/").name == "https://arm.example:8443/x"
    assert cloud.by_authority("https://login.example") is None


@pytest.mark.parametrize(
    "url",
    [
        "http://management.example",
        "https://",
        "https://a b",
        "https://m.example?x=1",
        "https://m.example#x",
        "https://m.example:port",
        "ftp://m.example",
        "https://someone:hidden@m.example",
    ],
)
def test_url_that_is_no_clouds(url: str) -> None:
    with pytest.raises(SkrFailure) as caught:
        cloud.find(url)
    assert caught.value.reason == "invalid_input" and "hidden" not in str(caught.value.as_result())


def test_cloud_without_managed_hsms() -> None:
    with pytest.raises(SkrFailure) as caught:
        cloud.Cloud("x", "https://l", "https://m", "s", "vault.x").hsm_uri("h")
    assert caught.value.reason == "cloud_metadata" and "mhsmDns" in caught.value.message
