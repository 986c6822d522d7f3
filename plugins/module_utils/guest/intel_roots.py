# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Intel's root for SGX and TDX, as it stands in every quote and at https://certificates.trustedservices.intel.com.

The public key is pinned: Intel has issued the root's certificate anew with the same key before.
"""

from __future__ import annotations

# "Intel SGX Root CA": X and Y of a point on P-256.
SGX_ROOT_CA = bytes.fromhex(
    "0ba9c4c0c0c86193a3fe23d6b02cda10a8bbd4e88e48b4458561a36e705525f5"
    "67918e2edc88e40d860bd0cc4ee26aacc988e505a953558c453f6b0904ae7394"
)
