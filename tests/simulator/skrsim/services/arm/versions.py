# SPDX-License-Identifier: GPL-3.0-or-later
"""The api-versions that each resource provider takes: those of the current SDKs and of the older lines still in use.

Current: azure-mgmt-compute 39, -keyvault 14, -authorization 4, -msi 7. Older: what azure.azcollection pins
(azure-mgmt-keyvault 10.3.1, azure-mgmt-compute 33) and what az 2.91 sends.
"""

from __future__ import annotations

COMPUTE = (
    "2021-07-01", "2022-03-01", "2022-08-01", "2022-11-01", "2023-03-01", "2023-07-01", "2023-09-01", "2024-03-01",
    "2024-07-01", "2024-11-01", "2025-04-01", "2025-11-01", "2026-03-01", "2026-04-01",
)  # fmt: skip
# Disk encryption sets and disks count on their own.
DISKS = (
    "2022-03-02", "2022-07-02", "2023-01-02", "2023-04-02", "2023-10-02", "2024-03-02", "2025-01-02", "2026-03-02",
)  # fmt: skip
SKUS = ("2019-04-01", "2021-07-01")
NETWORK = (
    "2021-08-01", "2022-01-01", "2022-11-01", "2023-04-01", "2023-09-01", "2023-11-01", "2024-01-01", "2024-05-01",
    "2024-07-01", "2025-01-01", "2025-05-01",
)  # fmt: skip
KEYVAULT = (
    "2019-09-01", "2021-10-01", "2022-07-01", "2022-11-01", "2023-02-01", "2023-07-01", "2024-04-01-preview",
    "2024-11-01", "2024-12-01-preview", "2025-05-01", "2026-02-01", "2026-05-15",
)  # fmt: skip
AUTHORIZATION = (
    "2018-01-01-preview", "2018-07-01", "2020-04-01-preview", "2020-08-01-preview", "2020-10-01-preview", "2022-04-01",
    "2022-05-01-preview",
)  # fmt: skip
IDENTITY = ("2018-11-30", "2022-01-31-preview", "2023-01-31", "2023-07-31-preview", "2024-11-30")
ATTESTATION = ("2020-10-01", "2021-06-01")
RESOURCES = (
    "2016-06-01", "2018-05-01", "2019-07-01", "2019-11-01", "2020-01-01", "2020-06-01", "2020-10-01", "2021-01-01",
    "2021-04-01", "2022-01-01", "2022-09-01", "2022-12-01", "2024-03-01", "2024-07-01", "2024-11-01", "2025-03-01",
    "2025-04-01",
)  # fmt: skip
# The listing of vaults by resource type, which old clients use, has kept its first version.
RESOURCE_LIST = ("2015-11-01", *RESOURCES)
METADATA = ("2022-09-01",)
# From this version on a vault made without a word about it is an Azure RBAC vault (Key Vault release notes).
KEYVAULT_RBAC_DEFAULT = "2026-02-01"
