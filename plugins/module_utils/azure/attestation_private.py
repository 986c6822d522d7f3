# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A private attestation provider: made, tagged and removed in Azure Resource Manager, with the policies it has.

Requests: ``.../resourceGroups/{group}/providers/Microsoft.Attestation/attestationProviders/{name}`` (Azure REST
reference, Attestation providers, 2021-06-01). The trust model follows from the policy signing certificates that a
provider is made with: AAD without, Isolated with them.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import re
import time
import typing as t

from ..policy.failure import SkrFailure
from . import attestation_policy, attestation_token
from .attestation_provider import API_VERSION
from .clients import Connection
from .plan import Plan, same_location, text_tags

_NAME = re.compile(r"[a-zA-Z0-9]{3,24}")
_POLL = 2


@dataclasses.dataclass(frozen=True)
class Wanted:
    """The provider as it shall be; None means: leave as it is. ``signing_certificates`` are PEM files."""

    name: str
    resource_group: str
    location: t.Optional[str] = None
    present: bool = True
    signing_certificates: t.Optional[t.Tuple[str, ...]] = None
    policies: attestation_policy.Wanted = attestation_policy.Wanted()
    tags: t.Optional[t.Dict[str, str]] = None
    wait_timeout: int = 120


def ensure(connection: Connection, wanted: Wanted, check_mode: bool) -> t.Dict[str, t.Any]:
    """Make, update or remove the provider and set its policies; returns the module's result. Raises SkrFailure."""
    certificates = check(wanted)
    wanted = dataclasses.replace(wanted, tags=text_tags(wanted.tags))
    found = get(connection, wanted.resource_group, wanted.name)
    if not wanted.present:
        return _remove(connection, wanted, found, check_mode)
    if found is not None:
        _same_trust(connection, wanted, found, certificates)
    isolated = found["properties"].get("trustModel") == "Isolated" if found else bool(certificates)
    attestation_policy.check_signer(wanted.policies, isolated)
    plan = plan_provider(wanted, found, certificates)
    if plan.changed and not check_mode:
        new = found is None
        found = apply(connection, wanted, plan)
        if new and wanted.policies.types:
            _reachable(connection, wanted, found)
    wish, texts = _policies(connection, wanted, found, check_mode)
    shown = describe(found) if found and not (check_mode and plan.changed) else plan.after
    changed = plan.changed or wish.changed
    result: t.Dict[str, t.Any] = {"changed": changed}
    if changed:
        result["diff"] = {
            "before": {**plan.before, "policies": wish.before},
            "after": {**plan.after, "policies": wish.after},
        }
    url = shown.get("attest_url")
    return {
        **result,
        "provider": shown,
        "attest_url": url,
        "issuer": url,
        "policies": attestation_policy.describe(texts),
    }


def _policies(
    connection: Connection, wanted: Wanted, found: t.Optional[t.Dict[str, t.Any]], check_mode: bool
) -> t.Tuple[Plan, t.Dict[str, str]]:
    """Bring the policies to what they shall be: the plan as it came out, and the texts as they are or would be."""
    policies = wanted.policies
    if not policies.types:
        return Plan("none", {}, {}), {}
    if found is None:  # check mode: the provider is not there to be asked
        return attestation_policy.plan(policies, {}), dict(policies.texts)
    service = attestation_policy.Service(connection, _url(found))
    before = attestation_policy.get(service, policies.types)
    wish = attestation_policy.plan(policies, before)
    if not wish.changed:
        return wish, before
    if check_mode:
        return wish, {**before, **{kind: text for kind, text in (wish.body or {}).items() if text is not None}}
    after = attestation_policy.apply(service, policies, wish)
    # What was reset may have been the default already, in a wording that is not known here.
    action = "update" if any(after[kind] != before[kind] for kind in before) else "none"
    return Plan(action, wish.before, {kind: attestation_policy.normal(text) for kind, text in after.items()}), after


def check(wanted: Wanted) -> t.List[t.Any]:
    """Refuse what cannot work before anything is asked; returns the certificates of the files."""
    if not _NAME.fullmatch(wanted.name):
        raise _invalid("name", wanted.name, "3 to 24 letters and digits")
    found = []
    for path in wanted.signing_certificates or ():
        for certificate in attestation_token.certificates(path, "policy_signing_certificates"):
            if not _is_authority(certificate):
                wish = "certificates marked as CA in their basic constraints: the service takes no policy under others"
                raise _invalid("policy_signing_certificates", path, wish)
            found.append(certificate)
    return found


def _is_authority(certificate: t.Any) -> bool:
    from cryptography import x509

    try:
        return bool(certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca)
    except (x509.ExtensionNotFound, ValueError):
        return False


def _invalid(option: str, found: t.Any, wish: str) -> SkrFailure:
    return SkrFailure("invalid_input", f"{option} is {found!r}, wanted {wish}.", {"option": option})


def _path(connection: Connection, group: str, name: str = "") -> str:
    base = f"/subscriptions/{connection.subscription_id}/resourceGroups/{group}"
    return f"{base}/providers/Microsoft.Attestation/attestationProviders{'/' if name else ''}{name}"


def get(connection: Connection, group: str, name: str) -> t.Optional[t.Dict[str, t.Any]]:
    """The provider in the service's own names; None when it does not exist."""
    try:
        return connection.get(_path(connection, group, name), API_VERSION, f"attestation provider {name}")
    except SkrFailure as failure:
        if failure.reason != "resource_not_found" or failure.facts.get("code") == "ResourceGroupNotFound":
            raise
        return None


def info(connection: Connection, group: str, name: t.Optional[str], types: t.Sequence[str]) -> t.Dict[str, t.Any]:
    """The private providers of a group, or one of them, with the policies asked for; as the module returns them."""
    kinds = [attestation_policy.kind_of(kind, "policies") for kind in types]
    documents: t.List[t.Any]
    if name is None:
        what = f"the attestation providers of {group}"
        documents = connection.get(_path(connection, group), API_VERSION, what).get("value") or []
    else:
        documents = [connection.get(_path(connection, group, name), API_VERSION, f"attestation provider {name}")]
    providers = []
    for document in sorted(documents, key=lambda one: str(one.get("name"))):
        provider = describe(document)
        provider["authority"] = provider["attest_url"]
        if kinds:
            texts = attestation_policy.get(attestation_policy.Service(connection, _url(document)), kinds)
            shown = attestation_policy.describe(texts)
            provider["policies"] = {kind: {"text": texts[kind], **shown[kind]} for kind in shown}
        providers.append(provider)
    authority = providers[0]["authority"] if name is not None else None
    return {"changed": False, "providers": providers, "authority": authority, "cached": False}


def describe(found: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    """The parts of a provider that this collection cares for. A new one has no address yet."""
    properties = found["properties"]
    return {
        "id": found.get("id"),
        "name": found.get("name"),
        "location": found.get("location"),
        "trust_model": properties.get("trustModel"),
        "status": properties.get("status"),
        "attest_url": str(properties["attestUri"]).rstrip("/") if properties.get("attestUri") else None,
        "tags": found.get("tags") or {},
    }


def _url(found: t.Mapping[str, t.Any]) -> str:
    return str(describe(found)["attest_url"] or "").lower()


def _same_trust(
    connection: Connection, wanted: Wanted, found: t.Mapping[str, t.Any], certificates: t.Sequence[t.Any]
) -> None:
    """The certificates are those that the provider was made with, or are not looked at."""
    if wanted.signing_certificates is None:
        return
    from cryptography.hazmat.primitives.serialization import Encoding

    wish = {one.public_bytes(Encoding.DER) for one in certificates}
    have: t.Set[bytes] = set()
    if found["properties"].get("trustModel") == "Isolated":
        have = attestation_policy.Service(connection, _url(found)).certificates()
    if wish == have:
        return
    facts = {
        "option": "policy_signing_certificates",
        "trust_model": found["properties"].get("trustModel"),
        "found": sorted(hashlib.sha256(der).hexdigest() for der in have),
        "wanted": sorted(hashlib.sha256(der).hexdigest() for der in wish),
    }
    message = f"The provider {wanted.name} was made with other policy signing certificates than those given."
    raise SkrFailure("attestation_trust_model_fixed", message, facts)


def plan_provider(wanted: Wanted, found: t.Optional[t.Dict[str, t.Any]], certificates: t.Sequence[t.Any]) -> Plan:
    """What has to change in Resource Manager. Raises SkrFailure where the change is impossible."""
    if found is None:
        return _creation(wanted, certificates)
    now = describe(found)
    if wanted.location and not same_location(wanted.location, str(now["location"])):
        message = f"location is {wanted.location!r}, but the provider {wanted.name} is in {now['location']}."
        raise SkrFailure("attestation_name_taken", message, {"option": "location", "location": now["location"]})
    if wanted.tags is None or wanted.tags == now["tags"]:
        return Plan("none", now, now)
    return Plan("update", now, {**now, "tags": wanted.tags}, {"tags": wanted.tags})


def _creation(wanted: Wanted, certificates: t.Sequence[t.Any]) -> Plan:
    if not wanted.location:
        raise _invalid(
            "location", wanted.location, f"an Azure region, because the provider {wanted.name} has to be made"
        )
    properties: t.Dict[str, t.Any] = {}
    if certificates:
        properties["policySigningCertificates"] = {"keys": [_jwk(one) for one in certificates]}
    body = {"location": wanted.location, "tags": wanted.tags or {}, "properties": properties}
    trust = {"trustModel": "Isolated" if certificates else "AAD"}
    after = describe({"name": wanted.name, **body, "properties": trust})
    return Plan("create", {}, after, body)


def _jwk(certificate: t.Any) -> t.Dict[str, t.Any]:
    """A certificate as JSON Web Key (RFC 7517); the public half alone."""
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import Encoding

    kind = "RSA" if isinstance(certificate.public_key(), rsa.RSAPublicKey) else "EC"
    return {"kty": kind, "x5c": [base64.b64encode(certificate.public_bytes(Encoding.DER)).decode()]}


def apply(connection: Connection, wanted: Wanted, plan: Plan) -> t.Dict[str, t.Any]:
    """Carry out a plan and return the provider once it is ready."""
    path, what = _path(connection, wanted.resource_group, wanted.name), f"attestation provider {wanted.name}"
    if plan.action == "update":
        return connection.patch(path, API_VERSION, dict(plan.body or {}), what)
    try:
        found: t.Optional[t.Dict[str, t.Any]] = connection.put(path, API_VERSION, dict(plan.body or {}), what)
    except SkrFailure as failure:
        if failure.facts.get("status") != 409:
            raise
        raise SkrFailure("attestation_name_taken", failure.message, failure.facts) from failure
    deadline = time.monotonic() + wanted.wait_timeout
    while found is None or found["properties"].get("status") != "Ready":
        if found and found["properties"].get("status") == "Error":
            raise SkrFailure("operation_failed", f"The service could not make the {what}.", {"status": "Error"})
        _pause(deadline, f"The {what} was made, but is not ready yet.")
        found = get(connection, wanted.resource_group, wanted.name)
    return found


def _reachable(connection: Connection, wanted: Wanted, found: t.Mapping[str, t.Any]) -> None:
    """A new provider's name takes a while until DNS knows it."""
    deadline = time.monotonic() + wanted.wait_timeout
    service = attestation_policy.Service(connection, _url(found))
    while True:
        try:
            service.keys()
            return
        except SkrFailure as failure:
            if failure.reason != "network_unreachable":
                raise
            _pause(
                deadline, f"The attestation provider {wanted.name} was made, but {service.url} is not reachable yet."
            )


def _pause(deadline: float, message: str) -> None:
    if time.monotonic() >= deadline:
        raise SkrFailure("wait_timeout", message)
    time.sleep(_POLL)


def _remove(
    connection: Connection, wanted: Wanted, found: t.Optional[t.Dict[str, t.Any]], check_mode: bool
) -> t.Dict[str, t.Any]:
    """Remove the provider; its policies go with it, and tokens in its name are issued no more."""
    nothing: t.Dict[str, t.Any] = {"provider": None, "attest_url": None, "issuer": None, "policies": {}}
    if found is None:
        return {"changed": False, **nothing}
    if not check_mode:
        path, what = _path(connection, wanted.resource_group, wanted.name), f"attestation provider {wanted.name}"
        connection.delete(path, API_VERSION, what)
        deadline = time.monotonic() + wanted.wait_timeout
        while get(connection, wanted.resource_group, wanted.name) is not None:
            _pause(deadline, f"The {what} is being removed, but is still there.")
    return {"changed": True, "diff": {"before": describe(found), "after": {}}, **nothing}
