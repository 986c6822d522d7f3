# SPDX-License-Identifier: GPL-3.0-or-later
"""What the host's services answer a VM beside its metadata: certificates of its silicon (THIM), AK renewal, TD quotes."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import re
import typing as t
import urllib.parse
import uuid

from ..core.messages import Refusal, Request, Response
from ..core.world import VirtualMachine, World
from ..tee.certificates import pem
from ..tee.tdx import BadReport

RENEW, QUERY = "/metadata/thim/tvm/certificate/renew", "/metadata/thim/tvm/certificate/query"
SYNCHRONOUS, ASYNCHRONOUS = "2023-07-01", "2021-12-01"
ISSUING = 30.0  # seconds until an asynchronous renewal can be fetched
_GUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----(?P<body>[A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----\s*")


def _refuse(status: int, clause: str, text: str) -> Refusal:
    return Refusal(status, {"error": text}, clause=f"thim.{clause}")


@dataclasses.dataclass
class Renewal:
    """A certificate that was asked for and is fetched later."""

    vm: str
    request_id: str
    ready: float
    pem: str


class HostService:
    """Behind the same address as the metadata service, which tells it which VM is calling."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._renewals: dict[str, Renewal] = {}  # by CertQueryId

    # --- certificates of the silicon

    def certification(self, request: Request, vm: VirtualMachine) -> Response:
        if vm.tee != "SNP":
            raise _refuse(404, "not_snp", "no SEV-SNP on this host")
        return Response.of(self._world.services["platform"].thim(vm.name))

    # --- TD quotes

    def td_quote(self, request: Request, vm: VirtualMachine) -> Response:
        """Any caller in the VM, with or without the Metadata header."""
        if vm.tee != "TDX":
            raise _refuse(404, "not_tdx", "no TDX on this host")
        if request.method != "POST":
            raise _refuse(405, "method", "Method not allowed")
        try:
            report = _unbase64(request.json()["report"])
            quote = self._world.services["platform"].thim_service.td_quote(vm.name, report)
        except BadReport as error:
            raise _refuse(400, "td_report", f"Bad request: {error}") from None
        except (ValueError, KeyError, TypeError, AttributeError):
            raise _refuse(400, "td_request", 'Bad request: wanted {"report": base64url of a TD report}') from None
        return Response.of({"quote": base64.urlsafe_b64encode(quote).rstrip(b"=").decode()})

    # --- renewal of the AK certificate

    def renewal(self, request: Request, vm: VirtualMachine) -> Response:
        """``renew``: at once, or by the older version to be fetched by ``query``. The key stays, the dates are new."""
        path, version = request.path.lower().rstrip("/"), request.param("api-version")
        if path not in (RENEW, QUERY):
            raise _refuse(404, "path", "Not found")
        if request.method != ("POST" if path == RENEW else "GET"):
            raise _refuse(405, "method", "Method not allowed")
        if version not in ((SYNCHRONOUS, ASYNCHRONOUS) if path == RENEW else (ASYNCHRONOUS,)):
            raise _refuse(400, "api_version", f"Bad request: api-version {version} is not supported")
        wanted = {"api-version", "vmId", "requestId", *(["guid"] if path == QUERY else [])}
        if sorted(name for name, _value in request.query) != sorted(wanted):
            raise _refuse(400, "parameters", f"Bad request: wanted the parameters {', '.join(sorted(wanted))}")
        request_id = request.param("requestId") or ""
        if (request.param("vmId") or "").lower() != vm.vm_id.lower():
            raise _refuse(400, "vm_id", "Bad request: vmId is not of this VM")
        if not _GUID.fullmatch(request_id):
            raise _refuse(400, "request_id", "Bad request: requestId is no GUID")
        if path == QUERY:
            return self._query(request, vm, request_id)
        made, number = self._certificate(request, vm), str(uuid.uuid4())
        if version == SYNCHRONOUS:
            return Response.of({"AkCertPem": made, "CertQueryId": number})
        ready = self._world.clock.now() + ISSUING
        self._renewals[number] = Renewal(vm.name, request_id, ready, made)
        return Response.of({"CertQueryId": number})

    def _certificate(self, request: Request, vm: VirtualMachine) -> str:
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
            raise _refuse(415, "content_type", "Unsupported media type")
        found = _PEM.fullmatch(urllib.parse.unquote(request.body.decode("ascii", "replace")))
        platform = self._world.services["platform"]
        try:
            if found is None:
                raise ValueError("the body is no percent-encoded PEM certificate")
            modulus = platform.authority.modulus_of(_trimmed(base64.b64decode(found["body"])))
        except ValueError as error:
            raise _refuse(400, "certificate", f"Bad request: {error}") from None
        if modulus != platform.attestation_keys.get(vm.name):
            raise _refuse(400, "certificate_key", "Bad request: the certificate is not for this VM's attestation key")
        return pem(platform.ak_certificate(vm.name, modulus))

    def _query(self, request: Request, vm: VirtualMachine, request_id: str) -> Response:
        found = self._renewals.get(request.param("guid") or "")
        if found is None or (found.vm, found.request_id) != (vm.name, request_id):
            raise _refuse(404, "query", "Not found")
        if self._world.clock.now() < found.ready:
            raise _refuse(404, "not_ready", "Not found: the certificate has not been issued yet")
        return Response.of({"AkCertPem": found.pem, "CertQueryId": request.param("guid")})


def _trimmed(der: bytes) -> bytes:
    """A certificate without what follows it: the C++ client sends the whole NV index, which zeros fill up."""
    length = 4 + int.from_bytes(der[2:4], "big") if der[:2] == b"\x30\x82" else len(der)
    return der if der[length:].strip(b"\0") else der[:length]


def _unbase64(text: t.Any) -> bytes:
    """Base64url, padded or not."""
    plain = text.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from error
