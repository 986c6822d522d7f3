# SPDX-License-Identifier: GPL-3.0-or-later
"""From a login to azure-identity's object, and from its exceptions to reasons."""

from __future__ import annotations

import datetime
import warnings
from pathlib import Path
from typing import Any

import pytest
from azure.core import exceptions
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from unit.azure.fakes import TENANT, login

from ansible_collections.confidential.azure_skr.plugins.module_utils.azure import clients, credentials, sign_in
from ansible_collections.confidential.azure_skr.plugins.module_utils.azure.cloud import CLOUDS, Cloud
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.failure import SkrFailure

TRANSPORT = {"connection_verify": "/ca.pem", "user_agent": "x", "user_agent_use_env": False}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PEM file with an encrypted key (password "word") and its certificate."""
    key, name = rsa.generate_private_key(65537, 2048), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "app")])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"word"),
    )
    path = tmp_path_factory.mktemp("certificate") / "app.pem"
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


class Identity:
    """In place of azure.identity: remembers what was made and with which arguments."""

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments, **keywords: (name, arguments, keywords)


@pytest.mark.parametrize(
    ("changes", "name", "arguments", "some"),
    [
        ({}, "ClientSecretCredential", (TENANT, login().client_id, "never-shown"), {"disable_instance_discovery": True}),
        ({"disable_instance_discovery": False}, "ClientSecretCredential", None, {"disable_instance_discovery": False}),
        ({"cloud": CLOUDS["AzureChinaCloud"]}, "ClientSecretCredential", None, {"authority": "https://login.chinacloudapi.cn"}),
        ({"authority": "https://l.example"}, "ClientSecretCredential", None, {"authority": "https://l.example"}),
        # AD FS: azure-identity puts the tenant behind the authority
        (
            {"authority": "https://a.example/adfs", "tenant": None},
            "ClientSecretCredential",
            ("adfs", login().client_id, "never-shown"),
            {"authority": "https://a.example"},
        ),
        (
            {"way": "certificate", "certificate_path": "/c.pem", "certificate_password": "word"},
            "CertificateCredential",
            (TENANT, login().client_id, "/c.pem"),
            {"password": "word", "disable_instance_discovery": True},
        ),
        (
            {"way": "user", "user": "u", "password": "p"},
            "UsernamePasswordCredential",
            (login().client_id, "u", "p"),
            {"tenant_id": TENANT},
        ),
        ({"way": "cli"}, "AzureCliCredential", (), {"tenant_id": TENANT, "process_timeout": 60}),
        ({"way": "cli", "tenant": None}, "AzureCliCredential", (), {"tenant_id": "", "subscription": "missing"}),
        # a vault tells its tenant by its id
        ({}, "ClientSecretCredential", None, {"additionally_allowed_tenants": "missing"}),
        ({"tenant": "contoso.example"}, "ClientSecretCredential", None, {"additionally_allowed_tenants": ["*"]}),
        ({"way": "msi"}, "ManagedIdentityCredential", (), {"client_id": login().client_id, "identity_config": None}),
        (
            {"way": "msi", "client_id": None, "object_id": "o"},
            "ManagedIdentityCredential",
            (),
            {"client_id": None, "identity_config": {"object_id": "o"}},
        ),
        (
            {"way": "msi", "client_id": None, "resource_id": "/r"},
            "ManagedIdentityCredential",
            (),
            {"identity_config": {"resource_id": "/r"}, "use_env_settings": False},
        ),
    ],
)  # fmt: skip
def test_arguments(changes: dict[str, Any], name: str, arguments: tuple[Any, ...] | None, some: dict[str, Any]) -> None:
    made = credentials._made(Identity(), login(**changes), TRANSPORT)
    assert made[0] == name and (arguments is None or made[1] == arguments)
    assert {key: made[2].get(key, "missing") for key in some} == some
    if name not in ("AzureCliCredential", "ManagedIdentityCredential"):
        assert made[2]["connection_verify"] == "/ca.pem"
    if name == "ManagedIdentityCredential":  # neither a proxy nor a bundle has to do with the machine's own link
        assert not {"connection_verify", "proxies"} & set(made[2])


@pytest.mark.parametrize("way", ["secret", "certificate", "federated", "user", "msi", "cli"])
def test_login_becomes_a_credential(way: str, tmp_path: Path, certificate: Path) -> None:
    """With the real library, without a warning of its own."""
    token = tmp_path / "token"
    token.write_text("x")
    found = login(
        way=way, token_file=str(token), certificate_path=str(certificate), certificate_password="word", user="u", password="p"
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = credentials.credential(found, TRANSPORT)
    kinds = {
        "secret": "ClientSecret", "certificate": "Certificate", "federated": "WorkloadIdentity",
        "user": "UsernamePassword", "msi": "ManagedIdentity", "cli": "AzureCli",
    }  # fmt: skip
    assert type(made).__name__ == f"{kinds[way]}Credential"


def test_managed_identity_is_not_changed_by_variables_of_workload_identity(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AZURE_AUTHORITY_HOST", "AZURE_TENANT_ID", "AZURE_FEDERATED_TOKEN_FILE"):
        monkeypatch.setenv(name, "https://x" if "HOST" in name else "x")
    made = credentials.credential(login(way="msi"), TRANSPORT)
    assert type(made._credential).__name__ == "ImdsCredential"


@pytest.mark.parametrize(
    "changes",
    [
        {"tenant": "not a tenant/../x"},
        {"way": "certificate", "certificate_path": "/nowhere/cert.pem"},
        {"way": "certificate", "certificate_path": "/etc/passwd"},
        {"way": "federated", "token_file": "/nowhere/token"},
        {"way": "certificate", "certificate_path": "KEY", "certificate_password": "never-shown-either"},
        {"way": "certificate", "certificate_path": "KEY"},
    ],
)
def test_login_that_the_library_refuses(changes: dict[str, Any], certificate: Path) -> None:
    given = {name: str(certificate) if value == "KEY" else value for name, value in changes.items()}
    with pytest.raises(SkrFailure) as caught:
        credentials.credential(login(**given), {})
    assert caught.value.reason == "credentials_missing"
    assert "never-shown" not in str(caught.value.as_result()) and "root:" not in str(caught.value.as_result())
    for name in ("certificate_path", "token_file"):
        assert given.get(name, "") in caught.value.message


def test_cloud_without_adfs_needs_a_tenant_after_all() -> None:
    cloud = Cloud("https://m.example", "https://l.example", "https://m.example", "s/.default", "vault.example")
    with pytest.raises(SkrFailure) as caught:
        credentials.credential(login(cloud=cloud, tenant=None), {})
    assert caught.value.reason == "credentials_missing" and "tenant" in caught.value.message
    adfs = cloud._replace(authority="https://l.example/adfs")
    assert credentials._made(Identity(), login(cloud=adfs, tenant=None), {})[1][0] == "adfs"


# --- failures


def failure(text: str, cause: Exception | None = None) -> SkrFailure:
    error = exceptions.ClientAuthenticationError(message=text)
    error.__cause__ = cause
    with pytest.raises(SkrFailure) as caught, clients.errors("vault kv"):
        raise error
    return caught.value


@pytest.mark.parametrize(
    ("text", "detail", "word"),
    [
        ("AADSTS7000215: Invalid client secret provided. Ensure …", "Invalid client secret provided", "not its id"),
        ("AADSTS7000222: The provided client secret keys for app 'a.b' are expired. Visit", "are expired", "expired"),
        ("AADSTS700016: Application with identifier 'x' was not found in the directory.", "was not found", "client_id"),
        ("AADSTS90002: Tenant 'contoso.com' not found. Check", "Tenant 'contoso.com' not found", "tenant"),
        ("AADSTS700027: The certificate with identifier used to sign. [Reason - x]", "certificate", "Register"),
        ("AADSTS700024: Client assertion is not within its valid time range.", "time range", "clock"),
        ("AADSTS700213: No matching federated identity record found for presented assertion subject 'a'.", "'a'", "subject"),
        ("AADSTS50126: Error validating credentials due to invalid username or password.", "username", "ad_user"),
        ("AADSTS50076: Due to a configuration change you must use multi-factor authentication.", "multi", "service principal"),
        ("AADSTS50079: …", "50079", "multi-factor"),
        ("AADSTS53003: Access has been blocked by Conditional Access policies.", "blocked", "Conditional Access"),
        ("AADSTS65001: The user or administrator has not consented.", "consented", "consent"),
        ("MSIS9623: Received invalid Client credentials.", "Received invalid", "Check tenant"),
        ("AADSTS999999: Something new.\r\nTrace ID: 1\r\nCorrelation ID: 2", "Something new", "Check tenant"),
    ],
)  # fmt: skip
def test_entras_codes(text: str, detail: str, word: str) -> None:
    found = failure(f"Authentication failed: {text} Trace ID: 1\nCorrelation ID: 2")
    assert found.reason == "authentication_failed" and found.facts["code"] == text.partition(":")[0]
    assert detail in found.message and word in found.next_step
    assert "Correlation" not in found.message and "Trace" not in found.message


@pytest.mark.parametrize(
    ("text", "cause", "reason"),
    [
        ("Authentication failed: x", exceptions.ServiceRequestError("[Errno -2] Name not known"), "network_unreachable"),
        ("Authentication failed: x", exceptions.ServiceResponseError("reset"), "network_unreachable"),
        ("Authentication failed: x", exceptions.ServiceRequestError("CERTIFICATE_VERIFY_FAILED] certificate verify failed"), "tls_untrusted"),
        ("unavailable, no response from the IMDS endpoint.", exceptions.ServiceRequestError("x"), "imds_unreachable"),
        ("no response from the IMDS endpoint. Token request error: (invalid_request) Identity not found", None, "identity_not_found"),
        ("no response from the IMDS endpoint. Token request error: (x) Multiple user assigned identities exist", None, "identity_ambiguous"),
        ("no response from the IMDS endpoint. Token request error: (bad_request_102) Required metadata header", None, "imds_error"),
        ("Please run 'az login' to set up an account", None, "authentication_failed"),
        ("The current credential is not configured to acquire tokens for tenant t. To …", None, "authentication_failed"),
        ("The authority provided, https://l.example, is not well-known. If …", None, "authentication_failed"),
        ("Something else", None, "authentication_failed"),
    ],
)  # fmt: skip
def test_other_failures(text: str, cause: Exception | None, reason: str) -> None:
    assert failure(text, cause).reason == reason


def test_proxy_is_named_and_its_password_is_not() -> None:
    cause = exceptions.ServiceRequestError("ProxyError('Cannot connect to proxy http://user:word@p:1')")
    found = failure("Authentication failed: http://user:word@p:1", cause)
    assert found.reason == "network_unreachable" and "through the proxy" in found.message
    assert "word" not in str(found.as_result())


def test_causes_end() -> None:
    one, two = ValueError("1"), ValueError("2")
    one.__cause__, two.__cause__ = two, one
    assert list(sign_in.causes(one)) == [two]
