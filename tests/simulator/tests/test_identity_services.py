# SPDX-License-Identifier: GPL-3.0-or-later
"""Entra and the metadata service: unmodified azure-identity is satisfied, every wrong request is refused for its reason."""

from __future__ import annotations

import asyncio
import base64
import json
import typing as t
from urllib.parse import urlencode

import pytest
import requests
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import ClientSecretCredential, ManagedIdentityCredential

from conftest import GROUP, LOCATION, SECRET
from skrsim.core.app import App
from skrsim.core.faults import Fault
from skrsim.core.messages import Request, Response
from skrsim.core.running import Running
from skrsim.core.world import Principal, World
from skrsim.services.arm import seed
from skrsim.services.entra import Entra, TokenError

LOGIN = "login.microsoftonline.com"
VAULT = "https://vault.azure.net"


def call(
    app: App, method: str, host: str, path: str, query: dict[str, str], vm: str | None = None, **more: t.Any
) -> Response:
    scheme = "http" if host.startswith("169") else "https"
    body = more.get("body", b"")
    request = Request(method, scheme, host, path, tuple(query.items()), more.get("headers", {}), body, vm)
    return asyncio.run(app.handle(request))[0]


def token(
    app: App, world: World, form: dict[str, str], path: str = "oauth2/v2.0/token", tenant: str | None = None
) -> Response:
    return call(app, "POST", LOGIN, f"/{tenant or world.tenant_id}/{path}", {}, body=urlencode(form).encode())


def form(operator: Principal, **changes: str) -> dict[str, str]:
    usual = {
        "client_id": operator.app_id,
        "client_secret": SECRET,
        "grant_type": "client_credentials",
        "scope": f"{VAULT}/.default",
    }
    return usual | changes


def claims(text: str) -> dict[str, t.Any]:
    part = text.split(".")[1]
    return t.cast(dict[str, t.Any], json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))))


# --- Entra


def test_azure_identity_with_a_secret(
    running: Running, world: World, operator: Principal, clean_environment: None
) -> None:
    credential = ClientSecretCredential(
        world.tenant_id,
        operator.app_id,
        SECRET,
        disable_instance_discovery=True,
        connection_verify=str(running.bundle),
        proxies={"https": running.proxy_url()},
    )
    found = claims(credential.get_token(f"{VAULT}/.default").token)
    assert found["oid"] == operator.object_id and found["aud"] == VAULT


def test_azure_identity_with_a_wrong_secret(
    running: Running, world: World, operator: Principal, clean_environment: None
) -> None:
    credential = ClientSecretCredential(
        world.tenant_id,
        operator.app_id,
        "wrong",
        disable_instance_discovery=True,
        connection_verify=str(running.bundle),
        proxies={"https": running.proxy_url()},
    )
    with pytest.raises(ClientAuthenticationError, match="AADSTS7000215"):
        credential.get_token(f"{VAULT}/.default")


def test_tls_is_not_believed_without_the_labs_authority(
    running: Running, world: World, clean_environment: None
) -> None:
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(f"https://{LOGIN}/common/discovery/instance", proxies={"https": running.proxy_url()}, timeout=10)


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"client_secret": "wrong"}, 401, 7000215),
        ({"client_id": "00000000-0000-4000-8000-000000000000"}, 400, 700016),
        ({"grant_type": "device_code"}, 400, 70003),
        ({"scope": "https://example.net/.default"}, 400, 500011),
        ({"surprise": "1"}, 400, 900144),
    ],
)
def test_refused_token_requests(
    app: App, world: World, operator: Principal, changes: dict[str, str], status: int, code: int
) -> None:
    response = token(app, world, form(operator, **changes))
    assert response.status == status and response.json()["error_codes"] == [code]
    assert SECRET not in response.body.decode()


def test_unknown_tenant(app: App, world: World, operator: Principal) -> None:
    response = token(app, world, form(operator), tenant="99999999-0000-4000-8000-000000000000")
    assert response.status == 400 and response.json()["error_codes"] == [90002]


def test_the_form_that_microsofts_client_sends(app: App, world: World, operator: Principal) -> None:
    """Nothing is percent-encoded, and a blank stands behind "scope="."""
    body = f"client_id={operator.app_id}&client_secret={SECRET}&grant_type=client_credentials&scope= {VAULT}/.default"
    response = call(app, "POST", LOGIN, f"/{world.tenant_id}/oauth2/v2.0/token", {}, body=body.encode())
    assert response.status == 200


def test_version_1_endpoint(app: App, world: World, operator: Principal) -> None:
    wanted = form(operator, resource="https://management.core.windows.net/")
    del wanted["scope"]
    response = token(app, world, wanted, "oauth2/token")
    assert claims(response.json()["access_token"])["iss"] == f"https://sts.windows.net/{world.tenant_id}/"
    assert isinstance(response.json()["expires_in"], str)


def test_discovery_documents(app: App, world: World) -> None:
    for path in (
        f"/{world.tenant_id}/v2.0/.well-known/openid-configuration",
        f"/{world.tenant_id}/.well-known/openid-configuration",
    ):
        document = call(app, "GET", LOGIN, path, {}).json()
        assert document["token_endpoint"].startswith(f"https://{LOGIN}/{world.tenant_id}/oauth2")
        keys = call(app, "GET", LOGIN, document["jwks_uri"].partition(LOGIN)[2], {}).json()["keys"]
        assert keys[0]["kty"] == "RSA"
    assert call(app, "GET", LOGIN, "/common/discovery/instance", {"api-version": "1.1"}).json()["metadata"]


def test_token_checks(app: App, world: World, operator: Principal) -> None:
    entra: Entra = world.services["entra"]
    good = entra.issue(operator, VAULT)
    assert entra.verify(good, [f"{VAULT}/"])["oid"] == operator.object_id
    header, body, signature = good.split(".")
    other = Entra(world).issue(operator, VAULT)
    none = base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()
    for text, code in (
        ("nonsense", "malformed"),
        (f"{header}.{body}", "malformed"),
        (f"{header}.{body}.{signature[:-8]}AAAAAAAA", "signature"),
        (f"{none}.{body}.", "signature"),
        (other, "signature"),
    ):
        with pytest.raises(TokenError) as refused:
            entra.verify(text, [VAULT])
        assert refused.value.code == code, text[:20]
    with pytest.raises(TokenError) as refused:
        entra.verify(good, ["https://managedhsm.azure.net"])
    assert refused.value.code == "audience"
    world.clock.advance(90000)
    with pytest.raises(TokenError) as refused:
        entra.verify(good, [VAULT])
    assert refused.value.code == "expired"


# --- the metadata service

IMDS = "169.254.169.254"
TOKEN = {"api-version": "2018-02-01", "resource": VAULT}
METADATA = {"metadata": "true"}


def imds(
    app: App,
    query: dict[str, str],
    vm: str | None = "cvm-01",
    headers: dict[str, str] | None = None,
    path: str = "/metadata/identity/oauth2/token",
) -> Response:
    return call(app, "GET", IMDS, path, query, vm, headers=METADATA if headers is None else headers)


@pytest.fixture
def system(world: World) -> Principal:
    """A system-assigned identity on cvm-01."""
    made = world.new_managed_identity("cvm-01", world.vms["cvm-01"].id)
    world.vms["cvm-01"].system_principal = made.object_id
    return made


def test_managed_identity_credential(
    running: Running, world: World, system: Principal, clean_environment: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", f"http://127.0.0.1:{running.imds('cvm-01')}")
    found = claims(ManagedIdentityCredential().get_token(f"{VAULT}/.default").token)
    assert found["oid"] == system.object_id and found["xms_mirid"] == world.vms["cvm-01"].id
    user = seed.user_identity(world, "shared", GROUP, LOCATION)
    world.vms["cvm-01"].user_identities.append(user.id)
    named = ManagedIdentityCredential(client_id=user.client_id).get_token(f"{VAULT}/.default").token
    assert claims(named)["oid"] == user.principal_id
    by_resource = (
        ManagedIdentityCredential(identity_config={"resource_id": user.id}).get_token(f"{VAULT}/.default").token
    )
    assert claims(by_resource)["oid"] == user.principal_id


def test_answer_of_the_token_endpoint(app: App, system: Principal) -> None:
    document = imds(app, TOKEN).json()
    assert document["client_id"] == system.app_id and document["resource"] == VAULT
    assert all(isinstance(document[name], str) for name in ("expires_in", "expires_on", "not_before"))
    assert imds(app, TOKEN).json()["access_token"] == document["access_token"]  # kept until shortly before its end


@pytest.mark.parametrize(
    ("query", "headers", "status", "text"),
    [
        (TOKEN, {}, 400, "Required metadata header"),
        (TOKEN, METADATA | {"x-forwarded-for": "10.0.0.1"}, 400, "X-Forwarded-For"),
        ({"resource": VAULT}, METADATA, 400, "api-version"),
        ({"api-version": "2018-02-01"}, METADATA, 400, "resource"),
        (TOKEN | {"resource": "https://example.net"}, METADATA, 400, "AADSTS50001"),
        (TOKEN | {"client_id": "00000000-0000-4000-8000-000000000000"}, METADATA, 400, "Identity not found"),
        (TOKEN | {"client_id": "a", "object_id": "b"}, METADATA, 400, "Only one"),
        (TOKEN | {"surprise": "1"}, METADATA, 400, "unknown query"),
    ],
)
def test_refused_metadata_requests(
    app: App, system: Principal, query: dict[str, str], headers: dict[str, str], status: int, text: str
) -> None:
    response = imds(app, query, headers=headers)
    assert response.status == status and text in response.json()["error_description"]


def test_identities_of_a_vm(app: App, world: World) -> None:
    """None, one and two user-assigned identities; and a new one that the service does not know yet."""
    vm = world.vms["cvm-02"]
    assert "Identity not found" in imds(app, TOKEN, "cvm-02").json()["error_description"]
    users = [seed.user_identity(world, f"user-{number}", GROUP, LOCATION) for number in (1, 2)]
    vm.user_identities = [users[0].id]
    assert imds(app, TOKEN, "cvm-02").json()["client_id"] == users[0].client_id
    vm.user_identities.append(users[1].id)
    assert "Multiple user assigned identities" in imds(app, TOKEN, "cvm-02").json()["error_description"]
    for selector, value in (
        ("client_id", users[1].client_id),
        ("object_id", users[1].principal_id),
        ("msi_res_id", users[1].id),
        ("mi_res_id", users[1].id.upper()),
    ):
        assert imds(app, TOKEN | {selector: value}, "cvm-02").json()["client_id"] == users[1].client_id
    vm.identity_visible_at = world.clock.now() + 60
    assert (
        "Identity not found"
        in imds(app, TOKEN | {"client_id": users[1].client_id}, "cvm-02").json()["error_description"]
    )
    assert imds(app, TOKEN, None).status == 404


def test_instance_data(app: App, world: World) -> None:
    version = {"api-version": "2021-02-01"}
    path = "/metadata/instance/compute"
    document = imds(app, version, path=path).json()
    assert (
        document["vmId"] == world.vms["cvm-01"].vm_id
        and document["securityProfile"]["securityType"] == "ConfidentialVM"
    )
    text = imds(app, version | {"format": "text"}, path=f"{path}/location")
    assert text.body == LOCATION.encode()
    assert imds(app, {"api-version": "1999"}, path=path).status == 400
    assert imds(app, version, path=f"{path}/nothing").status == 404


def test_vcek_chain(app: App, world: World) -> None:
    """Without any api-version, as Microsoft's client asks; not on a VM without SNP."""
    path = "/metadata/THIM/amd/certification"
    assert imds(app, {}, path=path).json()["vcekCert"].startswith("-----BEGIN")
    world.vms["cvm-03"].security_type = "TrustedLaunch"
    assert imds(app, {}, "cvm-03", path=path).status == 404
    assert imds(app, {}, path="/acc/tdquote").status == 404


# --- the doors


def test_transport_faults_over_the_wire(
    running: Running, world: World, system: Principal, clean_environment: None
) -> None:
    url = f"http://127.0.0.1:{running.imds('cvm-01')}/metadata/THIM/amd/certification"

    def ask() -> requests.Response:
        return requests.get(url, headers={"Metadata": "true"}, timeout=5, allow_redirects=False)

    for action in ("reset", "reset_mid_body"):
        world.faults.add(Fault(action, service="imds", times=1))
        with pytest.raises(requests.exceptions.RequestException):
            ask()
    world.faults.add(Fault("status", service="imds", times=1, parameters={"code": 429, "retry_after": 3}))
    throttled = ask()
    assert throttled.status_code == 429 and throttled.headers["Retry-After"] == "3"
    world.faults.add(Fault("html", service="imds", times=1))
    assert "text/html" in ask().headers["Content-Type"]
    world.faults.add(Fault("truncate_json", service="imds", times=1))
    with pytest.raises(ValueError):
        ask().json()
    world.faults.add(Fault("redirect", service="imds", times=1))
    assert ask().status_code == 307
    assert ask().status_code == 200
    hit = [record["fault"] for record in world.audit.records(service="imds")]
    assert hit == ["reset", "reset_mid_body", "status", "html", "truncate_json", "redirect", None]


def test_the_proxy_knows_its_users(running: Running, clean_environment: None) -> None:
    url = f"https://{LOGIN}/common/discovery/instance"

    def ask(user: str, target: str = url) -> int:
        proxies = {"https": running.proxy_url(user)}
        return requests.get(target, proxies=proxies, verify=str(running.bundle), timeout=10).status_code

    assert ask("controller") == ask("cvm-01") == 200
    with pytest.raises(requests.exceptions.ProxyError):
        ask("stranger")
    with pytest.raises(requests.exceptions.ProxyError):
        ask("controller", "https://example.net/")
    with pytest.raises(requests.exceptions.ProxyError):
        ask("controller", "https://nobody.vault.azure.net/")


def test_a_defect_of_a_service_is_a_500_and_no_end(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(_request: Request) -> Response:
        raise RuntimeError("defect")

    monkeypatch.setattr(app.services[0], "handle", broken)
    assert call(app, "GET", LOGIN, "/", {}).status == 500
    assert call(app, "GET", "nobody.example", "/", {}).status == 421
