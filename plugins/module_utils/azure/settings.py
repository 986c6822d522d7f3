# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options, environment variables and keys of the credentials file: one table, and how each is read.

The names are those of azure.azcollection and AWX; azure-identity's own names are a fallback. Empty text counts as
unset everywhere, because AWX injects variables for fields that nobody filled.
"""

from __future__ import annotations

import configparser
import json
import os
import shutil
import typing as t

from ..policy.failure import SkrFailure
from . import cloud as clouds

Values = t.Dict[str, t.Optional[str]]


class Setting(t.NamedTuple):
    """Where one option is read from when it is not given."""

    environment: t.Tuple[str, ...] = ()  # in this order
    in_file: bool = False  # also a key of the credentials file, under the option's name
    identity: bool = False  # part of an identity: never mixed between sources
    secret: bool = False  # must be seen nowhere


SETTINGS: t.Dict[str, Setting] = {
    "auth_source": Setting(("ANSIBLE_AZURE_AUTH_SOURCE",)),
    "profile": Setting(("AZURE_PROFILE",)),
    "subscription_id": Setting(("AZURE_SUBSCRIPTION_ID",), in_file=True),
    "tenant": Setting(("AZURE_TENANT", "AZURE_TENANT_ID"), in_file=True, identity=True),
    "client_id": Setting(("AZURE_CLIENT_ID",), in_file=True, identity=True),
    "secret": Setting(("AZURE_SECRET", "AZURE_CLIENT_SECRET"), in_file=True, identity=True, secret=True),
    "x509_certificate_path": Setting(
        ("AZURE_X509_CERTIFICATE_PATH", "AZURE_CLIENT_CERTIFICATE_PATH"), in_file=True, identity=True
    ),
    "x509_certificate_password": Setting(
        ("AZURE_CLIENT_CERTIFICATE_PASSWORD",), in_file=True, identity=True, secret=True
    ),
    "thumbprint": Setting(("AZURE_THUMBPRINT",), in_file=True, identity=True),
    "federated_token_file": Setting(("AZURE_FEDERATED_TOKEN_FILE",), in_file=True, identity=True),
    "ad_user": Setting(("AZURE_AD_USER", "AZURE_USERNAME"), in_file=True, identity=True),
    "password": Setting(("AZURE_PASSWORD",), in_file=True, identity=True, secret=True),
    "msi_object_id": Setting(),
    "msi_resource_id": Setting(),
    "cloud_environment": Setting(("AZURE_CLOUD_ENVIRONMENT",), in_file=True),
    "adfs_authority_url": Setting(("AZURE_ADFS_AUTHORITY_URL",), in_file=True),
    # azure.azcollection documents the second name and reads the first.
    "cert_validation_mode": Setting(("AZURE_CERT_VALIDATION_MODE", "AZURE_CERT_VALIDATION"), in_file=True),
    "disable_instance_discovery": Setting(("AZURE_DISABLE_INSTANCE_DISCOVERY",), in_file=True),
    "api_profile": Setting(),
    "log_mode": Setting(),
    "log_path": Setting(),
}
# azure-identity's own. It counts where neither a cloud nor an authority is named, since both say more.
AUTHORITY_HOST = "AZURE_AUTHORITY_HOST"
# Read by azure-core and requests themselves; listed here for the messages and the documentation.
PROXY_VARIABLES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")
BUNDLE_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")

_YES, _NO = ("true", "yes", "on", "1", "t", "y"), ("false", "no", "off", "0", "f", "n")


def text(value: t.Any) -> t.Optional[str]:
    """The value as text; None for nothing and for empty text."""
    return str(value) if value is not None and str(value).strip() else None


def from_options(options: t.Mapping[str, t.Any]) -> Values:
    return {name: text(options.get(name)) for name in SETTINGS}


def from_environment(environ: t.Mapping[str, str]) -> Values:
    return {name: variable(environ, setting.environment) for name, setting in SETTINGS.items()}


def variable(environ: t.Mapping[str, str], names: t.Sequence[str]) -> t.Optional[str]:
    """The first of these variables that is set to more than empty text."""
    return next((found for name in names if (found := text(environ.get(name)))), None)


def credentials_file(environ: t.Mapping[str, str]) -> str:
    return os.path.join(home(environ), ".azure", "credentials")


def home(environ: t.Mapping[str, str]) -> str:
    return environ.get("HOME") or "/nonexistent"


def from_file(profile: str, environ: t.Mapping[str, str]) -> Values:
    """A section of the credentials file, its values taken as they stand. Raises SkrFailure ``credentials_missing``."""
    path = credentials_file(environ)
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(path, encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError, OSError):
        # The parser's own text quotes the line, which may hold a secret.
        raise SkrFailure(
            "credentials_missing",
            f"{path} cannot be read as an INI file.",
            {"path": path},
            next_step="Correct the file.",
        ) from None
    section = parser[profile] if parser.has_section(profile) else {}
    return {name: text(section.get(name)) for name, setting in SETTINGS.items() if setting.in_file}


class CliAccount(t.NamedTuple):
    """An account that the Azure CLI has: its subscription, tenant and cloud."""

    subscription_id: str
    tenant: t.Optional[str]
    cloud: t.Optional[str]


def cli_account(environ: t.Mapping[str, str], subscription: t.Optional[str] = None) -> t.Optional[CliAccount]:
    """The account of this subscription, else the default one, of those that ``az login`` has left in azureProfile.json.

    None when nobody is signed in or the file cannot be read.
    """
    folder = environ.get("AZURE_CONFIG_DIR") or os.path.join(home(environ), ".azure")
    try:
        # az writes a byte order mark.
        with open(os.path.join(folder, "azureProfile.json"), encoding="utf-8-sig") as stream:
            found = json.load(stream)["subscriptions"]
        chosen = next((one for one in found if str(one["id"]).lower() == (subscription or "").lower()), None)
        chosen = chosen or next((one for one in found if one.get("isDefault")), found[0])
        return CliAccount(str(chosen["id"]), text(chosen.get("tenantId")), text(chosen.get("environmentName")))
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError):
        return None


def cli_is_installed(environ: t.Mapping[str, str]) -> bool:
    return shutil.which("az", path=environ.get("PATH") or os.defpath) is not None


def boolean(option: str, value: t.Optional[str], default: bool) -> bool:
    """Text as a truth value: the text "false" is false. Raises SkrFailure ``invalid_input``."""
    if value is None:
        return default
    if value.lower() not in _YES + _NO:
        names = ", ".join(SETTINGS[option].environment)
        raise SkrFailure(
            "invalid_input", f"{option} (or {names}) is {value!r}, wanted true or false.", {"option": option}
        )
    return value.lower() in _YES


def check_verification(value: t.Optional[str]) -> None:
    """Raises SkrFailure: this collection never switches the verification of certificates off."""
    if value is None or value.lower() == "validate":
        return
    if value.lower() == "ignore":
        raise SkrFailure(
            "tls_verification_required",
            "cert_validation_mode (or AZURE_CERT_VALIDATION_MODE) is ignore, wanted validate.",
            {"option": "cert_validation_mode"},
        )
    raise SkrFailure(
        "invalid_input",
        f"cert_validation_mode (or AZURE_CERT_VALIDATION_MODE) is {value!r}, wanted validate.",
        {"option": "cert_validation_mode"},
    )


def check_api_profile(value: t.Optional[str]) -> None:
    """Raises SkrFailure ``invalid_input``: the clients speak one generation of the services' interfaces."""
    if value not in (None, "latest"):
        raise SkrFailure("invalid_input", f"api_profile is {value!r}, wanted latest.", {"option": "api_profile"})


def authority_host(environ: t.Mapping[str, str]) -> t.Optional[str]:
    """azure-identity's variable as a URL; it may be a host name alone. Raises SkrFailure ``invalid_input``."""
    found = text(environ.get(AUTHORITY_HOST))
    return authority_url(AUTHORITY_HOST, found) if found else None


def authority_url(option: str, value: str) -> str:
    return clouds.https_url(option, value if "://" in value else f"https://{value}")
