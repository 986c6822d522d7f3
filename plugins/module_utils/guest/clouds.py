# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Azure clouds as a VM meets them: which sign-in host and resource manager belong to a vault's domain.

Names: Microsoft Learn, "Compare Azure Government and global Azure", "Azure in China developer guide".
"""

from __future__ import annotations

import typing as t
from urllib.parse import urlsplit


class Cloud(t.NamedTuple):
    """One cloud; ``metadata`` is the name that the VM's metadata service gives it."""

    metadata: str
    login: str
    resource_manager: str
    vault: str
    hsm: str
    attestation: str

    @property
    def vault_audience(self) -> str:
        return f"https://{self.vault}"


PUBLIC = Cloud(
    "AzurePublicCloud",
    "https://login.microsoftonline.com",
    "https://management.azure.com",
    "vault.azure.net",
    "managedhsm.azure.net",
    "attest.azure.net",
)
CLOUDS = (
    PUBLIC,
    Cloud(
        "AzureUSGovernmentCloud",
        "https://login.microsoftonline.us",
        "https://management.usgovcloudapi.net",
        "vault.usgovcloudapi.net",
        "managedhsm.usgovcloudapi.net",
        "attest.azure.us",
    ),
    Cloud(
        "AzureChinaCloud",
        "https://login.chinacloudapi.cn",
        "https://management.chinacloudapi.cn",
        "vault.azure.cn",
        "managedhsm.azure.cn",
        "attest.azure.cn",
    ),
)


def by_host(host: str) -> t.Optional[Cloud]:
    """The cloud that a service's host name (or its domain alone) belongs to; None for a private cloud's."""
    for cloud in CLOUDS:
        named = (cloud.vault, cloud.hsm, cloud.attestation)
        exact = {urlsplit(url).hostname for url in (cloud.login, cloud.resource_manager)}
        if host in exact or any(f".{host}".endswith(f".{suffix}") for suffix in named):
            return cloud
    return None


def by_metadata(name: str) -> t.Optional[Cloud]:
    """The cloud of the metadata service's ``azEnvironment``."""
    return next((cloud for cloud in CLOUDS if cloud.metadata == name), None)
