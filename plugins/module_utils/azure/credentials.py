# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which identity calls Azure: the options and environment variables that azure.azcollection and AWX users know.

Order of ``auto``: the option profile, the options, the environment, the credentials file, the Azure CLI. An identity
comes whole from one of them. What is no part of an identity (subscription, cloud, authority) is taken from the options,
else from where the identity comes from, else from the environment.
"""

from __future__ import annotations

import dataclasses
import re
import sys
import typing as t
import warnings

from ..policy.failure import SkrFailure, SkrWarning
from . import cloud as clouds
from . import settings
from .settings import Values

SOURCES = ("auto", "cli", "env", "credential_file", "msi")
# The Azure CLI's own application, a public client of every tenant: azure.azcollection's default for users.
CLI_CLIENT = "04b07795-8ddb-461a-bbee-02f9e1bf7b46"
ANY_TENANT = "organizations"
_OPTIONS, _ENVIRONMENT = "the options", "the environment"
_PROOFS = ("secret", "x509_certificate_path", "federated_token_file")
_GUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_CLI_TIMEOUT = 60  # seconds; az may have to start a cold interpreter and refresh a token


@dataclasses.dataclass(frozen=True)
class Login:
    """What was found: which way to sign in, and the fields it needs. ``repr`` shows no secret."""

    way: str  # "secret", "certificate", "federated", "user", "msi", "cli"
    cloud: clouds.Cloud
    subscription_id: t.Optional[str]
    tenant: t.Optional[str] = None
    client_id: t.Optional[str] = None
    secret: t.Optional[str] = dataclasses.field(default=None, repr=False)
    certificate_path: t.Optional[str] = None
    certificate_password: t.Optional[str] = dataclasses.field(default=None, repr=False)
    token_file: t.Optional[str] = None
    user: t.Optional[str] = None
    password: t.Optional[str] = dataclasses.field(default=None, repr=False)
    object_id: t.Optional[str] = None  # of a managed identity
    resource_id: t.Optional[str] = None  # of a managed identity
    authority: t.Optional[str] = None  # in place of the cloud's
    # The authorities are of our own table or named by the user, and asking Microsoft's list about them would fail
    # wherever that list cannot be reached.
    disable_instance_discovery: bool = True


def resolve(options: t.Mapping[str, t.Any], environ: t.Mapping[str, str]) -> Login:
    """Find the login for a module's options.

    Raises SkrFailure ``credentials_missing``, ``invalid_input`` or ``tls_verification_required``.
    """
    given, env = settings.from_options(options), settings.from_environment(environ)
    settings.check_api_profile(given["api_profile"])
    source = given["auth_source"] or env["auth_source"] or "auto"
    if source not in SOURCES:
        raise SkrFailure(
            "invalid_input",
            f"auth_source is {source!r}, wanted one of {', '.join(SOURCES)}.",
            {"option": "auth_source"},
        )
    way, found, where = _find(source, given, env, environ)

    def setting(name: str) -> t.Optional[str]:
        return given[name] or found.get(name) or env[name]

    settings.check_verification(setting("cert_validation_mode"))
    subscription = setting("subscription_id")
    account = settings.cli_account(environ, subscription) if way == "cli" else None
    cloud, authority = _cloud(setting, environ, account)
    common: t.Dict[str, t.Any] = {
        "cloud": cloud,
        "authority": authority,
        "subscription_id": subscription or (account.subscription_id if account else None),
        "disable_instance_discovery": settings.boolean(
            "disable_instance_discovery", setting("disable_instance_discovery"), True
        ),
    }
    if way == "cli":
        return Login("cli", tenant=given["tenant"] or (account.tenant if account else None), **common)
    if way == "msi":
        return _managed(given, env, common)
    # An authority of AD FS has no tenants; of a cloud known by its URL alone that is not known yet.
    optional = not cloud.known or is_adfs(authority or cloud.authority)
    return _complete(found, common, where, optional)


def _find(source: str, given: Values, env: Values, environ: t.Mapping[str, str]) -> t.Tuple[str, Values, str]:
    """The way ("" for an application or user), the fields of the source, and the source's name in a sentence."""
    if source == "msi":
        return "msi", {}, ""
    if source == "cli":
        if not settings.cli_is_installed(environ):
            raise _nothing(source, "the program az is not on the PATH")
        return "cli", {}, ""
    profile = given["profile"]
    if source == "auto" and profile:
        source = "credential_file"  # who names a profile gets that one and no other
    if source == "auto" and _names_somebody(given):
        return "", given, _OPTIONS
    if source == "auto":
        _refuse_halves(given)
    if source in ("auto", "env"):
        if env["profile"]:
            source, profile = "credential_file", env["profile"]
        elif _names_somebody(env):
            _refuse_mixture(source, given, env, _ENVIRONMENT)
            return "", env, _ENVIRONMENT
    if source in ("auto", "credential_file"):
        profile = profile or env["profile"]
        where = f"the profile {profile or 'default'} in {settings.credentials_file(environ)}"
        stored = settings.from_file(profile or "default", environ)
        if _names_somebody(stored):
            _refuse_mixture(source, given, stored, where)
            return "", stored, where
        if source == "credential_file":
            raise _nothing(source, f"{where} names neither client_id nor ad_user")
    if source == "auto" and settings.cli_is_installed(environ) and settings.cli_account(environ):
        return "cli", {}, ""
    raise _nothing(source)


def _names_somebody(found: Values) -> bool:
    return bool(found["client_id"] or found["ad_user"])


def _refuse_halves(given: Values) -> None:
    """A secret without a name was meant for something; another identity must not be used in silence."""
    for name in (*_PROOFS, "password"):
        if given[name]:
            raise SkrFailure(
                "credentials_missing",
                f"{name} is given, but neither client_id nor ad_user; an identity is never put together from two sources.",
                {"missing": ["client_id"]},
            )


def _refuse_mixture(source: str, given: Values, found: Values, where: str) -> None:
    """In ``auto`` a tenant that contradicts the source found would otherwise be ignored in silence."""
    if source == "auto" and given["tenant"] and given["tenant"] != found["tenant"]:
        raise SkrFailure(
            "credentials_missing",
            f"tenant is {given['tenant']}, but the identity comes from {where}, where it is {found['tenant'] or 'not set'}; "
            "an identity is never put together from two sources.",
            {"option": "tenant"},
            next_step="Give client_id and its secret with the option tenant, or leave tenant out.",
        )


def _nothing(source: str, why: str = "") -> SkrFailure:
    return SkrFailure(
        "credentials_missing",
        f"There is no Azure credential in the place asked for (auth_source {source})" + (f": {why}." if why else "."),
        {"auth_source": source},
    )


def _cloud(
    setting: t.Callable[[str], t.Optional[str]],
    environ: t.Mapping[str, str],
    account: t.Optional[settings.CliAccount],
) -> t.Tuple[clouds.Cloud, t.Optional[str]]:
    """The cloud, and the authority where it is not the cloud's own."""
    name, named = setting("cloud_environment"), setting("adfs_authority_url")
    authority = settings.authority_url("adfs_authority_url", named) if named else None
    if name is None and account is not None:
        name = account.cloud
    if name is None and authority is None:
        host = settings.authority_host(environ)
        known = clouds.by_authority(host) if host else None
        return (known, None) if known else (clouds.CLOUDS["AzureCloud"], host)
    return clouds.find(name or "AzureCloud"), authority


def _managed(given: Values, env: Values, common: t.Dict[str, t.Any]) -> Login:
    chosen = [name for name in ("client_id", "msi_object_id", "msi_resource_id") if given[name]]
    if len(chosen) > 1:
        raise SkrFailure(
            "invalid_input",
            f"{chosen[1]} is set beside {chosen[0]}, wanted at most one name of the managed identity.",
            {"option": chosen[1]},
        )
    # The environment's client id is only a default: who names the identity by another id means that one.
    client = given["client_id"] or (None if chosen else env["client_id"])
    return Login(
        "msi", client_id=client, object_id=given["msi_object_id"], resource_id=given["msi_resource_id"], **common
    )


def _complete(found: Values, common: t.Dict[str, t.Any], where: str, tenant_is_optional: bool) -> Login:
    """The login of an application or a user, if nothing of it is missing."""
    way = next((way for way, name in zip(("secret", "certificate", "federated"), _PROOFS) if found[name]), "")
    if found["client_id"] and way:
        if not found["tenant"] and not tenant_is_optional:
            raise _incomplete("client_id", where, "tenant")
        return Login(
            way,
            tenant=found["tenant"],
            client_id=found["client_id"],
            secret=found["secret"] if way == "secret" else None,
            certificate_path=found["x509_certificate_path"] if way == "certificate" else None,
            certificate_password=found["x509_certificate_password"] if way == "certificate" else None,
            token_file=found["federated_token_file"] if way == "federated" else None,
            **common,
        )
    if not found["ad_user"]:
        missing = ["tenant"] if not found["tenant"] and not tenant_is_optional else []
        raise _incomplete("client_id", where, *missing, " or ".join(_PROOFS))
    if not found["password"]:
        raise _incomplete("ad_user", where, "password")
    warnings.warn(
        SkrWarning(
            "Signing in with ad_user and password is deprecated: Microsoft's library will drop it, and it fails wherever "
            "multi-factor authentication is required. Use a service principal, a managed identity or workload identity."
        ),
        stacklevel=2,
    )
    return Login(
        "user",
        tenant=found["tenant"] or ANY_TENANT,
        client_id=found["client_id"] or CLI_CLIENT,
        user=found["ad_user"],
        password=found["password"],
        **common,
    )


def _incomplete(name: str, where: str, *missing: str) -> SkrFailure:
    return SkrFailure(
        "credentials_missing",
        f"{name} comes from {where}, but {' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing there.",
        {"missing": list(missing)},
    )


def is_adfs(authority: str) -> bool:
    """By convention an authority whose path is /adfs is an Active Directory Federation Service."""
    return authority.lower().endswith("/adfs")


def credential(login: Login, transport: t.Mapping[str, t.Any]) -> t.Any:
    """The azure-identity object of a login whose cloud is known. ``transport`` carries proxies and the CA bundle."""
    try:
        from azure import identity
    except ImportError as error:
        raise library_missing("azure-identity") from error
    path = login.certificate_path or login.token_file
    try:
        return _made(identity, login, dict(transport))
    except (ValueError, TypeError, OSError) as error:  # a malformed tenant, an unreadable file; the text may quote them
        raise SkrFailure(
            "credentials_missing",
            f"The {login.way} credential cannot be used ({type(error).__name__}): check tenant"
            + (f" and the file {path}" if path else "")
            + (" and its password." if login.certificate_path else "."),
            {"way": login.way, "file": path},
        ) from error


def _made(identity: t.Any, login: Login, transport: t.Dict[str, t.Any]) -> t.Any:
    if login.way == "cli":
        # The tenant tells az which account; az refuses to be given a subscription beside it, and vaults name a tenant.
        return identity.AzureCliCredential(tenant_id=login.tenant or "", process_timeout=_CLI_TIMEOUT)
    if login.way == "msi":
        return _managed_identity(identity, login, transport)
    authority = login.authority or login.cloud.authority
    tenant = login.tenant
    if is_adfs(authority):  # azure-identity puts the tenant behind the authority, and there it is "adfs"
        authority, tenant = authority[: -len("/adfs")], "adfs"
    if not tenant:
        raise _incomplete("client_id", "its source", "tenant")
    common: t.Dict[str, t.Any] = {"authority": authority, **transport}
    if not _GUID.fullmatch(tenant):
        # Vaults tell their tenant's id, which the library would take for another tenant than the name given.
        common["additionally_allowed_tenants"] = ["*"]
    if login.way == "federated":
        with open(str(login.token_file), encoding="utf-8"):
            pass  # the library would say the same only when the first token is wanted, as a failed sign-in
        return identity.WorkloadIdentityCredential(
            tenant_id=tenant, client_id=login.client_id, token_file_path=login.token_file, **common
        )
    common["disable_instance_discovery"] = login.disable_instance_discovery
    if login.way == "certificate":
        return identity.CertificateCredential(
            tenant, login.client_id, login.certificate_path, password=login.certificate_password, **common
        )
    if login.way == "user":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # said in our own words by resolve
            return identity.UsernamePasswordCredential(
                login.client_id, login.user, login.password, tenant_id=tenant, **common
            )
    return identity.ClientSecretCredential(tenant, login.client_id, login.secret, **common)


def _managed_identity(identity: t.Any, login: Login, transport: t.Dict[str, t.Any]) -> t.Any:
    """The metadata service is on the machine's own link: neither a proxy nor a CA bundle has to do with it."""
    kwargs: t.Dict[str, t.Any] = {
        name: value for name, value in transport.items() if name in ("user_agent", "user_agent_use_env")
    }
    kwargs["use_env_settings"] = False
    # Who asks for a managed identity must not get a workload identity because of three variables.
    kwargs["_exclude_workload_identity_credential"] = True
    chosen = {
        name: value for name, value in (("object_id", login.object_id), ("resource_id", login.resource_id)) if value
    }
    return identity.ManagedIdentityCredential(client_id=login.client_id, identity_config=chosen or None, **kwargs)


def library_missing(package: str) -> SkrFailure:
    return SkrFailure(
        "library_missing",
        f"The Python package {package} is not installed for {sys.executable}.",
        {"package": package, "interpreter": sys.executable},
    )
