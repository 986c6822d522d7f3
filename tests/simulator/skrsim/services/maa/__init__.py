# SPDX-License-Identifier: GPL-3.0-or-later
"""Microsoft Azure Attestation: verifies a VM's evidence and says what it found, in a token."""

from __future__ import annotations

import asyncio
import re
import typing as t

from ...core.faults import Fault
from ...core.messages import Refusal, Request, Response
from ...core.world import AttestationProvider, World
from ...tee import vtpm_authority
from ..arm.attestation import REGIONS
from . import compliance, eventlog, platform, policies, rules, runtime, snp, tdx, tpm
from . import token as tokens
from .errors import invalid, limit, not_parsed, policy_denied
from .request import GuestRequest, decode

GUEST_VERSIONS = ("2020-10-01", "2025-06-01")
VERSIONS = {
    "attest_azureguest": GUEST_VERSIONS,
    "attest_sevsnpvm": platform.SNP_VERSIONS,
    "attest_tdxvm": platform.TDX_VERSIONS,
}
HOST = re.compile(r"(?P<name>[a-z0-9]+)\.(?P<code>[a-z0-9]+)\.attest\.azure\.net")
FAULTS = frozenset(
    {
        "wrong_issuer",
        "expired_token",
        "bad_signature",
        "wrong_nonce",
        "foreign_key",
        "rotate_keys",
        "policy_denied",
        "plain_jwt",
        *tokens.SEAL_FAULTS,
    }
)


class MaaService:
    name = "maa"

    def __init__(self, world: World) -> None:
        self.world = world
        self.keys = tokens.Keys()
        self._policies = policies.Policies(world, self.keys)

    def _provider(self, host: str) -> AttestationProvider | None:
        """The private provider of a host; None for the shared ones."""
        return next((one for one in self.world.attestation_providers.values() if one.host == host), None)

    def serves(self, host: str) -> bool:
        found = HOST.fullmatch(host)
        if self._provider(host):
            return True
        return bool(found and found["name"] == f"shared{found['code']}" and found["code"] in REGIONS.values())

    def operation(self, request: Request) -> str:
        path = request.path.rstrip("/")
        names = {
            "/attest/AzureGuest": "attest_azureguest",
            "/attest/SevSnpVm": "attest_sevsnpvm",
            "/attest/TdxVm": "attest_tdxvm",
            "/certs": "certs",
            "/.well-known/openid-configuration": "discovery",
        }
        return names.get(path) or policies.operation(request) or "unknown"

    async def handle(self, request: Request) -> Response:
        issuer = f"https://{request.host}"
        operation = self.operation(request)
        if operation == "discovery":
            return Response.of(_discovery(issuer))
        if operation == "certs":
            keys = await asyncio.to_thread(self.keys.of, issuer)
            response = Response.of({"keys": [key.entry() for key in keys]})
            response.headers["Content-Type"] = "application/jwk+json"
            return response
        if operation.startswith("policy_"):
            provider = self._provider(request.host)
            return await asyncio.to_thread(self._policies.handle, operation, request, provider)
        if operation not in VERSIONS or request.method != "POST":
            raise Refusal(404, {"error": {"code": "NotFound", "message": request.path}}, clause="maa.path")
        versions = VERSIONS[operation]
        if [name for name, _value in request.query] != ["api-version"] or request.param("api-version") not in versions:
            raise invalid(
                "api_version",
                f"api-version '{request.param('api-version')}' or another query parameter is not supported.",
            )
        try:
            body = request.json()
        except ValueError:
            raise invalid("1.json", "The request is not JSON.") from None
        fault = self.world.faults.fire("maa", operation, request.vm, FAULTS)
        if operation == "attest_azureguest":
            return await asyncio.to_thread(self._guest, body, issuer, fault)
        return await asyncio.to_thread(self._platform, platform.KINDS[operation], body, issuer, fault)

    # --- guest attestation

    def _guest(self, body: t.Any, issuer: str, fault: Fault | None) -> Response:
        """Checks 1 to 16, then the sealed token."""
        hardware = self.world.services["platform"]
        request = decode(body)
        ak, key, certificate = tpm.check(request, hardware.vtpm_ca, self.world.clock.now())
        secure_boot = eventlog.check(request.log, request.pcrs)
        action = fault.action if fault else ""
        claims = {**tokens.base_claims(self.world, issuer), **tokens.guest_claims(request, key, secure_boot)}
        if vm_id := vtpm_authority.vm_id(certificate):
            claims["x-ms-azurevm-vmid"] = vm_id
        if request.isolation != "TrustedLaunch":
            claims |= self._isolation(request, ak)
        # 15
        if action == "policy_denied":
            raise policy_denied("secureboot")
        self._policy("AzureGuest", issuer, claims)
        token = self._signed(claims, issuer, action)
        if action == "plain_jwt":
            return Response.of({"token": token})
        return Response.of({"token": tokens.seal(token, key, action)}, clause="maa.attested")

    def _policy(self, kind: str, issuer: str, claims: dict[str, t.Any]) -> None:
        """Check 15: the policy of a private provider lets these claims through. Its hash becomes a claim."""
        provider = self._provider(issuer.removeprefix("https://"))
        if provider is not None:
            _permitted(policies.text_for(provider, kind), claims)

    def _isolation(self, request: GuestRequest, ak: tpm.Public) -> dict[str, t.Any]:
        """Checks 10 to 14."""
        hardware, now = self.world.services["platform"], self.world.clock.now()
        if request.isolation == "SevSnp":
            report = snp.check(request.report, request.chain, hardware.amd_roots)
            found = runtime.check(request.runtime, report.report_data, ak.modulus)
            nested = tokens.snp_claims(report, compliance.of_snp(self.world, report))
        else:
            td = tdx.check(request.td_quote, hardware.intel_roots, now)
            found = runtime.check(request.runtime, td.report_data, ak.modulus)
            nested = tdx.claims(td, compliance.current_tdx(self.world, td), compliance.of_tdx(self.world, td))
        vm_id = str(found.get("vm-configuration", {}).get("vmUniqueId", ""))
        return {"x-ms-isolation-tee": {**nested, "x-ms-runtime": found}, "x-ms-azurevm-vmid": vm_id}

    def _signed(self, claims: dict[str, t.Any], issuer: str, action: str) -> str:
        if action == "wrong_issuer":
            claims["iss"] = "https://sharedneu.neu.attest.azure.net"
        if action == "expired_token":
            for name in ("iat", "nbf", "exp"):
                claims[name] -= 2 * tokens.LIFETIME
        if action == "wrong_nonce":
            claims |= {"nonce": "another"} if "nonce" in claims else {}
            claims.get("x-ms-runtime", {})["client-payload"] = {"nonce": "YW5vdGhlcg=="}
        if action == "foreign_key" and claims.get("x-ms-runtime", {}).get("keys"):
            other = tokens.SigningKey("another VM").private.public_key().public_numbers().n
            claims["x-ms-runtime"]["keys"][0]["n"] = tokens.b64u(other.to_bytes(256, "big"))
        key = self.keys.of(issuer)[0]
        if action == "rotate_keys":
            self.keys.rotate(issuer)
        return tokens.sign(claims, key, action == "bad_signature")

    # --- platform attestation

    def _platform(self, kind: str, body: t.Any, issuer: str, fault: Fault | None) -> Response:
        """The raw report: claims at top level, token in clear; unsigned when the caller tries a policy out."""
        claims = {**tokens.base_claims(self.world, issuer), **platform.attested(self.world, kind, body)}
        action = fault.action if fault else ""
        if action == "policy_denied":
            raise policy_denied("authorizationrules")
        text = platform.draft(body)
        if text is not None:
            _permitted(text, claims)
            return Response.of({"token": tokens.unsigned(claims)}, clause="maa.draft")
        self._policy(kind, issuer, claims)
        return Response.of({"token": self._signed(claims, issuer, action)}, clause="maa.attested")


def _permitted(text: str, claims: dict[str, t.Any]) -> None:
    """A policy lets these claims through. Its hash becomes a claim. Raises Refusal."""
    try:
        permitted = rules.permits(rules.parse(text), claims)
    except rules.GrammarError as error:
        raise not_parsed(str(error)) from None
    except rules.Undecided as error:
        raise limit(f"The simulator cannot evaluate this attestation policy: {error}.") from None
    if not permitted:
        raise policy_denied("authorizationrules")
    claims["x-ms-policy-hash"] = tokens.policy_hash(text)


def _discovery(issuer: str) -> dict[str, t.Any]:
    return {
        "response_types_supported": ["token", "none"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "revocation_endpoint": f"{issuer}/revoke",
        "issuer": issuer,
        "jwks_uri": f"{issuer}/certs",
        "claims_supported": ["is-debuggable", "x-ms-attestation-type", "x-ms-isolation-tee", "x-ms-runtime"],
    }


def service(world: World) -> MaaService:
    return MaaService(world)
