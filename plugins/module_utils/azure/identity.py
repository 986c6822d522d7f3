# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The system-assigned managed identity of many VMs at once; other identities are never touched."""

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


def plan_identity(found: t.Mapping[str, t.Any]) -> Plan:
    """The union of what the VM has and a system-assigned identity. ``type`` is authoritative in the service."""
    identity = found.get("identity") or {}
    kinds = {kind.strip() for kind in str(identity.get("type") or "").split(",")} - {"", "None"}
    before = {"type": ", ".join(sorted(kinds)) or "None"}
    if "SystemAssigned" in kinds:
        return Plan("none", before, before)
    users = sorted((identity.get("userAssignedIdentities") or {}).keys())
    kind = "SystemAssigned, UserAssigned" if users or "UserAssigned" in kinds else "SystemAssigned"
    body: t.Dict[str, t.Any] = {"identity": {"type": kind}}
    if users:
        body["identity"]["userAssignedIdentities"] = {user: {} for user in users}
    return Plan("update", before, {"type": kind}, body)


def ensure(connection: Connection, vms: t.Sequence[Vm], check_mode: bool) -> t.Dict[str, t.Any]:
    """Give every VM its identity; one list request per resource group, writes only where one is missing.

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
            outcomes.append(Outcome(vm, plan_identity(found), found))
    if not check_mode:
        _apply(connection, [outcome for outcome in outcomes if outcome.plan and outcome.plan.changed])
    return _result(outcomes)


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


def _apply(connection: Connection, outcomes: t.Sequence[Outcome]) -> None:
    """Start all updates, then wait for all; each poller works in a thread of its own."""
    machines = connection.compute.virtual_machines
    pollers = []
    for outcome in outcomes:
        try:
            pollers.append((outcome, _start(machines, outcome)))
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


def _start(machines: t.Any, outcome: Outcome) -> t.Any:
    """Send one update that loses no race: if somebody changed the VM meanwhile, read, plan and try again.

    None when somebody else has made the identity by then.
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
                outcome.plan = plan_identity(outcome.found)
    raise SkrFailure(
        "conflict", f"VM {vm.name} was changed by somebody else {_RACES} times while its identity was set."
    )


def _result(outcomes: t.Sequence[Outcome]) -> t.Dict[str, t.Any]:
    changed = [outcome for outcome in outcomes if outcome.plan and outcome.plan.changed and not outcome.failure]
    result: t.Dict[str, t.Any] = {"changed": bool(changed), "vms": [outcome.as_dict() for outcome in outcomes]}
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
