# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a sign-in failed, in words: the network, the certificate, or what Microsoft Entra ID said (AADSTS codes).

Codes: Microsoft Learn, "Microsoft Entra authentication and authorization error codes". They are read for the next step
only; an unknown code is shown as it is.
"""

from __future__ import annotations

import re
import typing as t

from ..policy import entra
from ..policy.failure import SkrFailure

_MFA = (
    "This user needs multi-factor authentication, which a user name and password cannot do. Use a service principal "
    "(client_id and secret or x509_certificate_path), a managed identity or workload identity."
)
_SECRET = "Check that secret is the secret's value (not its id) and belongs to client_id; make a new one where it has expired."  # noqa: S105
_CERTIFICATE = "Register the certificate in x509_certificate_path with the application client_id, and check that it has not expired."
_FEDERATION = (
    "Compare issuer, subject and audience of the token in federated_token_file with the application's federated credentials; "
    "a new one needs up to some minutes."
)
_USER = "Check ad_user and password, or use a service principal."
_STEPS = {
    "secret": _SECRET,
    "secret_expired": _SECRET,
    "certificate": _CERTIFICATE,
    "federation": _FEDERATION,
    "application": "Check client_id and tenant: this tenant has no such application.",
    "foreign_assertion": "The token in federated_token_file or the certificate was made for another client_id.",
    "assertion_time": "The token in federated_token_file has expired, or this machine's clock is wrong.",
    "tenant": "Check tenant, and cloud_environment: this cloud has no such tenant.",
    "audience": "Check cloud_environment: the tenant does not know this cloud's service.",
    "blocked": "A Conditional Access policy of the tenant blocks this sign-in: ask who keeps it.",
}
NEXT_STEPS: t.Dict[str, str] = {
    **{code: _STEPS[kind] for code, kind in entra.KINDS.items()},
    **dict.fromkeys(("50072", "50074", "50076", "50079", "50158"), _MFA),
    **dict.fromkeys(("50034", "50053", "50055", "50056", "50057", "50126"), _USER),
    "7000218": "This application takes no user name and password without a secret; leave client_id out, or give its secret.",
    "65001": "Somebody with the right to do so must consent to this application for the user.",
}
# What the library says before it asks Entra: words in its text -> what that means, and the next step.
_LIBRARY = {
    "not configured to acquire tokens for tenant": (
        "it belongs to another tenant than the identity",
        "Check the address, or give the tenant it belongs to with the option tenant.",
    ),
    "is not well-known": (
        "Microsoft's list does not have this authority",
        "Leave disable_instance_discovery out (or AZURE_DISABLE_INSTANCE_DISCOVERY) where the authority is your own.",
    ),
    "az login": (
        "nobody is signed in to the Azure CLI",
        "Run az login as the user who runs the play.",
    ),
    "Azure CLI not found": (
        "the program az is not on the PATH",
        "Install the Azure CLI, or choose another auth_source.",
    ),
}
# Managed identity: what azure-identity raises, and what the metadata service answers.
_NO_IMDS = "no response from the IMDS endpoint"
_IMDS_ANSWER = re.compile(r"Token request error: ([^\n\r]+)")


def failure(what: str, error: BaseException) -> SkrFailure:
    """The failure for an exception of azure-identity (``ClientAuthenticationError``)."""
    text = str(getattr(error, "message", error))
    everything = " ".join([text, *(str(one) for one in causes(error))])
    if "certificate verify failed" in everything.lower():
        return SkrFailure(
            "tls_untrusted", "The certificate of the sign-in service does not verify against the CA bundle in use."
        )
    said = entra.read(text)
    if said is not None:  # Entra's own words name no secret
        step = NEXT_STEPS.get(said.code[len("AADSTS") :]) if said.code.startswith("AADSTS") else None
        facts = {"detail": said.detail, "code": said.code}
        return SkrFailure(
            "authentication_failed", f"The sign-in for {what} failed: {said.detail}.", facts, next_step=step
        )
    if "Identity not found" in everything or "No identity has been assigned" in everything:
        return SkrFailure("identity_not_found", f"The sign-in for {what} failed: this machine has no such identity.")
    if "Multiple user assigned identities" in everything:
        return SkrFailure(
            "identity_ambiguous",
            f"The sign-in for {what} failed: this machine has several identities and none was named.",
            next_step="Name one with client_id, msi_object_id or msi_resource_id.",
        )
    answered = _IMDS_ANSWER.search(text)
    if answered:
        detail = answered.group(1).strip()[:300]
        return SkrFailure("imds_error", f"The sign-in for {what} failed: {detail}.", {"detail": detail})
    if _NO_IMDS in text:
        return SkrFailure("imds_unreachable", f"The sign-in for {what} failed: no metadata service answers here.")
    if unreachable(error):
        proxy = " through the proxy" if "proxy" in everything.lower() else ""
        return SkrFailure(
            "network_unreachable",
            f"The sign-in service cannot be reached{proxy}.",
            {"error": type(error).__name__},
        )
    for words, (detail, step) in _LIBRARY.items():
        if words in text:
            message = f"The sign-in for {what} failed: {detail}."
            return SkrFailure("authentication_failed", message, {"detail": detail}, next_step=step)
    return SkrFailure(
        "authentication_failed", f"The sign-in for {what} failed: no detail given.", {"detail": "no detail given"}
    )


def causes(error: BaseException) -> t.Iterator[BaseException]:
    """The exceptions from which this one was raised, nearest first."""
    seen = {id(error)}
    found = error.__cause__ or error.__context__
    while found is not None and id(found) not in seen:
        yield found
        seen.add(id(found))
        found = found.__cause__ or found.__context__


def unreachable(error: BaseException) -> bool:
    """Whether the sign-in failed before anything answered: azure-identity wraps that as a failed authentication."""
    from azure.core.exceptions import ServiceRequestError, ServiceResponseError

    return any(isinstance(one, (ServiceRequestError, ServiceResponseError)) for one in causes(error))
