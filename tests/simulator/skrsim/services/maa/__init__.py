# SPDX-License-Identifier: GPL-3.0-or-later
"""Microsoft Azure Attestation: verifies a VM's evidence and says what it found, in a token."""

from __future__ import annotations

import asyncio
import re
import typing as t

from ...core.faults import Fault
from ...core.messages import Refusal, Request, Response
from ...core.world import AttestationProvider, World
from ..arm.attestation import REGIONS
from . import eventlog, policies, rules, snp, tpm
from . import token as tokens
from .errors import invalid, limit, policy_denied
from .request import GuestRequest, decode, snp_proof, unbase64

GUEST_VERSIONS = ("2020-10-01", "2025-06-01")
SNP_VERSIONS = ("2020-10-01", "2022-08-01", "2023-04-01-preview", "2025-06-01")
HOST = re.compile(r"(?P<name>[a-z0-9]+)\.(?P<code>[a-z0-9]+)\.attest\.azure\.net")
FAULTS = frozenset(
    {
        "wrong_issuer",
        "expired_token",
        "bad_signature",
        "wrong_nonce",
        "foreign_key",
        "rotate_keys",
        "bad_tag",
        "policy_denied",
        "plain_jwt",
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
        if operation not in ("attest_azureguest", "attest_sevsnpvm") or request.method != "POST":
            raise Refusal(404, {"error": {"code": "NotFound", "message": request.path}}, clause="maa.path")
        versions = GUEST_VERSIONS if operation == "attest_azureguest" else SNP_VERSIONS
        if [name for name, _value in request.query] != ["api-version"] or request.param("api-version") not in versions:
            raise invalid(
                "api_version",
                f"api-version '{request.param('api-version')}' or another query parameter is not supported.",
            )
        try:
            body = request.json()
        except ValueError:
            raise invalid("1.json", "The request is not JSON.") from None
        if operation == "attest_azureguest":
            fault = self.world.faults.fire("maa", operation, request.vm, FAULTS)
            return await asyncio.to_thread(self._guest, body, issuer, fault)
        return await asyncio.to_thread(self._platform, body, issuer)

    # --- guest attestation

    def _guest(self, body: t.Any, issuer: str, fault: Fault | None) -> Response:
        """Checks 1 to 16, then the sealed token."""
        platform = self.world.services["platform"]
        request = decode(body)
        ak, key = tpm.check(request, platform.vtpm_ca, self.world.clock.now())
        secure_boot = eventlog.check(request.log, request.pcrs)
        action = fault.action if fault else ""
        claims = {**tokens.base_claims(self.world, issuer), **tokens.guest_claims(request, key, secure_boot)}
        if request.isolation == "Tdx":
            raise invalid("11.tdx", "This simulation of the service does not take TDX evidence.")
        if request.isolation == "SevSnp":
            claims |= self._snp(request, ak)
        # 15
        if action == "policy_denied":
            raise policy_denied("secureboot")
        self._policy("AzureGuest", issuer, claims)
        token = self._signed(claims, issuer, action)
        if action == "plain_jwt":
            return Response.of({"token": token})
        return Response.of({"token": tokens.seal(token, key, action == "bad_tag")}, clause="maa.attested")

    def _policy(self, kind: str, issuer: str, claims: dict[str, t.Any]) -> None:
        """Check 15: the policy of a private provider lets these claims through. Its hash becomes a claim."""
        provider = self._provider(issuer.removeprefix("https://"))
        if provider is None:
            return
        text = policies.text_for(provider, kind)
        try:
            permitted = rules.permits(rules.parse(text), claims)
        except rules.Undecided as error:
            raise limit(f"The simulator cannot evaluate this attestation policy: {error}.") from None
        if not permitted:
            raise policy_denied("authorizationrules")
        claims["x-ms-policy-hash"] = tokens.policy_hash(text)

    def _snp(self, request: GuestRequest, ak: tpm.Public) -> dict[str, t.Any]:
        platform = self.world.services["platform"]
        report = snp.check(request.report, request.chain, platform.amd_roots)
        runtime = snp.runtime(request.runtime, report.raw, ak.modulus)
        nested = tokens.snp_claims(report, runtime, self._compliant(report))
        vm_id = str(runtime.get("vm-configuration", {}).get("vmUniqueId", ""))
        return {"x-ms-isolation-tee": nested, "x-ms-azurevm-vmid": vm_id}

    def _compliant(self, report: snp.Snp) -> bool:
        """Check 14."""
        platform = self.world.services["platform"]
        least = platform.minimum_tcb
        new_enough = report.svn["microcode"] >= least.microcode and report.svn["snpfw"] >= least.snp
        known = report.raw[0xE0:0x110] in platform.approved_id_key_digests
        return not report.debug and new_enough and known

    def _signed(self, claims: dict[str, t.Any], issuer: str, action: str) -> str:
        if action == "wrong_issuer":
            claims["iss"] = "https://sharedneu.neu.attest.azure.net"
        if action == "expired_token":
            for name in ("iat", "nbf", "exp"):
                claims[name] -= 2 * tokens.LIFETIME
        if action == "wrong_nonce":
            claims["x-ms-runtime"]["client-payload"] = {"nonce": "YW5vdGhlcg=="}
        if action == "foreign_key":
            other = tokens.SigningKey("another VM").private.public_key().public_numbers().n
            claims["x-ms-runtime"]["keys"][0]["n"] = tokens.b64u(other.to_bytes(256, "big"))
        key = self.keys.of(issuer)[0]
        if action == "rotate_keys":
            self.keys.rotate(issuer)
        return tokens.sign(claims, key, action == "bad_signature")

    # --- platform attestation

    def _platform(self, body: t.Any, issuer: str) -> Response:
        """The raw report: claims at top level, token in clear."""
        if not isinstance(body, dict):
            raise invalid("1.members", "the request must be an object.")
        report_bytes, chain = snp_proof(unbase64(body.get("report"), "report"))
        report = snp.check(report_bytes, chain, self.world.services["platform"].amd_roots)
        runtime_member = body.get("runtimeData") or {}
        data = unbase64(runtime_member.get("data", ""), "runtimeData.data")
        runtime = snp.runtime(data, report.raw, None)
        claims = {
            **tokens.base_claims(self.world, issuer),
            **tokens.snp_claims(report, runtime, self._compliant(report)),
        }
        self._policy("SevSnpVm", issuer, claims)
        if "nonce" in body:
            claims["nonce"] = body["nonce"]
        return Response.of({"token": tokens.sign(claims, self.keys.of(issuer)[0])}, clause="maa.attested")


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
