# SPDX-License-Identifier: GPL-3.0-or-later
"""A managed HSM's reading of a release policy: stricter about the text than a vault, and it keeps booleans.

Known of the service: it finds no ``version`` unless that is the first member and the text has no line ends
(Azure/azure-sdk-for-net issue 38375), and it gives policies back with sorted members.
"""

from __future__ import annotations

import base64
import re
import typing as t

from . import policy
from .errors import bad

_FIRST = re.compile(rb'\s*\{\s*"version"\s*:')


def stored_form(encoded: str) -> dict[str, t.Any]:
    """Raises Refusal."""
    try:
        raw = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
    except ValueError:
        raise bad("Key Release Policy: the data cannot be decoded.") from None
    if b"\r" in raw or b"\n" in raw or not _FIRST.match(raw):
        raise bad("Key Release Policy: missing 'version' property.")
    return t.cast(dict[str, t.Any], _sorted(policy.stored_form(encoded, keep_booleans=True)))


def _sorted(node: t.Any) -> t.Any:
    if isinstance(node, dict):
        return {name: _sorted(node[name]) for name in sorted(node)}
    return [_sorted(member) for member in node] if isinstance(node, list) else node
