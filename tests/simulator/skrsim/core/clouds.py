# SPDX-License-Identifier: GPL-3.0-or-later
"""The clouds that the simulator is: host names and audiences differ, the world behind them is one.

Public, US Government and China: Microsoft Learn, "Azure Government compare", "Azure China endpoints". The two clouds of
the ``.sim`` domain stand for clouds that a client knows only by their metadata: one whose directory is Entra ID, one
with AD FS in its place.
"""

from __future__ import annotations

import dataclasses
import typing as t


@dataclasses.dataclass(frozen=True)
class Cloud:
    """Host names of one cloud. ``login`` is the canonical one, ``aliases`` answer too; ``sts`` is in v1 issuers."""

    name: str
    resource_manager: str
    audiences: tuple[str, ...]  # of tokens for Resource Manager; the first is what the metadata name first
    login: str
    sts: str
    vault: str
    hsm: str
    attestation: str
    aliases: tuple[str, ...] = ()
    challenge: str = ""  # the sign-in host that challenges name, where it is not ``login``
    adfs: bool = False

    @property
    def logins(self) -> tuple[str, ...]:
        return (self.login, self.sts, *self.aliases)

    @property
    def resources(self) -> frozenset[str]:
        """Audiences for which this cloud's directory gives tokens, without final slashes."""
        services = (f"https://{suffix}" for suffix in (self.vault, self.hsm, self.attestation))
        graph = ("https://graph.microsoft.com",) if self is PUBLIC else ()
        return frozenset(one.rstrip("/") for one in (*self.audiences, *services, *graph))

    def authority(self, tenant: str) -> str:
        """Where a client signs in to a tenant, as challenges and metadata tell it."""
        return f"https://{self.challenge or self.login}/{'adfs' if self.adfs else tenant}"


PUBLIC = Cloud(
    "AzureCloud",
    "management.azure.com",
    ("https://management.core.windows.net/", "https://management.azure.com/"),
    "login.microsoftonline.com",
    "sts.windows.net",
    "vault.azure.net",
    "managedhsm.azure.net",
    "attest.azure.net",
    aliases=("login.windows.net",),
    challenge="login.windows.net",
)
GOVERNMENT = Cloud(
    "AzureUSGovernment",
    "management.usgovcloudapi.net",
    ("https://management.core.usgovcloudapi.net/", "https://management.usgovcloudapi.net/"),
    "login.microsoftonline.us",
    "sts.windows.net",
    "vault.usgovcloudapi.net",
    "managedhsm.usgovcloudapi.net",
    "attest.azure.us",
)
CHINA = Cloud(
    "AzureChinaCloud",
    "management.chinacloudapi.cn",
    ("https://management.core.chinacloudapi.cn/", "https://management.chinacloudapi.cn/"),
    "login.chinacloudapi.cn",
    "sts.chinacloudapi.cn",
    "vault.azure.cn",
    "managedhsm.azure.cn",
    "attest.azure.cn",
)
# The audience of a private cloud is the id of an application in its owner's directory, not an address.
STACK = Cloud(
    "AzureStackSim",
    "management.local.azurestack.sim",
    ("https://management.azurestack.onmicrosoft.sim/36f71706-54df-4305-9847-5b038a4cf189",),
    "login.local.azurestack.sim",
    "sts.local.azurestack.sim",
    "vault.local.azurestack.sim",
    "managedhsm.local.azurestack.sim",
    "attest.local.azurestack.sim",
)
ADFS = Cloud(
    "AzureStackAdfsSim",
    "management.adfs.azurestack.sim",
    ("https://management.adfs.azurestack.sim/4de154de-f8a8-4017-af41-df619da68155",),
    "adfs.adfs.azurestack.sim",
    "adfs.adfs.azurestack.sim",
    "vault.adfs.azurestack.sim",
    "managedhsm.adfs.azurestack.sim",
    "attest.adfs.azurestack.sim",
    adfs=True,
)
CLOUDS = {cloud.name: cloud for cloud in (PUBLIC, GOVERNMENT, CHINA, STACK, ADFS)}
RESOURCES = frozenset(audience for cloud in CLOUDS.values() for audience in cloud.resources)


def by_resource_manager(host: str) -> Cloud | None:
    return next((cloud for cloud in CLOUDS.values() if cloud.resource_manager == host), None)


def by_login(host: str) -> Cloud | None:
    """The cloud whose directory answers under this name; the public one where two share it."""
    return next((cloud for cloud in CLOUDS.values() if host in cloud.logins), None)


def by_audience(audience: str) -> Cloud:
    """The cloud of a token's audience; the public one where it is nobody's."""
    plain = audience.rstrip("/")
    return next((cloud for cloud in CLOUDS.values() if plain in cloud.resources), PUBLIC)


def metadata(cloud: Cloud) -> t.Any:
    """What ``/metadata/endpoints`` answers since api-version 2022-09-01: one object. Older clouds answer a list."""
    if cloud is PUBLIC:
        return _public()
    login = cloud.authority("").rstrip("/") if cloud.adfs else f"https://{cloud.login}"
    document = {
        "name": cloud.name,
        "portal": f"https://portal.{cloud.resource_manager.partition('.')[2]}",
        "resourceManager": f"https://{cloud.resource_manager}/",
        "authentication": {
            "loginEndpoint": login,
            "audiences": list(cloud.audiences),
            "tenant": "adfs" if cloud.adfs else "common",
            "identityProvider": "ADFS" if cloud.adfs else "AAD",
        },
        "suffixes": {"keyVaultDns": cloud.vault, "mhsmDns": cloud.hsm, "attestationEndpoint": cloud.attestation},
        "attestationResourceId": f"https://{cloud.attestation}",
    }
    return [document] if cloud.adfs else document


def _public() -> dict[str, t.Any]:
    return {
        "name": "AzureCloud",
        "portal": "https://portal.azure.com",
        "resourceManager": "https://management.azure.com/",
        "authentication": {
            "loginEndpoint": "https://login.microsoftonline.com",
            "audiences": ["https://management.core.windows.net/", "https://management.azure.com/"],
            "tenant": "common",
            "identityProvider": "AAD",
        },
        "suffixes": {
            "keyVaultDns": "vault.azure.net",
            "mhsmDns": "managedhsm.azure.net",
            "attestationEndpoint": "attest.azure.net",
            "storage": "core.windows.net",
        },
        "attestationResourceId": "https://attest.azure.net",
        "graph": "https://graph.windows.net/",
        "graphAudience": "https://graph.windows.net/",
        "microsoftGraphResourceId": "https://graph.microsoft.com/",
        "activeDirectoryDataLake": "https://datalake.azure.net/",
        "batch": "https://batch.core.windows.net/",
        "media": "https://rest.media.azure.net",
        "gallery": "https://gallery.azure.com/",
        "sqlManagement": "https://management.core.windows.net:8443/",
        "logAnalyticsResourceId": "https://api.loganalytics.io",
        "appInsightsResourceId": "https://api.applicationinsights.io",
        "synapseAnalyticsResourceId": "https://dev.azuresynapse.net",
        "ossrDbmsResourceId": "https://ossrdbms-aad.database.windows.net",
        "vmImageAliasDoc": "https://raw.githubusercontent.com/Azure/azure-rest-api-specs/main/arm-compute/quickstart-templates/aliases.json",
    }
