# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reason codes of the fleet: what can become of a host, and of a run over many."""

from __future__ import annotations

import typing as t

TEXTS: t.Dict[str, t.Tuple[str, str]] = {
    "vm_unreachable": (
        "Ansible could not log in to the host.",
        "Check that Ansible reaches the VM (address, login, host key); then run again with the list of open hosts.",
    ),
    "not_reached": (
        "The run ended before the host had its turn: it was stopped at the failure share, or killed.",
        "Run again with the list of open hosts (skr_resume, or the limit file).",
    ),
    "module_failed": (
        "The module ended without a result of its own, as it does where the host lacks a usable Python.",
        "Read the message of the task that failed on this host.",
    ),
    "failure_share_exceeded": (
        "More hosts of one batch failed than the run allows, so the hosts after it were not touched.",
        "Mend what the summary names, then run again with the list of open hosts (skr_resume).",
    ),
}
