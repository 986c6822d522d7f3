# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Managed identities of many VMs at once, system- and user-assigned; identities that are not named are never touched."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ..policy.failure import SkrFailure
from .clients import SAFE_TO_REPEAT, Connection, errors, wire
from .plan import Plan

_ID = re.compile(
    r"/subscriptions/(?P<subscription>[^/]+)/resourceGroups/(?P<group>[^/]+)/providers/Microsoft\.Compute/virtualMachines/(?P<name>[^/]+)",
    re.IGNORECASE,
)
_POLL = 2
_RACES = 3


class Wanted(t.NamedTuple):
    """Which identities shall be there, or with ``present`` false shall not; ``users`` are resource ids."""

    system: bool = True
    users: t.Tuple[str, ...] = ()
    present: bool = True


SYSTEM_ALONE = Wanted()


class Vm(t.NamedTuple):
    """A VM by resource group and name."""

    group: str
    name: str


@dataclasses.dataclass
class Outcome:
    """What happened to one VM."""

    vm: Vm
    plan: t.Optional[Plan]
    found: t.Dict[str, t.Any]
    failure: t.Optional[SkrFailure] = None

    def as_dict(self) -> t.Dict[str, t.Any]:
        identity = self.found.get("identity") or {}
        users = identity.get("userAssignedIdentities") or {}
        found: t.Dict[str, t.Any] = {
            "name": self.vm.name,
            "id": self.found.get("id"),
            "vm_id": self.found.get("properties", {}).get("vmId"),
            "principal_id": identity.get("principalId"),
            "tenant_id": identity.get("tenantId"),
            "user_assigned": [
                {"id": key, "client_id": (value or {}).get("clientId")} for key, value in sorted(users.items())
            ],
            "changed": bool(self.plan and self.plan.changed and not self.failure),
        }
        if self.failure:
            found["reason"], found["message"] = self.failure.reason, self.failure.message
        return found


def locate(entries: t.Sequence[str], group: t.Optional[str], subscription: t.Optional[str] = None) -> t.List[Vm]:
    """Names or resource ids as VMs, each once. Raises SkrFailure ``invalid_input``."""
    found: t.Dict[t.Tuple[str, str], Vm] = {}
    for entry in entries:
        parts = _ID.fullmatch(entry.rstrip("/"))
        if parts:
            if subscription and parts["subscription"].lower() != subscription.lower():
                # Without this the VM of the same name in the other subscription would be changed.
                wanted = f"a VM of the subscription {subscription} (subscription_id)"
                raise SkrFailure("invalid_input", f"vms has {entry!r}, wanted {wanted}.", {"option": "vms"})
            vm = Vm(parts["group"], parts["name"])
        elif "/" in entry or not group:
            wanted = "a VM's resource id" if "/" in entry else "a resource id, because resource_group is not set"
            raise SkrFailure("invalid_input", f"vms has {entry!r}, wanted {wanted}.", {"option": "vms"})
        else:
            vm = Vm(group, entry)
        found.setdefault((vm.group.lower(), vm.name.lower()), vm)
    return list(found.values())


def plan_identity(found: t.Mapping[str, t.Any], wanted: Wanted = SYSTEM_ALONE) -> Plan:
    """What the VM has, with or without what is wanted; ``type`` is authoritative in the service.

    The body names the user-assigned identities that stay with ``{}`` and those that go with ``null``.
    """
    identity = found.get("identity") or {}
    kinds = {kind.strip() for kind in str(identity.get("type") or "").split(",")} - {"", "None"}
    users = {str(user).lower(): str(user) for user in identity.get("userAssignedIdentities") or {}}
    named = {user.lower(): user for user in wanted.users}
    # A service that says there are some without naming them: they stay.
    unnamed = "UserAssigned" in kinds and not users
    before = _shown("SystemAssigned" in kinds, users, unnamed)
    if wanted.present:
        system = wanted.system or "SystemAssigned" in kinds
        after_users = {**named, **users}
    else:
        system = "SystemAssigned" in kinds and not wanted.system
        after_users = {key: user for key, user in users.items() if key not in named}
    after = _shown(system, after_users, unnamed)
    if after == before:
        return Plan("none", before, before)
    body: t.Dict[str, t.Any] = {"type": after["type"]}
    members: t.Dict[str, t.Any] = {user: {} for _key, user in sorted(after_users.items())}
    # Without any left the type alone removes them all, and the service takes no list.
    if after_users:
        members.update({user: None for key, user in sorted(users.items()) if key not in after_users})
        body["userAssignedIdentities"] = members
    return Plan("update", before, after, {"identity": body})


def _shown(system: bool, users: t.Mapping[str, str], unnamed: bool) -> t.Dict[str, t.Any]:
    kinds = [kind for kind, there in (("SystemAssigned", system), ("UserAssigned", bool(users) or unnamed)) if there]
    shown: t.Dict[str, t.Any] = {"type": ", ".join(kinds) or "None"}
    if users:
        shown["user_assigned"] = sorted(user.rpartition("/")[2] for user in users)
    return shown


def ensure(
    connection: Connection,
    vms: t.Sequence[Vm],
    check_mode: bool,
    wanted: Wanted = SYSTEM_ALONE,
    identities_made: t.Sequence[str] = (),
) -> t.Dict[str, t.Any]:
    """Give every VM its identities, or take them away; one list request per resource group, writes only where one is missing.

    One VM's failure does not stop the others. Raises SkrFailure when any failed; its facts tell all VMs.
    """
    known, unread = _list(connection, sorted({vm.group.lower() for vm in vms}))
    outcomes = []
    for vm in vms:
        found = known.get((vm.group.lower(), vm.name.lower()))
        if found is None:
            absent = SkrFailure("resource_not_found", f"There is no VM {vm.name} in resource group {vm.group}.")
            outcomes.append(Outcome(vm, None, {}, unread.get(vm.group.lower(), absent)))
        else:
            outcomes.append(Outcome(vm, plan_identity(found, wanted), found))
    if not check_mode:
        _apply(connection, [outcome for outcome in outcomes if outcome.plan and outcome.plan.changed], wanted)
    return _result(outcomes, identities_made)


def principals(connection: Connection, vms: t.Sequence[Vm]) -> t.List[str]:
    """Object ids of all identities of the VMs. Raises SkrFailure ``resource_not_found`` or ``identity_missing``."""
    known, unread = _list(connection, sorted({vm.group.lower() for vm in vms}))
    found: t.List[str] = []
    for vm in vms:
        machine = known.get((vm.group.lower(), vm.name.lower()))
        if machine is None:
            absent = SkrFailure("resource_not_found", f"There is no VM {vm.name} in resource group {vm.group}.")
            raise unread.get(vm.group.lower(), absent)
        identity = machine.get("identity") or {}
        users = (identity.get("userAssignedIdentities") or {}).values()
        ids = [identity.get("principalId"), *((user or {}).get("principalId") for user in users)]
        if not any(ids):
            raise SkrFailure("identity_missing", f"The VM {vm.name} has no managed identity.", {"vm": vm.name})
        found += [str(one) for one in ids if one]
    return list(dict.fromkeys(found))


def _list(
    connection: Connection, groups: t.Sequence[str]
) -> t.Tuple[t.Dict[t.Tuple[str, str], t.Dict[str, t.Any]], t.Dict[str, SkrFailure]]:
    """The VMs by group and name, and why a group could not be read, which concerns its VMs alone."""
    found, unread = {}, {}
    for group in groups:
        try:
            with errors(f"the VMs of resource group {group}"):
                for vm in connection.compute.virtual_machines.list(group):
                    found[(group, str(vm.name).lower())] = wire(vm)
        except SkrFailure as failure:
            if failure.reason not in ("resource_not_found", "authorization_failed"):
                raise
            unread[group] = failure
    return found, unread


def _apply(connection: Connection, outcomes: t.Sequence[Outcome], wanted: Wanted) -> None:
    """Start all updates, then wait for all; each poller works in a thread of its own."""
    machines = connection.compute.virtual_machines
    pollers = []
    for outcome in outcomes:
        try:
            pollers.append((outcome, _start(machines, outcome, wanted)))
        except SkrFailure as failure:
            outcome.failure = failure
    for outcome, poller in pollers:
        try:
            with errors(f"VM {outcome.vm.name}"):
                if poller is not None:
                    poller.result()
                outcome.found = wire(machines.get(outcome.vm.group, outcome.vm.name))
        except SkrFailure as failure:
            outcome.failure = failure


def _start(machines: t.Any, outcome: Outcome, wanted: Wanted) -> t.Any:
    """Send one update that loses no race: if somebody changed the VM meanwhile, read, plan and try again.

    None when somebody else has made that change by then.
    """
    from azure.core import MatchConditions
    from azure.core.exceptions import ResourceModifiedError

    vm = outcome.vm
    for _attempt in range(_RACES):
        if outcome.plan is None or not outcome.plan.changed:
            return None
        etag = outcome.found.get("etag")
        condition = {"etag": etag, "match_condition": MatchConditions.IfNotModified} if etag else {}
        with errors(f"VM {vm.name}"):
            try:
                return machines.begin_update(
                    vm.group, vm.name, outcome.plan.body, polling_interval=_POLL, **condition, **SAFE_TO_REPEAT
                )
            except ResourceModifiedError:
                outcome.found = wire(machines.get(vm.group, vm.name))
                outcome.plan = plan_identity(outcome.found, wanted)
    raise SkrFailure(
        "conflict", f"VM {vm.name} was changed by somebody else {_RACES} times while its identity was set."
    )


def _result(outcomes: t.Sequence[Outcome], identities_made: t.Sequence[str]) -> t.Dict[str, t.Any]:
    changed = [outcome for outcome in outcomes if outcome.plan and outcome.plan.changed and not outcome.failure]
    result: t.Dict[str, t.Any] = {
        "changed": bool(changed or identities_made),
        "vms": [outcome.as_dict() for outcome in outcomes],
        "identities_made": list(identities_made),
    }
    if changed:
        result["diff"] = {
            "before": {outcome.vm.name: outcome.plan.before for outcome in changed if outcome.plan},
            "after": {outcome.vm.name: outcome.plan.after for outcome in changed if outcome.plan},
        }
    failed = [outcome for outcome in outcomes if outcome.failure]
    first = failed[0].failure if failed else None
    if first is not None:
        names = ", ".join(outcome.vm.name for outcome in failed)
        raise SkrFailure(
            first.reason,
            f"{len(failed)} of {len(outcomes)} VMs failed ({names}), the others are done: {first.message}",
            result,
        )
    return result
