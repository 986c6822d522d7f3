# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Azure clouds: where each has its authority, its resource manager, and the services with names of their own."""

from __future__ import annotations

import typing as t

from ..policy.failure import SkrFailure


class Cloud(t.NamedTuple):
    """One cloud; URLs without a final slash."""

    name: str
    authority: str
    resource_manager: str
    scope: str
    vault_suffix: str
    hsm_suffix: str
    attestation_suffix: str  # with https:// before it also the audience of the attestation service's tokens


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


def find(name: str) -> Cloud:
    """The cloud of this name. Raises SkrFailure ``invalid_input``."""
    if name in CLOUDS:
        return CLOUDS[name]
    closed = " The German cloud was closed in 2021." if name == "AzureGermanCloud" else ""
    raise SkrFailure(
        "invalid_input",
        f"cloud_environment is {name!r}, wanted one of {', '.join(CLOUDS)}.{closed}",
        {"option": "cloud_environment"},
    )
