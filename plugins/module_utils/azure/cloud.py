# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Azure clouds: where each has its authority, its resource manager, its vaults, HSMs and attestation providers.

Names and addresses: Microsoft Learn, "Compare Azure Government and global Azure", "Azure in China developer guide",
and the constants of azure-core and azure-identity.
"""

from __future__ import annotations

import re
import typing as t
from urllib.parse import urlsplit

from ..policy.failure import SkrFailure


class Cloud(t.NamedTuple):
    """One cloud; URLs without a final slash, suffixes without a leading dot.

    A cloud named by its URL has only its name until its metadata are read (:mod:`cloud_metadata`).
    """

    name: str
    authority: str
    resource_manager: str
    scope: str
    vault_suffix: str
    hsm_suffix: str = ""  # empty: the cloud has no managed HSMs
    attestation_suffix: str = ""  # empty: the cloud has no attestation service
    identity_provider: str = "AAD"  # or "ADFS", which has no tenants

    @property
    def known(self) -> bool:
        """False for a cloud of which only the URL is known so far."""
        return bool(self.resource_manager)

    def vault_uri(self, name: str) -> str:
        """The address of a vault of this name."""
        return f"https://{name.lower()}.{self.vault_suffix}"

    def hsm_uri(self, name: str) -> str:
        """The address of a managed HSM of this name. Raises SkrFailure where the cloud has none."""
        if not self.hsm_suffix:
            raise SkrFailure(
                "cloud_metadata",
                f"The cloud {self.name} names no address of managed HSMs (suffixes.mhsmDns).",
                {"cloud": self.name, "missing": ["suffixes.mhsmDns"]},
                next_step="Use a vault in this cloud, or another cloud.",
            )
        return f"https://{name.lower()}.{self.hsm_suffix}"


CLOUDS = {
    cloud.name: cloud
    for cloud in (
        Cloud(
            "AzureCloud",
            "https://login.microsoftonline.com",
            "https://management.azure.com",
            "https://management.azure.com/.default",
            "vault.azure.net",
            "managedhsm.azure.net",
            "attest.azure.net",
        ),
        Cloud(
            "AzureUSGovernment",
            "https://login.microsoftonline.us",
            "https://management.usgovcloudapi.net",
            "https://management.core.usgovcloudapi.net/.default",
            "vault.usgovcloudapi.net",
            "managedhsm.usgovcloudapi.net",
            "attest.azure.us",
        ),
        Cloud(
            "AzureChinaCloud",
            "https://login.chinacloudapi.cn",
            "https://management.chinacloudapi.cn",
            "https://management.chinacloudapi.cn/.default",
            "vault.azure.cn",
            "managedhsm.azure.cn",
            "attest.azure.cn",
        ),
    )
}
# The same clouds as the SDKs, the metadata service, PowerShell and Terraform call them; case, "-" and "_" do not count.
SYNONYMS = {
    **{name.lower(): name for name in CLOUDS},
    **dict.fromkeys(("azurepubliccloud", "azurepublic", "public", "azure"), "AzureCloud"),
    **dict.fromkeys(
        ("azureusgovernmentcloud", "azuregovernment", "azureusgov", "usgovernment", "usgov", "government"),
        "AzureUSGovernment",
    ),
    **dict.fromkeys(("azurechina", "china"), "AzureChinaCloud"),
}
_CLOSED = ("azuregermancloud", "azuregermany", "azuregerman", "germany", "german")
_HOST = re.compile(r"[0-9a-z](?:[0-9a-z.-]*[0-9a-z])?", re.IGNORECASE)


def find(name: str) -> Cloud:
    """The cloud of this name; of a URL as much as is known before its metadata are read.

    Raises SkrFailure ``invalid_input``.
    """
    plain = name.strip().lower().replace("-", "").replace("_", "")
    if plain in SYNONYMS:
        return CLOUDS[SYNONYMS[plain]]
    if "://" in name:
        return Cloud(https_url("cloud_environment", name), "", "", "", "")
    closed = " The German cloud was closed in 2021." if plain in _CLOSED else ""
    raise SkrFailure(
        "invalid_input",
        f"cloud_environment is {name!r}, wanted one of {', '.join(CLOUDS)}, or the https URL of a cloud's resource manager.{closed}",
        {"option": "cloud_environment"},
    )


def by_authority(url: str) -> t.Optional[Cloud]:
    """The known cloud that signs in there, or None."""
    return next((cloud for cloud in CLOUDS.values() if cloud.authority == url), None)


def https_url(option: str, text: str) -> str:
    """The URL without its final slashes: https, a host, perhaps a path. Raises SkrFailure ``invalid_input``."""
    try:
        parts = urlsplit(text.strip())
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    host = parts.hostname or ""
    # Whoever writes user and password into it would find them in messages and logs.
    if parts.scheme != "https" or not _HOST.fullmatch(host) or "@" in parts.netloc or parts.query or parts.fragment:
        shown = text if "@" not in text else "a URL with a user name"
        raise SkrFailure(
            "invalid_input",
            f"{option} is {shown!r}, wanted an https URL such as https://management.local.azurestack.external.",
            {"option": option},
        )
    return f"https://{host}{f':{port}' if port not in (None, 443) else ''}{parts.path.rstrip('/')}"
