# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An exportable HSM key with its release policy: get, plan, apply."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import re
import typing as t

from ..policy import canonical, compare, model
from ..policy.failure import SkrFailure
from . import hsm, key_apply, key_facts, key_import, key_policy, key_removal, key_rotation, key_target
from .clients import Connection, errors
from .key_target import Target, invalid
from .plan import Plan, text_tags

SIZES = {"RSA-HSM": (2048, 3072, 4096), "EC-HSM": (), "oct-HSM": (128, 192, 256)}
DEFAULT_SIZE = {"RSA-HSM": 3072, "oct-HSM": 256}
DEFAULT_CURVE = "P-256"


@dataclasses.dataclass(frozen=True)
class Wanted:
    """The key as it shall be; None means: leave as it is (on creation: a default). Times are Unix seconds."""

    at: Target
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
    rotate_if_older_than: t.Optional[float] = None  # seconds; None: whatever the newest version's age
    deleted_action: str = "fail"
    rotation: t.Optional[key_rotation.Rotation] = None
    immutable: t.Optional[bool] = None
    confirm_immutable: bool = False
    lint: key_policy.Lint = key_policy.Lint()
    version: t.Optional[str] = None  # whose attributes are meant; None: those of the latest
    material: t.Optional[key_import.Material] = None

    @property
    def name(self) -> str:
        return self.at.name


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
    """Make, import, update or rotate the key; returns the module's result. Raises SkrFailure."""
    policy = check(wanted)
    findings = key_policy.review(policy, wanted.immutable, wanted.confirm_immutable, wanted.lint)
    wanted = dataclasses.replace(wanted, tags=text_tags(wanted.tags))
    with place(connection, wanted.at):
        result = _ensure(connection, wanted, policy, check_mode)
    result["lint"], result["warnings"] = key_policy.told(findings, wanted.immutable)
    return {**result, **wanted.at.result()}


def place(connection: Connection, at: Target) -> t.ContextManager[None]:
    """Around every call to the key's place: an HSM that is not activated is told as that."""
    return hsm.activation_told(connection, at.uri) if at.is_hsm else contextlib.nullcontext()


def _ensure(
    connection: Connection, wanted: Wanted, policy: t.Optional[model.Policy], check_mode: bool
) -> t.Dict[str, t.Any]:
    client = connection.keys(wanted.at.uri)
    found = key_target.get(client, wanted.at, connection, check_mode, wanted.version)
    recovered = False
    if found is None and wanted.version:
        raise SkrFailure("key_not_found", f"The key {wanted.name} has no version {wanted.version}.")
    if found is None:
        # Only check mode gets here without a vault; then there is nothing to recover either.
        held = key_target.can_hold(connection, wanted.at) or not check_mode
        recovered = held and _deleted(client, wanted, check_mode)
        if recovered and not check_mode:
            found = key_target.get(client, wanted.at, connection, check_mode)
    plan = plan_key(wanted, policy, found, recovered)
    if plan.changed and not check_mode:
        found = key_apply.apply(client, wanted, plan)
        if plan.action == "rotate" and wanted.rotate_if_older_than is not None:
            found = key_rotation.settled(lambda: key_target.get(client, wanted.at, connection, check_mode)) or found
    result = plan.result()
    if recovered:
        result.setdefault("diff", {"before": {"state": "deleted"}, "after": {"state": "recovered"}})
        result["changed"] = True
    if wanted.rotation is not None and (found is not None or check_mode):
        key_rotation.ensure(client, wanted.name, wanted.rotation, found is not None, check_mode, result)
    if found is not None:
        result.update(key_facts.facts(found))
        result["versions"] = key_facts.versions(client, wanted.name)
    return result


def check(wanted: Wanted) -> t.Optional[model.Policy]:
    """Refuse what cannot work before anything is asked; returns the parsed policy."""
    kind, sizes = wanted.key_type, SIZES[wanted.key_type]
    if kind == "oct-HSM" and not wanted.at.is_hsm:
        raise invalid("key_type", kind, "RSA-HSM or EC-HSM; vaults have no oct keys, managed HSMs (hsm_uri) do")
    if kind != "EC-HSM" and wanted.curve:
        raise invalid("curve", wanted.curve, f"nothing, because key_type is {kind}")
    if wanted.key_size is not None and wanted.key_size not in sizes:
        text = (
            "nothing, because key_type is EC-HSM"
            if not sizes
            else " or ".join((", ".join(map(str, sizes[:-1])), str(sizes[-1])))
        )
        raise invalid("key_size", wanted.key_size, text)
    if wanted.not_before and wanted.expires_on and wanted.not_before >= wanted.expires_on:
        raise invalid("expires_on", wanted.expires_on, f"a time after not_before ({wanted.not_before})")
    if wanted.version and wanted.rotate:
        raise invalid("key_version", wanted.version, "nothing, because rotate makes a new version of the key")
    if wanted.rotate_if_older_than is not None and not wanted.rotate:
        raise invalid(
            "rotate_if_older_than", f"{wanted.rotate_if_older_than:g} s", "nothing, because rotate is not set"
        )
    if wanted.material is not None:
        key_import.check(wanted.material, kind, wanted.key_size, wanted.curve)
    return model.parse(wanted.release_policy) if wanted.release_policy is not None else None


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
        return Plan("import" if wanted.material else "create", {}, _creation(wanted, policy))
    now = key_facts.describe(found)
    _unchangeable(wanted, found, now)
    after = dict(now)
    body: t.Dict[str, t.Any] = {}
    live = key_facts.parsed(now["release_policy"])
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
    if wanted.material is not None and key_import.differs(wanted.material, found, wanted.name):
        after["version"] = "a new one, imported"
        return Plan("import", now, after, body)
    if wanted.rotate and key_rotation.due(found.properties, wanted.rotate_if_older_than):
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
        if value is not None and now[member] is not None and value != now[member]:
            raise SkrFailure(
                "key_type_fixed",
                f"{member} is {value}, but the key {wanted.name} has {now[member]}.",
                {"option": member, "found": now[member], "wanted": value},
            )


def _creation(wanted: Wanted, policy: model.Policy) -> t.Dict[str, t.Any]:
    curved = wanted.key_type == "EC-HSM"
    return {
        "key_type": wanted.key_type,
        "key_size": None if curved else wanted.key_size or DEFAULT_SIZE[wanted.key_type],
        "curve": wanted.curve or DEFAULT_CURVE if curved else None,
        "exportable": True,
        "enabled": True if wanted.enabled is None else wanted.enabled,
        "not_before": wanted.not_before,
        "expires_on": wanted.expires_on,
        "key_ops": sorted(wanted.key_ops or ()),
        "tags": wanted.tags or {},
        "release_policy": canonical.as_dict(policy),
        "immutable": bool(wanted.immutable),
    }
