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
from . import budget
from .clients import SAFE_TO_REPEAT, Connection, errors, wire
from .plan import Plan

_ID = re.compile(
    r"/subscriptions/(?P<subscription>[^/]+)/resourceGroups/(?P<group>[^/]+)/providers/Microsoft\.Compute/"
    r"(?P<kind>virtualMachines|virtualMachineScaleSets)/(?P<name>[^/]+)",
    re.IGNORECASE,
)
API_VERSION = "2024-11-01"
_POLL = 5
_RACES = 3


class Wanted(t.NamedTuple):
    """Which identities shall be there, or with ``present`` false shall not; ``users`` are resource ids."""

    system: bool = True
    users: t.Tuple[str, ...] = ()
    present: bool = True


SYSTEM_ALONE = Wanted()


class Vm(t.NamedTuple):
    """A VM, or a scale set of them, by resource group and name."""

    group: str
    name: str
    scale_set: bool = False

    @property
    def key(self) -> t.Tuple[str, str, bool]:
        return self.group.lower(), self.name.lower(), self.scale_set

    @property
    def what(self) -> str:
        return f"{'scale set' if self.scale_set else 'VM'} {self.name}"


@dataclasses.dataclass
class Outcome:
    """What happened to one VM."""

    vm: Vm
    plan: t.Optional[Plan]
    found: t.Dict[str, t.Any]
    failure: t.Optional[SkrFailure] = None
    warning: t.Optional[str] = None

    def as_dict(self) -> t.Dict[str, t.Any]:
        identity = self.found.get("identity") or {}
        users = identity.get("userAssignedIdentities") or {}
        found: t.Dict[str, t.Any] = {
            "name": self.vm.name,
            "kind": "scale_set" if self.vm.scale_set else "vm",
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


def locate(
    entries: t.Sequence[str], group: t.Optional[str], subscription: t.Optional[str] = None, scale_sets: bool = False
) -> t.List[Vm]:
    """Names or resource ids as VMs (or scale sets), each once. Raises SkrFailure ``invalid_input``."""
    option, a_kind = ("scale_sets", "a scale set") if scale_sets else ("vms", "a VM")
    found: t.Dict[t.Tuple[str, str, bool], Vm] = {}
    for entry in entries:
        parts = _ID.fullmatch(entry.rstrip("/"))
        if parts and scale_sets == (parts["kind"].lower() == "virtualmachinescalesets"):
            if subscription and parts["subscription"].lower() != subscription.lower():
                # Without this the VM of the same name in the other subscription would be changed.
                wanted = f"{a_kind} of the subscription {subscription} (subscription_id)"
                raise SkrFailure("invalid_input", f"{option} has {entry!r}, wanted {wanted}.", {"option": option})
            vm = Vm(parts["group"], parts["name"], scale_sets)
        elif "/" in entry or not group:
            of_kind = f"{a_kind}'s resource id"
            wanted = of_kind if "/" in entry else "a resource id, because resource_group is not set"
            raise SkrFailure("invalid_input", f"{option} has {entry!r}, wanted {wanted}.", {"option": option})
        else:
            vm = Vm(group, entry, scale_sets)
        found.setdefault(vm.key, vm)
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
    upgrade_instances: bool = False,
) -> t.Dict[str, t.Any]:
    """Give every VM its identities, or take them away; a list by pages per resource group, writes only where one is missing.

    One VM's failure does not stop the others. Raises SkrFailure when any failed; its facts tell all VMs.
    """
    known, unread = _list(connection, vms)
    outcomes = []
    for vm in vms:
        found = known.get(vm.key)
        if found is None:
            absent = SkrFailure("resource_not_found", f"There is no {vm.what} in resource group {vm.group}.")
            outcomes.append(Outcome(vm, None, {}, unread.get((vm.group.lower(), vm.scale_set), absent)))
        else:
            outcomes.append(Outcome(vm, plan_identity(found, wanted), found))
    if not check_mode:
        open_ones = [outcome for outcome in outcomes if outcome.plan and outcome.plan.changed]
        failures = budget.each(open_ones, lambda outcome: _apply(connection, outcome, wanted, upgrade_instances))
        for index, failure in failures.items():
            open_ones[index].failure = failure
    return _result(outcomes, identities_made, connection.gate.waited)


def principals(connection: Connection, vms: t.Sequence[Vm]) -> t.List[str]:
    """Object ids of all identities of the VMs. Raises SkrFailure ``resource_not_found`` or ``identity_missing``."""
    known, unread = _list(connection, vms)
    found: t.List[str] = []
    for vm in vms:
        machine = known.get(vm.key)
        if machine is None:
            absent = SkrFailure("resource_not_found", f"There is no {vm.what} in resource group {vm.group}.")
            raise unread.get((vm.group.lower(), vm.scale_set), absent)
        identity = machine.get("identity") or {}
        users = (identity.get("userAssignedIdentities") or {}).values()
        ids = [identity.get("principalId"), *((user or {}).get("principalId") for user in users)]
        if not any(ids):
            raise SkrFailure("identity_missing", f"The {vm.what} has no managed identity.", {"vm": vm.name})
        found += [str(one) for one in ids if one]
    return list(dict.fromkeys(found))


def _machines(connection: Connection, scale_set: bool) -> t.Any:
    compute = connection.compute
    return compute.virtual_machine_scale_sets if scale_set else compute.virtual_machines


def _list(
    connection: Connection, vms: t.Sequence[Vm]
) -> t.Tuple[t.Dict[t.Tuple[str, str, bool], t.Dict[str, t.Any]], t.Dict[t.Tuple[str, bool], SkrFailure]]:
    """What there is by group, name and kind, and why a group could not be read, which concerns its VMs alone."""
    found: t.Dict[t.Tuple[str, str, bool], t.Dict[str, t.Any]] = {}
    unread: t.Dict[t.Tuple[str, bool], SkrFailure] = {}
    for group, scale_set in sorted({(vm.group.lower(), vm.scale_set) for vm in vms}):
        kind = "scale sets" if scale_set else "VMs"
        try:
            # Read without the compute client, whose import costs more than all the rest where nothing has to change.
            of_kind = "virtualMachineScaleSets" if scale_set else "virtualMachines"
            path = f"/subscriptions/{connection.subscription_id}/resourceGroups/{group}/providers/Microsoft.Compute/{of_kind}"
            for vm in connection.list(path, API_VERSION, f"the {kind} of resource group {group}"):
                found[(group, str(vm.get("name")).lower(), scale_set)] = vm
        except SkrFailure as failure:
            if failure.reason not in ("resource_not_found", "authorization_failed"):
                raise
            unread[(group, scale_set)] = failure
    return found, unread


def _apply(connection: Connection, outcome: Outcome, wanted: Wanted, upgrade_instances: bool) -> None:
    """One VM; called by many threads at once. Raises SkrFailure."""

    def plan(found: t.Dict[str, t.Any]) -> Plan:
        outcome.found, outcome.plan = found, plan_identity(found, wanted)
        return outcome.plan

    outcome.found = patch(connection, outcome.vm, outcome.found, plan)
    policy = (outcome.found.get("properties") or {}).get("upgradePolicy") or {}
    if not outcome.vm.scale_set or str(policy.get("mode", "")).lower() != "manual":
        return
    if not upgrade_instances:
        outcome.warning = (
            f"The instances of {outcome.vm.name} get the change with their next upgrade; its upgrade mode is manual."
        )
        return
    with errors(f"the instances of {outcome.vm.what}"):
        connection.compute.virtual_machine_scale_sets.begin_update_instances(
            outcome.vm.group, outcome.vm.name, {"instanceIds": ["*"]}, polling_interval=_POLL, **SAFE_TO_REPEAT
        ).result()


def patch(
    connection: Connection, vm: Vm, found: t.Dict[str, t.Any], plan: t.Callable[[t.Dict[str, t.Any]], Plan]
) -> t.Dict[str, t.Any]:
    """Send one update that loses no race, and see it to its end; returns the VM as it then is.

    If somebody changed the VM meanwhile, it is read, planned and tried again. Raises SkrFailure.
    """
    from azure.core import MatchConditions
    from azure.core.exceptions import ResourceModifiedError

    machines = _machines(connection, vm.scale_set)
    for _attempt in range(_RACES):
        wanted = plan(found)
        if not wanted.changed:
            return found  # somebody else has made that change by now
        etag = found.get("etag")
        condition = {"etag": etag, "match_condition": MatchConditions.IfNotModified} if etag else {}
        with errors(vm.what):
            try:
                # The end of the operation is a read of the VM, so no other is needed.
                return wire(
                    machines.begin_update(
                        vm.group, vm.name, wanted.body, polling_interval=_POLL, **condition, **SAFE_TO_REPEAT
                    ).result()
                )
            except ResourceModifiedError:
                found = wire(machines.get(vm.group, vm.name))
    raise SkrFailure("conflict", f"{vm.what} was changed by somebody else {_RACES} times while its identity was set.")


def _result(outcomes: t.Sequence[Outcome], identities_made: t.Sequence[str], waited: float) -> t.Dict[str, t.Any]:
    changed = [outcome for outcome in outcomes if outcome.plan and outcome.plan.changed and not outcome.failure]
    result: t.Dict[str, t.Any] = {
        "changed": bool(changed or identities_made),
        "vms": [outcome.as_dict() for outcome in outcomes],
        "identities_made": list(identities_made),
        "throttled_s": round(waited, 1),
        "warnings": [outcome.warning for outcome in outcomes if outcome.warning],
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
            {**result, "failed": [outcome.vm.name for outcome in failed]},
        )
    return result
