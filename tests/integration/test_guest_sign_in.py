# SPDX-License-Identifier: GPL-3.0-or-later
"""A VM without a managed identity releases a key as an application: by secret, certificate and federated token."""

from __future__ import annotations

import base64
import datetime
import json
from pathlib import Path
from typing import Any

import labkit
import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from integration.site import Site
from labkit import Lab

SUBJECT = "system:serviceaccount:web:web"


class Application:
    """The lab's operator, as an application that may release the site's key."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        azure = lab.azure()
        self.lab, self.folder, self.secret = lab, folder, azure["secret"]
        self.options = {"tenant": azure["tenant"], "client_id": azure["client_id"]}
        self.site = Site(lab)
        form = {"client_id": azure["client_id"], "client_secret": self.secret, "grant_type": "client_credentials"}
        answer = requests.post(
            f"https://login.microsoftonline.com/{azure['tenant']}/oauth2/v2.0/token",
            data={**form, "scope": "https://vault.azure.net/.default"},
            proxies={"https": azure["https_proxy"]},
            verify=azure["ca_path"],
            timeout=20,
        ).json()
        body = answer["access_token"].split(".")[1]
        self.object_id = json.loads(base64.urlsafe_b64decode(body + "=="))["oid"]
        assert self.site.grant(principals=[self.object_id])["changed"]

    def file(self, name: str, content: str, mode: int = 0o600) -> str:
        path = self.folder / name
        path.touch()
        path.chmod(mode)
        path.write_text(content)
        return str(path)

    def release(self, source: str = "service_principal", /, **options: Any) -> dict[str, Any]:
        """A release that asks the metadata service for no token, and whose result has no secret."""
        mark = self.lab.mark
        result = self.site.release(identity_source=source, **{**self.options, **options})
        assert self.lab.audit(mark, operation="imds_token") == []
        assert self.secret not in json.dumps(result)
        return result

    def released(self, *words: Any, **options: Any) -> dict[str, Any]:
        mark = self.lab.mark
        result = self.release(*words, **options)
        assert not result.get("failed"), result
        (record,) = self.lab.audit(mark, operation="key_release")
        assert record["principal"] == self.object_id
        return result


@pytest.fixture(scope="module")
def application(shared_lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Application:
    return Application(shared_lab, tmp_path_factory.mktemp("application"))


def refused(result: dict[str, Any], reason: str, *words: str) -> None:
    assert result.get("failed") and result["reason"] == reason, result
    for word in words:
        assert word in result["msg"], (word, result["msg"])


def test_secret_in_a_file(local_lab: Lab, application: Application) -> None:
    path = application.file("secret", application.secret + "\n")
    assert application.released(client_secret_file=path)["changed"]
    assert not application.released(client_secret_file=path)["changed"]
    open_to_all = application.file("open", application.secret, 0o644)
    refused(application.release(client_secret_file=open_to_all), "invalid_input", "client_secret_file", "0644")


def test_secret_in_the_environment(local_lab: Lab, application: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    refused(application.release(), "invalid_input", "AZURE_CLIENT_SECRET")
    clean = labkit.environment()
    monkeypatch.setattr(labkit, "environment", lambda: {**clean, "AZURE_CLIENT_SECRET": application.secret})
    application.released()


def test_what_entra_refuses(local_lab: Lab, application: Application) -> None:
    wrong, right = application.file("wrong", "sentinel-wrong-secret"), application.file("right", application.secret)
    result = application.release(client_secret_file=wrong)
    refused(result, "client_secret_refused", "AADSTS7000215", "value (not its id)")
    assert "sentinel-wrong-secret" not in json.dumps(result)
    elsewhere = "00000000-0000-4000-8000-000000000000"
    refused(application.release(client_secret_file=right, tenant=elsewhere), "tenant_unknown", "AADSTS90002")
    refused(application.release(client_secret_file=right, client_id=elsewhere), "application_unknown", "AADSTS700016")
    mark = local_lab.mark
    with local_lab.fault("html", service="entra", operation="token_v2"):
        refused(application.release(client_secret_file=right), "service_error", "login.microsoftonline.com")
    # Nothing was asked of the vault with what never came.
    assert local_lab.audit(mark, service="keyvault") == []
    with local_lab.fault("status", service="entra", operation="token_v2", times=1, code=503):
        application.released(client_secret_file=right)


def test_sign_in_host_of_another_cloud(local_lab: Lab, application: Application) -> None:
    """The public cloud's vault is unknown to the government's directory."""
    path = application.file("government", application.secret)
    result = application.release(client_secret_file=path, authority_host="https://login.microsoftonline.us")
    refused(result, "audience_unknown", "AADSTS500011")
    application.released(client_secret_file=path, authority_host="login.windows.net")


def test_certificate(local_lab: Lab, application: Application) -> None:
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
    public = made.public_bytes(serialization.Encoding.PEM).decode()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    path = application.file("application.pem", private + public)
    refused(application.release(client_certificate_file=path), "client_certificate_refused", "Register")
    local_lab.call("operator_trusts", certificate=public)
    result = application.released(client_certificate_file=path)
    assert private.splitlines()[3] not in json.dumps(result)


def test_workload_identity(local_lab: Lab, application: Application) -> None:
    """As AKS's webhook or another issuer leaves it; an expired token, another subject, no file."""
    local_lab.call("operator_trusts", subject=SUBJECT)
    path = application.file("token", "", 0o644)  # as it is mounted; it is short-lived

    def ask(**claims: Any) -> dict[str, Any]:
        token = local_lab.call("workload_token", **claims)
        Path(path).write_text(token)
        result = application.release("workload_identity", federated_token_file=path)
        assert token not in json.dumps(result)
        return result

    refused(ask(subject=SUBJECT, lifetime=-1), "assertion_time", "AADSTS700024", "renewed")
    refused(ask(subject="other"), "federation_refused", "AADSTS700213", "federated credentials")
    refused(
        application.release("workload_identity", federated_token_file="/nowhere/token"), "invalid_input", "/nowhere"
    )
    Path(path).write_text(local_lab.call("workload_token", subject=SUBJECT))
    application.released("workload_identity", federated_token_file=path)


def test_workload_identity_from_the_environment(
    local_lab: Lab, application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    local_lab.call("operator_trusts", subject=SUBJECT)
    path = application.file("projected", local_lab.call("workload_token", subject=SUBJECT), 0o644)
    clean = {
        **labkit.environment(),
        "AZURE_TENANT_ID": application.options["tenant"],
        "AZURE_CLIENT_ID": application.options["client_id"],
        "AZURE_FEDERATED_TOKEN_FILE": path,
        "AZURE_AUTHORITY_HOST": "https://login.microsoftonline.com/",
    }
    monkeypatch.setattr(labkit, "environment", lambda: clean)
    application.released("workload_identity", tenant=None, client_id=None)


def test_an_application_without_the_grant(local_lab: Lab, application: Application) -> None:
    path = application.file("granted", application.secret)
    other = Site(local_lab)
    result = other.release(identity_source="service_principal", client_secret_file=path, **application.options)
    refused(result, "permission_missing", application.object_id)
