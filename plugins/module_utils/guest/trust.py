# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one TLS context of a client: requests by itself reads the whole CA bundle anew for every server it meets."""

from __future__ import annotations

import ssl
import typing as t

if t.TYPE_CHECKING:
    from requests.adapters import HTTPAdapter


def adapter(bundle: str) -> HTTPAdapter:
    """What is mounted for https: every server must verify against the bundle and nothing else.

    Raises ssl.SSLError where the bundle holds no certificates.
    """
    from requests.adapters import HTTPAdapter

    context = ssl.create_default_context(cafile=bundle)

    class Verified(HTTPAdapter):
        """Hands the context to every pool; no other word of requests about authorities reaches one."""

        def init_poolmanager(self, *arguments: t.Any, **options: t.Any) -> None:
            super().init_poolmanager(*arguments, **{**options, "ssl_context": context})

        def proxy_manager_for(self, proxy: t.Any, **options: t.Any) -> t.Any:
            return super().proxy_manager_for(proxy, **{**options, "ssl_context": context})

        def build_connection_pool_key_attributes(self, request: t.Any, verify: t.Any, cert: t.Any = None) -> t.Any:
            host, _authorities = super().build_connection_pool_key_attributes(request, True, None)
            return host, {"cert_reqs": "CERT_REQUIRED"}

        def cert_verify(self, conn: t.Any, url: t.Any, verify: t.Any, cert: t.Any) -> None:
            conn.cert_reqs, conn.ca_certs, conn.ca_cert_dir = "CERT_REQUIRED", None, None

    return Verified()
