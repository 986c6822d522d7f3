# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Azure Instance Metadata Service (IMDS): managed-identity tokens and the host's VCEK chain (THIM)."""

from __future__ import annotations

import re
import typing as t

from ..policy.failure import SkrFailure
from .http import SERVER_ERRORS, Http, Reply, Retry, proxy_variables

ENDPOINT = "http://169.254.169.254"
# Microsoft's guidance: 404, 410, 429 and 5xx may pass, all else is final.
_RETRY = Retry(SERVER_ERRORS | {404, 410, 429}, (2.0, 4.0, 8.0, 16.0))
# 410 means an update of the service, over within 70 seconds: these pauses come on top, whatever the jitter.
_UPDATE = Retry(_RETRY.statuses, (40.0, 40.0, 40.0))
_METADATA = {"Metadata": "true"}
_TOKEN = re.compile(r"[!-~]+")  # what may stand in a header; a token is less than that


class Identity(t.NamedTuple):
    """Which of the VM's identities to use; at most one member is set. ``known`` lists client ids for messages."""

    client_id: t.Optional[str] = None
    object_id: t.Optional[str] = None
    resource_id: t.Optional[str] = None
    known: t.Tuple[str, ...] = ()

    def parameters(self) -> t.Dict[str, str]:
        named = {"client_id": self.client_id, "object_id": self.object_id, "msi_res_id": self.resource_id}
        return {name: value for name, value in named.items() if value}


class Imds:
    """The metadata service of this VM; ``endpoint`` differs from the link-local address only in a lab."""

    def __init__(self, http: Http, endpoint: str = ENDPOINT) -> None:
        self._http, self._endpoint = http, endpoint.rstrip("/")

    @property
    def count(self) -> int:
        """Requests sent so far."""
        return self._http.count

    def token(self, resource: str, identity: Identity) -> str:
        """An access token of a managed identity for a resource such as https://vault.azure.net.

        Raises SkrFailure: imds_unreachable, identity_ambiguous, identity_not_found, imds_error.
        """
        parameters = {"api-version": "2018-02-01", "resource": resource, **identity.parameters()}
        reply = self._get("/metadata/identity/oauth2/token", parameters)
        document = self._document(reply)
        token = document.get("access_token")
        if reply.status == 200 and isinstance(token, str) and _TOKEN.fullmatch(token):
            return token
        description = str(document.get("error_description", ""))
        facts = {"status": reply.status, "error": document.get("error"), "description": description[:300]}
        if reply.status in (400, 401, 403, 404):
            selector = identity.parameters()
            if not selector and ("multiple" in description.lower() or len(identity.known) > 1):
                known = f" It has {', '.join(identity.known)}." if identity.known else ""
                raise SkrFailure(
                    "identity_ambiguous",
                    f"This VM has several user-assigned identities and none was named.{known}",
                    {**facts, "client_ids": list(identity.known)},
                )
            if document.get("error") in ("invalid_request", "unauthorized_client", "unknown_source"):
                asked = " ".join(f"{name}={value}" for name, value in selector.items()) or "without a name"
                raise SkrFailure(
                    "identity_not_found", f"The metadata service has no identity for this VM, asked {asked}.", facts
                )
        raise SkrFailure("imds_error", f"The metadata service refused the token request ({reply.status}).", facts)

    def vcek_chain(self) -> str:
        """PEM text of VCEK, ASK and ARK of the host this VM runs on. Raises SkrFailure ``thim_error``."""
        reply = self._get("/metadata/THIM/amd/certification", {})
        document = self._document(reply)
        parts = [document.get("vcekCert"), document.get("certificateChain")]
        if reply.status != 200 or not all(isinstance(part, str) and part and part.isascii() for part in parts):
            raise SkrFailure(
                "thim_error", f"The host's certificate service answered {reply.status}.", {"status": reply.status}
            )
        return "".join(f"{part}".rstrip("\n") + "\n" for part in parts)

    def _get(self, path: str, parameters: t.Mapping[str, str]) -> Reply:
        call = ("the metadata service", "GET", self._endpoint + path)
        try:
            reply = self._http.request(*call, _RETRY, headers=_METADATA, params=parameters)
            if reply.status == 410:
                reply = self._http.request(*call, _UPDATE, headers=_METADATA, params=parameters)
            return reply
        except SkrFailure as error:
            if error.reason == "network_unreachable":
                raise self._unreachable(str(error.facts.get("error", "no answer"))) from error
            raise

    def _document(self, reply: Reply) -> t.Dict[str, t.Any]:
        """The JSON object; anything else did not come from the metadata service."""
        document = reply.json()
        if not document and reply.status not in (404, 410, 429) and reply.status < 500:
            raise self._unreachable("the answer is not JSON, so something else answered")
        return document

    def _unreachable(self, why: str) -> SkrFailure:
        names = proxy_variables()
        seen = f" Proxy variables set on this VM: {', '.join(names)} (not used for this request)." if names else ""
        return SkrFailure(
            "imds_unreachable",
            f"The metadata service at {self._endpoint} cannot be reached: {why}.{seen}",
            {"endpoint": self._endpoint, "proxy_variables": names},
        )
