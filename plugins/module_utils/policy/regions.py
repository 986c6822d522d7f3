# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Host names of attestation authorities: ``shared<code>.<code>.attest.azure.net`` and private providers' names.

The codes are those of Microsoft's list of regional shared providers. They serve to warn of a misspelt authority and to
name its region; the authority of a region is never made up from them (Azure Resource Manager tells it).
"""

from __future__ import annotations

import typing as t

SUFFIXES = ("attest.azure.net", "attest.azure.us", "attest.azure.cn")

REGIONS: t.Dict[str, str] = {
    "ate": "Austria East",
    "cac": "Canada Central",
    "cae": "Canada East",
    "cau": "Australia Central",
    "cau2": "Australia Central 2",
    "cin": "Central India",
    "clc": "Chile Central",
    "cus": "Central US",
    "den": "Germany North",
    "dewc": "Germany West Central",
    "easia": "East Asia",
    "eau": "Australia East",
    "esc": "Spain Central",
    "eus": "East US",
    "eus2": "East US 2",
    "frc": "France Central",
    "frs": "France South",
    "ilc": "Israel Central",
    "itn": "Italy North",
    "jpe": "Japan East",
    "jpw": "Japan West",
    "krc": "Korea Central",
    "krs": "Korea South",
    "mxc": "Mexico Central",
    "mys": "Malaysia South",
    "ncus": "North Central US",
    "neu": "North Europe",
    "noe": "Norway East",
    "now": "Norway West",
    "nzn": "New Zealand North",
    "plc": "Poland Central",
    "san": "South Africa North",
    "sasia": "Southeast Asia",
    "sau": "Australia Southeast",
    "saw": "South Africa West",
    "sbr": "Brazil South",
    "scus": "South Central US",
    "sebr": "Brazil Southeast",
    "sec": "Sweden Central",
    "ses": "Sweden South",
    "sin": "South India",
    "swn": "Switzerland North",
    "sww": "Switzerland West",
    "twn": "Taiwan North",
    "uaec": "UAE Central",
    "uaen": "UAE North",
    "uks": "UK South",
    "ukw": "UK West",
    "wcus": "West Central US",
    "weu": "West Europe",
    "win": "West India",
    "wus": "West US",
    "wus2": "West US 2",
    "wus3": "West US 3",
}


class Authority(t.NamedTuple):
    """What a host name tells. ``problem`` is a sentence when something about it is doubtful."""

    host: str
    shared: bool
    region: t.Optional[str]
    problem: t.Optional[str]


def read(host: str) -> Authority:
    """Take an authority's host name apart."""
    host = host.lower()
    suffix = next((suffix for suffix in SUFFIXES if host.endswith("." + suffix)), None)
    if suffix is None:
        return Authority(
            host, False, None, f"{host} is no host of Azure Attestation (wanted a name below {SUFFIXES[0]})"
        )
    parts = host[: -len(suffix) - 1].split(".")
    if len(parts) != 2:
        return Authority(host, False, None, f"{host} is not of the form <provider>.<region code>.{suffix}")
    name, code = parts
    region = REGIONS.get(code)
    # Only the public cloud's codes are listed above.
    unknown = None if region or suffix != SUFFIXES[0] else f"the region code {code!r} of {host} is not known"
    shared = name.startswith("shared") and (name == f"shared{code}" or name[6:] in REGIONS)
    if shared and name != f"shared{code}":
        unknown = f"{host} names two regions: {name[6:]!r} and {code!r}"
    return Authority(host, shared, region, unknown)


def words(url: str) -> str:
    """An authority in words, such as "the shared attestation provider of West Europe"."""
    found = read(url.partition("://")[2].partition("/")[0])
    if found.shared and found.region and not found.problem:
        return f"the shared attestation provider of {found.region}"
    if found.region and not found.problem:
        return f"a private attestation provider in {found.region}"
    return "an attestation provider"
