# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The shared attestation provider of a region, as Azure Resource Manager tells it; cached, never made up.

Request: ``GET /subscriptions/{id}/providers/Microsoft.Attestation/locations/{location}/defaultProvider`` and
``.../defaultProviders`` (Azure REST reference, Attestation, 2021-06-01).
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import typing as t
from pathlib import Path

from ..policy.failure import SkrFailure
from .clients import Connection

API_VERSION = "2021-06-01"
_FILE = "authorities.json"


def find(
    connection: Connection, location: t.Optional[str], cache_dir: t.Optional[str], refresh: bool = False
) -> t.Dict[str, t.Any]:
    """The providers of one region or of all, as the module returns them. Raises SkrFailure.

    With ``cache_dir`` what Azure told is kept in a file there, by cloud and region: a region's authority does not move.
    """
    wanted = location.replace(" ", "").lower() if location else None
    if location is not None and not (wanted or "").isalnum():
        raise SkrFailure(
            "invalid_input", f"location is {location!r}, wanted a region such as westeurope.", {"option": "location"}
        )
    cloud = connection.login.cloud.name
    known = {} if refresh or not cache_dir else _read(cache_dir).get(cloud, {})
    cached = wanted is not None and wanted in known
    if wanted is not None and cached:
        providers = [{"location": wanted, "authority": known[wanted]}]
    else:
        providers = _ask(connection, wanted)
        if cache_dir:
            _write(cache_dir, cloud, {entry["location"]: entry["authority"] for entry in providers})
    return {
        "changed": False,
        "providers": providers,
        "authority": providers[0]["authority"] if wanted else None,
        "cached": cached,
    }


def _ask(connection: Connection, location: t.Optional[str]) -> t.List[t.Dict[str, str]]:
    scope = f"/subscriptions/{connection.subscription_id}/providers/Microsoft.Attestation"
    path = f"{scope}/locations/{location}/defaultProvider" if location else f"{scope}/defaultProviders"
    what = f"the attestation provider of {location}" if location else "the attestation providers"
    try:
        document = connection.get(path, API_VERSION, what)
    except SkrFailure as failure:
        if failure.reason != "resource_not_found" or location is None:
            raise
        raise SkrFailure(
            "resource_not_found",
            f"The region {location} has no shared attestation provider.",
            {**failure.facts, "location": location},
            next_step="Choose the provider of another region; attestation_provider_info without location lists all.",
        ) from failure
    entries = [document] if location else document.get("value")
    try:
        return sorted(
            (
                {
                    "location": str(entry["location"]).replace(" ", "").lower(),
                    "authority": str(entry["properties"]["attestUri"]).rstrip("/"),
                }
                for entry in t.cast(t.List[t.Any], entries)
            ),
            key=lambda entry: entry["location"],
        )
    except (KeyError, TypeError) as error:
        raise SkrFailure("service_error", f"{what}: the answer does not have the documented form.") from error


def default_cache() -> str:
    """The user's cache folder (XDG Base Directory Specification)."""
    return str(Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "azure_skr")


def _read(cache_dir: str) -> t.Dict[str, t.Dict[str, str]]:
    """What is cached; a file that cannot be read is as none."""
    try:
        found = json.loads(Path(cache_dir, _FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {
        cloud: {name: url for name, url in regions.items() if isinstance(url, str) and url.startswith("https://")}
        for cloud, regions in found.items()
        if isinstance(regions, dict)
    }


def _write(cache_dir: str, cloud: str, found: t.Mapping[str, str]) -> None:
    """Add to the cache by atomic replacement. A cache that cannot be written is no failure."""
    known = _read(cache_dir)
    known[cloud] = {**known.get(cloud, {}), **found}
    with contextlib.suppress(OSError):
        os.makedirs(cache_dir, mode=0o700, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=cache_dir, prefix=f".{_FILE}.")
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            json.dump(known, stream, indent=2, sort_keys=True)
        os.replace(name, Path(cache_dir, _FILE))
