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
        # asked for by name
        ({"auth_source": "msi"}, {}, ("msi", None, None, None, None)),
        ({"auth_source": "msi", "client_id": "u"}, {"AZURE_SUBSCRIPTION_ID": "s"}, ("msi", "u", None, None, "s")),
        ({}, {"ANSIBLE_AZURE_AUTH_SOURCE": "msi"}, ("msi", None, None, None, None)),
        ({"auth_source": "cli", "tenant": "t"}, AWX, ("cli", "e-client", None, "t", "e-sub")),
    ],
)
def test_sources(options: dict[str, Any], environ: dict[str, str], expected: tuple[Any, ...]) -> None:
    assert chosen(credentials.resolve(options, environ)) == expected


@pytest.mark.parametrize(
    ("options", "environ", "expected"),
    [
        ({}, {}, ("secret", "f-client", "f-100%secret", "f-tenant", "f-sub")),
        ({}, AWX, ("secret", "e-client", "e-secret", "e-tenant", "e-sub")),
        ({"auth_source": "credential_file"}, AWX, ("secret", "f-client", "f-100%secret", "f-tenant", "e-sub")),
        # who names a profile gets it, whatever the environment holds
        ({"profile": "china"}, AWX, ("secret", "c-client", "c-secret", "c-tenant", "e-sub")),
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


def test_cli_is_the_last_resort(tmp_path: Path) -> None:
    (tmp_path / ".azure").mkdir()
    assert credentials.resolve({}, {"HOME": str(tmp_path)}).way == "cli"


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
    assert "never-shown" not in repr(login()) and "never-shown" not in str(login())
    assert "never-shown" not in repr(clients.Connection(login()))


@pytest.mark.parametrize(
    ("way", "kind"),
    [
        ("secret", "ClientSecretCredential"),
        ("federated", "WorkloadIdentityCredential"),
        ("msi", "ManagedIdentityCredential"),
        ("cli", "AzureCliCredential"),
    ],
)
def test_login_becomes_a_credential(way: str, kind: str, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("x")
    path = str(token) if way == "federated" else None
    made = credentials.credential(login(way=way, certificate_path=path), {"connection_verify": "/ca.pem"})
    assert type(made).__name__ == kind


@pytest.mark.parametrize(
    "changes",
    [
        {"tenant": "not a tenant/../x"},
        {"way": "certificate", "secret": None, "certificate_path": "/nowhere/cert.pem"},
        {"way": "certificate", "secret": None, "certificate_path": "/etc/passwd"},
    ],
)
def test_login_that_the_library_refuses(changes: dict[str, Any]) -> None:
    with pytest.raises(SkrFailure) as caught:
        credentials.credential(login(**changes), {})
    assert caught.value.reason == "credentials_missing"
    assert "never-shown" not in str(caught.value.as_result()) and "root:" not in str(caught.value.as_result())
    if changes.get("certificate_path"):
        assert changes["certificate_path"] in caught.value.message


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
