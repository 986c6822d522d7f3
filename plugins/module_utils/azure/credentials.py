# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which identity calls Azure: the options and environment variables that azure.azcollection and AWX users know.

Order of ``auto``: options, environment, credentials file, Azure CLI. Sources are not mixed. Empty text counts as unset,
because AWX injects variables for fields nobody filled.
"""

from __future__ import annotations

import configparser
import dataclasses
import os
import sys
import typing as t

from ..policy.failure import SkrFailure
from . import cloud as clouds

FIELDS = (
    "subscription_id", "client_id", "secret", "tenant", "x509_certificate_path", "cloud_environment",
)  # fmt: skip
# First the names of azure.azcollection and AWX, then azure-identity's own.
ENVIRONMENT = {
    "subscription_id": ("AZURE_SUBSCRIPTION_ID",),
    "client_id": ("AZURE_CLIENT_ID",),
    "secret": ("AZURE_SECRET", "AZURE_CLIENT_SECRET"),
    "tenant": ("AZURE_TENANT", "AZURE_TENANT_ID"),
    "x509_certificate_path": ("AZURE_X509_CERTIFICATE_PATH", "AZURE_CLIENT_CERTIFICATE_PATH"),
    "cloud_environment": ("AZURE_CLOUD_ENVIRONMENT",),
}
SOURCES = ("auto", "env", "credential_file", "cli", "msi")


@dataclasses.dataclass(frozen=True)
class Login:
    """What was found: which way to log in, and the fields it needs. ``repr`` shows no secret."""

    way: str  # "secret", "certificate", "federated", "msi", "cli"
    cloud: clouds.Cloud
    subscription_id: t.Optional[str]
    tenant: t.Optional[str] = None
    client_id: t.Optional[str] = None
    secret: t.Optional[str] = dataclasses.field(default=None, repr=False)
    certificate_path: t.Optional[str] = None


def resolve(options: t.Mapping[str, t.Any], environ: t.Mapping[str, str]) -> Login:
    """Find the login for a module's options. Raises SkrFailure ``credentials_missing`` or ``invalid_input``."""
    source = _set(options.get("auth_source")) or _set(environ.get("ANSIBLE_AZURE_AUTH_SOURCE")) or "auto"
    if source not in SOURCES:
        raise SkrFailure(
            "invalid_input",
            f"auth_source is {source!r}, wanted one of {', '.join(SOURCES)}.",
            {"option": "auth_source"},
        )
    given = {name: _set(options.get(name)) for name in FIELDS}
    env = {name: next((v for key in keys if (v := _set(environ.get(key)))), None) for name, keys in ENVIRONMENT.items()}
    cloud = clouds.find(given["cloud_environment"] or env["cloud_environment"] or "AzureCloud")
    subscription = given["subscription_id"] or env["subscription_id"]
    if source in ("msi", "cli"):
        return Login(
            source,
            cloud,
            subscription,
            client_id=given["client_id"] or env["client_id"],
            tenant=given["tenant"] or env["tenant"],
        )
    if source == "auto" and _set(options.get("profile")):
        source = "credential_file"  # who names a profile gets that one and no other
    if source == "auto" and given["client_id"]:
        return _complete(given, cloud, subscription, "the options")
    if source in ("auto", "env") and env["client_id"]:
        federated = _set(environ.get("AZURE_FEDERATED_TOKEN_FILE"))
        return _complete(env, cloud, subscription, "the environment", federated)
    profile = _set(options.get("profile")) or _set(environ.get("AZURE_PROFILE"))
    if source in ("auto", "credential_file"):
        stored = _stored(profile or "default", environ)
        if stored.get("client_id"):
            if stored.get("cloud_environment") and not (given["cloud_environment"] or env["cloud_environment"]):
                cloud = clouds.find(str(stored["cloud_environment"]))
            return _complete(stored, cloud, subscription or stored.get("subscription_id"), "the credentials file")
    if source == "auto" and os.path.isdir(os.path.join(environ.get("HOME", "/nonexistent"), ".azure")):
        return Login("cli", cloud, subscription)
    raise SkrFailure(
        "credentials_missing",
        f"There is no Azure credential in the place asked for (auth_source {source}).",
        {"auth_source": source},
    )


def _complete(
    found: t.Mapping[str, t.Optional[str]],
    cloud: clouds.Cloud,
    subscription: t.Optional[str],
    where: str,
    federated: t.Optional[str] = None,
) -> Login:
    tenant, client = found.get("tenant"), found.get("client_id")
    way = (
        "secret"
        if found.get("secret")
        else "certificate"
        if found.get("x509_certificate_path")
        else "federated"
        if federated
        else ""
    )
    missing = [name for name, value in (("tenant", tenant), ("secret or x509_certificate_path", way)) if not value]
    if missing:
        raise SkrFailure(
            "credentials_missing",
            f"client_id comes from {where}, but {missing[0]} is missing there.",
            {"missing": missing},
        )
    path = federated if way == "federated" else found.get("x509_certificate_path")
    return Login(way, cloud, subscription, tenant, client, found.get("secret"), path)


def _set(value: t.Any) -> t.Optional[str]:
    return str(value) if value not in (None, "") else None


def _stored(profile: str, environ: t.Mapping[str, str]) -> t.Dict[str, t.Optional[str]]:
    parser = configparser.ConfigParser(interpolation=None)
    path = os.path.join(environ.get("HOME", "/nonexistent"), ".azure", "credentials")
    try:
        parser.read(path, encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError):
        raise SkrFailure("credentials_missing", f"{path} is not a valid INI file.", {"path": path}) from None
    return {name: _set(value) for name, value in parser[profile].items()} if parser.has_section(profile) else {}


def credential(login: Login, transport: t.Mapping[str, t.Any]) -> t.Any:
    """The azure-identity object of a login. ``transport`` carries proxies and the CA bundle."""
    try:
        from azure import identity
    except ImportError as error:
        raise library_missing("azure-identity") from error
    try:
        return _made(identity, login, {"authority": login.cloud.authority, **transport})
    except (ValueError, OSError) as error:  # a malformed tenant, an unreadable certificate; the text may quote either
        raise SkrFailure(
            "credentials_missing",
            f"The {login.way} credential cannot be used ({type(error).__name__}): check tenant"
            + (f" and the file {login.certificate_path}." if login.certificate_path else "."),
            {"way": login.way, "file": login.certificate_path},
        ) from error


def _made(identity: t.Any, login: Login, common: t.Dict[str, t.Any]) -> t.Any:
    if login.way == "secret":
        return identity.ClientSecretCredential(
            login.tenant, login.client_id, login.secret, disable_instance_discovery=True, **common
        )
    if login.way == "certificate":
        return identity.CertificateCredential(
            login.tenant, login.client_id, login.certificate_path, disable_instance_discovery=True, **common
        )
    if login.way == "federated":
        return identity.WorkloadIdentityCredential(
            tenant_id=login.tenant, client_id=login.client_id, token_file_path=login.certificate_path, **common
        )
    if login.way == "msi":
        return identity.ManagedIdentityCredential(client_id=login.client_id)
    return identity.AzureCliCredential(tenant_id=login.tenant or "")


def library_missing(package: str) -> SkrFailure:
    return SkrFailure(
        "library_missing",
        f"The Python package {package} is not installed for {sys.executable}.",
        {"package": package, "interpreter": sys.executable},
    )
