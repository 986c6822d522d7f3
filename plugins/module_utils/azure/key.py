# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An exportable HSM key with its release policy: get, plan, apply."""

from __future__ import annotations

import dataclasses
import datetime
import re
import time
import typing as t

from ..policy import canonical, compare, model
from ..policy.failure import SkrFailure
from . import key_policy, key_removal, key_rotation
from . import vault as vaults
from .clients import ONCE, SAFE_TO_REPEAT, Connection, errors, service_code
from .plan import Plan, text_tags
from .public_key import public_key

CONTENT_TYPE = "application/json; charset=utf-8"
DEFAULT_SIZE, DEFAULT_CURVE = 3072, "P-256"
_PURGE_TIMEOUT, _PURGE_POLL = 60.0, 2.0
_NAME = re.compile(r"[0-9a-zA-Z-]{1,127}")
_URI = re.compile(r"https://([0-9a-zA-Z-]+)\.[0-9a-zA-Z.-]+(:\d+)?/?")


@dataclasses.dataclass(frozen=True)
class Wanted:
    """The key as it shall be; None means: leave as it is (on creation: a default). Times are Unix seconds."""

    vault_uri: str
    name: str
    release_policy: t.Optional[t.Any] = None
    key_type: str = "RSA-HSM"
    key_size: t.Optional[int] = None
    curve: t.Optional[str] = None
    key_ops: t.Optional[t.Tuple[str, ...]] = None
    enabled: t.Optional[bool] = None
    not_before: t.Optional[int] = None
    expires_on: t.Optional[int] = None
    tags: t.Optional[t.Dict[str, str]] = None
    rotate: bool = False
    deleted_action: str = "fail"
    rotation: t.Optional[key_rotation.Rotation] = None
    immutable: t.Optional[bool] = None
    confirm_immutable: bool = False
    lint: key_policy.Lint = key_policy.Lint()


def parse_time(option: str, text: t.Optional[str]) -> t.Optional[int]:
    """ISO 8601 text with zone, or seconds since the epoch. Raises SkrFailure ``invalid_input``."""
    if text in (None, ""):
        return None
    if re.fullmatch("[0-9]{1,11}", str(text)):  # eleven digits reach beyond the year 5000
        return int(str(text))
    moment: t.Optional[datetime.datetime]
    try:
        moment = datetime.datetime.fromisoformat(str(text).replace("Z", "+00:00"))
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise SkrFailure(
            "invalid_input", f"{option} is {text!r}, wanted a time such as 2027-01-31T12:00:00Z.", {"option": option}
        )
    return int(moment.timestamp())


def ensure(connection: Connection, wanted: Wanted, check_mode: bool) -> t.Dict[str, t.Any]:
    """Make, update or rotate the key; returns the module's result. Raises SkrFailure."""
    policy = check(wanted)
    findings = key_policy.review(policy, wanted.immutable, wanted.confirm_immutable, wanted.lint)
    wanted = dataclasses.replace(wanted, tags=text_tags(wanted.tags))
    client = connection.keys(wanted.vault_uri)
    found = get(client, wanted, connection, check_mode)
    recovered = False
    if found is None:
        # Only check mode gets here without a vault; then there is nothing to recover either.
        held = _vault_can_hold(connection, wanted) or not check_mode
        recovered = held and _deleted(client, wanted, check_mode)
        if recovered and not check_mode:
            found = get(client, wanted, connection, check_mode)
    plan = plan_key(wanted, policy, found, recovered)
    if plan.changed and not check_mode:
        found = apply(client, wanted, plan)
    result = plan.result()
    if recovered:
        result.setdefault("diff", {"before": {"state": "deleted"}, "after": {"state": "recovered"}})
        result["changed"] = True
    if wanted.rotation is not None and (found is not None or check_mode):
        key_rotation.ensure(client, wanted.name, wanted.rotation, found is not None, check_mode, result)
    if found is not None:
        result.update(facts(found))
        result["versions"] = versions(client, wanted.name)
    result["lint"], result["warnings"] = key_policy.told(findings, wanted.immutable)
    return {**result, "key_name": wanted.name, "vault_uri": wanted.vault_uri.rstrip("/")}


def check(wanted: Wanted) -> t.Optional[model.Policy]:
    """Refuse what cannot work before anything is asked; returns the parsed policy."""
    if not _URI.fullmatch(wanted.vault_uri):
        raise _invalid("vault_uri", wanted.vault_uri, "an https URL such as https://myvault.vault.azure.net")
    if not _NAME.fullmatch(wanted.name):
        raise _invalid("key_name", wanted.name, "1 to 127 letters, digits and hyphens")
    if wanted.key_type == "RSA-HSM" and wanted.curve:
        raise _invalid("curve", wanted.curve, "nothing, because key_type is RSA-HSM")
    if wanted.key_type == "EC-HSM" and wanted.key_size:
        raise _invalid("key_size", wanted.key_size, "nothing, because key_type is EC-HSM")
    if wanted.key_size not in (None, 2048, 3072, 4096):
        raise _invalid("key_size", wanted.key_size, "2048, 3072 or 4096")
    if wanted.not_before and wanted.expires_on and wanted.not_before >= wanted.expires_on:
        raise _invalid("expires_on", wanted.expires_on, f"a time after not_before ({wanted.not_before})")
    return model.parse(wanted.release_policy) if wanted.release_policy is not None else None


def _invalid(option: str, found: t.Any, wanted: str) -> SkrFailure:
    return SkrFailure("invalid_input", f"{option} is {found!r}, wanted {wanted}.", {"option": option})


def get(client: t.Any, wanted: Wanted, connection: Connection, check_mode: bool) -> t.Optional[t.Any]:
    """The key's latest version; None when there is none.

    In check mode a vault that does not exist yet counts as one without keys, because its name does not resolve.
    """
    from azure.core.exceptions import ResourceNotFoundError

    try:
        with errors(f"key {wanted.name}"):
            try:
                return client.get_key(wanted.name)
            except ResourceNotFoundError:
                return None
    except SkrFailure as failure:
        if failure.reason == "network_unreachable" and check_mode and connection.login.subscription_id:
            if vaults.find(connection, _vault_name(wanted)) is None:
                return None
        raise


def _vault_name(wanted: Wanted) -> str:
    return wanted.vault_uri.partition("://")[2].partition(".")[0]


def _vault_can_hold(connection: Connection, wanted: Wanted) -> bool:
    """Before a key is made: whether the vault is seen in the subscription; it must then be Premium.

    Where nothing can be looked up (no subscription id, no right to read in Resource Manager) the service itself
    will tell; and the vault may be in another subscription.
    """
    if not connection.login.subscription_id:
        return True
    name = _vault_name(wanted)
    try:
        found = vaults.find(connection, name)
    except SkrFailure as failure:
        if failure.reason != "authorization_failed":
            raise
        return True
    sku = str(found["properties"]["sku"]["name"]) if found else "premium"
    if sku.lower() != "premium":
        facts = {"found": sku, "wanted": "premium", "vault": name}
        raise SkrFailure("vault_sku", f"The vault {name} has SKU {sku}, wanted premium.", facts)
    return found is not None


def _deleted(client: t.Any, wanted: Wanted, check_mode: bool) -> bool:
    """Deal with a soft-deleted key of the name; returns whether it was (or would be) recovered."""
    from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

    with errors(f"deleted key {wanted.name}"):
        try:
            client.get_deleted_key(wanted.name)
        except ResourceNotFoundError:
            return False
        except HttpResponseError as error:
            if error.status_code == 403:
                return False  # without the right to look, the creation itself will tell
            raise
    if wanted.deleted_action == "fail":
        raise SkrFailure(
            "deleted_recoverable", f"The name {wanted.name} is held by a soft-deleted key.", {"key_name": wanted.name}
        )
    if check_mode:
        return wanted.deleted_action == "recover"
    if wanted.deleted_action == "recover":
        with errors(f"deleted key {wanted.name}"):
            client.begin_recover_deleted_key(wanted.name).wait()
        return True
    key_removal.purge(client, wanted.name)
    return False


def plan_key(wanted: Wanted, policy: t.Optional[model.Policy], found: t.Optional[t.Any], recovered: bool) -> Plan:
    """What has to change. Raises SkrFailure where a key can never become what is wanted."""
    if found is None:
        if recovered:
            return Plan("none", {"state": "deleted"}, {"state": "recovered"})
        if policy is None:
            raise SkrFailure("policy_missing", f"The key {wanted.name} has to be made, but release_policy is not set.")
        return Plan("create", {}, _creation(wanted, policy))
    now = describe(found)
    _unchangeable(wanted, found, now)
    after = dict(now)
    body: t.Dict[str, t.Any] = {}
    live = _parsed(now["release_policy"])
    if policy is not None and (live is None or not compare.equal(policy, live)):
        if now["immutable"]:
            changes = compare.changes(policy, live) if live else []
            told = [change.message for change in changes] or ["the live policy does not follow the grammar"]
            raise SkrFailure(
                "policy_immutable",
                f"The release policy of {wanted.name} is immutable and differs: {'; '.join(told)}.",
                {"changes": [change.as_dict() for change in changes]},
            )
        body["release_policy"] = canonical.dump(policy)
        after["release_policy"] = canonical.as_dict(policy)
    if wanted.immutable is False and now["immutable"]:
        raise SkrFailure(
            "policy_immutable", f"The release policy of {wanted.name} is immutable; that can never be undone."
        )
    if wanted.immutable and not now["immutable"]:
        # Immutability is a member of the policy, so the policy goes along, the live one where none is given.
        chosen = policy or live
        if chosen is None:
            raise SkrFailure(
                "policy_missing", f"The live release policy of {wanted.name} cannot be read; give release_policy."
            )
        body["release_policy"] = canonical.dump(chosen)
        body["immutable"] = after["immutable"] = True
    for member in ("enabled", "not_before", "expires_on", "tags"):
        value = getattr(wanted, member)
        if value is not None and value != now[member]:
            body[member] = after[member] = value
    if wanted.key_ops is not None and set(wanted.key_ops) != set(now["key_ops"]):
        body["key_operations"] = after["key_ops"] = sorted(wanted.key_ops)
    if wanted.rotate:
        after["version"] = "a new one"
        return Plan("rotate", now, after, body)
    return Plan("update" if body else "none", now, after, body or None)


def _unchangeable(wanted: Wanted, found: t.Any, now: t.Mapping[str, t.Any]) -> None:
    if not found.properties.exportable:
        raise SkrFailure(
            "key_not_exportable", f"The key {wanted.name} exists and is not exportable.", {"kid": found.id}
        )
    fixed = (("key_type", wanted.key_type), ("key_size", wanted.key_size), ("curve", wanted.curve))
    for member, value in fixed:
        if value is not None and value != now[member]:
            raise SkrFailure(
                "key_type_fixed",
                f"{member} is {value}, but the key {wanted.name} has {now[member]}.",
                {"option": member, "found": now[member], "wanted": value},
            )


def _creation(wanted: Wanted, policy: model.Policy) -> t.Dict[str, t.Any]:
    rsa = wanted.key_type == "RSA-HSM"
    return {
        "key_type": wanted.key_type,
        "key_size": (wanted.key_size or DEFAULT_SIZE) if rsa else None,
        "curve": None if rsa else wanted.curve or DEFAULT_CURVE,
        "exportable": True,
        "enabled": True if wanted.enabled is None else wanted.enabled,
        "not_before": wanted.not_before,
        "expires_on": wanted.expires_on,
        "key_ops": sorted(wanted.key_ops or ()),
        "tags": wanted.tags or {},
        "release_policy": canonical.as_dict(policy),
        "immutable": bool(wanted.immutable),
    }


def describe(found: t.Any) -> t.Dict[str, t.Any]:
    """The parts of a key that are compared and shown; the policy is decoded."""
    properties, key = found.properties, found.key
    policy = properties.release_policy
    document = _document(policy.encoded_policy) if policy else None
    return {
        "version": properties.version,
        "key_type": str(getattr(found.key_type, "value", found.key_type)),
        "key_size": 8 * len(key.n.lstrip(b"\0")) if key.n else None,
        "curve": str(getattr(key.crv, "value", key.crv)) if key.crv else None,
        "exportable": bool(properties.exportable),
        "enabled": properties.enabled,
        "not_before": seconds(properties.not_before),
        "expires_on": seconds(properties.expires_on),
        "key_ops": sorted(str(getattr(operation, "value", operation)) for operation in found.key_operations or []),
        "tags": properties.tags or {},
        "release_policy": document,
        "immutable": bool(policy and policy.immutable),
    }


def _parsed(document: t.Any) -> t.Optional[model.Policy]:
    """The model of a live policy; None when it does not follow our grammar, which is no fault of this call."""
    try:
        return model.parse(document)
    except SkrFailure:
        return None


def _document(text: bytes) -> t.Any:
    """A live policy for showing: in canonical form, or as it is."""
    policy = _parsed(text)
    return canonical.as_dict(policy) if policy else text.decode("utf-8", "replace")


def seconds(moment: t.Optional[datetime.datetime]) -> t.Optional[int]:
    return int(moment.timestamp()) if moment else None


def _moment(seconds: t.Optional[int]) -> t.Optional[datetime.datetime]:
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc) if seconds is not None else None


def apply(client: t.Any, wanted: Wanted, plan: Plan) -> t.Any:
    """Carry out a plan; returns the key as it then is. Creation and rotation are sent once: twice would make two versions."""
    name = wanted.name
    with errors(f"key {name}"):
        if plan.action == "create":
            return _create(client, wanted, plan.after)
        if plan.body:
            _update(client, name, dict(plan.body))
        if plan.action == "rotate":
            client.rotate_key(name, **ONCE)
        return client.get_key(name)


def _policy(text: str, immutable: bool) -> t.Any:
    from azure.keyvault.keys import KeyReleasePolicy

    # Immutability that is not wanted is left out, not sent as false.
    return KeyReleasePolicy(text.encode("ascii"), content_type=CONTENT_TYPE, immutable=immutable or None)


def _create(client: t.Any, wanted: Wanted, after: t.Mapping[str, t.Any]) -> t.Any:
    from azure.core.exceptions import ResourceExistsError

    options: t.Dict[str, t.Any] = {
        "exportable": True,
        "release_policy": _policy(canonical.dump(model.parse(after["release_policy"])), after["immutable"]),
        "enabled": after["enabled"],
        "not_before": _moment(wanted.not_before),
        "expires_on": _moment(wanted.expires_on),
        "tags": wanted.tags,
        "key_operations": list(wanted.key_ops) if wanted.key_ops is not None else None,
    }
    shape = {"size": after["key_size"]} if after["key_size"] else {"curve": after["curve"]}
    given = {name: value for name, value in {**options, **shape}.items() if value is not None}
    deadline = time.monotonic() + _PURGE_TIMEOUT
    while True:
        try:
            return client.create_key(wanted.name, wanted.key_type, **given, **ONCE)
        except ResourceExistsError as error:
            # Refused, so nothing was made: a purge that has just been accepted is still under way.
            if service_code(error)[1] != "ObjectIsBeingDeleted" or time.monotonic() > deadline:
                raise
        time.sleep(_PURGE_POLL)


def _update(client: t.Any, name: str, body: t.Dict[str, t.Any]) -> None:
    if "release_policy" in body:
        body["release_policy"] = _policy(body["release_policy"], body.pop("immutable", False))
    for member in ("not_before", "expires_on"):
        if member in body:
            body[member] = _moment(body[member])
    client.update_key_properties(name, **body, **SAFE_TO_REPEAT)


def facts(found: t.Any) -> t.Dict[str, t.Any]:
    """Public facts of a key for results."""
    shown = describe(found)
    public = public_key(found.key)
    return {"kid": found.id, "key_version": found.properties.version, "key": shown, **public}


def versions(client: t.Any, name: str) -> t.List[t.Dict[str, t.Any]]:
    """All versions, newest first; the service promises no order."""
    with errors(f"the versions of key {name}"):
        found = [
            {
                "kid": item.id,
                "version": item.version,
                "enabled": item.enabled,
                "created": seconds(item.created_on),
                "not_before": seconds(item.not_before),
                "expires_on": seconds(item.expires_on),
            }
            for item in client.list_properties_of_key_versions(name)
        ]
    return sorted(found, key=lambda item: (item["created"], item["version"]), reverse=True)
