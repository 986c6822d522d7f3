# SPDX-License-Identifier: GPL-3.0-or-later
"""Microsoft.Attestation: private attestation providers (azure-rest-api-specs, Attestation.Management, 2021-06-01).

Making and deleting are no long-running operations. A list has one page.
"""

from __future__ import annotations

import base64
import hashlib
import re
import typing as t

from cryptography import x509

from ...core.messages import Response
from ...core.world import AttestationProvider, World
from . import versions
from .attestation import REGIONS
from .call import Call, Route, route
from .deleted_vaults import drop_assignments
from .errors import known, objects, refuse, tags

KIND = "Microsoft.Attestation/attestationProviders"
_EVERY = f"/subscriptions/{{sub}}/providers/{KIND}"
_GROUP = f"/subscriptions/{{sub}}/resourceGroups/{{rg}}/providers/{KIND}"
_ONE = f"{_GROUP}/{{name}}"
_NAME = re.compile(r"[a-zA-Z0-9]{3,24}")
# What a JSON Web Key has of a private key (RFC 7518, 6.2.2 and 6.3.2).
_PRIVATE = ("d", "dp", "dq", "k", "p", "q", "qi")


class AttestationProviders:
    def routes(self) -> list[Route]:
        takes, read, write = versions.ATTESTATION, f"{KIND}/read", f"{KIND}/write"
        sub, group = "/subscriptions/{sub}", "/subscriptions/{sub}/resourceGroups/{rg}"
        return [
            route("attestation_put", "PUT", _ONE, takes, self.put, action=write),
            route("attestation_get", "GET", _ONE, takes, self.get, action=read),
            route("attestation_patch", "PATCH", _ONE, takes, self.patch, action=write),
            route("attestation_delete", "DELETE", _ONE, takes, self.delete, action=f"{KIND}/delete"),
            route("attestation_list", "GET", _GROUP, takes, self.list_group, action=read, scope=group),
            route("attestation_list_all", "GET", _EVERY, takes, self.list_all, action=read, scope=sub),
        ]

    # --- reading

    def _found(self, call: Call) -> AttestationProvider:
        found = call.world.attestation_providers.get(self._id(call).lower())
        if found is None:
            raise call.not_found(KIND, call.groups["name"])
        return found

    def _id(self, call: Call) -> str:
        return f"{call.group_id()}/providers/{KIND}/{call.groups['name']}"

    def get(self, call: Call) -> Response:
        return Response.of(document(self._found(call)))

    def list_group(self, call: Call) -> Response:
        return self._list(call, call.group_id())

    def list_all(self, call: Call) -> Response:
        return self._list(call, call.subscription)

    def _list(self, call: Call, below: str) -> Response:
        every = call.world.attestation_providers.values()
        found = sorted((one for one in every if one.id.lower().startswith(below.lower() + "/")), key=lambda one: one.id)
        return Response.of({"value": [document(one) for one in found]})

    # --- writing

    def put(self, call: Call) -> Response:
        identifier, name = self._id(call), call.groups["name"]
        body = known(call.body(), "AttestationServiceCreationParams", read_only=True)
        properties = known(body.get("properties"), "AttestationServiceCreationSpecificParams")
        if not _NAME.fullmatch(name):
            message = f"The provider name '{name}' is invalid. It must have 3 to 24 letters and digits."
            raise refuse(400, "InvalidParameter", message)
        location = str(body.get("location") or "").replace(" ", "").lower()
        if not location:
            raise refuse(400, "LocationRequired", "The location property is required for this definition.")
        if location not in REGIONS:
            message = f"The provided location '{location}' is not available for resource type '{KIND}'."
            raise refuse(400, "LocationNotAvailableForResourceType", message)
        signers, changes = _signers(properties), {**_settings(properties), "tags": tags(body)}
        found = call.world.attestation_providers.get(identifier.lower())
        if found is None:
            _free(call.world, name, location)
            found = _made(call, identifier, name, location, signers)
            new = True
        else:
            new = False
            _same(found, location, signers if "policySigningCertificates" in properties else None)
        changed = _apply(found, changes)
        return Response.of(document(found), 201 if new else 200, write=new or changed)

    def patch(self, call: Call) -> Response:
        found = self._found(call)
        body = known(call.body(), "AttestationServicePatchParams")
        changes = _settings(known(body.get("properties") or {}, "AttestationServicePatchSpecificParams"))
        if body.get("tags") is not None:
            changes["tags"] = tags(body)
        changed = _apply(found, changes)
        return Response.of(document(found), write=changed)

    def delete(self, call: Call) -> Response:
        identifier = self._id(call)
        if identifier.lower() not in call.world.attestation_providers:
            return Response(204)
        remove(call.world, identifier)
        return Response(200, audit={"write": True})


def remove(world: World, identifier: str) -> None:
    """Take a provider away with its policies, and the roles that were given on it. Nothing brings it back."""
    del world.attestation_providers[identifier.lower()]
    drop_assignments(world, identifier)


def _free(world: World, name: str, location: str) -> None:
    """A name is free in a region until some group has a provider of that name there."""
    for other in world.attestation_providers.values():
        if other.name.lower() == name.lower() and other.location == location:
            message = f"The attestation provider name '{name}' is already in use in location '{location}'."
            raise refuse(409, "Conflict", message)


def _made(call: Call, identifier: str, name: str, location: str, signers: list[bytes]) -> AttestationProvider:
    """A new provider. Its host has a suffix that nobody can guess, so that clients have to read ``attestUri``."""
    suffix = hashlib.sha256(identifier.lower().encode()).hexdigest()[:4]
    host = f"{name.lower()}{suffix}.{REGIONS[location]}.attest.azure.net"
    group = identifier.split("/")[4]
    made = AttestationProvider(name, call.world.subscription_id, group, location, host, signers)
    call.world.attestation_providers[identifier.lower()] = made
    return made


def _same(found: AttestationProvider, location: str, signers: list[bytes] | None) -> None:
    """What cannot be changed by PUT: the region, and the certificates that policies are signed under."""
    if found.location != location:
        raise refuse(
            409,
            "InvalidResourceLocation",
            f"The resource '{found.name}' already exists in location '{found.location}' in resource group "
            f"'{found.resource_group}'. A resource with the same name cannot be created in location '{location}'. "
            "Please select a new resource name.",
        )
    if signers is not None and signers != found.signers:
        message = "The policy signing certificates of an existing provider cannot be changed by this operation."
        raise refuse(400, "InvalidParameter", message)


def _settings(properties: dict[str, t.Any]) -> dict[str, t.Any]:
    """The two switches, as attributes of the provider."""
    changes = {}
    members = {"publicNetworkAccess": "public_network_access", "tpmAttestationAuthentication": "tpm_authentication"}
    for member, attribute in members.items():
        value = properties.get(member)
        if value is None:
            continue
        if value not in ("Enabled", "Disabled"):
            raise refuse(400, "InvalidParameter", f"The value '{value}' of {member} is not valid.")
        changes[attribute] = value
    return changes


def _signers(properties: dict[str, t.Any]) -> list[bytes]:
    """The certificates of a JSON Web Key Set (RFC 7517), the first of each key's chain. Private members are refused."""
    if properties.get("policySigningCertificates") is None:
        return []
    keys = known(properties["policySigningCertificates"], "JsonWebKeySet")
    found = []
    for key in objects(keys.get("keys"), "JsonWebKey"):
        chain = key.get("x5c")
        if any(member in key for member in _PRIVATE) or key.get("kty") not in ("RSA", "EC") or not chain:
            raise refuse(400, "InvalidParameter", "A policy signing certificate is a public key with kty and x5c.")
        try:
            der = base64.b64decode(chain[0], validate=True)
            x509.load_der_x509_certificate(der)
        except (ValueError, TypeError):
            raise refuse(400, "InvalidParameter", "A policy signing certificate cannot be read.") from None
        found.append(der)
    return found


def _apply(found: AttestationProvider, changes: dict[str, t.Any]) -> bool:
    different = {name: value for name, value in changes.items() if getattr(found, name) != value}
    for name, value in different.items():
        setattr(found, name, value)
    return bool(different)


def document(found: AttestationProvider) -> dict[str, t.Any]:
    """As the service tells it: the signing certificates are not in it."""
    return {
        "id": found.id,
        "name": found.name,
        "type": KIND,
        "location": found.location,
        "tags": found.tags,
        "properties": {
            "trustModel": "Isolated" if found.signers else "AAD",
            "status": "Ready",
            "attestUri": f"https://{found.host}",
            "publicNetworkAccess": found.public_network_access,
            "tpmAttestationAuthentication": found.tpm_authentication,
        },
    }
