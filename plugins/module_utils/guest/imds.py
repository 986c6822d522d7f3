# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Azure Instance Metadata Service (IMDS): managed-identity tokens, and what the host knows of its hardware (THIM)."""

from __future__ import annotations

import base64
import binascii
import re
import time
import typing as t
import urllib.parse
import uuid

from ..policy.failure import SkrFailure
from .http import NEVER, SERVER_ERRORS, Http, Reply, Retry, proxy_variables

ENDPOINT = "http://169.254.169.254"
# Microsoft's guidance: 404, 410, 429 and 5xx may pass, all else is final.
_RETRY = Retry(SERVER_ERRORS | {404, 410, 429}, (2.0, 4.0, 8.0, 16.0))
# 410 means an update of the service, over within 70 seconds: these pauses come on top, whatever the jitter.
_UPDATE = Retry(_RETRY.statuses, (40.0, 40.0, 40.0))
_METADATA = {"Metadata": "true"}
_RENEWAL = "/metadata/THIM/tvm/certificate"
_RENEWAL_PAUSE = 60.0  # seconds that Microsoft's client gives the host to have a certificate made
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

    def __init__(self, http: Http, endpoint: str = ENDPOINT, sleep: t.Callable[[float], None] = time.sleep) -> None:
        self._http, self._endpoint, self._sleep = http, endpoint.rstrip("/"), sleep

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

    def td_quote(self, report: bytes) -> bytes:
        """A quote that the host makes of this TD report. Raises SkrFailure ``td_quote_unavailable``."""
        document = {"report": base64.urlsafe_b64encode(report).rstrip(b"=").decode("ascii")}
        reply = self._ask("POST", "/acc/tdquote", {}, _RETRY, document=document)
        text = reply.json().get("quote")
        try:
            if reply.status == 200 and isinstance(text, str) and text:
                plain = text.rstrip("=").replace("-", "+").replace("_", "/")
                return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
        except (binascii.Error, ValueError):
            pass
        raise SkrFailure(
            "td_quote_unavailable",
            f"The metadata service did not make a quote of the TD report ({reply.status}).",
            {"status": reply.status},
        )

    def vm_id(self) -> str:
        """This VM's id as the platform has it. Raises SkrFailure ``imds_error``."""
        reply = self._get("/metadata/instance/compute/vmId", {"api-version": "2019-03-11", "format": "text"})
        text = reply.body.decode("ascii", "replace").strip()
        try:
            return str(uuid.UUID(text))
        except ValueError:
            raise SkrFailure(
                "imds_error",
                f"The metadata service did not tell this VM's id ({reply.status}).",
                {"status": reply.status},
            ) from None

    def renewed_ak_certificate(self, certificate: bytes) -> str:
        """PEM text of a new AK certificate for the key of this one (DER): at once, or after a pause where it takes one.

        Raises SkrFailure ``ak_renewal``, or as for any request.
        """
        named = {"vmId": self.vm_id(), "requestId": str(uuid.uuid4())}
        base64_line = base64.b64encode(certificate).decode("ascii")
        pem = f"-----BEGIN CERTIFICATE-----\n{base64_line}\n-----END CERTIFICATE-----\n"
        body = urllib.parse.quote(pem, safe="").encode("ascii")
        headers = {"Content-Type": "application/x-www-form-urlencoded"}

        def ask(version: str) -> Reply:
            parameters = {"api-version": version, **named}
            return self._ask("POST", f"{_RENEWAL}/renew", parameters, NEVER, headers=headers, form=body)

        reply = ask("2023-07-01")
        if found := _certificate_in(reply):
            return found
        reply = ask("2021-12-01")
        query = reply.json().get("CertQueryId")
        if reply.status in (200, 202) and isinstance(query, str) and query:
            self._sleep(_RENEWAL_PAUSE)
            reply = self._get(f"{_RENEWAL}/query", {"api-version": "2021-12-01", **named, "guid": query})
        if found := _certificate_in(reply):
            return found
        raise SkrFailure(
            "ak_renewal",
            f"The host's certificate service did not give a new AK certificate ({reply.status}).",
            {"status": reply.status},
        )

    def _get(self, path: str, parameters: t.Mapping[str, str]) -> Reply:
        return self._ask("GET", path, parameters, _RETRY)

    def _ask(
        self,
        method: str,
        path: str,
        parameters: t.Mapping[str, str],
        retry: Retry,
        headers: t.Optional[t.Mapping[str, str]] = None,
        document: t.Any = None,
        form: t.Optional[bytes] = None,
    ) -> Reply:
        call = ("the metadata service", method, self._endpoint + path)
        sent = {**_METADATA, **(headers or {})}

        def once(retry: Retry) -> Reply:
            return self._http.request(*call, retry, headers=sent, params=parameters, document=document, form=form)

        try:
            reply = once(retry)
            if reply.status == 410 and retry is not NEVER:
                reply = once(_UPDATE)
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


def _certificate_in(reply: Reply) -> t.Optional[str]:
    text = reply.json().get("AkCertPem")
    return text if reply.status == 200 and isinstance(text, str) and text.strip() else None
