# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Carrying out the plan for a key: nothing is made twice, whatever happens on the way.

Making, importing and rotating have no name of their own that would make a repetition harmless. Each request is sent
once; when its outcome is unknown (no answer, or a server's error) the key is read again, and only if nothing was made
the request is sent anew.
"""

from __future__ import annotations

import datetime
import time
import typing as t

from ..policy import canonical, model
from ..policy.failure import SkrFailure
from . import key_import
from .clients import ONCE, SAFE_TO_REPEAT, errors
from .plan import Plan

if t.TYPE_CHECKING:
    from .key import Wanted

CONTENT_TYPE = "application/json; charset=utf-8"
_UNKNOWN = ("network_unreachable", "service_error", "throttled", "being_deleted")
_PAUSES = (1.0, 2.0, 4.0, 8.0)  # the official advice for vaults, which promise no Retry-After
_PURGE_TIMEOUT, _PURGE_POLL = 60.0, 2.0


def apply(client: t.Any, wanted: Wanted, plan: Plan) -> t.Any:
    """Carry out a plan; returns the key as it then is.

    Raises SkrFailure; its fact ``done`` tells what had been changed before it.
    """
    name, done = wanted.name, []
    before = plan.before.get("version")
    try:
        if plan.action == "create":
            return _once(client, name, before, lambda: _create(client, wanted, plan.after))
        if plan.body:
            for body, version in _updates(plan.body, wanted.version):
                with errors(f"key {name}"):
                    _update(client, name, body, version)
                done.append("update")
        if plan.action == "import":
            return _once(client, name, before, lambda: _import(client, wanted, plan.after))
        if plan.action == "rotate":
            _once(client, name, before, lambda: client.rotate_key(name, **ONCE))
            done.append("rotate")
        with errors(f"key {name}"):
            return client.get_key(name, wanted.version)
    except SkrFailure as failure:
        if done:
            failure.facts["done"] = done
        raise


def _once(client: t.Any, name: str, before: t.Optional[str], send: t.Callable[[], t.Any]) -> t.Any:
    """Send until a new version is there, and never after one is. ``before`` is the latest version so far."""
    deadline = time.monotonic() + _PURGE_TIMEOUT
    pauses = iter(_PAUSES)
    while True:
        try:
            with errors(f"key {name}"):
                return send()
        except SkrFailure as failure:
            being_deleted = failure.facts.get("inner_code") == "ObjectIsBeingDeleted"
            if being_deleted and time.monotonic() < deadline:
                # Refused, so nothing was made: a purge that has just been accepted is still under way.
                time.sleep(_PURGE_POLL)
                continue
            if failure.reason not in _UNKNOWN or being_deleted:
                raise
            pause = next(pauses, None)
            if failure.reason != "throttled":
                made = _made(client, name, before, failure)
                if made is not None:
                    return made
            if pause is None:
                raise
            time.sleep(max(pause, _retry_after(failure)))


def _retry_after(failure: SkrFailure) -> float:
    value = failure.facts.get("retry_after")
    return min(float(value), 60.0) if isinstance(value, (int, float)) else 0.0


def _made(client: t.Any, name: str, before: t.Optional[str], failure: SkrFailure) -> t.Optional[t.Any]:
    """The key if it has a version that was not there before. Raises SkrFailure where that cannot be told."""
    from azure.core.exceptions import ResourceNotFoundError

    try:
        with errors(f"key {name}"):
            try:
                found = client.get_key(name, **SAFE_TO_REPEAT)
            except ResourceNotFoundError:
                return None
    except SkrFailure as second:
        raise SkrFailure(
            second.reason,
            f"{failure.message} Whether a version was made cannot be told: {second.message}",
            {**failure.facts, "outcome": "unknown"},
            next_step="Look at the key's versions with exportable_key_info before running this again.",
        ) from failure
    return found if found.properties.version != before else None


def _updates(
    body: t.Mapping[str, t.Any], version: t.Optional[str]
) -> t.Iterator[t.Tuple[t.Dict[str, t.Any], t.Optional[str]]]:
    """The policy belongs to the key and not to a version; with a version asked for it goes by itself."""
    members = {name: value for name, value in body.items() if name not in ("release_policy", "immutable")}
    policy = {name: value for name, value in body.items() if name in ("release_policy", "immutable")}
    if version is None:
        yield dict(body), None
        return
    if policy:
        yield policy, None
    if members:
        yield members, version


def policy_model(text: str, immutable: bool) -> t.Any:
    """The SDK's object of a policy in canonical text."""
    from azure.keyvault.keys import KeyReleasePolicy

    # Immutability that is not wanted is left out, not sent as false.
    return KeyReleasePolicy(text.encode("ascii"), content_type=CONTENT_TYPE, immutable=immutable or None)


def _attributes(wanted: Wanted, after: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    """What creation and import have in common, without what is not wanted."""
    options: t.Dict[str, t.Any] = {
        "exportable": True,
        "release_policy": policy_model(canonical.dump(model.parse(after["release_policy"])), after["immutable"]),
        "enabled": after["enabled"],
        "not_before": _moment(wanted.not_before),
        "expires_on": _moment(wanted.expires_on),
        "tags": wanted.tags,
    }
    return {name: value for name, value in options.items() if value is not None}


def _import(client: t.Any, wanted: Wanted, after: t.Mapping[str, t.Any]) -> t.Any:
    made = key_import.jwk(t.cast(key_import.Material, wanted.material), wanted.key_type, wanted.key_ops)
    return client.import_key(wanted.name, made, hardware_protected=True, **_attributes(wanted, after), **ONCE)


def _create(client: t.Any, wanted: Wanted, after: t.Mapping[str, t.Any]) -> t.Any:
    options = _attributes(wanted, after)
    if wanted.key_ops is not None:
        options["key_operations"] = list(wanted.key_ops)
    shape = {"size": after["key_size"]} if after["key_size"] else {"curve": after["curve"]}
    return client.create_key(wanted.name, wanted.key_type, **options, **shape, **ONCE)


def _update(client: t.Any, name: str, body: t.Dict[str, t.Any], version: t.Optional[str]) -> None:
    if "release_policy" in body:
        body["release_policy"] = policy_model(body["release_policy"], body.pop("immutable", False))
    for member in ("not_before", "expires_on"):
        if member in body:
            body[member] = _moment(body[member])
    client.update_key_properties(name, version, **body, **SAFE_TO_REPEAT)


def _moment(seconds: t.Optional[int]) -> t.Optional[datetime.datetime]:
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc) if seconds is not None else None
