# SPDX-License-Identifier: GPL-3.0-or-later
"""The instance metadata service (IMDS) as seen from one VM, and the host's certificate service (THIM) behind it."""

from __future__ import annotations

import typing as t

from ..core import clouds
from ..core.messages import Refusal, Request, Response
from ..core.world import Principal, VirtualMachine, World
from .thim import HostService

ADDRESS = "169.254.169.254"
COMPUTE_VERSIONS = ("2019-03-11", "2019-06-01", "2020-09-01", "2021-01-01", "2021-02-01", "2021-12-13", "2023-07-01")
# Requests in a second and VM (Microsoft's page on the service); those for tokens have more of their own.
RATES = {"imds_token": 20, "imds_identity_info": 20, "other": 5}
SELECTORS = ("client_id", "object_id", "msi_res_id", "mi_res_id")


def _refuse(status: int, error: str, text: str) -> Refusal:
    return Refusal(status, {"error": error, "error_description": text}, clause=f"imds.{error}")


class ImdsService:
    """Serves whatever VM the door says is calling."""

    name = "imds"

    def __init__(self, world: World) -> None:
        self.world = world
        self._host = HostService(world)
        self._tokens: dict[tuple[str, str, str], tuple[float, str, int]] = {}
        self._asked: dict[tuple[str, int], tuple[int, int]] = {}  # VM and rate -> second and requests in it

    def serves(self, host: str) -> bool:
        return host in (ADDRESS, "127.0.0.1", "localhost")

    def operation(self, request: Request) -> str:
        path = request.path.lower()
        for part, name in (
            ("/metadata/identity/oauth2/token", "imds_token"),
            ("/metadata/identity/info", "imds_identity_info"),
            ("/metadata/thim/amd/certification", "thim_certification"),
            ("/metadata/thim/tvm/certificate/", "thim_ak_renewal"),
            ("/metadata/instance", "imds_instance"),
            ("/acc/tdquote", "td_quote"),
        ):
            if path.startswith(part):
                return name
        return "unknown"

    async def handle(self, request: Request) -> Response:
        vm = self.world.vms.get(request.vm or "")
        if vm is None:
            raise Refusal(404, {"error": "not a VM of this lab"}, clause="imds.unknown_source")
        operation = self.operation(request)
        self._count(vm, operation)
        if "x-forwarded-for" in request.headers:
            raise _refuse(400, "invalid_request", "X-Forwarded-For is not allowed")
        if operation == "td_quote":
            return self._host.td_quote(request, vm)
        if request.headers.get("metadata", "").strip().lower() != "true":
            raise _refuse(400, "bad_request_102", "Required metadata header not specified")
        handlers = {
            "imds_token": self._token,
            "imds_instance": self._instance,
            "thim_certification": self._host.certification,
            "thim_ak_renewal": self._host.renewal,
            "imds_identity_info": self._identity_info,
        }
        if operation not in handlers:
            raise Refusal(404, {"error": "Not found"}, clause="imds.path")
        if request.method != "GET" and operation != "thim_ak_renewal":
            raise Refusal(405, {"error": "Method not allowed"}, clause="imds.method")
        return handlers[operation](request, vm)

    def _count(self, vm: VirtualMachine, operation: str) -> None:
        """Raises Refusal 429 where throttling is on and this second's requests are used up."""
        if not self.world.throttling:
            self._asked.clear()
            return
        rate, second = RATES.get(operation, RATES["other"]), int(self.world.clock.now())
        before, used = self._asked.get((vm.name, rate), (second, 0))
        used = used + 1 if before == second else 1
        self._asked[vm.name, rate] = (second, used)
        if used > rate:
            raise Refusal(429, {"error": "Too many requests"}, {"Retry-After": "1"}, clause="imds.throttled")

    # --- tokens

    def _token(self, request: Request, vm: VirtualMachine) -> Response:
        names = {name for name, _value in request.query}
        if unknown := names - {"api-version", "resource", "bypass_cache", *SELECTORS}:
            raise _refuse(400, "invalid_request", f"unknown query parameters {sorted(unknown)}")
        if request.param("api-version") not in ("2018-02-01", "2019-08-01"):
            raise _refuse(400, "invalid_request", f"api-version {request.param('api-version')} is not supported")
        resource = request.param("resource")
        if not resource:
            raise _refuse(400, "invalid_request", "Required query variable 'resource' is missing")
        if resource.rstrip("/") not in clouds.RESOURCES:
            raise _refuse(
                400, "invalid_resource", f"AADSTS50001: The resource principal named {resource} was not found"
            )
        principal = self._principal(request, vm)
        entra = self.world.services["entra"]
        now = self.world.clock.now()
        slot = (vm.name, principal.object_id, resource)
        expires, token, not_before = self._tokens.get(slot, (0.0, "", 0))
        if now > expires - 300:
            token, expires, not_before = entra.issue(principal, resource, 1, 86399), now + 86399, int(now)
            self._tokens[slot] = (expires, token, not_before)
        document = {
            "access_token": token,
            "client_id": principal.app_id,
            "expires_in": str(int(expires - now)),
            "expires_on": str(int(expires)),
            "ext_expires_in": "86399",
            "not_before": str(not_before),
            "refresh_token": "",
            "resource": resource,
            "token_type": "Bearer",
        }
        return Response.of(document, principal=principal.object_id)

    def _principal(self, request: Request, vm: VirtualMachine) -> Principal:
        chosen = [(name, value) for name in SELECTORS if (value := request.param(name))]
        if len(chosen) > 1:
            raise _refuse(400, "invalid_request", "Only one of client_id, object_id, msi_res_id may be given")
        if self.world.clock.now() < vm.identity_visible_at:
            raise _refuse(400, "invalid_request", "Identity not found")
        principals = self.world.principals
        system = principals.get(vm.system_principal or "")
        users = [principals[self.world.user_identities[i.lower()].principal_id] for i in vm.user_identities]
        if not chosen:
            if system is not None:
                return system
            if len(users) == 1:
                return users[0]
            if not users:
                raise _refuse(400, "invalid_request", "Identity not found")
            raise _refuse(
                400,
                "invalid_request",
                "Multiple user assigned identities exist, please specify the clientId / resourceId of the identity in the token request",
            )
        (name, value) = chosen[0]
        member = {"client_id": "app_id", "object_id": "object_id"}.get(name, "resource_id")
        for principal in [*users, *([system] if system else [])]:
            if str(getattr(principal, member)).lower() == value.lower():
                return principal
        raise _refuse(400, "invalid_request", "Identity not found")

    def _identity_info(self, request: Request, vm: VirtualMachine) -> Response:
        return Response.of({"tenantId": self.world.tenant_id})

    # --- instance data

    def _instance(self, request: Request, vm: VirtualMachine) -> Response:
        if request.param("api-version") not in COMPUTE_VERSIONS:
            raise Refusal(
                400,
                {"error": "Bad request. api-version is invalid or was not specified in the request."},
                clause="imds.api_version",
            )
        compute: dict[str, t.Any] = {
            "azEnvironment": "AzurePublicCloud",
            "location": vm.location,
            "name": vm.name,
            "osType": "Linux",
            "resourceGroupName": vm.resource_group,
            "resourceId": vm.id,
            "securityProfile": {
                "secureBootEnabled": str(vm.secure_boot).lower(),
                "virtualTpmEnabled": "true",
                "securityType": vm.security_type,
            },
            "subscriptionId": vm.subscription,
            "tags": ";".join(f"{name}:{value}" for name, value in vm.tags.items()),
            "vmId": vm.vm_id,
            "vmScaleSetName": "",
            "vmSize": vm.size,
        }
        node: t.Any = {"compute": compute}
        for part in [part for part in request.path.split("/")[3:] if part]:
            if not isinstance(node, dict) or part not in node:
                raise Refusal(404, {"error": "Not found"}, clause="imds.path")
            node = node[part]
        if request.param("format") == "text" and not isinstance(node, dict):
            return Response(200, str(node).encode(), {"Content-Type": "text/plain; charset=utf-8"})
        return Response.of(node)
