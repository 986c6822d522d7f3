# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reason codes of the revocation: cause and next step of each."""

from __future__ import annotations

import typing as t

TEXTS: t.Dict[str, t.Tuple[str, str]] = {
    "identity_shared": (
        "The suspects' identity is also that of other machines, which would lose the permission too.",
        "Add these machines to the suspects, or set skr_revoke_shared: true (shared: true) when they may lose it.",
    ),
    "policy_binds_no_vm": (
        "A rule of the release policy names no VM, so taking VM ids out of it would keep nobody away.",
        "Give a narrower policy in skr_revoke_policy, or use the action ungrant or disable.",
    ),
    "policy_names_nobody_else": (
        "All VMs that the release policy names are suspects; a policy for nobody does not exist.",
        "Use the action disable.",
    ),
    "policy_not_narrower": (
        "The policy that is given could be met by a VM that does not meet the live one.",
        "Give a policy each of whose rules is one of the live ones with further conditions; change policies otherwise with exportable_key.",
    ),
    "revocation_not_effective": (
        "The key is still released to a suspect after the revocation.",
        "Use the action disable; it takes effect at once. Then find out what else lets this VM release (the statement lists it).",
    ),
    "revocation_not_proved": (
        "The release is refused, or could not be tried, for a reason that does not prove the revocation.",
        "Remove that other reason, or rely on the vault's state in the statement, and run again.",
    ),
    "revocation_state_differs": (
        "The VM says that the release is refused, but by the vault's state it would be allowed.",
        "Believe the vault: the answer of a compromised VM is worth nothing. Use the action disable.",
    ),
    "suspect_unreachable": (
        "The suspect could not be reached, so nothing was tried or removed on it.",
        "Reach it, or deallocate it in Azure; run again, for it alone, when it answers.",
    ),
    "clean_up_failed": (
        "The copy on the suspect could not be removed, or its unit not be masked.",
        "Read the message, and remove by hand what it names.",
    ),
}
