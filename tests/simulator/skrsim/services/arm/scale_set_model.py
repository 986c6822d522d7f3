# SPDX-License-Identifier: GPL-3.0-or-later
"""What the instances of a scale set may be made of: its virtualMachineProfile, checked as that of a single VM is."""

from __future__ import annotations

import typing as t

from ...core.world import ScaleSet, VirtualMachine
from . import vm_model
from .call import Call
from .errors import known, objects, refuse

_SET = "VirtualMachineScaleSet"


def checked(call: Call, properties: dict[str, t.Any], kind: str | None, size: str, location: str) -> dict[str, t.Any]:
    """The profile as given."""
    profile = known(properties.get("virtualMachineProfile") or {}, f"{_SET}VMProfile")
    instance = VirtualMachine(call.groups["name"], "", "", location, "", size=size)
    vm_model.security(profile, kind, instance)
    vm_model.storage(call, profile, instance, of_set=True)
    login = known(profile.get("osProfile") or {}, f"{_SET}OSProfile")
    if not login.get("computerNamePrefix"):
        raise vm_model.bad("Required parameter 'osProfile.computerNamePrefix' is missing (null).")
    vm_model.login(login)
    network = known(profile.get("networkProfile") or {}, f"{_SET}NetworkProfile")
    interfaces = objects(network.get("networkInterfaceConfigurations"), f"{_SET}NetworkConfiguration")
    if sum(bool((one.get("properties") or {}).get("primary")) for one in interfaces) != 1:
        raise vm_model.bad("Exactly one network interface configuration must be primary.")
    for interface in interfaces:
        inner = known(interface.get("properties") or {}, f"{_SET}NetworkConfigurationProperties")
        addresses = objects(inner.get("ipConfigurations"), f"{_SET}IPConfiguration")
        if not addresses:
            raise vm_model.bad("A network interface configuration must have an IP configuration.")
        for address in addresses:
            _subnet(call, known(address.get("properties") or {}, f"{_SET}IPConfigurationProperties"), location)
    return profile


def _subnet(call: Call, address: dict[str, t.Any], location: str) -> None:
    identifier = str(known(address.get("subnet") or {}, "ApiEntityReference").get("id"))
    network, _slash, name = identifier.partition("/subnets/")
    found = call.world.resources.get(network.lower())
    names = [one["name"].lower() for one in found["properties"]["subnets"]] if found else []
    if found is None or name.lower() not in names:
        raise refuse(400, "InvalidResourceReference", f"Resource {identifier} referenced by the set was not found.")
    if found["location"] != location:
        raise vm_model.bad(f"The network is in '{found['location']}', the scale set in '{location}'.", "BadRequest")


def zones(body: dict[str, t.Any]) -> list[str]:
    found = body.get("zones") or []
    if not isinstance(found, list) or not all(zone in ("1", "2", "3") for zone in found):
        raise vm_model.bad(f"The zones {found!r} are not valid.")
    return list(found)


def capacity(body: dict[str, t.Any], found: ScaleSet) -> int:
    """The number of instances that an update asks for; its sku may not name another size."""
    sku = body.get("sku") or {}
    if str(sku.get("name", found.size)).lower() != found.size.lower():
        raise refuse(409, "OperationNotAllowed", "The simulator does not change a scale set's size.")
    asked = sku.get("capacity", found.capacity)
    if not isinstance(asked, int) or isinstance(asked, bool) or not 0 <= asked <= 1000:
        raise vm_model.bad(f"The capacity {asked!r} is invalid.")
    return asked


def shown(profile: dict[str, t.Any]) -> dict[str, t.Any]:
    """The profile as a read gives it: without secrets."""
    login = {
        name: value
        for name, value in (profile.get("osProfile") or {}).items()
        if name not in ("adminPassword", "customData")
    }
    return {**profile, **({"osProfile": login} if login else {})}
