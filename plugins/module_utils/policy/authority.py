# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses of attestation authorities: taken apart and compared.

A small pattern instead of urllib.parse: an authority is scheme, host, port and path, and nothing else is allowed in a
policy.
"""

from __future__ import annotations

import re
import typing as t

# Compiled when first used: the import of these rooms is paid by every module.
_URL = r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<host>[^/?#@:\[\]\s]+|\[[0-9A-Fa-f:.]+\])(?P<port>:[0-9]*)?(?P<path>/[^?#\s]*)?"


class Address(t.NamedTuple):
    """Scheme and host in lower case; ``port`` with its colon and ``path`` with its slash, or empty."""

    scheme: str
    host: str
    port: str
    path: str


def split(url: str) -> t.Optional[Address]:
    """The parts of an address; None for anything that is none, or that has a query, a fragment or a user."""
    found = re.fullmatch(_URL, url)
    if found is None:
        return None
    return Address(found["scheme"].lower(), found["host"].lower(), found["port"] or "", found["path"] or "")


def host(url: str) -> str:
    """The host's name in lower case, or an empty text."""
    found = split(url)
    return found.host if found else ""


def without_slash(url: str) -> str:
    """Without the one slash at the end that does not count."""
    return url[:-1] if url.endswith("/") else url


def key(url: str) -> str:
    """Two authorities are the same when scheme, host, port and path are; case of the host and a final slash do not count."""
    found = split(url)
    if found is None:  # no address at all, so it is like itself alone
        return url
    return f"{found.scheme}://{found.host}{found.port}{without_slash(found.path)}"
