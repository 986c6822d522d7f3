# SPDX-License-Identifier: GPL-3.0-or-later
"""Sizes of virtual machines by region, with the capability that tells the confidential ones (resource SKUs)."""

from __future__ import annotations

import re

from ...core.messages import Response
from . import versions
from .attestation import REGIONS
from .call import Call, Route, route
from .errors import refuse

_PATH = "/subscriptions/{sub}/providers/Microsoft.Compute/skus"
_FILTER = re.compile(r"location eq '(?P<location>[^']+)'", re.IGNORECASE)
_CORES = (2, 4, 8, 16, 32, 48, 64, 96)
SIZES: dict[str, str | None] = {
    **{f"Standard_{f}C{n}{d}s_{g}": "SNP" for f in "DE" for n in _CORES for d in ("a", "ad") for g in ("v5", "v6")},
    **{f"Standard_{f}C{n}{d}s_{g}": "TDX" for f in "DE" for n in _CORES for d in ("e", "ed") for g in ("v5", "v6")},
    **{f"Standard_D{n}s_v5": None for n in _CORES},
}
# Regions that have one of the two only; elsewhere there are both. Chosen for the lab, not a list of Azure's.
_ONLY = {"northeurope": "SNP", "uksouth": "SNP"}


def kind_of(size: str, location: str) -> str | None:
    """``SNP``, ``TDX``, or None for a size that is not confidential. Raises KeyError where there is no such size."""
    found = {name.lower(): kind for name, kind in SIZES.items()}[size.lower()]
    if found is not None and _ONLY.get(location, found) != found:
        raise KeyError(size)
    return found


class Skus:
    def routes(self) -> list[Route]:
        scope = "/subscriptions/{sub}"
        return [
            route("sku_list", "GET", _PATH, versions.SKUS, self.list, "$filter", "includeExtendedLocations",
                  action="Microsoft.Compute/skus/read", scope=scope),
        ]  # fmt: skip

    def list(self, call: Call) -> Response:
        text = call.request.param("$filter") or ""
        found = _FILTER.fullmatch(text)
        if text and found is None:
            raise refuse(400, "InvalidParameter", f"The filter '{text}' is not supported.")
        location = found["location"].replace(" ", "").lower() if found else "westeurope"
        documents = []
        for name, kind in SIZES.items():
            if location not in REGIONS or (kind is not None and _ONLY.get(location, kind) != kind):
                continue
            capabilities = [{"name": "HyperVGenerations", "value": "V2" if kind else "V1,V2"}]
            if kind:
                capabilities.append({"name": "ConfidentialComputingType", "value": kind})
            documents.append(
                {
                    "id": name, "resourceType": "virtualMachines", "name": name, "tier": "Standard",
                    "size": name.removeprefix("Standard_"), "locations": [location],
                    "capabilities": capabilities, "restrictions": [],
                }
            )  # fmt: skip
        return call.page(documents, 200)
