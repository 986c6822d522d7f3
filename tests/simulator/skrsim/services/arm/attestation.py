# SPDX-License-Identifier: GPL-3.0-or-later
"""Microsoft.Attestation: the shared attestation provider of each region. Private ones: ``attestation_providers``."""

from __future__ import annotations

import typing as t

from ...core.messages import Response
from . import versions
from .call import Call, Route, route
from .errors import refuse

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
_READ = "Microsoft.Attestation/attestationProviders/read"


class Attestation:
    def routes(self) -> list[Route]:
        one, all_of_them = f"{_WHERE}/locations/{{location}}/defaultProvider", f"{_WHERE}/defaultProviders"
        takes, scope = versions.ATTESTATION, "/subscriptions/{sub}"
        return [
            route("default_provider", "GET", one, takes, self.default, action=_READ, scope=scope),
            route("default_providers", "GET", all_of_them, takes, self.defaults, action=_READ, scope=scope),
        ]

    def default(self, call: Call) -> Response:
        location = call.groups["location"].replace(" ", "").lower()
        if location not in REGIONS:
            raise refuse(404, "ResourceNotFound", f"There is no default attestation provider in location '{location}'.")
        return Response.of(document(call, location))

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
