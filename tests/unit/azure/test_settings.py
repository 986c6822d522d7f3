# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole table of options: each from the option, from each of its variables and from the credentials file."""

from __future__ import annotations

import json
import re
import stat
import warnings
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.confidential.azure_skr.plugins.doc_fragments.azure import ModuleDocFragment
from ansible_collections.confidential.azure_skr.plugins.module_utils.azure import credentials, settings
from ansible_collections.confidential.azure_skr.plugins.module_utils.azure.arguments import azure_argument_spec
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.failure import SkrFailure, SkrWarning

ROOT = Path(__file__).resolve().parents[3]
_SECRET = {"client_id": "c", "secret": "s", "tenant": "t"}
_CERTIFICATE = {"client_id": "c", "tenant": "t", "x509_certificate_path": "/c.pem"}
_USER = {"ad_user": "u", "password": "p"}
# option: what else its source holds, the value, the member of Login that shows it, and what that is then
CASES: dict[str, tuple[dict[str, str], str, str, Any]] = {
    "subscription_id": (_SECRET, "value", "subscription_id", "value"),
    "tenant": (_SECRET, "value", "tenant", "value"),
    "client_id": (_SECRET, "value", "client_id", "value"),
    "secret": (_SECRET, "100%value", "secret", "100%value"),
    "x509_certificate_path": (_CERTIFICATE, "/value", "certificate_path", "/value"),
    "x509_certificate_password": (_CERTIFICATE, "value", "certificate_password", "value"),
    "thumbprint": (_CERTIFICATE, "value", "way", "certificate"),
    "federated_token_file": ({"client_id": "c", "tenant": "t"}, "/value", "token_file", "/value"),
    "ad_user": (_USER, "value", "user", "value"),
    "password": (_USER, "value", "password", "value"),
    "cloud_environment": (_SECRET, "AzureUSGovernment", "scope", "https://management.core.usgovcloudapi.net/.default"),
    "adfs_authority_url": (_SECRET, "https://adfs.example/adfs/", "authority", "https://adfs.example/adfs"),
    "cert_validation_mode": (_SECRET, "validate", "way", "secret"),
    "disable_instance_discovery": (_SECRET, "false", "disable_instance_discovery", False),
}
OPTION = [(name, "option") for name in CASES]
VARIABLES = [(name, variable) for name in CASES for variable in settings.SETTINGS[name].environment]
IN_FILE = [(name, "file") for name in CASES if settings.SETTINGS[name].in_file]


def put(source: str, values: dict[str, str], home: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Options and environment that hold the values in one source; the name of a variable puts the value there."""
    environ = {"HOME": str(home), "PATH": "/nowhere"}
    if source == "option":
        return values, environ
    if source == "file":
        (home / ".azure").mkdir(exist_ok=True)
        lines = ["[default]", *(f"{name}={value}" for name, value in values.items())]
        (home / ".azure" / "credentials").write_text("\n".join(lines))
        return {}, environ
    for name, value in values.items():
        names = settings.SETTINGS[name].environment
        environ[source if source in names else names[0]] = value
    return {}, environ


def resolve(options: dict[str, str], environ: dict[str, str]) -> credentials.Login:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SkrWarning)
        return credentials.resolve(options, environ)


@pytest.mark.parametrize(("name", "source"), OPTION + VARIABLES + IN_FILE)
def test_every_option_from_every_place(name: str, source: str, tmp_path: Path) -> None:
    others, value, member, wanted = CASES[name]
    found = resolve(*put(source, others | {name: value}, tmp_path))
    assert getattr(found.cloud if member == "scope" else found, member) == wanted


@pytest.mark.parametrize(("name", "source"), OPTION + VARIABLES + IN_FILE)
def test_empty_text_is_unset_in_every_place(name: str, source: str, tmp_path: Path) -> None:
    """As AWX leaves fields that nobody filled; the rest of the source stands."""
    others, value, member, wanted = CASES[name]
    options, environ = put(source, {key: text for key, text in others.items() if key != name} | {name: " "}, tmp_path)
    try:
        found = resolve(options, environ)
    except SkrFailure as failure:
        assert failure.reason == "credentials_missing"
    else:
        assert getattr(found.cloud if member == "scope" else found, member) != wanted or member == "way"


@pytest.mark.parametrize("name", [name for name in CASES if settings.SETTINGS[name].environment])
def test_option_wins_over_variable_and_file(name: str, tmp_path: Path) -> None:
    others, value, member, wanted = CASES[name]
    _options, environ = put("file", others | {name: "https://file.example"}, tmp_path)
    _options, more = put("environment", others | {name: "https://environment.example"}, tmp_path)
    found = resolve(others | {name: value}, environ | more)
    assert getattr(found.cloud if member == "scope" else found, member) == wanted


TWICE = [
    (name, *one.environment[:2])
    for name, one in settings.SETTINGS.items()
    if len(one.environment) > 1 and name in CASES
]


@pytest.mark.parametrize(("name", "first", "second"), TWICE)
def test_azure_azcollections_name_goes_first(name: str, first: str, second: str, tmp_path: Path) -> None:
    others, value, member, wanted = CASES[name]
    _options, environ = put(first, others | {name: value}, tmp_path)
    assert getattr(resolve({}, environ | {second: "/another"}), member) == wanted


@pytest.mark.parametrize("name", [name for name, setting in settings.SETTINGS.items() if setting.identity])
def test_identities_are_not_mixed(name: str, tmp_path: Path) -> None:
    """A field of an identity in the environment never completes one that the options begin."""
    if name not in CASES or name == "thumbprint":
        assert name == "thumbprint"  # needed by nothing
        return
    others, value, member, wanted = CASES[name]
    begun = {key: text for key, text in others.items() if key != name}
    _options, environ = put("environment", {name: value}, tmp_path)
    try:
        found = resolve(begun, environ)
    except SkrFailure as failure:
        assert failure.reason == "credentials_missing"
    else:
        assert getattr(found, member) != wanted


def test_table_is_the_spec_and_the_documentation() -> None:
    spec = azure_argument_spec()
    assert set(settings.SETTINGS) | {"https_proxy", "ca_path"} == set(spec)
    assert {name for name, setting in settings.SETTINGS.items() if setting.secret} | {"https_proxy"} == {
        name for name, option in spec.items() if option.get("no_log")
    }
    documented = yaml.safe_load(ModuleDocFragment.DOCUMENTATION)["options"]
    assert set(documented) == set(spec)
    page = (ROOT / "docs" / "credentials.md").read_text()
    for name, option in spec.items():
        assert documented[name]["type"] == option["type"]
        assert documented[name].get("choices") == option.get("choices")
        told = " ".join(documented[name]["description"])
        variables = settings.SETTINGS[name].environment if name in settings.SETTINGS else ()
        row = next((line for line in page.splitlines() if line.startswith(f"| `{name}`")), "")
        assert row, name
        for variable in variables:
            assert f"E({variable})" in told and f"`{variable}`" in row, variable
        if name in settings.SETTINGS:
            assert ("same" in row.split("|")[3]) is settings.SETTINGS[name].in_file, row
    mentioned = set(re.findall(r"E\((\w+)\)", ModuleDocFragment.DOCUMENTATION))
    known = {variable for setting in settings.SETTINGS.values() for variable in setting.environment}
    others = {"AZURE_AUTHORITY_HOST", "AZURE_HTTP_USER_AGENT", "HTTPS_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE"}
    assert mentioned == known | others


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (None, True),
        (True, True),
        (False, False),
        ("False", False),
        ("no", False),
        ("0", False),
        ("yes", True),
        ("1", True),
    ],
)
def test_instance_discovery_is_parsed(value: Any, wanted: bool) -> None:
    """The text "false" is not true because it is text."""
    found = credentials.resolve(_SECRET | {"disable_instance_discovery": value}, {})
    assert found.disable_instance_discovery is wanted


# --- clouds and authorities


@pytest.mark.parametrize(
    ("options", "environ", "name", "authority"),
    [
        ({}, {}, "AzureCloud", None),
        ({}, {"AZURE_AUTHORITY_HOST": "https://login.microsoftonline.com/"}, "AzureCloud", None),
        # a known authority tells the cloud, another one only where to sign in
        ({}, {"AZURE_AUTHORITY_HOST": "login.microsoftonline.us"}, "AzureUSGovernment", None),
        ({}, {"AZURE_AUTHORITY_HOST": "login.example"}, "AzureCloud", "https://login.example"),
        # a named cloud or authority says more
        ({}, {"AZURE_AUTHORITY_HOST": "login.example", "AZURE_CLOUD_ENVIRONMENT": "AzureChinaCloud"}, "AzureChinaCloud", None),
        ({"cloud_environment": "AzureCloud"}, {"AZURE_AUTHORITY_HOST": "login.microsoftonline.us"}, "AzureCloud", None),
        (
            {"adfs_authority_url": "https://adfs.example/adfs"},
            {"AZURE_AUTHORITY_HOST": "login.microsoftonline.us"},
            "AzureCloud",
            "https://adfs.example/adfs",
        ),
        ({"cloud_environment": "https://Management.example/"}, {}, "https://management.example", None),
    ],
)  # fmt: skip
def test_cloud_and_authority(
    options: dict[str, str], environ: dict[str, str], name: str, authority: str | None
) -> None:
    found = credentials.resolve(_SECRET | options, environ)
    assert (found.cloud.name, found.authority) == (name, authority)


def test_tenant_is_not_needed_with_adfs() -> None:
    login = {"client_id": "c", "secret": "s"}
    assert credentials.resolve(login | {"adfs_authority_url": "https://a.example/adfs"}, {}).tenant is None
    # what a cloud's own metadata say is known later
    assert credentials.resolve(login | {"cloud_environment": "https://m.example"}, {}).tenant is None
    with pytest.raises(SkrFailure):
        credentials.resolve(login, {})


# --- managed identity, user, Azure CLI


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({}, ("e-client", None, None)),
        ({"client_id": "o"}, ("o", None, None)),
        ({"msi_object_id": "o"}, (None, "o", None)),
        ({"msi_resource_id": "r"}, (None, None, "r")),
    ],
)
def test_managed_identity_is_named_in_one_way(options: dict[str, str], wanted: tuple[str | None, ...]) -> None:
    found = credentials.resolve(options | {"auth_source": "msi"}, {"AZURE_CLIENT_ID": "e-client", "AZURE_SECRET": "s"})
    assert (found.client_id, found.object_id, found.resource_id) == wanted and found.secret is None


def test_user_has_the_clis_client_and_any_tenant_and_is_warned() -> None:
    with pytest.warns(SkrWarning, match="deprecated"):
        found = credentials.resolve({}, {"AZURE_AD_USER": "u", "AZURE_PASSWORD": "p", "AZURE_SUBSCRIPTION_ID": "s"})
    assert (found.way, found.user, found.password) == ("user", "u", "p")
    assert (found.client_id, found.tenant) == ("04b07795-8ddb-461a-bbee-02f9e1bf7b46", "organizations")


def az(home: Path, document: Any = None) -> dict[str, str]:
    """An environment with a program az, and what its sign-in left."""
    program = home / "bin" / "az"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    (home / ".azure").mkdir()
    if document is not None:
        (home / ".azure" / "azureProfile.json").write_text(json.dumps(document), encoding="utf-8-sig")
    return {"HOME": str(home), "PATH": str(program.parent)}


ACCOUNTS = {
    "subscriptions": [
        {"id": "one", "tenantId": "t1", "environmentName": "AzureCloud"},
        {"id": "two", "tenantId": "t2", "environmentName": "AzureChinaCloud", "isDefault": True},
    ]
}


def test_cli_is_the_last_resort(tmp_path: Path) -> None:
    """Its default subscription and that subscription's cloud are taken; nothing is run for it."""
    environ = az(tmp_path, ACCOUNTS)
    found = credentials.resolve({}, environ)
    assert (found.way, found.subscription_id, found.tenant, found.cloud.name) == ("cli", "two", "t2", "AzureChinaCloud")
    assert credentials.resolve({"subscription_id": "x"}, environ).subscription_id == "x"
    other = credentials.resolve({"subscription_id": "ONE"}, environ)
    assert (other.subscription_id, other.tenant, other.cloud.name) == ("ONE", "t1", "AzureCloud")
    assert credentials.resolve({}, environ | {"AZURE_SUBSCRIPTION_ID": "e"}).subscription_id == "e"
    assert credentials.resolve({"cloud_environment": "AzureCloud"}, environ).cloud.name == "AzureCloud"
    elsewhere = environ | {"HOME": "/nowhere", "AZURE_CONFIG_DIR": str(tmp_path / ".azure")}
    assert credentials.resolve({"tenant": "t"}, elsewhere).tenant == "t"


@pytest.mark.parametrize("document", [None, {}, {"subscriptions": []}, {"subscriptions": [1]}, []])
def test_cli_without_a_sign_in(tmp_path: Path, document: Any) -> None:
    """``auto`` then finds nothing; who asks for the CLI gets it, and its own error."""
    environ = az(tmp_path, document)
    with pytest.raises(SkrFailure) as caught:
        credentials.resolve({}, environ)
    assert caught.value.reason == "credentials_missing"
    found = credentials.resolve({"auth_source": "cli"}, environ)
    assert (found.way, found.subscription_id) == ("cli", None)


def test_sign_in_without_the_program_is_none(tmp_path: Path) -> None:
    environ = az(tmp_path, ACCOUNTS) | {"PATH": "/nowhere"}
    with pytest.raises(SkrFailure):
        credentials.resolve({}, environ)
