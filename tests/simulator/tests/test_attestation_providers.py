# SPDX-License-Identifier: GPL-3.0-or-later
"""Private attestation providers in Resource Manager: make, change, read, list and remove; what is refused."""

from __future__ import annotations

import base64
import typing as t
from pathlib import Path

import pytest
from arm_caller import Answer, Caller
from policy_signer import Signer

from skrsim.core.app import App, build
from skrsim.core.world import Principal, World
from skrsim.services.arm import seed

VERSION = "2021-06-01"


@pytest.fixture
def app(world: World, tmp_path: Path) -> App:
    return build(world, tmp_path)


@pytest.fixture
def arm(app: App, operator: Principal) -> Caller:
    return Caller(app, operator)


def path(arm: Caller, name: str = "maatest", group: str = "rg-test") -> str:
    return f"{arm.subscription}/resourceGroups/{group}/providers/Microsoft.Attestation/attestationProviders/{name}"


def put(arm: Caller, name: str = "maatest", group: str = "rg-test", **body: t.Any) -> Answer:
    return arm("PUT", path(arm, name, group), {"location": "West Europe", "properties": {}, **body}, VERSION)


def jwks(*ders: bytes) -> dict[str, t.Any]:
    return {"keys": [{"kty": "RSA", "x5c": [base64.b64encode(der).decode()]} for der in ders]}


def test_life(arm: Caller) -> None:
    assert arm("GET", path(arm), version=VERSION).code == "ResourceNotFound"
    made = put(arm, tags={"a": "b"})
    assert (made.status, made.audit["write"]) == (201, True)
    found = made.document
    assert found["id"] == path(arm) and found["location"] == "westeurope" and found["tags"] == {"a": "b"}
    properties = found["properties"]
    assert properties["trustModel"] == "AAD" and properties["status"] == "Ready"
    host = properties["attestUri"].removeprefix("https://")
    assert host.startswith("maatest") and host.endswith(".weu.attest.azure.net") and not host.startswith("maatest.")
    assert arm.app.serves(host) and not arm.app.serves("maatest.weu.attest.azure.net")
    again = put(arm, tags={"a": "b"})
    assert (again.status, again.audit["write"]) == (200, False)
    patched = arm("PATCH", path(arm), {"tags": {"c": "d"}}, VERSION)
    assert (patched.status, patched.audit["write"], patched.document["tags"]) == (200, True, {"c": "d"})
    switched = arm("PATCH", path(arm), {"properties": {"publicNetworkAccess": "Disabled"}}, VERSION)
    assert switched.document["properties"]["publicNetworkAccess"] == "Disabled"
    assert arm("GET", path(arm, "MAATEST"), version=VERSION).document["name"] == "maatest"
    gone = arm("DELETE", path(arm), version=VERSION)
    assert (gone.status, gone.audit["write"]) == (200, True)
    assert arm("DELETE", path(arm), version=VERSION).status == 204
    assert not arm.app.serves(host)


def test_lists(arm: Caller) -> None:
    seed.resource_group(arm.world, "rg-two", "eastus")
    for name, group in (("maab", "rg-test"), ("maaa", "rg-test"), ("maac", "rg-two")):
        assert put(arm, name, group).status == 201
    kind = "providers/Microsoft.Attestation/attestationProviders"
    here = arm("GET", f"{arm.subscription}/resourceGroups/rg-test/{kind}", version=VERSION).document
    assert [one["name"] for one in here["value"]] == ["maaa", "maab"] and set(here) == {"value"}
    everywhere = arm("GET", f"{arm.subscription}/{kind}", version=VERSION).document["value"]
    assert [one["name"] for one in everywhere] == ["maaa", "maab", "maac"]
    resources = arm("GET", f"{arm.subscription}/resources", version="2021-04-01").document["value"]
    assert "maac" in [one["name"] for one in resources]


@pytest.mark.parametrize("name", ["ab", "maa-test", "maa_test", "a" * 25])
def test_names(arm: Caller, name: str) -> None:
    assert put(arm, name).code == "InvalidParameter"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"location": ""}, "LocationRequired"),
        ({"location": "belgiumcentral"}, "LocationNotAvailableForResourceType"),
        ({"sku": {}}, "InvalidRequestContent"),
        ({"properties": {"trustModel": "Isolated"}}, "InvalidRequestContent"),
        ({"properties": None}, "InvalidRequestContent"),
        ({"properties": {"publicNetworkAccess": "off"}}, "InvalidParameter"),
        ({"properties": {"policySigningCertificates": {"keys": [{"kty": "RSA"}]}}}, "InvalidParameter"),
        (
            {"properties": {"policySigningCertificates": {"keys": [{"kty": "RSA", "x5c": ["AAAA"]}]}}},
            "InvalidParameter",
        ),
        ({"properties": {"policySigningCertificates": {"keys": [{"kid": "x", "pem": "y"}]}}}, "InvalidRequestContent"),
        ({"tags": {"a": 1}}, "InvalidRequestContent"),
    ],
)
def test_bodies(arm: Caller, body: dict[str, t.Any], code: str) -> None:
    refused = put(arm, **body)
    assert refused.status == 400 and refused.code == code and not arm.world.attestation_providers


def test_a_private_key_is_refused(arm: Caller) -> None:
    keys = jwks(Signer().ca_der)
    keys["keys"][0]["d"] = "AQ"
    assert put(arm, properties={"policySigningCertificates": keys}).code == "InvalidParameter"


def test_policy_signers_make_it_isolated_and_stay(arm: Caller) -> None:
    one, two = Signer(), Signer()
    made = put(arm, properties={"policySigningCertificates": jwks(one.ca_der)})
    assert made.document["properties"]["trustModel"] == "Isolated" and "policySigning" not in str(made.document)
    assert put(arm).document["properties"]["trustModel"] == "Isolated"
    assert put(arm, properties={"policySigningCertificates": jwks(two.ca_der)}).code == "InvalidParameter"
    assert arm("PATCH", path(arm), {"properties": {"policySigningCertificates": {}}}, VERSION).status == 400


def test_region_and_name_are_taken(arm: Caller) -> None:
    seed.resource_group(arm.world, "rg-two", "westeurope")
    put(arm)
    moved = put(arm, location="eastus")
    assert (moved.status, moved.code) == (409, "InvalidResourceLocation") and "westeurope" in moved.message
    taken = put(arm, "MaaTest", "rg-two")
    assert (taken.status, taken.code) == (409, "Conflict")
    assert put(arm, "maatest", "rg-two", location="eastus").status == 201


def test_roles_and_scopes(app: App, arm: Caller) -> None:
    put(arm)
    for role, status in (("Attestation Reader", 200), ("Reader", 200), ("Attestation Contributor", 403)):
        caller = Caller(app, seed.application(arm.world, role, "x", [(role, path(arm))]))
        assert caller("GET", path(arm), version=VERSION).status == status
        assert caller("DELETE", path(arm), version=VERSION).code == "AuthorizationFailed"
    definitions = f"{arm.subscription}/providers/Microsoft.Authorization/roleDefinitions"
    query = {"$filter": "roleName eq 'Attestation Contributor'"}
    (found,) = arm("GET", definitions, version="2022-04-01", query=query).document["value"]
    (permission,) = found["properties"]["permissions"]
    assert found["name"] == "bbf86eb8-f7b4-4cce-96e4-18cddf81d86e" and permission["dataActions"] == []
    assert "Microsoft.Attestation/attestationProviders/attestation/write" in permission["actions"]
    before = len(arm.world.role_assignments)
    arm("DELETE", path(arm), version=VERSION)
    assert len(arm.world.role_assignments) == before - 3


def test_a_group_takes_its_providers_with_it(arm: Caller) -> None:
    arm.world.delays.operation_polls = 0
    put(arm)
    arm("DELETE", f"{arm.subscription}/resourceGroups/rg-test", version="2024-11-01")
    assert not arm.world.attestation_providers
