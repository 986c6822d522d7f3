# SPDX-License-Identifier: GPL-3.0-or-later
"""As much of Microsoft.Network as a VM needs: networks with subnets, security groups, interfaces."""

from __future__ import annotations

import ipaddress
import re
import typing as t

from ...core.messages import Response
from ...core.world import World
from . import versions
from .call import Call, Route, route
from .errors import known, objects, refuse, tags

_ROOT = "/subscriptions/{sub}/resourceGroups/{rg}/providers/Microsoft.Network"
_NAME = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9_.-]{0,78}[a-zA-Z0-9_])?")
_KINDS = {
    "virtualNetworks": "VirtualNetwork",
    "networkSecurityGroups": "NetworkSecurityGroup",
    "networkInterfaces": "NetworkInterface",
}
_PAGE = 100


class Networks:
    """Documents live in ``world.resources``; writes answer at once, with ``provisioningState`` Succeeded."""

    def routes(self) -> list[Route]:
        found: list[Route] = []
        for kind in _KINDS:
            where, action = f"{_ROOT}/{kind}", f"Microsoft.Network/{kind}"
            group = "/subscriptions/{sub}/resourceGroups/{rg}"
            one, name = f"{where}/{{name}}", kind[0].lower() + re.sub(r"(?<!^)([A-Z])", r"_\1", kind[1:]).lower()
            name = re.sub(r"([A-Z])", r"_\1", kind).lower().removesuffix("s")
            found += [
                route(f"{name}_get", "GET", one, versions.NETWORK, self._get(kind), "$expand", action=f"{action}/read"),
                route(f"{name}_put", "PUT", one, versions.NETWORK, self._put(kind), action=f"{action}/write"),
                route(f"{name}_delete", "DELETE", one, versions.NETWORK, self._delete(kind), action=f"{action}/delete"),
                route(f"{name}_list", "GET", where, versions.NETWORK, self._list(kind), action=f"{action}/read",
                      scope=group),
            ]  # fmt: skip
        return found

    @staticmethod
    def _id(call: Call, kind: str) -> str:
        return f"{call.group_id()}/providers/Microsoft.Network/{kind}/{call.groups['name']}"

    def _get(self, kind: str) -> t.Callable[[Call], Response]:
        def get(call: Call) -> Response:
            found = call.world.resources.get(self._id(call, kind).lower())
            if found is None:
                raise call.not_found(f"Microsoft.Network/{kind}", call.groups["name"])
            return Response.of(shown(call.world, found))

        return get

    def _list(self, kind: str) -> t.Callable[[Call], Response]:
        def listed(call: Call) -> Response:
            below = f"{call.group_id()}/providers/Microsoft.Network/{kind}/".lower()
            found = [shown(call.world, one) for key, one in call.world.resources.items() if key.startswith(below)]
            return call.page(found, _PAGE)

        return listed

    def _delete(self, kind: str) -> t.Callable[[Call], Response]:
        def delete(call: Call) -> Response:
            identifier = self._id(call, kind)
            if identifier.lower() not in call.world.resources:
                return Response(204)
            user = _user(call.world, identifier)
            if user:
                code = "NicInUse" if kind == "networkInterfaces" else "InUseCannotBeDeleted"
                raise refuse(400, code, f"The resource {identifier} is in use by {user} and cannot be deleted.")
            del call.world.resources[identifier.lower()]
            return Response(200, audit={"write": True})

        return delete

    def _put(self, kind: str) -> t.Callable[[Call], Response]:
        model = _KINDS[kind]

        def put(call: Call) -> Response:
            identifier, name = self._id(call, kind), call.groups["name"]
            if not _NAME.fullmatch(name):
                raise refuse(400, "InvalidResourceName", f"The resource name '{name}' is invalid.")
            body = known(call.body(), model, read_only=True)
            location = str(body.get("location") or "").replace(" ", "").lower()
            if not location:
                raise refuse(400, "LocationRequired", "The location property is required for this definition.")
            before = call.world.resources.get(identifier.lower())
            if before is not None and before["location"] != location:
                raise refuse(409, "InvalidResourceLocation", f"The resource '{name}' is in '{before['location']}'.")
            properties = _CHECKS[kind](call, identifier, known(body.get("properties") or {}, f"{model}Properties"))
            made = {
                "id": identifier, "name": name, "type": f"Microsoft.Network/{kind}", "location": location,
                "tags": tags(body), "properties": {**properties, "provisioningState": "Succeeded"},
            }  # fmt: skip
            call.world.resources[identifier.lower()] = made
            return Response.of(shown(call.world, made), 200 if before else 201, write=made != before)

        return put


def _network(call: Call, identifier: str, properties: dict[str, t.Any]) -> dict[str, t.Any]:
    space = properties.get("addressSpace")
    prefixes = space.get("addressPrefixes") if isinstance(space, dict) else None
    try:
        networks = [ipaddress.IPv4Network(text) for text in prefixes or []]
    except ValueError:
        networks = []
    if not networks:
        raise refuse(400, "InvalidAddressPrefixFormat", "The address space of a virtual network is not valid.")
    subnets = []
    for one in objects(properties.get("subnets"), "Subnet"):
        inner = known(one.get("properties") or {}, "SubnetProperties")
        try:
            prefix = ipaddress.IPv4Network(str(inner.get("addressPrefix")))
        except ValueError:
            raise refuse(400, "InvalidAddressPrefixFormat", "The address prefix of a subnet is not valid.") from None
        if not any(prefix.subnet_of(network) for network in networks):
            raise refuse(400, "NetcfgInvalidSubnet", f"Subnet '{one.get('name')}' is not within the virtual network.")
        _existing_group(call, inner)
        subnets.append({"id": f"{identifier}/subnets/{one['name']}", "name": one["name"], "properties": inner})
    return {"addressSpace": {"addressPrefixes": prefixes}, "subnets": subnets}


def _existing_group(call: Call, properties: dict[str, t.Any]) -> None:
    group = properties.get("networkSecurityGroup")
    if group is not None and str(group.get("id", "")).lower() not in call.world.resources:
        raise refuse(404, "NotFound", f"The network security group {group.get('id')} was not found.")


def _security_group(call: Call, identifier: str, properties: dict[str, t.Any]) -> dict[str, t.Any]:
    rules = properties.get("securityRules") or []
    if not isinstance(rules, list):
        raise refuse(400, "InvalidRequestFormat", "securityRules must be a list.")
    return {"securityRules": rules}


def _interface(call: Call, identifier: str, properties: dict[str, t.Any]) -> dict[str, t.Any]:
    configurations = objects(properties.get("ipConfigurations"), "IPConfiguration")
    if not configurations:
        raise refuse(400, "NetworkInterfaceMustHaveIpConfiguration", "A network interface needs an IP configuration.")
    _existing_group(call, properties)
    found = []
    for one in configurations:
        inner = known(one.get("properties") or {}, "IPConfigurationProperties")
        subnet = str((inner.get("subnet") or {}).get("id", ""))
        network = call.world.resources.get(subnet.rpartition("/subnets/")[0].lower())
        known_ids = [
            entry["id"].lower() for entry in (network or {"properties": {"subnets": []}})["properties"]["subnets"]
        ]
        if subnet.lower() not in known_ids:
            raise refuse(
                404, "InvalidResourceReference", f"Resource {subnet} referenced by {identifier} was not found."
            )
        call.needs("Microsoft.Network/virtualNetworks/subnets/join/action", subnet)
        address = f"10.0.0.{4 + len(call.world.resources) % 250}"
        found.append(
            {**one, "properties": {"privateIPAddress": address, "privateIPAllocationMethod": "Dynamic", **inner}}
        )
    group = {"networkSecurityGroup": properties["networkSecurityGroup"]} if "networkSecurityGroup" in properties else {}
    return {"ipConfigurations": found, **group}


_CHECKS: dict[str, t.Callable[[Call, str, dict[str, t.Any]], dict[str, t.Any]]] = {
    "virtualNetworks": _network,
    "networkSecurityGroups": _security_group,
    "networkInterfaces": _interface,
}


def _user(world: World, identifier: str) -> str | None:
    """Who uses a resource; an interface is a VM's, a network or group that of an interface."""
    low = identifier.lower()
    for vm in world.vms.values():
        if low in (one.lower() for one in vm.interfaces):
            return vm.id
    for key, one in world.resources.items():
        if "/networkinterfaces/" not in key:
            continue
        inner = one["properties"]
        subnets = [entry["properties"]["subnet"]["id"].lower() for entry in inner["ipConfigurations"]]
        if any(text.startswith(low + "/") for text in subnets):
            return str(one["id"])
        if str((inner.get("networkSecurityGroup") or {}).get("id", "")).lower() == low:
            return str(one["id"])
    return None


def shown(world: World, document: dict[str, t.Any]) -> dict[str, t.Any]:
    if document["type"] != "Microsoft.Network/networkInterfaces":
        return document
    user = _user(world, document["id"])
    return {**document, "properties": {**document["properties"], **({"virtualMachine": {"id": user}} if user else {})}}
