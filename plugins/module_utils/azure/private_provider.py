# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A private attestation provider: made where it shall be, its attestation policies set and read back."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ..policy.failure import SkrFailure
from . import attestation_policy as policies
from .clients import Connection
from .plan import Plan, same_location, text_tags

API_VERSION = "2021-06-01"
_NAME = re.compile(r"[a-zA-Z0-9]{3,24}")
RESET = ""  # a policy's text that means: the provider's default


@dataclasses.dataclass(frozen=True)
class Wanted:
    """``policies`` maps an attestation type to the policy's text, empty for the default; signers are certificate paths."""

    name: str
    resource_group: str
    location: t.Optional[str] = None
    signers: t.Tuple[str, ...] = ()
    policies: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    signing_key: t.Optional[str] = None
    signing_certificate: t.Optional[str] = None
    tags: t.Optional[t.Dict[str, str]] = None
    present: bool = True


def ensure(connection: Connection, wanted: Wanted, check_mode: bool) -> t.Dict[str, t.Any]:
    """Make, change or delete the provider; returns the module's result. Raises SkrFailure."""
    wanted = dataclasses.replace(wanted, tags=text_tags(wanted.tags))
    signing = check(wanted)
    path = (
        f"/subscriptions/{connection.subscription_id}/resourceGroups/{wanted.resource_group}"
        f"/providers/Microsoft.Attestation/attestationProviders/{wanted.name}"
    )
    what = f"attestation provider {wanted.name}"
    found = connection.find(path, API_VERSION, what)
    if not wanted.present:
        state = "present" if found else "absent"
        plan = Plan("delete" if found else "none", {"state": state}, {"state": "absent"})
        if found and not check_mode:
            connection.delete(path, API_VERSION, what)
        return {**plan.result(), "provider": {"name": wanted.name, "state": "absent"}, "authority": None}
    plan = plan_provider(wanted, found)
    if plan.changed and not check_mode:
        # Only tags can change; the service refuses to make one a second time.
        write = connection.patch if found else connection.put
        found = write(path, API_VERSION, t.cast(t.Dict[str, t.Any], plan.body), what)
    result = plan.result()
    shown = describe(found) if found and not (check_mode and plan.changed) else plan.after
    try:
        if found is not None and wanted.policies:
            _policies(connection, wanted, describe(found), signing, check_mode, result)
        elif wanted.policies:  # check mode, before the provider is there
            result["diff"]["after"]["policies"] = {kind: policies.plain(text) for kind, text in wanted.policies.items()}
    except SkrFailure as failure:
        failure.changed = failure.changed or (result["changed"] and not check_mode)
        raise
    return {**result, "provider": shown, "authority": shown.get("authority")}


def check(wanted: Wanted) -> t.Optional[policies.Signer]:
    """Refuse what cannot work before anything is asked; returns the policy signer."""
    if not _NAME.fullmatch(wanted.name):
        raise _invalid("name", wanted.name, "3 to 24 letters and digits")
    for kind in wanted.policies:
        if kind not in policies.TYPES:
            raise _invalid("policies", kind, f"attestation types of {', '.join(policies.TYPES)}")
    if bool(wanted.signing_key) != bool(wanted.signing_certificate):
        missing = "policy_signing_certificate" if wanted.signing_key else "policy_signing_key"
        raise _invalid(missing, None, "a file, because the other half of the policy signer is given")
    for path in wanted.signers:
        policies.certificate("policy_signing_certificates", path)
    return policies.signer(wanted.signing_key, wanted.signing_certificate)


def _invalid(option: str, found: t.Any, wanted: str) -> SkrFailure:
    return SkrFailure("invalid_input", f"{option} is {found!r}, wanted {wanted}.", {"option": option})


def describe(found: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    properties = found.get("properties") or {}
    return {
        "id": found.get("id"),
        "name": found.get("name"),
        "location": found.get("location"),
        "trust_model": properties.get("trustModel"),
        "authority": str(properties.get("attestUri") or "").rstrip("/") or None,
        "tags": found.get("tags") or {},
    }


def plan_provider(wanted: Wanted, found: t.Optional[t.Mapping[str, t.Any]]) -> Plan:
    """Raises SkrFailure ``attestation_provider_fixed`` where the difference cannot be made up."""
    model = "Isolated" if wanted.signers else "AAD"
    if found is None:
        if not wanted.location:
            raise _invalid("location", None, f"an Azure region, because the provider {wanted.name} has to be made")
        properties: t.Dict[str, t.Any] = {}
        if wanted.signers:
            keys = [policies.certificate("policy_signing_certificates", path) for path in wanted.signers]
            entries = [{"kty": "RSA", "alg": "RS256", "use": "sig", "x5c": [policies.der(one)]} for one in keys]
            properties["policySigningCertificates"] = {"keys": entries}
        body = {"location": wanted.location, "tags": wanted.tags or {}, "properties": properties}
        after = {"name": wanted.name, "location": wanted.location, "trust_model": model, "tags": wanted.tags or {}}
        return Plan("create", {}, after, body)
    now = describe(found)
    if wanted.location and not same_location(wanted.location, str(now["location"])):
        raise _fixed(wanted, "location", now["location"], wanted.location)
    if wanted.signers and now["trust_model"] != model:
        raise _fixed(wanted, "policy_signing_certificates", now["trust_model"], model)
    if wanted.tags is not None and wanted.tags != now["tags"]:
        return Plan("update", {"tags": now["tags"]}, {"tags": wanted.tags}, {"tags": wanted.tags})
    return Plan("none", now, now)


def _fixed(wanted: Wanted, option: str, found: t.Any, asked: t.Any) -> SkrFailure:
    return SkrFailure(
        "attestation_provider_fixed",
        f"{option} asks for {asked!r}, but the attestation provider {wanted.name} has {found!r}.",
        {"option": option, "found": found, "wanted": asked},
    )


def _policies(
    connection: Connection,
    wanted: Wanted,
    shown: t.Mapping[str, t.Any],
    signing: t.Optional[policies.Signer],
    check_mode: bool,
    result: t.Dict[str, t.Any],
) -> None:
    """Compare and set; adds to ``changed`` and the difference. Raises SkrFailure."""
    if shown["trust_model"] == "Isolated" and signing is None:
        raise SkrFailure(
            "attestation_policy_unsigned",
            f"The provider {wanted.name} takes signed policies alone, but policy_signing_key is not set.",
            {"option": "policy_signing_key"},
        )
    provider = policies.Policies(connection, str(shown["authority"]), signing)
    hashes = result.setdefault("policies", {})
    for kind, text in wanted.policies.items():
        before = provider.get(kind)
        hashes[kind] = policies.digest(before)
        if text == RESET:
            continue_as = _reset(provider, kind, before, check_mode)
        elif policies.plain(before) == policies.plain(text):
            continue
        else:
            continue_as = text
            if not check_mode:
                provider.put(kind, text)
        if continue_as is None:
            continue
        diff = result.setdefault("diff", {"before": {}, "after": {}})
        for side, value in (("before", before), ("after", continue_as)):
            diff[side] = {**diff[side], "policies": {**diff[side].get("policies", {}), kind: policies.plain(value)}}
        result["changed"] = True
        hashes[kind] = policies.digest(continue_as)


def _reset(provider: policies.Policies, kind: str, before: str, check_mode: bool) -> t.Optional[str]:
    """The default policy, if the policy is another now; the service tells its default only by having it.

    In check mode whether a reset changes anything cannot be known without doing it, unless the policy is the known
    default.
    """
    if policies.plain(before).replace(" ", "").replace("\n", "") == _DEFAULT:
        return None
    if check_mode:
        return "the provider's default policy"
    provider.reset(kind)
    after = provider.get(kind)
    return None if policies.plain(after) == policies.plain(before) else after


_DEFAULT = "version=1.0;authorizationrules{=>permit();};issuancerules{};"
