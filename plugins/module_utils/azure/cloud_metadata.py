# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cloud known by the URL of its resource manager: its metadata tell the rest.

``GET {url}/metadata/endpoints?api-version=2022-09-01``, without a token. The answer is one object, in older versions a
list of them::

    {"name": ..., "resourceManager": URL, "suffixes": {"keyVaultDns": ..., "mhsmDns": ..., "attestationEndpoint": ...},
     "authentication": {"loginEndpoint": URL, "audiences": [URL, ...], "identityProvider": "AAD" or "ADFS"}}
"""

from __future__ import annotations

import json
import re
import typing as t

from ..policy.failure import SkrFailure
from . import cloud as clouds
from . import credentials
from .clients import errors

API_VERSION = "2022-09-01"
_PATH = "/metadata/endpoints"
_SUFFIX = re.compile(r"[0-9a-z](?:[0-9a-z-]*[0-9a-z])?(?:\.[0-9a-z](?:[0-9a-z-]*[0-9a-z])?)+")
# URL -> cloud: the same for every client of one run.
_known: t.Dict[str, clouds.Cloud] = {}


def discover(url: str, transport: t.Mapping[str, t.Any]) -> clouds.Cloud:
    """The cloud behind the URL, asked for once. ``transport`` is that of all clients. Raises SkrFailure."""
    if url not in _known:
        _known[url] = read(url, _get(url, transport))
    return _known[url]


def _get(url: str, transport: t.Mapping[str, t.Any]) -> t.Any:
    try:
        from azure.core import PipelineClient
        from azure.core.pipeline import policies
        from azure.core.rest import HttpRequest
    except ImportError as error:
        raise credentials.library_missing("azure-core") from error
    kwargs = dict(transport)
    chain = [
        policies.RequestIdPolicy(),
        policies.UserAgentPolicy(kwargs.pop("user_agent"), user_agent_use_env=kwargs.pop("user_agent_use_env")),
        policies.ProxyPolicy(kwargs.pop("proxies", None)),
        policies.RetryPolicy(retry_total=3),
    ]
    what = f"the metadata of the cloud {url}"
    try:
        with errors(what), PipelineClient(url, policies=chain, **kwargs) as client:
            response = client.send_request(HttpRequest("GET", url + _PATH, params={"api-version": API_VERSION}))
            status, body = response.status_code, response.text()
    except SkrFailure as failure:
        if failure.reason == "network_unreachable":
            failure.next_step = (
                "Check the URL in cloud_environment, and that this machine reaches it, directly or through the proxy."
            )
        raise
    if status != 200:
        raise _unusable(url, f"the answer has status {status}", status=status)
    try:
        return json.loads(body)
    except ValueError as error:
        raise _unusable(url, "the answer is not JSON, as if a proxy or portal had answered") from error


def read(url: str, document: t.Any) -> clouds.Cloud:
    """The cloud that a metadata document describes. Raises SkrFailure ``cloud_metadata``."""
    entries = document if isinstance(document, list) else [document]
    entries = [entry for entry in entries if isinstance(entry, dict)]
    if not entries:
        raise _unusable(url, "the answer is neither an object nor a list of them")
    # A list may tell of several clouds; the one asked is the one whose resource manager this is.
    chosen = next((one for one in entries if str(one.get("resourceManager")).rstrip("/").lower() == url), entries[0])
    authentication, suffixes = _dict(chosen.get("authentication")), _dict(chosen.get("suffixes"))
    audiences = authentication.get("audiences")
    audience = audiences[0] if isinstance(audiences, list) and audiences else None
    needed = {
        "authentication.loginEndpoint": authentication.get("loginEndpoint"),
        "authentication.audiences": audience,
        "suffixes.keyVaultDns": suffixes.get("keyVaultDns"),
    }
    missing = [name for name, value in needed.items() if not value or not isinstance(value, str)]
    if missing:
        raise _unusable(url, f"{', '.join(missing)} missing", missing=missing)
    return clouds.Cloud(
        url,
        _url(url, "authentication.loginEndpoint", authentication["loginEndpoint"]),
        _url(url, "resourceManager", chosen.get("resourceManager") or url),
        # A slash at the audience's end is a part of it: azure-identity takes no more than "/.default" off again.
        f"{audience}/.default",
        _suffix(url, "keyVaultDns", suffixes),
        _suffix(url, "mhsmDns", suffixes),
        _suffix(url, "attestationEndpoint", suffixes),
        str(authentication.get("identityProvider") or "AAD"),
    )


def _dict(value: t.Any) -> t.Dict[str, t.Any]:
    return value if isinstance(value, dict) else {}


def _url(cloud: str, member: str, value: t.Any) -> str:
    try:
        return clouds.https_url(member, str(value))
    except SkrFailure as failure:
        raise _unusable(cloud, f"{member} is {str(value)[:200]!r}, which is no https URL", member=member) from failure


def _suffix(cloud: str, member: str, suffixes: t.Dict[str, t.Any]) -> str:
    value = str(suffixes.get(member) or "").strip().lstrip(".").lower()
    if value and not _SUFFIX.fullmatch(value):
        raise _unusable(cloud, f"suffixes.{member} is {value[:200]!r}, which is no DNS name", member=member)
    return value


def _unusable(url: str, why: str, **facts: t.Any) -> SkrFailure:
    return SkrFailure(
        "cloud_metadata", f"The metadata of the cloud {url} cannot be used: {why}.", {"cloud": url, **facts}
    )
