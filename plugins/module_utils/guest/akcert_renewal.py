# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Renewal of the AK certificate through the host's certificate service, where the platform does not do it by itself.

1. The service is asked for a certificate of the same key.
2. What it gives must be for the attestation key, in date, and last longer than the old one.
3. It is written back where the index allows it. On a confidential VM only the paravisor may write it: the new certificate
   then serves this attestation, and the next one asks again.
"""

from __future__ import annotations

import typing as t

from ..policy.failure import SkrFailure
from . import akcert, der
from .imds import Imds
from .tpm2 import Tpm, templates

WHEN = ("never", "when_due")
_OWNER_WRITE, _OWNER_READ, _PLATFORM_CREATE = 0x2, 0x20000, 0x40000000
_WRITTEN = 0x20000000  # set by the TPM, and refused in a definition
_CHUNK = 1024


def renew(tpm: Tpm, imds: Imds, old: akcert.AkCertificate) -> t.Tuple[akcert.AkCertificate, bool]:
    """A newer certificate, and whether it is in the TPM now. Raises SkrFailure ``ak_renewal``, or as for any request."""
    # 1
    text = imds.renewed_ak_certificate(old.der)
    # 2
    try:
        blocks = der.pem_certificates(text)
        new = akcert.read(blocks[0], old.modulus)
        akcert.check_dates(new)
    except (der.DerError, IndexError) as error:
        raise SkrFailure("ak_renewal", "The host's certificate service gave no certificate in PEM.") from error
    except SkrFailure as error:
        raise SkrFailure("ak_renewal", f"The certificate service gave one of no use: {error.message}") from error
    if new.not_after <= old.not_after:
        raise SkrFailure(
            "ak_renewal",
            f"The host's certificate service gave no newer AK certificate (until {akcert.iso(new.not_after)}).",
        )
    # 3
    return new, store(tpm, new.der)


def store(tpm: Tpm, content: bytes) -> bool:
    """Write the certificate into its index; False where only the platform may. Raises SkrFailure as the TPM does."""
    index = tpm.nv_read_public(templates.NV_AK_CERT)
    if index is not None and index.attributes & _PLATFORM_CREATE:
        return False
    if index is not None and index.attributes & _OWNER_WRITE and index.size >= len(content):
        _write(tpm, content.ljust(index.size, b"\0"))
        return True
    size, attributes = len(content), _OWNER_WRITE | _OWNER_READ
    if index is not None:
        size, attributes = max(index.size, len(content)), attributes | index.attributes & ~_WRITTEN
        tpm.nv_undefine(templates.NV_AK_CERT)
    tpm.nv_define(templates.NV_AK_CERT, size, attributes)
    _write(tpm, content.ljust(size, b"\0"))
    return True


def _write(tpm: Tpm, content: bytes) -> None:
    """In pieces that a TPM takes."""
    for offset in range(0, len(content), _CHUNK):
        tpm.nv_write(templates.NV_AK_CERT, content[offset : offset + _CHUNK], offset)
