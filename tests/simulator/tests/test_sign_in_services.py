# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates, federated tokens, users' passwords and AD FS; and the other clouds in front of the same world.

Unmodified azure-identity is satisfied each way, and every wrong request is refused with the code that Entra has for it.
"""

from __future__ import annotations

import asyncio
import base64
import datetime
import hashlib
import json
import time
import typing as t
import warnings
from pathlib import Path
from urllib.parse import urlencode

import pytest
import requests
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import (
    CertificateCredential,
    ClientSecretCredential,
    UsernamePasswordCredential,
    WorkloadIdentityCredential,
)
from azure.keyvault.keys import KeyClient
from azure.mgmt.compute import ComputeManagementClient
from azure.mgmt.keyvault import KeyVaultManagementClient
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from conftest import GROUP, SECRET
from skrsim.core import clouds
from skrsim.core.app import App
from skrsim.core.messages import Request, Response
from skrsim.core.running import Running
from skrsim.core.world import Federated, Principal, World
from skrsim.services.arm import seed
from skrsim.services.issuer import ISSUER, IssuerService

LOGIN = "login.microsoftonline.com"
VAULT = "https://vault.azure.net"
BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
SUBJECT = "system:serviceaccount:awx:runner"
UPN = "jo@example.com"


class Key:
    """A key with a self-signed certificate, as an application has it."""

    def __init__(self, days: int = 1) -> None:
        self.private = rsa.generate_private_key(65537, 2048)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "application")])
        now = datetime.datetime.now(datetime.timezone.utc)
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self.private.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=5))
            .not_valid_after(now + datetime.timedelta(days=days))
            .sign(self.private, hashes.SHA256())
        )

    def pem(self, path: Path) -> str:
        private = self.private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path.write_bytes(private + self.certificate.public_bytes(serialization.Encoding.PEM))
        return str(path)

    def assertion(self, client: str, audience: str, algorithm: str = "RS256", **changes: t.Any) -> str:
        """A client assertion; ``changes`` are claims that differ."""
        der = self.certificate.public_bytes(serialization.Encoding.DER)
        named = ("x5t", hashlib.sha1(der)) if algorithm == "RS256" else ("x5t#S256", hashlib.sha256(der))
        header = {"alg": algorithm, "typ": "JWT", named[0]: b64u(named[1].digest())}
        now = int(time.time())
        claims = {"iss": client, "sub": client, "aud": audience, "nbf": now, "exp": now + 600, "jti": "1", **changes}
        signed = ".".join(b64u(json.dumps(part).encode()) for part in (header, claims))
        scheme: t.Any = padding.PKCS1v15()
        if algorithm == "PS256":
            scheme = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=32)
        return f"{signed}.{b64u(self.private.sign(signed.encode(), scheme, hashes.SHA256()))}"


def b64u(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def claims(text: str) -> dict[str, t.Any]:
    part = text.split(".")[1]
    return t.cast(dict[str, t.Any], json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))))


@pytest.fixture(scope="module")
def key() -> Key:
    return Key()


@pytest.fixture
def transport(running: Running, clean_environment: None) -> dict[str, t.Any]:
    return {
        "disable_instance_discovery": True,
        "connection_verify": str(running.bundle),
        "proxies": {"https": running.proxy_url()},
    }


def ask(app: App, world: World, form: dict[str, str], host: str = LOGIN, path: str = "") -> Response:
    request = Request(
        "POST", "https", host, path or f"/{world.tenant_id}/oauth2/v2.0/token", body=urlencode(form).encode()
    )
    return asyncio.run(app.handle(request))[0]


def form(operator: Principal, **changes: str) -> dict[str, str]:
    usual = {"client_id": operator.app_id, "grant_type": "client_credentials", "scope": f"{VAULT}/.default"}
    return usual | changes


def code(response: Response) -> int:
    return int(response.json()["error_codes"][0])


# --- certificates


def test_azure_identity_with_a_certificate(
    world: World, operator: Principal, transport: dict[str, t.Any], key: Key, tmp_path: Path
) -> None:
    operator.certificates.append(key.certificate)
    credential = CertificateCredential(world.tenant_id, operator.app_id, key.pem(tmp_path / "app.pem"), **transport)
    assert claims(credential.get_token(f"{VAULT}/.default").token)["oid"] == operator.object_id
    record = world.audit.records(service="entra")[-1]
    assert record["clause"].startswith("certificate ") and record["principal"] == operator.object_id


def test_azure_identity_with_a_certificate_that_is_not_registered(
    world: World, operator: Principal, transport: dict[str, t.Any], key: Key, tmp_path: Path
) -> None:
    credential = CertificateCredential(world.tenant_id, operator.app_id, key.pem(tmp_path / "app.pem"), **transport)
    with pytest.raises(ClientAuthenticationError, match="AADSTS700027.*not registered"):
        credential.get_token(f"{VAULT}/.default")


@pytest.mark.parametrize("algorithm", ["RS256", "PS256"])
def test_assertions_of_both_algorithms(app: App, world: World, operator: Principal, key: Key, algorithm: str) -> None:
    operator.certificates.append(key.certificate)
    url = f"https://{LOGIN}/{world.tenant_id}/oauth2/v2.0/token"
    signed = key.assertion(operator.app_id, url, algorithm)
    answer = ask(app, world, form(operator, client_assertion=signed, client_assertion_type=BEARER))
    assert answer.status == 200, answer.body


@pytest.mark.parametrize(
    ("changes", "status", "wanted"),
    [
        ({"aud": "https://login.example/token"}, 401, 700023),
        ({"sub": "00000000-0000-4000-8000-000000000000"}, 401, 700021),
        ({"exp": 1}, 401, 700024),
        ({"nbf": int(time.time()) + 3600}, 401, 700024),
        # who signs with another issuer has no federated credential
        ({"iss": "https://elsewhere.example"}, 401, 700211),
    ],
)
def test_claims_of_an_assertion(
    app: App, world: World, operator: Principal, key: Key, changes: dict[str, t.Any], status: int, wanted: int
) -> None:
    operator.certificates.append(key.certificate)
    url = f"https://{LOGIN}/{world.tenant_id}/oauth2/v2.0/token"
    signed = key.assertion(operator.app_id, url, **changes)
    answer = ask(app, world, form(operator, client_assertion=signed, client_assertion_type=BEARER))
    assert (answer.status, code(answer)) == (status, wanted)


def test_spoilt_assertions(app: App, world: World, operator: Principal, key: Key) -> None:
    url = f"https://{LOGIN}/{world.tenant_id}/oauth2/v2.0/token"
    good, other, old = key.assertion(operator.app_id, url), Key(), Key(days=-1)
    header, body, _signature = good.split(".")
    foreign = other.assertion(operator.app_id, url).rpartition(".")[2]
    operator.certificates += [key.certificate, old.certificate]
    plain = b64u(b'{"alg":"none"}')
    for text, kind, wanted in (
        ("nonsense", BEARER, 50027),
        (f"{b64u(b'[]')}.{body}.x", BEARER, 50027),
        (good, "jwt", 50027),
        (f"{header}.{body}.{foreign}", BEARER, 700027),
        (f"{plain}.{body}.", BEARER, 700027),
        (other.assertion(operator.app_id, url), BEARER, 700027),
        (old.assertion(operator.app_id, url), BEARER, 700027),
    ):
        answer = ask(app, world, form(operator, client_assertion=text, client_assertion_type=kind))
        assert code(answer) == wanted, text[:20]
    assert code(ask(app, world, form(operator))) == 7000218
    assert ask(app, world, form(operator, client_assertion=good, client_assertion_type=BEARER)).status == 200


# --- federated tokens


@pytest.fixture
def issuer(world: World, app: App) -> IssuerService:
    return t.cast(IssuerService, world.services["issuer"])


def test_azure_identity_with_a_federated_token(
    world: World, operator: Principal, transport: dict[str, t.Any], issuer: IssuerService, tmp_path: Path
) -> None:
    operator.federated.append(Federated(ISSUER, SUBJECT))
    path = tmp_path / "token"
    path.write_text(issuer.token(SUBJECT))
    credential = WorkloadIdentityCredential(
        tenant_id=world.tenant_id, client_id=operator.app_id, token_file_path=str(path), **transport
    )
    assert claims(credential.get_token(f"{VAULT}/.default").token)["oid"] == operator.object_id
    # Entra fetched the issuer's keys over the network
    assert [r["operation"] for r in world.audit.records(service="issuer")] == ["discovery", "keys"]


@pytest.mark.parametrize(
    ("subject", "changes", "wanted"),
    [
        ("system:serviceaccount:awx:other", {}, 700213),
        (SUBJECT, {"audience": "https://other"}, 700212),
        (SUBJECT, {"iss": "https://other"}, 700211),
        (SUBJECT, {"lifetime": -10}, 700024),
        (SUBJECT, {"kid": "2"}, 50013),
    ],
)
def test_refused_federated_tokens(
    app: App,
    world: World,
    running: Running,
    operator: Principal,
    issuer: IssuerService,
    subject: str,
    changes: dict[str, t.Any],
    wanted: int,
) -> None:
    operator.federated.append(Federated(ISSUER, SUBJECT))
    data = form(operator, client_assertion=issuer.token(subject, **changes), client_assertion_type=BEARER)
    url = f"https://{LOGIN}/{world.tenant_id}/oauth2/v2.0/token"
    proxies = {"https": running.proxy_url()}
    answer = requests.post(url, data=data, verify=str(running.bundle), proxies=proxies, timeout=10)
    assert answer.status_code == 401 and answer.json()["error_codes"] == [wanted]


def test_forged_federated_token_and_issuer_that_cannot_be_reached(
    world: World, running: Running, operator: Principal, issuer: IssuerService, clean_environment: None
) -> None:
    operator.federated += [Federated(ISSUER, SUBJECT), Federated("https://nowhere.sim", SUBJECT)]
    head, body, signature = issuer.token(SUBJECT).split(".")

    def number(text: str) -> int:
        answer = requests.post(
            f"https://{LOGIN}/{world.tenant_id}/oauth2/v2.0/token",
            data=form(operator, client_assertion=text, client_assertion_type=BEARER),
            verify=str(running.bundle),
            proxies={"https": running.proxy_url()},
            timeout=10,
        )
        return int(answer.json()["error_codes"][0])

    assert number(f"{head}.{body}.{signature[:-8]}AAAAAAAA") == 50013
    assert number(issuer.token(SUBJECT, iss="https://nowhere.sim")) == 50166


# --- users


def credential_of(world: World, transport: dict[str, t.Any], password: str, tenant: str) -> UsernamePasswordCredential:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return UsernamePasswordCredential(
            "04b07795-8ddb-461a-bbee-02f9e1bf7b46", UPN, password, tenant_id=tenant, **transport
        )


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("tenant", ["organizations", "own"])
def test_azure_identity_with_a_user(world: World, transport: dict[str, t.Any], app: App, tenant: str) -> None:
    """The first token by the password, one for another service by the refresh token."""
    user = seed.user(world, UPN, "word", ["Reader"])
    made = credential_of(world, transport, "word", world.tenant_id if tenant == "own" else tenant)
    found = claims(made.get_token("https://management.azure.com/.default").token)
    assert (found["oid"], found["upn"], found["idtyp"]) == (user.object_id, UPN, "user")
    assert claims(made.get_token(f"{VAULT}/.default").token)["aud"] == VAULT
    clauses = [r["clause"] for r in world.audit.records(service="entra") if r["operation"] == "token_v2"]
    assert clauses == ["password", "refresh token"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("mfa", "password", "wanted"), [(False, "wrong", "AADSTS50126"), (True, "word", "AADSTS50076")]
)
def test_user_who_is_refused(
    world: World, transport: dict[str, t.Any], app: App, mfa: bool, password: str, wanted: str
) -> None:
    seed.user(world, UPN, "word", mfa=mfa)
    with pytest.raises(ClientAuthenticationError, match=wanted):
        credential_of(world, transport, password, "organizations").get_token(f"{VAULT}/.default")


def test_refused_password_requests(app: App, world: World, operator: Principal) -> None:
    seed.user(world, UPN, "word")
    cli = {"client_id": "04b07795-8ddb-461a-bbee-02f9e1bf7b46", "grant_type": "password", "scope": f"{VAULT}/.default"}
    assert code(ask(app, world, cli)) == 90014
    assert code(ask(app, world, cli | {"username": UPN})) == 90014
    assert code(ask(app, world, cli | {"username": "nobody@example.com", "password": "word"})) == 50034
    whole = cli | {"username": UPN, "password": "word"}
    assert code(ask(app, world, whole | {"scope": ""})) == 70011
    assert code(ask(app, world, whole | {"client_id": operator.app_id})) == 7000218
    assert ask(app, world, whole | {"client_id": operator.app_id, "client_secret": SECRET}).status == 200
    operator.public = True
    answer = ask(app, world, whole | {"client_id": operator.app_id, "scope": f"{VAULT}/.default offline_access"})
    token = answer.json()["refresh_token"]
    again = {"grant_type": "refresh_token", "refresh_token": token, "scope": f"{VAULT}/.default"}
    assert ask(app, world, again | {"client_id": operator.app_id}).status == 200
    assert code(ask(app, world, again | {"client_id": cli["client_id"]})) == 70000


# --- other clouds


@pytest.mark.parametrize("name", ["AzureUSGovernment", "AzureChinaCloud", "AzureStackSim"])
def test_sdk_in_another_cloud(world: World, operator: Principal, transport: dict[str, t.Any], name: str) -> None:
    """Sign-in, Resource Manager, a new vault and its keys, each under that cloud's names and for its audiences."""
    cloud = clouds.CLOUDS[name]
    credential = ClientSecretCredential(
        world.tenant_id, operator.app_id, SECRET, authority=f"https://{cloud.login}", **transport
    )
    transport.pop("disable_instance_discovery")
    where = {"base_url": f"https://{cloud.resource_manager}", "credential_scopes": [f"{cloud.audiences[0]}/.default"]}
    compute = ComputeManagementClient(credential, world.subscription_id, **where, **transport)
    assert {vm.name for vm in compute.virtual_machines.list_all()} == {"cvm-01", "cvm-02", "cvm-03"}
    vaults = KeyVaultManagementClient(credential, world.subscription_id, **where, **transport).vaults
    properties = {
        "tenantId": world.tenant_id,
        "sku": {"family": "A", "name": "premium"},
        "enableRbacAuthorization": True,
    }
    made = vaults.begin_create_or_update(
        GROUP, "kv-other", {"location": "westeurope", "properties": properties}
    ).result()
    assert made.properties.vault_uri == f"https://kv-other.{cloud.vault}/"
    keys = KeyClient(made.properties.vault_uri, credential, **transport)  # verifies the challenge's resource
    assert list(keys.list_properties_of_keys()) == []
    record = world.audit.records(service="keyvault")[-1]
    assert record["host"] == f"kv-other.{cloud.vault}" and record["decision"] == "allowed"


def test_token_of_one_cloud_is_worth_nothing_in_another(app: App, world: World, operator: Principal) -> None:
    login, arm = clouds.GOVERNMENT.login, clouds.GOVERNMENT.resource_manager
    data = form(operator, client_secret=SECRET)
    assert code(ask(app, world, data, login)) == 500011  # the public cloud's vault is no service of this one
    token = ask(app, world, data | {"scope": "https://management.core.usgovcloudapi.net/.default"}, login).json()

    def status(host: str) -> int:
        request = Request(
            "GET", "https", host, "/subscriptions", (("api-version", "2022-12-01"),),
            {"authorization": f"Bearer {token['access_token']}"},
        )  # fmt: skip
        return asyncio.run(app.handle(request))[0].status

    assert (status(arm), status("management.azure.com")) == (200, 401)


@pytest.mark.parametrize("name", clouds.CLOUDS)
def test_metadata_lead_to_the_services(app: App, name: str) -> None:
    """Without a token; the private cloud with AD FS answers in the older form, a list."""
    cloud = clouds.CLOUDS[name]
    request = Request("GET", "https", cloud.resource_manager, "/metadata/endpoints", (("api-version", "2022-09-01"),))
    document = asyncio.run(app.handle(request))[0].json()
    assert isinstance(document, list) is cloud.adfs
    entry = document[0] if cloud.adfs else document
    assert entry["name"] == name and entry["resourceManager"] == f"https://{cloud.resource_manager}/"
    assert entry["authentication"]["audiences"] == list(cloud.audiences)
    assert app.serves(entry["authentication"]["loginEndpoint"].split("/")[2])
    assert entry["suffixes"]["keyVaultDns"] == cloud.vault


def test_azure_identity_with_adfs(world: World, operator: Principal, transport: dict[str, t.Any]) -> None:
    authority, scope = f"https://{clouds.ADFS.login}", f"{clouds.ADFS.audiences[0]}/.default"
    good = ClientSecretCredential("adfs", operator.app_id, SECRET, authority=authority, **transport)
    found = claims(good.get_token(scope).token)
    assert found["iss"] == f"{authority}/adfs" and found["aud"] == clouds.ADFS.audiences[0]
    with pytest.raises(ClientAuthenticationError, match="MSIS9602"):
        good.get_token(f"{VAULT}/.default")
    bad = ClientSecretCredential("adfs", operator.app_id, "wrong", authority=authority, **transport)
    with pytest.raises(ClientAuthenticationError, match="MSIS9623"):
        bad.get_token(scope)


def test_adfs_has_no_tenants(app: App, world: World, operator: Principal) -> None:
    answer = ask(app, world, form(operator, client_secret=SECRET), clouds.ADFS.login)
    assert answer.status == 404


@pytest.mark.parametrize(
    ("host", "known"),
    [("login.microsoftonline.us", True), ("login.local.azurestack.sim", False), ("login.example", False)],
)
def test_microsofts_list_of_authorities(app: App, host: str, known: bool) -> None:
    query = (("api-version", "1.1"), ("authorization_endpoint", f"https://{host}/x/oauth2/v2.0/authorize"))
    answer = asyncio.run(app.handle(Request("GET", "https", LOGIN, "/common/discovery/instance", query)))[0]
    assert (answer.status == 200) is known and (known or code(answer) == 50049)
