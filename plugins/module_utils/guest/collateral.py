# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The certificate chain of the host's processor, which changes only with the host or its firmware."""

from __future__ import annotations

import typing as t

from .cache import Cache

_NAME = "vcek-chain.pem"
_AGE = 7 * 86400.0


class Chain:
    """Called for a chain: the first call may return the one kept from an earlier run, every further one fetches.

    The caller verifies each chain against the report and calls again where they do not belong together, so a kept chain
    of another host or firmware level costs one more call.
    """

    def __init__(self, fetch: t.Callable[[], str], cache: Cache) -> None:
        self._fetch, self._cache, self._asked = fetch, cache, False
        self.kept = False  # whether the chain last returned is one of an earlier run

    def __call__(self) -> str:
        found = None if self._asked else self._cache.load(_NAME, _AGE)
        self._asked, self.kept = True, found is not None
        if found is not None:
            return found.decode("ascii", "replace")
        chain = self._fetch()
        self._cache.save(_NAME, chain.encode("ascii", "replace"))
        return chain
