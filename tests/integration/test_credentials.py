# SPDX-License-Identifier: GPL-3.0-or-later
"""Every way to sign in, every cloud, proxies and certificates, through an unmodified module in a lab of its own."""

from __future__ import annotations

import datetime
import json
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import labkit
import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from labkit import Lab, lab

from skrsim.core import clouds
from skrsim.lab.plan import LOCATION, RESOURCE_GROUP

SUBJECT = "system:serviceaccount:awx:runner"
PASSWORD = "certificate-word-never-shown"
UPN, WORD = "jo@example.com", "user-word-never-shown"
STACK = f"https://{clouds.STACK.resource_manager}"
ADFS = f"https://{clouds.ADFS.resource_manager}"


@pytest.fixture(scope="module")
def own_lab() -> Iterator[Lab]:
    with lab("--vms", "2", "--door", "local") as made:
        yield made


class Caller:
    """Runs a reading module with an environment and options of its own; nothing else of the lab's credentials."""

    def __init__(self, made: Lab, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.lab, self.home, self._monkeypatch = made, home, monkeypatch
        made.in_process = False  # what a process looks up once it must look up here every time
        azure = made.azure()
        self.way = {name: azure[name] for name in ("https_proxy", "ca_path")}
        self.subscription = {"subscription_id": azure["subscription_id"]}
        self.secret = {name: azure[name] for name in ("tenant", "client_id", "secret")}
        self.tenant, self.client = azure["tenant"], azure["client_id"]
        (home / ".azure").mkdir()

    def __call__(self, environ: dict[str, str] | None = None, **options: Any) -> dict[str, Any]:
        """With the lab's proxy and CA as options; None takes one out."""
        return self.module("cvm_info", environ, **options)

    def module(self, name: str, environ: dict[str, str] | None = None, /, **options: Any) -> dict[str, Any]:
        clean = labkit.environment() | {"HOME": str(self.home)} | (environ or {})
        given = {option: value for option, value in (self.way | options).items() if value is not None}
        with self._monkeypatch.context() as patch:
            patch.setattr(labkit, "environment", lambda: clean)
            result = self.lab.module(name, **given)
        told = json.dumps({name: value for name, value in result.items() if name != "invocation"})
        for hidden in (self.lab.azure()["secret"], PASSWORD, WORD):
            assert hidden not in told
        return result

    def profile(self, **sections: dict[str, str]) -> None:
        lines = [
            line
            for name, members in sections.items()
            for line in (f"[{name}]", *(f"{key}={value}" for key, value in members.items()))
        ]
        (self.home / ".azure" / "credentials").write_text("\n".join(lines))


@pytest.fixture
def call(own_lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Caller]:
    yield Caller(own_lab, tmp_path, monkeypatch)
    own_lab.call("fault_clear")


def ok(result: dict[str, Any]) -> dict[str, Any]:
    assert not result.get("failed"), result
    assert "vms" not in result or {vm["name"] for vm in result["vms"]} == {"cvm-01", "cvm-02"}
    return result


def refused(result: dict[str, Any], reason: str, *words: str) -> dict[str, Any]:
    assert result.get("failed") and result["reason"] == reason, result
    for word in words:
        assert word in result["msg"], (word, result["msg"])
    return result


# --- service principals


def test_options(call: Caller) -> None:
    ok(call(**call.subscription, **call.secret))


def test_awx_with_a_service_principal(call: Caller) -> None:
    """What AWX sets, fields that nobody filled as empty text; options of a survey empty too."""
    given = {
        "AZURE_SUBSCRIPTION_ID": call.subscription["subscription_id"],
        "AZURE_CLIENT_ID": call.client,
        "AZURE_TENANT": call.tenant,
        "AZURE_SECRET": call.secret["secret"],
        **dict.fromkeys(("AZURE_AD_USER", "AZURE_PASSWORD", "AZURE_CLOUD_ENVIRONMENT", "AZURE_PROFILE"), ""),
        **dict.fromkeys(("AZURE_CERT_VALIDATION_MODE", "AZURE_ADFS_AUTHORITY_URL", "AZURE_HTTP_USER_AGENT"), ""),
    }
    ok(call(given, client_id="", secret="", tenant="", cloud_environment="", profile=""))


def test_azure_identitys_own_names(call: Caller) -> None:
    given = {
        "AZURE_SUBSCRIPTION_ID": call.subscription["subscription_id"],
        "AZURE_CLIENT_ID": call.client,
        "AZURE_TENANT_ID": call.tenant,
        "AZURE_CLIENT_SECRET": call.secret["secret"],
        "AZURE_AUTHORITY_HOST": "https://login.microsoftonline.com/",
    }
    ok(call(given))


@pytest.mark.parametrize(
    ("environ", "options"),
    [
        ({}, {}),
        ({}, {"profile": "other"}),
        ({"AZURE_PROFILE": "other"}, {}),
        ({"AZURE_PROFILE": "other"}, {"auth_source": "env"}),
        ({"ANSIBLE_AZURE_AUTH_SOURCE": "credential_file"}, {"profile": "other"}),
    ],
)
def test_credentials_file(call: Caller, environ: dict[str, str], options: dict[str, str]) -> None:
    good = call.subscription | call.secret
    named = "profile" in options or "AZURE_PROFILE" in environ
    call.profile(default=good | ({"client_id": "nobody"} if named else {}), other=good)
    ok(call(environ, **options))


def test_profile_that_is_not_there(call: Caller) -> None:
    call.profile(default=call.subscription | call.secret)
    refused(call(profile="typo"), "credentials_missing", "typo", ".azure/credentials")


def test_secret_that_is_wrong(call: Caller) -> None:
    result = call(**call.subscription, **call.secret | {"secret": "not-the-secret"})
    assert refused(result, "authentication_failed", "AADSTS7000215", "not its id")["facts"]["code"] == "AADSTS7000215"


class Certificate:
    """A self-signed certificate, and its PEM file with an encrypted key."""

    def __init__(self, path: Path) -> None:
        key, name = rsa.generate_private_key(65537, 2048), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "app")])
        now = datetime.datetime.now(datetime.timezone.utc)
        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .sign(key, hashes.SHA256())
        )
        self.public = made.public_bytes(serialization.Encoding.PEM).decode()
        encrypted = serialization.BestAvailableEncryption(PASSWORD.encode())
        private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encrypted)
        path.write_bytes(private + self.public.encode())
        self.path = str(path)


def test_certificate(call: Caller, tmp_path: Path) -> None:
    """By options, then by the environment; before it is registered, and with another password."""
    made = Certificate(tmp_path / "app.pem")
    options = {
        **call.subscription, "client_id": call.client, "tenant": call.tenant, "x509_certificate_path": made.path,
        "thumbprint": "not needed",
    }  # fmt: skip
    refused(call(**options, x509_certificate_password=PASSWORD), "authentication_failed", "AADSTS700027", "Register")
    call.lab.call("operator_trusts", certificate=made.public)
    ok(call(**options, x509_certificate_password=PASSWORD))
    environ = {
        "AZURE_SUBSCRIPTION_ID": call.subscription["subscription_id"],
        "AZURE_CLIENT_ID": call.client,
        "AZURE_TENANT": call.tenant,
        "AZURE_X509_CERTIFICATE_PATH": made.path,
        "AZURE_CLIENT_CERTIFICATE_PASSWORD": PASSWORD,
    }
    ok(call(environ))
    refused(call(**options, x509_certificate_password="other"), "credentials_missing", made.path)
    refused(call(**options), "credentials_missing", made.path)


def test_workload_identity(call: Caller, tmp_path: Path) -> None:
    """As AKS's webhook sets it; and refused for each part that does not match."""
    token = tmp_path / "token"
    environ = {
        "AZURE_SUBSCRIPTION_ID": call.subscription["subscription_id"],
        "AZURE_CLIENT_ID": call.client,
        "AZURE_TENANT_ID": call.tenant,
        "AZURE_FEDERATED_TOKEN_FILE": str(token),
        "AZURE_AUTHORITY_HOST": "https://login.microsoftonline.com/",
    }
    refused(call(environ), "credentials_missing", str(token))
    call.lab.call("operator_trusts", subject=SUBJECT)
    for claims, number in (
        ({"subject": "other"}, "AADSTS700213"),
        ({"subject": SUBJECT, "lifetime": -1}, "AADSTS700024"),
    ):
        token.write_text(call.lab.call("workload_token", **claims))
        refused(call(environ), "authentication_failed", number)
    token.write_text(call.lab.call("workload_token", subject=SUBJECT))
    ok(call(environ))
    options = {"client_id": call.client, "tenant": call.tenant, "federated_token_file": str(token)}
    ok(call(**call.subscription, **options))


# --- users, managed identities, the Azure CLI


def test_user(call: Caller) -> None:
    """AWX's other form: no client, no tenant. The warning is in the result, whether it works or not."""
    environ = {
        "AZURE_SUBSCRIPTION_ID": call.subscription["subscription_id"],
        "AZURE_AD_USER": UPN,
        "AZURE_PASSWORD": WORD,
        **dict.fromkeys(("AZURE_CLIENT_ID", "AZURE_SECRET", "AZURE_TENANT"), ""),
    }
    refused(call(environ), "authentication_failed", "AADSTS50034", "service principal")
    call.lab.call("user", name=UPN, password=WORD, roles=["Reader"])
    assert "deprecated" in str(ok(call(environ))["warnings"])
    result = call(**call.subscription, ad_user=UPN, password="not-the-word", tenant=call.tenant)
    assert "deprecated" in str(refused(result, "authentication_failed", "AADSTS50126")["warnings"])


def test_user_with_multi_factor_authentication(call: Caller) -> None:
    call.lab.call("user", name="mfa@example.com", password=WORD, mfa=True)
    result = call(**call.subscription, ad_user="mfa@example.com", password=WORD)
    refused(result, "authentication_failed", "AADSTS50076", "multi-factor", "service principal")


def test_managed_identity(call: Caller) -> None:
    """On a VM with two identities, named in each way; neither a proxy nor workload identity comes in between."""
    clients = call.lab.call("vm_identities", name="cvm-02", count=2)
    first, second = call.lab.call("identities", name="cvm-02")
    environ = {
        "AZURE_POD_IDENTITY_AUTHORITY_HOST": call.lab.hosts["cvm-02"]["skr_imds_endpoint"],
        "HTTP_PROXY": "http://127.0.0.1:9",
        "AZURE_TENANT_ID": call.tenant,
        "AZURE_AUTHORITY_HOST": "https://login.microsoftonline.com/",
        "AZURE_FEDERATED_TOKEN_FILE": "/nowhere/token",
    }
    refused(call(environ, auth_source="msi"), "identity_ambiguous", "msi_object_id")
    refused(call(environ, auth_source="msi", client_id=call.client), "identity_not_found")
    # an identity that sees no subscription cannot find its own
    refused(call(environ, auth_source="msi", client_id=clients[0]), "invalid_input", "subscription_id", "none")
    for one in (first, second):
        call.lab.call("grant", principal=one["principal_id"], role="Reader")
    ok(call(environ, auth_source="msi", client_id=clients[0]))
    ok(call(environ | {"ANSIBLE_AZURE_AUTH_SOURCE": "msi", "AZURE_CLIENT_ID": clients[1]}))
    mark = call.lab.mark
    ok(call(environ, auth_source="msi", msi_object_id=first["principal_id"]))
    ok(call(environ, auth_source="msi", msi_resource_id=second["id"]))
    listed = call.lab.audit(mark, operation="vm_list_all")
    assert [one["principal"] for one in listed] == [first["principal_id"], second["principal_id"]]


def test_managed_identity_where_there_is_no_metadata_service(call: Caller) -> None:
    environ = {"AZURE_POD_IDENTITY_AUTHORITY_HOST": "http://127.0.0.1:9"}
    refused(call(environ, auth_source="msi", **call.subscription), "imds_unreachable")


def az(call: Caller, answer: str, status: int = 0) -> dict[str, str]:
    """A program in az's place that says this, remembers how it was called, and has one account."""
    program = call.home / "bin" / "az"
    program.parent.mkdir(exist_ok=True)
    program.write_text(
        f"#!/bin/sh\necho \"$@\" >> {call.home}/calls\n{'cat >&2' if status else 'cat'} <<'EOF'\n{answer}\nEOF\nexit {status}\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    account = {"id": call.subscription["subscription_id"], "tenantId": call.tenant, "isDefault": True}
    profile = {"subscriptions": [account | {"environmentName": "AzureCloud"}]}
    (call.home / ".azure" / "azureProfile.json").write_text(json.dumps(profile), encoding="utf-8-sig")
    return {"PATH": f"{program.parent}:{labkit.environment()['PATH']}"}


def test_azure_cli(call: Caller) -> None:
    """Without a credential anywhere else; subscription and tenant come from what the sign-in left."""
    form = {"client_id": call.client, "client_secret": call.secret["secret"], "grant_type": "client_credentials"}
    token = requests.post(
        f"https://login.microsoftonline.com/{call.tenant}/oauth2/v2.0/token",
        data=form | {"scope": "https://management.azure.com/.default"},
        proxies={"https": call.way["https_proxy"]},
        verify=call.way["ca_path"],
        timeout=20,
    ).json()
    answer = json.dumps({"accessToken": token["access_token"], "expires_on": 4102444800})
    ok(call(az(call, answer)))
    called = (call.home / "calls").read_text().splitlines()
    wanted = f"account get-access-token --output json --resource https://management.azure.com --tenant {call.tenant}"
    assert set(called) == {wanted}
    ok(call(az(call, answer), auth_source="cli"))


def test_azure_cli_where_nobody_is_signed_in(call: Caller) -> None:
    environ = az(call, "Please run 'az login' to setup account.", 1)
    refused(call(environ), "authentication_failed", "az login")
    refused(call(auth_source="cli", **call.subscription), "credentials_missing", "az is not on the PATH")


# --- clouds


@pytest.mark.parametrize("name", ["AzureUSGovernment", "azure_china_cloud", STACK, ADFS])
def test_vault_in_every_cloud(call: Caller, name: str) -> None:
    """Sign-in, Resource Manager, vault and key under that cloud's names, and under no others."""
    cloud = next(
        one for one in clouds.CLOUDS.values()
        if name == f"https://{one.resource_manager}" or one.name.lower() == name.replace("_", "").lower()
    )  # fmt: skip
    options = call.subscription | call.secret | {"cloud_environment": name}
    if cloud.adfs:
        del options["tenant"]
    mark = call.lab.mark
    vault = f"kv-{cloud.name[:18]}"
    made = ok(
        call.module(
            "key_vault", **options, name=vault, resource_group=RESOURCE_GROUP, location=LOCATION,
            enable_rbac_authorization=True,
        )
    )  # fmt: skip
    assert made["changed"] and made["vault_uri"] == f"https://{vault.lower()}.{cloud.vault}"
    found = ok(call.module("exportable_key_info", **options, vault_uri=made["vault_uri"]))
    assert found["keys"] == []
    hosts = {one["host"] for one in call.lab.audit(mark)}
    assert hosts == {cloud.login, cloud.resource_manager, f"{vault.lower()}.{cloud.vault}"}
    metadata = call.lab.audit(mark, operation="cloud_metadata")
    assert len(metadata) == (2 if name.startswith("https") else 0)  # one for each module


def test_cloud_by_its_synonym_in_the_environment(call: Caller) -> None:
    mark = call.lab.mark
    ok(call({"AZURE_CLOUD_ENVIRONMENT": "AZURE_US_GOVERNMENT"}, **call.subscription, **call.secret))
    assert {one["host"] for one in call.lab.audit(mark)} == {
        clouds.GOVERNMENT.login,
        clouds.GOVERNMENT.resource_manager,
    }


def test_government_by_its_authority(call: Caller) -> None:
    """As AKS's webhook tells it there."""
    mark = call.lab.mark
    ok(call({"AZURE_AUTHORITY_HOST": "https://login.microsoftonline.us/"}, **call.subscription, **call.secret))
    assert {one["host"] for one in call.lab.audit(mark)} == {
        clouds.GOVERNMENT.login,
        clouds.GOVERNMENT.resource_manager,
    }


def test_authority_in_place_of_the_clouds_own(call: Caller) -> None:
    mark = call.lab.mark
    ok(call(adfs_authority_url="https://login.windows.net", **call.subscription, **call.secret))
    assert "login.windows.net" in {one["host"] for one in call.lab.audit(mark)}


def test_wrong_secret_at_adfs(call: Caller) -> None:
    options = call.subscription | {"client_id": call.client, "secret": "not-the-secret"}
    refused(call(cloud_environment=ADFS, **options), "authentication_failed", "MSIS9623")


def test_instance_discovery_is_really_asked_for(call: Caller) -> None:
    """The text false is false: then Microsoft's list is asked, and does not know a private cloud."""
    options = call.subscription | call.secret | {"cloud_environment": STACK}
    environ = {"AZURE_DISABLE_INSTANCE_DISCOVERY": "false"}
    refused(call(environ, **options), "authentication_failed", "Microsoft's list", "disable_instance_discovery")
    ok(call(environ, **options, disable_instance_discovery=True))


@pytest.mark.parametrize(
    ("fault", "parameters", "reason", "word"),
    [
        ("html", {}, "cloud_metadata", "not JSON"),
        ("truncate_json", {}, "cloud_metadata", "not JSON"),
        ("status", {"code": 404}, "cloud_metadata", "status 404"),
        ("status", {"code": 200, "body": {"name": "x"}}, "cloud_metadata", "suffixes.keyVaultDns missing"),
        ("redirect", {}, "cloud_metadata", "status 307"),
        ("reset", {}, "network_unreachable", "cloud_environment"),
    ],
)
def test_metadata_that_cannot_be_used(
    call: Caller, fault: str, parameters: dict[str, Any], reason: str, word: str
) -> None:
    mark = call.lab.mark
    with call.lab.fault(fault, service="arm", operation="cloud_metadata", **parameters):
        refused(call(cloud_environment=STACK, **call.subscription, **call.secret), reason, word, STACK)
    assert call.lab.audit(mark, service="entra") == []  # no secret is sent before the cloud is known


def test_cloud_that_is_not_there(call: Caller) -> None:
    result = call(cloud_environment="https://management.nowhere.sim", **call.subscription, **call.secret)
    refused(result, "network_unreachable", "management.nowhere.sim", "cloud_environment")


# --- certificate authorities and proxies


def good(call: Caller, **options: Any) -> Callable[..., dict[str, Any]]:
    """Calls with good credentials, in the cloud whose names exist nowhere else."""
    usual = call.subscription | call.secret | {"cloud_environment": STACK} | options
    return lambda environ=None, **changes: call(environ, **(usual | changes))


def test_authority_by_option_and_by_environment(call: Caller, tmp_path: Path) -> None:
    bundle, other = call.way["ca_path"], Certificate(tmp_path / "other.pem")
    foreign = tmp_path / "foreign.pem"
    foreign.write_text(other.public)
    run = good(call)
    ok(run({"REQUESTS_CA_BUNDLE": bundle}, ca_path=None))
    ok(run({"CURL_CA_BUNDLE": bundle}, ca_path=None))
    ok(run({"REQUESTS_CA_BUNDLE": str(foreign)}))  # the option wins
    ok(run({"REQUESTS_CA_BUNDLE": "/nowhere/ca.pem"}))
    mark = call.lab.mark
    # found out by the metadata's request, and by the sign-in where the cloud is known
    refused(run(ca_path=str(foreign)), "tls_untrusted", "ca_path")
    refused(run({"REQUESTS_CA_BUNDLE": str(foreign)}, ca_path=None), "tls_untrusted", "ca_path")
    refused(run(ca_path=None, cloud_environment=None), "tls_untrusted", "ca_path")
    assert call.lab.audit(mark) == []
    refused(
        run({"REQUESTS_CA_BUNDLE": "/nowhere/ca.pem"}, ca_path=None), "invalid_input", "REQUESTS_CA_BUNDLE", "/nowhere"
    )
    refused(run(ca_path=str(tmp_path / "calls")), "invalid_input", "ca_path")


def test_verification_is_never_switched_off(call: Caller) -> None:
    run, mark = good(call), call.lab.mark
    refused(run(cert_validation_mode="ignore"), "tls_verification_required", "ignore", "ca_path")
    refused(run({"AZURE_CERT_VALIDATION_MODE": "ignore"}), "tls_verification_required")
    refused(run({"AZURE_CERT_VALIDATION": "ignore"}), "tls_verification_required")
    assert call.lab.audit(mark) == []
    ok(run({"AZURE_CERT_VALIDATION_MODE": "ignore"}, cert_validation_mode="validate", api_profile="latest"))


def test_proxy_by_option_and_by_environment(call: Caller) -> None:
    run, proxy = good(call), call.way["https_proxy"]
    nobody = "http://someone:hidden@127.0.0.1:9"
    ok(run({"HTTPS_PROXY": proxy}, https_proxy=None))
    ok(run({"https_proxy": proxy, "NO_PROXY": "elsewhere.sim"}, https_proxy=None))
    ok(run({"HTTPS_PROXY": nobody}))  # the option wins, and knows no exceptions
    ok(run({"NO_PROXY": "*"}))
    for result in (
        run(https_proxy=nobody),
        run({"HTTPS_PROXY": nobody}, https_proxy=None),
        run(https_proxy=nobody, cloud_environment=None),  # found out by the sign-in, not by the metadata
        run(https_proxy=proxy.replace("controller", "stranger")),
    ):
        assert "hidden" not in refused(result, "network_unreachable", "reached through the proxy")["msg"]
    # with the exception the name is looked up here, where it does not exist
    for exception in (".azurestack.sim", "*"):
        result = run({"HTTPS_PROXY": proxy, "NO_PROXY": exception}, https_proxy=None)
        refused(result, "network_unreachable", "cannot be reached.")


def test_user_agent(call: Caller) -> None:
    """On every request, the metadata's and the sign-in's too."""
    mark = call.lab.mark
    ok(good(call)({"AZURE_HTTP_USER_AGENT": "pid-1234"}))
    agents = [one["agent"] for one in call.lab.audit(mark)]
    assert len(agents) >= 4 and all("confidential.azure_skr pid-1234" in agent for agent in agents), agents
    assert all(agent.count("pid-1234") == 1 for agent in agents)
    refused(good(call)({"AZURE_HTTP_USER_AGENT": "é"}), "invalid_input", "AZURE_HTTP_USER_AGENT")
