# SPDX-License-Identifier: GPL-3.0-or-later
"""The clouds' names and addresses (Microsoft Learn, "Azure Government compare", "Azure China endpoints")."""

from __future__ import annotations

import pytest

from ansible_collections.confidential.azure_skr.plugins.module_utils.azure import cloud
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.failure import SkrFailure


@pytest.mark.parametrize(
    ("name", "authority", "arm", "scope", "suffix"),
    [
        (
            "AzureCloud",
            "login.microsoftonline.com",
            "management.azure.com",
            "https://management.azure.com/.default",
            "vault.azure.net",
        ),
        (
            "AzureUSGovernment",
            "login.microsoftonline.us",
            "management.usgovcloudapi.net",
            "https://management.core.usgovcloudapi.net/.default",
            "vault.usgovcloudapi.net",
        ),
        (
            "AzureChinaCloud",
            "login.chinacloudapi.cn",
            "management.chinacloudapi.cn",
            "https://management.chinacloudapi.cn/.default",
            "vault.azure.cn",
        ),
    ],
)
def test_table(name: str, authority: str, arm: str, scope: str, suffix: str) -> None:
    found = cloud.find(name)
    assert (found.authority, found.resource_manager) == (f"https://{authority}", f"https://{arm}")
    assert (found.scope, found.vault_suffix) == (scope, suffix)


@pytest.mark.parametrize("name", ["azurecloud", "AzureGermanCloud", "https://management.example", ""])
def test_unknown_cloud_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(SkrFailure) as caught:
        cloud.find(name)
    assert caught.value.reason == "invalid_input" and caught.value.facts["option"] == "cloud_environment"
    assert "AzureUSGovernment" in caught.value.message
    assert ("closed in 2021" in caught.value.message) is (name == "AzureGermanCloud")
