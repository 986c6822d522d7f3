# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reason codes of delivery and of application secrets: cause and next step of each."""

from __future__ import annotations

import typing as t

TEXTS: t.Dict[str, t.Tuple[str, str]] = {
    "not_memory_backed": (
        "The destination is not on a memory-backed file system, so the key would reach a disk.",
        "Choose a directory below /run or another tmpfs, or set memory_backed to false.",
    ),
    "delivery_failed": ("The key could not be written.", "Check the directory, owner and group named in the message."),
    "keyring_unavailable": (
        "The kernel, or the container this runs in, offers no keyrings.",
        "Deliver to a file on a memory-backed file system, or allow the system calls add_key and keyctl.",
    ),
    "keyring_quota": (
        "The user's quota of keys or of key bytes is used up.",
        "Look into /proc/key-users; remove keys, or raise kernel.keys.maxkeys and kernel.keys.maxbytes.",
    ),
    "program_missing": (
        "A program that this delivery needs is not installed.",
        "Install the package named in the message, or deliver to another place.",
    ),
    "command_failed": (
        "A program did not do its work.",
        "Run it by hand with other input to see what it says; its output is never shown here, as it may hold the key.",
    ),
    "luks_refused": (
        "cryptsetup refused, or the volume is not what was expected.",
        "Check luks_device, luks_header and the existing passphrase.",
    ),
    "luks_slot_taken": (
        "The LUKS slot holds another passphrase, or no slot is free.",
        "Choose another luks_slot, or allow the exchange with luks_replace; the new secret takes a free slot meanwhile.",
    ),
    "luks_last_slot": (
        "The LUKS slot is the last one, without which nobody could open the volume.",
        "Add another passphrase first.",
    ),
    "removal_unscheduled": (
        "The removal after ttl cannot be arranged, so nothing was delivered.",
        "Leave ttl out, use it on a machine that systemd runs, or deliver to a keyring, whose keys the kernel ends.",
    ),
    "secret_envelope_invalid": (
        "The envelope of an application secret is damaged, altered, or not of the documented form.",
        "Wrap the secret again with secret_wrap or azure-skr wrap-secret.",
    ),
    "secret_envelope_key": (
        "The envelope was made for another key, or for another version of it.",
        "Release the version it was made for (key_version), or wrap the secret again with the current public key.",
    ),
    "key_cannot_wrap": (
        "Only RSA keys can wrap: EC keys sign, and symmetric keys have no public half to hand out.",
        "Use an RSA-HSM key for application secrets.",
    ),
}
