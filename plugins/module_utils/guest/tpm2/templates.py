# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Templates and policies of the keys this collection makes in the TPM."""

from __future__ import annotations

import hashlib
import struct
import typing as t

from . import wire

AK_HANDLE = 0x81000003
NV_HCL_REPORT, NV_USER_DATA, NV_AK_CERT = 0x01400001, 0x01400002, 0x01C101D0

# fixedTPM, fixedParent, sensitiveDataOrigin, noDA, decrypt - and neither userWithAuth nor adminWithPolicy: the key
# can be used only in a session whose policy, the attested PCR values, holds.
EPHEMERAL_ATTRIBUTES = 0x00020432


def pcr_digest(values: t.Sequence[bytes]) -> bytes:
    """SHA-256 over the PCR values in ascending order of their index."""
    return hashlib.sha256(b"".join(values)).digest()


def pcr_policy(pcrs: t.Iterable[int], digest: bytes) -> bytes:
    """The policy digest after one PolicyPCR (TPM 2.0 Part 3, TPM2_PolicyPCR), computed without a trial session."""
    return hashlib.sha256(bytes(32) + struct.pack(">I", wire.CC_POLICY_PCR) + wire.selection(pcrs) + digest).digest()


def ephemeral_template(policy: bytes) -> bytes:
    """TPMT_PUBLIC of the ephemeral RSA-2048 decryption key, bound to a policy.

    ``unique`` is 256 zero bytes, as Microsoft's client has it: within one boot the same template gives the same key.
    """
    return (
        struct.pack(">HHI", wire.ALG_RSA, wire.ALG_SHA256, EPHEMERAL_ATTRIBUTES)
        + wire.sized(policy)
        + struct.pack(">HHHI", wire.ALG_NULL, wire.ALG_NULL, 2048, 0)
        + wire.sized(bytes(256))
    )


def object_name(public_area: bytes) -> bytes:
    """The Name of an object with nameAlg SHA-256 (TPM 2.0 Part 1, 16): algorithm, then digest of its public area."""
    return struct.pack(">H", wire.ALG_SHA256) + hashlib.sha256(public_area).digest()
