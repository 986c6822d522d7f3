# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reason codes of rotations and of planned updates."""

from __future__ import annotations

import typing as t

TEXTS: t.Dict[str, t.Tuple[str, str]] = {
    "reload_failed": (
        "The host has the new key, but its consumer could not be reloaded and may still work with the old one.",
        "Mend the unit or command on the host, then run again with skr_resume, which reloads the hosts that are open.",
    ),
    "version_differs": (
        "The host reports another version of the key than the one it was to move to.",
        "Run again with skr_resume, and read what the host answers.",
    ),
    "boot_version_pinned": (
        "The host's boot configuration pins an old version of the key; without that version it would stand without a key after "
        "its next boot.",
        "Run playbook boot_release with skr_key_version set to the new version, or without one, then run again with skr_resume.",
    ),
    "rotation_incomplete": (
        "Fewer hosts report the new version than have to, so no old version was disabled.",
        "Mend the hosts named, then run again with skr_resume and skr_rotate_version; or accept fewer with skr_rotate_share.",
    ),
    "old_branch_in_use": (
        "The host is let in by an old branch of the policy alone: it has not changed as planned.",
        "Compare wanted and found value of the claims named; update the host, then run phase move or contract again.",
    ),
    "update_failed": (
        "The change of the host itself failed (skr_update_tasks, or the reboot), so the key was not asked for.",
        "Read the message of the task, mend the host, then run again with skr_resume.",
    ),
    "update_incomplete": (
        "Fewer hosts meet a new branch of the policy than have to, so no old branch was removed.",
        "Update the hosts named, then run phase move or contract again; or accept fewer with skr_update_share.",
    ),
    "overlap_missing": (
        "The live release policy lacks branches for the state after the change.",
        "Run phase expand first, with the same skr_new_release_policy, skr_policy_parameters or skr_golden_host.",
    ),
    "golden_unfit": (
        "The golden VM is not fit to derive branches of the policy from.",
        "Choose another one, name the claims that may be weakened in skr_golden_weaken, or give skr_new_release_policy.",
    ),
}
