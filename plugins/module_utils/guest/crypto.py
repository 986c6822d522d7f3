# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of the package ``cryptography`` that the guest uses.

Every room reaches them through this one, which can be imported without the package: only then can a module say which
package its interpreter lacks, and only then can Ansible's own checks import every file.
"""

from __future__ import annotations

try:
    from cryptography.exceptions import InvalidSignature, InvalidTag, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap_with_padding
    from cryptography.hazmat.primitives.serialization import load_der_public_key
except ImportError:
    AVAILABLE = False
else:
    AVAILABLE = True

__all__ = [
    "AVAILABLE",
    "AESGCM",
    "InvalidSignature",
    "InvalidTag",
    "InvalidUnwrap",
    "UnsupportedAlgorithm",
    "aes_key_unwrap_with_padding",
    "ec",
    "ed25519",
    "encode_dss_signature",
    "hashes",
    "load_der_public_key",
    "padding",
    "rsa",
    "serialization",
]
