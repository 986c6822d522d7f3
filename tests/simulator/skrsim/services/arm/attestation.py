# SPDX-License-Identifier: GPL-3.0-or-later
"""Microsoft.Attestation: the shared attestation provider of each region, and private ones."""

from __future__ import annotations

import base64
import re
import typing as t

from cryptography import x509

from ...core.messages import Response
from . import versions
from .call import Call, Route, route
from .errors import known, objects, refuse, tags

# Region -> code in the host name of the region's shared provider (the public list in Microsoft's own clients).
REGIONS = dict(
    pair.split("=")
    for pair in (
        "australiacentral=cau australiacentral2=cau2 australiaeast=eau australiasoutheast=sau austriaeast=ate "
        "brazilsouth=sbr brazilsoutheast=sebr canadacentral=cac canadaeast=cae centralindia=cin centralus=cus "
        "chilecentral=clc eastasia=easia eastus=eus eastus2=eus2 francecentral=frc francesouth=frs germanynorth=den "
        "germanywestcentral=dewc israelcentral=ilc italynorth=itn japaneast=jpe japanwest=jpw koreacentral=krc "
        "koreasouth=krs malaysiasouth=mys mexicocentral=mxc newzealandnorth=nzn northcentralus=ncus northeurope=neu "
        "norwayeast=noe norwaywest=now polandcentral=plc southafricanorth=san southafricawest=saw "
        "southcentralus=scus southeastasia=sasia southindia=sin spaincentral=esc swedencentral=sec swedensouth=ses "
        "switzerlandnorth=swn switzerlandwest=sww taiwannorth=twn uaecentral=uaec uaenorth=uaen uksouth=uks ukwest=ukw "
        "westcentralus=wcus westeurope=weu westindia=win westus=wus westus2=wus2 westus3=wus3"
    ).split()
)
_WHERE = "/subscriptions/{sub}/providers/Microsoft.Attestation"
KIND = "Microsoft.Attestation/attestationProviders"
_READ = f"{KIND}/read"
_GROUP = f"/subscriptions/{{sub}}/resourceGroups/{{rg}}/providers/{KIND}"
_ONE = f"{_GROUP}/{{name}}"
_NAME = re.compile(r"[a-zA-Z0-9]{3,24}")


class Attestation:
    def routes(self) -> list[Route]:
        one, all_of_them = f"{_WHERE}/locations/{{location}}/defaultProvider", f"{_WHERE}/defaultProviders"
        takes, scope = versions.ATTESTATION, "/subscriptions/{sub}"
        return [
            route("default_provider", "GET", one, takes, self.default, action=_READ, scope=scope),
            route("provider_get", "GET", _ONE, takes, self.get, action=_READ),
            route("provider_put", "PUT", _ONE, takes, self.put, action=f"{KIND}/write"),
            route("provider_patch", "PATCH", _ONE, takes, self.patch, action=f"{KIND}/write"),
            route("provider_delete", "DELETE", _ONE, takes, self.delete, action=f"{KIND}/delete"),
            route(
                "provider_list",
                "GET",
                _GROUP,
                takes,
                self.list_group,
                action=_READ,
                scope="/subscriptions/{sub}/resourceGroups/{rg}",
            ),
            route(
                "provider_list_all",
                "GET",
                f"{_WHERE}/attestationProviders",
                takes,
                self.list_all,
                action=_READ,
                scope=scope,
            ),
            route("default_providers", "GET", all_of_them, takes, self.defaults, action=_READ, scope=scope),
        ]

    def default(self, call: Call) -> Response:
        location = call.groups["location"].replace(" ", "").lower()
        if location not in REGIONS:
            raise refuse(404, "ResourceNotFound", f"There is no default attestation provider in location '{location}'.")
        return Response.of(document(call, location))

    # --- private providers

    @staticmethod
    def _id(call: Call) -> str:
        return f"{call.group_id()}/providers/{KIND}/{call.groups['name']}"

    def _find(self, call: Call) -> dict[str, t.Any]:
        found = call.world.resources.get(self._id(call).lower())
        if found is None:
            raise call.not_found(KIND, call.groups["name"])
        return found

    def get(self, call: Call) -> Response:
        return Response.of(shown(self._find(call)))

    def list_group(self, call: Call) -> Response:
        return self._list(call, f"{call.group_id()}/providers/{KIND}/")

    def list_all(self, call: Call) -> Response:
        return self._list(call, call.subscription + "/")

    @staticmethod
    def _list(call: Call, below: str) -> Response:
        found = [
            shown(one)
            for key, one in call.world.resources.items()
            if one["type"] == KIND and key.startswith(below.lower())
        ]
        return Response.of({"value": found})

    def put(self, call: Call) -> Response:
        """A provider's place and trust model are fixed when it is made."""
        identifier, name = self._id(call), call.groups["name"]
        body = known(call.body(), "AttestationServiceCreationParams")
        if not _NAME.fullmatch(name):
            raise refuse(400, "InvalidResourceName", f"The attestation provider name '{name}' is invalid.")
        location = str(body.get("location") or "").replace(" ", "").lower()
        if location not in REGIONS:
            raise refuse(400, "LocationNotAvailableForResourceType", f"'{location}' has no attestation providers.")
        properties = known(body.get("properties") or {}, "AttestationServiceCreationSpecificParams")
        signers = known(properties.get("policySigningCertificates") or {}, "JsonWebKeySet")
        certificates = [_certificate(entry) for entry in objects(signers.get("keys"), "JsonWebKey")]
        existing = call.world.resources.get(identifier.lower())
        if existing is not None:
            if existing["location"] != location:
                raise refuse(409, "InvalidResourceLocation", f"The resource '{name}' is in '{existing['location']}'.")
            raise refuse(409, "Conflict", f"The attestation provider '{name}' exists already.")
        host = f"{name.lower()}.{REGIONS[location]}.attest.azure.net"
        if any(one["type"] == KIND and one["host"] == host for one in call.world.resources.values()):
            raise refuse(409, "NameUnavailable", f"The name '{name}' is in use.")
        call.world.resources[identifier.lower()] = made = {
            "id": identifier, "name": name, "type": KIND, "location": location, "tags": tags(body), "host": host,
            "signers": certificates, "policies": {},
        }  # fmt: skip
        return Response.of(shown(made), 201, write=True)

    def patch(self, call: Call) -> Response:
        found = self._find(call)
        body = known(call.body(), "AttestationServicePatchParams")
        changed = body.get("tags") is not None and tags(body) != found["tags"]
        if body.get("tags") is not None:
            found["tags"] = tags(body)
        return Response.of(shown(found), write=changed)

    def delete(self, call: Call) -> Response:
        if self._id(call).lower() not in call.world.resources:
            return Response(204)
        del call.world.resources[self._id(call).lower()]
        return Response(200, audit={"write": True})

    def defaults(self, call: Call) -> Response:
        return Response.of({"value": [document(call, location) for location in REGIONS]})


def document(call: Call, location: str) -> dict[str, t.Any]:
    code = REGIONS[location]
    return {
        "id": f"{call.subscription}/providers/Microsoft.Attestation/attestationProviders/shared{code}",
        "name": f"shared{code}",
        "type": "Microsoft.Attestation/attestationProviders",
        "location": location,
        "properties": {
            "trustModel": "AAD",
            "status": "Ready",
            "attestUri": f"https://shared{code}.{code}.attest.azure.net",
        },
    }


def _certificate(entry: dict[str, t.Any]) -> bytes:
    """The DER certificate of a policy signer."""
    try:
        der = base64.b64decode(entry["x5c"][0], validate=True)
        x509.load_der_x509_certificate(der)
    except (KeyError, IndexError, TypeError, ValueError):
        raise refuse(400, "InvalidParameter", "A policy signing certificate is not valid.") from None
    return der


def shown(found: dict[str, t.Any]) -> dict[str, t.Any]:
    return {
        **{member: found[member] for member in ("id", "name", "type", "location", "tags")},
        "properties": {
            "trustModel": "Isolated" if found["signers"] else "AAD",
            "status": "Ready",
            "attestUri": f"https://{found['host']}",
            "publicNetworkAccess": "Enabled",
        },
    }
