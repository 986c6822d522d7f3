# SPDX-License-Identifier: GPL-3.0-or-later
"""Which login the options and the environment give; nothing is imported or asked for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from unit.azure.fakes import login

from ansible_collections.confidential.azure_skr.plugins.module_utils.azure import clients, credentials
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.failure import SkrFailure

OPTIONS = {"client_id": "o-client", "secret": "o-secret", "tenant": "o-tenant", "subscription_id": "o-sub"}
AWX = {
    "AZURE_SUBSCRIPTION_ID": "e-sub",
    "AZURE_CLIENT_ID": "e-client",
    "AZURE_SECRET": "e-secret",
    "AZURE_TENANT": "e-tenant",
}
FILE = """[default]
subscription_id=f-sub
client_id=f-client
secret=f-100%secret
tenant=f-tenant
[china]
client_id=c-client
secret=c-secret
tenant=c-tenant
subscription_id=c-sub
cloud_environment=AzureChinaCloud
[plain]
client_id=p-client
secret=p-secret
tenant=p-tenant
subscription_id=
[halfway]
client_id=h-client
"""


@pytest.fixture
def home(tmp_path: Path) -> str:
    (tmp_path / ".azure").mkdir()
    (tmp_path / ".azure" / "credentials").write_text(FILE)
    return str(tmp_path)


def chosen(found: credentials.Login) -> tuple[str, str | None, str | None, str | None, str | None]:
    return found.way, found.client_id, found.secret, found.tenant, found.subscription_id


@pytest.mark.parametrize(
    ("options", "environ", "expected"),
    [
        # the options come first, and nothing of another source is mixed in
        (OPTIONS, AWX, ("secret", "o-client", "o-secret", "o-tenant", "o-sub")),
        # what AWX injects
        ({}, AWX, ("secret", "e-client", "e-secret", "e-tenant", "e-sub")),
        ({"subscription_id": "o-sub"}, AWX, ("secret", "e-client", "e-secret", "e-tenant", "o-sub")),
        # azure-identity's own names, as a fallback
        (
            {},
            {"AZURE_CLIENT_ID": "c", "AZURE_CLIENT_SECRET": "s", "AZURE_TENANT_ID": "t"},
            ("secret", "c", "s", "t", None),
        ),
        (
            {},
            AWX | {"AZURE_CLIENT_SECRET": "x", "AZURE_TENANT_ID": "y"},
            ("secret", "e-client", "e-secret", "e-tenant", "e-sub"),
        ),
        # empty text is no value
        (
            {"client_id": "", "auth_source": ""},
            AWX | {"AZURE_SECRET": "", "AZURE_CLIENT_SECRET": "s2"},
            ("secret", "e-client", "s2", "e-tenant", "e-sub"),
        ),
        (OPTIONS | {"auth_source": "env"}, AWX, ("secret", "e-client", "e-secret", "e-tenant", "o-sub")),
        # certificate and federated token
        (
            {"client_id": "c", "tenant": "t", "x509_certificate_path": "/c.pem"},
            {},
            ("certificate", "c", None, "t", None),
        ),
        (
            {},
            {"AZURE_CLIENT_ID": "c", "AZURE_TENANT_ID": "t", "AZURE_CLIENT_CERTIFICATE_PATH": "/c.pem"},
            ("certificate", "c", None, "t", None),
        ),
        (
            {},
            {"AZURE_CLIENT_ID": "c", "AZURE_TENANT_ID": "t", "AZURE_FEDERATED_TOKEN_FILE": "/token"},
            ("federated", "c", None, "t", None),
        ),
        (
            {"client_id": "c", "tenant": "t", "federated_token_file": "/token"},
            AWX,
            ("federated", "c", None, "t", "e-sub"),
        ),
        # AKS: the variables of the workload identity webhook
        (
            {},
            {
                "AZURE_CLIENT_ID": "c",
                "AZURE_TENANT_ID": "t",
                "AZURE_FEDERATED_TOKEN_FILE": "/token",
                "AZURE_AUTHORITY_HOST": "https://login.microsoftonline.com/",
            },
            ("federated", "c", None, "t", None),
        ),
        # a secret goes before a certificate, as in azure.azcollection
        (OPTIONS | {"x509_certificate_path": "/c.pem"}, {}, ("secret", "o-client", "o-secret", "o-tenant", "o-sub")),
        # asked for by name
        ({"auth_source": "msi"}, {}, ("msi", None, None, None, None)),
        ({"auth_source": "msi", "client_id": "u"}, {"AZURE_SUBSCRIPTION_ID": "s"}, ("msi", "u", None, None, "s")),
        ({}, {"ANSIBLE_AZURE_AUTH_SOURCE": "msi"}, ("msi", None, None, None, None)),
    ],
)
def test_sources(options: dict[str, Any], environ: dict[str, str], expected: tuple[Any, ...]) -> None:
    assert chosen(credentials.resolve(options, environ)) == expected


@pytest.mark.parametrize(
    ("options", "environ", "expected"),
    [
        ({}, {}, ("secret", "f-client", "f-100%secret", "f-tenant", "f-sub")),
        ({}, AWX, ("secret", "e-client", "e-secret", "e-tenant", "e-sub")),
        ({"auth_source": "credential_file"}, AWX, ("secret", "f-client", "f-100%secret", "f-tenant", "f-sub")),
        # who names a profile gets it whole, whatever the environment holds
        ({"profile": "china"}, AWX, ("secret", "c-client", "c-secret", "c-tenant", "c-sub")),
        ({"profile": "china"} | OPTIONS, AWX, ("secret", "c-client", "c-secret", "c-tenant", "o-sub")),
        # a profile named by the environment goes before its variables
        ({}, AWX | {"AZURE_PROFILE": "china"}, ("secret", "c-client", "c-secret", "c-tenant", "c-sub")),
        (
            {"auth_source": "env"},
            AWX | {"AZURE_PROFILE": "china"},
            ("secret", "c-client", "c-secret", "c-tenant", "c-sub"),
        ),
        (OPTIONS, AWX | {"AZURE_PROFILE": "china"}, ("secret", "o-client", "o-secret", "o-tenant", "o-sub")),
        # a subscription is no part of an identity
        ({"profile": "plain"}, AWX, ("secret", "p-client", "p-secret", "p-tenant", "e-sub")),
        (
            {"auth_source": "credential_file"},
            {"AZURE_PROFILE": "china"},
            ("secret", "c-client", "c-secret", "c-tenant", "c-sub"),
        ),
    ],
)
def test_credentials_file(
    home: str, options: dict[str, Any], environ: dict[str, str], expected: tuple[Any, ...]
) -> None:
    assert chosen(credentials.resolve(options, environ | {"HOME": home})) == expected


def test_profile_brings_its_cloud_unless_another_is_asked_for(home: str) -> None:
    found = credentials.resolve({"profile": "china"}, {"HOME": home})
    assert found.cloud.name == "AzureChinaCloud"
    asked = credentials.resolve({"profile": "china", "cloud_environment": "AzureUSGovernment"}, {"HOME": home})
    assert asked.cloud.name == "AzureUSGovernment"
    assert credentials.resolve({}, AWX | {"AZURE_CLOUD_ENVIRONMENT": "AzureChinaCloud"}).cloud.name == "AzureChinaCloud"


@pytest.mark.parametrize(
    ("options", "environ", "reason", "word"),
    [
        ({}, {}, "credentials_missing", "auto"),
        ({"auth_source": "env"}, {}, "credentials_missing", "env"),
        ({"auth_source": "env"}, {"AZURE_CLIENT_ID": ""}, "credentials_missing", "env"),
        ({"client_id": "c", "secret": "s"}, AWX, "credentials_missing", "tenant"),
        ({"client_id": "c", "tenant": "t"}, AWX, "credentials_missing", "secret"),
        ({"auth_source": "best"}, {}, "invalid_input", "best"),
        ({}, {"ANSIBLE_AZURE_AUTH_SOURCE": "best"}, "invalid_input", "best"),
        (OPTIONS | {"cloud_environment": "AzureGermanCloud"}, {}, "invalid_input", "2021"),
        (OPTIONS, {"AZURE_CLOUD_ENVIRONMENT": "AzureGermanCloud"}, "invalid_input", "2021"),
        ({"ad_user": "u"}, {"AZURE_PASSWORD": "e"}, "credentials_missing", "password"),
        # nothing is put together from two sources, and nothing that was given is ignored in silence
        ({"secret": "s"}, AWX, "credentials_missing", "secret"),
        ({"password": "s"}, AWX, "credentials_missing", "password"),
        ({"federated_token_file": "/t"}, AWX, "credentials_missing", "federated_token_file"),
        ({"tenant": "o-tenant"}, AWX, "credentials_missing", "o-tenant"),
        ({"auth_source": "cli"}, AWX | {"PATH": "/nowhere"}, "credentials_missing", "az"),
        ({"auth_source": "msi", "client_id": "c", "msi_object_id": "o"}, {}, "invalid_input", "msi_object_id"),
        ({"auth_source": "msi", "msi_object_id": "o", "msi_resource_id": "r"}, {}, "invalid_input", "msi_resource_id"),
        (OPTIONS | {"api_profile": "2019-03-01-hybrid"}, {}, "invalid_input", "latest"),
        (OPTIONS | {"cert_validation_mode": "ignore"}, {}, "tls_verification_required", "ignore"),
        (OPTIONS, {"AZURE_CERT_VALIDATION_MODE": "ignore"}, "tls_verification_required", "ignore"),
        (OPTIONS, {"AZURE_CERT_VALIDATION": "Ignore"}, "tls_verification_required", "ignore"),
        (OPTIONS, {"AZURE_CERT_VALIDATION": "perhaps"}, "invalid_input", "perhaps"),
        (OPTIONS, {"AZURE_DISABLE_INSTANCE_DISCOVERY": "perhaps"}, "invalid_input", "perhaps"),
        (OPTIONS | {"adfs_authority_url": "http://adfs.example/adfs"}, {}, "invalid_input", "adfs_authority_url"),
        (OPTIONS, {"AZURE_AUTHORITY_HOST": "http://login.example"}, "invalid_input", "AZURE_AUTHORITY_HOST"),
        (OPTIONS | {"cloud_environment": "http://m.example"}, {}, "invalid_input", "https"),
    ],
)
def test_what_cannot_log_in(options: dict[str, Any], environ: dict[str, str], reason: str, word: str) -> None:
    with pytest.raises(SkrFailure) as caught:
        credentials.resolve(options, environ)
    assert caught.value.reason == reason and word in caught.value.message


@pytest.mark.parametrize("profile", ["absent", "halfway"])
def test_profile_that_gives_no_login_falls_back_to_nothing(home: str, profile: str) -> None:
    """A typing error in the profile's name must not end as another identity."""
    with pytest.raises(SkrFailure) as caught:
        credentials.resolve({"profile": profile}, AWX | {"HOME": home})
    assert caught.value.reason == "credentials_missing"


def test_damaged_credentials_file_is_named(home: str) -> None:
    (Path(home) / ".azure" / "credentials").write_text("client_id = without section, secret")
    with pytest.raises(SkrFailure) as caught:
        credentials.resolve({}, {"HOME": home})
    assert caught.value.reason == "credentials_missing" and ".azure/credentials" in caught.value.message
    assert "secret" not in caught.value.message


def test_secret_is_in_no_text() -> None:
    made = login(password="never-shown", certificate_password="never-shown")
    assert "never-shown" not in repr(made) and "never-shown" not in str(made)
    assert "never-shown" not in repr(clients.Connection(made))


def test_library_that_is_not_there_is_named_with_its_interpreter() -> None:
    found = credentials.library_missing("azure-identity")
    assert found.reason == "library_missing"
    assert "azure-identity" in found.message and sys.executable in found.message


def test_nothing_of_azure_is_imported_before_it_is_needed() -> None:
    """Argument errors, check of options and documentation must work where no SDK is installed."""
    package = "ansible_collections.confidential.azure_skr.plugins.module_utils.azure"
    script = (
        f"import sys\nfrom {package} import access, arguments, clients, credentials, identity, key, vault\n"
        f"clients.connection({OPTIONS!r}, {{}})\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('azure', 'msal', 'requests', 'cryptography', 'ansible')])"
    )
    path = str(Path(__file__).resolve().parents[3] / ".collections")
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env={"PYTHONPATH": path}, check=False
    )
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_missing_sdk_is_reported_by_every_client() -> None:
    """With the SDK hidden, each accessor names the package it lacks."""
    package = "ansible_collections.confidential.azure_skr.plugins.module_utils"
    script = f"""
import sys
class Hide:
    def find_spec(self, name, path=None, target=None):
        if name == "azure" or name.startswith("azure."):
            raise ImportError(name)
sys.meta_path.insert(0, Hide())
from {package}.azure import clients
from {package}.policy.failure import SkrFailure
made = clients.connection({OPTIONS!r}, {{}})
def enter():
    with clients.errors("x"):
        pass
for call in (lambda: made.credential, lambda: made.compute, lambda: made.vaults, lambda: made.get('/x', '1', 'x'),
             lambda: made.keys("https://v.vault.azure.net"), enter):
    try:
        call()
    except SkrFailure as failure:
        print(failure.reason, failure.facts["package"])
"""
    path = str(Path(__file__).resolve().parents[3] / ".collections")
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env={"PYTHONPATH": path}, check=False
    )
    assert done.stdout.split("\n")[:-1] == [
        f"library_missing {name}"
        for name in (
            "azure-identity",
            "azure-mgmt-compute",
            "azure-mgmt-keyvault",
            "azure-mgmt-core",
            "azure-keyvault-keys",
            "azure-core",
        )
    ], done.stdout + done.stderr
