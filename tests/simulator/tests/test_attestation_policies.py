# SPDX-License-Identifier: GPL-3.0-or-later
"""The data plane of private attestation providers: who may read and set policies, in which form, and what is answered."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import typing as t
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from policy_signer import Signer, b64u, payload, token, unsecured

from skrsim.core.app import App, build
from skrsim.core.faults import Fault
from skrsim.core.messages import Request
from skrsim.core.world import AttestationProvider, Principal, World
from skrsim.services.arm import seed
from skrsim.services.maa import policies, rules

HOST = "maatest.weu.attest.azure.net"
VERSION = "2022-08-01"
PERMIT = "version=1.0;\nauthorizationrules\n{\n  => permit();\n};\nissuancerules {\n};"


class Answer(t.NamedTuple):
    status: int
    document: t.Any
    audit: dict[str, t.Any]

    @property
    def claims(self) -> dict[str, t.Any]:
        found: dict[str, t.Any] = json.loads(base64.urlsafe_b64decode(self.document["token"].split(".")[1] + "=="))
        return found

    @property
    def code(self) -> str:
        return str(self.document["error"]["code"])

    @property
    def policy(self) -> str:
        """The text that a read gave."""
        return policies.text_of(self.claims["x-ms-policy"])


class Service:
    """One principal at the data plane of a provider."""

    def __init__(self, app: App, principal: Principal, audience: str = "https://attest.azure.net") -> None:
        self.app, self.world = app, app.world
        self.token: str | None = app.world.services["entra"].issue(principal, audience)

    def __call__(
        self, method: str, path: str, body: str = "", version: str | None = VERSION, host: str = HOST
    ) -> Answer:
        query = (("api-version", version),) if version else ()
        headers = {"authorization": f"Bearer {self.token}"} if self.token else {}
        request = Request(method, "https", host, path, query, headers, body.encode())
        response, _fault = asyncio.run(self.app.handle(request))
        return Answer(response.status, response.json(), self.world.audit.records()[-1])

    def set(self, text: str, kind: str = "AzureGuest", **options: t.Any) -> Answer:
        return self("PUT", f"/policies/{kind}", text, **options)

    def get(self, kind: str = "AzureGuest", **options: t.Any) -> Answer:
        return self("GET", f"/policies/{kind}", **options)

    def reset(self, text: str, kind: str = "AzureGuest") -> Answer:
        return self("POST", f"/policies/{kind}:reset", text)


@pytest.fixture
def app(world: World, tmp_path: Path) -> App:
    return build(world, tmp_path)


@pytest.fixture
def provider(world: World) -> AttestationProvider:
    made = AttestationProvider("maatest", world.subscription_id, "rg-test", "westeurope", HOST)
    world.attestation_providers[made.id.lower()] = made
    return made


@pytest.fixture
def service(app: App, provider: AttestationProvider, operator: Principal) -> Service:
    return Service(app, operator)


# --- the provider's own documents


def test_its_own_host_issuer_and_keys(service: Service) -> None:
    found = service("GET", "/.well-known/openid-configuration", version=None).document
    assert found["issuer"] == f"https://{HOST}" and found["jwks_uri"] == f"https://{HOST}/certs"
    ours = service("GET", "/certs", version=None).document["keys"]
    shared = service("GET", "/certs", version=None, host="sharedweu.weu.attest.azure.net").document["keys"]
    assert ours and {key["kid"] for key in ours}.isdisjoint(key["kid"] for key in shared)


def test_answers_are_signed_by_the_provider(service: Service) -> None:
    answer = service.get()
    signed, _dot, signature = answer.document["token"].rpartition(".")
    header = json.loads(base64.urlsafe_b64decode(signed.split(".")[0] + "=="))
    (key,) = service("GET", "/certs", version=None).document["keys"]
    assert header["alg"] == "RS256" and header["kid"] == key["kid"] and answer.claims["iss"] == f"https://{HOST}"
    public = x509.load_der_x509_certificate(base64.b64decode(key["x5c"][0])).public_key()
    assert isinstance(public, rsa.RSAPublicKey)
    public.verify(base64.urlsafe_b64decode(signature + "=="), signed.encode(), padding.PKCS1v15(), hashes.SHA256())


# --- policies


def test_set_read_reset(service: Service, provider: AttestationProvider) -> None:
    default = service.get().policy
    assert '[type=="secureboot", value==false] => deny();' in default and "=> permit();" in default
    sent = unsecured(PERMIT)
    made = service.set(sent)
    assert made.status == 200 and made.audit["write"] is True and "role assignment" in made.audit["clause"]
    assert made.claims["x-ms-policy-result"] == "Updated"
    assert made.claims["x-ms-policy-token-hash"] == b64u(hashlib.sha256(sent.encode()).digest())
    read = service.get("azureGuest", version="2020-10-01")
    assert read.policy == PERMIT and read.claims["x-ms-policy"] == sent and not read.audit["write"]
    assert service.get("SevSnpVm").policy != PERMIT
    assert service.set(sent).audit["write"] is False
    gone = service.reset(unsecured(None))
    assert gone.claims["x-ms-policy-result"] == "Removed" and gone.audit["write"] is True
    assert service.get().policy == default and service.reset(unsecured(None)).audit["write"] is False
    assert not provider.policies


def test_no_default_policy_is_an_empty_token(service: Service) -> None:
    assert service.get("Tpm").claims["x-ms-policy"].split(".")[1] == "" and service.get("Tpm").policy == ""


@pytest.mark.parametrize(
    ("text", "code", "clause"),
    [
        ("", "InvalidOperation", "jws"),
        (PERMIT, "InvalidOperation", "jws"),
        ("a.b", "InvalidOperation", "jws"),
        (unsecured(PERMIT) + "AAAA", "InvalidOperation", "jws"),
        (token("none", payload(PERMIT)), "InvalidParameter", "jws_algorithm"),
        (token({"alg": "HS256"}, payload(PERMIT), b"x"), "InvalidParameter", "jws_algorithm"),
        (token({"alg": "RS256"}, payload(PERMIT), b"x"), "InvalidParameter", "jws_certificate"),
        (token({"alg": "none"}, b"{}"), "InvalidOperation", "claim"),
        (token({"alg": "none"}, b""), "InvalidOperation", "claim"),
        (token({"alg": "none"}, b'{"AttestationPolicy": "***"}'), "InvalidOperation", "claim"),
        (token({"alg": "none"}, b'{"AttestationPolicy": 1}'), "InvalidOperation", "claim"),
        (unsecured("version=1.0;"), "PolicyParsingError", "grammar"),
        (unsecured(""), "PolicyParsingError", "grammar"),
    ],
)
def test_what_is_not_taken(service: Service, provider: AttestationProvider, text: str, code: str, clause: str) -> None:
    answer = service.set(text)
    assert (answer.status, answer.code) == (400, code) and not provider.policies
    assert answer.audit["clause"].endswith(clause)


def test_a_reset_takes_nothing_else(service: Service) -> None:
    assert service.reset(unsecured(PERMIT)).code == "InvalidOperation"


def test_types_versions_and_paths(service: Service, provider: AttestationProvider) -> None:
    assert service.get("AzureVm").code == "InvalidParameter" and service.get("TdxVm").code == "InvalidParameter"
    assert service.get("TdxVm", version="2025-06-01").status == 200
    assert service.get(version="2018-09-01-preview").code == "InvalidParameter"
    assert (
        service("POST", "/policies/AzureGuest").status == 404
        and service("DELETE", "/policies/AzureGuest").status == 404
    )
    provider.location = "uksouth"
    refused = service.set(unsecured(PERMIT), "Tpm")
    assert (refused.status, refused.code) == (400, "Bad request")
    assert refused.document["error"]["message"] == "Tpm attestation is not supported in the 'uksouth' region"


# --- who may


@pytest.mark.parametrize(
    ("role", "read", "write"),
    [
        ("Owner", 200, 200),
        ("Contributor", 200, 200),
        ("Reader", 200, 401),
        ("Attestation Contributor", 200, 200),
        ("Attestation Reader", 200, 401),
        ("Key Vault Administrator", 401, 401),
        (None, 401, 401),
    ],
)
def test_roles(app: App, provider: AttestationProvider, role: str | None, read: int, write: int) -> None:
    caller = Service(app, seed.application(app.world, "caller", "x", [(role, provider.id)] if role else []))
    assert caller.get().status == read and caller("GET", "/certificates").status == read
    assert caller.set(unsecured(PERMIT)).status == write and caller.reset(unsecured(None)).status == write
    if write == 401:
        assert caller.set(unsecured(PERMIT)).code == "Unauthorized" and not provider.policies


def test_a_grant_takes_its_time(app: App, provider: AttestationProvider) -> None:
    principal = seed.application(app.world, "late", "x")
    given = seed.role(app.world, principal.object_id, "Attestation Reader", provider.id)
    given.effective_at = app.world.clock.now() + 60
    caller = Service(app, principal)
    assert caller.get().status == 401
    app.world.clock.advance(61)
    assert caller.get().status == 200


def test_tokens(app: App, provider: AttestationProvider, operator: Principal) -> None:
    for audience in ("https://vault.azure.net", "https://management.azure.com"):
        assert Service(app, operator, audience).get().status == 401
    anonymous = Service(app, operator)
    anonymous.token = None
    response = anonymous.get()
    assert response.status == 401 and response.code == "Unauthorized"


def test_shared_providers_are_read_by_all_and_set_by_none(app: App, operator: Principal) -> None:
    shared = "sharedweu.weu.attest.azure.net"
    stranger = Service(app, seed.application(app.world, "stranger", "x"))
    assert stranger.get(host=shared).policy.endswith("issuancerules{};")
    assert Service(app, operator).set(unsecured(PERMIT), host=shared).status == 401


# --- signed policies


def test_isolated(service: Service, provider: AttestationProvider) -> None:
    signer, other, unmarked = Signer(), Signer(), Signer(authority=False)
    provider.signers = [signer.ca_der]
    unsigned = service.set(unsecured(PERMIT))
    assert unsigned.code == "InvalidOperation" and unsigned.audit["clause"] == "maa.policy.unsigned"
    assert service.reset(unsecured(None)).code == "InvalidOperation"
    made = service.set(signer.sign(PERMIT))
    assert made.claims["x-ms-policy-result"] == "Updated" and made.claims["x-ms-policy-signer"]["x5c"]
    assert service.set(signer.sign(PERMIT, chain=[signer.leaf])).status == 200
    for text, clause in (
        (signer.sign(PERMIT, spoil=True), "jws_signature"),
        (other.sign(PERMIT), "jws_chain"),
        (signer.sign(PERMIT, chain=[other.leaf, signer.ca]), "jws_signature"),
        (signer.sign(PERMIT, chain=[]), "jws_certificate"),
    ):
        refused = service.set(text)
        assert refused.code == "InvalidParameter" and refused.audit["clause"] == f"maa.{clause}", refused
    assert service.reset(signer.sign(None)).claims["x-ms-policy-result"] == "Removed"
    provider.signers = [unmarked.ca_der]
    refused = service.set(unmarked.sign(PERMIT))
    assert refused.audit["clause"] == "maa.jws_chain" and "Unable to find issuer" in str(refused.document)
    keys = service("GET", "/certificates").claims["x-ms-policy-certificates"]["keys"]
    assert [base64.b64decode(key["x5c"][0]) for key in keys] == [unmarked.ca_der]


def test_a_signature_is_welcome_without_policy_signers(service: Service) -> None:
    signer = Signer()
    assert service.set(signer.sign(PERMIT)).status == 200 and service.get().policy == PERMIT
    assert service.set(signer.sign(PERMIT, spoil=True)).code == "InvalidParameter"


@pytest.mark.parametrize("action", sorted(policies.FAULTS))
def test_faults(service: Service, action: str) -> None:
    name = "policy_get" if action == "other_policy" else "policy_set"
    service.world.faults.add(Fault(action, service="maa", operation=name))
    sent = unsecured(PERMIT)
    claims = service.set(sent).claims
    now = service.world.clock.now()
    honest = claims["iss"] == f"https://{HOST}" and claims["exp"] > now and claims["x-ms-policy-result"] == "Updated"
    honest = honest and claims["x-ms-policy-token-hash"] == b64u(hashlib.sha256(sent.encode()).digest())
    assert honest is (action in ("bad_signature", "other_policy"))
    assert (service.get().policy == PERMIT) is (action != "other_policy")


# --- the grammar, and what of it is evaluated

FULL = """
version=1.0; // the grammar's version
authorizationrules
{
    /* two rules */
    c:[type=="a", issuer=="AttestationService"] && [type=="b", value>=3] => permit();
    [type=="d", value==true] => deny();
    c:[type=="a"] => add(type="x", value=c.value);
};
issuancerules
{
    c:[type=="a"] => issue(type="y", value=c.value);
    => issueproperty(type="report_validity_in_minutes", value=1440);
};
"""


def test_grammar_accepts() -> None:
    policy = rules.parse(FULL)
    assert [rule.action for rule in policy.sections["authorizationrules"]] == ["permit", "deny", "add"]
    later = 'version= 1.2;configurationrules{=> issueproperty(type="t", value="v");};authorizationrules{=> permit();};'
    assert rules.parse(later).version == "1.2"
    for text in policies.DEFAULTS.values():
        if policies.text_of(text):
            rules.parse(policies.text_of(text))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "authorizationrules{=> permit();};",
        "version=2.0;authorizationrules{=> permit();};",
        "version=1.0\nauthorizationrules{=> permit();};",
        "version=1.0;authorizationrules{=> permit()};",
        "version=1.0;authorizationrules{=> permit();}",
        "version=1.0;authorizationrules{=> permit(1);};",
        'version=1.0;authorizationrules{=> issue(type="a", value=1);};',
        "version=1.0;authorizationrules{permit();};",
        'version=1.0;authorizationrules{[type="a"] => permit();};',
        'version=1.0;authorizationrules{[kind=="a"] => permit();};',
        'version=1.0;authorizationrules{[type=="a" => permit();};',
        "version=1.0;authorizationrules{[] => permit();};",
        "version=1.0;configurationrules{};authorizationrules{=> permit();};",
        "version=1.0;issuancerules{};authorizationrules{=> permit();};",
        "version=1.0;issuancerules{};",
        'version=1.0;authorizationrules{=> permit();};issuancerules{=> issue(type="a";};',
        "version=1.0;authorizationrules{=> permit();};§",
        "version=1.2;authorizationrules{exists",
    ],
)
def test_grammar_refuses(text: str) -> None:
    with pytest.raises(rules.GrammarError, match="Offending symbol: .* Line: '\\d+', Column: '\\d+'"):
        rules.parse(text)


CLAIMS = {"secureboot": True, "count": 3, "name": "x", "nested": {"a": 1}}


@pytest.mark.parametrize(
    ("body", "permitted"),
    [
        ("=> permit();", True),
        ("", False),
        ("=> deny();", False),
        ("=> permit(); => deny();", False),
        ('[type=="secureboot", value==true] => permit();', True),
        ('[type=="secureboot", value==false] => permit();', False),
        ('[type=="secureboot", value=="true"] => permit();', False),
        ('[type=="secureboot", value!="true"] => permit();', True),
        ('[type=="count", value>=3] && [type=="name", value=="x"] => permit();', True),
        ('[type=="count", value>3] => permit();', False),
        ('[type=="count", value<=2] => permit();', False),
        ('[type=="name", value<3] => permit();', False),
        ('[type=="count", value==-3] => permit();', False),
        ('[type=="absent"] => permit();', False),
        ('[type=="secureboot", issuer=="CustomClaim"] => permit();', False),
        ('[type=="secureboot", issuer=="AttestationService", valueType=="Boolean"] => permit();', True),
        ('[type=="secureboot", value==false] => deny(); => permit();', True),
    ],
)
def test_evaluation(body: str, permitted: bool) -> None:
    assert rules.permits(rules.parse(f"version=1.0;authorizationrules{{{body}}};"), CLAIMS) is permitted


@pytest.mark.parametrize(
    "body", ['=> add(type="a", value=1);', 'c:[type=="a"] && [type=="b", value==c.value] => permit();']
)
def test_what_cannot_be_decided_is_said(body: str) -> None:
    with pytest.raises(rules.Undecided):
        rules.permits(rules.parse(f"version=1.0;authorizationrules{{{body}}};"), CLAIMS)
