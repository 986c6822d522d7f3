# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reason codes of evidence bundles and their verification: cause and next step of each; a part of :data:`reasons.REASONS`."""

from __future__ import annotations

import typing as t

_ALTERED = "Do not rely on it. Get the bundle again from whoever made it, and find out who could write to it."
_RECORD = "Do not rely on this record. Where the bundle is signed, whoever signed it must explain; else it was altered."

TEXTS: t.Dict[str, t.Tuple[str, str]] = {
    "bundle_signature_invalid": (
        "The detached signature does not belong to this bundle and this public key: one of the three is another, or was altered.",
        _ALTERED,
    ),
    "bundle_hash_mismatch": (
        "The bundle does not have the SHA-256 that the hash list names.",
        _ALTERED,
    ),
    "bundle_invalid": (
        "The file is no evidence bundle as this collection packs them, or it was cut or altered.",
        _ALTERED,
    ),
    "bundle_altered": (
        "Files of the bundle are not those that its manifest lists: altered, missing or added.",
        _ALTERED,
    ),
    "bundle_key_invalid": (
        "A key for signing or checking a bundle cannot be used: wrong kind, wrong passphrase, or no key at all.",
        "Give an RSA (2048 bits or more), EC or Ed25519 key as PEM; the private one for signing, the public one for checking.",
    ),
    "record_invalid": (
        "A record of evidence does not have the documented members.",
        _RECORD,
    ),
    "record_claims_differ": (
        "The claims in a record are not those of the attestation token that it holds.",
        _RECORD,
    ),
    "record_policy_hash": (
        "The policy in a record does not have the digest that the record names.",
        _RECORD,
    ),
    "record_verdict_differs": (
        "The policy in a record, evaluated again over the record's claims, gives another result than the one recorded.",
        "Do not rely on this record. Where records are of another version of the collection, verify with that version first.",
    ),
    "record_key_mismatch": (
        "The key that a record says was released is not the one that it says was asked for, or the vault knows no such version.",
        _RECORD,
    ),
    "record_inconsistent": (
        "A record contradicts itself, such as a release without a key or with a policy that was not met.",
        _RECORD,
    ),
}
