# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One transport policy for every client: proxy, CA bundle, time limits, user agent.

Without the options the SDK itself takes HTTPS_PROXY, NO_PROXY and REQUESTS_CA_BUNDLE from the environment; an option
wins over its variable. There is no way to switch the verification of certificates off.
"""

from __future__ import annotations

import os
import ssl
import typing as t

from ..policy.failure import SkrFailure
from . import settings

USER_AGENT = "confidential.azure_skr"
MORE_USER_AGENT = "AZURE_HTTP_USER_AGENT"
# Seconds to connect and between two reads; the SDK would wait five minutes for each.
TIMEOUTS = {"connection_timeout": 20, "read_timeout": 120}


def keywords(
    ca_path: t.Optional[str], https_proxy: t.Optional[str], environ: t.Optional[t.Mapping[str, str]] = None
) -> t.Dict[str, t.Any]:
    """Keyword arguments of azure-core's pipelines, the same for all clients. Raises SkrFailure ``invalid_input``."""
    environ = os.environ if environ is None else environ
    # azure-core would append its variable too, but as it is: with line breaks, or a blank for empty text.
    kwargs: t.Dict[str, t.Any] = {"user_agent": user_agent(environ), "user_agent_use_env": False, **TIMEOUTS}
    if ca_path:
        check_bundle("ca_path", ca_path)
        kwargs["connection_verify"] = ca_path
    else:
        name = next((name for name in settings.BUNDLE_VARIABLES if environ.get(name)), None)
        if name:
            check_bundle(name, environ[name])
    if https_proxy:
        kwargs["proxies"] = {"https": https_proxy, "http": https_proxy}
    return kwargs


def user_agent(environ: t.Mapping[str, str]) -> str:
    """Ours, and what AZURE_HTTP_USER_AGENT adds. Raises SkrFailure where that cannot stand in a header."""
    more = (environ.get(MORE_USER_AGENT) or "").strip()
    if not more.isascii() or not more.isprintable():
        raise SkrFailure(
            "invalid_input", f"{MORE_USER_AGENT} is {more!r}, wanted printable ASCII text.", {"option": MORE_USER_AGENT}
        )
    return f"{USER_AGENT} {more}".strip()


def check_bundle(option: str, path: str) -> None:
    """The bundle must be a PEM file with a certificate, or a folder of them as OpenSSL reads it.

    Otherwise the SDK would fail at its first request, with words that do not name the file.
    """
    wanted = "a readable PEM file of certificate authorities"
    if not os.access(path, os.R_OK):
        raise SkrFailure("invalid_input", f"{option} is {path!r}, wanted {wanted}.", {"option": option})
    if os.path.isdir(path):
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except (ssl.SSLError, OSError) as error:
        raise SkrFailure(
            "invalid_input",
            f"{option} is {path!r}, but there is no certificate in it; wanted {wanted}.",
            {"option": option},
        ) from error
